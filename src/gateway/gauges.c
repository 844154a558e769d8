/* SPDX-License-Identifier: Apache-2.0
 * gauges.c - puts together what journal, encoder, breakers and brains say of themselves. */
#include "gateway/gauges.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/gateway_parts.h"

/* A view of its newest state for each router of a world. */
struct views {
    struct metallm__brain_reader *readers[METALLM__CONFIG_ROUTERS_MAX];
    const struct metallm__view *views[METALLM__CONFIG_ROUTERS_MAX]; /* NULL: no memory */
    uint32_t candidates;                                            /* of all */
};

static void views_open(struct views *v, const struct metallm__world *w)
{
    metallm_error err;
    *v = (struct views){0};
    for (uint32_t r = 0; r < w->config->router_count; r++) {
        if (metallm__brain_reader_new(&v->readers[r], w->brains[r], &err) != METALLM_OK)
            continue;
        v->views[r] = metallm__brain_view(v->readers[r]);
        v->candidates += v->views[r]->count;
    }
}

static void views_close(struct views *v, const struct metallm__world *w)
{
    for (uint32_t r = 0; r < w->config->router_count; r++)
        metallm__brain_reader_free(v->readers[r]);
}

static uint32_t deployments_of(const struct metallm__world *w)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < w->llms->count; m++)
        count += (uint32_t)w->llms->items[m].deployment_count;
    return count;
}

static int breaker_number(enum metallm__breaker_state state)
{
    return state == METALLM__BREAKER_CLOSED ? 0 : state == METALLM__BREAKER_HALF_OPEN ? 1 : 2;
}

static uint64_t mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t fill_breakers(const struct metallm__world *w, struct metallm__metrics_breaker *out)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < w->llms->count; m++)
        for (size_t d = 0; d < w->llms->items[m].deployment_count; d++) {
            struct metallm__health *h = w->llms->items[m].deployments[d].health;
            out[count++] = (struct metallm__metrics_breaker){
                .llm = w->llms->items[m].name,
                .deployment = w->config->models[m].deployments[d].name,
                .state = breaker_number(metallm__health_state(h, mono_ns())),
                .in_flight = atomic_load(&h->in_flight)};
        }
    return count;
}

static uint32_t fill_quality(const struct metallm__world *w, const struct views *v,
                             struct metallm__metrics_quality *out)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < w->config->router_count; r++)
        for (uint32_t i = 0; v->views[r] != NULL && i < v->views[r]->count; i++) {
            struct metallm__brain_llm llm;
            metallm__view_llm(v->views[r], i, &llm);
            out[count++] = (struct metallm__metrics_quality){.router = w->config->routers[r].name,
                                                             .llm = llm.name,
                                                             .mean = llm.quality,
                                                             .low = llm.quality_low,
                                                             .high = llm.quality_high,
                                                             .observations = llm.seen};
        }
    return count;
}

static void fill_counts(struct metallm__shared *s, struct metallm__metrics_gauges *g)
{
    struct metallm__journal_stats journal;
    metallm__journal_stats(s->journal, &journal);
    g->started_ms = (uint64_t)s->started_ms;
    g->wall_ms = (uint64_t)time(NULL) * 1000u;
    g->journal_waiting = journal.queued_decisions + journal.queued_feedback;
    g->journal_lag_s = journal.lag_s;
    g->journal_failed = journal.dropped;
    g->config_reloads = atomic_load(&s->reloads);
    g->config_refused = atomic_load(&s->reloads_refused);
    g->log_dropped = metallm__log_dropped(s->log);
    if (s->service != NULL) {
        metallm_service_counts counts = metallm_service_read(s->service);
        g->encoder_waiting = counts.waiting;
        g->encoder_running = counts.running;
        g->encoder_cache_entries = counts.cache_entries;
    }
}

