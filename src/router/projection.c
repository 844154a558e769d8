/* SPDX-License-Identifier: Apache-2.0
 * projection.c - see projection.h. */
#include "router/projection.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/dense.h"

#define FIT_ROWS_MAX  20000u /* principal axes are taken from every k-th row beyond that */
#define PROJECT_BLOCK 256u
#define SD_LEAST      1e-6

static uint32_t embedding_dim(const metallm_layout *l)
{
    return l->head + l->tail;
}

static int allocate(struct metallm__projection *f, metallm_error *err)
{
    uint32_t d = embedding_dim(&f->layout);
    f->axes_t = metallm__alloc_aligned((size_t)f->axes * d, sizeof(float));
    f->offset = metallm__calloc(f->axes, sizeof(float));
    f->mean = metallm__calloc(d, sizeof(float));
    f->text_mean = metallm__calloc(f->layout.text, sizeof(float));
    f->text_scale = metallm__calloc(f->layout.text, sizeof(float));
    if (f->axes_t != NULL && f->offset != NULL && f->mean != NULL && f->text_mean != NULL &&
        f->text_scale != NULL)
        return METALLM_OK;
    metallm__projection_fini(f);
    return metallm__error_nomem(err, "the projection of features");
}

static int check_finite(const metallm_vectors *x, uint32_t width, metallm_error *err)
{
    for (size_t i = 0; i < x->rows * width; i++)
        if (!isfinite(x->values[i]))
            return metallm__error_set(err, METALLM_EINVAL, "vector %zu holds '%g'", i / width,
                                      (double)x->values[i]);
    return METALLM_OK;
}

static void fit_text(struct metallm__projection *f, const metallm_vectors *x)
{
    uint32_t d = embedding_dim(&f->layout), width = d + f->layout.text;
    for (uint32_t j = 0; j < f->layout.text; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < x->rows; i++)
            sum += (double)x->values[i * width + d + j];
        double mean = sum / (double)x->rows;
        for (size_t i = 0; i < x->rows; i++) {
            double off = (double)x->values[i * width + d + j] - mean;
            squares += off * off;
        }
        double sd = sqrt(squares / (double)x->rows);
        f->text_mean[j] = (float)mean;
        f->text_scale[j] = sd > SD_LEAST ? (float)((double)METALLM__TEXT_WEIGHT / sd) : 0;
    }
}

/* rows: a copy of the embeddings of some training rows, n x d. */
static int fit_axes(struct metallm__projection *f, const float *rows, size_t n, metallm_error *err)
{
    uint32_t d = embedding_dim(&f->layout), k = f->axes;
    double *mean = metallm__alloc(d, sizeof *mean);
    double *gram = metallm__alloc((size_t)d * d, sizeof *gram);
    double *values = metallm__alloc(k, sizeof *values);
    double *vectors = metallm__alloc((size_t)k * d, sizeof *vectors);
    int rc = METALLM_OK;
    if (mean == NULL || gram == NULL || values == NULL || vectors == NULL) {
        rc = metallm__error_nomem(err, "principal axes");
        goto out;
    }
    double squares = 0;
    for (size_t i = 0; i < n * d; i++)
        squares += (double)rows[i] * (double)rows[i];
    double s = sqrt(squares / (double)n);
    f->inverse_scale = s > SD_LEAST ? (float)(1 / s) : 1;
    metallm__column_means(rows, n, d, mean);
    if ((rc = metallm__gram(rows, n, d, mean, NULL, gram, err)) != METALLM_OK ||
        (rc = metallm__eigen_top(gram, d, k, values, vectors, err)) != METALLM_OK)
        goto out;
    for (uint32_t a = 0; a < k; a++) {
        double offset = 0;
        for (uint32_t j = 0; j < d; j++) {
            double v = vectors[(size_t)a * d + j] * (double)f->inverse_scale;
            f->axes_t[(size_t)a * d + j] = (float)v;
            offset += v * mean[j];
        }
        f->offset[a] = (float)offset;
    }
    for (uint32_t j = 0; j < d; j++)
        f->mean[j] = (float)mean[j];
out:
    metallm__free(mean);
    metallm__free(gram);
    metallm__free(values);
    metallm__free(vectors);
    return rc;
}

