/* SPDX-License-Identifier: Apache-2.0
 * brain_decide.c - the way from a request to an LLM: vector, beliefs, constraints, price of money,
 * the prompt cache of a session, one draw. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "gateway/brain_state.h"
#include "router/router_state.h"

/* A provider keeps a prompt's cache for about this long. */
#define CACHE_S 300.0
/* What exploration may cost under a budget, per kind, and chances of models on watch (agent.h). */
#define EXPLORE_PAID  0.02
#define EXPLORE_WATCH 0.05
#define Z95           1.959964
#define FILE_DIM_MAX  512u

/* ---- The vector. ---- */

static bool is_usable(const float *z, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++)
        if (!(fabsf(z[i]) <= (float)METALLM__LEARNER_VALUE_MAX))
            return false;
    return true;
}

static void plain_vector(const struct metallm__generation *g, const float *x, float *z)
{
    const float *text = x + g->layout.head + g->layout.tail;
    memset(z, 0, g->dim * sizeof *z);
    for (uint32_t i = 0; i < g->layout.head; i++) { /* rows of signs, so that sums are vectors */
        const float *signs = g->signs + (size_t)i * g->axes;
        const float value = x[i];
        for (uint32_t a = 0; a < g->axes; a++)
            z[1 + a] += value * signs[a];
    }
    z[0] = 1;
    for (uint32_t t = 0; t < g->text; t++)
        z[1 + g->axes + t] = 0.1f * fminf(fmaxf(text[t], -10), 10);
}

/* The router file's estimates and its vector; false: none. */
static bool file_vector(const struct metallm__generation *g, const float *x, float *z,
                        metallm_estimate *estimates)
{
    const metallm_router *r = g->file->router;
    const metallm_vectors rows = {
        .values = x, .rows = 1, .layout = g->layout, .encoder = g->encoder};
    float wide[FILE_DIM_MAX], length;
    if (r->projection.dim > FILE_DIM_MAX ||
        metallm__router_project(r, &rows, wide, &length, NULL) != METALLM_OK ||
        !is_usable(wide, r->projection.dim))
        return false;
    if (g->has_prior &&
        metallm__router_estimate_z(r, wide, &length, 1, estimates, NULL) != METALLM_OK)
        return false;
    metallm__router_learn_vector(r, wide, z);
    return true;
}

static void mean_estimates(const struct metallm__generation *g, metallm_estimate *estimates)
{
    const metallm_router *r = g->file->router;
    for (uint32_t m = 0; m < r->models; m++)
        estimates[m] = (metallm_estimate){.quality = (float)r->mean[m],
                                          .cost_usd = (float)metallm_router_mean_cost(r, m),
                                          .latency_ms = NAN};
}

static bool find_vector(const struct metallm__generation *g, const float *x,
                        struct metallm__brain_decision *d, metallm_estimate *estimates)
{
    if (x == NULL)
        return false;
    if (g->file != NULL)
        return file_vector(g, x, d->z, estimates);
    plain_vector(g, x, d->z);
    return is_usable(d->z, g->dim);
}

/* Estimates by a tiered file's cheap router; false: none. */
static bool coarse_estimates(const struct metallm__generation *g, const float *x,
                             metallm_estimate *estimates)
{
    if (x == NULL || g->file == NULL)
        return false;
    const metallm_router *r = metallm_router_coarse(g->file->router);
    if (r == NULL || !g->has_prior)
        return false;
    const metallm_vectors rows = {.values = x,
                                  .rows = 1,
                                  .layout = metallm_router_layout(r),
                                  .encoder = metallm_router_encoder(r)};
    return metallm_router_estimate(r, &rows, estimates, NULL) == METALLM_OK;
}

