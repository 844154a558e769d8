/* SPDX-License-Identifier: Apache-2.0
 * decide.h - from estimates to one model: pure functions of estimates and constraints, without a
 * router. reward_m = quality_m - dial * cost_m / scale (MetaLLM, arXiv 2407.10834, section 3),
 * scale the highest mean cost of a model. A cost that is not known counts as scale; without any
 * known cost (scale NaN or 0) the dial has no effect. Learning apart and combining here is what
 * lets dial and prices change freely. */
#ifndef ROUTER_DECIDE_H
#define ROUTER_DECIDE_H
#include "metallm/router.h"

/* What stays the same from query to query. */
struct metallm__deciding {
    metallm_constraints constraints;
    uint32_t models;
    double scale; /* dollars; NaN: no cost is known */
};

/* METALLM_EINVAL: a constraint is out of its range, or no model is allowed. */
METALLM_MUSTCHECK int metallm__deciding_check(const struct metallm__deciding *d,
                                              metallm_error *err);

/* scores: models floats; NaN for a model that is not allowed or is dearer than max_cost_usd. */
void metallm__decide_scores(const struct metallm__deciding *d, const metallm_estimate *estimates,
                            float *scores);

/* The greedy choice. Without a target: the highest reward; equal rewards: the cheaper, then the
 * lower index. With a target: the cheapest model that reaches it; equal costs: the higher quality,
 * then the lower index; where none reaches it, the highest quality. Where every allowed model is
 * dearer than max_cost_usd, the cheapest. d has passed metallm__deciding_check. */
uint32_t metallm__decide_greedy(const struct metallm__deciding *d,
                                const metallm_estimate *estimates, enum metallm_reason *reason);

#endif
