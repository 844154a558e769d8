/* SPDX-License-Identifier: Apache-2.0
 * records.c - see records.h. A record's extent is found first, by matching braces outside of
 * strings, so that a broken one costs only itself. */
#include "data/records.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static void pass(struct metallm__records *r, size_t to)
{
    for (const char *p = r->bytes + r->pos, *end = r->bytes + to;
         (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        r->line++;
    r->pos = to;
}

static void pass_blanks(struct metallm__records *r)
{
    size_t i = r->pos;
    while (i < r->len && (r->bytes[i] == ' ' || r->bytes[i] == '\t' || r->bytes[i] == '\r' ||
                          r->bytes[i] == '\n'))
        i++;
    pass(r, i);
}

static size_t line_end(const struct metallm__records *r, size_t from)
{
    const char *end = memchr(r->bytes + from, '\n', r->len - from);
    return end != NULL ? (size_t)(end - r->bytes) : r->len;
}

/* Behind the value that begins at pos; 0: it does not end within the limit. */
static size_t value_end(const struct metallm__records *r)
{
    size_t limit =
        r->len - r->pos > METALLM__RECORD_BYTES_MAX ? r->pos + METALLM__RECORD_BYTES_MAX : r->len;
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = r->pos; i < limit; i++) {
        char c = r->bytes[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth <= 1)
                return depth == 0 ? i : i + 1;
            depth--;
        } else if (depth == 0 && (c == ',' || c == '\n')) {
            return i;
        }
    }
    return depth == 0 && !in_string && limit == r->len ? r->len : 0;
}

void metallm__records_init(struct metallm__records *r, const char *bytes, size_t len)
{
    *r = (struct metallm__records){.bytes = bytes, .len = len, .line = 1};
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        r->pos = 3;
    pass_blanks(r);
    if (r->pos == len)
        return;
    if (bytes[r->pos] == '[') {
        r->kind = METALLM__RECORDS_ARRAY;
        r->pos++;
    } else if (bytes[r->pos] == '{') {
        size_t end = value_end(r);
        bool is_one_line = end == 0 || end <= line_end(r, r->pos);
        r->kind = is_one_line ? METALLM__RECORDS_LINES : METALLM__RECORDS_RUN;
    }
}

static enum metallm__records_state lost(struct metallm__records *r, metallm_error *err,
                                        const char *why)
{
    r->text = (struct metallm__span){r->bytes + r->pos, r->len - r->pos};
    r->pos = r->len;
    metallm__error_set(err, METALLM_EFORMAT, "%s", why);
    return METALLM__RECORDS_LOST;
}

/* Sets text to the extent of the next record. */
static enum metallm__records_state find_record(struct metallm__records *r, metallm_error *err)
{
    pass_blanks(r);
    if (r->kind == METALLM__RECORDS_ARRAY) {
        while (r->pos < r->len && r->bytes[r->pos] == ',') {
            r->pos++;
            pass_blanks(r);
        }
        if (!r->is_closed && r->pos < r->len && r->bytes[r->pos] == ']') {
            r->is_closed = true;
            r->pos++;
            pass_blanks(r);
        }
    }
    r->record_line = r->line;
    if (r->pos == r->len) {
        if (r->kind != METALLM__RECORDS_ARRAY || r->is_closed)
            return METALLM__RECORDS_END;
        r->is_closed = true;
        return lost(r, err, "the array is not closed: the file is cut off");
    }
    if (r->is_closed)
        return lost(r, err, "text stands behind the array's end");
    size_t end = r->kind == METALLM__RECORDS_LINES ? line_end(r, r->pos) : value_end(r);
    r->is_closed = r->kind == METALLM__RECORDS_ARRAY && end == 0;
    if (end == 0)
        return lost(r, err,
                    r->len - r->pos > METALLM__RECORD_BYTES_MAX
                        ? "a record is longer than 64 MiB"
                        : "the record is not closed: the file is cut off");
    if (end == r->pos) /* a closing bracket of nothing */
        end++;
    r->text = metallm__span_trim((struct metallm__span){r->bytes + r->pos, end - r->pos});
    pass(r, end);
    if (r->text.len > METALLM__RECORD_BYTES_MAX) {
        metallm__error_set(err, METALLM_EFORMAT, "a record is longer than 64 MiB");
        return METALLM__RECORDS_BAD;
    }
    return METALLM__RECORD;
}

int metallm__records_next(struct metallm__records *r, yyjson_doc **doc,
                          enum metallm__records_state *state, metallm_error *err)
{
    *state = find_record(r, err);
    if (*state != METALLM__RECORD)
        return METALLM_OK;
    yyjson_read_err why = {0};
    /* NaN and Infinity, which Python writes, are read here and refused as values later. */
    yyjson_doc *read = yyjson_read_opts((char *)(uintptr_t)r->text.bytes, r->text.len,
                                        YYJSON_READ_ALLOW_INF_AND_NAN, &metallm__json_alc, &why);
    if (read != NULL) {
        *doc = read;
        return METALLM_OK;
    }
    if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return metallm__error_nomem(err, "a JSON record");
    char shown[METALLM__SHOWN_BYTES];
    size_t at = why.pos < r->text.len ? why.pos : r->text.len;
    struct metallm__span rest = {r->text.bytes + at, r->text.len - at};
    metallm__error_set(err, METALLM_EFORMAT, "not JSON (%s) at '%s'", why.msg,
                       metallm__text_show(shown, rest));
    *state = METALLM__RECORDS_BAD;
    return METALLM_OK;
}

struct metallm__span metallm__json_text(yyjson_val *value, char room[32])
{
    if (yyjson_is_str(value))
        return (struct metallm__span){yyjson_get_str(value), yyjson_get_len(value)};
    if (yyjson_is_bool(value))
        return metallm__span_of(yyjson_get_bool(value) ? "true" : "false");
    if (yyjson_is_real(value))
        snprintf(room, 32, "%.17g", yyjson_get_real(value));
    else if (yyjson_is_uint(value))
        snprintf(room, 32, "%llu", (unsigned long long)yyjson_get_uint(value));
    else if (yyjson_is_sint(value))
        snprintf(room, 32, "%lld", (long long)yyjson_get_sint(value));
    else if (yyjson_is_obj(value) || yyjson_is_arr(value))
        return metallm__span_of(yyjson_is_obj(value) ? "{...}" : "[...]");
    else
        return (struct metallm__span){NULL, 0};
    return metallm__span_of(room);
}
