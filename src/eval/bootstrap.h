/* SPDX-License-Identifier: Apache-2.0
 * bootstrap.h - resampling of queries (Efron and Tibshirani, 1993, percentile method): for many
 * policies at once, the mean score and cost in each resample. All policies share the draws, so that
 * differences between them are paired. */
#ifndef EVAL_BOOTSTRAP_H
#define EVAL_BOOTSTRAP_H
#include "eval/metrics.h"

/* What each policy got for each query: n x policies, row-major; NaN: left out of the mean. */
struct metallm__gains {
    float *score, *cost;
    size_t n, policies;
};
METALLM_MUSTCHECK int metallm__gains_init(struct metallm__gains *g, size_t n, size_t policies,
                                          metallm_error *err); /* all NaN */
void metallm__gains_fini(struct metallm__gains *g);
/* Column `policy` from choices (n models, METALLM__NO_MODEL: left out). */
void metallm__gains_set(struct metallm__gains *g, size_t policy, const struct metallm__truth *t,
                        const uint16_t *choice);
/* Means over the queries as they are: policies points. */
METALLM_MUSTCHECK int metallm__gains_means(const struct metallm__gains *g,
                                           struct metallm__point *out, metallm_error *err);

/* out: resamples x policies points. Resample b draws n queries with replacement from stream b of
 * the seed. METALLM_ECANCELED when progress asks to stop. progress may be NULL. */
METALLM_MUSTCHECK int metallm__bootstrap(const struct metallm__gains *g, uint64_t seed,
                                         size_t resamples, const metallm_progress *progress,
                                         struct metallm__point *out, metallm_error *err);

struct metallm__interval {
    double low, high; /* NaN: not known; INFINITY: beyond what was seen */
};
/* The 95 % percentile interval of count values, which are sorted in place; NaNs are left out. */
struct metallm__interval metallm__interval_95(double *values, size_t count);

#endif
