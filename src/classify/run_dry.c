/* SPDX-License-Identifier: Apache-2.0
 * run_dry.c - what a job would cost and how often it would be right, by what is believed now:
 * nobody is asked, nothing is learned. A large job is judged by a sample of its texts. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/run_inner.h"

#define LOOKED_AT 2000u
#define Z95       1.959964

struct dry {
    struct metallm__run *run;
    struct metallm__run_forecast *out;
    double *usd, *quality; /* sums over the sample, by LLM */
    uint64_t *chosen;
    double usd_sum, most_sum, quality_sum, low_sum, high_sum;
};

/* Expected dollars: what the brain believes, else the price of the tokens as they are estimated. */
static double expected_usd(const struct metallm__run *r, const struct metallm__item *i, uint32_t c)
{
    const double believed = i->view != NULL ? i->decision.candidates[c].cost_usd : NAN;
    const struct metallm__price *p =
        metallm__llm_price(&r->parts.world->llms->items[r->llms[c].world], r->day);
    if (!isnan(believed) || p == NULL)
        return believed;
    const struct metallm__wire_usage usage = {
        .input_tokens = metallm__tokens_estimate(metallm__span(i->body.data, i->body.len)),
        .output_tokens = metallm__template_output_tokens(r->template)};
    return metallm__price_usage(p, &usage);
}

static void look(struct dry *d, const struct metallm__item *i)
{
    const struct metallm__run *r = d->run;
    for (uint32_t c = 0; c < r->candidate_count; c++) {
        d->usd[c] += expected_usd(r, i, c);
        d->quality[c] += i->view != NULL ? i->decision.candidates[c].quality : NAN;
    }
    const uint32_t c = i->order[0];
    const double bound =
        metallm__run_bound(r, c, i->body.len, metallm__template_output_tokens(r->template));
    d->usd_sum += expected_usd(r, i, c);
    d->most_sum += bound;
    d->chosen[c]++;
    if (i->view == NULL) {
        d->quality_sum = d->low_sum = d->high_sum = NAN;
        return;
    }
    const struct metallm__candidate *k = &i->decision.candidates[c];
    d->quality_sum += k->quality;
    d->low_sum += fmax(0, k->quality - Z95 * k->sd);
    d->high_sum += fmin(1, k->quality + Z95 * k->sd);
}

/* The texts of the sample, one at a time through the first item. */
static int look_at_all(struct dry *d, uint64_t step, metallm_error *err)
{
    struct metallm__run *r = d->run;
    int rc = METALLM_OK;
    for (uint64_t seen = 0; rc == METALLM_OK && !r->is_read; seen++) {
        rc = metallm__run_read(r, 1, err);
        while (rc == METALLM_OK && r->encoding_count > 0)
            rc = metallm__run_collect(r, err);
        if (rc != METALLM_OK || r->encoded.first == NULL)
            continue;
        struct metallm__item *i = metallm__items_take(&r->encoded);
        if (seen % step == 0)
            rc = metallm__run_choose(r, i, err);
        if (seen % step == 0 && rc == METALLM_OK) {
            look(d, i);
            d->out->looked_at++;
        }
        rc = rc == METALLM_ENOTFOUND ? METALLM_OK : rc; /* nobody can answer it */
        metallm__view_drop(i->view);
        i->view = NULL;
        metallm__items_put(&r->free, i);
    }
    return rc;
}

static void add_up(struct dry *d)
{
    const struct metallm__run *r = d->run;
    struct metallm__run_forecast *f = d->out;
    const double n = (double)f->looked_at, scale = (double)f->texts / n;
    f->usd = d->usd_sum * scale;
    f->most_usd = d->most_sum * scale;
    f->accuracy = d->quality_sum / n;
    f->low = d->low_sum / n;
    f->high = d->high_sum / n;
    f->paid_texts = f->texts;
    const double left = r->o.budget_usd - r->spent;
    if (!isnan(left) && f->usd > left)
        f->paid_texts = left > 0 ? (uint64_t)((double)f->texts * left / f->usd) : 0;
    f->llm_count = r->candidate_count;
    for (uint32_t c = 0; c < r->candidate_count; c++)
        f->llms[c] = (struct metallm__run_forecast_llm){.name = r->names[c],
                                                        .share = (double)d->chosen[c] / n,
                                                        .single_usd = d->usd[c] * scale,
                                                        .single_accuracy = d->quality[c] / n};
    if (!r->o.is_cascade)
        return;
    /* Believed is what each LLM does alone; what a cascade does is known from its lessons. */
    f->accuracy = r->is_cascade_known ? r->cascade.accuracy : NAN;
    f->usd = r->is_cascade_known ? r->cascade.usd * (double)f->texts : NAN;
    f->low = f->high = NAN;
    f->most_usd = 0;
    for (uint32_t c = 0; c < r->candidate_count; c++)
        f->most_usd += f->llms[c].single_usd;
}

int metallm__run_predict(struct metallm__run *r, struct metallm__run_forecast *out,
                         metallm_error *err)
{
    struct dry d = {.run = r, .out = out};
    *out = (struct metallm__run_forecast){.answered = r->state.answered,
                                          .spent_usd = r->spent,
                                          .texts = r->text_count - r->state.answered,
                                          .budget_usd = r->o.budget_usd};
    if (out->texts == 0)
        return METALLM_OK;
    d.usd = metallm__calloc(r->candidate_count, sizeof *d.usd);
    d.quality = metallm__calloc(r->candidate_count, sizeof *d.quality);
    d.chosen = metallm__calloc(r->candidate_count, sizeof *d.chosen);
    int rc = d.usd == NULL || d.quality == NULL || d.chosen == NULL
                 ? metallm__error_nomem(err, "a forecast")
                 : metallm__run_items_new(r, err);
    if (rc == METALLM_OK)
        rc = metallm__run_again(r, err);
    if (rc == METALLM_OK)
        rc = look_at_all(&d, (out->texts + LOOKED_AT - 1) / LOOKED_AT, err);
    if (rc == METALLM_OK && out->looked_at == 0)
        rc = metallm__error_set(err, METALLM_ENOTFOUND, "no LLM can answer any of the texts");
    if (rc == METALLM_OK)
        add_up(&d);
    metallm__free(d.usd);
    metallm__free(d.quality);
    metallm__free(d.chosen);
    return rc;
}
