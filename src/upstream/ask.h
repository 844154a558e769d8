/* SPDX-License-Identifier: Apache-2.0
 * ask.h - one request, answered by the first of several LLMs that can: attempts over deployments
 * with breakers, time limits, retries with back-off, then the next LLM; the answer whole, or its
 * stream event by event with back-pressure. docs/gateway.md, "Upstreams", tells the rules.
 * Threads: an upstream record and its calls live on one loop's thread. Callbacks run there, never
 * from within metallm__ask_start. */
#ifndef UPSTREAM_ASK_H
#define UPSTREAM_ASK_H
#include "net/loop.h"
#include "upstream/llms.h"

#define METALLM__ASK_CANDIDATES_MAX   32u
#define METALLM__ASK_ATTEMPTS_MAX     16u
#define METALLM__ASK_ANSWER_BYTES_MAX ((size_t)64 << 20) /* of an answer that is not streamed */

struct metallm__upstream; /* what the calls of one loop share: connections, queues, chance */
struct metallm__ask;      /* one call that is under way */

/* Zero means the default. */
struct metallm__upstream_options {
    uint64_t seed;           /* of jitter and of the choice among deployments */
    unsigned idle_max;       /* idle connections kept to one place: 64 */
    uint32_t idle_ms;        /* how long: 30,000 */
    unsigned retries_max;    /* again at the same deployment: 1 */
    unsigned attempts_max;   /* of a call in all: 6 (at most METALLM__ASK_ATTEMPTS_MAX) */
    uint32_t backoff_ms;     /* before the first retry; doubles: 100 */
    uint32_t backoff_max_ms; /* 2,000; also the longest Retry-After that is waited for */
    size_t answer_bytes_max; /* METALLM__ASK_ANSWER_BYTES_MAX */
    uint32_t dns_ms;         /* an address is believed for this long: 30,000 */
};

METALLM_MUSTCHECK int metallm__upstream_new(struct metallm__upstream **out,
                                            struct metallm__loop *loop,
                                            const struct metallm__upstream_options *options,
                                            metallm_error *err);
/* Ends all calls without a callback and closes all connections. NULL is fine. */
void metallm__upstream_free(struct metallm__upstream *u);

struct metallm__attempt {
    uint32_t llm, deployment;  /* indices of the generation */
    enum metallm__fault fault; /* NONE: it answered (also with the client's own error) */
    unsigned status;           /* HTTP; 0: none came */
    float ms;
};

enum metallm__ask_end {
    METALLM__ASK_ANSWERED = 0, /* 2xx: body, or the stream is complete */
    METALLM__ASK_REFUSED,      /* the client's own fault: status and body to pass on */
    METALLM__ASK_FAILED,       /* no candidate answered; nothing was handed on */
    METALLM__ASK_BROKEN        /* the stream broke after pieces were handed on */
};

struct metallm__ask_result {
    enum metallm__ask_end end;
    unsigned status;          /* ANSWERED, REFUSED: the upstream's; FAILED: what fits the client:
                               * 429, 502, 503 or 504 */
    uint32_t llm, deployment; /* that answered, or the last that was tried */
    const struct metallm__attempt *attempts;
    unsigned attempt_count;
    const char *content_type;  /* of body; NULL: not told */
    struct metallm__buf *body; /* ANSWERED unstreamed, REFUSED, in the client's surface: may be
                                * taken (copy the record, then metallm__buf_init the old); FAILED:
                                * the last upstream's answer, for logs that may hold content; else
                                * empty */
    struct metallm__wire_answer answer; /* usage (estimated where need be), finish, id, model */
    uint64_t dropped;                   /* as metallm__ask_dropped */
    double cost_usd;                    /* by the price of the day; NaN: not known */
    double first_ms, total_ms; /* since start; first_ms: first byte for the client, NaN: none */
    uint64_t retry_after_ms;   /* FAILED with 429 or 503: when it may go better; 0: not known */
    const char *message;       /* FAILED, BROKEN: a sentence, without secrets or content */
};

/* All are needed. */
struct metallm__ask_events {
    /* A stream begins: the last moment before the client's own head must be written. Not called
     * where the upstream answers a streamed request by a whole body, or fails first. */
    void (*on_stream)(void *payload, uint32_t llm, uint32_t deployment, const char *content_type);
    /* Whole events of the stream; bytes are valid during the callback. */
    void (*on_piece)(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes);
    /* Exactly once, last; the call is gone when it returns. Not after metallm__ask_cancel. */
    void (*on_done)(void *payload, const struct metallm__ask_result *result);
};

struct metallm__ask_options {
    const struct metallm__llms *llms;      /* a reference is held while the call lives */
    const uint32_t *candidates;            /* LLMs in the order to try; copied */
    unsigned candidate_count;              /* 1..METALLM__ASK_CANDIDATES_MAX */
    struct metallm__wire_request *request; /* borrowed until the call is gone; read as a talk
                                            * when an upstream speaks another protocol */
    struct metallm__headers headers; /* more of them, as traceparent; borrowed as request is */
    uint32_t total_ms;               /* whole call; 0: the deployments' own limits alone */
    int day;                         /* YYYYMMDD, for the price */
    const struct metallm__ask_events *events; /* static */
    void *payload;
};

METALLM_MUSTCHECK int metallm__ask_start(struct metallm__ask **out, struct metallm__upstream *u,
                                         const struct metallm__ask_options *options,
                                         metallm_error *err);
/* The client hung up: the upstream's connection is closed, the call is gone, no callback follows.
 * May be called from within a callback but on_done. */
void metallm__ask_cancel(struct metallm__ask *ask);
/* Features of the request, as bits of enum metallm__feature, that the present attempt left out:
 * from on_stream on, and in on_done. */
uint64_t metallm__ask_dropped(const struct metallm__ask *ask);
/* Back-pressure of a stream: while paused nothing is read from the upstream; at most what was read
 * already (64 KiB) still comes. Time limits between pieces rest meanwhile. */
void metallm__ask_pause(struct metallm__ask *ask);
void metallm__ask_resume(struct metallm__ask *ask);

#endif
