/* SPDX-License-Identifier: Apache-2.0
 * router_state.h - what a router is made of, shared by its training, its use and its file. */
#ifndef ROUTER_ROUTER_STATE_H
#define ROUTER_ROUTER_STATE_H
#include "metallm/router.h"
#include "router/adapt.h"
#include "router/combine.h"
#include "router/doubt.h"
#include "router/estimator.h"
#include "router/gate.h"
#include "router/projection.h"
#include "router/spend.h"
#include "router/task_library.h"

#define METALLM__ROUTER_VERSION "1"

struct metallm__member {
    const struct metallm__estimator *estimator;
    void *state;
};

struct metallm_router {
    uint32_t models;
    char **name; /* models */
    char encoder[METALLM_ENCODER_ID_BYTES];
    char described[METALLM_ERROR_BYTES]; /* estimator and hyper-parameters that were picked */
    struct metallm__projection projection;
    uint32_t members;
    struct metallm__member member[METALLM__MEMBERS_MAX];
    struct metallm__combination combination;
    double *mean;                 /* models: mean score, what estimates are drawn to */
    struct metallm__platt *platt; /* models */
    struct metallm__gate gate;
    struct metallm__doubt doubt;
    struct metallm__spend cost, latency;
    struct metallm__library *tasks; /* for new tasks; NULL: an old file, or none kept */
    double scale;                   /* the highest mean cost; NaN: no cost is known */
    struct metallm_router *coarse;  /* over a cheaper encoder, owned; NULL: none */
    double margin;                  /* lead from which a coarse decision stands (tier.h) */
    struct metallm__adapt *adapt;   /* what was learned online (learn.c); NULL: nothing yet */
};

/* metallm_router_train that also gives the out-of-fold estimates of the rows: held_out is
 * queries x models, or NULL. Costs in it come from the fitted cost model. */
METALLM_MUSTCHECK int metallm__router_train(metallm_router **out, const metallm_outcomes *outcomes,
                                            const metallm_vectors *x,
                                            const metallm_train_options *opts,
                                            metallm_train_report *report,
                                            metallm_estimate *held_out, metallm_error *err);

/* A router with names and empty parts, to be filled. */
METALLM_MUSTCHECK int metallm__router_new(metallm_router **out, uint32_t models,
                                          metallm_error *err);
void metallm__router_set_scale(metallm_router *r); /* from r->cost */

/* z: rows x r->projection.dim. METALLM_EMISMATCH: x comes from another encoder. lengths may be
 * NULL. */
METALLM_MUSTCHECK int metallm__router_project(const metallm_router *r, const metallm_vectors *x,
                                              float *z, float *lengths, metallm_error *err);
/* The offline estimates from projected rows: n x models. */
METALLM_MUSTCHECK int metallm__router_prior_z(const metallm_router *r, const float *z,
                                              const float *lengths, size_t n, metallm_estimate *out,
                                              metallm_error *err);
/* Corrects them by what was learned online (learn.c). */
void metallm__router_correct(const metallm_router *r, const float *z, size_t n,
                             metallm_estimate *out);
uint32_t metallm__router_learn_dim(const metallm_router *r); /* of the vector it learns on */
/* That vector, from a projected row. */
void metallm__router_learn_vector(const metallm_router *r, const float *z, float *out);
/* Both: what is believed now. */
METALLM_MUSTCHECK int metallm__router_estimate_z(const metallm_router *r, const float *z,
                                                 const float *lengths, size_t n,
                                                 metallm_estimate *out, metallm_error *err);
/* The last steps from a combined prediction to quality: calibration, gate, 0..1. */
float metallm__router_finish(const metallm_router *r, uint32_t model, float q, float gate);

#endif
