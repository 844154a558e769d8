/* SPDX-License-Identifier: Apache-2.0
 * evaluate.h - replays a router on held-out outcomes: each model alone, oracle, random, the best
 * average model, the router along its dial, under targets and cost caps, with intervals.
 * The decisions are metallm_router_decide()'s own: what is measured is what would be served. */
#ifndef EVAL_EVALUATE_H
#define EVAL_EVALUATE_H
#include "base/buf.h"
#include "eval/bootstrap.h"
#include "math/calibration.h"

#define METALLM__EVAL_DIALS       64u
#define METALLM__EVAL_TARGETS     5u /* .5 .6 .7 .8 .9 */
#define METALLM__EVAL_COST_SHARES 3u /* 10, 25, 50 % of the best model's cost */
#define METALLM__EVAL_TIERS       8u

struct metallm__evaluate_options {
    uint64_t seed;
    uint32_t resamples; /* 0: no intervals */
    metallm_progress progress;
    const metallm_vectors
        *coarse; /* of a router with a coarse one inside; NULL: it decides alone */
};

struct metallm__policy_result {
    struct metallm__point mean;
    struct metallm__interval quality_ci, cost_ci;
};

/* Single numbers with intervals; the table in evaluate_json.c names them. */
enum metallm__figure {
    METALLM__FIG_AIQ,          /* NaN without costs */
    METALLM__FIG_ZERO_AIQ,     /* of the single models alone */
    METALLM__FIG_AIQ_GAIN,     /* AIQ - zero AIQ */
    METALLM__FIG_QUALITY_MAX,  /* highest point of the curve */
    METALLM__FIG_QUALITY_GAIN, /* at dial 0, above the best single model */
    METALLM__FIG_MATCH,        /* share of the best model's cost; INFINITY: never */
    METALLM__FIG_QUALITY_AT,   /* METALLM__EVAL_COST_SHARES figures from here on */
    METALLM__FIGURES = METALLM__FIG_QUALITY_AT + METALLM__EVAL_COST_SHARES,
};

struct metallm__dial_result {
    float dial;
    size_t policy;                   /* index into policies */
    float fine;                      /* share of the queries that need the fine encoder */
    float share[METALLM_MODELS_MAX]; /* of the queries; by model of the evaluation */
};

struct metallm__rule_result { /* a target, or a cost cap */
    float value;              /* chance, or dollars */
    double attainable;        /* share of queries where some model meets it by estimate */
    double fine;              /* share of queries that need the fine encoder */
    size_t policy;            /* over all queries */
    size_t kept;              /* over the attainable queries alone */
};

/* Cheap first at one margin, along the whole dial (src/router/tier.h). */
struct metallm__tier_result {
    double margin;       /* lead from which a decision by the cheap encoder stands */
    double share;        /* of the decisions that need the fine one, over the dials */
    size_t first;        /* index into policies: its setting of each dial, 0 first */
    double quality, aiq; /* at dial 0; NaN without costs */
    double lost;         /* AIQ (without costs quality) less than with the fine one always */
    struct metallm__interval lost_ci; /* paired */
};

struct metallm__evaluation {
    size_t n;
    uint32_t models;                           /* known to both router and outcomes */
    const char *names[METALLM_MODELS_MAX];     /* the router's */
    uint32_t router_index[METALLM_MODELS_MAX]; /* of model j in the router */
    uint32_t not_in_files, not_in_router;      /* models that only one side knows */
    size_t scores_missing;                     /* cells without a score */
    double scale;                              /* dollars that the dial is per; NaN: no costs */
    uint32_t best, bma;                        /* model of the best mean score; by training */
    struct metallm__policy_result *policies;   /* models, oracle, random, then the rest */
    size_t policy_count, oracle, random;
    struct metallm__dial_result *curve; /* curve_count, by rising cost */
    size_t curve_count;
    struct metallm__point *hull; /* hull_count, of the curve and the cheapest model; owned */
    size_t hull_count;           /* 0 without costs */
    struct metallm__rule_result targets[METALLM__EVAL_TARGETS], caps[METALLM__EVAL_COST_SHARES];
    size_t cap_count;                                       /* 0 without costs */
    struct metallm__tier_result tiers[METALLM__EVAL_TIERS]; /* its own margin, others, always */
    size_t tier_count;                                      /* 0: a plain router */
    double figures[METALLM__FIGURES];
    struct metallm__interval intervals[METALLM__FIGURES];
    struct metallm__calibration calibration;
    uint64_t seed;
    uint32_t resamples;
};

/* The names in *out belong to the router. METALLM_EMISMATCH: no model, or no query, in common. */
METALLM_MUSTCHECK int metallm__evaluate(const metallm_router *r, const metallm_outcomes *outcomes,
                                        const metallm_vectors *x,
                                        const struct metallm__evaluate_options *opts,
                                        struct metallm__evaluation **out, metallm_error *err);
void metallm__evaluation_free(struct metallm__evaluation *e);
double metallm__eval_cost_share(size_t i); /* of METALLM__EVAL_COST_SHARES: .10, .25, .50 */

/* The object of `evaluate --json`, one line. */
METALLM_MUSTCHECK int metallm__evaluation_json(const struct metallm__evaluation *e,
                                               struct metallm__buf *out, metallm_error *err);
#endif
