/* SPDX-License-Identifier: Apache-2.0
 * task_table.c - see task_table.h. A row is summed up sample by sample and divided at the end. */
#include "router/task_table.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/nearest.h"

/* Neighbours of patch p, and how many any part of a row looks at. */
static uint32_t patch_k(const struct metallm__library *lib, uint32_t p)
{
    static const uint32_t usual[METALLM__TASK_PATCHES] = {METALLM__TASK_K_PAPER,
                                                          METALLM__TASK_K_WIDE};
    return lib->how.k[p] > 0 ? lib->how.k[p] : usual[p];
}

static uint32_t nearest_of(const struct metallm__library *lib)
{
    return lib->how.nearest > 0 ? lib->how.nearest : METALLM__TASK_NEAREST;
}

uint32_t metallm__task_depth(const struct metallm__library *lib)
{
    uint32_t most = nearest_of(lib);
    for (uint32_t p = 0; p < METALLM__TASK_PATCHES; p++)
        most = patch_k(lib, p) > most ? patch_k(lib, p) : most;
    METALLM_REQUIRE(most <= METALLM__TASK_K_MAX);
    return most;
}

#define CELLS (4 * METALLM__TASK_PATCHES + 1) /* arrays of models in a row */

static int table_new(struct metallm__task_table *t, uint32_t tasks, uint32_t models, uint32_t dim,
                     metallm_error *err)
{
    *t = (struct metallm__task_table){.tasks = tasks, .models = models, .dim = dim};
    t->rows = metallm__calloc(tasks, sizeof *t->rows);
    /* sums, then how many values each sum has */
    t->cells = metallm__calloc(tasks, sizeof *t->cells * models * CELLS * 2);
    t->centres = metallm__calloc(tasks, sizeof *t->centres * dim);
    if (t->rows == NULL || t->cells == NULL || t->centres == NULL) {
        metallm__task_table_fini(t);
        return metallm__error_nomem(err, "a table of tasks");
    }
    for (uint32_t i = 0; i < tasks; i++) {
        double *at = t->cells + (size_t)i * models * CELLS * 2;
        struct metallm__task_row *row = &t->rows[i];
        for (uint32_t p = 0; p < METALLM__TASK_PATCHES; p++, at += 4 * models)
            row->patch[p] =
                (struct metallm__patch){at, at + models, at + 2 * models, at + 3 * models};
        row->truth = at;
        row->centre = t->centres + (size_t)i * dim;
    }
    return METALLM_OK;
}

void metallm__task_table_fini(struct metallm__task_table *t)
{
    metallm__free(t->rows);
    metallm__free(t->cells);
    metallm__free(t->centres);
    *t = (struct metallm__task_table){0};
}

/* The counts of a row's cells stand behind all its sums. */
static void put(const struct metallm__task_table *t, double *sum, double value)
{
    if (isnan(value))
        return;
    *sum += value;
    sum[(size_t)t->models * CELLS] += 1;
}

struct sample {
    const float *x, *score; /* score may be NULL */
    const uint32_t *index;  /* neighbours, best first; METALLM__NEAREST_NONE ends them */
    const float *similarity;
};

static double neighbours_mean(const struct metallm__library *lib, const uint32_t *index, uint32_t k,
                              uint32_t model)
{
    double sum = 0, known = 0;
    for (uint32_t i = 0; i < k && index[i] != METALLM__NEAREST_NONE; i++) {
        float s = lib->score[(size_t)index[i] * lib->models + model];
        if (!isnan(s)) {
            sum += (double)s;
            known++;
        }
    }
    return known > 0 ? sum / known : NAN;
}

static void add_sample(struct metallm__task_table *t, struct metallm__task_row *row,
                       const struct metallm__library *lib, const struct sample *s)
{
    double far = 0, near = 0;
    for (uint32_t i = 0; i < nearest_of(lib) && s->index[i] != METALLM__NEAREST_NONE; i++) {
        far += 1 - (double)s->similarity[i];
        near++;
    }
    row->distance += near > 0 ? far / near : 1;
    row->samples++;
    float *centre = t->centres + (row - t->rows) * (ptrdiff_t)t->dim;
    for (uint32_t d = 0; d < t->dim; d++)
        centre[d] += s->x[d];
    for (uint32_t j = 0; j < t->models; j++) {
        double truth = s->score != NULL ? (double)s->score[j] : NAN;
        put(t, &row->truth[j], truth);
        for (uint32_t p = 0; p < METALLM__TASK_PATCHES; p++) {
            double g = neighbours_mean(lib, s->index, patch_k(lib, p), j);
            if (isnan(g))
                continue;
            double gbar = g > 0.5;
            put(t, &row->patch[p].s1[j], g);
            put(t, &row->patch[p].s2[j], gbar);
            put(t, &row->patch[p].confidence[j], fmax(g, 1 - g));
            put(t, &row->patch[p].accuracy[j], gbar * truth + (1 - gbar) * (1 - truth));
        }
    }
}

static void finish_row(struct metallm__task_table *t, struct metallm__task_row *row)
{
    size_t cells = (size_t)t->models * CELLS;
    double *sum = row->patch[0].s1; /* the first of the row's cells */
    for (size_t c = 0; c < cells; c++)
        sum[c] = sum[c + cells] > 0 ? sum[c] / sum[c + cells] : NAN;
    row->distance = row->samples > 0 ? row->distance / (double)row->samples : NAN;
    float *centre = t->centres + (row - t->rows) * (ptrdiff_t)t->dim;
    double square = 0;
    for (uint32_t d = 0; d < t->dim; d++)
        square += (double)centre[d] * (double)centre[d];
    for (uint32_t d = 0; d < t->dim && square > 0; d++)
        centre[d] = (float)((double)centre[d] / sqrt(square));
}

