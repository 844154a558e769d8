/* SPDX-License-Identifier: Apache-2.0
 * net_world.c - the server and its handler. */
#include "support/net_world.h"

#include <stdio.h>
#include <string.h>

#include "support/cmocka_all.h"

static const struct metallm__headers no_headers = {NULL, 0};

static void on_gone(void *owner)
{
    struct net_world *w = owner;
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
    ((struct net_world *)owner)->drained_pieces++;
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
    struct net_world *w = payload;
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
    struct net_world *w = payload;
    w->was_drained = true;
    w->was_cut = was_cut;
}

struct metallm__http_limits net_world_limits(void)
{
    struct metallm__http_limits limits = metallm__http_limits_default();
    limits.body_bytes = 1 << 20;
    limits.ahead_bytes = 4096;
    return limits;
}

void net_world_start(struct net_world *w, const struct metallm__http_limits *limits)
{
    struct metallm__http_limits usual = net_world_limits();
    struct sockaddr_storage address;
    int fd = -1;
    *w = (struct net_world){.time = {1000000000, INT64_C(784111777000)}};
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

struct metallm__http_counts net_world_stop(struct net_world *w)
{
    struct metallm__http_counts counts;
    metallm__http_server_counts(w->server, &counts);
    metallm__http_server_free(w->server);
    metallm__loop_free(w->loop);
    return counts;
}

void net_world_answer(struct net_world *w, unsigned i, const char *text)
{
    struct metallm__exchange *x = w->open[i];
    w->open[i] = NULL;
    metallm__reply(x, 200, no_headers, metallm__span_of(text), NULL);
}
