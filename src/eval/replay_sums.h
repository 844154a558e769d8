/* SPDX-License-Identifier: Apache-2.0
 * replay_sums.h - what a replay reports, gathered request by request and run by run. Inside of
 * replay.c. */
#ifndef EVAL_REPLAY_SUMS_H
#define EVAL_REPLAY_SUMS_H
#include "eval/replay.h"
#include "eval/replay_world.h"

#define METALLM__PANEL_ROWS   200u /* on which the mix in force is looked at */
#define METALLM__PANEL_EVERY  10u  /* requests, at least */
#define METALLM__SETTLED_NEAR 0.1  /* total variation from the mix at the phase's end */

/* One request. */
struct metallm__got {
    size_t row;
    uint64_t step;
    uint32_t model;
    double quality, cost, price; /* reward = quality - price * cost */
    bool explored;
    const struct metallm__reference *best;
};

struct metallm__sums;

METALLM_MUSTCHECK int metallm__sums_new(struct metallm__sums **out,
                                        const struct metallm__replay_input *in,
                                        const struct metallm__replay_options *opts, uint64_t steps,
                                        metallm_error *err);
void metallm__sums_free(struct metallm__sums *s);
void metallm__sums_add(struct metallm__sums *s, const struct metallm__got *g);
void metallm__sums_change(struct metallm__sums *s); /* the agent raised an alarm */
void metallm__sums_end_run(struct metallm__sums *s);
/* Requests between two looks at the panel; 0: none is needed. */
uint64_t metallm__sums_mix_every(const struct metallm__sums *s);
void metallm__sums_mix(struct metallm__sums *s, uint64_t step, const double *mix);
METALLM_MUSTCHECK int metallm__sums_result(const struct metallm__sums *s,
                                           const struct metallm__worlds *w,
                                           struct metallm__replay_result *out, metallm_error *err);
#endif
