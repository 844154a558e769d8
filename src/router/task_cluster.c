/* SPDX-License-Identifier: Apache-2.0
 * task_cluster.c - spherical k-means (Dhillon and Modha, 2001) with k-means++ seeds: tasks for
 * outcomes whose files name none. */
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/nearest.h"
#include "router/task_library.h"

#define ROUNDS 50u

struct clustering {
    const struct metallm__library *lib;
    uint32_t count;
    float *centre;   /* count x dim */
    uint32_t *task;  /* rows */
    float *cosine;   /* rows: with the own centre */
    double *sums;    /* count x dim */
    uint32_t *sizes; /* count */
};

static void normalise(const double *sum, float *out, uint32_t dim)
{
    double square = 0;
    for (uint32_t d = 0; d < dim; d++)
        square += sum[d] * sum[d];
    for (uint32_t d = 0; d < dim; d++)
        out[d] = square > 0 ? (float)(sum[d] / sqrt(square)) : 0;
}

/* The next seed: a row with chance proportional to its distance 1 - cosine to the seeds so far. */
static size_t draw_row(const struct clustering *c, metallm_rng *rng)
{
    double total = 0;
    for (size_t i = 0; i < c->lib->rows; i++)
        total += fmax(1 - (double)c->cosine[i], 0);
    double left = metallm__rng_uniform(rng) * total;
    for (size_t i = 0; i < c->lib->rows; i++) {
        left -= fmax(1 - (double)c->cosine[i], 0);
        if (left < 0)
            return i;
    }
    return metallm__rng_below(rng, (uint32_t)c->lib->rows);
}

static void choose_seeds(struct clustering *c, metallm_rng *rng)
{
    const struct metallm__library *lib = c->lib;
    for (size_t i = 0; i < lib->rows; i++)
        c->cosine[i] = -1;
    for (uint32_t s = 0; s < c->count; s++) {
        float *centre = c->centre + (size_t)s * lib->dim;
        memcpy(centre, lib->x + draw_row(c, rng) * lib->dim, lib->dim * sizeof *centre);
        for (size_t i = 0; i < lib->rows; i++) {
            float cosine = 0;
            for (uint32_t d = 0; d < lib->dim; d++)
                cosine += centre[d] * lib->x[i * lib->dim + d];
            c->cosine[i] = fmaxf(c->cosine[i], cosine);
        }
    }
}

static void move_centres(struct clustering *c)
{
    const struct metallm__library *lib = c->lib;
    memset(c->sums, 0, c->count * sizeof *c->sums * lib->dim);
    memset(c->sizes, 0, c->count * sizeof *c->sizes);
    for (size_t i = 0; i < lib->rows; i++) {
        c->sizes[c->task[i]]++;
        for (uint32_t d = 0; d < lib->dim; d++)
            c->sums[(size_t)c->task[i] * lib->dim + d] += (double)lib->x[i * lib->dim + d];
    }
    for (uint32_t s = 0; s < c->count; s++)
        if (c->sizes[s] > 0) /* an empty one stays where it is */
            normalise(c->sums + (size_t)s * lib->dim, c->centre + (size_t)s * lib->dim, lib->dim);
}

static int settle(struct clustering *c, metallm_error *err)
{
    const struct metallm__library *lib = c->lib;
    double before = -INFINITY;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct metallm__nearest n = {c->centre, lib->x, c->count, lib->rows,
                                     lib->dim,  1,      NULL,     NULL};
        int rc = metallm__nearest_find(&n, c->task, c->cosine, err);
        if (rc != METALLM_OK)
            return rc;
        double total = 0;
        for (size_t i = 0; i < lib->rows; i++)
            total += (double)c->cosine[i];
        if (!(total > before + 1e-7 * (double)lib->rows))
            return METALLM_OK;
        before = total;
        move_centres(c);
    }
    return METALLM_OK;
}

/* Gives the rows their clusters as tasks, named "cluster 0" and so on; empty ones are closed up. */
static int rename_tasks(struct metallm__library *lib, const struct clustering *c,
                        metallm_error *err)
{
    uint32_t *number = c->sizes, made = 0; /* sizes are no longer needed */
    char **names = metallm__calloc(c->count, sizeof *names);
    int rc = names == NULL ? metallm__error_nomem(err, "the names of tasks") : METALLM_OK;
    for (uint32_t s = 0; s < c->count; s++)
        number[s] = UINT32_MAX;
    for (size_t i = 0; rc == METALLM_OK && i < lib->rows; i++) {
        char name[32];
        if (number[c->task[i]] == UINT32_MAX) {
            snprintf(name, sizeof name, "cluster %u", made);
            names[made] = metallm__strdup(name);
            if (names[made] == NULL)
                rc = metallm__error_nomem(err, "the names of tasks");
            number[c->task[i]] = made++;
        }
    }
    char **unused = names;
    uint32_t unused_count = made;
    if (rc == METALLM_OK) {
        for (size_t i = 0; i < lib->rows; i++)
            lib->task[i] = number[c->task[i]];
        unused = lib->names;
        unused_count = lib->tasks;
        lib->names = names;
        lib->tasks = made;
    }
    for (uint32_t t = 0; unused != NULL && t < unused_count; t++)
        metallm__free(unused[t]);
    metallm__free(unused);
    return rc;
}

int metallm__library_cluster(struct metallm__library *lib, uint32_t count, uint64_t seed,
                             metallm_error *err)
{
    METALLM_REQUIRE(count >= 1);
    count = count < lib->rows ? count : (uint32_t)lib->rows;
    struct clustering c = {
        .lib = lib,
        .count = count,
        .centre = metallm__alloc(count, sizeof *c.centre * lib->dim),
        .task = metallm__alloc(lib->rows, sizeof *c.task),
        .cosine = metallm__alloc(lib->rows, sizeof *c.cosine),
        .sums = metallm__alloc(count, sizeof *c.sums * lib->dim),
        .sizes = metallm__alloc(count, sizeof *c.sizes),
    };
    int rc = METALLM_OK;
    if (c.centre == NULL || c.task == NULL || c.cosine == NULL || c.sums == NULL ||
        c.sizes == NULL) {
        rc = metallm__error_nomem(err, "clusters");
    } else {
        metallm_rng rng;
        metallm_rng_seed(&rng, seed);
        choose_seeds(&c, &rng);
        rc = settle(&c, err);
        if (rc == METALLM_OK)
            rc = rename_tasks(lib, &c, err);
    }
    metallm__free(c.centre);
    metallm__free(c.task);
    metallm__free(c.cosine);
    metallm__free(c.sums);
    metallm__free(c.sizes);
    return rc;
}
