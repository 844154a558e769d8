/* SPDX-License-Identifier: Apache-2.0
 * test_net_client.c - HTTP calls against a peer that says what each test wants it to say: answers
 * in every form and cut everywhere, kept connections, timeouts, cancelling, back-pressure. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/http_client.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/net_peer.h"

#define SECOND UINT64_C(1000000000)

struct world {
    struct net_time time;
    struct metallm__loop *loop;
    struct metallm__dns *dns;
    struct metallm__http_pool *pool;
    struct metallm__origin *origin;
    int listener;
    uint16_t port;
};

struct called {
    struct metallm__http_call *call;
    int status;
    uint64_t length;
    char body[8192], type[64], message[128];
    size_t body_n;
    bool has_ended, has_failed, was_kept, is_over;
    struct metallm__http_call_fault fault;
    enum { KEEP_ON, PAUSE_AT_BODY, CANCEL_AT_HEAD, CANCEL_AT_BODY, CANCEL_AT_CONNECTED } mood;
};

static void cancel(struct called *c)
{
    metallm__http_call_cancel(c->call);
    c->call = NULL;
    c->is_over = true;
}

static void on_connected(void *owner, bool was_kept)
{
    struct called *c = owner;
    c->was_kept = was_kept;
    if (c->mood == CANCEL_AT_CONNECTED)
        cancel(c);
}

static void on_head(void *owner, const struct metallm__http_answer *a)
{
    struct called *c = owner;
    struct metallm__span type = metallm__headers_value(a->headers, "content-type");
    assert_int_equal(c->status, 0);
    c->status = a->status;
    c->length = a->length;
    (void)snprintf(c->type, sizeof c->type, "%.*s", (int)type.n, type.n ? type.p : "");
    if (c->mood == CANCEL_AT_HEAD)
        cancel(c);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct called *c = owner;
    assert_true(c->status != 0 && !c->is_over && piece.n > 0);
    size_t room = c->body_n < sizeof c->body - 1 ? sizeof c->body - 1 - c->body_n : 0;
    size_t n = piece.n < room ? piece.n : room;
    if (n > 0)
        memcpy(c->body + c->body_n, piece.p, n);
    c->body_n += piece.n;
    if (c->mood == PAUSE_AT_BODY)
        metallm__http_call_pause(c->call);
    if (c->mood == CANCEL_AT_BODY)
        cancel(c);
}

static void on_end(void *owner)
{
    struct called *c = owner;
    assert_false(c->is_over);
    c->has_ended = c->is_over = true;
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct called *c = owner;
    assert_false(c->is_over);
    c->has_failed = c->is_over = true;
    c->fault = *fault;
    assert_true(strlen(fault->message) > 0);
    (void)snprintf(c->message, sizeof c->message, "%s", fault->message);
}

static const struct metallm__http_call_events events = {on_connected, on_head, on_body, on_end,
                                                        on_failed};

static void start(struct world *w)
{
    *w = (struct world){.time = {SECOND, 0}};
    struct metallm__clock clock = net_clock(&w->time);
    struct metallm__loop_options opts = {.clock = &clock};
    assert_int_equal(metallm__loop_new(&w->loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__dns_new(&w->dns, w->loop, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__http_pool_new(&w->pool, w->loop, w->dns, NULL, NULL), METALLM_OK);
    w->listener = net_listen(&w->port);
    assert_int_equal(metallm__origin_get(&w->origin, w->pool, "127.0.0.1", w->port, NULL, NULL),
                     METALLM_OK);
}

static struct metallm__http_call_counts stop(struct world *w)
{
    struct metallm__http_call_counts counts;
    metallm__http_pool_counts(w->pool, &counts);
    metallm__origin_put(w->origin);
    metallm__http_pool_free(w->pool);
    metallm__dns_free(w->dns);
    metallm__loop_free(w->loop);
    close(w->listener);
    return counts;
}

static struct metallm__http_call_options usual(struct world *w)
{
    static const struct metallm__header headers[] = {
        {METALLM__SPAN("Content-Type"), METALLM__SPAN("application/json")},
        {METALLM__SPAN("Connection"), METALLM__SPAN("close")}, /* left out */
        {METALLM__SPAN("Host"), METALLM__SPAN("elsewhere")},   /* left out */
    };
    static const struct metallm__span body[] = {METALLM__SPAN("{\"a\""), METALLM__SPAN(":1}")};
    return (struct metallm__http_call_options){.origin = w->origin,
                                               .method = METALLM__POST,
                                               .target = METALLM__SPAN("/v1/x"),
                                               .headers = {headers, 3},
                                               .body = body,
                                               .body_count = 2,
                                               .connect_ns = 5 * SECOND,
                                               .first_ns = 20 * SECOND,
                                               .gap_ns = 10 * SECOND,
                                               .total_ns = 60 * SECOND};
}

