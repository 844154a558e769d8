/* SPDX-License-Identifier: Apache-2.0
 * sqlite_read.c - outcomes out of the SQLite store, and vectors in and out. A read is one
 * transaction, so that an import at the same time is seen whole or not at all. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "store/sqlite.h"

static const char *text_at(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text != NULL ? text : "";
}

static float real_at(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? NAN
               : (float)sqlite3_column_double(statement, column);
}

static int get_selecting(struct metallm__sqlite *s, enum metallm__sqlite_statement which,
                         const char *task, const char *split, sqlite3_stmt **out,
                         metallm_error *err)
{
    int rc = metallm__sqlite_get(s, which, out, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(*out, 1, task, -1, SQLITE_STATIC); /* NULL binds NULL: all */
    sqlite3_bind_text(*out, 2, split, -1, SQLITE_STATIC);
    return METALLM_OK;
}

/* Models of the selection: their numbers in the store and in the table. */
struct models {
    sqlite3_int64 ids[METALLM_MODELS_MAX];
    uint32_t indices[METALLM_MODELS_MAX];
    size_t count;
};

static int read_models(struct metallm__sqlite *s, const char *task, const char *split,
                       metallm_outcomes *o, struct models *models, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = get_selecting(s, METALLM__SQL_READ_MODELS, task, split, &statement, err);
    while (rc == METALLM_OK &&
           (rc = metallm__sqlite_step(s, statement, &has_row, err)) == METALLM_OK && has_row) {
        uint32_t index;
        rc = metallm_outcomes_add_model(o, text_at(statement, 1), &index, err);
        if (rc == METALLM_OK && models->count == METALLM_MODELS_MAX)
            rc = metallm__error_set(err, METALLM_ELIMIT, "more than %u models in the store",
                                    METALLM_MODELS_MAX);
        if (rc == METALLM_OK) {
            models->ids[models->count] = sqlite3_column_int64(statement, 0);
            models->indices[models->count++] = index;
        }
    }
    return rc;
}

/* ids ascend. */
static uint32_t model_index(const struct models *models, sqlite3_int64 id)
{
    size_t low = 0, high = models->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (models->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < models->count && models->ids[low] == id ? models->indices[low] : UINT32_MAX;
}

static int read_outcomes(struct metallm__sqlite *s, sqlite3_int64 id, size_t query,
                         const struct models *models, metallm_outcomes *o, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(s, METALLM__SQL_READ_OUTCOMES, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, id);
    while (rc == METALLM_OK &&
           (rc = metallm__sqlite_step(s, statement, &has_row, err)) == METALLM_OK && has_row) {
        uint32_t model = model_index(models, sqlite3_column_int64(statement, 0));
        const metallm_outcome cell = {real_at(statement, 1), real_at(statement, 2),
                                      real_at(statement, 3), real_at(statement, 4),
                                      real_at(statement, 5)};
        if (model == UINT32_MAX)
            rc = metallm__error_set(err, METALLM_EFORMAT,
                                    "the store '%s' is damaged: an outcome without its model",
                                    s->path);
        else
            rc = metallm_outcomes_set(o, query, model, &cell, err);
    }
    return rc;
}

static int read_queries(struct metallm__sqlite *s, const char *task, const char *split,
                        size_t total, const struct models *models, metallm_outcomes *o,
                        const metallm_progress *progress, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = get_selecting(s, METALLM__SQL_READ_QUERIES, task, split, &statement, err);
    for (size_t i = 0; rc == METALLM_OK; i++) {
        rc = metallm__sqlite_step(s, statement, &has_row, err);
        if (rc != METALLM_OK || !has_row)
            break;
        const metallm_query q = {.id = text_at(statement, 1),
                                 .task = text_at(statement, 2),
                                 .split = text_at(statement, 3),
                                 .prompt = text_at(statement, 4),
                                 .label = text_at(statement, 5)};
        size_t query;
        rc = metallm_outcomes_add_query(o, &q, &query, err);
        if (rc == METALLM_OK)
            rc = read_outcomes(s, sqlite3_column_int64(statement, 0), query, models, o, err);
        if (rc == METALLM_OK && i % 1024 == 0 && progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "reading", i, total) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "reading '%s' was cancelled", s->path);
    }
    return rc;
}

