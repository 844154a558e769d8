/* SPDX-License-Identifier: Apache-2.0
 * chat_end.c - what follows an answer: money is settled, the decision recorded, the answer counted
 * and graded. */
#include <math.h>
#include <stdio.h>

#include "gateway/chat.h"

static enum metallm__attempt_kind attempt_kind(const struct metallm__attempt *a)
{
    switch (a->fault) {
    case METALLM__FAULT_NONE:
        return a->status >= 400 ? METALLM__ATTEMPT_4XX : METALLM__ATTEMPT_OK;
    case METALLM__FAULT_DNS:
    case METALLM__FAULT_CONNECT:
    case METALLM__FAULT_TLS:
        return METALLM__ATTEMPT_CONNECT;
    case METALLM__FAULT_TIMEOUT:
        return METALLM__ATTEMPT_TIMEOUT;
    case METALLM__FAULT_RATE:
        return METALLM__ATTEMPT_429;
    case METALLM__FAULT_SERVER:
        return METALLM__ATTEMPT_5XX;
    case METALLM__FAULT_AUTH:
    case METALLM__FAULT_UNKNOWN:
        return METALLM__ATTEMPT_4XX;
    default:
        return METALLM__ATTEMPT_BROKEN;
    }
}

/* Best score less the chosen one's, by what was believed. */
static double regret_of(const struct metallm__chat *c)
{
    const struct metallm__brain_decision *d = &c->decision;
    if (c->view == NULL || d->order_count == 0)
        return NAN;
    double best = d->candidates[d->chosen].score;
    for (uint32_t i = 0; i < c->view->count; i++)
        best = fmax(best, d->candidates[i].score); /* fmax passes over NaN */
    return best - d->candidates[d->chosen].score;
}

static void count(struct metallm__chat *c, const struct metallm__ask_result *r)
{
    const struct metallm__visit *v = &c->visit;
    struct metallm__metrics_shard *shard = v->worker->shard;
    const uint32_t *slots = v->world->llm_slots;
    for (unsigned i = 0; i < r->attempt_count; i++)
        metallm__metrics_attempt(shard, slots[r->attempts[i].llm], attempt_kind(&r->attempts[i]));
    if (r->end != METALLM__ASK_ANSWERED)
        return;
    const struct metallm__wire_usage *u = &r->answer.usage;
    struct metallm__metrics_answer a = {
        .llm = slots[r->llm],
        .router = v->router_slot,
        .input_tokens = u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0,
        .cached_tokens = u->cached_tokens > 0 ? (uint64_t)u->cached_tokens : 0,
        .output_tokens = u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0,
        .usd = r->cost_usd,
        .is_estimated = u->is_estimated,
        .is_explored = (c->decision.flags & METALLM__RECORD_EXPLORED) != 0,
        .regret = regret_of(c),
        .latency_ns = (uint64_t)(r->total_ms * 1e6),
    };
    metallm__metrics_answered(shard, &a);
    if (!isnan(r->first_ms))
        metallm__metrics_first_token(shard, slots[r->llm], (uint64_t)(r->first_ms * 1e6));
}

static uint64_t used_tokens(const struct metallm__chat *c, const struct metallm__ask_result *r)
{
    if (r == NULL)
        return c->was_called ? c->predicted_tokens : 0;
    const struct metallm__wire_usage *u = &r->answer.usage;
    return (u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0) +
           (u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0);
}

/* A cancelled call is booked as it was predicted: the LLM may have worked for it. */
static double settle(struct metallm__chat *c, const struct metallm__ask_result *r)
{
    struct metallm__visit *v = &c->visit;
    struct metallm__limits *limits = v->worker->shared->limits;
    if (c->request.kind == METALLM__WIRE_COUNT) /* nobody pays for it */
        return 0;
    double usd = r != NULL ? r->cost_usd : c->was_called ? c->reservation.usd : 0;
    if (r != NULL && isnan(usd))
        usd = r->end == METALLM__ASK_ANSWERED ? c->reservation.usd : 0;
    if (v->key != NULL) {
        if (c->predicted_tokens > 0)
            metallm__limits_tokens(limits, v->key, c->predicted_tokens, used_tokens(c, r),
                                   metallm__loop_now(v->worker->loop));
        metallm__limits_settle(limits, &c->reservation, usd, (uint64_t)c->time_ms);
    }
    if (c->view != NULL && usd > 0)
        metallm__brain_spent(c->view, usd);
    return usd;
}

