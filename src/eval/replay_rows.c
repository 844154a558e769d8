/* SPDX-License-Identifier: Apache-2.0
 * replay_rows.c - see replay_rows.h. Vectors go through in blocks. */
#include "eval/replay_rows.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/router_state.h"
#include "router/task_select.h"
#include "router/tier.h"

enum { BLOCK = 512, SAMPLE = 512 };

struct metallm__rows {
    const metallm_router *router;
    uint32_t axes, dim, models;
    uint32_t model[METALLM_MODELS_MAX]; /* of the router */
    double cost_sum[METALLM_MODELS_MAX];
    struct metallm__spool *spool;
    float *z, *lengths, *row;
    metallm_estimate *estimates;
    bool is_cheap_first;
    double dial;
    uint8_t allowed[METALLM_MODELS_MAX]; /* of the router */
    float *coarse_z;                     /* with a coarse router inside */
    metallm_estimate *coarse;
    float *sample; /* SAMPLE x head: prompts of all rows, evenly; NULL: no task is to be judged */
    size_t sampled, stride, seen;
    size_t skipped, fine;    /* fine: rows that needed the fine encoder */
    size_t unpriced, priced; /* rows without any cost, and with all */
};

int metallm__rows_new(struct metallm__rows **out, const metallm_router *r, uint32_t axes,
                      const uint8_t *models, metallm_error *err)
{
    struct metallm__rows *rows = metallm__calloc(1, sizeof *rows);
    if (rows == NULL)
        return metallm__error_nomem(err, "rows of a replay");
    rows->router = r;
    rows->axes = axes < r->projection.axes ? axes : r->projection.axes;
    rows->dim = 1 + rows->axes + r->projection.layout.text;
    for (uint32_t m = 0; m < r->models; m++)
        if (models == NULL || models[m] != 0)
            rows->allowed[rows->model[rows->models++] = m] = 1;
    const uint32_t floats = metallm__replay_floats(rows->dim, rows->models);
    rows->z = metallm__alloc(BLOCK, r->projection.dim * sizeof(float));
    rows->lengths = metallm__alloc(BLOCK, sizeof(float));
    rows->row = metallm__alloc(floats, sizeof(float));
    rows->estimates = metallm__alloc(BLOCK, r->models * sizeof(metallm_estimate));
    if (r->coarse != NULL) {
        rows->coarse_z = metallm__alloc(BLOCK, r->coarse->projection.dim * sizeof(float));
        rows->coarse = metallm__alloc(BLOCK, r->models * sizeof(metallm_estimate));
    }
    if (r->tasks != NULL && r->tasks->dim == r->projection.layout.head)
        rows->sample = metallm__alloc(SAMPLE, r->tasks->dim * sizeof(float));
    rows->stride = 1;
    int rc = METALLM_OK;
    if (rows->z == NULL || rows->lengths == NULL || rows->row == NULL || rows->estimates == NULL ||
        (r->coarse != NULL && (rows->coarse_z == NULL || rows->coarse == NULL)))
        rc = metallm__error_nomem(err, "rows of a replay");
    if (rc == METALLM_OK)
        rc = metallm__spool_new(&rows->spool, floats, err);
    if (rc != METALLM_OK) {
        metallm__rows_free(rows);
        return rc;
    }
    *out = rows;
    return METALLM_OK;
}

void metallm__rows_free(struct metallm__rows *rows)
{
    if (rows == NULL)
        return;
    metallm__spool_free(rows->spool);
    metallm__free(rows->sample);
    metallm__free(rows->z);
    metallm__free(rows->lengths);
    metallm__free(rows->row);
    metallm__free(rows->estimates);
    metallm__free(rows->coarse_z);
    metallm__free(rows->coarse);
    metallm__free(rows);
}

void metallm__rows_cheap_first(struct metallm__rows *rows, double dial)
{
    rows->is_cheap_first = rows->router->coarse != NULL;
    rows->dial = dial;
}

bool metallm__rows_is_cheap_first(const struct metallm__rows *rows)
{
    return rows->is_cheap_first;
}

double metallm__rows_fine_share(const struct metallm__rows *rows)
{
    size_t n = metallm__spool_count(rows->spool);
    return rows->is_cheap_first && n > 0 ? (double)rows->fine / (double)n : 1;
}

