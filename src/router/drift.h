/* SPDX-License-Identifier: Apache-2.0
 * drift.h - one model's level, apart from how it depends on the query, and a watch for sudden
 * change. No other model is touched by either.
 *
 * Level: what is left of quality after all predictions follows a local level model (Harvey 1989,
 * chapter 2), level_t = level_(t-1) + N(0, q), read through noise of variance r; the Kalman filter
 * gives its mean and variance. q is per request, chosen or not, so a model that was not heard of
 * for long is uncertain, and one probe moves it far. q is 0 in quiet times and greater while the
 * model is on watch, after a change.
 *
 * Change: an e-detector (Shin, Ramdas and Rinaldo 2024, arXiv 2203.03532) by betting. For a drop,
 * with predicted p_t and outcome y_t in [0,1], M_t = max(M_(t-1), 1) (1 + c (p_t - y_t - slack) /
 * (1 - p_t + slack)), averaged over bets c in METALLM__DRIFT_BETS; for a rise alike. As long as the
 * mean error of prediction stays within slack, the expected number of observations until a false
 * alarm of either kind is at least `patience`, whatever the distribution (each side has twice). */
#ifndef ROUTER_DRIFT_H
#define ROUTER_DRIFT_H
#include <stdint.h>

struct metallm__drift_options {
    double patience;     /* observations of a model until a false alarm, in the mean; > 1 */
    double slack;        /* error of prediction that is no change, 0..1 */
    double quiet_sd;     /* of the level's step per request in quiet times */
    double watch_sd;     /* ... on watch */
    uint32_t watch_uses; /* observations until a watch ends */
};

#define METALLM__DRIFT_BETS 4

enum metallm__drift_change { METALLM__DRIFT_NONE, METALLM__DRIFT_DROP, METALLM__DRIFT_RISE };

struct metallm__drift_bet {
    double wealth; /* M_t */
    double sum;    /* of y - p since wealth was last below 1 */
    uint32_t count;
};

struct metallm__drift {
    double level, variance; /* of the level */
    double noise;           /* r: mean squared error of prediction, tracked */
    uint64_t at;            /* request at which variance was last brought up to date */
    uint32_t watch;         /* observations left on watch; 0: quiet */
    uint64_t changes;       /* alarms so far */
    double up, down;        /* CUSUM on watch */
    struct metallm__drift_bet drop[METALLM__DRIFT_BETS], rise[METALLM__DRIFT_BETS];
};

struct metallm__drift_options metallm__drift_defaults(void);
/* level and sd: what is believed beforehand (0 and 0 for a model whose prediction is trusted). */
void metallm__drift_init(struct metallm__drift *d, double level, double sd, uint64_t now);
/* Variance of the level at request `now`. */
double metallm__drift_variance(const struct metallm__drift *d,
                               const struct metallm__drift_options *o, uint64_t now);
/* predicted: of the outcome, level included; seen: 0..1. At an alarm the level takes the mean error
 * since the change began, and the model goes on watch. */
enum metallm__drift_change metallm__drift_observe(struct metallm__drift *d,
                                                  const struct metallm__drift_options *o,
                                                  uint64_t now, double predicted, double seen);
/* How closely to look: 0 in quiet times, on watch 1, and up to METALLM__DRIFT_CLOSEST as recent
 * observations surprise: the nearer another alarm, the more often the model should be tried. */
#define METALLM__DRIFT_CLOSEST 7u
uint8_t metallm__drift_closeness(const struct metallm__drift *d);
/* A change that is known of (the operator says so): on watch at once. */
void metallm__drift_watch(struct metallm__drift *d, const struct metallm__drift_options *o);

#endif
