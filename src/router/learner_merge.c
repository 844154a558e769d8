/* SPDX-License-Identifier: Apache-2.0
 * learner_merge.c - what can be done with the additive statistics of a learner as a whole: fading,
 * deltas between replicas, and the file form. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/sym.h"
#include "router/learner.h"
#include "router/learner_state.h"

/* The targets that a factor solves for. */
static void targets_of(int factor, int *first, int *end)
{
    *first = factor == METALLM__FACTOR_QUALITY ? 0 : METALLM__TARGET_COST;
    *end = factor == METALLM__FACTOR_QUALITY ? METALLM__TARGET_COST : METALLM__TARGETS;
}

/* Makes P and theta fit S and b again. */
static int renew(struct metallm__learner *l, struct metallm__model_state *m, metallm_error *err)
{
    for (int i = 0; i < METALLM__FACTORS; i++) {
        if (m->factors[i].s != NULL) {
            int rc = metallm__learner_refactor(l, &m->factors[i], err);
            if (rc != METALLM_OK)
                return rc;
        }
    }
    for (int i = 0; i < METALLM__FACTORS; i++)
        metallm__learner_solve(l, m, (enum metallm__factor)i);
    return METALLM_OK;
}

int metallm__learner_fade(struct metallm__learner *l, uint32_t model, double share,
                          metallm_error *err)
{
    METALLM_REQUIRE(model < l->opts.models);
    if (!(share >= 0 && share <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "share %g (0..1)", share);
    struct metallm__model_state *m = l->models[model];
    for (int i = 0; i < METALLM__FACTORS; i++) {
        struct metallm__factor_state *f = &m->factors[i];
        if (f->s != NULL) {
            metallm__sym_add(f->s, l->opts.dim, share, f->s, 0);
            f->mass *= share;
        }
    }
    for (size_t i = 0; i < METALLM__TARGETS * (size_t)l->pad; i++)
        m->vectors[i] *= share; /* b comes first */
    return renew(l, m, err);
}

void metallm__learner_correct(struct metallm__learner *l, uint32_t model, const double *z,
                              double weight, double by)
{
    METALLM_REQUIRE(model < l->opts.models && l->opts.gamma >= 1);
    struct metallm__model_state *m = l->models[model];
    metallm__vec_axpy(m->b[METALLM__TARGET_QUALITY], weight * by, z, l->opts.dim);
    metallm__learner_solve(l, m, METALLM__FACTOR_QUALITY);
}

static int check_same(const struct metallm__learner *a, const struct metallm__learner *b,
                      metallm_error *err)
{
    if (a->opts.dim != b->opts.dim || a->opts.models != b->opts.models ||
        a->opts.lambda != b->opts.lambda || a->opts.gamma != b->opts.gamma)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "learners of %u and %u models, %u and %u dimensions, "
                                  "or other lambda or gamma",
                                  (unsigned)a->opts.models, (unsigned)b->opts.models,
                                  (unsigned)a->opts.dim, (unsigned)b->opts.dim);
    return METALLM_OK;
}

static const struct metallm__factor_state *own_or_first(const struct metallm__model_state *m, int i)
{
    return &m->factors[m->factors[i].s != NULL ? i : 0];
}

static int part_both(const struct metallm__learner *l, struct metallm__model_state *m,
                     const struct metallm__model_state *other, metallm_error *err)
{
    return other->factors[1].s != NULL ? metallm__learner_part(l, m, err) : METALLM_OK;
}

