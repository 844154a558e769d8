/* SPDX-License-Identifier: Apache-2.0
 * estimator.h - one function table per estimator of quality: fitted once on outcomes, then
 * read-only. Every estimator sees the same prepared vectors z (src/router/projection.h) and
 * predicts the expected score of every model. Missing scores (NaN) are left out, never taken as 0.
 */
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

#define METALLM__PARAMS_MAX     12u
#define METALLM__CANDIDATES_MAX 4u

struct metallm__param { /* a hyper-parameter: the table feeds parser, help and man page */
    const char *name;
    double fallback, low, high;
    const char *help;
    /* Tried by cross-validation unless the parameter is given; count 0: the fallback stands. */
    double candidates[METALLM__CANDIDATES_MAX];
    uint32_t candidate_count;
};

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
    metallm__estimator_mlp, metallm__estimator_forest;

/* The i-th of them all (NULL after the last), and the one of this name (NULL: none). */
const struct metallm__estimator *metallm__estimator_at(uint32_t i);
const struct metallm__estimator *metallm__estimator_find(const char *name);

/* An estimator with its hyper-parameters: "knn:k=100,weight=0". */
struct metallm__spec {
    const struct metallm__estimator *estimator;
    double values[METALLM__PARAMS_MAX];
    uint8_t given[METALLM__PARAMS_MAX]; /* 1: named in the text, not to be chosen */
};
/* METALLM_ENOTFOUND: no such estimator; METALLM_EINVAL: no such key, or a value out of range. */
METALLM_MUSTCHECK int metallm__spec_parse(struct metallm__spec *out, const char *text,
                                          metallm_error *err);
void metallm__spec_default(struct metallm__spec *out, const struct metallm__estimator *e);
/* "NAME:key=value,..." of size bytes at most, cut where it does not fit. */
void metallm__spec_print(const struct metallm__spec *spec, char *out, size_t size);

#endif
