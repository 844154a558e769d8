/* SPDX-License-Identifier: Apache-2.0
 * sqlite_import.c - a file's rows enter the SQLite store, in one transaction; and prices. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/table.h"
#include "store/sqlite.h"

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

/* The number that a statement with one text gives; 0: no row. */
static int find_by_text(struct metallm__sqlite *s, enum metallm__sqlite_statement which,
                        const char *text, sqlite3_int64 *id, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(s, which, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    bind_text(statement, 1, text);
    rc = metallm__sqlite_step(s, statement, &has_row, err);
    *id = rc == METALLM_OK && has_row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return rc;
}

static int find_file(struct metallm__sqlite *s, const struct metallm__store_file *file,
                     bool by_bytes, sqlite3_int64 *id, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(s, by_bytes ? METALLM__SQL_FIND_FILE : METALLM__SQL_FIND_PATH,
                                 &statement, err);
    if (rc != METALLM_OK)
        return rc;
    if (by_bytes)
        sqlite3_bind_blob(statement, 1, file->hash, sizeof file->hash, SQLITE_STATIC);
    else
        bind_text(statement, 1, file->path);
    bind_text(statement, 2, file->options);
    rc = metallm__sqlite_step(s, statement, &has_row, err);
    *id = rc == METALLM_OK && has_row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return rc;
}

static int drop_file(struct metallm__sqlite *s, sqlite3_int64 id, metallm_error *err)
{
    static const enum metallm__sqlite_statement steps[] = {
        METALLM__SQL_DROP_ANSWERS, METALLM__SQL_DROP_OUTCOMES, METALLM__SQL_DROP_QUERIES,
        METALLM__SQL_MOVE_QUERIES, METALLM__SQL_DROP_FILE};
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < sizeof steps / sizeof *steps; i++) {
        sqlite3_stmt *statement;
        rc = metallm__sqlite_get(s, steps[i], &statement, err);
        if (rc == METALLM_OK) {
            sqlite3_bind_int64(statement, 1, id);
            rc = metallm__sqlite_run(s, statement, err);
        }
    }
    return rc;
}

