/* SPDX-License-Identifier: Apache-2.0
 * adapt.c - see adapt.h. */
#include "router/adapt.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "metallm/outcomes.h"

/* Logarithms of cost are kept within this of the prediction: no single bill moves the fit more. */
#define LOG_COST_REACH  3.0
#define COST_LEVEL_GAIN 0.02
/* Observations for which a newcomer's level is followed closely. */
#define NEWCOMER_USES 60u

struct side {
    struct metallm__drift drift;
    double price;      /* factor on the prior's cost */
    double cost_level; /* log */
    double latency_level;
    double cost_seen, latency_seen; /* running means, the prior where there is none; NaN: never */
};

struct metallm__adapt {
    struct metallm__adapt_options opts;
    struct metallm__learner *learner;
    uint64_t now;
    struct side sides[METALLM_MODELS_MAX];
};

struct metallm__adapt_options metallm__adapt_defaults(void)
{
    return (struct metallm__adapt_options){
        .kind = METALLM__ADAPT_RESIDUAL,
        .learner = {.lambda = 1000, .gamma = 1},
        .fade = 0.5,
        .drift = metallm__drift_defaults(),
    };
}

int metallm__adapt_new(struct metallm__adapt **out, const struct metallm__adapt_options *opts,
                       metallm_error *err)
{
    if (!(opts->fade >= 0 && opts->fade <= 1) || !(opts->drift.patience > 1) ||
        !(opts->dial >= 0 && isfinite(opts->dial)))
        return metallm__error_set(err, METALLM_EINVAL, "fade %g, patience %g or dial %g",
                                  opts->fade, opts->drift.patience, opts->dial);
    if (opts->kind != METALLM__ADAPT_RESIDUAL && !(opts->scale > 0 && isfinite(opts->scale)))
        return metallm__error_set(err, METALLM_EINVAL, "cost scale of %g dollars", opts->scale);
    struct metallm__adapt *a = metallm__calloc(1, sizeof *a);
    if (a == NULL)
        return metallm__error_nomem(err, "online statistics");
    a->opts = *opts;
    int rc = metallm__learner_new(&a->learner, &opts->learner, err);
    if (rc != METALLM_OK) {
        metallm__adapt_free(a);
        return rc;
    }
    for (uint32_t m = 0; m < opts->learner.models; m++) {
        a->sides[m] = (struct side){.price = 1, .cost_seen = NAN, .latency_seen = NAN};
        metallm__drift_init(&a->sides[m].drift, 0, 0, 0);
    }
    *out = a;
    return METALLM_OK;
}

int metallm__adapt_copy(struct metallm__adapt **out, const struct metallm__adapt *a,
                        metallm_error *err)
{
    struct metallm__adapt *copy = metallm__alloc(1, sizeof *copy);
    if (copy == NULL)
        return metallm__error_nomem(err, "online statistics");
    memcpy(copy, a, sizeof *copy);
    copy->learner = NULL;
    int rc = metallm__learner_copy(&copy->learner, a->learner, err);
    if (rc != METALLM_OK) {
        metallm__adapt_free(copy);
        return rc;
    }
    *out = copy;
    return METALLM_OK;
}

void metallm__adapt_free(struct metallm__adapt *a)
{
    if (a == NULL)
        return;
    metallm__learner_free(a->learner);
    metallm__free(a);
}

const struct metallm__learner *metallm__adapt_learner(const struct metallm__adapt *a)
{
    return a->learner;
}

const struct metallm__drift *metallm__adapt_drift(const struct metallm__adapt *a, uint32_t model)
{
    METALLM_REQUIRE(model < metallm__learner_models(a->learner));
    return &a->sides[model].drift;
}

uint32_t metallm__adapt_models(const struct metallm__adapt *a)
{
    return metallm__learner_models(a->learner);
}

void metallm__adapt_tick(struct metallm__adapt *a)
{
    a->now++;
}

uint64_t metallm__adapt_now(const struct metallm__adapt *a)
{
    return a->now;
}

/* The mean that was seen stands in for a prior that is not known. */
static double known(double prior, double seen)
{
    return isnan(prior) ? seen : prior;
}