static void call(struct world *w, struct called *c, const struct metallm__http_call_options *opts)
{
    struct metallm__http_call_options o = opts != NULL ? *opts : usual(w);
    memset(c, 0, offsetof(struct called, mood));
    assert_int_equal(metallm__http_call_start(&c->call, &o, &events, c, NULL), METALLM_OK);
}

/* A call whose request has arrived at p. */
static void begin(struct world *w, struct called *c, struct net_peer *p)
{
    call(w, c, NULL);
    net_accept(w->loop, w->listener, p);
    assert_true(net_hear(w->loop, p, "{\"a\":1}"));
}

static void the_request_is_what_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    char expected[256];
    start(&w);
    begin(&w, &c, &p);
    (void)snprintf(expected, sizeof expected,
                   "POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
                   "Content-Length: 7\r\n\r\n{\"a\":1}",
                   (unsigned)w.port);
    assert_string_equal(p.got, expected);
    net_say(w.loop, &p, "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
    assert_true(net_wait(w.loop, &c.is_over));
    assert_true(c.has_ended);
    assert_int_equal(c.status, 200);
    assert_int_equal(c.length, 2);
    assert_string_equal(c.type, "t/x");
    assert_string_equal(c.body, "ok");
    assert_int_equal(metallm__origin_idle(w.origin), 1);
    net_free(&p);
    (void)stop(&w);
}

/* ---- Answers of every form, cut at each byte ---- */
struct answer {
    const char *text;
    int status; /* 0: fails */
    const char *body;
    bool is_kept, closes; /* the peer closes behind it */
    enum metallm__http_call_failure why;
};

#define OK "HTTP/1.1 200 OK\r\n"
static const struct answer answers[] = {
    {OK "Content-Length: 5\r\n\r\nhello", 200, "hello", true, false, 0},
    {OK "Content-Length: 0\r\n\r\n", 200, "", true, false, 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: t\r\n\r\n", 200,
     "abcde", true, false, 0},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" OK
     "Content-Length: 1\r\n\r\nx",
     200, "x", true, false, 0},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true, false, 0},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", true, false, 0},
    {"HTTP/1.1 503\r\nContent-Length: 2\r\nRetry-After: 3\r\n\r\nno", 503, "no", true, false, 0},
    {OK "Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false, false, 0},
    {OK "\r\nto the end", 200, "to the end", false, true, 0},
    {"HTTP/1.0 200 OK\r\n\r\nold", 200, "old", false, true, 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", 200, "old", false, false, 0},
    {OK "Content-Length: 5\r\n\r\nhel", 0, NULL, false, true, METALLM__HTTP_BROKEN},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nab", 0, NULL, false, true, METALLM__HTTP_BROKEN},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 0, NULL, false, true,
     METALLM__HTTP_BROKEN},
    {OK "Content-Le", 0, NULL, false, true, METALLM__HTTP_BROKEN},
    {"", 0, NULL, false, true, METALLM__HTTP_RESET},
    {"garbage\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {"HTTP/2 200\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {"HTTP/1.1 99 Low\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 0, NULL, false, false,
     METALLM__HTTP_BAD_ANSWER},
    {OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 0, NULL, false, false,
     METALLM__HTTP_BAD_ANSWER},
    {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0, NULL, false, false,
     METALLM__HTTP_BAD_ANSWER},
    {OK "Transfer-Encoding: gzip\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {OK "Content-Length: x\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 0, NULL, false, false,
     METALLM__HTTP_BAD_ANSWER},
    {OK "X: a\x01z\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
    {OK "A: b\r\n c\r\n\r\n", 0, NULL, false, false, METALLM__HTTP_BAD_ANSWER},
};

static void judge_answer(struct world *w, const struct answer *a, size_t cut)
{
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    size_t n = strlen(a->text);
    begin(w, &c, &p);
    net_send(w->loop, &p, a->text, cut);
    if (cut < n) {
        metallm__loop_turn(w->loop, 1);
        net_send(w->loop, &p, a->text + cut, n - cut);
    }
    if (a->closes)
        net_close(&p);
    assert_true(net_wait(w->loop, &c.is_over));
    if (a->status != 0) {
        assert_true(c.has_ended);
        assert_int_equal(c.status, a->status);
        assert_string_equal(c.body, a->body);
        assert_int_equal(metallm__origin_idle(w->origin), a->is_kept);
    } else {
        assert_true(c.has_failed);
        assert_string_equal(metallm__http_call_failure_name(c.fault.why),
                            metallm__http_call_failure_name(a->why));
        assert_false(c.fault.was_stale);
        assert_int_equal(metallm__origin_idle(w->origin), 0);
    }
    net_free(&p);
    for (int i = 0; i < 500 && metallm__origin_idle(w->origin) > 0; i++)
        metallm__loop_turn(w->loop, 1); /* its closing is seen */
    assert_int_equal(metallm__origin_idle(w->origin), 0);
}

static void answers_are_read_the_same_however_cut(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++)
        for (size_t cut = strlen(answers[i].text);; cut -= cut < 5 ? cut : 5) {
            judge_answer(&w, &answers[i], cut);
            if (cut == 0)
                break;
        }
    (void)stop(&w);
}

static void an_answer_to_head_has_no_body(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    start(&w);
    struct metallm__http_call_options o = usual(&w);
    o.method = METALLM__HEAD;
    o.body_count = 0;
    call(&w, &c, &o);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_hear(w.loop, &p, "\r\n\r\n"));
    assert_int_equal(net_count(&p, "Content-Length"), 0);
    net_say(w.loop, &p, OK "Content-Length: 500\r\n\r\n");
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_int_equal(metallm__origin_idle(w.origin), 1);
    net_free(&p);
    (void)stop(&w);
}

