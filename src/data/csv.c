/* SPDX-License-Identifier: Apache-2.0
 * csv.c - see csv.h. */
#include "data/csv.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

void metallm__csv_init(struct metallm__csv *c, const char *bytes, size_t len)
{
    *c = (struct metallm__csv){.bytes = bytes, .len = len, .line = 1};
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        c->pos = 3;
    metallm__buf_init(&c->unescaped, METALLM__CSV_RECORD_BYTES_MAX);
}

void metallm__csv_fini(struct metallm__csv *c)
{
    metallm__free(c->fields);
    metallm__buf_fini(&c->unescaped);
    *c = (struct metallm__csv){0};
}

static bool at_line_end(const struct metallm__csv *c)
{
    return c->pos == c->len || c->bytes[c->pos] == '\n' ||
           (c->bytes[c->pos] == '\r' && (c->pos + 1 == c->len || c->bytes[c->pos + 1] == '\n'));
}

static void pass_line_end(struct metallm__csv *c)
{
    if (c->pos < c->len && c->bytes[c->pos] == '\r')
        c->pos++;
    if (c->pos < c->len && c->bytes[c->pos] == '\n')
        c->pos++;
    c->line++;
}

static void skip_line(struct metallm__csv *c)
{
    const char *end = memchr(c->bytes + c->pos, '\n', c->len - c->pos);
    c->pos = end != NULL ? (size_t)(end - c->bytes) : c->len;
    pass_line_end(c);
}

/* A field that is copied is kept as an offset until the record is whole: the buffer may move. */
static int add_field(struct metallm__csv *c, const char *bytes, size_t len, metallm_error *err)
{
    void *fields = c->fields;
    if (metallm__grow(&fields, &c->field_cap, c->field_count + 1, sizeof *c->fields) != 0)
        return metallm__error_nomem(err, "fields of a CSV record");
    c->fields = fields;
    c->fields[c->field_count++] = (struct metallm__span){bytes, len};
    return METALLM_OK;
}

static int plain_field(struct metallm__csv *c, metallm_error *err)
{
    size_t start = c->pos;
    while (!at_line_end(c) && c->bytes[c->pos] != ',')
        c->pos++;
    return add_field(c, c->bytes + start, c->pos - start, err);
}

/* Copies the field's bytes from start on into unescaped, doubled quotes as one; pos is behind the
 * opening quote's field. Where the field lies is settled by settle_fields. */
static int own_field(struct metallm__csv *c, size_t start, size_t end, metallm_error *err)
{
    size_t from = c->unescaped.len;
    for (size_t i = start; i < end;) {
        const char *quote = memchr(c->bytes + i, '"', end - i);
        size_t upto = quote != NULL ? (size_t)(quote - c->bytes) + 1 : end;
        metallm__buf_add(&c->unescaped, c->bytes + i, upto - i);
        i = quote != NULL ? upto + 1 : upto;
    }
    if (c->unescaped.failed)
        return metallm__error_nomem(err, "a CSV field");
    /* A NULL pointer marks an owned field; settle_fields finds its place by order and length. */
    return add_field(c, NULL, c->unescaped.len - from, err);
}

/* pos is at the opening quote. */
static int quoted_field(struct metallm__csv *c, size_t record_start, enum metallm__csv_state *state,
                        metallm_error *err)
{
    size_t start = ++c->pos;
    bool has_doubled = false;
    for (;;) {
        const char *quote = memchr(c->bytes + c->pos, '"', c->len - c->pos);
        if (quote == NULL ||
            (size_t)(quote - c->bytes) - record_start > METALLM__CSV_RECORD_BYTES_MAX) {
            c->why = quote == NULL ? "a quote is opened and never closed"
                                   : "a quote is left open for more than 64 MiB";
            *state = METALLM__CSV_LOST;
            c->pos = c->len;
            return METALLM_OK;
        }
        c->pos = (size_t)(quote - c->bytes) + 1;
        if (c->pos == c->len || c->bytes[c->pos] != '"')
            break;
        has_doubled = true;
        c->pos++;
    }
    size_t end = c->pos - 1;
    for (const char *p = c->bytes + start;
         (p = memchr(p, '\n', (size_t)(c->bytes + end - p))) != NULL; p++)
        c->line++;
    if (!at_line_end(c) && c->bytes[c->pos] != ',') {
        c->why = "text stands behind a closing quote";
        *state = METALLM__CSV_BAD;
        return METALLM_OK;
    }
    return has_doubled ? own_field(c, start, end, err)
                       : add_field(c, c->bytes + start, end - start, err);
}

static void settle_fields(struct metallm__csv *c)
{
    size_t at = 0;
    for (size_t i = 0; i < c->field_count; i++)
        if (c->fields[i].bytes == NULL) {
            c->fields[i].bytes = c->unescaped.data + at;
            at += c->fields[i].len;
        }
}

int metallm__csv_next(struct metallm__csv *c, enum metallm__csv_state *state, metallm_error *err)
{
    while (c->pos < c->len && at_line_end(c))
        pass_line_end(c);
    c->field_count = 0;
    metallm__buf_clear(&c->unescaped);
    c->record_line = c->line;
    *state = c->pos < c->len ? METALLM__CSV_RECORD : METALLM__CSV_END;
    size_t start = c->pos;
    while (*state == METALLM__CSV_RECORD) {
        int rc = c->pos < c->len && c->bytes[c->pos] == '"' ? quoted_field(c, start, state, err)
                                                            : plain_field(c, err);
        if (rc != METALLM_OK)
            return rc;
        if (*state == METALLM__CSV_RECORD && c->field_count > METALLM__CSV_FIELDS_MAX) {
            c->why = "more than 4096 fields";
            *state = METALLM__CSV_BAD;
        }
        if (*state != METALLM__CSV_RECORD)
            break;
        if (at_line_end(c)) {
            pass_line_end(c);
            settle_fields(c);
            return METALLM_OK;
        }
        c->pos++; /* the comma */
    }
    if (*state == METALLM__CSV_BAD)
        skip_line(c);
    return METALLM_OK;
}
