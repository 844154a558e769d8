/* SPDX-License-Identifier: Apache-2.0
 * worker.c - requests of one loop: which endpoint, whose key, which world; and their answers. */
#include "gateway/worker.h"

#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

struct metallm__brain_seat *metallm__worker_seat(struct metallm__worker *w,
                                                 struct metallm__brain *brain, uint64_t seed)
{
    for (uint32_t i = 0; i < w->seat_count; i++)
        if (w->seats[i].brain == brain)
            return &w->seats[i];
    struct metallm__brain_seat *seats =
        metallm__realloc(w->seats, w->seat_count + 1u, sizeof *seats);
    if (seats == NULL)
        return NULL;
    w->seats = seats;
    metallm_error err;
    struct metallm__brain_seat *seat = &seats[w->seat_count];
    seat->brain = brain;
    metallm__rng_stream(&seat->rng, seed, w->index);
    if (metallm__brain_reader_new(&seat->reader, brain, &err) != METALLM_OK)
        return NULL;
    w->seat_count++;
    return seat;
}

/* ---- Whose request it is. ---- */

/* The token of "Authorization: Bearer TOKEN", or of x-api-key. */
static struct metallm__span bearer(const struct metallm__request *http)
{
    struct metallm__span value = metallm__headers_value(http->headers, "authorization");
    if (value.n > 7 && metallm__span_is_nocase(metallm__span(value.p, 7), "bearer "))
        return metallm__span_trim(metallm__span(value.p + 7, value.n - 7));
    return metallm__headers_value(http->headers, "x-api-key");
}

static bool is_loopback(const char *peer)
{
    return strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0 ||
           strncmp(peer, "::ffff:127.", 11) == 0;
}

static bool is_admin(const struct metallm__visit *v, struct metallm__span token)
{
    const char *secret = v->world->config->auth.admin_key;
    if (v->key != NULL && v->key->is_admin)
        return true;
    if (secret[0] == '\0')
        return is_loopback(v->http->peer);
    return metallm__secret_equal(secret, strlen(secret), token.p == NULL ? "" : token.p, token.n);
}

static void refuse_key(struct metallm__visit *v, struct metallm__span token)
{
    struct metallm__refusal no = {
        .status = 401, .type = "invalid_request_error", .code = "invalid_api_key"};
    metallm__visit_refuse(v, &no,
                          token.n == 0
                              ? "no API key: send one as 'Authorization: Bearer mk_...' or "
                                "'x-api-key: mk_...'"
                              : "this API key is not known here, was revoked or has expired");
}

/* True: go on. False: it was answered. */
static bool admit(struct metallm__visit *v, enum metallm__access access)
{
    struct metallm__worker *w = v->worker;
    struct metallm__span token = bearer(v->http);
    if (token.n > 0)
        v->key = metallm__key_check(w->keys, token.p, token.n,
                                    (uint64_t)metallm__loop_wall_ms(w->loop), &v->ring);
    if (access == METALLM__CLIENT) {
        if (v->key == NULL && v->world->config->auth.keys)
            return refuse_key(v, token), false;
        return true;
    }
    v->is_admin = is_admin(v, token);
    if (v->is_admin || access == METALLM__OPEN)
        return true;
    if (token.n == 0)
        return refuse_key(v, token), false;
    struct metallm__refusal no = {
        .status = 403, .type = "invalid_request_error", .code = "admin_only"};
    metallm__visit_refuse(v, &no, "this needs the admin key");
    return false;
}

/* ---- Which surface. ---- */

static bool begins(struct metallm__span path, const char *start)
{
    size_t n = strlen(start);
    return path.n >= n && memcmp(path.p, start, n) == 0 &&
           (path.n == n || path.p[n] == '/' || path.p[n] == '?');
}

const struct metallm__surface *metallm__surface_of_path(struct metallm__span path)
{
    static const struct {
        const char *path;
        enum metallm__wire_kind kind;
    } surfaces[] = {{"/v1/messages", METALLM__WIRE_MESSAGES},
                    {"/v1/responses", METALLM__WIRE_RESPONSES},
                    {"/v1/chat", METALLM__WIRE_CHAT},
                    {"/v1/completions", METALLM__WIRE_COMPLETION},
                    {"/v1/embeddings", METALLM__WIRE_EMBEDDING}};
    for (size_t i = 0; i < sizeof surfaces / sizeof *surfaces; i++)
        if (begins(path, surfaces[i].path))
            return metallm__surface_of(surfaces[i].kind);
    return NULL;
}

