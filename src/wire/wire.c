/* SPDX-License-Identifier: Apache-2.0
 * wire.c - the list of protocols, and what they share: records of answers, errors as OpenAI writes
 * them. */
#include "wire/wire.h"

#include "base/json_out.h"

/* A new protocol is one file and one line here. */
static const struct metallm__wire *const protocols[] = {
    &metallm__wire_openai,  &metallm__wire_openai_responses, &metallm__wire_anthropic,
    &metallm__wire_bedrock, &metallm__wire_bedrock_invoke,   &metallm__wire_gemini,
};
#define PROTOCOL_COUNT (sizeof protocols / sizeof *protocols)

const struct metallm__wire *metallm__wire_find(const char *name)
{
    for (size_t i = 0; i < PROTOCOL_COUNT; i++)
        if (strcmp(protocols[i]->name, name) == 0)
            return protocols[i];
    return NULL;
}

const struct metallm__wire *metallm__wire_at(size_t i)
{
    return i < PROTOCOL_COUNT ? protocols[i] : NULL;
}

const char *metallm__wire_finish_name(enum metallm__wire_finish finish)
{
    static const char *const names[] = {
        "", "stop", "length", "tool_calls", "content_filter", "stop_sequence", "other"};
    return names[finish];
}

void metallm__wire_answer_clear(struct metallm__wire_answer *a)
{
    *a = (struct metallm__wire_answer){.usage = METALLM__WIRE_USAGE_UNKNOWN};
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
    metallm__buf_fini(&out->path_made);
    *out = (struct metallm__wire_out){0};
}

void metallm__wire_segment_write(struct metallm__buf *out, struct metallm__span text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        char coded[3] = {'%', hex[c >> 4], hex[c & 15]};
        metallm__buf_add(out, is_plain ? &text.p[i] : coded, is_plain ? 1 : 3);
    }
}

void metallm__wire_text_copy(char *out, size_t room, struct metallm__span text)
{
    size_t n = text.n < room ? text.n : room - 1;
    while (n < text.n && n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f ? ' ' : text.p[i];
    out[n] = '\0';
}

void metallm__wire_error_write(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "error");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "message");
    metallm__jw_text(&j, e->message != NULL ? e->message : "");
    metallm__jw_name(&j, "type");
    metallm__jw_text(&j, e->type);
    metallm__jw_name(&j, "param");
    metallm__jw_text(&j, e->param);
    metallm__jw_name(&j, "code");
    metallm__jw_text(&j, e->code);
    metallm__jw_close(&j, '}');
    metallm__jw_close(&j, '}');
}

void metallm__wire_error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    metallm__buf_puts(out, "data: ");
    metallm__wire_error_write(out, e);
    metallm__buf_puts(out, "\n\n");
}
