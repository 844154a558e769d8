/* SPDX-License-Identifier: Apache-2.0
 * test_net_server.c - the HTTP server over real sockets: answers in every form, clients that hang
 * up, dawdle or do not read, limits, and draining. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/http_server.h"
#include "support/cmocka_all.h"
#include "support/net_peer.h"

struct world {
    struct net_time time;
    struct metallm__loop *loop;
    struct metallm__http_server *server;
    uint16_t port;
    struct metallm__exchange *open[8]; /* those of /later, in their order */
    unsigned open_count, handled, gone, drained_pieces;
    bool was_drained, was_cut;
    char last[128]; /* target and body of the last request */
};

static const struct metallm__headers no_headers = {NULL, 0};

static void on_gone(void *owner)
{
    struct world *w = owner;
    w->gone++;
    for (unsigned i = 0; i < w->open_count; i++)
        if (w->open[i] != NULL && metallm__exchange_is_gone(w->open[i])) {
            struct metallm__exchange *x = w->open[i];
            w->open[i] = NULL;
            metallm__reply_abort(x);
        }
}

static void on_piece_drained(void *owner)
{
    ((struct world *)owner)->drained_pieces++;
}

static const struct metallm__exchange_events watch = {.gone = on_gone, .drained = on_piece_drained};

static void handle(void *payload, struct metallm__exchange *x)
{
    static const struct metallm__header headers[] = {
        {METALLM__SPAN("Content-Type"), METALLM__SPAN("text/plain")},
        {METALLM__SPAN("Content-Length"), METALLM__SPAN("99")}, /* ours, not the handler's */
        {METALLM__SPAN("X-Evil"), METALLM__SPAN("a\r\nSet-Cookie: b")},
        {METALLM__SPAN("transfer-encoding"), METALLM__SPAN("gzip")},
    };
    struct world *w = payload;
    const struct metallm__request *q = metallm__exchange_request(x);
    struct metallm__headers all = {headers, 4};
    (void)snprintf(w->last, sizeof w->last, "%.*s %.*s", (int)q->target.n, q->target.p,
                   (int)(q->body.n < 64 ? q->body.n : 64), q->body.p);
    w->handled++;
    if (metallm__span_is(q->path, "/later")) {
        assert_true(w->open_count < 8);
        w->open[w->open_count++] = x;
        metallm__exchange_watch(x, &watch, w);
    } else if (metallm__span_is(q->path, "/pieces")) {
        metallm__reply_head(x, 200, all, METALLM__LENGTH_UNKNOWN);
        metallm__reply_piece(x, metallm__span("one", 3), NULL);
        metallm__reply_piece(x, metallm__span(NULL, 0), NULL);
        metallm__reply_piece(x, metallm__span("two", 3), NULL);
        metallm__reply_end(x);
    } else if (metallm__span_is(q->path, "/known")) {
        metallm__reply_head(x, 200, no_headers, 6);
        metallm__reply_piece(x, metallm__span("abcdef", 6), NULL);
        metallm__reply_end(x);
    } else if (metallm__span_is(q->path, "/short")) {
        metallm__reply_head(x, 200, no_headers, 6);
        metallm__reply_piece(x, metallm__span("abc", 3), NULL);
        metallm__reply_end(x);
    } else if (metallm__span_is(q->path, "/none")) {
        metallm__reply(x, 204, no_headers, metallm__span(NULL, 0), NULL);
    } else {
        metallm__reply(x, 200, all, q->body.n > 0 ? q->body : q->target, NULL);
    }
}

static void on_drained(void *payload, bool was_cut)
{
    struct world *w = payload;
    w->was_drained = true;
    w->was_cut = was_cut;
}

static struct metallm__http_limits test_limits(void)
{
    struct metallm__http_limits limits = metallm__http_limits_default();
    limits.body_bytes = 1 << 20;
    limits.ahead_bytes = 4096;
    return limits;
}

