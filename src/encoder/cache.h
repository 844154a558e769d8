/* SPDX-License-Identifier: Apache-2.0
 * cache.h - a bounded cache of vectors by text: least recently used goes first. Sharded by hash, a
 * lock a shard, so that threads seldom meet.
 * Key: 128-bit keyed hash of scope and text, and the text's length; texts themselves are not kept.
 * Two different texts among n share a key with a chance of at most n^2 / 2^129: less than 10^-18
 * for ten thousand million texts; nobody without the cache's random key can look for such a pair.
 * Memory: capacity x (dim floats + 48 bytes), reserved when made and touched as it fills. No
 * allocation afterwards. Threads: any number may get, put and read counts; free needs it alone. */
#ifndef ENCODER_CACHE_H
#define ENCODER_CACHE_H
#include <stdbool.h>

#include "encoder/siphash.h"
#include "metallm/base.h"

#define METALLM__CACHE_SHARDS      16u
#define METALLM__CACHE_ENTRIES_MAX 16777216u

struct metallm__cache;

struct metallm__cache_options {
    uint32_t
        capacity; /* vectors, 1..METALLM__CACHE_ENTRIES_MAX; rounded up to a shard's multiple */
    uint32_t dim; /* floats in a vector, >= 1 */
    const char *scope;   /* what the vectors depend on beside the text: the encoder's id and form */
    const uint64_t *key; /* two numbers; NULL: drawn from the system */
};

struct metallm__cache_key {
    struct metallm__hash128 hash;
    uint64_t len;
};

struct metallm__cache_counts {
    uint64_t hits, misses, evictions; /* since the cache was made */
    uint64_t entries, capacity, bytes;
};

METALLM_MUSTCHECK int metallm__cache_new(struct metallm__cache **out,
                                         const struct metallm__cache_options *opts,
                                         metallm_error *err);
void metallm__cache_free(struct metallm__cache *c);
struct metallm__cache_key metallm__cache_key_of(const struct metallm__cache *c, const char *text,
                                                size_t len);
/* True and dim floats in out, and the entry is the youngest again; or false. */
bool metallm__cache_get(struct metallm__cache *c, const struct metallm__cache_key *key, float *out);
void metallm__cache_put(struct metallm__cache *c, const struct metallm__cache_key *key,
                        const float *values); /* replaces */
struct metallm__cache_counts metallm__cache_read(struct metallm__cache *c);

#endif
