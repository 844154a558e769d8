/* SPDX-License-Identifier: Apache-2.0
 * metrics.h - what is counted, as Prometheus text. Each loop (and the journal thread) has a shard
 * that it alone adds to, without locks; a scrape sums the shards. Label values are bounded: names
 * of LLMs and routers get slots when a config is taken in, beyond the room there is "other".
 * Threads: a shard belongs to one thread; slots, render: any. */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define METALLM__METRICS_LLMS    256u
#define METALLM__METRICS_ROUTERS 64u
#define METALLM__METRICS_SHARDS  256u
#define METALLM__METRICS_NONE    UINT32_MAX /* no LLM, no router */

enum metallm__endpoint {
    METALLM__EP_CHAT,
    METALLM__EP_COMPLETIONS,
    METALLM__EP_EMBEDDINGS,
    METALLM__EP_RESPONSES,
    METALLM__EP_MESSAGES,
    METALLM__EP_COUNT_TOKENS,
    METALLM__EP_MODELS,
    METALLM__EP_FEEDBACK,
    METALLM__EP_ROUTE,
    METALLM__EP_DECISIONS,
    METALLM__EP_ADMIN,
    METALLM__EP_METRICS,
    METALLM__EP_HEALTH,
    METALLM__EP_STATUS,
    METALLM__EP_OTHER, /* unknown path */
    METALLM__ENDPOINTS
};
const char *metallm__endpoint_name(enum metallm__endpoint e); /* "chat", ... */

enum metallm__attempt_kind { /* what became of one upstream call */
                             METALLM__ATTEMPT_OK,
                             METALLM__ATTEMPT_CONNECT, /* refused, no address, TLS */
                             METALLM__ATTEMPT_TIMEOUT,
                             METALLM__ATTEMPT_BROKEN, /* connection or stream broke, or no HTTP */
                             METALLM__ATTEMPT_429,
                             METALLM__ATTEMPT_4XX,
                             METALLM__ATTEMPT_5XX,
                             METALLM__ATTEMPT_CANCELED, /* the client hung up */
                             METALLM__ATTEMPTS
};
enum metallm__encoded { /* where a request's vector came from */
                        METALLM__ENCODED_CACHE,
                        METALLM__ENCODED_COMPUTED,
                        METALLM__ENCODED_FALLBACK, /* static or hash, after the deadline */
                        METALLM__ENCODED_NONE,     /* best on average */
                        METALLM__ENCODED_KINDS
};
enum metallm__feedback_kind {
    METALLM__FEEDBACK_NEW,
    METALLM__FEEDBACK_REPEATED,
    METALLM__FEEDBACK_CHANGED,
    METALLM__FEEDBACK_UNKNOWN, /* no such decision for this key */
    METALLM__FEEDBACK_REFUSED, /* malformed */
    METALLM__FEEDBACK_GRADED,  /* by a grader of ours */
    METALLM__FEEDBACK_KINDS
};

struct metallm__metrics;
struct metallm__metrics_shard;

METALLM_MUSTCHECK int metallm__metrics_new(struct metallm__metrics **out, uint32_t shards,
                                           metallm_error *err);
void metallm__metrics_free(struct metallm__metrics *m);
struct metallm__metrics_shard *metallm__metrics_shard(struct metallm__metrics *m, uint32_t i);
/* The slot of a name, the same for ever; the last one is "other". */
uint32_t metallm__metrics_llm(struct metallm__metrics *m, const char *name);
uint32_t metallm__metrics_router(struct metallm__metrics *m, const char *name);

/* router, llm: slots or NONE. */
void metallm__metrics_request(struct metallm__metrics_shard *s, enum metallm__endpoint endpoint,
                              int status, uint32_t router, uint64_t latency_ns);
void metallm__metrics_first_token(struct metallm__metrics_shard *s, uint32_t llm, uint64_t ns);
struct metallm__metrics_answer { /* a request that an LLM answered */
    uint32_t llm, router;
    uint64_t input_tokens, cached_tokens, output_tokens;
    double usd;          /* NaN: price unknown */
    bool is_estimated;   /* usage was not told by the upstream */
    bool is_explored;    /* drawn to learn */
    double regret;       /* estimated: best score - chosen one's, >= 0; NaN: not routed */
    uint64_t latency_ns; /* of the upstream call */
};
void metallm__metrics_answered(struct metallm__metrics_shard *s,
                               const struct metallm__metrics_answer *a);
void metallm__metrics_attempt(struct metallm__metrics_shard *s, uint32_t llm,
                              enum metallm__attempt_kind what);
void metallm__metrics_encoded(struct metallm__metrics_shard *s, enum metallm__encoded how,
                              uint64_t ns);
void metallm__metrics_decided(struct metallm__metrics_shard *s,
                              uint64_t ns); /* router's own time */
void metallm__metrics_feedback(struct metallm__metrics_shard *s, enum metallm__feedback_kind kind);
void metallm__metrics_limited(struct metallm__metrics_shard *s, int kind); /* metallm__limit_kind */
void metallm__metrics_in_work(struct metallm__metrics_shard *s, int change);
/* What a loop's server counted since the start, in place of what was told before. Any thread. */
struct metallm__metrics_traffic {
    uint64_t connections, connections_total, bytes_in, bytes_out;
};
void metallm__metrics_traffic(struct metallm__metrics_shard *s,
                              const struct metallm__metrics_traffic *t);

/* What is not counted here but is known elsewhere when a scrape comes. */
struct metallm__metrics_breaker {
    const char *llm, *deployment;
    int state; /* 0 closed, 1 half open, 2 open */
    uint64_t in_flight;
};
struct metallm__metrics_quality {
    const char *router, *llm;
    double mean, low, high; /* believed quality; NaN: not known */
    uint64_t observations;
};
struct metallm__metrics_gauges {
    uint64_t wall_ms, started_ms;
    const struct metallm__metrics_breaker *breakers;
    uint32_t breaker_count;
    const struct metallm__metrics_quality *quality;
    uint32_t quality_count;
    uint64_t encoder_waiting, encoder_running, encoder_cache_entries;
    uint64_t journal_waiting; /* records not yet durable */
    double journal_lag_s;     /* age of the oldest of them */
    uint64_t journal_failed;  /* records that could not be written */
    uint64_t config_reloads, config_refused;
    uint64_t log_dropped;
    uint64_t rss_bytes, open_files; /* 0: read from /proc */
};
/* Prometheus text format 0.0.4. The content type: metallm__metrics_type. */
#define METALLM__METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
void metallm__metrics_render(struct metallm__metrics *m, const struct metallm__metrics_gauges *g,
                             struct metallm__buf *out);

/* Sums since the start, for the status page. */
struct metallm__metrics_sums {
    uint64_t requests, errors, answered, input_tokens, output_tokens;
    double usd;
    uint64_t connections, in_work;
    double latency_p50_s, latency_p95_s, first_token_p50_s; /* NaN: none yet */
};
struct metallm__metrics_llm_sums {
    uint64_t answered, failed, input_tokens, output_tokens;
    double usd;
};
struct metallm__metrics_sums metallm__metrics_sum(struct metallm__metrics *m);
struct metallm__metrics_llm_sums metallm__metrics_sum_llm(struct metallm__metrics *m, uint32_t llm);
#endif