static void start(struct world *w, const struct metallm__http_limits *limits)
{
    struct metallm__http_limits usual = test_limits();
    struct sockaddr_storage address;
    int fd = -1;
    *w = (struct world){.time = {1000000000, INT64_C(784111777000)}};
    struct metallm__clock clock = net_clock(&w->time);
    struct metallm__loop_options loop_opts = {.clock = &clock};
    struct metallm__http_server_options opts = {
        .limits = limits != NULL ? limits : &usual, .handle = handle, .payload = w};
    opts.drained = on_drained;
    assert_int_equal(metallm__loop_new(&w->loop, &loop_opts, NULL), METALLM_OK);
    assert_int_equal(metallm__address_parse("127.0.0.1:0", &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, true, &fd, &w->port, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_new(&w->server, w->loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_listen(w->server, fd, NULL, NULL), METALLM_OK);
}

static struct metallm__http_counts stop(struct world *w)
{
    struct metallm__http_counts counts;
    metallm__http_server_counts(w->server, &counts);
    metallm__http_server_free(w->server);
    metallm__loop_free(w->loop);
    return counts;
}

static void answer_open(struct world *w, unsigned i, const char *text)
{
    struct metallm__exchange *x = w->open[i];
    w->open[i] = NULL;
    metallm__reply(x, 200, no_headers, metallm__span_of(text), NULL);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void answers_have_the_right_frames(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
         "Content-Length: 2\r\n\r\nhi"},
        {GET("/pieces"),
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
         "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"},
        {GET("/known"), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                        "Content-Length: 6\r\n\r\nabcdef"},
        {GET("/none"), "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"},
        {"HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
         "Content-Length: 4\r\n\r\n"},
        {"HEAD /pieces HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
         "Transfer-Encoding: chunked\r\n\r\n"},
        {"GET /pieces HTTP/1.0\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
         "Connection: close\r\n\r\nonetwo"},
    };
    start(&w, NULL);
    net_connect(&p, w.port);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) { /* one connection for all */
        net_forget(&p);
        net_say(w.loop, &p, cases[i].request);
        assert_true(net_hear_bytes(w.loop, &p, strlen(cases[i].answer)));
        net_turn(w.loop, 2);
        net_read(&p);
        assert_string_equal(p.got, cases[i].answer);
    }
    assert_true(net_ends(w.loop, &p)); /* after HTTP/1.0 without keep-alive */
    net_free(&p);
    struct metallm__http_counts c = stop(&w);
    assert_int_equal(c.connections, 1);
    assert_int_equal(c.requests, 7);
    assert_int_equal(c.requests_open, 0);
}

static void an_answer_shorter_than_promised_is_cut(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/short"));
    assert_true(net_ends(w.loop, &p));
    assert_true(p.was_reset || net_count(&p, "abcdef") == 0);
    net_free(&p);
    (void)stop(&w);
}

static void a_request_in_any_pieces_is_answered_the_same(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    const char *text = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    start(&w, NULL);
    net_connect(&p, w.port);
    for (size_t i = 0; i < strlen(text); i++)
        net_send(w.loop, &p, text + i, 1);
    assert_true(net_hear(w.loop, &p, "\r\n\r\nabcde"));
    for (size_t cut = 1; cut < strlen(text); cut += 3) {
        net_forget(&p);
        net_send(w.loop, &p, text, cut);
        net_send(w.loop, &p, text + cut, strlen(text) - cut);
        assert_true(net_hear(w.loop, &p, "\r\n\r\nabcde"));
    }
    net_free(&p);
    (void)stop(&w);
}

static void pipelined_requests_are_answered_in_their_order(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/1") GET("/later") GET("/2") GET("/later") GET("/3"));
    assert_true(net_hear(w.loop, &p, "/1"));
    net_turn(w.loop, 3);
    net_read(&p);
    assert_int_equal(w.handled, 2); /* one at a time */
    answer_open(&w, 0, "first");
    assert_true(net_hear(w.loop, &p, "/2"));
    assert_int_equal(w.open_count, 2);
    answer_open(&w, 1, "second");
    assert_true(net_hear(w.loop, &p, "/3"));
    const char *one = strstr(p.got, "first"), *two = strstr(p.got, "/2");
    const char *three = strstr(p.got, "second"), *four = strstr(p.got, "/3");
    assert_true(one < two && two < three && three < four);
    net_free(&p);
    (void)stop(&w);
}

