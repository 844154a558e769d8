/* SPDX-License-Identifier: Apache-2.0
 * drift.c - see drift.h. */
#include "router/drift.h"

#include <math.h>
#include <string.h>

#define CUSUM_LIMIT 5
/* Shares of the wealth that is put at risk: small ones find small changes, great ones great. */
static const double bets[METALLM__DRIFT_BETS] = {0.1, 0.25, 0.5, 0.9};

struct metallm__drift_options metallm__drift_defaults(void)
{
    return (struct metallm__drift_options){
        .patience = 10000, .slack = 0.03, .quiet_sd = 0, .watch_sd = 0.015, .watch_uses = 1000};
}

static void rearm(struct metallm__drift *d)
{
    memset(d->drop, 0, sizeof d->drop);
    memset(d->rise, 0, sizeof d->rise);
    d->up = d->down = 0;
}

void metallm__drift_init(struct metallm__drift *d, double level, double sd, uint64_t now)
{
    *d = (struct metallm__drift){.level = level, .variance = sd * sd, .noise = 0.02, .at = now};
    rearm(d);
}

double metallm__drift_variance(const struct metallm__drift *d,
                               const struct metallm__drift_options *o, uint64_t now)
{
    const double sd = d->watch > 0 ? o->watch_sd : o->quiet_sd;
    const double unheard = now > d->at + 1 ? (double)(now - d->at - 1) : 0;
    const double v = d->variance + unheard * sd * sd;
    return v < 0.25 ? v : 0.25; /* a level within -1..1 is never less known than that */
}

void metallm__drift_watch(struct metallm__drift *d, const struct metallm__drift_options *o)
{
    d->watch = o->watch_uses;
}

/* One side's bets. Returns the mean wealth; *best is the bet that won most. */
static double bet(struct metallm__drift_bet *b, double gain, double least, double error,
                  const struct metallm__drift_bet **best)
{
    double sum = 0;
    *best = &b[0];
    for (int i = 0; i < METALLM__DRIFT_BETS; i++) {
        if (b[i].wealth <= 1)
            b[i] = (struct metallm__drift_bet){.wealth = 1};
        b[i].wealth *= 1 + bets[i] * gain / least;
        b[i].sum += error;
        b[i].count++;
        sum += b[i].wealth;
        if (b[i].wealth > (*best)->wealth)
            *best = &b[i];
    }
    return sum / METALLM__DRIFT_BETS;
}

/* Page's CUSUM (1954) of standardised errors, for a model that is on watch already: with allowance
 * 1/2 and limit 5 a false alarm comes every 465 observations (normal errors, both sides; Siegmund's
 * approximation), a jump by 1.5 deviations is seen after about five. Returns what the level is more
 * uncertain by: nothing, or at an alarm as much as the error suggests. */
static double follow_watched(struct metallm__drift *d, double error, double variance)
{
    const double x = fmin(fmax(error / sqrt(variance), -3), 3);
    d->up = fmax(d->up + x - 0.5, 0);
    d->down = fmax(d->down - x - 0.5, 0);
    if (d->up <= CUSUM_LIMIT && d->down <= CUSUM_LIMIT)
        return 0;
    d->up = d->down = 0;
    return fmax(error * error, 0.04);
}

uint8_t metallm__drift_closeness(const struct metallm__drift *d)
{
    const double near = fmin(fmax(d->up, d->down) / CUSUM_LIMIT, 1);
    return d->watch > 0 ? (uint8_t)(1.5 + (METALLM__DRIFT_CLOSEST - 1) * near) : 0;
}

static void filter(struct metallm__drift *d, const struct metallm__drift_options *o, uint64_t now,
                   double error)
{
    double v = metallm__drift_variance(d, o, now);
    const double excess = error * error - v - d->noise;
    if (d->watch > 0) {
        v += follow_watched(d, error, v + d->noise);
        d->watch--;
    }
    const double gain = v / (v + d->noise);
    d->level += gain * error;
    d->variance = (1 - gain) * v;
    if (d->watch == 0 || excess > 0) /* a level that holds still on watch says nothing of noise */
        d->noise = fmax(d->noise + 0.02 * excess, 1e-4);
    d->at = now;
}

enum metallm__drift_change metallm__drift_observe(struct metallm__drift *d,
                                                  const struct metallm__drift_options *o,
                                                  uint64_t now, double predicted, double seen)
{
    const double p = fmin(fmax(predicted, 0), 1), error = seen - p;
    const struct metallm__drift_bet *best_drop, *best_rise;
    const double drop = bet(d->drop, -error - o->slack, 1 - p + o->slack, error, &best_drop);
    const double rise = bet(d->rise, error - o->slack, p + o->slack, error, &best_rise);
    const double limit = 2 * o->patience;
    if (drop < limit && rise < limit) {
        filter(d, o, now, seen - predicted);
        return METALLM__DRIFT_NONE;
    }
    const struct metallm__drift_bet *b = drop >= limit ? best_drop : best_rise;
    d->level += b->sum / b->count;
    d->variance = d->noise / b->count;
    d->at = now;
    d->changes++;
    rearm(d);
    metallm__drift_watch(d, o);
    return drop >= limit ? METALLM__DRIFT_DROP : METALLM__DRIFT_RISE;
}