static int fit_embedding(struct metallm__projection *f, const metallm_vectors *x,
                         metallm_error *err)
{
    uint32_t d = embedding_dim(&f->layout), width = d + f->layout.text;
    size_t step = (x->rows + FIT_ROWS_MAX - 1) / FIT_ROWS_MAX, n = (x->rows + step - 1) / step;
    float *rows = metallm__alloc(n * d, sizeof *rows);
    if (rows == NULL)
        return metallm__error_nomem(err, "rows for the principal axes");
    for (size_t i = 0; i < n; i++)
        memcpy(rows + i * d, x->values + i * step * width, d * sizeof *rows);
    int rc = fit_axes(f, rows, n, err);
    metallm__free(rows);
    return rc;
}

int metallm__projection_fit(struct metallm__projection *f, const metallm_vectors *x,
                            metallm_error *err)
{
    uint32_t d = embedding_dim(&x->layout);
    if (d > METALLM__LAYOUT_MAX || x->layout.text > METALLM_TEXT_FEATURES_MAX ||
        d + x->layout.text == 0 || x->rows == 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "vectors of %u + %u + %u floats, %zu rows cannot be learned from",
                                  x->layout.head, x->layout.tail, x->layout.text, x->rows);
    int rc = check_finite(x, d + x->layout.text, err);
    if (rc != METALLM_OK)
        return rc;
    *f = (struct metallm__projection){.layout = x->layout, .inverse_scale = 1};
    f->axes = d < METALLM__AXES_MAX ? d : METALLM__AXES_MAX;
    f->dim = f->axes + x->layout.text;
    if ((rc = allocate(f, err)) != METALLM_OK)
        return rc;
    fit_text(f, x);
    if (d > 0 && (rc = fit_embedding(f, x, err)) != METALLM_OK)
        metallm__projection_fini(f);
    return rc;
}

void metallm__projection_fini(struct metallm__projection *f)
{
    metallm__free(f->axes_t);
    metallm__free(f->offset);
    metallm__free(f->mean);
    metallm__free(f->text_mean);
    metallm__free(f->text_scale);
    *f = (struct metallm__projection){0};
}

static float length_of(const struct metallm__projection *f, const float *row, uint32_t d)
{
    float squares = 0;
    for (uint32_t j = 0; j < d; j++) {
        float off = row[j] - f->mean[j];
        squares += off * off;
    }
    return sqrtf(squares) * f->inverse_scale;
}

static void project_text(const struct metallm__projection *f, const float *text, float *z)
{
    const float most = METALLM__TEXT_CLIP * METALLM__TEXT_WEIGHT;
    for (uint32_t j = 0; j < f->layout.text; j++) {
        float v = (text[j] - f->text_mean[j]) * f->text_scale[j];
        z[j] = v > most ? most : v < -most ? -most : v;
    }
}

struct block {
    float *e; /* PROJECT_BLOCK x d: embeddings without the text features between them */
    float *p; /* PROJECT_BLOCK x axes */
};

static void project_block(const struct metallm__projection *f, const float *values, size_t n,
                          struct block *b, float *z, float *lengths)
{
    uint32_t d = embedding_dim(&f->layout), width = d + f->layout.text;
    for (size_t i = 0; i < n; i++)
        memcpy(b->e + i * d, values + i * width, d * sizeof *b->e);
    metallm__mul_nt(b->e, f->axes_t, b->p, n, f->axes, d);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t a = 0; a < f->axes; a++)
            z[i * f->dim + a] = b->p[i * f->axes + a] - f->offset[a];
        project_text(f, values + i * width + d, z + i * f->dim + f->axes);
        if (lengths != NULL)
            lengths[i] = length_of(f, b->e + i * d, d);
    }
}

