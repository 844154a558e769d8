/* SPDX-License-Identifier: Apache-2.0
 * whatif.h - another policy on logged decisions: what it would have chosen, and by ope.h what that
 * would have earned and spent. It may only choose among the candidates that were logged. */
#ifndef EVAL_WHATIF_H
#define EVAL_WHATIF_H
#include "eval/decision_log.h"
#include "eval/ope.h"
#include "router/policy.h"

enum metallm__whatif_kind {
    METALLM__WHATIF_RULE,   /* the router's rule (router/decide.h) under constraints */
    METALLM__WHATIF_ALWAYS, /* one model */
    METALLM__WHATIF_RANDOM, /* each allowed candidate alike */
    METALLM__WHATIF_POLICY, /* chances of a policy (router/policy.h) on the logged estimates */
};

struct metallm__whatif_policy {
    enum metallm__whatif_kind kind;
    uint32_t model;                       /* METALLM__WHATIF_ALWAYS: index in the log */
    struct metallm__policy_choice policy; /* METALLM__WHATIF_POLICY */
    uint64_t step;                        /* ... decisions before this one */
    metallm_constraints constraints; /* within their ranges; allowed: a flag per model of the log */
};

struct metallm__whatif {
    size_t unusable; /* decisions where the policy has no candidate, or no estimate to go by */
    struct metallm__ope_result quality; /* over decisions whose score is known */
    struct metallm__ope_result cost;    /* dollars a request; over decisions of known cost */
    float share[METALLM_MODELS_MAX];    /* of its choices, by model of the log */
};

/* chance: d->count numbers that sum to 1. False: unusable. */
bool metallm__whatif_choose(const struct metallm__whatif_policy *p,
                            const struct metallm__log_decision *d, double *chance);

/* clip: see metallm__ope. */
METALLM_MUSTCHECK int metallm__whatif(const struct metallm__decision_log *l,
                                      const struct metallm__whatif_policy *p, double clip,
                                      struct metallm__whatif *out, metallm_error *err);

/* What was really done and got. NaN: not known for any decision. */
struct metallm__log_summary {
    size_t decisions, scored, priced;          /* with a known score; with a known cost */
    double from, to;                           /* times */
    double quality, quality_low, quality_high; /* mean score, 95 % */
    double cost_usd, spent_usd;                /* mean a request; sum */
    double explored;                           /* mean of 1 - propensity */
    float share[METALLM_MODELS_MAX];
};
void metallm__log_summarise(const struct metallm__decision_log *l,
                            struct metallm__log_summary *out);

#endif
