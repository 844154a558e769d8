/* SPDX-License-Identifier: Apache-2.0
 * tokenizer.c - see tokenizer.h. Two speeds: short ASCII words are found whole by a hash of 16
 * bytes; everything else is normalised character by character into a word buffer. */
#include "encoder/tokenizer.h"

#include <emmintrin.h>
#include <string.h>

#include "base/error.h"
#include "encoder/unicode.h"

#define WORD_BYTES_MAX (4 * METALLM__WORD_CHARS_MAX)

static const char *const special_names[METALLM__SPECIALS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                             "[MASK]"};

/* Where ids go: a ring keeps the last, else the first are kept. */
struct sink {
    uint32_t *ids;
    size_t max, count, at; /* at: where the next goes */
    bool is_ring, is_over; /* is_over: more ids than max came */
};

/* A word under way, normalised. Combining characters that are not accents wait in pending until the
 * next starter, because canonical order sorts them by their class. */
struct word {
    char bytes[WORD_BYTES_MAX];
    uint32_t len, chars; /* chars stays at METALLM__WORD_CHARS_MAX + 1 beyond the limit */
    int32_t pending[METALLM__WORD_CHARS_MAX];
    uint32_t pending_count;
};

/* False: the sink is full, stop. */
static bool emit(struct sink *s, uint32_t id)
{
    if (!s->is_ring && s->count == s->max) {
        s->is_over = true;
        return false;
    }
    s->ids[s->at++] = id;
    if (s->at == s->max && s->is_ring)
        s->at = 0;
    s->count++;
    return true;
}

static bool emit_pieces(const struct metallm__tokenizer *t, struct sink *s, const char *word,
                        uint32_t len)
{
    uint32_t pieces[WORD_BYTES_MAX];
    uint32_t n = metallm__vocab_split(&t->vocab, word, len, pieces);
    if (n == 0)
        return emit(s, t->unk);
    for (uint32_t i = 0; i < n; i++)
        if (!emit(s, pieces[i]))
            return false;
    return true;
}

static void word_append(struct word *w, int32_t c)
{
    if (w->chars >= METALLM__WORD_CHARS_MAX) {
        w->chars = METALLM__WORD_CHARS_MAX + 1;
        return;
    }
    w->len += (uint32_t)metallm__utf8_encode(c, w->bytes + w->len);
    w->chars++;
}

static void word_settle(struct word *w)
{
    for (uint32_t i = 0; i < w->pending_count; i++)
        word_append(w, w->pending[i]);
    w->pending_count = 0;
}

/* One normalised character that belongs to a word. Marks are not kept, but those of class 0 end a
 * run of combining characters as letters do. */
static void word_add(struct word *w, int32_t c, bool is_uncased)
{
    unsigned class = is_uncased ? metallm__char_combining(c) : 0;
    bool is_mark = is_uncased && metallm__char_is_mark(c);
    if (class == 0)
        word_settle(w);
    if (is_mark)
        return;
    if (class == 0) {
        word_append(w, c);
        return;
    }
    if (w->chars + w->pending_count >= METALLM__WORD_CHARS_MAX) {
        w->chars = METALLM__WORD_CHARS_MAX + 1; /* too long in any order */
        return;
    }
    uint32_t i = w->pending_count++;
    for (; i > 0 && metallm__char_combining(w->pending[i - 1]) > class; i--)
        w->pending[i] = w->pending[i - 1];
    w->pending[i] = c;
}

static bool word_flush(const struct metallm__tokenizer *t, struct word *w, struct sink *s)
{
    word_settle(w);
    bool go_on = true;
    if (w->chars > METALLM__WORD_CHARS_MAX)
        go_on = emit(s, t->unk);
    else if (w->chars > 0)
        go_on = emit_pieces(t, s, w->bytes, w->len);
    w->len = w->chars = 0;
    return go_on;
}

/* A punctuation mark or an ideograph: a word of one character. */
static bool emit_single(const struct metallm__tokenizer *t, struct word *w, struct sink *s,
                        int32_t c)
{
    if (!word_flush(t, w, s))
        return false;
    word_append(w, c);
    return word_flush(t, w, s);
}

static bool add_char(const struct metallm__tokenizer *t, struct word *w, struct sink *s, int32_t c)
{
    struct metallm__char n;
    metallm__char_normalise(c, t->is_uncased, &n);
    if (n.is_split && !word_flush(t, w, s))
        return false;
    for (uint32_t i = 0; i < n.count; i++) {
        if (metallm__char_is_space(n.out[i])) {
            if (!word_flush(t, w, s))
                return false;
        } else if (metallm__char_is_punct(n.out[i])) {
            if (!emit_single(t, w, s, n.out[i]))
                return false;
        } else {
            word_add(w, n.out[i], t->is_uncased);
        }
    }
    return !n.is_split || word_flush(t, w, s);
}

