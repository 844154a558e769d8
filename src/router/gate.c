/* SPDX-License-Identifier: Apache-2.0
 * gate.c - see gate.h. */
#include "router/gate.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/dense.h"
#include "router/tensors.h"

#define BLOCK      64u
#define PROBES_MAX 2000u /* training rows whose likeness to the others sets the gate */
#define QUANTILE   0.05
#define LEAST_ROWS 50u /* fewer: nothing to tell likeness from */

/* The embedding's part of a row over the whole embedding's length. */
static void copy_row(const struct metallm__gate_rows *rows, size_t i, float *out)
{
    float length = rows->lengths[i], scale = length > 1e-9f ? 1 / length : 0;
    for (uint32_t j = 0; j < rows->axes; j++)
        out[j] = rows->z[i * rows->dim + j] * scale;
}

/* Mean of the `near` greatest cosines, leaving out the first `skip` greatest. */
static float mean_nearest(const float *cosine, uint32_t n, uint32_t near, uint32_t skip)
{
    float top[METALLM__GATE_NEAR + 1];
    uint32_t kept = 0, wanted = near + skip;
    for (uint32_t i = 0; i < n; i++) {
        if (kept == wanted && cosine[i] <= top[kept - 1])
            continue;
        uint32_t at = kept < wanted ? kept++ : kept - 1;
        for (; at > 0 && top[at - 1] < cosine[i]; at--)
            top[at] = top[at - 1];
        top[at] = cosine[i];
    }
    float sum = 0;
    for (uint32_t i = skip; i < kept; i++)
        sum += top[i];
    return kept > skip ? sum / (float)(kept - skip) : 0;
}

