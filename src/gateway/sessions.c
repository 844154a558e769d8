/* SPDX-License-Identifier: Apache-2.0
 * sessions.c - see sessions.h. Each shard is a hash table with chains and a list by last use, over
 * one array of entries that grows up to the shard's bound. Names of LLMs are kept once. */
#include "gateway/sessions.h"

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define NONE      UINT32_MAX
#define NAMES_MAX 1024u /* different LLM names since the start */

struct entry {
    uint64_t hash, tokens, wall_ms;
    uint32_t name;         /* index into names */
    uint32_t next;         /* in its chain, or among the free ones */
    uint32_t older, newer; /* by last use */
};

struct shard {
    pthread_mutex_t lock;
    struct entry *entries;
    uint32_t *chains; /* chain_count, a power of two */
    size_t cap;
    uint32_t used, chain_count; /* entries ever taken; freed ones are on the free list */
    uint32_t free, oldest, newest, count;
};

struct metallm__sessions {
    uint64_t most, idle_ms; /* most: of a shard */
    struct shard shards[METALLM__SESSION_SHARDS];
    pthread_mutex_t names_lock;
    char *names[NAMES_MAX];
    uint32_t name_count;
};

int metallm__sessions_new(struct metallm__sessions **out, uint64_t most, uint64_t idle_s,
                          metallm_error *err)
{
    if (most < 1 || most > METALLM__SESSIONS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%llu sessions (1..%u)",
                                  (unsigned long long)most, METALLM__SESSIONS_MAX);
    struct metallm__sessions *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "sessions");
    s->most = (most + METALLM__SESSION_SHARDS - 1) / METALLM__SESSION_SHARDS;
    s->idle_ms = idle_s * 1000;
    pthread_mutex_init(&s->names_lock, NULL);
    for (uint32_t i = 0; i < METALLM__SESSION_SHARDS; i++) {
        pthread_mutex_init(&s->shards[i].lock, NULL);
        s->shards[i].free = s->shards[i].oldest = s->shards[i].newest = NONE;
    }
    *out = s;
    return METALLM_OK;
}

void metallm__sessions_free(struct metallm__sessions *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < METALLM__SESSION_SHARDS; i++) {
        metallm__free(s->shards[i].entries);
        metallm__free(s->shards[i].chains);
        pthread_mutex_destroy(&s->shards[i].lock);
    }
    for (uint32_t i = 0; i < s->name_count; i++)
        metallm__free(s->names[i]);
    pthread_mutex_destroy(&s->names_lock);
    metallm__free(s);
}

static uint32_t name_index(struct metallm__sessions *s, const char *name)
{
    uint32_t i = 0;
    pthread_mutex_lock(&s->names_lock);
    while (i < s->name_count && strcmp(s->names[i], name) != 0)
        i++;
    if (i == s->name_count) {
        if (i == NAMES_MAX || (s->names[i] = metallm__strdup(name)) == NULL)
            i = NONE;
        else
            s->name_count++;
    }
    pthread_mutex_unlock(&s->names_lock);
    return i;
}

static struct shard *shard_of(struct metallm__sessions *s, uint64_t hash)
{
    return &s->shards[hash % METALLM__SESSION_SHARDS];
}

static uint32_t *chain_of(const struct shard *h, uint64_t hash)
{
    return &h->chains[hash / METALLM__SESSION_SHARDS & (h->chain_count - 1)];
}

static uint32_t find(const struct shard *h, uint64_t hash)
{
    uint32_t i = h->chain_count > 0 ? *chain_of(h, hash) : NONE;
    while (i != NONE && h->entries[i].hash != hash)
        i = h->entries[i].next;
    return i;
}

static void list_out(struct shard *h, uint32_t i)
{
    const struct entry *e = &h->entries[i];
    if (e->older != NONE)
        h->entries[e->older].newer = e->newer;
    else
        h->oldest = e->newer;
    if (e->newer != NONE)
        h->entries[e->newer].older = e->older;
    else
        h->newest = e->older;
}

static void list_in(struct shard *h, uint32_t i)
{
    h->entries[i].older = h->newest;
    h->entries[i].newer = NONE;
    if (h->newest != NONE)
        h->entries[h->newest].newer = i;
    else
        h->oldest = i;
    h->newest = i;
}

