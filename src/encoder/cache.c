/* SPDX-License-Identifier: Apache-2.0
 * cache.c - see cache.h. A shard holds its entries in one array; chains and the order of use are
 * indices into it, so that nothing moves and nothing is allocated after the start. */
#include "encoder/cache.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/mem.h"

#define NONE UINT32_MAX

struct entry {
    struct metallm__cache_key key;
    uint32_t chain;          /* the next of this bucket */
    uint32_t younger, older; /* neighbours in the order of use */
};

struct shard {
    pthread_mutex_t lock;
    struct entry *entries;
    float *values;     /* capacity x dim */
    uint32_t *buckets; /* bucket_mask + 1 heads of chains */
    uint32_t count, youngest, oldest;
    uint64_t hits, misses, evictions;
    bool has_lock;
};

struct metallm__cache {
    struct shard shards[METALLM__CACHE_SHARDS];
    uint64_t key[2];
    uint32_t capacity; /* of a shard */
    uint32_t bucket_mask, dim;
};

static int shard_init(struct shard *s, const struct metallm__cache *c)
{
    s->youngest = s->oldest = NONE;
    if (pthread_mutex_init(&s->lock, NULL) != 0)
        return METALLM_ENOMEM;
    s->has_lock = true;
    s->entries = metallm__alloc(c->capacity, sizeof *s->entries);
    s->values = metallm__alloc_aligned((size_t)c->capacity * c->dim, sizeof *s->values);
    s->buckets = metallm__alloc((size_t)c->bucket_mask + 1, sizeof *s->buckets);
    if (s->entries == NULL || s->values == NULL || s->buckets == NULL)
        return METALLM_ENOMEM;
    memset(s->buckets, 0xff, ((size_t)c->bucket_mask + 1) * sizeof *s->buckets);
    return METALLM_OK;
}

