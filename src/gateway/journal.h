/* SPDX-License-Identifier: Apache-2.0
 * journal.h - the one thread that writes to the store. Loops hand it decisions, feedback and other
 * work; it writes what is waiting in one transaction (at most every commit_ms, at once where
 * somebody waits for an answer), then tells those who wait, then has it learned, in the order of
 * commits.
 *
 * Nothing that was acknowledged is lost: feedback and calls are answered after their commit. They
 * wait in a bounded queue; a full one is METALLM_EBUSY at once (503 with Retry-After). Decisions
 * never wait and never hold up a request: when their queue is full or the store cannot be written,
 * the newest are counted in `dropped` (they answer no feedback then, and teach nothing). When a
 * commit fails (disk full, locked, damaged), feedback and calls of that batch fail with its error,
 * decisions stay queued up to the bound, and it is tried again every retry_ms until it works.
 * Threads: submit, id, parse, stats: any. done runs on the journal's thread and must only post. */
#ifndef GATEWAY_JOURNAL_H
#define GATEWAY_JOURNAL_H
#include "gateway/decision_id.h"
#include "gateway/record.h"
#include "store/ledger.h"

struct metallm__journal;
struct metallm__brains;

struct metallm__journal_options {
    const char *store;                 /* URL */
    uint32_t commit_ms;                /* 0: 20 */
    uint32_t retry_ms;                 /* 0: 500 */
    size_t queue_bytes;                /* of waiting decisions; 0: 16 MiB */
    uint32_t waiting;                  /* feedback and calls; 0: 4096 */
    uint64_t decisions_days;           /* kept; 0: for ever */
    uint64_t decisions;                /* most rows kept; 0: no bound */
    uint64_t feedback_days;            /* feedback on older decisions is refused; 0: no bound */
    struct metallm__brains *brains;    /* that learn; NULL: nobody. Outlives the journal */
    int64_t (*wall_ms)(void *payload); /* NULL: the system's clock */
    void *wall_payload;
};

/* Opens the store (made where there is none), has the brains catch up with it, starts the thread.
 * METALLM_EBUSY: another process has a journal of this store. */
METALLM_MUSTCHECK int metallm__journal_open(struct metallm__journal **out,
                                            const struct metallm__journal_options *opts,
                                            metallm_error *err);
/* Writes what is waiting, saves what was learned, ends the thread. METALLM_EIO and others: what was
 * waiting could not be written. The journal is gone in any case. */
int metallm__journal_close(struct metallm__journal *j, metallm_error *err);

/* A new decision: its number, its nonce and its name for this client key. */
METALLM_MUSTCHECK int metallm__journal_name(struct metallm__journal *j, const char *key,
                                            struct metallm__decision_id *id,
                                            char text[METALLM__DECISION_ID_LEN + 1],
                                            metallm_error *err);
/* False: no decision of this key. */
bool metallm__journal_find(const struct metallm__journal *j, const char *text, size_t len,
                           const char *key, struct metallm__decision_id *out);
/* Keyed hash of a text of a client (never 0 in its first half): of prompts, sessions. */
void metallm__journal_hash(const struct metallm__journal *j, const void *bytes, size_t len,
                           uint8_t out[16]);

/* A finished request. text: NULL unless prompts are to be kept. Never blocks, never fails: what
 * cannot be queued is counted. scopes: what its cost is booked on, at period_ms each. */
struct metallm__journal_scope {
    const char *name; /* "key:ID", "router:NAME" */
    int64_t period_ms;
};
void metallm__journal_decision(struct metallm__journal *j, const struct metallm__record *r,
                               const char *text, size_t text_bytes,
                               const struct metallm__journal_scope *scopes, uint32_t scope_count);

/* What is learned from. At least one of score, label, comment. */
struct metallm__feedback {
    double score;      /* 0..1; NaN: none */
    const char *label; /* the right answer: score 1 if the answer that was given equals it once
                          normalised (grade.h), else 0; NULL: none */
    const char *comment;
    size_t label_bytes, comment_bytes;
    bool is_graded; /* by a grader of ours: counts only where nobody gave a score yet */
};
#define METALLM__FEEDBACK_LABEL_MAX   4096u
#define METALLM__FEEDBACK_COMMENT_MAX 65536u
/* Called once: METALLM_OK: durable. METALLM_EIO ...: not stored (503). METALLM_ENOTFOUND: the
 * decision is too old. METALLM_EINVAL: a label, but nothing to hold against it (422). */
typedef void metallm__journal_done(void *payload, int rc, const metallm_error *err);
/* METALLM_EINVAL: score not in 0..1, nothing given, too long. METALLM_EBUSY: full. In both cases
 * done is not called. Repeating it changes nothing; of differing scores the last one counts, also
 * where it comes without one, which leaves the score as it was. */
METALLM_MUSTCHECK int metallm__journal_feedback(struct metallm__journal *j,
                                                const struct metallm__decision_id *id,
                                                const struct metallm__feedback *f,
                                                metallm__journal_done *done, void *payload,
                                                metallm_error *err);

/* GET /v1/decisions/{id}: the JSON object, on the journal's thread. json is valid within the call;
 * NULL unless METALLM_OK. METALLM_ENOTFOUND: not (or no longer) recorded. */
typedef void metallm__journal_shown(void *payload, int rc, const char *json, size_t len,
                                    const metallm_error *err);
METALLM_MUSTCHECK int metallm__journal_show(struct metallm__journal *j,
                                            const struct metallm__decision_id *id, const char *name,
                                            metallm__journal_shown *done, void *payload,
                                            metallm_error *err);

/* Other durable work (keys, changes): work runs on the journal's thread within a transaction of its
 * own; done hears of the commit. */
METALLM_MUSTCHECK int
metallm__journal_call(struct metallm__journal *j,
                      int (*work)(void *payload, struct metallm__store *s, metallm_error *err),
                      metallm__journal_done *done, void *payload, metallm_error *err);

struct metallm__journal_stats {
    uint64_t decisions, dropped, feedback, commits, failures; /* since the start */
    uint64_t pruned;
    uint64_t queued_decisions, queued_bytes, queued_feedback; /* now */
    double lag_s;                                             /* age of the oldest that waits */
    bool is_failing;                                          /* the last commit failed */
    char failure[METALLM_ERROR_BYTES];                        /* why; "" */
};
void metallm__journal_stats(struct metallm__journal *j, struct metallm__journal_stats *out);

#endif
