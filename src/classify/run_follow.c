/* SPDX-License-Identifier: Apache-2.0
 * run_follow.c - what follows an answer: the next LLM, a lesson, a judge, or the end of the text;
 * and what is learned at its end. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "classify/run_inner.h"

#define FIT_EVERY 50u /* answers after which confidence is fitted anew */

/* ---- What is learned. ---- */

double metallm__run_chance(const struct metallm__run *r, uint32_t llm, double raw)
{
    const struct metallm__run_llm *l = &r->llms[llm];
    return l->fitted_count > 0 ? metallm__confidence_chance(&l->confidence, raw) : raw;
}

bool metallm__run_is_steady(const struct metallm__run *r, uint32_t llm)
{
    const uint64_t count = r->llms[llm].lean.count;
    return count == 0 || count >= METALLM__LEAN_STEADY;
}

void metallm__run_note_confidence(struct metallm__run *r, uint32_t llm, double raw, bool is_right)
{
    struct metallm__run_llm *l = &r->llms[llm];
    if (!metallm__run_is_steady(r, llm))
        return;
    l->seen[l->seen_count++ % METALLM__RUN_SEEN_MAX] =
        (struct metallm__confidence_seen){.raw = raw, .is_right = is_right};
    if (l->seen_count - l->fitted_count < FIT_EVERY)
        return;
    const uint32_t count =
        l->seen_count < METALLM__RUN_SEEN_MAX ? l->seen_count : METALLM__RUN_SEEN_MAX;
    metallm__confidence_fit(&l->confidence, l->seen, count);
    l->fitted_count = l->seen_count;
}

static void teach_gold(struct metallm__run *r, struct metallm__item *i)
{
    for (unsigned k = 0; k < i->call_count; k++) {
        struct metallm__job_call *c = &i->calls[k];
        if (c->why == METALLM__WHY_JUDGE)
            continue;
        const bool is_right = c->label == (int32_t)i->gold;
        c->score = is_right ? 1 : 0;
        if (c->label != METALLM__JOB_NO_LABEL)
            metallm__run_note_confidence(r, c->model, c->confidence, is_right);
        metallm__run_teach(r, &i->call_ids[k], c->score, false);
    }
}

/* How many of the LLMs say this label. */
static unsigned votes_for(const struct metallm__item *i, int32_t label)
{
    unsigned votes = 0;
    for (unsigned k = 0; k < i->call_count; k++)
        votes += i->calls[k].why != METALLM__WHY_JUDGE && i->calls[k].label == label;
    return label == METALLM__JOB_NO_LABEL ? 0 : votes;
}

/* The label that most LLMs say stands in for gold; of labels with equally many votes each counts
 * for its share. Returns the label of the dearest LLM among them (calls follow by rising price in a
 * cascade): what a cascade takes for right. */
static int32_t teach_votes(struct metallm__run *r, struct metallm__item *i)
{
    int32_t winner = METALLM__JOB_NO_LABEL;
    unsigned most = 0, winners = 0;
    for (unsigned k = 0; k < i->call_count; k++) {
        const int32_t label = i->calls[k].label;
        const unsigned votes = votes_for(i, label);
        bool is_new = votes > 0;
        for (unsigned j = 0; j < k; j++)
            is_new = is_new && i->calls[j].label != label;
        winners = votes > most ? 1 : winners + (votes == most && is_new);
        most = votes > most ? votes : most;
    }
    for (unsigned k = 0; k < i->call_count && most > 0; k++) {
        struct metallm__job_call *c = &i->calls[k];
        if (c->why == METALLM__WHY_JUDGE)
            continue;
        const bool has_won = votes_for(i, c->label) == most;
        c->score = has_won ? 1.0 / winners : 0;
        winner = has_won ? c->label : winner;
        metallm__run_teach(r, &i->call_ids[k], c->score, true);
    }
    return winner;
}

/* A judge's score is of the answer that counts. */
static void teach_verdict(struct metallm__run *r, const struct metallm__item *i)
{
    const struct metallm__job_call *judge = &i->calls[i->call_count - 1];
    if (judge->why != METALLM__WHY_JUDGE || isnan(judge->score))
        return;
    for (unsigned k = 0; k + 1 < i->call_count; k++)
        if (i->calls[k].model == i->model && i->calls[k].why != METALLM__WHY_JUDGE)
            metallm__run_teach(r, &i->call_ids[k], judge->score, true);
}

static int teach(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    int32_t truth = METALLM__JOB_NO_LABEL;
    if (i->is_taught) {
        teach_gold(r, i);
        truth = (int32_t)i->gold;
    } else if (i->is_lesson) {
        truth = teach_votes(r, i);
    } else if (i->call_count > 0) {
        teach_verdict(r, i);
    }
    if (!r->o.is_cascade || !i->is_lesson || truth == METALLM__JOB_NO_LABEL)
        return METALLM_OK;
    return metallm__run_cascade_note(r, i->calls, i->call_count, truth, err);
}

