/* SPDX-License-Identifier: Apache-2.0
 * policy_epsilon.c - the best model, but with chance epsilon_t any candidate alike:
 * epsilon_t = min(epsilon, decay * K / t); without decay it stays epsilon. */
#include <math.h>

#include "router/policy.h"

enum { EPSILON, DECAY };

static void chances(const double *values, const struct metallm__arms *arms, double *chance)
{
    const double k = metallm__policy_candidates(arms);
    double epsilon = values[EPSILON];
    if (values[DECAY] > 0)
        epsilon = fmin(epsilon, values[DECAY] * k / (double)(arms->step + 1));
    for (uint32_t m = 0; m < arms->count; m++)
        chance[m] = isnan(arms->score[m]) ? 0 : epsilon / k;
    chance[metallm__policy_best(arms, 0)] += 1 - epsilon;
}

static const struct metallm__param params[] = {
    [EPSILON] = {.name = "epsilon",
                 .fallback = 0.1,
                 .low = 0,
                 .high = 1,
                 .help = "highest share of exploration"},
    [DECAY] = {.name = "decay",
               .fallback = 5,
               .low = 0,
               .high = 1e9,
               .help = "explored share is at most decay * models / t; 0: constant"},
};

const struct metallm__policy metallm__policy_epsilon = {
    .name = "epsilon",
    .source = "Auer, Cesa-Bianchi and Fischer 2002, figure 3 (epsilon_n-greedy)",
    .help = "the highest estimated reward, with a decaying share of even exploration",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .chances = chances,
};
