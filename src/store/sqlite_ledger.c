/* SPDX-License-Identifier: Apache-2.0
 * sqlite_ledger.c - the gateway's tables in SQLite: what is appended on the way of a request.
 * Decisions and events are appended by their integer primary keys and have no other index, so a
 * record costs two inserts at the end of a B-tree. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "store/sqlite.h"

/* Runs a prepared statement once; the pragma cannot change within a transaction. */
static int run_simple(struct metallm__sqlite *s, enum metallm__sqlite_statement which,
                      metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, which, &statement, err);
    return rc == METALLM_OK ? metallm__sqlite_run(s, statement, err) : rc;
}

static int begin(void *state, bool is_synced, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    if (!sqlite3_get_autocommit(s->db)) /* a commit that failed left it open */
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    if (s->is_synced != is_synced) {
        int rc = metallm__sqlite_exec(
            s, is_synced ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;", err);
        if (rc != METALLM_OK)
            return rc;
        s->is_synced = is_synced;
    }
    return run_simple(s, METALLM__SQL_BEGIN, err);
}

static int commit(void *state, metallm_error *err)
{
    return run_simple(state, METALLM__SQL_COMMIT, err);
}

static void abort_ledger(void *state)
{
    struct metallm__sqlite *s = state;
    for (int i = 0; i < METALLM__SQL_COUNT; i++)
        if (s->statements[i] != NULL)
            sqlite3_reset(s->statements[i]);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int get_value(void *state, const char *name, void *bytes, size_t room, size_t *len,
                     metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    bool has_row = false;
    int rc = metallm__sqlite_get(s, METALLM__SQL_GET_VALUE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    rc = metallm__sqlite_step(s, statement, &has_row, err);
    *len = 0;
    if (rc == METALLM_OK && has_row) {
        const size_t there = (size_t)sqlite3_column_bytes(statement, 0);
        if (there > room)
            rc = metallm__error_set(err, METALLM_EFORMAT, "value '%s' of the store has %zu bytes",
                                    name, there);
        else if (there > 0)
            memcpy(bytes, sqlite3_column_blob(statement, 0), there);
        *len = rc == METALLM_OK ? there : 0;
    }
    sqlite3_reset(statement);
    return rc;
}

static int put_value(void *state, const char *name, const void *bytes, size_t len,
                     metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_VALUE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, bytes, len, SQLITE_STATIC);
    return metallm__sqlite_run(state, statement, err);
}

static int put_setup(void *state, uint64_t hash, const char *json, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_SETUP, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)hash);
    sqlite3_bind_text(statement, 2, json, -1, SQLITE_STATIC);
    return metallm__sqlite_run(state, statement, err);
}

static int get_setup(void *state, uint64_t hash, struct metallm__buf *out, bool *found,
                     metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_GET_SETUP, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)hash);
    rc = metallm__sqlite_step(state, statement, found, err);
    if (rc == METALLM_OK && *found) {
        metallm__buf_add(out, sqlite3_column_text(statement, 0),
                         (size_t)sqlite3_column_bytes(statement, 0));
        rc = metallm__buf_check(out, err);
    }
    sqlite3_reset(statement);
    return rc;
}

static int put_decision(void *state, const struct metallm__ledger_decision *d, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_DECISION, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, d->row);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)d->nonce);
    sqlite3_bind_int64(statement, 3, d->time_ms);
    sqlite3_bind_blob64(statement, 4, d->record, d->record_bytes, SQLITE_STATIC);
    if (d->text != NULL)
        sqlite3_bind_text64(statement, 5, d->text, d->text_bytes, SQLITE_STATIC, SQLITE_UTF8);
    return metallm__sqlite_run(state, statement, err);
}

/* Columns nonce, time, record from `at` on. */
static void decision_at(sqlite3_stmt *statement, int at, struct metallm__ledger_decision *d)
{
    d->nonce = (uint64_t)sqlite3_column_int64(statement, at);
    d->time_ms = sqlite3_column_int64(statement, at + 1);
    d->record = sqlite3_column_blob(statement, at + 2);
    d->record_bytes = (size_t)sqlite3_column_bytes(statement, at + 2);
}

