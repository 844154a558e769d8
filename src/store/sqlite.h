/* SPDX-License-Identifier: Apache-2.0
 * sqlite.h - what the files of the SQLite backend share. The schema stands in store_sqlite.c and in
 * docs/formats.md. */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H
#include <math.h>
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
    METALLM__SQL_BEGIN,
    METALLM__SQL_COMMIT,
    METALLM__SQL_GET_VALUE,
    METALLM__SQL_PUT_VALUE,
    METALLM__SQL_PUT_SETUP,
    METALLM__SQL_GET_SETUP,
    METALLM__SQL_PUT_DECISION,
    METALLM__SQL_GET_DECISION,
    METALLM__SQL_VISIT_DECISIONS,
    METALLM__SQL_PUT_FEEDBACK,
    METALLM__SQL_GET_FEEDBACK,
    METALLM__SQL_PUT_EVENT,
    METALLM__SQL_VISIT_EVENTS,
    METALLM__SQL_TOPS,
    METALLM__SQL_PUT_SNAPSHOT,
    METALLM__SQL_DROP_SNAPSHOTS,
    METALLM__SQL_GET_SNAPSHOT,
    METALLM__SQL_PRUNE_BOUND,
    METALLM__SQL_PRUNE_DECISIONS,
    METALLM__SQL_PRUNE_FEEDBACK,
    METALLM__SQL_PRUNE_EVENTS,
    METALLM__SQL_PUT_KEY,
    METALLM__SQL_DROP_KEY,
    METALLM__SQL_VISIT_KEYS,
    METALLM__SQL_ADD_SPEND,
    METALLM__SQL_VISIT_SPEND,
    METALLM__SQL_PUT_CHANGE,
    METALLM__SQL_DROP_CHANGE,
    METALLM__SQL_VISIT_CHANGES,
    METALLM__SQL_FIND_JOB,
    METALLM__SQL_ADD_JOB,
    METALLM__SQL_DROP_JOB,
    METALLM__SQL_DROP_JOB_TEXTS,
    METALLM__SQL_DROP_JOB_CALLS,
    METALLM__SQL_RECOVER_JOB,
    METALLM__SQL_BEGIN_TEXT,
    METALLM__SQL_END_TEXT,
    METALLM__SQL_ADD_JOB_CALL,
    METALLM__SQL_JOB_STATES,
    METALLM__SQL_VISIT_JOB_TEXTS,
    METALLM__SQL_VISIT_JOB_CALLS,
    METALLM__SQL_JOB_TOTALS,
    METALLM__SQL_FIND_SOURCE,
    METALLM__SQL_COUNT
};

struct metallm__sqlite {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[METALLM__SQL_COUNT]; /* made when first needed */
    sqlite3_int64 file;                           /* being imported */
    bool has_answers;                             /* it gave some */
    bool is_synced;                               /* synchronous=FULL is in force */
    int claim_fd;                                 /* of the file that is locked; -1: none */
};

extern const struct metallm__ledger_backend metallm__sqlite_ledger;
extern const struct metallm__jobs_backend metallm__sqlite_jobs;

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
int metallm__sqlite_add_rows(void *state, const char *name, const metallm_outcomes *o,
                             struct metallm__store_added *added, metallm_error *err);
int metallm__sqlite_drop_rows(void *state, const char *name, metallm_error *err);
int metallm__sqlite_prices(void *state, const struct metallm__prices *prices, int day,
                           struct metallm__store_added *added, metallm_error *err);
int metallm__sqlite_summary(void *state, struct metallm__store_summary *out, metallm_error *err);
int metallm__sqlite_read(void *state, const char *task, const char *split, metallm_outcomes *o,
                         const metallm_progress *progress, metallm_error *err);
int metallm__sqlite_vectors_get(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err);
int metallm__sqlite_vectors_put(void *state, const struct metallm__store_vectors *v,
                                metallm_error *err);

int metallm__sqlite_claim(void *state, int wait_ms, metallm_error *err);
int metallm__sqlite_put_key(void *state, const struct metallm__ledger_key *k, metallm_error *err);
int metallm__sqlite_drop_key(void *state, const char *id, bool *found, metallm_error *err);
int metallm__sqlite_keys(void *state, metallm__ledger_key_visit *visit, void *payload,
                         metallm_error *err);
int metallm__sqlite_add_spend(void *state, const struct metallm__ledger_spend *a,
                              metallm_error *err);
int metallm__sqlite_spend(void *state, int64_t since_ms, metallm__ledger_spend_visit *visit,
                          void *payload, metallm_error *err);
int metallm__sqlite_put_change(void *state, const char *kind, const char *name, const char *json,
                               metallm_error *err);
int metallm__sqlite_changes(void *state, metallm__ledger_change_visit *visit, void *payload,
                            metallm_error *err);

/* NaN is NULL, both ways. */
static inline void metallm__sqlite_bind_real(sqlite3_stmt *statement, int at, double value)
{
    if (isnan(value))
        sqlite3_bind_null(statement, at);
    else
        sqlite3_bind_double(statement, at, value);
}

static inline double metallm__sqlite_real_at(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? NAN
               : sqlite3_column_double(statement, column);
}

#endif
