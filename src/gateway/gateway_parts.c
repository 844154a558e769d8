/* SPDX-License-Identifier: Apache-2.0
 * gateway_parts.c - opens all that a gateway is made of, in the order in which one thing needs the
 * other, and closes it the other way round. */
#include "gateway/gateway_parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "math/dense.h"
#include "net/dns.h"

/* ---- Config and store: the store's place stands in the config, changes to the config in the
 * store. ---- */

static int open_store(struct metallm__gateway *g, const char *path,
                      const struct metallm__config **out, metallm_error *err)
{
    const struct metallm__config *plain = NULL;
    struct metallm__changes *changes = NULL;
    int rc = metallm__config_load(&plain, path, NULL, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__store_open(&g->store, plain->store, METALLM__STORE_FILL, err);
    if (rc == METALLM_OK)
        rc = metallm__keep_changes(g->store, &changes, err);
    if (rc == METALLM_OK)
        rc = metallm__config_load(out, path, metallm__changes_list(changes), err);
    metallm__changes_free(changes);
    metallm__config_drop(plain);
    return rc;
}

static int open_log(struct metallm__gateway *g, const struct metallm__config *c, metallm_error *err)
{
    struct metallm__log_options options = {.fd = STDERR_FILENO,
                                           .path = c->log.file[0] == '\0' ? NULL : c->log.file,
                                           .level = metallm__log_level_of(c->log.level),
                                           .prompts = c->log.prompts};
    return metallm__log_new(&g->shared.log, &options, err);
}

/* ---- The encoder. ---- */

static const char *given(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* Microseconds a text: asked on the loop itself. */
static bool is_quick(const char *id)
{
    return strncmp(id, "hash", 4) == 0 || strncmp(id, "static", 6) == 0;
}

/* The cheap encoder: needed where it decides first; where it would only stand in for one that is
 * late, it is done without. */
static int open_coarse(struct metallm__shared *s, const struct metallm__config_encoder *e,
                       bool is_tiered, metallm_error *err)
{
    bool is_needless = strcmp(e->fallback, "none") == 0 || is_quick(metallm_encoder_id(s->encoder));
    if (!is_tiered && is_needless)
        return METALLM_OK;
    metallm_encoder_options options = {.name = is_tiered ? "static" : e->fallback};
    metallm_error own = {0};
    s->is_tiered = is_tiered;
    int rc = metallm_encoder_open(&s->coarse, &options, is_tiered ? err : &own);
    if (rc == METALLM_OK || is_tiered)
        return rc;
    s->coarse = NULL;
    metallm__log_error(s->log, METALLM__LOG_DEBUG, "encoder", "no fallback", &own);
    return METALLM_OK;
}

static int open_encoder(struct metallm__gateway *g, const struct metallm__config *c,
                        metallm_error *err)
{
    struct metallm__shared *s = &g->shared;
    if (c->router_count == 0) /* names go straight to LLMs */
        return METALLM_OK;
    const struct metallm__config_encoder *e = &c->encoder;
    struct metallm_remote_options remote = {
        .url = given(e->url), .model = given(e->model), .key = given(e->api_key)};
    bool is_tiered = strcmp(e->name, "tiered") == 0;
    metallm_encoder_options options = {.name = is_tiered ? "minilm" : given(e->name),
                                       .path = given(e->weights),
                                       .precision = given(e->precision),
                                       .threads = 1,
                                       .remote = &remote};
    int rc = metallm_encoder_open(&s->encoder, &options, err);
    if (rc == METALLM_OK)
        rc = open_coarse(s, e, is_tiered, err);
    if (rc != METALLM_OK || is_quick(metallm_encoder_id(s->encoder)))
        return rc;
    metallm_service_options service = {.encoder = s->encoder,
                                       .features = true,
                                       .threads = (uint32_t)e->threads,
                                       .queue = (uint32_t)e->queue,
                                       .batch = (uint32_t)e->batch,
                                       .cache = (uint32_t)e->cache};
    return metallm_service_new(&s->service, &service, err);
}

/* ---- What learns and what is written. ---- */

struct metallm__world_parts metallm__gateway_world_parts(struct metallm__gateway *g)
{
    struct metallm__shared *s = &g->shared;
    struct metallm__world_parts parts = {.before = s->world,
                                         .brains = s->brains,
                                         .metrics = s->metrics,
                                         .encoder = "",
                                         .outcomes = s->encoder,
                                         .log = s->log,
                                         .wall_ms = (int64_t)time(NULL) * 1000};
    if (s->encoder != NULL) {
        parts.encoder = metallm_encoder_id(s->encoder);
        parts.layout = metallm_encoder_layout(s->encoder);
    }
    return parts;
}

static int open_world(struct metallm__gateway *g, const struct metallm__config *c,
                      metallm_error *err)
{
    struct metallm__shared *s = &g->shared;
    int rc = metallm__brains_new(&s->brains, err);
    struct metallm__world_parts parts = metallm__gateway_world_parts(g);
    if (rc == METALLM_OK)
        rc = metallm__world_new(&s->world, c, &parts, err);
    if (rc != METALLM_OK) {
        metallm__config_drop(c);
        return rc;
    }
    atomic_store(&s->world_number, s->world->number);
    g->day = metallm__day_today();
    struct metallm__journal_options journal = {.store = c->store,
                                               .decisions_days = c->retention.decisions_days,
                                               .feedback_days = c->retention.feedback_days,
                                               .brains = s->brains};
    return metallm__journal_open(&s->journal, &journal, err);
}

static int open_keys(struct metallm__gateway *g, metallm_error *err)
{
    struct metallm__shared *s = &g->shared;
    int rc = metallm__keys_new(&s->keys, err);
    if (rc == METALLM_OK)
        rc = metallm__limits_new(&s->limits, err);
    if (rc == METALLM_OK)
        rc = metallm__keep_version(g->store, &g->kept_version, err);
    if (rc == METALLM_OK)
        rc = metallm__gateway_refresh_keys(g, err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__keyring *ring = metallm__keys_take(s->keys);
    rc = metallm__keyring_prices(ring, s->world->config, (uint64_t)s->started_ms, err);
    if (rc == METALLM_OK)
        rc = metallm__keep_spend(g->store, ring, s->limits, (uint64_t)s->started_ms, err);
    metallm__keyring_drop(ring);
    return rc;
}

/* ---- Workers and their sockets. ---- */

/* One socket per worker on an address: the kernel spreads connections over them. */
static int listen_on(struct metallm__gateway *g, const char *text,
                     struct metallm__gateway_listener *out, metallm_error *err)
{
    struct sockaddr_storage address;
    uint16_t port = 0;
    int rc = metallm__address_parse(text, &address, err);
    for (uint32_t i = 0; i < g->worker_count && rc == METALLM_OK; i++) {
        int fd = -1;
        rc = metallm__listen_open(&address, g->worker_count > 1, &fd, &port, err);
        if (rc != METALLM_OK)
            break;
        metallm__address_set_port(&address, port); /* port 0: the same one for all */
        rc = metallm__http_server_listen(g->workers[i]->server, fd, g->tls, err);
    }
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "listen: %s", text);
    const char *colon = strrchr(text, ':');
    int host = colon == NULL ? 0 : (int)(colon - text);
    snprintf(out->text, sizeof out->text, "%.*s:%u", host, text, (unsigned)port);
    return METALLM_OK;
}

static int open_workers(struct metallm__gateway *g, metallm_error *err)
{
    const struct metallm__config *c = g->shared.world->config;
    g->workers = metallm__calloc(c->threads, sizeof *g->workers);
    g->listeners = metallm__calloc(c->listen.count, sizeof *g->listeners);
    if (g->workers == NULL || g->listeners == NULL)
        return metallm__error_nomem(err, "workers");
    int rc = METALLM_OK;
    if (c->tls_cert[0] != '\0')
        rc = metallm__tls_server_new(&g->tls, c->tls_cert, c->tls_key, err);
    for (uint32_t i = 0; i < c->threads && rc == METALLM_OK; i++) {
        rc = metallm__worker_new(&g->workers[i], &g->shared, i, err);
        g->worker_count += rc == METALLM_OK;
    }
    for (uint32_t i = 0; i < c->listen.count && rc == METALLM_OK; i++) {
        rc = listen_on(g, c->listen.items[i], &g->listeners[i], err);
        g->listener_count += rc == METALLM_OK;
    }
    return rc;
}

/* ---- All together. ---- */

static int open_all(struct metallm__gateway *g, const char *path, metallm_error *err)
{
    struct metallm__shared *s = &g->shared;
    const struct metallm__config *c = NULL;
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (g->wake_fd < 0)
        return metallm__error_set(err, METALLM_EIO, "no descriptor for events");
    int rc = open_store(g, path, &c, err);
    if (rc != METALLM_OK)
        return rc;
    rc = open_log(g, c, err);
    if (rc == METALLM_OK)
        rc = metallm__metrics_new(&s->metrics, (uint32_t)c->threads, err);
    if (rc == METALLM_OK)
        rc = metallm__sessions_new(&s->sessions, (size_t)c->sessions.count,
                                   c->sessions.idle_s * 1000u, err);
    if (rc == METALLM_OK)
        rc = metallm__http_guard_new(&s->guard, err);
    if (rc == METALLM_OK)
        rc = open_encoder(g, c, err);
    if (rc != METALLM_OK) {
        metallm__config_drop(c);
        return rc;
    }
    rc = open_world(g, c, err); /* takes c */
    if (rc == METALLM_OK)
        rc = open_keys(g, err);
    return rc == METALLM_OK ? open_workers(g, err) : rc;
}

int metallm__gateway_new(struct metallm__gateway **out, const char *config_path, metallm_error *err)
{
    struct metallm__gateway *g = metallm__calloc(1, sizeof *g);
    if (g == NULL)
        return metallm__error_nomem(err, "the gateway");
    metallm__math_threads(1); /* each product is small; the loops are the threads */
    g->wake_fd = -1;
    g->last_job = &g->jobs;
    g->shared.gateway = g;
    g->shared.started_ms = (int64_t)time(NULL) * 1000;
    pthread_mutex_init(&g->shared.lock, NULL);
    int rc = open_all(g, config_path, err);
    if (rc != METALLM_OK) {
        metallm__gateway_free(g);
        return rc;
    }
    *out = g;
    return METALLM_OK;
}

int metallm__gateway_close_journal(struct metallm__gateway *g, metallm_error *err)
{
    struct metallm__shared *s = &g->shared;
    metallm_error own = {0};
    int rc = s->journal == NULL ? METALLM_OK : metallm__journal_close(s->journal, &own);
    s->journal = NULL;
    if (rc != METALLM_OK && s->log != NULL)
        metallm__log_error(s->log, METALLM__LOG_ERROR, "journal", "could not be written", &own);
    if (err != NULL)
        *err = own;
    return rc;
}

void metallm__gateway_free(struct metallm__gateway *g)
{
    if (g == NULL)
        return;
    struct metallm__shared *s = &g->shared;
    metallm_service_free(s->service);
    metallm__gateway_close_journal(g, NULL);
    for (uint32_t i = 0; i < g->worker_count; i++)
        metallm__worker_free(g->workers[i]);
    metallm__free(g->workers);
    metallm__free(g->listeners);
    metallm__world_drop(s->world);
    metallm__brains_free(s->brains);
    metallm__keys_free(s->keys);
    metallm__limits_free(s->limits);
    metallm__sessions_free(s->sessions);
    metallm_encoder_free(s->coarse);
    metallm_encoder_free(s->encoder);
    metallm__http_guard_free(s->guard);
    metallm__metrics_free(s->metrics);
    metallm__tls_server_free(g->tls);
    metallm__log_free(s->log);
    metallm__store_close(g->store);
    pthread_mutex_destroy(&s->lock);
    if (g->wake_fd >= 0)
        close(g->wake_fd);
    metallm__free(g);
}