static int get_decision(void *state, int64_t row, struct metallm__ledger_decision *d,
                        struct metallm__buf *out, bool *found, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_GET_DECISION, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, row);
    rc = metallm__sqlite_step(state, statement, found, err);
    if (rc == METALLM_OK && *found) {
        const size_t from = out->len;
        *d = (struct metallm__ledger_decision){.row = row};
        decision_at(statement, 0, d);
        metallm__buf_add(out, d->record, d->record_bytes);
        rc = metallm__buf_check(out, err);
        d->record = rc == METALLM_OK ? out->data + from : NULL;
    }
    sqlite3_reset(statement);
    return rc;
}

/* Columns nonce, time, score, seq, label, comment from `at` on; texts are the statement's. */
static void feedback_at(sqlite3_stmt *statement, int at, struct metallm__ledger_feedback *f)
{
    f->nonce = (uint64_t)sqlite3_column_int64(statement, at);
    f->time_ms = sqlite3_column_int64(statement, at + 1);
    f->score = metallm__sqlite_real_at(statement, at + 2);
    f->seq = sqlite3_column_int64(statement, at + 3);
    f->label = (const char *)sqlite3_column_text(statement, at + 4);
    f->comment = (const char *)sqlite3_column_text(statement, at + 5);
}

static int visit_decisions(void *state, int64_t after, metallm__ledger_decision_visit *visit,
                           void *payload, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_DECISIONS, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, after);
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        struct metallm__ledger_decision d = {.row = sqlite3_column_int64(statement, 0)};
        struct metallm__ledger_feedback f = {.row = d.row};
        decision_at(statement, 1, &d);
        const bool has_feedback = sqlite3_column_type(statement, 4) != SQLITE_NULL;
        if (has_feedback)
            feedback_at(statement, 4, &f);
        rc = visit(payload, &d, has_feedback ? &f : NULL, err);
        if (rc != METALLM_OK)
            break;
    }
    sqlite3_reset(statement);
    return rc;
}

static int put_feedback(void *state, const struct metallm__ledger_feedback *f, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_FEEDBACK, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, f->row);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)f->nonce);
    sqlite3_bind_int64(statement, 3, f->time_ms);
    metallm__sqlite_bind_real(statement, 4, f->score);
    sqlite3_bind_int64(statement, 5, f->seq);
    sqlite3_bind_text(statement, 6, f->label, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 7, f->comment, -1, SQLITE_STATIC);
    return metallm__sqlite_run(state, statement, err);
}

/* Copies a text (closed by NUL) to out; *offset is where it begins. */
static void keep_text(struct metallm__buf *out, const char *text, size_t *offset)
{
    *offset = out->len;
    if (text != NULL)
        metallm__buf_add(out, text, strlen(text) + 1);
}

static int get_feedback(void *state, int64_t row, struct metallm__ledger_feedback *f,
                        struct metallm__buf *out, bool *found, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_GET_FEEDBACK, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, row);
    rc = metallm__sqlite_step(state, statement, found, err);
    if (rc == METALLM_OK && *found) {
        size_t label, comment;
        *f = (struct metallm__ledger_feedback){.row = row};
        feedback_at(statement, 0, f);
        keep_text(out, f->label, &label);
        keep_text(out, f->comment, &comment);
        rc = metallm__buf_check(out, err);
        f->label = rc == METALLM_OK && f->label != NULL ? out->data + label : NULL;
        f->comment = rc == METALLM_OK && f->comment != NULL ? out->data + comment : NULL;
    }
    sqlite3_reset(statement);
    return rc;
}

static int put_event(void *state, const struct metallm__ledger_event *e, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_EVENT, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, e->seq);
    sqlite3_bind_int64(statement, 2, e->row);
    if (e->is_feedback) {
        sqlite3_bind_int64(statement, 3, e->first);
        metallm__sqlite_bind_real(statement, 4, e->score);
        metallm__sqlite_bind_real(statement, 5, e->before);
    }
    return metallm__sqlite_run(state, statement, err);
}

static int visit_events(void *state, int64_t after, metallm__ledger_event_visit *visit,
                        void *payload, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_EVENTS, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, after);
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        const struct metallm__ledger_event e = {
            .seq = sqlite3_column_int64(statement, 0),
            .row = sqlite3_column_int64(statement, 1),
            .is_feedback = sqlite3_column_type(statement, 2) != SQLITE_NULL,
            .first = sqlite3_column_int64(statement, 2),
            .score = metallm__sqlite_real_at(statement, 3),
            .before = metallm__sqlite_real_at(statement, 4),
        };
        rc = visit(payload, &e, err);
        if (rc != METALLM_OK)
            break;
    }
    sqlite3_reset(statement);
    return rc;
}