/* Anthropic's clients name a version with every request. */
static const struct metallm__surface *surface_of(const struct metallm__request *http)
{
    const struct metallm__surface *surface = metallm__surface_of_path(http->path);
    if (surface != NULL)
        return surface;
    return metallm__headers_value(http->headers, "anthropic-version").n > 0
               ? metallm__surface_of(METALLM__WIRE_MESSAGES)
               : metallm__surface_of(METALLM__WIRE_CHAT);
}

void metallm__worker_refusal(void *payload, struct metallm__span target, int status,
                             const char *message, struct metallm__buf *out)
{
    (void)payload;
    const struct metallm__surface *surface = metallm__surface_of_path(target);
    const struct metallm__wire_refusal why = {
        .message = message,
        .type = status >= 500 && status != 501 && status != 505 ? "server_error"
                                                                : "invalid_request_error",
        .code = status == 408 ? "request_timeout" : NULL,
        .status = status};
    (surface != NULL ? surface : metallm__surface_of(METALLM__WIRE_CHAT))->error_out(out, &why);
}

/* ---- Which endpoint. ---- */

static bool path_fits(const struct metallm__endpoint_row *row, struct metallm__span path)
{
    size_t len = strlen(row->path);
    bool is_prefix = len > 1 && row->path[len - 1] == '/';
    if (is_prefix)
        return path.n > len && memcmp(path.p, row->path, len) == 0;
    return metallm__span_is(path, row->path);
}

/* NULL: none; *is_known tells whether the path exists with another method. */
static const struct metallm__endpoint_row *find_endpoint(const struct metallm__request *http,
                                                         bool *is_known)
{
    enum metallm__method method = http->method == METALLM__HEAD ? METALLM__GET : http->method;
    *is_known = false;
    for (const struct metallm__endpoint_row *row = metallm__endpoints; row->path != NULL; row++)
        if (path_fits(row, http->path)) {
            *is_known = true;
            if (row->method == method)
                return row;
        }
    return NULL;
}

static void list_methods(struct metallm__span path, char *out, size_t room)
{
    size_t n = 0;
    out[0] = '\0';
    for (const struct metallm__endpoint_row *row = metallm__endpoints; row->path != NULL; row++)
        if (path_fits(row, path) && n < room)
            n += (size_t)snprintf(out + n, room - n, "%s%s%s", n > 0 ? ", " : "",
                                  metallm__method_name(row->method),
                                  row->method == METALLM__GET ? ", HEAD" : "");
}

static void refuse_path(struct metallm__visit *v, bool is_known)
{
    char text[METALLM_ERROR_BYTES], methods[64];
    list_methods(v->http->path, methods, sizeof methods);
    int shown = v->http->path.n > 100 ? 100 : (int)v->http->path.n;
    snprintf(text, sizeof text,
             is_known ? "%s is not a method of %.*s" : "there is no %s %.*s here",
             metallm__method_name(v->http->method), shown, v->http->path.p);
    struct metallm__refusal no = {.status = is_known ? 405 : 404,
                                  .type = "invalid_request_error",
                                  .code = is_known ? "method_not_allowed" : "not_found",
                                  .allow = is_known ? methods : NULL};
    metallm__visit_refuse(v, &no, text);
    metallm__visit_free(v);
}

static void begin_trace(struct metallm__visit *v)
{
    struct metallm__span given = metallm__headers_value(v->http->headers, "traceparent");
    struct metallm__trace parent;
    if (given.n > 0 && metallm__trace_parse(&parent, given.p, given.n))
        metallm__trace_child(&v->trace, &parent, &v->worker->rng);
    else
        metallm__trace_begin(&v->trace, &v->worker->rng);
}

