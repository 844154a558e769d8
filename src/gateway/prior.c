/* SPDX-License-Identifier: Apache-2.0
 * prior.c - see prior.h. */
#include "gateway/prior.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "router/router_state.h"
#include "router/task_select.h"

#define SEED 1u

double metallm__prior_quality(const struct metallm__prior_scores *p,
                              enum metallm__prior_score score)
{
    const double s = score == METALLM__SCORE_S1   ? p->s1
                     : score == METALLM__SCORE_S2 ? p->s2
                                                  : p->s3;
    if (!isnan(s))
        return s;
    return isnan(p->bma) ? p->mean : p->bma;
}

int metallm__prior_judge(const struct metallm__library *own, const float *x, size_t queries,
                         struct metallm__prior_scores *out, metallm_error *err)
{
    METALLM_REQUIRE(own->models == 1);
    const double penalty = 0;
    const struct metallm__select_request q = {
        .lib = own, .x = x, .penalty = &penalty, .samples = queries, .seed = SEED};
    struct metallm__selection *s = metallm__alloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a prior");
    int rc = metallm__task_select(&q, s, err);
    if (rc == METALLM_OK) {
        out->s1 = s->s1[0];
        out->s2 = s->s2[0];
        out->s3 = s->s3[0];
        out->bma = s->mean[0];
        out->queries = queries;
    }
    metallm__free(s);
    return rc;
}

/* ---- The outcomes. ---- */

/* The queries that the model has a score for; the caller frees *rows. */
static int find_rows(const metallm_outcomes *all, const struct metallm__prior_request *q,
                     uint32_t *model, uint32_t **rows, struct metallm__prior_scores *out,
                     metallm_error *err)
{
    const size_t n = metallm_outcomes_query_count(all);
    *model = metallm_outcomes_find_model(all, q->model);
    *rows = metallm__alloc(n + 1, sizeof **rows);
    if (*rows == NULL)
        return metallm__error_nomem(err, "outcomes");
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; *model != UINT32_MAX && i < n; i++) {
        const float score = metallm_outcomes_get(all, i, *model).score;
        if (isnan(score))
            continue;
        sum += (double)score;
        (*rows)[known++] = (uint32_t)i;
    }
    if (known == 0)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' holds no score of '%.60s'", q->path,
                                  q->model);
    out->mean = sum / (double)known;
    out->rows = known;
    return METALLM_OK;
}

/* A table of the model alone, of these rows of all. */
static int take_rows(metallm_outcomes **out, const metallm_outcomes *all, uint32_t model,
                     const uint32_t *rows, size_t count, metallm_error *err)
{
    metallm_outcomes *own = NULL;
    uint32_t column = 0;
    int rc = metallm_outcomes_new(&own, err);
    if (rc == METALLM_OK)
        rc = metallm_outcomes_add_model(own, metallm_outcomes_model_name(all, model), &column, err);
    for (size_t i = 0; i < count && rc == METALLM_OK; i++) {
        const metallm_query q = metallm_outcomes_query(all, rows[i]);
        const metallm_outcome cell = metallm_outcomes_get(all, rows[i], model);
        size_t at = 0;
        rc = metallm_outcomes_add_query(own, &q, &at, err);
        if (rc == METALLM_OK)
            rc = metallm_outcomes_set(own, at, column, &cell, err);
    }
    if (rc != METALLM_OK) {
        metallm_outcomes_free(own);
        return rc;
    }
    *out = own;
    return METALLM_OK;
}

static int read_file(metallm_outcomes **out, const char *path, metallm_error *err)
{
    const metallm_read_options how = {0};
    metallm_outcomes *all = NULL;
    int rc = metallm_outcomes_new(&all, err);
    if (rc == METALLM_OK)
        rc = metallm_outcomes_read(all, path, &how, NULL, err);
    if (rc != METALLM_OK) {
        metallm_outcomes_free(all);
        return rc;
    }
    *out = all;
    return METALLM_OK;
}

/* Hash of the file's bytes. */
static int look_at(const char *path, uint64_t *print, metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    const size_t len = map.len;
    *print = len <= METALLM__PRIOR_FILE_BYTES ? metallm__hash_bytes(map.bytes, len, 0) : 0;
    metallm__map_close(&map);
    if (len > METALLM__PRIOR_FILE_BYTES)
        return metallm__error_set(err, METALLM_ELIMIT, "'%s' has more than %zu bytes", path,
                                  METALLM__PRIOR_FILE_BYTES);
    return METALLM_OK;
}

/* ---- Against the router's queries. ---- */

static int encode(metallm_encoder *e, const metallm_outcomes *own, struct metallm__library **out,
                  metallm_error *err)
{
    const size_t n = metallm_outcomes_query_count(own);
    const metallm_layout layout = metallm_encoder_layout(e);
    const char **texts = metallm__alloc(n, sizeof *texts);
    size_t *lens = metallm__alloc(n, sizeof *lens);
    float *values = metallm__alloc(n, metallm_layout_dim(&layout) * sizeof *values);
    int rc = texts == NULL || lens == NULL || values == NULL
                 ? metallm__error_nomem(err, "vectors of outcomes")
                 : METALLM_OK;
    for (size_t i = 0; i < n && rc == METALLM_OK; i++) {
        texts[i] = metallm_outcomes_query(own, i).prompt;
        lens[i] = strlen(texts[i]);
    }
    if (rc == METALLM_OK)
        rc = metallm_encoder_features(e, texts, lens, n, values, NULL, err);
    const metallm_vectors x = {
        .values = values, .rows = n, .layout = layout, .encoder = metallm_encoder_id(e)};
    if (rc == METALLM_OK)
        rc = metallm__library_build(out, own, &x, METALLM__PRIOR_ROWS, SEED, err);
    metallm__free(values);
    metallm__free(lens);
    metallm__free(texts);
    return rc;
}

