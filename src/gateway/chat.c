/* SPDX-License-Identifier: Apache-2.0
 * chat.c - a request to an LLM begins: it is read, its name looked up, its key's limits asked. */
#include "gateway/chat.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"

#define OUTPUT_GUESS 256u /* tokens of an answer whose length the client leaves open */
/* Of the last events of a stream: that of /v1/responses holds the whole answer once more. */
#define LAST_BYTES_MAX (2 * METALLM__WIRE_BODY_BYTES_MAX)

static void gone(void *owner)
{
    struct metallm__chat *c = owner;
    struct metallm__visit *v = &c->visit;
    metallm__timer_stop(v->worker->loop, &c->late);
    if (c->is_encoding && metallm_service_cancel(v->worker->shared->service, c->ticket))
        c->is_encoding = false;
    if (c->ask != NULL) {
        metallm__ask_cancel(c->ask);
        c->ask = NULL;
    }
    metallm__reply_abort(v->x);
    metallm__visit_over(v, 499);
    metallm__chat_end(c, NULL);
    metallm__chat_release(c);
}

static void drained(void *owner)
{
    struct metallm__chat *c = owner;
    if (c->is_paused && c->ask != NULL) {
        c->is_paused = false;
        metallm__ask_resume(c->ask);
    }
}

static const struct metallm__exchange_events events = {gone, drained};

void metallm__chat_refuse(struct metallm__chat *c, const struct metallm__refusal *why,
                          const char *message)
{
    metallm__visit_refuse(&c->visit, why, message);
    metallm__chat_end(c, NULL);
    metallm__chat_release(c);
}

void metallm__chat_release(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    if (v->x != NULL || c->is_encoding || c->ask != NULL)
        return;
    if (c->is_counted)
        atomic_fetch_sub_explicit(&v->worker->shared->in_work, 1, memory_order_relaxed);
    if (c->is_counted)
        metallm__metrics_in_work(v->worker->shard, -1);
    metallm__wire_request_fini(&c->request);
    metallm__view_drop(c->view);
    metallm__free(c->features);
    metallm__free(c->coarse);
    metallm__free(c->room);
    metallm__buf_fini(&c->last);
    metallm__buf_fini(&c->answer);
    metallm__visit_free(v);
}

/* Hints from headers, where the body does not give them. */
static int read_hint_headers(struct metallm__chat *c, metallm_error *err)
{
    static const char prefix[] = "x-metallm-";
    struct metallm__headers headers = c->visit.http->headers;
    int rc = METALLM_OK;
    for (size_t i = 0; i < headers.count && rc == METALLM_OK; i++) {
        struct metallm__span name = headers.at[i].name;
        if (name.n <= sizeof prefix - 1 || memcmp(name.p, prefix, sizeof prefix - 1) != 0)
            continue;
        rc = metallm__wire_hint_header(
            &c->request.hints,
            metallm__span(name.p + sizeof prefix - 1, name.n - sizeof prefix + 1),
            headers.at[i].value, err);
    }
    return rc;
}

static bool read_ask(struct metallm__chat *c, enum metallm__wire_kind kind)
{
    metallm_error err = {0};
    const char *param = NULL;
    int rc = metallm__wire_request_read(&c->request, kind, c->visit.http->body, &param, &err);
    if (kind == METALLM__WIRE_MESSAGES || kind == METALLM__WIRE_COUNT) {
        struct metallm__headers given = c->visit.http->headers;
        c->request.version = metallm__headers_value(given, "anthropic-version");
        c->request.beta = metallm__headers_value(given, "anthropic-beta");
    }
    if (rc == METALLM_OK)
        rc = read_hint_headers(c, &err);
    if (rc == METALLM_OK)
        return true;
    struct metallm__refusal no = {.status = rc == METALLM_ENOMEM   ? 503
                                            : rc == METALLM_ELIMIT ? 413
                                                                   : 400,
                                  .type = "invalid_request_error",
                                  .param = param};
    metallm__chat_refuse(c, &no, err.message);
    return false;
}

static void refuse_name(struct metallm__chat *c)
{
    char text[METALLM_ERROR_BYTES];
    int shown = c->request.model.n > 80 ? 80 : (int)c->request.model.n;
    snprintf(text, sizeof text, "the model '%.*s' does not exist here, or this key may not use it",
             shown, c->request.model.p);
    struct metallm__refusal no = {.status = 404,
                                  .type = "invalid_request_error",
                                  .code = "model_not_found",
                                  .param = "model"};
    metallm__chat_refuse(c, &no, text);
}

static bool find_name(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    const struct metallm__config *config = v->world->config;
    const struct metallm__key *key = v->key;
    struct metallm__span name = c->request.model;
    if (key != NULL && key->router[0] != '\0' && metallm__span_is(name, "auto"))
        name = metallm__span_of(key->router);
    bool is_there = metallm__world_find(v->world, name.p, name.n, &c->name) == METALLM_OK;
    if (is_there && c->name.router != METALLM__CONFIG_NONE) {
        c->router = &config->routers[c->name.router];
        v->router_slot = v->world->router_slots[c->name.router];
        is_there = key == NULL || metallm__key_allows_router(key, c->router->name);
    } else if (is_there) {
        is_there =
            key == NULL || metallm__key_allows_model(key, config->models[c->name.model].name);
    }
    if (!is_there)
        refuse_name(c);
    return is_there;
}

