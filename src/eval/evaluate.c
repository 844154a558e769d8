/* SPDX-License-Identifier: Apache-2.0
 * evaluate.c - see evaluate.h. Every policy (a single model, the oracle, a setting of the dial ...)
 * becomes one column of a table of gains; means and intervals are then the same for all. */
#include "eval/evaluate_internal.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/router_state.h"

#define ESTIMATE_BLOCK 4096u

static const double cost_shares[METALLM__EVAL_COST_SHARES] = {0.10, 0.25, 0.50};
static const float target_values[METALLM__EVAL_TARGETS] = {.5f, .6f, .7f, .8f, .9f};

double metallm__eval_cost_share(size_t i)
{
    METALLM_REQUIRE(i < METALLM__EVAL_COST_SHARES);
    return cost_shares[i];
}

static void job_fini(struct metallm__evaluate_job *job)
{
    metallm__free(job->score);
    metallm__free(job->cost);
    metallm__free(job->estimates);
    metallm__free(job->coarse);
    metallm__free(job->choice);
    metallm__gains_fini(&job->gains);
}

static int match_models(struct metallm__evaluate_job *job, const metallm_outcomes *outcomes,
                        metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    for (uint32_t j = 0; j < job->width; j++) {
        const char *name = metallm_router_model_name(job->router, j);
        job->allowed[j] = metallm_outcomes_find_model(outcomes, name) != UINT32_MAX;
        if (!job->allowed[j]) {
            e->not_in_files++;
            continue;
        }
        e->names[e->models] = name;
        e->router_index[e->models++] = j;
    }
    e->not_in_router = metallm_outcomes_model_count(outcomes) - e->models;
    if (e->models == 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "no model of the router ('%s', ...) has outcomes in the files",
                                  job->width > 0 ? metallm_router_model_name(job->router, 0) : "");
    return METALLM_OK;
}

static int read_truth(struct metallm__evaluate_job *job, const metallm_outcomes *outcomes,
                      metallm_error *err)
{
    size_t n = job->e->n, cells = n * job->width;
    job->score = metallm__alloc(cells, sizeof *job->score);
    job->cost = metallm__alloc(cells, sizeof *job->cost);
    job->choice = metallm__alloc(n, sizeof *job->choice);
    if (job->score == NULL || job->cost == NULL || job->choice == NULL)
        return metallm__error_nomem(err, "the outcomes to evaluate on");
    for (size_t c = 0; c < cells; c++)
        job->score[c] = job->cost[c] = NAN;
    for (uint32_t k = 0; k < job->e->models; k++) {
        uint32_t j = job->e->router_index[k];
        uint32_t from = metallm_outcomes_find_model(outcomes, job->e->names[k]);
        for (size_t i = 0; i < n; i++) {
            metallm_outcome cell = metallm_outcomes_get(outcomes, i, from);
            job->score[i * job->width + j] = cell.score;
            job->cost[i * job->width + j] = cell.cost_usd;
            job->e->scores_missing += isnan(cell.score) ? 1 : 0;
        }
    }
    job->truth = (struct metallm__truth){job->score, job->cost, n, job->width};
    return METALLM_OK;
}