/* With k observations since base, now.S = gamma^k base.S + delta.S, and so for b and mass. */
static void subtract_model(const struct metallm__learner *l, struct metallm__model_state *now,
                           const struct metallm__model_state *base)
{
    for (int i = 0; i < METALLM__FACTORS; i++) {
        const struct metallm__factor_state *from = own_or_first(base, i);
        const struct metallm__factor_state *mine = own_or_first(now, i);
        const double kept = pow(l->opts.gamma, (double)(mine->seen - from->seen));
        int first, end;
        targets_of(i, &first, &end);
        for (int t = first; t < end; t++)
            metallm__vec_axpy(now->b[t], -kept, base->b[t], l->opts.dim);
    }
    for (int i = 0; i < METALLM__FACTORS; i++) {
        struct metallm__factor_state *f = &now->factors[i];
        if (f->s == NULL)
            continue;
        const struct metallm__factor_state *from = own_or_first(base, i);
        const uint64_t count = f->seen - from->seen;
        const double kept = pow(l->opts.gamma, (double)count);
        metallm__sym_add(f->s, l->opts.dim, 1, from->s, -kept);
        f->mass -= kept * from->mass;
        f->seen = count;
    }
}

int metallm__learner_subtract(struct metallm__learner *now, const struct metallm__learner *base,
                              metallm_error *err)
{
    int rc = check_same(now, base, err);
    for (uint32_t i = 0; i < now->opts.models && rc == METALLM_OK; i++)
        rc = part_both(now, now->models[i], base->models[i], err);
    for (uint32_t i = 0; i < now->opts.models && rc == METALLM_OK; i++)
        for (int k = 0; k < METALLM__FACTORS; k++)
            if (own_or_first(now->models[i], k)->seen < own_or_first(base->models[i], k)->seen)
                rc = metallm__error_set(err, METALLM_EMISMATCH, "model %u saw less than its base",
                                        (unsigned)i);
    if (rc != METALLM_OK)
        return rc;
    for (uint32_t i = 0; i < now->opts.models; i++)
        subtract_model(now, now->models[i], base->models[i]);
    return METALLM_OK;
}

static void add_model_state(const struct metallm__learner *l, struct metallm__model_state *m,
                            const struct metallm__model_state *delta)
{
    for (int i = 0; i < METALLM__FACTORS; i++) {
        const struct metallm__factor_state *from = own_or_first(delta, i);
        const double kept = pow(l->opts.gamma, (double)from->seen);
        int first, end;
        targets_of(i, &first, &end);
        for (int t = first; t < end; t++)
            for (uint32_t j = 0; j < l->opts.dim; j++)
                m->b[t][j] = kept * m->b[t][j] + delta->b[t][j];
        struct metallm__factor_state *f = &m->factors[i];
        if (f->s == NULL)
            continue;
        metallm__sym_add(f->s, l->opts.dim, kept, from->s, 1);
        f->mass = kept * f->mass + from->mass;
        f->seen += from->seen;
    }
}

int metallm__learner_add(struct metallm__learner *l, const struct metallm__learner *delta,
                         metallm_error *err)
{
    int rc = check_same(l, delta, err);
    for (uint32_t i = 0; i < l->opts.models && rc == METALLM_OK; i++)
        rc = part_both(l, l->models[i], delta->models[i], err);
    if (rc != METALLM_OK)
        return rc;
    for (uint32_t i = 0; i < l->opts.models && rc == METALLM_OK; i++) {
        add_model_state(l, l->models[i], delta->models[i]);
        rc = renew(l, l->models[i], err);
    }
    return rc;
}

/* S of both factors as whole matrices [models, 2, dim, dim], so that other programs can read them.
 */
static int put_matrices(const struct metallm__learner *l, struct metallm__st_writer *w,
                        const char *name, metallm_error *err)
{
    const size_t dim = l->opts.dim, count = 2 * (size_t)l->opts.models;
    double *out = metallm__alloc(count, dim * dim * sizeof *out);
    if (out == NULL)
        return metallm__error_nomem(err, "a learner's file");
    for (size_t k = 0; k < count; k++) {
        const struct metallm__factor_state *f = own_or_first(l->models[k / 2], (int)(k % 2));
        for (uint32_t i = 0; i < dim; i++)
            for (uint32_t j = 0; j < dim; j++)
                out[(k * dim + i) * dim + j] = metallm__sym_get(f->s, i, j);
    }
    int rc = metallm__st_put(w, name, METALLM__F64, 4,
                             (const size_t[]){l->opts.models, 2, dim, dim}, out, err);
    metallm__free(out);
    return rc;
}

