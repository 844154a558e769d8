/* SPDX-License-Identifier: Apache-2.0
 * router.c - a router in use: from vectors to estimates, and the public calls on top of decide.h.
 * Rows go through in blocks, so that scratch memory does not grow with their number. */
#include "metallm/router.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/decide.h"
#include "router/router_state.h"

#define BLOCK 256u

int metallm__router_new(metallm_router **out, uint32_t models, metallm_error *err)
{
    metallm_router *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "a router");
    r->models = models;
    r->scale = NAN;
    r->name = metallm__calloc(models, sizeof *r->name);
    r->mean = metallm__calloc(models, sizeof *r->mean);
    r->platt = metallm__calloc(models, sizeof *r->platt);
    if (r->name == NULL || r->mean == NULL || r->platt == NULL) {
        metallm_router_free(r);
        return metallm__error_nomem(err, "a router");
    }
    for (uint32_t m = 0; m < models; m++)
        r->platt[m].slope = 1;
    *out = r;
    return METALLM_OK;
}

void metallm_router_free(metallm_router *r)
{
    if (r == NULL)
        return;
    metallm_router_free(r->coarse);
    for (uint32_t m = 0; m < r->models && r->name != NULL; m++)
        metallm__free(r->name[m]);
    metallm__free(r->name);
    metallm__free(r->mean);
    metallm__free(r->platt);
    for (uint32_t k = 0; k < r->members; k++)
        if (r->member[k].state != NULL)
            r->member[k].estimator->free(r->member[k].state);
    metallm__projection_fini(&r->projection);
    metallm__gate_fini(&r->gate);
    metallm__doubt_fini(&r->doubt);
    metallm__spend_fini(&r->cost);
    metallm__spend_fini(&r->latency);
    metallm__library_free(r->tasks);
    metallm__adapt_free(r->adapt);
    metallm__free(r);
}

void metallm__router_set_scale(metallm_router *r)
{
    r->scale = NAN;
    for (uint32_t m = 0; m < r->models; m++)
        if (!isnan(r->cost.mean[m]) && !(r->scale >= r->cost.mean[m]))
            r->scale = r->cost.mean[m];
}

uint32_t metallm_router_model_count(const metallm_router *r)
{
    return r->models;
}

const char *metallm_router_model_name(const metallm_router *r, uint32_t model)
{
    METALLM_REQUIRE(model < r->models);
    return r->name[model];
}

uint32_t metallm_router_find_model(const metallm_router *r, const char *name)
{
    for (uint32_t m = 0; m < r->models; m++)
        if (strcmp(r->name[m], name) == 0)
            return m;
    return UINT32_MAX;
}

double metallm_router_mean_quality(const metallm_router *r, uint32_t model)
{
    METALLM_REQUIRE(model < r->models);
    return r->mean[model];
}

double metallm_router_mean_cost(const metallm_router *r, uint32_t model)
{
    METALLM_REQUIRE(model < r->models);
    return r->cost.mean[model];
}

const char *metallm_router_encoder(const metallm_router *r)
{
    return r->encoder;
}

metallm_layout metallm_router_layout(const metallm_router *r)
{
    return r->projection.layout;
}

const char *metallm_router_estimator(const metallm_router *r)
{
    return r->described;
}

static int check_vectors(const metallm_router *r, const metallm_vectors *x, metallm_error *err)
{
    const metallm_layout *have = &x->layout, *want = &r->projection.layout;
    if (strcmp(x->encoder, r->encoder) != 0)
        return metallm__error_set(
            err, METALLM_EMISMATCH,
            "the vectors come from encoder '%s', the router was trained on '%s'", x->encoder,
            r->encoder);
    if (have->head != want->head || have->tail != want->tail || have->text != want->text)
        return metallm__error_set(
            err, METALLM_EMISMATCH,
            "the vectors have %u + %u + %u floats, the router was trained on %u + %u + %u",
            have->head, have->tail, have->text, want->head, want->tail, want->text);
    return METALLM_OK;
}

int metallm__router_project(const metallm_router *r, const metallm_vectors *x, float *z,
                            float *lengths, metallm_error *err)
{
    int rc = check_vectors(r, x, err);
    return rc != METALLM_OK
               ? rc
               : metallm__projection_apply(&r->projection, x->values, x->rows, z, lengths, err);
}

float metallm__router_finish(const metallm_router *r, uint32_t model, float q, float gate)
{
    float mean = (float)r->mean[model];
    float v = metallm__platt_apply(&r->platt[model], q);
    v = mean + gate * (v - mean);
    return v > 1 ? 1 : v > 0 ? v : 0;
}

/* One block's scratch, all in one piece. */
struct scratch {
    float *all;
    float *p[METALLM__MEMBERS_MAX]; /* BLOCK x models each */
    float *amount;                  /* BLOCK x models */
    float *gate, *leverage;         /* BLOCK */
    float *wide;                    /* BLOCK x dim */
};