/* The setup's number of a model of the world. */
static uint32_t setup_model(const struct metallm__chat *c, uint32_t model)
{
    if (c->view == NULL)
        return model;
    const struct metallm__config *config = c->visit.world->config;
    for (uint32_t i = 0; i < c->view->count; i++) {
        uint32_t m = c->view->models[i];
        if (c->view->config == config
                ? m == model
                : strcmp(c->view->config->models[m].name, config->models[model].name) == 0)
            return i;
    }
    return METALLM__RECORD_NONE;
}

static void fill_outcome(const struct metallm__chat *c, const struct metallm__ask_result *r,
                         struct metallm__record_attempt *attempts, struct metallm__record *out)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < r->attempt_count && i < METALLM__RECORD_ATTEMPTS_MAX; i++) {
        const struct metallm__attempt *a = &r->attempts[i];
        attempts[out->attempt_count++] =
            (struct metallm__record_attempt){.model = setup_model(c, a->llm),
                                             .deployment = a->deployment,
                                             .status = a->status,
                                             .failure = (uint32_t)a->fault,
                                             .ms = a->ms};
    }
    out->attempts = attempts;
    out->model = setup_model(c, r->llm);
    out->latency_ms = r->total_ms;
    out->ttft_ms = r->first_ms;
    if (r->end == METALLM__ASK_BROKEN)
        out->flags |= METALLM__RECORD_CUT;
    if (r->end != METALLM__ASK_ANSWERED)
        return;
    const struct metallm__wire_usage *u = &r->answer.usage;
    out->cost_usd = r->cost_usd;
    out->usage =
        (struct metallm__usage){.input = u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0,
                                .output = u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0,
                                .cached = u->cached_tokens > 0 ? (uint64_t)u->cached_tokens : 0,
                                .is_known = u->input_tokens >= 0 && u->output_tokens >= 0,
                                .is_estimated = u->is_estimated};
    if (c->answer.len > 0 && !c->answer.failed)
        out->answer_hash = metallm__answer_hash(metallm__span(c->answer.data, c->answer.len));
}

static void copy_text(char *out, size_t room, struct metallm__span text)
{
    size_t n = text.n < room - 1 ? text.n : room - 1;
    if (n > 0)
        memcpy(out, text.p, n);
    out[n] = '\0';
}

/* A client key's and a router's spend, where they have budgets. */
static uint32_t fill_scopes(const struct metallm__chat *c, char names[2][96],
                            struct metallm__journal_scope scopes[2])
{
    const struct metallm__visit *v = &c->visit;
    uint32_t count = 0;
    uint64_t wall = (uint64_t)c->time_ms;
    if (v->key != NULL) {
        enum metallm__period per =
            isnan(v->key->budget_usd) ? METALLM__PERIOD_DAY : v->key->budget_per;
        snprintf(names[count], 96, "key:%s", v->key->id);
        scopes[count] = (struct metallm__journal_scope){names[count],
                                                        (int64_t)metallm__period_begin(per, wall)};
        count++;
    }
    if (c->router != NULL) {
        enum metallm__period per =
            isnan(c->router->budget_usd) || c->router->budget_per == METALLM__PERIOD_REQUEST
                ? METALLM__PERIOD_DAY
                : c->router->budget_per;
        snprintf(names[count], 96, "router:%.80s", c->router->name);
        scopes[count] = (struct metallm__journal_scope){names[count],
                                                        (int64_t)metallm__period_begin(per, wall)};
        count++;
    }
    return count;
}

