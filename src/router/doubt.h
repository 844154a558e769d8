/* SPDX-License-Identifier: Apache-2.0
 * doubt.h - the standard error of an estimate, from how well the training queries pin down the
 * place of a query: sd_m^2 = s_m^2 (1/n + z'A^-1 z) n / n_m, A = lambda I + sum z z' (the variance
 * of ridge regression's prediction; the width of LinUCB's bonus, MetaLLM, arXiv 2407.10834,
 * section 3), s_m^2 the mean squared out-of-fold error of model m. */
#ifndef ROUTER_DOUBT_H
#define ROUTER_DOUBT_H
#include "base/safetensors.h"
#include "router/estimator.h"

#define METALLM__DOUBT_LAMBDA 10.0

struct metallm__doubt {
    uint32_t dim, models;
    float rows;       /* n */
    float *inverse;   /* dim x dim: L^-1, A = L L' */
    float *deviation; /* models: s_m sqrt(n / n_m) */
};

/* q: n x models out-of-fold estimates, or the fitted ones where none could be left out. */
METALLM_MUSTCHECK int metallm__doubt_fit(struct metallm__doubt *out,
                                         const struct metallm__fit_data *data, const float *q,
                                         metallm_error *err);
void metallm__doubt_fini(struct metallm__doubt *d);
/* leverage: n numbers, sqrt(1/n + z'A^-1 z); scratch: n x dim. The error of model m is its product
 * with deviation[m]. */
void metallm__doubt_leverage(const struct metallm__doubt *d, const float *z, size_t n,
                             float *scratch, float *leverage);
METALLM_MUSTCHECK int metallm__doubt_save(const struct metallm__doubt *d,
                                          struct metallm__st_writer *w, metallm_error *err);
METALLM_MUSTCHECK int metallm__doubt_load(struct metallm__doubt *out,
                                          const struct metallm__st_file *f, uint32_t dim,
                                          uint32_t models, metallm_error *err);
#endif