/* Hundreds of small requests behind one that waits: they are held, not read without end. */
static void reading_ahead_is_bounded(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    static char many[40000];
    size_t n = 0;
    unsigned count = 0;
    while (n + 64 < sizeof many) {
        n += (size_t)snprintf(many + n, sizeof many - n, GET("/n"));
        count++;
    }
    net_send(w.loop, &p, many, n);
    net_turn(w.loop, 5);
    struct metallm__http_counts c;
    metallm__http_server_counts(w.server, &c);
    assert_in_range(c.bytes_in, 4096, 4096 + 65536 + 64); /* a read more than the limit at most */
    answer_open(&w, 0, "go on");
    for (int i = 0; i < 2000 && w.handled < count + 1; i++) {
        metallm__loop_turn(w.loop, 1);
        net_read(&p);
    }
    assert_int_equal(w.handled, count + 1);
    net_free(&p);
    (void)stop(&w);
}

static void continue_is_said_when_the_body_is_awaited(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    const char *head = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                       "Content-Length: 2\r\n\r\n";
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, head);
    assert_true(net_hear(w.loop, &p, "HTTP/1.1 100 Continue\r\n\r\n"));
    net_say(w.loop, &p, "hi");
    assert_true(net_hear(w.loop, &p, "\r\n\r\nhi"));
    net_forget(&p);
    char both[256]; /* who sends the body at once is not asked for it */
    (void)snprintf(both, sizeof both, "%shi", head);
    net_say(w.loop, &p, both);
    assert_true(net_hear(w.loop, &p, "\r\n\r\nhi"));
    assert_int_equal(net_count(&p, "100 Continue"), 0);
    net_forget(&p);
    net_say(w.loop, &p,
            "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            "Content-Length: 99999999\r\n\r\n");
    assert_true(net_ends(w.loop, &p));
    assert_int_equal(net_count(&p, "HTTP/1.1 413 "), 1);
    assert_int_equal(net_count(&p, "100 Continue"), 0);
    net_free(&p);
    (void)stop(&w);
}

static void a_refusal_is_an_error_object_and_the_end(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/ok"));
    net_say(w.loop, &p,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx" GET(
                "/smuggled"));
    assert_true(net_ends(w.loop, &p));
    assert_false(p.was_reset);
    assert_non_null(strstr(p.got, "HTTP/1.1 400 Bad Request\r\n"));
    assert_non_null(strstr(p.got, "Connection: close\r\n"));
    assert_non_null(strstr(p.got, "{\"error\":{\"message\":\"more than one length of the body\","
                                  "\"type\":\"invalid_request_error\",\"param\":null,"));
    assert_int_equal(w.handled, 1);
    net_free(&p);
    assert_int_equal(stop(&w).refused[METALLM__REFUSED_SYNTAX], 1);
}

static void a_hang_up_is_told_while_the_answer_is_made(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p[3];
    start(&w, NULL);
    for (int i = 0; i < 3; i++) {
        net_connect(&p[i], w.port);
        net_say(w.loop, &p[i], GET("/later"));
        net_turn(w.loop, 3);
    }
    assert_int_equal(w.open_count, 3);
    net_close(&p[0]);
    net_turn(w.loop, 5);
    assert_int_equal(w.gone, 1);
    net_reset(&p[1]);
    net_turn(w.loop, 5);
    assert_int_equal(w.gone, 2);
    answer_open(&w, 2, "still here");
    assert_true(net_hear(w.loop, &p[2], "still here"));
    for (int i = 0; i < 3; i++)
        net_free(&p[i]);
    assert_int_equal(stop(&w).gone, 2);
}

