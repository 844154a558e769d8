/* SPDX-License-Identifier: Apache-2.0
 * decisions.c - see decisions.h. */
#include "cli/decisions.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/record.h"
#include "store/ledger.h"

#define CHUNK_BYTES   ((size_t)1 << 20)
#define CHUNK_ROOM    (2 * CHUNK_BYTES)
#define SETUP_BYTES   ((size_t)1 << 24)
#define UNKNOWN_MODEL "(unknown)"

struct reading {
    struct metallm__decision_log *log;
    struct metallm__store *store;
    const char *url, *router;
    const struct metallm__log_options *opts;
    struct metallm__log_report *report;
    struct metallm__buf text; /* lines that wait */
    uint64_t setup;           /* whose JSON this is */
    yyjson_doc *doc;          /* NULL: none yet */
    struct metallm__record_room room;
};

static yyjson_val *member(const struct reading *r, const char *name)
{
    return yyjson_obj_get(yyjson_doc_get_root(r->doc), name);
}

static int find_setup(struct reading *r, uint64_t hash, metallm_error *err)
{
    struct metallm__buf json;
    bool found = false;
    if (r->doc != NULL && r->setup == hash)
        return METALLM_OK;
    yyjson_doc_free(r->doc);
    r->doc = NULL;
    r->setup = hash;
    metallm__buf_init(&json, SETUP_BYTES);
    int rc = metallm__ledger_get_setup(r->store, hash, &json, &found, err);
    if (rc == METALLM_OK && found)
        rc = metallm__json_read(&r->doc, json.data, json.len, err);
    metallm__buf_fini(&json);
    return rc;
}

static const char *name_of(const void *payload, uint32_t model)
{
    yyjson_val *m = yyjson_arr_get(member(payload, "models"), model);
    const char *name = yyjson_get_str(yyjson_obj_get(m, "name"));
    return name != NULL ? name : UNKNOWN_MODEL;
}

static int flush(struct reading *r, metallm_error *err)
{
    int rc = metallm__buf_check(&r->text, err);
    if (rc == METALLM_OK && r->text.len > 0)
        rc = metallm__decision_log_text(r->log, r->url, r->text.data, r->text.len, r->opts,
                                        r->report, err);
    metallm__buf_clear(&r->text);
    return rc;
}

/* The candidates; *chosen: the place of `model` among them, UINT32_MAX: it is none. */
static uint32_t list_estimates(const struct metallm__record *d, uint32_t model,
                               struct metallm__log_estimate *out, uint32_t *chosen)
{
    uint32_t count = 0;
    *chosen = UINT32_MAX;
    for (uint32_t i = 0; i < d->candidate_count; i++) {
        const struct metallm__candidate *c = &d->candidates[i];
        if (isnan(c->score) && i != model)
            continue;
        if (i == model)
            *chosen = count;
        out[count++] = (struct metallm__log_estimate){.quality = (float)c->quality,
                                                      .quality_sd = (float)c->sd,
                                                      .cost_usd = (float)c->cost_usd,
                                                      .latency_ms = (float)c->latency_ms,
                                                      .score = (float)c->score,
                                                      .price_usd = NAN,
                                                      .model = i};
    }
    return count;
}

static void print(struct reading *r, const struct metallm__record *d,
                  const struct metallm__ledger_feedback *f)
{
    struct metallm__log_estimate estimates[METALLM_MODELS_MAX];
    const bool is_shadow = (d->flags & METALLM__RECORD_SHADOW) != 0;
    char id[32], version[48];
    uint32_t chosen;
    const uint32_t count = list_estimates(d, is_shadow ? d->model : d->chosen, estimates, &chosen);
    if (chosen == UINT32_MAX || !(d->propensity > 0 && d->propensity <= 1))
        return;
    snprintf(id, sizeof id, "%lld", (long long)d->row);
    snprintf(version, sizeof version, "%016llx.%llu", (unsigned long long)d->setup,
             (unsigned long long)d->version);
    const struct metallm__log_decision line = {
        .id = id,
        .time = (double)d->time_ms / 1000,
        .policy = yyjson_get_str(member(r, "policy")),
        .policy_version = version,
        .estimates = estimates,
        .count = count,
        .chosen = chosen,
        .propensity = is_shadow ? 1 : d->propensity,
        .dial = (float)d->dial,
        .target = (float)d->target,
        .max_cost_usd = (float)d->max_cost_usd,
        .cost_scale_usd = (float)d->scale_usd,
        .outcome = {.score = f != NULL ? (float)f->score : NAN,
                    .cost_usd = (float)d->cost_usd,
                    .latency_ms = (float)d->latency_ms},
    };
    metallm__log_print(&r->text, &line, name_of, r);
}

static int visit(void *payload, const struct metallm__ledger_decision *d,
                 const struct metallm__ledger_feedback *f, metallm_error *err)
{
    struct reading *r = payload;
    struct metallm__record record;
    int rc = metallm__record_decode(&record, &r->room, d->record, d->record_bytes, err);
    if (rc == METALLM_EFORMAT && !r->opts->is_strict) {
        r->report->lines++;
        r->report->bad++;
        return METALLM_OK;
    }
    if (rc != METALLM_OK || record.candidate_count == 0 || record.model == METALLM__RECORD_NONE)
        return rc;
    rc = find_setup(r, record.setup, err);
    if (rc != METALLM_OK || r->doc == NULL)
        return rc;
    const char *router = yyjson_get_str(member(r, "router"));
    if (r->router != NULL && (router == NULL || strcmp(router, r->router) != 0))
        return METALLM_OK;
    print(r, &record, f);
    return r->text.len < CHUNK_BYTES ? METALLM_OK : flush(r, err);
}

int cli_decisions_read(struct metallm__decision_log *l, const char *url, const char *router,
                       const struct metallm__log_options *opts, struct metallm__log_report *report,
                       metallm_error *err)
{
    struct reading *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "decisions");
    r->log = l;
    r->url = url;
    r->router = router;
    r->opts = opts;
    r->report = report;
    metallm__buf_init(&r->text, CHUNK_ROOM);
    int rc = metallm__store_open(&r->store, url, METALLM__STORE_USE, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_visit(r->store, 0, visit, r, err);
    if (rc == METALLM_OK)
        rc = flush(r, err);
    metallm__store_close(r->store);
    yyjson_doc_free(r->doc);
    metallm__buf_fini(&r->text);
    metallm__free(r);
    return rc;
}
