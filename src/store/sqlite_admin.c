/* SPDX-License-Identifier: Apache-2.0
 * sqlite_admin.c - the gateway's small tables in SQLite: client keys, spend, changes at run time.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "store/sqlite.h"

static const char *text_at(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text != NULL ? text : "";
}

/* A lock on a file beside the database, which SQLite's own locks do not know. */
int metallm__sqlite_claim(void *state, int wait_ms, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    struct metallm__buf path;
    if (s->claim_fd >= 0)
        return METALLM_OK;
    metallm__buf_init(&path, 65536);
    metallm__buf_printf(&path, "%s-claim", s->path);
    int rc = metallm__buf_check(&path, err);
    if (rc == METALLM_OK && (s->claim_fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        rc = metallm__error_set(err, METALLM_EIO, "cannot open '%s': %s", path.data,
                                strerror(errno));
    metallm__buf_fini(&path);
    while (rc == METALLM_OK && flock(s->claim_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || wait_ms <= 0) {
            close(s->claim_fd);
            s->claim_fd = -1;
            return metallm__error_set(err, METALLM_EBUSY,
                                      "the store '%s' is in use by another metallm (a gateway, or "
                                      "a job of classify)",
                                      s->path);
        }
        const struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
        wait_ms -= 20;
    }
    return rc;
}

int metallm__sqlite_put_key(void *state, const struct metallm__ledger_key *k, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_PUT_KEY, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, k->id, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, k->hash, k->hash_bytes, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, k->json, -1, SQLITE_STATIC);
    return metallm__sqlite_run(state, statement, err);
}

int metallm__sqlite_drop_key(void *state, const char *id, bool *found, metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(s, METALLM__SQL_DROP_KEY, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
    rc = metallm__sqlite_run(s, statement, err);
    *found = rc == METALLM_OK && sqlite3_changes(s->db) > 0;
    return rc;
}

int metallm__sqlite_keys(void *state, metallm__ledger_key_visit *visit, void *payload,
                         metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_KEYS, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        const struct metallm__ledger_key k = {
            .id = text_at(statement, 0),
            .hash = sqlite3_column_blob(statement, 1),
            .hash_bytes = (size_t)sqlite3_column_bytes(statement, 1),
            .json = text_at(statement, 2),
        };
        rc = visit(payload, &k, err);
        if (rc != METALLM_OK)
            break;
    }
    sqlite3_reset(statement);
    return rc;
}

int metallm__sqlite_add_spend(void *state, const struct metallm__ledger_spend *a,
                              metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_ADD_SPEND, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, a->scope, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, a->period_ms);
    sqlite3_bind_double(statement, 3, a->usd);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)a->requests);
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)a->tokens);
    return metallm__sqlite_run(state, statement, err);
}

int metallm__sqlite_spend(void *state, int64_t since_ms, metallm__ledger_spend_visit *visit,
                          void *payload, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_SPEND, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, since_ms);
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        const struct metallm__ledger_spend a = {
            .scope = text_at(statement, 0),
            .period_ms = sqlite3_column_int64(statement, 1),
            .usd = sqlite3_column_double(statement, 2),
            .requests = (uint64_t)sqlite3_column_int64(statement, 3),
            .tokens = (uint64_t)sqlite3_column_int64(statement, 4),
        };
        rc = visit(payload, &a, err);
        if (rc != METALLM_OK)
            break;
    }
    sqlite3_reset(statement);
    return rc;
}

int metallm__sqlite_put_change(void *state, const char *kind, const char *name, const char *json,
                               metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(
        state, json != NULL ? METALLM__SQL_PUT_CHANGE : METALLM__SQL_DROP_CHANGE, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    if (json != NULL)
        sqlite3_bind_text(statement, 3, json, -1, SQLITE_STATIC);
    return metallm__sqlite_run(state, statement, err);
}

int metallm__sqlite_changes(void *state, metallm__ledger_change_visit *visit, void *payload,
                            metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_CHANGES, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        rc = visit(payload, text_at(statement, 0), text_at(statement, 1), text_at(statement, 2),
                   err);
        if (rc != METALLM_OK)
            break;
    }
    sqlite3_reset(statement);
    return rc;
}
