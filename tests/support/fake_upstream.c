/* SPDX-License-Identifier: Apache-2.0
 * fake_upstream.c - see fake_upstream.h. */
#include "support/fake_upstream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metallm/base.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "support/cmocka_all.h"

#define FLOOD_EVENTS 24000u
#define MS           1000000u

struct fake_upstream {
    pthread_t thread;
    struct metallm__loop *loop;
    struct metallm__http_server *server;
    struct metallm__mail stop;
    uint16_t port;
    atomic_uint seen, gone, under_way, most, flaky;
    atomic_ullong sent;
    pthread_mutex_t lock;
    char body[1024], authorization[1024]; /* under lock */
};

/* One request that is not answered within the handler. */
struct visit {
    struct fake_upstream *fake;
    struct metallm__exchange *x;
    struct metallm__timer timer;
    unsigned left; /* events of a flood */
};

static const struct metallm__header json = {METALLM__SPAN("content-type"),
                                            METALLM__SPAN("application/json")};
static const struct metallm__header sse = {METALLM__SPAN("content-type"),
                                           METALLM__SPAN("text/event-stream; charset=utf-8")};

static const char answer[] =
    "{\"id\":\"a1\",\"model\":\"real\",\"choices\":[{\"message\":{\"content\":\"Hello\"},"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}";
static const char event_one[] =
    "data: {\"id\":\"s1\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";
static const char event_two[] =
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n";
static const char event_usage[] =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}\n\n";
static const char event_done[] = "data: [DONE]\n\n";
static const char event_error[] = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";

static void piece(struct metallm__exchange *x, const char *text)
{
    metallm__reply_piece(x, metallm__span_of(text), NULL);
}

static void finish(struct fake_upstream *f, struct metallm__exchange *x, bool is_cut)
{
    atomic_fetch_sub(&f->under_way, 1);
    if (is_cut)
        metallm__reply_abort(x);
    else
        metallm__reply_end(x);
}

static void reply(struct fake_upstream *f, struct metallm__exchange *x, int status,
                  const char *text)
{
    atomic_fetch_sub(&f->under_way, 1);
    metallm__reply(x, status, (struct metallm__headers){&json, 1}, metallm__span_of(text), NULL);
}

static bool asks(struct metallm__exchange *x, const char *member)
{
    struct metallm__span body = metallm__exchange_request(x)->body;
    return memmem(body.p, body.n, member, strlen(member)) != NULL;
}

static void reply_well(struct fake_upstream *f, struct metallm__exchange *x)
{
    if (!asks(x, "\"stream\":true")) {
        reply(f, x, 200, answer);
        return;
    }
    metallm__reply_head(x, 200, (struct metallm__headers){&sse, 1}, METALLM__LENGTH_UNKNOWN);
    piece(x, event_one);
    piece(x, event_two);
    if (asks(x, "\"include_usage\":true"))
        piece(x, event_usage);
    piece(x, event_done);
    finish(f, x, false);
}

/* ---- What takes its time. ---- */

static void visit_end(struct visit *v, bool is_cut)
{
    struct fake_upstream *f = v->fake;
    metallm__timer_stop(f->loop, &v->timer);
    metallm__exchange_watch(v->x, NULL, NULL);
    finish(f, v->x, is_cut);
    free(v);
}

static void visit_gone(void *owner)
{
    struct visit *v = owner;
    atomic_fetch_add(&v->fake->gone, 1);
    visit_end(v, true);
}

/* As much as the socket takes, but not all at once: in between the server tells who is gone. */
static void visit_flood(void *owner)
{
    struct visit *v = owner;
    char event[1024 + 128];
    for (int i = 0; i < 512 && v->left > 0 && metallm__reply_queued(v->x) < 16384; i++) {
        int n = snprintf(event, sizeof event,
                         "data: {\"choices\":[{\"delta\":{\"content\":\"%01000u\"}%s}]}\n\n",
                         FLOOD_EVENTS - v->left, v->left == 1 ? ",\"finish_reason\":\"stop\"" : "");
        metallm__reply_piece(v->x, metallm__span(event, (size_t)n), NULL);
        atomic_fetch_add(&v->fake->sent, (unsigned)n);
        v->left--;
    }
    if (v->left == 0) {
        piece(v->x, event_done);
        visit_end(v, false);
    } else {
        metallm__timer_set(v->fake->loop, &v->timer, metallm__loop_now(v->fake->loop) + MS);
    }
}

