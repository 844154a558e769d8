/* SPDX-License-Identifier: Apache-2.0
 * run_answer.c - what a call brought: an answer and its label, a refusal, or nothing. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/run_inner.h"

#define MS           1000000u
#define PAUSE_MAX_MS 30000u

static bool is_optional(enum metallm__why why)
{
    return why == METALLM__WHY_NEXT || why == METALLM__WHY_LESSON || why == METALLM__WHY_JUDGE;
}

/* What attempts without an answer may have cost: the request had gone out, and no status came. */
static void book_lost(const struct metallm__run *r, struct metallm__item *i,
                      const struct metallm__ask_result *result)
{
    const double usd = metallm__run_item_bound(r, i);
    for (unsigned k = 0; k < result->attempt_count && !isnan(usd); k++) {
        const enum metallm__fault f = result->attempts[k].fault;
        if (f == METALLM__FAULT_TIMEOUT || f == METALLM__FAULT_RESET ||
            f == METALLM__FAULT_PROTOCOL || f == METALLM__FAULT_GARBAGE)
            i->lost_usd += usd;
    }
}

/* ---- No answer. ---- */

/* LLMs of the order that failed in this round, or have answered (a cascade's earlier stages). */
static uint64_t out_of_round(const struct metallm__item *i)
{
    uint64_t out = i->passed;
    for (unsigned k = 0; k < i->order_count; k++)
        for (unsigned c = 0; c < i->call_count; c++)
            if (i->calls[c].model == i->order[k])
                out |= 1ull << k;
    return out;
}

/* The next LLM of the order that is left in this round, those that are well first; false: none. */
static bool next_in_round(const struct metallm__run *r, struct metallm__item *i)
{
    for (unsigned k = 0; k < i->order_count; k++)
        if (i->order[k] == i->llm)
            i->passed |= 1ull << k;
    const uint64_t out = out_of_round(i);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned k = 0; k < i->order_count; k++) {
            if ((out >> k & 1) != 0 || (pass == 0 && !metallm__run_is_well(r, i->order[k])))
                continue;
            i->llm = i->order[k];
            return true;
        }
    return false;
}

/* Nothing was sent: its slots are taken, or its breaker is open. */
static bool was_sent(const struct metallm__ask_result *result)
{
    for (unsigned k = 0; k < result->attempt_count; k++)
        if (result->attempts[k].fault != METALLM__FAULT_BUSY)
            return true;
    return false;
}

/* All LLMs failed in this round: again after a pause, or not in this run. A round in which nothing
 * was sent does not count. */
static void end_round(struct metallm__run *r, struct metallm__item *i,
                      const struct metallm__ask_result *result, bool is_final)
{
    i->tries += was_sent(result);
    if (is_final || i->tries >= r->o.tries) {
        metallm__run_finish(r, i, METALLM__JOB_FAILED);
        return;
    }
    const unsigned doubled = i->tries > 1 ? i->tries - 1 : 0;
    uint64_t pause = (uint64_t)r->o.pause_ms << (doubled < 16 ? doubled : 16);
    if (pause < result->retry_after_ms)
        pause = result->retry_after_ms;
    i->due_ns = metallm__run_now() + (pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS) * MS;
    i->passed = 0;
    i->llm = i->order[0];
    metallm__items_put(&r->delayed, i);
}

/* An LLM that refuses its first request may do so for the probabilities in it. */
static bool drops_logprobs(struct metallm__run *r, const struct metallm__item *i)
{
    struct metallm__run_llm *l = &r->llms[i->llm];
    if (i->why == METALLM__WHY_JUDGE || i->logprobs == 0 ||
        (l->has_answered && !l->has_no_logprobs))
        return false;
    l->has_no_logprobs = true;
    return true;
}

static void note_silence(struct metallm__run *r, const struct metallm__item *i,
                         const struct metallm__ask_result *result, bool is_refused)
{
    if (is_refused)
        snprintf(r->silence, sizeof r->silence, "'%.64s' refuses: status %u", r->llms[i->llm].name,
                 result->status);
    else
        snprintf(r->silence, sizeof r->silence, "%s",
                 result->message != NULL ? result->message : "");
}

/* Another LLM at once, where there is one. */
static int fail(struct metallm__run *r, struct metallm__item *i,
                const struct metallm__ask_result *result, metallm_error *err)
{
    const bool is_refused = result->end == METALLM__ASK_REFUSED;
    note_silence(r, i, result, is_refused);
    if (is_refused && drops_logprobs(r, i)) {
        metallm__items_put(&r->wanted, i);
        return METALLM_OK;
    }
    if (is_optional(i->why))
        return metallm__run_follow(r, i, err);
    const uint32_t before = i->llm;
    if (next_in_round(r, i)) {
        metallm__items_put(&r->wanted, i);
        return METALLM_OK;
    }
    if (i->call_count > 0) /* of a cascade: an earlier stage's answer stands */
        return metallm__run_follow(r, i, err);
    i->llm = before;
    end_round(r, i, result, is_refused);
    return METALLM_OK;
}

