/* SPDX-License-Identifier: Apache-2.0
 * weights.c - see weights.h. */
#include "router/weights.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/dense.h"
#include "router/tensors.h"

int metallm__weights_new(struct metallm__weights *out, uint32_t dim, uint32_t models,
                         metallm_error *err)
{
    struct metallm__weights w = {.dim = dim, .models = models};
    w.w = metallm__calloc((size_t)models * dim + 1, sizeof *w.w);
    w.b = metallm__calloc(models, sizeof *w.b);
    if (w.w == NULL || w.b == NULL) {
        metallm__weights_fini(&w);
        return metallm__error_nomem(err, "weights");
    }
    *out = w;
    return METALLM_OK;
}

void metallm__weights_fini(struct metallm__weights *w)
{
    metallm__free(w->w);
    metallm__free(w->b);
    *w = (struct metallm__weights){0};
}

void metallm__weights_apply(const struct metallm__weights *w, const float *x, size_t n, float *out)
{
    metallm__mul_nt(x, w->w, out, n, w->models, w->dim);
    for (size_t i = 0; i < n; i++)
        for (uint32_t m = 0; m < w->models; m++)
            out[i * w->models + m] += w->b[m];
}

int metallm__weights_save(const struct metallm__weights *w, struct metallm__st_writer *writer,
                          const char *prefix, metallm_error *err)
{
    int rc = metallm__put_f32(writer, prefix, "weights", w->models, w->dim, w->w, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(writer, prefix, "bias", 1, w->models, w->b, err);
    return rc;
}

int metallm__weights_load(struct metallm__weights *out, const struct metallm__st_file *f,
                          const char *prefix, uint32_t dim, uint32_t models, metallm_error *err)
{
    struct metallm__weights w = {.dim = dim, .models = models};
    size_t one = 1, rows = models, columns = dim;
    int rc = metallm__get_f32(f, prefix, "weights", &rows, &columns, &w.w, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "bias", &one, &rows, &w.b, err);
    if (rc != METALLM_OK) {
        metallm__weights_fini(&w);
        return rc;
    }
    *out = w;
    return METALLM_OK;
}

void metallm__score_means(const struct metallm__fit_data *data, double *mean)
{
    double all = 0;
    size_t known = 0;
    for (uint32_t m = 0; m < data->models; m++) {
        double sum = 0;
        size_t count = 0;
        for (size_t i = 0; i < data->n; i++) {
            float y = data->y[i * data->models + m];
            if (!isnan(y)) {
                sum += (double)y;
                count++;
            }
        }
        mean[m] = count > 0 ? sum / (double)count : NAN;
        all += sum;
        known += count;
    }
    for (uint32_t m = 0; m < data->models; m++)
        if (isnan(mean[m]))
            mean[m] = known > 0 ? all / (double)known : 0.5;
}

/* Models first..first+count-1 have the same known rows, marked by w (NULL: all rows). */
struct group {
    uint32_t first, count;
    const double *w;
};

static void mean_of_rows(const struct metallm__fit_data *d, const double *w, double *mean)
{
    if (w == NULL) {
        metallm__column_means(d->x, d->n, d->dim, mean);
        return;
    }
    double count = 0;
    memset(mean, 0, d->dim * sizeof *mean);
    for (size_t i = 0; i < d->n; i++) {
        if (w[i] == 0)
            continue;
        count += 1;
        for (uint32_t j = 0; j < d->dim; j++)
            mean[j] += (double)d->x[i * d->dim + j];
    }
    for (uint32_t j = 0; j < d->dim && count > 0; j++)
        mean[j] /= count;
}

/* b (count x dim) = sum over known rows (y - mean) (x - mean_x). */
static void right_sides(const struct metallm__fit_data *d, const struct group *g,
                        const double *mean_x, const double *mean_y, double *b)
{
    memset(b, 0, (size_t)g->count * d->dim * sizeof *b);
    for (size_t i = 0; i < d->n; i++) {
        if (g->w != NULL && g->w[i] == 0)
            continue;
        const float *x = d->x + i * d->dim;
        for (uint32_t m = 0; m < g->count; m++) {
            double y = (double)d->y[i * d->models + g->first + m] - mean_y[g->first + m];
            for (uint32_t j = 0; j < d->dim; j++)
                b[(size_t)m * d->dim + j] += y * ((double)x[j] - mean_x[j]);
        }
    }
}

struct scratch {
    double *gram, *b, *mean_x, *mean_y, *known;
};

static int fit_group(struct metallm__weights *out, const struct metallm__fit_data *d,
                     const struct group *g, double lambda, struct scratch *s, metallm_error *err)
{
    mean_of_rows(d, g->w, s->mean_x);
    int rc = metallm__gram(d->x, d->n, d->dim, s->mean_x, g->w, s->gram, err);
    if (rc != METALLM_OK)
        return rc;
    for (uint32_t j = 0; j < d->dim; j++)
        s->gram[(size_t)j * d->dim + j] += lambda;
    right_sides(d, g, s->mean_x, s->mean_y, s->b);
    if ((rc = metallm__solve_spd(s->gram, d->dim, s->b, g->count, err)) != METALLM_OK)
        return rc;
    for (uint32_t m = 0; m < g->count; m++) {
        const double *theta = s->b + (size_t)m * d->dim;
        double bias = s->mean_y[g->first + m];
        for (uint32_t j = 0; j < d->dim; j++) {
            out->w[(size_t)(g->first + m) * d->dim + j] = (float)theta[j];
            bias -= theta[j] * s->mean_x[j];
        }
        out->b[g->first + m] = (float)bias;
    }
    return METALLM_OK;
}

static size_t mark_known(const struct metallm__fit_data *d, uint32_t model, double *known)
{
    size_t count = 0;
    for (size_t i = 0; i < d->n; i++) {
        known[i] = isnan(d->y[i * d->models + model]) ? 0 : 1;
        count += known[i] != 0;
    }
    return count;
}

static int fit_models(struct metallm__weights *out, const struct metallm__fit_data *d,
                      double lambda, struct scratch *s, metallm_error *err)
{
    bool complete = true;
    for (size_t i = 0; i < d->n * d->models && complete; i++)
        complete = !isnan(d->y[i]);
    if (complete)
        return fit_group(out, d, &(struct group){0, d->models, NULL}, lambda, s, err);
    int rc = METALLM_OK;
    for (uint32_t m = 0; m < d->models && rc == METALLM_OK; m++) {
        struct group g = {m, 1, s->known};
        if (mark_known(d, m, s->known) == 0)
            out->b[m] = (float)s->mean_y[m];
        else
            rc = fit_group(out, d, &g, lambda, s, err);
    }
    return rc;
}

int metallm__ridge_fit(struct metallm__weights *out, const struct metallm__fit_data *data,
                       double lambda, metallm_error *err)
{
    struct metallm__weights w = {0};
    int rc = metallm__weights_new(&w, data->dim, data->models, err);
    if (rc != METALLM_OK)
        return rc;
    struct scratch s = {
        .gram = metallm__alloc((size_t)data->dim * data->dim, sizeof(double)),
        .b = metallm__alloc((size_t)data->models * data->dim, sizeof(double)),
        .mean_x = metallm__alloc(data->dim, sizeof(double)),
        .mean_y = metallm__alloc(data->models, sizeof(double)),
        .known = metallm__alloc(data->n, sizeof(double)),
    };
    if (s.gram == NULL || s.b == NULL || s.mean_x == NULL || s.mean_y == NULL || s.known == NULL) {
        rc = metallm__error_nomem(err, "ridge regression");
    } else {
        metallm__score_means(data, s.mean_y);
        rc = fit_models(&w, data, lambda, &s, err);
    }
    metallm__free(s.gram);
    metallm__free(s.b);
    metallm__free(s.mean_x);
    metallm__free(s.mean_y);
    metallm__free(s.known);
    if (rc == METALLM_OK)
        *out = w;
    else
        metallm__weights_fini(&w);
    return rc;
}
