/* SPDX-License-Identifier: Apache-2.0
 * http_pool.c - origins and the connections that are kept for them. A kept connection is read from,
 * so that the server's closing it is seen at once; the one used last is used first. */
#include "base/error.h"
#include "base/mem.h"
#include "net/http_client_internal.h"

#define MS         UINT64_C(1000000)
#define CALLS_KEPT 256u

const char *metallm__http_call_failure_name(enum metallm__http_call_failure why)
{
    static const char *const names[METALLM__HTTP_FAILURES] = {
        "dns",           "connect", "tls",    "timeout_connect", "timeout_first", "timeout_gap",
        "timeout_total", "reset",   "broken", "bad_answer",      "too_large",     "memory"};
    return names[why];
}

/* ---- Links ---- */
static void on_opened(void *owner)
{
    struct metallm__http_link *l = owner;
    metallm__pool_count(&l->origin->pool->counts.resumed, metallm__stream_is_resumed(l->stream));
    metallm__http_call_opened(l->call);
}

static void on_bytes(void *owner, struct metallm__span in)
{
    struct metallm__http_link *l = owner;
    metallm__pool_count(&l->origin->pool->counts.bytes_in, in.n);
    if (l->call != NULL)
        metallm__http_call_bytes(l->call, in);
    else
        metallm__http_link_close(l); /* an answer that nobody asked for */
}

static void on_eof(void *owner)
{
    struct metallm__http_link *l = owner;
    if (l->call != NULL)
        metallm__http_call_eof(l->call);
    else
        metallm__http_link_close(l);
}

static void on_closed_late(void *owner, enum metallm__stream_end end, const char *why)
{
    (void)owner;
    (void)end;
    (void)why;
}

static const struct metallm__stream_events no_events = {.closed = on_closed_late};

static void forget_idle(struct metallm__http_link *l)
{
    if (l->link == NULL)
        return;
    *l->link = l->next;
    if (l->next != NULL)
        l->next->link = l->link;
    l->link = NULL;
    l->origin->idle_count--;
    metallm__pool_count(&l->origin->pool->counts.idle, UINT64_MAX);
}

static void free_link(struct metallm__http_link *l)
{
    struct metallm__http_pool *pool = l->origin->pool;
    forget_idle(l);
    metallm__timer_stop(pool->loop, &l->timer);
    metallm__pool_count(&pool->counts.open, UINT64_MAX);
    metallm__free(l);
}

void metallm__http_link_close(struct metallm__http_link *l)
{
    metallm__stream_hand(l->stream, &no_events, NULL);
    metallm__stream_close(l->stream);
    free_link(l);
}

/* The stream ended by itself. */
static void on_closed(void *owner, enum metallm__stream_end end, const char *why)
{
    struct metallm__http_link *l = owner;
    struct metallm__http_call *call = l->call;
    if (call != NULL)
        call->via = NULL;
    free_link(l);
    if (call != NULL)
        metallm__http_call_ended(call, end, why);
}

static const struct metallm__stream_events link_events = {
    .opened = on_opened, .bytes = on_bytes, .eof = on_eof, .closed = on_closed};

static void on_idle_timer(struct metallm__timer *timer)
{
    struct metallm__http_link *l =
        (void *)((char *)timer - offsetof(struct metallm__http_link, timer));
    if (l->call == NULL)
        metallm__http_link_close(l);
}

struct metallm__http_link *metallm__http_link_take(struct metallm__origin *origin)
{
    struct metallm__http_link *l = origin->idle;
    while (l != NULL && !metallm__stream_is_open(l->stream))
        l = l->next; /* just ended: closed is on its way */
    if (l != NULL)
        forget_idle(l); /* its timer stays armed: moving it later costs less than stopping it */
    return l;
}

void metallm__http_link_keep(struct metallm__http_link *l)
{
    struct metallm__origin *origin = l->origin;
    struct metallm__http_pool *pool = origin->pool;
    l->call = NULL;
    l->served++;
    if (origin->idle_count >= pool->opts.idle_max || !metallm__stream_is_open(l->stream)) {
        metallm__http_link_close(l);
        return;
    }
    l->next = origin->idle;
    l->link = &origin->idle;
    if (l->next != NULL)
        l->next->link = &l->next;
    origin->idle = l;
    origin->idle_count++;
    metallm__pool_count(&pool->counts.idle, 1);
    metallm__timer_set(pool->loop, &l->timer,
                       metallm__loop_now(pool->loop) + pool->opts.idle_ms * MS);
}

