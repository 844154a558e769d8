/* SPDX-License-Identifier: Apache-2.0
 * chat_call.c - the upstream call and what the client gets of it. A whole answer is passed on as it
 * came; a stream event by event, held back where the client is slow. The last events of a stream
 * (usage, [DONE]) wait for the cost, which stands in the usage. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "gateway/chat.h"
#include "wire/answer_text.h"
#include "wire/scan.h"

/* Headers of an answer; the texts live in the caller's room. */
struct limit_room {
    char names[3][40], values[3][32];
};
struct head_room {
    char cost[32], dropped[1024];
    struct limit_room limits[2];
};

/* As OpenAI's: what a minute allows, what is left of it, and when all of it is back. */
static void add_limit(struct metallm__reply *r, const char *what, uint64_t limit, uint64_t left,
                      uint64_t reset_ms, struct limit_room *room)
{
    if (limit == 0)
        return;
    static const char *const kinds[3] = {"limit", "remaining", "reset"};
    snprintf(room->values[0], sizeof room->values[0], "%llu", (unsigned long long)limit);
    snprintf(room->values[1], sizeof room->values[1], "%llu", (unsigned long long)left);
    snprintf(room->values[2], sizeof room->values[2], "%.3fs", (double)reset_ms / 1000);
    for (int i = 0; i < 3; i++) {
        snprintf(room->names[i], sizeof room->names[i], "x-ratelimit-%s-%s", kinds[i], what);
        metallm__reply_add(r, room->names[i], metallm__span_of(room->values[i]));
    }
}

/* Features that were left out on the way to the LLM: "user, seed". */
static void add_dropped(struct metallm__reply *r, uint64_t features, struct head_room *room)
{
    size_t n = 0;
    for (unsigned f = 0; f < METALLM__FEATURES; f++)
        if ((features >> f & 1u) != 0 && n < sizeof room->dropped)
            n += (size_t)snprintf(room->dropped + n, sizeof room->dropped - n, "%s%s",
                                  n > 0 ? ", " : "",
                                  metallm__feature_name((enum metallm__feature)f));
    if (n > 0)
        metallm__reply_add(r, "x-metallm-dropped", metallm__span_of(room->dropped));
}

static void add_own(const struct metallm__chat *c, struct metallm__reply *r, uint32_t llm,
                    double cost_usd, struct head_room *room)
{
    metallm__reply_add(r, "x-metallm-model",
                       metallm__span_of(c->visit.world->config->models[llm].name));
    if (c->id_text[0] != '\0')
        metallm__reply_add(r, "x-metallm-decision", metallm__span_of(c->id_text));
    add_dropped(r, metallm__ask_dropped(c->ask), room);
    const struct metallm__limit_state *l = &c->limits;
    add_limit(r, "requests", l->requests_limit, l->requests_left, l->requests_reset_ms,
              &room->limits[0]);
    add_limit(r, "tokens", l->tokens_limit, l->tokens_left, l->tokens_reset_ms, &room->limits[1]);
    if (isnan(cost_usd) || c->request.kind == METALLM__WIRE_COUNT)
        return;
    int n = snprintf(room->cost, sizeof room->cost, "%.9g", cost_usd);
    metallm__reply_add(r, "x-metallm-cost-usd", metallm__span(room->cost, (size_t)n));
}

/* ---- Streams. ---- */

static void on_stream(void *payload, uint32_t llm, uint32_t deployment, const char *content_type)
{
    (void)deployment;
    struct metallm__chat *c = payload;
    struct metallm__reply r = {.status = 200,
                               .type = content_type == NULL ? "text/event-stream" : content_type};
    struct head_room room;
    add_own(c, &r, llm, NAN, &room);
    metallm__reply_add(&r, "cache-control", (struct metallm__span)METALLM__SPAN("no-cache"));
    c->is_streaming = true;
    metallm__visit_stream(&c->visit, &r);
}

static void hold_back(struct metallm__chat *c)
{
    uint64_t most = c->visit.world->config->limits.stream_bytes;
    if (!c->is_paused && metallm__reply_queued(c->visit.x) > most) {
        c->is_paused = true;
        metallm__ask_pause(c->ask);
    }
}

