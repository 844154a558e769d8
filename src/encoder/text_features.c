/* SPDX-License-Identifier: Apache-2.0
 * text_features.c - see text_features.h. Counts go through log(1 + n), shares lie in 0..1. Letters
 * and words to look for are ASCII; case is folded for ASCII alone. */
#include "encoder/text_features.h"

#include <emmintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "encoder/unicode.h"

#define BLOCK 16u /* characters that are looked at together */

/* What one pass over the text counts. */
struct counts {
    size_t chars, words, cjk, wide, digits, numbers, letters, upper;
    size_t code, formula, newlines, questions, choices, blanks, quotes, commas;
    size_t line, line_max; /* characters of the present line, of the longest */
    bool how_many, negation, which, why, write, dollar, truth;
};

static const char *const names[METALLM__TEXT_FEATURES] = {
    "log_chars",     "log_words",  "chars_per_word", "digit_share",  "log_numbers",
    "cjk_share",     "log_code",   "log_formula",    "log_newlines", "log_questions",
    "log_choices",   "log_blanks", "log_quotes",     "upper_share",  "wide_share",
    "says_how_many", "says_not",   "says_which",     "says_why",     "says_write",
    "has_dollar",    "log_commas", "ends_in_answer", "log_line_max", "says_true",
};

const char *metallm__text_feature_name(unsigned i)
{
    return names[i];
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Whether word (lower case) stands at p, whatever its case there. */
static bool at(const char *p, const char *end, const char *word)
{
    for (; *word != '\0'; p++, word++)
        if (p >= end || lower(*p) != (unsigned char)*word)
            return false;
    return true;
}

static bool is_word_byte(char c)
{
    unsigned char l = lower(c);
    return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '_' || l >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* As at, with the ends of a word on both sides. */
static bool word_at(const char *text, const char *p, const char *end, const char *word)
{
    const char *after = p + strlen(word);
    return at(p, end, word) && (p == text || !is_word_byte(p[-1])) &&
           (after >= end || !is_word_byte(*after));
}

/* An answer choice at the beginning of a line: "A.", "(b)", "C:". */
static bool choice_at(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    if (p < end && *p == '(')
        p++;
    return end - p >= 2 && lower(*p) >= 'a' && lower(*p) <= 'h' &&
           (p[1] == '.' || p[1] == ')' || p[1] == ':');
}

static void count_phrases(struct counts *n, const char *text, const char *p, const char *end)
{
    switch (lower(*p)) {
    case 'd':
        n->code += at(p, end, "def ") && *p == 'd';
        break;
    case 'e':
        n->why |= at(p, end, "explain");
        n->negation |= word_at(text, p, end, "except");
        break;
    case 'f':
        n->write |= at(p, end, "function");
        n->truth |= at(p, end, "false");
        break;
    case 'h':
        n->how_many |= at(p, end, "how many") || at(p, end, "how much");
        break;
    case 'i':
        n->write |= at(p, end, "implement");
        n->code += at(p, end, "import ") && *p == 'i';
        break;
    case 'n':
        n->negation |= word_at(text, p, end, "not");
        break;
    case 'r':
        n->code += at(p, end, "return") && *p == 'r';
        break;
    case 't':
        n->truth |= at(p, end, "true");
        break;
    case 'w':
        n->which |= at(p, end, "which");
        n->why |= at(p, end, "why");
        n->write |= at(p, end, "write");
        break;
    default:
        break;
    }
}

/* One ASCII character; p points at it. */
static void count_ascii(struct counts *n, const char *text, const char *p, const char *end)
{
    char c = *p;
    if (is_digit(c)) {
        n->digits++;
        n->numbers += p == text || !is_digit(p[-1]);
    } else if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) {
        n->letters++;
        n->upper += c <= 'Z';
        count_phrases(n, text, p, end);
    }
    switch (c) {
    case '{':
    case '}':
    case ';':
        n->code++;
        break;
    case '(':
        n->code += at(p, end, "()");
        break;
    case '`':
        n->code += at(p, end, "```") && (p == text || p[-1] != '`');
        break;
    case '=':
        n->code += at(p, end, "==") && (p == text || p[-1] != '=');
        n->formula++;
        break;
    case '$':
        n->dollar = true;
        n->formula++;
        break;
    case '\\':
    case '^':
    case '+':
    case '*':
    case '/':
    case '<':
    case '>':
        n->formula++;
        break;
    case '?':
        n->questions++;
        break;
    case '_':
        n->blanks += at(p, end, "__") && (p == text || p[-1] != '_');
        break;
    case '"':
    case '\'':
        n->quotes++;
        break;
    case ',':
        n->commas++;
        break;
    default:
        break;
    }
}

static void count_wide(struct counts *n, int32_t c)
{
    n->wide++;
    n->cjk += (c >= 0x3400 && c <= 0x9fff) || (c >= 0x3040 && c <= 0x30ff) ||
              (c >= 0xac00 && c <= 0xd7af);
    n->questions += c == 0xff1f;
    n->blanks += c == 0xff08;
    n->quotes += c == 0x201c;
}

/* One character, which begins at p; returns its end. */
static const char *count_char(struct counts *n, const char *text, const char *p, const char *end,
                              bool *was_space)
{
    int32_t c = (unsigned char)*p;
    size_t bytes = c < 0x80 ? 1 : metallm__utf8_decode(p, (size_t)(end - p), &c);
    if (c < 0x80)
        count_ascii(n, text, p, end);
    else
        count_wide(n, c);
    bool is_space = metallm__char_is_space(c);
    n->words += *was_space && !is_space;
    *was_space = is_space;
    n->chars++;
    n->line++;
    p += bytes;
    if (c == '\n') {
        n->line = 0;
        n->newlines++;
        n->choices += choice_at(p, end);
    }
    if (n->line > n->line_max)
        n->line_max = n->line;
    return p;
}

/* ---- sixteen ASCII characters at once ---- */

static inline __m128i in_range(__m128i v, char low, char high)
{
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(low - 1))),
                         _mm_cmplt_epi8(v, _mm_set1_epi8((char)(high + 1))));
}

