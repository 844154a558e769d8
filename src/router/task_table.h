/* SPDX-License-Identifier: Apache-2.0
 * task_table.h - makes the rows of task_scores.h: for every task of a library, from the nearest
 * samples of the other tasks; and for a new task, from the whole library. */
#ifndef ROUTER_TASK_TABLE_H
#define ROUTER_TASK_TABLE_H
#include "router/task_library.h"
#include "router/task_scores.h"

struct metallm__task_table {
    uint32_t tasks, models, dim;
    struct metallm__task_row *rows; /* tasks */
    double *cells;                  /* what rows point to */
    float *centres;
};

/* The nearest samples of other tasks, for each sample of a library: rows x depth, best first. */
struct metallm__task_lists {
    const struct metallm__library *lib;
    uint32_t depth; /* at least the greatest k, and the neighbours of u */
    uint32_t *index;
    float *similarity;
};
uint32_t metallm__task_depth(const struct metallm__library *lib); /* the least depth */
METALLM_MUSTCHECK int metallm__task_lists_find(struct metallm__task_lists *out,
                                               const struct metallm__library *lib, uint32_t depth,
                                               metallm_error *err);
void metallm__task_lists_fini(struct metallm__task_lists *lists);

/* A row for each task, as if the task `held_out` were not in the library (UINT32_MAX: all are); its
 * own row is made from the others and so is the same either way. */
METALLM_MUSTCHECK int metallm__task_table_of_library(struct metallm__task_table *out,
                                                     const struct metallm__task_lists *lists,
                                                     uint32_t held_out, metallm_error *err);
/* One row for a new task: x is samples x lib->dim, unit length; the scores of the samples are
 * samples x lib->models, or NULL. */
METALLM_MUSTCHECK int metallm__task_table_of_samples(struct metallm__task_table *out,
                                                     const struct metallm__library *lib,
                                                     const float *x, const float *score,
                                                     size_t samples, metallm_error *err);
void metallm__task_table_fini(struct metallm__task_table *table);

#endif
