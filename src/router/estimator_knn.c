/* SPDX-License-Identifier: Apache-2.0
 * estimator_knn.c - the mean score over the k nearest training queries by cosine of z (arXiv
 * 2309.15789, section 3.2, there k = 5 and unweighted). With weight w > 0 a neighbour counts
 * exp(w (cosine - 1)) (Nadaraya 1964, Watson 1964). A neighbour whose score is missing is left
 * out. Beyond `library` training queries, that many drawn at random are kept. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/nearest.h"
#include "router/tensors.h"
#include "router/weights.h"

#define MISSING       (-1.0f) /* scores are 0..1; files hold no NaN */
#define PREDICT_BLOCK 256u

enum { K, WEIGHT, LIBRARY };

struct knn {
    uint32_t n, dim, models, k;
    float *rows; /* n x dim, of unit length */
    float *y;    /* n x models, MISSING where not known */
    float *mean; /* models: where no neighbour knows */
    float weight;
};

static void knn_free(void *state)
{
    struct knn *s = state;
    if (s == NULL)
        return;
    metallm__free(s->rows);
    metallm__free(s->y);
    metallm__free(s->mean);
    metallm__free(s);
}

static void copy_unit(float *to, const float *from, uint32_t dim)
{
    double squares = 0;
    for (uint32_t j = 0; j < dim; j++)
        squares += (double)from[j] * (double)from[j];
    float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (uint32_t j = 0; j < dim; j++)
        to[j] = from[j] * scale;
}

static int take_rows(struct knn *s, const struct metallm__fit_data *d, metallm_error *err)
{
    uint32_t n = s->n, *order = metallm__alloc(d->n, sizeof *order);
    double *mean = metallm__alloc(d->models, sizeof *mean);
    s->rows = metallm__alloc_aligned((size_t)n * d->dim, sizeof *s->rows);
    s->y = metallm__alloc((size_t)n * d->models, sizeof *s->y);
    s->mean = metallm__alloc(d->models, sizeof *s->mean);
    int rc = METALLM_OK;
    if (order == NULL || mean == NULL || s->rows == NULL || s->y == NULL || s->mean == NULL) {
        rc = metallm__error_nomem(err, "a library of queries");
        goto out;
    }
    for (uint32_t i = 0; i < d->n; i++)
        order[i] = i;
    if (n < d->n) {
        metallm_rng rng;
        metallm__rng_stream(&rng, d->seed, 0);
        metallm__rng_shuffle(&rng, order, d->n);
    }
    for (size_t i = 0; i < n; i++) {
        copy_unit(s->rows + i * d->dim, d->x + (size_t)order[i] * d->dim, d->dim);
        for (uint32_t m = 0; m < d->models; m++) {
            float y = d->y[(size_t)order[i] * d->models + m];
            s->y[i * d->models + m] = isnan(y) ? MISSING : y;
        }
    }
    metallm__score_means(d, mean);
    for (uint32_t m = 0; m < d->models; m++)
        s->mean[m] = (float)mean[m];
out:
    metallm__free(order);
    metallm__free(mean);
    return rc;
}

