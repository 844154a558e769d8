/* SPDX-License-Identifier: Apache-2.0
 * choose.h - one query, what is believed of each model, and the rules in force -> the chance of
 * every model, and one draw with its exact propensity. Pure functions: replay (agent.h) and the
 * gateway's brains decide by the same code.
 *     score_m = quality_m - price * cost_m, price in quality per dollar
 * price: dial / scale, or what a budget's pacer asks (pacer.h), a mixture of two. With a target the
 * cheapest model with quality >= target is first, or what the budget's price would choose where
 * that is cheaper; where none reaches it, the highest quality. Threads: any. */
#ifndef ROUTER_CHOOSE_H
#define ROUTER_CHOOSE_H
#include "router/adapt.h"
#include "router/pacer.h"
#include "router/policy.h"

struct metallm__choosing {
    const struct metallm__belief *beliefs; /* count */
    uint32_t count;                        /* 1..METALLM_MODELS_MAX */
    const uint8_t *allowed;                /* a flag per model, at least one; NULL: all */
    const struct metallm__policy_choice *policy;
    double scale; /* dollars that an unknown cost counts as */
    struct metallm__pacer_price price;
    double target;       /* 0: none */
    double max_cost_usd; /* dearer models are no candidates; 0: none */
    const double *bonus; /* added to each score; NULL: none */
    uint64_t step;       /* decisions made before */
};

/* How much of the draws goes to learning. */
struct metallm__exploring {
    double all;       /* share spread over all candidates */
    double watch;     /* ... to each model on watch, as often as watched says */
    double newcomer;  /* ... to each newcomer */
    double floor;     /* least share of every candidate */
    double cap;       /* of all together, 0..1 */
    double paid;      /* share of the allowance that each kind may cost; not read without one */
    double allowance; /* dollars a request of the budget; NaN: none */
    const uint8_t *is_new;  /* a flag per model */
    const uint8_t *watched; /* a number per model: metallm__drift_closeness */
};

struct metallm__choice {
    uint32_t model;
    double propensity;
    enum metallm_reason reason;
};

/* Without exploration. scores: NaN for no candidate; chance sums to 1. Returns the reason of the
 * likeliest. */
enum metallm_reason metallm__choose_chances(const struct metallm__choosing *c, double *scores,
                                            double *chance);
/* All of it. explore may be NULL. */
struct metallm__choice metallm__choose(const struct metallm__choosing *c,
                                       const struct metallm__exploring *explore, double *scores,
                                       double *chance, metallm_rng *rng);
#endif
