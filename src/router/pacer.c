/* SPDX-License-Identifier: Apache-2.0
 * pacer.c - see pacer.h. */
#include "router/pacer.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "metallm/outcomes.h"

/* Prices looked at, as quality per allowance of one request. */
#define PRICE_LEAST 1e-6
#define PRICE_MOST  1e4
/* How much more may be owed than saved. */
#define DEBT_PER_CREDIT 4

struct metallm__pacer {
    struct metallm__pacer_options opts;
    double *quality, *cost; /* window x models; NaN: no candidate; quality less shift */
    double shift[METALLM_MODELS_MAX];
    uint32_t held, next, since; /* queries on record, place of the next, requests since solved */
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
    const size_t cells = (size_t)p->opts.window * opts->models;
    p->quality = metallm__alloc(cells, sizeof *p->quality);
    p->cost = metallm__alloc(cells, sizeof *p->cost);
    if (p->quality == NULL || p->cost == NULL) {
        metallm__pacer_free(p);
        return metallm__error_nomem(err, "a budget pacer");
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
    metallm__free(p);
}

/* Mean dollars a request of the best choices at this price of money. Equal scores: the cheaper. */
static double cost_at(const struct metallm__pacer *p, double price)
{
    const uint32_t models = p->opts.models;
    double sum = 0;
    for (uint32_t n = 0; n < p->held; n++) {
        const double *q = p->quality + (size_t)n * models, *c = p->cost + (size_t)n * models;
        double top = -HUGE_VAL, paid = 0;
        for (uint32_t m = 0; m < models; m++) {
            const double s = q[m] + p->shift[m] - price * c[m]; /* NaN is never above */
            if (s > top || (s == top && c[m] < paid)) {
                top = s;
                paid = c[m];
            }
        }
        sum += paid;
    }
    return sum / p->held;
}

/* A price and what the window costs at it. */
struct point {
    double price, cost;
};

static struct point point_at(const struct metallm__pacer *p, double price)
{
    return (struct point){price, cost_at(p, price)};
}

/* low.cost > rate >= high.cost: first close around the last price, then as wide as prices go.
 * False: no price is between, *high is the one to pay. */
static bool bracket(const struct metallm__pacer *p, double rate, struct point *low,
                    struct point *high)
{
    const double least = PRICE_LEAST / p->allowance, most = PRICE_MOST / p->allowance;
    const double last = fmin(fmax(p->price.high, least), most);
    *low = *high = point_at(p, last);
    for (int i = 0; i < 3 && high->cost > rate; i++) {
        *low = *high;
        *high = point_at(p, fmin(high->price * 1.25, most));
    }
    for (int i = 0; i < 3 && low->cost <= rate; i++) {
        *high = *low;
        *low = point_at(p, fmax(low->price / 1.25, least));
    }
    if (high->cost > rate)
        *high = point_at(p, most); /* beyond it there is nothing to save */
    if (low->cost <= rate)
        *low = point_at(p, least);
    if (low->cost <= rate) { /* money is no object */
        *high = point_at(p, 0);
        return false;
    }
    return high->cost <= rate;
}

/* The price at which cost_at falls to rate, by bisection of its logarithm. */
static void solve(struct metallm__pacer *p, double rate)
{
    struct point low, high;
    if (!bracket(p, rate, &low, &high)) {
        p->price = (struct metallm__pacer_price){.low = high.price, .high = high.price};
        return;
    }
    for (int i = 0; i < 24 && high.price > low.price * 1.001 && low.cost - high.cost > 0.005 * rate;
         i++) {
        const struct point middle = point_at(p, sqrt(low.price * high.price));
        if (middle.cost > rate)
            low = middle;
        else
            high = middle;
    }
    const double gap = low.cost - high.cost, share = gap > 0 ? (rate - high.cost) / gap : 0;
    p->price = (struct metallm__pacer_price){
        .low = low.price, .high = high.price, .share_low = share > 0 ? fmin(share, 1) : 0};
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
    for (uint32_t m = 0; m < models; m++) {
        const int is_known = m < count && isfinite(quality[m]) && isfinite(cost[m]);
        q[m] = is_known ? quality[m] - p->shift[m] : NAN;
        c[m] = is_known ? cost[m] : 0;
    }
    p->next = (p->next + 1) % p->opts.window;
    p->held += p->held < p->opts.window;
    if (p->opts.usd_per_period > 0)
        follow_period(p, now_s);
    if (p->since == 0 || p->held < 64) { /* few on record: each counts */
        const double rate = p->allowance + p->credit / p->opts.horizon;
        solve(p, fmax(rate, 0));
    }
    p->since = (p->since + 1) % p->opts.every;
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
    p->since = 0;
}

void metallm__pacer_shift(struct metallm__pacer *p, uint32_t model, double quality_shift,
                          int is_sudden)
{
    METALLM_REQUIRE(model < p->opts.models);
    p->shift[model] += quality_shift;
    if (is_sudden)
        p->since = 0;
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
    p->held = p->next = p->since = 0;
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
    p->since = 0;
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
    p->since = 0;
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
