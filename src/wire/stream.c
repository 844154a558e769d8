/* SPDX-License-Identifier: Apache-2.0
 * stream.c - a streamed answer on its way to the client. Native: raw events pass, and are looked at
 * for what they tell. Translated: an event becomes deltas, and these the surface's events. Bytes go
 * on at the end of each feed; the usage and the end when the stream is complete. */
#include "wire/stream.h"

#include "base/error.h"

#define EVENT_POOL_BYTES_MAX (32 * METALLM__SSE_EVENT_BYTES_MAX)
#define TOLD_BYTES_MAX       (16 * METALLM__SSE_EVENT_BYTES_MAX)
#define TOLD_BYTES_ENOUGH    ((size_t)64 << 10) /* what is handed on before the feed ends */

/* ---- Raw events. ---- */

int metallm__stream_flush(struct metallm__wire_stream *s)
{
    struct metallm__span run = s->run;
    s->run = (struct metallm__span){NULL, 0};
    return run.n > 0 ? s->sink(s->payload, METALLM__WIRE_PIECE_EVENTS, run) : METALLM_OK;
}

int metallm__stream_pass(struct metallm__wire_stream *s, struct metallm__span raw)
{
    int rc = METALLM_OK;
    if (s->run.n > 0 && s->run.p + s->run.n != raw.p)
        rc = metallm__stream_flush(s);
    s->run = metallm__span(s->run.n > 0 ? s->run.p : raw.p, s->run.n + raw.n);
    return rc;
}

int metallm__stream_pass_alone(struct metallm__wire_stream *s, enum metallm__wire_piece_kind kind,
                               struct metallm__span raw)
{
    int rc = metallm__stream_flush(s);
    return rc == METALLM_OK ? s->sink(s->payload, kind, raw) : rc;
}

/* ---- Deltas. ---- */

/* What a delta tells of the answer. */
static void learn(struct metallm__wire_stream *s, const struct metallm__delta *d)
{
    struct metallm__wire_answer *a = &s->answer;
    if (d->kind == METALLM__DELTA_START) {
        metallm__wire_text_copy(a->id, sizeof a->id, d->id);
        metallm__wire_text_copy(a->model, sizeof a->model, d->model);
    } else if (d->kind == METALLM__DELTA_USAGE) {
        metallm__wire_usage_merge(&a->usage, &d->usage);
        s->has_usage = true;
    } else if (d->kind == METALLM__DELTA_FINISH) {
        a->finish = d->finish;
    } else if (d->kind == METALLM__DELTA_TEXT) {
        a->text_units += metallm__token_units(d->text);
    } else if (d->kind == METALLM__DELTA_BEGIN) {
        a->text_units += metallm__token_units(d->name);
    }
}

/* As the client's surface tells it. */
static int tell(struct metallm__wire_stream *s, const struct metallm__delta *d)
{
    int rc = metallm__surface_of(s->request->kind)
                 ->delta_out(&s->telling, d, &s->events, &s->usage_event, &s->last, s->err);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&s->events, s->err);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&s->usage_event, s->err);
    return rc == METALLM_OK ? metallm__buf_check(&s->last, s->err) : rc;
}

static int take_delta(void *payload, const struct metallm__delta *d)
{
    struct metallm__wire_stream *s = payload;
    struct metallm__telling *t = &s->telling;
    learn(s, d);
    if (!s->is_translated)
        return METALLM_OK;
    s->has_begun |= d->kind != METALLM__DELTA_START && d->kind != METALLM__DELTA_USAGE;
    if (d->kind == METALLM__DELTA_FINISH) { /* usage may still follow */
        t->finish = d->finish;
        s->has_finish = true;
        metallm__buf_add(&s->stop, d->stop.p, d->stop.n);
        return metallm__buf_check(&s->stop, s->err);
    }
    if (d->kind == METALLM__DELTA_START) {
        if (d->id.n > 0)
            metallm__wire_text_copy(t->id, sizeof t->id, d->id);
        else
            metallm__wire_id_make(t->id, t->wall_s);
        if (d->model.n > 0)
            metallm__wire_text_copy(t->model, sizeof t->model, d->model);
    } else if (d->kind == METALLM__DELTA_USAGE) {
        metallm__wire_usage_merge(&t->usage, &d->usage);
    }
    return tell(s, d);
}

static int hand_on(struct metallm__wire_stream *s, enum metallm__wire_piece_kind kind,
                   struct metallm__buf *b)
{
    if (b->len == 0 || !s->has_begun)
        return METALLM_OK;
    int rc = s->sink(s->payload, kind, metallm__span(b->data, b->len));
    metallm__buf_clear(b);
    return rc;
}

/* The stream is complete: FINISH, and what was kept for the end. */
static int complete(struct metallm__wire_stream *s)
{
    const struct metallm__delta finish = {.kind = METALLM__DELTA_FINISH,
                                          .finish = s->telling.finish,
                                          .stop = metallm__span(s->stop.data, s->stop.len)};
    s->is_done = true;
    int rc = tell(s, &finish);
    if (rc == METALLM_OK)
        rc = hand_on(s, METALLM__WIRE_PIECE_EVENTS, &s->events);
    if (rc == METALLM_OK)
        rc = hand_on(s, METALLM__WIRE_PIECE_USAGE, &s->usage_event);
    return rc == METALLM_OK ? hand_on(s, METALLM__WIRE_PIECE_DONE, &s->last) : rc;
}

