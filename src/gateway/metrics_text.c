/* SPDX-License-Identifier: Apache-2.0
 * metrics_text.c - the shards summed up, as Prometheus text (exposition format 0.0.4). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/metrics_shard.h"
#include "metallm/base.h"

struct text {
    struct metallm__metrics *m;
    struct metallm__buf *out;
    uint32_t llms, routers; /* names in use */
    const char *llm_names[METALLM__METRICS_LLMS], *router_names[METALLM__METRICS_ROUTERS];
};

/* Sum over the shards of the counter that lies at this place of a shard. */
static uint64_t sum(const struct metallm__metrics *m, size_t offset)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < m->shard_count; i++)
        total += __atomic_load_n((const uint64_t *)((const char *)m->shards[i] + offset),
                                 __ATOMIC_RELAXED);
    return total;
}

static double sum_real(const struct metallm__metrics *m, size_t offset)
{
    double total = 0;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        double one;
        __atomic_load((double *)((char *)m->shards[i] + offset), &one, __ATOMIC_RELAXED);
        total += one;
    }
    return total;
}

#define AT(field)        offsetof(struct metallm__metrics_shard, field)
#define AT_EACH(list, i) (AT(list) + (i) * sizeof(((struct metallm__metrics_shard *)0)->list[0]))
#define LLM(i, field)    (AT_EACH(llms, i) + offsetof(struct metallm__metrics_llm_cells, field))
#define ROUTER(i, field)                                                                           \
    (AT_EACH(routers, i) + offsetof(struct metallm__metrics_router_cells, field))

static struct metallm__metrics_times sum_times(const struct metallm__metrics *m, size_t offset)
{
    struct metallm__metrics_times t;
    for (uint32_t i = 0; i <= METALLM__METRICS_BOUNDS; i++)
        t.cells[i] = sum(m, offset + i * sizeof(uint64_t));
    t.sum_ns = sum(m, offset + offsetof(struct metallm__metrics_times, sum_ns));
    return t;
}

static void add_times(struct metallm__metrics_times *to, const struct metallm__metrics_times *t)
{
    for (uint32_t i = 0; i <= METALLM__METRICS_BOUNDS; i++)
        to->cells[i] += t->cells[i];
    to->sum_ns += t->sum_ns;
}

static void family(const struct text *t, const char *name, const char *type, const char *help)
{
    metallm__buf_printf(t->out, "# HELP metallm_%s %s\n# TYPE metallm_%s %s\n", name, help, name,
                        type);
}

static void put_label(const struct text *t, char open, const char *name, const char *value)
{
    metallm__buf_printf(t->out, "%c%s=\"", open, name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"')
            metallm__buf_add(t->out, "\\", 1);
        if (*c == '\n')
            metallm__buf_puts(t->out, "\\n");
        else
            metallm__buf_add(t->out, c, 1);
    }
    metallm__buf_add(t->out, "\"", 1);
}

/* One sample; labels may be NULL (a, or b alone). */
struct labels {
    const char *a, *a_value, *b, *b_value;
};
static void put_labels(const struct text *t, const struct labels *l)
{
    if (l->a == NULL)
        return;
    put_label(t, '{', l->a, l->a_value);
    if (l->b != NULL)
        put_label(t, ',', l->b, l->b_value);
    metallm__buf_add(t->out, "}", 1);
}

static void count(const struct text *t, const char *name, struct labels l, uint64_t value)
{
    metallm__buf_printf(t->out, "metallm_%s", name);
    put_labels(t, &l);
    metallm__buf_printf(t->out, " %" PRIu64 "\n", value);
}

static void real(const struct text *t, const char *name, struct labels l, double value)
{
    metallm__buf_printf(t->out, "metallm_%s", name);
    put_labels(t, &l);
    if (isfinite(value))
        metallm__buf_printf(t->out, " %.12g\n", value);
    else
        metallm__buf_puts(t->out, " NaN\n");
}

static void one(const struct text *t, const char *name, const char *type, const char *help,
                uint64_t value)
{
    family(t, name, type, help);
    count(t, name, (struct labels){0}, value);
}

static void histogram(const struct text *t, const char *name, const char *label, const char *value,
                      const struct metallm__metrics_times *h)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i <= METALLM__METRICS_BOUNDS; i++) {
        char bound[32] = "+Inf", line[64];
        total += h->cells[i];
        if (i < METALLM__METRICS_BOUNDS)
            snprintf(bound, sizeof bound, "%g", (double)metallm__metrics_bounds[i] / 1e9);
        snprintf(line, sizeof line, "%s_bucket", name);
        count(t, line,
              label != NULL ? (struct labels){label, value, "le", bound}
                            : (struct labels){"le", bound, NULL, NULL},
              total);
    }
    char line[64];
    const struct labels l = {label, value, NULL, NULL};
    snprintf(line, sizeof line, "%s_sum", name);
    real(t, line, l, (double)h->sum_ns / 1e9);
    snprintf(line, sizeof line, "%s_count", name);
    count(t, line, l, total);
}

