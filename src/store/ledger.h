/* SPDX-License-Identifier: Apache-2.0
 * ledger.h - what the gateway keeps in a store: decisions, feedback, the order in which both were
 * committed, snapshots of what was learned, client keys, spend, and changes made by the admin API.
 *
 * Writes stand between begin and commit. What was committed survives the end of the process,
 * however it comes; after a commit with is_synced (and all that was committed before it) also a
 * power cut, as far as the disk tells the truth. Without, a power cut may take the last seconds,
 * never damage. Calls outside begin and commit read. Threads: a store belongs to one thread at a
 * time. Errors: as in store.h; METALLM_EIO also says that the disk is full. */
#ifndef STORE_LEDGER_H
#define STORE_LEDGER_H
#include "base/buf.h"
#include "store/store.h"

#define METALLM__LEDGER_NAME_MAX 255u

/* Adds the gateway's tables to an older store; METALLM__STORE_FILL does so at once. */
METALLM_MUSTCHECK int metallm__ledger_begin(struct metallm__store *s, bool is_synced,
                                            metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_commit(struct metallm__store *s, metallm_error *err);
void metallm__ledger_abort(struct metallm__store *s); /* fine without begin */

/* This process alone appends decisions and events, until the store is closed: their numbers follow
 * one another in its memory. The process that ends gives it back, however it ends. METALLM_EBUSY:
 * another one has it, also after wait_ms. */
METALLM_MUSTCHECK int metallm__ledger_claim(struct metallm__store *s, int wait_ms,
                                            metallm_error *err);

/* A secret or other small value by name. Not there: *len is 0. */
METALLM_MUSTCHECK int metallm__ledger_get_value(struct metallm__store *s, const char *name,
                                                void *bytes, size_t room, size_t *len,
                                                metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_put_value(struct metallm__store *s, const char *name,
                                                const void *bytes, size_t len, metallm_error *err);

/* What decisions refer to: models with prices, policy, encoder, as JSON, known by a hash. Putting
 * it again changes nothing. get appends to out; *found tells whether it was there. */
METALLM_MUSTCHECK int metallm__ledger_put_setup(struct metallm__store *s, uint64_t hash,
                                                const char *json, metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_get_setup(struct metallm__store *s, uint64_t hash,
                                                struct metallm__buf *out, bool *found,
                                                metallm_error *err);

/* One decision. record: gateway/record.h. Of the same row twice the first stays. */
struct metallm__ledger_decision {
    int64_t row; /* > 0 */
    uint64_t nonce;
    int64_t time_ms; /* wall clock, since 1970 */
    const void *record;
    size_t record_bytes;
    const char *text; /* NULL unless prompts are to be kept; need not be closed by NUL */
    size_t text_bytes;
};
METALLM_MUSTCHECK int metallm__ledger_put_decision(struct metallm__store *s,
                                                   const struct metallm__ledger_decision *d,
                                                   metallm_error *err);
/* record is appended to `out`, which d->record then points into; text is not read. */
METALLM_MUSTCHECK int metallm__ledger_get_decision(struct metallm__store *s, int64_t row,
                                                   struct metallm__ledger_decision *d,
                                                   struct metallm__buf *out, bool *found,
                                                   metallm_error *err);
/* Decisions with row > after, by row: calls visit until it returns other than METALLM_OK, which is
 * then the result. feedback: NULL where there is none. */
struct metallm__ledger_feedback;
typedef int metallm__ledger_decision_visit(void *payload, const struct metallm__ledger_decision *d,
                                           const struct metallm__ledger_feedback *feedback,
                                           metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_visit(struct metallm__store *s, int64_t after,
                                            metallm__ledger_decision_visit *visit, void *payload,
                                            metallm_error *err);

/* The feedback that counts for a decision: the last one. */
struct metallm__ledger_feedback {
    int64_t row;
    uint64_t nonce;
    int64_t time_ms;
    double score;      /* NaN: label or comment alone */
    int64_t seq;       /* of the event of its first score; 0: not yet an event */
    const char *label; /* NULL: none; get: in out */
    const char *comment;
};
METALLM_MUSTCHECK int metallm__ledger_put_feedback(struct metallm__store *s,
                                                   const struct metallm__ledger_feedback *f,
                                                   metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_get_feedback(struct metallm__store *s, int64_t row,
                                                   struct metallm__ledger_feedback *f,
                                                   struct metallm__buf *out, bool *found,
                                                   metallm_error *err);
/* What learning follows: a decision was committed, or its score became `score` (NaN: was taken
 * back) from `before` (NaN: it had none). seq counts events from 1 without gaps. */
struct metallm__ledger_event {
    int64_t seq, row;
    bool is_feedback;
    double score, before;
    int64_t first; /* feedback: seq of the event of the decision's first score */
};
METALLM_MUSTCHECK int metallm__ledger_put_event(struct metallm__store *s,
                                                const struct metallm__ledger_event *e,
                                                metallm_error *err);
typedef int metallm__ledger_event_visit(void *payload, const struct metallm__ledger_event *e,
                                        metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_events(struct metallm__store *s, int64_t after,
                                             metallm__ledger_event_visit *visit, void *payload,
                                             metallm_error *err);

/* Highest numbers in use; 0: none. */
struct metallm__ledger_tops {
    int64_t row, seq;
};
METALLM_MUSTCHECK int metallm__ledger_tops(struct metallm__store *s,
                                           struct metallm__ledger_tops *out, metallm_error *err);

/* The newest snapshot of a router and the one before it are kept. get appends to out. */
METALLM_MUSTCHECK int metallm__ledger_put_snapshot(struct metallm__store *s, const char *router,
                                                   int64_t seq, const void *bytes, size_t len,
                                                   metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_get_snapshot(struct metallm__store *s, const char *router,
                                                   int64_t *seq, struct metallm__buf *out,
                                                   bool *found, metallm_error *err);

/* Takes out at most `most` decisions, the oldest first, that are older than before_ms or beyond the
 * newest `keep` rows (0: no such bound), with their feedback, and events up to `seq`; a decision
 * whose events come after seq is kept. */
struct metallm__ledger_prune {
    int64_t before_ms, keep, seq;
    size_t most;
};
struct metallm__ledger_pruned {
    size_t decisions;
    int64_t row; /* the highest that went; 0: none */
};
METALLM_MUSTCHECK int metallm__ledger_prune(struct metallm__store *s,
                                            const struct metallm__ledger_prune *p,
                                            struct metallm__ledger_pruned *out, metallm_error *err);

/* Client keys: hash of METALLM__KEY_HASH_BYTES, the rest as JSON (gateway/keys.h). put replaces. */
struct metallm__ledger_key {
    const char *id, *json;
    const uint8_t *hash;
    size_t hash_bytes;
};
METALLM_MUSTCHECK int metallm__ledger_put_key(struct metallm__store *s,
                                              const struct metallm__ledger_key *k,
                                              metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_drop_key(struct metallm__store *s, const char *id,
                                               bool *found, metallm_error *err);
typedef int metallm__ledger_key_visit(void *payload, const struct metallm__ledger_key *k,
                                      metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_keys(struct metallm__store *s,
                                           metallm__ledger_key_visit *visit, void *payload,
                                           metallm_error *err);

/* Money: adds to what a scope ("key:ID", "router:NAME") spent in the period that began then. */
struct metallm__ledger_spend {
    const char *scope;
    int64_t period_ms; /* its first millisecond */
    double usd;
    uint64_t requests, tokens;
};
METALLM_MUSTCHECK int metallm__ledger_add_spend(struct metallm__store *s,
                                                const struct metallm__ledger_spend *a,
                                                metallm_error *err);
/* Periods that began at since_ms or later. */
typedef int metallm__ledger_spend_visit(void *payload, const struct metallm__ledger_spend *a,
                                        metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_spend(struct metallm__store *s, int64_t since_ms,
                                            metallm__ledger_spend_visit *visit, void *payload,
                                            metallm_error *err);

/* Changes made at run time (gateway/config.h, struct metallm__config_change). put replaces the one
 * of the same kind and name; json NULL takes it out. In the order in which they were first put. */
METALLM_MUSTCHECK int metallm__ledger_put_change(struct metallm__store *s, const char *kind,
                                                 const char *name, const char *json,
                                                 metallm_error *err);
typedef int metallm__ledger_change_visit(void *payload, const char *kind, const char *name,
                                         const char *json, metallm_error *err);
METALLM_MUSTCHECK int metallm__ledger_changes(struct metallm__store *s,
                                              metallm__ledger_change_visit *visit, void *payload,
                                              metallm_error *err);
#endif