static int hear(struct metallm__wire_stream *s, const struct metallm__wire_event *event,
                bool *is_end)
{
    int rc = s->wire->event_in(&s->hearing, event, is_end);
    metallm__pool_clear(&s->hearing.pool);
    return rc;
}

/* An event of an upstream that speaks the client's protocol, by its reader of deltas. */
static int pass_heard(struct metallm__wire_stream *s, const struct metallm__sse_event *e)
{
    const struct metallm__wire_event event = {.name = e->name, .data = e->data};
    bool is_end = false;
    s->has_usage = false;
    int rc = hear(s, &event, &is_end);
    if (rc != METALLM_OK)
        return rc;
    bool is_last = s->has_usage && s->hearing.finish != METALLM__WIRE_FINISH_NONE;
    s->is_done |= is_end;
    if (is_last)
        return metallm__stream_pass_alone(s, METALLM__WIRE_PIECE_USAGE, e->raw);
    return is_end ? metallm__stream_pass_alone(s, METALLM__WIRE_PIECE_DONE, e->raw)
                  : metallm__stream_pass(s, e->raw);
}

static int pass_event(struct metallm__wire_stream *s, const struct metallm__sse_event *e)
{
    if (!e->has_data || s->is_done)
        return metallm__stream_pass(s, e->raw);
    if (s->wire->raw_event_in == NULL)
        return pass_heard(s, e);
    int rc = s->wire->raw_event_in(s, e);
    metallm__pool_clear(&s->hearing.pool);
    return rc;
}

static int translate_event(struct metallm__wire_stream *s, const struct metallm__wire_event *event)
{
    bool is_end = false;
    if (s->is_done)
        return METALLM_OK;
    int rc = hear(s, event, &is_end);
    if (rc == METALLM_OK && is_end)
        rc = s->has_finish ? complete(s)
                           : metallm__error_set(s->err, METALLM_EFORMAT,
                                                "the stream ended before its answer did");
    if (rc == METALLM_OK && s->events.len >= TOLD_BYTES_ENOUGH)
        rc = hand_on(s, METALLM__WIRE_PIECE_EVENTS, &s->events);
    return rc;
}

/* A sign of life of an upstream that is still thinking. */
static int translate_comment(struct metallm__wire_stream *s)
{
    const struct metallm__delta ping = {.kind = METALLM__DELTA_PING};
    return s->hearing.is_started && !s->is_done ? take_delta(s, &ping) : METALLM_OK;
}

/* What was told before a bad event goes on all the same. */
static int end_feed(struct metallm__wire_stream *s)
{
    return s->is_translated ? hand_on(s, METALLM__WIRE_PIECE_EVENTS, &s->events)
                            : metallm__stream_flush(s);
}

static int take_sse(void *payload, const struct metallm__sse_event *e)
{
    struct metallm__wire_stream *s = payload;
    int rc = METALLM_OK;
    if (e != NULL && !s->is_translated) {
        rc = pass_event(s, e);
    } else if (e != NULL && e->has_data) {
        const struct metallm__wire_event event = {.name = e->name, .data = e->data};
        rc = translate_event(s, &event);
    } else if (e != NULL) {
        rc = translate_comment(s);
    }
    int flushed = e == NULL || rc == METALLM_EFORMAT ? end_feed(s) : METALLM_OK;
    return rc != METALLM_OK ? rc : flushed;
}

static int take_aws(void *payload, const struct metallm__aws_event *e)
{
    struct metallm__wire_stream *s = payload;
    const struct metallm__wire_event event = {
        .name = e->name,
        .data = e->payload.n > 0 ? e->payload : e->message,
        .is_error = !metallm__span_is(e->type, "event"),
    };
    int rc = translate_event(s, &event);
    int flushed = rc == METALLM_EFORMAT ? end_feed(s) : METALLM_OK;
    return rc != METALLM_OK ? rc : flushed;
}

/* ---- The header's functions. ---- */