int metallm__projection_apply(const struct metallm__projection *f, const float *values, size_t n,
                              float *z, float *lengths, metallm_error *err)
{
    uint32_t d = embedding_dim(&f->layout);
    size_t rows = n < PROJECT_BLOCK ? n : PROJECT_BLOCK;
    float *scratch = metallm__alloc(rows * (d + (size_t)f->axes), sizeof *scratch);
    if (scratch == NULL)
        return metallm__error_nomem(err, "a block of vectors");
    struct block b = {scratch, scratch + rows * d};
    for (size_t from = 0; from < n; from += rows) {
        size_t part = n - from < rows ? n - from : rows;
        project_block(f, values + from * (d + f->layout.text), part, &b, z + from * f->dim,
                      lengths == NULL ? NULL : lengths + from);
    }
    metallm__free(scratch);
    return METALLM_OK;
}

int metallm__projection_save(const struct metallm__projection *f, struct metallm__st_writer *w,
                             metallm_error *err)
{
    const size_t d = embedding_dim(&f->layout), k = f->axes, t = f->layout.text;
    int rc = metallm__st_put(w, "features.axes", METALLM__F32, 2, (const size_t[]){k, d}, f->axes_t,
                             err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "features.offset", METALLM__F32, 1, &k, f->offset, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "features.mean", METALLM__F32, 1, &d, f->mean, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "features.text_mean", METALLM__F32, 1, &t, f->text_mean, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "features.text_scale", METALLM__F32, 1, &t, f->text_scale, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "features.inverse_scale", METALLM__F32, 0, NULL, &f->inverse_scale,
                             err);
    return rc;
}

static int load_part(float *to, const struct metallm__st_file *file, const char *name, size_t count,
                     metallm_error *err)
{
    struct metallm__tensor t;
    int rc = metallm__st_get(file, name, METALLM__F32, 1, &count, &t, err);
    if (rc != METALLM_OK || count == 0)
        return rc;
    if (t.count != count) /* a size of 0 asks for any: not here */
        return metallm__error_set(err, METALLM_EFORMAT, "tensor '%s' is of another size", name);
    memcpy(to, t.data, count * sizeof *to);
    return METALLM_OK;
}

static int load_tensors(struct metallm__projection *f, const struct metallm__st_file *file,
                        const struct metallm__tensor *axes, metallm_error *err)
{
    struct metallm__tensor scale;
    memcpy(f->axes_t, axes->data, axes->count * sizeof(float));
    int rc = load_part(f->offset, file, "features.offset", f->axes, err);
    if (rc == METALLM_OK)
        rc = load_part(f->mean, file, "features.mean", embedding_dim(&f->layout), err);
    if (rc == METALLM_OK)
        rc = load_part(f->text_mean, file, "features.text_mean", f->layout.text, err);
    if (rc == METALLM_OK)
        rc = load_part(f->text_scale, file, "features.text_scale", f->layout.text, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(file, "features.inverse_scale", METALLM__F32, 0, NULL, &scale, err);
    if (rc == METALLM_OK)
        memcpy(&f->inverse_scale, scale.data, sizeof(float));
    return rc;
}

int metallm__projection_load(struct metallm__projection *f, const struct metallm__st_file *file,
                             const metallm_layout *layout, metallm_error *err)
{
    struct metallm__tensor axes;
    const size_t d = embedding_dim(layout);
    int rc =
        metallm__st_get(file, "features.axes", METALLM__F32, 2, (const size_t[]){0, d}, &axes, err);
    if (rc != METALLM_OK)
        return rc;
    if (d > METALLM__LAYOUT_MAX || layout->text > METALLM_TEXT_FEATURES_MAX ||
        axes.shape[0] > METALLM__AXES_MAX || axes.shape[1] != d)
        return metallm__error_set(err, METALLM_EFORMAT, "the projection has an impossible shape");
    *f = (struct metallm__projection){.layout = *layout, .axes = (uint32_t)axes.shape[0]};
    f->dim = f->axes + layout->text;
    if ((rc = allocate(f, err)) != METALLM_OK)
        return rc;
    if ((rc = load_tensors(f, file, &axes, err)) != METALLM_OK)
        metallm__projection_fini(f);
    return rc;
}
