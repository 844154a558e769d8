/* SPDX-License-Identifier: Apache-2.0
 * net_calls.c - calls and what came of them. */
#include "support/net_calls.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka_all.h"

void net_call_cancel(struct net_call *c)
{
    metallm__http_call_cancel(c->call);
    c->call = NULL;
    c->is_over = true;
}

static void on_connected(void *owner, bool was_kept)
{
    struct net_call *c = owner;
    c->was_kept = was_kept;
    if (c->mood == CANCEL_AT_CONNECTED)
        net_call_cancel(c);
}

static void on_head(void *owner, const struct metallm__http_answer *a)
{
    struct net_call *c = owner;
    struct metallm__span type = metallm__headers_value(a->headers, "content-type");
    assert_int_equal(c->status, 0);
    c->status = a->status;
    c->length = a->length;
    (void)snprintf(c->type, sizeof c->type, "%.*s", (int)type.n, type.n ? type.p : "");
    if (c->mood == CANCEL_AT_HEAD)
        net_call_cancel(c);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct net_call *c = owner;
    assert_true(c->status != 0 && !c->is_over && piece.n > 0);
    size_t room = c->body_n < sizeof c->body - 1 ? sizeof c->body - 1 - c->body_n : 0;
    size_t n = piece.n < room ? piece.n : room;
    if (n > 0)
        memcpy(c->body + c->body_n, piece.p, n);
    c->body_n += piece.n;
    if (c->mood == PAUSE_AT_BODY)
        metallm__http_call_pause(c->call);
    if (c->mood == CANCEL_AT_BODY)
        net_call_cancel(c);
}

static void on_end(void *owner)
{
    struct net_call *c = owner;
    assert_false(c->is_over);
    c->has_ended = c->is_over = true;
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct net_call *c = owner;
    assert_false(c->is_over);
    c->has_failed = c->is_over = true;
    c->fault = *fault;
    assert_true(strlen(fault->message) > 0);
    (void)snprintf(c->message, sizeof c->message, "%s", fault->message);
}

const struct metallm__http_call_events net_call_events = {on_connected, on_head, on_body, on_end,
                                                          on_failed};

void net_calls_start(struct net_calls *w)
{
    *w = (struct net_calls){.time = {SECOND, 0}};
    struct metallm__clock clock = net_clock(&w->time);
    struct metallm__loop_options opts = {.clock = &clock};
    assert_int_equal(metallm__loop_new(&w->loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__dns_new(&w->dns, w->loop, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__http_pool_new(&w->pool, w->loop, w->dns, NULL, NULL), METALLM_OK);
    w->listener = net_listen(&w->port);
    assert_int_equal(metallm__origin_get(&w->origin, w->pool, "127.0.0.1", w->port, NULL, NULL),
                     METALLM_OK);
}

struct metallm__http_call_counts net_calls_stop(struct net_calls *w)
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

struct metallm__http_call_options net_calls_usual(struct net_calls *w)
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

void net_call_make(struct net_calls *w, struct net_call *c,
                   const struct metallm__http_call_options *opts)
{
    struct metallm__http_call_options o = opts != NULL ? *opts : net_calls_usual(w);
    memset(c, 0, offsetof(struct net_call, mood));
    assert_int_equal(metallm__http_call_start(&c->call, &o, &net_call_events, c, NULL), METALLM_OK);
}

void net_call_begin(struct net_calls *w, struct net_call *c, struct net_peer *p)
{
    net_call_make(w, c, NULL);
    net_accept(w->loop, w->listener, p);
    assert_true(net_hear(w->loop, p, "{\"a\":1}"));
}
