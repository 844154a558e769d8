/* SPDX-License-Identifier: Apache-2.0
 * gateway.c - the gateway's control thread: signals, reloads, and work that is not for a loop. */
#include "gateway/gateway.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/gateway_parts.h"

#define TICK_MS 1000

static void wake(struct metallm__gateway *g)
{
    uint64_t one = 1;
    int saved = errno; /* called from a signal handler, too */
    ssize_t ignored = write(g->wake_fd, &one, sizeof one);
    (void)ignored; /* it fails only when it is awake already */
    errno = saved;
}

void metallm__gateway_stop(struct metallm__gateway *g)
{
    atomic_fetch_add(&g->stops, 1);
    wake(g);
}

void metallm__gateway_reload(struct metallm__gateway *g)
{
    atomic_store(&g->is_reload_asked, true);
    wake(g);
}

int metallm__gateway_submit(struct metallm__gateway *g, struct metallm__gateway_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&g->shared.lock);
    bool is_open = !g->is_closed;
    if (is_open) {
        *g->last_job = job;
        g->last_job = &job->next;
    }
    pthread_mutex_unlock(&g->shared.lock);
    if (is_open)
        wake(g);
    return is_open ? METALLM_OK : METALLM_ECANCELED;
}

static void run_jobs(struct metallm__gateway *g)
{
    pthread_mutex_lock(&g->shared.lock);
    struct metallm__gateway_job *job = g->jobs;
    g->jobs = NULL;
    g->last_job = &g->jobs;
    pthread_mutex_unlock(&g->shared.lock);
    while (job != NULL) {
        struct metallm__gateway_job *next = job->next;
        job->run(g, job);
        job = next;
    }
}

/* The new generation is in force from the next request on. */
static void publish(struct metallm__gateway *g, struct metallm__world *world)
{
    struct metallm__shared *s = &g->shared;
    pthread_mutex_lock(&s->lock);
    struct metallm__world *old = s->world;
    s->world = world;
    atomic_store_explicit(&s->world_number, world->number, memory_order_release);
    pthread_mutex_unlock(&s->lock);
    metallm__world_drop(old);
}

static int make_world(struct metallm__gateway *g, const struct metallm__config *config,
                      metallm_error *err)
{
    struct metallm__world_parts parts = metallm__gateway_world_parts(g);
    struct metallm__world *world = NULL;
    int rc = metallm__world_new(&world, config, &parts, err);
    if (rc == METALLM_OK)
        publish(g, world);
    else
        metallm__config_drop(config);
    return rc;
}

int metallm__gateway_refresh(struct metallm__gateway *g, metallm_error *err)
{
    struct metallm__changes *changes = NULL;
    const struct metallm__config *config = NULL;
    int rc = metallm__keep_changes(g->store, &changes, err);
    if (rc == METALLM_OK)
        rc = metallm__config_reload(&config, g->shared.world->config,
                                    metallm__changes_list(changes), err);
    metallm__changes_free(changes);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__keyring *ring = metallm__keys_take(g->shared.keys);
    rc = metallm__keyring_prices(ring, config, (uint64_t)time(NULL) * 1000, err);
    metallm__keyring_drop(ring);
    if (rc != METALLM_OK) {
        metallm__config_drop(config);
        return rc;
    }
    return make_world(g, config, err);
}

int metallm__gateway_refresh_keys(struct metallm__gateway *g, metallm_error *err)
{
    const struct metallm__keyring *ring = NULL;
    int rc = metallm__keep_keys(g->store, &ring, err);
    if (rc == METALLM_OK)
        metallm__keys_publish(g->shared.keys, ring);
    return rc;
}

/* All that a reload means: the config, certificates, keys, the log file. */
static void reload(struct metallm__gateway *g)
{
    struct metallm__log *log = g->shared.log;
    metallm_error err = {0};
    int rc = metallm__gateway_refresh(g, &err);
    if (rc == METALLM_OK) {
        const struct metallm__config *c = g->shared.world->config;
        metallm__log_set(log, metallm__log_level_of(c->log.level), c->log.prompts);
    }
    if (rc == METALLM_OK && g->tls != NULL)
        rc = metallm__tls_server_reload(g->tls, &err);
    if (rc == METALLM_OK)
        rc = metallm__gateway_refresh_keys(g, &err);
    if (rc == METALLM_OK)
        rc = metallm__log_reopen(log, &err);
    atomic_fetch_add(rc == METALLM_OK ? &g->shared.reloads : &g->shared.reloads_refused, 1);
    metallm__log_error(log, rc == METALLM_OK ? METALLM__LOG_INFO : METALLM__LOG_ERROR, "config",
                       rc == METALLM_OK ? "reloaded" : "not reloaded, the old one stays",
                       rc == METALLM_OK ? NULL : &err);
}