/* ---- The end of a text. ---- */

void metallm__run_finish(struct metallm__run *r, struct metallm__item *i,
                         enum metallm__job_state state)
{
    i->state = state;
    metallm__run_settle(r, i);
    if (state == METALLM__JOB_ANSWERED) {
        r->state.answered++;
        r->state.here++;
        r->state.unlabelled += i->label == METALLM__LABEL_NONE;
        r->shares[i->model]++;
    } else if (state == METALLM__JOB_FAILED) {
        r->state.failed++;
        r->silent++;
    }
    metallm__items_put(&r->end, i);
}

/* ---- What follows. ---- */

static bool was_asked(const struct metallm__item *i, uint32_t llm)
{
    return (i->asked[llm / 8] >> (llm % 8) & 1) != 0;
}

static int want(struct metallm__run *r, struct metallm__item *i, enum metallm__why why,
                uint32_t llm, metallm_error *err)
{
    i->why = why;
    i->llm = llm;
    if (why != METALLM__WHY_JUDGE)
        i->asked[llm / 8] |= (uint8_t)(1u << (llm % 8));
    metallm__items_put(&r->wanted, i);
    return why == METALLM__WHY_JUDGE ? metallm__run_fill(r, i, err) : METALLM_OK;
}

/* The first of the order that was not asked; METALLM__LABEL_NONE: none. */
static uint32_t next_in_order(const struct metallm__item *i)
{
    for (unsigned k = 0; k < i->order_count; k++)
        if (!was_asked(i, i->order[k]))
            return i->order[k];
    return METALLM__LABEL_NONE;
}

/* Whom a lesson still needs. */
static uint32_t next_lesson(const struct metallm__run *r, const struct metallm__item *i)
{
    for (uint32_t c = 0; i->call_count + 2 < METALLM__JOB_CALLS_MAX && c < r->candidate_count; c++)
        if (!was_asked(i, c))
            return c;
    return METALLM__LABEL_NONE;
}

/* The stage whose LLM was asked last. */
static uint32_t stage_of(const struct metallm__item *i)
{
    uint32_t k = 0;
    while (k + 1 < i->order_count && i->order[k] != i->llm)
        k++;
    return k;
}

/* Whether another LLM is to be asked for the answer itself; why and who. */
static bool needs_more(struct metallm__run *r, struct metallm__item *i, enum metallm__why *why,
                       uint32_t *llm)
{
    const bool has_label = i->label != METALLM__LABEL_NONE;
    *llm = next_in_order(i);
    if (*llm == METALLM__LABEL_NONE)
        return false;
    if (i->why == METALLM__WHY_ROUTED && !has_label) {
        *why = METALLM__WHY_NEXT;
        return true;
    }
    *why = METALLM__WHY_STAGE;
    return i->why == METALLM__WHY_STAGE &&
           (i->is_lesson || !metallm__run_keeps(r, stage_of(i), i->confidence, has_label));
}

int metallm__run_follow(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    enum metallm__why why;
    uint32_t llm;
    for (unsigned k = 0; k < i->call_count; k++) /* by way of another one that failed */
        if (i->calls[k].why != METALLM__WHY_JUDGE)
            i->asked[i->calls[k].model / 8] |= (uint8_t)(1u << (i->calls[k].model % 8));
    if (needs_more(r, i, &why, &llm))
        return want(r, i, why, llm, err);
    if (i->is_lesson && (llm = next_lesson(r, i)) != METALLM__LABEL_NONE)
        return want(r, i, METALLM__WHY_LESSON, llm, err);
    if (i->is_judged && i->label != METALLM__LABEL_NONE) {
        i->is_judged = false;
        return want(r, i, METALLM__WHY_JUDGE, r->judge, err);
    }
    int rc = teach(r, i, err);
    metallm__run_finish(r, i, METALLM__JOB_ANSWERED);
    return rc;
}

int metallm__run_unpaid(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    if (i->call_count > 0) { /* what there is stands */
        if (i->why != METALLM__WHY_STAGE)
            return metallm__run_follow(r, i, err);
        int rc = teach(r, i, err);
        metallm__run_finish(r, i, METALLM__JOB_ANSWERED);
        return rc;
    }
    if (metallm__run_cheapen(r, i)) {
        metallm__items_put(&r->wanted, i);
        return METALLM_OK;
    }
    r->state.left_for_money++;
    if (i->has_row) {
        metallm__run_finish(r, i, METALLM__JOB_CUT);
        return METALLM_OK;
    }
    metallm__view_drop(i->view);
    i->view = NULL;
    metallm__items_put(&r->free, i);
    return METALLM_OK;
}
