/* SPDX-License-Identifier: Apache-2.0
 * doubt.c - see doubt.h. */
#include "router/doubt.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/dense.h"
#include "router/tensors.h"

#define DEVIATION_PRIOR 0.5 /* of a model without any known score: a fair coin's */

static int allocate(struct metallm__doubt *d, uint32_t dim, uint32_t models, metallm_error *err)
{
    *d = (struct metallm__doubt){.dim = dim, .models = models};
    d->inverse = metallm__alloc_aligned((size_t)dim * dim, sizeof *d->inverse);
    d->deviation = metallm__alloc(models, sizeof *d->deviation);
    if (d->inverse != NULL && d->deviation != NULL)
        return METALLM_OK;
    metallm__doubt_fini(d);
    return metallm__error_nomem(err, "standard errors");
}

void metallm__doubt_fini(struct metallm__doubt *d)
{
    metallm__free(d->inverse);
    metallm__free(d->deviation);
    *d = (struct metallm__doubt){0};
}

static int invert(struct metallm__doubt *out, const struct metallm__fit_data *data,
                  metallm_error *err)
{
    uint32_t dim = data->dim;
    double *a = metallm__alloc((size_t)dim * dim, sizeof *a);
    if (a == NULL)
        return metallm__error_nomem(err, "standard errors");
    int rc = metallm__gram(data->x, data->n, dim, NULL, NULL, a, err);
    for (uint32_t j = 0; j < dim && rc == METALLM_OK; j++)
        a[(size_t)j * dim + j] += METALLM__DOUBT_LAMBDA;
    if (rc == METALLM_OK)
        rc = metallm__cholesky(a, dim, err);
    if (rc == METALLM_OK)
        rc = metallm__invert_lower(a, dim, err);
    for (size_t i = 0; i < (size_t)dim * dim && rc == METALLM_OK; i++)
        out->inverse[i] = (float)a[i];
    metallm__free(a);
    return rc;
}

int metallm__doubt_fit(struct metallm__doubt *out, const struct metallm__fit_data *data,
                       const float *q, metallm_error *err)
{
    struct metallm__doubt d;
    int rc = allocate(&d, data->dim, data->models, err);
    if (rc != METALLM_OK)
        return rc;
    if ((rc = invert(&d, data, err)) != METALLM_OK) {
        metallm__doubt_fini(&d);
        return rc;
    }
    d.rows = (float)data->n;
    for (uint32_t m = 0; m < data->models; m++) {
        double squares = 0, known = 0;
        for (size_t i = 0; i < data->n; i++) {
            size_t at = i * data->models + m;
            if (isnan(data->y[at]))
                continue;
            double off = (double)data->y[at] - (double)q[at];
            squares += off * off;
            known += 1;
        }
        double s = known > 0 ? sqrt(squares / known) : DEVIATION_PRIOR;
        d.deviation[m] = (float)(s * sqrt((double)data->n / fmax(known, 1)));
    }
    *out = d;
    return METALLM_OK;
}

void metallm__doubt_leverage(const struct metallm__doubt *d, const float *z, size_t n,
                             float *scratch, float *leverage)
{
    metallm__mul_nt(z, d->inverse, scratch, n, d->dim, d->dim);
    for (size_t i = 0; i < n; i++) {
        float sum = 1 / d->rows;
        for (uint32_t j = 0; j < d->dim; j++)
            sum += scratch[i * d->dim + j] * scratch[i * d->dim + j];
        leverage[i] = sqrtf(sum);
    }
}

int metallm__doubt_save(const struct metallm__doubt *d, struct metallm__st_writer *w,
                        metallm_error *err)
{
    int rc = metallm__put_f32(w, "doubt", "inverse", d->dim, d->dim, d->inverse, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, "doubt", "deviation", 1, d->models, d->deviation, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, "doubt", "rows", 1, 1, &d->rows, err);
    return rc;
}

int metallm__doubt_load(struct metallm__doubt *out, const struct metallm__st_file *f, uint32_t dim,
                        uint32_t models, metallm_error *err)
{
    struct metallm__doubt d = {.dim = dim, .models = models};
    size_t one = 1, side = dim, columns = models;
    float *rows = NULL;
    int rc = metallm__get_f32(f, "doubt", "inverse", &side, &side, &d.inverse, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, "doubt", "deviation", &one, &columns, &d.deviation, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, "doubt", "rows", &one, &one, &rows, err);
    if (rc == METALLM_OK && !(rows[0] >= 1))
        rc = metallm__error_set(err, METALLM_EFORMAT, "'doubt.rows' is %g", (double)rows[0]);
    if (rc == METALLM_OK) {
        d.rows = rows[0];
        *out = d;
    } else {
        metallm__doubt_fini(&d);
    }
    metallm__free(rows);
    return rc;
}
