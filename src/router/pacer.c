/* SPDX-License-Identifier: Apache-2.0
 * pacer.c - see pacer.h. */
#include "router/pacer.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "metallm/outcomes.h"

/* Edges of the bins of prices, in quality per first allowance, evenly in the logarithm: 0.7 % from
 * one to the next. */
#define PRICE_LEAST 1e-7
#define PRICE_MOST  1e6
#define BINS        4096u
/* How much more may be owed than saved. */
#define DEBT_PER_CREDIT 4

/* As the price rises, a query's best choice gets cheaper in steps: at each one, its bin, dollars
 * fall away. */
struct step {
    double usd;
    uint32_t bin;
};

struct metallm__pacer {
    struct metallm__pacer_options opts;
    double *quality, *cost; /* window x models; NaN: no candidate; quality less shift */
    struct step *steps;     /* window x models */
    uint32_t *step_count;   /* window */
    double *free_usd;       /* window: dollars of the best choice where money is no object */
    double free_sum;
    double *tree;       /* BINS + 1: Fenwick's sums of all steps by bin (Fenwick 1994) */
    double *edge;       /* BINS: price above which a bin's steps are taken */
    double bins_a_unit; /* of the logarithm */
    double shift[METALLM_MODELS_MAX];
    uint32_t held, next, since; /* queries on record, place of the next, requests since made anew */
    bool is_stale;              /* steps were worked out with other shifts or costs */
    double allowance, credit, total;
    struct metallm__pacer_price price;
    double period_start, period_spent, last_s, gap_s; /* gap_s: mean seconds between requests */
};

static int check_options(const struct metallm__pacer_options *o, metallm_error *err)
{
    if (!(o->usd_per_request > 0 && isfinite(o->usd_per_request)))
        return metallm__error_set(err, METALLM_EINVAL, "budget of %g dollars a request",
                                  o->usd_per_request);
    if (!(o->usd_per_period >= 0 && isfinite(o->usd_per_period)) ||
        (o->usd_per_period > 0 && !(o->period_s > 0 && isfinite(o->period_s))))
        return metallm__error_set(err, METALLM_EINVAL, "budget of %g dollars in %g seconds",
                                  o->usd_per_period, o->period_s);
    if (o->models < 1 || o->models > METALLM_MODELS_MAX || o->window > METALLM__PACER_WINDOW_MAX ||
        !(o->cap >= 0))
        return metallm__error_set(err, METALLM_EINVAL, "pacer of %u models, %u queries, cap %g",
                                  (unsigned)o->models, (unsigned)o->window, o->cap);
    return METALLM_OK;
}

/* The window, and the edges of the bins. */
static int reserve(struct metallm__pacer *p, metallm_error *err)
{
    const size_t window = p->opts.window, cells = window * p->opts.models;
    p->quality = metallm__alloc(cells, sizeof *p->quality);
    p->cost = metallm__alloc(cells, sizeof *p->cost);
    p->steps = metallm__alloc(cells, sizeof *p->steps);
    p->step_count = metallm__calloc(window, sizeof *p->step_count);
    p->free_usd = metallm__calloc(window, sizeof *p->free_usd);
    p->tree = metallm__calloc(BINS + 1, sizeof *p->tree);
    p->edge = metallm__alloc(BINS, sizeof *p->edge);
    if (p->quality == NULL || p->cost == NULL || p->steps == NULL || p->step_count == NULL ||
        p->free_usd == NULL || p->tree == NULL || p->edge == NULL)
        return metallm__error_nomem(err, "a budget pacer");
    const double width = log(PRICE_MOST / PRICE_LEAST) / (BINS - 1);
    p->bins_a_unit = 1 / width;
    for (uint32_t i = 0; i < BINS; i++)
        p->edge[i] = PRICE_LEAST * exp(width * i) / p->allowance;
    return METALLM_OK;
}

