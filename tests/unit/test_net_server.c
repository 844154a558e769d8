/* SPDX-License-Identifier: Apache-2.0
 * test_net_server.c - the HTTP server over real sockets: answers in every form, clients that hang
 * up or do not read. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/net_world.h"

static const struct metallm__headers no_headers = {NULL, 0};

static void answers_have_the_right_frames(void **state)
{
    (void)state;
    struct net_world w;
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
    net_world_start(&w, NULL);
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
    struct metallm__http_counts c = net_world_stop(&w);
    assert_int_equal(c.connections, 1);
    assert_int_equal(c.requests, 7);
    assert_int_equal(c.requests_open, 0);
}

static void an_answer_shorter_than_promised_is_cut(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/short"));
    assert_true(net_ends(w.loop, &p));
    assert_true(p.was_reset || net_count(&p, "abcdef") == 0);
    net_free(&p);
    (void)net_world_stop(&w);
}

static void a_request_in_any_pieces_is_answered_the_same(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    const char *text = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    net_world_start(&w, NULL);
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
    (void)net_world_stop(&w);
}

static void pipelined_requests_are_answered_in_their_order(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/1") GET("/later") GET("/2") GET("/later") GET("/3"));
    assert_true(net_hear(w.loop, &p, "/1"));
    net_turn(w.loop, 3);
    net_read(&p);
    assert_int_equal(w.handled, 2); /* one at a time */
    net_world_answer(&w, 0, "first");
    assert_true(net_hear(w.loop, &p, "/2"));
    assert_int_equal(w.open_count, 2);
    net_world_answer(&w, 1, "second");
    assert_true(net_hear(w.loop, &p, "/3"));
    const char *one = strstr(p.got, "first"), *two = strstr(p.got, "/2");
    const char *three = strstr(p.got, "second"), *four = strstr(p.got, "/3");
    assert_true(one < two && two < three && three < four);
    net_free(&p);
    (void)net_world_stop(&w);
}

/* Hundreds of small requests behind one that waits: they are held, not read without end. */
static void reading_ahead_is_bounded(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
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
    net_world_answer(&w, 0, "go on");
    for (int i = 0; i < 2000 && w.handled < count + 1; i++) {
        metallm__loop_turn(w.loop, 1);
        net_read(&p);
    }
    assert_int_equal(w.handled, count + 1);
    net_free(&p);
    (void)net_world_stop(&w);
}

static void continue_is_said_when_the_body_is_awaited(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    const char *head = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                       "Content-Length: 2\r\n\r\n";
    net_world_start(&w, NULL);
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
    (void)net_world_stop(&w);
}

static void a_refusal_is_an_error_object_and_the_end(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
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
    assert_int_equal(net_world_stop(&w).refused[METALLM__REFUSED_SYNTAX], 1);
}

static void a_hang_up_is_told_while_the_answer_is_made(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p[3];
    net_world_start(&w, NULL);
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
    net_world_answer(&w, 2, "still here");
    assert_true(net_hear(w.loop, &p[2], "still here"));
    for (int i = 0; i < 3; i++)
        net_free(&p[i]);
    assert_int_equal(net_world_stop(&w).gone, 2);
}

/* The handler may learn of it in its own time. */
static void an_exchange_outlives_its_client(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
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
    struct metallm__http_counts c = net_world_stop(&w);
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
    struct net_world w;
    struct net_peer p;
    static char block[65536];
    unsigned released = 0, pieces = 0;
    struct metallm__hold hold = {count_release, &released};
    net_world_start(&w, NULL);
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
    (void)net_world_stop(&w);
}

static void a_reader_that_stalls_is_cut(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    static char block[1 << 20];
    net_world_start(&w, NULL);
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
    assert_int_equal(net_world_stop(&w).refused[METALLM__REFUSED_STALL], 1);
}

/* Whatever fails, a client gets its answer, a refusal, or a closed connection; nothing is left. */
static void without_memory_a_request_ends_somehow(void **state)
{
    (void)state;
    long answered = 0;
    for (long n = 0; answered < 3; n++) {
        struct net_world w;
        struct net_peer p;
        net_world_start(&w, NULL);
        fail_alloc_at(n);
        net_connect(&p, w.port);
        net_say(w.loop, &p, "POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        for (int i = 0; i < 400 && net_read(&p) && net_count(&p, "0\r\n\r\n") == 0; i++) {
            metallm__loop_turn(w.loop, 1);
            w.time.mono_ns += 1000000; /* an accept without memory is tried again */
        }
        answered += fail_alloc_seen() <= n; /* none failed */
        bool is_refused = net_count(&p, "HTTP/1.1 503 ") == 1;
        assert_true(p.fd < 0 || is_refused || net_count(&p, "0\r\n\r\n") == 1);
        fail_alloc_at(-1);
        net_free(&p);
        net_turn(w.loop, 2);
        assert_int_equal(net_world_stop(&w).requests_open, 0);
    }
}

static void freeing_tells_handlers(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    net_world_start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/later"));
    net_turn(w.loop, 3);
    (void)net_world_stop(&w);
    assert_int_equal(w.gone, 1);
    net_free(&p);
}

static void an_address_in_use_is_an_error_at_once(void **state)
{
    (void)state;
    struct net_world w;
    struct sockaddr_storage address;
    metallm_error err;
    char text[32];
    int fd;
    net_world_start(&w, NULL);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)w.port);
    assert_int_equal(metallm__address_parse(text, &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, false, &fd, NULL, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "Address already in use"));
    assert_int_equal(metallm__listen_open(&address, true, &fd, NULL, &err), METALLM_OK);
    close(fd);
    (void)net_world_stop(&w);
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
        cmocka_unit_test(without_memory_a_request_ends_somehow),
        cmocka_unit_test(freeing_tells_handlers),
        cmocka_unit_test(an_address_in_use_is_an_error_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
