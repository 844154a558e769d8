/* SPDX-License-Identifier: Apache-2.0
 * service_thread.c - see service_internal.h: what an encoder thread does with what is waiting. */
#include <string.h>

#include "base/mem.h"
#include "encoder/service_internal.h"

/* What is waiting, shared evenly with the threads that are idle as well; never waits for more. */
static size_t take_batch(struct metallm__service_worker *w,
                         struct metallm__service_request **answers)
{
    metallm_service *s = w->service;
    uint64_t now = metallm_service_now_ns(s);
    size_t share = (s->counts.waiting + s->idle) / (s->idle + 1);
    size_t wanted = share < s->opts.batch ? share : s->opts.batch, count = 0;
    while (count < wanted && s->oldest != NULL) {
        struct metallm__service_job *j = s->oldest;
        metallm__service_queue_remove(s, j);
        metallm__service_drop_late(s, j, now, answers);
        if (j->waiters == NULL) {
            metallm__service_table_remove(s, j);
            metallm__free(j);
            continue;
        }
        j->is_running = true;
        w->jobs[count] = j;
        w->texts[count] = j->text;
        w->lens[count++] = j->len;
    }
    s->counts.running += count;
    s->counts.texts += count;
    s->counts.batches += count > 0;
    if (s->oldest != NULL && s->idle > 0)
        pthread_cond_signal(&s->wake);
    return count;
}

static void compute(struct metallm__service_worker *w, size_t count)
{
    const struct metallm__service_work *work = &w->service->work;
    w->errs[0] = metallm__service_no_error;
    int rc = work->compute(work->payload, w->texts, w->lens, count, w->values, &w->errs[0]);
    for (size_t i = 0; i < count; i++)
        w->status[i] = rc;
    if (rc == METALLM_EINVAL && count > 1)
        for (size_t i = 0; i < count; i++) {
            w->errs[i] = metallm__service_no_error;
            w->status[i] = work->compute(work->payload, w->texts + i, w->lens + i, 1,
                                         w->values + i * work->dim, &w->errs[i]);
        }
    else
        for (size_t i = 1; i < count && rc != METALLM_OK; i++)
            w->errs[i] = w->errs[0];
}

/* Hands results to all who still wait. A result that comes after its deadline is a timeout: who
 * gets METALLM_OK got it in time. */
static void finish_batch(struct metallm__service_worker *w, size_t count)
{
    metallm_service *s = w->service;
    struct metallm__service_request *answers = NULL;
    if (s->cache != NULL)
        for (size_t i = 0; i < count; i++)
            if (w->status[i] == METALLM_OK)
                metallm__cache_put(s->cache, &w->jobs[i]->key, w->values + i * s->work.dim);
    pthread_mutex_lock(&s->lock);
    uint64_t now = metallm_service_now_ns(s);
    for (size_t i = 0; i < count; i++) {
        struct metallm__service_job *j = w->jobs[i];
        metallm__service_drop_late(s, j, now, &answers);
        while (j->waiters != NULL) {
            struct metallm__service_request *r = j->waiters;
            j->waiters = r->next;
            if (w->status[i] == METALLM_OK)
                memcpy(r->asked.out, w->values + i * s->work.dim, s->work.dim * sizeof(float));
            metallm__service_settle(s, &answers, r, w->status[i],
                                    w->status[i] == METALLM_OK ? &metallm__service_no_error
                                                               : &w->errs[i]);
        }
        metallm__service_table_remove(s, j);
    }
    s->counts.running -= count;
    pthread_mutex_unlock(&s->lock);
    metallm__service_deliver(s, answers);
    for (size_t i = 0; i < count; i++)
        metallm__free(w->jobs[i]);
}

void *metallm__service_work_loop(void *arg)
{
    struct metallm__service_worker *w = arg;
    metallm_service *s = w->service;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (s->oldest == NULL && !atomic_load(&s->is_stopping)) {
            s->idle++;
            pthread_cond_wait(&s->wake, &s->lock);
            s->idle--;
        }
        if (s->oldest == NULL) {
            pthread_mutex_unlock(&s->lock);
            return NULL;
        }
        struct metallm__service_request *late = NULL;
        size_t count = take_batch(w, &late);
        pthread_mutex_unlock(&s->lock);
        metallm__service_deliver(s, late);
        if (count > 0) {
            compute(w, count);
            finish_batch(w, count);
        }
    }
}
