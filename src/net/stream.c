/* SPDX-License-Identifier: Apache-2.0
 * stream.c - reading into the loop's one buffer, writing through uv_try_write with a queue behind
 * it, and the one way out: every end goes through metallm__stream_end and one uv_close. */
#include "net/stream.h"

#include "base/error.h"
#include "base/mem.h"
#include "net/stream_internal.h"

#define SPANS_MAX METALLM__STREAM_SPANS_MAX

struct metallm__stream *metallm__stream_make(struct metallm__loop *loop)
{
    struct metallm__stream *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->loop = loop;
    (void)uv_tcp_init(&loop->uv, &s->tcp); /* without a family it cannot fail */
    s->tcp.data = s;
    return s;
}

/* ---- The end ---- */
static void drop_write(struct stream_write *w)
{
    struct metallm__hold hold = w->hold;
    w->hold.release = NULL;
    if (hold.release != NULL)
        hold.release(hold.arg);
}

static void free_write(struct stream_write *w)
{
    struct metallm__loop *loop = w->stream->loop;
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    w->stream->copied -= w->copied;
    drop_write(w);
    metallm__loop_unblock(loop, w->extra, w->extra_bytes);
    metallm__loop_unblock(loop, w, w->block_bytes);
}

static void free_stream(struct metallm__stream *s)
{
    metallm__stream_tls_free(s);
    metallm__free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct metallm__stream *s = handle->data;
    if (s->events != NULL)
        s->events->closed(s->owner, s->end, s->why);
    s->is_closed = true;
    if (!s->pump_is_posted) /* else the mail frees it */
        free_stream(s);
}

void metallm__stream_close_handle(struct metallm__stream *s)
{
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

void metallm__stream_end(struct metallm__stream *s, enum metallm__stream_end end, const char *why)
{
    if (s->state == STREAM_ENDED)
        return;
    s->state = STREAM_ENDED;
    s->end = end;
    (void)snprintf(s->why, sizeof s->why, "%s", why);
    metallm__stream_connect_stop(s);
    metallm__stream_tls_forget(s);
    for (struct stream_write *w = s->writes; w != NULL; w = w->next)
        drop_write(w); /* libuv gives the records back later, but reads no more of their bytes */
    if (!uv_is_closing((uv_handle_t *)&s->tcp)) /* else connect.c closes it once more */
        metallm__stream_close_handle(s);
}

/* ---- Reading ---- */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct metallm__stream *s = handle->data;
    (void)suggested;
    *buf = uv_buf_init(s->loop->read_buffer, METALLM__READ_BYTES);
}

void metallm__stream_got_eof(struct metallm__stream *s)
{
    if (s->is_eof)
        return;
    s->is_eof = true;
    if (s->state != STREAM_OPEN)
        metallm__stream_end(s, METALLM__END_RESET, "closed by the peer within the TLS handshake");
    else if (s->events->eof != NULL)
        s->events->eof(s->owner);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct metallm__stream *s = stream->data;
    if (n > 0) {
        struct metallm__span in = {buf->base, (size_t)n};
        if (s->tls != NULL)
            metallm__stream_tls_feed(s, in);
        else
            s->events->bytes(s->owner, in);
    } else if (n == UV_EOF) {
        uv_read_stop(stream);
        s->is_reading = false;
        s->was_cut = s->tls != NULL && !s->is_eof;
        metallm__stream_got_eof(s);
    } else if (n < 0 && n != UV_ENOBUFS) {
        metallm__stream_end(s, METALLM__END_RESET, uv_strerror((int)n));
    }
}

void metallm__stream_read_start(struct metallm__stream *s)
{
    if (s->is_reading || s->is_paused || s->is_eof || s->state < STREAM_HANDSHAKE ||
        s->state == STREAM_ENDED)
        return;
    s->is_reading = true;
    int rc = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (rc < 0)
        metallm__stream_end(s, METALLM__END_RESET, uv_strerror(rc));
}

