/* SPDX-License-Identifier: Apache-2.0
 * arena.h - memory taken piece by piece and freed as a whole, in huge pages where the system gives
 * them: weights are streamed for every batch, and small pages would cost a fifth of the time. */
#ifndef ENCODER_ARENA_H
#define ENCODER_ARENA_H
#include <stddef.h>

#define METALLM__ARENA_CHUNKS_MAX 256u

struct metallm__arena {
    char *chunks[METALLM__ARENA_CHUNKS_MAX];
    size_t count, used, size; /* used and size: of the last chunk */
};

/* bytes aligned to 64, not cleared; NULL: no memory. A zeroed arena is empty. */
void *metallm__arena_take(struct metallm__arena *a, size_t bytes);
void metallm__arena_fini(struct metallm__arena *a);
#endif
