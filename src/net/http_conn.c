/* SPDX-License-Identifier: Apache-2.0
 * http_conn.c - one connection of the server: bytes into requests, one at a time, and all that can
 * go wrong on the way: refusals, hang-ups, slow peers. A connection's memory lives until both its
 * stream is closed and its exchange is finished. */
#include <netinet/in.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/http_server_internal.h"
#include "net/internal.h"

#define MS UINT64_C(1000000)

static void arm(struct metallm__http_conn *c, uint64_t wait_ns)
{
    struct metallm__loop *loop = c->server->loop;
    metallm__timer_set(loop, &c->timer, metallm__loop_now(loop) + wait_ns);
}

static void count_refusal(struct metallm__http_conn *c, enum metallm__http_refusal why)
{
    metallm__count(&c->server->counts.refused[why], 1);
}

/* ---- The end ---- */
static void drop_ahead(struct metallm__http_conn *c)
{
    metallm__loop_unblock(c->server->loop, c->ahead, c->ahead_bytes);
    c->ahead = NULL;
    c->ahead_at = c->ahead_n = c->ahead_bytes = 0;
}

static void free_conn(struct metallm__http_conn *c)
{
    struct metallm__http_server *server = c->server;
    metallm__timer_stop(server->loop, &c->timer);
    drop_ahead(c);
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    metallm__http_guard_leave(server, c->peer_key);
    metallm__count(&server->counts.connections_open, UINT64_MAX);
    metallm__free(c);
    server->conn_count--;
    metallm__http_server_left(server);
}

/* The client is gone: whoever makes its answer is told, once. */
static void tell_gone(struct metallm__http_conn *c)
{
    struct metallm__exchange *x = c->x;
    if (x == NULL || x->is_gone)
        return;
    x->is_gone = true;
    metallm__count(&c->server->counts.gone, 1);
    if (x->events != NULL && x->events->gone != NULL)
        x->events->gone(x->owner); /* may finish x, but c is there until its stream is closed */
}

static void give_unfinished(struct metallm__http_conn *c)
{
    if (c->x != NULL && c->state != CONN_BUSY) { /* nobody has seen it */
        metallm__exchange_give(c->server, c->x);
        c->x = NULL;
    }
}

static void on_stream_closed(void *owner, enum metallm__stream_end end, const char *why)
{
    struct metallm__http_conn *c = owner;
    (void)end;
    (void)why;
    give_unfinished(c);
    tell_gone(c);
    c->stream = NULL;
    metallm__timer_stop(c->server->loop, &c->timer);
    if (c->x == NULL)
        free_conn(c);
}

void metallm__http_conn_cut(struct metallm__http_conn *c)
{
    if (c->stream != NULL)
        metallm__stream_reset(c->stream);
}

static void close_now(struct metallm__http_conn *c)
{
    if (c->stream != NULL)
        metallm__stream_close(c->stream);
}

/* Our side is shut, and what the peer still sends is read and dropped: closing at once with unread
 * bytes would send a reset, and the answer could be lost on its way. */
static void linger(struct metallm__http_conn *c)
{
    c->state = CONN_LINGER;
    drop_ahead(c);
    metallm__stream_shutdown(c->stream);
    metallm__stream_resume(c->stream);
    arm(c, c->server->limits.linger_ms * MS);
}

/* ---- After an answer ---- */
static void feed_ahead(struct metallm__http_conn *c);

static void to_idle(struct metallm__http_conn *c)
{
    c->state = CONN_IDLE;
    arm(c, c->server->limits.idle_ms * MS);
    if (!c->is_feeding && c->ahead_n > 0)
        feed_ahead(c);
}

static void after_answer(struct metallm__http_conn *c)
{
    if (metallm__stream_queued(c->stream) > 0)
        c->state = CONN_FLUSH; /* drained comes back here */
    else if (c->must_close)
        linger(c);
    else
        to_idle(c);
}

