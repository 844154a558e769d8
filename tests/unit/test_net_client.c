/* SPDX-License-Identifier: Apache-2.0
 * test_net_client.c - HTTP calls against a peer that says what each test wants it to say: requests,
 * answers in every form and cut everywhere, kept connections. */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/net_calls.h"

static void the_request_is_what_was_asked_for(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    char expected[256];
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
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
    (void)net_calls_stop(&w);
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

static void judge_answer(struct net_calls *w, const struct answer *a, size_t cut)
{
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    size_t n = strlen(a->text);
    net_call_begin(w, &c, &p);
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
    struct net_calls w;
    net_calls_start(&w);
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++)
        for (size_t cut = strlen(answers[i].text);; cut -= cut < 5 ? cut : 5) {
            judge_answer(&w, &answers[i], cut);
            if (cut == 0)
                break;
        }
    (void)net_calls_stop(&w);
}

static void an_answer_to_head_has_no_body(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    net_calls_start(&w);
    struct metallm__http_call_options o = net_calls_usual(&w);
    o.method = METALLM__HEAD;
    o.body_count = 0;
    net_call_make(&w, &c, &o);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_hear(w.loop, &p, "\r\n\r\n"));
    assert_int_equal(net_count(&p, "Content-Length"), 0);
    net_say(w.loop, &p, OK "Content-Length: 500\r\n\r\n");
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_int_equal(metallm__origin_idle(w.origin), 1);
    net_free(&p);
    (void)net_calls_stop(&w);
}

static void heads_are_limited(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    static char big[80000];
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
    size_t n = (size_t)snprintf(big, sizeof big, OK "X: ");
    memset(big + n, 'x', sizeof big - n);
    net_send(w.loop, &p, big, sizeof big);
    assert_true(net_wait(w.loop, &c.has_failed));
    assert_int_equal(c.fault.why, METALLM__HTTP_TOO_LARGE);
    net_free(&p);
    (void)net_calls_stop(&w);
}

/* ---- Kept connections ---- */
static const char plain_answer[] = OK "Content-Length: 2\r\n\r\nok";

static void connections_are_used_again(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON}, d = c;
    struct net_peer p, q;
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
    net_say(w.loop, &p, plain_answer);
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_false(c.was_kept);
    for (int i = 0; i < 5; i++) {
        net_forget(&p);
        net_call_make(&w, &c, NULL);
        assert_true(net_hear(w.loop, &p, "{\"a\":1}"));
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        assert_true(c.was_kept);
    }
    struct metallm__http_call_options fresh = net_calls_usual(&w);
    fresh.fresh = true;
    net_call_make(&w, &d, &fresh);
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
    struct metallm__http_call_counts counts = net_calls_stop(&w);
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
        struct net_calls w;
        struct net_call c = {.mood = KEEP_ON};
        struct net_peer p;
        net_calls_start(&w);
        net_call_begin(&w, &c, &p);
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        if (reset)
            net_reset(&p);
        else
            net_close(&p);
        net_call_make(&w, &c, NULL); /* before the loop could see it */
        assert_true(net_wait(w.loop, &c.is_over));
        assert_true(c.has_failed);
        assert_int_equal(c.fault.why, METALLM__HTTP_RESET);
        assert_true(c.fault.was_stale && c.fault.was_sent);
        net_free(&p);
        (void)net_calls_stop(&w);
    }
}

static void what_nobody_asked_for_ends_a_kept_connection(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
    net_say(w.loop, &p, OK "Content-Length: 2\r\n\r\nok" OK);
    assert_true(net_wait(w.loop, &c.has_ended));
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    net_call_begin(&w, &c, &p);
    net_say(w.loop, &p, plain_answer);
    assert_true(net_wait(w.loop, &c.has_ended));
    net_say(w.loop, &p, OK);
    net_turn(w.loop, 3);
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    (void)net_calls_stop(&w);
}

/* An answer before the request is all out: it counts, but the connection is done. */
static void an_early_answer_is_taken(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    size_t n = 32 << 20;
    char *big = calloc(1, n);
    assert_non_null(big);
    net_calls_start(&w);
    struct metallm__http_call_options o = net_calls_usual(&w);
    struct metallm__span body = {big, n};
    o.body = &body;
    o.body_count = 1;
    net_call_make(&w, &c, &o);
    net_accept(w.loop, w.listener, &p);
    net_turn(w.loop, 3);
    net_say(w.loop, &p, "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
    assert_true(net_wait(w.loop, &c.has_ended));
    free(big); /* not needed from here on */
    assert_int_equal(c.status, 413);
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    net_free(&p);
    (void)net_calls_stop(&w);
}

/* ---- Memory ---- */
static int one_call(void *payload)
{
    struct net_calls *w = payload;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    struct metallm__http_call_options o = net_calls_usual(w);
    o.fresh = true;
    int rc = metallm__http_call_start(&c.call, &o, &net_call_events, &c, NULL);
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
    struct net_calls w;
    net_calls_start(&w);
    assert_true(fail_alloc_sweep(one_call, &w) >= 4);
    (void)net_calls_stop(&w);
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
        cmocka_unit_test(without_memory_a_call_fails_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