/* What the servers counted goes into their loops' shards. */
static void take_traffic(const struct metallm__shared *s)
{
    const struct metallm__gateway *g = s->gateway;
    for (uint32_t i = 0; i < g->worker_count; i++) {
        struct metallm__http_counts c;
        metallm__http_server_counts(g->workers[i]->server, &c);
        metallm__metrics_traffic(g->workers[i]->shard,
                                 &(struct metallm__metrics_traffic){
                                     c.connections_open, c.connections, c.bytes_in, c.bytes_out});
    }
}

void metallm__gauges_render(struct metallm__shared *s, const struct metallm__world *w,
                            struct metallm__buf *out)
{
    struct views views;
    views_open(&views, w);
    struct metallm__metrics_gauges g = {0};
    take_traffic(s);
    fill_counts(s, &g);
    struct metallm__metrics_breaker *breakers =
        metallm__calloc(deployments_of(w), sizeof *breakers);
    struct metallm__metrics_quality *quality = metallm__calloc(views.candidates, sizeof *quality);
    g.breakers = breakers;
    g.quality = quality;
    g.breaker_count = breakers == NULL ? 0 : fill_breakers(w, breakers);
    g.quality_count = quality == NULL ? 0 : fill_quality(w, &views, quality);
    metallm__metrics_render(s->metrics, &g, out);
    metallm__free(breakers);
    metallm__free(quality);
    views_close(&views, w);
}

/* ---- The status page's record: one allocation. ---- */

struct pack {
    struct metallm__status status; /* first */
    struct metallm__status_model *models;
    struct metallm__status_deployment *deployments;
    struct metallm__status_router *routers;
    struct metallm__status_belief *beliefs;
    char problem[METALLM_ERROR_BYTES + 40];
};

static struct pack *make_pack(const struct metallm__world *w, const struct views *v)
{
    size_t models = w->llms->count, deployments = deployments_of(w);
    size_t routers = w->config->router_count, beliefs = v->candidates;
    struct pack *p = metallm__calloc(
        1, sizeof *p + models * sizeof *p->models + deployments * sizeof *p->deployments +
               routers * sizeof *p->routers + beliefs * sizeof *p->beliefs);
    if (p == NULL)
        return NULL;
    p->models = (struct metallm__status_model *)(void *)(p + 1);
    p->deployments = (struct metallm__status_deployment *)(void *)(p->models + models);
    p->routers = (struct metallm__status_router *)(void *)(p->deployments + deployments);
    p->beliefs = (struct metallm__status_belief *)(void *)(p->routers + routers);
    return p;
}

static uint64_t faults_of(const struct metallm__health *h)
{
    uint64_t sum = 0;
    for (int f = 1; f < METALLM__FAULTS; f++)
        sum += atomic_load(&h->faults[f]);
    return sum;
}

static void fill_models(struct pack *p, struct metallm__shared *s, const struct metallm__world *w)
{
    struct metallm__status_deployment *next = p->deployments;
    for (uint32_t m = 0; m < w->llms->count; m++) {
        const struct metallm__llm *llm = &w->llms->items[m];
        const struct metallm__config_model *model = &w->config->models[m];
        const struct metallm__price *price = metallm__llm_price(llm, metallm__day_today());
        p->models[m] = (struct metallm__status_model){
            .name = llm->name,
            .state = (int)llm->state,
            .by_admin = model->by_admin,
            .sums = metallm__metrics_sum_llm(s->metrics, w->llm_slots[m]),
            .input_price = price == NULL ? NAN : price->input,
            .output_price = price == NULL ? NAN : price->output,
            .deployments = next,
            .deployment_count = (uint32_t)llm->deployment_count};
        for (size_t d = 0; d < llm->deployment_count; d++) {
            struct metallm__health *h = llm->deployments[d].health;
            *next++ = (struct metallm__status_deployment){
                .name = model->deployments[d].name,
                .breaker = breaker_number(metallm__health_state(h, mono_ns())),
                .in_flight = atomic_load(&h->in_flight),
                .requests = atomic_load(&h->requests),
                .failed = faults_of(h)};
        }
    }
}

