/* SPDX-License-Identifier: Apache-2.0
 * task_library.h - what a router keeps of its training rows so that it can judge a new task
 * (arXiv 2309.15789): their embeddings, scores and tasks. In a router file: tensors "tasks.x"
 * (rows x dim, f16), "tasks.score" (rows x models, f32, NaN: not known), "tasks.task" (rows, u32)
 * and the metadata "tasks.names" (a JSON list). */
#ifndef ROUTER_TASK_LIBRARY_H
#define ROUTER_TASK_LIBRARY_H
#include "base/safetensors.h"
#include "metallm/router.h"
#include "router/task_scores.h"

#define METALLM__LIBRARY_ROWS_MAX 20000u /* kept of a larger training set, evenly by task */
#define METALLM__LIBRARY_TASKS    65536u

struct metallm__library {
    size_t rows;
    uint32_t dim, models, tasks;
    float *x;       /* rows x dim, unit length: the embedding of each prompt's beginning */
    float *score;   /* rows x models; NaN: not known */
    uint32_t *task; /* rows */
    char **names;   /* tasks */
    struct metallm__task_settings how; /* how its tasks are judged; 0: the defaults; not saved */
};

/* Models in the order of the outcomes. A task's name is the query's task up to the first '/': a
 * benchmark of small subtasks is one task. x: the head of each vector is kept, scaled to unit
 * length. The caller frees *out. */
METALLM_MUSTCHECK int metallm__library_build(struct metallm__library **out,
                                             const metallm_outcomes *outcomes,
                                             const metallm_vectors *x, size_t rows_max,
                                             uint64_t seed, metallm_error *err);
void metallm__library_free(struct metallm__library *lib); /* NULL is fine */

METALLM_MUSTCHECK int metallm__library_save(const struct metallm__library *lib,
                                            struct metallm__st_writer *w, metallm_error *err);
/* METALLM_ENOTFOUND: the file has none. */
METALLM_MUSTCHECK int metallm__library_load(struct metallm__library **out,
                                            const struct metallm__st_file *f, uint32_t models,
                                            metallm_error *err);

/* Replaces the tasks by at most count clusters of like prompts. The same seed gives the same ones.
 */
METALLM_MUSTCHECK int metallm__library_cluster(struct metallm__library *lib, uint32_t count,
                                               uint64_t seed, metallm_error *err);

/* Heads of vectors, scaled to unit length: out is rows x layout.head. */
void metallm__library_heads(const metallm_vectors *x, float *out);

#endif
