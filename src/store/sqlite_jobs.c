/* SPDX-License-Identifier: Apache-2.0
 * sqlite_jobs.c - jobs in SQLite: a row a text and a row a call, appended by their primary keys. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "store/sqlite.h"

static int find(void *state, const char *name, struct metallm__job *job, struct metallm__buf *out,
                bool *found, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_FIND_JOB, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    rc = metallm__sqlite_step(state, statement, found, err);
    if (rc == METALLM_OK && *found) {
        *job = (struct metallm__job){.id = sqlite3_column_int64(statement, 0),
                                     .created_ms = sqlite3_column_int64(statement, 2)};
        metallm__buf_add(out, sqlite3_column_text(statement, 1),
                         (size_t)sqlite3_column_bytes(statement, 1));
        rc = metallm__buf_check(out, err);
    }
    sqlite3_reset(statement);
    return rc;
}

static int create(void *state, const char *name, const char *json, struct metallm__job *job,
                  metallm_error *err)
{
    struct metallm__sqlite *s = state;
    sqlite3_stmt *statement;
    struct timespec now;
    int rc = metallm__sqlite_get(s, METALLM__SQL_ADD_JOB, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, json, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, now_ms);
    rc = metallm__sqlite_run(s, statement, err);
    if (rc == METALLM_OK)
        *job = (struct metallm__job){.id = sqlite3_last_insert_rowid(s->db), .created_ms = now_ms};
    return rc;
}

/* Statements that know the job alone. */
static int run_all(void *state, int64_t job, const enum metallm__sqlite_statement *steps,
                   size_t count, metallm_error *err)
{
    int rc = METALLM_OK;
    for (size_t i = 0; i < count && rc == METALLM_OK; i++) {
        sqlite3_stmt *statement;
        rc = metallm__sqlite_get(state, steps[i], &statement, err);
        if (rc != METALLM_OK)
            return rc;
        sqlite3_bind_int64(statement, 1, job);
        rc = metallm__sqlite_run(state, statement, err);
    }
    return rc;
}

static int drop(void *state, int64_t job, metallm_error *err)
{
    static const enum metallm__sqlite_statement steps[] = {
        METALLM__SQL_DROP_JOB_CALLS, METALLM__SQL_DROP_JOB_TEXTS, METALLM__SQL_DROP_JOB};
    return run_all(state, job, steps, sizeof steps / sizeof *steps, err);
}

static int recover(void *state, int64_t job, metallm_error *err)
{
    static const enum metallm__sqlite_statement steps[] = {METALLM__SQL_RECOVER_JOB};
    return run_all(state, job, steps, 1, err);
}

static int begin(void *state, int64_t job, uint64_t number, uint64_t hash, double reserved_usd,
                 metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_BEGIN_TEXT, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, job);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)number);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)hash);
    metallm__sqlite_bind_real(statement, 4, reserved_usd);
    return metallm__sqlite_run(state, statement, err);
}

static int put_call(void *state, int64_t job, uint64_t number, uint32_t step,
                    const struct metallm__job_call *c, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_ADD_JOB_CALL, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, job);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)number);
    sqlite3_bind_int64(statement, 3, step);
    sqlite3_bind_int64(statement, 4, c->model);
    sqlite3_bind_int64(statement, 5, c->why);
    sqlite3_bind_int64(statement, 6, c->label);
    sqlite3_bind_int64(statement, 7, c->how);
    metallm__sqlite_bind_real(statement, 8, c->confidence);
    metallm__sqlite_bind_real(statement, 9, c->score);
    metallm__sqlite_bind_real(statement, 10, c->usd);
    metallm__sqlite_bind_real(statement, 11, c->latency_ms);
    sqlite3_bind_int64(statement, 12, (sqlite3_int64)c->input_tokens);
    sqlite3_bind_int64(statement, 13, (sqlite3_int64)c->output_tokens);
    return metallm__sqlite_run(state, statement, err);
}

