/* SPDX-License-Identifier: Apache-2.0
 * run_tell.c - the end of a run: the job's rows, those of earlier runs among them, beside the
 * texts: into the output, the summary, and the store's outcomes, in one pass in the order of the
 * input. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/out.h"
#include "classify/run_inner.h"
#include "data/table.h"

#define BLOCK_TEXTS 2048u /* outcomes in one transaction */

struct telling {
    struct metallm__run *run;
    struct metallm__store *records; /* a handle for decisions, while `store` reads rows */
    struct metallm__out *out;       /* NULL: nowhere */
    struct metallm__summary *summary;
    metallm_outcomes *outcomes;
    struct metallm__buf record, text, routed_on; /* scratch */
    struct metallm__record_room room;
    float *usd_of, *quality_of;
    uint32_t
        routed; /* whom the router would have asked for the row; METALLM__LABEL_NONE: not known */
    struct metallm__summary_end end;
    bool has_text;
    struct metallm__text x; /* not told yet */
};

/* ---- One row. ---- */

static const char *label_name(const struct metallm__run *r, uint32_t label)
{
    return label == METALLM__LABEL_NONE ? "" : metallm__labels_name(r->labels, label);
}

static int put_out(struct telling *t, const struct metallm__job_row *row, metallm_error *err)
{
    const struct metallm__run *r = t->run;
    if (t->out == NULL)
        return METALLM_OK;
    struct metallm__out_row o = {.id = {t->x.id.p, t->x.id.n},
                                 .label = "",
                                 .llm = "",
                                 .confidence = NAN,
                                 .usd = NAN,
                                 .latency_ms = NAN,
                                 .decision = "",
                                 .state = "left",
                                 .how = ""};
    if (row != NULL && row->state == METALLM__JOB_FAILED)
        o.state = "failed";
    if (row != NULL && row->state == METALLM__JOB_ANSWERED) {
        o.state = row->label < 0 ? "unmapped" : "answered";
        o.label = row->label < 0 ? "" : label_name(r, (uint32_t)row->label);
        o.llm = r->llms[row->model].name;
        o.confidence = row->confidence;
        o.usd = row->usd;
        o.latency_ms = row->latency_ms;
        o.decision = row->decision;
        o.how = metallm__label_how_name((enum metallm__label_how)row->how);
    }
    return metallm__out_row(t->out, &o, err);
}

/* What was believed of each LLM when it was decided; false: it is not there any more. */
static bool find_beliefs(struct telling *t, const struct metallm__job_row *row)
{
    const struct metallm__run *r = t->run;
    struct metallm__ledger_decision d;
    struct metallm__record record;
    bool found = false;
    metallm__buf_clear(&t->record);
    if (r->router == NULL || row->decision_row == 0 ||
        metallm__ledger_get_decision(t->records, row->decision_row, &d, &t->record, &found, NULL) !=
            METALLM_OK ||
        !found ||
        metallm__record_decode(&record, &t->room, d.record, d.record_bytes, NULL) != METALLM_OK ||
        record.candidate_count != r->candidate_count)
        return false;
    t->routed = record.chosen;
    for (uint32_t c = 0; c < r->llm_count; c++) {
        const bool is_known = c < record.candidate_count;
        t->usd_of[c] = is_known ? (float)record.candidates[c].cost_usd : NAN;
        t->quality_of[c] = is_known ? (float)record.candidates[c].quality : NAN;
    }
    return true;
}

/* A cascade's lesson has the answer of the LLM that the router would have asked, too. */
static void add_routed(struct telling *t, const struct metallm__job_row *row, uint32_t gold)
{
    if (!t->run->o.is_cascade || !row->is_lesson || gold == METALLM__LABEL_NONE)
        return;
    for (uint32_t k = 0; k < row->call_count; k++) {
        const struct metallm__job_call *c = &row->calls[k];
        if (c->model != t->routed || c->why == METALLM__WHY_JUDGE)
            continue;
        t->end.routed.texts++;
        t->end.routed.right += c->label == (int32_t)gold;
        t->end.routed.usd += c->usd > 0 ? c->usd : 0;
        return;
    }
}

static void add_up(struct telling *t, const struct metallm__job_row *row, uint32_t gold)
{
    struct metallm__summary_call calls[METALLM__JOB_CALLS_MAX];
    struct metallm__summary_row s = {.label = METALLM__LABEL_NONE,
                                     .llm = METALLM__LABEL_NONE,
                                     .gold = gold,
                                     .confidence = NAN,
                                     .propensity = NAN,
                                     .judged = NAN,
                                     .calls = calls};
    if (row != NULL && row->lost_usd > 0)
        s.usd_lost = row->lost_usd;
    for (uint32_t k = 0; row != NULL && k < row->call_count; k++) {
        const struct metallm__job_call *c = &row->calls[k];
        if (c->why == METALLM__WHY_JUDGE)
            s.judged = c->score;
        calls[s.call_count++] = (struct metallm__summary_call){
            .llm = c->model,
            .is_judge = c->why == METALLM__WHY_JUDGE,
            .label = c->label < 0 ? METALLM__LABEL_NONE : (uint32_t)c->label,
            .usd = c->usd,
            .latency_ms = c->latency_ms,
            .input_tokens = c->input_tokens,
            .output_tokens = c->output_tokens};
    }
    if (row != NULL && row->state == METALLM__JOB_ANSWERED) {
        s.label = row->label < 0 ? METALLM__LABEL_NONE : (uint32_t)row->label;
        s.llm = row->model;
        s.how = (enum metallm__label_how)row->how;
        s.confidence = row->confidence;
        s.propensity = row->propensity;
        s.is_lesson = row->is_lesson;
        if (find_beliefs(t, row)) {
            add_routed(t, row, gold);
            s.usd_of = t->usd_of;
            s.quality_of = t->quality_of;
        }
    }
    metallm__summary_add(t->summary, &s);
}

