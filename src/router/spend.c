/* SPDX-License-Identifier: Apache-2.0
 * spend.c - see spend.h. */
#include "router/spend.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/tensors.h"

#define LAMBDA    30.0
#define TREES     100u
#define LEAF      10u
#define SHARE     0.5
#define ROWS_MAX  16384u
#define VARIES    1e-4  /* standard deviation over mean from which an amount counts as varying */
#define RATIO_MAX 20.0f /* of an amount to its model's mean, in training */
#define LOG_LEAST 1e-12
#define UNKNOWN   (-1.0f) /* a mean in a file */

static int allocate(struct metallm__spend *s, uint32_t models, metallm_error *err)
{
    *s = (struct metallm__spend){.models = models};
    s->mean = metallm__alloc(models, sizeof *s->mean);
    s->smear = metallm__alloc(models, sizeof *s->smear);
    if (s->mean != NULL && s->smear != NULL) {
        for (uint32_t m = 0; m < models; m++) {
            s->mean[m] = NAN;
            s->smear[m] = 1;
        }
        return METALLM_OK;
    }
    metallm__spend_fini(s);
    return metallm__error_nomem(err, "a cost model");
}

void metallm__spend_fini(struct metallm__spend *s)
{
    metallm__free(s->mean);
    metallm__free(s->smear);
    metallm__weights_fini(&s->log);
    metallm__forest_fini(&s->tree);
    *s = (struct metallm__spend){0};
}

/* Sets the means; tells whether any model's amounts vary. */
static bool take_means(struct metallm__spend *s, const struct metallm__fit_data *d)
{
    bool any = false;
    for (uint32_t m = 0; m < d->models; m++) {
        double sum = 0, squares = 0, count = 0;
        for (size_t i = 0; i < d->n; i++) {
            double y = (double)d->y[i * d->models + m];
            if (isnan(y))
                continue;
            sum += y;
            squares += y * y;
            count += 1;
        }
        if (count == 0)
            continue;
        s->mean[m] = sum / count;
        double spread = sqrt(fmax(0, squares / count - s->mean[m] * s->mean[m]));
        any = any || spread > VARIES * s->mean[m];
    }
    return any;
}

static int fit_log(struct metallm__spend *s, struct metallm__fit_data *d, float *y,
                   metallm_error *err)
{
    for (size_t i = 0; i < d->n * d->models; i++)
        y[i] = isnan(d->y[i]) ? NAN : (float)log(fmax((double)d->y[i], LOG_LEAST));
    d->y = y;
    int rc = metallm__ridge_fit(&s->log, d, LAMBDA, err);
    if (rc != METALLM_OK)
        return rc;
    float *fitted = metallm__alloc(d->n * d->models, sizeof *fitted);
    if (fitted == NULL)
        return metallm__error_nomem(err, "a cost model");
    metallm__weights_apply(&s->log, d->x, d->n, fitted);
    for (uint32_t m = 0; m < d->models; m++) {
        double sum = 0, count = 0;
        for (size_t i = 0; i < d->n; i++) {
            size_t at = i * d->models + m;
            if (isnan(y[at]))
                continue;
            sum += exp((double)y[at] - (double)fitted[at]);
            count += 1;
        }
        s->smear[m] = count > 0 ? (float)(sum / count) : 1;
    }
    metallm__free(fitted);
    return METALLM_OK;
}

static int fit_forest(struct metallm__spend *s, const struct metallm__fit_data *d, float *y,
                      metallm_error *err)
{
    for (size_t i = 0; i < d->n * d->models; i++) {
        double mean = s->mean[i % d->models];
        float ratio = mean > 0 ? (float)((double)d->y[i] / mean) : 1;
        y[i] = isnan(d->y[i]) ? NAN : ratio < RATIO_MAX ? ratio : RATIO_MAX;
    }
    const struct metallm__forest_data on = {
        .x = d->x, .y = y, .n = d->n, .dim = d->dim, .targets = d->models, .seed = d->seed + 77};
    const struct metallm__forest_options opts = {
        .trees = TREES, .leaf = LEAF, .share = SHARE, .rows_max = ROWS_MAX};
    return metallm__forest_fit(&s->tree, &on, &opts, err);
}

