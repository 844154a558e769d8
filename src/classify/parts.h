/* SPDX-License-Identifier: Apache-2.0
 * parts.h - what a job runs on, opened as the gateway opens its own: store, config with the admin
 * API's changes, LLMs, brains, encoder, journal. Threads: one. */
#ifndef CLASSIFY_PARTS_H
#define CLASSIFY_PARTS_H
#include "gateway/journal.h"
#include "gateway/world.h"
#include "metallm/service.h"

struct metallm__parts {
    struct metallm__store *store; /* a handle of its own beside the journal's */
    struct metallm__metrics *metrics;
    metallm_encoder *encoder, *coarse; /* NULL: none is needed */
    metallm_service *service;          /* NULL: none */
    bool is_tiered;                    /* coarse decides first */
    struct metallm__brains *brains;
    struct metallm__world *world;
    struct metallm__journal *journal; /* NULL: not yet opened, or closed */
    char *store_url;
};

/* store: URL; NULL: the config's. The journal is not opened. */
METALLM_MUSTCHECK int metallm__parts_open(struct metallm__parts *p, const char *config,
                                          const char *store, metallm_error *err);
/* What was learned comes back: with the journal, or without it, to look at. METALLM_EBUSY: another
 * process writes to this store. */
METALLM_MUSTCHECK int metallm__parts_restore(struct metallm__parts *p, metallm_error *err);
METALLM_MUSTCHECK int metallm__parts_open_journal(struct metallm__parts *p, metallm_error *err);
/* Writes what waits. METALLM_EIO and others: it could not be written. */
int metallm__parts_close_journal(struct metallm__parts *p, metallm_error *err);
void metallm__parts_close(struct metallm__parts *p); /* a cleared record is fine */
#endif
