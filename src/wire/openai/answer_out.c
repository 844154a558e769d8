/* SPDX-License-Identifier: Apache-2.0
 * answer_out.c - a whole answer as a chat completion. What the LLM thought stands in
 * reasoning_content, as text. Where it has a seal, reasoning_details has an object for each piece,
 * with text, signature, and tool_call: the number of the call that it stands before, where texts or
 * calls stand before it. A client that gives the message back gives it back, too. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/seal.h"

const char *metallm__openai_finish_out(enum metallm__wire_finish finish, bool has_calls)
{
    if (finish == METALLM__WIRE_FINISH_LENGTH)
        return "length";
    if (finish == METALLM__WIRE_FINISH_FILTER)
        return "content_filter";
    return has_calls ? "tool_calls" : "stop";
}

static void put_count(struct metallm__jw *j, const char *name, int64_t count)
{
    if (count < 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_count(j, (uint64_t)count);
}

void metallm__openai_usage_out(struct metallm__jw *j, const struct metallm__wire_usage *u)
{
    if (u->input_tokens < 0 || u->output_tokens < 0)
        return;
    metallm__jw_name(j, "usage");
    metallm__jw_open(j, '{');
    put_count(j, "prompt_tokens", u->input_tokens);
    put_count(j, "completion_tokens", u->output_tokens);
    put_count(j, "total_tokens", u->input_tokens + u->output_tokens);
    if (u->cached_tokens >= 0 || u->written_tokens >= 0) {
        metallm__jw_name(j, "prompt_tokens_details");
        metallm__jw_open(j, '{');
        put_count(j, "cached_tokens", u->cached_tokens);
        put_count(j, "cache_write_tokens", u->written_tokens);
        metallm__jw_close(j, '}');
    }
    if (u->reasoning_tokens >= 0) {
        metallm__jw_name(j, "completion_tokens_details");
        metallm__jw_open(j, '{');
        put_count(j, "reasoning_tokens", u->reasoning_tokens);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, '}');
}

void metallm__openai_id_out(struct metallm__jw *j, const char *prefix, struct metallm__span id)
{
    size_t n = strlen(prefix);
    bool has_prefix = id.n >= n && memcmp(id.p, prefix, n) == 0;
    metallm__jw_name(j, "id");
    metallm__buf_add(j->out, "\"", 1);
    metallm__buf_add(j->out, prefix, has_prefix ? 0 : n);
    metallm__json_escaped(j->out, id.p, id.n);
    metallm__buf_add(j->out, "\"", 1);
    j->wants_comma = true;
}

static bool has_kind(const struct metallm__said *said, enum metallm__part_kind kind)
{
    for (size_t i = 0; i < said->part_count; i++)
        if (said->parts[i].kind == kind)
            return true;
    return false;
}

/* All texts of one kind as one string. */
static void put_joined(struct metallm__jw *j, const char *name, const struct metallm__said *said,
                       enum metallm__part_kind kind)
{
    metallm__jw_name(j, name);
    metallm__buf_add(j->out, "\"", 1);
    for (size_t i = 0; i < said->part_count; i++)
        if (said->parts[i].kind == kind)
            metallm__json_escaped(j->out, said->parts[i].text.p, said->parts[i].text.n);
    metallm__buf_add(j->out, "\"", 1);
    j->wants_comma = true;
}

static void put_details(struct metallm__jw *j, const struct metallm__said *said)
{
    bool is_behind = false; /* a text or a call */
    size_t calls = 0;
    metallm__jw_name(j, "reasoning_details");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < said->part_count; i++) {
        const struct metallm__part *p = &said->parts[i];
        calls += p->kind == METALLM__PART_CALL;
        is_behind |= p->kind != METALLM__PART_REASONING;
        if (p->kind != METALLM__PART_REASONING)
            continue;
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "text");
        metallm__jw_span(j, p->text);
        if (p->seal.n > 0) {
            metallm__jw_name(j, "signature");
            metallm__seal_write(j, p->seal, p->seal_of, "openai");
        }
        if (is_behind) {
            metallm__jw_name(j, "tool_call");
            metallm__jw_count(j, calls);
        }
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void put_reasoning(struct metallm__jw *j, const struct metallm__said *said)
{
    bool has_text = false, has_seal = false;
    for (size_t i = 0; i < said->part_count; i++)
        if (said->parts[i].kind == METALLM__PART_REASONING) {
            has_text |= said->parts[i].text.n > 0;
            has_seal |= said->parts[i].seal.n > 0;
        }
    if (has_text)
        put_joined(j, "reasoning_content", said, METALLM__PART_REASONING);
    if (has_seal)
        put_details(j, said);
}

static void put_calls(struct metallm__jw *j, const struct metallm__said *said)
{
    metallm__jw_name(j, "tool_calls");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < said->part_count; i++) {
        const struct metallm__part *p = &said->parts[i];
        if (p->kind != METALLM__PART_CALL)
            continue;
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "id");
        metallm__jw_span(j, p->id);
        metallm__jw_name(j, "type");
        metallm__jw_text(j, "function");
        metallm__jw_name(j, "function");
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "name");
        metallm__jw_span(j, p->name);
        metallm__jw_name(j, "arguments");
        metallm__jw_span(j, p->text);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void put_message(struct metallm__jw *j, const struct metallm__said *said)
{
    bool has_calls = has_kind(said, METALLM__PART_CALL);
    bool has_refusal = has_kind(said, METALLM__PART_REFUSAL);
    metallm__jw_name(j, "message");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "role");
    metallm__jw_text(j, "assistant");
    if (has_kind(said, METALLM__PART_TEXT) || (!has_calls && !has_refusal))
        put_joined(j, "content", said, METALLM__PART_TEXT);
    else
        metallm__jw_name(j, "content"), metallm__jw_text(j, NULL);
    if (has_refusal)
        put_joined(j, "refusal", said, METALLM__PART_REFUSAL);
    else
        metallm__jw_name(j, "refusal"), metallm__jw_text(j, NULL);
    put_reasoning(j, said);
    if (has_calls)
        put_calls(j, said);
    metallm__jw_close(j, '}');
}

int metallm__openai_said_out(const struct metallm__said *said,
                             const struct metallm__wire_request *request,
                             struct metallm__span model, int64_t wall_s, struct metallm__buf *out,
                             metallm_error *err)
{
    struct metallm__jw j = {.out = out};
    (void)request;
    metallm__jw_open(&j, '{');
    metallm__openai_id_out(&j, "chatcmpl-", said->id);
    metallm__jw_name(&j, "object");
    metallm__jw_text(&j, "chat.completion");
    metallm__jw_name(&j, "created");
    metallm__jw_integer(&j, wall_s);
    metallm__jw_name(&j, "model");
    metallm__jw_span(&j, model);
    metallm__jw_name(&j, "choices");
    metallm__jw_open(&j, '[');
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "index");
    metallm__jw_count(&j, 0);
    put_message(&j, said);
    metallm__jw_name(&j, "logprobs");
    if (said->logprobs.n > 0)
        metallm__jw_json(&j, said->logprobs);
    else
        metallm__jw_text(&j, NULL);
    metallm__jw_name(&j, "finish_reason");
    metallm__jw_text(&j,
                     metallm__openai_finish_out(said->finish, has_kind(said, METALLM__PART_CALL)));
    metallm__jw_close(&j, '}');
    metallm__jw_close(&j, ']');
    metallm__openai_usage_out(&j, &said->usage);
    metallm__jw_close(&j, '}');
    return metallm__buf_check(out, err);
}