/* Estimates by one router for every query. */
static int estimate(struct metallm__evaluate_job *job, const metallm_router *router,
                    const metallm_vectors *x, metallm_estimate **out, metallm_error *err)
{
    size_t n = job->e->n, dim = metallm_layout_dim(&x->layout);
    const metallm_progress *progress = &job->opts->progress;
    METALLM_REQUIRE(x->rows == n);
    metallm_estimate *made = *out = metallm__alloc(n, sizeof *made * job->width);
    if (made == NULL)
        return metallm__error_nomem(err, "estimates");
    for (size_t start = 0; start < n; start += ESTIMATE_BLOCK) {
        metallm_vectors block = *x;
        block.values = x->values + start * dim;
        block.rows = n - start < ESTIMATE_BLOCK ? n - start : ESTIMATE_BLOCK;
        int rc = metallm_router_estimate(router, &block, made + start * job->width, err);
        if (rc != METALLM_OK)
            return rc;
        if (progress->step != NULL &&
            progress->step(progress->payload, "estimating", start + block.rows, n) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped while estimating");
    }
    return METALLM_OK;
}

size_t metallm__eval_add_policy(struct metallm__evaluate_job *job)
{
    metallm__gains_set(&job->gains, job->used, &job->truth, job->choice);
    return job->used++;
}

static void add_singles(struct metallm__evaluate_job *job)
{
    struct metallm__evaluation *e = job->e;
    double bma = -1;
    for (uint32_t k = 0; k < e->models; k++) {
        for (size_t i = 0; i < e->n; i++)
            job->choice[i] = (uint16_t)e->router_index[k];
        metallm__eval_add_policy(job);
        double trained = metallm_router_mean_quality(job->router, e->router_index[k]);
        if (trained > bma) {
            bma = trained;
            e->bma = k;
        }
    }
}

/* A fair draw among the models: each query's mean over its known cells. */
static void add_random(struct metallm__evaluate_job *job)
{
    size_t column = job->used++;
    for (size_t i = 0; i < job->e->n; i++) {
        double sum[2] = {0}, known[2] = {0};
        for (uint32_t j = 0; j < job->width; j++) {
            float cell[2] = {job->score[i * job->width + j], job->cost[i * job->width + j]};
            for (int f = 0; f < 2; f++)
                if (!isnan(cell[f])) {
                    sum[f] += (double)cell[f];
                    known[f]++;
                }
        }
        size_t at = i * job->gains.policies + column;
        job->gains.score[at] = known[0] > 0 ? (float)(sum[0] / known[0]) : NAN;
        job->gains.cost[at] = known[1] > 0 ? (float)(sum[1] / known[1]) : NAN;
    }
    job->e->random = column;
}

int metallm__eval_decide(struct metallm__evaluate_job *job, const metallm_constraints *c,
                         bool only_met, struct metallm__decide_counts *counts, metallm_error *err)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, job->opts->seed);
    *counts = (struct metallm__decide_counts){0};
    for (size_t i = 0; i < job->e->n; i++) {
        metallm_decision decision;
        bool is_fine;
        const metallm_estimate *known = metallm__eval_estimates(job, i, c, &is_fine);
        int rc = metallm_router_decide(job->router, known, c, &rng, &decision, err);
        if (rc != METALLM_OK)
            return rc;
        bool is_met = decision.reason != METALLM_REASON_TARGET_MISSED &&
                      decision.reason != METALLM_REASON_OVER_MAX_COST;
        counts->met += is_met;
        counts->fine += is_fine;
        job->choice[i] = is_met || !only_met ? (uint16_t)decision.model : METALLM__NO_MODEL;
    }
    return METALLM_OK;
}

static void count_shares(const struct metallm__evaluate_job *job, float *share)
{
    size_t counts[METALLM_MODELS_MAX] = {0};
    for (size_t i = 0; i < job->e->n; i++)
        counts[job->choice[i]]++;
    for (uint32_t k = 0; k < job->e->models; k++)
        share[k] = (float)counts[job->e->router_index[k]] / (float)job->e->n;
}

