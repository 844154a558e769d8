/* SPDX-License-Identifier: Apache-2.0
 * learner.c - recursive least squares per model: statistics, factor, and theta kept in step. */
#include "router/learner.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/sym.h"
#include "metallm/outcomes.h"
#include "router/learner_state.h"

static double *vector_new(size_t count)
{
    double *v = metallm__alloc_aligned(count, sizeof *v);
    if (v != NULL)
        memset(v, 0, count * sizeof *v);
    return v;
}

static void factor_fini(struct metallm__factor_state *f)
{
    metallm__free(f->s);
    metallm__free(f->p);
    metallm__free(f->prior);
    *f = (struct metallm__factor_state){0};
}

static int factor_init(const struct metallm__learner *l, struct metallm__factor_state *f,
                       metallm_error *err)
{
    const size_t size = metallm__sym_size(l->opts.dim);
    *f = (struct metallm__factor_state){
        .s = vector_new(size), .p = vector_new(size), .prior = vector_new(l->pad)};
    if (f->s == NULL || f->p == NULL || f->prior == NULL) {
        factor_fini(f);
        return metallm__error_nomem(err, "a learner's factor");
    }
    metallm__learner_factor_reset(l, f);
    return METALLM_OK;
}

void metallm__learner_factor_reset(const struct metallm__learner *l,
                                   struct metallm__factor_state *f)
{
    const size_t size = metallm__sym_size(l->opts.dim);
    memset(f->s, 0, size * sizeof *f->s);
    memset(f->p, 0, size * sizeof *f->p);
    for (uint32_t i = 0; i < l->opts.dim; i++) {
        f->p[metallm__sym_at(i) + i] = 1 / l->opts.lambda;
        f->prior[i] = l->opts.lambda;
    }
    f->mass = 0;
    f->seen = 0;
}

static void factor_assign(const struct metallm__learner *l, struct metallm__factor_state *to,
                          const struct metallm__factor_state *from)
{
    const size_t size = metallm__sym_size(l->opts.dim);
    memcpy(to->s, from->s, size * sizeof *to->s);
    memcpy(to->p, from->p, size * sizeof *to->p);
    memcpy(to->prior, from->prior, l->pad * sizeof *to->prior);
    to->mass = from->mass;
    to->seen = from->seen;
    to->next = from->next;
}

static void model_free(struct metallm__model_state *m)
{
    if (m == NULL)
        return;
    for (int i = 0; i < METALLM__FACTORS; i++)
        factor_fini(&m->factors[i]);
    metallm__free(m->vectors);
    metallm__free(m);
}

static struct metallm__model_state *model_new(const struct metallm__learner *l, metallm_error *err)
{
    struct metallm__model_state *m = metallm__calloc(1, sizeof *m);
    if (m == NULL || (m->vectors = vector_new(2 * METALLM__TARGETS * (size_t)l->pad)) == NULL ||
        factor_init(l, &m->factors[0], err) != METALLM_OK) {
        model_free(m);
        metallm__error_nomem(err, "a learner's model");
        return NULL;
    }
    for (int t = 0; t < METALLM__TARGETS; t++) {
        m->b[t] = m->vectors + (size_t)t * l->pad;
        m->theta[t] = m->vectors + (size_t)(METALLM__TARGETS + t) * l->pad;
    }
    return m;
}

int metallm__learner_part(const struct metallm__learner *l, struct metallm__model_state *m,
                          metallm_error *err)
{
    if (m->factors[1].s != NULL)
        return METALLM_OK;
    struct metallm__factor_state own;
    int rc = factor_init(l, &own, err);
    if (rc != METALLM_OK)
        return rc;
    factor_assign(l, &own, &m->factors[0]);
    m->factors[1] = own;
    return METALLM_OK;
}

/* How many coordinates of the prior are put back at each observation, so that none falls below
 * METALLM__LEARNER_PRIOR_LEAST of lambda before its turn comes. */
static uint32_t refill_count(uint32_t dim, double gamma)
{
    if (gamma >= 1)
        return 0;
    const double turns = log(METALLM__LEARNER_PRIOR_LEAST) / log(gamma); /* observations it lasts */
    uint32_t count = 1;
    while (count < dim && (dim + count - 1) / count > turns)
        count++;
    return count;
}

