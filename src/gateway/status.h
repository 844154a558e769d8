/* SPDX-License-Identifier: Apache-2.0
 * status.h - the gateway's state at one moment, and the page that shows it: plain HTML, rendered
 * here, without a script. Every text is escaped. */
#ifndef GATEWAY_STATUS_H
#define GATEWAY_STATUS_H
#include <stdbool.h>

#include "gateway/metrics.h"

struct metallm__status_deployment {
    const char *name;
    int breaker; /* 0 closed, 1 half open, 2 open */
    uint64_t in_flight, requests, failed;
};
struct metallm__status_model {
    const char *name;
    int state; /* 0 serving, 1 drained, 2 retired */
    bool by_admin;
    struct metallm__metrics_llm_sums sums;
    double input_price, output_price; /* dollars per million tokens today; NaN: not known */
    const struct metallm__status_deployment *deployments;
    uint32_t deployment_count;
};
/* What a router believes of one of its candidates. NaN: not known. */
struct metallm__status_belief {
    const char *model;
    double quality, low, high; /* mean and 95 % interval */
    double cost_usd;           /* of a request */
    uint64_t seen;             /* scores learned from */
    bool is_new;
};
struct metallm__status_router {
    const char *name, *mode;                    /* "hybrid", ... */
    double dial, target, budget_usd, spent_usd; /* NaN: not stated, not known */
    const char *budget_per;                     /* "day" */
    bool by_admin;
    uint64_t decisions, feedback;
    const struct metallm__status_belief *beliefs;
    uint32_t belief_count;
};
struct metallm__status {
    uint64_t wall_ms, started_ms;
    const char *config_path;
    const char *problem; /* what is wrong right now ("the store cannot be written: ..."); NULL */
    const char *encoder;
    struct metallm__metrics_sums sums;
    const struct metallm__status_model *models;
    uint32_t model_count;
    const struct metallm__status_router *routers;
    uint32_t router_count;
    uint32_t keys;
    bool asks_keys;
    uint64_t journal_waiting;
    double journal_lag_s;
};
#define METALLM__STATUS_TYPE "text/html; charset=utf-8"
/* Worth sending beside it: nothing on the page is loaded or run. */
#define METALLM__STATUS_CSP                                                                        \
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "         \
    "frame-ancestors 'none'"
void metallm__status_page(const struct metallm__status *s, struct metallm__buf *out);
#endif
