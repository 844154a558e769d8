/* SPDX-License-Identifier: Apache-2.0
 * journal_state.h - the inside of a journal, shared by journal*.c. Nobody else includes it. */
#ifndef GATEWAY_JOURNAL_STATE_H
#define GATEWAY_JOURNAL_STATE_H
#include <pthread.h>
#include <stdatomic.h>

#include "gateway/brain_learn.h"
#include "gateway/journal.h"

#define METALLM__JOURNAL_SCOPES 4u

/* A decision that waits; its record, text and scopes' names follow it in one piece of memory. */
struct metallm__journal_entry {
    struct metallm__journal_entry *next;
    int64_t row, time_ms;
    uint64_t nonce, came_ns;
    double cost_usd;
    uint64_t tokens;
    size_t bytes; /* of all of it */
    const void *record;
    size_t record_bytes;
    const char *text; /* NULL: not kept */
    size_t text_bytes;
    uint32_t scope_count;
    struct metallm__journal_scope scopes[METALLM__JOURNAL_SCOPES];
};

/* Somebody who waits: for feedback, a decision to be shown, or a call. */
struct metallm__journal_waiter {
    struct metallm__journal_waiter *next;
    enum { METALLM__WAIT_FEEDBACK, METALLM__WAIT_SHOW, METALLM__WAIT_CALL } kind;
    struct metallm__decision_id id;
    double score;
    bool is_graded;
    char *label, *comment; /* owned; NULL: none */
    char name[METALLM__DECISION_ID_LEN + 1];
    int (*work)(void *payload, struct metallm__store *s, metallm_error *err);
    metallm__journal_done *done; /* NULL: nobody listens */
    metallm__journal_shown *shown;
    void *payload;
    uint64_t came_ns;
    int rc; /* of this one, within a batch that is well */
    metallm_error err;
};

struct metallm__journal_queue {
    struct metallm__journal_entry *entries, **entries_end;
    struct metallm__journal_waiter *waiters, **waiters_end;
    uint64_t entry_count, entry_bytes, waiter_count;
};

/* An event of the batch, with the record it is about, in the batch's buffer. */
struct metallm__journal_event {
    struct metallm__ledger_event event;
    size_t record, record_bytes; /* offset */
};

/* Decisions whose feedback came first, with when. */
struct metallm__journal_early {
    int64_t row;
    int64_t time_ms;
};

struct metallm__journal {
    struct metallm__journal_options opts;
    struct metallm__store *store; /* the thread's */
    struct metallm__brains *brains;
    uint64_t id_secret[2], text_secret[2];
    atomic_llong next_row;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct metallm__journal_queue queue;
    bool is_stopping;
    bool is_asleep;                      /* the thread waits without a limit worth cutting short */
    struct metallm__journal_stats stats; /* what is written under lock */
    pthread_t thread;

    /* The thread's own. */
    int64_t seq, first_row, pruned_row;
    struct metallm__journal_event *events;
    size_t event_count, event_cap;
    struct metallm__buf records; /* of the batch's events */
    struct metallm__journal_early *early;
    size_t early_count, early_cap;
    uint64_t retry_ns, chore_ns, publish_ns;
    metallm_error failure;
    int failed; /* METALLM_OK, or why the last commit failed */
};

uint64_t metallm__journal_now(void); /* monotonic ns */
int64_t metallm__journal_wall(const struct metallm__journal *j);

/* journal_write.c: one transaction. On failure nothing of it is there. */
METALLM_MUSTCHECK int metallm__journal_write(struct metallm__journal *j,
                                             struct metallm__journal_queue *batch,
                                             metallm_error *err);
/* After its commit: the events are learned from. */
void metallm__journal_teach(struct metallm__journal *j);
METALLM_MUSTCHECK int metallm__journal_prune(struct metallm__journal *j, metallm_error *err);

/* journal_show.c: the JSON object of GET /v1/decisions/{id}. */
METALLM_MUSTCHECK int metallm__journal_print(struct metallm__store *s,
                                             const struct metallm__decision_id *id,
                                             const char *name, struct metallm__buf *out,
                                             metallm_error *err);
#endif
