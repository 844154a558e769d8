/* SPDX-License-Identifier: Apache-2.0
 * http_client.h - HTTP/1.1 calls from one loop, over a pool of kept connections per origin. The
 * answer comes in pieces as it arrives; reading can be paused; a call can be cancelled at any
 * moment. It neither retries nor follows: what to do about a failure is the caller's. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H
#include "net/http.h"
#include "net/stream.h"

struct metallm__http_pool_options { /* 0: the default */
    uint32_t idle_max;              /* kept connections per origin; 64 */
    uint32_t idle_ms;               /* kept so long; 50,000 */
    uint32_t head_bytes;            /* of an answer's status line and headers; 65,536 */
    uint32_t headers;               /* their count; 128 */
};

struct metallm__http_pool;
/* dns is the caller's and outlives the pool. */
METALLM_MUSTCHECK int metallm__http_pool_new(struct metallm__http_pool **out,
                                             struct metallm__loop *loop, struct metallm__dns *dns,
                                             const struct metallm__http_pool_options *opts,
                                             metallm_error *err);
/* After its calls have ended; kept connections are closed. NULL is fine. */
void metallm__http_pool_free(struct metallm__http_pool *pool);

/* Where to: kept connections are shared by all who ask for an equal origin. */
struct metallm__origin;
/* host and tls (NULL: plain HTTP) are copied and referred to. The same host, port and tls give the
 * same record again; each call is to be given back. METALLM_EINVAL: not a host name. */
METALLM_MUSTCHECK int metallm__origin_get(struct metallm__origin **out,
                                          struct metallm__http_pool *pool, const char *host,
                                          uint16_t port, struct metallm__tls_client *tls,
                                          metallm_error *err);
/* With the last one given back its idle connections are closed. NULL is fine. */
void metallm__origin_put(struct metallm__origin *origin);
uint32_t metallm__origin_idle(const struct metallm__origin *origin); /* kept connections, now */

enum metallm__http_call_failure {
    METALLM__HTTP_DNS,     /* no such name */
    METALLM__HTTP_CONNECT, /* nobody answers at any address */
    METALLM__HTTP_TLS,     /* handshake failed, certificate not trusted */
    METALLM__HTTP_TIMEOUT_CONNECT,
    METALLM__HTTP_TIMEOUT_FIRST, /* no first byte of an answer in time */
    METALLM__HTTP_TIMEOUT_GAP,   /* too long between two pieces */
    METALLM__HTTP_TIMEOUT_TOTAL,
    METALLM__HTTP_RESET,      /* cut before the first byte of an answer */
    METALLM__HTTP_BROKEN,     /* cut within an answer: it is not whole */
    METALLM__HTTP_BAD_ANSWER, /* not HTTP/1.x, or not soundly so */
    METALLM__HTTP_TOO_LARGE,  /* head over its limit */
    METALLM__HTTP_MEMORY,
    METALLM__HTTP_FAILURES,
};
const char *
metallm__http_call_failure_name(enum metallm__http_call_failure why); /* "reset"; static */

struct metallm__http_call_fault {
    enum metallm__http_call_failure why;
    const char *message; /* for people; valid during the call */
    /* The connection had served before and was cut before any byte of this answer: most likely it
     * had been closed meanwhile. A new one (fresh) is worth a try for any request. */
    bool was_stale;
    bool was_sent; /* at least one byte of the request went to the system */
};

struct metallm__http_answer {
    int status;                      /* 200..599; 1xx are skipped */
    struct metallm__headers headers; /* valid until end or failed, or cancel */
    uint64_t length;                 /* of the body; METALLM__ANSWER_LENGTH_UNKNOWN */
};
#define METALLM__ANSWER_LENGTH_UNKNOWN UINT64_MAX

/* Called from the loop, never from within a function of this header. Exactly one of end and failed
 * is the last; the call is gone after it. A callback may cancel: then nothing more is called. */
struct metallm__http_call_events {
    /* May be NULL. For a kept connection just before head. */
    void (*connected)(void *owner, bool was_kept);
    void (*head)(void *owner, const struct metallm__http_answer *answer);
    void (*body)(void *owner, struct metallm__span piece); /* decoded; valid during the call */
    void (*end)(void *owner);                              /* the answer is whole */
    void (*failed)(void *owner, const struct metallm__http_call_fault *fault);
};

struct metallm__http_call_options {
    struct metallm__origin *origin;
    enum metallm__method method;
    struct metallm__span target;     /* "/v1/chat/completions"; copied */
    struct metallm__headers headers; /* copied; Host, Content-Length and Connection are put there
                                        here and left out of these, hop-by-hop ones too */
    const struct metallm__span
        *body;         /* the spans are copied, their bytes are not: they stay until */
    size_t body_count; /* end, failed or cancel. At most METALLM__HTTP_SPANS_MAX */
    bool fresh;        /* no kept connection */
    uint64_t connect_ns, first_ns, gap_ns, total_ns; /* timeouts; 0: none, but connect: 10 s */
};
#define METALLM__HTTP_SPANS_MAX 8u

struct metallm__http_call;
/* METALLM_EINVAL: a header or the target is not sound, a span is over 2 GiB; METALLM_ENOMEM. Then
 * nothing is called. */
METALLM_MUSTCHECK int metallm__http_call_start(struct metallm__http_call **out,
                                               const struct metallm__http_call_options *opts,
                                               const struct metallm__http_call_events *events,
                                               void *owner, metallm_error *err);
/* No more body until resume, but for what had been read already (at most 64 KiB): the server is
 * held back by TCP. No gap timeout while paused. */
void metallm__http_call_pause(struct metallm__http_call *call);
void metallm__http_call_resume(struct metallm__http_call *call);
/* Ends it at once, its connection is closed, nothing is called. Not after end or failed. */
void metallm__http_call_cancel(struct metallm__http_call *call);

struct metallm__http_call_counts {
    uint64_t calls, connects, reuses;
    uint64_t resumed; /* connects whose TLS handshake was a short one */
    uint64_t connections_open, connections_idle;
    uint64_t bytes_in, bytes_out;
    uint64_t failed[METALLM__HTTP_FAILURES];
};
void metallm__http_pool_counts(const struct metallm__http_pool *pool,
                               struct metallm__http_call_counts *out); /* any thread */

#endif