/* ---- An answer. ---- */

static void learn_lean(struct metallm__run *r, uint32_t llm, const struct metallm__label_read *read)
{
    struct metallm__run_llm *l = &r->llms[llm];
    const uint32_t labels = metallm__labels_count(r->labels);
    if (!read->has_probs || r->o.is_raw || r->o.texts.choices != NULL)
        return;
    metallm__lean_add(&l->lean, read, labels);
    if (l->leaning == NULL)
        l->leaning = metallm__calloc(labels, sizeof *l->leaning);
    if (l->leaning != NULL)
        metallm__lean_get(&l->lean, labels, l->leaning);
}

/* An answer that cost more than was thought its most makes its LLM's bound higher. */
static void learn_bound(struct metallm__run *r, const struct metallm__item *i, double usd)
{
    const double bound = metallm__run_item_bound(r, i);
    if (usd > bound && bound > 0)
        r->llms[i->llm].bound *= usd / bound;
}

static void note_call(struct metallm__item *i, const struct metallm__ask_result *result)
{
    const struct metallm__wire_usage *u = &result->answer.usage;
    METALLM_REQUIRE(i->call_count < METALLM__JOB_CALLS_MAX);
    i->calls[i->call_count++] = (struct metallm__job_call){
        .model = i->llm,
        .why = i->why,
        .label = METALLM__JOB_NO_LABEL,
        .how = METALLM__LABEL_UNMAPPED,
        .confidence = NAN,
        .score = NAN,
        .usd = result->cost_usd,
        .latency_ms = result->total_ms,
        .input_tokens = u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0,
        .output_tokens = u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0};
    if (result->cost_usd > 0)
        i->usd += result->cost_usd;
}

static int read_label(struct metallm__run *r, const struct metallm__item *i,
                      const struct metallm__ask_result *result, struct metallm__job_call *call,
                      metallm_error *err)
{
    struct metallm__span choices[METALLM__CHOICES_MAX];
    struct metallm__label_read read;
    metallm__item_choices(i, choices);
    const struct metallm__label_ask ask = {.labels = r->labels,
                                           .body = {result->body->data, result->body->len},
                                           .choices = choices,
                                           .choice_count = i->choice_count,
                                           .lean = r->llms[i->llm].leaning};
    int rc = metallm__label_read(&ask, &read, err);
    if (rc != METALLM_OK)
        return rc;
    learn_lean(r, i->llm, &read);
    call->how = read.how;
    call->confidence = read.confidence;
    if (read.label != METALLM__LABEL_NONE)
        call->label = (int32_t)read.label;
    return METALLM_OK;
}

/* The answer that counts, so far. */
static void take_label(const struct metallm__run *r, struct metallm__item *i,
                       const struct metallm__job_call *call)
{
    const bool has_label = call->label != METALLM__JOB_NO_LABEL;
    if (!has_label && i->label != METALLM__LABEL_NONE)
        return; /* a cascade's next stage said less */
    i->model = call->model;
    i->label = has_label ? (uint32_t)call->label : METALLM__LABEL_NONE;
    i->how = call->how;
    i->confidence = has_label ? metallm__run_chance(r, call->model, call->confidence) : NAN;
    i->latency_ms = (isnan(i->latency_ms) ? 0 : i->latency_ms) + call->latency_ms;
}

static int answered(struct metallm__run *r, struct metallm__item *i,
                    const struct metallm__ask_result *result, metallm_error *err)
{
    note_call(i, result);
    learn_bound(r, i, result->cost_usd);
    struct metallm__job_call *call = &i->calls[i->call_count - 1];
    if (i->why == METALLM__WHY_JUDGE) {
        call->score = metallm__run_verdict(metallm__span(result->body->data, result->body->len));
        i->call_ids[i->call_count - 1] = (struct metallm__decision_id){0};
        return metallm__run_follow(r, i, err);
    }
    int rc = read_label(r, i, result, call, err);
    if (rc == METALLM_OK)
        rc = metallm__run_record(r, i, result, err);
    if (rc != METALLM_OK)
        return rc;
    if (i->why != METALLM__WHY_LESSON)
        take_label(r, i, call);
    r->silent = 0;
    r->answered_ns = metallm__run_now();
    r->llms[i->llm].has_answered = true;
    return metallm__run_follow(r, i, err);
}

int metallm__run_answer(struct metallm__run *r, struct metallm__item *i,
                        const struct metallm__ask_result *result, metallm_error *err)
{
    book_lost(r, i, result);
    if (result->end == METALLM__ASK_ANSWERED)
        return answered(r, i, result, err);
    return fail(r, i, result, err);
}
