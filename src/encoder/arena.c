/* SPDX-License-Identifier: Apache-2.0
 * arena.c - see arena.h. */
#include "encoder/arena.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/mem.h"

#define HUGE_PAGE   ((size_t)2 << 20)
#define CHUNK_BYTES (4 * HUGE_PAGE)

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

void *metallm__arena_take(struct metallm__arena *a, size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = round_up(bytes, 64);
    if (a->count == 0 || bytes > a->size - a->used) {
        size_t size = bytes > CHUNK_BYTES ? round_up(bytes, HUGE_PAGE) : CHUNK_BYTES;
        if (a->count == METALLM__ARENA_CHUNKS_MAX)
            return NULL;
        void *chunk = metallm__alloc_raw(NULL, size, HUGE_PAGE);
        if (chunk == NULL)
            return NULL;
        (void)madvise(chunk, size, MADV_HUGEPAGE); /* a wish: small pages are as right */
        a->chunks[a->count++] = chunk;
        a->used = 0;
        a->size = size;
    }
    void *p = a->chunks[a->count - 1] + a->used;
    a->used += bytes;
    return p;
}

void metallm__arena_fini(struct metallm__arena *a)
{
    for (size_t i = 0; i < a->count; i++)
        metallm__free(a->chunks[i]);
    *a = (struct metallm__arena){0};
}
