/* SPDX-License-Identifier: Apache-2.0
 * health.h - what is known of a deployment while the program runs: its breaker, how many requests
 * are under way, and counters. One record serves all loops and outlives reloads of the config.
 * Threads: any; the lock is held for a few instructions, never over I/O. */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H
#include <pthread.h>
#include <stdatomic.h>

#include "metallm/base.h"
#include "upstream/breaker.h"

enum metallm__fault { /* why an attempt failed; the names are metrics labels */
                      METALLM__FAULT_NONE = 0,
                      METALLM__FAULT_DNS,      /* "dns": no address */
                      METALLM__FAULT_CONNECT,  /* "connect": refused or unreachable */
                      METALLM__FAULT_TLS,      /* "tls": handshake or certificate */
                      METALLM__FAULT_TIMEOUT,  /* "timeout": connect, first byte or total */
                      METALLM__FAULT_RESET,    /* "reset": closed before or within the answer */
                      METALLM__FAULT_PROTOCOL, /* "protocol": not HTTP, or over a limit */
                      METALLM__FAULT_GARBAGE,  /* "garbage": not the JSON or the events that were
                                                  promised */
                      METALLM__FAULT_RATE,     /* "rate": status 429 */
                      METALLM__FAULT_SERVER,   /* "server": status 5xx, 408, 409, 425 */
                      METALLM__FAULT_AUTH,     /* "auth": status 401, 402, 403: our key, not the
                                                  client's */
                      METALLM__FAULT_UNKNOWN,  /* "unknown_model": status 404, 405, 410: our config
                                                */
                      METALLM__FAULT_BUSY, /* "busy": the queue for a slot was full, or the wait too
                                              long */
                      METALLM__FAULT_OPEN, /* "open": every breaker is open */
                      METALLM__FAULT_MEMORY,     /* "memory": no memory here */
                      METALLM__FAULT_EXPRESSION, /* "expression": the request cannot be said in its
                                                    protocol */
                      METALLM__FAULTS
};
const char *metallm__fault_name(enum metallm__fault fault); /* static */

struct metallm__health {
    atomic_uint references;
    pthread_mutex_t lock;
    struct metallm__breaker breaker; /* under lock */
    atomic_uint in_flight;           /* requests under way, all loops */
    atomic_uint waiting;             /* requests in queues for a slot */
    atomic_uint connections;         /* open, idle ones included */
    /* Attempts begun; those of them that follow a failed one of the same call; answered 2xx;
     * connections opened. */
    atomic_ullong requests, retries, answers, connects;
    atomic_ullong faults[METALLM__FAULTS];
    atomic_ullong first_byte_us_sum, first_byte_count; /* until the first byte of an answer */
};

/* One reference for the caller. */
METALLM_MUSTCHECK int metallm__health_new(struct metallm__health **out,
                                          const struct metallm__breaker_options *options,
                                          metallm_error *err);
struct metallm__health *metallm__health_ref(struct metallm__health *h);
void metallm__health_unref(struct metallm__health *h); /* NULL is fine */

void metallm__health_tune(struct metallm__health *h,
                          const struct metallm__breaker_options *options);

/* As metallm__breaker_*, under the lock. */
bool metallm__health_would_pass(struct metallm__health *h, uint64_t now_ns);
bool metallm__health_pass(struct metallm__health *h, uint64_t now_ns, bool *is_probe);
void metallm__health_success(struct metallm__health *h, uint64_t now_ns);
void metallm__health_fault(struct metallm__health *h, uint64_t now_ns, double u);
void metallm__health_hold(struct metallm__health *h, uint64_t now_ns, uint64_t for_ns);
void metallm__health_forget(struct metallm__health *h);
uint64_t metallm__health_wait(struct metallm__health *h, uint64_t now_ns);
enum metallm__breaker_state metallm__health_state(struct metallm__health *h, uint64_t now_ns);

#endif