bool metallm__brain_is_clear(const struct metallm__view *v, const struct metallm__brain_query *q)
{
    const struct metallm__generation *g = v->inner->generation;
    metallm_estimate estimates[METALLM_MODELS_MAX];
    uint8_t allowed[METALLM_MODELS_MAX] = {0};
    if (q->money > 0 || !coarse_estimates(g, q->coarse, estimates))
        return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        if (g->in_file[i] == UINT32_MAX) /* the file says nothing of a newcomer */
            return false;
        allowed[g->in_file[i]] = q->allowed == NULL || q->allowed[i] != 0;
        count += allowed[g->in_file[i]];
    }
    const bool has_own = !isnan(q->dial) || !isnan(q->target);
    const double dial = has_own ? q->dial : v->router->dial;
    const double target = has_own ? q->target : v->router->target;
    const metallm_constraints c = {.dial = isnan(dial) ? 0 : (float)dial,
                                   .target = isnan(target) ? 0 : (float)target,
                                   .allowed = allowed};
    return count > 0 && c.dial >= 0 && isfinite(c.dial) &&
           metallm_router_is_safe(g->file->router, estimates, &c);
}

/* ---- Beliefs. ---- */

static double token_cost(const struct metallm__brain_inner *in, uint32_t i,
                         const struct metallm__brain_query *q)
{
    const double mean = in->lessons->slots[in->slots[i]].output_tokens;
    double out = isnan(mean) ? METALLM__TOKENS_OUTPUT : mean;
    if (q->output_max > 0)
        out = fmin(out, (double)q->output_max);
    return metallm__brain_price_of(&in->generation->prices[i], (double)q->input_tokens, out);
}

static struct metallm__belief prior_of(const struct metallm__brain_inner *in, uint32_t i,
                                       const metallm_estimate *estimates,
                                       const struct metallm__brain_query *q)
{
    const struct metallm__generation *g = in->generation;
    const double stated = g->expected[i];
    struct metallm__belief b = {
        .quality = isnan(stated) ? 0.5 : stated, .cost_usd = NAN, .latency_ms = NAN};
    if (g->has_prior && g->in_file[i] != UINT32_MAX) {
        const metallm_estimate *e = &estimates[g->in_file[i]];
        b = (struct metallm__belief){.quality = (double)e->quality,
                                     .sd = (double)e->quality_sd,
                                     .cost_usd = (double)e->cost_usd,
                                     .latency_ms = (double)e->latency_ms};
    } else if (isnan(stated) && g->like[i] != UINT32_MAX && g->has_prior &&
               g->in_file[g->like[i]] != UINT32_MAX) {
        const metallm_estimate *e = &estimates[g->in_file[g->like[i]]];
        b.quality = (double)e->quality;
        b.sd = (double)e->quality_sd;
    }
    if (isnan(b.cost_usd))
        b.cost_usd = token_cost(in, i, q);
    return b;
}

void metallm__brain_estimate(const struct metallm__view *v, const struct metallm__brain_query *q,
                             struct metallm__brain_decision *d)
{
    const struct metallm__brain_inner *in = v->inner;
    const struct metallm__generation *g = in->generation;
    metallm_estimate estimates[METALLM_MODELS_MAX];
    struct metallm__belief prior[METALLM_MODELS_MAX], now[METALLM_MODELS_MAX];
    double z[METALLM__LESSONS_PAD] __attribute__((aligned(64)));
    const bool has_vector = find_vector(g, q->features, d, estimates);
    d->flags = has_vector ? 0 : METALLM__RECORD_NO_VECTOR;
    d->dim = has_vector ? g->dim : 0;
    if (!has_vector && g->has_prior && !coarse_estimates(g, q->coarse, estimates))
        mean_estimates(g, estimates);
    for (uint32_t s = 0; s < in->lessons->count; s++)
        prior[s] = (struct metallm__belief){.quality = 0.5, .cost_usd = NAN, .latency_ms = NAN};
    for (uint32_t i = 0; i < v->count; i++)
        prior[in->slots[i]] = prior_of(in, i, estimates, q);
    metallm__lessons_prepare(in->lessons, d->z, d->dim, z);
    metallm__adapt_believe(in->lessons->adapt, z, prior, 1, now);
    for (uint32_t i = 0; i < v->count; i++) {
        const struct metallm__belief *b = &now[in->slots[i]], *p = &prior[in->slots[i]];
        d->candidates[i] = (struct metallm__candidate){
            .quality = fmin(fmax(b->quality, 0), 1),
            .sd = b->sd,
            .cost_usd = b->cost_usd,
            .latency_ms = b->latency_ms,
            .score = NAN,
            .prior_quality = p->quality,
            .prior_sd = p->sd,
            .prior_cost_usd = p->cost_usd,
            .prior_latency_ms = p->latency_ms,
        };
    }
}

