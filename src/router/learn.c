/* SPDX-License-Identifier: Apache-2.0
 * learn.c - a router that learns in use: metallm_router_observe, and the correction of estimates by
 * what it saw. It learns on z = [1 | the projection's first axes | text features]. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/router_state.h"

enum { AXES = 25, TEXT = METALLM_TEXT_FEATURES_MAX, PAD = 96 };
_Static_assert(1 + AXES + TEXT <= PAD && PAD % 8 == 0, "the prepared vector has room");

static uint32_t axes_of(const metallm_router *r)
{
    return r->projection.axes < AXES ? r->projection.axes : AXES;
}

static uint32_t text_of(const metallm_router *r)
{
    const uint32_t text = r->projection.dim - r->projection.axes;
    return text < TEXT ? text : TEXT;
}

uint32_t metallm__router_learn_dim(const metallm_router *r)
{
    return 1 + axes_of(r) + text_of(r);
}

static void prepare(const metallm_router *r, const float *z, double out[PAD])
{
    const uint32_t axes = axes_of(r), text = text_of(r);
    uint32_t n = 0;
    out[n++] = 1;
    for (uint32_t i = 0; i < axes; i++)
        out[n++] = (double)z[i];
    for (uint32_t i = 0; i < text; i++)
        out[n++] = (double)z[r->projection.axes + i];
    while (n < PAD)
        out[n++] = 0;
}

void metallm__router_learn_vector(const metallm_router *r, const float *z, float *out)
{
    double v[PAD];
    prepare(r, z, v);
    for (uint32_t i = 0; i < metallm__router_learn_dim(r); i++)
        out[i] = (float)v[i];
}

static struct metallm__belief belief_of(const metallm_estimate *e)
{
    return (struct metallm__belief){.quality = (double)e->quality,
                                    .sd = (double)e->quality_sd,
                                    .cost_usd = (double)e->cost_usd,
                                    .latency_ms = (double)e->latency_ms};
}

void metallm__router_correct(const metallm_router *r, const float *z, size_t n,
                             metallm_estimate *out)
{
    if (r->adapt == NULL)
        return;
    double v[PAD] __attribute__((aligned(64)));
    struct metallm__belief prior[METALLM_MODELS_MAX], now[METALLM_MODELS_MAX];
    for (size_t i = 0; i < n; i++) {
        metallm_estimate *e = out + i * r->models;
        prepare(r, z + i * r->projection.dim, v);
        for (uint32_t m = 0; m < r->models; m++)
            prior[m] = belief_of(&e[m]);
        metallm__adapt_believe(r->adapt, v, prior, 1, now);
        for (uint32_t m = 0; m < r->models; m++)
            e[m] = (metallm_estimate){.quality = (float)fmin(fmax(now[m].quality, 0), 1),
                                      .quality_sd = (float)now[m].sd,
                                      .cost_usd = (float)now[m].cost_usd,
                                      .latency_ms = (float)now[m].latency_ms};
    }
}

static int check_seen(const metallm_router *r, uint32_t model, const metallm_outcome *seen,
                      metallm_error *err)
{
    if (model >= r->models)
        return metallm__error_set(err, METALLM_EINVAL, "model %u of %u", (unsigned)model,
                                  (unsigned)r->models);
    if (!isnan(seen->score) && !(seen->score >= 0 && seen->score <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "score %g is not between 0 and 1",
                                  (double)seen->score);
    if (!isnan(seen->cost_usd) && !(seen->cost_usd >= 0 && isfinite(seen->cost_usd)))
        return metallm__error_set(err, METALLM_EINVAL, "cost %g is not a number >= 0",
                                  (double)seen->cost_usd);
    if (!isnan(seen->latency_ms) && !(seen->latency_ms >= 0 && isfinite(seen->latency_ms)))
        return metallm__error_set(err, METALLM_EINVAL, "latency %g is not a number >= 0",
                                  (double)seen->latency_ms);
    return METALLM_OK;
}

static int make_adapt(metallm_router *r, metallm_error *err)
{
    struct metallm__adapt_options o = metallm__adapt_defaults();
    o.learner.dim = metallm__router_learn_dim(r);
    o.learner.models = r->models;
    return r->adapt != NULL ? METALLM_OK : metallm__adapt_new(&r->adapt, &o, err);
}

int metallm_router_observe(metallm_router *r, const metallm_vectors *x, uint32_t model,
                           const metallm_outcome *seen, metallm_error *err)
{
    int rc = check_seen(r, model, seen, err);
    if (rc == METALLM_OK && x->rows != 1)
        rc = metallm__error_set(err, METALLM_EINVAL, "an outcome of %zu queries", x->rows);
    if (rc != METALLM_OK)
        return rc;
    double v[PAD] __attribute__((aligned(64)));
    metallm_estimate prior[METALLM_MODELS_MAX];
    float length, *z = metallm__alloc(r->projection.dim, sizeof *z);
    if (z == NULL)
        return metallm__error_nomem(err, "an outcome");
    rc = metallm__router_project(r, x, z, &length, err);
    if (rc == METALLM_OK)
        rc = metallm__router_prior_z(r, z, &length, 1, prior, err);
    if (rc == METALLM_OK)
        rc = make_adapt(r, err);
    if (rc == METALLM_OK) {
        prepare(r, z, v);
        const struct metallm__belief belief = belief_of(&prior[model]);
        const struct metallm__seen what = {.quality = (double)seen->score,
                                           .cost_usd = (double)seen->cost_usd,
                                           .latency_ms = (double)seen->latency_ms};
        metallm__adapt_tick(r->adapt);
        rc = metallm__adapt_observe(r->adapt, model, v, &belief, &what, NULL, err);
    }
    metallm__free(z);
    return rc;
}