static inline __m128i is(__m128i v, char c)
{
    return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

static inline __m128i pair(__m128i first, char a, __m128i second, char b)
{
    return _mm_and_si128(is(first, a), is(second, b));
}

/* Where one of count_phrases' words may begin, by its first two letters. Lower case. */
static inline __m128i may_begin_phrase(__m128i a, __m128i b)
{
    __m128i de = pair(a, 'd', b, 'e'), ex = pair(a, 'e', b, 'x'), ho = pair(a, 'h', b, 'o');
    __m128i im = pair(a, 'i', b, 'm'), no = pair(a, 'n', b, 'o'), re = pair(a, 'r', b, 'e');
    __m128i tr = pair(a, 't', b, 'r');
    __m128i f = _mm_and_si128(is(a, 'f'), _mm_or_si128(is(b, 'u'), is(b, 'a')));
    __m128i w = _mm_and_si128(is(a, 'w'), _mm_or_si128(is(b, 'h'), is(b, 'r')));
    return _mm_or_si128(_mm_or_si128(_mm_or_si128(de, ex), _mm_or_si128(ho, im)),
                        _mm_or_si128(_mm_or_si128(_mm_or_si128(no, re), tr), _mm_or_si128(f, w)));
}

static inline unsigned bits_of(__m128i v)
{
    return (unsigned)_mm_movemask_epi8(v);
}

static inline size_t ones(unsigned bits)
{
    /* In words of its own: the instruction is not there on every processor. */
    bits -= (bits >> 1) & 0x55555555u;
    bits = (bits & 0x33333333u) + ((bits >> 2) & 0x33333333u);
    return (((bits + (bits >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24;
}

/* Line ends among 16 characters at p; the line goes on behind them. */
static void count_lines(struct counts *n, unsigned line_ends, const char *p, const char *end)
{
    size_t from = 0;
    for (; line_ends != 0; line_ends &= line_ends - 1) {
        size_t at = (size_t)__builtin_ctz(line_ends);
        n->line += at - from;
        n->line_max = n->line > n->line_max ? n->line : n->line_max;
        n->line = 0;
        n->newlines++;
        n->choices += choice_at(p + at + 1, end);
        from = at + 1;
    }
    n->line += BLOCK - from;
    n->line_max = n->line > n->line_max ? n->line : n->line_max;
}

/* As count_char for each of them; false, and nothing is counted, where one is not ASCII. p + BLOCK
 * can be read. */
static bool count_block(struct counts *n, const char *text, const char *p, const char *end,
                        bool *was_space)
{
    const __m128i here = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
    const __m128i fold = _mm_set1_epi8(0x20);
    if (bits_of(here) != 0)
        return false;
    const __m128i lower_here = _mm_or_si128(here, fold);
    const unsigned letters = bits_of(in_range(lower_here, 'a', 'z'));
    const unsigned digits = bits_of(in_range(here, '0', '9'));
    const unsigned spaces = bits_of(_mm_or_si128(is(here, ' '), in_range(here, '\t', '\r')));
    unsigned phrases = letters & bits_of(may_begin_phrase(lower_here, _mm_or_si128(next, fold)));
    unsigned marks = ~(letters | digits | spaces) & 0xffffu;
    n->letters += ones(letters);
    n->upper += ones(bits_of(in_range(here, 'A', 'Z')));
    n->digits += ones(digits);
    n->numbers += ones(digits & ~(digits << 1 | (p > text && is_digit(p[-1]))));
    n->words += ones(~spaces & 0xffffu & (spaces << 1 | *was_space));
    *was_space = spaces >> 15;
    n->chars += BLOCK;
    for (; phrases != 0; phrases &= phrases - 1)
        count_phrases(n, text, p + __builtin_ctz(phrases), end);
    for (; marks != 0; marks &= marks - 1)
        count_ascii(n, text, p + __builtin_ctz(marks), end);
    count_lines(n, bits_of(is(here, '\n')), p, end);
    return true;
}

static void count(struct counts *n, const char *text, size_t len)
{
    const char *end = text + len, *p = text;
    bool was_space = true;
    n->choices += choice_at(text, end);
    while (p < end)
        if (end - p > (ptrdiff_t)BLOCK && count_block(n, text, p, end, &was_space)) {
            p += BLOCK;
        } else {
            const char *stop = end - p > (ptrdiff_t)BLOCK ? p + BLOCK : end;
            while (p < stop)
                p = count_char(n, text, p, end, &was_space);
        }
}

static bool ends_in_answer(const char *text, size_t len)
{
    while (len > 0 && (unsigned char)text[len - 1] < 0x80 && metallm__char_is_space(text[len - 1]))
        len--;
    return len >= 7 && at(text + len - 7, text + len, "answer:");
}

/* Most counts of a text are 0. */
static double log_of(size_t n)
{
    return n > 0 ? log1p((double)n) : 0;
}

void metallm__text_features(const char *text, size_t len, float *out)
{
    struct counts n = {0};
    count(&n, text, len);
    const double chars = n.chars > 0 ? (double)n.chars : 1;
    const double words = n.words > 0 ? (double)n.words : 1;
    const double letters = n.letters > 0 ? (double)n.letters : 1;
    const double values[METALLM__TEXT_FEATURES] = {
        log_of(n.chars),
        log_of(n.words),
        /* Scripts without blanks have no such length: the value of common English. */
        n.cjk * 2 < n.chars ? (double)n.chars / words : 5,
        (double)n.digits / chars,
        log_of(n.numbers),
        (double)n.cjk / chars,
        log_of(n.code),
        log_of(n.formula),
        log_of(n.newlines),
        log_of(n.questions),
        log_of(n.choices),
        log_of(n.blanks),
        log_of(n.quotes),
        (double)n.upper / letters,
        (double)n.wide / chars,
        n.how_many,
        n.negation,
        n.which,
        n.why,
        n.write,
        n.dollar,
        log_of(n.commas),
        ends_in_answer(text, len),
        log_of(n.line_max),
        n.truth,
    };
    for (unsigned i = 0; i < METALLM__TEXT_FEATURES; i++)
        out[i] = (float)values[i];
}
