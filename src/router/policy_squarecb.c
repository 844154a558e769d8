/* SPDX-License-Identifier: Apache-2.0
 * policy_squarecb.c - inverse gap weighting: every candidate but the best one, b, is drawn with
 * chance 1 / (K + rate_t (score_b - score_m)), b with the rest; rate_t = rate * sqrt(K t). The
 * propensity is known by construction and never 0. */
#include <math.h>

#include "router/policy.h"

enum { RATE };

static void chances(const double *values, const struct metallm__arms *arms, double *chance)
{
    const double k = metallm__policy_candidates(arms);
    const double rate = values[RATE] * sqrt(k * (double)(arms->step + 1));
    const uint32_t best = metallm__policy_best(arms, 0);
    double rest = 1;
    for (uint32_t m = 0; m < arms->count; m++) {
        chance[m] = 0;
        if (m == best || isnan(arms->score[m]))
            continue;
        chance[m] = 1 / (k + rate * (arms->score[best] - arms->score[m]));
        rest -= chance[m];
    }
    chance[best] = rest;
}

static const struct metallm__param params[] = {
    [RATE] = {.name = "rate",
              .fallback = 10,
              .low = 0,
              .high = 1e9,
              .help = "how fast exploration narrows down"},
};

const struct metallm__policy metallm__policy_squarecb = {
    .name = "squarecb",
    .source = "Foster and Rakhlin 2020 (arXiv 2002.04926), algorithm 1",
    .help = "chances that fall with the gap to the best estimated reward",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .chances = chances,
};