static int scratch_init(struct scratch *s, const metallm_router *r, size_t rows, metallm_error *err)
{
    size_t cells = rows * r->models;
    s->all = metallm__alloc_aligned(cells * (r->members + (size_t)1) +
                                        rows * (2 + (size_t)r->projection.dim) + 1,
                                    sizeof *s->all);
    if (s->all == NULL)
        return metallm__error_nomem(err, "estimates");
    for (uint32_t k = 0; k < r->members; k++)
        s->p[k] = s->all + k * cells;
    s->amount = s->all + r->members * cells;
    s->gate = s->amount + cells;
    s->leverage = s->gate + rows;
    s->wide = s->leverage + rows;
    return METALLM_OK;
}

static int estimate_block(const metallm_router *r, const float *z, const float *lengths, size_t n,
                          struct scratch *s, metallm_estimate *out, metallm_error *err)
{
    for (uint32_t k = 0; k < r->members; k++) {
        int rc = r->member[k].estimator->predict(r->member[k].state, z, n, s->p[k], err);
        if (rc != METALLM_OK)
            return rc;
    }
    const struct metallm__gate_rows rows = {z, lengths, n, r->projection.dim, r->projection.axes};
    int rc = metallm__gate_apply(&r->gate, &rows, s->gate, err);
    if (rc != METALLM_OK)
        return rc;
    if (r->members > 1 || r->combination.strength != 1)
        metallm__combine_apply(&r->combination, r->mean, s->p, n, r->models, s->p[0]);
    metallm__doubt_leverage(&r->doubt, z, n, s->wide, s->leverage);
    for (size_t i = 0; i < n; i++)
        for (uint32_t m = 0; m < r->models; m++) {
            metallm_estimate *e = &out[i * r->models + m];
            e->quality = metallm__router_finish(r, m, s->p[0][i * r->models + m], s->gate[i]);
            e->quality_sd = s->leverage[i] * r->doubt.deviation[m];
        }
    metallm__spend_predict(&r->cost, z, n, s->amount);
    for (size_t i = 0; i < n * r->models; i++)
        out[i].cost_usd = s->amount[i];
    metallm__spend_predict(&r->latency, z, n, s->amount);
    for (size_t i = 0; i < n * r->models; i++)
        out[i].latency_ms = s->amount[i];
    return METALLM_OK;
}

int metallm__router_prior_z(const metallm_router *r, const float *z, const float *lengths, size_t n,
                            metallm_estimate *out, metallm_error *err)
{
    struct scratch s;
    size_t block = n < BLOCK ? n : BLOCK;
    int rc = scratch_init(&s, r, block, err);
    if (rc != METALLM_OK)
        return rc;
    for (size_t from = 0; from < n && rc == METALLM_OK; from += block) {
        size_t rows = n - from < block ? n - from : block;
        rc = estimate_block(r, z + from * r->projection.dim, lengths + from, rows, &s,
                            out + from * r->models, err);
    }
    metallm__free(s.all);
    return rc;
}

int metallm__router_estimate_z(const metallm_router *r, const float *z, const float *lengths,
                               size_t n, metallm_estimate *out, metallm_error *err)
{
    int rc = metallm__router_prior_z(r, z, lengths, n, out, err);
    if (rc == METALLM_OK)
        metallm__router_correct(r, z, n, out);
    return rc;
}

int metallm_router_estimate(const metallm_router *r, const metallm_vectors *x,
                            metallm_estimate *out, metallm_error *err)
{
    uint32_t dim = r->projection.dim;
    size_t block = x->rows < BLOCK ? x->rows : BLOCK;
    size_t width = (size_t)x->layout.head + x->layout.tail + x->layout.text;
    float *z = metallm__alloc_aligned(block * (dim + (size_t)1) + 1, sizeof *z);
    if (z == NULL)
        return metallm__error_nomem(err, "estimates");
    float *lengths = z + block * dim;
    int rc = check_vectors(r, x, err);
    for (size_t from = 0; from < x->rows && rc == METALLM_OK; from += block) {
        size_t rows = x->rows - from < block ? x->rows - from : block;
        rc = metallm__projection_apply(&r->projection, x->values + from * width, rows, z, lengths,
                                       err);
        if (rc == METALLM_OK)
            rc = metallm__router_estimate_z(r, z, lengths, rows, out + from * r->models, err);
    }
    metallm__free(z);
    return rc;
}

static struct metallm__deciding deciding(const metallm_router *r, const metallm_constraints *c)
{
    return (struct metallm__deciding){*c, r->models, r->scale};
}

void metallm_router_score(const metallm_router *r, const metallm_estimate *estimates,
                          const metallm_constraints *c, float *scores)
{
    struct metallm__deciding d = deciding(r, c);
    metallm__decide_scores(&d, estimates, scores);
}

int metallm_router_decide(const metallm_router *r, const metallm_estimate *estimates,
                          const metallm_constraints *c, metallm_rng *rng, metallm_decision *out,
                          metallm_error *err)
{
    (void)rng; /* without exploration nothing is drawn */
    struct metallm__deciding d = deciding(r, c);
    int rc = metallm__deciding_check(&d, err);
    if (rc != METALLM_OK)
        return rc;
    metallm_decision decision = {.propensity = 1};
    decision.model = metallm__decide_greedy(&d, estimates, &decision.reason);
    *out = decision;
    return METALLM_OK;
}