struct metallm__http_link *metallm__http_link_open(struct metallm__http_call *call,
                                                   uint64_t timeout_ns)
{
    struct metallm__origin *origin = call->origin;
    struct metallm__http_pool *pool = origin->pool;
    struct metallm__http_link *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->origin = origin;
    l->call = call;
    l->timer.fired = on_idle_timer;
    struct metallm__connect to = {.host = origin->host,
                                  .port = origin->port,
                                  .tls = origin->tls,
                                  .timeout_ns = timeout_ns,
                                  .ticket = origin->tls == NULL ? NULL : &origin->ticket};
    if (metallm__stream_connect(&l->stream, pool->loop, pool->dns, &to, &link_events, l, NULL) !=
        METALLM_OK) {
        metallm__free(l);
        return NULL;
    }
    metallm__pool_count(&pool->counts.connects, 1);
    metallm__pool_count(&pool->counts.open, 1);
    return l;
}

/* ---- Origins ---- */
static char *host_header(const char *host, uint16_t port, bool is_tls)
{
    struct metallm__buf b;
    const char *shape = strchr(host, ':') != NULL ? "[%s]" : "%s";
    metallm__buf_init(&b, 512);
    if (shape[0] == '[')
        metallm__buf_printf(&b, "[%s]", host);
    else
        metallm__buf_puts(&b, host);
    if (port != (is_tls ? 443 : 80))
        metallm__buf_printf(&b, ":%u", (unsigned)port);
    char *text = b.failed ? NULL : metallm__strndup(b.data, b.len);
    metallm__buf_fini(&b);
    return text;
}

static void free_origin(struct metallm__origin *origin)
{
    while (origin->idle != NULL)
        metallm__http_link_close(origin->idle);
    if (origin->link != NULL) {
        *origin->link = origin->next;
        if (origin->next != NULL)
            origin->next->link = origin->link;
    }
    metallm__tls_ticket_fini(&origin->ticket);
    metallm__tls_client_free(origin->tls);
    metallm__free(origin->host);
    metallm__free(origin->host_header);
    metallm__free(origin);
}

static bool is_host(const char *host)
{
    struct sockaddr_storage numeric;
    if (metallm__address_numeric(host, 0, &numeric))
        return true;
    for (const char *p = host; *p != '\0'; p++) {
        char c = metallm__lower(*p);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
            return false;
    }
    return host[0] != '\0' && strlen(host) <= 253;
}

static struct metallm__origin *make_origin(struct metallm__http_pool *pool, const char *host,
                                           uint16_t port, struct metallm__tls_client *tls)
{
    struct metallm__origin *origin = metallm__calloc(1, sizeof *origin);
    if (origin == NULL)
        return NULL;
    origin->pool = pool;
    origin->port = port;
    origin->refs = 1;
    origin->tls = tls == NULL ? NULL : metallm__tls_client_ref(tls);
    origin->host = metallm__strdup(host);
    origin->host_header = host_header(host, port, tls != NULL);
    if (origin->host == NULL || origin->host_header == NULL) {
        free_origin(origin);
        return NULL;
    }
    origin->next = pool->origins;
    origin->link = &pool->origins;
    if (origin->next != NULL)
        origin->next->link = &origin->next;
    pool->origins = origin;
    return origin;
}

int metallm__origin_get(struct metallm__origin **out, struct metallm__http_pool *pool,
                        const char *host, uint16_t port, struct metallm__tls_client *tls,
                        metallm_error *err)
{
    if (!is_host(host))
        return metallm__error_set(err, METALLM_EINVAL, "'%.64s' is no host name", host);
    for (struct metallm__origin *o = pool->origins; o != NULL; o = o->next)
        if (o->port == port && o->tls == tls && strcmp(o->host, host) == 0) {
            o->refs++;
            *out = o;
            return METALLM_OK;
        }
    struct metallm__origin *origin = make_origin(pool, host, port, tls);
    if (origin == NULL)
        return metallm__error_nomem(err, "an origin");
    *out = origin;
    return METALLM_OK;
}