/* ---- Outcomes for evaluate and train. ---- */

/* A copy that is closed by NUL; *at: where it begins. */
static void keep_closed(struct metallm__buf *b, struct metallm__text_part p, size_t *at)
{
    *at = b->len;
    metallm__buf_add(b, p.p, p.n);
    metallm__buf_add(b, "", 1);
}

/* The text that routers' vectors are made of: with choices, too. */
static int fill_routed(struct telling *t, metallm_error *err)
{
    struct metallm__span choices[METALLM__CHOICES_MAX];
    for (unsigned c = 0; c < t->x.choice_count; c++)
        choices[c] = metallm__span(t->x.choices[c].p, t->x.choices[c].n);
    const struct metallm__template_fill fill = {
        .text = {t->x.text.p, t->x.text.n}, .choices = choices, .choice_count = t->x.choice_count};
    return metallm__template_routed(&fill, &t->routed_on, err);
}

static int put_outcomes(struct telling *t, const struct metallm__job_row *row, uint32_t gold,
                        metallm_error *err)
{
    const struct metallm__run *r = t->run;
    size_t id, prompt, label, query = 0;
    if (row == NULL || row->state != METALLM__JOB_ANSWERED)
        return METALLM_OK;
    int rc = fill_routed(t, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_clear(&t->text);
    keep_closed(&t->text, t->x.id, &id);
    keep_closed(&t->text, (struct metallm__text_part){t->routed_on.data, t->routed_on.len},
                &prompt);
    keep_closed(&t->text, t->x.gold, &label);
    rc = metallm__buf_check(&t->text, err);
    if (rc != METALLM_OK)
        return rc;
    const metallm_query q = {.id = t->text.data + id,
                             .task = r->o.job,
                             .split = "",
                             .prompt = t->text.data + prompt,
                             .label = t->text.data + label};
    const struct metallm__query_key key = {
        .task = q.task, .split = q.split, .id = q.id, .prompt = q.prompt};
    rc = metallm_outcomes_add_query(t->outcomes, &q, &query, err);
    if (rc == METALLM_OK)
        rc = metallm__outcomes_index_query(t->outcomes, &key, query, err);
    for (uint32_t k = 0; k < row->call_count && rc == METALLM_OK; k++) {
        const struct metallm__job_call *c = &row->calls[k];
        metallm_outcome cell = metallm_outcome_unknown();
        if (c->why == METALLM__WHY_JUDGE)
            continue;
        if (gold != METALLM__LABEL_NONE)
            cell.score = c->label == (int32_t)gold ? 1 : 0;
        cell.cost_usd = (float)c->usd;
        cell.latency_ms = (float)c->latency_ms;
        cell.input_tokens = (float)c->input_tokens;
        cell.output_tokens = (float)c->output_tokens;
        rc = metallm_outcomes_set(t->outcomes, query, c->model, &cell, err);
    }
    return rc;
}

static int flush_outcomes(struct telling *t, metallm_error *err)
{
    char source[METALLM__JOB_NAME_MAX + 16];
    struct metallm__store_added added = {0};
    if (metallm_outcomes_query_count(t->outcomes) == 0)
        return METALLM_OK;
    snprintf(source, sizeof source, "classify:%s", t->run->o.job);
    int rc = metallm__store_add(t->records, source, t->outcomes, &added, err);
    metallm__outcomes_clear(t->outcomes);
    return rc;
}

/* ---- All rows. ---- */

/* Tells the text at hand; row NULL: it has none. */
static int tell_one(struct telling *t, const struct metallm__job_row *row, metallm_error *err)
{
    const struct metallm__run *r = t->run;
    const struct metallm__span gold_text = {t->x.gold.p, t->x.gold.n};
    const uint32_t gold =
        t->x.gold.n == 0 ? METALLM__LABEL_NONE : metallm__labels_find(r->labels, gold_text);
    if (row != NULL && row->model >= r->llm_count)
        row = NULL; /* damaged */
    add_up(t, row, gold);
    int rc = put_out(t, row, err);
    if (rc == METALLM_OK)
        rc = put_outcomes(t, row, gold, err);
    t->has_text = false;
    return rc;
}

static int read_one(struct telling *t, metallm_error *err)
{
    if (t->has_text)
        return METALLM_OK;
    int rc = metallm__texts_next(t->run->texts, &t->x, err);
    t->has_text = rc == METALLM_OK;
    return rc;
}

static int visit(void *payload, const struct metallm__job_row *row, metallm_error *err)
{
    struct telling *t = payload;
    int rc = read_one(t, err);
    while (rc == METALLM_OK && t->x.number < row->number) {
        rc = tell_one(t, NULL, err);
        if (rc == METALLM_OK)
            rc = read_one(t, err);
    }
    if (rc == METALLM_OK && t->x.number == row->number)
        rc = tell_one(t, row, err);
    return rc == METALLM_ENOTFOUND ? METALLM_OK : rc; /* a row beyond the texts is none of ours */
}

static int tell_all(struct telling *t, metallm_error *err)
{
    struct metallm__run *r = t->run;
    int rc = metallm__texts_rewind(r->texts, err);
    for (uint32_t m = 0; m < r->llm_count && rc == METALLM_OK; m++) {
        uint32_t number;
        rc = metallm_outcomes_add_model(t->outcomes, r->names[m], &number, err);
    }
    /* In blocks: a reader that stays would keep the store's log from being taken in. */
    for (uint64_t from = 0; rc == METALLM_OK && from < r->text_count; from += BLOCK_TEXTS) {
        rc = metallm__job_visit(r->parts.store, r->job.id, from, BLOCK_TEXTS, visit, t, err);
        if (rc == METALLM_OK)
            rc = flush_outcomes(t, err);
    }
    while (rc == METALLM_OK && (rc = read_one(t, err)) == METALLM_OK)
        rc = tell_one(t, NULL, err);
    return rc == METALLM_ENOTFOUND ? METALLM_OK : rc;
}

static int open_summary(struct telling *t, metallm_error *err)
{
    const struct metallm__run *r = t->run;
    const bool is_taught = r->gold_count > 0 && r->o.gold_share > 0;
    const struct metallm__summary_setup setup = {
        .job = r->o.job,
        .router = r->router != NULL ? r->router->name : "",
        .input = r->o.texts.path,
        .mode = r->o.is_cascade ? METALLM__SUMMARY_CASCADE : METALLM__SUMMARY_ROUTE,
        .labels = r->labels,
        .llms = r->names,
        .llm_count = r->llm_count,
        .candidate_count = r->candidate_count,
        .budget_usd = r->o.budget_usd,
        .dial = r->o.dial,
        .target = r->o.target,
        .lessons = is_taught              ? (r->o.gold_share < 1 ? "sample" : "gold")
                   : r->o.agree_share > 0 ? "agreement"
                   : r->o.judge_share > 0 ? "judge"
                                          : "none"};
    return metallm__summary_new(&t->summary, &setup, err);
}

static int prepare(struct telling *t, metallm_error *err)
{
    const struct metallm__run *r = t->run;
    metallm__buf_init(&t->record, METALLM__RECORD_BYTES_MAX);
    metallm__buf_init(&t->text, (size_t)4 << 20);
    metallm__buf_init(&t->routed_on, (size_t)4 << 20);
    t->usd_of = metallm__calloc(r->llm_count, sizeof *t->usd_of);
    t->quality_of = metallm__calloc(r->llm_count, sizeof *t->quality_of);
    int rc = t->usd_of == NULL || t->quality_of == NULL ? metallm__error_nomem(err, "a report")
                                                        : METALLM_OK;
    if (rc == METALLM_OK)
        rc = metallm_outcomes_new(&t->outcomes, err);
    if (rc == METALLM_OK)
        rc = metallm__store_open(&t->records, r->parts.store_url, METALLM__STORE_FILL, err);
    return rc == METALLM_OK ? open_summary(t, err) : rc;
}

int metallm__run_tell(struct metallm__run *r, const char *path, struct metallm__summary **out,
                      metallm_error *err)
{
    struct telling *t = metallm__calloc(1, sizeof *t);
    struct metallm__out file = {0};
    if (t == NULL)
        return metallm__error_nomem(err, "a report");
    t->run = r;
    int rc = prepare(t, err);
    if (rc == METALLM_OK && path != NULL) {
        rc = metallm__out_open(&file, path, err);
        t->out = &file;
    }
    if (rc == METALLM_OK)
        rc = tell_all(t, err);
    if (rc == METALLM_OK && path != NULL)
        rc = metallm__out_commit(&file, err);
    metallm__out_abort(&file);
    if (rc == METALLM_OK) {
        t->end.texts = r->text_count;
        t->end.seconds = r->state.seconds;
        t->end.is_budget_spent = r->state.left_for_money > 0;
        t->end.cascade = r->is_cascade_known ? &r->cascade : NULL;
        metallm__summary_close(t->summary, &t->end);
        *out = t->summary;
    } else {
        metallm__summary_free(t->summary);
    }
    metallm_outcomes_free(t->outcomes);
    metallm__store_close(t->records);
    metallm__buf_fini(&t->record);
    metallm__buf_fini(&t->text);
    metallm__buf_fini(&t->routed_on);
    metallm__free(t->usd_of);
    metallm__free(t->quality_of);
    metallm__free(t);
    return rc;
}
