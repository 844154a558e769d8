/* SPDX-License-Identifier: Apache-2.0
 * http_server.c - limits and the guard over all loops, listeners, draining, counters, and the
 * exchanges that are kept for the next request. */
#include "net/http_server.h"

#include <pthread.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/http_server_internal.h"

#define GUARD_BUCKETS  1024u
#define EXCHANGES_KEPT 256u

struct metallm__http_limits metallm__http_limits_default(void)
{
    return (struct metallm__http_limits){
        .target_bytes = 8192,
        .head_bytes = 65536,
        .headers = 100,
        .body_bytes = UINT64_C(20) << 20,
        .ahead_bytes = 65536,
        .requests = 100000,
        .connections = 10000,
        .connections_peer = 0,
        .idle_ms = 75000,
        .head_ms = 10000,
        .body_ms = 300000,
        .body_grace_ms = 5000,
        .body_rate = 1024,
        .write_stall_ms = 30000,
        .linger_ms = 1000,
    };
}

const char *metallm__http_refusal_name(enum metallm__http_refusal why)
{
    static const char *const names[METALLM__REFUSALS] = {
        "syntax",  "method",      "length",           "body",  "target", "expect", "headers",
        "timeout", "connections", "connections_peer", "stall", "memory"};
    return names[why];
}

/* ---- The guard ---- */
struct peer {
    struct peer *next;
    uint32_t count;
    uint8_t key[16];
};

struct metallm__http_guard {
    pthread_mutex_t lock; /* held for a few instructions */
    uint32_t connections;
    struct peer *peers[GUARD_BUCKETS];
};

int metallm__http_guard_new(struct metallm__http_guard **out, metallm_error *err)
{
    struct metallm__http_guard *guard = metallm__calloc(1, sizeof *guard);
    if (guard == NULL)
        return metallm__error_nomem(err, "connection limits");
    pthread_mutex_init(&guard->lock, NULL);
    *out = guard;
    return METALLM_OK;
}

void metallm__http_guard_free(struct metallm__http_guard *guard)
{
    if (guard == NULL)
        return;
    for (unsigned i = 0; i < GUARD_BUCKETS; i++)
        while (guard->peers[i] != NULL) {
            struct peer *peer = guard->peers[i];
            guard->peers[i] = peer->next;
            metallm__free(peer);
        }
    pthread_mutex_destroy(&guard->lock);
    metallm__free(guard);
}

