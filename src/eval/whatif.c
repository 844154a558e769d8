/* SPDX-License-Identifier: Apache-2.0
 * whatif.c - see whatif.h. */
#include "eval/whatif.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/decide.h"

static bool is_allowed(const struct metallm__whatif_policy *p, uint32_t model)
{
    return p->constraints.allowed == NULL || p->constraints.allowed[model] != 0;
}

/* The choice that the router itself would make of these estimates. UINT32_MAX: no candidate is
 * allowed and has an estimate of its quality. */
static uint32_t rule_choice(const struct metallm__whatif_policy *p,
                            const struct metallm__log_decision *d)
{
    metallm_estimate estimates[METALLM_MODELS_MAX];
    uint8_t allowed[METALLM_MODELS_MAX];
    uint32_t usable = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct metallm__log_estimate *e = &d->estimates[i];
        estimates[i] = (metallm_estimate){.quality = e->quality, .cost_usd = e->cost_usd};
        allowed[i] = is_allowed(p, e->model) && isfinite(e->quality);
        usable += allowed[i];
    }
    if (usable == 0)
        return UINT32_MAX;
    struct metallm__deciding deciding = {p->constraints, d->count, (double)d->cost_scale_usd};
    deciding.constraints.allowed = allowed;
    enum metallm_reason reason;
    return metallm__decide_greedy(&deciding, estimates, &reason);
}

static uint32_t candidate(const struct metallm__log_decision *d, uint32_t model)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->estimates[i].model == model)
            return i;
    return UINT32_MAX;
}

/* As the agent would score them: quality less the dial's price of the expected cost. */
static bool policy_chances(const struct metallm__whatif_policy *p,
                           const struct metallm__log_decision *d, double *chance)
{
    double score[METALLM_MODELS_MAX], sd[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
    const double scale = (double)d->cost_scale_usd, dial = (double)p->constraints.dial;
    uint32_t usable = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct metallm__log_estimate *e = &d->estimates[i];
        cost[i] = isfinite(e->cost_usd) ? (double)e->cost_usd : isfinite(scale) ? scale : 0;
        sd[i] = isfinite(e->quality_sd) ? (double)e->quality_sd : 0;
        score[i] = is_allowed(p, e->model) ? (double)e->quality : NAN;
        if (dial > 0 && scale > 0)
            score[i] -= dial * cost[i] / scale;
        usable += !isnan(score[i]);
    }
    if (usable == 0)
        return false;
    const struct metallm__arms arms = {
        .count = d->count, .score = score, .sd = sd, .cost = cost, .step = p->step};
    p->policy.policy->chances(p->policy.values, &arms, chance);
    return true;
}

bool metallm__whatif_choose(const struct metallm__whatif_policy *p,
                            const struct metallm__log_decision *d, double *chance)
{
    uint32_t allowed = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        chance[i] = p->kind == METALLM__WHATIF_RANDOM && is_allowed(p, d->estimates[i].model);
        allowed += chance[i] > 0;
    }
    if (p->kind == METALLM__WHATIF_RANDOM) {
        for (uint32_t i = 0; i < d->count && allowed > 0; i++)
            chance[i] /= allowed;
        return allowed > 0;
    }
    if (p->kind == METALLM__WHATIF_POLICY)
        return policy_chances(p, d, chance);
    uint32_t choice =
        p->kind == METALLM__WHATIF_ALWAYS ? candidate(d, p->model) : rule_choice(p, d);
    if (choice == UINT32_MAX)
        return false;
    chance[choice] = 1;
    return true;
}

/* A row of ope.h; field picks the estimate. */
static struct metallm__ope_row make_row(const struct metallm__log_decision *d, const double *chance,
                                        bool is_cost)
{
    const struct metallm__log_estimate *chosen = &d->estimates[d->chosen];
    struct metallm__ope_row row = {
        .weight = chance[d->chosen] / d->propensity,
        .value = (double)(is_cost ? d->outcome.cost_usd : d->outcome.score),
        .predicted = (double)(is_cost ? chosen->cost_usd : chosen->quality),
    };
    for (uint32_t i = 0; i < d->count; i++)
        if (chance[i] > 0)
            row.direct +=
                chance[i] * (double)(is_cost ? d->estimates[i].cost_usd : d->estimates[i].quality);
    if (!(row.weight > 0) && isnan(row.predicted))
        row.predicted = 0; /* weight 0: the prediction for the logged model plays no part */
    return row;
}