static int tops(void *state, struct metallm__ledger_tops *out, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row = false;
    int rc = metallm__sqlite_get(state, METALLM__SQL_TOPS, &statement, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_step(state, statement, &has_row, err);
    if (rc != METALLM_OK)
        return rc;
    out->row = has_row ? sqlite3_column_int64(statement, 0) : 0;
    out->seq = has_row ? sqlite3_column_int64(statement, 1) : 0;
    sqlite3_reset(statement);
    return METALLM_OK;
}

static int put_snapshot(void *state, const char *router, int64_t seq, const void *bytes, size_t len,
                        metallm_error *err)
{
    sqlite3_stmt *put, *drop;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_SNAPSHOT, &put, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(put, 1, router, -1, SQLITE_STATIC);
    sqlite3_bind_int64(put, 2, seq);
    sqlite3_bind_blob64(put, 3, bytes, len, SQLITE_STATIC);
    rc = metallm__sqlite_run(state, put, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_get(state, METALLM__SQL_DROP_SNAPSHOTS, &drop, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(drop, 1, router, -1, SQLITE_STATIC);
    return metallm__sqlite_run(state, drop, err);
}

static int get_snapshot(void *state, const char *router, int64_t *seq, struct metallm__buf *out,
                        bool *found, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_GET_SNAPSHOT, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, router, -1, SQLITE_STATIC);
    rc = metallm__sqlite_step(state, statement, found, err);
    if (rc == METALLM_OK && *found) {
        *seq = sqlite3_column_int64(statement, 0);
        metallm__buf_add(out, sqlite3_column_blob(statement, 1),
                         (size_t)sqlite3_column_bytes(statement, 1));
        rc = metallm__buf_check(out, err);
    }
    sqlite3_reset(statement);
    return rc;
}

/* The row up to which decisions go: old enough or too many, and not needed for learning. */
static int prune_bound(void *state, const struct metallm__ledger_prune *p, sqlite3_int64 *row,
                       metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row = false;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PRUNE_BOUND, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, p->before_ms);
    sqlite3_bind_int64(statement, 2, p->keep > 0 ? p->keep : INT64_MAX);
    sqlite3_bind_int64(statement, 3, p->seq);
    sqlite3_bind_int64(statement, 4, p->most < INT64_MAX ? (sqlite3_int64)p->most : INT64_MAX);
    rc = metallm__sqlite_step(state, statement, &has_row, err);
    *row = rc == METALLM_OK && has_row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return rc;
}

static int prune(void *state, const struct metallm__ledger_prune *p,
                 struct metallm__ledger_pruned *out, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_int64 row = 0;
    int rc = prune_bound(state, p, &row, err);
    *out = (struct metallm__ledger_pruned){.row = row};
    static const enum metallm__sqlite_statement drops[] = {
        METALLM__SQL_PRUNE_DECISIONS, METALLM__SQL_PRUNE_FEEDBACK, METALLM__SQL_PRUNE_EVENTS};
    for (size_t i = 0; i < 3 && rc == METALLM_OK; i++) {
        sqlite3_stmt *statement;
        rc = metallm__sqlite_get(s, drops[i], &statement, err);
        if (rc != METALLM_OK)
            break;
        sqlite3_bind_int64(statement, 1, i < 2 ? row : p->seq);
        rc = metallm__sqlite_run(s, statement, err);
        if (rc == METALLM_OK && i == 0)
            out->decisions = (size_t)sqlite3_changes64(s->db);
    }
    return rc;
}

const struct metallm__ledger_backend metallm__sqlite_ledger = {
    .begin = begin,
    .commit = commit,
    .abort = abort_ledger,
    .claim = metallm__sqlite_claim,
    .get_value = get_value,
    .put_value = put_value,
    .put_setup = put_setup,
    .get_setup = get_setup,
    .put_decision = put_decision,
    .get_decision = get_decision,
    .visit = visit_decisions,
    .put_feedback = put_feedback,
    .get_feedback = get_feedback,
    .put_event = put_event,
    .events = visit_events,
    .tops = tops,
    .put_snapshot = put_snapshot,
    .get_snapshot = get_snapshot,
    .prune = prune,
    .put_key = metallm__sqlite_put_key,
    .drop_key = metallm__sqlite_drop_key,
    .keys = metallm__sqlite_keys,
    .add_spend = metallm__sqlite_add_spend,
    .spend = metallm__sqlite_spend,
    .put_change = metallm__sqlite_put_change,
    .changes = metallm__sqlite_changes,
};