int metallm__task_lists_find(struct metallm__task_lists *out, const struct metallm__library *lib,
                             uint32_t depth, metallm_error *err)
{
    METALLM_REQUIRE(depth >= metallm__task_depth(lib));
    struct metallm__task_lists l = {.lib = lib, .depth = depth};
    l.index = metallm__alloc(lib->rows, sizeof *l.index * depth);
    l.similarity = metallm__alloc(lib->rows, sizeof *l.similarity * depth);
    int rc = METALLM_ENOMEM;
    if (l.index == NULL || l.similarity == NULL) {
        rc = metallm__error_nomem(err, "lists of neighbours");
    } else {
        struct metallm__nearest n = {lib->x,   lib->x, lib->rows, lib->rows,
                                     lib->dim, depth,  lib->task, lib->task};
        rc = metallm__nearest_find(&n, l.index, l.similarity, err);
    }
    if (rc == METALLM_OK)
        *out = l;
    else
        metallm__task_lists_fini(&l);
    return rc;
}

void metallm__task_lists_fini(struct metallm__task_lists *l)
{
    metallm__free(l->index);
    metallm__free(l->similarity);
    l->index = NULL;
    l->similarity = NULL;
}

/* The first k neighbours that are not of the task held out. false: the list was cut before it held
 * so many. */
static bool filter(const struct metallm__task_lists *l, size_t row, uint32_t held_out, uint32_t k,
                   uint32_t *index, float *similarity)
{
    uint32_t found = 0;
    bool is_whole = false;
    for (uint32_t i = 0; i < l->depth && found < k; i++) {
        uint32_t at = l->index[row * l->depth + i];
        if (at == METALLM__NEAREST_NONE) {
            is_whole = true; /* there are no more */
            break;
        }
        if (l->lib->task[at] == held_out)
            continue;
        index[found] = at;
        similarity[found++] = l->similarity[row * l->depth + i];
    }
    is_whole = is_whole || found == k;
    for (; found < k; found++) {
        index[found] = METALLM__NEAREST_NONE;
        similarity[found] = -INFINITY;
    }
    return is_whole;
}

/* The same by looking at every row: for the few lists that were too short. */
static int search(const struct metallm__library *lib, size_t row, uint32_t held_out,
                  uint32_t *group, uint32_t *index, float *similarity, metallm_error *err)
{
    uint32_t own = 0;
    for (size_t i = 0; i < lib->rows; i++)
        group[i] = lib->task[i] == lib->task[row] || lib->task[i] == held_out ? 0 : 1;
    struct metallm__nearest n = {lib->x,   lib->x + row * lib->dim,  lib->rows, 1,
                                 lib->dim, metallm__task_depth(lib), group,     &own};
    return metallm__nearest_find(&n, index, similarity, err);
}

int metallm__task_table_of_library(struct metallm__task_table *out,
                                   const struct metallm__task_lists *l, uint32_t held_out,
                                   metallm_error *err)
{
    const struct metallm__library *lib = l->lib;
    const uint32_t k = metallm__task_depth(lib);
    struct metallm__task_table t;
    uint32_t *group = metallm__alloc(lib->rows, sizeof *group);
    if (group == NULL)
        return metallm__error_nomem(err, "a table of tasks");
    int rc = table_new(&t, lib->tasks, lib->models, lib->dim, err);
    for (size_t i = 0; rc == METALLM_OK && i < lib->rows; i++) {
        uint32_t index[METALLM__TASK_K_MAX];
        float similarity[METALLM__TASK_K_MAX];
        if (!filter(l, i, held_out, k, index, similarity))
            rc = search(lib, i, held_out, group, index, similarity, err);
        struct sample s = {lib->x + i * lib->dim, lib->score + i * lib->models, index, similarity};
        if (rc == METALLM_OK)
            add_sample(&t, &t.rows[lib->task[i]], lib, &s);
    }
    metallm__free(group);
    if (rc != METALLM_OK) {
        metallm__task_table_fini(&t);
        return rc;
    }
    for (uint32_t r = 0; r < t.tasks; r++)
        finish_row(&t, &t.rows[r]);
    *out = t;
    return METALLM_OK;
}

int metallm__task_table_of_samples(struct metallm__task_table *out,
                                   const struct metallm__library *lib, const float *x,
                                   const float *score, size_t samples, metallm_error *err)
{
    const uint32_t k = metallm__task_depth(lib);
    struct metallm__task_table t = {0};
    uint32_t *index = metallm__alloc(samples, k * sizeof *index);
    float *similarity = metallm__alloc(samples, k * sizeof *similarity);
    int rc = METALLM_OK;
    if (index == NULL || similarity == NULL) {
        rc = metallm__error_nomem(err, "lists of neighbours");
    } else {
        struct metallm__nearest n = {lib->x, x, lib->rows, samples, lib->dim, k, NULL, NULL};
        rc = metallm__nearest_find(&n, index, similarity, err);
    }
    if (rc == METALLM_OK)
        rc = table_new(&t, 1, lib->models, lib->dim, err);
    if (rc == METALLM_OK) {
        for (size_t i = 0; i < samples; i++) {
            struct sample s = {x + i * lib->dim, score != NULL ? score + i * lib->models : NULL,
                               index + i * k, similarity + i * k};
            add_sample(&t, &t.rows[0], lib, &s);
        }
        finish_row(&t, &t.rows[0]);
        *out = t;
    }
    metallm__free(index);
    metallm__free(similarity);
    return rc;
}