/* ---- The choice. ---- */

/* What constrains this request: its own words before the router's. */
static int constrain(const struct metallm__view *v, const struct metallm__brain_query *q,
                     struct metallm__brain_decision *d, metallm_error *err)
{
    const bool has_own = !isnan(q->dial) || !isnan(q->target);
    d->dial = has_own ? q->dial : v->router->dial;
    d->target = has_own ? q->target : v->router->target;
    d->max_cost_usd = q->max_cost_usd > 0 ? q->max_cost_usd : v->router->max_cost_usd;
    if (isnan(d->dial))
        d->dial = 0;
    if (isnan(d->target))
        d->target = 0;
    if (!(d->dial >= 0 && isfinite(d->dial)))
        return metallm__error_set(err, METALLM_EINVAL, "dial %g is not a number >= 0", d->dial);
    if (!(d->target >= 0 && d->target <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "target %g is not between 0 and 1",
                                  d->target);
    if (!(d->max_cost_usd >= 0 && isfinite(d->max_cost_usd)))
        return metallm__error_set(err, METALLM_EINVAL, "highest cost %g is not a number >= 0",
                                  d->max_cost_usd);
    return METALLM_OK;
}

static int find_allowed(const struct metallm__view *v, const struct metallm__brain_query *q,
                        const struct metallm__brain_decision *d, uint8_t *allowed,
                        metallm_error *err)
{
    const struct metallm__generation *g = v->inner->generation;
    uint32_t able = 0, paid = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct metallm__config_model *m = &v->config->models[v->models[i]];
        const bool is_held = m->drained && !m->retired && q->session.model == v->models[i];
        allowed[i] = (g->is_open[i] || is_held) && (q->allowed == NULL || q->allowed[i] != 0) &&
                     (m->abilities & q->abilities) == q->abilities;
        able += allowed[i];
        if (q->usd_left > 0 && isfinite(q->usd_left) && d->candidates[i].cost_usd > q->usd_left)
            allowed[i] = 0;
        paid += allowed[i];
    }
    if (able == 0)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "no model of router '%s' is allowed and able for this request",
                                  v->router->name);
    if (paid == 0)
        return metallm__error_set(err, METALLM_ELIMIT,
                                  "every model of router '%s' costs more than what is left",
                                  v->router->name);
    return METALLM_OK;
}

/* The calendar's period, when the last one has ended. */
static void turn_period(struct metallm__brain *brain, double now_s)
{
    if (brain->pace_per == METALLM__PERIOD_REQUEST || now_s < brain->pace_end_s || !(now_s > 0))
        return;
    const uint64_t now_ms = (uint64_t)(now_s * 1000);
    const double begin = (double)metallm__period_begin(brain->pace_per, now_ms) / 1000;
    if (brain->pace_end_s > 0)
        brain->pace_spent = 0;
    brain->pace_end_s = (double)metallm__period_end(brain->pace_per, now_ms) / 1000;
    metallm__pacer_resume(brain->pacer, begin, brain->pace_end_s - begin, brain->pace_spent);
}

/* The price of money: the dial's, or the budget's where that is higher; the key's on top.
 * *allowance: dollars a request of the budget, NaN without. */
