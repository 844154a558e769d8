/* SPDX-License-Identifier: Apache-2.0
 * learner_state.h - the inside of a learner, shared by learner.c (updates) and learner_merge.c
 * (merging, saving). Nobody else includes it. */
#ifndef ROUTER_LEARNER_STATE_H
#define ROUTER_LEARNER_STATE_H
#include "metallm/outcomes.h"
#include "router/learner.h"

struct metallm__factor_state {
    double *s;     /* S; NULL: this factor is the quality factor's */
    double *p;     /* A^-1 */
    double *prior; /* D_ii */
    double mass;   /* sum of discounted weights */
    uint64_t seen;
    uint32_t next; /* coordinate of the prior whose turn it is */
};

struct metallm__model_state {
    struct metallm__factor_state factors[METALLM__FACTORS];
    double *vectors; /* owns all of b and theta */
    double *b[METALLM__TARGETS], *theta[METALLM__TARGETS];
};

struct metallm__learner {
    struct metallm__learner_options opts; /* models: how many there are now */
    uint32_t pad, refill;
    double *u;       /* 2 x pad */
    double *scratch; /* dim x pad; made when first needed */
    double drift;
    uint64_t refactored;
    struct metallm__model_state *models[METALLM_MODELS_MAX];
};

struct metallm__sample {
    const double *z, *y;
    double weight;
};

void metallm__learner_factor_reset(const struct metallm__learner *l,
                                   struct metallm__factor_state *f);
/* Gives the spend factor a state of its own. */
METALLM_MUSTCHECK int metallm__learner_part(const struct metallm__learner *l,
                                            struct metallm__model_state *m, metallm_error *err);
/* P = (lambda I + S)^-1 */
METALLM_MUSTCHECK int metallm__learner_refactor(struct metallm__learner *l,
                                                struct metallm__factor_state *f,
                                                metallm_error *err);
/* theta = P b for the factor's targets */
void metallm__learner_solve(const struct metallm__learner *l, struct metallm__model_state *m,
                            enum metallm__factor factor);
#endif
