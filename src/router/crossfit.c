/* SPDX-License-Identifier: Apache-2.0
 * crossfit.c - see crossfit.h. */
#include "router/crossfit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/parallel.h"

struct keyed {
    uint64_t order, key;
    size_t row;
};

static int by_order(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

int metallm__folds_new(struct metallm__folds *out, const uint64_t *keys, size_t n, uint32_t wanted,
                       uint64_t seed, metallm_error *err)
{
    struct keyed *sorted = metallm__alloc(n, sizeof *sorted);
    uint8_t *of = metallm__alloc(n, 1);
    if (sorted == NULL || of == NULL) {
        metallm__free(sorted);
        metallm__free(of);
        return metallm__error_nomem(err, "folds");
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct keyed){metallm__hash_bytes(&keys[i], sizeof keys[i], seed), keys[i], i};
    qsort(sorted, n, sizeof *sorted, by_order);
    size_t groups = 0;
    for (size_t i = 0; i < n; i++)
        groups += i == 0 || sorted[i].key != sorted[i - 1].key;
    uint32_t count = wanted < METALLM__FOLDS_MAX ? wanted : METALLM__FOLDS_MAX;
    if (groups < count)
        count = (uint32_t)groups;
    size_t group = 0;
    for (size_t i = 0; i < n; i++) {
        group += i > 0 && sorted[i].key != sorted[i - 1].key;
        of[sorted[i].row] = (uint8_t)(group % (count > 0 ? count : 1));
    }
    metallm__free(sorted);
    *out = (struct metallm__folds){count >= 2 ? count : 0, of};
    return METALLM_OK;
}

void metallm__folds_fini(struct metallm__folds *f)
{
    metallm__free(f->of);
    *f = (struct metallm__folds){0};
}

/* Rows of one side of a fold, copied together. */
struct side {
    float *x, *y;
    size_t *row, n;
};

static void side_fini(struct side *s)
{
    metallm__free(s->x);
    metallm__free(s->y);
    metallm__free(s->row);
    *s = (struct side){0};
}

static int side_init(struct side *s, const struct metallm__fit_data *d,
                     const struct metallm__folds *folds, uint32_t fold, bool is_inside,
                     metallm_error *err)
{
    *s = (struct side){0};
    for (size_t i = 0; i < d->n; i++)
        s->n += (folds->of[i] == fold) == is_inside;
    s->x = metallm__alloc_aligned(s->n * d->dim + 1, sizeof *s->x);
    s->y = metallm__alloc(s->n * d->models + 1, sizeof *s->y);
    s->row = metallm__alloc(s->n, sizeof *s->row);
    if (s->x == NULL || s->y == NULL || s->row == NULL) {
        side_fini(s);
        return metallm__error_nomem(err, "the rows of a fold");
    }
    size_t k = 0;
    for (size_t i = 0; i < d->n; i++) {
        if ((folds->of[i] == fold) != is_inside)
            continue;
        memcpy(s->x + k * d->dim, d->x + i * d->dim, d->dim * sizeof *s->x);
        memcpy(s->y + k * d->models, d->y + i * d->models, d->models * sizeof *s->y);
        s->row[k++] = i;
    }
    return METALLM_OK;
}

struct job {
    const struct metallm__spec *spec;
    const struct metallm__fit_data *data;
    const struct metallm__folds *folds;
    float *out;
};

static int fit_and_predict(const struct job *job, const struct side *without,
                           const struct side *inside, metallm_error *err)
{
    const struct metallm__estimator *e = job->spec->estimator;
    struct metallm__fit_data d = *job->data;
    d.x = without->x;
    d.y = without->y;
    d.n = without->n;
    d.threads = 1;
    d.progress = NULL;
    void *state = NULL;
    int rc = e->fit(&state, &d, job->spec->values, err);
    if (rc != METALLM_OK)
        return rc;
    /* The scores of the rows inside are not needed any more: their place takes the predictions. */
    if ((rc = e->predict(state, inside->x, inside->n, inside->y, err)) == METALLM_OK)
        for (size_t k = 0; k < inside->n; k++)
            memcpy(job->out + inside->row[k] * d.models, inside->y + k * d.models,
                   d.models * sizeof *job->out);
    e->free(state);
    return rc;
}

static int run_fold(void *payload, size_t fold, metallm_error *err)
{
    const struct job *job = payload;
    struct side without = {0}, inside = {0};
    int rc = side_init(&without, job->data, job->folds, (uint32_t)fold, false, err);
    if (rc != METALLM_OK)
        return rc;
    if ((rc = side_init(&inside, job->data, job->folds, (uint32_t)fold, true, err)) == METALLM_OK)
        rc = fit_and_predict(job, &without, &inside, err);
    side_fini(&without);
    side_fini(&inside);
    return rc;
}

int metallm__crossfit(const struct metallm__spec *spec, const struct metallm__fit_data *data,
                      const struct metallm__folds *folds, float *out, metallm_error *err)
{
    METALLM_REQUIRE(folds->count >= 2);
    struct job job = {spec, data, folds, out};
    const struct metallm__tasks tasks = {.count = folds->count,
                                         .run = run_fold,
                                         .payload = &job,
                                         .threads = data->threads,
                                         .what = spec->estimator->name,
                                         .progress = data->progress};
    return metallm__tasks_run(&tasks, err);
}

double metallm__routing_loss(const struct metallm__fit_data *d, const float *p)
{
    double total = 0;
    size_t rows = 0;
    for (size_t i = 0; i < d->n; i++) {
        double sum = 0, squares = 0, known = 0;
        for (uint32_t m = 0; m < d->models; m++) {
            float y = d->y[i * d->models + m];
            if (isnan(y))
                continue;
            double off = (double)y - (double)p[i * d->models + m];
            sum += off;
            squares += off * off;
            known += 1;
        }
        if (known == 0)
            continue;
        total += 0.5 * squares / known + 0.5 * (squares / known - (sum / known) * (sum / known));
        rows++;
    }
    return rows > 0 ? total / (double)rows : 0;
}

/* Every k-th row, with its fold. */
static int thin_out(struct metallm__fit_data *d, struct metallm__folds *folds, float **x, float **y,
                    metallm_error *err)
{
    size_t step = (d->n + METALLM__TUNE_ROWS - 1) / METALLM__TUNE_ROWS,
           n = (d->n + step - 1) / step;
    uint8_t *of = metallm__alloc(n, 1);
    *x = metallm__alloc_aligned(n * d->dim, sizeof **x);
    *y = metallm__alloc(n * d->models, sizeof **y);
    if (of == NULL || *x == NULL || *y == NULL) {
        metallm__free(of);
        return metallm__error_nomem(err, "choosing hyper-parameters");
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(*x + i * d->dim, d->x + i * step * d->dim, d->dim * sizeof **x);
        memcpy(*y + i * d->models, d->y + i * step * d->models, d->models * sizeof **y);
        of[i] = folds->of[i * step];
    }
    d->x = *x;
    d->y = *y;
    d->n = n;
    folds->of = of;
    return METALLM_OK;
}

/* p: room for one set of predictions more; best: of those under the values chosen. *is_made:
 * whether best holds them, which it does not when there was nothing to choose. */
static int tune_on(struct metallm__spec *spec, const struct metallm__fit_data *d,
                   const struct metallm__folds *folds, float *p, float *best, bool *is_made,
                   metallm_error *err)
{
    const struct metallm__estimator *e = spec->estimator;
    *is_made = false;
    for (uint32_t i = 0; i < e->param_count; i++) {
        const struct metallm__param *param = &e->params[i];
        if (spec->given[i] || param->candidate_count < 2)
            continue;
        double least = INFINITY, chosen = spec->values[i];
        for (uint32_t c = 0; c < param->candidate_count; c++) {
            spec->values[i] = param->candidates[c];
            int rc = metallm__crossfit(spec, d, folds, p, err);
            if (rc != METALLM_OK)
                return rc;
            double loss = metallm__routing_loss(d, p);
            if (loss < least) {
                least = loss;
                chosen = param->candidates[c];
                memcpy(best, p, d->n * d->models * sizeof *p);
            }
        }
        spec->values[i] = chosen;
        *is_made = true;
    }
    return METALLM_OK;
}

static int tune_on_part(struct metallm__spec *spec, const struct metallm__fit_data *data,
                        const struct metallm__folds *folds, float *p, float *best,
                        metallm_error *err)
{
    struct metallm__fit_data d = *data;
    struct metallm__folds part = {0};
    float *x = NULL, *y = NULL;
    bool is_made;
    part = *folds;
    int rc = thin_out(&d, &part, &x, &y, err);
    if (rc == METALLM_OK) {
        rc = tune_on(spec, &d, &part, p, best, &is_made, err);
        metallm__free(part.of);
    }
    metallm__free(x);
    metallm__free(y);
    return rc;
}

int metallm__tune(struct metallm__spec *spec, const struct metallm__fit_data *data,
                  const struct metallm__folds *folds, float *out, metallm_error *err)
{
    bool is_made = false;
    float *p = metallm__alloc(data->n * data->models, sizeof *p);
    if (p == NULL)
        return metallm__error_nomem(err, "choosing hyper-parameters");
    int rc = data->n > METALLM__TUNE_ROWS ? tune_on_part(spec, data, folds, p, out, err)
                                          : tune_on(spec, data, folds, p, out, &is_made, err);
    metallm__free(p);
    return rc != METALLM_OK || is_made ? rc : metallm__crossfit(spec, data, folds, out, err);
}
