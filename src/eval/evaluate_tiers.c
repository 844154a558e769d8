/* SPDX-License-Identifier: Apache-2.0
 * evaluate_tiers.c - see evaluate_internal.h: a router with a coarse one inside, at its own margin,
 * at margins that send a given share of the decisions to the fine encoder, and with the fine
 * encoder always. */
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/evaluate_internal.h"
#include "router/router_state.h"
#include "router/tier.h"

/* Shares of decisions to be sent to the fine encoder, after the router's own margin and before
 * always. */
static const double shares[METALLM__EVAL_TIERS - 2] = {0, .05, .1, .2, .3, .5};

static double lead_of(const struct metallm__evaluate_job *job, size_t i,
                      const metallm_constraints *c)
{
    struct metallm__deciding d = {*c, job->width, job->router->coarse->scale};
    return metallm__tier_lead(&d, job->coarse + i * job->width);
}

const metallm_estimate *metallm__eval_estimates(const struct metallm__evaluate_job *job, size_t i,
                                                const metallm_constraints *c, bool *is_fine)
{
    *is_fine = job->coarse == NULL || lead_of(job, i, c) < job->margin;
    return (*is_fine ? job->estimates : job->coarse) + i * job->width;
}

size_t metallm__eval_tier_columns(const struct metallm__evaluate_job *job, size_t dials)
{
    return job->coarse != NULL ? (METALLM__EVAL_TIERS - 1) * dials : 0;
}

/* Margins below which the wanted shares of all leads lie, over queries and dials. */
static int choose_margins(const struct metallm__evaluate_job *job, const float *dials, size_t count,
                          double *margins, metallm_error *err)
{
    const size_t n = job->e->n;
    double *leads = metallm__alloc(n, count * sizeof *leads);
    if (leads == NULL)
        return metallm__error_nomem(err, "leads");
    for (size_t d = 0; d < count; d++) {
        const metallm_constraints c = {.dial = dials[d], .allowed = job->allowed};
        for (size_t i = 0; i < n; i++)
            leads[d * n + i] = lead_of(job, i, &c);
    }
    qsort(leads, n * count, sizeof *leads, metallm__eval_compare_double);
    for (size_t t = 0; t < sizeof shares / sizeof *shares; t++)
        margins[t] = shares[t] > 0 ? leads[(size_t)(shares[t] * (double)(n * count))] : 0;
    metallm__free(leads);
    return METALLM_OK;
}

static int add_tier(struct metallm__evaluate_job *job, const float *dials, size_t count,
                    struct metallm__tier_result *tier, metallm_error *err)
{
    size_t fine = 0;
    tier->margin = job->margin;
    tier->first = job->used;
    for (size_t d = 0; d < count; d++) {
        const metallm_constraints c = {.dial = dials[d], .allowed = job->allowed};
        struct metallm__decide_counts counts;
        int rc = metallm__eval_decide(job, &c, false, &counts, err);
        if (rc != METALLM_OK)
            return rc;
        metallm__eval_add_policy(job);
        fine += counts.fine;
    }
    tier->share = (double)fine / (double)(job->e->n * count);
    return METALLM_OK;
}

int metallm__eval_add_tiers(struct metallm__evaluate_job *job, const float *dials, size_t count,
                            metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    double margins[sizeof shares / sizeof *shares];
    if (job->coarse == NULL)
        return METALLM_OK;
    const double own = job->margin;
    struct metallm__tier_result *first = &e->tiers[e->tier_count++];
    *first = (struct metallm__tier_result){.margin = own, .first = e->curve[0].policy};
    for (size_t d = 0; d < count; d++)
        first->share += e->curve[d].fine / (double)count;
    int rc = choose_margins(job, dials, count, margins, err);
    for (size_t t = 0; rc == METALLM_OK && e->tier_count < METALLM__EVAL_TIERS; t++) {
        job->margin = t < sizeof shares / sizeof *shares ? margins[t] : INFINITY;
        rc = add_tier(job, dials, count, &e->tiers[e->tier_count++], err);
    }
    job->margin = own;
    return rc;
}

/* AIQ of a tier's curve; without costs its quality at dial 0. */
static double value_of(const struct metallm__evaluation *e, const struct metallm__tier_result *tier,
                       const struct metallm__point *means, const struct metallm__eval_ends *ends,
                       struct metallm__point *work)
{
    if (isnan(e->scale))
        return means[tier->first].quality;
    for (size_t d = 0; d < e->curve_count; d++)
        work[d] = means[tier->first + d];
    work[e->curve_count] = ends->cheapest;
    size_t hull = metallm__eval_hull(work, e->curve_count + 1);
    return metallm__eval_hull_area(work, hull, ends->low, ends->high);
}

void metallm__eval_tier_figures(struct metallm__evaluation *e, const struct metallm__point *means,
                                struct metallm__point *work)
{
    const struct metallm__eval_ends ends = metallm__eval_ends(e, means, work);
    if (e->tier_count == 0)
        return;
    double always = value_of(e, &e->tiers[e->tier_count - 1], means, &ends, work);
    for (size_t t = 0; t < e->tier_count; t++) {
        struct metallm__tier_result *tier = &e->tiers[t];
        double value = value_of(e, tier, means, &ends, work);
        tier->quality = means[tier->first].quality;
        tier->aiq = isnan(e->scale) ? NAN : value;
        tier->lost = always - value;
        tier->lost_ci = (struct metallm__interval){NAN, NAN};
    }
}

int metallm__eval_tier_intervals(struct metallm__evaluation *e, const struct metallm__point *draws,
                                 size_t policies, struct metallm__point *work, metallm_error *err)
{
    const size_t resamples = e->resamples;
    if (e->tier_count == 0)
        return METALLM_OK;
    double *lost = metallm__alloc(resamples, e->tier_count * sizeof *lost);
    if (lost == NULL)
        return metallm__error_nomem(err, "resamples");
    for (size_t b = 0; b < resamples; b++) {
        const struct metallm__point *means = draws + b * policies;
        const struct metallm__eval_ends ends = metallm__eval_ends(e, means, work);
        double always = value_of(e, &e->tiers[e->tier_count - 1], means, &ends, work);
        for (size_t t = 0; t < e->tier_count; t++)
            lost[t * resamples + b] = always - value_of(e, &e->tiers[t], means, &ends, work);
    }
    for (size_t t = 0; t < e->tier_count; t++)
        e->tiers[t].lost_ci = metallm__interval_95(lost + t * resamples, resamples);
    metallm__free(lost);
    return METALLM_OK;
}