void metallm__stream_pause(struct metallm__stream *s)
{
    s->is_paused = true;
    if (s->state == STREAM_OPEN && s->is_reading) {
        uv_read_stop((uv_stream_t *)&s->tcp);
        s->is_reading = false;
    }
}

static void deliver_pump(struct metallm__mail *mail)
{
    struct metallm__stream *s = (void *)((char *)mail - offsetof(struct metallm__stream, pump));
    s->pump_is_posted = false;
    if (s->is_closed) {
        free_stream(s);
    } else if (s->state == STREAM_OPEN && !s->is_paused) {
        metallm__stream_tls_pump(s);
        metallm__stream_read_start(s);
    }
}

void metallm__stream_resume(struct metallm__stream *s)
{
    if (!s->is_paused)
        return;
    s->is_paused = false;
    if (s->tls == NULL) {
        metallm__stream_read_start(s);
    } else if (!s->pump_is_posted && s->state == STREAM_OPEN) {
        s->pump_is_posted = true;
        s->pump.deliver = deliver_pump;
        metallm__loop_mail(s->loop, &s->pump);
    }
}

/* ---- Writing ---- */
static void on_written(uv_write_t *req, int status)
{
    struct stream_write *w = (struct stream_write *)req;
    struct metallm__stream *s = w->stream;
    free_write(w);
    if (s->state == STREAM_ENDED)
        return;
    if (status < 0)
        metallm__stream_end(s, METALLM__END_RESET, uv_strerror(status));
    else if (s->writes == NULL && s->state == STREAM_OPEN && s->events->drained != NULL)
        s->events->drained(s->owner);
}

/* A record for what is left of spans: the first `copied` of them lie in it, the others are referred
 * to. bufs gets *count buffers. NULL: no memory. */
static struct stream_write *make_write(struct metallm__stream *s, const struct metallm__span *spans,
                                       size_t count, size_t copied, size_t skip, uv_buf_t *bufs,
                                       unsigned *buf_count)
{
    size_t copy_bytes = 0, got = 0, before = skip;
    for (size_t i = 0; i < copied; i++)
        copy_bytes += spans[i].n;
    struct stream_write *w = metallm__loop_block(s->loop, sizeof *w + copy_bytes, &got);
    if (w == NULL)
        return NULL;
    *w = (struct stream_write){.stream = s, .block_bytes = got};
    char *at = (char *)(w + 1);
    unsigned n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t cut = before < spans[i].n ? before : spans[i].n, rest = spans[i].n - cut;
        const char *from = spans[i].p + cut;
        before -= cut;
        if (rest == 0)
            continue;
        if (i < copied) {
            memcpy(at, from, rest);
            from = at;
            at += rest;
            w->copied += rest;
        }
        bufs[n++] = uv_buf_init((char *)(uintptr_t)from, (unsigned)rest);
    }
    *buf_count = n;
    return w;
}

/* Bytes from offset skip on wait until the socket takes them. */
static void queue_rest(struct metallm__stream *s, const struct metallm__span *spans, size_t count,
                       size_t copied, size_t skip, const struct metallm__hold *hold, void *extra,
                       size_t extra_bytes)
{
    uv_buf_t bufs[SPANS_MAX];
    unsigned n = 0;
    struct stream_write *w = make_write(s, spans, count, copied, skip, bufs, &n);
    if (w == NULL) {
        metallm__loop_unblock(s->loop, extra, extra_bytes);
        if (hold != NULL)
            hold->release(hold->arg);
        metallm__stream_end(s, METALLM__END_MEMORY, "no memory for what is to be written");
        return;
    }
    w->extra = extra;
    w->extra_bytes = extra_bytes;
    w->copied += extra_bytes;
    if (hold != NULL)
        w->hold = *hold;
    w->next = s->writes;
    w->link = &s->writes;
    if (w->next != NULL)
        w->next->link = &w->next;
    s->writes = w;
    s->copied += w->copied;
    int rc = uv_write(&w->req, (uv_stream_t *)&s->tcp, bufs, n, on_written);
    if (rc < 0) {
        free_write(w);
        metallm__stream_end(s, METALLM__END_RESET, uv_strerror(rc));
    } else if (s->copied > METALLM__STREAM_QUEUE_MAX) {
        metallm__stream_end(s, METALLM__END_LIMIT, "too much is waiting to be written");
    }
}

