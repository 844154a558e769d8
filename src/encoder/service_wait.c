/* SPDX-License-Identifier: Apache-2.0
 * service_wait.c - metallm_service_encode: submits a text and waits for the answer. */
#include <pthread.h>
#include <time.h>

#include "base/error.h"
#include "metallm/service.h"

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_answered;
    int status;
    metallm_error err;
};

static void wake_waiting(void *payload, int status, const metallm_error *err)
{
    struct waiting *w = payload;
    pthread_mutex_lock(&w->lock);
    w->is_answered = true;
    w->status = status;
    w->err = *err;
    pthread_cond_signal(&w->answered);
    pthread_mutex_unlock(&w->lock);
}

static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Until answered, or until the service's clock says that the deadline has passed: false then. */
static bool wait_until(metallm_service *s, struct waiting *w, uint64_t deadline_ns)
{
    pthread_mutex_lock(&w->lock);
    while (!w->is_answered) {
        if (deadline_ns == 0) {
            pthread_cond_wait(&w->answered, &w->lock);
            continue;
        }
        uint64_t now = metallm_service_now_ns(s);
        if (now >= deadline_ns)
            break;
        uint64_t until = monotonic_ns() + (deadline_ns - now);
        struct timespec t = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
        pthread_cond_timedwait(&w->answered, &w->lock, &t);
    }
    bool is_answered = w->is_answered;
    pthread_mutex_unlock(&w->lock);
    return is_answered;
}

int metallm_service_encode(metallm_service *s, const char *text, size_t len, uint64_t timeout_ms,
                           float *out, metallm_error *err)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.answered, &attr);
    pthread_condattr_destroy(&attr);
    uint64_t deadline = timeout_ms == 0 ? 0 : metallm_service_now_ns(s) + timeout_ms * NS_PER_MS;
    bool ready = false;
    uint64_t ticket = 0;
    int rc = metallm_service_submit(s,
                                    &(metallm_service_request){.text = text,
                                                               .len = len,
                                                               .out = out,
                                                               .deadline_ns = deadline,
                                                               .done = wake_waiting,
                                                               .payload = &w},
                                    &ready, &ticket, err);
    if (rc == METALLM_OK && !ready) {
        if (!wait_until(s, &w, deadline) && metallm_service_cancel(s, ticket)) {
            rc = metallm__error_set(err, METALLM_ETIMEOUT,
                                    "the deadline passed before the text was encoded");
        } else {
            wait_until(s, &w, 0);
            rc = w.status;
            if (rc != METALLM_OK)
                metallm__error_set(err, rc, "%s", w.err.message);
        }
    }
    pthread_cond_destroy(&w.answered);
    pthread_mutex_destroy(&w.lock);
    return rc;
}