static int put_vectors(const struct metallm__learner *l, struct metallm__st_writer *w,
                       const char *name, metallm_error *err)
{
    const size_t dim = l->opts.dim, count = METALLM__TARGETS * (size_t)l->opts.models;
    double *out = metallm__alloc(count, dim * sizeof *out);
    if (out == NULL)
        return metallm__error_nomem(err, "a learner's file");
    for (size_t k = 0; k < count; k++)
        memcpy(out + k * dim, l->models[k / METALLM__TARGETS]->b[k % METALLM__TARGETS],
               dim * sizeof *out);
    int rc = metallm__st_put(w, name, METALLM__F64, 3,
                             (const size_t[]){l->opts.models, METALLM__TARGETS, dim}, out, err);
    metallm__free(out);
    return rc;
}

static int put_counts(const struct metallm__learner *l, struct metallm__st_writer *w,
                      const char *name, metallm_error *err)
{
    double out[METALLM_MODELS_MAX * METALLM__FACTORS * 2];
    size_t n = 0;
    for (uint32_t i = 0; i < l->opts.models; i++)
        for (int k = 0; k < METALLM__FACTORS; k++) {
            const struct metallm__factor_state *f = own_or_first(l->models[i], k);
            out[n++] = f->mass;
            out[n++] = (double)f->seen;
        }
    return metallm__st_put(w, name, METALLM__F64, 3,
                           (const size_t[]){l->opts.models, METALLM__FACTORS, 2}, out, err);
}

enum { NAME_BYTES = 64 };

static const char *join(char name[NAME_BYTES], const char *prefix, const char *part)
{
    int n = snprintf(name, NAME_BYTES, "%s.%s", prefix, part);
    METALLM_REQUIRE(n > 0 && n < NAME_BYTES);
    return name;
}

int metallm__learner_save(const struct metallm__learner *l, struct metallm__st_writer *w,
                          const char *prefix, metallm_error *err)
{
    char name[NAME_BYTES];
    uint8_t parted[METALLM_MODELS_MAX];
    for (uint32_t i = 0; i < l->opts.models; i++)
        parted[i] = l->models[i]->factors[1].s != NULL;
    const double options[2] = {l->opts.lambda, l->opts.gamma};
    int rc = metallm__st_put(w, join(name, prefix, "options"), METALLM__F64, 1, (const size_t[]){2},
                             options, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, join(name, prefix, "parted"), METALLM__U8, 1,
                             (const size_t[]){l->opts.models}, parted, err);
    if (rc == METALLM_OK)
        rc = put_counts(l, w, join(name, prefix, "counts"), err);
    if (rc == METALLM_OK)
        rc = put_vectors(l, w, join(name, prefix, "b"), err);
    if (rc == METALLM_OK)
        rc = put_matrices(l, w, join(name, prefix, "s"), err);
    return rc;
}

struct parts {
    struct metallm__tensor options, parted, counts, b, s;
};

static int get_parts(const struct metallm__st_file *f, const char *prefix, struct parts *p,
                     metallm_error *err)
{
    char name[NAME_BYTES];
    int rc = metallm__st_get(f, join(name, prefix, "options"), METALLM__F64, 1, (const size_t[]){2},
                             &p->options, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, join(name, prefix, "parted"), METALLM__U8, 1, (const size_t[]){0},
                             &p->parted, err);
    if (rc != METALLM_OK)
        return rc;
    const size_t models = p->parted.shape[0];
    rc = metallm__st_get(f, join(name, prefix, "b"), METALLM__F64, 3,
                         (const size_t[]){models, METALLM__TARGETS, 0}, &p->b, err);
    if (rc != METALLM_OK)
        return rc;
    const size_t dim = p->b.shape[2];
    rc = metallm__st_get(f, join(name, prefix, "s"), METALLM__F64, 4,
                         (const size_t[]){models, 2, dim, dim}, &p->s, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, join(name, prefix, "counts"), METALLM__F64, 3,
                             (const size_t[]){models, METALLM__FACTORS, 2}, &p->counts, err);
    return rc;
}

