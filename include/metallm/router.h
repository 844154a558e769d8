/* SPDX-License-Identifier: Apache-2.0
 * metallm/router.h - learns which model is good for what, and picks one for a query.
 * The way of a query: features x -> estimate (quality, cost, latency per model) -> decide
 * (constraints, dial or target) -> decision with its propensity; later observe what came back.
 * Threads: any number may estimate, decide and save at once; observe and free need the router to
 * themselves. All chance comes from the caller's metallm_rng. */
#ifndef METALLM_ROUTER_H
#define METALLM_ROUTER_H
#include <stdbool.h>

#include "metallm/base.h"
#include "metallm/encoder.h"
#include "metallm/outcomes.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct metallm_router metallm_router;

/* Vectors of queries, a row each, row-major; borrowed for the call. */
typedef struct metallm_vectors {
    const float *values; /* rows x metallm_layout_dim(&layout), finite */
    size_t rows;
    metallm_layout layout;
    const char
        *encoder; /* metallm_encoder_id(), or "custom"; shorter than METALLM_ENCODER_ID_BYTES */
} metallm_vectors;

typedef struct metallm_train_options {
    const char
        *estimator; /* NULL: "auto". NAME or NAME:key=value,key=value: see metallm help train */
    uint64_t seed;
    uint32_t folds;   /* of cross-validation, by prompt; 0: 5 */
    uint32_t threads; /* 0: 1 */
    metallm_progress progress;
} metallm_train_options;

/* What cross-validation on the training rows says of the router (out-of-fold predictions). */
typedef struct metallm_train_report {
    size_t queries;
    uint32_t models, folds;
    double quality;      /* mean score of the model chosen at dial 0 */
    double quality_best; /* of the best single model */
    double cost_usd;     /* mean cost of the model chosen at dial 0; NaN without costs */
    double brier, ece;
    char chosen[METALLM_ERROR_BYTES]; /* estimator and hyper-parameters that were picked */
} metallm_train_report;

/* What is known of a model for one query. */
typedef struct metallm_estimate {
    float quality;    /* 0..1, calibrated chance (or expected score) */
    float quality_sd; /* standard error of quality, >= 0 */
    float cost_usd;   /* expected dollars; NaN: not known */
    float latency_ms; /* NaN: not known */
} metallm_estimate;

typedef struct metallm_constraints {
    float dial;   /* >= 0: reward = quality - dial * cost / highest mean cost (MetaLLM, eq. 1) */
    float target; /* > 0: the cheapest model with quality >= target instead; 0: off */
    float max_cost_usd;     /* > 0: dearer models are left out; 0: off */
    const uint8_t *allowed; /* model_count flags; NULL: all */
} metallm_constraints;

enum metallm_reason {
    METALLM_REASON_BEST_SCORE,    /* highest reward */
    METALLM_REASON_TARGET_MET,    /* the cheapest that reaches the target */
    METALLM_REASON_TARGET_MISSED, /* none reaches it: the highest quality */
    METALLM_REASON_OVER_MAX_COST, /* none is cheap enough: the cheapest */
    METALLM_REASON_EXPLORED,      /* drawn to learn */
};

typedef struct metallm_decision {
    uint32_t model;
    float propensity; /* chance with which this model was drawn, > 0 */
    enum metallm_reason reason;
} metallm_decision;

METALLM_API METALLM_MUSTCHECK int
metallm_router_train(metallm_router **out, const metallm_outcomes *outcomes,
                     const metallm_vectors *x, const metallm_train_options *opts,
                     metallm_train_report *report, /* may be NULL */
                     metallm_error *err);
/* Cheap first: a router over a fine encoder that carries a coarse one over a cheap encoder, and the
 * lead from which a coarse decision may stand. Both are fitted on the same rows; the margin is the
 * smallest that, by the fine one's out-of-fold estimates, loses at most loss_max of reward against
 * deciding by the fine router always (mean over queries and dials). Every other call takes such a
 * router as the fine one that it is. */
