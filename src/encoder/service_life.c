/* SPDX-License-Identifier: Apache-2.0
 * service_life.c - see service_internal.h: start, stop and end of a service. */
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/service_internal.h"

static uint64_t system_clock(void *payload)
{
    (void)payload;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int check_options(metallm_service_options *o, metallm_error *err)
{
    o->threads = o->threads == 0 ? 1 : o->threads;
    o->queue = o->queue == 0 ? 1024 : o->queue;
    o->batch = o->batch == 0 ? 32 : o->batch;
    o->queue_bytes = o->queue_bytes == 0 ? (size_t)64 << 20 : o->queue_bytes;
    if (o->clock_ns == NULL)
        o->clock_ns = system_clock;
    if (o->threads > METALLM_SERVICE_THREADS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u encoder threads: the limit is %u",
                                  o->threads, METALLM_SERVICE_THREADS_MAX);
    if (o->queue > METALLM_SERVICE_QUEUE_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a queue of %u: the limit is %u", o->queue,
                                  METALLM_SERVICE_QUEUE_MAX);
    if (o->batch > METALLM_SERVICE_BATCH_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a batch of %u: the limit is %u", o->batch,
                                  METALLM_SERVICE_BATCH_MAX);
    return METALLM_OK;
}

static int make_tables(metallm_service *s)
{
    size_t chains = 1;
    while (chains < s->opts.queue)
        chains *= 2;
    s->table_mask = chains - 1;
    s->table = metallm__calloc(chains, sizeof(struct metallm__service_job *));
    s->slots = metallm__calloc(s->opts.queue, sizeof *s->slots);
    s->workers = metallm__calloc(s->opts.threads, sizeof *s->workers);
    if (s->table == NULL || s->slots == NULL || s->workers == NULL)
        return METALLM_ENOMEM;
    for (uint32_t i = s->opts.queue; i-- > 0;) {
        s->slots[i].generation = 1; /* no ticket is 0 */
        s->slots[i].next = s->free_slots;
        s->free_slots = &s->slots[i];
    }
    for (uint32_t i = 0; i < s->opts.threads; i++) {
        struct metallm__service_worker *w = &s->workers[i];
        size_t n = s->opts.batch;
        w->service = s;
        w->jobs = metallm__alloc(n, sizeof(struct metallm__service_job *));
        w->texts = metallm__alloc(n, sizeof(char *));
        w->lens = metallm__alloc(n, sizeof *w->lens);
        w->status = metallm__alloc(n, sizeof *w->status);
        w->errs = metallm__alloc(n, sizeof *w->errs);
        w->values = metallm__alloc_aligned(n * s->work.dim, sizeof *w->values);
        if (w->jobs == NULL || w->texts == NULL || w->lens == NULL || w->status == NULL ||
            w->errs == NULL || w->values == NULL)
            return METALLM_ENOMEM;
    }
    return METALLM_OK;
}

static int start(metallm_service *s, metallm_error *err)
{
    if (make_tables(s) != METALLM_OK)
        return metallm__error_nomem(err, "an encoder service");
    if (getrandom(s->hash_key, sizeof s->hash_key, 0) != (ssize_t)sizeof s->hash_key)
        return metallm__error_set(err, METALLM_EIO, "the system gives no random numbers");
    if (s->opts.cache > 0) {
        struct metallm__cache_options cache = {s->opts.cache, s->work.dim, s->work.scope, NULL};
        int rc = metallm__cache_new(&s->cache, &cache, err);
        if (rc != METALLM_OK)
            return rc;
    }
    for (; s->started < s->opts.threads; s->started++) {
        struct metallm__service_worker *w = &s->workers[s->started];
        if (pthread_create(&w->thread, NULL, metallm__service_work_loop, w) != 0)
            return metallm__error_set(err, METALLM_EIO, "cannot start encoder thread %u of %u",
                                      s->started + 1, s->opts.threads);
    }
    return METALLM_OK;
}

int metallm__service_new(metallm_service **out, const struct metallm__service_work *work,
                         const metallm_service_options *opts, metallm_error *err)
{
    METALLM_REQUIRE(out != NULL && opts != NULL && work->dim > 0);
    metallm_service_options checked = *opts;
    int rc = check_options(&checked, err);
    if (rc != METALLM_OK)
        return rc;
    metallm_service *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "an encoder service");
    s->work = *work;
    s->opts = checked;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    rc = start(s, err);
    if (rc != METALLM_OK) {
        metallm_service_free(s);
        return rc;
    }
    *out = s;
    return METALLM_OK;
}

/* Takes every waiting job out; their waiters are answered with METALLM_ECANCELED. */
static struct metallm__service_request *empty_queue(metallm_service *s)
{
    struct metallm__service_request *answers = NULL;
    while (s->oldest != NULL) {
        struct metallm__service_job *j = s->oldest;
        metallm__service_queue_remove(s, j);
        metallm__service_table_remove(s, j);
        while (j->waiters != NULL) {
            struct metallm__service_request *r = j->waiters;
            j->waiters = r->next;
            metallm__service_settle(s, &answers, r, METALLM_ECANCELED, &metallm__service_stopped);
        }
        metallm__free(j);
    }
    return answers;
}

void metallm_service_stop(metallm_service *s, bool drain)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->is_stopping, true);
    struct metallm__service_request *answers = drain ? NULL : empty_queue(s);
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    metallm__service_deliver(s, answers);
    for (; s->started > 0; s->started--)
        pthread_join(s->workers[s->started - 1].thread, NULL);
}

void metallm_service_free(metallm_service *s)
{
    if (s == NULL)
        return;
    metallm_service_stop(s, false);
    for (uint32_t i = 0; s->workers != NULL && i < s->opts.threads; i++) {
        struct metallm__service_worker *w = &s->workers[i];
        metallm__free(w->jobs);
        metallm__free(w->texts);
        metallm__free(w->lens);
        metallm__free(w->status);
        metallm__free(w->errs);
        metallm__free(w->values);
    }
    metallm__cache_free(s->cache);
    metallm__free(s->workers);
    metallm__free(s->slots);
    metallm__free(s->table);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    metallm__free(s);
}
