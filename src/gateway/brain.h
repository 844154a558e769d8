/* SPDX-License-Identifier: Apache-2.0
 * brain.h - one brain per router of the configuration: what is believed of each LLM for a query
 * (router file, corrected by feedback), the choice with its exact propensity, and learning.
 *
 * A view is an immutable, counted state of a brain. Each loop keeps a reader per brain: taking the
 * newest view is one atomic load as long as nothing changed. The journal's thread learns and
 * publishes.
 *
 * The way of a request: reader_view -> estimate (beliefs) -> the key's price of money
 * (limits_money) -> decide -> ... -> spent -> record (record.h). Candidates are numbered as in
 * view->models; view->models[i] is the index of the model in view->config.
 *
 * Belief about LLM m and vector z (router/adapt.h):
 *     quality = prior_m(x) + theta_m'z + level_m
 *     cost    = prior cost * price factor_m * exp(theta_c,m'z + level_c,m)
 * prior: the router file's estimate; without a file, or for an LLM that it does not know: the
 * stated one (prior_quality), that of its outcomes (prior.h), that of `like`, or 0.5. Prior cost:
 * the file's model of cost; else 1e-6 (input price * input tokens + output price * mean output
 * tokens of m), the mean learned. Without a vector z is 0 but for its intercept, and prior_m the
 * mean of the file (BMA). */
#ifndef GATEWAY_BRAIN_H
#define GATEWAY_BRAIN_H
#include "gateway/config.h"
#include "gateway/prior.h"
#include "gateway/record.h"
#include "metallm/router.h"

struct metallm__brains; /* all brains */
struct metallm__brain;
struct metallm__store;

/* Dollars per million tokens today (usd_per_call: and per call); NaN: not known. */
struct metallm__brain_price {
    double input, output, cached_input, usd_per_call;
};

struct metallm__prior_told {
    const char *model, *router;
    double quality;                             /* the score that was taken */
    const struct metallm__prior_scores *scores; /* NULL: the outcomes could not be read */
    const metallm_error *err;                   /* why they could not be read or encoded; NULL */
};

/* What all brains need to know; borrowed for the call. */
struct metallm__brains_setup {
    const struct metallm__config *config;      /* held as long as a view needs it */
    const struct metallm__brain_price *prices; /* a record per model of config */
    const char *encoder;                       /* metallm_encoder_id */
    metallm_layout layout;                     /* of the features that queries bring */
    metallm_encoder *outcomes;                 /* encodes newcomers' outcomes; NULL: none */
    /* Told of each prior that was worked out from outcomes, and of an LLM of the admin API whose
     * outcomes cannot be read any more, so that it begins without. May be NULL. */
    void (*told)(void *payload, const struct metallm__prior_told *what);
    void *payload;
};

METALLM_MUSTCHECK int metallm__brains_new(struct metallm__brains **out, metallm_error *err);
void metallm__brains_free(struct metallm__brains *b); /* after journal and readers */
/* Makes what the configuration says so: at start, at reload, when a price changes by its date or by
 * the admin API. What was learned of LLMs that stay is kept; a newcomer takes its prior; one that
 * went keeps its state until it is back. A router file that is another one begins anew. All or
 * nothing. Any thread, one at a time. METALLM_EMISMATCH: a router file of another encoder. */
METALLM_MUSTCHECK int metallm__brains_configure(struct metallm__brains *b,
                                                const struct metallm__brains_setup *setup,
                                                metallm_error *err);
uint32_t metallm__brains_count(const struct metallm__brains *b);
/* The setup of requests that no brain decides (the client named the LLM). */
uint64_t metallm__brains_direct_setup(const struct metallm__brains *b);
/* By name of the router; NULL: none. A brain stays valid until brains_free. */
struct metallm__brain *metallm__brains_find(struct metallm__brains *b, const char *name);

struct metallm__view {
    const struct metallm__config *config;
    const struct metallm__config_router *router; /* of config */
    const metallm_router *file;                  /* NULL: none */
    uint64_t setup;                              /* hash: metallm__record.setup */
    uint64_t version;                            /* events learned from */
    uint32_t count;                              /* candidates */
    const uint32_t *models;                      /* count: indices into config->models */
    uint32_t dim;                                /* floats in z */
    double scale_usd;                            /* NaN: no costs known */
    const struct metallm__brain_inner *inner;
};

struct metallm__brain_reader; /* belongs to one loop */
METALLM_MUSTCHECK int metallm__brain_reader_new(struct metallm__brain_reader **out,
                                                struct metallm__brain *b, metallm_error *err);