static bool is_used(const struct metallm__metrics_times *h)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i <= METALLM__METRICS_BOUNDS; i++)
        any |= h->cells[i];
    return any != 0;
}

static void put_requests(const struct text *t)
{
    family(t, "requests_total", "counter", "Requests answered, by endpoint and HTTP status.");
    for (uint32_t e = 0; e < METALLM__ENDPOINTS; e++)
        for (uint32_t s = 0; s < METALLM__METRICS_STATUSES; s++) {
            const char *name = metallm__endpoint_name((enum metallm__endpoint)e);
            char status[16] = "other";
            uint64_t n = sum(t->m, AT_EACH(requests, e) + s * sizeof(uint64_t));
            if (metallm__metrics_statuses[s] != 0)
                snprintf(status, sizeof status, "%d", metallm__metrics_statuses[s]);
            if (n > 0)
                count(t, "requests_total", (struct labels){"endpoint", name, "status", status}, n);
        }
    family(t, "request_seconds", "histogram", "From a request's first byte to its answer's last.");
    for (uint32_t e = 0; e < METALLM__ENDPOINTS; e++) {
        const struct metallm__metrics_times h = sum_times(t->m, AT_EACH(latency, e));
        if (is_used(&h))
            histogram(t, "request_seconds", "endpoint",
                      metallm__endpoint_name((enum metallm__endpoint)e), &h);
    }
}

static void put_routers(const struct text *t)
{
    static const struct {
        const char *name, *help;
        size_t offset;
        bool is_real;
    } families[] = {
        {"router_requests_total", "Requests that a router decided.", ROUTER(0, requests), false},
        {"router_errors_total", "Of these, answered with 5xx.", ROUTER(0, errors), false},
        {"router_explored_total", "Answers whose LLM was drawn to learn.", ROUTER(0, explored),
         false},
        {"router_regret_total",
         "Estimated score that was given up against the best estimate, summed.", ROUTER(0, regret),
         true},
        {"router_dollars_total", "Dollars spent through a router.", ROUTER(0, usd), true},
    };
    const size_t stride = sizeof(struct metallm__metrics_router_cells);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        family(t, families[f].name, "counter", families[f].help);
        for (uint32_t r = 0; r < t->routers; r++) {
            const struct labels l = {"router", t->router_names[r], NULL, NULL};
            if (families[f].is_real)
                real(t, families[f].name, l, sum_real(t->m, families[f].offset + r * stride));
            else
                count(t, families[f].name, l, sum(t->m, families[f].offset + r * stride));
        }
    }
    family(t, "router_choices_total", "counter", "Answers of each LLM through each router.");
    for (uint32_t r = 0; r < t->routers; r++)
        for (uint32_t m = 0; m < t->llms; m++) {
            uint64_t n = sum(t->m, ROUTER(r, chosen) + m * sizeof(uint64_t));
            if (n > 0)
                count(t, "router_choices_total",
                      (struct labels){"router", t->router_names[r], "llm", t->llm_names[m]}, n);
        }
}

static void put_llm_counts(const struct text *t)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } families[] = {
        {"llm_answers_total", "Requests that an LLM answered.", LLM(0, answered)},
        {"llm_usage_estimated_total", "Of these, without token counts by the upstream.",
         LLM(0, estimated)},
        {"llm_unpriced_total", "Of these, without a known price.", LLM(0, unpriced)},
    };
    const size_t stride = sizeof(struct metallm__metrics_llm_cells);
    uint64_t all = 0;
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        family(t, families[f].name, "counter", families[f].help);
        for (uint32_t m = 0; m < t->llms; m++)
            count(t, families[f].name, (struct labels){"llm", t->llm_names[m], NULL, NULL},
                  sum(t->m, families[f].offset + m * stride));
    }
    for (uint32_t m = 0; m < t->llms; m++)
        all += sum(t->m, LLM(m, answered));
    family(t, "llm_share", "gauge", "Share of an LLM in all answers since the start.");
    for (uint32_t m = 0; m < t->llms; m++)
        real(t, "llm_share", (struct labels){"llm", t->llm_names[m], NULL, NULL},
             all > 0 ? (double)sum(t->m, LLM(m, answered)) / (double)all : 0);
    family(t, "llm_dollars_total", "counter", "Dollars spent on an LLM.");
    for (uint32_t m = 0; m < t->llms; m++)
        real(t, "llm_dollars_total", (struct labels){"llm", t->llm_names[m], NULL, NULL},
             sum_real(t->m, LLM(m, usd)));
    family(t, "llm_tokens_total", "counter", "Tokens; cached_input is a part of input.");
    for (uint32_t m = 0; m < t->llms; m++) {
        const char *name = t->llm_names[m];
        count(t, "llm_tokens_total", (struct labels){"llm", name, "kind", "input"},
              sum(t->m, LLM(m, input_tokens)));
        count(t, "llm_tokens_total", (struct labels){"llm", name, "kind", "cached_input"},
              sum(t->m, LLM(m, cached_tokens)));
        count(t, "llm_tokens_total", (struct labels){"llm", name, "kind", "output"},
              sum(t->m, LLM(m, output_tokens)));
    }
}

