/* SPDX-License-Identifier: Apache-2.0
 * http_client_internal.h - pools, origins, links (connections) and calls as the client's files see
 * them: http_pool.c keeps links, http_call.c makes calls over them. */
#ifndef NET_HTTP_CLIENT_INTERNAL_H
#define NET_HTTP_CLIENT_INTERNAL_H
#include <stdatomic.h>

#include "base/buf.h"
#include "net/http_answer.h"
#include "net/internal.h"

struct metallm__http_link { /* one connection */
    struct metallm__origin *origin;
    struct metallm__stream *stream;
    struct metallm__http_call *call;         /* NULL: idle */
    struct metallm__http_link *next, **link; /* of the idle ones, last used first */
    struct metallm__timer timer;             /* idle */
    uint64_t served;                         /* whole answers */
};

struct metallm__origin {
    struct metallm__http_pool *pool;
    struct metallm__origin *next, **link;
    uint32_t refs;
    struct metallm__tls_client *tls;
    struct metallm__tls_ticket ticket;
    struct metallm__http_link *idle;
    uint32_t idle_count;
    uint16_t port;
    char *host, *host_header; /* "host" or "host:port" */
};

struct pool_counters {
    atomic_uint_fast64_t calls, connects, reuses, resumed, open, idle, bytes_in, bytes_out;
    atomic_uint_fast64_t failed[METALLM__HTTP_FAILURES];
};

struct metallm__http_pool {
    struct metallm__loop *loop;
    struct metallm__dns *dns;
    struct metallm__http_pool_options opts;
    struct metallm__origin *origins;
    struct metallm__http_call *free_calls;
    uint32_t free_count;
    struct pool_counters counts;
};

enum call_phase {
    CALL_CONNECT, /* waits for its link to open */
    CALL_WAIT,    /* sent, no byte of the answer yet */
    CALL_ANSWER,
};

struct metallm__http_call {
    struct metallm__http_pool *pool;
    struct metallm__origin *origin;
    struct metallm__http_link *via;  /* NULL: detached */
    struct metallm__http_call *next; /* free list */
    const struct metallm__http_call_events *events;
    void *owner;
    struct metallm__answer_parser parser;
    struct metallm__buf head;
    struct metallm__span body[METALLM__HTTP_SPANS_MAX];
    size_t body_count;
    struct metallm__timer timer;
    enum call_phase phase;
    bool was_kept, is_paused, is_feeding, is_cancelled;
    uint64_t first_ns, gap_ns;
    uint64_t total_due, phase_due; /* 0: none */
};

/* http_pool.c */
struct metallm__http_link *
metallm__http_link_take(struct metallm__origin *origin); /* NULL: none idle */
/* NULL: no memory. */
struct metallm__http_link *metallm__http_link_open(struct metallm__http_call *call,
                                                   uint64_t timeout_ns);
void metallm__http_link_keep(
    struct metallm__http_link *l); /* idle now, or closed if too many are */
void metallm__http_link_close(struct metallm__http_link *l);
void metallm__origin_hold(struct metallm__origin *origin);
struct metallm__http_call *metallm__http_call_take(struct metallm__http_pool *pool);
void metallm__http_call_give(struct metallm__http_call *call);

/* http_call.c: what happens on a call's link. The stream has ended, or will be closed. */
void metallm__http_call_opened(struct metallm__http_call *call);
void metallm__http_call_bytes(struct metallm__http_call *call, struct metallm__span in);
void metallm__http_call_eof(struct metallm__http_call *call);
void metallm__http_call_ended(struct metallm__http_call *call, enum metallm__stream_end end,
                              const char *why);
void metallm__http_call_on_timer(struct metallm__timer *timer);

static inline void metallm__pool_count(atomic_uint_fast64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

#endif
