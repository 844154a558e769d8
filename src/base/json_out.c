/* SPDX-License-Identifier: Apache-2.0
 * json_out.c - see json_out.h. */
#include "base/json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined __SSE2__
#include <emmintrin.h>
#endif

/* Bytes of the UTF-8 character at text (Unicode 15, table 3-7); 0: none. */
static size_t utf8_len(const unsigned char *t, size_t len)
{
    if (t[0] < 0x80)
        return 1;
    size_t need = t[0] >= 0xc2 && t[0] <= 0xdf   ? 2
                  : (t[0] & 0xf0) == 0xe0        ? 3
                  : t[0] >= 0xf0 && t[0] <= 0xf4 ? 4
                                                 : 0;
    if (need == 0 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((t[i] & 0xc0) != 0x80)
            return 0;
    if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
        (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f))
        return 0;
    return need;
}

/* One character's escaped form; *read: its bytes. */
static size_t escape_one(char out[8], const unsigned char *t, size_t len, size_t *read)
{
    static const char named[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    size_t n = utf8_len(t, len);
    *read = n > 0 ? n : 1;
    if (n == 0) {
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }
    if (t[0] == '"' || t[0] == '\\') {
        out[0] = '\\';
        out[1] = (char)t[0];
        return 2;
    }
    if (t[0] < ' ' && t[0] < sizeof named && named[t[0]] != '\0') {
        out[0] = '\\';
        out[1] = named[t[0]];
        return 2;
    }
    if (t[0] < ' ' || t[0] == 127)
        return (size_t)snprintf(out, 8, "\\u%04x", t[0]);
    memcpy(out, t, n);
    return n;
}

size_t metallm__jw_escape(char *out, size_t room, const char *text, size_t len, size_t *used)
{
    size_t put = 0, at = 0;
    while (at < len) {
        char one[8];
        size_t read, n = escape_one(one, (const unsigned char *)text + at, len - at, &read);
        if (n > room - put)
            break;
        memcpy(out + put, one, n);
        put += n;
        at += read;
    }
    *used = at;
    return put;
}

/* The first byte at or behind `at` that is escaped or is not ASCII. */
static size_t plain_end(const char *t, size_t at, size_t len)
{
#if defined __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(' '), rubout = _mm_set1_epi8(127);
    for (; len - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(t + at));
        __m128i low = _mm_cmplt_epi8(v, blank); /* signed: and all beyond ASCII */
        __m128i named = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        __m128i hit = _mm_or_si128(_mm_or_si128(low, named), _mm_cmpeq_epi8(v, rubout));
        int mask = _mm_movemask_epi8(hit);
        if (mask != 0)
            return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < len && t[at] >= ' ' && t[at] != '"' && t[at] != '\\' && t[at] != 127)
        at++;
    return at;
}

/* The first byte at or behind `at` that cannot be copied as it is. */
static size_t copied_end(const char *t, size_t at, size_t len)
{
    while ((at = plain_end(t, at, len)) < len && (unsigned char)t[at] >= 0x80) {
        size_t n = utf8_len((const unsigned char *)t + at, len - at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

void metallm__json_escaped(struct metallm__buf *out, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t stop = copied_end(text, at, len), read = 0;
        metallm__buf_add(out, text + at, stop - at);
        if (stop < len) {
            char one[8];
            size_t n = escape_one(one, (const unsigned char *)text + stop, len - stop, &read);
            metallm__buf_add(out, one, n);
        }
        at = stop + read;
    }
}

void metallm__json_string(struct metallm__buf *out, const char *text, size_t len)
{
    metallm__buf_add(out, "\"", 1);
    metallm__json_escaped(out, text, len);
    metallm__buf_add(out, "\"", 1);
}

static void separate(struct metallm__jw *j)
{
    if (j->wants_comma)
        metallm__buf_add(j->out, ",", 1);
    j->wants_comma = true;
}

void metallm__jw_open(struct metallm__jw *j, char bracket)
{
    separate(j);
    metallm__buf_add(j->out, &bracket, 1);
    j->wants_comma = false;
}

void metallm__jw_close(struct metallm__jw *j, char bracket)
{
    metallm__buf_add(j->out, &bracket, 1);
    j->wants_comma = true;
}

void metallm__jw_bytes(struct metallm__jw *j, const char *text, size_t len)
{
    separate(j);
    metallm__json_string(j->out, text, len);
}

void metallm__jw_text(struct metallm__jw *j, const char *text)
{
    if (text == NULL)
        metallm__jw_raw(j, "null");
    else
        metallm__jw_bytes(j, text, strlen(text));
}

void metallm__jw_name(struct metallm__jw *j, const char *name)
{
    separate(j);
    metallm__json_string(j->out, name, strlen(name));
    metallm__buf_add(j->out, ":", 1);
    j->wants_comma = false;
}

void metallm__jw_count(struct metallm__jw *j, uint64_t value)
{
    separate(j);
    char text[20]; /* from its end */
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    metallm__buf_add(j->out, text + at, sizeof text - at);
}

void metallm__jw_integer(struct metallm__jw *j, int64_t value)
{
    if (value >= 0) {
        metallm__jw_count(j, (uint64_t)value);
        return;
    }
    separate(j);
    metallm__buf_add(j->out, "-", 1);
    j->wants_comma = false;
    metallm__jw_count(j, -(uint64_t)value);
}

void metallm__jw_real(struct metallm__jw *j, double value)
{
    char text[40];
    separate(j);
    if (!isfinite(value)) {
        metallm__buf_puts(j->out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { /* as few as give the same number back */
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    metallm__buf_puts(j->out, text);
}

void metallm__jw_flag(struct metallm__jw *j, bool value)
{
    metallm__jw_raw(j, value ? "true" : "false");
}

void metallm__jw_raw(struct metallm__jw *j, const char *json)
{
    separate(j);
    metallm__buf_puts(j->out, json);
}

void metallm__jw_span(struct metallm__jw *j, struct metallm__span text)
{
    metallm__jw_bytes(j, text.p, text.n);
}

void metallm__jw_json(struct metallm__jw *j, struct metallm__span json)
{
    separate(j);
    metallm__buf_add(j->out, json.p, json.n);
}
