/* SPDX-License-Identifier: Apache-2.0
 * service_internal.h - what the parts of the service share: service.c (requests), service_queue.c
 * (texts in flight, and answers), service_thread.c (batches), service_life.c (start and end).
 * One lock guards queue, table of texts in flight and request slots; it is never held while
 * encoding, while the cache is asked, or while a done runs. A job is a text in flight, a request
 * somebody who waits for it: equal texts share a job. */
#ifndef ENCODER_SERVICE_INTERNAL_H
#define ENCODER_SERVICE_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>

#include "encoder/cache.h"
#include "encoder/service.h"

enum metallm__service_slot { METALLM__SLOT_FREE, METALLM__SLOT_WAITING, METALLM__SLOT_DELIVERING };

struct metallm__service_job;
struct metallm__service_request {
    struct metallm__service_request
        *next; /* of its job, of the free list, or of those to be delivered */
    struct metallm__service_job *job;
    metallm_service_request asked; /* text is the job's copy's business, not kept here */
    uint32_t generation;           /* of the slot: an old ticket does not fit a new request */
    enum metallm__service_slot state;
    int status;
    const metallm_error *err;
};

struct metallm__service_job {
    struct metallm__cache_key key;
    struct metallm__service_job *chain;         /* of the table of texts in flight */
    struct metallm__service_job *newer, *older; /* of the queue; both NULL while running */
    struct metallm__service_request *waiters;
    bool is_running;
    size_t len;
    char text[];
};

struct metallm__service_worker {
    pthread_t thread;
    metallm_service *service;
    struct metallm__service_job **jobs; /* arrays of opts.batch */
    const char **texts;
    size_t *lens;
    int *status;
    metallm_error *errs;
    float *values; /* batch x dim */
};

struct metallm_service {
    struct metallm__service_work work;
    metallm_service_options opts; /* no field is 0, apart from cache */
    uint64_t hash_key[2];
    struct metallm__cache *cache; /* or NULL */
    struct metallm__service_worker *workers;
    uint32_t started; /* threads that run */
    atomic_bool is_stopping;
    atomic_ullong requests;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct metallm__service_job *oldest, *newest; /* the queue */
    struct metallm__service_job **table;          /* table_mask + 1 chains */
    size_t table_mask;
    struct metallm__service_request *slots, *free_slots;
    size_t bytes; /* of the texts in flight */
    uint32_t idle;
    metallm_service_counts counts; /* but for requests and cache_* */
};

extern const metallm_error metallm__service_no_error, metallm__service_timeout,
    metallm__service_stopped;

/* ---- the table of texts in flight and the queue; the caller holds the lock ---- */

/* Compares the texts themselves: no chance of a mix-up here. */
struct metallm__service_job *metallm__service_find_job(metallm_service *s,
                                                       const struct metallm__cache_key *key,
                                                       const char *text);
void metallm__service_table_remove(metallm_service *s, struct metallm__service_job *j);
void metallm__service_queue_remove(metallm_service *s, struct metallm__service_job *j);
void metallm__service_enqueue(metallm_service *s, struct metallm__service_job *j);
/* Moves a waiter of a job to the list of those to be answered. */
void metallm__service_settle(metallm_service *s, struct metallm__service_request **answers,
                             struct metallm__service_request *r, int status,
                             const metallm_error *err);
/* Waiters whose deadline has passed leave their job. */
void metallm__service_drop_late(metallm_service *s, struct metallm__service_job *j, uint64_t now,
                                struct metallm__service_request **answers);
void metallm__service_release_slot(metallm_service *s, struct metallm__service_request *r);

/* ---- without the lock ---- */

void metallm__service_deliver(metallm_service *s, struct metallm__service_request *answers);
void *metallm__service_work_loop(void *worker);
#endif
