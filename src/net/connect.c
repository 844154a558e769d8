/* SPDX-License-Identifier: Apache-2.0
 * connect.c - from a host name to an open stream: the name's addresses are tried in turn, each for
 * its share of the time that is left. A socket whose attempt failed is closed and made anew. */
#include <netinet/tcp.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/stream_internal.h"

struct stream_connecting {
    struct metallm__stream *stream;
    struct metallm__dns *dns;
    struct metallm__lookup lookup;
    struct metallm__addresses addresses;
    uint32_t next; /* address to be tried */
    struct metallm__timer timer;
    uint64_t deadline_ns;
    uv_connect_t req;
    bool is_orphan; /* the stream went on without it; freed by the last callback */
    bool is_attempting, is_reopening;
    char why[96]; /* of the last failed attempt */
    char *host;
};

static void try_next(struct stream_connecting *c);

static void free_connecting(struct stream_connecting *c)
{
    if (c->is_attempting || c->is_reopening)
        return; /* a callback of libuv still comes here */
    metallm__free(c->host);
    metallm__free(c);
}

void metallm__stream_connect_stop(struct metallm__stream *s)
{
    struct stream_connecting *c = s->connecting;
    if (c == NULL)
        return;
    s->connecting = NULL;
    c->is_orphan = true;
    metallm__dns_cancel(&c->lookup);
    metallm__timer_stop(s->loop, &c->timer);
    free_connecting(c);
}

static void finish(struct stream_connecting *c)
{
    struct metallm__stream *s = c->stream;
    (void)uv_tcp_nodelay(&s->tcp, 1);
    if (s->tls != NULL) {
        s->state = STREAM_HANDSHAKE; /* the timer goes on */
        metallm__stream_read_start(s);
        metallm__stream_tls_begin(s);
        return;
    }
    s->state = STREAM_OPEN;
    metallm__stream_connect_stop(s);
    metallm__stream_read_start(s);
    if (s->state == STREAM_OPEN && s->events->opened != NULL)
        s->events->opened(s->owner);
}

static void on_reopen(uv_handle_t *handle)
{
    struct stream_connecting *c = handle->data;
    struct metallm__stream *s = c->stream;
    c->is_reopening = false;
    (void)uv_tcp_init(&s->loop->uv, &s->tcp);
    s->tcp.data = s;
    if (!c->is_orphan) {
        try_next(c);
        return;
    }
    free_connecting(c);
    metallm__stream_close_handle(s); /* it was ended while its socket was away */
}

/* The attempt has failed or lasted too long. */
static void give_up_attempt(struct stream_connecting *c)
{
    struct metallm__stream *s = c->stream;
    if (c->is_reopening)
        return;
    if (c->next >= c->addresses.count) {
        metallm__dns_forget(c->dns, c->host);
        metallm__stream_end(s, METALLM__END_CONNECT, c->why);
        return;
    }
    c->is_reopening = true;
    s->tcp.data = c;
    uv_close((uv_handle_t *)&s->tcp, on_reopen);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct stream_connecting *c = req->data;
    c->is_attempting = false;
    if (c->is_orphan) {
        free_connecting(c);
    } else if (status == 0 && !c->is_reopening) {
        finish(c);
    } else if (status < 0 && status != UV_ECANCELED) {
        (void)snprintf(c->why, sizeof c->why, "%s", uv_strerror(status));
        give_up_attempt(c);
    }
}

static void try_next(struct stream_connecting *c)
{
    struct metallm__stream *s = c->stream;
    uint64_t now = metallm__loop_now(s->loop);
    uint64_t left = c->deadline_ns > now ? c->deadline_ns - now : 0;
    const struct sockaddr_storage *to = &c->addresses.at[c->next];
    uint32_t addresses_left = c->addresses.count - c->next;
    c->next++;
    c->req.data = c;
    metallm__timer_set(s->loop, &c->timer, now + left / addresses_left);
    int rc = uv_tcp_connect(&c->req, &s->tcp, (const struct sockaddr *)to, on_connect);
    if (rc == 0) {
        c->is_attempting = true;
        return;
    }
    (void)snprintf(c->why, sizeof c->why, "%s", uv_strerror(rc));
    give_up_attempt(c);
}

static void on_lookup(struct metallm__lookup *lookup, const struct metallm__addresses *found,
                      const char *why)
{
    struct stream_connecting *c =
        (void *)((char *)lookup - offsetof(struct stream_connecting, lookup));
    if (found == NULL) {
        metallm__stream_end(c->stream, METALLM__END_DNS, why);
        return;
    }
    c->addresses = *found;
    try_next(c);
}

static void on_timer(struct metallm__timer *timer)
{
    struct stream_connecting *c =
        (void *)((char *)timer - offsetof(struct stream_connecting, timer));
    struct metallm__stream *s = c->stream;
    if (metallm__loop_now(s->loop) >= c->deadline_ns) {
        metallm__stream_end(s, METALLM__END_TIMEOUT,
                            s->state == STREAM_HANDSHAKE ? "no TLS handshake in time"
                            : c->next == 0               ? "no answer from the name server in time"
                                                         : "no connection in time");
        return;
    }
    (void)snprintf(c->why, sizeof c->why, "no connection in time");
    if (s->state == STREAM_CONNECTING)
        give_up_attempt(c);
    else
        metallm__timer_set(s->loop, &c->timer, c->deadline_ns);
}

static struct stream_connecting *make_connecting(struct metallm__dns *dns, const char *host)
{
    struct stream_connecting *c = metallm__calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->dns = dns;
    c->lookup.done = on_lookup;
    c->timer.fired = on_timer;
    c->host = metallm__strdup(host);
    if (c->host != NULL)
        return c;
    metallm__free(c);
    return NULL;
}

static void begin(struct stream_connecting *c, uint16_t port)
{
    metallm_error why = {0};
    int rc = metallm__dns_find(c->dns, c->host, port, &c->addresses, &c->lookup, &why);
    if (rc == METALLM_OK)
        try_next(c);
    else if (rc != METALLM_EBUSY)
        metallm__stream_end(
            c->stream, rc == METALLM_ENOMEM ? METALLM__END_MEMORY : METALLM__END_DNS, why.message);
}

int metallm__stream_connect(struct metallm__stream **out, struct metallm__loop *loop,
                            struct metallm__dns *dns, const struct metallm__connect *to,
                            const struct metallm__stream_events *events, void *owner,
                            metallm_error *err)
{
    struct metallm__stream *s = metallm__stream_make(loop);
    struct stream_connecting *c = make_connecting(dns, to->host);
    if (s == NULL || c == NULL ||
        (to->tls != NULL &&
         metallm__stream_tls_client(s, to->tls, to->host, to->ticket) != METALLM_OK)) {
        if (s != NULL)
            metallm__stream_end(s, METALLM__END_MEMORY, "no memory"); /* without events: silent */
        if (c != NULL)
            free_connecting(c);
        return metallm__error_nomem(err, "a connection");
    }
    metallm__stream_hand(s, events, owner);
    s->connecting = c;
    c->stream = s;
    c->deadline_ns = metallm__loop_now(loop) + to->timeout_ns;
    metallm__timer_set(loop, &c->timer, c->deadline_ns);
    *out = s;
    begin(c, to->port);
    return METALLM_OK;
}
