/* SPDX-License-Identifier: Apache-2.0
 * test_net_calls.c - what can happen to an HTTP call: names and addresses that fail, timeouts,
 * cancelling, back-pressure. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "support/cmocka_all.h"
#include "support/net_calls.h"

#define OK "HTTP/1.1 200 OK\r\n"
static const char plain_answer[] = OK "Content-Length: 2\r\n\r\nok";

/* ---- Failures and time ---- */
static void nobody_there_and_no_such_name_are_told(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct metallm__origin *nowhere = NULL;
    net_calls_start(&w);
    close(w.listener);
    net_call_make(&w, &c, NULL);
    assert_true(net_wait(w.loop, &c.is_over));
    assert_int_equal(c.fault.why, METALLM__HTTP_CONNECT);
    assert_false(c.fault.was_sent);
    assert_int_equal(metallm__origin_get(&nowhere, w.pool, "no-such-host.invalid", 80, NULL, NULL),
                     METALLM_OK);
    struct metallm__http_call_options o = net_calls_usual(&w);
    o.origin = nowhere;
    net_call_make(&w, &c, &o);
    assert_true(net_wait(w.loop, &c.is_over));
    assert_int_equal(c.fault.why, METALLM__HTTP_DNS);
    metallm__origin_put(nowhere);
    assert_int_equal(metallm__origin_get(&nowhere, w.pool, "a b", 80, NULL, NULL), METALLM_EINVAL);
    w.listener = net_listen(&w.port);
    (void)net_calls_stop(&w);
}

/* A name server that knows one name: two.example has 127.0.0.2, where nobody listens, and
 * 127.0.0.1. The linker puts it before libuv's calls. */
static struct sockaddr_in two_at[2];
static struct addrinfo two[2];
static uv_getaddrinfo_cb told;

int __real_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
void __real_uv_freeaddrinfo(struct addrinfo *list);
void __wrap_uv_freeaddrinfo(struct addrinfo *list);

static void tell_two(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    assert_int_equal(status, 0);
    __real_uv_freeaddrinfo(list);
    for (uint32_t i = 0; i < 2; i++) {
        two_at[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 - i)};
        two[i] = (struct addrinfo){.ai_family = AF_INET,
                                   .ai_addr = (struct sockaddr *)&two_at[i],
                                   .ai_addrlen = sizeof two_at[i]};
    }
    two[0].ai_next = &two[1];
    told(req, 0, two);
}

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints)
{
    if (strcmp(node, "two.example") != 0)
        return __real_uv_getaddrinfo(loop, req, cb, node, service, hints);
    told = cb;
    return __real_uv_getaddrinfo(loop, req, tell_two, "127.0.0.1", service, hints);
}

void __wrap_uv_freeaddrinfo(struct addrinfo *list)
{
    if (list != two)
        __real_uv_freeaddrinfo(list);
}

static void the_next_address_is_tried(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    struct metallm__origin *origin = NULL;
    net_calls_start(&w);
    assert_int_equal(metallm__origin_get(&origin, w.pool, "two.example", w.port, NULL, NULL),
                     METALLM_OK);
    struct metallm__http_call_options o = net_calls_usual(&w);
    o.origin = origin;
    net_call_make(&w, &c, &o);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_hear(w.loop, &p, "Host: two.example:"));
    net_say(w.loop, &p, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_true(net_wait(w.loop, &c.has_ended));
    net_free(&p);
    o.fresh = true; /* cancelled while the first address is being given up */
    for (int turns = 0; turns < 6; turns++) {
        net_call_make(&w, &c, &o);
        net_turn(w.loop, turns);
        net_call_cancel(&c);
    }
    close(w.listener); /* now at neither */
    net_call_make(&w, &c, &o);
    assert_true(net_wait(w.loop, &c.has_failed));
    assert_int_equal(c.fault.why, METALLM__HTTP_CONNECT);
    assert_string_equal(c.message, "connection refused");
    w.listener = net_listen(&w.port);
    metallm__origin_put(origin);
    assert_int_equal(net_calls_stop(&w).connections_open, 0);
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
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    net_calls_start(&w);
    for (unsigned i = 0; i < 3; i++) {
        net_call_begin(&w, &c, &p);
        net_say(w.loop, &p, cases[i].said);
        net_pass(w.loop, &w.time, cases[i].fine_ms);
        assert_false(c.is_over);
        net_pass(w.loop, &w.time, cases[i].over_ms);
        assert_true(c.has_failed);
        assert_int_equal(c.fault.why, cases[i].why);
        assert_true(net_ends(w.loop, &p));
        net_free(&p);
    }
    net_call_begin(&w, &c, &p); /* a piece now and then, without end */
    net_say(w.loop, &p, OK "Transfer-Encoding: chunked\r\n\r\n");
    unsigned seconds = 0;
    for (; seconds < 100 && !c.is_over; seconds++) {
        net_say(w.loop, &p, "1\r\nx\r\n");
        net_pass(w.loop, &w.time, 1000);
    }
    assert_in_range(seconds, 58, 62);
    assert_int_equal(c.fault.why, METALLM__HTTP_TIMEOUT_TOTAL);
    net_free(&p);
    (void)net_calls_stop(&w);
}