static struct peer **find_peer(struct metallm__http_guard *guard, const uint8_t key[16])
{
    uint32_t hash = 2166136261u; /* FNV-1a: a peer can only crowd the bucket of its own /64 */
    for (unsigned i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 16777619u;
    struct peer **peer = &guard->peers[hash % GUARD_BUCKETS];
    while (*peer != NULL && memcmp((*peer)->key, key, 16) != 0)
        peer = &(*peer)->next;
    return peer;
}

static bool count_peer(struct metallm__http_guard *guard, const uint8_t key[16], uint32_t max)
{
    struct peer **found = find_peer(guard, key);
    if (*found == NULL) {
        *found = metallm__calloc(1, sizeof **found);
        if (*found == NULL)
            return false;
        memcpy((*found)->key, key, 16);
    }
    if ((*found)->count >= max)
        return false;
    (*found)->count++;
    return true;
}

bool metallm__http_guard_enter(struct metallm__http_server *server, const uint8_t key[16],
                               enum metallm__http_refusal *why)
{
    struct metallm__http_guard *guard = server->guard;
    const struct metallm__http_limits *limits = &server->limits;
    bool may = false;
    pthread_mutex_lock(&guard->lock);
    if (guard->connections >= limits->connections) {
        *why = METALLM__REFUSED_CONNECTIONS;
    } else if (!count_peer(guard, key,
                           limits->connections_peer != 0 ? limits->connections_peer : UINT32_MAX)) {
        *why = METALLM__REFUSED_PEER;
    } else {
        guard->connections++;
        may = true;
    }
    pthread_mutex_unlock(&guard->lock);
    return may;
}

void metallm__http_guard_leave(struct metallm__http_server *server, const uint8_t key[16])
{
    struct metallm__http_guard *guard = server->guard;
    pthread_mutex_lock(&guard->lock);
    guard->connections--;
    struct peer **found = find_peer(guard, key), *peer = *found;
    if (peer != NULL && --peer->count == 0) {
        *found = peer->next;
        metallm__free(peer);
    }
    pthread_mutex_unlock(&guard->lock);
}

/* ---- Exchanges ---- */
struct metallm__exchange *metallm__exchange_take(struct metallm__http_server *server)
{
    struct metallm__exchange *x = server->free_exchanges;
    if (x == NULL) {
        x = metallm__calloc(1, sizeof *x);
        if (x == NULL)
            return NULL;
        metallm__buf_init(&x->head, (size_t)1 << 20);
    } else {
        server->free_exchanges = x->next;
        server->free_count--;
    }
    x->conn = NULL;
    x->events = NULL;
    x->owner = NULL;
    x->reply = REPLY_NONE;
    x->is_gone = x->is_chunked = x->has_length = false;
    x->limits = server->limits;
    metallm__request_parser_reset(&x->parser, &x->limits);
    return x;
}

static void free_exchange(struct metallm__exchange *x)
{
    metallm__request_parser_fini(&x->parser);
    metallm__buf_fini(&x->head);
    metallm__free(x);
}

void metallm__exchange_give(struct metallm__http_server *server, struct metallm__exchange *x)
{
#if defined(__SANITIZE_ADDRESS__)
    free_exchange(x); /* so that the sanitizer sees a use after the end */
    (void)server;
#else
    if (server->free_count >= EXCHANGES_KEPT) {
        free_exchange(x);
        return;
    }
    metallm__request_parser_reset(&x->parser, &x->limits);
    if (x->head.cap > 16384) {
        size_t max = x->head.max;
        metallm__buf_fini(&x->head);
        metallm__buf_init(&x->head, max);
    }
    x->next = server->free_exchanges;
    server->free_exchanges = x;
    server->free_count++;
#endif
}

/* ---- Life ---- */
static void on_drain_timer(struct metallm__timer *timer);

int metallm__http_server_new(struct metallm__http_server **out, struct metallm__loop *loop,
                             const struct metallm__http_server_options *opts, metallm_error *err)
{
    struct metallm__http_server *server = metallm__calloc(1, sizeof *server);
    if (server == NULL)
        return metallm__error_nomem(err, "a server");
    server->loop = loop;
    server->limits = opts->limits != NULL ? *opts->limits : metallm__http_limits_default();
    server->guard = opts->guard;
    server->handle = opts->handle;
    server->refusal = opts->refusal;
    server->drained = opts->drained;
    server->payload = opts->payload;
    server->drain_timer.fired = on_drain_timer;
    if (server->guard == NULL) {
        int rc = metallm__http_guard_new(&server->guard, err);
        if (rc != METALLM_OK) {
            metallm__free(server);
            return rc;
        }
        server->owns_guard = true;
    }
    *out = server;
    return METALLM_OK;
}

static void stop_listening(struct metallm__http_server *server)
{
    while (server->listener_count > 0)
        metallm__listener_free(server->listeners[--server->listener_count]);
}

void metallm__http_server_free(struct metallm__http_server *server)
{
    if (server == NULL)
        return;
    stop_listening(server);
    metallm__timer_stop(server->loop, &server->drain_timer);
    server->drained = NULL;
    while (server->conns != NULL)
        metallm__http_conn_drop(server->conns);
    while (server->free_exchanges != NULL) {
        struct metallm__exchange *x = server->free_exchanges;
        server->free_exchanges = x->next;
        free_exchange(x);
    }
    if (server->owns_guard)
        metallm__http_guard_free(server->guard);
    metallm__free(server);
}

int metallm__http_server_listen(struct metallm__http_server *server, int fd,
                                struct metallm__tls_server *tls, metallm_error *err)
{
    struct metallm__listener *listener = NULL;
    METALLM_REQUIRE(server->listener_count < SERVER_LISTENERS_MAX);
    int rc = metallm__listener_new(&listener, server->loop, fd, tls, metallm__http_conn_accept,
                                   server, err);
    if (rc == METALLM_OK)
        server->listeners[server->listener_count++] = listener;
    return rc;
}

void metallm__http_server_limit(struct metallm__http_server *server,
                                const struct metallm__http_limits *limits)
{
    server->limits = *limits;
}

/* ---- Draining ---- */
static void tell_drained(struct metallm__http_server *server)
{
    void (*drained)(void *payload, bool was_cut) = server->drained;
    server->drained = NULL;
    metallm__timer_stop(server->loop, &server->drain_timer);
    if (drained != NULL)
        drained(server->payload, server->was_cut);
}

static void on_drain_timer(struct metallm__timer *timer)
{
    struct metallm__http_server *server =
        (void *)((char *)timer - offsetof(struct metallm__http_server, drain_timer));
    for (struct metallm__http_conn *c = server->conns, *next; c != NULL; c = next) {
        next = c->next; /* cutting closes later */
        server->was_cut |= c->x != NULL;
        metallm__http_conn_cut(c);
    }
    if (server->conn_count == 0)
        tell_drained(server);
}

void metallm__http_server_left(struct metallm__http_server *server)
{
    if (server->is_draining && server->conn_count == 0)
        tell_drained(server);
}

void metallm__http_server_drain(struct metallm__http_server *server, uint32_t grace_ms)
{
    server->is_draining = true;
    stop_listening(server);
    for (struct metallm__http_conn *c = server->conns, *next; c != NULL; c = next) {
        next = c->next;
        metallm__http_conn_drain(c);
    }
    /* Also with nobody there: drained is called from the loop, not from here. */
    uint64_t grace_ns = server->conn_count == 0 ? 0 : (uint64_t)grace_ms * 1000000;
    metallm__timer_set(server->loop, &server->drain_timer,
                       metallm__loop_now(server->loop) + grace_ns);
}

void metallm__http_server_counts(const struct metallm__http_server *server,
                                 struct metallm__http_counts *out)
{
    const struct counters *c = &server->counts;
    *out = (struct metallm__http_counts){
        .connections = atomic_load_explicit(&c->connections, memory_order_relaxed),
        .connections_open = atomic_load_explicit(&c->connections_open, memory_order_relaxed),
        .requests = atomic_load_explicit(&c->requests, memory_order_relaxed),
        .requests_open = atomic_load_explicit(&c->requests_open, memory_order_relaxed),
        .gone = atomic_load_explicit(&c->gone, memory_order_relaxed),
        .bytes_in = atomic_load_explicit(&c->bytes_in, memory_order_relaxed),
        .bytes_out = atomic_load_explicit(&c->bytes_out, memory_order_relaxed),
    };
    for (unsigned i = 0; i < METALLM__REFUSALS; i++)
        out->refused[i] = atomic_load_explicit(&c->refused[i], memory_order_relaxed);
}