static const char *mode_name(enum metallm__mode mode)
{
    static const char *const names[] = {
        [METALLM__MODE_OBSERVE] = "observe",
        [METALLM__MODE_OFFLINE] = "offline",
        [METALLM__MODE_ONLINE] = "online",
        [METALLM__MODE_HYBRID] = "hybrid",
    };
    return names[mode];
}

static const char *period_name(enum metallm__period per)
{
    static const char *const names[] = {
        [METALLM__PERIOD_DAY] = "day",
        [METALLM__PERIOD_MONTH] = "month",
        [METALLM__PERIOD_HOUR] = "hour",
        [METALLM__PERIOD_REQUEST] = "request",
    };
    return names[per];
}

static void fill_routers(struct pack *p, const struct metallm__world *w, const struct views *v)
{
    struct metallm__status_belief *next = p->beliefs;
    for (uint32_t r = 0; r < w->config->router_count; r++) {
        const struct metallm__config_router *router = &w->config->routers[r];
        const struct metallm__view *view = v->views[r];
        uint32_t count = view == NULL ? 0 : view->count;
        struct metallm__status_router *out = &p->routers[r];
        *out = (struct metallm__status_router){.name = router->name,
                                               .mode = mode_name(router->mode),
                                               .dial = router->dial,
                                               .target = router->target,
                                               .budget_usd = router->budget_usd,
                                               .spent_usd = NAN,
                                               .budget_per = period_name(router->budget_per),
                                               .by_admin = router->by_admin,
                                               .beliefs = next,
                                               .belief_count = count};
        if (view != NULL) {
            out->decisions = view->version;
            out->spent_usd = metallm__view_spent(view);
        }
        for (uint32_t i = 0; i < count; i++) {
            struct metallm__brain_llm llm;
            metallm__view_llm(view, i, &llm);
            out->feedback += llm.seen;
            *next++ = (struct metallm__status_belief){.model = llm.name,
                                                      .quality = llm.quality,
                                                      .low = llm.quality_low,
                                                      .high = llm.quality_high,
                                                      .cost_usd = llm.cost_usd,
                                                      .seen = llm.seen,
                                                      .is_new = llm.is_new};
        }
    }
}

int metallm__status_take(struct metallm__status **out, struct metallm__shared *s,
                         const struct metallm__world *w, metallm_error *err)
{
    struct views views;
    views_open(&views, w);
    struct pack *p = make_pack(w, &views);
    if (p == NULL) {
        views_close(&views, w);
        return metallm__error_nomem(err, "the status");
    }
    struct metallm__journal_stats journal;
    metallm__journal_stats(s->journal, &journal);
    if (journal.is_failing)
        snprintf(p->problem, sizeof p->problem, "the store cannot be written: %s", journal.failure);
    const struct metallm__keyring *ring = metallm__keys_take(s->keys);
    take_traffic(s);
    p->status = (struct metallm__status){
        .wall_ms = (uint64_t)time(NULL) * 1000u,
        .started_ms = (uint64_t)s->started_ms,
        .config_path = w->config->path,
        .problem = journal.is_failing ? p->problem : NULL,
        .encoder = s->encoder == NULL ? "" : metallm_encoder_id(s->encoder),
        .sums = metallm__metrics_sum(s->metrics),
        .models = p->models,
        .model_count = w->llms->count,
        .routers = p->routers,
        .router_count = w->config->router_count,
        .keys = metallm__keyring_count(ring),
        .asks_keys = w->config->auth.keys,
        .journal_waiting = journal.queued_decisions + journal.queued_feedback,
        .journal_lag_s = journal.lag_s};
    metallm__keyring_drop(ring);
    fill_models(p, s, w);
    fill_routers(p, w, &views);
    views_close(&views, w);
    *out = &p->status;
    return METALLM_OK;
}