int metallm__pacer_new(struct metallm__pacer **out, const struct metallm__pacer_options *opts,
                       metallm_error *err)
{
    int rc = check_options(opts, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__pacer *p = metallm__calloc(1, sizeof *p);
    if (p == NULL)
        return metallm__error_nomem(err, "a budget pacer");
    p->opts = *opts;
    p->opts.window = opts->window > 0 ? opts->window : 512;
    p->opts.every = opts->every > 0 ? opts->every : 8;
    p->opts.horizon = opts->horizon > 0 ? opts->horizon : 100;
    p->opts.cap = opts->cap > 0 ? opts->cap : 50;
    p->allowance = opts->usd_per_request;
    p->period_start = p->last_s = NAN;
    rc = reserve(p, err);
    if (rc != METALLM_OK) {
        metallm__pacer_free(p);
        return rc;
    }
    *out = p;
    return METALLM_OK;
}

void metallm__pacer_free(struct metallm__pacer *p)
{
    if (p == NULL)
        return;
    metallm__free(p->quality);
    metallm__free(p->cost);
    metallm__free(p->steps);
    metallm__free(p->step_count);
    metallm__free(p->free_usd);
    metallm__free(p->tree);
    metallm__free(p->edge);
    metallm__free(p);
}

static uint32_t bin_of(const struct metallm__pacer *p, double price)
{
    const double at = log(price / p->edge[0]) * p->bins_a_unit;
    if (!(at > 0))
        return 0;
    const uint32_t bin = at < BINS - 1 ? (uint32_t)ceil(at) : BINS - 1;
    return bin < BINS - 1 && p->edge[bin] < price ? bin + 1 : bin; /* rounding of the logarithm */
}

static void tree_add(struct metallm__pacer *p, const struct step *s, double sign)
{
    for (uint32_t i = s->bin + 1; i <= BINS; i += i & -i)
        p->tree[i] += sign * s->usd;
}

/* The model that is best when money is no object. Equal qualities: the cheaper. */
static uint32_t best_of_all(const struct metallm__pacer *p, const double *q, const double *c)
{
    uint32_t best = UINT32_MAX;
    double top = -HUGE_VAL;
    for (uint32_t m = 0; m < p->opts.models; m++) {
        const double s = q[m] + p->shift[m]; /* NaN is never above */
        if (s > top || (s == top && c[m] < c[best])) {
            top = s;
            best = m;
        }
    }
    return best;
}

/* Upper envelope of q - price c: works out the steps of query n and counts them in. */
static void enter(struct metallm__pacer *p, uint32_t n)
{
    const size_t at = (size_t)n * p->opts.models;
    const double *q = p->quality + at, *c = p->cost + at;
    struct step *steps = p->steps + at;
    uint32_t count = 0, now = best_of_all(p, q, c);
    p->free_usd[n] = now != UINT32_MAX ? c[now] : 0;
    for (uint32_t next = now; next != UINT32_MAX; now = next) {
        double price = HUGE_VAL;
        next = UINT32_MAX;
        for (uint32_t m = 0; m < p->opts.models; m++) {
            if (!(c[m] < c[now]) || isnan(q[m]))
                continue;
            const double at_price = (q[now] + p->shift[now] - q[m] - p->shift[m]) / (c[now] - c[m]);
            if (at_price < price || (at_price == price && c[m] < c[next])) {
                price = at_price;
                next = m;
            }
        }
        if (next != UINT32_MAX) {
            steps[count] = (struct step){.usd = c[now] - c[next], .bin = bin_of(p, price)};
            tree_add(p, &steps[count++], 1);
        }
    }
    p->step_count[n] = count;
    p->free_sum += p->free_usd[n];
}

static void leave(struct metallm__pacer *p, uint32_t n)
{
    const struct step *steps = p->steps + (size_t)n * p->opts.models;
    for (uint32_t i = 0; i < p->step_count[n]; i++)
        tree_add(p, &steps[i], -1);
    p->free_sum -= p->free_usd[n];
}

/* All steps anew: after a change of what is known of the queries on record, and now and then so
 * that rounding does not add up. */
static void make_anew(struct metallm__pacer *p)
{
    memset(p->tree, 0, (BINS + 1) * sizeof *p->tree);
    p->free_sum = 0;
    for (uint32_t n = 0; n < p->held; n++)
        enter(p, n);
    p->is_stale = false;
    p->since = 0;
}

/* The least edge at which the window costs at most `most` in all; *left: what it costs there,
 * *before at the edge before. BINS: none. */
static uint32_t find_edge(const struct metallm__pacer *p, double most, double *left, double *before)
{
    uint32_t at = 0; /* bins that are passed over: the window costs more at their edges */
    *before = p->free_sum;
    for (uint32_t half = BINS; half > 0; half /= 2)
        if (at + half <= BINS && *before - p->tree[at + half] > most) {
            at += half;
            *before -= p->tree[at];
        }
    if (at == BINS)
        return BINS;
    double sum = 0;
    for (uint32_t i = at + 1; i > 0; i -= i & -i)
        sum += p->tree[i];
    *left = p->free_sum - sum;
    return at;
}

/* The price at which the window's mean cost falls to rate. Where a step leads past it, the prices
 * on both sides are mixed. */
static void solve(struct metallm__pacer *p, double rate)
{
    const double most = rate * p->held;
    double left = 0, before = 0;
    if (p->free_sum <= most) { /* money is no object */
        p->price = (struct metallm__pacer_price){0};
        return;
    }
    const uint32_t at = find_edge(p, most, &left, &before);
    if (at == BINS) { /* beyond it there is nothing to save */
        p->price =
            (struct metallm__pacer_price){.low = p->edge[BINS - 1], .high = p->edge[BINS - 1]};
        return;
    }
    const double share = before > left ? (most - left) / (before - left) : 0;
    p->price = (struct metallm__pacer_price){.low = at > 0 ? p->edge[at - 1] : 0,
                                             .high = p->edge[at],
                                             .share_low = fmin(fmax(share, 0), 1)};
}

/* What is left of the period's money for each request still expected in it. */
static void follow_period(struct metallm__pacer *p, double now_s)
{
    if (isnan(p->period_start))
        p->period_start = now_s;
    if (!isnan(p->last_s)) {
        const double gap = now_s - p->last_s;
        p->gap_s += (p->gap_s > 0 ? 0.02 : 1) * (fmax(gap, 0) - p->gap_s);
    }
    p->last_s = now_s;
    if (now_s - p->period_start >= p->opts.period_s) { /* nothing is carried over */
        p->period_start += floor((now_s - p->period_start) / p->opts.period_s) * p->opts.period_s;
        p->period_spent = 0;
        p->credit = 0;
    }
    const double left_s = p->period_start + p->opts.period_s - now_s;
    const double requests = p->gap_s > 0 ? fmax(left_s / p->gap_s, 1) : 0;
    if (requests > 0) {
        p->allowance = fmax(p->opts.usd_per_period - p->period_spent, 0) / requests;
        p->credit = 0; /* what is left says it all */
    }
}

struct metallm__pacer_price metallm__pacer_next(struct metallm__pacer *p, const double *quality,
                                                const double *cost, uint32_t count, double now_s)
{
    METALLM_REQUIRE(count <= p->opts.models);
    const uint32_t models = p->opts.models;
    double *q = p->quality + (size_t)p->next * models, *c = p->cost + (size_t)p->next * models;
    if (p->held == p->opts.window)
        leave(p, p->next);
    for (uint32_t m = 0; m < models; m++) {
        const int is_known = m < count && isfinite(quality[m]) && isfinite(cost[m]);
        q[m] = is_known ? quality[m] - p->shift[m] : NAN;
        c[m] = is_known ? cost[m] : 0;
    }
    const uint32_t n = p->next;
    p->next = (p->next + 1) % p->opts.window;
    p->held += p->held < p->opts.window;
    p->since++;
    if (p->next == 0 || (p->is_stale && p->since >= p->opts.every))
        make_anew(p);
    else
        enter(p, n);
    if (p->opts.usd_per_period > 0)
        follow_period(p, now_s);
    solve(p, fmax(p->allowance + p->credit / p->opts.horizon, 0));
    return p->price;
}

struct metallm__pacer_price metallm__pacer_now(const struct metallm__pacer *p)
{
    return p->price;
}

void metallm__pacer_rescale(struct metallm__pacer *p, uint32_t model, double cost_factor)
{
    METALLM_REQUIRE(model < p->opts.models);
    for (uint32_t n = 0; n < p->held; n++)
        p->cost[(size_t)n * p->opts.models + model] *= cost_factor;
    make_anew(p);
}

void metallm__pacer_shift(struct metallm__pacer *p, uint32_t model, double quality_shift,
                          int is_sudden)
{
    METALLM_REQUIRE(model < p->opts.models);
    p->shift[model] += quality_shift;
    p->is_stale = true;
    if (is_sudden)
        make_anew(p);
}

void metallm__pacer_resume(struct metallm__pacer *p, double start_s, double length_s, double usd)
{
    METALLM_REQUIRE(p->opts.usd_per_period > 0 && length_s > 0);
    p->opts.period_s = length_s;
    p->period_start = start_s;
    p->period_spent = usd;
    p->credit = 0;
}

void metallm__pacer_restart(struct metallm__pacer *p)
{
    p->held = p->next = 0;
    make_anew(p);
}

void metallm__pacer_forget_model(struct metallm__pacer *p, uint32_t model)
{
    METALLM_REQUIRE(model < p->opts.models);
    const uint32_t models = p->opts.models;
    for (uint32_t n = 0; n < p->held; n++) {
        double *q = p->quality + (size_t)n * models, *c = p->cost + (size_t)n * models;
        memmove(q + model, q + model + 1, (models - model - 1) * sizeof *q);
        memmove(c + model, c + model + 1, (models - model - 1) * sizeof *c);
        q[models - 1] = NAN;
        c[models - 1] = 0;
    }
    memmove(p->shift + model, p->shift + model + 1, (models - model - 1) * sizeof *p->shift);
    p->shift[models - 1] = 0;
    make_anew(p);
}

void metallm__pacer_spent(struct metallm__pacer *p, double usd)
{
    if (!(usd >= 0 && isfinite(usd)))
        return;
    p->total += usd;
    p->period_spent += usd;
    const double cap = p->opts.cap * p->allowance;
    p->credit = fmax(fmin(p->credit + p->allowance - usd, cap), -DEBT_PER_CREDIT * cap);
}

void metallm__pacer_set(struct metallm__pacer *p, double usd_per_request)
{
    p->allowance = usd_per_request;
    p->credit = fmin(p->credit, p->opts.cap * usd_per_request);
}

double metallm__pacer_allowance(const struct metallm__pacer *p)
{
    return p->allowance;
}

double metallm__pacer_credit(const struct metallm__pacer *p)
{
    return p->credit;
}

double metallm__pacer_total(const struct metallm__pacer *p)
{
    return p->total;
}
