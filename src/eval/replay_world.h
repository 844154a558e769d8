/* SPDX-License-Identifier: Apache-2.0
 * replay_world.h - what the events make of the recorded outcomes, phase by phase, and what could be
 * had there by somebody who knows all outcomes. Inside of replay.c. */
#ifndef EVAL_REPLAY_WORLD_H
#define EVAL_REPLAY_WORLD_H
#include "eval/replay.h"

/* The world between two events. */
struct metallm__world {
    uint64_t from; /* first request */
    double delay, missing, noise;
    double factor[METALLM_MODELS_MAX]; /* of costs */
    double score[METALLM_MODELS_MAX];  /* in place of the recorded one; NaN: as recorded */
    double shift[METALLM_MODELS_MAX];
    uint8_t is_there[METALLM_MODELS_MAX];
    /* references */
    double oracle_price, policy_price; /* quality per dollar */
    uint32_t best, other;              /* single models; other is used with share_other */
    double share_other;
    double oracle, best_model, best_policy; /* mean reward a request */
};

struct metallm__worlds {
    struct metallm__world *items; /* at least one */
    size_t count;
};

/* price: quality per dollar of the dial; budget: dollars a request, 0: none; unknown: dollars that
 * an unknown prior cost counts as. */
struct metallm__rules {
    double price, budget, unknown;
};

METALLM_MUSTCHECK int metallm__worlds_make(struct metallm__worlds *out,
                                           const struct metallm__replay_input *in,
                                           const struct metallm__replay_options *opts,
                                           const struct metallm__rules *rules, metallm_error *err);
void metallm__worlds_fini(struct metallm__worlds *w);

double metallm__world_score(const struct metallm__world *w, const float *cells, uint32_t model);
double metallm__world_cost(const struct metallm__world *w, const float *cells, uint32_t model);

/* What the references get from one row: cells of its models. */
struct metallm__reference {
    double oracle, best_model, best_policy;
};
struct metallm__reference metallm__world_reference(const struct metallm__world *w,
                                                   const struct metallm__rules *rules,
                                                   const float *cells, uint32_t models);
#endif