static void follow_mean(double *mean, double seen)
{
    if (!isnan(seen))
        *mean = isnan(*mean) ? seen : *mean + COST_LEVEL_GAIN * (seen - *mean);
}

static void believe_residual(const struct metallm__adapt *a, uint32_t m, const double *z,
                             const struct metallm__belief *prior, struct metallm__belief *out)
{
    const struct side *s = &a->sides[m];
    double learned[METALLM__TARGETS];
    metallm__learner_predict(a->learner, m, z, learned);
    out->quality = prior->quality + learned[METALLM__TARGET_QUALITY] + s->drift.level;
    out->sd = prior->sd;
    out->cost_usd = known(prior->cost_usd, s->cost_seen) * s->price *
                    exp(fmin(fmax(learned[METALLM__TARGET_COST], -LOG_COST_REACH), LOG_COST_REACH) +
                        s->cost_level);
    out->latency_ms =
        known(prior->latency_ms, s->latency_seen) *
        exp(fmin(fmax(learned[METALLM__TARGET_LATENCY], -LOG_COST_REACH), LOG_COST_REACH) +
            s->latency_level);
}

static void believe_absolute(const struct metallm__adapt *a, uint32_t m, const double *z,
                             struct metallm__belief *out)
{
    double learned[METALLM__TARGETS];
    metallm__learner_predict(a->learner, m, z, learned);
    out->quality = learned[METALLM__TARGET_QUALITY];
    out->sd = 0;
    out->cost_usd = fmax(learned[METALLM__TARGET_COST], 0) * a->opts.scale * a->sides[m].price;
    out->latency_ms = fmax(learned[METALLM__TARGET_LATENCY], 0);
}

static double deviation(const struct metallm__adapt *a, uint32_t m, const double *z, double prior)
{
    const double v = metallm__learner_variance(a->learner, m, METALLM__FACTOR_QUALITY, z);
    if (a->opts.kind != METALLM__ADAPT_RESIDUAL)
        return sqrt(v); /* the papers' units: of the noise's deviation */
    const struct metallm__drift *d = &a->sides[m].drift;
    return sqrt(prior * prior + d->noise * v + metallm__drift_variance(d, &a->opts.drift, a->now));
}

void metallm__adapt_believe(const struct metallm__adapt *a, const double *z,
                            const struct metallm__belief *prior, int needs_sd,
                            struct metallm__belief *out)
{
    for (uint32_t m = 0, n = metallm__adapt_models(a); m < n; m++) {
        if (a->opts.kind == METALLM__ADAPT_RESIDUAL)
            believe_residual(a, m, z, &prior[m], &out[m]);
        else
            believe_absolute(a, m, z, &out[m]);
        if (needs_sd)
            out[m].sd = deviation(a, m, z, prior[m].sd);
    }
}

/* What is left of a logarithm after its prediction, within reach; NaN where there is none. */
static double log_rest(double seen, double predicted)
{
    if (!(seen > 0 && isfinite(seen) && predicted > 0 && isfinite(predicted)))
        return NAN;
    return fmin(fmax(log(seen / predicted), -LOG_COST_REACH), LOG_COST_REACH);
}

/* Moves the level so that what is seen over what was predicted averages 1: dollars add up, their
 * logarithms do not. */
static void follow_ratio(double *level, double seen, double predicted)
{
    const double ratio = seen / predicted;
    if (ratio >= 0 && isfinite(ratio))
        *level += COST_LEVEL_GAIN * (fmin(ratio, 10) - 1);
}