static int knn_fit(void **state, const struct metallm__fit_data *data, const double *values,
                   metallm_error *err)
{
    struct knn *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a library of queries");
    uint32_t most = (uint32_t)values[LIBRARY];
    s->n = data->n < most ? (uint32_t)data->n : most;
    s->dim = data->dim;
    s->models = data->models;
    s->weight = (float)values[WEIGHT];
    s->k = (uint32_t)values[K] < s->n ? (uint32_t)values[K] : s->n;
    int rc = take_rows(s, data, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        knn_free(s);
    return rc;
}

static void average(const struct knn *s, const uint32_t *index, const float *cosine, float *out)
{
    for (uint32_t m = 0; m < s->models; m++) {
        double sum = 0, weights = 0;
        for (uint32_t i = 0; i < s->k; i++) {
            float y = s->y[(size_t)index[i] * s->models + m];
            if (y < 0)
                continue;
            double w = s->weight > 0 ? exp((double)s->weight * ((double)cosine[i] - 1)) : 1;
            sum += w * (double)y;
            weights += w;
        }
        out[m] = weights > 0 ? (float)(sum / weights) : s->mean[m];
    }
}

struct found {
    float *unit;     /* PREDICT_BLOCK x dim */
    uint32_t *index; /* PREDICT_BLOCK x k */
    float *cosine;
};

static int predict_block(const struct knn *s, const float *x, size_t rows, struct found *found,
                         float *out, metallm_error *err)
{
    for (size_t i = 0; i < rows; i++)
        copy_unit(found->unit + i * s->dim, x + i * s->dim, s->dim);
    const struct metallm__nearest search = {.base = s->rows,
                                            .queries = found->unit,
                                            .base_rows = s->n,
                                            .query_rows = rows,
                                            .dim = s->dim,
                                            .k = s->k};
    int rc = metallm__nearest_find(&search, found->index, found->cosine, err);
    for (size_t i = 0; i < rows && rc == METALLM_OK; i++)
        average(s, found->index + i * s->k, found->cosine + i * s->k, out + i * s->models);
    return rc;
}

static int knn_predict(const void *state, const float *x, size_t n, float *out, metallm_error *err)
{
    const struct knn *s = state;
    size_t block = n < PREDICT_BLOCK ? n : PREDICT_BLOCK;
    struct found found = {metallm__alloc(block * s->dim + 1, sizeof(float)),
                          metallm__alloc(block * s->k + 1, sizeof(uint32_t)),
                          metallm__alloc(block * s->k + 1, sizeof(float))};
    int rc = METALLM_OK;
    if (found.unit == NULL || found.index == NULL || found.cosine == NULL)
        rc = metallm__error_nomem(err, "near queries");
    for (size_t from = 0; from < n && rc == METALLM_OK; from += block) {
        size_t rows = n - from < block ? n - from : block;
        rc = predict_block(s, x + from * s->dim, rows, &found, out + from * s->models, err);
    }
    metallm__free(found.unit);
    metallm__free(found.index);
    metallm__free(found.cosine);
    return rc;
}

static int knn_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                    metallm_error *err)
{
    const struct knn *s = state;
    const float options[2] = {(float)s->k, s->weight};
    int rc = metallm__put_f32(w, prefix, "library", s->n, s->dim, s->rows, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "scores", s->n, s->models, s->y, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "mean", 1, s->models, s->mean, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "options", 1, 2, options, err);
    return rc;
}

static int read_state(struct knn *s, const struct metallm__st_file *f, const char *prefix,
                      uint32_t dim, metallm_error *err)
{
    size_t n = 0, columns = dim, models = s->models, one = 1, two = 2;
    float *options = NULL;
    int rc = metallm__get_f32(f, prefix, "library", &n, &columns, &s->rows, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "scores", &n, &models, &s->y, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "mean", &one, &models, &s->mean, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "options", &one, &two, &options, err);
    if (rc != METALLM_OK)
        return rc;
    if (n == 0 || n > UINT32_MAX ||
        !(options[0] >= 1 && options[0] <= (float)n && options[0] <= (float)METALLM__NEAREST_MAX) ||
        !(options[1] >= 0)) {
        metallm__free(options);
        return metallm__error_set(err, METALLM_EFORMAT, "the library of '%s' makes no sense",
                                  prefix);
    }
    s->n = (uint32_t)n;
    s->dim = dim;
    s->k = (uint32_t)options[0];
    s->weight = options[1];
    metallm__free(options);
    return METALLM_OK;
}

static int knn_load(void **state, const struct metallm__st_file *f, const char *prefix,
                    uint32_t dim, uint32_t models, metallm_error *err)
{
    struct knn *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a library of queries");
    s->models = models;
    int rc = read_state(s, f, prefix, dim, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        knn_free(s);
    return rc;
}

static const struct metallm__param params[] = {
    [K] = {"k", 100, 1, METALLM__NEAREST_MAX, "neighbours", {5, 20, 50, 100}, 4},
    [WEIGHT] = {"weight", 0, 0, 1000, "a neighbour counts exp(weight (cosine - 1))", {0}, 0},
    [LIBRARY] = {"library", 20000, 1, 1e7, "queries kept at most", {0}, 0},
};

const struct metallm__estimator metallm__estimator_knn = {
    .name = "knn",
    .source = "mean over the nearest queries: arXiv 2309.15789, section 3.2",
    .params = params,
    .param_count = 3,
    .fit = knn_fit,
    .predict = knn_predict,
    .free = knn_free,
    .save = knn_save,
    .load = knn_load,
};
