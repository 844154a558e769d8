/* SPDX-License-Identifier: Apache-2.0
 * backend.h - one function table per way of making a vector from a text: minilm, hash, static,
 * remote. encoder.c finds the table by name and adds what all share: the layout, the text features,
 * threads. A new way is a file and a line in encoder.c's list.
 * Threads: many may call embed with one state at a time; open and free need the state alone. */
#ifndef ENCODER_BACKEND_H
#define ENCODER_BACKEND_H
#include <stdbool.h>

#include "metallm/encoder.h"

/* What open found out. */
struct metallm__backend_facts {
    char id[METALLM_ENCODER_ID_BYTES]; /* "NAME.../PRECISION": see metallm_encoder_id */
    uint32_t dim;                      /* floats in an embedding */
    bool has_tail;                     /* embeds the end of a long text as well */
};

/* A run of texts and where their vectors go: row i of head starts at head + i * stride. */
struct metallm__embed_job {
    const char *const *texts; /* any bytes, no NUL needed */
    const size_t *lens;       /* bytes */
    size_t count;
    float *head;      /* the beginning of the text (or all of it), unit length; never NULL */
    float *tail;      /* the end, or equal to head in a short text; NULL: not wanted, or no tail */
    size_t stride;    /* floats from row to row, of head and tail alike */
    uint32_t *tokens; /* count numbers, or NULL */
};

struct metallm__backend {
    const char *name; /* what options.name holds, up to a ':' */
    const char *help; /* one line for `metallm help` */
    int (*open)(void **state, const metallm_encoder_options *opts,
                struct metallm__backend_facts *facts, metallm_error *err);
    void (*free)(void *state); /* NULL is fine */
    int (*embed)(void *state, const struct metallm__embed_job *job, metallm_error *err);
};

extern const struct metallm__backend metallm__backend_minilm, metallm__backend_hash,
    metallm__backend_static, metallm__backend_remote;

#endif