static enum metallm__drift_change observe_residual(struct metallm__adapt *a, uint32_t m,
                                                   const double *z,
                                                   const struct metallm__belief *prior,
                                                   const struct metallm__seen *seen, double *y)
{
    struct side *s = &a->sides[m];
    struct metallm__belief now;
    believe_residual(a, m, z, prior, &now);
    enum metallm__drift_change change = METALLM__DRIFT_NONE;
    if (!isnan(seen->quality)) {
        change =
            metallm__drift_observe(&s->drift, &a->opts.drift, a->now, now.quality, seen->quality);
        y[METALLM__TARGET_QUALITY] = seen->quality - prior->quality - s->drift.level;
    }
    follow_ratio(&s->cost_level, seen->cost_usd, now.cost_usd);
    follow_ratio(&s->latency_level, seen->latency_ms, now.latency_ms);
    follow_mean(&s->cost_seen, seen->cost_usd / s->price);
    follow_mean(&s->latency_seen, seen->latency_ms);
    y[METALLM__TARGET_COST] = log_rest(seen->cost_usd, known(prior->cost_usd, s->cost_seen) *
                                                           s->price * exp(s->cost_level));
    y[METALLM__TARGET_LATENCY] = log_rest(
        seen->latency_ms, known(prior->latency_ms, s->latency_seen) * exp(s->latency_level));
    return change;
}

static void observe_absolute(const struct metallm__adapt *a, uint32_t m,
                             const struct metallm__seen *seen, double *y)
{
    const double cost = seen->cost_usd / (a->opts.scale * a->sides[m].price);
    y[METALLM__TARGET_QUALITY] = seen->quality;
    y[METALLM__TARGET_COST] = cost;
    y[METALLM__TARGET_LATENCY] = seen->latency_ms;
    if (a->opts.kind == METALLM__ADAPT_JOINT)
        y[METALLM__TARGET_QUALITY] -= a->opts.dial * cost * a->sides[m].price;
}

int metallm__adapt_observe(struct metallm__adapt *a, uint32_t model, const double *z,
                           const struct metallm__belief *prior, const struct metallm__seen *seen,
                           enum metallm__drift_change *change, metallm_error *err)
{
    METALLM_REQUIRE(model < metallm__adapt_models(a));
    const uint32_t dim = metallm__learner_dim(a->learner);
    for (uint32_t i = 0; i < dim; i++) /* before anything is changed */
        if (!(fabs(z[i]) <= METALLM__LEARNER_VALUE_MAX))
            return metallm__error_set(err, METALLM_EINVAL, "element %u of the vector is %g",
                                      (unsigned)i, z[i]);
    struct metallm__seen usable = *seen;
    if (!(usable.quality >= 0 && usable.quality <= 1))
        usable.quality = NAN;
    if (!(usable.cost_usd >= 0 && usable.cost_usd <= METALLM__LEARNER_VALUE_MAX))
        usable.cost_usd = NAN;
    if (!(usable.latency_ms >= 0 && usable.latency_ms <= METALLM__LEARNER_VALUE_MAX))
        usable.latency_ms = NAN;
    double y[METALLM__TARGETS] = {NAN, NAN, NAN};
    enum metallm__drift_change seen_change = METALLM__DRIFT_NONE;
    if (a->opts.kind == METALLM__ADAPT_RESIDUAL)
        seen_change = observe_residual(a, model, z, prior, &usable, y);
    else
        observe_absolute(a, model, &usable, y);
    int rc = METALLM_OK;
    if (seen_change != METALLM__DRIFT_NONE)
        rc = metallm__learner_fade(a->learner, model, a->opts.fade, err);
    if (rc == METALLM_OK)
        rc = metallm__learner_observe(a->learner, model, z, y, 1, err);
    if (change != NULL)
        *change = seen_change;
    return rc;
}

void metallm__adapt_correct(struct metallm__adapt *a, uint32_t model, const double *z,
                            double weight, double by)
{
    METALLM_REQUIRE(a->opts.kind == METALLM__ADAPT_RESIDUAL && a->opts.learner.gamma >= 1);
    metallm__learner_correct(a->learner, model, z, weight, by);
}

void metallm__adapt_reprice(struct metallm__adapt *a, uint32_t model, double factor)
{
    METALLM_REQUIRE(model < metallm__adapt_models(a) && factor > 0);
    a->sides[model].price *= factor;
}

