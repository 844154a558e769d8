/* SPDX-License-Identifier: Apache-2.0
 * limits.h - what a client key may use: requests and tokens a minute (token buckets) and dollars a
 * day or month. Money is reserved before a call by its predicted cost and settled after it, so that
 * calls at once never exceed the budget together; spend of the period is fed in again from the
 * store after a restart.
 *
 * A request's way: admit (429 or on) -> money: the price that makes the choice cheaper as the
 * budget runs low -> reserve (429 insufficient_quota or a ticket) -> settle, once, whatever became
 * of the call. State is by key id and outlives new snapshots of the keys.
 * Threads: any; a short lock per key, never held over I/O. Time is given: now_ns monotonic, wall_ms
 * since 1970. */
#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H
#include <stdbool.h>
#include <stdint.h>

#include "gateway/keys.h"

struct metallm__limits;

METALLM_MUSTCHECK int metallm__limits_new(struct metallm__limits **out, metallm_error *err);
void metallm__limits_free(struct metallm__limits *l);

/* For the x-ratelimit-* headers; a limit of 0 is none. */
struct metallm__limit_state {
    uint64_t requests_limit, requests_left, requests_reset_ms; /* until the bucket is full */
    uint64_t tokens_limit, tokens_left, tokens_reset_ms;
};
struct metallm__limit_refusal {
    enum metallm__limit_kind {
        METALLM__LIMIT_NONE,
        METALLM__LIMIT_REQUESTS, /* 429 rate_limit_exceeded */
        METALLM__LIMIT_TOKENS,   /* 429 rate_limit_exceeded */
        METALLM__LIMIT_BUDGET,   /* 429 insufficient_quota */
    } kind;
    uint64_t retry_after_ms; /* when asking again makes sense */
};

/* Takes one request and `tokens` (predicted: prompt and most of the answer) from the buckets.
 * METALLM_OK, METALLM_EBUSY with *refusal, METALLM_ENOMEM. state may be NULL. A key without limits
 * takes no lock. */
METALLM_MUSTCHECK int metallm__limits_admit(struct metallm__limits *l, const struct metallm__key *k,
                                            uint64_t tokens, uint64_t now_ns,
                                            struct metallm__limit_state *state,
                                            struct metallm__limit_refusal *refusal);
/* The tokens that were used turned out to be `used` in place of `predicted`. */
void metallm__limits_tokens(struct metallm__limits *l, const struct metallm__key *k,
                            uint64_t predicted, uint64_t used, uint64_t now_ns);

/* The price of money for a query of this key, in quality per dollar, >= 0: what the router charges
 * for cost on top of its own dial (score = quality - (dial / scale + money) * cost). quality: the
 * score of each of count candidates without money (quality less what the dial charges), NaN: no
 * candidate; cost: expected dollars. 0 without a budget, and where the budget does not bind. */
double metallm__limits_money(struct metallm__limits *l, const struct metallm__key *k,
                             const double *quality, const double *cost, uint32_t count,
                             uint64_t wall_ms);
/* Dollars that a call may still cost now; infinite without a budget. A candidate dearer than that
 * is left out before the choice. */
double metallm__limits_left(struct metallm__limits *l, const struct metallm__key *k,
                            uint64_t wall_ms);

struct metallm__reservation { /* a cleared one holds nothing */
    double usd;
    uint64_t period_begin_ms;
    bool is_open;
    char key[METALLM__KEY_ID_LEN + 1];
};
/* usd: predicted, >= 0. METALLM_EBUSY with *refusal: it does not fit. *out is closed by settle. */
METALLM_MUSTCHECK int metallm__limits_reserve(struct metallm__limits *l,
                                              const struct metallm__key *k, double usd,
                                              uint64_t wall_ms, struct metallm__reservation *out,
                                              struct metallm__limit_refusal *refusal);
/* What it cost in the end (0: nothing was called). A fallback that is dearer than what was reserved
 * is booked as it is. Closes r; a closed one is left alone. */
void metallm__limits_settle(struct metallm__limits *l, struct metallm__reservation *r, double usd,
                            uint64_t wall_ms);
/* After a restart: what the store says was spent by this key in the period that holds.
 * period_begin_ms: by metallm__period_begin of the key's own period. */
METALLM_MUSTCHECK int metallm__limits_restore(struct metallm__limits *l,
                                              const struct metallm__key *k,
                                              uint64_t period_begin_ms, double usd,
                                              metallm_error *err);
/* What a key has spent and reserved in its period so far. */
struct metallm__limit_spend {
    double spent_usd, reserved_usd;
    uint64_t period_begin_ms;
};
struct metallm__limit_spend metallm__limits_spend(struct metallm__limits *l,
                                                  const struct metallm__key *k, uint64_t wall_ms);
#endif