static int end(void *state, int64_t job, const struct metallm__job_row *row, metallm_error *err)
{
    sqlite3_stmt *statement;
    int rc = metallm__sqlite_get(state, METALLM__SQL_END_TEXT, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, job);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)row->number);
    sqlite3_bind_int64(statement, 3, row->state);
    sqlite3_bind_int64(statement, 4, row->label);
    sqlite3_bind_int64(statement, 5, row->model);
    sqlite3_bind_int64(statement, 6, row->how);
    metallm__sqlite_bind_real(statement, 7, row->confidence);
    metallm__sqlite_bind_real(statement, 8, row->propensity);
    metallm__sqlite_bind_real(statement, 9, row->usd);
    metallm__sqlite_bind_real(statement, 10, row->lost_usd);
    metallm__sqlite_bind_real(statement, 11, row->latency_ms);
    sqlite3_bind_int(statement, 12, row->is_lesson);
    sqlite3_bind_int64(statement, 13, row->decision_row);
    sqlite3_bind_text(statement, 14, row->decision, -1, SQLITE_STATIC);
    rc = metallm__sqlite_run(state, statement, err);
    for (uint32_t i = 0; i < row->call_count && rc == METALLM_OK; i++)
        rc = put_call(state, job, row->number, i, &row->calls[i], err);
    return rc;
}

static int states(void *state, int64_t job, uint64_t from, uint32_t count, uint8_t *out,
                  metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_JOB_STATES, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    memset(out, METALLM__JOB_NEW, count);
    sqlite3_bind_int64(statement, 1, job);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)(from + count));
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        const uint64_t number = (uint64_t)sqlite3_column_int64(statement, 0);
        if (number >= from && number - from < count)
            out[number - from] = (uint8_t)sqlite3_column_int(statement, 1);
    }
    sqlite3_reset(statement);
    return rc;
}

/* ---- Reading a job: texts and calls by number, side by side. ---- */

struct reading {
    sqlite3_stmt *texts, *calls;
    bool has_call; /* the next one stands ready */
    struct metallm__job_call room[METALLM__JOB_CALLS_MAX];
};

static void read_text(sqlite3_stmt *from, struct metallm__job_row *row)
{
    const unsigned char *name = sqlite3_column_text(from, 14);
    *row = (struct metallm__job_row){
        .number = (uint64_t)sqlite3_column_int64(from, 0),
        .state = (enum metallm__job_state)sqlite3_column_int(from, 1),
        .hash = (uint64_t)sqlite3_column_int64(from, 2),
        .reserved_usd = metallm__sqlite_real_at(from, 3),
        .label = (int32_t)sqlite3_column_int64(from, 4),
        .model = (uint32_t)sqlite3_column_int64(from, 5),
        .how = (uint32_t)sqlite3_column_int64(from, 6),
        .confidence = metallm__sqlite_real_at(from, 7),
        .propensity = metallm__sqlite_real_at(from, 8),
        .usd = metallm__sqlite_real_at(from, 9),
        .lost_usd = metallm__sqlite_real_at(from, 10),
        .latency_ms = metallm__sqlite_real_at(from, 11),
        .is_lesson = sqlite3_column_int(from, 12) != 0,
        .decision_row = sqlite3_column_int64(from, 13),
    };
    snprintf(row->decision, sizeof row->decision, "%s", name != NULL ? (const char *)name : "");
}

static void read_call(sqlite3_stmt *from, struct metallm__job_call *c)
{
    *c = (struct metallm__job_call){
        .model = (uint32_t)sqlite3_column_int64(from, 1),
        .why = (uint32_t)sqlite3_column_int64(from, 2),
        .label = (int32_t)sqlite3_column_int64(from, 3),
        .how = (uint32_t)sqlite3_column_int64(from, 4),
        .confidence = metallm__sqlite_real_at(from, 5),
        .score = metallm__sqlite_real_at(from, 6),
        .usd = metallm__sqlite_real_at(from, 7),
        .latency_ms = metallm__sqlite_real_at(from, 8),
        .input_tokens = (uint64_t)sqlite3_column_int64(from, 9),
        .output_tokens = (uint64_t)sqlite3_column_int64(from, 10),
    };
}