static void put_llms(const struct text *t)
{
    static const char *const results[METALLM__ATTEMPTS] = {
        [METALLM__ATTEMPT_OK] = "ok",           [METALLM__ATTEMPT_CONNECT] = "connect",
        [METALLM__ATTEMPT_TIMEOUT] = "timeout", [METALLM__ATTEMPT_BROKEN] = "broken",
        [METALLM__ATTEMPT_429] = "429",         [METALLM__ATTEMPT_4XX] = "4xx",
        [METALLM__ATTEMPT_5XX] = "5xx",         [METALLM__ATTEMPT_CANCELED] = "canceled"};
    put_llm_counts(t);
    family(t, "llm_attempts_total", "counter", "Calls to an LLM, by what became of them.");
    for (uint32_t m = 0; m < t->llms; m++)
        for (uint32_t a = 0; a < METALLM__ATTEMPTS; a++)
            count(t, "llm_attempts_total",
                  (struct labels){"llm", t->llm_names[m], "result", results[a]},
                  sum(t->m, LLM(m, attempts) + a * sizeof(uint64_t)));
    family(t, "llm_seconds", "histogram", "Duration of the call that answered.");
    for (uint32_t m = 0; m < t->llms; m++) {
        const struct metallm__metrics_times h = sum_times(t->m, LLM(m, latency));
        if (is_used(&h))
            histogram(t, "llm_seconds", "llm", t->llm_names[m], &h);
    }
    family(t, "first_token_seconds", "histogram", "From a request to the first byte of an answer.");
    for (uint32_t m = 0; m < t->llms; m++) {
        const struct metallm__metrics_times h = sum_times(t->m, LLM(m, first_token));
        if (is_used(&h))
            histogram(t, "first_token_seconds", "llm", t->llm_names[m], &h);
    }
}

static void put_kinds(const struct text *t, const char *name, const char *help, const char *label,
                      const char *const *kinds, uint32_t kind_count, size_t offset)
{
    family(t, name, "counter", help);
    for (uint32_t i = 0; i < kind_count; i++)
        if (kinds[i] != NULL)
            count(t, name, (struct labels){label, kinds[i], NULL, NULL},
                  sum(t->m, offset + i * sizeof(uint64_t)));
}

static void put_parts(const struct text *t)
{
    static const char *const sources[METALLM__ENCODED_KINDS] = {
        [METALLM__ENCODED_CACHE] = "cache",
        [METALLM__ENCODED_COMPUTED] = "computed",
        [METALLM__ENCODED_FALLBACK] = "fallback",
        [METALLM__ENCODED_NONE] = "none"};
    static const char *const results[METALLM__FEEDBACK_KINDS] = {
        [METALLM__FEEDBACK_NEW] = "new",         [METALLM__FEEDBACK_REPEATED] = "repeated",
        [METALLM__FEEDBACK_CHANGED] = "changed", [METALLM__FEEDBACK_UNKNOWN] = "unknown",
        [METALLM__FEEDBACK_REFUSED] = "refused", [METALLM__FEEDBACK_GRADED] = "graded"};
    static const char *const limits[METALLM__METRICS_LIMITS] = {NULL, "requests", "tokens",
                                                                "budget"};
    struct metallm__metrics_times h = sum_times(t->m, AT(encoder));
    put_kinds(t, "vectors_total", "Where the vectors of routed requests came from.", "source",
              sources, METALLM__ENCODED_KINDS, AT(encoded));
    family(t, "encoder_seconds", "histogram", "Waiting for a request's vector.");
    histogram(t, "encoder_seconds", NULL, NULL, &h);
    h = sum_times(t->m, AT(decided));
    family(t, "decision_seconds", "histogram", "Estimating and deciding.");
    histogram(t, "decision_seconds", NULL, NULL, &h);
    put_kinds(t, "feedback_total", "Feedback, by what became of it.", "result", results,
              METALLM__FEEDBACK_KINDS, AT(feedback));
    put_kinds(t, "limited_total", "Requests refused by a limit of their key.", "limit", limits,
              METALLM__METRICS_LIMITS, AT(limited));
    family(t, "bytes_total", "counter", "Bytes from and to clients.");
    count(t, "bytes_total", (struct labels){"direction", "in", NULL, NULL},
          sum(t->m, AT(bytes_in)));
    count(t, "bytes_total", (struct labels){"direction", "out", NULL, NULL},
          sum(t->m, AT(bytes_out)));
    one(t, "connections", "gauge", "Open connections of clients.", sum(t->m, AT(connections)));
    one(t, "connections_total", "counter", "Connections accepted.",
        sum(t->m, AT(connections_total)));
    one(t, "requests_in_work", "gauge", "Requests being answered.", sum(t->m, AT(in_work)));
}