/* Once a second: keys that another process changed, and prices that hold from today. */
static void tick(struct metallm__gateway *g)
{
    metallm_error err = {0};
    uint64_t version = 0;
    int rc = metallm__keep_version(g->store, &version, &err);
    if (rc == METALLM_OK && version != g->kept_version) {
        g->kept_version = version;
        rc = metallm__gateway_refresh_keys(g, &err);
    }
    if (rc != METALLM_OK)
        metallm__log_error(g->shared.log, METALLM__LOG_ERROR, "keys", "not read", &err);
    int today = metallm__day_today();
    if (today == g->day)
        return;
    g->day = today;
    rc = make_world(g, metallm__config_take(g->shared.world->config), &err);
    if (rc != METALLM_OK)
        metallm__log_error(g->shared.log, METALLM__LOG_ERROR, "config",
                           "today's prices could not be taken", &err);
}

static void serve(struct metallm__gateway *g)
{
    struct pollfd fd = {.fd = g->wake_fd, .events = POLLIN};
    uint64_t wakes;
    while (atomic_load(&g->stops) == 0) {
        int ready = poll(&fd, 1, TICK_MS);
        if (ready > 0 && read(g->wake_fd, &wakes, sizeof wakes) < 0 && errno != EAGAIN)
            return;
        if (atomic_exchange(&g->is_reload_asked, false))
            reload(g);
        run_jobs(g);
        tick(g);
    }
}

/* Waits for the loops; a second stop cuts them short. */
static void drain(struct metallm__gateway *g)
{
    atomic_store(&g->shared.is_stopping, true);
    metallm__log_error(g->shared.log, METALLM__LOG_INFO, "gateway", "stopping", NULL);
    for (uint32_t i = 0; i < g->worker_count; i++)
        metallm__worker_stop(g->workers[i]);
    struct pollfd fd = {.fd = g->wake_fd, .events = POLLIN};
    uint64_t wakes;
    bool was_cut = false;
    while (atomic_load(&g->shared.running) > 0) {
        if (poll(&fd, 1, 20) > 0 && read(g->wake_fd, &wakes, sizeof wakes) < 0)
            continue;
        run_jobs(g);
        if (!was_cut && atomic_load(&g->stops) > 1) {
            was_cut = true;
            for (uint32_t i = 0; i < g->worker_count; i++)
                metallm__worker_stop(g->workers[i]);
        }
    }
    pthread_mutex_lock(&g->shared.lock);
    g->is_closed = true;
    pthread_mutex_unlock(&g->shared.lock);
    run_jobs(g);
    for (uint32_t i = 0; i < g->worker_count; i++)
        metallm__worker_join(g->workers[i]);
}

static void log_start(struct metallm__gateway *g)
{
    struct metallm__log_line line;
    for (uint32_t i = 0; metallm__gateway_address(g, i) != NULL; i++)
        if (metallm__log_begin(g->shared.log, &line, METALLM__LOG_INFO, "gateway", "listening")) {
            metallm__log_str(&line, "address", metallm__gateway_address(g, i));
            metallm__log_flag(&line, "tls", g->tls != NULL);
            metallm__log_int(&line, "threads", (int64_t)g->worker_count);
            metallm__log_str(&line, "version", METALLM_VERSION);
            metallm__log_end(&line);
        }
}

int metallm__gateway_run(struct metallm__gateway *g, metallm_error *err)
{
    int rc = METALLM_OK;
    for (uint32_t i = 0; i < g->worker_count && rc == METALLM_OK; i++) {
        atomic_fetch_add(&g->shared.running, 1);
        rc = metallm__worker_start(g->workers[i], err);
        if (rc != METALLM_OK)
            atomic_fetch_sub(&g->shared.running, 1);
    }
    if (rc == METALLM_OK) {
        atomic_store(&g->shared.is_ready, true);
        log_start(g);
        serve(g);
    }
    drain(g);
    int written = metallm__gateway_close_journal(g, rc == METALLM_OK ? err : NULL);
    return rc == METALLM_OK ? written : rc;
}

const char *metallm__gateway_address(const struct metallm__gateway *g, uint32_t i)
{
    return i < g->listener_count ? g->listeners[i].text : NULL;
}
