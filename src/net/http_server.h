/* SPDX-License-Identifier: Apache-2.0
 * http_server.h - an HTTP/1.1 server on one loop. Strict about what a request is (RFC 9112): what
 * two parsers could read differently is refused and the connection closed. A request is handed to
 * one handler when its head and whole body are there; the answer may come later, whole or in
 * pieces. One request at a time on a connection; others behind it wait, within a limit. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H
#include "base/buf.h"
#include "net/http.h"
#include "net/stream.h"

struct metallm__http_limits {
    uint32_t target_bytes;     /* of the request target; more: 414. 8,192 */
    uint32_t head_bytes;       /* request line and headers; more: 431. 65,536 */
    uint32_t headers;          /* their count; more: 431. 100 */
    uint64_t body_bytes;       /* more: 413. 20 MiB */
    uint32_t ahead_bytes;      /* read while a request is being answered. 65,536 */
    uint64_t requests;         /* on one connection, then it is closed. 100,000 */
    uint32_t connections;      /* in all, over every server of one guard. 10,000 */
    uint32_t connections_peer; /* of one address (IPv6: of one /64); 0: no limit. 0 */
    uint32_t idle_ms;          /* between requests. 75,000 */
    uint32_t head_ms;          /* from a head's first byte (or TLS hello) to its end. 10,000 */
    uint32_t body_ms;          /* from a head's end to its body's; more: 408. 300,000 */
    uint32_t body_grace_ms;    /* a body may be slower than the least rate so long. 5,000 */
    uint32_t body_rate;        /* bytes a second, the least over a whole body. 1,024 */
    uint32_t write_stall_ms;   /* no byte of an answer taken for so long: cut. 30,000 */
    uint32_t linger_ms;        /* a refused peer's bytes are read and dropped so long. 1,000 */
};
struct metallm__http_limits metallm__http_limits_default(void);

/* Why a connection or request was refused here. */
enum metallm__http_refusal {
    METALLM__REFUSED_SYNTAX,      /* 400 and 505 */
    METALLM__REFUSED_METHOD,      /* 405, 501 */
    METALLM__REFUSED_LENGTH,      /* 411 */
    METALLM__REFUSED_BODY,        /* 413 */
    METALLM__REFUSED_TARGET,      /* 414 */
    METALLM__REFUSED_EXPECT,      /* 417 */
    METALLM__REFUSED_HEADERS,     /* 431 */
    METALLM__REFUSED_TIMEOUT,     /* 408 */
    METALLM__REFUSED_CONNECTIONS, /* 503: connections in all */
    METALLM__REFUSED_PEER,        /* 503: connections of one address */
    METALLM__REFUSED_STALL,       /* an answer was cut, its reader too slow */
    METALLM__REFUSED_MEMORY,      /* 503, or cut */
    METALLM__REFUSALS,
};
const char *metallm__http_refusal_name(enum metallm__http_refusal why); /* "syntax"; static */

struct metallm__http_counts {
    uint64_t connections;         /* accepted, ever */
    uint64_t connections_open;    /* now */
    uint64_t requests;            /* handed to the handler, ever */
    uint64_t requests_open;       /* now */
    uint64_t gone;                /* clients that hung up before their answer was whole */
    uint64_t bytes_in, bytes_out; /* of HTTP, TLS not counted */
    uint64_t refused[METALLM__REFUSALS];
};

/* What the servers of all loops share: the connection limits. Any thread. */
struct metallm__http_guard;
METALLM_MUSTCHECK int metallm__http_guard_new(struct metallm__http_guard **out, metallm_error *err);
void metallm__http_guard_free(struct metallm__http_guard *guard); /* after its servers */

/* A request and its answer: one exchange. */
struct metallm__exchange;
struct metallm__request {
    enum metallm__method method;
    struct metallm__span target;      /* as sent, in origin form: "/path?query", or "*" */
    struct metallm__span path, query; /* parts of it, not decoded; query without its '?' */
    struct metallm__headers headers;  /* in their order; Host among them */
    struct metallm__span body;
    const char *peer; /* numeric address, closed by NUL */
    bool is_tls;
    uint8_t minor;     /* HTTP/1.minor: 0 or 1 */
    uint64_t begun_ns; /* loop's time: first byte of the head */
    uint64_t whole_ns; /* the body's last byte: the handler is called */
};

