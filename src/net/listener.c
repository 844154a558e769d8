/* SPDX-License-Identifier: Apache-2.0
 * listener.c - listening sockets, bound before any loop runs, and the connections they bring. */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/stream_internal.h"

#define BACKLOG  4096
#define AGAIN_NS UINT64_C(50000000) /* after a moment without memory */

struct metallm__listener {
    uv_tcp_t tcp;
    struct metallm__loop *loop;
    struct metallm__tls_server *tls;
    struct metallm__timer again;
    void (*accept)(void *owner, struct metallm__stream *s, const struct sockaddr_storage *peer);
    void *owner;
};

static socklen_t address_bytes(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

int metallm__listen_open(const struct sockaddr_storage *address, bool share, int *fd_out,
                         uint16_t *port, metallm_error *err)
{
    char text[METALLM__ADDRESS_BYTES];
    const int on = 1;
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    metallm__address_text(address, text);
    const int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
        (address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        bind(fd, (const struct sockaddr *)address, address_bytes(address)) < 0 ||
        listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&bound, &n) < 0) {
        int rc = metallm__error_set(err, METALLM_EIO, "cannot listen on %s port %u: %s", text,
                                    (unsigned)metallm__address_port(address), strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *fd_out = fd;
    if (port != NULL)
        *port = metallm__address_port(&bound);
    return METALLM_OK;
}

static bool take_in(struct metallm__listener *l, struct metallm__stream *s,
                    struct sockaddr_storage *peer)
{
    int n = sizeof *peer;
    memset(peer, 0, sizeof *peer);
    if (uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp) < 0 ||
        uv_tcp_getpeername(&s->tcp, (struct sockaddr *)peer, &n) < 0)
        return false; /* gone already */
    (void)uv_tcp_nodelay(&s->tcp, 1);
    s->state = STREAM_OPEN;
    return l->tls == NULL || metallm__stream_tls_server(s, l->tls) == METALLM_OK;
}

static void on_connection(uv_stream_t *server, int status)
{
    struct metallm__listener *l = server->data;
    struct sockaddr_storage peer;
    if (status < 0)
        return;
    struct metallm__stream *s = metallm__stream_make(l->loop);
    if (s == NULL) { /* libuv brings no other until this one is taken */
        metallm__timer_set(l->loop, &l->again, metallm__loop_now(l->loop) + AGAIN_NS);
        return;
    }
    if (!take_in(l, s, &peer)) {
        metallm__stream_end(s, METALLM__END_RESET, "gone");
        return;
    }
    l->accept(l->owner, s, &peer);
    if (s->events == NULL)
        metallm__stream_end(s, METALLM__END_CLOSED, "refused");
    metallm__stream_read_start(s);
}

static void on_again(struct metallm__timer *timer)
{
    struct metallm__listener *l =
        (void *)((char *)timer - offsetof(struct metallm__listener, again));
    on_connection((uv_stream_t *)&l->tcp, 0);
}

int metallm__listener_new(struct metallm__listener **out, struct metallm__loop *loop, int fd,
                          struct metallm__tls_server *tls,
                          void (*accept)(void *owner, struct metallm__stream *s,
                                         const struct sockaddr_storage *peer),
                          void *owner, metallm_error *err)
{
    struct metallm__listener *l = metallm__calloc(1, sizeof *l);
    if (l == NULL) {
        close(fd);
        return metallm__error_nomem(err, "a listener");
    }
    *l = (struct metallm__listener){.loop = loop, .accept = accept, .owner = owner};
    (void)uv_tcp_init(&loop->uv, &l->tcp);
    l->tcp.data = l;
    l->again.fired = on_again;
    l->tls = tls == NULL ? NULL : metallm__tls_server_ref(tls);
    int rc = uv_tcp_open(&l->tcp, fd);
    if (rc < 0)
        close(fd);
    else
        rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (rc < 0) {
        metallm__listener_free(l);
        return metallm__error_set(err, METALLM_EIO, "cannot listen: %s", uv_strerror(rc));
    }
    *out = l;
    return METALLM_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    metallm__free(handle->data);
}

void metallm__listener_free(struct metallm__listener *l)
{
    if (l == NULL)
        return;
    metallm__tls_server_free(l->tls);
    metallm__timer_stop(l->loop, &l->again);
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}
