/* SPDX-License-Identifier: Apache-2.0
 * replay_world.c - see replay_world.h. */
#include "eval/replay_world.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum { SAMPLE = 20000, PRICES = 41 };

static float cell(const float *cells, uint32_t model, enum metallm__replay_cell which)
{
    return cells[(size_t)model * METALLM__REPLAY_CELLS + which];
}

double metallm__world_score(const struct metallm__world *w, const float *cells, uint32_t model)
{
    if (!isnan(w->score[model]))
        return w->score[model];
    const double y = (double)cell(cells, model, METALLM__CELL_SCORE) + w->shift[model];
    return fmin(fmax(y, 0), 1);
}

double metallm__world_cost(const struct metallm__world *w, const float *cells, uint32_t model)
{
    return (double)cell(cells, model, METALLM__CELL_COST) * w->factor[model];
}

static double prior_cost(const struct metallm__world *w, const struct metallm__rules *rules,
                         const float *cells, uint32_t model)
{
    const double c = (double)cell(cells, model, METALLM__CELL_PRIOR_COST);
    return (isnan(c) ? rules->unknown : c) * w->factor[model];
}

static void apply(struct metallm__world *w, const struct metallm__event *e)
{
    const uint32_t m = e->model;
    switch (e->kind) {
    case METALLM__EVENT_PRICE:
    case METALLM__EVENT_COST:
        w->factor[m] *= e->factor;
        break;
    case METALLM__EVENT_QUALITY:
        w->score[m] = e->score;
        w->shift[m] = isnan(e->score) ? e->shift : 0;
        break;
    case METALLM__EVENT_RESTORE:
        w->factor[m] = 1;
        w->score[m] = NAN;
        w->shift[m] = 0;
        break;
    case METALLM__EVENT_ARRIVE:
        w->is_there[m] = 1;
        break;
    case METALLM__EVENT_LEAVE:
        w->is_there[m] = 0;
        break;
    case METALLM__EVENT_DELAY:
        w->delay = e->amount;
        break;
    case METALLM__EVENT_MISSING:
        w->missing = e->amount;
        break;
    case METALLM__EVENT_NOISE:
        w->noise = e->amount;
        break;
    }
}

/* argmax of value - price * cost; equal: the cheaper. */
static uint32_t argmax(const struct metallm__world *w, const struct metallm__rules *rules,
                       const float *cells, uint32_t models, double price, bool by_truth)
{
    uint32_t best = UINT32_MAX;
    double top = 0, paid = 0;
    for (uint32_t m = 0; m < models; m++) {
        if (w->is_there[m] == 0)
            continue;
        const double value = by_truth ? metallm__world_score(w, cells, m)
                                      : (double)cell(cells, m, METALLM__CELL_PRIOR_QUALITY);
        const double cost =
            by_truth ? metallm__world_cost(w, cells, m) : prior_cost(w, rules, cells, m);
        const double s = value - price * cost;
        if (best == UINT32_MAX || s > top || (s == top && cost < paid)) {
            best = m;
            top = s;
            paid = cost;
        }
    }
    return best;
}

static double reward_of(const struct metallm__world *w, const struct metallm__rules *rules,
                        const float *cells, uint32_t m)
{
    return metallm__world_score(w, cells, m) -
           (rules->budget > 0 ? 0 : rules->price * metallm__world_cost(w, cells, m));
}

struct sums {
    double reward, cost; /* means */
};

struct scan {
    const struct metallm__replay_input *in;
    const struct metallm__rules *rules;
    size_t step; /* every step-th row */
};

static struct sums sum_at(const struct scan *s, const struct metallm__world *w, double price,
                          bool by_truth)
{
    struct sums sums = {0, 0};
    size_t n = 0;
    for (size_t i = 0; i < metallm__spool_count(s->in->rows); i += s->step, n++) {
        const float *cells = metallm__spool_row(s->in->rows, i) + s->in->dim;
        const uint32_t m = argmax(w, s->rules, cells, s->in->models, price, by_truth);
        sums.reward += reward_of(w, s->rules, cells, m);
        sums.cost += metallm__world_cost(w, cells, m);
    }
    sums.reward /= (double)n;
    sums.cost /= (double)n;
    return sums;
}

