/* SPDX-License-Identifier: Apache-2.0
 * pool.c - see pool.h. Chunks double in size; a piece larger than a chunk gets one of its own. */
#include "base/pool.h"

#include <stdalign.h>

#include "base/error.h"
#include "base/mem.h"

#define CHUNK_BYTES_MIN ((size_t)4 << 10)
#define CHUNK_BYTES_MAX ((size_t)1 << 20)
#define ALIGN           alignof(max_align_t)

struct metallm__pool_chunk {
    struct metallm__pool_chunk *next;
    alignas(max_align_t) char bytes[];
};

void metallm__pool_init(struct metallm__pool *p, size_t max_bytes)
{
    *p = (struct metallm__pool){.max = max_bytes};
}

static void free_from(struct metallm__pool_chunk *c)
{
    while (c != NULL) {
        struct metallm__pool_chunk *next = c->next;
        metallm__free(c);
        c = next;
    }
}

void metallm__pool_fini(struct metallm__pool *p)
{
    free_from(p->chunks);
    metallm__pool_init(p, p->max);
}

void metallm__pool_clear(struct metallm__pool *p)
{
    if (p->chunks != NULL) {
        free_from(p->chunks->next);
        p->chunks->next = NULL;
    }
    p->used = 0;
    p->total = p->size;
    p->failed = p->is_full = false;
}

static bool add_chunk(struct metallm__pool *p, size_t need)
{
    size_t size = p->size * 2;
    size = size < CHUNK_BYTES_MIN   ? CHUNK_BYTES_MIN
           : size > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX
                                    : size;
    size = size < need ? need : size;
    if (size > p->max - p->total) /* what is left may still do */
        size = need;
    if (size > p->max - p->total) {
        p->is_full = true;
        return false;
    }
    struct metallm__pool_chunk *c = metallm__alloc(1, sizeof *c + size);
    if (c == NULL)
        return false;
    c->next = p->chunks;
    p->chunks = c;
    p->used = 0;
    p->size = size;
    p->total += size;
    return true;
}

void *metallm__pool_take_raw(struct metallm__pool *p, size_t bytes)
{
    size_t need = bytes > 0 ? bytes : 1;
    p->is_full |= need > p->max;
    p->failed |= p->is_full;
    if (p->failed)
        return NULL;
    need = (need + ALIGN - 1) / ALIGN * ALIGN;
    if (need > p->size - p->used && !add_chunk(p, need)) {
        p->failed = true;
        return NULL;
    }
    void *at = p->chunks->bytes + p->used;
    p->used += need;
    return at;
}

void *metallm__pool_take(struct metallm__pool *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        p->failed = p->is_full = true;
        return NULL;
    }
    void *at = metallm__pool_take_raw(p, bytes);
    return at != NULL ? memset(at, 0, bytes) : NULL;
}

struct metallm__span metallm__pool_copy(struct metallm__pool *p, struct metallm__span text)
{
    char *to = text.n > 0 ? metallm__pool_take_raw(p, text.n) : NULL;
    if (to == NULL)
        return (struct metallm__span){NULL, 0};
    memcpy(to, text.p, text.n);
    return metallm__span(to, text.n);
}

int metallm__pool_check(const struct metallm__pool *p, metallm_error *err)
{
    if (!p->failed)
        return METALLM_OK;
    if (p->is_full)
        return metallm__error_set(err, METALLM_ELIMIT,
                                  "a text has more parts, or needs more memory, than its limit");
    return metallm__error_nomem(err, "a text");
}
