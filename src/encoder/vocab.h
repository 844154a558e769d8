/* SPDX-License-Identifier: Apache-2.0
 * vocab.h - a WordPiece vocabulary (vocab.txt: one token a line, its id is the line's number from
 * 0). Two ways in: a hash of the tokens of up to 15 bytes, and a trie for the longest match in a
 * longer rest. Threads: read-only after open. */
#ifndef ENCODER_VOCAB_H
#define ENCODER_VOCAB_H
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__VOCAB_TOKENS_MAX 1000000u
#define METALLM__VOCAB_BYTES_MAX  64000000u
#define METALLM__NO_TOKEN         UINT32_MAX
#define METALLM__WORD_KEY_BYTES   15u /* a longer word goes through the trie */

/* A token of at most 15 bytes, padded with zeros; a continuation ends in the byte 1. */
struct metallm__word_key {
    uint64_t low, high;
};

struct metallm__vocab {
    char *text; /* the tokens, each closed by NUL */
    uint32_t *starts;
    uint32_t count;
    struct metallm__word_key *keys; /* open addressing; both halves 0: free */
    uint32_t *key_ids;
    unsigned key_shift; /* 64 - log2 of the slots */
    /* Trie edges, open addressing: (node << 8 | byte) + 1 in the upper half, child in the lower. */
    uint64_t *edges;
    unsigned edge_shift;
    uint32_t *node_ids; /* token that ends at a node, or METALLM__NO_TOKEN */
    uint32_t node_count;
};

/* METALLM_EFORMAT: an empty line amid the file, a token twice. The caller frees with fini. */
METALLM_MUSTCHECK int metallm__vocab_init(struct metallm__vocab *v, const char *path,
                                          metallm_error *err);
/* The same from memory, which is not kept; name is what messages call it. */
METALLM_MUSTCHECK int metallm__vocab_init_bytes(struct metallm__vocab *v, const char *bytes,
                                                size_t len, const char *name, metallm_error *err);
void metallm__vocab_fini(struct metallm__vocab *v); /* a cleared record is fine */
/* The id of a token as it stands in the file, or METALLM__NO_TOKEN. */
uint32_t metallm__vocab_find(const struct metallm__vocab *v, const char *token);
const char *metallm__vocab_token(const struct metallm__vocab *v, uint32_t id);

/* Greedy longest match of a word (WordPiece): the pieces' ids, at most len of them. Returns how
 * many, 0 when some part has no token. */
uint32_t metallm__vocab_split(const struct metallm__vocab *v, const char *word, uint32_t len,
                              uint32_t *pieces);

static inline uint64_t metallm__word_hash(struct metallm__word_key k)
{
    uint64_t h = (k.low ^ (k.high * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
    return (h ^ h >> 32) * 0xc4ceb9fe1a85ec53u;
}

/* The id of a whole word, or METALLM__NO_TOKEN. */
static inline uint32_t metallm__vocab_word(const struct metallm__vocab *v,
                                           struct metallm__word_key k)
{
    uint64_t mask = UINT64_MAX >> v->key_shift;
    for (uint64_t i = metallm__word_hash(k) >> v->key_shift;; i = (i + 1) & mask) {
        if (v->keys[i].low == k.low && v->keys[i].high == k.high)
            return v->key_ids[i];
        if (v->keys[i].low == 0)
            return METALLM__NO_TOKEN;
    }
}
#endif