struct metallm__http_server;
struct metallm__http_server_options {
    const struct metallm__http_limits *limits; /* copied; NULL: the defaults */
    struct metallm__http_guard *guard;         /* NULL: one of its own */
    /* Called for each request. It finishes each exchange exactly once, now or later, by
     * metallm__reply, metallm__reply_end or metallm__reply_abort: also after `gone`. */
    void (*handle)(void *payload, struct metallm__exchange *x);
    void *payload;
    /* Appends the body of a refusal that is made here, JSON. target: the request's as far as it was
     * read, perhaps nothing, perhaps not sound. NULL: an OpenAI error object. */
    void (*refusal)(void *payload, struct metallm__span target, int status, const char *message,
                    struct metallm__buf *out);
    /* Called once after metallm__http_server_drain: was_cut tells whether the grace period ended
     * with exchanges still open. May be NULL. */
    void (*drained)(void *payload, bool was_cut);
};
METALLM_MUSTCHECK int metallm__http_server_new(struct metallm__http_server **out,
                                               struct metallm__loop *loop,
                                               const struct metallm__http_server_options *opts,
                                               metallm_error *err);
/* Cuts what is open: `gone` is called for each exchange that is open, and its handler must finish
 * it within that call. NULL is fine. */
void metallm__http_server_free(struct metallm__http_server *server);
/* Accepts on fd (metallm__listen_open), which is taken over. May be called for several. */
METALLM_MUSTCHECK int metallm__http_server_listen(struct metallm__http_server *server, int fd,
                                                  struct metallm__tls_server *tls,
                                                  metallm_error *err);
/* Other limits, from the next request or connection on. */
void metallm__http_server_limit(struct metallm__http_server *server,
                                const struct metallm__http_limits *limits);
/* Stops accepting (now), closes idle connections, lets what runs be answered with "Connection:
 * close", and cuts what is left after grace_ms. drained follows. */
void metallm__http_server_drain(struct metallm__http_server *server, uint32_t grace_ms);
void metallm__http_server_counts(const struct metallm__http_server *server,
                                 struct metallm__http_counts *out); /* any thread */

/* ---- The exchange: valid until it is finished; all that the request shows lives as long. ---- */
const struct metallm__request *metallm__exchange_request(const struct metallm__exchange *x);
struct metallm__loop *metallm__exchange_loop(const struct metallm__exchange *x);
struct metallm__exchange_events {
    /* The client hung up (or was cut for stalling), once; nothing that is written goes anywhere
     * from here on. Also an end of its direction alone counts as hanging up. The exchange is still
     * to be finished. Never called from within a metallm__reply call. */
    void (*gone)(void *owner);
    /* All that was queued is with the system: go on writing. */
    void (*drained)(void *owner);
};
/* Whom to tell; before that nobody is told. events may be NULL; it is not copied. */
void metallm__exchange_watch(struct metallm__exchange *x,
                             const struct metallm__exchange_events *events, void *owner);
bool metallm__exchange_is_gone(const struct metallm__exchange *x);

/* ---- Answering. A span over 2 GiB cuts the connection. Date, Content-Length or Transfer-Encoding,
 * and Connection are put there here; given headers of these names, of hop-by-hop ones, and unsound
 * ones are left out. ---- */
/* The whole answer, and the end of the exchange. What the socket does not take of body at once is
 * copied (hold NULL) or referred to (hold, see stream.h). To HEAD the body is not sent. */
void metallm__reply(struct metallm__exchange *x, int status, struct metallm__headers headers,
                    struct metallm__span body, const struct metallm__hold *hold);
/* In pieces: the head once (sent together with the first piece), then pieces, then end or abort.
 * length: of the whole body where it is known, then exactly so much is to be written; else
 * METALLM__LENGTH_UNKNOWN (chunked; to HTTP/1.0 until close). */
#define METALLM__LENGTH_UNKNOWN UINT64_MAX
void metallm__reply_head(struct metallm__exchange *x, int status, struct metallm__headers headers,
                         uint64_t length);
void metallm__reply_piece(struct metallm__exchange *x, struct metallm__span piece,
                          const struct metallm__hold *hold); /* an empty one flushes the head */
void metallm__reply_end(struct metallm__exchange *x);
/* Cuts the connection (after a head: so that the client sees a broken answer, not a short one). */
void metallm__reply_abort(struct metallm__exchange *x);
/* Bytes of this answer that the client has not taken yet: pause the source when it grows. */
size_t metallm__reply_queued(const struct metallm__exchange *x);
/* After this answer the connection is closed. Before the head. */
void metallm__reply_close_after(struct metallm__exchange *x);

#endif