static void visit_timer(struct metallm__timer *timer)
{
    struct visit *v = (struct visit *)(void *)((char *)timer - offsetof(struct visit, timer));
    struct fake_upstream *f = v->fake;
    struct metallm__exchange *x = v->x;
    if (v->left > 0) {
        visit_flood(v);
        return;
    }
    metallm__exchange_watch(x, NULL, NULL);
    free(v);
    reply_well(f, x);
}

static void stay(struct fake_upstream *f, struct metallm__exchange *x, const char *what)
{
    static const struct metallm__exchange_events waiting = {visit_gone, NULL};
    static const struct metallm__exchange_events flooding = {visit_gone, visit_flood};
    struct visit *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->fake = f;
    v->x = x;
    v->timer.fired = visit_timer;
    bool is_flood = strcmp(what, "flood") == 0;
    metallm__exchange_watch(x, is_flood ? &flooding : &waiting, v);
    if (is_flood) {
        v->left = FLOOD_EVENTS;
        metallm__reply_head(x, 200, (struct metallm__headers){&sse, 1}, METALLM__LENGTH_UNKNOWN);
        visit_flood(v);
    } else if (strcmp(what, "slow") == 0) {
        metallm__timer_set(f->loop, &v->timer, metallm__loop_now(f->loop) + 300ull * MS);
    }
}

/* ---- What goes wrong. ---- */

static void reply_status(struct fake_upstream *f, struct metallm__exchange *x, const char *what)
{
    const struct metallm__header headers[] = {
        json,
        {METALLM__SPAN("retry-after-ms"), METALLM__SPAN("60")},
        {METALLM__SPAN("retry-after"), METALLM__SPAN("30")}};
    size_t first = strstr(what, "-long") != NULL ? 2 : 1, count = strchr(what, '-') != NULL;
    const struct metallm__header given[] = {headers[0], headers[first]};
    atomic_fetch_sub(&f->under_way, 1);
    metallm__reply(x, (int)strtol(what, NULL, 10), (struct metallm__headers){given, 1 + count},
                   metallm__span_of("{\"error\":{\"message\":\"as asked\"}}"), NULL);
}

static void reply_badly(struct fake_upstream *f, struct metallm__exchange *x, const char *what)
{
    if (strcmp(what, "garbage") == 0) {
        reply(f, x, 200, "<html>Not what you asked for</html>");
    } else if (strcmp(what, "empty") == 0) {
        reply(f, x, 200, "");
    } else if (strcmp(what, "half") == 0) {
        metallm__reply_head(x, 200, (struct metallm__headers){&json, 1}, sizeof answer - 1);
        metallm__reply_piece(x, metallm__span(answer, sizeof answer / 2), NULL);
        finish(f, x, true);
    } else {
        metallm__reply_head(x, 200, (struct metallm__headers){&sse, 1}, METALLM__LENGTH_UNKNOWN);
        piece(x, ""); /* the head goes out alone */
        if (strcmp(what, "die") == 0 || strcmp(what, "late-error") == 0) {
            piece(x, event_one);
            piece(x, event_one);
        }
        if (strstr(what, "error") != NULL)
            piece(x, event_error);
        if (strcmp(what, "nodone") == 0) {
            piece(x, event_one);
            piece(x, event_two);
        }
        finish(f, x, strncmp(what, "die", 3) == 0);
    }
}