void metallm__http_conn_answered(struct metallm__http_conn *c)
{
    struct metallm__exchange *x = c->x;
    struct metallm__http_server *server = c->server;
    c->x = NULL;
    metallm__exchange_give(server, x);
    metallm__count(&server->counts.requests_open, UINT64_MAX);
    if (c->stream == NULL)
        free_conn(c);
    else if (metallm__stream_is_open(c->stream))
        after_answer(c);
    else
        c->state = CONN_FLUSH; /* closed is on its way */
}

static void on_drained(void *owner)
{
    struct metallm__http_conn *c = owner;
    c->stall_armed = false;
    if (c->state == CONN_FLUSH)
        after_answer(c);
    else if (c->state == CONN_BUSY && c->x->events != NULL && c->x->events->drained != NULL &&
             !c->x->is_gone)
        c->x->events->drained(c->x->owner);
}

/* ---- Requests ---- */
static void refuse(struct metallm__http_conn *c)
{
    struct metallm__exchange *x = c->x;
    count_refusal(c, x->parser.refusal);
    c->must_close = true;
    metallm__http_refusal_write(x);
    give_unfinished(c);
    if (metallm__stream_is_open(c->stream))
        after_answer(c);
}

static void dispatch(struct metallm__http_conn *c)
{
    struct metallm__http_server *server = c->server;
    struct metallm__exchange *x = c->x;
    c->state = CONN_BUSY;
    c->requests++;
    c->must_close =
        !x->parser.keep_alive || server->is_draining || c->requests >= server->limits.requests;
    metallm__request_parser_show(&x->parser, &x->request);
    x->request.peer = c->peer;
    x->request.is_tls = c->is_tls;
    x->request.begun_ns = c->begun_ns;
    x->request.whole_ns = metallm__loop_now(server->loop);
    x->sends_body = x->request.method != METALLM__HEAD;
    metallm__count(&server->counts.requests, 1);
    metallm__count(&server->counts.requests_open, 1);
    server->handle(server->payload, x);
}

/* When the least rate, or the time for all of it, will have been missed. */
static uint64_t body_due(const struct metallm__http_conn *c)
{
    const struct metallm__http_limits *limits = &c->x->limits;
    uint64_t total = c->body_ns + limits->body_ms * MS;
    if (limits->body_rate == 0)
        return total;
    uint64_t seconds = c->x->parser.body_n / limits->body_rate;
    uint64_t due = c->body_ns + limits->body_grace_ms * MS + seconds * 1000 * MS;
    return due < total ? due : total;
}

/* All bytes at hand are read, and the request is not whole. */
static void await_more(struct metallm__http_conn *c)
{
    struct metallm__http_server *server = c->server;
    struct metallm__request_parser *p = &c->x->parser;
    if (p->phase != METALLM__REQUEST_BODY) {
        metallm__timer_set(server->loop, &c->timer, c->begun_ns + c->x->limits.head_ms * MS);
        return;
    }
    if (c->body_ns == 0)
        c->body_ns = metallm__loop_now(server->loop);
    if (p->expects_continue && p->body_n == 0) {
        static const struct metallm__span text = METALLM__SPAN("HTTP/1.1 100 Continue\r\n\r\n");
        metallm__stream_write(c->stream, &text, 1, NULL);
        metallm__http_conn_written(c, text.n);
    }
    p->expects_continue = false;
    metallm__timer_set(server->loop, &c->timer, body_due(c));
}

static bool begin_request(struct metallm__http_conn *c)
{
    c->x = metallm__exchange_take(c->server);
    if (c->x == NULL) {
        count_refusal(c, METALLM__REFUSED_MEMORY);
        metallm__http_conn_cut(c);
        return false;
    }
    c->x->conn = c;
    c->state = CONN_READ;
    c->begun_ns = metallm__loop_now(c->server->loop);
    c->body_ns = 0;
    return true;
}

/* Returns how many bytes were taken: fewer if a request is being answered now. */
static size_t feed(struct metallm__http_conn *c, struct metallm__span in)
{
    size_t done = 0;
    c->is_feeding = true;
    while (done < in.n && metallm__stream_is_open(c->stream)) {
        if (c->state == CONN_LINGER || (c->state == CONN_FLUSH && c->must_close)) {
            done = in.n;
            break;
        }
        if (c->state != CONN_IDLE && c->state != CONN_READ)
            break;
        if (c->x == NULL && !begin_request(c))
            break;
        done +=
            metallm__request_parser_feed(&c->x->parser, metallm__span(in.p + done, in.n - done));
        if (c->x->parser.phase == METALLM__REQUEST_DONE)
            dispatch(c);
        else if (c->x->parser.phase == METALLM__REQUEST_REFUSED)
            refuse(c);
    }
    c->is_feeding = false;
    if (c->state == CONN_READ && metallm__stream_is_open(c->stream))
        await_more(c);
    return done;
}

