/* SPDX-License-Identifier: Apache-2.0
 * policy.h - how a model is drawn once every model has a score: one function table per policy, one
 * file each. A policy answers with the chance of every candidate, so that each decision has its
 * exact propensity; the draw itself is the same for all.
 * Policies hold no state: what is learned stands in the learner, time comes as the step. */
#ifndef ROUTER_POLICY_H
#define ROUTER_POLICY_H
#include <stdbool.h>

#include "metallm/router.h"
#include "router/estimator.h" /* struct metallm__param */

/* What a policy sees of one query. */
struct metallm__arms {
    uint32_t count;      /* models, 1..METALLM_MODELS_MAX; at least one is a candidate */
    const double *score; /* estimated reward; NaN: not a candidate */
    const double *sd;    /* standard error of score; NULL unless needs_sd */
    const double *cost;  /* dollars, for ties: the cheaper wins, then the lower index */
    uint64_t step;       /* decisions made before this one */
};

struct metallm__policy {
    const char *name;
    const char *source; /* paper and section of its formula */
    const char *help;   /* one sentence */
    const struct metallm__param *params;
    uint32_t param_count;
    bool needs_sd;
    /* chance: count numbers, 0 for those that are no candidates, sum 1. */
    void (*chances)(const double *values, const struct metallm__arms *arms, double *chance);
};

extern const struct metallm__policy metallm__policy_greedy, metallm__policy_linucb,
    metallm__policy_thompson, metallm__policy_epsilon, metallm__policy_squarecb;

const struct metallm__policy *metallm__policy_at(size_t i); /* NULL after the last */

/* A policy with the values of its parameters. */
struct metallm__policy_choice {
    const struct metallm__policy *policy;
    double values[METALLM__PARAMS_MAX];
};
/* spec: NAME or NAME:key=value,key=value. METALLM_ENOTFOUND: no such policy; METALLM_EINVAL: no
 * such parameter, or out of its range. */
METALLM_MUSTCHECK int metallm__policy_parse(struct metallm__policy_choice *out, const char *spec,
                                            metallm_error *err);

/* The candidate with the highest score + bonus * sd. sd may be NULL when bonus is 0. */
uint32_t metallm__policy_best(const struct metallm__arms *arms, double bonus);
uint32_t metallm__policy_candidates(const struct metallm__arms *arms);

/* A share of the draws goes to exploration: chance = (1 - sum of extra) * chance + extra.
 * extra: >= 0, sum at most 1, 0 for what is no candidate. */
void metallm__policy_mix(const struct metallm__arms *arms, const double *extra, double *chance);

/* One draw by the chances (which sum to 1 up to rounding). */
uint32_t metallm__policy_draw(const double *chance, uint32_t count, metallm_rng *rng);

#endif