int metallm__sqlite_file_begin(void *state, const struct metallm__store_file *file, bool *is_known,
                               struct metallm__store_added *added, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_int64 known, former = 0;
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_exec(s, "BEGIN IMMEDIATE", err);
    if (rc == METALLM_OK)
        rc = find_file(s, file, true, &known, err);
    if (rc != METALLM_OK)
        return rc;
    *is_known = known != 0;
    if (*is_known) {
        added->files_known++;
        return METALLM_OK;
    }
    rc = find_file(s, file, false, &former, err);
    if (rc == METALLM_OK && former != 0)
        rc = drop_file(s, former, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_get(s, METALLM__SQL_ADD_FILE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    added->files_replaced += former != 0;
    bind_text(statement, 1, file->path);
    bind_text(statement, 2, file->options);
    sqlite3_bind_blob(statement, 3, file->hash, sizeof file->hash, SQLITE_STATIC);
    rc = metallm__sqlite_run(s, statement, err);
    s->has_answers = false;
    s->file = sqlite3_last_insert_rowid(s->db);
    return rc;
}

int metallm__sqlite_file_answer(void *state, size_t query, uint32_t model,
                                struct metallm__span text, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    s->has_answers = true;
    int rc = metallm__sqlite_get(s, METALLM__SQL_HOLD_ANSWER, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)query);
    sqlite3_bind_int64(statement, 2, model);
    sqlite3_bind_text(statement, 3, text.bytes, (int)text.len, SQLITE_STATIC);
    return metallm__sqlite_run(s, statement, err);
}

/* Numbers of the table's models in the store. */
static int add_models(struct metallm__sqlite *s, const metallm_outcomes *o, sqlite3_int64 *ids,
                      metallm_error *err)
{
    int rc = METALLM_OK;
    for (uint32_t m = 0; rc == METALLM_OK && m < metallm_outcomes_model_count(o); m++) {
        const char *name = metallm_outcomes_model_name(o, m);
        sqlite3_int64 unused;
        rc = find_by_text(s, METALLM__SQL_ADD_MODEL, name, &unused, err);
        if (rc == METALLM_OK)
            rc = find_by_text(s, METALLM__SQL_FIND_MODEL, name, &ids[m], err);
    }
    return rc;
}

/* The query of this row in the store, added when new. */
static int add_query(struct metallm__sqlite *s, const metallm_outcomes *o, size_t row,
                     sqlite3_int64 *id, struct metallm__store_added *added, metallm_error *err)
{
    const metallm_query q = metallm_outcomes_query(o, row);
    int kind = (int)metallm__outcomes_query_kind(o, row);
    sqlite3_int64 hash =
        kind != METALLM__KEY_NONE ? (sqlite3_int64)metallm__outcomes_query_hash(o, row) : 0;
    sqlite3_stmt *statement;
    bool has_row = false;
    int rc = METALLM_OK;
    if (kind != METALLM__KEY_NONE) {
        rc = metallm__sqlite_get(s, METALLM__SQL_FIND_QUERY, &statement, err);
        if (rc != METALLM_OK)
            return rc;
        sqlite3_bind_int64(statement, 1, hash);
        sqlite3_bind_int(statement, 2, kind);
        const char *const texts[] = {q.task, q.split, q.id, q.prompt};
        for (int i = 0; i < 4; i++)
            bind_text(statement, 3 + i, texts[i]);
        rc = metallm__sqlite_step(s, statement, &has_row, err);
        *id = has_row ? sqlite3_column_int64(statement, 0) : 0;
        sqlite3_reset(statement);
    }
    if (rc != METALLM_OK || has_row)
        return rc;
    rc = metallm__sqlite_get(s, METALLM__SQL_ADD_QUERY, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    const char *const texts[] = {q.id, q.task, q.split, q.prompt, q.label};
    sqlite3_bind_int64(statement, 1, s->file);
    for (int i = 0; i < 5; i++)
        bind_text(statement, 2 + i, texts[i]);
    sqlite3_bind_int(statement, 7, kind);
    sqlite3_bind_int64(statement, 8, hash);
    rc = metallm__sqlite_run(s, statement, err);
    *id = sqlite3_last_insert_rowid(s->db);
    added->queries++;
    return rc;
}

static int add_outcome(struct metallm__sqlite *s, sqlite3_int64 query, sqlite3_int64 model,
                       const metallm_outcome *cell, struct metallm__store_added *added,
                       metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, METALLM__SQL_ADD_OUTCOME, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, query);
    sqlite3_bind_int64(statement, 2, model);
    sqlite3_bind_int64(statement, 3, s->file);
    const float values[] = {cell->score, cell->cost_usd, cell->latency_ms, cell->input_tokens,
                            cell->output_tokens};
    for (int i = 0; i < 5; i++)
        metallm__sqlite_bind_real(statement, 4 + i, (double)values[i]);
    rc = metallm__sqlite_run(s, statement, err);
    bool is_new = sqlite3_changes(s->db) > 0;
    added->outcomes += is_new;
    added->copies += !is_new;
    return rc;
}

static int add_answer(struct metallm__sqlite *s, sqlite3_int64 query, sqlite3_int64 model,
                      size_t row, uint32_t m, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, METALLM__SQL_ADD_ANSWER, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, query);
    sqlite3_bind_int64(statement, 2, model);
    sqlite3_bind_int64(statement, 3, s->file);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)row);
    sqlite3_bind_int64(statement, 5, m);
    return metallm__sqlite_run(s, statement, err);
}

static int add_row(struct metallm__sqlite *s, const metallm_outcomes *o, size_t row,
                   const sqlite3_int64 *models, struct metallm__store_added *added,
                   metallm_error *err)
{
    sqlite3_int64 query;
    int rc = add_query(s, o, row, &query, added, err);
    for (uint32_t m = 0; rc == METALLM_OK && m < metallm_outcomes_model_count(o); m++) {
        metallm_outcome cell = metallm_outcomes_get(o, row, m);
        if (!metallm__outcome_is_unknown(&cell))
            rc = add_outcome(s, query, models[m], &cell, added, err);
        if (rc == METALLM_OK && s->has_answers)
            rc = add_answer(s, query, models[m], row, m, err);
    }
    return rc;
}

