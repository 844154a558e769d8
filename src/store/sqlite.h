/* SPDX-License-Identifier: Apache-2.0
 * sqlite.h - what the files of the SQLite backend share. The schema stands in store_sqlite.c and in
 * docs/formats.md. */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H
#include <sqlite3.h>

#include "store/backend.h"

enum metallm__sqlite_statement {
    METALLM__SQL_FIND_FILE,
    METALLM__SQL_FIND_PATH,
    METALLM__SQL_ADD_FILE,
    METALLM__SQL_END_FILE,
    METALLM__SQL_DROP_ANSWERS,
    METALLM__SQL_DROP_OUTCOMES,
    METALLM__SQL_DROP_QUERIES,
    METALLM__SQL_MOVE_QUERIES,
    METALLM__SQL_DROP_FILE,
    METALLM__SQL_HOLD_ANSWER,
    METALLM__SQL_FIND_QUERY,
    METALLM__SQL_ADD_QUERY,
    METALLM__SQL_ADD_MODEL,
    METALLM__SQL_FIND_MODEL,
    METALLM__SQL_ADD_OUTCOME,
    METALLM__SQL_ADD_ANSWER,
    METALLM__SQL_FORGET_ANSWERS,
    METALLM__SQL_PUT_PRICE,
    METALLM__SQL_PRICE_CALLS,
    METALLM__SQL_PRICE_TOKENS,
    METALLM__SQL_SUMMARY,
    METALLM__SQL_READ_MODELS,
    METALLM__SQL_COUNT_QUERIES,
    METALLM__SQL_READ_QUERIES,
    METALLM__SQL_READ_OUTCOMES,
    METALLM__SQL_ADD_ENCODER,
    METALLM__SQL_FIND_ENCODER,
    METALLM__SQL_GET_VECTOR,
    METALLM__SQL_PUT_VECTOR,
    METALLM__SQL_COUNT
};

struct metallm__sqlite {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[METALLM__SQL_COUNT]; /* made when first needed */
    sqlite3_int64 file;                           /* being imported */
    bool has_answers;                             /* it gave some */
};

/* METALLM_E* and a sentence for the last failure of this database. */
int metallm__sqlite_failed(const struct metallm__sqlite *s, metallm_error *err);
METALLM_MUSTCHECK int metallm__sqlite_exec(struct metallm__sqlite *s, const char *sql,
                                           metallm_error *err);
/* The statement, ready for binding. */
METALLM_MUSTCHECK int metallm__sqlite_get(struct metallm__sqlite *s,
                                          enum metallm__sqlite_statement which, sqlite3_stmt **out,
                                          metallm_error *err);
/* Runs it: *has_row tells whether a row stands there. A statement without rows is reset. */
METALLM_MUSTCHECK int metallm__sqlite_step(struct metallm__sqlite *s, sqlite3_stmt *statement,
                                           bool *has_row, metallm_error *err);
/* Runs a statement that gives no rows. */
METALLM_MUSTCHECK int metallm__sqlite_run(struct metallm__sqlite *s, sqlite3_stmt *statement,
                                          metallm_error *err);

int metallm__sqlite_file_begin(void *state, const struct metallm__store_file *file, bool *is_known,
                               struct metallm__store_added *added, metallm_error *err);
int metallm__sqlite_file_answer(void *state, size_t query, uint32_t model,
                                struct metallm__span text, metallm_error *err);
int metallm__sqlite_file_commit(void *state, const metallm_outcomes *o, const char *format,
                                struct metallm__store_added *added, metallm_error *err);
void metallm__sqlite_file_abort(void *state);
int metallm__sqlite_prices(void *state, const struct metallm__prices *prices, int day,
                           struct metallm__store_added *added, metallm_error *err);
int metallm__sqlite_summary(void *state, struct metallm__store_summary *out, metallm_error *err);
int metallm__sqlite_read(void *state, const char *task, const char *split, metallm_outcomes *o,
                         const metallm_progress *progress, metallm_error *err);
int metallm__sqlite_vectors_get(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err);
int metallm__sqlite_vectors_put(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err);
#endif
