/* SPDX-License-Identifier: Apache-2.0
 * stream_out.c - deltas as the events of a streamed Message. A block of reasoning is
 * begun with its first word, as only then is known which type it has; its signature is told at its
 * end and in one piece, as the SDKs keep the last one. telling: part is the block's index, outputs
 * the blocks begun, number the refusals. */
#include "base/error.h"
#include "wire/anthropic/anthropic.h"
#include "wire/seal.h"

#define EVENT(name) "event: " name "\ndata: {\"type\":\"" name "\""

/* Behind this the members of an event follow, and then finish_event. */
static struct metallm__jw begin_event(struct metallm__buf *out, const char *head)
{
    metallm__buf_puts(out, head);
    return (struct metallm__jw){.out = out, .wants_comma = true};
}

static void finish_event(struct metallm__jw *j)
{
    metallm__buf_add(j->out, "}\n\n", 3);
}

static void member(struct metallm__jw *j, const char *name, const char *text)
{
    metallm__jw_name(j, name);
    metallm__jw_text(j, text);
}

/* Before the first of all other events, so that it has the counts that came with the start. */
static void tell_start(struct metallm__telling *t, struct metallm__buf *events)
{
    char id[sizeof t->id];
    if (t->is_started)
        return;
    metallm__anthropic_id(metallm__span_of(t->id), t->wall_s, id, sizeof id);
    memcpy(t->id, id, sizeof id);
    t->is_started = true;
    struct metallm__jw j = begin_event(events, EVENT("message_start"));
    metallm__jw_name(&j, "message");
    metallm__jw_open(&j, '{');
    member(&j, "id", t->id);
    member(&j, "type", "message");
    member(&j, "role", "assistant");
    member(&j, "model", t->model);
    metallm__jw_name(&j, "content");
    metallm__jw_raw(&j, "[]");
    member(&j, "stop_reason", NULL);
    member(&j, "stop_sequence", NULL);
    metallm__jw_name(&j, "usage");
    metallm__anthropic_usage_out(&j, &t->usage);
    metallm__jw_close(&j, '}');
    finish_event(&j);
}

/* content_block_start; the caller writes the block's other members and closes it and the event. */
static struct metallm__jw begin_block(struct metallm__telling *t, struct metallm__buf *events,
                                      const char *type)
{
    struct metallm__jw j = begin_event(events, EVENT("content_block_start"));
    t->outputs = t->part + 1;
    metallm__jw_name(&j, "index");
    metallm__jw_count(&j, t->part);
    metallm__jw_name(&j, "content_block");
    metallm__jw_open(&j, '{');
    member(&j, "type", type);
    return j;
}

static void finish_block(struct metallm__jw *j)
{
    metallm__jw_close(j, '}');
    finish_event(j);
}

static void begin_thinking(struct metallm__telling *t, struct metallm__buf *events)
{
    struct metallm__jw j = begin_block(t, events, "thinking");
    member(&j, "thinking", "");
    member(&j, "signature", "");
    finish_block(&j);
}

static void tell_begin(struct metallm__telling *t, const struct metallm__delta *d,
                       struct metallm__buf *events)
{
    t->open = d->part;
    t->calls += d->part == METALLM__PART_CALL;
    t->number += d->part == METALLM__PART_REFUSAL;
    metallm__buf_clear(&t->seal);
    t->seal_of = metallm__span(NULL, 0);
    if (d->part == METALLM__PART_REASONING)
        return;
    struct metallm__jw j =
        begin_block(t, events, d->part == METALLM__PART_CALL ? "tool_use" : "text");
    if (d->part == METALLM__PART_CALL) {
        metallm__jw_name(&j, "id");
        metallm__anthropic_call_id(&j, d->id);
        metallm__jw_name(&j, "name");
        metallm__jw_span(&j, d->name);
        metallm__jw_name(&j, "input");
        metallm__jw_raw(&j, "{}");
    } else {
        member(&j, "text", "");
    }
    finish_block(&j);
}

/* content_block_delta up to the delta's text; finish_block ends it. */
static struct metallm__jw begin_delta(const struct metallm__telling *t, struct metallm__buf *events,
                                      const char *rest)
{
    struct metallm__jw j = begin_event(events, EVENT("content_block_delta"));
    metallm__jw_name(&j, "index");
    metallm__jw_count(&j, t->part);
    metallm__buf_puts(events, rest);
    j.wants_comma = false;
    return j;
}

