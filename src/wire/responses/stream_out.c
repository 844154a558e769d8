/* SPDX-License-Identifier: Apache-2.0
 * stream_out.c - a stream told in Responses' events. The protocol repeats each text when
 * it is complete and the whole output at the end: that much is kept, and nothing waits for it. */
#include "base/error.h"
#include "wire/responses/responses.h"

static void begin_event(struct metallm__telling *t, struct metallm__jw *j, const char *type)
{
    metallm__buf_puts(j->out, "event: ");
    metallm__buf_puts(j->out, type);
    metallm__buf_puts(j->out, "\ndata: ");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "type");
    metallm__jw_text(j, type);
    metallm__jw_name(j, "sequence_number");
    metallm__jw_count(j, t->number++);
}

static void end_event(struct metallm__jw *j)
{
    metallm__jw_close(j, '}');
    metallm__buf_puts(j->out, "\n\n");
    j->wants_comma = false;
}

static void put_place(struct metallm__telling *t, struct metallm__jw *j)
{
    metallm__jw_name(j, "item_id");
    metallm__jw_text(j, t->part_id);
    metallm__jw_name(j, "output_index");
    metallm__jw_count(j, t->outputs);
    if (t->open == METALLM__PART_CALL)
        return;
    metallm__jw_name(j, t->open == METALLM__PART_REASONING ? "summary_index" : "content_index");
    metallm__jw_count(j, 0);
}

static void put_response(struct metallm__telling *t, struct metallm__jw *j, const char *type,
                         bool is_done)
{
    struct metallm__responses_frame f = {
        .id = metallm__span_of(t->id),
        .model = metallm__span_of(t->model),
        .wall_s = t->wall_s,
        .request = t->request,
        .finish = t->finish,
        .is_done = is_done,
        .output = is_done ? metallm__span(t->items.data, t->items.len) : metallm__span(NULL, 0),
        .usage = is_done ? &t->usage : NULL,
    };
    begin_event(t, j, type);
    metallm__jw_name(j, "response");
    metallm__responses_frame_write(j, &f);
    end_event(j);
}

/* The part at hand, from what is kept of it. */
static struct metallm__part open_part(const struct metallm__telling *t)
{
    struct metallm__part part = {.kind = t->open,
                                 .text = metallm__span(t->kept.data, t->kept.len),
                                 .seal = metallm__span(t->seal.data, t->seal.len),
                                 .seal_of = t->seal_of};
    if (t->open == METALLM__PART_CALL && t->names.len > 0) {
        part.id = metallm__span_of(t->names.data);
        part.name = metallm__span_of(t->names.data + part.id.n + 1);
        if (part.text.n == 0)
            part.text = metallm__span_of("{}");
    }
    return part;
}

static void put_item(struct metallm__telling *t, struct metallm__jw *j, const char *type,
                     bool is_done)
{
    struct metallm__part part = open_part(t);
    begin_event(t, j, type);
    metallm__jw_name(j, "output_index");
    metallm__jw_count(j, t->outputs);
    metallm__jw_name(j, "item");
    metallm__responses_item_write(j, &part, metallm__span_of(t->part_id), is_done);
    end_event(j);
}

/* "part": of a message or of a summary. */
static void put_part(struct metallm__telling *t, struct metallm__jw *j, const char *type,
                     struct metallm__span text)
{
    begin_event(t, j, type);
    put_place(t, j);
    metallm__jw_name(j, "part");
    if (t->open == METALLM__PART_REASONING) {
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "type");
        metallm__jw_text(j, "summary_text");
        metallm__jw_name(j, "text");
        metallm__jw_span(j, text);
        metallm__jw_close(j, '}');
    } else {
        metallm__responses_content_write(j, t->open, text);
    }
    end_event(j);
}

/* A piece of the part's text, or all of it when it is done. */
static void put_text(struct metallm__telling *t, struct metallm__jw *j, struct metallm__span text,
                     bool is_done)
{
    static const char *const types[METALLM__PART_KINDS][2] = {
        [METALLM__PART_TEXT] = {"response.output_text.delta", "response.output_text.done"},
        [METALLM__PART_REFUSAL] = {"response.refusal.delta", "response.refusal.done"},
        [METALLM__PART_REASONING] = {"response.reasoning_summary_text.delta",
                                     "response.reasoning_summary_text.done"},
        [METALLM__PART_CALL] = {"response.function_call_arguments.delta",
                                "response.function_call_arguments.done"},
    };
    static const char *const names[METALLM__PART_KINDS] = {[METALLM__PART_TEXT] = "text",
                                                           [METALLM__PART_REFUSAL] = "refusal",
                                                           [METALLM__PART_REASONING] = "text",
                                                           [METALLM__PART_CALL] = "arguments"};
    begin_event(t, j, types[t->open][is_done]);
    put_place(t, j);
    metallm__jw_name(j, is_done ? names[t->open] : "delta");
    metallm__jw_span(j, text);
    if (t->open == METALLM__PART_TEXT) {
        metallm__jw_name(j, "logprobs");
        metallm__jw_raw(j, "[]");
    }
    end_event(j);
}

