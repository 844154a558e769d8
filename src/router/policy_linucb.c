/* SPDX-License-Identifier: Apache-2.0
 * policy_linucb.c - MetaLLM's choice: argmax over m of theta_m'x + alpha sqrt(x' A_m^-1 x),
 * disjoint models. Deterministic: the propensity is 1. */
#include "router/policy.h"

enum { ALPHA };

static void chances(const double *values, const struct metallm__arms *arms, double *chance)
{
    for (uint32_t m = 0; m < arms->count; m++)
        chance[m] = 0;
    chance[metallm__policy_best(arms, values[ALPHA])] = 1;
}

static const struct metallm__param params[] = {
    [ALPHA] = {.name = "alpha",
               .fallback = 0.1,
               .low = 0,
               .high = 1000,
               .help = "width of the confidence bound, in standard errors"},
};

const struct metallm__policy metallm__policy_linucb = {
    .name = "linucb",
    .source =
        "Li et al. 2010 (arXiv 1003.0146), algorithm 1; MetaLLM (arXiv 2407.10834), section 3",
    .help = "the highest upper confidence bound of the reward",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .needs_sd = true,
    .chances = chances,
};
