/* SPDX-License-Identifier: Apache-2.0
 * cascade.h - ask a cheap LLM, keep its answer where it is likely right, else ask the next. What an
 * LLM's confidence is worth, and where to stop, are learned from texts whose label is known. Pure.
 *
 * Confidence. The chance that an answer of raw confidence c is right is
 *     p = 1 / (1 + exp(-(slope logit(c) + offset)))                    (Platt 1999, on logits)
 * with c kept in [1e-4, 1 - 1e-4], fitted by Newton's method to the posterior under slope ~ N(1, 1)
 * and offset ~ N(0, 2^2), slope >= 0. Answers without a confidence have the chance (right + 1) /
 * (n + 2) of their own kind; an answer that is no label has the chance 0.
 *
 * Thresholds. Over the learning texts, which every LLM has answered, those least chances of keeping
 * are taken that spend least while the mean chance of the answers that are kept is at least the
 * target; where none reaches it, those with the highest. With a price of money instead, those that
 * earn most of (mean chance - money * dollars). Chances, not the share that was right, because some
 * hundred texts let the luckiest threshold win by the share (docs/classify.md has the figures). The
 * order is by rising mean dollars; LLMs that the best cascade does without are left out. The search
 * is exact for two LLMs; for more, each threshold is improved in turn until none changes.
 * (FrugalGPT, arXiv 2305.05176, section 3, "LLM cascade".)
 * Threads: records of plain numbers; no state. */
#ifndef CLASSIFY_CASCADE_H
#define CLASSIFY_CASCADE_H
#include <stdbool.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__CASCADE_STAGES_MAX 8u
#define METALLM__CASCADE_ROWS_LEAST 20u    /* learning texts; fewer give no thresholds */
#define METALLM__CASCADE_ROWS_MAX   65536u /* more are not looked at */

/* ---- What confidence is worth, of one LLM. ---- */

struct metallm__confidence_seen {
    double raw; /* 0..1; NaN: the answer had none */
    bool is_right;
};
struct metallm__confidence {
    double slope, offset;
    double plain;            /* chance of answers without a confidence */
    uint32_t count, without; /* answers that it was fitted to, with and without a confidence */
};
/* count 0 gives slope 1, offset 0, plain 0.5. */
void metallm__confidence_fit(struct metallm__confidence *out,
                             const struct metallm__confidence_seen *seen, uint32_t count);
double metallm__confidence_chance(const struct metallm__confidence *c, double raw); /* 0..1 */

/* ---- When to stop. ---- */

/* What one LLM made of one learning text. */
struct metallm__cascade_cell {
    float chance; /* calibrated, 0..1 */
    float usd;    /* >= 0 */
    bool is_right;
};
struct metallm__cascade_lesson {
    const struct metallm__cascade_cell *cells; /* rows x llms, row-major */
    uint32_t rows, llms;                       /* llms: 1..METALLM__CASCADE_STAGES_MAX */
    double target;                             /* least accuracy, 0..1; NaN: by money */
    double money;                              /* accuracy per dollar, >= 0; where target is NaN */
};

struct metallm__cascade {
    uint32_t count;                            /* stages */
    uint32_t llm[METALLM__CASCADE_STAGES_MAX]; /* in the order of asking: columns of the lesson */
    double keep[METALLM__CASCADE_STAGES_MAX];  /* least chance at which the answer is kept; the last
                                                  stage's is 0 */
    double expected;      /* mean chance of what is kept, on the learning texts */
    double accuracy, usd; /* share that was right, dollars a text, there */
    double share[METALLM__CASCADE_STAGES_MAX]; /* of texts that end at each stage, there */
    bool is_target_met;                        /* true where it is by money */
};
/* METALLM_EINVAL: fewer rows than METALLM__CASCADE_ROWS_LEAST, or a number out of range.
 * METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__cascade_learn(struct metallm__cascade *out,
                                             const struct metallm__cascade_lesson *lesson,
                                             metallm_error *err);
/* Before anything is learned: all LLMs by rising dollars (usd: llms values), each answer kept whose
 * chance is at least `keep`. */
void metallm__cascade_plain(struct metallm__cascade *out, const double *usd, uint32_t llms,
                            double keep);
/* Whether the answer of this stage is kept. The last stage's always is. */
bool metallm__cascade_keeps(const struct metallm__cascade *c, uint32_t stage, double chance);

#endif