static void forget(struct shard *h, uint32_t i)
{
    uint32_t *at = chain_of(h, h->entries[i].hash);
    while (*at != i)
        at = &h->entries[*at].next;
    *at = h->entries[i].next;
    list_out(h, i);
    h->entries[i].next = h->free;
    h->free = i;
    h->count--;
}

/* Chains for twice as many entries; without memory the old ones stay, longer. */
static bool grow_chains(struct shard *h)
{
    if (h->chain_count > h->count)
        return true;
    const uint32_t count = h->chain_count == 0 ? 64 : 2 * h->chain_count;
    uint32_t *chains = metallm__alloc(count, sizeof *chains);
    if (chains == NULL)
        return h->chain_count > 0;
    memset(chains, 0xff, count * sizeof *chains);
    metallm__free(h->chains);
    h->chains = chains;
    h->chain_count = count;
    for (uint32_t i = h->oldest; i != NONE; i = h->entries[i].newer) {
        uint32_t *at = chain_of(h, h->entries[i].hash);
        h->entries[i].next = *at;
        *at = i;
    }
    return true;
}

static uint32_t take_entry(struct metallm__sessions *s, struct shard *h)
{
    if (h->count >= s->most)
        forget(h, h->oldest);
    if (!grow_chains(h))
        return NONE;
    if (h->free != NONE) {
        const uint32_t i = h->free;
        h->free = h->entries[i].next;
        return i;
    }
    void *entries = h->entries;
    if (metallm__grow(&entries, &h->cap, h->used + (size_t)1, sizeof *h->entries) != 0)
        return NONE;
    h->entries = entries;
    return h->used++;
}

void metallm__sessions_put(struct metallm__sessions *s, uint64_t hash, const char *model,
                           uint64_t tokens, uint64_t wall_ms)
{
    const uint32_t name = name_index(s, model);
    if (name == NONE)
        return;
    struct shard *h = shard_of(s, hash);
    pthread_mutex_lock(&h->lock);
    uint32_t i = find(h, hash);
    if (i != NONE) {
        list_out(h, i);
    } else if ((i = take_entry(s, h)) != NONE) {
        uint32_t *at = chain_of(h, hash);
        h->entries[i].hash = hash;
        h->entries[i].next = *at;
        *at = i;
        h->count++;
    }
    if (i != NONE) {
        h->entries[i].name = name;
        h->entries[i].tokens = tokens;
        h->entries[i].wall_ms = wall_ms;
        list_in(h, i);
    }
    pthread_mutex_unlock(&h->lock);
}

void metallm__sessions_get(struct metallm__sessions *s, uint64_t hash,
                           const struct metallm__config *config, uint64_t wall_ms,
                           struct metallm__session *out)
{
    *out = (struct metallm__session){.model = METALLM__CONFIG_NONE};
    struct shard *h = shard_of(s, hash);
    uint32_t name = NONE;
    pthread_mutex_lock(&h->lock);
    const uint32_t i = find(h, hash);
    if (i != NONE) {
        const struct entry *e = &h->entries[i];
        const uint64_t age_ms = wall_ms > e->wall_ms ? wall_ms - e->wall_ms : 0;
        if (s->idle_ms > 0 && age_ms > s->idle_ms) {
            forget(h, i);
        } else {
            name = e->name;
            out->context = e->tokens;
            out->age_s = (double)age_ms / 1000;
        }
    }
    pthread_mutex_unlock(&h->lock);
    if (name == NONE)
        return;
    pthread_mutex_lock(&s->names_lock); /* names never move once made */
    const char *text = s->names[name];
    pthread_mutex_unlock(&s->names_lock);
    out->model = metallm__config_model_find(config, text, strlen(text));
}

uint64_t metallm__sessions_count(struct metallm__sessions *s)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < METALLM__SESSION_SHARDS; i++) {
        pthread_mutex_lock(&s->shards[i].lock);
        count += s->shards[i].count;
        pthread_mutex_unlock(&s->shards[i].lock);
    }
    return count;
}