static void heads_are_limited(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    static char big[80000];
    start(&w);
    begin(&w, &c, &p);
    size_t n = (size_t)snprintf(big, sizeof big, OK "X: ");
    memset(big + n, 'x', sizeof big - n);
    net_send(w.loop, &p, big, sizeof big);
    assert_true(net_wait(w.loop, &c.has_failed));
    assert_int_equal(c.fault.why, METALLM__HTTP_TOO_LARGE);
    net_free(&p);
    (void)stop(&w);
}

/* ---- Kept connections ---- */
static const char plain_answer[] = OK "Content-Length: 2\r\n\r\nok";

static void connections_are_used_again(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON}, d = c;
    struct net_peer p, q;
    start(&w);
    begin(&w, &c, &p);
    net_say(w.loop, &p, plain_answer);
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_false(c.was_kept);
    for (int i = 0; i < 5; i++) {
        net_forget(&p);
        call(&w, &c, NULL);
        assert_true(net_hear(w.loop, &p, "{\"a\":1}"));
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        assert_true(c.was_kept);
    }
    struct metallm__http_call_options fresh = usual(&w);
    fresh.fresh = true;
    call(&w, &d, &fresh);
    net_accept(w.loop, w.listener, &q);
    assert_true(net_hear(w.loop, &q, "{\"a\":1}"));
    net_say(w.loop, &q, plain_answer);
    assert_true(net_wait(w.loop, &d.has_ended));
    assert_int_equal(metallm__origin_idle(w.origin), 2);
    net_pass(w.loop, &w.time, 51000); /* idle for too long */
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    assert_true(net_ends(w.loop, &p) && net_ends(w.loop, &q));
    net_free(&p);
    net_free(&q);
    struct metallm__http_call_counts counts = stop(&w);
    assert_int_equal(counts.calls, 7);
    assert_int_equal(counts.connects, 2);
    assert_int_equal(counts.reuses, 5);
    assert_int_equal(counts.connections_open, 0);
}

/* The server closes a kept connection just when it is used again. */
static void a_stale_connection_is_told(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct world w;
        struct called c = {.mood = KEEP_ON};
        struct net_peer p;
        start(&w);
        begin(&w, &c, &p);
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        if (reset)
            net_reset(&p);
        else
            net_close(&p);
        call(&w, &c, NULL); /* before the loop could see it */
        assert_true(net_wait(w.loop, &c.is_over));
        assert_true(c.has_failed);
        assert_int_equal(c.fault.why, METALLM__HTTP_RESET);
        assert_true(c.fault.was_stale && c.fault.was_sent);
        net_free(&p);
        (void)stop(&w);
    }
}

static void what_nobody_asked_for_ends_a_kept_connection(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    start(&w);
    begin(&w, &c, &p);
    net_say(w.loop, &p, OK "Content-Length: 2\r\n\r\nok" OK);
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    begin(&w, &c, &p);
    net_say(w.loop, &p, plain_answer);
    assert_true(net_wait(w.loop, &c.has_ended));
    net_say(w.loop, &p, OK);
    net_turn(w.loop, 3);
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    (void)stop(&w);
}