static void note(struct fake_upstream *f, const struct metallm__request *r)
{
    struct metallm__span key = metallm__headers_value(r->headers, "authorization");
    unsigned now = atomic_fetch_add(&f->under_way, 1) + 1;
    if (now > atomic_load(&f->most))
        atomic_store(&f->most, now);
    pthread_mutex_lock(&f->lock);
    snprintf(f->body, sizeof f->body, "%.*s", (int)(r->body.n < 1023 ? r->body.n : 1023),
             r->body.n > 0 ? r->body.p : "");
    snprintf(f->authorization, sizeof f->authorization, "%.*s", (int)(key.n < 1023 ? key.n : 1023),
             key.n > 0 ? key.p : "");
    pthread_mutex_unlock(&f->lock);
    atomic_fetch_add(&f->seen, 1);
}

static void handle(void *payload, struct metallm__exchange *x)
{
    struct fake_upstream *f = payload;
    const struct metallm__request *r = metallm__exchange_request(x);
    char what[64] = "";
    note(f, r);
    size_t n = 0;
    while (1 + n < r->path.n && r->path.p[1 + n] != '/' && n + 1 < sizeof what)
        n++;
    memcpy(what, r->path.p + 1, n);
    bool is_first = strcmp(what, "flaky") == 0 && atomic_fetch_add(&f->flaky, 1) == 0;
    if (is_first || (what[0] >= '0' && what[0] <= '9'))
        reply_status(f, x, is_first ? "500" : what);
    else if (strcmp(what, "ok") == 0 || strcmp(what, "flaky") == 0)
        reply_well(f, x);
    else if (strcmp(what, "whole") == 0)
        reply(f, x, 200, answer);
    else if (strcmp(what, "hang") == 0 || strcmp(what, "slow") == 0 || strcmp(what, "flood") == 0)
        stay(f, x, what);
    else
        reply_badly(f, x, what);
}

/* ---- The thread. ---- */

static void *run(void *payload)
{
    struct fake_upstream *f = payload;
    metallm__loop_run(f->loop);
    metallm__http_server_free(f->server);
    metallm__loop_free(f->loop);
    return NULL;
}

static void deliver_stop(struct metallm__mail *mail)
{
    struct fake_upstream *f =
        (struct fake_upstream *)(void *)((char *)mail - offsetof(struct fake_upstream, stop));
    metallm__loop_stop(f->loop);
}

struct fake_upstream *fake_upstream_start(void)
{
    struct fake_upstream *f = calloc(1, sizeof *f);
    struct sockaddr_storage address;
    int fd = -1;
    assert_non_null(f);
    f->stop.deliver = deliver_stop;
    pthread_mutex_init(&f->lock, NULL);
    const struct metallm__http_server_options o = {.handle = handle, .payload = f};
    assert_int_equal(metallm__address_parse("127.0.0.1:0", &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, false, &fd, &f->port, NULL), METALLM_OK);
    assert_int_equal(metallm__loop_new(&f->loop, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_new(&f->server, f->loop, &o, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_listen(f->server, fd, NULL, NULL), METALLM_OK);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
    return f;
}

void fake_upstream_stop(struct fake_upstream *f)
{
    metallm__loop_mail(f->loop, &f->stop);
    pthread_join(f->thread, NULL);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

uint16_t fake_upstream_port(const struct fake_upstream *f)
{
    return f->port;
}

unsigned fake_upstream_seen(struct fake_upstream *f)
{
    return atomic_load(&f->seen);
}

unsigned fake_upstream_gone(struct fake_upstream *f)
{
    return atomic_load(&f->gone);
}

unsigned fake_upstream_most(struct fake_upstream *f)
{
    return atomic_load(&f->most);
}

uint64_t fake_upstream_sent(struct fake_upstream *f)
{
    return atomic_load(&f->sent);
}

void fake_upstream_last(struct fake_upstream *f, char body[1024], char authorization[1024])
{
    pthread_mutex_lock(&f->lock);
    memcpy(body, f->body, 1024);
    memcpy(authorization, f->authorization, 1024);
    pthread_mutex_unlock(&f->lock);
}
