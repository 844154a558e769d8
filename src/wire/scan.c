/* SPDX-License-Identifier: Apache-2.0
 * scan.c - see scan.h. Bodies are mostly long strings, so 16 bytes are looked at a time where the
 * CPU has SSE2 (every x86-64). Bytes are never read beyond the end, whatever the text holds. */
#include "wire/scan.h"

#if defined __SSE2__
#include <emmintrin.h>
#endif

/* The first quote or backslash at or behind `at`. */
static size_t find_string_byte(const char *p, size_t at, size_t end)
{
#if defined __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    for (; end - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        int mask = _mm_movemask_epi8(hit);
        if (mask != 0)
            return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < end && p[at] != '"' && p[at] != '\\')
        at++;
    return at;
}

/* The first quote, bracket or brace at or behind `at`: '[' and '{', ']' and '}' differ in one bit.
 */
static size_t find_structure(const char *p, size_t at, size_t end)
{
#if defined __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), bit = _mm_set1_epi8(0x20);
    const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    for (; end - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
        __m128i low = _mm_or_si128(v, bit);
        __m128i hit =
            _mm_or_si128(_mm_cmpeq_epi8(v, quote),
                         _mm_or_si128(_mm_cmpeq_epi8(low, open), _mm_cmpeq_epi8(low, close)));
        int mask = _mm_movemask_epi8(hit);
        if (mask != 0)
            return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < end && p[at] != '"' && (p[at] | 0x20) != '{' && (p[at] | 0x20) != '}')
        at++;
    return at;
}

/* at is behind the opening quote; returns behind the closing one. */
static size_t skip_string(const char *p, size_t at, size_t end)
{
    for (;;) {
        at = find_string_byte(p, at, end);
        if (at >= end)
            return end;
        if (p[at] == '"')
            return at + 1;
        at = end - at > 2 ? at + 2 : end;
    }
}

static size_t skip_blank(const char *p, size_t at, size_t end)
{
    while (at < end && (p[at] == ' ' || p[at] == '\n' || p[at] == '\t' || p[at] == '\r'))
        at++;
    return at;
}

/* at is on the opening bracket; returns behind the closing one. depth: of what lies around. */
static size_t skip_nested(struct metallm__scan *s, size_t at, unsigned depth)
{
    unsigned around = depth;
    while (at < s->end) {
        char c = s->bytes[at++];
        if (c == '"') {
            at = skip_string(s->bytes, at, s->end);
        } else if ((c | 0x20) == '{') {
            if (++depth > s->depth)
                s->depth = depth;
        } else if (--depth == around) {
            return at;
        }
        at = find_structure(s->bytes, at, s->end);
    }
    return s->end;
}

static size_t skip_value(struct metallm__scan *s, size_t at)
{
    const char *p = s->bytes;
    if (at < s->end && p[at] == '"')
        return skip_string(p, at + 1, s->end);
    if (at < s->end && (p[at] == '{' || p[at] == '['))
        return skip_nested(s, at, 1);
    while (at < s->end && p[at] != ',' && p[at] != '}' && p[at] != ' ' && p[at] != '\n' &&
           p[at] != '\t' && p[at] != '\r')
        at++;
    return at;
}

size_t metallm__scan_begin(struct metallm__scan *s, struct metallm__span text)
{
    *s = (struct metallm__scan){text.p, 0, text.n, SIZE_MAX, 1};
    s->at = skip_blank(text.p, 0, text.n);
    if (s->at < s->end)
        s->at++; /* the brace */
    return s->at;
}

bool metallm__scan_next(struct metallm__scan *s, struct metallm__scan_member *out)
{
    size_t at = skip_blank(s->bytes, s->at, s->end);
    if (at >= s->end || s->bytes[at] != '"')
        return false;
    out->comma_before = s->comma;
    out->key = at;
    at = skip_blank(s->bytes, skip_string(s->bytes, at + 1, s->end), s->end);
    out->value = skip_blank(s->bytes, at < s->end ? at + 1 : at, s->end); /* behind the colon */
    out->stop = skip_value(s, out->value);
    s->at = skip_blank(s->bytes, out->stop, s->end);
    out->comma_after = SIZE_MAX;
    if (s->at < s->end && s->bytes[s->at] == ',') {
        s->comma = out->comma_after = s->at;
        s->at++;
    }
    return true;
}
