/* SPDX-License-Identifier: Apache-2.0
 * metrics.h - the figures of an evaluation, as pure functions on plain tables: means, the
 * quality-cost hull and its area (AIQ), dials that trace a whole curve.
 * Nothing here knows of files or routers. Definitions for people: docs/evaluation.md. */
#ifndef EVAL_METRICS_H
#define EVAL_METRICS_H
#include "metallm/router.h"

#define METALLM__NO_MODEL UINT16_MAX

/* What happened: n x models, row-major; NaN: not known. Borrowed. */
struct metallm__truth {
    const float *score; /* 0..1 */
    const float *cost;  /* dollars, >= 0 */
    size_t n;
    uint32_t models; /* 1..METALLM_MODELS_MAX */
};

/* A policy on the quality-cost plane: means over queries; NaN: not known. */
struct metallm__point {
    double quality, cost;
};

/* Mean over the queries whose chosen cell is known; quality and cost are averaged apart.
 * choice: n models, METALLM__NO_MODEL: the query is left out. */
struct metallm__point metallm__eval_mean(const struct metallm__truth *t, const uint16_t *choice);
struct metallm__point metallm__eval_single(const struct metallm__truth *t, uint32_t model);
/* The best known score of each query; ties: the cheaper, then the lower index. A query without a
 * known score gets METALLM__NO_MODEL. */
void metallm__eval_oracle(const struct metallm__truth *t, uint16_t *choice);

/* The non-decreasing upper convex hull of the points (RouterBench, arXiv 2403.12031, section 3),
 * by rising cost, in place; returns its size. Points with a NaN are dropped. */
size_t metallm__eval_hull(struct metallm__point *points, size_t count);
/* The hull's quality for this cost, flat beyond both ends; NaN for an empty hull. */
double metallm__eval_hull_at(const struct metallm__point *hull, size_t count, double cost);
/* AIQ: mean height of the hull over [low, high], exact. NaN unless low < high and count > 0. */
double metallm__eval_hull_area(const struct metallm__point *hull, size_t count, double low,
                               double high);
/* The lowest cost at which the hull has this quality; INFINITY: nowhere. */
double metallm__eval_hull_reach(const struct metallm__point *hull, size_t count, double quality);

/* Dials for a curve: 0, then up to count_max - 2 dials at even ranks among the dials at which some
 * query's choice switches, then one beyond the last switch, where every query goes to the model
 * estimated cheapest. Rising, without repeats. scale: dollars that the dial is per (highest mean
 * cost); also what an unknown cost counts as. allowed: models flags. count_max >= 3. */
struct metallm__dial_request {
    const metallm_estimate *estimates; /* n x models */
    const uint8_t *allowed;
    size_t n, count_max;
    uint32_t models;
    double scale;
};
METALLM_MUSTCHECK int metallm__eval_dials(const struct metallm__dial_request *request, float *out,
                                          size_t *count, metallm_error *err);

/* The q-quantile (0..1) of values sorted upwards, between order statistics by straight line. */
double metallm__eval_quantile(const double *sorted, size_t count, double q);
int metallm__eval_compare_double(const void *a, const void *b); /* for qsort; no NaN */

#endif
