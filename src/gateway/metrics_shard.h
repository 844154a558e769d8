/* SPDX-License-Identifier: Apache-2.0
 * metrics_shard.h - where metrics.c counts and metrics_text.c reads. */
#ifndef GATEWAY_METRICS_SHARD_H
#define GATEWAY_METRICS_SHARD_H
#include <pthread.h>

#include "gateway/metrics.h"

#define METALLM__METRICS_BOUNDS   20u
#define METALLM__METRICS_STATUSES 20u /* the last cell: every other */
#define METALLM__METRICS_LIMITS   4   /* enum metallm__limit_kind */

extern const uint64_t metallm__metrics_bounds[METALLM__METRICS_BOUNDS];
extern const int metallm__metrics_statuses[METALLM__METRICS_STATUSES];

struct metallm__metrics_times {
    uint64_t cells[METALLM__METRICS_BOUNDS + 1], sum_ns;
};

struct metallm__metrics_llm_cells {
    uint64_t answered, input_tokens, cached_tokens, output_tokens, estimated, unpriced;
    uint64_t attempts[METALLM__ATTEMPTS];
    double usd;
    struct metallm__metrics_times latency, first_token;
};

struct metallm__metrics_router_cells {
    uint64_t requests, errors, explored;
    uint64_t chosen[METALLM__METRICS_LLMS];
    double regret, usd;
};

struct metallm__metrics_shard {
    uint64_t requests[METALLM__ENDPOINTS][METALLM__METRICS_STATUSES];
    struct metallm__metrics_times latency[METALLM__ENDPOINTS];
    struct metallm__metrics_times first_token, encoder, decided;
    uint64_t encoded[METALLM__ENCODED_KINDS], feedback[METALLM__FEEDBACK_KINDS];
    uint64_t limited[METALLM__METRICS_LIMITS];
    uint64_t connections, connections_total, in_work, bytes_in, bytes_out;
    struct metallm__metrics_llm_cells llms[METALLM__METRICS_LLMS];
    struct metallm__metrics_router_cells routers[METALLM__METRICS_ROUTERS];
};

struct metallm__metrics_names {
    char *names[METALLM__METRICS_LLMS]; /* owned */
    uint32_t count;
};

struct metallm__metrics {
    struct metallm__metrics_shard **shards;
    uint32_t shard_count;
    pthread_mutex_t lock; /* of the names */
    struct metallm__metrics_names llms, routers;
};
#endif
