/* SPDX-License-Identifier: Apache-2.0
 * stream_internal.h - a stream as its files see it: stream.c (reading, writing, ending),
 * connect.c (names, addresses, attempts), stream_tls.c (records in between), listener.c. */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H
#include "net/internal.h"
#include "net/stream.h"

enum stream_state {
    STREAM_CONNECTING, /* name, address */
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_ENDED, /* closed is on its way */
};

/* What the socket did not take at once. Lies in a block of the loop, its copied bytes behind it. */
struct stream_write {
    uv_write_t req;
    struct metallm__stream *stream;
    struct stream_write *next, **link;
    struct metallm__hold hold; /* release NULL: none, or released */
    void *extra;               /* a block that is given back with it */
    size_t extra_bytes, block_bytes, copied;
};

struct stream_tls;        /* stream_tls.c */
struct stream_connecting; /* connect.c */

struct metallm__stream {
    uv_tcp_t tcp;
    struct metallm__loop *loop;
    const struct metallm__stream_events *events;
    void *owner;
    enum stream_state state;
    bool is_paused, is_reading, is_eof, is_shut, pump_is_posted, is_closed, was_cut;
    enum metallm__stream_end end;
    char why[120];
    struct stream_tls *tls;
    struct stream_connecting *connecting;
    struct stream_write *writes;
    size_t copied; /* bytes of writes that were copied */
    struct metallm__mail pump;
    uv_shutdown_t shutdown_req;
};

struct metallm__stream *metallm__stream_make(struct metallm__loop *loop);
void metallm__stream_end(struct metallm__stream *s, enum metallm__stream_end end, const char *why);
void metallm__stream_close_handle(struct metallm__stream *s);
void metallm__stream_read_start(struct metallm__stream *s);
void metallm__stream_got_eof(struct metallm__stream *s);
/* Bytes as they go over the wire. extra: a block that holds them and is handed over, or NULL. */
void metallm__stream_send(struct metallm__stream *s, const struct metallm__span *spans,
                          size_t count, size_t copied, const struct metallm__hold *hold,
                          void *extra, size_t extra_bytes);

/* stream_tls.c; the first two: METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__stream_tls_server(struct metallm__stream *s,
                                                 struct metallm__tls_server *tls);
METALLM_MUSTCHECK int metallm__stream_tls_client(struct metallm__stream *s,
                                                 struct metallm__tls_client *tls, const char *host,
                                                 struct metallm__tls_ticket *ticket);
void metallm__stream_tls_begin(struct metallm__stream *s); /* the client speaks first */
void metallm__stream_tls_feed(struct metallm__stream *s, struct metallm__span in);
void metallm__stream_tls_pump(struct metallm__stream *s); /* after a pause */
void metallm__stream_tls_write(struct metallm__stream *s, const struct metallm__span *spans,
                               size_t count);
void metallm__stream_tls_notify(struct metallm__stream *s); /* close_notify */
void metallm__stream_tls_forget(struct metallm__stream *s); /* ended: the ticket is not touched */
void metallm__stream_tls_free(struct metallm__stream *s);

/* connect.c */
void metallm__stream_connect_stop(struct metallm__stream *s); /* connected, or ended */

#endif