static struct metallm__pacer_price price_money(const struct metallm__view *v,
                                               const struct metallm__brain_query *q,
                                               const struct metallm__brain_decision *d,
                                               const uint8_t *allowed, double *allowance)
{
    struct metallm__brain *brain = v->inner->brain;
    const double dial = d->target > 0 || !(v->scale_usd > 0) ? 0 : d->dial / v->scale_usd;
    const double key = q->money > 0 && isfinite(q->money) ? q->money : 0;
    struct metallm__pacer_price p = {0};
    *allowance = NAN;
    pthread_mutex_lock(&brain->pace_lock);
    if (brain->pacer != NULL && brain->pace_count == v->count) {
        double quality[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
        for (uint32_t i = 0; i < v->count; i++) {
            const double usd = d->candidates[i].cost_usd;
            quality[i] = allowed[i] ? d->candidates[i].quality : NAN;
            cost[i] = isfinite(usd) ? usd : v->scale_usd;
        }
        turn_period(brain, q->now_s);
        p = metallm__pacer_next(brain->pacer, quality, cost, v->count, q->now_s);
        *allowance = metallm__pacer_allowance(brain->pacer);
    }
    pthread_mutex_unlock(&brain->pace_lock);
    p.low = fmax(p.low, dial) + key;
    p.high = fmax(p.high, dial) + key;
    if (p.low == p.high)
        p.share_low = 0;
    return p;
}

/* Score for staying with the session's LLM: the price of the tokens that it has cached and that
 * every other one would have to read anew, price * 1e-6 * context * (input - cached_input). A
 * follow-up turn changes the LLM only if the others' lead in score is greater. Returns whether a
 * cache is at stake. */
static bool weigh_cache(const struct metallm__view *v, const struct metallm__brain_query *q,
                        double price, const uint8_t *allowed, double *bonus)
{
    memset(bonus, 0, v->count * sizeof *bonus);
    if (!v->router->sticky || q->session.model == METALLM__CONFIG_NONE || q->session.context == 0 ||
        !(q->session.age_s >= 0 && q->session.age_s < CACHE_S))
        return false;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct metallm__brain_price *p = &v->inner->generation->prices[i];
        if (v->models[i] != q->session.model || !allowed[i] || !(p->input > p->cached_input))
            continue;
        bonus[i] = price * 1e-6 * (double)q->session.context * (p->input - p->cached_input);
        return true;
    }
    return false;
}

/* Candidates to try: the chosen one, then by score; the cheaper first among equals. */
static void sort_order(const struct metallm__view *v, struct metallm__brain_decision *d)
{
    d->order_count = 0;
    d->order[d->order_count++] = d->chosen;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct metallm__candidate *c = &d->candidates[i];
        if (i == d->chosen || isnan(c->score))
            continue;
        uint32_t at = d->order_count++;
        for (; at > 1; at--) {
            const struct metallm__candidate *before = &d->candidates[d->order[at - 1]];
            if (before->score > c->score ||
                (before->score == c->score && !(c->cost_usd < before->cost_usd)))
                break;
            d->order[at] = d->order[at - 1];
        }
        d->order[at] = i;
    }
}

static void take_choice(const struct metallm__view *v, const struct metallm__choice *choice,
                        const double *scores, const double *chances, const double *bonus,
                        struct metallm__brain_decision *d)
{
    uint32_t free_choice = UINT32_MAX; /* without the cache */
    for (uint32_t i = 0; i < v->count; i++) {
        d->candidates[i].score = scores[i];
        d->candidates[i].chance = chances[i];
        if (!isnan(scores[i]) && (free_choice == UINT32_MAX ||
                                  scores[i] - bonus[i] > scores[free_choice] - bonus[free_choice]))
            free_choice = i;
    }
    d->chosen = choice->model;
    d->propensity = choice->propensity;
    d->reason = choice->reason;
    if (choice->reason == METALLM_REASON_EXPLORED)
        d->flags |= METALLM__RECORD_EXPLORED;
    if (bonus[d->chosen] > 0 && free_choice != d->chosen)
        d->flags |= METALLM__RECORD_STICKY;
    sort_order(v, d);
    d->model = v->models[d->chosen];
    if (v->router->mode == METALLM__MODE_OBSERVE) {
        d->flags |= METALLM__RECORD_SHADOW;
        if (v->router->fallback != METALLM__CONFIG_NONE)
            d->model = v->router->fallback;
    }
}

