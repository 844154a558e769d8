/* SPDX-License-Identifier: Apache-2.0
 * json_out.c - see json_out.h. */
#include "base/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    metallm__buf_add(j->out, "\"", 1);
    while (len > 0) {
        char piece[512];
        size_t used, n = metallm__jw_escape(piece, sizeof piece, text, len, &used);
        metallm__buf_add(j->out, piece, n);
        text += used;
        len -= used;
    }
    metallm__buf_add(j->out, "\"", 1);
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
    metallm__jw_text(j, name);
    metallm__buf_add(j->out, ":", 1);
    j->wants_comma = false;
}

void metallm__jw_count(struct metallm__jw *j, uint64_t value)
{
    separate(j);
    metallm__buf_printf(j->out, "%" PRIu64, value);
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
