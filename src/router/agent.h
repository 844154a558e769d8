/* SPDX-License-Identifier: Apache-2.0
 * agent.h - decides online: beliefs (adapt.h) -> scores under the dial or the budget's price of
 * money (pacer.h) -> a policy's chances, exploration, one draw with its exact propensity
 * (choose.h). Then it takes in what came back, at once, late or never.
 * Owner: the caller of new frees. Threads: one at a time. */
#ifndef ROUTER_AGENT_H
#define ROUTER_AGENT_H
#include "router/choose.h"

struct metallm__agent_options {
    struct metallm__adapt_options adapt;
    struct metallm__policy_choice policy;
    double dial;                         /* reward = quality - dial * cost / scale */
    double scale;                        /* dollars of the highest mean cost; 0: no costs */
    struct metallm__pacer_options pacer; /* usd_per_request > 0: a budget in place of the dial */
    double explore;        /* share of requests spread over all models to learn, 0..1 */
    double explore_watch;  /* ... on each model on watch after a change */
    double explore_new;    /* ... on each newcomer */
    uint32_t new_uses;     /* observations of its quality that make a newcomer known */
    double explore_budget; /* share of the budget that each kind of exploration may cost */
};

struct metallm__agent;

struct metallm__agent_options metallm__agent_defaults(void);
METALLM_MUSTCHECK int metallm__agent_new(struct metallm__agent **out,
                                         const struct metallm__agent_options *opts,
                                         metallm_error *err);
void metallm__agent_free(struct metallm__agent *g);
struct metallm__adapt *metallm__agent_adapt(struct metallm__agent *g);
const struct metallm__pacer *metallm__agent_pacer(const struct metallm__agent *g); /* or NULL */

/* prior: a record per model; allowed: a flag per model, NULL: all. At least one model is allowed.
 * z is prepared. */
struct metallm__choice metallm__agent_decide(struct metallm__agent *g, const double *z,
                                             const struct metallm__belief *prior,
                                             const uint8_t *allowed, metallm_rng *rng);
/* The chances that a query would have now, without exploration and without leaving a trace: for
 * watching what is in force. chance: a number per model. */
void metallm__agent_peek(const struct metallm__agent *g, const double *z,
                         const struct metallm__belief *prior, const uint8_t *allowed,
                         double *chance);
/* What the last decision reckoned with, a record or number per model. */
const struct metallm__belief *metallm__agent_beliefs(const struct metallm__agent *g);
const double *metallm__agent_scores(const struct metallm__agent *g);
const double *metallm__agent_chances(const struct metallm__agent *g);
/* Quality per dollar that it paid with. */
double metallm__agent_price(const struct metallm__agent *g);

/* Dollars are booked once, when they are spent; feedback on quality may come apart from them. */
void metallm__agent_spent(struct metallm__agent *g, double usd);
METALLM_MUSTCHECK int metallm__agent_observe(struct metallm__agent *g, uint32_t model,
                                             const double *z, const struct metallm__belief *prior,
                                             const struct metallm__seen *seen,
                                             enum metallm__drift_change *change,
                                             metallm_error *err);
void metallm__agent_reprice(struct metallm__agent *g, uint32_t model, double factor);
METALLM_MUSTCHECK int metallm__agent_add_model(struct metallm__agent *g,
                                               const struct metallm__newcomer *n,
                                               metallm_error *err);
void metallm__agent_remove_model(struct metallm__agent *g, uint32_t model);

#endif