int metallm__brain_decide(const struct metallm__view *v, const struct metallm__brain_query *q,
                          struct metallm__brain_decision *d, metallm_error *err)
{
    const struct metallm__brain_inner *in = v->inner;
    uint8_t allowed[METALLM_MODELS_MAX];
    struct metallm__belief beliefs[METALLM_MODELS_MAX];
    double scores[METALLM_MODELS_MAX], chances[METALLM_MODELS_MAX], bonus[METALLM_MODELS_MAX];
    double allowance;
    int rc = constrain(v, q, d, err);
    if (rc == METALLM_OK)
        rc = find_allowed(v, q, d, allowed, err);
    if (rc != METALLM_OK)
        return rc;
    for (uint32_t i = 0; i < v->count; i++)
        beliefs[i] = (struct metallm__belief){.quality = d->candidates[i].quality,
                                              .sd = d->candidates[i].sd,
                                              .cost_usd = d->candidates[i].cost_usd};
    const struct metallm__pacer_price price = price_money(v, q, d, allowed, &allowance);
    const bool has_cache = weigh_cache(v, q, price.high, allowed, bonus);
    d->money = price.high;
    const struct metallm__choosing choosing = {
        .beliefs = beliefs,
        .count = v->count,
        .allowed = allowed,
        .policy = &in->generation->policy,
        .scale = v->scale_usd > 0 ? v->scale_usd : 0,
        .price = price,
        .target = d->target,
        .max_cost_usd = d->max_cost_usd,
        .bonus = has_cache ? bonus : NULL,
        .step = atomic_fetch_add_explicit(&in->brain->steps, 1, memory_order_relaxed),
    };
    const struct metallm__config_explore *e = &v->router->explore;
    const struct metallm__exploring exploring = {
        .all = e->share,
        .watch = EXPLORE_WATCH,
        .newcomer = e->newcomer,
        .floor = e->floor,
        .cap = e->cap,
        .paid = EXPLORE_PAID,
        .allowance = allowance,
        .is_new = in->is_new,
        .watched = in->watched,
    };
    const bool explores = !has_cache && v->router->mode != METALLM__MODE_OBSERVE &&
                          v->router->mode != METALLM__MODE_OFFLINE;
    const struct metallm__choice choice =
        metallm__choose(&choosing, explores ? &exploring : NULL, scores, chances, q->rng);
    take_choice(v, &choice, scores, chances, bonus, d);
    return METALLM_OK;
}

void metallm__brain_record(const struct metallm__view *v, const struct metallm__brain_decision *d,
                           struct metallm__record *r)
{
    r->setup = v->setup;
    r->version = v->version;
    r->flags = d->flags;
    r->reason = d->reason;
    r->dial = d->dial;
    r->target = d->target;
    r->max_cost_usd = d->max_cost_usd;
    r->scale_usd = v->scale_usd;
    r->money = d->money;
    r->chosen = d->chosen;
    r->propensity = d->propensity;
    r->candidate_count = v->count;
    r->candidates = d->candidates;
    r->dim = d->dim;
    r->z = (float *)(uintptr_t)d->z;
}

void metallm__view_llm(const struct metallm__view *v, uint32_t candidate,
                       struct metallm__brain_llm *out)
{
    METALLM_REQUIRE(candidate < v->count);
    const struct metallm__brain_inner *in = v->inner;
    const struct metallm__slot *s = &in->lessons->slots[in->slots[candidate]];
    const double tokens = in->lessons->input_tokens;
    struct metallm__candidate all[METALLM_MODELS_MAX];
    struct metallm__brain_decision d = {.candidates = all};
    const struct metallm__brain_query q = {
        .input_tokens = (uint64_t)(isnan(tokens) ? METALLM__TOKENS_INPUT : tokens)};
    metallm__brain_estimate(v, &q, &d);
    const struct metallm__candidate *c = &all[candidate];
    *out = (struct metallm__brain_llm){
        .name = v->config->models[v->models[candidate]].name,
        .quality = c->quality,
        .quality_low = fmax(c->quality - Z95 * c->sd, 0),
        .quality_high = fmin(c->quality + Z95 * c->sd, 1),
        .cost_usd = c->cost_usd,
        .latency_ms = c->latency_ms,
        .output_tokens = s->output_tokens,
        .seen = s->scores,
        .changes = metallm__adapt_drift(in->lessons->adapt, in->slots[candidate])->changes,
        .is_new = in->is_new[candidate] != 0,
        .is_drained = !in->generation->is_open[candidate],
    };
}
