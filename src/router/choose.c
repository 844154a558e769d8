/* SPDX-License-Identifier: Apache-2.0
 * choose.c - see choose.h. */
#include "router/choose.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "metallm/outcomes.h"

/* An unknown cost counts as the scale (decide.h). */
static double cost_of(const struct metallm__choosing *c, uint32_t m)
{
    return isfinite(c->beliefs[m].cost_usd) ? c->beliefs[m].cost_usd : c->scale;
}

static bool is_allowed(const struct metallm__choosing *c, uint32_t m)
{
    return c->allowed == NULL || c->allowed[m] != 0;
}

/* Scores of the candidates at this price of money. False: all allowed ones are too dear; then the
 * cheapest alone is a candidate. */
static bool score(const struct metallm__choosing *c, double price, double *scores)
{
    uint32_t candidates = 0, cheapest = UINT32_MAX;
    for (uint32_t m = 0; m < c->count; m++) {
        scores[m] = NAN;
        if (!is_allowed(c, m))
            continue;
        const double cost = cost_of(c, m);
        if (cheapest == UINT32_MAX || cost < cost_of(c, cheapest))
            cheapest = m;
        if (c->max_cost_usd > 0 && cost > c->max_cost_usd)
            continue;
        scores[m] = c->beliefs[m].quality - (price > 0 ? price * cost : 0);
        if (c->bonus != NULL)
            scores[m] += c->bonus[m];
        candidates++;
    }
    METALLM_REQUIRE(cheapest != UINT32_MAX);
    if (candidates > 0)
        return true;
    scores[cheapest] =
        c->beliefs[cheapest].quality - (price > 0 ? price * cost_of(c, cheapest) : 0);
    return false;
}

static void chances_at(const struct metallm__choosing *c, const double *scores, double *chance)
{
    double sd[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
    for (uint32_t m = 0; m < c->count; m++) {
        cost[m] = cost_of(c, m);
        sd[m] = c->beliefs[m].sd;
    }
    const struct metallm__arms arms = {
        .count = c->count, .score = scores, .sd = sd, .cost = cost, .step = c->step};
    c->policy->policy->chances(c->policy->values, &arms, chance);
}

/* The cheapest candidate that reaches the target, else the best. */
static uint32_t reach_target(const struct metallm__choosing *c, const double *scores,
                             enum metallm_reason *reason)
{
    uint32_t met = UINT32_MAX, best = UINT32_MAX;
    for (uint32_t m = 0; m < c->count; m++) {
        if (isnan(scores[m]))
            continue;
        const double q = c->beliefs[m].quality, cost = cost_of(c, m);
        if (best == UINT32_MAX || q > c->beliefs[best].quality ||
            (q == c->beliefs[best].quality && cost < cost_of(c, best)))
            best = m;
        if (q >= c->target && (met == UINT32_MAX || cost < cost_of(c, met) ||
                               (cost == cost_of(c, met) && q > c->beliefs[met].quality)))
            met = m;
    }
    *reason = met != UINT32_MAX ? METALLM_REASON_TARGET_MET : METALLM_REASON_TARGET_MISSED;
    return met != UINT32_MAX ? met : best;
}

/* A budget may ask for less than the target. */
static enum metallm_reason chances_of_target(const struct metallm__choosing *c,
                                             const double *scores, double *chance)
{
    enum metallm_reason reason;
    uint32_t m = reach_target(c, scores, &reason);
    if (c->price.high > 0) {
        const struct metallm__arms arms = {.count = c->count, .score = scores};
        uint32_t paid = UINT32_MAX;
        for (uint32_t i = 0; i < arms.count; i++)
            if (!isnan(scores[i]) && (paid == UINT32_MAX || scores[i] > scores[paid]))
                paid = i;
        if (cost_of(c, paid) < cost_of(c, m)) {
            m = paid;
            reason = METALLM_REASON_BEST_SCORE;
        }
    }
    memset(chance, 0, c->count * sizeof *chance);
    chance[m] = 1;
    return reason;
}

enum metallm_reason metallm__choose_chances(const struct metallm__choosing *c, double *scores,
                                            double *chance)
{
    double other[METALLM_MODELS_MAX];
    const double share = c->price.share_low;
    if (share > 0 && !(c->target > 0)) {
        score(c, c->price.low, scores);
        chances_at(c, scores, other);
    }
    const bool is_affordable = score(c, c->price.high, scores);
    if (c->target > 0) {
        const enum metallm_reason reason = chances_of_target(c, scores, chance);
        return is_affordable ? reason : METALLM_REASON_OVER_MAX_COST;
    }
    chances_at(c, scores, chance);
    for (uint32_t m = 0; share > 0 && m < c->count; m++)
        chance[m] += share * (other[m] - chance[m]);
    return is_affordable ? METALLM_REASON_BEST_SCORE : METALLM_REASON_OVER_MAX_COST;
}

/* Shares of each model beside the policy's choice: to all alike, to those on watch, to newcomers.
 * Under a budget each share costs at most `paid` of the allowance. */
static void exploration(const struct metallm__choosing *c, const struct metallm__exploring *e,
                        const struct metallm__arms *arms, double *extra)
{
    const double k = metallm__policy_candidates(arms);
    double sum = 0;
    for (uint32_t m = 0; m < arms->count; m++) {
        extra[m] = 0;
        if (isnan(arms->score[m]))
            continue;
        double share = e->all / k, paid = e->paid / k;
        if (e->watched[m] > 0 && !e->is_new[m]) {
            share += e->watch * e->watched[m];
            paid = 2 * e->paid;
        }
        if (e->is_new[m]) {
            share += e->newcomer;
            paid = 4 * e->paid;
        }
        const double cost = cost_of(c, m);
        if (!isnan(e->allowance) && cost > 0)
            share = fmin(share, paid * e->allowance / cost);
        extra[m] = fmax(share, e->floor);
        sum += extra[m];
    }
    for (uint32_t m = 0; sum > e->cap && m < arms->count; m++)
        extra[m] *= e->cap / sum;
}

struct metallm__choice metallm__choose(const struct metallm__choosing *c,
                                       const struct metallm__exploring *explore, double *scores,
                                       double *chance, metallm_rng *rng)
{
    const enum metallm_reason reason = metallm__choose_chances(c, scores, chance);
    uint32_t best = 0;
    for (uint32_t m = 1; m < c->count; m++)
        if (chance[m] > chance[best])
            best = m;
    if (explore != NULL) {
        double extra[METALLM_MODELS_MAX];
        const struct metallm__arms arms = {.count = c->count, .score = scores};
        exploration(c, explore, &arms, extra);
        metallm__policy_mix(&arms, extra, chance);
    }
    const uint32_t m = metallm__policy_draw(chance, c->count, rng);
    return (struct metallm__choice){.model = m,
                                    .propensity = chance[m],
                                    .reason = m == best ? reason : METALLM_REASON_EXPLORED};
}
