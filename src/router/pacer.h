/* SPDX-License-Identifier: Apache-2.0
 * pacer.h - keeps spending on a budget: finds the price of money, in quality per dollar, at which
 * the choices that the router would make on recent queries cost what may be spent.
 * That is the dual of "most quality for at most `rate` dollars a request" (contextual bandits with
 * knapsacks: Agrawal and Devanur 2014, arXiv 1402.5758), solved anew over a receding horizon in
 * place of a gradient step: rate = allowance + credit / horizon, where credit is what was saved or
 * overspent so far. Saved money is capped, so that what was banked before a change is not blown
 * after it; debt is capped at four times that, for where nobody was cheap enough. Where no single
 * price meets the rate, two prices are mixed. A query's best choice gets cheaper in steps as the
 * price rises (the upper envelope of q - price c); all steps on record are kept sorted by price in
 * a tree of sums, so that a request is entered and the price found anew in O(models^2 + log bins).
 * Owner: the caller of new frees. Threads: one at a time. */
#ifndef ROUTER_PACER_H
#define ROUTER_PACER_H
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__PACER_WINDOW_MAX 65536u

struct metallm__pacer_options {
    double usd_per_request; /* > 0; or the first guess when usd_per_period is set */
    double usd_per_period;  /* > 0: dollars in period_s seconds; 0: only per request */
    double period_s;
    uint32_t models;  /* room for this many */
    uint32_t window;  /* recent queries looked at; 0: 512 */
    uint32_t every;   /* requests after which a slow shift of quality is worked in; 0: 8 */
    uint32_t horizon; /* requests over which credit is spent or debt repaid; 0: 100 */
    double cap;       /* most that may be saved, in requests' allowances; 0: 50 */
};

struct metallm__pacer;

/* Two prices of money and how to mix them: `low` is used with chance share_low. */
struct metallm__pacer_price {
    double low, high; /* quality per dollar, >= 0 */
    double share_low;
};

METALLM_MUSTCHECK int metallm__pacer_new(struct metallm__pacer **out,
                                         const struct metallm__pacer_options *opts,
                                         metallm_error *err);
void metallm__pacer_free(struct metallm__pacer *p);

/* Takes note of a query: quality and expected dollars of each model now, NaN quality: no candidate;
 * count <= models. Returns the price for it. now_s is only read with a period. */
struct metallm__pacer_price metallm__pacer_next(struct metallm__pacer *p, const double *quality,
                                                const double *cost, uint32_t count, double now_s);
/* A model's price changed by this factor: queries on record follow at once, and so does the price
 * of money. */
void metallm__pacer_rescale(struct metallm__pacer *p, uint32_t model, double cost_factor);
/* What is believed of a model's quality in general moved by this; is_sudden: worked in at once. */
void metallm__pacer_shift(struct metallm__pacer *p, uint32_t model, double quality_shift,
                          int is_sudden);
struct metallm__pacer_price metallm__pacer_now(const struct metallm__pacer *p); /* as last solved */
void metallm__pacer_spent(struct metallm__pacer *p, double usd);
/* A new allowance per request, from now on. */
void metallm__pacer_set(struct metallm__pacer *p, double usd_per_request);
/* The period that holds began at start_s, lasts length_s, and `usd` of it is spent already: after a
 * restart, and for calendar months. Needs a period. */
void metallm__pacer_resume(struct metallm__pacer *p, double start_s, double length_s, double usd);
/* A model came in: queries on record know nothing of it, so a new record is begun. */
void metallm__pacer_restart(struct metallm__pacer *p);
void metallm__pacer_forget_model(struct metallm__pacer *p, uint32_t model); /* later ones move up */

double metallm__pacer_allowance(const struct metallm__pacer *p); /* dollars a request, now */
double metallm__pacer_credit(const struct metallm__pacer *p);    /* dollars; negative: debt */
double metallm__pacer_total(const struct metallm__pacer *p);     /* dollars spent in all */

#endif