/* The handler may learn of it in its own time. */
static void an_exchange_outlives_its_client(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    net_turn(w.loop, 3);
    metallm__exchange_watch(w.open[0], NULL, NULL);
    net_reset(&p);
    net_turn(w.loop, 5);
    assert_true(metallm__exchange_is_gone(w.open[0]));
    assert_true(metallm__span_is(metallm__exchange_request(w.open[0])->target, "/later"));
    metallm__reply_head(w.open[0], 200, no_headers, METALLM__LENGTH_UNKNOWN);
    metallm__reply_piece(w.open[0], metallm__span("x", 1), NULL);
    metallm__reply_end(w.open[0]);
    struct metallm__http_counts c = stop(&w);
    assert_int_equal(c.connections_open, 0);
    net_free(&p);
}

/* ---- Slow readers ---- */
static void count_release(void *arg)
{
    ++*(unsigned *)arg;
}

static void a_slow_reader_is_seen_and_loses_nothing(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    static char block[65536];
    unsigned released = 0, pieces = 0;
    struct metallm__hold hold = {count_release, &released};
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    net_turn(w.loop, 3);
    struct metallm__exchange *x = w.open[0];
    metallm__reply_head(x, 200, no_headers, METALLM__LENGTH_UNKNOWN);
    memset(block, 'z', sizeof block);
    while (metallm__reply_queued(x) < 300000) {
        metallm__reply_piece(x, metallm__span(block, sizeof block), &hold);
        pieces++;
    }
    assert_true(released < pieces); /* what is queued is still referred to, not copied */
    while (w.drained_pieces == 0) {
        net_read(&p);
        metallm__loop_turn(w.loop, 1);
    }
    assert_int_equal(released, pieces);
    assert_int_equal(metallm__reply_queued(x), 0);
    w.open[0] = NULL;
    metallm__reply_end(x);
    assert_true(net_hear(w.loop, &p, "\r\n0\r\n\r\n"));
    size_t zs = 0;
    for (size_t i = 0; i < p.got_n; i++)
        zs += p.got[i] == 'z';
    assert_int_equal(zs, pieces * sizeof block);
    net_free(&p);
    (void)stop(&w);
}

static void a_reader_that_stalls_is_cut(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    static char block[1 << 20];
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    net_turn(w.loop, 3);
    struct metallm__exchange *x = w.open[0];
    metallm__reply_head(x, 200, no_headers, METALLM__LENGTH_UNKNOWN);
    while (metallm__reply_queued(x) == 0)
        metallm__reply_piece(x, metallm__span(block, sizeof block), NULL);
    net_pass(w.loop, &w.time, 25000);
    assert_int_equal(w.gone, 0);
    for (int i = 0; i < 200; i++) { /* it reads a little: that is patience for another while */
        net_read(&p);
        metallm__loop_turn(w.loop, 0);
    }
    while (metallm__reply_queued(x) == 0)
        metallm__reply_piece(x, metallm__span(block, sizeof block), NULL);
    net_pass(w.loop, &w.time, 25000);
    assert_int_equal(w.gone, 0);
    net_pass(w.loop, &w.time, 36000);
    assert_int_equal(w.gone, 1);
    assert_null(w.open[0]);
    net_free(&p);
    assert_int_equal(stop(&w).refused[METALLM__REFUSED_STALL], 1);
}

/* ---- Time ---- */
static void each_phase_has_its_timeout(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        uint64_t fine_ms, over_ms;
        int status; /* 0: closed without a word */
    } cases[] = {
        {"", 74000, 2000, 0},
        {GET("/x"), 74000, 2000, 0},
        {"GET / HT", 9500, 1000, 408},
        {"GET / HTTP/1.1\r\nHost: a\r\nX:", 9500, 1000, 408},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 4500, 1500, 408},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        struct net_peer p;
        start(&w, NULL);
        net_connect(&p, w.port);
        net_turn(w.loop, 3);
        net_say(w.loop, &p, cases[i].said);
        net_pass(w.loop, &w.time, cases[i].fine_ms);
        net_read(&p);
        net_forget(&p);
        assert_true(p.fd >= 0);
        net_pass(w.loop, &w.time, cases[i].over_ms);
        net_read(&p);
        if (cases[i].status != 0)
            assert_int_equal(net_count(&p, "HTTP/1.1 408 Request Timeout\r\n"), 1);
        else
            assert_int_equal(p.got_n, 0);
        assert_true(net_ends(w.loop, &p));
        net_free(&p);
        (void)stop(&w);
    }
}

