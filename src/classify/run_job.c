/* SPDX-License-Identifier: Apache-2.0
 * run_job.c - see run_job.h. */
#include "classify/run_job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/json_out.h"

#define JSON_BYTES ((size_t)1 << 22)

/* What makes a job the same one, in the order in which a difference is told. */
enum fact { TEXTS, COLUMNS, LABELS, TEMPLATE, ROUTER, LLMS, WAY, FACTS };
static const struct {
    const char *name, *told;
} facts[FACTS] = {{"texts", "other texts"},
                  {"columns", "other columns"},
                  {"labels", "other labels"},
                  {"template", "another template, examples or "
                               "number of output tokens"},
                  {"router", "another router"},
                  {"llms", "other LLMs"},
                  {"way", "another way (cascade or not)"}};

static void put_fact(const struct metallm__run *r, enum fact f, struct metallm__buf *out)
{
    const struct metallm__texts_options *t = &r->o.texts;
    uint8_t hash[16];
    switch (f) {
    case TEXTS:
        metallm__texts_hash(r->texts, hash);
        for (size_t i = 0; i < sizeof hash; i++)
            metallm__buf_printf(out, "%02x", hash[i]);
        break;
    case COLUMNS:
        metallm__buf_printf(out, "%d/%d/%s/%s/%s/%s", (int)t->format, t->has_no_header,
                            t->text != NULL ? t->text : "", t->id != NULL ? t->id : "",
                            t->gold != NULL ? t->gold : "", t->choices != NULL ? t->choices : "");
        break;
    case LABELS:
        for (uint32_t i = 0; i < metallm__labels_count(r->labels); i++)
            metallm__buf_printf(out, "%s%s", i > 0 ? "," : "", metallm__labels_name(r->labels, i));
        break;
    case TEMPLATE:
        metallm__buf_printf(out, "%016llx",
                            (unsigned long long)metallm__template_hash(r->template));
        break;
    case ROUTER:
        metallm__buf_puts(out, r->router != NULL ? r->router->name : "");
        break;
    case LLMS:
        for (uint32_t i = 0; i < r->llm_count; i++)
            metallm__buf_printf(out, "%s%s", i > 0 ? "," : "", r->llms[i].name);
        break;
    default:
        metallm__buf_puts(out, r->o.is_cascade ? "cascade" : "route");
        break;
    }
}

static int put_facts(const struct metallm__run *r, struct metallm__buf *json, metallm_error *err)
{
    struct metallm__buf value;
    metallm__buf_init(&value, JSON_BYTES);
    for (enum fact f = 0; f < FACTS; f++) {
        metallm__buf_clear(&value);
        put_fact(r, f, &value);
        metallm__buf_printf(json, "%s\"%s\":", f == 0 ? "{" : ",", facts[f].name);
        metallm__jw_bytes(&(struct metallm__jw){.out = json}, value.data, value.len);
    }
    metallm__buf_puts(json, "}");
    int rc = metallm__buf_check(&value, err);
    metallm__buf_fini(&value);
    return rc == METALLM_OK ? metallm__buf_check(json, err) : rc;
}

static int compare(const struct metallm__run *r, const struct metallm__buf *mine,
                   const struct metallm__buf *stored, metallm_error *err)
{
    yyjson_doc *a = NULL, *b = NULL;
    int rc = metallm__json_read(&a, mine->data, mine->len, err);
    if (rc == METALLM_OK)
        rc = metallm__json_read(&b, stored->data, stored->len, err);
    for (enum fact f = 0; f < FACTS && rc == METALLM_OK; f++) {
        const char *now = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(a), facts[f].name));
        const char *then = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(b), facts[f].name));
        if (now != NULL && then != NULL && strcmp(now, then) == 0)
            continue;
        const bool is_shown = f == LABELS || f == LLMS || f == ROUTER;
        rc = metallm__error_set(err, METALLM_EMISMATCH,
                                "the job '%.60s' was begun with %s%s%.40s%s: --job gives this one "
                                "another name, --fresh drops what is known",
                                r->o.job, facts[f].told, is_shown ? " (" : "",
                                is_shown && then != NULL ? then : "", is_shown ? ")" : "");
    }
    yyjson_doc_free(a);
    yyjson_doc_free(b);
    return rc;
}

/* The job, its rows and the outcomes that it gave. */
static int drop_job(struct metallm__run *r, metallm_error *err)
{
    char source[METALLM__JOB_NAME_MAX + 16];
    snprintf(source, sizeof source, "classify:%s", r->o.job);
    int rc = metallm__store_drop(r->parts.store, source, err);
    return rc == METALLM_OK ? metallm__job_drop(r->parts.store, r->job.id, err) : rc;
}

/* Within a transaction, but for a dry run, which reads alone. */
static int find_or_make(struct metallm__run *r, const struct metallm__buf *mine, metallm_error *err)
{
    struct metallm__store *s = r->parts.store;
    struct metallm__buf stored;
    bool found = false;
    metallm__buf_init(&stored, JSON_BYTES);
    int rc = metallm__job_find(s, r->o.job, &r->job, &stored, &found, err);
    if (rc == METALLM_OK && found && r->o.is_fresh) {
        rc = r->o.is_dry ? METALLM_OK : drop_job(r, err);
        found = false;
    }
    if (rc == METALLM_OK && !found)
        r->job = (struct metallm__job){0};
    if (rc == METALLM_OK && found)
        rc = compare(r, mine, &stored, err);
    if (rc == METALLM_OK && !r->o.is_dry)
        rc = found ? metallm__job_recover(s, r->job.id, err)
                   : metallm__job_new(s, r->o.job, mine->data, &r->job, err);
    metallm__buf_fini(&stored);
    return rc;
}

static int meet(struct metallm__run *r, const struct metallm__buf *mine, metallm_error *err)
{
    if (r->o.is_dry)
        return find_or_make(r, mine, err);
    int rc = metallm__ledger_begin(r->parts.store, true, err);
    if (rc != METALLM_OK)
        return rc;
    rc = find_or_make(r, mine, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(r->parts.store, err);
    if (rc != METALLM_OK)
        metallm__ledger_abort(r->parts.store);
    return rc;
}

int metallm__run_meet(struct metallm__run *r, metallm_error *err)
{
    struct metallm__job_totals totals;
    struct metallm__buf mine;
    metallm__buf_init(&mine, JSON_BYTES);
    int rc = put_facts(r, &mine, err);
    if (rc == METALLM_OK)
        rc = meet(r, &mine, err);
    metallm__buf_fini(&mine);
    if (rc == METALLM_OK)
        rc = metallm__job_totals(r->parts.store, r->job.id, &totals, err);
    if (rc != METALLM_OK)
        return rc;
    r->is_met = totals.answered + totals.failed + totals.cut > 0;
    r->spent = totals.usd + totals.lost_usd + totals.reserved_usd;
    r->state = (struct metallm__run_state){.texts = r->text_count,
                                           .answered = totals.answered,
                                           .unlabelled = totals.unlabelled,
                                           .usd = totals.usd,
                                           .lost_usd = totals.lost_usd,
                                           .budget_usd = r->o.budget_usd};
    return METALLM_OK;
}