static void reply_no_memory(struct metallm__exchange *x)
{
    static const char body[] = "{\"error\":{\"message\":\"no memory for this request\","
                               "\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    static const struct metallm__header type = {METALLM__SPAN("content-type"),
                                                METALLM__SPAN("application/json")};
    metallm__reply(x, 503, (struct metallm__headers){&type, 1},
                   metallm__span(body, sizeof body - 1), NULL);
}

void metallm__worker_handle(void *payload, struct metallm__exchange *x)
{
    struct metallm__worker *w = payload;
    const struct metallm__request *http = metallm__exchange_request(x);
    bool is_known = false;
    const struct metallm__endpoint_row *row = find_endpoint(http, &is_known);
    struct metallm__visit *v = metallm__calloc(1, row == NULL ? sizeof *v : row->size);
    if (v == NULL) {
        reply_no_memory(x);
        return;
    }
    v->worker = w;
    v->x = x;
    v->http = http;
    v->world = metallm__world_take(metallm__worker_world(w));
    v->endpoint = row == NULL ? METALLM__EP_OTHER : row->endpoint;
    v->surface = surface_of(http);
    v->router_slot = v->llm_slot = METALLM__METRICS_NONE;
    v->begun_ns = http->begun_ns;
    w->open++;
    metallm__request_id(&w->rng, v->id);
    begin_trace(v);
    if (row == NULL)
        refuse_path(v, is_known);
    else if (admit(v, row->access))
        row->begin(v);
    else
        metallm__visit_free(v);
}

/* ---- Answers. ---- */

void metallm__reply_add(struct metallm__reply *r, const char *name, struct metallm__span value)
{
    if (r->count < METALLM__REPLY_HEADERS_MAX)
        r->headers[r->count++] = (struct metallm__header){metallm__span_of(name), value};
}

#define HEADERS_MAX (METALLM__REPLY_HEADERS_MAX + 3u)

/* The given headers with the type and the id before them; Anthropic's clients know the id by
 * another name. */
static struct metallm__headers compose(const struct metallm__visit *v,
                                       const struct metallm__reply *r,
                                       struct metallm__header room[HEADERS_MAX])
{
    size_t count = 2;
    room[0] =
        (struct metallm__header){METALLM__SPAN("content-type"),
                                 metallm__span_of(r->type == NULL ? "application/json" : r->type)};
    room[1] = (struct metallm__header){METALLM__SPAN("x-request-id"),
                                       metallm__span(v->id, METALLM__REQUEST_ID_LEN)};
    if (v->surface == metallm__surface_of(METALLM__WIRE_MESSAGES))
        room[count++] = (struct metallm__header){METALLM__SPAN("request-id"),
                                                 metallm__span(v->id, METALLM__REQUEST_ID_LEN)};
    memcpy(room + count, r->headers, r->count * sizeof *r->headers);
    return (struct metallm__headers){room, r->count + count};
}

static bool is_logged(const struct metallm__visit *v, int status)
{
    enum metallm__log_requests what = v->world->config->log.requests;
    return what == METALLM__LOG_ALL || (what == METALLM__LOG_ERRORS && status >= 500);
}

static void log_visit(const struct metallm__visit *v, uint64_t took_ns)
{
    struct metallm__log_line line;
    if (!metallm__log_begin(v->worker->shared->log, &line,
                            v->status >= 500 ? METALLM__LOG_WARN : METALLM__LOG_INFO, "request",
                            "answered"))
        return;
    char trace[METALLM__TRACEPARENT_LEN + 1];
    metallm__trace_text(&v->trace, trace);
    metallm__log_str(&line, "request", v->id);
    metallm__log_str(&line, "trace", trace);
    metallm__log_str(&line, "endpoint", metallm__endpoint_name(v->endpoint));
    metallm__log_int(&line, "status", v->status);
    metallm__log_real(&line, "ms", (double)took_ns / 1e6);
    metallm__log_str(&line, "key", v->key == NULL ? "" : v->key->id);
    metallm__log_end(&line);
}

void metallm__visit_over(struct metallm__visit *v, int status)
{
    v->x = NULL;
    v->http = NULL;
    v->status = status;
    uint64_t took = metallm__loop_now(v->worker->loop) - v->begun_ns;
    metallm__metrics_request(v->worker->shard, v->endpoint, status, v->router_slot, took);
    if (is_logged(v, status))
        log_visit(v, took);
}