/* Likeness of rows to the library. in_library: rows that are themselves there skip their own. */
static int likeness(const struct metallm__gate *g, const struct metallm__gate_rows *rows,
                    const bool *in_library, float *out, metallm_error *err)
{
    size_t block = rows->n < BLOCK ? rows->n : BLOCK;
    float *x = metallm__alloc(block * g->axes + 1, sizeof *x);
    float *cosine = metallm__alloc(block * g->count + 1, sizeof *cosine);
    if (x == NULL || cosine == NULL) {
        metallm__free(x);
        metallm__free(cosine);
        return metallm__error_nomem(err, "likeness to the training queries");
    }
    for (size_t from = 0; from < rows->n; from += block) {
        size_t part = rows->n - from < block ? rows->n - from : block;
        for (size_t i = 0; i < part; i++)
            copy_row(rows, from + i, x + i * g->axes);
        metallm__mul_nt(x, g->rows, cosine, part, g->count, g->axes);
        for (size_t i = 0; i < part; i++)
            out[from + i] = mean_nearest(cosine + i * g->count, g->count, METALLM__GATE_NEAR,
                                         in_library != NULL && in_library[from + i]);
    }
    metallm__free(x);
    metallm__free(cosine);
    return METALLM_OK;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int set_ends(struct metallm__gate *g, const struct metallm__gate_rows *rows,
                    const bool *in_library, metallm_error *err)
{
    float *like = metallm__alloc(rows->n, sizeof *like);
    if (like == NULL)
        return metallm__error_nomem(err, "likeness to the training queries");
    struct metallm__gate_rows probes = *rows;
    probes.n = rows->n < PROBES_MAX ? rows->n : PROBES_MAX;
    int rc = likeness(g, &probes, in_library, like, err);
    if (rc == METALLM_OK) {
        qsort(like, probes.n, sizeof *like, by_value);
        float low = like[(size_t)(QUANTILE * (double)probes.n)], middle = like[probes.n / 2];
        g->open = low;
        g->closed = low - (middle - low) - 1e-6f;
    }
    metallm__free(like);
    return rc;
}

static int fill_library(struct metallm__gate *g, const struct metallm__gate_rows *rows,
                        bool *in_library, uint64_t seed, metallm_error *err)
{
    uint32_t *order = metallm__alloc(rows->n, sizeof *order);
    if (order == NULL)
        return metallm__error_nomem(err, "a library of queries");
    for (uint32_t i = 0; i < rows->n; i++)
        order[i] = i;
    metallm_rng rng;
    metallm__rng_stream(&rng, seed, 2);
    metallm__rng_shuffle(&rng, order, rows->n);
    for (uint32_t i = 0; i < g->count; i++) {
        copy_row(rows, order[i], g->rows + (size_t)i * g->axes);
        in_library[order[i]] = true;
    }
    metallm__free(order);
    return METALLM_OK;
}

int metallm__gate_fit(struct metallm__gate *out, const struct metallm__gate_rows *rows,
                      uint64_t seed, metallm_error *err)
{
    struct metallm__gate g = {0};
    if (rows->axes == 0 || rows->n < LEAST_ROWS) {
        *out = g;
        return METALLM_OK;
    }
    g.axes = rows->axes;
    g.count = rows->n < METALLM__GATE_LIBRARY ? (uint32_t)rows->n : METALLM__GATE_LIBRARY;
    g.rows = metallm__alloc_aligned((size_t)g.count * g.axes, sizeof *g.rows);
    bool *in_library = metallm__calloc(rows->n, sizeof *in_library);
    int rc = METALLM_OK;
    if (g.rows == NULL || in_library == NULL)
        rc = metallm__error_nomem(err, "a library of queries");
    if (rc == METALLM_OK)
        rc = fill_library(&g, rows, in_library, seed, err);
    if (rc == METALLM_OK)
        rc = set_ends(&g, rows, in_library, err);
    metallm__free(in_library);
    if (rc == METALLM_OK)
        *out = g;
    else
        metallm__gate_fini(&g);
    return rc;
}

void metallm__gate_fini(struct metallm__gate *g)
{
    metallm__free(g->rows);
    *g = (struct metallm__gate){0};
}

int metallm__gate_apply(const struct metallm__gate *g, const struct metallm__gate_rows *rows,
                        float *out, metallm_error *err)
{
    if (g->axes == 0) {
        for (size_t i = 0; i < rows->n; i++)
            out[i] = 1;
        return METALLM_OK;
    }
    int rc = likeness(g, rows, NULL, out, err);
    for (size_t i = 0; i < rows->n && rc == METALLM_OK; i++) {
        float v = (out[i] - g->closed) / (g->open - g->closed);
        out[i] = v > 1 ? 1 : v > 0 ? v : 0;
    }
    return rc;
}

int metallm__gate_save(const struct metallm__gate *g, struct metallm__st_writer *w,
                       metallm_error *err)
{
    if (g->axes == 0)
        return METALLM_OK;
    const float ends[2] = {g->closed, g->open};
    int rc = metallm__put_f32(w, "gate", "library", g->count, g->axes, g->rows, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, "gate", "ends", 1, 2, ends, err);
    return rc;
}

int metallm__gate_load(struct metallm__gate *out, const struct metallm__st_file *f, uint32_t axes,
                       metallm_error *err)
{
    struct metallm__gate g = {.axes = axes};
    size_t n = 0, columns = axes, one = 1, two = 2;
    float *ends = NULL;
    if (axes == 0 || !metallm__st_has(f, "gate.library")) {
        *out = (struct metallm__gate){0};
        return METALLM_OK;
    }
    int rc = metallm__get_f32(f, "gate", "library", &n, &columns, &g.rows, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, "gate", "ends", &one, &two, &ends, err);
    if (rc == METALLM_OK && (n == 0 || n > METALLM__GATE_LIBRARY || !(ends[1] > ends[0])))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the gate makes no sense");
    if (rc == METALLM_OK) {
        g.count = (uint32_t)n;
        g.closed = ends[0];
        g.open = ends[1];
        *out = g;
    } else {
        metallm__gate_fini(&g);
    }
    metallm__free(ends);
    return rc;
}