int metallm__adapt_add_model(struct metallm__adapt *a, const struct metallm__newcomer *n,
                             metallm_error *err)
{
    int rc = metallm__learner_add_model(a->learner, n->like, n->share, err);
    if (rc != METALLM_OK)
        return rc;
    struct side *s = &a->sides[metallm__adapt_models(a) - 1];
    *s = (struct side){.price = 1, .cost_seen = NAN, .latency_seen = NAN};
    metallm__drift_init(&s->drift, n->level, n->level_sd, a->now);
    if (n->level_sd > 0)
        s->drift.watch =
            a->opts.drift.watch_uses < NEWCOMER_USES ? a->opts.drift.watch_uses : NEWCOMER_USES;
    return METALLM_OK;
}

void metallm__adapt_remove_model(struct metallm__adapt *a, uint32_t model)
{
    metallm__learner_remove_model(a->learner, model);
    const uint32_t left = metallm__adapt_models(a);
    memmove(&a->sides[model], &a->sides[model + 1], (left - model) * sizeof a->sides[0]);
}

/* Numbers of a side in a file: level, its variance now, noise, watch, changes, price, cost level,
 * latency level, mean cost and latency seen (-1: never). */
enum { SIDE_NUMBERS = 10, NAME_BYTES = 64 };
/* Of its watch for a change: up, down, then wealth, sum and count of each bet on a drop, a rise. */
enum { BET_NUMBERS = 2 + 2 * 3 * METALLM__DRIFT_BETS };

static int save_bets(const struct metallm__adapt *a, struct metallm__st_writer *w,
                     const char *prefix, metallm_error *err)
{
    double out[METALLM_MODELS_MAX * BET_NUMBERS], *at = out;
    const uint32_t models = metallm__adapt_models(a);
    for (uint32_t m = 0; m < models; m++) {
        const struct metallm__drift *d = &a->sides[m].drift;
        *at++ = d->up;
        *at++ = d->down;
        for (int i = 0; i < 2 * METALLM__DRIFT_BETS; i++) {
            const struct metallm__drift_bet *b =
                i < METALLM__DRIFT_BETS ? &d->drop[i] : &d->rise[i - METALLM__DRIFT_BETS];
            *at++ = b->wealth;
            *at++ = b->sum;
            *at++ = b->count;
        }
    }
    char name[NAME_BYTES];
    METALLM_REQUIRE(snprintf(name, sizeof name, "%s.bets", prefix) < NAME_BYTES);
    return metallm__st_put(w, name, METALLM__F64, 2, (const size_t[]){models, BET_NUMBERS}, out,
                           err);
}

/* A file from before bets were kept has none: they start anew. */
static int load_bets(struct metallm__adapt *a, const struct metallm__st_file *f, const char *prefix,
                     metallm_error *err)
{
    char name[NAME_BYTES];
    struct metallm__tensor t;
    const uint32_t models = metallm__adapt_models(a);
    METALLM_REQUIRE(snprintf(name, sizeof name, "%s.bets", prefix) < NAME_BYTES);
    if (!metallm__st_has(f, name))
        return METALLM_OK;
    int rc =
        metallm__st_get(f, name, METALLM__F64, 2, (const size_t[]){models, BET_NUMBERS}, &t, err);
    for (uint32_t m = 0; m < models && rc == METALLM_OK; m++) {
        double x[BET_NUMBERS];
        memcpy(x, (const char *)t.data + m * sizeof x, sizeof x);
        for (int i = 0; i < BET_NUMBERS; i++)
            if (!(fabs(x[i]) <= 1e12) || (i >= 2 && i % 3 == 1 && !(x[i] >= 0 && x[i] <= 4e9)))
                return metallm__error_set(err, METALLM_EFORMAT, "bets on model %u are damaged",
                                          (unsigned)m);
        struct metallm__drift *d = &a->sides[m].drift;
        d->up = x[0];
        d->down = x[1];
        for (int i = 0; i < 2 * METALLM__DRIFT_BETS; i++) {
            const double *b = x + 2 + 3 * i;
            struct metallm__drift_bet *to =
                i < METALLM__DRIFT_BETS ? &d->drop[i] : &d->rise[i - METALLM__DRIFT_BETS];
            *to = (struct metallm__drift_bet){.wealth = b[0], .sum = b[1], .count = (uint32_t)b[2]};
        }
    }
    return rc;
}

