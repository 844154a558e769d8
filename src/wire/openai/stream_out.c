/* SPDX-License-Identifier: Apache-2.0
 * stream_out.c - deltas as chunks of a chat completion or a completion. What all chunks
 * begin with is written once, into t->items; t->kept holds the text of the reasoning at hand,
 * t->part tells whether a text or a call has begun. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/seal.h"

/* ---- Chunks. ---- */

/* {"id":..,"object":..,"created":..,"model":.. and no more. */
static void write_head(struct metallm__telling *t, const char *prefix, const char *object)
{
    struct metallm__jw j = {.out = &t->items};
    if (t->items.len > 0)
        return;
    metallm__jw_open(&j, '{');
    metallm__openai_id_out(&j, prefix, metallm__span_of(t->id));
    metallm__jw_name(&j, "object");
    metallm__jw_text(&j, object);
    metallm__jw_name(&j, "created");
    metallm__jw_integer(&j, t->wall_s);
    metallm__jw_name(&j, "model");
    metallm__jw_text(&j, t->model);
}

static struct metallm__jw begin_event(const struct metallm__telling *t, struct metallm__buf *out)
{
    metallm__buf_puts(out, "data: ");
    metallm__buf_add(out, t->items.data, t->items.len);
    return (struct metallm__jw){.out = out, .wants_comma = true};
}

/* The members of choices[0] follow. */
static struct metallm__jw begin_chunk(const struct metallm__telling *t, struct metallm__buf *out)
{
    struct metallm__jw j = begin_event(t, out);
    metallm__buf_puts(out, ",\"choices\":[{\"index\":0");
    return j;
}

static void end_chunk(const struct metallm__telling *t, struct metallm__buf *out,
                      const char *finish)
{
    metallm__buf_puts(out, ",\"logprobs\":null,\"finish_reason\":");
    if (finish != NULL)
        metallm__json_string(out, finish, strlen(finish));
    else
        metallm__buf_puts(out, "null");
    metallm__buf_puts(out, t->request->wants_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

/* A chunk whose delta has one member with a text. */
static void put_text(const struct metallm__telling *t, struct metallm__buf *out, const char *member,
                     struct metallm__span text)
{
    (void)begin_chunk(t, out);
    metallm__buf_puts(out, ",\"delta\":{\"");
    metallm__buf_puts(out, member);
    metallm__buf_puts(out, "\":");
    metallm__json_string(out, text.p, text.n);
    metallm__buf_puts(out, "}");
    end_chunk(t, out, NULL);
}

/* ---- Tool calls and reasoning. ---- */

static struct metallm__jw begin_call(const struct metallm__telling *t, struct metallm__buf *out)
{
    struct metallm__jw j = begin_chunk(t, out);
    metallm__buf_puts(out, ",\"delta\":{\"tool_calls\":[{\"index\":");
    j.wants_comma = false;
    metallm__jw_count(&j, t->calls > 0 ? t->calls - 1 : 0);
    return j;
}

static void put_call(const struct metallm__telling *t, struct metallm__buf *out,
                     const struct metallm__delta *d)
{
    struct metallm__jw j = begin_call(t, out);
    metallm__jw_name(&j, "id");
    metallm__jw_span(&j, d->id);
    metallm__buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    metallm__json_string(out, d->name.p, d->name.n);
    metallm__buf_puts(out, ",\"arguments\":\"\"}}]}");
    end_chunk(t, out, NULL);
}

static void put_arguments(const struct metallm__telling *t, struct metallm__buf *out,
                          struct metallm__span text)
{
    (void)begin_call(t, out);
    metallm__buf_puts(out, ",\"function\":{\"arguments\":");
    metallm__json_string(out, text.p, text.n);
    metallm__buf_puts(out, "}}]}");
    end_chunk(t, out, NULL);
}

/* A sealed piece of reasoning once more, whole, as answer_out.c tells it. */
static void put_detail(struct metallm__telling *t, struct metallm__buf *out)
{
    if (t->seal.len > 0) {
        struct metallm__jw j = begin_chunk(t, out);
        metallm__buf_puts(out, ",\"delta\":{\"reasoning_details\":[{\"index\":");
        j.wants_comma = false;
        metallm__jw_count(&j, t->outputs++);
        metallm__jw_name(&j, "text");
        metallm__jw_bytes(&j, t->kept.data, t->kept.len);
        metallm__jw_name(&j, "signature");
        metallm__seal_write(&j, metallm__span(t->seal.data, t->seal.len), t->seal_of, "openai");
        if (t->part > 0) {
            metallm__jw_name(&j, "tool_call");
            metallm__jw_count(&j, t->calls);
        }
        metallm__buf_puts(out, "}]}");
        end_chunk(t, out, NULL);
    }
    metallm__buf_clear(&t->kept);
    metallm__buf_clear(&t->seal);
}

/* ---- The end. ---- */

static void put_usage(const struct metallm__telling *t, struct metallm__buf *out)
{
    if (!t->request->wants_usage || t->usage.input_tokens < 0 || t->usage.output_tokens < 0)
        return;
    struct metallm__jw j = begin_event(t, out);
    metallm__buf_puts(out, ",\"choices\":[]");
    metallm__openai_usage_out(&j, &t->usage);
    metallm__buf_puts(out, "}\n\n");
}

static int all_checked(struct metallm__telling *t, struct metallm__buf *events, metallm_error *err)
{
    int rc = metallm__buf_check(&t->items, err);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&t->kept, err);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&t->seal, err);
    return rc == METALLM_OK ? metallm__buf_check(events, err) : rc;
}