void metallm__visit_reply(struct metallm__visit *v, const struct metallm__reply *r,
                          struct metallm__span body, const struct metallm__hold *hold)
{
    struct metallm__header room[HEADERS_MAX];
    bool is_gone = metallm__exchange_is_gone(v->x);
    metallm__reply(v->x, r->status, compose(v, r, room), body, hold);
    metallm__visit_over(v, is_gone ? 499 : r->status);
}

void metallm__visit_stream(struct metallm__visit *v, const struct metallm__reply *r)
{
    struct metallm__header room[HEADERS_MAX];
    metallm__reply_head(v->x, r->status, compose(v, r, room), METALLM__LENGTH_UNKNOWN);
}

void metallm__visit_refuse(struct metallm__visit *v, const struct metallm__refusal *why,
                           const char *message)
{
    struct metallm__reply r = {.status = why->status};
    char seconds[24];
    if (why->retry_after_ms > 0) {
        snprintf(seconds, sizeof seconds, "%llu",
                 (unsigned long long)((why->retry_after_ms + 999) / 1000));
        metallm__reply_add(&r, "retry-after", metallm__span_of(seconds));
    }
    if (why->allow != NULL)
        metallm__reply_add(&r, "allow", metallm__span_of(why->allow));
    struct metallm__buf body;
    metallm__buf_init(&body, 65536);
    struct metallm__wire_refusal text = {.message = message,
                                         .type = why->type,
                                         .param = why->param,
                                         .code = why->code,
                                         .status = why->status};
    v->surface->error_out(&body, &text);
    metallm__visit_reply(v, &r, metallm__span(body.data, body.len), NULL);
    metallm__buf_fini(&body);
}

void metallm__visit_fail(struct metallm__visit *v, const metallm_error *err)
{
    struct metallm__refusal why = {.status = 500, .type = "server_error"};
    switch (err->code) {
    case METALLM_EINVAL:
    case METALLM_EFORMAT:
        why = (struct metallm__refusal){.status = 400, .type = "invalid_request_error"};
        break;
    case METALLM_ENOTFOUND:
        why = (struct metallm__refusal){
            .status = 404, .type = "invalid_request_error", .code = "not_found"};
        break;
    case METALLM_ELIMIT:
        why = (struct metallm__refusal){.status = 413, .type = "invalid_request_error"};
        break;
    case METALLM_EBUSY:
    case METALLM_EIO:
    case METALLM_ENOMEM:
    case METALLM_ECANCELED:
        why.status = 503;
        why.retry_after_ms = 1000;
        break;
    default:
        break;
    }
    metallm__visit_refuse(v, &why, err->message);
}

void metallm__visit_buffer(struct metallm__visit *v, const char *type, struct metallm__buf *b)
{
    struct metallm__reply r = {.status = 200, .type = type};
    metallm_error err;
    if (metallm__buf_check(b, &err) == METALLM_OK)
        metallm__visit_reply(v, &r, metallm__span(b->data, b->len), NULL);
    else
        metallm__visit_fail(v, &err);
    metallm__buf_fini(b);
    metallm__visit_free(v);
}

bool metallm__visit_path_rest(const struct metallm__visit *v, const char *prefix, char *out,
                              size_t room)
{
    struct metallm__span path = v->http->path;
    size_t n = 0;
    for (size_t i = strlen(prefix); i < path.n; i++) {
        char c = path.p[i];
        unsigned code = 0;
        if (c == '%') {
            char hex[3] = {i + 2 < path.n ? path.p[i + 1] : 'x',
                           i + 2 < path.n ? path.p[i + 2] : 'x', '\0'};
            if (sscanf(hex, "%2x", &code) != 1 || strspn(hex, "0123456789abcdefABCDEF") != 2)
                return false;
            c = (char)code;
            i += 2;
        }
        if (n + 1 >= room || c == '\0')
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

void metallm__visit_free(struct metallm__visit *v)
{
    metallm__keyring_drop(v->ring);
    metallm__world_drop(v->world);
    v->worker->open--;
    metallm__free(v);
}