static int check_options(const struct metallm__learner_options *o, metallm_error *err)
{
    if (o->dim < 1 || o->dim > METALLM__LEARNER_DIM_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "learner of %u dimensions (1..%u)",
                                  (unsigned)o->dim, METALLM__LEARNER_DIM_MAX);
    if (o->models > METALLM_MODELS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "learner of %u models (at most %u)",
                                  (unsigned)o->models, METALLM_MODELS_MAX);
    if (!(o->lambda > 0 && o->lambda <= 1e12))
        return metallm__error_set(err, METALLM_EINVAL, "lambda %g (above 0, at most 1e12)",
                                  o->lambda);
    if (!(o->gamma >= 0.5 && o->gamma <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "gamma %g (0.5..1)", o->gamma);
    return METALLM_OK;
}

int metallm__learner_new(struct metallm__learner **out, const struct metallm__learner_options *opts,
                         metallm_error *err)
{
    int rc = check_options(opts, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__learner *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "a learner");
    l->opts = *opts;
    l->opts.models = 0;
    l->pad = metallm__sym_pad(opts->dim);
    l->refill = refill_count(opts->dim, opts->gamma);
    l->u = vector_new(2 * (size_t)l->pad);
    if (l->u == NULL)
        rc = metallm__error_nomem(err, "a learner");
    for (uint32_t i = 0; i < opts->models && rc == METALLM_OK; i++)
        rc = metallm__learner_add_model(l, UINT32_MAX, 0, err);
    if (rc != METALLM_OK) {
        metallm__learner_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}

void metallm__learner_free(struct metallm__learner *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->opts.models; i++)
        model_free(l->models[i]);
    metallm__free(l->scratch);
    metallm__free(l->u);
    metallm__free(l);
}

static int model_copy(const struct metallm__learner *l, struct metallm__model_state *to,
                      const struct metallm__model_state *from, metallm_error *err)
{
    factor_assign(l, &to->factors[0], &from->factors[0]);
    if (from->factors[1].s != NULL) {
        int rc = metallm__learner_part(l, to, err);
        if (rc != METALLM_OK)
            return rc;
        factor_assign(l, &to->factors[1], &from->factors[1]);
    }
    memcpy(to->vectors, from->vectors, 2 * METALLM__TARGETS * l->pad * sizeof *to->vectors);
    return METALLM_OK;
}

int metallm__learner_copy(struct metallm__learner **out, const struct metallm__learner *l,
                          metallm_error *err)
{
    struct metallm__learner *copy = NULL;
    int rc = metallm__learner_new(&copy, &l->opts, err);
    for (uint32_t i = 0; i < l->opts.models && rc == METALLM_OK; i++)
        rc = model_copy(l, copy->models[i], l->models[i], err);
    if (rc != METALLM_OK) {
        metallm__learner_free(copy);
        return rc;
    }
    copy->drift = l->drift;
    copy->refactored = l->refactored;
    *out = copy;
    return METALLM_OK;
}

uint32_t metallm__learner_dim(const struct metallm__learner *l)
{
    return l->opts.dim;
}

uint32_t metallm__learner_models(const struct metallm__learner *l)
{
    return l->opts.models;
}

double metallm__learner_gamma(const struct metallm__learner *l)
{
    return l->opts.gamma;
}

uint32_t metallm__learner_pad(const struct metallm__learner *l)
{
    return l->pad;
}

double metallm__learner_drift(const struct metallm__learner *l)
{
    return l->drift;
}

uint64_t metallm__learner_refactored(const struct metallm__learner *l)
{
    return l->refactored;
}

void metallm__learner_prepare(const struct metallm__learner *l, const float *z, double *out)
{
    for (uint32_t i = 0; i < l->opts.dim; i++)
        out[i] = (double)z[i];
    for (uint32_t i = l->opts.dim; i < l->pad; i++)
        out[i] = 0;
}

static const struct metallm__factor_state *factor_of(const struct metallm__learner *l,
                                                     uint32_t model, enum metallm__factor factor)
{
    METALLM_REQUIRE(model < l->opts.models);
    const struct metallm__model_state *m = l->models[model];
    return &m->factors[m->factors[factor].s != NULL ? factor : 0];
}

void metallm__learner_predict(const struct metallm__learner *l, uint32_t model, const double *z,
                              double out[METALLM__TARGETS])
{
    METALLM_REQUIRE(model < l->opts.models);
    const struct metallm__model_state *m = l->models[model];
    for (int t = 0; t < METALLM__TARGETS; t++)
        out[t] = metallm__vec_dot(m->theta[t], z, l->opts.dim);
}

double metallm__learner_variance(const struct metallm__learner *l, uint32_t model,
                                 enum metallm__factor factor, const double *z)
{
    double v = metallm__sym_quad(factor_of(l, model, factor)->p, l->opts.dim, z);
    return v > 0 ? v : 0;
}

double metallm__learner_mass(const struct metallm__learner *l, uint32_t model,
                             enum metallm__factor factor)
{
    return factor_of(l, model, factor)->mass;
}

uint64_t metallm__learner_seen(const struct metallm__learner *l, uint32_t model,
                               enum metallm__factor factor)
{
    return factor_of(l, model, factor)->seen;
}

const double *metallm__learner_theta(const struct metallm__learner *l, uint32_t model,
                                     enum metallm__target target)
{
    METALLM_REQUIRE(model < l->opts.models);
    return l->models[model]->theta[target];
}

int metallm__learner_refactor(struct metallm__learner *l, struct metallm__factor_state *f,
                              metallm_error *err)
{
    if (l->scratch == NULL && (l->scratch = vector_new((size_t)l->opts.dim * l->pad)) == NULL)
        return metallm__error_nomem(err, "a learner's factor");
    for (uint32_t i = 0; i < l->opts.dim; i++)
        f->prior[i] = l->opts.lambda;
    return metallm__sym_invert(f->s, l->opts.dim, f->prior, f->p, l->scratch, err);
}

void metallm__learner_solve(const struct metallm__learner *l, struct metallm__model_state *m,
                            enum metallm__factor factor)
{
    const struct metallm__factor_state *f = &m->factors[m->factors[factor].s != NULL ? factor : 0];
    const int first = factor == METALLM__FACTOR_QUALITY ? 0 : METALLM__TARGET_COST;
    const int end = factor == METALLM__FACTOR_QUALITY ? METALLM__TARGET_COST : METALLM__TARGETS;
    for (int t = first; t < end; t++)
        metallm__sym_mul(f->p, l->opts.dim, m->b[t], m->theta[t]);
}

/* Greatest element of |A A^-1 z - z| / |z|. */
static double residual(struct metallm__learner *l, const struct metallm__factor_state *f,
                       const double *z)
{
    double *u = l->u, *t = l->u + l->pad, worst = 0, scale = 0;
    metallm__sym_mul(f->p, l->opts.dim, z, u);
    metallm__sym_mul(f->s, l->opts.dim, u, t);
    for (uint32_t i = 0; i < l->opts.dim; i++) {
        double r = fabs(t[i] + f->prior[i] * u[i] - z[i]);
        worst = r > worst || isnan(r) ? r : worst;
        scale = fmax(scale, fabs(z[i]));
    }
    return scale > 0 ? worst / scale : 0;
}

/* A + (lambda - D_ii) e_i e_i' for the next coordinates whose turn it is. */
static void refill_prior(struct metallm__learner *l, struct metallm__factor_state *f,
                         double *const *theta, int targets)
{
    const uint32_t dim = l->opts.dim;
    for (uint32_t i = 0; i < dim; i++)
        f->prior[i] *= l->opts.gamma;
    for (uint32_t n = 0; n < l->refill; n++) {
        const uint32_t i = f->next;
        f->next = i + 1 < dim ? i + 1 : 0;
        const double lack = l->opts.lambda - f->prior[i];
        metallm__sym_column(f->p, dim, i, l->u);
        const double share = lack / (1 + lack * l->u[i]);
        for (int t = 0; t < targets; t++)
            metallm__vec_axpy(theta[t], -share * theta[t][i], l->u, dim);
        metallm__sym_rank1(f->p, dim, 1, l->u, -share);
        f->prior[i] = l->opts.lambda;
    }
}

/* One step of recursive least squares: with u = P z and s = z'u, the new factor is
 * P / gamma - u u' / (gamma^2 (1/w + s / gamma)), and theta moves along the new P z. */
static void update(struct metallm__learner *l, struct metallm__factor_state *f,
                   struct metallm__model_state *m, int first, int end,
                   const struct metallm__sample *sample)
{
    const uint32_t dim = l->opts.dim;
    const double gamma = l->opts.gamma, *z = sample->z;
    metallm__sym_mul(f->p, dim, z, l->u);
    const double denominator =
        gamma / sample->weight + metallm__vec_dot(z, l->u, dim); /* gamma * (1/w + s/gamma) */
    for (int t = first; t < end; t++) {
        const double predicted = metallm__vec_dot(m->theta[t], z, dim);
        const double y = isnan(sample->y[t]) ? predicted : sample->y[t];
        metallm__vec_axpy(m->theta[t], (y - predicted) / denominator, l->u, dim);
        for (uint32_t i = 0; i < dim; i++)
            m->b[t][i] = gamma * m->b[t][i] + sample->weight * y * z[i];
    }
    metallm__sym_rank1(f->p, dim, 1 / gamma, l->u, -1 / (gamma * denominator));
    metallm__sym_rank1(f->s, dim, gamma, z, sample->weight);
    f->mass = gamma * f->mass + sample->weight;
    f->seen++;
    if (l->refill > 0)
        refill_prior(l, f, m->theta + first, end - first);
}

/* Now and then: is P still the inverse of A? theta is made anew from b in any case. */
static int check(struct metallm__learner *l, struct metallm__factor_state *f,
                 struct metallm__model_state *m, const double *z, metallm_error *err)
{
    const double drift = residual(l, f, z);
    l->drift = fmax(l->drift, isnan(drift) ? HUGE_VAL : drift);
    if (!(drift <= METALLM__LEARNER_DRIFT_MAX)) {
        l->refactored++;
        int rc = metallm__learner_refactor(l, f, err);
        if (rc == METALLM_ENUMERIC) {
            metallm__learner_factor_reset(l, f);
            memset(m->vectors, 0, 2 * METALLM__TARGETS * l->pad * sizeof *m->vectors);
        }
        if (rc != METALLM_OK)
            return rc;
    }
    if (f == &m->factors[0])
        metallm__learner_solve(l, m, METALLM__FACTOR_QUALITY);
    if (f == &m->factors[1] || m->factors[1].s == NULL)
        metallm__learner_solve(l, m, METALLM__FACTOR_SPEND);
    return METALLM_OK;
}

static int check_sample(const struct metallm__learner *l, const struct metallm__sample *sample,
                        metallm_error *err)
{
    if (!(sample->weight > 0 && sample->weight <= METALLM__LEARNER_WEIGHT_MAX))
        return metallm__error_set(err, METALLM_EINVAL, "weight %g (above 0, at most %g)",
                                  sample->weight, METALLM__LEARNER_WEIGHT_MAX);
    for (uint32_t i = 0; i < l->opts.dim; i++)
        if (!(fabs(sample->z[i]) <= METALLM__LEARNER_VALUE_MAX))
            return metallm__error_set(err, METALLM_EINVAL, "element %u of the vector is %g",
                                      (unsigned)i, sample->z[i]);
    for (int t = 0; t < METALLM__TARGETS; t++)
        if (!isnan(sample->y[t]) && !(fabs(sample->y[t]) <= METALLM__LEARNER_VALUE_MAX))
            return metallm__error_set(err, METALLM_EINVAL, "outcome %d is %g", t, sample->y[t]);
    return METALLM_OK;
}

int metallm__learner_observe(struct metallm__learner *l, uint32_t model, const double *z,
                             const double y[METALLM__TARGETS], double weight, metallm_error *err)
{
    METALLM_REQUIRE(model < l->opts.models);
    const struct metallm__sample sample = {.z = z, .y = y, .weight = weight};
    int rc = check_sample(l, &sample, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__model_state *m = l->models[model];
    const bool quality = !isnan(y[METALLM__TARGET_QUALITY]);
    const bool spend = !isnan(y[METALLM__TARGET_COST]) || !isnan(y[METALLM__TARGET_LATENCY]);
    if (quality != spend && (rc = metallm__learner_part(l, m, err)) != METALLM_OK)
        return rc;
    const bool is_one = m->factors[1].s == NULL;
    struct metallm__factor_state *f = &m->factors[0];
    if (quality) {
        update(l, f, m, 0, is_one ? METALLM__TARGETS : METALLM__TARGET_COST, &sample);
        if (f->seen % METALLM__LEARNER_CHECK == 0)
            rc = check(l, f, m, z, err);
    }
    f = &m->factors[1];
    if (spend && !is_one && rc == METALLM_OK) {
        update(l, f, m, METALLM__TARGET_COST, METALLM__TARGETS, &sample);
        if (f->seen % METALLM__LEARNER_CHECK == 0)
            rc = check(l, f, m, z, err);
    }
    return rc;
}

int metallm__learner_add_model(struct metallm__learner *l, uint32_t like, double share,
                               metallm_error *err)
{
    METALLM_REQUIRE(like == UINT32_MAX || like < l->opts.models);
    if (l->opts.models >= METALLM_MODELS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u models", METALLM_MODELS_MAX);
    struct metallm__model_state *m = model_new(l, err);
    if (m == NULL)
        return METALLM_ENOMEM;
    int rc = METALLM_OK;
    l->models[l->opts.models++] = m;
    if (like != UINT32_MAX && (rc = model_copy(l, m, l->models[like], err)) == METALLM_OK)
        rc = metallm__learner_fade(l, l->opts.models - 1, share, err);
    if (rc != METALLM_OK) {
        model_free(m);
        l->opts.models--;
    }
    return rc;
}

void metallm__learner_remove_model(struct metallm__learner *l, uint32_t model)
{
    METALLM_REQUIRE(model < l->opts.models);
    model_free(l->models[model]);
    l->opts.models--;
    for (uint32_t i = model; i < l->opts.models; i++)
        l->models[i] = l->models[i + 1];
}
