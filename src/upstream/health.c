/* SPDX-License-Identifier: Apache-2.0
 * health.c - see health.h. */
#include "upstream/health.h"

#include "base/error.h"
#include "base/mem.h"

const char *metallm__fault_name(enum metallm__fault fault)
{
    static const char *const names[METALLM__FAULTS] = {
        "none", "dns",    "connect", "tls",           "timeout", "reset", "protocol", "garbage",
        "rate", "server", "auth",    "unknown_model", "busy",    "open",  "memory",   "expression"};
    return names[fault];
}

int metallm__health_new(struct metallm__health **out,
                        const struct metallm__breaker_options *options, metallm_error *err)
{
    struct metallm__health *h = metallm__calloc(1, sizeof *h);
    if (h == NULL)
        return metallm__error_nomem(err, "a deployment's health");
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        metallm__free(h);
        return metallm__error_nomem(err, "a lock");
    }
    atomic_init(&h->references, 1);
    metallm__breaker_init(&h->breaker, options);
    *out = h;
    return METALLM_OK;
}

struct metallm__health *metallm__health_ref(struct metallm__health *h)
{
    atomic_fetch_add(&h->references, 1);
    return h;
}

void metallm__health_unref(struct metallm__health *h)
{
    if (h == NULL || atomic_fetch_sub(&h->references, 1) > 1)
        return;
    pthread_mutex_destroy(&h->lock);
    metallm__free(h);
}

void metallm__health_tune(struct metallm__health *h, const struct metallm__breaker_options *options)
{
    pthread_mutex_lock(&h->lock);
    metallm__breaker_tune(&h->breaker, options);
    pthread_mutex_unlock(&h->lock);
}

bool metallm__health_would_pass(struct metallm__health *h, uint64_t now)
{
    pthread_mutex_lock(&h->lock);
    bool would = metallm__breaker_would_pass(&h->breaker, now);
    pthread_mutex_unlock(&h->lock);
    return would;
}

bool metallm__health_pass(struct metallm__health *h, uint64_t now, bool *is_probe)
{
    pthread_mutex_lock(&h->lock);
    bool passes = metallm__breaker_pass(&h->breaker, now, is_probe);
    pthread_mutex_unlock(&h->lock);
    return passes;
}

void metallm__health_success(struct metallm__health *h, uint64_t now)
{
    pthread_mutex_lock(&h->lock);
    metallm__breaker_success(&h->breaker, now);
    pthread_mutex_unlock(&h->lock);
}

void metallm__health_fault(struct metallm__health *h, uint64_t now, double u)
{
    pthread_mutex_lock(&h->lock);
    metallm__breaker_fault(&h->breaker, now, u);
    pthread_mutex_unlock(&h->lock);
}

void metallm__health_hold(struct metallm__health *h, uint64_t now, uint64_t for_ns)
{
    pthread_mutex_lock(&h->lock);
    metallm__breaker_hold(&h->breaker, now, for_ns);
    pthread_mutex_unlock(&h->lock);
}

void metallm__health_forget(struct metallm__health *h)
{
    pthread_mutex_lock(&h->lock);
    metallm__breaker_forget(&h->breaker);
    pthread_mutex_unlock(&h->lock);
}

uint64_t metallm__health_wait(struct metallm__health *h, uint64_t now)
{
    pthread_mutex_lock(&h->lock);
    uint64_t ns = metallm__breaker_wait(&h->breaker, now);
    pthread_mutex_unlock(&h->lock);
    return ns;
}

/* An open one whose time is over waits for its probe: half-open to whoever looks. */
enum metallm__breaker_state metallm__health_state(struct metallm__health *h, uint64_t now)
{
    pthread_mutex_lock(&h->lock);
    enum metallm__breaker_state state = h->breaker.state;
    if (state == METALLM__BREAKER_OPEN && metallm__breaker_would_pass(&h->breaker, now))
        state = METALLM__BREAKER_HALF_OPEN;
    pthread_mutex_unlock(&h->lock);
    return state;
}