static bool refuse_limit(struct metallm__chat *c, const struct metallm__limit_refusal *why)
{
    metallm__metrics_limited(c->visit.worker->shard, (int)why->kind);
    struct metallm__refusal no = {.status = 429,
                                  .type = "requests",
                                  .code = "rate_limit_exceeded",
                                  .retry_after_ms = why->retry_after_ms};
    if (why->kind == METALLM__LIMIT_TOKENS)
        no.type = "tokens";
    metallm__chat_refuse(c, &no,
                         why->kind == METALLM__LIMIT_TOKENS
                             ? "this key's tokens a minute are used up"
                             : "this key's requests a minute are used up");
    return false;
}

/* Takes a place among the requests in work, and what the key's buckets ask. */
static bool admit(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    struct metallm__shared *s = v->worker->shared;
    uint64_t most = v->world->config->limits.requests;
    uint64_t now = 1 + atomic_fetch_add_explicit(&s->in_work, 1, memory_order_relaxed);
    c->is_counted = true;
    metallm__metrics_in_work(v->worker->shard, 1);
    if (most > 0 && now > most) {
        struct metallm__refusal no = {
            .status = 503, .type = "server_error", .code = "overloaded", .retry_after_ms = 1000};
        metallm__chat_refuse(c, &no, "too many requests are in work: try again in a second");
        return false;
    }
    if (v->key == NULL)
        return true;
    uint32_t output = c->request.needs.output_tokens_max;
    uint64_t predicted =
        (uint64_t)c->request.needs.input_tokens + (output > 0 ? output : OUTPUT_GUESS);
    if (c->request.kind == METALLM__WIRE_COUNT) /* nobody pays for it */
        predicted = 0;
    struct metallm__limit_refusal why = {0};
    int rc = metallm__limits_admit(s->limits, v->key, predicted, metallm__loop_now(v->worker->loop),
                                   &c->limits, &why);
    if (rc == METALLM_EBUSY)
        return refuse_limit(c, &why);
    if (rc != METALLM_OK) {
        struct metallm__refusal no = {.status = 503, .type = "server_error"};
        metallm__chat_refuse(c, &no, "no memory for this request");
        return false;
    }
    c->predicted_tokens = predicted;
    return true;
}

static void begin(struct metallm__visit *v, enum metallm__wire_kind kind, bool is_dry)
{
    struct metallm__chat *c = (struct metallm__chat *)v;
    c->is_dry = is_dry;
    c->time_ms = metallm__loop_wall_ms(v->worker->loop);
    metallm__buf_init(&c->last, LAST_BYTES_MAX);
    metallm__buf_init(&c->answer, (size_t)256 << 10);
    metallm__exchange_watch(v->x, &events, c);
    if (!read_ask(c, kind) || !find_name(c) || !admit(c))
        return;
    metallm__chat_route(c);
}

void metallm__chat_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_CHAT, false);
}

void metallm__completion_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_COMPLETION, false);
}

void metallm__embedding_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_EMBEDDING, false);
}

void metallm__responses_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_RESPONSES, false);
}

void metallm__messages_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_MESSAGES, false);
}

void metallm__count_begin(struct metallm__visit *v)
{
    begin(v, METALLM__WIRE_COUNT, false);
}

/* Which surface a body is of: "input" is of responses, "messages" of chat, or of Anthropic's where
 * the client names its version or there is a "system" beside them. What is no object is refused as
 * a chat. */
static enum metallm__wire_kind kind_of(const struct metallm__visit *v)
{
    struct metallm__span body = v->http->body;
    yyjson_doc *doc = NULL;
    metallm_error err;
    if (metallm__json_read(&doc, body.p == NULL ? "" : body.p, body.n, &err) != METALLM_OK)
        return METALLM__WIRE_CHAT;
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool has_version = metallm__headers_value(v->http->headers, "anthropic-version").n > 0;
    enum metallm__wire_kind kind =
        yyjson_obj_get(root, "messages") != NULL
            ? (has_version || yyjson_obj_get(root, "system") != NULL ? METALLM__WIRE_MESSAGES
                                                                     : METALLM__WIRE_CHAT)
        : yyjson_obj_get(root, "prompt") != NULL ? METALLM__WIRE_COMPLETION
        : yyjson_obj_get(root, "input") != NULL  ? METALLM__WIRE_RESPONSES
                                                 : METALLM__WIRE_CHAT;
    yyjson_doc_free(doc);
    return kind;
}

/* The same body as for the call itself, of any surface but embeddings. */
void metallm__route_begin(struct metallm__visit *v)
{
    begin(v, kind_of(v), true);
}
