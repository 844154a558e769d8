/* SPDX-License-Identifier: Apache-2.0
 * run_money.c - what a call may cost at most, set aside before it is made and booked after it.
 *
 * A token is at least one byte, so the bytes of a request bound its input tokens and max_tokens its
 * output. An LLM whose answer cost more all the same (it adds tokens of its own, or takes no heed
 * of max_tokens) has its bound raised by that factor from then on. */
#include <math.h>

#include "classify/run_inner.h"
#include "gateway/grade.h"

#define BODY_MORE    160u /* bytes that the LLM's own name may add to a request */
#define JUDGE_TOKENS 512u /* what a judge may write (grade.c) */

double metallm__run_bound(const struct metallm__run *r, uint32_t llm, size_t body_bytes,
                          unsigned output_tokens)
{
    const struct metallm__run_llm *l = &r->llms[llm];
    const struct metallm__price *p =
        metallm__llm_price(&r->parts.world->llms->items[l->world], r->day);
    if (p == NULL)
        return NAN;
    if (!isnan(p->usd_per_call))
        return p->usd_per_call * l->bound;
    const double input = p->cached_input > p->input ? p->cached_input : p->input;
    return 1e-6 * l->bound *
           (input * (double)(body_bytes + BODY_MORE) + p->output * (double)output_tokens);
}

double metallm__run_item_bound(const struct metallm__run *r, const struct metallm__item *i)
{
    const unsigned tokens =
        i->why == METALLM__WHY_JUDGE ? JUDGE_TOKENS : metallm__template_output_tokens(r->template);
    return metallm__run_bound(r, i->llm, i->body.len, tokens);
}

int metallm__run_reserve(struct metallm__run *r, struct metallm__item *i)
{
    const double bound = metallm__run_item_bound(r, i);
    const double usd = i->usd + i->lost_usd + (isnan(bound) ? 0 : bound);
    const double left = r->o.budget_usd - r->spent; /* NaN: no budget */
    const double others = r->reserved - i->reserved_usd;
    if (!isnan(left) && usd > left)
        return METALLM_ELIMIT;
    if (!isnan(left) && usd > left - others)
        return METALLM_EBUSY;
    r->reserved = others + usd;
    i->reserved_usd = usd;
    return METALLM_OK;
}

bool metallm__run_cheapen(const struct metallm__run *r, struct metallm__item *i)
{
    const uint32_t before = i->llm;
    const double left = r->o.budget_usd - r->spent - i->usd - i->lost_usd;
    double best = INFINITY;
    for (unsigned k = 0; k < i->order_count; k++) {
        const double usd = metallm__run_bound(r, i->order[k], i->body.len,
                                              metallm__template_output_tokens(r->template));
        if (i->order[k] == before || !(usd <= left) || usd >= best)
            continue;
        best = usd;
        i->llm = i->order[k];
    }
    return isfinite(best);
}

void metallm__run_settle(struct metallm__run *r, struct metallm__item *i)
{
    const double usd = i->usd + i->lost_usd;
    r->reserved -= i->reserved_usd;
    if (r->reserved < 0)
        r->reserved = 0; /* rounding */
    i->reserved_usd = 0;
    r->spent += usd;
    r->state.usd += i->usd;
    r->state.lost_usd += i->lost_usd;
    if (i->usd > 0 && i->view != NULL)
        metallm__brain_spent(i->view, i->usd);
    if (r->pacer != NULL)
        metallm__pacer_spent(r->pacer, usd);
}
