/* SPDX-License-Identifier: Apache-2.0
 * run_choose.c - which LLMs are asked for a text, in which order, and what that may cost at most.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/rng.h"
#include "classify/run_inner.h"

/* ---- The decision. ---- */

static bool alias_lists(const struct metallm__config_alias *alias, uint32_t model)
{
    if (alias == NULL || alias->model_count == 0)
        return true;
    for (uint32_t k = 0; k < alias->model_count; k++)
        if (alias->models[k] == model)
            return true;
    return false;
}

bool metallm__run_is_well(const struct metallm__run *r, uint32_t llm)
{
    const struct metallm__llm *l = &r->parts.world->llms->items[r->llms[llm].world];
    const uint64_t now = metallm__run_now();
    for (size_t d = 0; d < l->deployment_count; d++)
        if (metallm__health_would_pass(l->deployments[d].health, now))
            return true;
    return false;
}

/* Flags of the candidates that can answer; those whose breakers are open only where all are. 0: err
 * says why there is none. */
static uint32_t find_allowed(const struct metallm__run *r, const struct metallm__item *i,
                             uint8_t *allowed, metallm_error *err)
{
    struct metallm__wire_request request = {0};
    const char *why = "none is in service";
    uint32_t able = 0, well = 0;
    int rc = metallm__wire_request_read(&request, METALLM__WIRE_CHAT,
                                        metallm__span(i->body.data, i->body.len), NULL, err);
    for (uint32_t c = 0; c < r->candidate_count && rc == METALLM_OK; c++) {
        const struct metallm__llm *llm = &r->parts.world->llms->items[r->llms[c].world];
        allowed[c] = 0;
        if (llm->state != METALLM__LLM_ACTIVE || !alias_lists(r->alias, r->llms[c].world) ||
            !metallm__llm_fits(llm, &request, &why))
            continue;
        allowed[c] = metallm__run_is_well(r, c) ? 2 : 1;
        able++;
        well += allowed[c] == 2;
    }
    for (uint32_t c = 0; c < r->candidate_count && rc == METALLM_OK; c++)
        allowed[c] = well > 0 ? allowed[c] == 2 : allowed[c];
    if (able == 0 && rc == METALLM_OK)
        metallm__error_set(err, METALLM_ENOTFOUND, "no LLM can answer text %llu: %.100s",
                           (unsigned long long)i->number + 1, why);
    metallm__wire_request_fini(&request);
    return able;
}