static int add_curve(struct metallm__evaluate_job *job, const float *dials, size_t count,
                     metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    for (size_t d = 0; d < count; d++) {
        metallm_constraints c = {.dial = dials[d], .allowed = job->allowed};
        struct metallm__decide_counts counts;
        int rc = metallm__eval_decide(job, &c, false, &counts, err);
        if (rc != METALLM_OK)
            return rc;
        e->curve[d].dial = dials[d];
        e->curve[d].fine = (float)counts.fine / (float)e->n;
        e->curve[d].policy = metallm__eval_add_policy(job);
        count_shares(job, e->curve[d].share);
        if (job->opts->progress.step != NULL &&
            job->opts->progress.step(job->opts->progress.payload, "deciding", d + 1, count) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped while deciding");
    }
    e->curve_count = count;
    return METALLM_OK;
}

static int add_rule(struct metallm__evaluate_job *job, const metallm_constraints *c,
                    struct metallm__rule_result *rule, metallm_error *err)
{
    struct metallm__decide_counts counts;
    int rc = metallm__eval_decide(job, c, false, &counts, err);
    if (rc != METALLM_OK)
        return rc;
    rule->policy = metallm__eval_add_policy(job);
    rc = metallm__eval_decide(job, c, true, &counts, err);
    if (rc != METALLM_OK)
        return rc;
    rule->kept = metallm__eval_add_policy(job);
    rule->attainable = (double)counts.met / (double)job->e->n;
    rule->fine = (double)counts.fine / (double)job->e->n;
    return METALLM_OK;
}

static int add_rules(struct metallm__evaluate_job *job, double best_cost, metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    int rc = METALLM_OK;
    for (size_t t = 0; rc == METALLM_OK && t < METALLM__EVAL_TARGETS; t++) {
        e->targets[t].value = target_values[t];
        metallm_constraints c = {.target = target_values[t], .allowed = job->allowed};
        rc = add_rule(job, &c, &e->targets[t], err);
    }
    if (!(best_cost > 0))
        return rc;
    e->cap_count = METALLM__EVAL_COST_SHARES;
    for (size_t t = 0; rc == METALLM_OK && t < e->cap_count; t++) {
        e->caps[t].value = (float)(cost_shares[t] * best_cost);
        metallm_constraints c = {.max_cost_usd = e->caps[t].value, .allowed = job->allowed};
        rc = add_rule(job, &c, &e->caps[t], err);
    }
    return rc;
}

/* Best mean score over the queries; ties: the cheaper, then the first. */
static void find_best(struct metallm__evaluate_job *job)
{
    struct metallm__evaluation *e = job->e;
    struct metallm__point best = {-1, INFINITY};
    for (uint32_t k = 0; k < e->models; k++) {
        struct metallm__point p = metallm__eval_single(&job->truth, e->router_index[k]);
        if (p.quality > best.quality || (p.quality == best.quality && p.cost < best.cost)) {
            best = p;
            e->best = k;
        }
    }
}

/* Are there costs on both sides to draw a curve with: the router's, and every model's in the files?
 */
static void find_scale(struct metallm__evaluate_job *job)
{
    double scale = NAN;
    for (uint32_t j = 0; j < job->width; j++)
        scale = fmax(scale, metallm_router_mean_cost(job->router, j)); /* fmax drops NaN */
    for (uint32_t k = 0; k < job->e->models; k++)
        if (isnan(metallm__eval_single(&job->truth, job->e->router_index[k]).cost))
            scale = NAN;
    job->e->scale = scale > 0 ? scale : NAN;
}

static int choose_dials(struct metallm__evaluate_job *job, float *dials, size_t *count,
                        metallm_error *err)
{
    dials[0] = 0;
    *count = 1;
    if (isnan(job->e->scale))
        return METALLM_OK;
    struct metallm__dial_request request = {job->estimates,      job->allowed, job->e->n,
                                            METALLM__EVAL_DIALS, job->width,   job->e->scale};
    return metallm__eval_dials(&request, dials, count, err);
}

static int fill_table(struct metallm__evaluate_job *job, metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    float dials[METALLM__EVAL_DIALS];
    size_t count;
    find_best(job);
    find_scale(job);
    int rc = choose_dials(job, dials, &count, err);
    if (rc != METALLM_OK)
        return rc;
    size_t policies = e->models + 2 + count + metallm__eval_tier_columns(job, count) +
                      2 * (METALLM__EVAL_TARGETS + METALLM__EVAL_COST_SHARES);
    e->curve = metallm__calloc(count, sizeof *e->curve);
    if (e->curve == NULL)
        return metallm__error_nomem(err, "a curve");
    rc = metallm__gains_init(&job->gains, e->n, policies, err);
    if (rc != METALLM_OK)
        return rc;
    add_singles(job);
    metallm__eval_oracle(&job->truth, job->choice);
    e->oracle = metallm__eval_add_policy(job);
    add_random(job);
    rc = add_curve(job, dials, count, err);
    if (rc == METALLM_OK)
        rc = metallm__eval_add_tiers(job, dials, count, err);
    if (rc != METALLM_OK)
        return rc;
    double best_cost =
        isnan(e->scale) ? NAN : metallm__eval_single(&job->truth, e->router_index[e->best]).cost;
    return add_rules(job, best_cost, err);
}

struct metallm__eval_ends metallm__eval_ends(const struct metallm__evaluation *e,
                                             const struct metallm__point *means,
                                             struct metallm__point *work)
{
    struct metallm__eval_ends out = {.low = INFINITY, .high = -INFINITY, .cheapest = {NAN, NAN}};
    for (uint32_t k = 0; k < e->models; k++) {
        out.low = fmin(out.low, means[k].cost);
        out.high = fmax(out.high, means[k].cost);
        work[k] = means[k];
    }
    size_t hull = metallm__eval_hull(work, e->models);
    if (hull > 0)
        out.cheapest = work[0];
    out.zero_aiq = metallm__eval_hull_area(work, hull, out.low, out.high);
    return out;
}

/* The figures of one set of policy means: of the queries as they are, or of one resample. work:
 * room for curve_count + models points, which holds the curve's hull afterwards; returns its size.
 */
static size_t figures(const struct metallm__evaluation *e, const struct metallm__point *means,
                      struct metallm__point *work, double *out)
{
    struct metallm__point best = means[e->best];
    const struct metallm__eval_ends ends = metallm__eval_ends(e, means, work);
    out[METALLM__FIG_QUALITY_MAX] = NAN;
    out[METALLM__FIG_ZERO_AIQ] = ends.zero_aiq;
    size_t count = 0;
    for (size_t d = 0; d < e->curve_count; d++) {
        work[count++] = means[e->curve[d].policy];
        out[METALLM__FIG_QUALITY_MAX] =
            fmax(out[METALLM__FIG_QUALITY_MAX], means[e->curve[d].policy].quality);
        if (e->curve[d].dial == 0)
            out[METALLM__FIG_QUALITY_GAIN] = means[e->curve[d].policy].quality - best.quality;
    }
    bool has_cost = !isnan(e->scale);
    /* The cheapest model alone can always be had: the curve begins there. */
    work[count++] = ends.cheapest;
    size_t hull = metallm__eval_hull(work, count);
    out[METALLM__FIG_AIQ] =
        has_cost ? metallm__eval_hull_area(work, hull, ends.low, ends.high) : NAN;
    out[METALLM__FIG_MATCH] =
        has_cost ? metallm__eval_hull_reach(work, hull, best.quality) / best.cost : NAN;
    out[METALLM__FIG_AIQ_GAIN] = out[METALLM__FIG_AIQ] - out[METALLM__FIG_ZERO_AIQ];
    for (size_t s = 0; s < METALLM__EVAL_COST_SHARES; s++) {
        double cost = cost_shares[s] * best.cost;
        out[METALLM__FIG_QUALITY_AT + s] = has_cost && hull > 0 && cost >= work[0].cost
                                               ? metallm__eval_hull_at(work, hull, cost)
                                               : NAN;
    }
    return has_cost ? hull : 0;
}

static int by_mean_cost(const void *a, const void *b, void *payload)
{
    const struct metallm__dial_result *p = a, *q = b;
    const struct metallm__policy_result *policies = payload;
    double x = policies[p->policy].mean.cost, y = policies[q->policy].mean.cost;
    if (x != y)
        return x < y ? -1 : 1;
    return p->dial > q->dial ? -1 : p->dial < q->dial;
}

static int means_and_figures(struct metallm__evaluate_job *job, struct metallm__point *work,
                             metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    struct metallm__point *means = metallm__alloc(job->gains.policies, sizeof *means);
    e->policies = metallm__calloc(job->used, sizeof *e->policies);
    int rc = METALLM_OK;
    if (means == NULL || e->policies == NULL)
        rc = metallm__error_nomem(err, "means");
    else
        rc = metallm__gains_means(&job->gains, means, err);
    if (rc == METALLM_OK) {
        e->policy_count = job->used;
        for (size_t p = 0; p < job->used; p++)
            e->policies[p] = (struct metallm__policy_result){means[p], {NAN, NAN}, {NAN, NAN}};
        e->hull_count = figures(e, means, work, e->figures);
        memcpy(e->hull, work, e->hull_count * sizeof *work);
        metallm__eval_tier_figures(e, means, work);
        qsort_r(e->curve, e->curve_count, sizeof *e->curve, by_mean_cost, e->policies);
    }
    metallm__free(means);
    return rc;
}

static void policy_intervals(struct metallm__evaluate_job *job, const struct metallm__point *draws,
                             double *column)
{
    struct metallm__evaluation *e = job->e;
    size_t resamples = e->resamples;
    for (size_t p = 0; p < job->used; p++) {
        for (size_t b = 0; b < resamples; b++)
            column[b] = draws[b * job->gains.policies + p].quality;
        e->policies[p].quality_ci = metallm__interval_95(column, resamples);
        for (size_t b = 0; b < resamples; b++)
            column[b] = draws[b * job->gains.policies + p].cost;
        e->policies[p].cost_ci = metallm__interval_95(column, resamples);
    }
}

static int intervals(struct metallm__evaluate_job *job, struct metallm__point *work,
                     metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    size_t resamples = e->resamples;
    struct metallm__point *draws = metallm__alloc(resamples, job->gains.policies * sizeof *draws);
    double *values = metallm__alloc(resamples, (METALLM__FIGURES + 1) * sizeof *values);
    int rc = METALLM_OK;
    if (draws == NULL || values == NULL)
        rc = metallm__error_nomem(err, "resamples");
    else
        rc = metallm__bootstrap(&job->gains, e->seed, resamples, &job->opts->progress, draws, err);
    if (rc == METALLM_OK) {
        policy_intervals(job, draws, values);
        for (size_t b = 0; b < resamples; b++) {
            double row[METALLM__FIGURES];
            figures(e, draws + b * job->gains.policies, work, row);
            for (size_t f = 0; f < METALLM__FIGURES; f++)
                values[f * resamples + b] = row[f];
        }
        for (size_t f = 0; f < METALLM__FIGURES; f++)
            e->intervals[f] = metallm__interval_95(values + f * resamples, resamples);
        rc = metallm__eval_tier_intervals(e, draws, job->gains.policies, work, err);
    }
    metallm__free(draws);
    metallm__free(values);
    return rc;
}

static int calibrate(struct metallm__evaluate_job *job, metallm_error *err)
{
    size_t cells = job->e->n * job->width;
    float *predicted = metallm__alloc(cells, sizeof *predicted);
    if (predicted == NULL)
        return metallm__error_nomem(err, "calibration");
    const metallm_constraints dial_0 = {.allowed = job->allowed};
    for (size_t i = 0; i < job->e->n; i++) {
        bool is_fine;
        const metallm_estimate *known = metallm__eval_estimates(job, i, &dial_0, &is_fine);
        for (uint32_t m = 0; m < job->width; m++)
            predicted[i * job->width + m] = known[m].quality;
    }
    int rc = metallm__calibrate(predicted, job->score, cells, &job->e->calibration, err);
    metallm__free(predicted);
    return rc;
}

static int run(struct metallm__evaluate_job *job, const metallm_outcomes *outcomes,
               const metallm_vectors *x, metallm_error *err)
{
    struct metallm__evaluation *e = job->e;
    int rc = match_models(job, outcomes, err);
    if (rc == METALLM_OK)
        rc = read_truth(job, outcomes, err);
    if (rc == METALLM_OK)
        rc = estimate(job, job->router, x, &job->estimates, err);
    if (rc == METALLM_OK && job->opts->coarse != NULL && job->router->coarse != NULL)
        rc = estimate(job, job->router->coarse, job->opts->coarse, &job->coarse, err);
    if (rc == METALLM_OK)
        rc = calibrate(job, err);
    if (rc == METALLM_OK)
        rc = fill_table(job, err);
    if (rc != METALLM_OK)
        return rc;
    size_t points = e->curve_count + e->models + 1;
    struct metallm__point *work = metallm__alloc(points, sizeof *work);
    e->hull = metallm__alloc(points, sizeof *e->hull);
    if (work == NULL || e->hull == NULL)
        rc = metallm__error_nomem(err, "a curve");
    else
        rc = means_and_figures(job, work, err);
    for (size_t f = 0; f < METALLM__FIGURES; f++)
        e->intervals[f] = (struct metallm__interval){NAN, NAN};
    if (rc == METALLM_OK && e->resamples > 0)
        rc = intervals(job, work, err);
    metallm__free(work);
    return rc;
}

int metallm__evaluate(const metallm_router *r, const metallm_outcomes *outcomes,
                      const metallm_vectors *x, const struct metallm__evaluate_options *opts,
                      struct metallm__evaluation **out, metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(outcomes);
    if (n == 0)
        return metallm__error_set(err, METALLM_EMISMATCH, "the files hold no query to evaluate on");
    struct metallm__evaluation *e = metallm__calloc(1, sizeof *e);
    if (e == NULL)
        return metallm__error_nomem(err, "an evaluation");
    e->n = n;
    e->seed = opts->seed;
    e->resamples = opts->resamples;
    struct metallm__evaluate_job job = {.router = r,
                                        .opts = opts,
                                        .e = e,
                                        .width = metallm_router_model_count(r),
                                        .margin = r->margin};
    int rc = run(&job, outcomes, x, err);
    job_fini(&job);
    if (rc != METALLM_OK) {
        metallm__evaluation_free(e);
        return rc;
    }
    *out = e;
    return METALLM_OK;
}

void metallm__evaluation_free(struct metallm__evaluation *e)
{
    if (e == NULL)
        return;
    metallm__free(e->policies);
    metallm__free(e->curve);
    metallm__free(e->hull);
    metallm__free(e);
}
