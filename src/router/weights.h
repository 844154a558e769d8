/* SPDX-License-Identifier: Apache-2.0
 * weights.h - a linear map with intercepts, z -> W z + b: what ridge regression, logistic
 * regression and kernel ridge regression have in common. */
#ifndef ROUTER_WEIGHTS_H
#define ROUTER_WEIGHTS_H
#include "base/safetensors.h"
#include "router/estimator.h"

struct metallm__weights {
    uint32_t dim, models;
    float *w; /* models x dim */
    float *b; /* models */
};

METALLM_MUSTCHECK int metallm__weights_new(struct metallm__weights *out, uint32_t dim,
                                           uint32_t models, metallm_error *err);
void metallm__weights_fini(struct metallm__weights *w); /* a cleared record is fine */
/* x: n x dim; out: n x models. */
void metallm__weights_apply(const struct metallm__weights *w, const float *x, size_t n, float *out);
METALLM_MUSTCHECK int metallm__weights_save(const struct metallm__weights *w,
                                            struct metallm__st_writer *writer, const char *prefix,
                                            metallm_error *err);
METALLM_MUSTCHECK int metallm__weights_load(struct metallm__weights *out,
                                            const struct metallm__st_file *f, const char *prefix,
                                            uint32_t dim, uint32_t models, metallm_error *err);

/* Ridge regression with a free intercept (Hoerl and Kennard 1970; MetaLLM, arXiv 2407.10834,
 * section 3: theta = A^-1 b, A = lambda I + sum x x', b = sum r x, there without an intercept):
 * x and y less their means over the rows that a model was seen on. One factorisation serves all
 * models whose scores are complete. The caller finis out. */
METALLM_MUSTCHECK int metallm__ridge_fit(struct metallm__weights *out,
                                         const struct metallm__fit_data *data, double lambda,
                                         metallm_error *err);
/* Mean of each model's known scores; 0.5 for a model without any (or the mean of all known). */
void metallm__score_means(const struct metallm__fit_data *data, double *mean);
#endif