/* The job's own price of money, so that its budget lasts for all texts. */
static double price_money(struct metallm__run *r, const struct metallm__item *i,
                          const uint8_t *allowed)
{
    if (r->pacer == NULL)
        return 0;
    double quality[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
    for (uint32_t c = 0; c < r->candidate_count; c++) {
        const struct metallm__candidate *k = &i->decision.candidates[c];
        quality[c] = allowed[c] ? k->quality : NAN;
        cost[c] = isfinite(k->cost_usd) ? k->cost_usd : metallm__run_bound(r, c, i->body.len, 1);
    }
    const uint64_t left = r->text_count - r->state.answered;
    const double pace = (r->o.budget_usd - r->spent) / (double)(left > 0 ? left : 1);
    if (pace > 0 && fabs(pace - r->pace) > 0.1 * r->pace) {
        r->pace = pace;
        metallm__pacer_set(r->pacer, pace);
    }
    const struct metallm__pacer_price p =
        metallm__pacer_next(r->pacer, quality, cost, r->candidate_count, 0);
    return metallm__rng_uniform(&r->rng) < p.share_low ? p.low : p.high;
}

static double first_of(double own, double alias)
{
    return !isnan(own) ? own : alias;
}

static int decide(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    uint8_t allowed[METALLM_MODELS_MAX];
    const struct metallm__config_alias *a = r->alias;
    struct timespec wall;
    if (find_allowed(r, i, allowed, err) == 0)
        return METALLM_ENOTFOUND;
    clock_gettime(CLOCK_REALTIME, &wall);
    metallm__view_drop(i->view);
    i->view = metallm__view_take(metallm__brain_view(r->reader));
    struct metallm__brain_query q = {
        .features = i->encoded == METALLM_OK ? i->features : NULL,
        .coarse = i->has_coarse ? i->coarse : NULL,
        .dial = r->o.dial,
        .target = r->o.target,
        .max_cost_usd = a != NULL ? a->max_cost_usd : 0,
        .allowed = allowed,
        .input_tokens = metallm__tokens_estimate(metallm__span(i->body.data, i->body.len)),
        .output_max = metallm__template_output_tokens(r->template),
        .session = {.model = METALLM__CONFIG_NONE},
        .now_s = (double)wall.tv_sec,
        .rng = &r->rng,
    };
    if (a != NULL && isnan(r->o.dial) && isnan(r->o.target)) {
        q.dial = first_of(r->o.dial, a->dial);
        q.target = first_of(r->o.target, a->target);
    }
    if (!isnan(r->o.budget_usd)) {
        q.usd_left = r->o.budget_usd - r->spent;
        q.usd_left = q.usd_left > 0 ? q.usd_left : 1e-12; /* 0 would mean no bound */
    }
    metallm__brain_estimate(i->view, &q, &i->decision);
    q.money = price_money(r, i, allowed);
    int rc = metallm__brain_decide(i->view, &q, &i->decision, err);
    if (r->o.is_cascade)
        return rc == METALLM_ELIMIT ? METALLM_OK : rc; /* what can be paid for is seen later */
    for (uint32_t k = 0; rc == METALLM_OK && k < i->decision.order_count; k++)
        if (i->order_count < METALLM__ASK_CANDIDATES_MAX)
            i->order[i->order_count++] = i->decision.order[k];
    return rc;
}

/* Every stage's LLM, and the next one in the place of one that fails. What the router would have
 * chosen stays in the decision. */
static void order_stages(struct metallm__run *r, struct metallm__item *i)
{
    for (uint32_t k = 0; k < r->cascade.count; k++)
        i->order[i->order_count++] = metallm__run_stage(r, k);
}

static int fill_body(const struct metallm__run *r, struct metallm__item *i, unsigned logprobs,
                     metallm_error *err)
{
    struct metallm__span choices[METALLM__CHOICES_MAX];
    metallm__item_choices(i, choices);
    const struct metallm__template_fill fill = {.model = metallm__span_of(r->llms[0].name),
                                                .text = {i->bytes.data, i->text_bytes},
                                                .choices = choices,
                                                .choice_count = i->choice_count,
                                                .logprobs = logprobs};
    i->logprobs = logprobs;
    return metallm__template_fill(r->template, &fill, &i->body, err);
}

static unsigned logprobs_of(const struct metallm__run *r, uint32_t llm)
{
    return r->llms[llm].has_no_logprobs ? 0 : r->o.logprobs;
}

int metallm__run_fill(const struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    if (i->why == METALLM__WHY_JUDGE)
        return metallm__run_fill_judge(r, i, err);
    return fill_body(r, i, logprobs_of(r, i->llm), err);
}

int metallm__run_fit(const struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    if (i->why == METALLM__WHY_JUDGE || i->logprobs == logprobs_of(r, i->llm))
        return METALLM_OK;
    return metallm__run_fill(r, i, err);
}

/* Whether the LLM can be told of logprobs, by its protocol. */
static bool can_say(const struct metallm__run *r, uint32_t llm, const struct metallm__item *i)
{
    struct metallm__wire_request request = {0};
    const char *why;
    const bool can =
        metallm__wire_request_read(&request, METALLM__WIRE_CHAT,
                                   metallm__span(i->body.data, i->body.len), NULL,
                                   NULL) != METALLM_OK ||
        metallm__llm_fits(&r->parts.world->llms->items[r->llms[llm].world], &request, &why);
    metallm__wire_request_fini(&request);
    return can;
}

int metallm__run_find_logprobs(struct metallm__run *r, metallm_error *err)
{
    struct metallm__item probe = {.text_bytes = 1};
    int rc = METALLM_OK;
    metallm__buf_init(&probe.bytes, 64);
    metallm__buf_init(&probe.body, METALLM__TEMPLATE_BODY_MAX);
    metallm__buf_puts(&probe.bytes, "xab"); /* a text and two choices */
    probe.choice_count = r->o.texts.choices != NULL ? 2 : 0;
    probe.choice_end[0] = 2;
    probe.choice_end[1] = 3;
    for (uint32_t m = 0; m < r->candidate_count && r->o.logprobs > 0 && rc == METALLM_OK; m++) {
        rc = fill_body(r, &probe, r->o.logprobs, err);
        r->llms[m].has_no_logprobs = rc == METALLM_OK && !can_say(r, m, &probe);
    }
    metallm__buf_fini(&probe.bytes);
    metallm__buf_fini(&probe.body);
    return rc;
}

int metallm__run_choose(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    i->why = r->o.is_cascade ? METALLM__WHY_STAGE : METALLM__WHY_ROUTED;
    i->order_count = 0;
    int rc = fill_body(r, i, 0, err); /* who can answer does not hang on logprobs */
    if (rc == METALLM_OK && r->router != NULL)
        rc = decide(r, i, err);
    if (rc != METALLM_OK)
        return rc;
    if (r->o.is_cascade)
        order_stages(r, i);
    else if (r->router == NULL)
        i->order[i->order_count++] = 0;
    i->llm = i->order[0];
    return metallm__run_fit(r, i, err);
}
