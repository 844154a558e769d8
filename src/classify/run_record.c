/* SPDX-License-Identifier: Apache-2.0
 * run_record.c - what a call was decided on and what came of it, as the gateway records it, so that
 * report and brains read both alike. A call that no draw made (the next LLM, a lesson, a cascade's
 * stage) is recorded as one of mode observe: this LLM answered. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "classify/run_inner.h"
#include "gateway/grade.h"

static void fill_usage(const struct metallm__ask_result *result, struct metallm__record *out)
{
    const struct metallm__wire_usage *u = &result->answer.usage;
    out->usage =
        (struct metallm__usage){.input = u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0,
                                .output = u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0,
                                .cached = u->cached_tokens > 0 ? (uint64_t)u->cached_tokens : 0,
                                .is_known = u->input_tokens >= 0 && u->output_tokens >= 0,
                                .is_estimated = u->is_estimated};
}

/* A setup numbers its models as the run does; the direct one as the config. */
static uint32_t setup_model(const struct metallm__run *r, const struct metallm__item *i,
                            uint32_t world)
{
    if (i->view == NULL)
        return world;
    for (uint32_t c = 0; c < r->candidate_count; c++)
        if (r->llms[c].world == world)
            return c;
    return METALLM__RECORD_NONE;
}

static void fill_attempts(const struct metallm__run *r, const struct metallm__item *i,
                          const struct metallm__ask_result *result,
                          struct metallm__record_attempt *attempts, struct metallm__record *out)
{
    out->attempts = attempts;
    for (unsigned k = 0; k < result->attempt_count && k < METALLM__RECORD_ATTEMPTS_MAX; k++) {
        const struct metallm__attempt *a = &result->attempts[k];
        attempts[out->attempt_count++] =
            (struct metallm__record_attempt){.model = setup_model(r, i, a->llm),
                                             .deployment = a->deployment,
                                             .status = a->status,
                                             .failure = (uint32_t)a->fault,
                                             .ms = a->ms};
    }
}

static uint32_t fill_scope(const struct metallm__run *r, int64_t wall_ms, char name[96],
                           struct metallm__journal_scope *scope)
{
    if (r->router == NULL)
        return 0;
    const enum metallm__period per =
        isnan(r->router->budget_usd) || r->router->budget_per == METALLM__PERIOD_REQUEST
            ? METALLM__PERIOD_DAY
            : r->router->budget_per;
    snprintf(name, 96, "router:%.80s", r->router->name);
    *scope = (struct metallm__journal_scope){
        name, (int64_t)metallm__period_begin(per, (uint64_t)wall_ms)};
    return 1;
}

static void fill_decision(const struct metallm__run *r, const struct metallm__item *i,
                          struct metallm__record *out)
{
    if (i->view == NULL) {
        out->setup = metallm__brains_direct_setup(r->parts.brains);
        out->flags = METALLM__RECORD_DIRECT;
        return;
    }
    metallm__brain_record(i->view, &i->decision, out);
    if (i->why != METALLM__WHY_ROUTED)
        out->flags |= METALLM__RECORD_SHADOW;
}

int metallm__run_record(struct metallm__run *r, struct metallm__item *i,
                        const struct metallm__ask_result *result, metallm_error *err)
{
    struct metallm__record_attempt attempts[METALLM__RECORD_ATTEMPTS_MAX];
    struct metallm__decision_id *id = &i->call_ids[i->call_count - 1];
    struct metallm__record out = {.dial = NAN, .scale_usd = NAN, .cost_usd = result->cost_usd};
    char text[METALLM__DECISION_ID_LEN + 1], name[96];
    struct metallm__journal_scope scope;
    struct timespec wall;
    int rc = metallm__journal_name(r->parts.journal, "", id, text, err);
    if (rc != METALLM_OK)
        return rc;
    if (i->call_count == 1 || i->why == METALLM__WHY_NEXT || i->why == METALLM__WHY_STAGE) {
        i->id = *id; /* of the answer, as long as no other follows */
        memcpy(i->id_text, text, sizeof text);
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    fill_decision(r, i, &out);
    out.row = id->row;
    out.nonce = id->nonce;
    out.time_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    snprintf(out.task, sizeof out.task, "%s", r->o.job);
    out.model = setup_model(r, i, result->llm);
    out.latency_ms = result->total_ms;
    out.ttft_ms = result->first_ms;
    out.status = 200;
    fill_usage(result, &out);
    fill_attempts(r, i, result, attempts, &out);
    const int32_t label = i->calls[i->call_count - 1].label;
    if (label != METALLM__JOB_NO_LABEL)
        out.answer_hash = metallm__answer_hash(
            metallm__span_of(metallm__labels_name(r->labels, (uint32_t)label)));
    metallm__journal_hash(r->parts.journal, i->bytes.data, i->text_bytes, out.text_hash);
    const bool keeps = r->parts.world->config->retention.prompts;
    const uint32_t scopes = fill_scope(r, out.time_ms, name, &scope);
    metallm__journal_decision(r->parts.journal, &out, keeps ? i->bytes.data : NULL,
                              keeps ? i->text_bytes : 0, &scope, scopes);
    return METALLM_OK;
}

/* ---- Feedback. ---- */

void metallm__run_teach(struct metallm__run *r, const struct metallm__decision_id *id, double score,
                        bool is_graded)
{
    if (r->feedback_count == METALLM__RUN_FEEDBACK_MAX)
        metallm__run_feed(r);
    if (r->feedback_count == METALLM__RUN_FEEDBACK_MAX || id->row == 0)
        return; /* reading stops long before: see pump */
    r->feedback[(r->feedback_at + r->feedback_count++) % METALLM__RUN_FEEDBACK_MAX] =
        (struct metallm__run_feedback){.id = *id, .score = score, .is_graded = is_graded};
}

void metallm__run_feed(struct metallm__run *r)
{
    while (r->feedback_count > 0) {
        const struct metallm__run_feedback *w = &r->feedback[r->feedback_at];
        const struct metallm__feedback f = {.score = w->score, .is_graded = w->is_graded};
        if (metallm__journal_feedback(r->parts.journal, &w->id, &f, NULL, NULL, NULL) != METALLM_OK)
            return; /* full: later */
        r->feedback_at = (r->feedback_at + 1) % METALLM__RUN_FEEDBACK_MAX;
        r->feedback_count--;
    }
}