/* The calls of this text; both statements run by number. */
static int take_calls(void *state, struct reading *r, struct metallm__job_row *row,
                      metallm_error *err)
{
    int rc = METALLM_OK;
    while (r->has_call && rc == METALLM_OK) {
        const uint64_t number = (uint64_t)sqlite3_column_int64(r->calls, 0);
        if (number > row->number)
            break;
        if (number == row->number && row->call_count < METALLM__JOB_CALLS_MAX)
            read_call(r->calls, &r->room[row->call_count++]);
        rc = metallm__sqlite_step(state, r->calls, &r->has_call, err);
    }
    row->calls = r->room;
    return rc;
}

static void bind_range(sqlite3_stmt *statement, int64_t job, uint64_t from, uint64_t count)
{
    sqlite3_bind_int64(statement, 1, job);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)(from + count));
}

static int visit_rows(void *state, int64_t job, uint64_t from, uint64_t count,
                      metallm__job_visit_row *visit, void *payload, metallm_error *err)
{
    struct reading r = {0};
    bool has_row = false;
    int rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_JOB_CALLS, &r.calls, err);
    if (rc != METALLM_OK)
        return rc;
    bind_range(r.calls, job, from, count);
    rc = metallm__sqlite_step(state, r.calls, &r.has_call, err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_get(state, METALLM__SQL_VISIT_JOB_TEXTS, &r.texts, err);
    if (rc == METALLM_OK)
        bind_range(r.texts, job, from, count);
    while (rc == METALLM_OK) {
        struct metallm__job_row row;
        rc = metallm__sqlite_step(state, r.texts, &has_row, err);
        if (rc != METALLM_OK || !has_row)
            break;
        read_text(r.texts, &row);
        rc = take_calls(state, &r, &row, err);
        if (rc == METALLM_OK)
            rc = visit(payload, &row, err);
    }
    sqlite3_reset(r.calls);
    sqlite3_reset(r.texts); /* NULL is fine */
    return rc;
}

static int totals(void *state, int64_t job, struct metallm__job_totals *out, metallm_error *err)
{
    sqlite3_stmt *statement;
    bool has_row;
    int rc = metallm__sqlite_get(state, METALLM__SQL_JOB_TOTALS, &statement, err);
    if (rc != METALLM_OK)
        return rc;
    *out = (struct metallm__job_totals){0};
    sqlite3_bind_int64(statement, 1, job);
    while ((rc = metallm__sqlite_step(state, statement, &has_row, err)) == METALLM_OK && has_row) {
        const uint64_t n = (uint64_t)sqlite3_column_int64(statement, 1);
        switch ((enum metallm__job_state)sqlite3_column_int(statement, 0)) {
        case METALLM__JOB_ANSWERED:
            out->answered = n;
            out->unlabelled = (uint64_t)sqlite3_column_int64(statement, 2);
            break;
        case METALLM__JOB_FAILED:
            out->failed = n;
            break;
        case METALLM__JOB_CUT:
            out->cut = n;
            break;
        default:
            out->begun = n;
            break;
        }
        out->usd += sqlite3_column_double(statement, 3);
        out->lost_usd += sqlite3_column_double(statement, 4);
        out->reserved_usd += sqlite3_column_double(statement, 5);
    }
    sqlite3_reset(statement);
    return rc;
}

const struct metallm__jobs_backend metallm__sqlite_jobs = {
    .find = find,
    .create = create,
    .drop = drop,
    .recover = recover,
    .begin = begin,
    .end = end,
    .states = states,
    .visit = visit_rows,
    .totals = totals,
};