/* False: the query is of no use. column: the router's models in the table. */
static bool fill_outcomes(struct metallm__rows *rows, const metallm_outcomes *o, size_t query,
                          const uint32_t *column)
{
    uint32_t priced = 0;
    for (uint32_t m = 0; m < rows->models; m++) {
        const metallm_outcome cell = metallm_outcomes_get(o, query, column[m]);
        float *c = rows->row + rows->dim + (size_t)m * METALLM__REPLAY_CELLS;
        if (isnan(cell.score))
            return false;
        c[METALLM__CELL_SCORE] = cell.score;
        c[METALLM__CELL_COST] = isnan(cell.cost_usd) ? 0 : cell.cost_usd;
        c[METALLM__CELL_LATENCY] = cell.latency_ms;
        priced += !isnan(cell.cost_usd);
    }
    if (priced > 0 && priced < rows->models)
        return false;
    rows->priced += priced > 0;
    rows->unpriced += priced == 0;
    return true;
}

static void fill_vector(struct metallm__rows *rows, const float *z)
{
    const struct metallm__projection *p = &rows->router->projection;
    rows->row[0] = 1;
    memcpy(rows->row + 1, z, rows->axes * sizeof *z);
    memcpy(rows->row + 1 + rows->axes, z + p->axes, (rows->dim - 1 - rows->axes) * sizeof *z);
}

/* z where only the cheap encoder has run: the text features are the same, the rest is not known. */
static void fill_coarse_vector(struct metallm__rows *rows, const float *z)
{
    const struct metallm__projection *p = &rows->router->coarse->projection;
    rows->row[0] = 1;
    memset(rows->row + 1, 0, rows->axes * sizeof *z);
    memcpy(rows->row + 1 + rows->axes, z + p->axes, (rows->dim - 1 - rows->axes) * sizeof *z);
}

/* Whether the coarse decision stands: at the dial, or at all of them. */
static bool is_safe(const struct metallm__rows *rows, const metallm_estimate *coarse)
{
    metallm_constraints c = {.dial = (float)rows->dial, .allowed = rows->allowed};
    if (!isnan(rows->dial))
        return metallm_router_is_safe(rows->router, coarse, &c);
    for (uint32_t d = 0; d < METALLM__TIER_DIALS; d++) {
        c.dial = metallm__tier_dials[d];
        if (!metallm_router_is_safe(rows->router, coarse, &c))
            return false;
    }
    return true;
}

static void fill_priors(struct metallm__rows *rows, const metallm_estimate *e)
{
    for (uint32_t m = 0; m < rows->models; m++) {
        float *c = rows->row + rows->dim + (size_t)m * METALLM__REPLAY_CELLS;
        c[METALLM__CELL_PRIOR_QUALITY] = e[rows->model[m]].quality;
        c[METALLM__CELL_PRIOR_SD] = e[rows->model[m]].quality_sd;
        c[METALLM__CELL_PRIOR_COST] = e[rows->model[m]].cost_usd;
    }
}

struct block {
    const metallm_outcomes *outcomes;
    const uint32_t *column;
    size_t first, count;
};

/* Projections and estimates of a block by one router. */
static int estimate_block(const metallm_router *r, const struct block *b, const metallm_vectors *x,
                          float *z, float *lengths, metallm_estimate *out, metallm_error *err)
{
    metallm_vectors part = *x;
    part.values += b->first * metallm_layout_dim(&x->layout);
    part.rows = b->count;
    int rc = metallm__router_project(r, &part, z, lengths, err);
    return rc == METALLM_OK ? metallm__router_estimate_z(r, z, lengths, b->count, out, err) : rc;
}

/* What is known of row i of the block before the decision. */
static void fill_known(struct metallm__rows *rows, size_t i)
{
    const metallm_router *r = rows->router;
    if (rows->is_cheap_first && is_safe(rows, rows->coarse + i * r->models)) {
        fill_coarse_vector(rows, rows->coarse_z + i * r->coarse->projection.dim);
        fill_priors(rows, rows->coarse + i * r->models);
        return;
    }
    rows->fine++;
    fill_vector(rows, rows->z + i * r->projection.dim);
    fill_priors(rows, rows->estimates + i * r->models);
}

static int add_block(struct metallm__rows *rows, const struct block *b, const metallm_vectors *x,
                     const metallm_vectors *cheap, metallm_error *err)
{
    const metallm_router *r = rows->router;
    int rc = METALLM_OK;
    if (rows->is_cheap_first)
        rc = estimate_block(r->coarse, b, cheap, rows->coarse_z, rows->lengths, rows->coarse, err);
    if (rc == METALLM_OK)
        rc = estimate_block(r, b, x, rows->z, rows->lengths, rows->estimates, err);
    for (size_t i = 0; i < b->count && rc == METALLM_OK; i++) {
        if (!fill_outcomes(rows, b->outcomes, b->first + i, b->column)) {
            rows->skipped++;
            continue;
        }
        fill_known(rows, i);
        for (uint32_t m = 0; m < rows->models; m++)
            rows->cost_sum[m] +=
                (double)
                    rows->row[rows->dim + (size_t)m * METALLM__REPLAY_CELLS + METALLM__CELL_COST];
        rc = metallm__spool_add(rows->spool, rows->row, 1, err);
    }
    return rc;
}

