/* SPDX-License-Identifier: Apache-2.0
 * worker_run.c - a worker's life: made, started, drained, gone. */
#include <sys/random.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/chat.h"

#define LEAVE_EVERY_NS 10000000u   /* looks so often whether all is over */
#define LEAVE_MOST_NS  5000000000u /* after the drain: for the journal's word */

static struct metallm__http_limits limits_of(const struct metallm__config *c)
{
    struct metallm__http_limits l = metallm__http_limits_default();
    l.target_bytes = (uint32_t)c->limits.url_bytes;
    l.head_bytes = (uint32_t)c->limits.header_bytes;
    l.headers = (uint32_t)c->limits.header_count;
    l.body_bytes = c->limits.body_bytes;
    l.requests =
        c->limits.requests_per_connection == 0 ? UINT64_MAX : c->limits.requests_per_connection;
    l.connections = c->limits.connections == 0 ? UINT32_MAX : (uint32_t)c->limits.connections;
    l.connections_peer = (uint32_t)c->limits.connections_per_address;
    l.idle_ms = (uint32_t)c->limits.idle_ms;
    l.head_ms = (uint32_t)c->limits.header_ms;
    l.body_ms = (uint32_t)c->limits.body_ms;
    l.write_stall_ms = (uint32_t)c->limits.write_ms;
    return l;
}

static void leave_fired(struct metallm__timer *timer)
{
    struct metallm__worker *w =
        (struct metallm__worker *)(void *)((char *)timer - offsetof(struct metallm__worker, leave));
    uint64_t now = metallm__loop_now(w->loop);
    if (w->leave_ns == 0)
        w->leave_ns = now + LEAVE_MOST_NS;
    metallm__judge_stop(w);
    if (w->open == 0 || now >= w->leave_ns)
        metallm__loop_stop(w->loop);
    else
        metallm__timer_set(w->loop, &w->leave, now + LEAVE_EVERY_NS);
}

static void drained(void *payload, bool was_cut)
{
    struct metallm__worker *w = payload;
    metallm_error err;
    if (was_cut) {
        metallm__error_set(&err, METALLM_ETIMEOUT, "requests were cut after limits.drain_ms");
        metallm__log_error(w->shared->log, METALLM__LOG_WARN, "gateway", "stopped hard", &err);
    }
    metallm__timer_set(w->loop, &w->leave, metallm__loop_now(w->loop) + 1);
}

/* On the loop: the first time it drains, the second time it cuts. */
static void poked(struct metallm__mail *mail)
{
    struct metallm__worker *w =
        (struct metallm__worker *)(void *)((char *)mail - offsetof(struct metallm__worker, poke));
    bool is_again = atomic_exchange(&w->pokes, 0) > 1 || w->is_draining;
    if (w->server == NULL) /* it came after the loop's end, while the worker is freed */
        return;
    uint64_t grace = metallm__worker_world(w)->config->limits.drain_ms;
    metallm__http_server_drain(w->server, is_again ? 0 : (uint32_t)grace);
    w->is_draining = true;
}

static void apply_limits(struct metallm__worker *w)
{
    struct metallm__http_limits limits = limits_of(w->world->config);
    metallm__http_server_limit(w->server, &limits);
}

struct metallm__world *metallm__worker_world(struct metallm__worker *w)
{
    struct metallm__shared *s = w->shared;
    uint64_t newest = atomic_load_explicit(&s->world_number, memory_order_acquire);
    if (w->world != NULL && w->world->number == newest)
        return w->world;
    bool is_first = w->world == NULL;
    metallm__world_drop(w->world);
    pthread_mutex_lock(&s->lock);
    w->world = metallm__world_take(s->world);
    pthread_mutex_unlock(&s->lock);
    if (!is_first)
        apply_limits(w);
    return w->world;
}

static int make_upstream(struct metallm__worker *w, metallm_error *err)
{
    const struct metallm__config_upstream *u = &w->world->config->upstream;
    struct metallm__upstream_options options = {
        .seed = w->rng.state[0],
        .idle_max = (unsigned)u->idle_connections,
        .idle_ms = (uint32_t)u->idle_ms,
        .attempts_max = (unsigned)u->attempts,
        .backoff_ms = (uint32_t)u->backoff_ms,
        .backoff_max_ms = (uint32_t)u->backoff_max_ms,
        .answer_bytes_max = u->answer_bytes,
        .dns_ms = (uint32_t)u->dns_ms,
    };
    return metallm__upstream_new(&w->upstream, w->loop, &options, err);
}

static int make_server(struct metallm__worker *w, metallm_error *err)
{
    struct metallm__http_limits limits = limits_of(w->world->config);
    struct metallm__http_server_options options = {.limits = &limits,
                                                   .guard = w->shared->guard,
                                                   .handle = metallm__worker_handle,
                                                   .refusal = metallm__worker_refusal,
                                                   .payload = w,
                                                   .drained = drained};
    return metallm__http_server_new(&w->server, w->loop, &options, err);
}

int metallm__worker_new(struct metallm__worker **out, struct metallm__shared *shared,
                        uint32_t index, metallm_error *err)
{
    struct metallm__worker *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a worker");
    w->shared = shared;
    w->index = index;
    w->poke.deliver = poked;
    w->leave.fired = leave_fired;
    w->shard = metallm__metrics_shard(shared->metrics, index);
    metallm__worker_world(w);
    uint64_t seed = 0;
    int rc = METALLM_OK;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        rc = metallm__error_set(err, METALLM_EIO, "the system has no random numbers");
    metallm_rng_seed(&w->rng, seed);
    if (rc == METALLM_OK)
        rc = metallm__loop_new(&w->loop, NULL, err);
    if (rc == METALLM_OK)
        rc = make_upstream(w, err);
    if (rc == METALLM_OK)
        rc = make_server(w, err);
    if (rc == METALLM_OK)
        rc = metallm__key_reader_new(&w->keys, shared->keys, err);
    if (rc != METALLM_OK) {
        metallm__worker_free(w);
        return rc;
    }
    *out = w;
    return METALLM_OK;
}

static void *run(void *payload)
{
    struct metallm__worker *w = payload;
    metallm__loop_run(w->loop);
    atomic_fetch_sub(&w->shared->running, 1);
    return NULL;
}

int metallm__worker_start(struct metallm__worker *w, metallm_error *err)
{
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0)
        return metallm__error_set(err, METALLM_EIO, "no thread for a loop: %s", strerror(rc));
    w->is_started = true;
    return METALLM_OK;
}

void metallm__worker_stop(struct metallm__worker *w)
{
    if (atomic_fetch_add(&w->pokes, 1) == 0)
        metallm__loop_mail(w->loop, &w->poke);
}

void metallm__worker_join(struct metallm__worker *w)
{
    if (w->is_started)
        pthread_join(w->thread, NULL);
    w->is_started = false;
}

void metallm__worker_free(struct metallm__worker *w)
{
    if (w == NULL)
        return;
    metallm__http_server_free(w->server);
    w->server = NULL;
    metallm__upstream_free(w->upstream);
    for (uint32_t i = 0; i < w->seat_count; i++)
        metallm__brain_reader_free(w->seats[i].reader);
    metallm__free(w->seats);
    metallm__key_reader_free(w->keys);
    metallm__loop_free(w->loop);
    metallm__world_drop(w->world);
    metallm__free(w);
}