/* The price of money at which the true cost keeps the budget, by bisection of its logarithm. */
static double price_for(const struct scan *s, const struct metallm__world *w, bool by_truth)
{
    const double budget = s->rules->budget;
    if (sum_at(s, w, 0, by_truth).cost <= budget)
        return 0;
    double low = 1e-6 / budget, high = 1e4 / budget;
    for (int i = 0; i < 30; i++) {
        const double middle = sqrt(low * high);
        if (sum_at(s, w, middle, by_truth).cost > budget)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void find_best_policy(const struct scan *s, struct metallm__world *w)
{
    if (s->rules->budget > 0) {
        w->policy_price = price_for(s, w, false);
        w->best_policy = sum_at(s, w, w->policy_price, false).reward;
        return;
    }
    w->best_policy = -HUGE_VAL;
    const double base = s->rules->price > 0 ? s->rules->price : 0;
    for (int i = 0; i < (base > 0 ? PRICES : 1); i++) { /* the dial itself is the middle one */
        const double price = base * pow(10, (i - PRICES / 2) / 10.0);
        const double reward = sum_at(s, w, price, false).reward;
        if (reward > w->best_policy) {
            w->best_policy = reward;
            w->policy_price = price;
        }
    }
}

/* Mean reward and cost of each model alone; then the best one, or two under a budget. */
static void find_best_model(const struct scan *s, struct metallm__world *w)
{
    struct sums alone[METALLM_MODELS_MAX] = {{0, 0}};
    const uint32_t models = s->in->models;
    size_t n = 0;
    for (size_t i = 0; i < metallm__spool_count(s->in->rows); i += s->step, n++) {
        const float *cells = metallm__spool_row(s->in->rows, i) + s->in->dim;
        for (uint32_t m = 0; m < models; m++) {
            alone[m].reward += reward_of(w, s->rules, cells, m);
            alone[m].cost += metallm__world_cost(w, cells, m);
        }
    }
    w->best_model = -HUGE_VAL;
    const double budget = s->rules->budget > 0 ? s->rules->budget * (double)n : HUGE_VAL;
    uint32_t cheapest = UINT32_MAX;
    for (uint32_t a = 0; a < models; a++) {
        if (w->is_there[a] == 0)
            continue;
        if (cheapest == UINT32_MAX || alone[a].cost < alone[cheapest].cost)
            cheapest = a;
        for (uint32_t b = 0; b < models; b++) {
            if (w->is_there[b] == 0 || alone[a].cost > budget)
                continue;
            const double share = alone[b].cost <= budget
                                     ? 1
                                     : (budget - alone[a].cost) / (alone[b].cost - alone[a].cost);
            const double reward =
                (alone[a].reward + share * (alone[b].reward - alone[a].reward)) / (double)n;
            if (reward > w->best_model) {
                w->best_model = reward;
                w->best = a;
                w->other = b;
                w->share_other = share;
            }
        }
    }
    if (w->best_model == -HUGE_VAL) { /* nobody is cheap enough */
        w->best = w->other = cheapest;
        w->share_other = 0;
        w->best_model = alone[cheapest].reward / (double)n;
    }
}

static void find_references(const struct scan *s, struct metallm__world *w)
{
    w->oracle_price = s->rules->budget > 0 ? price_for(s, w, true) : s->rules->price;
    w->oracle = sum_at(s, w, w->oracle_price, true).reward;
    find_best_model(s, w);
    find_best_policy(s, w);
}

struct metallm__reference metallm__world_reference(const struct metallm__world *w,
                                                   const struct metallm__rules *rules,
                                                   const float *cells, uint32_t models)
{
    const uint32_t o = argmax(w, rules, cells, models, w->oracle_price, true);
    const uint32_t p = argmax(w, rules, cells, models, w->policy_price, false);
    const double a = reward_of(w, rules, cells, w->best);
    return (struct metallm__reference){
        .oracle = reward_of(w, rules, cells, o),
        .best_policy = reward_of(w, rules, cells, p),
        .best_model = a + w->share_other * (reward_of(w, rules, cells, w->other) - a)};
}

static bool anybody(const struct metallm__world *w, uint32_t models)
{
    for (uint32_t m = 0; m < models; m++)
        if (w->is_there[m] != 0)
            return true;
    return false;
}

static void first_world(struct metallm__world *w, const struct metallm__replay_options *opts,
                        uint32_t models)
{
    *w = (struct metallm__world){.from = 0};
    for (uint32_t m = 0; m < models; m++) {
        w->factor[m] = 1;
        w->score[m] = NAN;
        w->is_there[m] = 1;
    }
    for (size_t i = 0; i < opts->event_count; i++) /* who arrives later is not there */
        if (opts->events[i].kind == METALLM__EVENT_ARRIVE)
            w->is_there[opts->events[i].model] = 0;
}

int metallm__worlds_make(struct metallm__worlds *out, const struct metallm__replay_input *in,
                         const struct metallm__replay_options *opts,
                         const struct metallm__rules *rules, metallm_error *err)
{
    struct metallm__worlds w = {.items = metallm__calloc(opts->event_count + 1, sizeof *w.items)};
    if (w.items == NULL)
        return metallm__error_nomem(err, "the phases of a replay");
    const struct scan s = {in, rules, 1 + metallm__spool_count(in->rows) / SAMPLE};
    first_world(&w.items[0], opts, in->models);
    w.count = 1;
    for (size_t i = 0; i < opts->event_count; i++) {
        const struct metallm__event *e = &opts->events[i];
        if (w.items[w.count - 1].from < e->step) {
            w.items[w.count] = w.items[w.count - 1];
            w.items[w.count++].from = e->step;
        }
        apply(&w.items[w.count - 1], e);
    }
    for (size_t i = 0; i < w.count; i++) {
        if (!anybody(&w.items[i], in->models)) {
            const unsigned long long from = w.items[i].from;
            metallm__free(w.items);
            return metallm__error_set(err, METALLM_EINVAL, "no model is there at step %llu", from);
        }
        find_references(&s, &w.items[i]);
    }
    *out = w;
    return METALLM_OK;
}

void metallm__worlds_fini(struct metallm__worlds *w)
{
    metallm__free(w->items);
    *w = (struct metallm__worlds){0};
}
