/* SPDX-License-Identifier: Apache-2.0
 * metallm/service.h - an encoder for servers: requests wait in a bounded queue, encoder threads
 * take what is waiting as one batch (a lone request starts at once), equal texts in flight are
 * computed once, and a cache answers what was asked before.
 *
 * Life of a request: submit -> METALLM_EBUSY (full: nothing was kept), or ready at once (cache), or
 * waiting -> running -> done called once. A request that is cancelled before done starts is
 * forgotten: neither done nor out is touched afterwards.
 * Threads: submit, encode, cancel and read may be called from any thread, done itself included;
 * stop and free from one thread, not from done. done runs on an encoder thread and should be short
 * (a server passes the word to its loop). */
#ifndef METALLM_SERVICE_H
#define METALLM_SERVICE_H
#include <stdbool.h>

#include "metallm/base.h"
#include "metallm/encoder.h"

#ifdef __cplusplus
extern "C" {
#endif

#define METALLM_SERVICE_THREADS_MAX 256u
#define METALLM_SERVICE_QUEUE_MAX   1048576u
#define METALLM_SERVICE_BATCH_MAX   1024u

typedef struct metallm_service metallm_service;

typedef struct metallm_service_options {
    metallm_encoder *encoder; /* borrowed: lives longer than the service */
    bool features;      /* rows of metallm_encoder_features; false: of metallm_encoder_embed */
    uint32_t threads;   /* encoder threads; 0: 1 */
    uint32_t queue;     /* requests accepted and not yet answered; 0: 1024 */
    uint32_t batch;     /* texts in one batch; 0: 32 */
    size_t queue_bytes; /* of their texts; 0: 64 MiB */
    uint32_t cache;     /* vectors kept; 0: no cache */
    uint64_t (*clock_ns)(void *payload); /* never goes back; NULL: the system's monotonic clock */
    void *clock_payload;
} metallm_service_options;

/* status: METALLM_OK and out is filled; METALLM_ETIMEOUT: the deadline passed first;
 * METALLM_ECANCELED: the service stopped; else what the encoder said. err is never NULL and is the
 * service's. */
typedef void (*metallm_service_done)(void *payload, int status, const metallm_error *err);

typedef struct metallm_service_request {
    const char *text; /* copied */
    size_t len;
    float *out;           /* metallm_service_dim floats, the caller's until done or cancelled */
    uint64_t deadline_ns; /* on the service's clock; 0: none */
    metallm_service_done done;
    void *payload;
} metallm_service_request;

/* Since the start, and now. requests = hits + busy + joined + computed alone or first. */
typedef struct metallm_service_counts {
    uint64_t requests; /* calls of submit and encode with valid arguments */
    uint64_t busy;     /* refused: full */
    uint64_t cache_hits, cache_misses, cache_evictions;
    uint64_t joined;         /* shared the work of an equal text in flight */
    uint64_t texts, batches; /* handed to the encoder; texts / batches: mean batch */
    uint64_t timeouts, cancelled, failed;
    uint64_t waiting, running;                           /* now: texts */
    uint64_t unanswered;                                 /* now: requests */
    uint64_t cache_entries, cache_capacity, cache_bytes; /* now */
} metallm_service_counts;

METALLM_API METALLM_MUSTCHECK int
metallm_service_new(metallm_service **out, const metallm_service_options *opts, metallm_error *err);
METALLM_API uint32_t metallm_service_dim(const metallm_service *s); /* floats in an answer */
/* The service's clock now: deadline_ns is this plus what the caller will wait. */
METALLM_API uint64_t metallm_service_now_ns(const metallm_service *s);

/* *ready: the cache had it, out is filled, done will not be called and there is no ticket.
 * METALLM_EBUSY: full, try later. METALLM_ETIMEOUT: the deadline has passed already.
 * METALLM_ELIMIT: the text alone is longer than queue_bytes. METALLM_ECANCELED: stopped. done is
 * not called after an error. ticket may be NULL. */
METALLM_API METALLM_MUSTCHECK int metallm_service_submit(metallm_service *s,
                                                         const metallm_service_request *request,
                                                         bool *ready, uint64_t *ticket,
                                                         metallm_error *err);
/* True: forgotten, see above. False: done has been called or is being called. A text that nobody
 * waits for any more is not computed, unless it is being computed. */
METALLM_API bool metallm_service_cancel(metallm_service *s, uint64_t ticket);
/* Submits and waits. timeout_ms 0: without end. Returns the status that done would get. */
METALLM_API METALLM_MUSTCHECK int metallm_service_encode(metallm_service *s, const char *text,
                                                         size_t len, uint64_t timeout_ms,
                                                         float *out, metallm_error *err);
METALLM_API metallm_service_counts metallm_service_read(metallm_service *s);

/* Refuses new requests, then: drain: answers all that were accepted; else answers the waiting ones
 * with METALLM_ECANCELED, while batches that run are finished and delivered. Returns when every
 * done has returned and the threads have ended. A second call does nothing. */
METALLM_API void metallm_service_stop(metallm_service *s, bool drain);
METALLM_API void
metallm_service_free(metallm_service *s); /* stops without draining; NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