/* An answer before the request is all out: it counts, but the connection is done. */
static void an_early_answer_is_taken(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    size_t n = 32 << 20;
    char *big = calloc(1, n);
    assert_non_null(big);
    start(&w);
    struct metallm__http_call_options o = usual(&w);
    struct metallm__span body = {big, n};
    o.body = &body;
    o.body_count = 1;
    call(&w, &c, &o);
    net_accept(w.loop, w.listener, &p);
    net_turn(w.loop, 3);
    net_say(w.loop, &p, "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
    assert_true(net_wait(w.loop, &c.has_ended));
    free(big); /* not needed from here on */
    assert_int_equal(c.status, 413);
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    (void)stop(&w);
}

/* ---- Failures and time ---- */
static void nobody_there_and_no_such_name_are_told(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct metallm__origin *nowhere = NULL;
    start(&w);
    close(w.listener);
    call(&w, &c, NULL);
    assert_true(net_wait(w.loop, &c.is_over));
    assert_int_equal(c.fault.why, METALLM__HTTP_CONNECT);
    assert_false(c.fault.was_sent);
    assert_int_equal(metallm__origin_get(&nowhere, w.pool, "no-such-host.invalid", 80, NULL, NULL),
                     METALLM_OK);
    struct metallm__http_call_options o = usual(&w);
    o.origin = nowhere;
    call(&w, &c, &o);
    assert_true(net_wait(w.loop, &c.is_over));
    assert_int_equal(c.fault.why, METALLM__HTTP_DNS);
    metallm__origin_put(nowhere);
    assert_int_equal(metallm__origin_get(&nowhere, w.pool, "a b", 80, NULL, NULL), METALLM_EINVAL);
    w.listener = net_listen(&w.port);
    (void)stop(&w);
}

static void each_wait_has_its_timeout(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        uint64_t fine_ms, over_ms;
        enum metallm__http_call_failure why;
    } cases[] = {
        {"", 19500, 1000, METALLM__HTTP_TIMEOUT_FIRST},
        {OK "Content-", 9500, 1000, METALLM__HTTP_TIMEOUT_GAP},
        {OK "Content-Length: 5\r\n\r\nab", 9500, 1000, METALLM__HTTP_TIMEOUT_GAP},
    };
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    start(&w);
    for (unsigned i = 0; i < 3; i++) {
        begin(&w, &c, &p);
        net_say(w.loop, &p, cases[i].said);
        net_pass(w.loop, &w.time, cases[i].fine_ms);
        assert_false(c.is_over);
        net_pass(w.loop, &w.time, cases[i].over_ms);
        assert_true(c.has_failed);
        assert_int_equal(c.fault.why, cases[i].why);
        assert_true(net_ends(w.loop, &p));
        net_free(&p);
    }
    begin(&w, &c, &p); /* a piece now and then, without end */
    net_say(w.loop, &p, OK "Transfer-Encoding: chunked\r\n\r\n");
    unsigned seconds = 0;
    for (; seconds < 100 && !c.is_over; seconds++) {
        net_say(w.loop, &p, "1\r\nx\r\n");
        net_pass(w.loop, &w.time, 1000);
    }
    assert_in_range(seconds, 58, 62);
    assert_int_equal(c.fault.why, METALLM__HTTP_TIMEOUT_TOTAL);
    net_free(&p);
    (void)stop(&w);
}

static void cancelling_is_possible_at_any_moment(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    start(&w);
    call(&w, &c, NULL); /* while it connects */
    cancel(&c);
    net_turn(w.loop, 3);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    begin(&w, &c, &p); /* while it waits */
    cancel(&c);
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    c.mood = CANCEL_AT_CONNECTED;
    call(&w, &c, NULL);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_ends(w.loop, &p));
    assert_int_equal(p.got_n, 0);
    net_free(&p);
    for (int mood = CANCEL_AT_HEAD; mood <= CANCEL_AT_BODY; mood++) {
        c.mood = KEEP_ON;
        begin(&w, &c, &p);
        c.mood = mood == CANCEL_AT_HEAD ? CANCEL_AT_HEAD : CANCEL_AT_BODY;
        net_say(w.loop, &p, OK "Content-Length: 4\r\n\r\nabcd");
        assert_true(net_ends(w.loop, &p));
        assert_true(c.is_over && !c.has_ended && !c.has_failed);
        net_free(&p);
    }
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    assert_int_equal(stop(&w).connections_open, 0);
}

