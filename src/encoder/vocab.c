/* SPDX-License-Identifier: Apache-2.0
 * vocab.c - see vocab.h. The trie has two roots: node 0 for the beginnings of words, node 1 for the
 * continuations, which the file marks with "##". */
#include "encoder/vocab.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

enum { ROOT_WORD = 0, ROOT_CONTINUATION = 1 };
#define CONTINUATION_MARK ((uint64_t)1 << 56) /* the last byte of a key, which no token reaches */

static unsigned shift_for(size_t entries)
{
    unsigned shift = 64 - 4;
    while ((size_t)1 << (64 - shift) < 2 * entries)
        shift--;
    return shift;
}

static uint64_t edge_slot(const struct metallm__vocab *v, uint64_t key)
{
    return key * 0x9e3779b97f4a7c15u >> v->edge_shift;
}

/* The child of node by byte, or 0. */
static uint32_t step(const struct metallm__vocab *v, uint32_t node, unsigned char byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1, mask = UINT64_MAX >> v->edge_shift;
    for (uint64_t i = edge_slot(v, key);; i = (i + 1) & mask) {
        if (v->edges[i] >> 32 == key)
            return (uint32_t)v->edges[i];
        if (v->edges[i] == 0)
            return 0;
    }
}

static uint32_t add_step(struct metallm__vocab *v, uint32_t node, unsigned char byte)
{
    uint32_t child = step(v, node, byte);
    if (child != 0)
        return child;
    uint64_t key = ((uint64_t)node << 8 | byte) + 1, mask = UINT64_MAX >> v->edge_shift;
    uint64_t i = edge_slot(v, key);
    while (v->edges[i] != 0)
        i = (i + 1) & mask;
    child = v->node_count++;
    v->edges[i] = key << 32 | child;
    return child;
}

static struct metallm__word_key key_of(const char *token, size_t len, bool is_continuation)
{
    struct metallm__word_key k = {0, is_continuation ? CONTINUATION_MARK : 0};
    memcpy(&k, token, len);
    return k;
}

static uint64_t load(const char *at, size_t bytes)
{
    uint64_t wide;
    uint32_t half;
    if (bytes == 8) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&half, at, sizeof half);
    return half;
}

/* The first len (1..15) bytes at word, and none behind them, without a call of memcpy. */
static struct metallm__word_key short_key(const char *word, uint32_t len)
{
    if (len > 8)
        return (struct metallm__word_key){load(word, 8), load(word + len - 8, 8) >> 8 * (16 - len)};
    if (len == 8)
        return (struct metallm__word_key){load(word, 8), 0};
    if (len >= 4) /* two halves that overlap */
        return (struct metallm__word_key){load(word, 4) | load(word + len - 4, 4) << 8 * (len - 4),
                                          0};
    uint64_t low = 0;
    for (uint32_t i = 0; i < len; i++)
        low |= (uint64_t)(unsigned char)word[i] << 8 * i;
    return (struct metallm__word_key){low, 0};
}

static void add_word(struct metallm__vocab *v, struct metallm__word_key k, uint32_t id)
{
    uint64_t mask = UINT64_MAX >> v->key_shift;
    uint64_t i = metallm__word_hash(k) >> v->key_shift;
    while (v->keys[i].low != 0)
        i = (i + 1) & mask;
    v->keys[i] = k;
    v->key_ids[i] = id;
}

/* False: the token is already there. */
static bool add_token(struct metallm__vocab *v, uint32_t id)
{
    const char *token = metallm__vocab_token(v, id);
    size_t len = strlen(token);
    bool is_continuation = len > 2 && token[0] == '#' && token[1] == '#';
    uint32_t node = is_continuation ? ROOT_CONTINUATION : ROOT_WORD;
    for (size_t i = is_continuation ? 2 : 0; i < len; i++)
        node = add_step(v, node, (unsigned char)token[i]);
    if (v->node_ids[node] != METALLM__NO_TOKEN)
        return false;
    v->node_ids[node] = id;
    size_t start = is_continuation ? 2 : 0;
    if (len - start <= METALLM__WORD_KEY_BYTES)
        add_word(v, key_of(token + start, len - start, is_continuation), id);
    return true;
}

/* Cuts the file into tokens: copies it with the line ends turned to NUL, and notes the starts. */
static int read_tokens(struct metallm__vocab *v, const struct metallm__map *map, metallm_error *err)
{
    size_t lines = 0;
    for (size_t i = 0; i < map->len; i++)
        lines += map->bytes[i] == '\n';
    if (map->len > METALLM__VOCAB_BYTES_MAX || lines >= METALLM__VOCAB_TOKENS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT,
                                  "more than %u tokens or %u bytes in a vocabulary",
                                  METALLM__VOCAB_TOKENS_MAX, METALLM__VOCAB_BYTES_MAX);
    v->text = metallm__strndup(map->bytes, map->len);
    v->starts = metallm__alloc(lines + 1, sizeof *v->starts);
    if (v->text == NULL || v->starts == NULL)
        return metallm__error_nomem(err, "a vocabulary");
    for (size_t at = 0; at < map->len;) {
        const char *newline = memchr(v->text + at, '\n', map->len - at);
        size_t end = newline != NULL ? (size_t)(newline - v->text) : map->len, next = end + 1;
        if (end > at && v->text[end - 1] == '\r')
            v->text[--end] = '\0';
        v->text[end] = '\0';
        if (end == at || strlen(v->text + at) != end - at)
            return metallm__error_set(err, METALLM_EFORMAT, "line %u is empty or holds a NUL",
                                      v->count + 1);
        v->starts[v->count++] = (uint32_t)at;
        at = next;
    }
    return METALLM_OK;
}