void metallm__origin_hold(struct metallm__origin *origin)
{
    origin->refs++;
}

void metallm__origin_put(struct metallm__origin *origin)
{
    if (origin != NULL && --origin->refs == 0)
        free_origin(origin);
}

uint32_t metallm__origin_idle(const struct metallm__origin *origin)
{
    return origin->idle_count;
}

/* ---- Pools ---- */
int metallm__http_pool_new(struct metallm__http_pool **out, struct metallm__loop *loop,
                           struct metallm__dns *dns, const struct metallm__http_pool_options *opts,
                           metallm_error *err)
{
    struct metallm__http_pool *pool = metallm__calloc(1, sizeof *pool);
    if (pool == NULL)
        return metallm__error_nomem(err, "a connection pool");
    struct metallm__http_pool_options o =
        opts == NULL ? (struct metallm__http_pool_options){0} : *opts;
    pool->loop = loop;
    pool->dns = dns;
    pool->opts.idle_max = o.idle_max != 0 ? o.idle_max : 64;
    pool->opts.idle_ms = o.idle_ms != 0 ? o.idle_ms : 50000;
    pool->opts.head_bytes = o.head_bytes != 0 ? o.head_bytes : 65536;
    pool->opts.headers = o.headers != 0 ? o.headers : 128;
    *out = pool;
    return METALLM_OK;
}

static void free_call(struct metallm__http_call *call)
{
    metallm__answer_parser_fini(&call->parser);
    metallm__buf_fini(&call->head);
    metallm__free(call);
}

void metallm__http_pool_free(struct metallm__http_pool *pool)
{
    if (pool == NULL)
        return;
    while (pool->origins != NULL)
        free_origin(pool->origins);
    while (pool->free_calls != NULL) {
        struct metallm__http_call *call = pool->free_calls;
        pool->free_calls = call->next;
        free_call(call);
    }
    metallm__free(pool);
}

struct metallm__http_call *metallm__http_call_take(struct metallm__http_pool *pool)
{
    struct metallm__http_call *call = pool->free_calls;
    if (call != NULL) {
        pool->free_calls = call->next;
        pool->free_count--;
        metallm__buf_clear(&call->head);
        return call;
    }
    call = metallm__calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->pool = pool;
    call->timer.fired = metallm__http_call_on_timer;
    metallm__buf_init(&call->head, (size_t)1 << 20);
    return call;
}

void metallm__http_call_give(struct metallm__http_call *call)
{
    struct metallm__http_pool *pool = call->pool;
    metallm__timer_stop(pool->loop, &call->timer);
    metallm__origin_put(call->origin);
    call->origin = NULL;
#if defined(__SANITIZE_ADDRESS__)
    free_call(call); /* so that the sanitizer sees a use after the end */
#else
    if (pool->free_count >= CALLS_KEPT || call->head.failed || call->head.cap > 16384) {
        free_call(call);
        return;
    }
    call->next = pool->free_calls;
    pool->free_calls = call;
    pool->free_count++;
#endif
}

void metallm__http_pool_counts(const struct metallm__http_pool *pool,
                               struct metallm__http_call_counts *out)
{
    const struct pool_counters *c = &pool->counts;
    *out = (struct metallm__http_call_counts){
        .calls = atomic_load_explicit(&c->calls, memory_order_relaxed),
        .connects = atomic_load_explicit(&c->connects, memory_order_relaxed),
        .resumed = atomic_load_explicit(&c->resumed, memory_order_relaxed),
        .reuses = atomic_load_explicit(&c->reuses, memory_order_relaxed),
        .connections_open = atomic_load_explicit(&c->open, memory_order_relaxed),
        .connections_idle = atomic_load_explicit(&c->idle, memory_order_relaxed),
        .bytes_in = atomic_load_explicit(&c->bytes_in, memory_order_relaxed),
        .bytes_out = atomic_load_explicit(&c->bytes_out, memory_order_relaxed),
    };
    for (unsigned i = 0; i < METALLM__HTTP_FAILURES; i++)
        out->failed[i] = atomic_load_explicit(&c->failed[i], memory_order_relaxed);
}
