/* SPDX-License-Identifier: Apache-2.0
 * http_server_internal.h - the server as its files see it: http_server.c (server, guard, drain),
 * http_conn.c (connections: reading, timeouts, refusals), http_reply.c (answers). */
#ifndef NET_HTTP_SERVER_INTERNAL_H
#define NET_HTTP_SERVER_INTERNAL_H
#include <stdatomic.h>

#include "base/buf.h"
#include "net/http_request.h"

enum conn_state {
    CONN_TLS,    /* handshake */
    CONN_IDLE,   /* between requests */
    CONN_READ,   /* a request is coming in */
    CONN_BUSY,   /* it is being answered */
    CONN_FLUSH,  /* its answer is whole, but not yet with the system */
    CONN_LINGER, /* we have shut our direction; the peer's bytes are dropped until it closes */
};

enum reply_state {
    REPLY_NONE,
    REPLY_HEAD, /* made, not yet written */
    REPLY_BODY,
};

struct metallm__http_conn {
    struct metallm__http_server *server;
    struct metallm__stream *stream; /* NULL: closed */
    struct metallm__http_conn *next, **link;
    struct metallm__exchange *x; /* READ and BUSY */
    struct metallm__timer timer;
    enum conn_state state;
    bool must_close; /* after this answer */
    bool is_feeding, is_paused, is_tls, is_guarded;
    uint64_t requests;
    uint64_t begun_ns, body_ns; /* of the request: first byte, end of its head */
    uint64_t written;           /* bytes given to the stream */
    bool stall_armed;           /* a slow reader is being timed: what stood when that began */
    uint64_t stall_queued, stall_written;
    char *ahead; /* bytes behind the request that is being answered: a block of the loop */
    size_t ahead_at, ahead_n, ahead_bytes;
    uint8_t peer_key[16];
    char peer[METALLM__ADDRESS_BYTES];
};

struct metallm__exchange {
    struct metallm__http_conn *conn;
    struct metallm__exchange *next;     /* free list */
    struct metallm__http_limits limits; /* as they were when the request began */
    struct metallm__request_parser parser;
    struct metallm__request request;
    const struct metallm__exchange_events *events;
    void *owner;
    enum reply_state reply;
    bool is_gone, sends_body, is_chunked, has_length;
    uint64_t left; /* of the promised length */
    struct metallm__buf head;
};

struct counters {
    atomic_uint_fast64_t connections, connections_open, requests, requests_open, gone;
    atomic_uint_fast64_t bytes_in, bytes_out, refused[METALLM__REFUSALS];
};

#define SERVER_LISTENERS_MAX 64u
struct metallm__http_server {
    struct metallm__loop *loop;
    struct metallm__http_limits limits;
    struct metallm__http_guard *guard;
    bool owns_guard, is_draining, was_cut;
    void (*handle)(void *payload, struct metallm__exchange *x);
    void (*refusal)(void *payload, struct metallm__span target, int status, const char *message,
                    struct metallm__buf *out);
    void (*drained)(void *payload, bool was_cut);
    void *payload;
    struct metallm__listener *listeners[SERVER_LISTENERS_MAX];
    uint32_t listener_count;
    struct metallm__http_conn *conns;
    uint64_t conn_count;
    struct metallm__exchange *free_exchanges;
    uint32_t free_count;
    struct metallm__timer drain_timer;
    struct counters counts;
};

/* One thread writes a counter, others only read it: no locked instruction is needed. */
static inline void metallm__count(atomic_uint_fast64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* http_server.c */
bool metallm__http_guard_enter(struct metallm__http_server *server, const uint8_t key[16],
                               enum metallm__http_refusal *why);
void metallm__http_guard_leave(struct metallm__http_server *server, const uint8_t key[16]);
void metallm__http_server_left(struct metallm__http_server *server); /* a connection is gone */
struct metallm__exchange *metallm__exchange_take(struct metallm__http_server *server);
void metallm__exchange_give(struct metallm__http_server *server, struct metallm__exchange *x);

/* http_conn.c */
void metallm__http_conn_accept(void *server, struct metallm__stream *s,
                               const struct sockaddr_storage *peer);
void metallm__http_conn_written(struct metallm__http_conn *c, size_t n); /* watch for stalls */
void metallm__http_conn_answered(struct metallm__http_conn *c); /* its exchange is finished */
void metallm__http_conn_cut(struct metallm__http_conn *c);
void metallm__http_conn_drain(struct metallm__http_conn *c); /* closes it if it is idle */
void metallm__http_conn_drop(struct metallm__http_conn *c);  /* the server is being freed */

/* http_reply.c */
void metallm__http_refusal_write(struct metallm__exchange *x);

#endif
