/* SPDX-License-Identifier: Apache-2.0
 * decide.c - see decide.h. */
#include "router/decide.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"

static bool has_scale(const struct metallm__deciding *d)
{
    return isfinite(d->scale) && d->scale > 0;
}

static bool is_allowed(const struct metallm__deciding *d, uint32_t m)
{
    return d->constraints.allowed == NULL || d->constraints.allowed[m] != 0;
}

/* Dollars that the choice reckons with; infinite where no cost is known at all. */
static double cost_of(const struct metallm__deciding *d, const metallm_estimate *e)
{
    if (!isnan(e->cost_usd))
        return (double)e->cost_usd;
    return has_scale(d) ? d->scale : INFINITY;
}

static double reward_of(const struct metallm__deciding *d, const metallm_estimate *e)
{
    double reward = (double)e->quality;
    if (d->constraints.dial > 0 && has_scale(d))
        reward -= (double)d->constraints.dial * cost_of(d, e) / d->scale;
    return reward;
}

static bool is_affordable(const struct metallm__deciding *d, const metallm_estimate *e)
{
    return !(d->constraints.max_cost_usd > 0) ||
           cost_of(d, e) <= (double)d->constraints.max_cost_usd;
}

int metallm__deciding_check(const struct metallm__deciding *d, metallm_error *err)
{
    const metallm_constraints *c = &d->constraints;
    if (!(c->dial >= 0 && isfinite(c->dial)))
        return metallm__error_set(err, METALLM_EINVAL, "dial %g is not a number >= 0",
                                  (double)c->dial);
    if (!(c->target >= 0 && c->target <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "target %g is not between 0 and 1",
                                  (double)c->target);
    if (!(c->max_cost_usd >= 0 && isfinite(c->max_cost_usd)))
        return metallm__error_set(err, METALLM_EINVAL, "highest cost %g is not a number >= 0",
                                  (double)c->max_cost_usd);
    for (uint32_t m = 0; m < d->models; m++)
        if (is_allowed(d, m))
            return METALLM_OK;
    return metallm__error_set(err, METALLM_EINVAL, "no model is allowed for this query");
}

void metallm__decide_scores(const struct metallm__deciding *d, const metallm_estimate *estimates,
                            float *scores)
{
    for (uint32_t m = 0; m < d->models; m++)
        scores[m] = is_allowed(d, m) && is_affordable(d, &estimates[m])
                        ? (float)reward_of(d, &estimates[m])
                        : NAN;
}

/* The model with the highest first key, then the highest second, then the lowest index, among those
 * that are allowed, affordable (unless told not to ask) and reach `least` quality. UINT32_MAX:
 * none. */
struct keys {
    double first, second;
};
enum ranking { BY_REWARD, BY_QUALITY, BY_CHEAPNESS };

static struct keys keys_of(const struct metallm__deciding *d, const metallm_estimate *e,
                           enum ranking ranking)
{
    double cheapness = -cost_of(d, e), quality = (double)e->quality;
    switch (ranking) {
    case BY_REWARD:
        return (struct keys){reward_of(d, e), cheapness};
    case BY_QUALITY:
        return (struct keys){quality, cheapness};
    default:
        return (struct keys){cheapness, quality};
    }
}

struct filter {
    enum ranking ranking;
    double least_quality;
    bool ignores_max_cost;
};

static uint32_t best(const struct metallm__deciding *d, const metallm_estimate *estimates,
                     struct filter filter)
{
    uint32_t chosen = UINT32_MAX;
    struct keys top = {0};
    for (uint32_t m = 0; m < d->models; m++) {
        const metallm_estimate *e = &estimates[m];
        if (!is_allowed(d, m) || (double)e->quality < filter.least_quality ||
            !(filter.ignores_max_cost || is_affordable(d, e)))
            continue;
        struct keys k = keys_of(d, e, filter.ranking);
        if (chosen == UINT32_MAX || k.first > top.first ||
            (k.first == top.first && k.second > top.second)) {
            chosen = m;
            top = k;
        }
    }
    return chosen;
}

uint32_t metallm__decide_greedy(const struct metallm__deciding *d,
                                const metallm_estimate *estimates, enum metallm_reason *reason)
{
    double target = (double)d->constraints.target;
    struct filter filter = {.ranking = BY_REWARD, .least_quality = -INFINITY};
    *reason = METALLM_REASON_BEST_SCORE;
    if (target > 0) {
        *reason = METALLM_REASON_TARGET_MET;
        filter = (struct filter){.ranking = BY_CHEAPNESS, .least_quality = target};
    }
    uint32_t chosen = best(d, estimates, filter);
    if (chosen == UINT32_MAX && target > 0) {
        *reason = METALLM_REASON_TARGET_MISSED;
        filter = (struct filter){.ranking = BY_QUALITY, .least_quality = -INFINITY};
        chosen = best(d, estimates, filter);
    }
    if (chosen == UINT32_MAX) {
        *reason = METALLM_REASON_OVER_MAX_COST;
        filter = (struct filter){
            .ranking = BY_CHEAPNESS, .least_quality = -INFINITY, .ignores_max_cost = true};
        chosen = best(d, estimates, filter);
    }
    METALLM_REQUIRE(chosen != UINT32_MAX); /* metallm__deciding_check saw an allowed model */
    return chosen;
}