/* Tensors of a file need not be aligned, so they are read by copy. */
static double number_at(const struct metallm__tensor *t, size_t i)
{
    double x;
    memcpy(&x, (const char *)t->data + i * sizeof x, sizeof x);
    return x;
}

static bool load_factor(struct metallm__learner *l, struct metallm__factor_state *f,
                        const struct parts *p, size_t k)
{
    const uint32_t dim = l->opts.dim;
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = 0; j < dim; j++) {
            const double x = number_at(&p->s, (k * dim + (i > j ? i : j)) * dim + (i > j ? j : i));
            if (!isfinite(x))
                return false;
            if (j < 8 * (i / 8 + 1)) /* what the block form keeps */
                f->s[metallm__sym_at(i) + j] = x;
        }
    const double mass = number_at(&p->counts, 2 * k), seen = number_at(&p->counts, 2 * k + 1);
    if (!(mass >= 0 && isfinite(mass) && seen >= 0 && seen < 0x1p53))
        return false;
    f->mass = mass;
    f->seen = (uint64_t)seen;
    return true;
}

static int load_model(struct metallm__learner *l, uint32_t model, const struct parts *p,
                      metallm_error *err)
{
    struct metallm__model_state *m = l->models[model];
    int rc = METALLM_OK;
    if (((const uint8_t *)p->parted.data)[model] != 0)
        rc = metallm__learner_part(l, m, err);
    bool is_good = true;
    for (int k = 0; k < METALLM__FACTORS && rc == METALLM_OK; k++)
        if (m->factors[k].s != NULL)
            is_good = is_good && load_factor(l, &m->factors[k], p, 2 * (size_t)model + (size_t)k);
    for (int t = 0; t < METALLM__TARGETS && rc == METALLM_OK; t++)
        for (uint32_t i = 0; i < l->opts.dim; i++) {
            m->b[t][i] =
                number_at(&p->b, ((size_t)model * METALLM__TARGETS + (size_t)t) * l->opts.dim + i);
            is_good = is_good && isfinite(m->b[t][i]);
        }
    if (rc == METALLM_OK && is_good) {
        rc = renew(l, m, err);
        is_good = rc != METALLM_ENUMERIC;
    }
    return is_good ? rc
                   : metallm__error_set(err, METALLM_EFORMAT, "statistics of model %u are damaged",
                                        (unsigned)model);
}

int metallm__learner_load(struct metallm__learner **out, const struct metallm__st_file *f,
                          const char *prefix, metallm_error *err)
{
    struct parts p;
    int rc = get_parts(f, prefix, &p, err);
    if (rc != METALLM_OK)
        return rc;
    const size_t models = p.parted.shape[0], dim = p.b.shape[2];
    if (models > METALLM_MODELS_MAX || dim < 1 || dim > METALLM__LEARNER_DIM_MAX)
        return metallm__error_set(err, METALLM_EFORMAT, "learner of %zu models, %zu dimensions",
                                  models, dim);
    struct metallm__learner *l = NULL;
    const struct metallm__learner_options opts = {.dim = (uint32_t)dim,
                                                  .models = (uint32_t)models,
                                                  .lambda = number_at(&p.options, 0),
                                                  .gamma = number_at(&p.options, 1)};
    rc = metallm__learner_new(&l, &opts, err);
    if (rc == METALLM_EINVAL)
        rc = metallm__error_set(err, METALLM_EFORMAT, "learner's lambda or gamma is out of range");
    for (uint32_t i = 0; i < models && rc == METALLM_OK; i++)
        rc = load_model(l, i, &p, err);
    if (rc != METALLM_OK) {
        metallm__learner_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}
