/* SPDX-License-Identifier: Apache-2.0
 * replay_rows.h - from outcomes and their vectors to the rows of a replay: z = [1 | the
 * projection's first axes | text features], the router's estimates, and what the models did. Owner:
 * the caller of new frees; close hands the rows over. */
#ifndef EVAL_REPLAY_ROWS_H
#define EVAL_REPLAY_ROWS_H
#include "eval/replay.h"
#include "metallm/router.h"

struct metallm__rows;

/* The router is borrowed until free. axes: of the projection that the learner sees, at most those
 * it has. models: flags for the router's models that take part, NULL: all. */
METALLM_MUSTCHECK int metallm__rows_new(struct metallm__rows **out, const metallm_router *r,
                                        uint32_t axes, const uint8_t *models, metallm_error *err);
void metallm__rows_free(struct metallm__rows *rows);
/* A router with a coarse one inside decides cheap first, at this dial; NaN: the dial will move, and
 * a coarse decision must be safe at every one. Rows whose coarse decision stands have its
 * estimates, and in place of the fine encoder's part of z zeros: nothing is known there. */
void metallm__rows_cheap_first(struct metallm__rows *rows, double dial);
bool metallm__rows_is_cheap_first(const struct metallm__rows *rows);
/* Share of the rows that needed the fine encoder; 1 without metallm__rows_cheap_first. */
double metallm__rows_fine_share(const struct metallm__rows *rows);
/* Adds the queries whose score is known for every model that takes part; the others are counted. A
 * cost that is not known where others are makes a query skipped as well. x: a row a query; cheap:
 * the coarse router's, NULL without metallm__rows_cheap_first. */
METALLM_MUSTCHECK int metallm__rows_add(struct metallm__rows *rows, const metallm_outcomes *o,
                                        const metallm_vectors *x, const metallm_vectors *cheap,
                                        metallm_error *err);
/* *in borrows from rows. METALLM_EMISMATCH: no query has outcomes for all models. */
METALLM_MUSTCHECK int metallm__rows_close(struct metallm__rows *rows,
                                          struct metallm__replay_input *in, metallm_error *err);
/* The task that the rows are, judged from at most 512 of their prompts and the router's task
 * library: task scores S1, S2 and S3 (p fitted) of every model that takes part. METALLM_ENOTFOUND:
 * the router keeps no library for such vectors. */
METALLM_MUSTCHECK int metallm__rows_task(const struct metallm__rows *rows,
                                         struct metallm__replay_task *out, metallm_error *err);
size_t metallm__rows_skipped(const struct metallm__rows *rows);
uint32_t metallm__rows_models(const struct metallm__rows *rows);
const char *metallm__rows_model(const void *rows, uint32_t model);                /* a name */
double metallm__rows_mean_cost(const struct metallm__rows *rows, uint32_t model); /* NaN: unknown */
/* Dollars of the highest mean cost in the rows; 0: no costs are known. */
double metallm__rows_scale(const struct metallm__rows *rows);

#endif
