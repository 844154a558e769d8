/* SPDX-License-Identifier: Apache-2.0
 * agent.c - see agent.h. */
#include "router/agent.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

struct metallm__agent {
    struct metallm__agent_options opts;
    struct metallm__adapt *adapt;
    struct metallm__pacer *pacer; /* NULL: the dial */
    uint64_t steps;
    double price; /* quality per dollar of the last decision */
    uint8_t is_new[METALLM_MODELS_MAX];
    struct metallm__belief beliefs[METALLM_MODELS_MAX];
    double scores[METALLM_MODELS_MAX], chances[METALLM_MODELS_MAX];
};

struct metallm__agent_options metallm__agent_defaults(void)
{
    struct metallm__agent_options o = {
        .adapt = metallm__adapt_defaults(),
        .policy = {.policy = &metallm__policy_greedy},
        .explore = 0.005,
        .explore_watch = 0.05,
        .explore_new = 0.2,
        .new_uses = 20,
        .explore_budget = 0.02,
    };
    return o;
}

static int check_share(double share, const char *what, metallm_error *err)
{
    if (share >= 0 && share <= 1)
        return METALLM_OK;
    return metallm__error_set(err, METALLM_EINVAL, "%s of %g (0..1)", what, share);
}

int metallm__agent_new(struct metallm__agent **out, const struct metallm__agent_options *opts,
                       metallm_error *err)
{
    int rc = check_share(opts->explore, "exploration", err);
    if (rc == METALLM_OK)
        rc = check_share(opts->explore_watch, "exploration on watch", err);
    if (rc == METALLM_OK)
        rc = check_share(opts->explore_new, "exploration of newcomers", err);
    if (rc == METALLM_OK && !(opts->dial >= 0 && isfinite(opts->dial)))
        rc = metallm__error_set(err, METALLM_EINVAL, "dial %g", opts->dial);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__agent *g = metallm__calloc(1, sizeof *g);
    if (g == NULL)
        return metallm__error_nomem(err, "an agent");
    g->opts = *opts;
    rc = metallm__adapt_new(&g->adapt, &opts->adapt, err);
    if (rc == METALLM_OK && opts->pacer.usd_per_request > 0) {
        g->opts.pacer.models = METALLM_MODELS_MAX < opts->adapt.learner.models + 8
                                   ? METALLM_MODELS_MAX
                                   : opts->adapt.learner.models + 8; /* room for newcomers */
        rc = metallm__pacer_new(&g->pacer, &g->opts.pacer, err);
    }
    if (rc != METALLM_OK) {
        metallm__agent_free(g);
        return rc;
    }
    *out = g;
    return METALLM_OK;
}

void metallm__agent_free(struct metallm__agent *g)
{
    if (g == NULL)
        return;
    metallm__pacer_free(g->pacer);
    metallm__adapt_free(g->adapt);
    metallm__free(g);
}

struct metallm__adapt *metallm__agent_adapt(struct metallm__agent *g)
{
    return g->adapt;
}

const struct metallm__pacer *metallm__agent_pacer(const struct metallm__agent *g)
{
    return g->pacer;
}

const struct metallm__belief *metallm__agent_beliefs(const struct metallm__agent *g)
{
    return g->beliefs;
}

const double *metallm__agent_scores(const struct metallm__agent *g)
{
    return g->scores;
}

const double *metallm__agent_chances(const struct metallm__agent *g)
{
    return g->chances;
}

double metallm__agent_price(const struct metallm__agent *g)
{
    return g->price;
}

/* An unknown cost counts as the scale (decide.h). */
static double cost_of(const struct metallm__agent *g, const struct metallm__belief *b)
{
    return isfinite(b->cost_usd) ? b->cost_usd : g->opts.scale;
}

/* Without a budget: the dial's price of money; a joint regression has it in the reward already. */
static struct metallm__pacer_price price_by_dial(const struct metallm__agent *g)
{
    const bool has_price = g->opts.scale > 0 && g->opts.adapt.kind != METALLM__ADAPT_JOINT;
    const double price = has_price ? g->opts.dial / g->opts.scale : 0;
    return (struct metallm__pacer_price){.low = price, .high = price};
}