static void tell_text(struct metallm__telling *t, const struct metallm__delta *d,
                      struct metallm__buf *events)
{
    const char *rest = ",\"delta\":{\"type\":\"text_delta\",\"text\":";
    if (d->text.n == 0)
        return;
    if (t->open == METALLM__PART_REASONING) {
        rest = ",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":";
        if (t->outputs == t->part)
            begin_thinking(t, events);
    } else if (t->open == METALLM__PART_CALL) {
        rest = ",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":";
    }
    struct metallm__jw j = begin_delta(t, events, rest);
    metallm__jw_span(&j, d->text);
    finish_block(&j);
}

static void tell_seal(struct metallm__telling *t, struct metallm__buf *events)
{
    struct metallm__span seal = metallm__span(t->seal.data, t->seal.len);
    bool is_begun = t->outputs > t->part;
    if (!is_begun && !metallm__span_is(t->seal_of, METALLM__ANTHROPIC_SEAL)) {
        struct metallm__jw j = begin_block(t, events, "redacted_thinking");
        metallm__jw_name(&j, "data");
        metallm__seal_write(&j, seal, t->seal_of, METALLM__ANTHROPIC_REDACTED);
        finish_block(&j);
        return;
    }
    if (!is_begun)
        begin_thinking(t, events);
    struct metallm__jw j =
        begin_delta(t, events, ",\"delta\":{\"type\":\"signature_delta\",\"signature\":");
    metallm__seal_write(&j, seal, t->seal_of, METALLM__ANTHROPIC_SEAL);
    finish_block(&j);
}

static void tell_end(struct metallm__telling *t, struct metallm__buf *events)
{
    if (t->open == METALLM__PART_REASONING && t->seal.len > 0)
        tell_seal(t, events);
    t->open = METALLM__PART_KINDS;
    if (t->outputs == t->part) /* nothing was told of it */
        return;
    struct metallm__jw j = begin_event(events, EVENT("content_block_stop"));
    metallm__jw_name(&j, "index");
    metallm__jw_count(&j, t->part);
    finish_event(&j);
    t->part++;
}

static void tell_finish(struct metallm__telling *t, const struct metallm__delta *d,
                        struct metallm__buf *usage, struct metallm__buf *last)
{
    struct metallm__jw j = begin_event(usage, EVENT("message_delta"));
    bool has_stop = d->finish == METALLM__WIRE_FINISH_SEQUENCE && d->stop.n > 0;
    t->finish = d->finish;
    metallm__jw_name(&j, "delta");
    metallm__jw_open(&j, '{');
    member(&j, "stop_reason",
           metallm__anthropic_stop_reason(d->finish, t->calls > 0, t->number > 0));
    metallm__jw_name(&j, "stop_sequence");
    if (has_stop)
        metallm__jw_span(&j, d->stop);
    else
        metallm__jw_text(&j, NULL);
    metallm__jw_close(&j, '}');
    metallm__jw_name(&j, "usage");
    metallm__anthropic_usage_out(&j, &t->usage);
    finish_event(&j);
    struct metallm__jw stop = begin_event(last, EVENT("message_stop"));
    finish_event(&stop);
}

int metallm__anthropic_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                 struct metallm__buf *events, struct metallm__buf *usage,
                                 struct metallm__buf *last, metallm_error *err)
{
    if (delta->kind != METALLM__DELTA_START)
        tell_start(t, events);
    switch (delta->kind) {
    case METALLM__DELTA_BEGIN:
        tell_begin(t, delta, events);
        break;
    case METALLM__DELTA_TEXT:
        tell_text(t, delta, events);
        break;
    case METALLM__DELTA_SEAL:
        metallm__buf_add(&t->seal, delta->text.p, delta->text.n);
        t->seal_of = delta->seal_of;
        return metallm__buf_check(&t->seal, err);
    case METALLM__DELTA_END:
        tell_end(t, events);
        break;
    case METALLM__DELTA_FINISH:
        tell_finish(t, delta, usage, last);
        break;
    case METALLM__DELTA_PING:
        metallm__buf_puts(events, EVENT("ping") "}\n\n");
        break;
    case METALLM__DELTA_START:
    case METALLM__DELTA_USAGE: /* t->id, t->model and t->usage have it */
        break;
    }
    return METALLM_OK;
}