int metallm__sqlite_read(void *state, const char *task, const char *split, metallm_outcomes *o,
                         const metallm_progress *progress, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    bool has_row;
    struct models *models = metallm__calloc(1, sizeof *models);
    if (models == NULL)
        return metallm__error_nomem(err, "models");
    int rc = metallm__sqlite_exec(s, "BEGIN", err);
    if (rc == METALLM_OK)
        rc = read_models(s, task, split, o, models, err);
    if (rc == METALLM_OK)
        rc = get_selecting(s, METALLM__SQL_COUNT_QUERIES, task, split, &statement, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_step(s, statement, &has_row, err);
    if (rc == METALLM_OK) {
        size_t total = (size_t)sqlite3_column_int64(statement, 0);
        sqlite3_reset(statement);
        rc = read_queries(s, task, split, total, models, o, progress, err);
    }
    metallm__sqlite_file_abort(s); /* nothing was written */
    metallm__free(models);
    return rc;
}

static double mean_at(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? NAN
               : sqlite3_column_double(statement, column);
}

int metallm__sqlite_summary(void *state, struct metallm__store_summary *out, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    bool has_row;
    memset(out, 0, sizeof *out);
    int rc = get_selecting(s, METALLM__SQL_COUNT_QUERIES, NULL, NULL, &statement, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_step(s, statement, &has_row, err);
    if (rc != METALLM_OK)
        return rc;
    out->queries = (size_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    rc = metallm__sqlite_get(s, METALLM__SQL_SUMMARY, &statement, err);
    while (rc == METALLM_OK &&
           (rc = metallm__sqlite_step(s, statement, &has_row, err)) == METALLM_OK && has_row &&
           out->model_count < METALLM_MODELS_MAX) {
        struct metallm__store_model *m = &out->models[out->model_count++];
        snprintf(m->name, sizeof m->name, "%s", text_at(statement, 0));
        m->scores = (size_t)sqlite3_column_int64(statement, 1);
        m->score = mean_at(statement, 2);
        m->costs = (size_t)sqlite3_column_int64(statement, 3);
        m->cost_usd = mean_at(statement, 4);
    }
    if (statement != NULL)
        sqlite3_reset(statement);
    return rc;
}

/* The encoder's number, 0: none of this kind yet. */
static int find_encoder(struct metallm__sqlite *s, const char *kind, bool adds, sqlite3_int64 *id,
                        metallm_error *err)
{
    static const enum metallm__sqlite_statement steps[] = {METALLM__SQL_ADD_ENCODER,
                                                           METALLM__SQL_FIND_ENCODER};
    int rc = METALLM_OK;
    *id = 0;
    for (size_t i = adds ? 0 : 1; rc == METALLM_OK && i < 2; i++) {
        sqlite3_stmt *statement;
        bool has_row;
        rc = metallm__sqlite_get(s, steps[i], &statement, err);
        if (rc != METALLM_OK)
            return rc;
        sqlite3_bind_text(statement, 1, kind, -1, SQLITE_STATIC);
        rc = metallm__sqlite_step(s, statement, &has_row, err);
        if (rc == METALLM_OK && has_row)
            *id = sqlite3_column_int64(statement, 0);
        sqlite3_reset(statement);
    }
    return rc;
}

static int get_vector(struct metallm__sqlite *s, sqlite3_int64 encoder,
                      const struct metallm__store_vectors *v, size_t i, metallm_error *err)
{
    uint8_t hash[16];
    sqlite3_stmt *statement;
    bool has_row;
    size_t bytes = v->dim * sizeof(float);
    int rc = metallm__sqlite_get(s, METALLM__SQL_GET_VECTOR, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__store_hash(v->texts[i], v->lens[i], hash);
    sqlite3_bind_int64(statement, 1, encoder);
    sqlite3_bind_blob(statement, 2, hash, sizeof hash, SQLITE_STATIC);
    rc = metallm__sqlite_step(s, statement, &has_row, err);
    if (rc == METALLM_OK && has_row) {
        const void *blob = sqlite3_column_blob(statement, 0);
        if (blob != NULL && (size_t)sqlite3_column_bytes(statement, 0) == bytes) {
            memcpy(v->rows + i * v->dim, blob, bytes);
            v->found[i] = 1; /* of another length: made anew */
        }
    }
    sqlite3_reset(statement);
    return rc;
}

int metallm__sqlite_vectors_get(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_int64 encoder;
    memset(v->found, 0, v->count);
    int rc = find_encoder(s, v->kind, false, &encoder, err);
    for (size_t i = 0; rc == METALLM_OK && encoder != 0 && i < v->count; i++)
        rc = get_vector(s, encoder, v, i, err);
    return rc;
}

int metallm__sqlite_vectors_put(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_int64 encoder;
    int rc = metallm__sqlite_exec(s, "BEGIN IMMEDIATE", err);
    if (rc == METALLM_OK)
        rc = find_encoder(s, v->kind, true, &encoder, err);
    for (size_t i = 0; rc == METALLM_OK && i < v->count; i++) {
        uint8_t hash[16];
        sqlite3_stmt *statement;
        if (v->found[i])
            continue;
        rc = metallm__sqlite_get(s, METALLM__SQL_PUT_VECTOR, &statement, err);
        if (rc != METALLM_OK)
            break;
        metallm__store_hash(v->texts[i], v->lens[i], hash);
        sqlite3_bind_int64(statement, 1, encoder);
        sqlite3_bind_blob(statement, 2, hash, sizeof hash, SQLITE_STATIC);
        sqlite3_bind_blob(statement, 3, v->rows + i * v->dim, (int)(v->dim * sizeof(float)),
                          SQLITE_STATIC);
        rc = metallm__sqlite_run(s, statement, err);
    }
    if (rc == METALLM_OK)
        rc = metallm__sqlite_exec(s, "COMMIT", err);
    if (rc != METALLM_OK)
        metallm__sqlite_file_abort(s);
    return rc;
}
