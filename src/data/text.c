/* SPDX-License-Identifier: Apache-2.0
 * text.c - see text.h. */
#include "data/text.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

struct metallm__span metallm__span_of(const char *text)
{
    return (struct metallm__span){text, text != NULL ? strlen(text) : 0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct metallm__span metallm__span_trim(struct metallm__span s)
{
    while (s.len > 0 && is_blank(s.bytes[0])) {
        s.bytes++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.bytes[s.len - 1]))
        s.len--;
    return s;
}

bool metallm__span_is(struct metallm__span s, const char *text)
{
    return s.bytes != NULL && s.len == strlen(text) && memcmp(s.bytes, text, s.len) == 0;
}

bool metallm__span_cut_end(struct metallm__span *s, const char *suffix)
{
    size_t len = strlen(suffix);
    if (s->len <= len || memcmp(s->bytes + s->len - len, suffix, len) != 0)
        return false;
    s->len -= len;
    return true;
}

bool metallm__span_is_nocase(struct metallm__span s, const char *text)
{
    return s.bytes != NULL && s.len == strlen(text) && strncasecmp(s.bytes, text, s.len) == 0;
}

/* Length of the well-formed sequence at p (left bytes), 0 if there is none. */
static size_t sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    unsigned second = p[1];
    if ((p[0] == 0xe0 && second < 0xa0) || (p[0] == 0xed && second > 0x9f) ||
        (p[0] == 0xf0 && second < 0x90) || (p[0] == 0xf4 && second > 0x8f))
        return 0;
    return len;
}

bool metallm__text_is_utf8(struct metallm__span s)
{
    const unsigned char *p = (const unsigned char *)s.bytes;
    size_t i = 0;
    while (i < s.len) {
        uint64_t eight;
        while (s.len - i >= sizeof eight) { /* ASCII, eight bytes at a time */
            memcpy(&eight, p + i, sizeof eight);
            if ((eight & 0x8080808080808080u) != 0)
                break;
            i += sizeof eight;
        }
        if (i == s.len)
            return true;
        size_t len = sequence(p + i, s.len - i);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

size_t metallm__text_put_utf8(char *out, unsigned long code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        if (code >= 0xd800 && code <= 0xdfff)
            return 0;
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    if (code > 0x10ffff)
        return 0;
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* The number as JSON writes it, so that yyjson's reader, which knows no locale, can be used. */
bool metallm__text_number(struct metallm__span s, double *out)
{
    char text[64];
    s = metallm__span_trim(s);
    bool is_negative = s.len > 0 && s.bytes[0] == '-';
    if (s.len > 0 && (s.bytes[0] == '-' || s.bytes[0] == '+')) {
        s.bytes++;
        s.len--;
    }
    while (s.len > 1 && s.bytes[0] == '0' && s.bytes[1] >= '0' && s.bytes[1] <= '9') {
        s.bytes++;
        s.len--;
    }
    if (s.len == 0 || s.len > sizeof text - 2 || metallm__span_is(s, ".") ||
        !((s.bytes[0] >= '0' && s.bytes[0] <= '9') || s.bytes[0] == '.'))
        return false;
    size_t used = s.bytes[0] == '.' ? 1 : 0; /* ".5" */
    text[0] = '0';
    memcpy(text + used, s.bytes, s.len);
    used += s.len;
    text[used] = '\0';
    if (text[used - 1] == '.') /* "1." */
        text[--used] = '\0';
    yyjson_val value;
    const char *end =
        yyjson_read_number(text, &value, YYJSON_READ_NOFLAG, &metallm__json_alc, NULL);
    if (end != text + used)
        return false;
    double number = yyjson_is_real(&value)   ? yyjson_get_real(&value)
                    : yyjson_is_uint(&value) ? (double)yyjson_get_uint(&value)
                                             : (double)yyjson_get_sint(&value);
    *out = is_negative ? -number : number;
    return isfinite(number);
}

const char *metallm__text_show(char *out, struct metallm__span s)
{
    static const char hex[] = "0123456789abcdef";
    size_t used = 0, i = 0;
    while (i < s.len) {
        const unsigned char *p = (const unsigned char *)s.bytes + i;
        size_t len = sequence(p, s.len - i);
        bool is_plain = len > 1 || (len == 1 && p[0] >= 0x20 && p[0] != 0x7f);
        size_t room = is_plain ? len : 4;
        if (used + room + 4 > METALLM__SHOWN_BYTES) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (is_plain) {
            memcpy(out + used, p, len);
        } else {
            len = 1;
            const char escaped[4] = {'\\', 'x', hex[p[0] >> 4], hex[p[0] & 15]};
            memcpy(out + used, escaped, 4);
        }
        used += room;
        i += len;
    }
    out[used] = '\0';
    return out;
}
