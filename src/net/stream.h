/* SPDX-License-Identifier: Apache-2.0
 * stream.h - a two-way stream of bytes over TCP, plain or TLS. Reading can be paused; writing tries
 * the socket at once and queues the rest; an end, whatever its cause, is told exactly once. */
#ifndef NET_STREAM_H
#define NET_STREAM_H
#include "base/span.h"
#include "net/dns.h"
#include "net/tls.h"

struct metallm__stream;

enum metallm__stream_end {
    METALLM__END_CLOSED,  /* we closed it */
    METALLM__END_RESET,   /* the peer cut it, or the network did */
    METALLM__END_DNS,     /* connect: no such name */
    METALLM__END_CONNECT, /* connect: nobody answers at any address */
    METALLM__END_TIMEOUT, /* connect: time is over */
    METALLM__END_TLS,     /* handshake or record refused, certificate not trusted */
    METALLM__END_LIMIT,   /* more than METALLM__STREAM_QUEUE_MAX bytes were to be copied */
    METALLM__END_MEMORY,
};
#define METALLM__STREAM_QUEUE_MAX ((size_t)64 << 20)

/* All on the loop's thread. A callback may call anything on its stream, close included; after
 * metallm__stream_close only `closed` is still called. Members may be NULL except closed. */
struct metallm__stream_events {
    void (*opened)(void *owner);                         /* connected, handshake done */
    void (*bytes)(void *owner, struct metallm__span in); /* n > 0; valid during the call */
    void (*eof)(void *owner);     /* the peer will send no more (TLS: or was cut without notice) */
    void (*drained)(void *owner); /* the write queue, not empty before, is empty */
    /* The last call, once for each stream, from the loop (never from within another call): the
     * stream's memory is gone after it. why is a sentence for people, valid during the call. */
    void (*closed)(void *owner, enum metallm__stream_end end, const char *why);
};

/* Bytes that stay where they are until they are written: release(arg) is called exactly once, when
 * they are no longer needed (also if the stream ends first), perhaps from within the call. */
struct metallm__hold {
    void (*release)(void *arg);
    void *arg;
};

struct metallm__connect {
    const char *host; /* name or numeric address; copied, also for SNI and the certificate's name */
    uint16_t port;
    struct metallm__tls_client *tls; /* NULL: plain; referred to */
    uint64_t timeout_ns;             /* for lookup, all addresses and handshake together; > 0 */
    /* TLS session of an earlier connection to the same origin, and where to leave the newest; see
     * metallm__tls_ticket. NULL: none. Outlives the stream. */
    struct metallm__tls_ticket *ticket;
};
/* Begins to connect: opened or closed follows. Failures that are known at once come by closed too.
 * METALLM_ENOMEM alone is returned. Reading begins with opened, not paused. */
METALLM_MUSTCHECK int metallm__stream_connect(struct metallm__stream **out,
                                              struct metallm__loop *loop, struct metallm__dns *dns,
                                              const struct metallm__connect *to,
                                              const struct metallm__stream_events *events,
                                              void *owner, metallm_error *err);

/* ---- In use. All of these are fine, and do nothing, on a stream that has ended. ---- */
/* No bytes and no eof until resume. What TLS had decrypted already is kept. */
void metallm__stream_pause(struct metallm__stream *s);
void metallm__stream_resume(struct metallm__stream *s); /* nothing is called before it returns */

/* Writes count spans, in order, in one system call where the socket takes them. What it does not
 * take is copied (hold NULL) or referred to (hold). Failures come by closed. */
void metallm__stream_write(struct metallm__stream *s, const struct metallm__span *spans,
                           size_t count, const struct metallm__hold *hold);
/* The same, but the first `copied` spans are copied also with hold: heads in passing memory. */
void metallm__stream_write_mixed(struct metallm__stream *s, const struct metallm__span *spans,
                                 size_t count, size_t copied, const struct metallm__hold *hold);
#define METALLM__STREAM_SPANS_MAX 16u                           /* of one write */
size_t metallm__stream_queued(const struct metallm__stream *s); /* bytes not yet with the system */
/* Ends our direction after what is queued; the peer's stays open. */
void metallm__stream_shutdown(struct metallm__stream *s);
/* Ends both at once; queued bytes are dropped. closed follows, with METALLM__END_CLOSED. */
void metallm__stream_close(struct metallm__stream *s);
void metallm__stream_reset(struct metallm__stream *s); /* the same, and the peer sees a reset */
/* Other events and owner from now on (a connection handed on by a pool). */
void metallm__stream_hand(struct metallm__stream *s, const struct metallm__stream_events *events,
                          void *owner);
/* After eof: the peer said so; false: TLS was cut without notice, what came may not be all. */
bool metallm__stream_eof_is_clean(const struct metallm__stream *s);
bool metallm__stream_is_resumed(const struct metallm__stream *s); /* TLS: by an earlier session */
bool metallm__stream_is_tls(const struct metallm__stream *s);
bool metallm__stream_is_open(const struct metallm__stream *s); /* opened, and not ended */

/* ---- Sessions kept for the next connection to an origin; one loop's. ---- */
struct metallm__tls_ticket {
    void *session; /* tls.c's; all zero at first */
};
void metallm__tls_ticket_fini(struct metallm__tls_ticket *ticket);

/* ---- The accepting side. ---- */
/* Binds and listens, before loops run, so that a bad address is an error at start. With share,
 * several sockets may listen on one address (SO_REUSEPORT) and the kernel spreads connections.
 * *fd is the caller's; *port: the one that was taken if the address said 0. METALLM_EINVAL,
 * METALLM_EIO. */
METALLM_MUSTCHECK int metallm__listen_open(const struct sockaddr_storage *address, bool share,
                                           int *fd, uint16_t *port, metallm_error *err);

struct metallm__listener;
/* Takes fd over (also on failure). accept is called for each connection: the callee takes the
 * stream by metallm__stream_hand, or it is closed. A plain stream is open already, with TLS opened
 * follows its handshake. tls may be NULL; it is referred to. */
METALLM_MUSTCHECK int metallm__listener_new(struct metallm__listener **out,
                                            struct metallm__loop *loop, int fd,
                                            struct metallm__tls_server *tls,
                                            void (*accept)(void *owner, struct metallm__stream *s,
                                                           const struct sockaddr_storage *peer),
                                            void *owner, metallm_error *err);
/* Stops accepting and closes. NULL is fine. */
void metallm__listener_free(struct metallm__listener *listener);

#endif
