/* SPDX-License-Identifier: Apache-2.0
 * parallel.c - see parallel.h. Threads take the next number until none is left. A thread that
 * cannot be started is done without. */
#include "math/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"

struct shared {
    const struct metallm__tasks *tasks;
    atomic_size_t next, done;
    atomic_bool stopped;
    pthread_mutex_t lock; /* of what follows */
    size_t failed;        /* lowest task that failed; count: none */
    int rc;
    metallm_error error;
};

static void keep_failure(struct shared *s, size_t i, int rc, const metallm_error *error)
{
    atomic_store(&s->stopped, true);
    (void)pthread_mutex_lock(&s->lock);
    if (i < s->failed) {
        s->failed = i;
        s->rc = rc;
        s->error = *error;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void work(struct shared *s, bool reports)
{
    const struct metallm__tasks *t = s->tasks;
    const metallm_progress *p = reports ? t->progress : NULL;
    while (!atomic_load(&s->stopped)) {
        size_t i = atomic_fetch_add(&s->next, 1);
        if (i >= t->count)
            return;
        metallm_error error = {0};
        int rc = t->run(t->payload, i, &error);
        if (rc != METALLM_OK) {
            keep_failure(s, i, rc, &error);
            return;
        }
        size_t done = atomic_fetch_add(&s->done, 1) + 1;
        if (p != NULL && p->step != NULL && p->step(p->payload, t->what, done, t->count) != 0) {
            (void)metallm__error_set(&error, METALLM_ECANCELED, "stopped");
            keep_failure(s, i, METALLM_ECANCELED, &error);
        }
    }
}

static void *thread_main(void *payload)
{
    work(payload, false);
    return NULL;
}

int metallm__tasks_run(const struct metallm__tasks *tasks, metallm_error *err)
{
    struct shared s = {.tasks = tasks, .failed = SIZE_MAX, .rc = METALLM_OK};
    (void)pthread_mutex_init(&s.lock, NULL);
    pthread_t helpers[METALLM__THREADS_MAX];
    size_t wanted = tasks->threads > METALLM__THREADS_MAX ? METALLM__THREADS_MAX : tasks->threads;
    size_t started = 0;
    if (wanted > tasks->count)
        wanted = tasks->count;
    while (started + 1 < wanted && pthread_create(&helpers[started], NULL, thread_main, &s) == 0)
        started++;
    work(&s, true);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(helpers[i], NULL);
    (void)pthread_mutex_destroy(&s.lock);
    if (s.rc != METALLM_OK && err != NULL)
        *err = s.error;
    return s.rc;
}
