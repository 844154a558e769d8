/* SPDX-License-Identifier: Apache-2.0
 * backend.h - one function table per kind of database. store.c does what is the same for all: URLs,
 * reading files, prices. A new backend is a file and a line in store.c's list. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H
#include "data/import.h"
#include "data/prices.h"
#include "store/jobs.h"

/* A file about to be imported. */
struct metallm__store_file {
    const char *path;    /* absolute */
    const char *options; /* format, task and split that were asked for, as one text */
    uint8_t hash[16];    /* of its bytes */
};

/* What ledger.h says, function by function; state is the backend's. */
struct metallm__ledger_backend {
    int (*begin)(void *state, bool is_synced, metallm_error *err);
    int (*commit)(void *state, metallm_error *err);
    void (*abort)(void *state);
    int (*claim)(void *state, int wait_ms, metallm_error *err);
    int (*get_value)(void *state, const char *name, void *bytes, size_t room, size_t *len,
                     metallm_error *err);
    int (*put_value)(void *state, const char *name, const void *bytes, size_t len,
                     metallm_error *err);
    int (*put_setup)(void *state, uint64_t hash, const char *json, metallm_error *err);
    int (*get_setup)(void *state, uint64_t hash, struct metallm__buf *out, bool *found,
                     metallm_error *err);
    int (*put_decision)(void *state, const struct metallm__ledger_decision *d, metallm_error *err);
    int (*get_decision)(void *state, int64_t row, struct metallm__ledger_decision *d,
                        struct metallm__buf *out, bool *found, metallm_error *err);
    int (*visit)(void *state, int64_t after, metallm__ledger_decision_visit *visit, void *payload,
                 metallm_error *err);
    int (*put_feedback)(void *state, const struct metallm__ledger_feedback *f, metallm_error *err);
    int (*get_feedback)(void *state, int64_t row, struct metallm__ledger_feedback *f,
                        struct metallm__buf *out, bool *found, metallm_error *err);
    int (*put_event)(void *state, const struct metallm__ledger_event *e, metallm_error *err);
    int (*events)(void *state, int64_t after, metallm__ledger_event_visit *visit, void *payload,
                  metallm_error *err);
    int (*tops)(void *state, struct metallm__ledger_tops *out, metallm_error *err);
    int (*put_snapshot)(void *state, const char *router, int64_t seq, const void *bytes, size_t len,
                        metallm_error *err);
    int (*get_snapshot)(void *state, const char *router, int64_t *seq, struct metallm__buf *out,
                        bool *found, metallm_error *err);
    int (*prune)(void *state, const struct metallm__ledger_prune *p,
                 struct metallm__ledger_pruned *out, metallm_error *err);
    int (*put_key)(void *state, const struct metallm__ledger_key *k, metallm_error *err);
    int (*drop_key)(void *state, const char *id, bool *found, metallm_error *err);
    int (*keys)(void *state, metallm__ledger_key_visit *visit, void *payload, metallm_error *err);
    int (*add_spend)(void *state, const struct metallm__ledger_spend *a, metallm_error *err);
    int (*spend)(void *state, int64_t since_ms, metallm__ledger_spend_visit *visit, void *payload,
                 metallm_error *err);
    int (*put_change)(void *state, const char *kind, const char *name, const char *json,
                      metallm_error *err);
    int (*changes)(void *state, metallm__ledger_change_visit *visit, void *payload,
                   metallm_error *err);
};

/* What jobs.h says. */
struct metallm__jobs_backend {
    int (*find)(void *state, const char *name, struct metallm__job *job, struct metallm__buf *out,
                bool *found, metallm_error *err);
    int (*create)(void *state, const char *name, const char *json, struct metallm__job *job,
                  metallm_error *err);
    int (*drop)(void *state, int64_t job, metallm_error *err);
    int (*recover)(void *state, int64_t job, metallm_error *err);
    int (*begin)(void *state, int64_t job, uint64_t number, uint64_t hash, double reserved_usd,
                 metallm_error *err);
    int (*end)(void *state, int64_t job, const struct metallm__job_row *row, metallm_error *err);
    int (*states)(void *state, int64_t job, uint64_t from, uint32_t count, uint8_t *states,
                  metallm_error *err);
    int (*visit)(void *state, int64_t job, uint64_t from, uint64_t count,
                 metallm__job_visit_row *visit, void *payload, metallm_error *err);
    int (*totals)(void *state, int64_t job, struct metallm__job_totals *out, metallm_error *err);
};

struct metallm__store_backend {
    const char *scheme;                           /* of the URL, with the colon */
    const struct metallm__ledger_backend *ledger; /* NULL: it cannot serve a gateway */
    const struct metallm__jobs_backend *jobs;     /* NULL: it keeps no jobs */
    int (*open)(void **state, const char *place, enum metallm__store_mode mode, metallm_error *err);
    void (*close)(void *state); /* NULL is fine */

    void (*wait)(void *state, int wait_ms);

    /* begin; then, unless it is known, put the answers (by row numbers of the table that is being
     * read) and the table; then commit, or abort, which undoes all since begin. */
    int (*file_begin)(void *state, const struct metallm__store_file *file, bool *is_known,
                      struct metallm__store_added *added, metallm_error *err);
    int (*file_answer)(void *state, size_t query, uint32_t model, struct metallm__span text,
                       metallm_error *err);
    int (*file_commit)(void *state, const metallm_outcomes *o, const char *format,
                       struct metallm__store_added *added, metallm_error *err);
    void (*file_abort)(void *state);
    int (*add_rows)(void *state, const char *name, const metallm_outcomes *o,
                    struct metallm__store_added *added, metallm_error *err);

    int (*drop_rows)(void *state, const char *name, metallm_error *err);
    int (*prices)(void *state, const struct metallm__prices *prices, int day,
                  struct metallm__store_added *added, metallm_error *err);
    int (*summary)(void *state, struct metallm__store_summary *out, metallm_error *err);
    int (*read)(void *state, const char *task, const char *split, metallm_outcomes *o,
                const metallm_progress *progress, metallm_error *err);
    int (*vectors_get)(void *state, const struct metallm__store_vectors *v, metallm_error *err);
    int (*vectors_put)(void *state, const struct metallm__store_vectors *v, metallm_error *err);
};

struct metallm__store {
    const struct metallm__store_backend *backend;
    void *state;
};

extern const struct metallm__store_backend metallm__store_sqlite;

/* 128 bits of a text or file, by which it is known. */
void metallm__store_hash(const void *bytes, size_t len, uint8_t hash[16]);

#endif
