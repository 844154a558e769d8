/* SPDX-License-Identifier: Apache-2.0
 * run_cascade.c - a run's cascade: begun by price, with one threshold for all, until there are
 * lessons to learn order and thresholds from. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/run_inner.h"

#define PLAIN_KEEP  0.9  /* least confidence that is trusted before there are lessons */
#define PLAIN_BYTES 400u /* of the request by whose price the LLMs are ordered then */
#define LEARN_EVERY 20u

int metallm__run_cascade_open(struct metallm__run *r, metallm_error *err)
{
    double usd[METALLM__CASCADE_STAGES_MAX];
    if (r->router == NULL || r->candidate_count < 2)
        return metallm__error_set(err, METALLM_EINVAL, "a cascade needs a router with two LLMs");
    r->lesson_llms = r->candidate_count < METALLM__CASCADE_STAGES_MAX ? r->candidate_count
                                                                      : METALLM__CASCADE_STAGES_MAX;
    r->cells = metallm__calloc((size_t)METALLM__RUN_LESSONS_MAX * r->lesson_llms, sizeof *r->cells);
    if (r->cells == NULL)
        return metallm__error_nomem(err, "a cascade");
    for (uint32_t m = 0; m < r->lesson_llms; m++) {
        usd[m] =
            metallm__run_bound(r, m, PLAIN_BYTES, metallm__template_output_tokens(r->template));
        usd[m] = isnan(usd[m]) ? 0 : usd[m];
    }
    const double dial = isnan(r->o.dial) ? r->router->dial : r->o.dial;
    const double scale = metallm__brain_view(r->reader)->scale_usd;
    if (isnan(r->o.target) && isnan(r->o.dial) && r->router->target > 0)
        r->o.target = r->router->target;
    r->money = dial > 0 && scale > 0 ? dial / scale : 0;
    metallm__cascade_plain(&r->cascade, usd, r->lesson_llms,
                           r->o.target > 0 ? r->o.target : PLAIN_KEEP);
    return METALLM_OK;
}

uint32_t metallm__run_stage(const struct metallm__run *r, uint32_t stage)
{
    return r->cascade.llm[stage];
}

bool metallm__run_keeps(const struct metallm__run *r, uint32_t stage, double chance, bool has_label)
{
    if (stage + 1 >= r->cascade.count)
        return true;
    return has_label && !isnan(chance) && metallm__cascade_keeps(&r->cascade, stage, chance);
}

static int learn(struct metallm__run *r, metallm_error *err)
{
    const size_t count = (size_t)r->lesson_rows * r->lesson_llms;
    struct metallm__cascade_cell *cells = metallm__calloc(count, sizeof *cells);
    if (cells == NULL)
        return metallm__error_nomem(err, "a cascade");
    for (size_t k = 0; k < count; k++) {
        const struct metallm__run_cell *c = &r->cells[k];
        const struct metallm__run_llm *l = &r->llms[k % r->lesson_llms];
        const double chance =
            c->has_label ? metallm__confidence_chance(&l->confidence, (double)c->raw) : 0;
        cells[k] = (struct metallm__cascade_cell){
            .chance = (float)chance, .usd = c->usd, .is_right = c->is_right};
    }
    const struct metallm__cascade_lesson lesson = {.cells = cells,
                                                   .rows = r->lesson_rows,
                                                   .llms = r->lesson_llms,
                                                   .target = r->o.target,
                                                   .money = r->money};
    int rc = metallm__cascade_learn(&r->cascade, &lesson, err);
    metallm__free(cells);
    if (rc == METALLM_OK)
        r->is_cascade_known = true;
    r->lessons_fitted = r->lesson_rows;
    return rc == METALLM_EINVAL ? METALLM_OK : rc; /* not enough yet */
}

/* Confidence is worth what these texts say, also between two fits of it. */
static void fit_all(struct metallm__run *r)
{
    for (uint32_t m = 0; m < r->lesson_llms; m++) {
        struct metallm__run_llm *l = &r->llms[m];
        const uint32_t count =
            l->seen_count < METALLM__RUN_SEEN_MAX ? l->seen_count : METALLM__RUN_SEEN_MAX;
        metallm__confidence_fit(&l->confidence, l->seen, count);
        l->fitted_count = l->seen_count;
    }
}

int metallm__run_cascade_note(struct metallm__run *r, const struct metallm__job_call *calls,
                              uint32_t count, int32_t truth, metallm_error *err)
{
    if (r->lesson_rows == METALLM__RUN_LESSONS_MAX)
        return METALLM_OK;
    struct metallm__run_cell *row = r->cells + (size_t)r->lesson_rows * r->lesson_llms;
    uint32_t found = 0;
    for (uint32_t m = 0; m < r->lesson_llms; m++)
        for (uint32_t k = 0; k < count; k++) {
            const struct metallm__job_call *c = &calls[k];
            if (c->model != m || c->why == METALLM__WHY_JUDGE)
                continue;
            row[m] = (struct metallm__run_cell){.raw = (float)c->confidence,
                                                .usd = c->usd > 0 ? (float)c->usd : 0,
                                                .is_right = c->label == truth,
                                                .has_label = c->label != METALLM__JOB_NO_LABEL};
            found++;
            break;
        }
    if (found < r->lesson_llms)
        return METALLM_OK; /* not all of them answered */
    for (uint32_t m = 0; m < r->lesson_llms; m++)
        if (!metallm__run_is_steady(r, m))
            return METALLM_OK;
    r->lesson_rows++;
    if (r->lesson_rows - r->lessons_fitted < LEARN_EVERY)
        return METALLM_OK;
    fit_all(r);
    return learn(r, err);
}
