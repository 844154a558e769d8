/* SPDX-License-Identifier: Apache-2.0
 * backend.h - one function table per kind of database. store.c does what is the same for all: URLs,
 * reading files, prices. A new backend is a file and a line in store.c's list. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H
#include "data/import.h"
#include "data/prices.h"
#include "store/store.h"

/* A file about to be imported. */
struct metallm__store_file {
    const char *path;    /* absolute */
    const char *options; /* format, task and split that were asked for, as one text */
    uint8_t hash[16];    /* of its bytes */
};

struct metallm__store_backend {
    const char *scheme; /* of the URL, with the colon */
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

    int (*prices)(void *state, const struct metallm__prices *prices, int day,
                  struct metallm__store_added *added, metallm_error *err);
    int (*summary)(void *state, struct metallm__store_summary *out, metallm_error *err);
    int (*read)(void *state, const char *task, const char *split, metallm_outcomes *o,
                const metallm_progress *progress, metallm_error *err);
    int (*vectors_get)(void *state, const struct metallm__store_vectors *v, metallm_error *err);
    int (*vectors_put)(void *state, const struct metallm__store_vectors *v, metallm_error *err);
};

extern const struct metallm__store_backend metallm__store_sqlite;

/* 128 bits of a text or file, by which it is known. */
void metallm__store_hash(const void *bytes, size_t len, uint8_t hash[16]);

#endif
