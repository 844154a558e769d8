/* SPDX-License-Identifier: Apache-2.0
 * policy_greedy.c - the highest score, always. What is never chosen is never learned of. */
#include "router/policy.h"

static void chances(const double *values, const struct metallm__arms *arms, double *chance)
{
    (void)values;
    for (uint32_t m = 0; m < arms->count; m++)
        chance[m] = 0;
    chance[metallm__policy_best(arms, 0)] = 1;
}

const struct metallm__policy metallm__policy_greedy = {
    .name = "greedy",
    .source = "argmax of the estimated reward",
    .help = "the highest estimated reward, without exploration",
    .chances = chances,
};