/* The special token that stands at text, or METALLM__SPECIALS. */
static unsigned special_at(const struct metallm__tokenizer *t, const char *text, size_t len)
{
    for (unsigned i = 0; i < METALLM__SPECIALS; i++) {
        size_t n = strlen(special_names[i]);
        if (t->specials[i] != METALLM__NO_TOKEN && len >= n &&
            memcmp(text, special_names[i], n) == 0)
            return i;
    }
    return METALLM__SPECIALS;
}

/* What an ASCII byte is: 'w' letter or digit, 'p' punctuation, ' ' blank, 0 control (dropped). */
static const char kinds[128] = "\0\0\0\0\0\0\0\0\0  \0\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               " pppppppppppppppwwwwwwwwwwpppppp"
                               "pwwwwwwwwwwwwwwwwwwwwwwwwwwppppp"
                               "pwwwwwwwwwwwwwwwwwwwwwwwwwwpppp\0";

/* ASCII that ends a word: blanks and punctuation, but no control character. */
static bool is_ascii_end(unsigned char c)
{
    return c < 0x80 && (kinds[c] == 'p' || kinds[c] == ' ');
}

/* Reads a word character by character, until it is sure to have ended. NULL: the sink is full. */
static const char *slow_word(const struct metallm__tokenizer *t, struct sink *s, const char *p,
                             const char *end)
{
    struct word w;
    w.len = w.chars = w.pending_count = 0;
    while (p < end) {
        unsigned char byte = (unsigned char)*p;
        if (is_ascii_end(byte))
            break;
        int32_t c = byte;
        p += byte < 0x80 ? 1 : metallm__utf8_decode(p, (size_t)(end - p), &c);
        if (!add_char(t, &w, s, c))
            return NULL;
    }
    return word_flush(t, &w, s) ? p : NULL;
}

/* Bytes before the first that is neither letter nor digit, at most 16. */
static unsigned alnum_run(__m128i text)
{
    __m128i lower = _mm_or_si128(text, _mm_set1_epi8(0x20));
    __m128i is_letter = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)),
                                      _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
    __m128i is_digit = _mm_and_si128(_mm_cmpgt_epi8(text, _mm_set1_epi8('0' - 1)),
                                     _mm_cmplt_epi8(text, _mm_set1_epi8('9' + 1)));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(is_letter, is_digit));
    return (unsigned)__builtin_ctz(~mask | 0x10000u);
}

/* The first n < 16 bytes of text, lower case where asked, as a word's key. */
static struct metallm__word_key word_key(__m128i text, unsigned n, bool is_uncased)
{
    static const unsigned char keep[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                           255, 255, 255, 255, 255, 255, 255, 255};
    __m128i mask = _mm_loadu_si128((const __m128i *)(const void *)(keep + 16 - n));
    if (is_uncased) {
        __m128i is_upper = _mm_and_si128(_mm_cmpgt_epi8(text, _mm_set1_epi8('A' - 1)),
                                         _mm_cmplt_epi8(text, _mm_set1_epi8('Z' + 1)));
        text = _mm_or_si128(text, _mm_and_si128(is_upper, _mm_set1_epi8(0x20)));
    }
    struct metallm__word_key k;
    _mm_storeu_si128((__m128i *)(void *)&k, _mm_and_si128(text, mask));
    return k;
}

/* A word that begins with an ASCII letter or digit. */
static const char *any_word(const struct metallm__tokenizer *t, struct sink *s, const char *p,
                            const char *end)
{
    size_t left = (size_t)(end - p);
    char padded[16] = {0};
    if (left < 16)
        memcpy(padded, p, left);
    __m128i text = _mm_loadu_si128((const __m128i *)(const void *)(left < 16 ? padded : p));
    unsigned n = alnum_run(text);
    if (n > METALLM__WORD_KEY_BYTES || (n < left && !is_ascii_end((unsigned char)p[n])))
        return slow_word(t, s, p, end);
    struct metallm__word_key key = word_key(text, n, t->is_uncased);
    uint32_t id = metallm__vocab_word(&t->vocab, key);
    bool go_on = id != METALLM__NO_TOKEN ? emit(s, id) : emit_pieces(t, s, (const char *)&key, n);
    return go_on ? p + n : NULL;
}