int metallm__adapt_save(const struct metallm__adapt *a, struct metallm__st_writer *w,
                        const char *prefix, metallm_error *err)
{
    METALLM_REQUIRE(a->opts.kind == METALLM__ADAPT_RESIDUAL);
    double out[METALLM_MODELS_MAX * SIDE_NUMBERS], *at = out;
    const uint32_t models = metallm__adapt_models(a);
    for (uint32_t m = 0; m < models; m++) {
        const struct side *s = &a->sides[m];
        *at++ = s->drift.level;
        *at++ = metallm__drift_variance(&s->drift, &a->opts.drift, a->now);
        *at++ = s->drift.noise;
        *at++ = s->drift.watch;
        *at++ = (double)s->drift.changes;
        *at++ = s->price;
        *at++ = s->cost_level;
        *at++ = s->latency_level;
        *at++ = isnan(s->cost_seen) ? -1 : s->cost_seen;
        *at++ = isnan(s->latency_seen) ? -1 : s->latency_seen;
    }
    char name[NAME_BYTES];
    METALLM_REQUIRE(snprintf(name, sizeof name, "%s.sides", prefix) < NAME_BYTES);
    int rc =
        metallm__st_put(w, name, METALLM__F64, 2, (const size_t[]){models, SIDE_NUMBERS}, out, err);
    if (rc == METALLM_OK)
        rc = save_bets(a, w, prefix, err);
    return rc == METALLM_OK ? metallm__learner_save(a->learner, w, prefix, err) : rc;
}

static bool load_side(struct side *s, const double x[SIDE_NUMBERS])
{
    for (int i = 0; i < SIDE_NUMBERS; i++)
        if (!(fabs(x[i]) <= 1e9))
            return false;
    if (!(x[1] >= 0 && x[2] > 0 && x[3] >= 0 && x[4] >= 0 && x[5] > 0))
        return false;
    metallm__drift_init(&s->drift, x[0], sqrt(x[1]), 0);
    s->drift.noise = x[2];
    s->drift.watch = (uint32_t)x[3];
    s->drift.changes = (uint64_t)x[4];
    s->price = x[5];
    s->cost_level = x[6];
    s->latency_level = x[7];
    s->cost_seen = x[8] >= 0 ? x[8] : NAN;
    s->latency_seen = x[9] >= 0 ? x[9] : NAN;
    return true;
}

int metallm__adapt_load(struct metallm__adapt **out, const struct metallm__st_file *f,
                        const char *prefix, uint32_t dim, uint32_t models, metallm_error *err)
{
    char name[NAME_BYTES];
    struct metallm__tensor sides;
    struct metallm__adapt *a = NULL;
    struct metallm__learner *l = NULL;
    METALLM_REQUIRE(snprintf(name, sizeof name, "%s.sides", prefix) < NAME_BYTES);
    int rc = metallm__st_get(f, name, METALLM__F64, 2, (const size_t[]){models, SIDE_NUMBERS},
                             &sides, err);
    if (rc == METALLM_OK)
        rc = metallm__learner_load(&l, f, prefix, err);
    if (rc == METALLM_OK &&
        (metallm__learner_dim(l) != dim || metallm__learner_models(l) != models))
        rc = metallm__error_set(err, METALLM_EFORMAT, "what was learned online does not fit");
    struct metallm__adapt_options o = metallm__adapt_defaults();
    o.learner.dim = dim;
    o.learner.models = models;
    if (rc == METALLM_OK)
        rc = metallm__adapt_new(&a, &o, err);
    for (uint32_t m = 0; m < models && rc == METALLM_OK; m++) {
        double x[SIDE_NUMBERS];
        memcpy(x, (const char *)sides.data + m * sizeof x, sizeof x);
        if (!load_side(&a->sides[m], x))
            rc = metallm__error_set(err, METALLM_EFORMAT, "level of model %u is damaged",
                                    (unsigned)m);
    }
    if (rc == METALLM_OK)
        rc = load_bets(a, f, prefix, err);
    if (rc != METALLM_OK) {
        metallm__learner_free(l);
        metallm__adapt_free(a);
        return rc;
    }
    metallm__learner_free(a->learner);
    a->learner = l;
    *out = a;
    return METALLM_OK;
}
