/* SPDX-License-Identifier: Apache-2.0
 * metrics.c - see metrics.h: counting, in shards that one thread each adds to. A scrape reads them
 * while they change: numbers are stored and read whole (relaxed), and each only ever grows. The
 * text that a scrape gets: metrics_text.c. */
#include "gateway/metrics_shard.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* Bounds in nanoseconds; what is above the last has a cell of its own. */
const uint64_t metallm__metrics_bounds[METALLM__METRICS_BOUNDS] = {
    100000,     250000,      500000,      1000000,     2500000,      5000000,     10000000,
    25000000,   50000000,    100000000,   250000000,   500000000,    1000000000,  2500000000,
    5000000000, 10000000000, 30000000000, 60000000000, 120000000000, 300000000000};

const char *metallm__endpoint_name(enum metallm__endpoint e)
{
    static const char *const names[METALLM__ENDPOINTS] = {[METALLM__EP_CHAT] = "chat",
                                                          [METALLM__EP_COMPLETIONS] = "completions",
                                                          [METALLM__EP_EMBEDDINGS] = "embeddings",
                                                          [METALLM__EP_RESPONSES] = "responses",
                                                          [METALLM__EP_MESSAGES] = "messages",
                                                          [METALLM__EP_COUNT_TOKENS] =
                                                              "count_tokens",
                                                          [METALLM__EP_MODELS] = "models",
                                                          [METALLM__EP_FEEDBACK] = "feedback",
                                                          [METALLM__EP_ROUTE] = "route",
                                                          [METALLM__EP_DECISIONS] = "decisions",
                                                          [METALLM__EP_ADMIN] = "admin",
                                                          [METALLM__EP_METRICS] = "metrics",
                                                          [METALLM__EP_HEALTH] = "health",
                                                          [METALLM__EP_STATUS] = "status",
                                                          [METALLM__EP_OTHER] = "other"};
    return names[e];
}

int metallm__metrics_new(struct metallm__metrics **out, uint32_t shards, metallm_error *err)
{
    METALLM_REQUIRE(shards >= 1 && shards <= METALLM__METRICS_SHARDS);
    struct metallm__metrics *m = metallm__calloc(1, sizeof *m);
    if (m == NULL)
        return metallm__error_nomem(err, "metrics");
    m->shards = metallm__calloc(shards, sizeof *m->shards);
    bool is_made = m->shards != NULL;
    for (; is_made && m->shard_count < shards; m->shard_count++) {
        struct metallm__metrics_shard *s = metallm__alloc_aligned(1, sizeof *s);
        is_made = s != NULL;
        if (!is_made)
            break;
        memset(s, 0, sizeof *s);
        m->shards[m->shard_count] = s;
    }
    if (!is_made || pthread_mutex_init(&m->lock, NULL) != 0) {
        for (uint32_t i = 0; i < m->shard_count; i++)
            metallm__free(m->shards[i]);
        metallm__free(m->shards);
        metallm__free(m);
        return metallm__error_nomem(err, "metrics");
    }
    *out = m;
    return METALLM_OK;
}

void metallm__metrics_free(struct metallm__metrics *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->shard_count; i++)
        metallm__free(m->shards[i]);
    metallm__free(m->shards);
    for (uint32_t i = 0; i < METALLM__METRICS_LLMS; i++)
        metallm__free(m->llms.names[i]);
    for (uint32_t i = 0; i < METALLM__METRICS_ROUTERS; i++)
        metallm__free(m->routers.names[i]);
    pthread_mutex_destroy(&m->lock);
    metallm__free(m);
}

struct metallm__metrics_shard *metallm__metrics_shard(struct metallm__metrics *m, uint32_t i)
{
    METALLM_REQUIRE(i < m->shard_count);
    return m->shards[i];
}

/* The last slot, most - 1, is "other": for what there is no room (or no memory) for. */
static uint32_t slot_of(struct metallm__metrics *m, struct metallm__metrics_names *names,
                        uint32_t most, const char *name)
{
    uint32_t i = 0;
    pthread_mutex_lock(&m->lock);
    while (i < names->count && strcmp(names->names[i], name) != 0)
        i++;
    if (i == names->count && i < most - 1) {
        char *copy = metallm__strdup(name);
        if (copy != NULL) {
            names->names[i] = copy;
            names->count++;
        } else {
            i = most - 1;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return i;
}

uint32_t metallm__metrics_llm(struct metallm__metrics *m, const char *name)
{
    return slot_of(m, &m->llms, METALLM__METRICS_LLMS, name);
}

uint32_t metallm__metrics_router(struct metallm__metrics *m, const char *name)
{
    return slot_of(m, &m->routers, METALLM__METRICS_ROUTERS, name);
}

/* One writer a shard, so that a load and a store do for an addition. */
static void add(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + value, __ATOMIC_RELAXED);
}

static void add_real(double *sum, double value)
{
    double next;
    __atomic_load(sum, &next, __ATOMIC_RELAXED);
    next += value;
    __atomic_store(sum, &next, __ATOMIC_RELAXED);
}

static void time_add(struct metallm__metrics_times *h, uint64_t ns)
{
    uint32_t low = 0, high = METALLM__METRICS_BOUNDS; /* the first bound that is not below ns */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (metallm__metrics_bounds[middle] < ns)
            low = middle + 1;
        else
            high = middle;
    }
    add(&h->cells[low], 1);
    add(&h->sum_ns, ns);
}