int metallm__whatif(const struct metallm__decision_log *l, const struct metallm__whatif_policy *p,
                    double clip, struct metallm__whatif *out, metallm_error *err)
{
    size_t n = metallm__decision_log_count(l), scored = 0, priced = 0, used = 0;
    struct metallm__ope_row *quality = metallm__alloc(n, sizeof *quality);
    struct metallm__ope_row *cost = metallm__alloc(n, sizeof *cost);
    if (quality == NULL || cost == NULL) {
        metallm__free(quality);
        metallm__free(cost);
        return metallm__error_nomem(err, "off-policy rows");
    }
    double share[METALLM_MODELS_MAX] = {0}, chance[METALLM_MODELS_MAX];
    *out = (struct metallm__whatif){0};
    for (size_t i = 0; i < n; i++) {
        struct metallm__log_decision d = metallm__decision_log_get(l, i);
        struct metallm__whatif_policy now = *p;
        now.step = i;
        if (!metallm__whatif_choose(&now, &d, chance)) {
            out->unusable++;
            continue;
        }
        used++;
        for (uint32_t k = 0; k < d.count; k++)
            share[d.estimates[k].model] += chance[k];
        if (isfinite(d.outcome.score))
            quality[scored++] = make_row(&d, chance, false);
        if (isfinite(d.outcome.cost_usd))
            cost[priced++] = make_row(&d, chance, true);
    }
    metallm__ope(quality, scored, clip, &out->quality);
    metallm__ope(cost, priced, clip, &out->cost);
    for (uint32_t m = 0; m < metallm__decision_log_models(l) && used > 0; m++)
        out->share[m] = (float)(share[m] / (double)used);
    metallm__free(quality);
    metallm__free(cost);
    return METALLM_OK;
}

static void summarise_one(const struct metallm__log_decision *d, struct metallm__log_summary *s,
                          double sums[4], double share[METALLM_MODELS_MAX])
{
    s->from = fmin(s->from, d->time);
    s->to = fmax(s->to, d->time);
    share[d->estimates[d->chosen].model]++;
    sums[3] += 1 - d->propensity;
    if (isfinite(d->outcome.score)) {
        s->scored++;
        sums[0] += (double)d->outcome.score;
        sums[1] += (double)d->outcome.score * (double)d->outcome.score;
    }
    if (isfinite(d->outcome.cost_usd)) {
        s->priced++;
        sums[2] += (double)d->outcome.cost_usd;
    }
}

void metallm__log_summarise(const struct metallm__decision_log *l, struct metallm__log_summary *out)
{
    *out = (struct metallm__log_summary){.decisions = metallm__decision_log_count(l),
                                         .from = INFINITY,
                                         .to = -INFINITY,
                                         .quality = NAN,
                                         .quality_low = NAN,
                                         .quality_high = NAN,
                                         .cost_usd = NAN,
                                         .spent_usd = NAN,
                                         .explored = NAN};
    double sums[4] = {0}, share[METALLM_MODELS_MAX] = {0};
    for (size_t i = 0; i < out->decisions; i++) {
        struct metallm__log_decision d = metallm__decision_log_get(l, i);
        summarise_one(&d, out, sums, share);
    }
    if (out->decisions == 0) {
        out->from = out->to = NAN;
        return;
    }
    out->explored = sums[3] / (double)out->decisions;
    for (uint32_t m = 0; m < METALLM_MODELS_MAX; m++)
        out->share[m] = (float)(share[m] / (double)out->decisions);
    if (out->scored > 0) {
        double n = (double)out->scored, mean = sums[0] / n;
        out->quality = mean;
        if (out->scored > 1) {
            double half = metallm__student_975(n - 1) *
                          sqrt(fmax(0, sums[1] - n * mean * mean) / (n - 1) / n);
            out->quality_low = mean - half;
            out->quality_high = mean + half;
        }
    }
    if (out->priced > 0) {
        out->cost_usd = sums[2] / (double)out->priced;
        out->spent_usd = sums[2];
    }
}