static void record(struct metallm__chat *c, const struct metallm__ask_result *r, double usd)
{
    struct metallm__visit *v = &c->visit;
    struct metallm__shared *s = v->worker->shared;
    struct metallm__record_attempt attempts[METALLM__RECORD_ATTEMPTS_MAX];
    struct metallm__record out = {.cost_usd = r == NULL && usd > 0 ? usd : NAN,
                                  .latency_ms = NAN,
                                  .ttft_ms = NAN,
                                  .dial = NAN,
                                  .scale_usd = NAN,
                                  .model = METALLM__RECORD_NONE};
    if (c->view != NULL) {
        metallm__brain_record(c->view, &c->decision, &out);
    } else {
        out.setup = metallm__brains_direct_setup(s->brains);
        out.flags = METALLM__RECORD_DIRECT;
    }
    out.row = c->id.row;
    out.nonce = c->id.nonce;
    out.time_ms = c->time_ms;
    out.session = c->session_hash;
    out.status = v->status == 499 ? 0 : (uint32_t)v->status;
    if (c->request.is_stream)
        out.flags |= METALLM__RECORD_STREAMED;
    if (v->status == 499)
        out.flags |= METALLM__RECORD_CUT;
    if (v->key != NULL)
        copy_text(out.key, sizeof out.key, metallm__span_of(v->key->id));
    copy_text(out.task, sizeof out.task, c->request.hints.task);
    metallm__journal_hash(s->journal, c->request.text.p, c->request.text.n, out.text_hash);
    if (c->is_dry) /* the client makes the call itself; its feedback counts */
        out.model = c->decision.chosen;
    fill_outcome(c, r, attempts, &out);
    char names[2][96];
    struct metallm__journal_scope scopes[2];
    bool keeps = v->world->config->retention.prompts;
    metallm__journal_decision(s->journal, &out, keeps ? c->request.text.p : NULL,
                              keeps ? c->request.text.n : 0, scopes, fill_scopes(c, names, scopes));
}

static void remember_session(struct metallm__chat *c, const struct metallm__ask_result *r)
{
    if (c->session_hash == 0 || r == NULL || r->end != METALLM__ASK_ANSWERED)
        return;
    const struct metallm__visit *v = &c->visit;
    const struct metallm__wire_usage *u = &r->answer.usage;
    uint64_t tokens = (u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0) +
                      (u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0);
    metallm__sessions_put(v->worker->shared->sessions, c->session_hash,
                          v->world->config->models[r->llm].name, tokens, (uint64_t)c->time_ms);
}

static void grade(struct metallm__chat *c)
{
    const struct metallm__visit *v = &c->visit;
    const struct metallm__graders *graders =
        c->router == NULL ? NULL : v->world->graders[c->name.router];
    if (graders == NULL || c->answer.len == 0 || c->answer.failed)
        return;
    struct metallm__span answer = {c->answer.data, c->answer.len};
    struct metallm__grade_ask ask = {.answer = answer,
                                     .label = c->request.hints.label,
                                     .task = c->request.hints.task,
                                     .rng = &v->worker->rng};
    struct metallm__grade verdict;
    metallm__graders_run(graders, &ask, &verdict);
    if (verdict.judge != METALLM__GRADE_NO_JUDGE) {
        metallm__judge_start(c, verdict.judge, answer);
        return;
    }
    if (isnan(verdict.score))
        return;
    struct metallm__feedback f = {.score = verdict.score, .is_graded = true};
    metallm_error err;
    if (metallm__journal_feedback(v->worker->shared->journal, &c->id, &f, NULL, NULL, &err) ==
        METALLM_OK)
        metallm__metrics_feedback(v->worker->shard, METALLM__FEEDBACK_GRADED);
}

void metallm__chat_end(struct metallm__chat *c, const struct metallm__ask_result *result)
{
    double usd = settle(c, result);
    if (c->id_text[0] == '\0') /* refused before there was a decision */
        return;
    if (result != NULL) {
        c->visit.llm_slot = c->visit.world->llm_slots[result->llm];
        count(c, result);
    }
    record(c, result, usd);
    remember_session(c, result);
    if (result != NULL && result->end == METALLM__ASK_ANSWERED)
        grade(c);
}
