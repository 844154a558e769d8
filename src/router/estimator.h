/* SPDX-License-Identifier: Apache-2.0
 * estimator.h - one function table per estimator of quality: fitted once on outcomes, then
 * read-only. Every estimator sees the same prepared vectors z (src/router/features.h) and predicts
 * the expected score of every model. Missing scores (NaN) are left out, never taken as 0. */
#ifndef ROUTER_ESTIMATOR_H
#define ROUTER_ESTIMATOR_H
#include "base/safetensors.h"
#include "metallm/base.h"

struct metallm__fit_data {
    const float *x; /* n x dim, row-major */
    const float *y; /* n x models, scores 0..1 or NaN */
    size_t n;
    uint32_t dim, models;
    uint64_t seed;
    uint32_t threads;
    const metallm_progress *progress; /* may be NULL */
};

struct metallm__param { /* a hyper-parameter: the table feeds parser, help and man page */
    const char *name;
    double fallback, low, high;
    const char *help;
};
#define METALLM__PARAMS_MAX 12u

struct metallm__estimator {
    const char *name;
    const char *source; /* paper and section of its formula */
    const struct metallm__param *params;
    uint32_t param_count;
    /* values: param_count numbers in the table's order. *state is the caller's to free. */
    int (*fit)(void **state, const struct metallm__fit_data *data, const double *values,
               metallm_error *err);
    /* x: n x dim; out: n x models, unclipped expected scores. Many threads may call at once. */
    int (*predict)(const void *state, const float *x, size_t n, float *out, metallm_error *err);
    void (*free)(void *state);
    /* Tensors are named "PREFIX.NAME". */
    int (*save)(const void *state, struct metallm__st_writer *w, const char *prefix,
                metallm_error *err);
    int (*load)(void **state, const struct metallm__st_file *f, const char *prefix, uint32_t dim,
                uint32_t models, metallm_error *err);
};

extern const struct metallm__estimator metallm__estimator_mean, metallm__estimator_linear,
    metallm__estimator_knn, metallm__estimator_logistic, metallm__estimator_kernel,
    metallm__estimator_mlp;

#endif