static void on_piece(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct metallm__chat *c = payload;
    if (c->is_answer_kept && kind == METALLM__WIRE_PIECE_EVENTS)
        metallm__answer_text_events(c->request.kind, bytes, &c->answer);
    if (kind != METALLM__WIRE_PIECE_EVENTS) {
        metallm__buf_add(&c->last, bytes.p, bytes.n);
        if (kind == METALLM__WIRE_PIECE_USAGE)
            c->usage_bytes = c->last.len;
        return;
    }
    metallm__reply_piece(c->visit.x, bytes, NULL);
    hold_back(c);
}

/* The value of an object's member; empty: there is none. */
static struct metallm__span member(struct metallm__span object, const char *name)
{
    struct metallm__scan scan;
    struct metallm__scan_member m;
    size_t len = strlen(name);
    if (object.n == 0 || object.p[0] != '{')
        return metallm__span(NULL, 0);
    metallm__scan_begin(&scan, object);
    while (metallm__scan_next(&scan, &m))
        if (m.key + len + 2 <= object.n && object.p[m.key + len + 1] == '"' &&
            memcmp(object.p + m.key + 1, name, len) == 0)
            return metallm__span(object.p + m.value, m.stop - m.value);
    return metallm__span(NULL, 0);
}

/* Where "{" of the usage ends, of the event or of the "response" in it; 0: there is none. Data of
 * several lines is left as it is. */
static size_t usage_object(const char *p, size_t n)
{
    const char *at = n >= 5 && memcmp(p, "data:", 5) == 0 ? p : memmem(p, n, "\ndata:", 6);
    const char *brace = at == NULL ? NULL : memchr(at, '{', n - (size_t)(at - p));
    const char *line = brace == NULL ? NULL : memchr(brace, '\n', n - (size_t)(brace - p));
    if (line == NULL)
        return 0;
    struct metallm__span data = metallm__span(brace, (size_t)(line - brace));
    struct metallm__span usage = member(data, "usage");
    if (usage.n == 0 || usage.p[0] != '{')
        usage = member(member(data, "response"), "usage");
    return usage.n > 0 && usage.p[0] == '{' ? (size_t)(usage.p - p) + 1 : 0;
}

/* The held events, with the cost as a member of usage. */
static void send_last(struct metallm__chat *c, double cost_usd)
{
    const char *p = c->last.data;
    size_t n = c->last.len, at = c->usage_bytes == 0 ? 0 : usage_object(p, c->usage_bytes);
    if (n == 0)
        return;
    if (at == 0 || isnan(cost_usd)) {
        metallm__reply_piece(c->visit.x, metallm__span(p, n), NULL);
        return;
    }
    size_t next = at;
    while (next < n && (p[next] == ' ' || p[next] == '\t'))
        next++;
    char cost[64];
    int len = snprintf(cost, sizeof cost, "\"metallm_cost_usd\":%.9g%s", cost_usd,
                       next < n && p[next] == '}' ? "" : ",");
    struct metallm__buf all;
    metallm__buf_init(&all, n + sizeof cost);
    metallm__buf_add(&all, p, at);
    metallm__buf_add(&all, cost, (size_t)len);
    metallm__buf_add(&all, p + at, n - at);
    metallm__reply_piece(c->visit.x,
                         all.failed ? metallm__span(p, n) : metallm__span(all.data, all.len), NULL);
    metallm__buf_fini(&all);
}

static void break_stream(struct metallm__chat *c, const struct metallm__ask_result *result)
{
    struct metallm__buf event;
    metallm__buf_init(&event, 4096);
    struct metallm__wire_refusal why = {
        .message = result->message, .type = "server_error", .code = "stream_broken", .status = 502};
    metallm__surface_of(c->request.kind)->error_event(&event, &why);
    metallm__reply_piece(c->visit.x, metallm__span(event.data, event.len), NULL);
    metallm__buf_fini(&event);
    metallm__reply_abort(c->visit.x);
    metallm__visit_over(&c->visit, 502);
}