/* Statuses are counted by their hundreds, and those that tell something one by one. */
static uint32_t status_cell(int status)
{
    for (uint32_t i = 0; i < METALLM__METRICS_STATUSES - 1; i++)
        if (metallm__metrics_statuses[i] == status)
            return i;
    return METALLM__METRICS_STATUSES - 1;
}
const int metallm__metrics_statuses[METALLM__METRICS_STATUSES] = {200, 201, 400, 401, 403, 404, 405,
                                                                  408, 409, 413, 415, 422, 429, 431,
                                                                  499, 500, 502, 503, 504, 0};

void metallm__metrics_request(struct metallm__metrics_shard *s, enum metallm__endpoint endpoint,
                              int status, uint32_t router, uint64_t latency_ns)
{
    add(&s->requests[endpoint][status_cell(status)], 1);
    time_add(&s->latency[endpoint], latency_ns);
    if (router < METALLM__METRICS_ROUTERS) {
        add(&s->routers[router].requests, 1);
        add(&s->routers[router].errors, status >= 500);
    }
}

void metallm__metrics_first_token(struct metallm__metrics_shard *s, uint32_t llm, uint64_t ns)
{
    time_add(&s->first_token, ns);
    if (llm < METALLM__METRICS_LLMS)
        time_add(&s->llms[llm].first_token, ns);
}

void metallm__metrics_answered(struct metallm__metrics_shard *s,
                               const struct metallm__metrics_answer *a)
{
    if (a->llm < METALLM__METRICS_LLMS) {
        struct metallm__metrics_llm_cells *c = &s->llms[a->llm];
        add(&c->answered, 1);
        add(&c->input_tokens, a->input_tokens);
        add(&c->cached_tokens, a->cached_tokens);
        add(&c->output_tokens, a->output_tokens);
        add(&c->estimated, a->is_estimated);
        add(&c->unpriced, isnan(a->usd));
        if (a->usd > 0 && isfinite(a->usd))
            add_real(&c->usd, a->usd);
        time_add(&c->latency, a->latency_ns);
    }
    if (a->router < METALLM__METRICS_ROUTERS) {
        struct metallm__metrics_router_cells *c = &s->routers[a->router];
        if (a->llm < METALLM__METRICS_LLMS)
            add(&c->chosen[a->llm], 1);
        add(&c->explored, a->is_explored);
        if (a->regret > 0 && isfinite(a->regret))
            add_real(&c->regret, a->regret);
        if (a->usd > 0 && isfinite(a->usd))
            add_real(&c->usd, a->usd);
    }
}

void metallm__metrics_attempt(struct metallm__metrics_shard *s, uint32_t llm,
                              enum metallm__attempt_kind what)
{
    if (llm < METALLM__METRICS_LLMS)
        add(&s->llms[llm].attempts[what], 1);
}

void metallm__metrics_encoded(struct metallm__metrics_shard *s, enum metallm__encoded how,
                              uint64_t ns)
{
    add(&s->encoded[how], 1);
    time_add(&s->encoder, ns);
}

void metallm__metrics_decided(struct metallm__metrics_shard *s, uint64_t ns)
{
    time_add(&s->decided, ns);
}

void metallm__metrics_feedback(struct metallm__metrics_shard *s, enum metallm__feedback_kind kind)
{
    add(&s->feedback[kind], 1);
}

void metallm__metrics_limited(struct metallm__metrics_shard *s, int kind)
{
    if (kind >= 0 && kind < METALLM__METRICS_LIMITS)
        add(&s->limited[kind], 1);
}

void metallm__metrics_in_work(struct metallm__metrics_shard *s, int change)
{
    add(&s->in_work, (uint64_t)(int64_t)change);
}

void metallm__metrics_traffic(struct metallm__metrics_shard *s,
                              const struct metallm__metrics_traffic *t)
{
    __atomic_store_n(&s->connections, t->connections, __ATOMIC_RELAXED);
    __atomic_store_n(&s->connections_total, t->connections_total, __ATOMIC_RELAXED);
    __atomic_store_n(&s->bytes_in, t->bytes_in, __ATOMIC_RELAXED);
    __atomic_store_n(&s->bytes_out, t->bytes_out, __ATOMIC_RELAXED);
}