void metallm__wire_stream_init(struct metallm__wire_stream *s, const struct metallm__wire *wire,
                               const struct metallm__wire_request *r,
                               const struct metallm__wire_out *out, int64_t wall_s)
{
    *s = (struct metallm__wire_stream){
        .wire = out->is_translated ? wire : metallm__wire_native(wire, r->kind),
        .request = r,
        .is_usage_dropped = out->is_usage_dropped,
        .is_translated = out->is_translated};
    metallm__wire_answer_clear(&s->answer);
    metallm__sse_init(&s->sse, METALLM__SSE_EVENT_BYTES_MAX);
    metallm__aws_events_init(&s->aws);
    metallm__buf_init(&s->events, TOLD_BYTES_MAX);
    metallm__buf_init(&s->usage_event, TOLD_BYTES_MAX);
    metallm__buf_init(&s->last, TOLD_BYTES_MAX);
    s->telling = (struct metallm__telling){.request = r,
                                           .wall_s = wall_s,
                                           .open = METALLM__PART_KINDS,
                                           .usage = METALLM__WIRE_USAGE_UNKNOWN};
    metallm__buf_init(&s->stop, TOLD_BYTES_MAX);
    metallm__buf_init(&s->telling.kept, METALLM__WIRE_BODY_BYTES_MAX);
    metallm__buf_init(&s->telling.names, METALLM__WIRE_BODY_BYTES_MAX);
    metallm__buf_init(&s->telling.seal, METALLM__WIRE_BODY_BYTES_MAX);
    metallm__buf_init(&s->telling.items, METALLM__WIRE_BODY_BYTES_MAX);
    metallm__wire_text_copy(s->telling.model, sizeof s->telling.model, r->model);
    s->hearing = (struct metallm__hearing){
        .usage = METALLM__WIRE_USAGE_UNKNOWN, .sink = take_delta, .payload = s};
    metallm__pool_init(&s->hearing.pool, EVENT_POOL_BYTES_MAX);
}

void metallm__wire_stream_fini(struct metallm__wire_stream *s)
{
    metallm__sse_fini(&s->sse);
    metallm__aws_events_fini(&s->aws);
    metallm__buf_fini(&s->events);
    metallm__buf_fini(&s->usage_event);
    metallm__buf_fini(&s->last);
    metallm__buf_fini(&s->stop);
    metallm__buf_fini(&s->telling.kept);
    metallm__buf_fini(&s->telling.names);
    metallm__buf_fini(&s->telling.seal);
    metallm__buf_fini(&s->telling.items);
    metallm__pool_fini(&s->hearing.pool);
}

int metallm__wire_stream_feed(struct metallm__wire_stream *s, struct metallm__span in,
                              metallm__wire_sink sink, void *payload, metallm_error *err)
{
    s->sink = sink;
    s->payload = payload;
    s->err = s->hearing.err = err;
    if (s->wire->framing != METALLM__FRAMING_AWS)
        return metallm__sse_feed(&s->sse, in, take_sse, s, err);
    int rc = metallm__aws_events_feed(&s->aws, in, take_aws, s, err);
    return rc == METALLM_OK ? end_feed(s) : rc;
}

/* A part of a whole answer. */
static int hear_part(struct metallm__hearing *h, const struct metallm__part *p)
{
    const struct metallm__delta begin = {.part = p->kind, .id = p->id, .name = p->name};
    char owner[64];
    metallm__wire_text_copy(owner, sizeof owner, p->seal_of);
    int rc = metallm__hear_begin(h, &begin, 0);
    if (rc == METALLM_OK)
        rc = metallm__hear_text(h, p->text);
    if (rc == METALLM_OK && p->seal.n > 0)
        rc = metallm__hear_seal(h, p->seal, owner);
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int hear_said(struct metallm__hearing *h, const struct metallm__said *said)
{
    int rc = metallm__hear_start(h, said->id, said->model);
    for (size_t i = 0; rc == METALLM_OK && i < said->part_count; i++)
        rc = hear_part(h, &said->parts[i]);
    if (rc == METALLM_OK)
        rc = metallm__hear_usage(h, &said->usage);
    return rc == METALLM_OK ? metallm__hear_finish(h, said->finish, said->stop) : rc;
}

int metallm__wire_stream_whole(struct metallm__wire_stream *s, struct metallm__span body,
                               metallm__wire_sink sink, void *payload, metallm_error *err)
{
    struct metallm__said said = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__pool pool;
    yyjson_doc *doc = NULL;
    s->sink = sink;
    s->payload = payload;
    s->err = s->hearing.err = err;
    metallm__pool_init(&pool, METALLM__WIRE_ANSWER_POOL_BYTES_MAX);
    int rc = metallm__json_read_raw(&doc, body.n > 0 ? body.p : "", body.n, err);
    if (rc == METALLM_OK)
        rc = s->wire->said_in(yyjson_doc_get_root(doc), &pool, &said, err);
    if (rc == METALLM_OK)
        rc = hear_said(&s->hearing, &said);
    if (rc == METALLM_OK)
        rc = complete(s);
    metallm__pool_fini(&pool);
    yyjson_doc_free(doc);
    return rc;
}

/* Some servers leave the end out; but an answer whose end nothing told is a broken one. */
int metallm__wire_stream_end(struct metallm__wire_stream *s, metallm__wire_sink sink, void *payload,
                             metallm_error *err)
{
    s->sink = sink;
    s->payload = payload;
    s->err = s->hearing.err = err;
    int rc = s->wire->framing == METALLM__FRAMING_AWS ? metallm__aws_events_end(&s->aws, err)
                                                      : metallm__sse_end(&s->sse, take_sse, s, err);
    if (rc != METALLM_OK || s->is_done)
        return rc;
    if (s->answer.finish == METALLM__WIRE_FINISH_NONE)
        return metallm__error_set(err, METALLM_EFORMAT, "the stream ended before its answer did");
    return s->is_translated ? complete(s) : METALLM_OK;
}
