/* SPDX-License-Identifier: Apache-2.0
 * brain_learn.h - how the journal teaches the brains: restore at start; then, batch by batch, write
 * what they want stored into the batch's transaction, hear whether it was committed, fold the
 * batch's events, publish. All of it on the journal's thread (restore: before it runs). */
#ifndef GATEWAY_BRAIN_LEARN_H
#define GATEWAY_BRAIN_LEARN_H
#include "gateway/brain.h"
#include "store/ledger.h"

/* Snapshots, then the events after them; spend of the periods that hold at wall_ms. */
METALLM_MUSTCHECK int metallm__brains_restore(struct metallm__brains *b, struct metallm__store *s,
                                              int64_t wall_ms, metallm_error *err);
/* Setups and snapshots that the store does not have yet. seq: the last event that was folded. */
METALLM_MUSTCHECK int metallm__brains_write(struct metallm__brains *b, struct metallm__store *s,
                                            int64_t seq, metallm_error *err);
void metallm__brains_written(struct metallm__brains *b, bool is_committed);
/* Whether write has something to do, even without a batch. */
bool metallm__brains_want(struct metallm__brains *b);
/* One event with the bytes of its decision's record. What cannot be read is counted and left. */
void metallm__brains_fold(struct metallm__brains *b, const struct metallm__ledger_event *e,
                          const void *record, size_t record_bytes);
/* New views for what was learned; is_due: also of a few events. */
void metallm__brains_publish(struct metallm__brains *b, bool is_due);
/* Events after this number are needed to restore. */
int64_t metallm__brains_needed(struct metallm__brains *b, int64_t seq);
/* The bytes of a brain's state now, for tests and for `metallm report`. */
METALLM_MUSTCHECK int metallm__brain_state_save(struct metallm__brain *brain,
                                                struct metallm__buf *out, metallm_error *err);
#endif
