/* SPDX-License-Identifier: Apache-2.0
 * keep.h - client keys and the admin API's changes in the store: read, written, and noticed when
 * another process (`metallm keys`) wrote them. Writes stand within the caller's ledger_begin and
 * commit. Threads and errors: as of the store. */
#ifndef GATEWAY_KEEP_H
#define GATEWAY_KEEP_H
#include "gateway/config.h"
#include "gateway/keys.h"
#include "store/ledger.h"

/* A number that every write below raises: cheap to poll. 0: nothing was written ever. */
METALLM_MUSTCHECK int metallm__keep_version(struct metallm__store *s, uint64_t *out,
                                            metallm_error *err);

/* All keys, also revoked ones: a keyring finds only those that hold. */
METALLM_MUSTCHECK int metallm__keep_keys(struct metallm__store *s,
                                         const struct metallm__keyring **out, metallm_error *err);
METALLM_MUSTCHECK int metallm__keep_key(struct metallm__store *s, const struct metallm__key *k,
                                        metallm_error *err);
/* What keys spent in the periods that hold at wall_ms, into limits. */
struct metallm__limits;
METALLM_MUSTCHECK int metallm__keep_spend(struct metallm__store *s,
                                          const struct metallm__keyring *ring,
                                          struct metallm__limits *l, uint64_t wall_ms,
                                          metallm_error *err);

struct metallm__changes; /* owns what it shows */
METALLM_MUSTCHECK int metallm__keep_changes(struct metallm__store *s, struct metallm__changes **out,
                                            metallm_error *err);
const struct metallm__config_changes *metallm__changes_list(const struct metallm__changes *c);
void metallm__changes_free(struct metallm__changes *c); /* NULL is fine */
/* json NULL takes the change back. */
METALLM_MUSTCHECK int metallm__keep_change(struct metallm__store *s, const char *kind,
                                           const char *name, const char *json, metallm_error *err);
#endif