/* A byte now and then keeps neither a head nor a body alive. */
static void a_slow_loris_is_refused(void **state)
{
    (void)state;
    static const char *const begins[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nX: ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        struct net_peer p;
        start(&w, NULL);
        net_connect(&p, w.port);
        net_say(w.loop, &p, begins[i]);
        unsigned seconds = 0;
        for (; seconds < 60 && net_count(&p, " 408 ") == 0; seconds++) {
            net_say(w.loop, &p, "a");
            net_pass(w.loop, &w.time, 1000);
            net_read(&p);
        }
        assert_in_range(seconds, 4, 11);
        net_free(&p);
        (void)stop(&w);
    }
}

static void a_body_at_the_least_rate_is_taken(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    static char kilobyte[1024];
    memset(kilobyte, 'k', sizeof kilobyte);
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        net_send(w.loop, &p, kilobyte, sizeof kilobyte);
        net_pass(w.loop, &w.time, 1000);
    }
    assert_true(net_hear(w.loop, &p, "200 OK"));
    net_free(&p);
    (void)stop(&w);
}

/* ---- Connections ---- */
static void connections_are_limited(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p[4];
    struct metallm__http_limits limits = test_limits();
    limits.connections = 2;
    start(&w, &limits);
    for (int i = 0; i < 3; i++) {
        net_connect(&p[i], w.port);
        net_turn(w.loop, 3);
    }
    assert_true(net_hear(w.loop, &p[2], "too_many_connections\"}}\n"));
    net_say(w.loop, &p[0], GET("/x"));
    assert_true(net_hear(w.loop, &p[0], "200 OK"));
    net_close(&p[1]);
    net_turn(w.loop, 5);
    limits.connections = 10;
    limits.connections_peer = 2;
    metallm__http_server_limit(w.server, &limits);
    net_connect(&p[3], w.port); /* the second of this address */
    net_say(w.loop, &p[3], GET("/x"));
    assert_true(net_hear(w.loop, &p[3], "200 OK"));
    net_free(&p[2]);
    net_connect(&p[2], w.port);
    assert_true(net_hear(w.loop, &p[2], "503 "));
    for (int i = 0; i < 4; i++)
        net_free(&p[i]);
    net_turn(w.loop, 5);
    struct metallm__http_counts c = stop(&w);
    assert_int_equal(c.refused[METALLM__REFUSED_CONNECTIONS], 1);
    assert_int_equal(c.refused[METALLM__REFUSED_PEER], 1);
    assert_int_equal(c.connections_open, 0);
}

static void a_connection_serves_so_many_requests(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    struct metallm__http_limits limits = test_limits();
    limits.requests = 2;
    start(&w, &limits);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/1") GET("/2") GET("/3"));
    assert_true(net_ends(w.loop, &p));
    assert_int_equal(net_count(&p, "200 OK"), 2);
    assert_int_equal(net_count(&p, "Connection: close"), 1);
    net_free(&p);
    (void)stop(&w);
}

#define IDLE 2000
static void thousands_of_idle_connections_cost_little(void **state)
{
    (void)state;
    static struct net_peer idle[IDLE];
    struct world w;
    struct net_peer p;
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 2 * IDLE + 100)
        skip();
    start(&w, NULL);
    for (int i = 0; i < IDLE; i++) {
        net_connect(&idle[i], w.port);
        if (i % 64 == 63)
            metallm__loop_turn(w.loop, 0);
    }
    net_turn(w.loop, 5);
    struct metallm__http_counts c;
    metallm__http_server_counts(w.server, &c);
    assert_int_equal(c.connections_open, IDLE);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/x"));
    assert_true(net_hear(w.loop, &p, "200 OK"));
    net_pass(w.loop, &w.time, 80000); /* all their timers at once */
    metallm__http_server_counts(w.server, &c);
    assert_int_equal(c.connections_open, 0);
    for (int i = 0; i < IDLE; i++)
        net_free(&idle[i]);
    net_free(&p);
    (void)stop(&w);
}

