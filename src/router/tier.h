/* SPDX-License-Identifier: Apache-2.0
 * tier.h - cheap first: when a decision by coarse estimates (the static encoder's) may stand, and
 * when the query is worth a finer look (MiniLM).
 * The lead of a coarse decision is how far its estimates would have to move to overturn it: the
 * best reward less the second best; with a target, the least distance of a quality to it. It stands
 * if the lead is at least a margin; the margin is chosen on out-of-fold estimates of the training
 * rows, so that the mean reward lost over a range of dials stays below a bound. What is lost is
 * told by the fine tier's own held-out estimates: of what came of the models, a mean over some
 * thousand rows has a standard error of several times the bound. */
#ifndef ROUTER_TIER_H
#define ROUTER_TIER_H
#include "router/decide.h"

#define METALLM__TIER_LOSS_MAX 0.001 /* reward, mean over rows and dials */

/* >= 0, in units of quality; infinite where there is nothing to choose. d was checked. */
double metallm__tier_lead(const struct metallm__deciding *d, const metallm_estimate *coarse);

/* Out-of-fold estimates of both tiers: n x models each. */
struct metallm__tier_rows {
    const metallm_estimate *coarse, *fine;
    size_t n;
    uint32_t models;
    double scale; /* of the rewards: metallm__deciding.scale; NaN: costs play no part */
};

struct metallm__tier_choice {
    double margin; /* decisions with a lead below it go to the fine tier */
    double share;  /* of (row, dial) pairs that do */
    double lost;   /* mean reward that the others lose by it, >= 0 */
};

/* The smallest margin above which, in order of falling lead, the mean reward lost has never passed
 * loss_max. */
METALLM_MUSTCHECK int metallm__tier_choose(const struct metallm__tier_rows *rows, double loss_max,
                                           struct metallm__tier_choice *out, metallm_error *err);

/* The dials that margins are chosen over: 0 (quality alone) to where the cheapest always wins. */
#define METALLM__TIER_DIALS 13u
extern const float metallm__tier_dials[METALLM__TIER_DIALS];

#endif