static void feed_ahead(struct metallm__http_conn *c)
{
    c->ahead_at += feed(c, metallm__span(c->ahead + c->ahead_at, c->ahead_n - c->ahead_at));
    if (c->ahead_at >= c->ahead_n)
        drop_ahead(c);
    if (c->is_paused && c->ahead_n - c->ahead_at < c->server->limits.ahead_bytes / 2) {
        c->is_paused = false;
        metallm__stream_resume(c->stream);
    }
}

static void keep_ahead(struct metallm__http_conn *c, struct metallm__span in)
{
    struct metallm__loop *loop = c->server->loop;
    size_t have = c->ahead_n - c->ahead_at, got = 0;
    if (c->ahead_bytes - c->ahead_n < in.n) {
        char *more = metallm__loop_block(loop, have + in.n, &got);
        if (more == NULL) {
            metallm__http_conn_cut(c);
            return;
        }
        if (have > 0)
            memcpy(more, c->ahead + c->ahead_at, have);
        metallm__loop_unblock(loop, c->ahead, c->ahead_bytes);
        c->ahead = more;
        c->ahead_bytes = got;
        c->ahead_at = 0;
        c->ahead_n = have;
    }
    memcpy(c->ahead + c->ahead_n, in.p, in.n);
    c->ahead_n += in.n;
    if (have + in.n >= c->server->limits.ahead_bytes) {
        c->is_paused = true; /* until what is there has been answered, nothing more is read */
        metallm__stream_pause(c->stream);
    }
}

/* ---- Events of the stream ---- */
static void on_bytes(void *owner, struct metallm__span in)
{
    struct metallm__http_conn *c = owner;
    metallm__count(&c->server->counts.bytes_in, in.n);
    size_t done = c->ahead_n > 0 ? 0 : feed(c, in);
    if (done < in.n && metallm__stream_is_open(c->stream))
        keep_ahead(c, metallm__span(in.p + done, in.n - done));
}

static void on_eof(void *owner)
{
    struct metallm__http_conn *c = owner;
    if (c->state == CONN_FLUSH) {
        c->must_close = true; /* it may still read its answer */
    } else {
        close_now(c);
        if (c->state == CONN_BUSY)
            tell_gone(c);
    }
}

static void on_opened(void *owner)
{
    struct metallm__http_conn *c = owner;
    to_idle(c);
}

static const struct metallm__stream_events stream_events = {
    .opened = on_opened,
    .bytes = on_bytes,
    .eof = on_eof,
    .drained = on_drained,
    .closed = on_stream_closed,
};

/* ---- Time ---- */
void metallm__http_conn_written(struct metallm__http_conn *c, size_t n)
{
    c->written += n;
    metallm__count(&c->server->counts.bytes_out, n);
    if (c->stall_armed || metallm__stream_queued(c->stream) == 0)
        return;
    c->stall_armed = true;
    c->stall_queued = metallm__stream_queued(c->stream);
    c->stall_written = c->written;
    arm(c, c->server->limits.write_stall_ms * MS);
}

/* An answer has been waiting for its reader since the timer was armed: has it taken anything? */
static void judge_stall(struct metallm__http_conn *c)
{
    size_t queued = metallm__stream_queued(c->stream);
    if (!c->stall_armed || queued == 0)
        return;
    if (queued < c->stall_queued + (c->written - c->stall_written)) {
        c->stall_armed = false;
        metallm__http_conn_written(c, 0);
        return;
    }
    count_refusal(c, METALLM__REFUSED_STALL);
    metallm__http_conn_cut(c);
}