/* ---- Back-pressure ---- */
static void a_paused_call_holds_the_server_back(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    static char block[65536];
    char head[128];
    size_t total = 24 << 20, sent = 0;
    start(&w);
    begin(&w, &c, &p);
    (void)snprintf(head, sizeof head, OK "Content-Length: %zu\r\n\r\nfirst", total + 5);
    net_say(w.loop, &p, head);
    while (c.body_n < 5)
        metallm__loop_turn(w.loop, 1);
    metallm__http_call_pause(c.call);
    for (int idle = 0; idle < 50 && sent < total;) {
        ssize_t n = send(p.fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        metallm__loop_turn(w.loop, 0);
    }
    assert_true(sent < total); /* the sockets are full */
    assert_true(c.body_n <= 5 + 65536);
    net_pass(w.loop, &w.time, 20000); /* no gap while paused */
    assert_false(c.is_over);
    metallm__http_call_resume(c.call);
    while (sent < total) {
        size_t n = total - sent < sizeof block ? total - sent : sizeof block;
        net_send(w.loop, &p, block, n);
        sent += n;
    }
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_int_equal(c.body_n, total + 5);
    net_free(&p);
    (void)stop(&w);
}

/* Pausing at the last byte leaves no paused connection behind. */
static void a_call_that_ends_paused_leaves_a_sound_connection(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = PAUSE_AT_BODY};
    struct net_peer p;
    start(&w);
    begin(&w, &c, &p);
    for (int i = 0; i < 3; i++) {
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        net_forget(&p);
        call(&w, &c, NULL);
        assert_true(net_hear(w.loop, &p, "{\"a\":1}"));
    }
    cancel(&c);
    net_free(&p);
    (void)stop(&w);
}

/* ---- What must not be sent ---- */
static void unsound_requests_are_not_made(void **state)
{
    (void)state;
    struct world w;
    struct called c = {.mood = KEEP_ON};
    start(&w);
    static const struct metallm__header bad[] = {
        {METALLM__SPAN("X"), METALLM__SPAN("a\r\nY: b")},
        {METALLM__SPAN("X Y"), METALLM__SPAN("a")},
        {METALLM__SPAN(""), METALLM__SPAN("a")},
    };
    for (int i = 0; i < 3; i++) {
        struct metallm__http_call_options o = usual(&w);
        o.headers = (struct metallm__headers){&bad[i], 1};
        assert_int_equal(metallm__http_call_start(&c.call, &o, &events, &c, NULL), METALLM_EINVAL);
    }
    static const char *const targets[] = {"", "v1", "/a b", "/a\r\nX: y"};
    for (int i = 0; i < 4; i++) {
        struct metallm__http_call_options o = usual(&w);
        o.target = metallm__span_of(targets[i]);
        assert_int_equal(metallm__http_call_start(&c.call, &o, &events, &c, NULL), METALLM_EINVAL);
    }
    (void)stop(&w);
}

/* ---- Memory ---- */
static int one_call(void *payload)
{
    struct world *w = payload;
    struct called c = {.mood = KEEP_ON};
    struct net_peer p;
    struct metallm__http_call_options o = usual(w);
    o.fresh = true;
    int rc = metallm__http_call_start(&c.call, &o, &events, &c, NULL);
    if (rc != METALLM_OK)
        return rc;
    for (int i = 0; i < 20 && !c.is_over; i++)
        metallm__loop_turn(w->loop, 1);
    if (!c.is_over) {
        net_accept(w->loop, w->listener, &p);
        net_say(w->loop, &p, plain_answer);
        assert_true(net_wait(w->loop, &c.is_over));
        net_free(&p);
    }
    net_turn(w->loop, 2);
    if (c.has_failed)
        assert_int_equal(c.fault.why, METALLM__HTTP_MEMORY);
    return c.has_ended ? METALLM_OK : METALLM_ENOMEM;
}

static void without_memory_a_call_fails_and_leaves_nothing(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    assert_true(fail_alloc_sweep(one_call, &w) >= 4);
    (void)stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_is_what_was_asked_for),
        cmocka_unit_test(answers_are_read_the_same_however_cut),
        cmocka_unit_test(an_answer_to_head_has_no_body),
        cmocka_unit_test(heads_are_limited),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(a_stale_connection_is_told),
        cmocka_unit_test(what_nobody_asked_for_ends_a_kept_connection),
        cmocka_unit_test(an_early_answer_is_taken),
        cmocka_unit_test(nobody_there_and_no_such_name_are_told),
        cmocka_unit_test(each_wait_has_its_timeout),
        cmocka_unit_test(cancelling_is_possible_at_any_moment),
        cmocka_unit_test(a_paused_call_holds_the_server_back),
        cmocka_unit_test(a_call_that_ends_paused_leaves_a_sound_connection),
        cmocka_unit_test(unsound_requests_are_not_made),
        cmocka_unit_test(without_memory_a_call_fails_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