/* ---- Chats. ---- */

static void tell_text(struct metallm__telling *t, const struct metallm__delta *d,
                      struct metallm__buf *events)
{
    switch (d->part) {
    case METALLM__PART_TEXT:
        put_text(t, events, "content", d->text);
        break;
    case METALLM__PART_REFUSAL:
        put_text(t, events, "refusal", d->text);
        break;
    case METALLM__PART_REASONING:
        metallm__buf_add(&t->kept, d->text.p, d->text.n);
        put_text(t, events, "reasoning_content", d->text);
        break;
    case METALLM__PART_CALL:
        put_arguments(t, events, d->text);
        break;
    default: /* an LLM tells nothing else */
        break;
    }
}

static void tell_begin(struct metallm__telling *t, const struct metallm__delta *d,
                       struct metallm__buf *events)
{
    t->part += d->part != METALLM__PART_REASONING;
    if (d->part != METALLM__PART_CALL)
        return;
    t->calls++;
    put_call(t, events, d);
}

int metallm__openai_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                              struct metallm__buf *events, struct metallm__buf *usage,
                              struct metallm__buf *last, metallm_error *err)
{
    write_head(t, "chatcmpl-", "chat.completion.chunk");
    switch (delta->kind) {
    case METALLM__DELTA_START:
        (void)begin_chunk(t, events);
        metallm__buf_puts(events,
                          ",\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
        end_chunk(t, events, NULL);
        break;
    case METALLM__DELTA_BEGIN:
        tell_begin(t, delta, events);
        break;
    case METALLM__DELTA_TEXT:
        tell_text(t, delta, events);
        break;
    case METALLM__DELTA_SEAL:
        metallm__buf_add(&t->seal, delta->text.p, delta->text.n);
        t->seal_of = delta->seal_of;
        break;
    case METALLM__DELTA_END:
        if (delta->part == METALLM__PART_REASONING)
            put_detail(t, events);
        break;
    case METALLM__DELTA_FINISH:
        (void)begin_chunk(t, events);
        metallm__buf_puts(events, ",\"delta\":{}");
        end_chunk(t, events, metallm__openai_finish_out(delta->finish, t->calls > 0));
        put_usage(t, usage);
        metallm__buf_puts(last, "data: [DONE]\n\n");
        break;
    case METALLM__DELTA_PING:
        metallm__buf_puts(events, ": ping\n\n");
        break;
    case METALLM__DELTA_USAGE: /* told at the end */
        break;
    }
    return all_checked(t, events, err);
}

/* ---- Completions: text alone. ---- */

int metallm__completion_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                  struct metallm__buf *events, struct metallm__buf *usage,
                                  struct metallm__buf *last, metallm_error *err)
{
    write_head(t, "cmpl-", "text_completion");
    if (delta->kind == METALLM__DELTA_TEXT &&
        (delta->part == METALLM__PART_TEXT || delta->part == METALLM__PART_REFUSAL)) {
        (void)begin_chunk(t, events);
        metallm__buf_puts(events, ",\"text\":");
        metallm__json_string(events, delta->text.p, delta->text.n);
        end_chunk(t, events, NULL);
    } else if (delta->kind == METALLM__DELTA_FINISH) {
        (void)begin_chunk(t, events);
        metallm__buf_puts(events, ",\"text\":\"\"");
        end_chunk(t, events, metallm__openai_finish_out(delta->finish, false));
        put_usage(t, usage);
        metallm__buf_puts(last, "data: [DONE]\n\n");
    } else if (delta->kind == METALLM__DELTA_PING) {
        metallm__buf_puts(events, ": ping\n\n");
    }
    return all_checked(t, events, err);
}