static void on_timer(struct metallm__timer *timer)
{
    struct metallm__http_conn *c =
        (void *)((char *)timer - offsetof(struct metallm__http_conn, timer));
    if (c->stream == NULL)
        return;
    switch (c->state) {
    case CONN_TLS:
        count_refusal(c, METALLM__REFUSED_TIMEOUT);
        close_now(c);
        break;
    case CONN_IDLE:
    case CONN_LINGER:
        close_now(c);
        break;
    case CONN_READ:
        metallm__request_refuse(&c->x->parser, 408, METALLM__REFUSED_TIMEOUT,
                                "the request did not come in time");
        refuse(c);
        break;
    case CONN_BUSY:
    case CONN_FLUSH:
        judge_stall(c);
        break;
    }
}

/* ---- The beginning ---- */
/* IPv4 whole, IPv6 by its /64: who has one of its addresses has all. */
static void make_key(const struct sockaddr_storage *peer, uint8_t key[16])
{
    memset(key, 0, 16);
    if (peer->ss_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)peer)->sin6_addr;
        memcpy(key, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
    } else {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    }
}

static void on_refused_closed(void *owner, enum metallm__stream_end end, const char *why)
{
    (void)owner;
    (void)end;
    (void)why;
}

static const struct metallm__stream_events refused_events = {.closed = on_refused_closed};

static void turn_away(struct metallm__http_server *server, struct metallm__stream *s,
                      enum metallm__http_refusal why)
{
    static const struct metallm__span text = METALLM__SPAN(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 110\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"message\":\"too many connections\",\"type\":\"server_error\",\"param\":null,"
        "\"code\":\"too_many_connections\"}}\n");
    metallm__count(&server->counts.refused[why], 1);
    metallm__stream_hand(s, &refused_events, NULL);
    if (!metallm__stream_is_tls(s))
        metallm__stream_write(s, &text, 1, NULL);
    metallm__stream_close(s);
}

void metallm__http_conn_accept(void *owner, struct metallm__stream *s,
                               const struct sockaddr_storage *peer)
{
    struct metallm__http_server *server = owner;
    enum metallm__http_refusal why = METALLM__REFUSED_MEMORY;
    uint8_t key[16];
    make_key(peer, key);
    struct metallm__http_conn *c = NULL;
    const bool may = metallm__http_guard_enter(server, key, &why);
    if (may && (c = metallm__calloc(1, sizeof *c)) == NULL) {
        metallm__http_guard_leave(server, key);
        why = METALLM__REFUSED_MEMORY;
    }
    if (c == NULL) {
        turn_away(server, s, why);
        return;
    }
    *c = (struct metallm__http_conn){.server = server, .stream = s, .next = server->conns};
    memcpy(c->peer_key, key, sizeof key);
    metallm__address_text(peer, c->peer);
    c->timer.fired = on_timer;
    c->is_tls = metallm__stream_is_tls(s);
    c->link = &server->conns;
    if (c->next != NULL)
        c->next->link = &c->next;
    server->conns = c;
    server->conn_count++;
    metallm__count(&server->counts.connections, 1);
    metallm__count(&server->counts.connections_open, 1);
    metallm__stream_hand(s, &stream_events, c);
    c->state = c->is_tls ? CONN_TLS : CONN_IDLE;
    arm(c, (c->is_tls ? server->limits.head_ms : server->limits.idle_ms) * MS);
}

void metallm__http_conn_drain(struct metallm__http_conn *c)
{
    c->must_close = true;
    if (c->state == CONN_IDLE || c->state == CONN_TLS)
        close_now(c);
}

void metallm__http_conn_drop(struct metallm__http_conn *c)
{
    struct metallm__stream *s = c->stream;
    struct metallm__http_server *server = c->server;
    give_unfinished(c);
    c->stream = NULL; /* so that finishing the exchange frees the connection */
    if (s != NULL) {
        metallm__stream_hand(s, &refused_events, NULL);
        metallm__stream_reset(s);
    }
    if (c->x == NULL) {
        free_conn(c);
        return;
    }
    uint64_t before = server->conn_count;
    if (!c->x->is_gone)
        tell_gone(c);
    METALLM_REQUIRE(server->conn_count < before); /* the handler has to finish it within gone */
}
