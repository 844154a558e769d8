/* SPDX-License-Identifier: Apache-2.0
 * net_proxy.c - the network layer alone, as a proxy or as an upstream, for bench/net/compare.py:
 *   net_proxy upstream PORT [BYTES]          answers every request with BYTES of JSON
 *   net_proxy proxy PORT UPSTREAM_PORT       hands every request on, and its answer back
 * A TLS upstream: METALLM_BENCH_CA=FILE (host localhost), METALLM_BENCH_CERT and _KEY for serving.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http_client.h"
#include "net/http_server.h"

static struct metallm__loop *loop;
static struct metallm__origin *origin;
static char answer[1 << 20];
static struct metallm__span answer_span;

static _Noreturn void die(const metallm_error *err)
{
    fprintf(stderr, "net_proxy: %s\n", err->message);
    exit(1);
}

/* ---- Upstream ---- */
static void handle_upstream(void *payload, struct metallm__exchange *x)
{
    static const struct metallm__header json = {METALLM__SPAN("Content-Type"),
                                                METALLM__SPAN("application/json")};
    (void)payload;
    metallm__reply(x, 200, (struct metallm__headers){&json, 1}, answer_span, NULL);
}

/* ---- Proxy: an answer with a length is sent whole, others in pieces as they come ---- */
struct relay {
    struct relay *next;
    struct metallm__exchange *x;
    struct metallm__http_call *call;
    int status;
    struct metallm__headers headers;
    uint64_t length;
    char *body;
    size_t body_n, body_cap;
    int is_streaming;
};
static struct relay *relays;

static void give(struct relay *r)
{
    r->next = relays;
    relays = r;
}

static void on_head(void *owner, const struct metallm__http_answer *a)
{
    struct relay *r = owner;
    r->status = a->status;
    r->headers = a->headers;
    r->length = a->length;
    r->body_n = 0;
    r->is_streaming = a->length > 65536;
    if (r->is_streaming)
        metallm__reply_head(r->x, a->status, a->headers, a->length);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct relay *r = owner;
    if (r->is_streaming) {
        metallm__reply_piece(r->x, piece, NULL);
        if (metallm__reply_queued(r->x) > 262144)
            metallm__http_call_pause(r->call);
        return;
    }
    if (r->body_cap < r->body_n + piece.n) {
        r->body_cap = r->body_n + piece.n + 4096;
        r->body = realloc(r->body, r->body_cap);
        if (r->body == NULL)
            abort();
    }
    memcpy(r->body + r->body_n, piece.p, piece.n);
    r->body_n += piece.n;
}

static void on_end(void *owner)
{
    struct relay *r = owner;
    struct metallm__exchange *x = r->x;
    give(r);
    if (r->is_streaming)
        metallm__reply_end(x);
    else
        metallm__reply(x, r->status, r->headers, metallm__span(r->body, r->body_n), NULL);
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct relay *r = owner;
    (void)fault;
    metallm__reply_abort(r->x);
    give(r);
}

static void on_gone(void *owner)
{
    struct relay *r = owner;
    metallm__http_call_cancel(r->call);
    metallm__reply_abort(r->x);
    give(r);
}

static void on_drained(void *owner)
{
    metallm__http_call_resume(((struct relay *)owner)->call);
}

static void handle_proxy(void *payload, struct metallm__exchange *x)
{
    static const struct metallm__http_call_events events = {
        .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};
    static const struct metallm__exchange_events watch = {.gone = on_gone, .drained = on_drained};
    (void)payload;
    const struct metallm__request *q = metallm__exchange_request(x);
    struct relay *r = relays;
    if (r != NULL)
        relays = r->next;
    else
        r = calloc(1, sizeof *r);
    if (r == NULL)
        abort();
    r->x = x;
    struct metallm__http_call_options opts = {.origin = origin,
                                              .method = q->method,
                                              .target = q->target,
                                              .headers = q->headers,
                                              .body = &q->body,
                                              .body_count = 1,
                                              .first_ns = UINT64_C(60000000000),
                                              .gap_ns = UINT64_C(60000000000),
                                              .total_ns = UINT64_C(600000000000)};
    metallm__exchange_watch(x, &watch, r);
    if (metallm__http_call_start(&r->call, &opts, &events, r, NULL) != METALLM_OK)
        abort();
}

static void stop(int number)
{
    (void)number;
    metallm__loop_stop(loop);
}

static void connect_upstream(const char *port)
{
    struct metallm__http_pool *pool;
    struct metallm__dns *dns;
    struct metallm__tls_client *tls = NULL;
    struct metallm__tls_client_options options = {.ca_path = getenv("METALLM_BENCH_CA")};
    metallm_error err;
    if ((options.ca_path != NULL && metallm__tls_client_new(&tls, &options, &err) != METALLM_OK) ||
        metallm__dns_new(&dns, loop, NULL, &err) != METALLM_OK ||
        metallm__http_pool_new(&pool, loop, dns, NULL, &err) != METALLM_OK ||
        metallm__origin_get(&origin, pool, tls != NULL ? "localhost" : "127.0.0.1",
                            (uint16_t)strtoul(port, NULL, 10), tls, &err) != METALLM_OK)
        die(&err);
}

int main(int argc, char **argv)
{
    metallm_error err;
    struct sockaddr_storage address;
    struct metallm__http_server *server;
    struct metallm__tls_server *tls = NULL;
    char text[32];
    int fd;
    if (argc < 3) {
        fputs("usage: net_proxy upstream PORT [BYTES] | proxy PORT UPSTREAM_PORT\n", stderr);
        return 2;
    }
    const int is_proxy = argc > 3 && strcmp(argv[1], "proxy") == 0;
    size_t n = argc > 3 ? strtoul(argv[3], NULL, 10) : 600;
    struct metallm__http_server_options opts = {.handle =
                                                    is_proxy ? handle_proxy : handle_upstream};
    if (!is_proxy) {
        memset(answer, 'x', sizeof answer);
        answer_span = metallm__span(answer, n < sizeof answer ? n : sizeof answer);
    }
    (void)snprintf(text, sizeof text, "127.0.0.1:%s", argv[2]);
    if (getenv("METALLM_BENCH_CERT") != NULL && !is_proxy &&
        metallm__tls_server_new(&tls, getenv("METALLM_BENCH_CERT"), getenv("METALLM_BENCH_KEY"),
                                &err) != METALLM_OK)
        die(&err);
    if (metallm__loop_new(&loop, NULL, &err) != METALLM_OK)
        die(&err);
    if (is_proxy)
        connect_upstream(argv[3]);
    if (metallm__address_parse(text, &address, &err) != METALLM_OK ||
        metallm__listen_open(&address, false, &fd, NULL, &err) != METALLM_OK ||
        metallm__http_server_new(&server, loop, &opts, &err) != METALLM_OK ||
        metallm__http_server_listen(server, fd, tls, &err) != METALLM_OK)
        die(&err);
    signal(SIGTERM, stop);
    metallm__loop_run(loop);
    return 0;
}
