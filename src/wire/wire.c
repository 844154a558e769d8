/* SPDX-License-Identifier: Apache-2.0
 * wire.c - the list of protocols, and what they share: records of answers, errors as OpenAI writes
 * them. */
#include "wire/wire.h"

/* A new protocol is one file and one line here. */
static const struct metallm__wire *const protocols[] = {&metallm__wire_openai};

const struct metallm__wire *metallm__wire_find(const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i]->name, name) == 0)
            return protocols[i];
    return NULL;
}

const char *metallm__wire_finish_name(enum metallm__wire_finish finish)
{
    static const char *const names[] = {"",           "stop",           "length",
                                        "tool_calls", "content_filter", "other"};
    return names[finish];
}

void metallm__wire_answer_clear(struct metallm__wire_answer *a)
{
    *a = (struct metallm__wire_answer){.usage = {-1, -1, -1, -1, false}};
}

void metallm__wire_answer_settle(struct metallm__wire_answer *a,
                                 const struct metallm__wire_request *request)
{
    struct metallm__wire_usage *u = &a->usage;
    u->is_estimated =
        u->input_tokens < 0 || (u->output_tokens < 0 && request->kind != METALLM__WIRE_EMBEDDING);
    if (u->input_tokens < 0)
        u->input_tokens = request->needs.input_tokens;
    if (u->output_tokens < 0)
        u->output_tokens =
            (int64_t)((a->text_units + METALLM__TOKEN_UNITS - 1) / METALLM__TOKEN_UNITS);
}

void metallm__wire_out_fini(struct metallm__wire_out *out)
{
    metallm__buf_fini(&out->made);
    *out = (struct metallm__wire_out){0};
}

void metallm__wire_stream_init(struct metallm__wire_stream *s, const struct metallm__wire *wire,
                               bool is_usage_dropped)
{
    *s = (struct metallm__wire_stream){.wire = wire, .is_usage_dropped = is_usage_dropped};
    metallm__wire_answer_clear(&s->answer);
    metallm__sse_init(&s->sse, METALLM__SSE_EVENT_BYTES_MAX);
    metallm__buf_init(&s->room, SIZE_MAX / 2);
}

void metallm__wire_stream_fini(struct metallm__wire_stream *s)
{
    metallm__sse_fini(&s->sse);
    metallm__buf_fini(&s->room);
}

int metallm__wire_stream_feed(struct metallm__wire_stream *s, struct metallm__span in,
                              metallm__wire_sink sink, void *payload, metallm_error *err)
{
    s->sink = sink;
    s->payload = payload;
    s->err = err;
    return s->wire->stream_feed(s, in);
}

int metallm__wire_stream_end(struct metallm__wire_stream *s, metallm__wire_sink sink, void *payload,
                             metallm_error *err)
{
    s->sink = sink;
    s->payload = payload;
    s->err = err;
    return s->wire->stream_end(s);
}

/* Bytes of the UTF-8 character at p (Unicode 15, table 3-7); 0: it is none. */
static size_t utf8_bytes(const unsigned char *p, size_t left)
{
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    if (c == 0xed)
        high = 0x9f;
    if (c == 0xf0)
        low = 0x90;
    if (c == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf)
        if (p[i] < low || p[i] > high)
            return 0;
    return n;
}

void metallm__wire_string_write(struct metallm__buf *out, struct metallm__span text)
{
    metallm__buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n;) {
        unsigned char c = (unsigned char)text.p[i];
        size_t n = utf8_bytes((const unsigned char *)text.p + i, text.n - i);
        if (n == 0)
            metallm__buf_puts(out, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            metallm__buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            metallm__buf_printf(out, "\\u%04x", c);
        else
            metallm__buf_add(out, text.p + i, n);
        i += n > 0 ? n : 1;
    }
    metallm__buf_add(out, "\"", 1);
}

void metallm__wire_error_write(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    const char *const members[][2] = {{"message", e->message != NULL ? e->message : ""},
                                      {"type", e->type},
                                      {"param", e->param},
                                      {"code", e->code}};
    metallm__buf_puts(out, "{\"error\":{");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        metallm__buf_printf(out, "%s\"%s\":", i > 0 ? "," : "", members[i][0]);
        if (members[i][1] != NULL)
            metallm__wire_string_write(out, metallm__span_of(members[i][1]));
        else
            metallm__buf_puts(out, "null");
    }
    metallm__buf_puts(out, "}}");
}

void metallm__wire_error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    metallm__buf_puts(out, "data: ");
    metallm__wire_error_write(out, e);
    metallm__buf_puts(out, "\n\n");
}