int metallm__sqlite_file_commit(void *state, const metallm_outcomes *o, const char *format,
                                struct metallm__store_added *added, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    struct metallm__store_added mine = *added;
    sqlite3_stmt *statement;
    sqlite3_int64 *models = metallm__calloc(METALLM_MODELS_MAX, sizeof *models);
    if (models == NULL)
        return metallm__error_nomem(err, "models");
    int rc = add_models(s, o, models, err);
    for (size_t row = 0; rc == METALLM_OK && row < metallm_outcomes_query_count(o); row++)
        rc = add_row(s, o, row, models, &mine, err);
    metallm__free(models);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_get(s, METALLM__SQL_END_FILE, &statement, err);
    if (rc == METALLM_OK) {
        sqlite3_bind_int64(statement, 1, s->file);
        bind_text(statement, 2, format);
        rc = metallm__sqlite_run(s, statement, err);
    }
    if (rc == METALLM_OK)
        rc = metallm__sqlite_get(s, METALLM__SQL_FORGET_ANSWERS, &statement, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_run(s, statement, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_exec(s, "COMMIT", err);
    if (rc == METALLM_OK)
        *added = mine;
    return rc;
}

void metallm__sqlite_file_abort(void *state)
{
    struct metallm__sqlite *s = state;
    for (size_t i = 0; i < METALLM__SQL_COUNT; i++)
        if (s->statements[i] != NULL)
            sqlite3_reset(s->statements[i]);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/* The row of a source that is no file, made when it is first met. */
static int find_source(struct metallm__sqlite *s, const char *name, metallm_error *err)
{
    sqlite3_stmt *statement;
    uint8_t hash[16];
    int rc = find_by_text(s, METALLM__SQL_FIND_SOURCE, name, &s->file, err);
    if (rc != METALLM_OK || s->file != 0)
        return rc;
    rc = metallm__sqlite_get(s, METALLM__SQL_ADD_FILE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__store_hash(name, strlen(name), hash);
    bind_text(statement, 1, name);
    bind_text(statement, 2, "rows");
    sqlite3_bind_blob(statement, 3, hash, sizeof hash, SQLITE_STATIC);
    rc = metallm__sqlite_run(s, statement, err);
    s->file = sqlite3_last_insert_rowid(s->db);
    return rc;
}

int metallm__sqlite_add_rows(void *state, const char *name, const metallm_outcomes *o,
                             struct metallm__store_added *added, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    int rc = metallm__sqlite_exec(s, "BEGIN IMMEDIATE", err);
    s->has_answers = false;
    if (rc == METALLM_OK)
        rc = find_source(s, name, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_file_commit(s, o, "rows", added, err);
    if (rc != METALLM_OK)
        metallm__sqlite_file_abort(s);
    return rc;
}

int metallm__sqlite_drop_rows(void *state, const char *name, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_int64 id = 0;
    int rc = find_by_text(s, METALLM__SQL_FIND_SOURCE, name, &id, err);
    return rc == METALLM_OK && id != 0 ? drop_file(s, id, err) : rc;
}

static int put_price(struct metallm__sqlite *s, const struct metallm__price *p, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, METALLM__SQL_PUT_PRICE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    bind_text(statement, 1, p->model);
    sqlite3_bind_int(statement, 2, p->from);
    const double values[] = {p->usd_per_call, p->input, p->output, p->cached_input};
    for (int i = 0; i < 4; i++)
        metallm__sqlite_bind_real(statement, 3 + i, values[i]);
    return metallm__sqlite_run(s, statement, err);
}

static int apply_price(struct metallm__sqlite *s, const struct metallm__price *p,
                       struct metallm__store_added *added, metallm_error *err)
{
    bool by_call = !isnan(p->usd_per_call);
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, by_call ? METALLM__SQL_PRICE_CALLS : METALLM__SQL_PRICE_TOKENS,
                                 &statement, err);
    if (rc != METALLM_OK)
        return rc;
    bind_text(statement, 1, p->model);
    metallm__sqlite_bind_real(statement, 2, by_call ? p->usd_per_call : p->input);
    if (!by_call)
        metallm__sqlite_bind_real(statement, 3, p->output);
    rc = metallm__sqlite_run(s, statement, err);
    if (rc == METALLM_OK)
        added->costs += (size_t)sqlite3_changes(s->db);
    return rc;
}

int metallm__sqlite_prices(void *state, const struct metallm__prices *prices, int day,
                           struct metallm__store_added *added, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    struct metallm__store_added mine = *added;
    int rc = metallm__sqlite_exec(s, "BEGIN IMMEDIATE", err);
    for (size_t i = 0; rc == METALLM_OK && i < prices->count; i++) {
        const struct metallm__price *p = &prices->items[i];
        rc = put_price(s, p, err);
        if (rc == METALLM_OK && metallm__prices_find(prices, p->model, day) == p)
            rc = apply_price(s, p, &mine, err);
    }
    if (rc == METALLM_OK)
        rc = metallm__sqlite_exec(s, "COMMIT", err);
    if (rc == METALLM_OK)
        *added = mine;
    else
        metallm__sqlite_file_abort(s);
    return rc;
}