static void put_beliefs(const struct text *t, const struct metallm__metrics_gauges *g)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } families[] = {
        {"quality", "Mean quality believed of an LLM.",
         offsetof(struct metallm__metrics_quality, mean)},
        {"quality_low", "Lower end of its 95 % interval.",
         offsetof(struct metallm__metrics_quality, low)},
        {"quality_high", "Upper end of its 95 % interval.",
         offsetof(struct metallm__metrics_quality, high)},
    };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        family(t, families[f].name, "gauge", families[f].help);
        for (uint32_t i = 0; i < g->quality_count; i++) {
            const struct metallm__metrics_quality *q = &g->quality[i];
            const double *value = (const double *)((const char *)q + families[f].offset);
            if (!isnan(*value))
                real(t, families[f].name, (struct labels){"router", q->router, "llm", q->llm},
                     *value);
        }
    }
    family(t, "quality_observations", "gauge", "Scores that this belief was learned from.");
    for (uint32_t i = 0; i < g->quality_count; i++)
        count(t, "quality_observations",
              (struct labels){"router", g->quality[i].router, "llm", g->quality[i].llm},
              g->quality[i].observations);
    family(t, "breaker_state", "gauge", "Of a deployment: 0 closed, 1 half open, 2 open.");
    for (uint32_t i = 0; i < g->breaker_count; i++)
        count(t, "breaker_state",
              (struct labels){"llm", g->breakers[i].llm, "deployment", g->breakers[i].deployment},
              (uint64_t)g->breakers[i].state);
    family(t, "upstream_in_flight", "gauge", "Calls to a deployment that are under way.");
    for (uint32_t i = 0; i < g->breaker_count; i++)
        count(t, "upstream_in_flight",
              (struct labels){"llm", g->breakers[i].llm, "deployment", g->breakers[i].deployment},
              g->breakers[i].in_flight);
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*s %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_process(const struct text *t, const struct metallm__metrics_gauges *g)
{
    one(t, "encoder_waiting", "gauge", "Queries waiting for the encoder.", g->encoder_waiting);
    one(t, "encoder_running", "gauge", "Queries being encoded.", g->encoder_running);
    one(t, "encoder_cache_entries", "gauge", "Vectors kept.", g->encoder_cache_entries);
    one(t, "journal_waiting", "gauge", "Records that are not yet durable.", g->journal_waiting);
    family(t, "journal_lag_seconds", "gauge", "Age of the oldest of them.");
    real(t, "journal_lag_seconds", (struct labels){0}, g->journal_lag_s);
    one(t, "journal_failed_total", "counter", "Records that could not be written.",
        g->journal_failed);
    one(t, "config_reloads_total", "counter", "Configurations taken.", g->config_reloads);
    one(t, "config_refused_total", "counter", "Configurations refused while running.",
        g->config_refused);
    one(t, "log_dropped_total", "counter", "Log lines that could not be written.", g->log_dropped);
    family(t, "info", "gauge", "The version in a label.");
    count(t, "info", (struct labels){"version", metallm_version(), NULL, NULL}, 1);
    metallm__buf_printf(t->out,
                        "# HELP process_start_time_seconds Since 1970.\n"
                        "# TYPE process_start_time_seconds gauge\n"
                        "process_start_time_seconds %.3f\n"
                        "# HELP process_resident_memory_bytes Memory in use.\n"
                        "# TYPE process_resident_memory_bytes gauge\n"
                        "process_resident_memory_bytes %" PRIu64 "\n",
                        (double)g->started_ms / 1000,
                        g->rss_bytes > 0 ? g->rss_bytes : resident_bytes());
}