typedef struct metallm_tier_report {
    double margin; /* in units of quality; 0: the coarse router is enough */
    double share;  /* of decisions that need the fine encoder, over queries and dials */
    double lost;   /* mean reward lost by these estimates, >= 0 */
} metallm_tier_report;
METALLM_API METALLM_MUSTCHECK int
metallm_router_train_tiered(metallm_router **out, const metallm_outcomes *outcomes,
                            const metallm_vectors *coarse, const metallm_vectors *fine,
                            const metallm_train_options *opts,
                            double loss_max,              /* >= 0; NaN: 0.001 */
                            metallm_train_report *report, /* of the fine one; may be NULL */
                            metallm_tier_report *tiers,   /* may be NULL */
                            metallm_error *err);
METALLM_API const metallm_router *metallm_router_coarse(const metallm_router *r); /* NULL: none */
/* Whether the decision by these estimates of metallm_router_coarse(r) may stand; else estimate
 * again by r itself. False without a coarse router. c has been accepted by metallm_router_decide.
 */
METALLM_API bool metallm_router_is_safe(const metallm_router *r, const metallm_estimate *coarse,
                                        const metallm_constraints *c);

/* METALLM_EFORMAT: damaged, or made by a newer version. */
METALLM_API METALLM_MUSTCHECK int metallm_router_open(metallm_router **out, const char *path,
                                                      metallm_error *err);
/* Leaves the old file or the new one, never half of one. */
METALLM_API METALLM_MUSTCHECK int metallm_router_save(const metallm_router *r, const char *path,
                                                      metallm_error *err);
METALLM_API void metallm_router_free(metallm_router *r);

METALLM_API uint32_t metallm_router_model_count(const metallm_router *r);
METALLM_API const char *metallm_router_model_name(const metallm_router *r, uint32_t model);
METALLM_API uint32_t metallm_router_find_model(const metallm_router *r, const char *name);
METALLM_API double metallm_router_mean_quality(const metallm_router *r, uint32_t model);
METALLM_API double metallm_router_mean_cost(const metallm_router *r,
                                            uint32_t model); /* USD or NaN */
METALLM_API const char *metallm_router_encoder(const metallm_router *r);
METALLM_API metallm_layout metallm_router_layout(const metallm_router *r);
METALLM_API const char *metallm_router_estimator(const metallm_router *r);

/* out: rows x model_count records, row-major. METALLM_EMISMATCH: x comes from another encoder. */
METALLM_API METALLM_MUSTCHECK int metallm_router_estimate(const metallm_router *r,
                                                          const metallm_vectors *x,
                                                          metallm_estimate *out,
                                                          metallm_error *err);
/* The reward of each model under the constraints: what decide compares. NaN: left out. */
METALLM_API void metallm_router_score(const metallm_router *r, const metallm_estimate *estimates,
                                      const metallm_constraints *c, float *scores);
/* Ties: the cheaper by estimate, then the lower index. Unknown cost counts as the highest mean
 * cost. METALLM_EINVAL: no model is allowed, or a constraint is out of range. */
METALLM_API METALLM_MUSTCHECK int metallm_router_decide(const metallm_router *r,
                                                        const metallm_estimate *estimates,
                                                        const metallm_constraints *c,
                                                        metallm_rng *rng, metallm_decision *out,
                                                        metallm_error *err);
/* Learns from what one model did with one query (the others' outcomes stay unknown). x: one row.
 * METALLM_EINVAL: the outcome is out of range; nothing is learned from it then. */
METALLM_API METALLM_MUSTCHECK int metallm_router_observe(metallm_router *r,
                                                         const metallm_vectors *x, uint32_t model,
                                                         const metallm_outcome *seen,
                                                         metallm_error *err);

#ifdef __cplusplus
}
#endif
#endif
