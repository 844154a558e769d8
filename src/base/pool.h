/* SPDX-License-Identifier: Apache-2.0
 * pool.h - many small pieces of memory that are freed together. It cannot be made without a
 * ceiling. After a failure `failed` stays set, so that a run of takes needs one check. */
#ifndef BASE_POOL_H
#define BASE_POOL_H
#include "base/buf.h"
#include "base/span.h"

struct metallm__pool {
    struct metallm__pool_chunk *chunks; /* the newest first */
    size_t used, size;                  /* of the newest chunk */
    size_t total, max;                  /* bytes in all chunks */
    bool failed;
    bool is_full; /* it failed because of max */
};

void metallm__pool_init(struct metallm__pool *p, size_t max_bytes);
void metallm__pool_fini(struct metallm__pool *p);  /* frees; usable again after init */
void metallm__pool_clear(struct metallm__pool *p); /* keeps the newest chunk */
/* count * size bytes, cleared, aligned for any type; NULL: failed. */
void *metallm__pool_take(struct metallm__pool *p, size_t count, size_t size);
/* bytes that are not cleared. */
void *metallm__pool_take_raw(struct metallm__pool *p, size_t bytes);
/* A copy; empty where it failed. */
struct metallm__span metallm__pool_copy(struct metallm__pool *p, struct metallm__span text);
/* METALLM_OK, or METALLM_ELIMIT / METALLM_ENOMEM if a take failed. */
METALLM_MUSTCHECK int metallm__pool_check(const struct metallm__pool *p, metallm_error *err);

#endif
