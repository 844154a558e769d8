/* SPDX-License-Identifier: Apache-2.0
 * hash.c - the encoder that needs no file: signed feature hashing (Weinberger et al., 2009) of
 * words, pairs of words and character n-grams into 256 numbers. Equal bytes give equal vectors
 * everywhere. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/backend.h"
#include "encoder/unicode.h"

#define DIM        256u
#define WORDS_MAX  256u            /* of the beginning, and of the end */
#define RING       (WORDS_MAX + 1) /* reading past the last word spoils one more place */
#define WORD_BYTES 48u             /* of a word that count */
#define GRAM_MIN   3u              /* to 5 bytes */

enum { SEED_WORD = 1, SEED_PAIR = 2, SEED_GRAM = 3 };

/* Odd constants: the golden ratio's and one of its like (Steele and Vigna, 2021). */
#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)
#define FINISHER   UINT64_C(0xd1342543de82ef95)
#define THIRD      UINT64_C(0xaf251af3b0f025b5)

/* The hashes of single words weigh more than what they are made of. */
static const float weight_word[2] = {1, -1}, weight_pair[2] = {0.5f, -0.5f},
                   weight_gram[2] = {0.25f, -0.25f};

struct word {
    char bytes[WORD_BYTES + 2 + 8]; /* lower case, between two blanks; the rest may be anything */
    uint32_t len;
    uint64_t hash;
};

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 32)) * FINISHER;
    return h ^ (h >> 29);
}

/* 8 bytes as a number, the same on every machine. */
static uint64_t load(const char *bytes)
{
    uint64_t v;
    memcpy(&v, bytes, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint64_t first(uint64_t v, uint32_t bytes)
{
    return bytes >= 8 ? v : v & ((UINT64_C(1) << (8 * bytes)) - 1);
}

static uint64_t hash_word(const struct word *w)
{
    uint64_t h = SEED_WORD + w->len;
    for (uint32_t i = 0; i < w->len; i += 8)
        h = mix((h ^ first(load(w->bytes + i), w->len - i)) * MULTIPLIER);
    return h;
}

/* The upper bits of a hash say where and with which sign. */
static void add(float *v, uint64_t h, const float signed_weight[2])
{
    v[h >> 56] += signed_weight[(h >> 55) & 1];
}

static void add_word(float *v, const struct word *w, const struct word *before)
{
    add(v, w->hash, weight_word);
    if (before != NULL)
        add(v, mix((before->hash + SEED_PAIR) * MULTIPLIER ^ w->hash), weight_pair);
    /* One multiplication hashes a gram: multiply-shift (Dietzfelbinger et al., 1997). A word has at
     * least three bytes, its blanks among them; what it lacks for longer grams is left out. */
    for (uint32_t i = 0; i + GRAM_MIN <= w->len; i++) {
        uint64_t eight = load(w->bytes + i), left = w->len - i;
        add(v, (first(eight, 3) + SEED_GRAM) * MULTIPLIER, weight_gram);
        if (left > 3)
            add(v, (first(eight, 4) + SEED_GRAM) * FINISHER, weight_gram);
        if (left > 4)
            add(v, (first(eight, 5) + SEED_GRAM) * THIRD, weight_gram);
    }
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

enum kind { LETTER, SPACE, SINGLE };

static enum kind kind_of(int32_t c)
{
    if (metallm__char_is_space(c) || c < 0x20 || c == 0x7f)
        return SPACE;
    return metallm__char_is_cjk(c) || metallm__char_is_punct(c) ? SINGLE : LETTER;
}

/* What stands between letters and digits in ASCII; kind_of says the same, more slowly. */
static bool is_ascii_mark(int32_t c)
{
    return (c > ' ' && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') ||
           (c > 'z' && c < 0x7f);
}

/* The small form of an ASCII letter or digit; 0: it is neither. */
static const char small_form[256] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',
    ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k',
    ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',
    ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',
    ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f',
    ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm',
    ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't',
    ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

/* Takes the ASCII letters and digits at p; what a word has no room for is passed over. */
static const char *take_plain(const char *p, const char *end, struct word *w)
{
    char c;
    for (; p < end && (c = small_form[(unsigned char)*p]) != 0; p++)
        if (w->len <= WORD_BYTES)
            w->bytes[w->len++] = c;
    return p;
}

/* Reads the next word at *p: a run of letters and digits, or a single other mark. False: none. */
static bool next_word(const char **p, const char *end, struct word *w)
{
    const char *at = *p;
    w->len = 0;
    w->bytes[w->len++] = ' ';
    while ((at = take_plain(at, end, w)) < end) {
        int32_t c = (unsigned char)*at;
        if (c == ' ') {
            if (w->len > 1)
                break;
            at++;
            continue;
        }
        size_t n = c < 0x80 ? 1 : metallm__utf8_decode(at, (size_t)(end - at), &c);
        enum kind kind = is_ascii_mark(c) ? SINGLE : kind_of(c);
        if (kind != LETTER && w->len > 1)
            break;
        if (kind != SPACE)
            put(w, at, n);
        at += n;
        if (kind == SINGLE)
            break;
    }
    *p = at;
    if (w->len == 1)
        return false;
    w->bytes[w->len++] = ' ';
    w->hash = hash_word(w);
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

/* A place between words, not before p, behind which there are more than WORDS_MAX words or all that
 * is left: what stands before it cannot be among the last ones. */
static const char *near_end(const char *p, const char *end)
{
    for (size_t bytes = 8 * (size_t)WORDS_MAX; bytes < (size_t)(end - p); bytes *= 2) {
        const char *at = end - bytes;
        while (at < end && *at != ' ' && *at != '\n')
            at++;
        const char *from = at, *q = at;
        struct word w;
        size_t count = 0;
        while (count <= WORDS_MAX && next_word(&q, end, &w))
            count++;
        if (count > WORDS_MAX)
            return from;
    }
    return p;
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
    if (count < WORDS_MAX)
        return used;
    size_t first = count;
    p = near_end(p, end);
    while (next_word(&p, end, &ring[count % RING]))
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
    *facts = (struct metallm__backend_facts){.id = "hash-256/2", .dim = DIM, .has_tail = true};
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
