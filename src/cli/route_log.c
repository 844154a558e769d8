/* SPDX-License-Identifier: Apache-2.0
 * route_log.c - see route_log.h. */
#include "cli/route_log.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/decision_log.h"

#define LINE_BYTES_MAX METALLM__LOG_LINE_BYTES_MAX

int cli_route_log_open(struct cli_route_log *l, const char *path, const char *router,
                       metallm_error *err)
{
    struct timespec now;
    *l = (struct cli_route_log){.path = path};
    if (path == NULL)
        return METALLM_OK;
    int rc = cli_router_version(router, l->version, err);
    if (rc != METALLM_OK)
        return rc;
    clock_gettime(CLOCK_REALTIME, &now);
    l->started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    metallm__buf_init(&l->line, LINE_BYTES_MAX);
    l->file = fopen(path, "ae");
    if (l->file == NULL)
        return metallm__error_set(err, METALLM_EIO, "cannot open '%s': %s", path, strerror(errno));
    return METALLM_OK;
}

static const char *name_of(const void *router, uint32_t model)
{
    return metallm_router_model_name(router, model);
}

static float highest_mean_cost(const metallm_router *router)
{
    double highest = NAN;
    for (uint32_t m = 0; m < metallm_router_model_count(router); m++)
        highest = fmax(highest, metallm_router_mean_cost(router, m)); /* a NaN gives way */
    return (float)highest;
}

/* The candidates are the models that were not left out, and the one chosen. */
static uint32_t candidates(const struct cli_route_answer *a, struct metallm__log_estimate *out,
                           uint32_t *chosen)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < metallm_router_model_count(a->router); m++) {
        if (isnan(a->scores[m]) && m != a->decision.model)
            continue;
        if (m == a->decision.model)
            *chosen = count;
        const metallm_estimate *e = &a->estimates[m];
        out[count++] = (struct metallm__log_estimate){
            .quality = e->quality,
            .quality_sd = e->quality_sd,
            .cost_usd = e->cost_usd,
            .latency_ms = e->latency_ms,
            .score = a->scores[m],
            .price_usd = (float)metallm_router_mean_cost(a->router, m),
            .model = m,
        };
    }
    return count;
}

int cli_route_log_add(struct cli_route_log *l, const struct cli_route_answer *a, metallm_error *err)
{
    if (l->file == NULL)
        return METALLM_OK;
    char id[48];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(id, sizeof id, "%llx-%llu", (unsigned long long)l->started_ns,
             (unsigned long long)l->count++);
    struct metallm__log_estimate *estimates =
        metallm__alloc(metallm_router_model_count(a->router), sizeof *estimates);
    if (estimates == NULL)
        return metallm__error_nomem(err, "a log line");
    struct metallm__log_decision d = {
        .id = id,
        .time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec,
        .policy = "greedy",
        .policy_version = l->version,
        .estimates = estimates,
        .propensity = (double)a->decision.propensity,
        .dial = a->constraints->dial,
        .target = a->constraints->target,
        .max_cost_usd = a->constraints->max_cost_usd,
        .cost_scale_usd = highest_mean_cost(a->router),
        .outcome = {NAN, NAN, NAN},
    };
    d.count = candidates(a, estimates, &d.chosen);
    metallm__buf_clear(&l->line);
    metallm__log_print(&l->line, &d, name_of, a->router);
    int rc = metallm__buf_check(&l->line, err);
    if (rc == METALLM_OK)
        fwrite(l->line.data, 1, l->line.len, l->file);
    metallm__free(estimates);
    return rc;
}

int cli_route_log_flush(struct cli_route_log *l, metallm_error *err)
{
    errno = 0;
    if (l->file == NULL || (fflush(l->file) == 0 && !ferror(l->file)))
        return METALLM_OK;
    return metallm__error_set(err, METALLM_EIO, "cannot write '%s': %s", l->path, strerror(errno));
}

void cli_route_log_close(struct cli_route_log *l)
{
    if (l->file != NULL)
        fclose(l->file);
    metallm__buf_fini(&l->line);
    *l = (struct cli_route_log){0};
}