static void keep_name(struct metallm__buf *b, struct metallm__span text)
{
    metallm__buf_add(b, text.p, text.n);
    metallm__buf_add(b, "", 1);
}

static void begin_part(struct metallm__telling *t, const struct metallm__delta *d,
                       struct metallm__jw *j)
{
    char room[METALLM__RESPONSES_ID_BYTES];
    t->open = d->part;
    metallm__buf_clear(&t->kept);
    metallm__buf_clear(&t->seal);
    metallm__buf_clear(&t->names);
    keep_name(&t->names, d->id);
    keep_name(&t->names, d->name);
    struct metallm__span id =
        metallm__responses_item_id(room, d->part, t->outputs, metallm__span_of(t->id));
    memcpy(t->part_id, id.p, id.n);
    t->part_id[id.n] = '\0';
    put_item(t, j, "response.output_item.added", false);
    if (t->open == METALLM__PART_TEXT || t->open == METALLM__PART_REFUSAL)
        put_part(t, j, "response.content_part.added", metallm__span(NULL, 0));
}

static void add_text(struct metallm__telling *t, const struct metallm__delta *d,
                     struct metallm__jw *j)
{
    if (d->text.n == 0)
        return;
    if (t->open == METALLM__PART_REASONING &&
        t->kept.len == 0) /* sealed reasoning has no summary */
        put_part(t, j, "response.reasoning_summary_part.added", metallm__span(NULL, 0));
    metallm__buf_add(&t->kept, d->text.p, d->text.n);
    put_text(t, j, d->text, false);
}

static void end_part(struct metallm__telling *t, struct metallm__jw *j)
{
    struct metallm__part part = open_part(t);
    bool is_message = t->open == METALLM__PART_TEXT || t->open == METALLM__PART_REFUSAL;
    if (is_message || t->open == METALLM__PART_CALL || part.text.n > 0)
        put_text(t, j, part.text, true);
    if (is_message)
        put_part(t, j, "response.content_part.done", part.text);
    else if (t->open == METALLM__PART_REASONING && part.text.n > 0)
        put_part(t, j, "response.reasoning_summary_part.done", part.text);
    put_item(t, j, "response.output_item.done", true);
    struct metallm__jw items = {.out = &t->items, .wants_comma = t->items.len > 0};
    metallm__responses_item_write(&items, &part, metallm__span_of(t->part_id), true);
    t->outputs++;
    t->open = METALLM__PART_KINDS;
}

static void put_start(struct metallm__telling *t, struct metallm__jw *j)
{
    put_response(t, j, "response.created", false);
    put_response(t, j, "response.in_progress", false);
}

static void put_end(struct metallm__telling *t, struct metallm__buf *usage)
{
    struct metallm__jw j = {.out = usage};
    bool is_cut =
        t->finish == METALLM__WIRE_FINISH_LENGTH || t->finish == METALLM__WIRE_FINISH_FILTER;
    put_response(t, &j, is_cut ? "response.incomplete" : "response.completed", true);
}

int metallm__responses_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                 struct metallm__buf *events, struct metallm__buf *usage,
                                 struct metallm__buf *last, metallm_error *err)
{
    struct metallm__jw j = {.out = events};
    (void)last; /* the event with the usage is the last one */
    switch (delta->kind) {
    case METALLM__DELTA_START:
        put_start(t, &j);
        break;
    case METALLM__DELTA_BEGIN:
        begin_part(t, delta, &j);
        break;
    case METALLM__DELTA_TEXT:
        add_text(t, delta, &j);
        break;
    case METALLM__DELTA_SEAL:
        metallm__buf_add(&t->seal, delta->text.p, delta->text.n);
        t->seal_of = delta->seal_of;
        break;
    case METALLM__DELTA_END:
        end_part(t, &j);
        break;
    case METALLM__DELTA_FINISH:
        t->finish = delta->finish;
        put_end(t, usage);
        break;
    default: /* usage is in t->usage; a sign of life has no event here */
        break;
    }
    const struct metallm__buf *bufs[] = {&t->kept, &t->names, &t->seal, &t->items, usage, events};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) {
        int rc = metallm__buf_check(bufs[i], err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* The event "error" that the SDKs raise from. */
void metallm__responses_error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e)
{
    struct metallm__jw j = {.out = out};
    metallm__buf_puts(out, "event: error\ndata: ");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "type");
    metallm__jw_text(&j, "error");
    metallm__jw_name(&j, "sequence_number");
    metallm__jw_count(&j, 0);
    metallm__jw_name(&j, "code");
    metallm__jw_text(&j, e->code != NULL ? e->code : e->type);
    metallm__jw_name(&j, "message");
    metallm__jw_text(&j, e->message);
    metallm__jw_name(&j, "param");
    metallm__jw_text(&j, e->param);
    metallm__jw_close(&j, '}');
    metallm__buf_puts(out, "\n\n");
}