static int build(struct metallm__vocab *v, size_t bytes, metallm_error *err)
{
    v->key_shift = shift_for(v->count);
    v->edge_shift = shift_for(bytes);
    size_t slots = (size_t)1 << (64 - v->key_shift), edges = (size_t)1 << (64 - v->edge_shift);
    v->keys = metallm__alloc_aligned(slots, sizeof *v->keys);
    v->key_ids = metallm__alloc(slots, sizeof *v->key_ids);
    v->edges = metallm__calloc(edges, sizeof *v->edges);
    v->node_ids = metallm__alloc(bytes + 2, sizeof *v->node_ids);
    if (v->keys == NULL || v->key_ids == NULL || v->edges == NULL || v->node_ids == NULL)
        return metallm__error_nomem(err, "a vocabulary");
    memset(v->keys, 0, slots * sizeof *v->keys);
    memset(v->node_ids, 0xff, (bytes + 2) * sizeof *v->node_ids);
    v->node_count = 2;
    for (uint32_t id = 0; id < v->count; id++)
        if (!add_token(v, id))
            return metallm__error_set(err, METALLM_EFORMAT, "line %u: token '%s' is there twice",
                                      id + 1, metallm__vocab_token(v, id));
    return METALLM_OK;
}

int metallm__vocab_init_bytes(struct metallm__vocab *v, const char *bytes, size_t len,
                              const char *name, metallm_error *err)
{
    *v = (struct metallm__vocab){0};
    const struct metallm__map map = {bytes, len};
    int rc = read_tokens(v, &map, err);
    if (rc == METALLM_OK)
        rc = build(v, map.len, err);
    if (rc != METALLM_OK) {
        metallm__vocab_fini(v);
        return metallm__error_prefix(err, rc, "'%s'", name);
    }
    return METALLM_OK;
}

int metallm__vocab_init(struct metallm__vocab *v, const char *path, metallm_error *err)
{
    *v = (struct metallm__vocab){0};
    struct metallm__map map = {0};
    int rc = metallm__map_open(&map, path, err);
    if (rc == METALLM_OK)
        rc = metallm__vocab_init_bytes(v, map.bytes, map.len, path, err);
    metallm__map_close(&map);
    return rc;
}

void metallm__vocab_fini(struct metallm__vocab *v)
{
    metallm__free(v->text);
    metallm__free(v->starts);
    metallm__free(v->keys);
    metallm__free(v->key_ids);
    metallm__free(v->edges);
    metallm__free(v->node_ids);
    *v = (struct metallm__vocab){0};
}

uint32_t metallm__vocab_find(const struct metallm__vocab *v, const char *token)
{
    for (uint32_t id = 0; id < v->count; id++)
        if (strcmp(metallm__vocab_token(v, id), token) == 0)
            return id;
    return METALLM__NO_TOKEN;
}

const char *metallm__vocab_token(const struct metallm__vocab *v, uint32_t id)
{
    METALLM_REQUIRE(id < v->count);
    return v->text + v->starts[id];
}

/* The longest token that word begins with, by the trie; *len becomes its length. */
static uint32_t longest(const struct metallm__vocab *v, const char *word, uint32_t *len,
                        bool is_continuation)
{
    uint32_t node = is_continuation ? ROOT_CONTINUATION : ROOT_WORD;
    uint32_t best = METALLM__NO_TOKEN, best_len = 0;
    for (uint32_t i = 0; i < *len; i++) {
        node = step(v, node, (unsigned char)word[i]);
        if (node == 0)
            break;
        if (v->node_ids[node] != METALLM__NO_TOKEN) {
            best = v->node_ids[node];
            best_len = i + 1;
        }
    }
    *len = best_len;
    return best;
}

/* The same for a rest of at most 15 bytes, by the hash: each length is asked for by itself, so that
 * no step waits for the one before. */
static uint32_t longest_short(const struct metallm__vocab *v, const char *word, uint32_t *len,
                              bool is_continuation)
{
    struct metallm__word_key k = short_key(word, *len);
    const uint64_t mark = is_continuation ? CONTINUATION_MARK : 0;
    for (uint32_t n = *len; n > 0; n--) {
        if (n < 8)
            k = (struct metallm__word_key){k.low & (((uint64_t)1 << 8 * n) - 1), 0};
        else
            k.high &= ((uint64_t)1 << 8 * (n - 8)) - 1;
        uint32_t id = metallm__vocab_word(v, (struct metallm__word_key){k.low, k.high | mark});
        if (id != METALLM__NO_TOKEN) {
            *len = n;
            return id;
        }
    }
    return METALLM__NO_TOKEN;
}

uint32_t metallm__vocab_split(const struct metallm__vocab *v, const char *word, uint32_t len,
                              uint32_t *pieces)
{
    uint32_t count = 0;
    for (uint32_t at = 0, taken; at < len; at += taken) {
        taken = len - at;
        uint32_t id = taken <= METALLM__WORD_KEY_BYTES ? longest_short(v, word + at, &taken, at > 0)
                                                       : longest(v, word + at, &taken, at > 0);
        if (id == METALLM__NO_TOKEN)
            return 0;
        pieces[count++] = id;
    }
    return count;
}
