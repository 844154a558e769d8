/* SPDX-License-Identifier: Apache-2.0
 * out.c - see out.h. */
#include "classify/out.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json_out.h"

#define LINE_BYTES ((size_t)1 << 20)

static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

int metallm__out_open(struct metallm__out *o, const char *path, metallm_error *err)
{
    *o = (struct metallm__out){.is_json = ends_in(path, ".jsonl") || ends_in(path, ".ndjson")};
    metallm__buf_init(&o->line, LINE_BYTES);
    int rc = metallm__outfile_open(&o->file, path, err);
    if (rc == METALLM_OK && !o->is_json)
        fputs("id,label,llm,confidence,usd,latency_ms,decision,state,how\n", o->file.stream);
    return rc;
}

/* ---- CSV. ---- */

static void put_field(struct metallm__buf *b, struct metallm__span s)
{
    bool is_plain = s.n == 0 || (s.p[0] != ' ' && s.p[s.n - 1] != ' ');
    for (size_t i = 0; i < s.n && is_plain; i++)
        is_plain = s.p[i] != ',' && s.p[i] != '"' && s.p[i] != '\n' && s.p[i] != '\r';
    if (is_plain) {
        metallm__buf_add(b, s.p, s.n);
        return;
    }
    metallm__buf_puts(b, "\"");
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            metallm__buf_puts(b, "\"");
        metallm__buf_add(b, s.p + i, 1);
    }
    metallm__buf_puts(b, "\"");
}

static void put_number(struct metallm__buf *b, double value, const char *unknown)
{
    if (isfinite(value))
        metallm__buf_printf(b, "%.9g", value);
    else
        metallm__buf_puts(b, unknown);
}

static void write_csv(struct metallm__buf *b, const struct metallm__out_row *row)
{
    put_field(b, row->id);
    metallm__buf_puts(b, ",");
    put_field(b, metallm__span_of(row->label));
    metallm__buf_puts(b, ",");
    put_field(b, metallm__span_of(row->llm));
    const double numbers[] = {row->confidence, row->usd, row->latency_ms};
    for (size_t i = 0; i < 3; i++) {
        metallm__buf_puts(b, ",");
        put_number(b, numbers[i], "");
    }
    metallm__buf_printf(b, ",%s,%s,%s\n", row->decision, row->state, row->how);
}

/* ---- JSON Lines. ---- */

static void put_string(struct metallm__buf *b, struct metallm__span text)
{
    struct metallm__jw j = {.out = b};
    metallm__jw_bytes(&j, text.p, text.n);
}

static void put_text(struct metallm__buf *b, const char *name, const char *text)
{
    metallm__buf_printf(b, ",\"%s\":", name);
    if (text[0] != '\0')
        put_string(b, metallm__span_of(text));
    else
        metallm__buf_puts(b, "null");
}

static void write_json(struct metallm__buf *b, const struct metallm__out_row *row)
{
    static const char *const names[] = {"confidence", "usd", "latency_ms"};
    const double numbers[] = {row->confidence, row->usd, row->latency_ms};
    metallm__buf_puts(b, "{\"id\":");
    put_string(b, row->id);
    put_text(b, "label", row->label);
    put_text(b, "llm", row->llm);
    for (size_t i = 0; i < 3; i++) {
        metallm__buf_printf(b, ",\"%s\":", names[i]);
        put_number(b, numbers[i], "null");
    }
    put_text(b, "decision", row->decision);
    put_text(b, "state", row->state);
    put_text(b, "how", row->how);
    metallm__buf_puts(b, "}\n");
}

int metallm__out_row(struct metallm__out *o, const struct metallm__out_row *row, metallm_error *err)
{
    metallm__buf_clear(&o->line);
    if (o->is_json)
        write_json(&o->line, row);
    else
        write_csv(&o->line, row);
    int rc = metallm__buf_check(&o->line, err);
    if (rc == METALLM_OK && fwrite(o->line.data, 1, o->line.len, o->file.stream) != o->line.len)
        rc = metallm__error_set(err, METALLM_EIO, "cannot write '%s': %s", o->file.path,
                                strerror(errno));
    return rc;
}

int metallm__out_commit(struct metallm__out *o, metallm_error *err)
{
    int rc = metallm__outfile_commit(&o->file, err);
    metallm__buf_fini(&o->line);
    return rc;
}

void metallm__out_abort(struct metallm__out *o)
{
    metallm__outfile_abort(&o->file);
    metallm__buf_fini(&o->line);
}
