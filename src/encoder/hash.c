/* SPDX-License-Identifier: Apache-2.0
 * hash.c - the encoder that needs no file: signed feature hashing (Weinberger et al., 2009) of
 * words, pairs of words and character n-grams into 256 numbers. Equal bytes give equal vectors
 * everywhere. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "encoder/backend.h"
#include "encoder/unicode.h"

#define DIM        256u
#define WORDS_MAX  256u            /* of the beginning, and of the end */
#define RING       (WORDS_MAX + 1) /* reading past the last word spoils one more place */
#define WORD_BYTES 48u             /* of a word that count */
#define GRAM_MIN   3u
#define GRAM_MAX   5u

enum { SEED_WORD = 1, SEED_PAIR = 2, SEED_GRAM = 3 };

/* The hashes of single words weigh more than what they are made of. */
static const float weight_word = 1.0f, weight_pair = 0.5f, weight_gram = 0.25f;

struct word {
    char bytes[WORD_BYTES + 2]; /* lower case, between two blanks */
    uint32_t len;
};

static void add(float *v, const void *bytes, size_t len, uint64_t seed, float weight)
{
    uint64_t h = metallm__hash_bytes(bytes, len, seed);
    v[h % DIM] += (h >> 63) != 0 ? -weight : weight;
}

static void add_word(float *v, const struct word *w, const struct word *before)
{
    add(v, w->bytes, w->len, SEED_WORD, weight_word);
    if (before != NULL) {
        char pair[2 * sizeof w->bytes];
        memcpy(pair, before->bytes, before->len);
        memcpy(pair + before->len, w->bytes, w->len);
        add(v, pair, before->len + w->len, SEED_PAIR, weight_pair);
    }
    for (uint32_t n = GRAM_MIN; n <= GRAM_MAX; n++)
        for (uint32_t i = 0; i + n <= w->len; i++)
            add(v, w->bytes + i, n, SEED_GRAM, weight_gram);
}

/* Damps repetition (square root), then unit length; no words at all give the first unit vector. */
static void finish(float *v)
{
    double squares = 0;
    for (uint32_t i = 0; i < DIM; i++) {
        v[i] = copysignf(sqrtf(fabsf(v[i])), v[i]);
        squares += (double)v[i] * v[i];
    }
    if (squares > 0)
        for (uint32_t i = 0; i < DIM; i++)
            v[i] = (float)(v[i] / sqrt(squares));
    else
        v[0] = 1;
}

static void put(struct word *w, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && w->len <= WORD_BYTES; i++) {
        char c = bytes[i];
        w->bytes[w->len++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
}

/* Reads the next word at *p: a run of letters and digits, or a single other mark. False: none. */
static bool next_word(const char **p, const char *end, struct word *w)
{
    w->len = 0;
    w->bytes[w->len++] = ' ';
    while (*p < end) {
        int32_t c = (unsigned char)**p;
        size_t n = c < 0x80 ? 1 : metallm__utf8_decode(*p, (size_t)(end - *p), &c);
        bool is_space = metallm__char_is_space(c) || c < 0x20 || c == 0x7f;
        bool is_single = metallm__char_is_cjk(c) || metallm__char_is_punct(c);
        if ((is_space || is_single) && w->len > 1)
            break;
        if (!is_space)
            put(w, *p, n);
        *p += n;
        if (is_single)
            break;
    }
    if (w->len == 1)
        return false;
    w->bytes[w->len++] = ' ';
    return true;
}

static uint32_t embed_words(const struct word *ring, size_t count, size_t from, float *out)
{
    memset(out, 0, DIM * sizeof *out);
    for (size_t i = from; i < count; i++)
        add_word(out, &ring[i % RING], i > from ? &ring[(i - 1) % RING] : NULL);
    finish(out);
    return (uint32_t)(count - from);
}

/* One text. Returns how many words the head is made of. */
static uint32_t embed_text(struct word *ring, const char *text, size_t len, float *head,
                           float *tail)
{
    const char *p = text, *end = text + len;
    size_t count = 0;
    while (count < WORDS_MAX && next_word(&p, end, &ring[count]))
        count++;
    uint32_t used = embed_words(ring, count, 0, head);
    if (tail == NULL)
        return used;
    memcpy(tail, head, DIM * sizeof *tail);
    size_t first = count;
    while (count >= WORDS_MAX && next_word(&p, end, &ring[count % RING]))
        count++;
    if (count > first)
        embed_words(ring, count, count - WORDS_MAX, tail);
    return used;
}

static int open_hash(void **state, const metallm_encoder_options *opts,
                     struct metallm__backend_facts *facts, metallm_error *err)
{
    if (opts->precision != NULL && strcmp(opts->precision, "auto") != 0 &&
        strcmp(opts->precision, "fp32") != 0)
        return metallm__error_set(err, METALLM_EINVAL, "the hash encoder has no precision '%s'",
                                  opts->precision);
    *facts = (struct metallm__backend_facts){.id = "hash-256/1", .dim = DIM, .has_tail = true};
    *state = NULL;
    return METALLM_OK;
}

static void free_hash(void *state)
{
    (void)state;
}

static int embed(void *state, const struct metallm__embed_job *job, metallm_error *err)
{
    (void)state;
    struct word *ring = metallm__alloc(RING, sizeof *ring);
    if (ring == NULL)
        return metallm__error_nomem(err, "an encoder");
    for (size_t i = 0; i < job->count; i++) {
        uint32_t words = embed_text(ring, job->texts[i], job->lens[i], job->head + i * job->stride,
                                    job->tail != NULL ? job->tail + i * job->stride : NULL);
        if (job->tokens != NULL)
            job->tokens[i] = words;
    }
    metallm__free(ring);
    return METALLM_OK;
}

const struct metallm__backend metallm__backend_hash = {
    .name = "hash",
    .help = "words and character n-grams hashed into 256 numbers; needs no file",
    .open = open_hash,
    .free = free_hash,
    .embed = embed,
};