static void cancelling_is_possible_at_any_moment(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    net_calls_start(&w);
    net_call_make(&w, &c, NULL); /* while it connects */
    net_call_cancel(&c);
    net_turn(w.loop, 3);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    net_call_begin(&w, &c, &p); /* while it waits */
    net_call_cancel(&c);
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    c.mood = CANCEL_AT_CONNECTED;
    net_call_make(&w, &c, NULL);
    net_accept(w.loop, w.listener, &p);
    assert_true(net_ends(w.loop, &p));
    assert_int_equal(p.got_n, 0);
    net_free(&p);
    for (int mood = CANCEL_AT_HEAD; mood <= CANCEL_AT_BODY; mood++) {
        c.mood = KEEP_ON;
        net_call_begin(&w, &c, &p);
        c.mood = mood == CANCEL_AT_HEAD ? CANCEL_AT_HEAD : CANCEL_AT_BODY;
        net_say(w.loop, &p, OK "Content-Length: 4\r\n\r\nabcd");
        assert_true(net_ends(w.loop, &p));
        assert_true(c.is_over && !c.has_ended && !c.has_failed);
        net_free(&p);
    }
    assert_int_equal(metallm__origin_idle(w.origin), 0);
    assert_int_equal(net_calls_stop(&w).connections_open, 0);
}

/* ---- Back-pressure ---- */
static void a_paused_call_holds_the_server_back(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    struct net_peer p;
    static char block[65536];
    char head[128];
    size_t total = 24 << 20, sent = 0;
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
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
    (void)net_calls_stop(&w);
}

/* Pausing at the last byte leaves no paused connection behind. */
static void a_call_that_ends_paused_leaves_a_sound_connection(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = PAUSE_AT_BODY};
    struct net_peer p;
    net_calls_start(&w);
    net_call_begin(&w, &c, &p);
    for (int i = 0; i < 3; i++) {
        net_say(w.loop, &p, plain_answer);
        assert_true(net_wait(w.loop, &c.has_ended));
        net_forget(&p);
        net_call_make(&w, &c, NULL);
        assert_true(net_hear(w.loop, &p, "{\"a\":1}"));
    }
    net_call_cancel(&c);
    net_free(&p);
    (void)net_calls_stop(&w);
}

/* ---- What must not be sent ---- */
static void unsound_requests_are_not_made(void **state)
{
    (void)state;
    struct net_calls w;
    struct net_call c = {.mood = KEEP_ON};
    net_calls_start(&w);
    static const struct metallm__header bad[] = {
        {METALLM__SPAN("X"), METALLM__SPAN("a\r\nY: b")},
        {METALLM__SPAN("X Y"), METALLM__SPAN("a")},
        {METALLM__SPAN(""), METALLM__SPAN("a")},
    };
    for (int i = 0; i < 3; i++) {
        struct metallm__http_call_options o = net_calls_usual(&w);
        o.headers = (struct metallm__headers){&bad[i], 1};
        assert_int_equal(metallm__http_call_start(&c.call, &o, &net_call_events, &c, NULL),
                         METALLM_EINVAL);
    }
    static const char *const targets[] = {"", "v1", "/a b", "/a\r\nX: y"};
    for (int i = 0; i < 4; i++) {
        struct metallm__http_call_options o = net_calls_usual(&w);
        o.target = metallm__span_of(targets[i]);
        assert_int_equal(metallm__http_call_start(&c.call, &o, &net_call_events, &c, NULL),
                         METALLM_EINVAL);
    }
    (void)net_calls_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_there_and_no_such_name_are_told),
        cmocka_unit_test(the_next_address_is_tried),
        cmocka_unit_test(each_wait_has_its_timeout),
        cmocka_unit_test(cancelling_is_possible_at_any_moment),
        cmocka_unit_test(a_paused_call_holds_the_server_back),
        cmocka_unit_test(a_call_that_ends_paused_leaves_a_sound_connection),
        cmocka_unit_test(unsound_requests_are_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
