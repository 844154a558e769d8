/* SPDX-License-Identifier: Apache-2.0
 * estimator_mean.c - the same estimate for every query: each model's mean score. Routing on it is
 * BMA, the best model on average (arXiv 2309.15789, section 3). */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/tensors.h"
#include "router/weights.h"

struct mean {
    uint32_t models;
    float *score; /* models */
};

static void mean_free(void *state)
{
    struct mean *s = state;
    if (s == NULL)
        return;
    metallm__free(s->score);
    metallm__free(s);
}

static int mean_fit(void **state, const struct metallm__fit_data *data, const double *values,
                    metallm_error *err)
{
    (void)values;
    struct mean *s = metallm__calloc(1, sizeof *s);
    double *mean = metallm__alloc(data->models, sizeof *mean);
    if (s != NULL)
        s->score = metallm__alloc(data->models, sizeof *s->score);
    if (s == NULL || mean == NULL || s->score == NULL) {
        metallm__free(mean);
        mean_free(s);
        return metallm__error_nomem(err, "mean scores");
    }
    s->models = data->models;
    metallm__score_means(data, mean);
    for (uint32_t m = 0; m < data->models; m++)
        s->score[m] = (float)mean[m];
    metallm__free(mean);
    *state = s;
    return METALLM_OK;
}

static int mean_predict(const void *state, const float *x, size_t n, float *out, metallm_error *err)
{
    (void)x;
    (void)err;
    const struct mean *s = state;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * s->models, s->score, s->models * sizeof *out);
    return METALLM_OK;
}

static int mean_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                     metallm_error *err)
{
    const struct mean *s = state;
    return metallm__put_f32(w, prefix, "score", 1, s->models, s->score, err);
}

static int mean_load(void **state, const struct metallm__st_file *f, const char *prefix,
                     uint32_t dim, uint32_t models, metallm_error *err)
{
    (void)dim;
    struct mean *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "mean scores");
    size_t one = 1, columns = models;
    s->models = models;
    int rc = metallm__get_f32(f, prefix, "score", &one, &columns, &s->score, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        mean_free(s);
    return rc;
}

const struct metallm__estimator metallm__estimator_mean = {
    .name = "mean",
    .source = "the best model on average: arXiv 2309.15789, section 3",
    .fit = mean_fit,
    .predict = mean_predict,
    .free = mean_free,
    .save = mean_save,
    .load = mean_load,
};
