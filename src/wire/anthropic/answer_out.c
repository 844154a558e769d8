/* SPDX-License-Identifier: Apache-2.0
 * answer_out.c - a said as a Message, and errors in Anthropic's shape. */
#include "wire/anthropic/anthropic.h"
#include "wire/seal.h"

void metallm__anthropic_id(struct metallm__span id, int64_t wall_s, char *out, size_t room)
{
    static const char mark[] = "msg_";
    size_t n = sizeof mark - 1;
    bool is_ours = id.n > n && memcmp(id.p, mark, n) == 0;
    memcpy(out, mark, n);
    for (size_t i = is_ours ? n : 0; i < id.n && n + 1 < room; i++) {
        unsigned char c = (unsigned char)id.p[i];
        out[n++] = c > ' ' && c < 127 && c != '"' && c != '\\' ? (char)c : '_';
    }
    out[n] = '\0';
    if (id.n == 0 && room - n >= METALLM__WIRE_MADE_ID_BYTES) /* the upstream told none */
        metallm__wire_id_make(out + n, wall_s);
}

const char *metallm__anthropic_stop_reason(enum metallm__wire_finish finish, bool has_calls,
                                           bool has_refusal)
{
    switch (finish) {
    case METALLM__WIRE_FINISH_LENGTH:
        return "max_tokens";
    case METALLM__WIRE_FINISH_SEQUENCE:
        return "stop_sequence";
    case METALLM__WIRE_FINISH_FILTER:
        return "refusal";
    case METALLM__WIRE_FINISH_TOOLS:
        return "tool_use";
    default:
        return has_refusal ? "refusal" : has_calls ? "tool_use" : "end_turn";
    }
}

static uint64_t known(int64_t count)
{
    return count > 0 ? (uint64_t)count : 0;
}

void metallm__anthropic_usage_out(struct metallm__jw *j, const struct metallm__wire_usage *u)
{
    uint64_t cached = known(u->cached_tokens), written = known(u->written_tokens);
    uint64_t input = known(u->input_tokens);
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "input_tokens");
    metallm__jw_count(j, input > cached + written ? input - cached - written : 0);
    metallm__jw_name(j, "cache_creation_input_tokens");
    metallm__jw_count(j, written);
    metallm__jw_name(j, "cache_read_input_tokens");
    metallm__jw_count(j, cached);
    metallm__jw_name(j, "output_tokens");
    metallm__jw_count(j, known(u->output_tokens));
    if (u->reasoning_tokens >= 0) {
        metallm__jw_name(j, "output_tokens_details");
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "thinking_tokens");
        metallm__jw_count(j, known(u->reasoning_tokens));
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, '}');
}

static void member(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

/* Reasoning without words is redacted, unless it is Anthropic's with its words left out. */
static void write_reasoning(struct metallm__jw *j, const struct metallm__part *p)
{
    if (p->text.n > 0 || metallm__span_is(p->seal_of, METALLM__ANTHROPIC_SEAL)) {
        metallm__jw_raw(j, "{\"type\":\"thinking\"");
        member(j, "thinking", p->text);
        metallm__jw_name(j, "signature");
        if (p->seal.n > 0)
            metallm__seal_write(j, p->seal, p->seal_of, METALLM__ANTHROPIC_SEAL);
        else
            metallm__jw_text(j, "");
    } else {
        metallm__jw_raw(j, "{\"type\":\"redacted_thinking\"");
        metallm__jw_name(j, "data");
        metallm__seal_write(j, p->seal, p->seal_of, METALLM__ANTHROPIC_REDACTED);
    }
    metallm__jw_close(j, '}');
}

static void write_part(struct metallm__jw *j, const struct metallm__part *p)
{
    if (p->kind == METALLM__PART_TEXT || p->kind == METALLM__PART_REFUSAL) {
        metallm__jw_raw(j, "{\"type\":\"text\"");
        member(j, "text", p->text);
        metallm__jw_close(j, '}');
    } else if (p->kind == METALLM__PART_REASONING && (p->text.n > 0 || p->seal.n > 0)) {
        write_reasoning(j, p);
    } else if (p->kind == METALLM__PART_CALL) {
        metallm__jw_raw(j, "{\"type\":\"tool_use\"");
        metallm__jw_name(j, "id");
        metallm__anthropic_call_id(j, p->id);
        member(j, "name", p->name);
        metallm__jw_name(j, "input");
        metallm__jw_json(j, p->text.n > 0 ? p->text : metallm__span_of("{}"));
        metallm__jw_close(j, '}');
    }
}

int metallm__anthropic_said_out(const struct metallm__said *said,
                                const struct metallm__wire_request *request,
                                struct metallm__span model, int64_t wall_s,
                                struct metallm__buf *out, metallm_error *err)
{
    struct metallm__jw j = {.out = out};
    char id[80];
    bool has_calls = false, has_refusal = false;
    (void)request;
    metallm__anthropic_id(said->id, wall_s, id, sizeof id);
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "id");
    metallm__jw_text(&j, id);
    metallm__jw_name(&j, "type");
    metallm__jw_text(&j, "message");
    metallm__jw_name(&j, "role");
    metallm__jw_text(&j, "assistant");
    member(&j, "model", model);
    metallm__jw_name(&j, "content");
    metallm__jw_open(&j, '[');
    for (size_t i = 0; i < said->part_count; i++) {
        has_calls |= said->parts[i].kind == METALLM__PART_CALL;
        has_refusal |= said->parts[i].kind == METALLM__PART_REFUSAL;
        write_part(&j, &said->parts[i]);
    }
    metallm__jw_close(&j, ']');
    metallm__jw_name(&j, "stop_reason");
    metallm__jw_text(&j, metallm__anthropic_stop_reason(said->finish, has_calls, has_refusal));
    metallm__jw_name(&j, "stop_sequence");
    if (said->finish == METALLM__WIRE_FINISH_SEQUENCE && said->stop.n > 0)
        metallm__jw_span(&j, said->stop);
    else
        metallm__jw_text(&j, NULL);
    metallm__jw_name(&j, "usage");
    metallm__anthropic_usage_out(&j, &said->usage);
    metallm__jw_close(&j, '}');
    return metallm__buf_check(out, err);
}

/* ---- Errors. ---- */

static const char *error_type(int status)
{
    static const struct {
        int status;
        const char *type;
    } types[] = {
        {401, "authentication_error"}, {402, "billing_error"},    {403, "permission_error"},
        {404, "not_found_error"},      {409, "conflict_error"},   {413, "request_too_large"},
        {429, "rate_limit_error"},     {503, "overloaded_error"}, {504, "timeout_error"},
        {529, "overloaded_error"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status)
            return types[i].type;
    return status >= 400 && status < 500 ? "invalid_request_error" : "api_error";
}

static void error_out(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_raw(&j, "{\"type\":\"error\"");
    metallm__jw_name(&j, "error");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "type");
    metallm__jw_text(&j, error_type(e->status));
    metallm__jw_name(&j, "message");
    metallm__jw_text(&j, e->message != NULL ? e->message : "");
    metallm__jw_close(&j, '}');
    metallm__jw_close(&j, '}');
}

static void error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    metallm__buf_puts(out, "event: error\ndata: ");
    error_out(out, e);
    metallm__buf_puts(out, "\n\n");
}

const struct metallm__surface metallm__surface_messages = {
    .name = "messages",
    .talk_in = metallm__anthropic_talk_in,
    .said_out = metallm__anthropic_said_out,
    .delta_out = metallm__anthropic_delta_out,
    .error_out = error_out,
    .error_event = error_event,
};