/* Queries of the library, which stand task by task, evenly. */
static int judge_evenly(const struct metallm__library *own, const struct metallm__library *lib,
                        struct metallm__prior_scores *out, metallm_error *err)
{
    const size_t n = lib->rows < METALLM__PRIOR_QUERIES ? lib->rows : METALLM__PRIOR_QUERIES;
    float *x = metallm__alloc(n, lib->dim * sizeof *x);
    if (x == NULL)
        return metallm__error_nomem(err, "a router's queries");
    for (size_t i = 0; i < n; i++)
        memcpy(x + i * lib->dim, lib->x + i * lib->rows / n * lib->dim, lib->dim * sizeof *x);
    int rc = metallm__prior_judge(own, x, n, out, err);
    metallm__free(x);
    return rc;
}

/* rows: those with a score, in any order. */
static int judge_rows(const struct metallm__prior_request *q, const metallm_outcomes *all,
                      uint32_t model, const uint32_t *rows, struct metallm__prior_scores *out,
                      metallm_error *err)
{
    const size_t n = out->rows < METALLM__PRIOR_ROWS ? out->rows : METALLM__PRIOR_ROWS;
    metallm_outcomes *own = NULL;
    struct metallm__library *lib = NULL;
    int rc = take_rows(&own, all, model, rows, n, err);
    if (rc == METALLM_OK)
        rc = encode(q->encoder, own, &lib, err);
    if (rc == METALLM_OK)
        rc = judge_evenly(lib, q->router->tasks, out, err);
    metallm__library_free(lib);
    metallm_outcomes_free(own);
    return rc;
}

static bool has_queries(const struct metallm__prior_request *q)
{
    const struct metallm__library *lib = q->router == NULL ? NULL : q->router->tasks;
    return lib != NULL && lib->rows > 0 && q->encoder != NULL &&
           metallm_encoder_layout(q->encoder).head == lib->dim;
}

static int work_out(const struct metallm__prior_request *q, struct metallm__prior_scores *out,
                    metallm_error *err)
{
    metallm_outcomes *all = NULL;
    uint32_t *rows = NULL, model = UINT32_MAX;
    int rc = read_file(&all, q->path, err);
    if (rc != METALLM_OK)
        return rc;
    *out = (struct metallm__prior_scores){.s1 = NAN, .s2 = NAN, .s3 = NAN, .bma = NAN};
    rc = find_rows(all, q, &model, &rows, out, err);
    if (rc == METALLM_OK && has_queries(q)) {
        metallm_rng rng;
        metallm_rng_seed(&rng, SEED);
        metallm__rng_shuffle(&rng, rows, out->rows);
        rc = judge_rows(q, all, model, rows, out, err);
        out->is_partial = rc != METALLM_OK;
        rc = rc == METALLM_ENOMEM ? rc : METALLM_OK;
    }
    metallm__free(rows);
    metallm_outcomes_free(all);
    return rc;
}

int metallm__prior_check(const char *path, const char *model, metallm_error *err)
{
    const struct metallm__prior_request q = {.path = path, .model = model};
    struct metallm__prior_scores scores;
    uint64_t print = 0;
    int rc = look_at(path, &print, err);
    return rc == METALLM_OK ? work_out(&q, &scores, err) : rc;
}

/* ---- What was worked out is kept. ---- */

struct kept {
    uint64_t file, router, model; /* hashes */
    struct metallm__prior_scores scores;
};
struct metallm__priors {
    struct kept items[METALLM__PRIOR_KEPT];
    size_t count; /* ever kept: the next one stands at count % METALLM__PRIOR_KEPT */
};

int metallm__priors_new(struct metallm__priors **out, metallm_error *err)
{
    struct metallm__priors *p = metallm__calloc(1, sizeof *p);
    if (p == NULL)
        return metallm__error_nomem(err, "priors");
    *out = p;
    return METALLM_OK;
}

void metallm__priors_free(struct metallm__priors *p)
{
    metallm__free(p);
}

int metallm__priors_find(struct metallm__priors *p, const struct metallm__prior_request *q,
                         struct metallm__prior_scores *out, bool *is_new, metallm_error *err)
{
    struct kept k = {.router = q->router == NULL ? 0 : q->print,
                     .model = metallm__hash_bytes(q->model, strlen(q->model), 0)};
    *is_new = false;
    int rc = look_at(q->path, &k.file, err);
    if (rc != METALLM_OK)
        return rc;
    for (size_t i = 0; i < p->count && i < METALLM__PRIOR_KEPT; i++)
        if (p->items[i].file == k.file && p->items[i].router == k.router &&
            p->items[i].model == k.model) {
            *out = p->items[i].scores;
            return METALLM_OK;
        }
    rc = work_out(q, &k.scores, err);
    if (rc != METALLM_OK)
        return rc;
    if (!k.scores.is_partial)
        p->items[p->count++ % METALLM__PRIOR_KEPT] = k;
    *is_new = true;
    *out = k.scores;
    return METALLM_OK;
}
