/* SPDX-License-Identifier: Apache-2.0
 * openai.c - the protocol of OpenAI's chat completions, completions and embeddings, as spoken by
 * OpenAI, Together, Mistral, Groq, DeepSeek, vLLM, Ollama and llama.cpp. Requests are written by
 * replacing ranges of the client's bytes; answers are read and never changed. */
#include "base/error.h"
#include "base/mem.h"
#include "wire/openai_answer.h"
#include "wire/scan.h"
#include "wire/wire.h"

static int head_out(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                    int64_t wall_ms, struct metallm__buf *lines, metallm_error *err)
{
    (void)body;
    (void)wall_ms;
    if (t->key.n > 0) {
        metallm__buf_puts(lines, "authorization: Bearer ");
        metallm__buf_add(lines, t->key.p, t->key.n);
        metallm__buf_puts(lines, "\r\n");
    }
    return metallm__buf_check(lines, err);
}

/* ---- The request: a few edits of the client's bytes. ---- */

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

static int request_out(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err)
{
    static const struct metallm__span paths[METALLM__WIRE_KINDS] = {
        METALLM__SPAN("/chat/completions"), METALLM__SPAN("/completions"),
        METALLM__SPAN("/embeddings")};
    (void)err;
    struct edit edits[EDITS_MAX] = {{r->model_at, t->model_json}};
    size_t count = 1;
    *out = (struct metallm__wire_out){.path = paths[r->kind]};
    if (r->hints_at.end > 0)
        edits[count++] = (struct edit){r->hints_at, {NULL, 0}};
    if (r->is_stream && !r->wants_usage && t->is_usage_asked) {
        edits[count++] = usage_edit(r);
        out->is_usage_dropped = true;
    }
    write_edited(out, r->body, edits, count);
    return METALLM_OK;
}

/* ---- Answers. ---- */

static int answer_in(enum metallm__wire_kind kind, struct metallm__span body,
                     struct metallm__wire_answer *out, metallm_error *err)
{
    yyjson_read_err why = {0};
    metallm__wire_answer_clear(out);
    /* Numbers are left as they are written: of an embedding's thousands none is looked at. */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(body.n > 0 ? body.p : ""), body.n,
                                       YYJSON_READ_NUMBER_AS_RAW, &metallm__json_alc, &why);
    if (doc == NULL)
        return why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION
                   ? metallm__error_nomem(err, "an answer")
                   : metallm__error_set(err, METALLM_EFORMAT, "the answer is no JSON");
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = METALLM_OK;
    if (metallm__openai_read_error(root, err))
        rc = METALLM_EFORMAT;
    else if (!yyjson_is_arr(
                 yyjson_obj_get(root, kind == METALLM__WIRE_EMBEDDING ? "data" : "choices")))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the answer has no '%s'",
                                kind == METALLM__WIRE_EMBEDDING ? "data" : "choices");
    else
        metallm__openai_read_answer(root, out);
    yyjson_doc_free(doc);
    return rc;
}

static int flush(struct metallm__wire_stream *s)
{
    struct metallm__span run = s->run;
    s->run = (struct metallm__span){NULL, 0};
    return run.n > 0 ? s->sink(s->payload, METALLM__WIRE_PIECE_EVENTS, run) : METALLM_OK;
}

/* Events that lie side by side go as one piece. */
static int pass(struct metallm__wire_stream *s, struct metallm__span raw)
{
    int rc = METALLM_OK;
    if (s->run.n > 0 && s->run.p + s->run.n != raw.p)
        rc = flush(s);
    s->run = metallm__span(s->run.n > 0 ? s->run.p : raw.p, s->run.n + raw.n);
    return rc;
}

static int pass_alone(struct metallm__wire_stream *s, enum metallm__wire_piece_kind kind,
                      struct metallm__span raw)
{
    int rc = flush(s);
    return rc == METALLM_OK ? s->sink(s->payload, kind, raw) : rc;
}

/* Parsed within the stream's own room, which grows once to what its events need. */
static int parse_event(struct metallm__wire_stream *s, struct metallm__span data, yyjson_doc **out)
{
    size_t need = yyjson_read_max_memory_usage(data.n, YYJSON_READ_NOFLAG);
    if (s->room.cap < need) {
        void *room = s->room.data;
        if (metallm__grow(&room, &s->room.cap, need, 1) != 0)
            return metallm__error_nomem(s->err, "an event");
        s->room.data = room;
    }
    yyjson_alc alc;
    yyjson_read_err why;
    if (!yyjson_alc_pool_init(&alc, s->room.data, s->room.cap))
        return metallm__error_nomem(s->err, "an event");
    *out = yyjson_read_opts((char *)(uintptr_t)data.p, data.n, YYJSON_READ_NOFLAG, &alc, &why);
    if (*out == NULL || !yyjson_is_obj(yyjson_doc_get_root(*out)))
        return metallm__error_set(s->err, METALLM_EFORMAT, "an event of the stream is no JSON");
    return METALLM_OK;
}

static int read_event(struct metallm__wire_stream *s, const struct metallm__sse_event *e)
{
    if (!e->has_data || s->is_done)
        return pass(s, e->raw);
    if (metallm__span_is(e->data, "[DONE]")) {
        s->is_done = true;
        return pass_alone(s, METALLM__WIRE_PIECE_DONE, e->raw);
    }
    yyjson_doc *doc = NULL; /* lies in s->room: nothing to free */
    int rc = parse_event(s, e->data, &doc);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (metallm__openai_read_error(root, s->err))
        return METALLM_EFORMAT;
    bool is_usage_alone = metallm__openai_read_chunk(root, &s->answer);
    if (!is_usage_alone)
        return pass(s, e->raw);
    return s->is_usage_dropped ? flush(s) : pass_alone(s, METALLM__WIRE_PIECE_USAGE, e->raw);
}

/* The events before a bad one are handed on all the same. */
static int take_event(void *payload, const struct metallm__sse_event *e)
{
    struct metallm__wire_stream *s = payload;
    int rc = e != NULL ? read_event(s, e) : METALLM_OK;
    int flushed = e == NULL || rc == METALLM_EFORMAT ? flush(s) : METALLM_OK;
    return rc != METALLM_OK ? rc : flushed;
}

static int stream_feed(struct metallm__wire_stream *s, struct metallm__span in)
{
    return metallm__sse_feed(&s->sse, in, take_event, s, s->err);
}

/* Some servers leave [DONE] out; but an answer whose end nothing told is a broken one. */
static int stream_end(struct metallm__wire_stream *s)
{
    int rc = metallm__sse_end(&s->sse, take_event, s, s->err);
    if (rc == METALLM_OK && !s->is_done && s->answer.finish == METALLM__WIRE_FINISH_NONE)
        rc = metallm__error_set(s->err, METALLM_EFORMAT, "the stream ended before its answer did");
    return rc;
}

const struct metallm__wire metallm__wire_openai = {
    .name = "openai",
    .is_head_static = true,
    .head_out = head_out,
    .request_out = request_out,
    .answer_in = answer_in,
    .stream_feed = stream_feed,
    .stream_end = stream_end,
    .error_in = metallm__openai_error_in,
};
