/* SPDX-License-Identifier: Apache-2.0
 * breaker.h - a circuit breaker: when a deployment fails too often it is left alone for a while,
 * then asked once, and taken back if that goes well (Nygard, Release It!, 2007, chapter 5). A pure
 * function of what it is told: time (monotonic nanoseconds) and chance (u in [0,1)) are given.
 * Threads: none; struct metallm__health holds one under a lock. */
#ifndef UPSTREAM_BREAKER_H
#define UPSTREAM_BREAKER_H
#include <stdbool.h>
#include <stdint.h>

#define METALLM__BREAKER_BUCKETS 10u /* the window is counted in so many parts */

enum metallm__breaker_state {
    METALLM__BREAKER_CLOSED = 0, /* requests pass */
    METALLM__BREAKER_OPEN,       /* none passes until open_until_ns */
    METALLM__BREAKER_HALF_OPEN   /* one is under way as a probe; the others wait for its end */
};
const char *metallm__breaker_state_name(enum metallm__breaker_state state); /* static */

/* Zero means the default. */
struct metallm__breaker_options {
    unsigned consecutive_max; /* faults in a row that open it: 5 */
    unsigned requests_min;    /* in the window, before its error rate counts: 20 */
    double error_rate_max;    /* share of faults in the window that opens it: 0.5 */
    uint64_t window_ns;       /* 30 s */
    uint64_t open_ns;         /* the first time; doubles with each probe that fails: 2 s */
    uint64_t open_max_ns;     /* 120 s; also bounds a Retry-After that opens it */
    uint64_t probe_ns;        /* a probe that told nothing for so long is given up: 60 s */
};

struct metallm__breaker {
    struct metallm__breaker_options options;
    enum metallm__breaker_state state;
    unsigned consecutive; /* faults in a row */
    unsigned opened;      /* times in a row that it opened without a success between */
    uint64_t open_until_ns, probe_since_ns;
    uint64_t bucket; /* number of the newest part of the window */
    uint32_t requests[METALLM__BREAKER_BUCKETS], faults[METALLM__BREAKER_BUCKETS];
};

void metallm__breaker_init(struct metallm__breaker *b, const struct metallm__breaker_options *o);
/* Other options from now on; what was counted stays unless the window is another. */
void metallm__breaker_tune(struct metallm__breaker *b, const struct metallm__breaker_options *o);
/* Would a request pass now? Changes nothing. */
bool metallm__breaker_would_pass(const struct metallm__breaker *b, uint64_t now_ns);
/* Asks for leave. true: go; *is_probe tells that the outcome decides, so that it must be told. */
bool metallm__breaker_pass(struct metallm__breaker *b, uint64_t now_ns, bool *is_probe);
void metallm__breaker_success(struct metallm__breaker *b, uint64_t now_ns);
/* u in [0,1) spreads the open time over 75-125 %. */
void metallm__breaker_fault(struct metallm__breaker *b, uint64_t now_ns, double u);
/* The upstream asked to be left alone (429 or 503 with Retry-After): open for that long. */
void metallm__breaker_hold(struct metallm__breaker *b, uint64_t now_ns, uint64_t for_ns);
/* A probe ended without telling anything (the client hung up): the next one may try. */
void metallm__breaker_forget(struct metallm__breaker *b);
/* Nanoseconds until a request may pass; 0: now. */
uint64_t metallm__breaker_wait(const struct metallm__breaker *b, uint64_t now_ns);

#endif
