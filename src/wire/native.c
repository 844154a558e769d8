/* SPDX-License-Identifier: Apache-2.0
 * native.c - a request for an LLM that speaks the client's own protocol: the client's bytes with a
 * few ranges replaced. */

#include "wire/scan.h"
#include "wire/wire.h"

struct edit {
    struct metallm__wire_range at; /* these bytes go; empty: nothing does */
    struct metallm__span put;      /* and these come */
};
#define EDITS_MAX 3u

static void put(struct metallm__wire_out *out, struct metallm__span s)
{
    if (s.n == 0)
        return;
    out->spans[out->span_count++] = s;
    out->body_bytes += s.n;
}

static void write_edited(struct metallm__wire_out *out, struct metallm__span body,
                         struct edit *edits, size_t count)
{
    for (size_t i = 1; i < count;
         i++) /* in the body's order, what only adds first; at most three */
        for (size_t k = i; k > 0 && (edits[k].at.begin < edits[k - 1].at.begin ||
                                     edits[k].at.end == edits[k - 1].at.begin);
             k--) {
            struct edit kept = edits[k];
            edits[k] = edits[k - 1];
            edits[k - 1] = kept;
        }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        put(out, metallm__span(body.p + at, edits[i].at.begin - at));
        put(out, edits[i].put);
        at = edits[i].at.end;
    }
    put(out, metallm__span(body.p + at, body.n - at));
}

/* Asks for usage at the end of a stream, wherever the client's options leave room for it. */
static struct edit usage_edit(const struct metallm__wire_request *r)
{
    static const struct metallm__span yes = METALLM__SPAN("true");
    static const struct metallm__span whole = METALLM__SPAN("{\"include_usage\":true}");
    static const struct metallm__span first = METALLM__SPAN("\"include_usage\":true,");
    static const struct metallm__span member =
        METALLM__SPAN("\"stream_options\":{\"include_usage\":true},");
    if (r->usage_at.end > 0)
        return (struct edit){r->usage_at, yes};
    if (r->options_at.end == 0) /* "model" at least follows */
        return (struct edit){{r->object_at, r->object_at}, member};
    struct metallm__scan scan;
    struct metallm__scan_member any;
    size_t begin = r->options_at.begin;
    metallm__scan_begin(&scan, metallm__span(r->body.p + begin, r->options_at.end - begin));
    if (r->body.p[begin] != '{' || !metallm__scan_next(&scan, &any)) /* null or {} */
        return (struct edit){r->options_at, whole};
    return (struct edit){{begin + 1, begin + 1}, first};
}

/* Elsewhere usage comes without being asked for. */
static bool has_usage_option(enum metallm__wire_kind kind)
{
    return kind == METALLM__WIRE_CHAT || kind == METALLM__WIRE_COMPLETION;
}

bool metallm__wire_is_native(const struct metallm__wire *w, const struct metallm__wire_target *t,
                             enum metallm__wire_kind kind)
{
    return ((w->native & t->native) >> kind & 1u) != 0;
}

const struct metallm__wire *metallm__wire_native(const struct metallm__wire *w,
                                                 enum metallm__wire_kind kind)
{
    return kind == METALLM__WIRE_RESPONSES && w->responses != NULL ? w->responses : w;
}

void metallm__wire_native_out(const struct metallm__wire *w, const struct metallm__wire_request *r,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out)
{
    out->path = metallm__span_of(w->native_paths[r->kind]);
    out->version = r->version;
    out->beta = r->beta;
    struct edit edits[EDITS_MAX] = {{r->model_at, t->model_json}};
    size_t count = 1;
    if (r->hints_at.end > 0)
        edits[count++] = (struct edit){r->hints_at, {NULL, 0}};
    if (r->is_stream && !r->wants_usage && t->is_usage_asked && has_usage_option(r->kind)) {
        edits[count++] = usage_edit(r);
        out->is_usage_dropped = true;
    }
    write_edited(out, r->body, edits, count);
}