static void end_stream(struct metallm__chat *c, const struct metallm__ask_result *result)
{
    bool is_gone = metallm__exchange_is_gone(c->visit.x);
    if (result->end != METALLM__ASK_ANSWERED) {
        break_stream(c, result);
        return;
    }
    send_last(c, result->cost_usd);
    metallm__reply_end(c->visit.x);
    metallm__visit_over(&c->visit, is_gone ? 499 : 200);
}

/* ---- Whole answers. ---- */

static void release_body(void *arg)
{
    metallm__free(arg);
}

/* Hands the body's memory to the reply. */
static void pass_on(struct metallm__chat *c, const struct metallm__ask_result *result)
{
    struct metallm__reply r = {.status = (int)result->status, .type = result->content_type};
    struct head_room room;
    add_own(c, &r, result->llm, result->cost_usd, &room);
    struct metallm__buf *body = result->body;
    struct metallm__span bytes = {body->data, body->len};
    if (c->is_answer_kept && result->end == METALLM__ASK_ANSWERED)
        metallm__answer_text_whole(c->request.kind, bytes, &c->answer);
    struct metallm__hold hold = {release_body, body->data};
    size_t max = body->max;
    metallm__buf_init(body, max); /* the memory is the reply's */
    metallm__visit_reply(&c->visit, &r, bytes, bytes.p == NULL ? NULL : &hold);
}

static void tell_failure(struct metallm__chat *c, const struct metallm__ask_result *result)
{
    unsigned status = result->status;
    struct metallm__refusal why = {.status = (int)status,
                                   .type = status == 429   ? "requests"
                                           : status == 400 ? "invalid_request_error"
                                                           : "server_error",
                                   .code = status == 429   ? "rate_limit_exceeded"
                                           : status == 400 ? "no_model_fits"
                                           : status == 504 ? "upstream_timeout"
                                                           : "upstream_failed",
                                   .retry_after_ms = result->retry_after_ms};
    metallm__visit_refuse(&c->visit, &why,
                          result->message == NULL ? "no LLM answered" : result->message);
}

static void on_done(void *payload, const struct metallm__ask_result *result)
{
    struct metallm__chat *c = payload;
    if (c->is_streaming)
        end_stream(c, result);
    else if (c->request.kind == METALLM__WIRE_COUNT && result->end != METALLM__ASK_ANSWERED &&
             result->end != METALLM__ASK_REFUSED)
        metallm__chat_count_estimate(c, result->llm);
    else if (result->end == METALLM__ASK_FAILED || result->end == METALLM__ASK_BROKEN)
        tell_failure(c, result);
    else
        pass_on(c, result);
    metallm__chat_end(c, result);
    c->ask = NULL; /* gone when this returns */
    metallm__chat_release(c);
}

static const struct metallm__ask_events ask_events = {on_stream, on_piece, on_done};

static bool keeps_answer(const struct metallm__chat *c)
{
    /* A whole answer is short work; a stream is read for graders alone. */
    bool is_graded = c->router != NULL && c->router->grader_count > 0;
    return c->request.kind != METALLM__WIRE_EMBEDDING && c->request.kind != METALLM__WIRE_COUNT &&
           (is_graded || !c->request.is_stream);
}

void metallm__chat_call(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    metallm__trace_text(&v->trace, c->trace_text);
    c->trace = (struct metallm__header){METALLM__SPAN("traceparent"),
                                        metallm__span(c->trace_text, METALLM__TRACEPARENT_LEN)};
    c->is_answer_kept = keeps_answer(c);
    c->was_called = true;
    struct metallm__ask_options options = {
        .llms = v->world->llms,
        .candidates = c->candidates,
        .candidate_count = c->candidate_count,
        .request = &c->request,
        .headers = {&c->trace, 1},
        .total_ms = (uint32_t)v->world->config->limits.total_ms,
        .day = metallm__day_today(),
        .events = &ask_events,
        .payload = c,
    };
    metallm_error err;
    if (metallm__ask_start(&c->ask, v->worker->upstream, &options, &err) != METALLM_OK) {
        c->ask = NULL;
        struct metallm__refusal no = {.status = 503, .type = "server_error"};
        metallm__chat_refuse(c, &no, err.message);
    }
}
