/* SPDX-License-Identifier: Apache-2.0
 * evaluate_internal.h - what evaluate.c (the table of policies, the figures) and evaluate_tiers.c
 * (cheap first: how often the fine encoder is needed, and what is lost) share. */
#ifndef EVAL_EVALUATE_INTERNAL_H
#define EVAL_EVALUATE_INTERNAL_H
#include "eval/evaluate.h"

/* What one evaluation works on. width = models of the router; columns of models that the files
 * lack are NaN and not allowed. */
struct metallm__evaluate_job {
    const metallm_router *router;
    const struct metallm__evaluate_options *opts;
    struct metallm__evaluation *e;
    uint32_t width;
    uint8_t allowed[METALLM_MODELS_MAX];
    float *score, *cost; /* n x width */
    struct metallm__truth truth;
    metallm_estimate *estimates; /* n x width */
    metallm_estimate *coarse;    /* n x width, of the cheap encoder; NULL: a plain router */
    double margin;               /* lead from which decisions by coarse stand */
    uint16_t *choice;            /* n */
    struct metallm__gains gains;
    size_t used; /* columns of gains that are set */
};

struct metallm__decide_counts {
    size_t met;  /* decisions that meet a target or cap */
    size_t fine; /* decisions that needed the fine encoder */
};

/* Fills job->choice with the router's decisions. When only_met, the others are left out. */
METALLM_MUSTCHECK int metallm__eval_decide(struct metallm__evaluate_job *job,
                                           const metallm_constraints *c, bool only_met,
                                           struct metallm__decide_counts *counts,
                                           metallm_error *err);
/* Column of the choices that stand in job->choice. */
size_t metallm__eval_add_policy(struct metallm__evaluate_job *job);
/* The estimates that decide query i under c: those of the fine encoder, or, where their lead is
 * enough, those of the cheap one. */
const metallm_estimate *metallm__eval_estimates(const struct metallm__evaluate_job *job, size_t i,
                                                const metallm_constraints *c, bool *is_fine);

/* What the models alone give: the ends of the cost range, the cheapest point of their hull, and
 * their area. work: room for models points. */
struct metallm__eval_ends {
    double low, high, zero_aiq;
    struct metallm__point cheapest;
};
struct metallm__eval_ends metallm__eval_ends(const struct metallm__evaluation *e,
                                             const struct metallm__point *means,
                                             struct metallm__point *work);

/* ---- cheap first; all do nothing for a plain router ---- */

size_t metallm__eval_tier_columns(const struct metallm__evaluate_job *job, size_t dials);
/* Decides along the dials at several margins; the router's own curve has been added. */
METALLM_MUSTCHECK int metallm__eval_add_tiers(struct metallm__evaluate_job *job, const float *dials,
                                              size_t count, metallm_error *err);
/* Means of all policies -> what each tier scores and loses. work: curve_count + models points. */
void metallm__eval_tier_figures(struct metallm__evaluation *e, const struct metallm__point *means,
                                struct metallm__point *work);
/* The same for resamples draws of policies means each, into intervals. */
METALLM_MUSTCHECK int metallm__eval_tier_intervals(struct metallm__evaluation *e,
                                                   const struct metallm__point *draws,
                                                   size_t policies, struct metallm__point *work,
                                                   metallm_error *err);
#endif
