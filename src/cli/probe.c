/* SPDX-License-Identifier: Apache-2.0
 * probe.c - see probe.h. */
#include "cli/probe.h"

#include <string.h>
#include <time.h>

#include "base/error.h"
#include "gateway/config_address.h"
#include "net/dns.h"
#include "net/http_client.h"
#include "net/tls.h"

#define HEADERS_MAX 34u

struct probe {
    struct metallm__loop *loop;
    struct metallm__dns *dns;
    struct metallm__http_pool *pool;
    struct metallm__tls_client *tls;
    struct metallm__origin *origin;
    struct cli_probe_answer *out;
    bool is_done;
    int rc;
    metallm_error *err;
};

static void on_head(void *owner, const struct metallm__http_answer *answer)
{
    struct probe *p = owner;
    struct tm tm = {0};
    char text[64];
    const struct metallm__span date = metallm__headers_value(answer->headers, "date");
    p->out->status = answer->status;
    if (date.n == 0 || date.n >= sizeof text)
        return;
    memcpy(text, date.p, date.n);
    text[date.n] = '\0';
    if (strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) != NULL)
        p->out->date_s = (int64_t)timegm(&tm);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct probe *p = owner;
    metallm__buf_add(&p->out->body, piece.p, piece.n);
}

static void on_end(void *owner)
{
    struct probe *p = owner;
    p->is_done = true;
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct probe *p = owner;
    p->is_done = true;
    p->rc = metallm__error_set(p->err, METALLM_EIO, "%s", fault->message);
}

static const struct metallm__http_call_events events = {
    .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};

static int connect_to(struct probe *p, const struct cli_probe *what,
                      const struct metallm__config_url_parts *url)
{
    const struct metallm__tls_client_options tls = {
        .ca_path = what->ca_file[0] != '\0' ? what->ca_file : NULL, .insecure = !what->verify};
    int rc = metallm__loop_new(&p->loop, NULL, p->err);
    if (rc == METALLM_OK)
        rc = metallm__dns_new(&p->dns, p->loop, NULL, p->err);
    if (rc == METALLM_OK)
        rc = metallm__http_pool_new(&p->pool, p->loop, p->dns, NULL, p->err);
    if (rc == METALLM_OK && url->is_tls)
        rc = metallm__tls_client_new(&p->tls, &tls, p->err);
    if (rc == METALLM_OK)
        rc = metallm__origin_get(&p->origin, p->pool, url->host, url->port, p->tls, p->err);
    return rc;
}

static int ask(struct probe *p, const struct cli_probe *what, const char *path)
{
    struct metallm__header headers[HEADERS_MAX];
    struct metallm__http_call *call;
    size_t count = 0;
    for (; count < what->header_count && count < HEADERS_MAX; count++)
        headers[count] = (struct metallm__header){metallm__span_of(what->headers[count].name),
                                                  metallm__span_of(what->headers[count].value)};
    const struct metallm__span body = metallm__span_of(what->body != NULL ? what->body : "");
    const uint64_t timeout_ns = (uint64_t)what->timeout_ms * 1000000u;
    const struct metallm__http_call_options opts = {.origin = p->origin,
                                                    .method = what->body != NULL ? METALLM__POST
                                                                                 : METALLM__GET,
                                                    .target = metallm__span_of(path),
                                                    .headers = {headers, count},
                                                    .body = &body,
                                                    .body_count = what->body != NULL,
                                                    .fresh = true,
                                                    .connect_ns = timeout_ns,
                                                    .total_ns = timeout_ns};
    int rc = metallm__http_call_start(&call, &opts, &events, p, p->err);
    while (rc == METALLM_OK && !p->is_done)
        metallm__loop_turn(p->loop, 1000);
    return rc == METALLM_OK ? p->rc : rc;
}

int cli_probe_ask(const struct cli_probe *what, struct cli_probe_answer *out, metallm_error *err)
{
    struct metallm__config_url_parts url;
    struct probe p = {.out = out, .err = err};
    *out = (struct cli_probe_answer){0};
    metallm__buf_init(&out->body, CLI_PROBE_BYTES);
    if (!metallm__config_url_split(what->url, &url))
        return metallm__error_set(err, METALLM_EINVAL, "not a URL");
    int rc = connect_to(&p, what, &url);
    if (rc == METALLM_OK)
        rc = ask(&p, what, url.path[0] != '\0' ? url.path : "/");
    metallm__origin_put(p.origin);
    metallm__http_pool_free(p.pool);
    metallm__tls_client_free(p.tls);
    metallm__dns_free(p.dns);
    metallm__loop_free(p.loop);
    return rc;
}