void metallm__stream_send(struct metallm__stream *s, const struct metallm__span *spans,
                          size_t count, size_t copied, const struct metallm__hold *hold,
                          void *extra, size_t extra_bytes)
{
    uv_buf_t bufs[SPANS_MAX];
    size_t total = 0, sent = 0;
    METALLM_REQUIRE(count <= SPANS_MAX);
    for (size_t i = 0; i < count; i++) {
        METALLM_REQUIRE(spans[i].n <= INT32_MAX);
        bufs[i] = uv_buf_init((char *)(uintptr_t)spans[i].p, (unsigned)spans[i].n);
        total += spans[i].n;
    }
    if (s->writes == NULL && total > 0) {
        int n = uv_try_write((uv_stream_t *)&s->tcp, bufs, (unsigned)count);
        if (n < 0 && n != UV_EAGAIN)
            metallm__stream_end(s, METALLM__END_RESET, uv_strerror(n));
        sent = n > 0 ? (size_t)n : 0;
    }
    if (sent < total && s->state != STREAM_ENDED) {
        queue_rest(s, spans, count, copied, sent, hold, extra, extra_bytes);
        return;
    }
    metallm__loop_unblock(s->loop, extra, extra_bytes);
    if (hold != NULL)
        hold->release(hold->arg);
}

void metallm__stream_write_mixed(struct metallm__stream *s, const struct metallm__span *spans,
                                 size_t count, size_t copied, const struct metallm__hold *hold)
{
    if (s->state == STREAM_OPEN && !s->is_shut) {
        if (s->tls == NULL) {
            metallm__stream_send(s, spans, count, hold == NULL ? count : copied, hold, NULL, 0);
            return;
        }
        metallm__stream_tls_write(s, spans, count);
    }
    if (hold != NULL)
        hold->release(hold->arg);
}

void metallm__stream_write(struct metallm__stream *s, const struct metallm__span *spans,
                           size_t count, const struct metallm__hold *hold)
{
    metallm__stream_write_mixed(s, spans, count, 0, hold);
}

size_t metallm__stream_queued(const struct metallm__stream *s)
{
    return s->writes == NULL || s->state != STREAM_OPEN
               ? 0
               : uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* a connection that is gone is told of by reading */
}

void metallm__stream_shutdown(struct metallm__stream *s)
{
    if (s->state != STREAM_OPEN || s->is_shut)
        return;
    if (s->tls != NULL)
        metallm__stream_tls_notify(s);
    s->is_shut = true;
    if (s->state == STREAM_OPEN)
        (void)uv_shutdown(&s->shutdown_req, (uv_stream_t *)&s->tcp, on_shutdown);
}

void metallm__stream_close(struct metallm__stream *s)
{
    if (s->state == STREAM_OPEN && s->tls != NULL && !s->is_shut && s->writes == NULL)
        metallm__stream_tls_notify(s);
    metallm__stream_end(s, METALLM__END_CLOSED, "closed");
}

void metallm__stream_reset(struct metallm__stream *s)
{
    uv_os_fd_t fd;
    if (s->state != STREAM_ENDED && uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0) {
        /* Closed with a linger of 0 the kernel sends a reset and drops what is unsent. */
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    metallm__stream_end(s, METALLM__END_CLOSED, "cut");
}

void metallm__stream_hand(struct metallm__stream *s, const struct metallm__stream_events *events,
                          void *owner)
{
    s->events = events;
    s->owner = owner;
}

bool metallm__stream_eof_is_clean(const struct metallm__stream *s)
{
    return s->is_eof && !s->was_cut;
}

bool metallm__stream_is_tls(const struct metallm__stream *s)
{
    return s->tls != NULL;
}

bool metallm__stream_is_open(const struct metallm__stream *s)
{
    return s->state == STREAM_OPEN;
}
