/* SPDX-License-Identifier: Apache-2.0
 * forest.c - see forest.h. Growing is in forest_grow.c; here: prediction, files. */
#include "router/forest.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/tensors.h"

#define TREES_MAX 10000u

void metallm__forest_fini(struct metallm__forest *f)
{
    metallm__free(f->root);
    metallm__free(f->feature);
    metallm__free(f->left);
    metallm__free(f->threshold);
    metallm__free(f->value);
    *f = (struct metallm__forest){0};
}

/* The leaf of tree t that x falls into. */
static const float *leaf_of(const struct metallm__forest *f, uint32_t t, const float *x)
{
    size_t first = (size_t)f->root[t], node = first;
    while (f->feature[node] >= 0)
        node = first + (size_t)f->left[node] + (x[f->feature[node]] > f->threshold[node]);
    return f->value + (size_t)(-1 - f->feature[node]) * f->targets;
}

void metallm__forest_predict(const struct metallm__forest *f, const float *x, size_t n, float *out)
{
    float share = 1 / (float)f->trees;
    for (size_t i = 0; i < n; i++) {
        float *y = out + i * f->targets;
        memset(y, 0, f->targets * sizeof *y);
        for (uint32_t t = 0; t < f->trees; t++) {
            const float *leaf = leaf_of(f, t, x + i * f->dim);
            for (uint32_t m = 0; m < f->targets; m++)
                y[m] += leaf[m];
        }
        for (uint32_t m = 0; m < f->targets; m++)
            y[m] *= share;
    }
}

int metallm__forest_save(const struct metallm__forest *f, struct metallm__st_writer *w,
                         const char *prefix, metallm_error *err)
{
    int rc = metallm__put_i32(w, prefix, "root", 1, f->trees + (size_t)1, f->root, err);
    if (rc == METALLM_OK)
        rc = metallm__put_i32(w, prefix, "feature", 1, f->nodes, f->feature, err);
    if (rc == METALLM_OK)
        rc = metallm__put_i32(w, prefix, "left", 1, f->nodes, f->left, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "threshold", 1, f->nodes, f->threshold, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "value", f->leaves, f->targets, f->value, err);
    return rc;
}

/* A child comes after its parent and stays in the tree, so that every walk ends. */
static int is_sound(const struct metallm__forest *f)
{
    if (f->root[0] != 0 || (size_t)f->root[f->trees] != f->nodes)
        return 0;
    for (uint32_t t = 0; t < f->trees; t++) {
        if (f->root[t] < 0 || f->root[t + 1] <= f->root[t] || (size_t)f->root[t + 1] > f->nodes)
            return 0;
        int32_t count = f->root[t + 1] - f->root[t];
        for (int32_t i = 0; i < count; i++) {
            int32_t feature = f->feature[f->root[t] + i], left = f->left[f->root[t] + i];
            if (feature >= 0 ? (uint32_t)feature >= f->dim || left <= i || left >= count - 1
                             : (size_t)(-1 - (int64_t)feature) >= f->leaves)
                return 0;
        }
    }
    return 1;
}

static int read_tensors(struct metallm__forest *s, const struct metallm__st_file *f,
                        const char *prefix, metallm_error *err)
{
    size_t one = 1, roots = 0, nodes = 0, leaves = 0, targets = s->targets;
    int rc = metallm__get_i32(f, prefix, "root", &one, &roots, &s->root, err);
    if (rc == METALLM_OK)
        rc = metallm__get_i32(f, prefix, "feature", &one, &nodes, &s->feature, err);
    if (rc == METALLM_OK)
        rc = metallm__get_i32(f, prefix, "left", &one, &nodes, &s->left, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "threshold", &one, &nodes, &s->threshold, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "value", &leaves, &targets, &s->value, err);
    if (rc != METALLM_OK)
        return rc;
    s->trees = roots >= 1 && roots <= TREES_MAX + 1 ? (uint32_t)(roots - 1) : 0;
    s->nodes = nodes;
    s->leaves = leaves;
    if (s->trees == 0 || nodes == 0 || nodes > INT32_MAX || leaves == 0 || !is_sound(s))
        return metallm__error_set(err, METALLM_EFORMAT, "the trees of '%s' are damaged", prefix);
    return METALLM_OK;
}

int metallm__forest_load(struct metallm__forest *out, const struct metallm__st_file *f,
                         const char *prefix, uint32_t dim, uint32_t targets, metallm_error *err)
{
    struct metallm__forest s = {.dim = dim, .targets = targets};
    int rc = read_tensors(&s, f, prefix, err);
    if (rc == METALLM_OK)
        *out = s;
    else
        metallm__forest_fini(&s);
    return rc;
}
