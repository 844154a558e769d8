/* SPDX-License-Identifier: Apache-2.0
 * test_net_limits.c - the HTTP server's timeouts and limits by a clock that the test moves, and its
 * draining. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "support/cmocka_all.h"
#include "support/net_world.h"

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
        struct net_world w;
        struct net_peer p;
        net_world_start(&w, NULL);
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
        (void)net_world_stop(&w);
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
        struct net_world w;
        struct net_peer p;
        net_world_start(&w, NULL);
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
        (void)net_world_stop(&w);
    }
}

static void a_body_at_the_least_rate_is_taken(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    static char kilobyte[1024];
    memset(kilobyte, 'k', sizeof kilobyte);
    net_world_start(&w, NULL);
    net_connect(&p, w.port);
    net_say(w.loop, &p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        net_send(w.loop, &p, kilobyte, sizeof kilobyte);
        net_pass(w.loop, &w.time, 1000);
    }
    assert_true(net_hear(w.loop, &p, "200 OK"));
    net_free(&p);
    (void)net_world_stop(&w);
}

/* ---- Connections ---- */
static void connections_are_limited(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p[4];
    struct metallm__http_limits limits = net_world_limits();
    limits.connections = 2;
    net_world_start(&w, &limits);
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
    struct metallm__http_counts c = net_world_stop(&w);
    assert_int_equal(c.refused[METALLM__REFUSED_CONNECTIONS], 1);
    assert_int_equal(c.refused[METALLM__REFUSED_PEER], 1);
    assert_int_equal(c.connections_open, 0);
}

static void a_connection_serves_so_many_requests(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer p;
    struct metallm__http_limits limits = net_world_limits();
    limits.requests = 2;
    net_world_start(&w, &limits);
    net_connect(&p, w.port);
    net_say(w.loop, &p, GET("/1") GET("/2") GET("/3"));
    assert_true(net_ends(w.loop, &p));
    assert_int_equal(net_count(&p, "200 OK"), 2);
    assert_int_equal(net_count(&p, "Connection: close"), 1);
    net_free(&p);
    (void)net_world_stop(&w);
}

#define IDLE 2000
static void thousands_of_idle_connections_cost_little(void **state)
{
    (void)state;
    static struct net_peer idle[IDLE];
    struct net_world w;
    struct net_peer p;
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 2 * IDLE + 100)
        skip();
    net_world_start(&w, NULL);
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
    (void)net_world_stop(&w);
}

/* ---- Draining ---- */
static void draining_lets_answers_finish(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer idle, busy;
    net_world_start(&w, NULL);
    net_connect(&idle, w.port);
    net_connect(&busy, w.port);
    net_say(w.loop, &busy, GET("/later"));
    net_turn(w.loop, 3);
    metallm__http_server_drain(w.server, 5000);
    assert_true(net_ends(w.loop, &idle));
    assert_false(w.was_drained);
    net_world_answer(&w, 0, "the last");
    assert_true(net_ends(w.loop, &busy));
    assert_non_null(strstr(busy.got, "Connection: close\r\n"));
    assert_non_null(strstr(busy.got, "the last"));
    net_turn(w.loop, 3);
    assert_true(w.was_drained);
    assert_false(w.was_cut);
    net_free(&idle);
    net_free(&busy);
    (void)net_world_stop(&w);
}

static void draining_ends_with_the_grace_period(void **state)
{
    (void)state;
    struct net_world w;
    struct net_peer busy;
    net_world_start(&w, NULL);
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
    (void)net_world_stop(&w);
    net_world_start(&w, NULL); /* with nobody there */
    metallm__http_server_drain(w.server, 5000);
    assert_false(w.was_drained);
    net_pass(w.loop, &w.time, 10);
    assert_true(w.was_drained);
    (void)net_world_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_phase_has_its_timeout),
        cmocka_unit_test(a_slow_loris_is_refused),
        cmocka_unit_test(a_body_at_the_least_rate_is_taken),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(a_connection_serves_so_many_requests),
        cmocka_unit_test(thousands_of_idle_connections_cost_little),
        cmocka_unit_test(draining_lets_answers_finish),
        cmocka_unit_test(draining_ends_with_the_grace_period),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