static struct metallm__pacer_price price_by_budget(struct metallm__agent *g, const uint8_t *allowed)
{
    const uint32_t count = metallm__adapt_models(g->adapt);
    double quality[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
    for (uint32_t m = 0; m < count; m++) {
        quality[m] = allowed != NULL && allowed[m] == 0 ? NAN : g->beliefs[m].quality;
        cost[m] = cost_of(g, &g->beliefs[m]);
    }
    return metallm__pacer_next(g->pacer, quality, cost, count, (double)g->steps);
}

void metallm__agent_peek(const struct metallm__agent *g, const double *z,
                         const struct metallm__belief *prior, const uint8_t *allowed,
                         double *chance)
{
    struct metallm__belief beliefs[METALLM_MODELS_MAX];
    double scores[METALLM_MODELS_MAX];
    metallm__adapt_believe(g->adapt, z, prior, g->opts.policy.policy->needs_sd, beliefs);
    const struct metallm__choosing c = {
        .beliefs = beliefs,
        .count = metallm__adapt_models(g->adapt),
        .allowed = allowed,
        .policy = &g->opts.policy,
        .scale = g->opts.scale,
        .price = g->pacer != NULL ? metallm__pacer_now(g->pacer) : price_by_dial(g),
        .step = g->steps,
    };
    metallm__choose_chances(&c, scores, chance);
}

struct metallm__choice metallm__agent_decide(struct metallm__agent *g, const double *z,
                                             const struct metallm__belief *prior,
                                             const uint8_t *allowed, metallm_rng *rng)
{
    const uint32_t count = metallm__adapt_models(g->adapt);
    METALLM_REQUIRE(count > 0);
    metallm__adapt_believe(g->adapt, z, prior, g->opts.policy.policy->needs_sd, g->beliefs);
    uint8_t watched[METALLM_MODELS_MAX];
    for (uint32_t m = 0; m < count; m++)
        watched[m] = metallm__drift_closeness(metallm__adapt_drift(g->adapt, m));
    const struct metallm__choosing c = {
        .beliefs = g->beliefs,
        .count = count,
        .allowed = allowed,
        .policy = &g->opts.policy,
        .scale = g->opts.scale,
        .price = g->pacer != NULL ? price_by_budget(g, allowed) : price_by_dial(g),
        .step = g->steps,
    };
    const struct metallm__exploring explore = {
        .all = g->opts.explore,
        .watch = g->opts.explore_watch,
        .newcomer = g->opts.explore_new,
        .cap = 0.5, /* never more than every second request */
        .paid = g->opts.explore_budget,
        .allowance = g->pacer != NULL ? metallm__pacer_allowance(g->pacer) : NAN,
        .is_new = g->is_new,
        .watched = watched,
    };
    g->price = c.price.high;
    const struct metallm__choice choice = metallm__choose(&c, &explore, g->scores, g->chances, rng);
    g->steps++;
    metallm__adapt_tick(g->adapt);
    return choice;
}

void metallm__agent_spent(struct metallm__agent *g, double usd)
{
    if (g->pacer != NULL)
        metallm__pacer_spent(g->pacer, usd);
}

int metallm__agent_observe(struct metallm__agent *g, uint32_t model, const double *z,
                           const struct metallm__belief *prior, const struct metallm__seen *seen,
                           enum metallm__drift_change *change, metallm_error *err)
{
    const struct metallm__drift *d = metallm__adapt_drift(g->adapt, model);
    const double level = d->level;
    enum metallm__drift_change what = METALLM__DRIFT_NONE;
    int rc = metallm__adapt_observe(g->adapt, model, z, prior, seen, &what, err);
    if (g->pacer != NULL && d->level != level) /* queries on record see the level of today */
        metallm__pacer_shift(g->pacer, model, d->level - level, what != METALLM__DRIFT_NONE);
    if (g->is_new[model] && metallm__learner_seen(metallm__adapt_learner(g->adapt), model,
                                                  METALLM__FACTOR_QUALITY) >= g->opts.new_uses)
        g->is_new[model] = 0;
    if (change != NULL)
        *change = what;
    return rc;
}

void metallm__agent_reprice(struct metallm__agent *g, uint32_t model, double factor)
{
    metallm__adapt_reprice(g->adapt, model, factor);
    if (g->pacer != NULL)
        metallm__pacer_rescale(g->pacer, model, factor);
}

int metallm__agent_add_model(struct metallm__agent *g, const struct metallm__newcomer *n,
                             metallm_error *err)
{
    if (g->pacer != NULL && metallm__adapt_models(g->adapt) >= g->opts.pacer.models)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u models under a budget",
                                  (unsigned)g->opts.pacer.models);
    int rc = metallm__adapt_add_model(g->adapt, n, err);
    if (rc != METALLM_OK)
        return rc;
    g->is_new[metallm__adapt_models(g->adapt) - 1] = 1;
    if (g->pacer != NULL)
        metallm__pacer_restart(g->pacer);
    return METALLM_OK;
}

void metallm__agent_remove_model(struct metallm__agent *g, uint32_t model)
{
    metallm__adapt_remove_model(g->adapt, model);
    if (g->pacer != NULL)
        metallm__pacer_forget_model(g->pacer, model);
    const uint32_t left = metallm__adapt_models(g->adapt);
    memmove(&g->is_new[model], &g->is_new[model + 1], left - model);
    g->is_new[left] = 0;
}