/* Every stride-th row; when there are too many, every other one of them. */
static void sample_rows(struct metallm__rows *rows, const metallm_vectors *x)
{
    const uint32_t dim = x->layout.head, width = metallm_layout_dim(&x->layout);
    for (size_t i = 0; rows->sample != NULL && dim == rows->router->tasks->dim && i < x->rows; i++)
        if (rows->seen++ % rows->stride == 0) {
            if (rows->sampled == SAMPLE) {
                for (size_t k = 1; 2 * k < SAMPLE; k++)
                    memcpy(rows->sample + k * dim, rows->sample + 2 * k * dim,
                           dim * sizeof *rows->sample);
                rows->sampled = SAMPLE / 2;
                rows->stride *= 2;
            }
            const metallm_vectors one = {
                .values = x->values + i * width, .rows = 1, .layout = x->layout};
            metallm__library_heads(&one, rows->sample + rows->sampled++ * dim);
        }
}

int metallm__rows_task(const struct metallm__rows *rows, struct metallm__replay_task *out,
                       metallm_error *err)
{
    const struct metallm__library *lib = rows->router->tasks;
    if (rows->sample == NULL || rows->sampled == 0)
        return metallm__error_set(err, METALLM_ENOTFOUND, "the router knows of no tasks");
    const double penalty[METALLM_MODELS_MAX] = {0};
    const struct metallm__select_request q = {
        .lib = lib, .x = rows->sample, .penalty = penalty, .samples = rows->sampled, .seed = 1};
    struct metallm__selection *s = metallm__alloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a task's scores");
    int rc = metallm__task_select(&q, s, err);
    for (uint32_t m = 0; m < rows->models && rc == METALLM_OK; m++) {
        out->s1[m] = s->s1[rows->model[m]];
        out->s2[m] = s->s2[rows->model[m]];
        out->s3[m] = s->s3[rows->model[m]];
    }
    metallm__free(s);
    return rc;
}

int metallm__rows_add(struct metallm__rows *rows, const metallm_outcomes *o,
                      const metallm_vectors *x, const metallm_vectors *cheap, metallm_error *err)
{
    const size_t n = metallm_outcomes_query_count(o);
    uint32_t column[METALLM_MODELS_MAX];
    METALLM_REQUIRE(x->rows == n);
    METALLM_REQUIRE(!rows->is_cheap_first || (cheap != NULL && cheap->rows == n));
    for (uint32_t m = 0; m < rows->models; m++) {
        column[m] = metallm_outcomes_find_model(o, rows->router->name[rows->model[m]]);
        if (column[m] == UINT32_MAX) { /* no query of this table will do */
            rows->skipped += n;
            return METALLM_OK;
        }
    }
    sample_rows(rows, x);
    for (size_t first = 0; first < n; first += BLOCK) {
        const struct block b = {o, column, first, n - first < BLOCK ? n - first : BLOCK};
        int rc = add_block(rows, &b, x, cheap, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

int metallm__rows_close(struct metallm__rows *rows, struct metallm__replay_input *in,
                        metallm_error *err)
{
    if (metallm__spool_count(rows->spool) == 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "no query has outcomes for all %u models (%zu were looked at)",
                                  (unsigned)rows->models, rows->skipped);
    if (rows->priced > 0 && rows->unpriced > 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "%zu queries have costs and %zu have none: give --prices",
                                  rows->priced, rows->unpriced);
    int rc = metallm__spool_close(rows->spool, err);
    if (rc == METALLM_OK)
        *in = (struct metallm__replay_input){.rows = rows->spool,
                                             .dim = rows->dim,
                                             .models = rows->models,
                                             .has_cost = rows->priced > 0};
    return rc;
}

size_t metallm__rows_skipped(const struct metallm__rows *rows)
{
    return rows->skipped;
}

uint32_t metallm__rows_models(const struct metallm__rows *rows)
{
    return rows->models;
}

const char *metallm__rows_model(const void *payload, uint32_t model)
{
    const struct metallm__rows *rows = payload;
    METALLM_REQUIRE(model < rows->models);
    return rows->router->name[rows->model[model]];
}

double metallm__rows_mean_cost(const struct metallm__rows *rows, uint32_t model)
{
    METALLM_REQUIRE(model < rows->models);
    return rows->priced > 0 ? rows->cost_sum[model] / (double)metallm__spool_count(rows->spool)
                            : NAN;
}

double metallm__rows_scale(const struct metallm__rows *rows)
{
    double top = 0;
    for (uint32_t m = 0; m < rows->models; m++)
        top = fmax(top, rows->cost_sum[m] / (double)metallm__spool_count(rows->spool));
    return rows->priced > 0 ? top : 0;
}