/* The scope becomes part of the key: two encoders never read each other's vectors. */
static int make_key(struct metallm__cache *c, const struct metallm__cache_options *opts)
{
    uint64_t drawn[2];
    if (opts->key != NULL)
        memcpy(drawn, opts->key, sizeof drawn);
    else if (getrandom(drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return METALLM_EIO;
    struct metallm__hash128 h = metallm__siphash(drawn, opts->scope, strlen(opts->scope));
    c->key[0] = h.lo;
    c->key[1] = h.hi;
    return METALLM_OK;
}

int metallm__cache_new(struct metallm__cache **out, const struct metallm__cache_options *opts,
                       metallm_error *err)
{
    METALLM_REQUIRE(out != NULL && opts != NULL && opts->scope != NULL);
    if (opts->capacity < 1 || opts->capacity > METALLM__CACHE_ENTRIES_MAX || opts->dim < 1)
        return metallm__error_set(err, METALLM_EINVAL, "a cache holds 1 to %u vectors, not %u",
                                  METALLM__CACHE_ENTRIES_MAX, opts->capacity);
    struct metallm__cache *c = metallm__calloc(1, sizeof *c);
    if (c == NULL)
        return metallm__error_nomem(err, "a cache");
    c->dim = opts->dim;
    c->capacity = (opts->capacity + METALLM__CACHE_SHARDS - 1) / METALLM__CACHE_SHARDS;
    uint32_t buckets = 1;
    while (buckets < c->capacity)
        buckets *= 2;
    c->bucket_mask = buckets - 1;
    int rc = make_key(c, opts);
    if (rc != METALLM_OK)
        metallm__error_set(err, rc, "the system gives no random numbers");
    for (uint32_t i = 0; i < METALLM__CACHE_SHARDS && rc == METALLM_OK; i++)
        if ((rc = shard_init(&c->shards[i], c)) != METALLM_OK)
            metallm__error_nomem(err, "a cache's entries");
    if (rc != METALLM_OK) {
        metallm__cache_free(c);
        return rc;
    }
    *out = c;
    return METALLM_OK;
}

void metallm__cache_free(struct metallm__cache *c)
{
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < METALLM__CACHE_SHARDS; i++) {
        struct shard *s = &c->shards[i];
        metallm__free(s->buckets);
        metallm__free(s->values);
        metallm__free(s->entries);
        if (s->has_lock)
            pthread_mutex_destroy(&s->lock);
    }
    metallm__free(c);
}

struct metallm__cache_key metallm__cache_key_of(const struct metallm__cache *c, const char *text,
                                                size_t len)
{
    return (struct metallm__cache_key){metallm__siphash(c->key, text, len), len};
}

static struct shard *shard_of(struct metallm__cache *c, const struct metallm__cache_key *key)
{
    return &c->shards[key->hash.hi % METALLM__CACHE_SHARDS];
}

static bool is_same(const struct metallm__cache_key *a, const struct metallm__cache_key *b)
{
    return a->hash.lo == b->hash.lo && a->hash.hi == b->hash.hi && a->len == b->len;
}

static uint32_t *bucket_of(const struct metallm__cache *c, struct shard *s,
                           const struct metallm__cache_key *key)
{
    return &s->buckets[key->hash.lo & c->bucket_mask];
}

static uint32_t find(const struct metallm__cache *c, struct shard *s,
                     const struct metallm__cache_key *key)
{
    uint32_t i = *bucket_of(c, s, key);
    while (i != NONE && !is_same(&s->entries[i].key, key))
        i = s->entries[i].chain;
    return i;
}

static void order_remove(struct shard *s, uint32_t i)
{
    struct entry *e = &s->entries[i];
    if (e->younger != NONE)
        s->entries[e->younger].older = e->older;
    else
        s->youngest = e->older;
    if (e->older != NONE)
        s->entries[e->older].younger = e->younger;
    else
        s->oldest = e->younger;
}

static void order_add(struct shard *s, uint32_t i)
{
    struct entry *e = &s->entries[i];
    e->younger = NONE;
    e->older = s->youngest;
    if (s->youngest != NONE)
        s->entries[s->youngest].younger = i;
    else
        s->oldest = i;
    s->youngest = i;
}

static void chain_remove(const struct metallm__cache *c, struct shard *s, uint32_t i)
{
    uint32_t *link = bucket_of(c, s, &s->entries[i].key);
    while (*link != i)
        link = &s->entries[*link].chain;
    *link = s->entries[i].chain;
}

bool metallm__cache_get(struct metallm__cache *c, const struct metallm__cache_key *key, float *out)
{
    struct shard *s = shard_of(c, key);
    pthread_mutex_lock(&s->lock);
    uint32_t i = find(c, s, key);
    if (i != NONE) {
        s->hits++;
        order_remove(s, i);
        order_add(s, i);
        memcpy(out, s->values + (size_t)i * c->dim, c->dim * sizeof *out);
    } else {
        s->misses++;
    }
    pthread_mutex_unlock(&s->lock);
    return i != NONE;
}

/* A free entry, or the oldest after taking it out of its chain. */
static uint32_t claim(const struct metallm__cache *c, struct shard *s)
{
    if (s->count < c->capacity)
        return s->count++;
    uint32_t i = s->oldest;
    order_remove(s, i);
    chain_remove(c, s, i);
    s->evictions++;
    return i;
}

void metallm__cache_put(struct metallm__cache *c, const struct metallm__cache_key *key,
                        const float *values)
{
    struct shard *s = shard_of(c, key);
    pthread_mutex_lock(&s->lock);
    uint32_t i = find(c, s, key);
    if (i != NONE) {
        order_remove(s, i);
    } else {
        i = claim(c, s);
        uint32_t *bucket = bucket_of(c, s, key);
        s->entries[i].key = *key;
        s->entries[i].chain = *bucket;
        *bucket = i;
    }
    order_add(s, i);
    memcpy(s->values + (size_t)i * c->dim, values, c->dim * sizeof *values);
    pthread_mutex_unlock(&s->lock);
}

struct metallm__cache_counts metallm__cache_read(struct metallm__cache *c)
{
    struct metallm__cache_counts sum = {.capacity = (uint64_t)c->capacity * METALLM__CACHE_SHARDS};
    for (uint32_t i = 0; i < METALLM__CACHE_SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        sum.hits += s->hits;
        sum.misses += s->misses;
        sum.evictions += s->evictions;
        sum.entries += s->count;
        pthread_mutex_unlock(&s->lock);
    }
    sum.bytes = sum.capacity * (c->dim * sizeof(float) + sizeof(struct entry)) +
                (uint64_t)METALLM__CACHE_SHARDS * (c->bucket_mask + 1) * sizeof(uint32_t);
    return sum;
}