void metallm__brain_reader_free(struct metallm__brain_reader *r);
/* The newest view; stands until the next call on this reader. view_take keeps one longer. */
const struct metallm__view *metallm__brain_view(struct metallm__brain_reader *r);
const struct metallm__view *metallm__view_take(const struct metallm__view *v);
void metallm__view_drop(const struct metallm__view *v); /* NULL is fine */

/* A turn of a conversation that went on before. */
struct metallm__brain_session {
    uint32_t model; /* index into config->models of the LLM that answered last; NONE: first turn */
    uint64_t context; /* tokens of the conversation so far, which that LLM may have cached */
    double age_s;     /* since that answer */
};

struct metallm__brain_query {
    const float *features;  /* as setup.layout; NULL: no vector */
    const float *coarse;    /* of a tiered router file's cheap encoder: serves where there is no
                               vector. NULL: none */
    double dial, target;    /* NaN: the router's */
    double max_cost_usd;    /* 0: the router's */
    const uint8_t *allowed; /* a flag per candidate; NULL: all */
    unsigned abilities;     /* METALLM__ABLE_* that are needed */
    uint64_t input_tokens;  /* estimated, of the whole request */
    uint64_t output_max;    /* tokens the client allows; 0: not stated */
    double money;           /* quality per dollar on top of the router's: the key's budget */
    double usd_left;        /* dearer candidates are left out; 0 or infinite: no bound */
    struct metallm__brain_session session;
    double now_s; /* wall clock, seconds since 1970: a budget's period */
    metallm_rng *rng;
};

struct metallm__brain_decision {
    struct metallm__candidate *candidates; /* view->count, the caller's */
    uint32_t *order; /* view->count, the caller's: candidates to try, the chosen one first */
    uint32_t order_count;
    float z[METALLM__RECORD_DIM_MAX];
    uint32_t dim;    /* 0: no vector */
    uint32_t chosen; /* candidate; in mode observe the one that would have been */
    uint32_t model;  /* index into config->models to call first: the chosen one's, or observe's */
    double propensity;
    enum metallm_reason reason;
    double dial, target, max_cost_usd; /* in force */
    double money;                      /* quality per dollar in all */
    unsigned flags;                    /* METALLM__RECORD_* */
};

/* Whether the router file is tiered and its cheap estimates on q->coarse are clear enough to do
 * without the vector (router/tier.h). What is learned from such a decision concerns its LLM in
 * general alone: there is no z. */
bool metallm__brain_is_clear(const struct metallm__view *v, const struct metallm__brain_query *q);
/* Fills candidates (score and chance apart) and z. Never fails for want of a vector: what goes
 * wrong on the way to one counts as none. d->candidates and d->order are set by the caller. */
void metallm__brain_estimate(const struct metallm__view *v, const struct metallm__brain_query *q,
                             struct metallm__brain_decision *d);
/* After estimate. METALLM_ENOTFOUND: no candidate is allowed and able. METALLM_EINVAL: a constraint
 * out of range. METALLM_ELIMIT: none costs at most usd_left. */
METALLM_MUSTCHECK int metallm__brain_decide(const struct metallm__view *v,
                                            const struct metallm__brain_query *q,
                                            struct metallm__brain_decision *d, metallm_error *err);
/* Books what a request cost on the router's budget, once. */
void metallm__brain_spent(const struct metallm__view *v, double usd);
/* Copies the decision into a record: setup, version, constraints, candidates, z, flags. Models of a
 * setup are numbered as the view's candidates; those of the direct setup as config->models. */
void metallm__brain_record(const struct metallm__view *v, const struct metallm__brain_decision *d,
                           struct metallm__record *r);

/* Dollars spent in the router's budget period so far; NaN without a period. */
double metallm__view_spent(const struct metallm__view *v);
/* For /metrics and the status page: one LLM of a brain as it stands. */
struct metallm__brain_llm {
    const char *name;
    double quality, cost_usd, latency_ms; /* of a mean request, as believed; NaN: not known */
    double quality_low, quality_high;     /* 95 % */
    double output_tokens;                 /* mean */
    uint64_t seen;                        /* scores learned from */
    uint64_t changes;                     /* alarms of change */
    bool is_new, is_drained;
};
void metallm__view_llm(const struct metallm__view *v, uint32_t candidate,
                       struct metallm__brain_llm *out);
#endif