/* Tokenizes [text, text + len) until the sink is full. */
static void run(const struct metallm__tokenizer *t, struct sink *s, const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    while (p != NULL && p < end) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x80 && kinds[c] == 'w') {
            p = any_word(t, s, p, end);
        } else if (c >= 0x80) {
            p = slow_word(t, s, p, end);
        } else if (kinds[c] != 'p') {
            p++; /* blank or control */
        } else {
            unsigned special = c == '[' ? special_at(t, p, (size_t)(end - p)) : METALLM__SPECIALS;
            bool is_special = special < METALLM__SPECIALS;
            if (!emit(s, is_special ? t->specials[special] : t->punct[c]))
                return;
            p += is_special ? strlen(special_names[special]) : 1;
        }
    }
}

/* What the vocabulary's own marks are. */
static int find_marks(struct metallm__tokenizer *t, const char *name, metallm_error *err)
{
    for (unsigned i = 0; i < METALLM__SPECIALS; i++)
        t->specials[i] = metallm__vocab_find(&t->vocab, special_names[i]);
    t->unk = t->specials[1];
    t->cls = t->specials[2];
    t->sep = t->specials[3];
    if (t->unk == METALLM__NO_TOKEN || t->cls == METALLM__NO_TOKEN || t->sep == METALLM__NO_TOKEN) {
        metallm__tokenizer_fini(t);
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'%s' is not a BERT vocabulary: no [UNK], [CLS] or [SEP]", name);
    }
    for (int c = 0; c < 128; c++) {
        uint32_t id = metallm__vocab_word(&t->vocab, (struct metallm__word_key){(uint64_t)c, 0});
        t->punct[c] = c != 0 && id != METALLM__NO_TOKEN ? id : t->unk;
    }
    return METALLM_OK;
}

int metallm__tokenizer_init(struct metallm__tokenizer *t, const char *vocab_path, bool is_uncased,
                            metallm_error *err)
{
    *t = (struct metallm__tokenizer){.is_uncased = is_uncased};
    int rc = metallm__vocab_init(&t->vocab, vocab_path, err);
    return rc == METALLM_OK ? find_marks(t, vocab_path, err) : rc;
}

int metallm__tokenizer_init_bytes(struct metallm__tokenizer *t, const char *bytes, size_t len,
                                  const char *name, bool is_uncased, metallm_error *err)
{
    *t = (struct metallm__tokenizer){.is_uncased = is_uncased};
    int rc = metallm__vocab_init_bytes(&t->vocab, bytes, len, name, err);
    return rc == METALLM_OK ? find_marks(t, name, err) : rc;
}

void metallm__tokenizer_fini(struct metallm__tokenizer *t)
{
    metallm__vocab_fini(&t->vocab);
}

size_t metallm__tokenize_head(const struct metallm__tokenizer *t, const char *text, size_t len,
                              uint32_t *ids, size_t ids_max, bool *is_cut)
{
    METALLM_REQUIRE(ids_max > 0);
    struct sink s = {.ids = ids, .max = ids_max};
    run(t, &s, text, len);
    *is_cut = s.is_over;
    return s.count;
}

/* Whether tokens from this byte on are the same whatever stands before it. ']' may close a special
 * token; every other mark, a blank and an ideograph stand alone. */
static bool is_fresh_start(const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x80)
        return c != ']' && is_ascii_end(c);
    int32_t wide;
    return c >= 0xc0 && metallm__utf8_decode(p, (size_t)(end - p), &wide) > 1 &&
           metallm__char_is_cjk(wide);
}

static void reverse(uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        uint32_t kept = ids[i];
        ids[i] = ids[count - 1 - i];
        ids[count - 1 - i] = kept;
    }
}

size_t metallm__tokenize_tail(const struct metallm__tokenizer *t, const char *text, size_t len,
                              uint32_t *ids, size_t ids_max)
{
    METALLM_REQUIRE(ids_max > 0);
    struct sink s = {0};
    for (size_t window = 8 * ids_max;; window *= 2) {
        const char *end = text + len, *p = window < len ? end - window : text;
        while (p > text && p < end && !is_fresh_start(p, end))
            p++;
        s = (struct sink){.ids = ids, .max = ids_max, .is_ring = true};
        run(t, &s, p, (size_t)(end - p));
        if (s.count >= ids_max || window >= len)
            break;
    }
    if (s.count <= ids_max)
        return s.count;
    size_t oldest = s.count % ids_max; /* the ring's beginning comes to the front */
    reverse(ids, oldest);
    reverse(ids + oldest, ids_max - oldest);
    reverse(ids, ids_max);
    return ids_max;
}