/* ---- Draining ---- */
static void draining_lets_answers_finish(void **state)
{
    (void)state;
    struct world w;
    struct net_peer idle, busy;
    start(&w, NULL);
    net_connect(&idle, w.port);
    net_connect(&busy, w.port);
    net_say(w.loop, &busy, GET("/later"));
    net_turn(w.loop, 3);
    metallm__http_server_drain(w.server, 5000);
    assert_true(net_ends(w.loop, &idle));
    assert_false(w.was_drained);
    answer_open(&w, 0, "the last");
    assert_true(net_ends(w.loop, &busy));
    assert_non_null(strstr(busy.got, "Connection: close\r\n"));
    assert_non_null(strstr(busy.got, "the last"));
    net_turn(w.loop, 3);
    assert_true(w.was_drained);
    assert_false(w.was_cut);
    net_free(&idle);
    net_free(&busy);
    (void)stop(&w);
}

static void draining_ends_with_the_grace_period(void **state)
{
    (void)state;
    struct world w;
    struct net_peer busy;
    start(&w, NULL);
    net_connect(&busy, w.port);
    net_say(w.loop, &busy, GET("/later"));
    net_turn(w.loop, 3);
    metallm__http_server_drain(w.server, 5000);
    net_pass(w.loop, &w.time, 4000);
    assert_int_equal(w.gone, 0);
    net_pass(w.loop, &w.time, 1500);
    assert_int_equal(w.gone, 1);
    assert_true(w.was_drained);
    assert_true(w.was_cut);
    net_free(&busy);
    (void)stop(&w);
    start(&w, NULL); /* with nobody there */
    metallm__http_server_drain(w.server, 5000);
    assert_false(w.was_drained);
    net_pass(w.loop, &w.time, 10);
    assert_true(w.was_drained);
    (void)stop(&w);
}

static void freeing_tells_handlers(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    net_turn(w.loop, 3);
    (void)stop(&w);
    assert_int_equal(w.gone, 1);
    net_free(&p);
}

static void an_address_in_use_is_an_error_at_once(void **state)
{
    (void)state;
    struct world w;
    struct sockaddr_storage address;
    metallm_error err;
    char text[32];
    int fd;
    start(&w, NULL);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)w.port);
    assert_int_equal(metallm__address_parse(text, &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, false, &fd, NULL, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "Address already in use"));
    assert_int_equal(metallm__listen_open(&address, true, &fd, NULL, &err), METALLM_OK);
    close(fd);
    (void)stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_have_the_right_frames),
        cmocka_unit_test(an_answer_shorter_than_promised_is_cut),
        cmocka_unit_test(a_request_in_any_pieces_is_answered_the_same),
        cmocka_unit_test(pipelined_requests_are_answered_in_their_order),
        cmocka_unit_test(reading_ahead_is_bounded),
        cmocka_unit_test(continue_is_said_when_the_body_is_awaited),
        cmocka_unit_test(a_refusal_is_an_error_object_and_the_end),
        cmocka_unit_test(a_hang_up_is_told_while_the_answer_is_made),
        cmocka_unit_test(an_exchange_outlives_its_client),
        cmocka_unit_test(a_slow_reader_is_seen_and_loses_nothing),
        cmocka_unit_test(a_reader_that_stalls_is_cut),
        cmocka_unit_test(each_phase_has_its_timeout),
        cmocka_unit_test(a_slow_loris_is_refused),
        cmocka_unit_test(a_body_at_the_least_rate_is_taken),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(a_connection_serves_so_many_requests),
        cmocka_unit_test(thousands_of_idle_connections_cost_little),
        cmocka_unit_test(draining_lets_answers_finish),
        cmocka_unit_test(draining_ends_with_the_grace_period),
        cmocka_unit_test(freeing_tells_handlers),
        cmocka_unit_test(an_address_in_use_is_an_error_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