/* Names stay for ever, so that the pointers may be used without the lock. */
static void take_names(struct text *t)
{
    struct metallm__metrics *m = t->m;
    pthread_mutex_lock(&m->lock);
    t->llms = m->llms.count;
    t->routers = m->routers.count;
    for (uint32_t i = 0; i < t->llms; i++)
        t->llm_names[i] = m->llms.names[i];
    for (uint32_t i = 0; i < t->routers; i++)
        t->router_names[i] = m->routers.names[i];
    pthread_mutex_unlock(&m->lock);
    if (t->llms == METALLM__METRICS_LLMS - 1) /* full: the last slot may be in use */
        t->llm_names[t->llms++] = "other";
    if (t->routers == METALLM__METRICS_ROUTERS - 1)
        t->router_names[t->routers++] = "other";
}

void metallm__metrics_render(struct metallm__metrics *m, const struct metallm__metrics_gauges *g,
                             struct metallm__buf *out)
{
    struct text t = {.m = m, .out = out};
    take_names(&t);
    put_requests(&t);
    put_routers(&t);
    put_llms(&t);
    put_parts(&t);
    put_beliefs(&t, g);
    put_process(&t, g);
}

/* By linear interpolation within the cell; NaN: nothing was timed. */
static double quantile(const struct metallm__metrics_times *h, double share)
{
    double total = 0, below = 0;
    for (uint32_t i = 0; i <= METALLM__METRICS_BOUNDS; i++)
        total += (double)h->cells[i];
    if (total == 0)
        return NAN;
    for (uint32_t i = 0; i < METALLM__METRICS_BOUNDS; i++) {
        const double n = (double)h->cells[i];
        if (n > 0 && below + n >= share * total) {
            const double low = i > 0 ? (double)metallm__metrics_bounds[i - 1] : 0;
            const double high = (double)metallm__metrics_bounds[i];
            return (low + (high - low) * (share * total - below) / n) / 1e9;
        }
        below += n;
    }
    return (double)metallm__metrics_bounds[METALLM__METRICS_BOUNDS - 1] / 1e9;
}

struct metallm__metrics_sums metallm__metrics_sum(struct metallm__metrics *m)
{
    struct metallm__metrics_sums s = {0};
    struct metallm__metrics_times asked = {{0}, 0};
    for (uint32_t e = METALLM__EP_CHAT; e <= METALLM__EP_EMBEDDINGS; e++) {
        const struct metallm__metrics_times h = sum_times(m, AT_EACH(latency, e));
        for (uint32_t i = 0; i < METALLM__METRICS_STATUSES; i++) {
            const uint64_t n = sum(m, AT_EACH(requests, e) + i * sizeof(uint64_t));
            s.requests += n;
            if (metallm__metrics_statuses[i] >= 500)
                s.errors += n;
        }
        add_times(&asked, &h);
    }
    for (uint32_t i = 0; i < METALLM__METRICS_LLMS; i++) {
        const struct metallm__metrics_llm_sums one_llm = metallm__metrics_sum_llm(m, i);
        s.answered += one_llm.answered;
        s.input_tokens += one_llm.input_tokens;
        s.output_tokens += one_llm.output_tokens;
        s.usd += one_llm.usd;
    }
    const struct metallm__metrics_times first = sum_times(m, AT(first_token));
    s.connections = sum(m, AT(connections));
    s.in_work = sum(m, AT(in_work));
    s.latency_p50_s = quantile(&asked, 0.5);
    s.latency_p95_s = quantile(&asked, 0.95);
    s.first_token_p50_s = quantile(&first, 0.5);
    return s;
}

struct metallm__metrics_llm_sums metallm__metrics_sum_llm(struct metallm__metrics *m, uint32_t llm)
{
    struct metallm__metrics_llm_sums s = {.answered = sum(m, LLM(llm, answered)),
                                          .input_tokens = sum(m, LLM(llm, input_tokens)),
                                          .output_tokens = sum(m, LLM(llm, output_tokens)),
                                          .usd = sum_real(m, LLM(llm, usd))};
    for (uint32_t a = METALLM__ATTEMPT_OK + 1; a < METALLM__ATTEMPT_CANCELED; a++)
        s.failed += sum(m, LLM(llm, attempts) + a * sizeof(uint64_t));
    return s;
}