int metallm__spend_fit(struct metallm__spend *out, const struct metallm__fit_data *data,
                       enum metallm__spend_kind kind, metallm_error *err)
{
    struct metallm__spend s;
    struct metallm__fit_data d = *data;
    int rc = allocate(&s, data->models, err);
    if (rc != METALLM_OK)
        return rc;
    if (!take_means(&s, data) || kind == METALLM__SPEND_MEAN) {
        *out = s;
        return METALLM_OK;
    }
    s.kind = kind;
    float *y = metallm__alloc(d.n * d.models, sizeof *y);
    if (y == NULL)
        rc = metallm__error_nomem(err, "a cost model");
    else
        rc = kind == METALLM__SPEND_LOG ? fit_log(&s, &d, y, err) : fit_forest(&s, &d, y, err);
    metallm__free(y);
    if (rc == METALLM_OK)
        *out = s;
    else
        metallm__spend_fini(&s);
    return rc;
}

void metallm__spend_predict(const struct metallm__spend *s, const float *z, size_t n, float *out)
{
    if (s->kind == METALLM__SPEND_LOG)
        metallm__weights_apply(&s->log, z, n, out);
    else if (s->kind == METALLM__SPEND_FOREST)
        metallm__forest_predict(&s->tree, z, n, out);
    for (size_t i = 0; i < n * s->models; i++) {
        uint32_t m = (uint32_t)(i % s->models);
        if (s->kind == METALLM__SPEND_LOG && !isnan(s->mean[m]))
            out[i] = expf(fminf(out[i], 80)) * s->smear[m];
        else if (s->kind == METALLM__SPEND_FOREST && !isnan(s->mean[m]))
            out[i] *= (float)s->mean[m];
        else
            out[i] = (float)s->mean[m];
    }
}

int metallm__spend_save(const struct metallm__spend *s, struct metallm__st_writer *w,
                        const char *prefix, metallm_error *err)
{
    float *mean = metallm__alloc(s->models, sizeof *mean);
    if (mean == NULL)
        return metallm__error_nomem(err, "a cost model");
    for (uint32_t m = 0; m < s->models; m++)
        mean[m] = isnan(s->mean[m]) ? UNKNOWN : (float)s->mean[m];
    const int32_t kind = (int32_t)s->kind;
    int rc = metallm__put_f32(w, prefix, "mean", 1, s->models, mean, err);
    if (rc == METALLM_OK)
        rc = metallm__put_i32(w, prefix, "kind", 1, 1, &kind, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "smear", 1, s->models, s->smear, err);
    if (rc == METALLM_OK && s->kind == METALLM__SPEND_LOG)
        rc = metallm__weights_save(&s->log, w, prefix, err);
    if (rc == METALLM_OK && s->kind == METALLM__SPEND_FOREST)
        rc = metallm__forest_save(&s->tree, w, prefix, err);
    metallm__free(mean);
    return rc;
}

static int read_parts(struct metallm__spend *s, const struct metallm__st_file *f,
                      const char *prefix, uint32_t dim, metallm_error *err)
{
    size_t one = 1, models = s->models;
    float *mean = NULL, *smear = NULL;
    int32_t *kind = NULL;
    int rc = metallm__get_f32(f, prefix, "mean", &one, &models, &mean, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "smear", &one, &models, &smear, err);
    if (rc == METALLM_OK)
        rc = metallm__get_i32(f, prefix, "kind", &one, &one, &kind, err);
    if (rc == METALLM_OK && (kind[0] < METALLM__SPEND_MEAN || kind[0] > METALLM__SPEND_FOREST))
        rc = metallm__error_set(err, METALLM_EFORMAT, "'%s' is of kind %d", prefix, (int)kind[0]);
    for (uint32_t m = 0; m < s->models && rc == METALLM_OK; m++) {
        s->mean[m] = mean[m] < 0 ? NAN : (double)mean[m];
        s->smear[m] = smear[m];
    }
    if (rc == METALLM_OK)
        s->kind = (enum metallm__spend_kind)kind[0];
    metallm__free(mean);
    metallm__free(smear);
    metallm__free(kind);
    if (rc == METALLM_OK && s->kind == METALLM__SPEND_LOG)
        rc = metallm__weights_load(&s->log, f, prefix, dim, s->models, err);
    if (rc == METALLM_OK && s->kind == METALLM__SPEND_FOREST)
        rc = metallm__forest_load(&s->tree, f, prefix, dim, s->models, err);
    return rc;
}

int metallm__spend_load(struct metallm__spend *out, const struct metallm__st_file *f,
                        const char *prefix, uint32_t dim, uint32_t models, metallm_error *err)
{
    struct metallm__spend s;
    int rc = allocate(&s, models, err);
    if (rc != METALLM_OK)
        return rc;
    if ((rc = read_parts(&s, f, prefix, dim, err)) == METALLM_OK)
        *out = s;
    else
        metallm__spend_fini(&s);
    return rc;
}
