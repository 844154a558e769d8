/* SPDX-License-Identifier: Apache-2.0
 * run_again.c - a job that is met again: its rows and gold labels teach what confidence is worth
 * and when a cascade stops, as they did when they were new. Brains know it from the store. */
#include "base/error.h"
#include "classify/run_inner.h"

struct looking {
    struct metallm__run *run;
    struct metallm__text x;
    bool has_text;
};

/* The text of this number; METALLM_ENOTFOUND: there is none. */
static int find_text(struct looking *l, uint64_t number, metallm_error *err)
{
    int rc = METALLM_OK;
    while (rc == METALLM_OK && (!l->has_text || l->x.number < number)) {
        rc = metallm__texts_next(l->run->texts, &l->x, err);
        l->has_text = rc == METALLM_OK;
    }
    return rc == METALLM_OK && l->x.number != number ? METALLM_ENOTFOUND : rc;
}

static int visit(void *payload, const struct metallm__job_row *row, metallm_error *err)
{
    struct looking *l = payload;
    struct metallm__run *r = l->run;
    if (row->state != METALLM__JOB_ANSWERED || !metallm__run_is_taught(r, row->number))
        return METALLM_OK;
    int rc = find_text(l, row->number, err);
    if (rc == METALLM_ENOTFOUND)
        return METALLM_OK;
    if (rc != METALLM_OK || l->x.gold.n == 0)
        return rc;
    const struct metallm__span text = {l->x.gold.p, l->x.gold.n};
    const uint32_t gold = metallm__labels_find(r->labels, text);
    for (uint32_t k = 0; k < row->call_count; k++) {
        const struct metallm__job_call *c = &row->calls[k];
        if (c->why != METALLM__WHY_JUDGE && c->model < r->llm_count &&
            c->label != METALLM__JOB_NO_LABEL)
            metallm__run_note_confidence(r, c->model, c->confidence, c->label == (int32_t)gold);
    }
    if (!r->o.is_cascade || !row->is_lesson)
        return METALLM_OK;
    r->lessons_asked++;
    return metallm__run_cascade_note(r, row->calls, row->call_count, (int32_t)gold, err);
}

int metallm__run_again(struct metallm__run *r, metallm_error *err)
{
    struct looking l = {.run = r};
    if (!r->is_met || r->gold_count == 0)
        return METALLM_OK;
    int rc = metallm__job_visit(r->parts.store, r->job.id, 0, r->text_count, visit, &l, err);
    return rc == METALLM_OK ? metallm__texts_rewind(r->texts, err) : rc;
}
