/* SPDX-License-Identifier: Apache-2.0
 * chat_route.c - which LLM answers: the vector of the text, what the brain makes of it, and what
 * key, alias and request allow. Routing never makes a request fail for want of a vector. */
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/chat.h"

/* ---- What may answer. ---- */

/* The world's index of a candidate of the view; METALLM__CONFIG_NONE: gone meanwhile. */
static uint32_t model_of(const struct metallm__chat *c, uint32_t view_model)
{
    const struct metallm__config *config = c->visit.world->config;
    if (c->view->config == config)
        return view_model;
    const char *name = c->view->config->models[view_model].name; /* another generation's */
    return metallm__config_model_find(config, name, strlen(name));
}

static bool is_listed(const struct metallm__wire_hints *hints, const char *name)
{
    for (unsigned i = 0; i < hints->model_count; i++)
        if (metallm__span_is(hints->models[i], name))
            return true;
    return hints->model_count == 0;
}

static bool alias_lists(const struct metallm__config_alias *alias, uint32_t model)
{
    if (alias == NULL || alias->model_count == 0)
        return true;
    for (uint32_t i = 0; i < alias->model_count; i++)
        if (alias->models[i] == model)
            return true;
    return false;
}

/* Whether a deployment of it would be called now. */
static bool is_well(const struct metallm__llm *llm, uint64_t now_ns)
{
    for (size_t d = 0; d < llm->deployment_count; d++)
        if (metallm__health_would_pass(llm->deployments[d].health, now_ns))
            return true;
    return false;
}

/* A count is asked of whom the conversation itself would go to. */
static bool fits(struct metallm__chat *c, const struct metallm__llm *llm, const char **why)
{
    enum metallm__wire_kind kind = c->request.kind;
    if (kind == METALLM__WIRE_COUNT)
        c->request.kind = METALLM__WIRE_MESSAGES;
    bool does_fit = metallm__llm_fits(llm, &c->request, why);
    c->request.kind = kind;
    return does_fit;
}

/* Flags of the candidates that key, alias, request and their own state let answer. Those whose
 * breakers are open are chosen only where all others are out; c->spare keeps them for the end of
 * the order. why: the last reason that kept one out. */
static uint32_t find_allowed(struct metallm__chat *c, uint8_t *allowed, const char **why)
{
    const struct metallm__visit *v = &c->visit;
    const struct metallm__llms *llms = v->world->llms;
    uint64_t now = metallm__loop_now(v->worker->loop);
    uint32_t able = 0, well = 0;
    for (uint32_t i = 0; i < c->view->count; i++) {
        uint32_t m = model_of(c, c->view->models[i]);
        allowed[i] = 0;
        if (m == METALLM__CONFIG_NONE)
            continue;
        const struct metallm__llm *llm = &llms->items[m];
        bool is_open = llm->state == METALLM__LLM_ACTIVE ||
                       (llm->state == METALLM__LLM_DRAINING && c->session.model == m);
        if (!is_open || !is_listed(&c->request.hints, llm->name) ||
            !alias_lists(c->name.alias, m) ||
            (v->key != NULL && !metallm__key_allows_model(v->key, llm->name)))
            continue;
        if (!fits(c, llm, why))
            continue;
        allowed[i] = is_well(llm, now) ? 2 : 1;
        able++;
        well += allowed[i] == 2;
    }
    c->spare_count = 0;
    for (uint32_t i = 0; i < c->view->count; i++) {
        if (well > 0 && allowed[i] == 1 && c->spare_count < METALLM__CALL_SPARE_MAX)
            c->spare[c->spare_count++] = model_of(c, c->view->models[i]);
        allowed[i] = well > 0 ? allowed[i] == 2 : allowed[i];
    }
    return able;
}

/* ---- The choice. ---- */

/* The first that is stated: request, key, alias; NaN: the router's own. */
static double first_of(double request, double key, double alias)
{
    return !isnan(request) ? request : !isnan(key) ? key : alias;
}

static struct metallm__brain_seat *seat_of(const struct metallm__chat *c)
{
    const struct metallm__visit *v = &c->visit;
    return metallm__worker_seat(v->worker, v->world->brains[c->name.router], c->router->seed);
}

static void fill_query(struct metallm__chat *c, const uint8_t *allowed,
                       struct metallm__brain_query *q)
{
    const struct metallm__visit *v = &c->visit;
    const struct metallm__wire_hints *h = &c->request.hints;
    const struct metallm__key *key = v->key;
    const struct metallm__config_alias *alias = c->name.alias;
    double cap = !isnan(h->max_cost_usd) ? h->max_cost_usd : 0;
    if (cap <= 0 && key != NULL)
        cap = key->max_cost_usd;
    if (cap <= 0 && alias != NULL)
        cap = alias->max_cost_usd;
    *q = (struct metallm__brain_query){
        .features = c->features,
        .coarse = c->coarse,
        .max_cost_usd = cap,
        .allowed = allowed,
        .input_tokens = c->request.needs.input_tokens,
        .output_max = c->request.needs.output_tokens_max,
        .session = {.model = c->session.model,
                    .context = c->session.context,
                    .age_s = c->session.age_s},
        .now_s = (double)c->time_ms / 1000,
        .rng = &seat_of(c)->rng,
    };
    q->dial = first_of(h->dial, key == NULL ? NAN : key->dial, alias == NULL ? NAN : alias->dial);
    q->target =
        first_of(h->target, key == NULL ? NAN : key->target, alias == NULL ? NAN : alias->target);
    if (!isnan(h->dial)) /* the request's own word replaces the other kind from elsewhere */
        q->target = h->target;
    else if (!isnan(h->target))
        q->dial = NAN;
}

/* The price of money that the key's budget asks, on the estimates that stand. */
static void price_money(struct metallm__chat *c, struct metallm__brain_query *q)
{
    const struct metallm__visit *v = &c->visit;
    if (v->key == NULL || isnan(v->key->budget_usd))
        return;
    double quality[METALLM_MODELS_MAX], cost[METALLM_MODELS_MAX];
    const struct metallm__config_router *r = c->view->router;
    const double dial = isnan(q->dial) ? r->dial : q->dial, scale = c->view->scale_usd;
    const bool has_dial = dial > 0 && scale > 0 && isnan(q->target);
    for (uint32_t i = 0; i < c->view->count; i++) {
        const struct metallm__candidate *m = &c->decision.candidates[i];
        const double charged = has_dial && isfinite(m->cost_usd) ? dial / scale * m->cost_usd : 0;
        quality[i] = q->allowed[i] ? m->quality - charged : NAN;
        cost[i] = m->cost_usd;
    }
    struct metallm__limits *limits = v->worker->shared->limits;
    q->money =
        metallm__limits_money(limits, v->key, quality, cost, c->view->count, (uint64_t)c->time_ms);
    q->usd_left = metallm__limits_left(limits, v->key, (uint64_t)c->time_ms);
    if (q->usd_left <= 0)
        q->usd_left = 1e-12; /* 0 would mean no bound */
}

/* The reason that kept an LLM out, with the name of a member that nobody knows. */
static void write_why(const struct metallm__chat *c, const char *why, char *out, size_t room)
{
    const struct metallm__wire_request *r = &c->request;
    bool is_other = r->has_talk && r->talk.other_name.n > 0 && why != NULL &&
                    strcmp(why, metallm__feature_untold(METALLM__FEATURE_OTHER)) == 0;
    snprintf(out, room, is_other ? "%s ('%.*s')" : "%s%.*s", why == NULL ? "" : why,
             is_other ? (int)(r->talk.other_name.n < 60 ? r->talk.other_name.n : 60) : 0,
             is_other ? r->talk.other_name.p : "");
}

static void refuse_choice(struct metallm__chat *c, int rc, const char *why, metallm_error *err)
{
    char text[METALLM_ERROR_BYTES];
    struct metallm__refusal no = {
        .status = 400, .type = "invalid_request_error", .code = "no_model_fits"};
    if (rc == METALLM_ELIMIT) {
        struct metallm__limit_refusal limit = {.kind = METALLM__LIMIT_BUDGET};
        metallm__metrics_limited(c->visit.worker->shard, (int)limit.kind);
        no = (struct metallm__refusal){
            .status = 429, .type = "insufficient_quota", .code = "insufficient_quota"};
        snprintf(text, sizeof text, "what is left of this key's budget does not pay for any LLM");
    } else if (rc == METALLM_ENOTFOUND) {
        char reason[160];
        write_why(c, why, reason, sizeof reason);
        snprintf(text, sizeof text, "no LLM of '%.60s' may and can answer this request%s%.120s",
                 c->router->name, why == NULL ? "" : ": ", reason);
    } else {
        no.code = NULL;
        no.status = rc == METALLM_EINVAL ? 400 : 500;
        snprintf(text, sizeof text, "%s", err->message);
    }
    metallm__chat_refuse(c, &no, text);
}

/* Reserves what the choice is expected to cost; a fallback that is dearer is booked as it is. */
static bool reserve(struct metallm__chat *c, double usd)
{
    struct metallm__visit *v = &c->visit;
    if (v->key == NULL || isnan(v->key->budget_usd) || c->is_dry)
        return true;
    struct metallm__limit_refusal why = {0};
    int rc = metallm__limits_reserve(v->worker->shared->limits, v->key, isnan(usd) ? 0 : usd,
                                     (uint64_t)c->time_ms, &c->reservation, &why);
    if (rc == METALLM_OK)
        return true;
    metallm__metrics_limited(v->worker->shard, (int)METALLM__LIMIT_BUDGET);
    struct metallm__refusal no = {.status = 429,
                                  .type = "insufficient_quota",
                                  .code = "insufficient_quota",
                                  .retry_after_ms = why.retry_after_ms};
    metallm__chat_refuse(c, &no, "this key's budget for the period is used up");
    return false;
}

static void take_session(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    c->session.model = METALLM__CONFIG_NONE;
    if (c->request.hints.session.n == 0)
        return;
    uint8_t hash[16];
    char text[METALLM__KEY_ID_LEN + METALLM__WIRE_NAME_BYTES_MAX + 2];
    size_t n = (size_t)snprintf(text, sizeof text, "%s/%.*s", v->key == NULL ? "" : v->key->id,
                                (int)c->request.hints.session.n, c->request.hints.session.p);
    metallm__journal_hash(v->worker->shared->journal, text, n, hash);
    memcpy(&c->session_hash, hash, sizeof c->session_hash);
    metallm__sessions_get(v->worker->shared->sessions, c->session_hash, v->world->config,
                          (uint64_t)c->time_ms, &c->session);
}

/* The candidates in the world's numbers, the chosen one first. */
static void take_order(struct metallm__chat *c)
{
    const struct metallm__brain_decision *d = &c->decision;
    bool is_observed = c->router->mode == METALLM__MODE_OBSERVE;
    c->candidate_count = 0;
    if (is_observed) {
        uint32_t m = model_of(c, d->model);
        if (m != METALLM__CONFIG_NONE)
            c->candidates[c->candidate_count++] = m;
        return;
    }
    for (uint32_t i = 0; i < d->order_count; i++) {
        uint32_t m = model_of(c, c->view->models[d->order[i]]);
        if (m != METALLM__CONFIG_NONE && c->candidate_count < METALLM__ASK_CANDIDATES_MAX)
            c->candidates[c->candidate_count++] = m;
    }
    for (uint32_t i = 0; i < c->spare_count; i++)
        if (c->candidate_count < METALLM__ASK_CANDIDATES_MAX)
            c->candidates[c->candidate_count++] = c->spare[i];
}

static bool make_room(struct metallm__chat *c)
{
    size_t n = c->view->count;
    c->room = metallm__alloc(n, sizeof *c->decision.candidates + sizeof *c->decision.order);
    if (c->room == NULL)
        return false;
    c->decision.candidates = c->room;
    c->decision.order = (uint32_t *)(void *)(c->decision.candidates + n);
    return true;
}

static int name_decision(struct metallm__chat *c, metallm_error *err)
{
    const struct metallm__key *key = c->visit.key;
    return metallm__journal_name(c->visit.worker->shared->journal, key == NULL ? "" : key->id,
                                 &c->id, c->id_text, err);
}

static void decide(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    metallm_error err = {0};
    uint8_t allowed[METALLM_MODELS_MAX];
    const char *why = NULL;
    struct metallm__brain_query q;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    uint32_t able = find_allowed(c, allowed, &why);
    int rc = METALLM_ENOTFOUND;
    if (able > 0) {
        fill_query(c, allowed, &q);
        metallm__brain_estimate(c->view, &q, &c->decision);
        price_money(c, &q);
        rc = metallm__brain_decide(c->view, &q, &c->decision, &err);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    const bool is_count = c->request.kind == METALLM__WIRE_COUNT;
    if (rc == METALLM_OK && !is_count)
        rc = name_decision(c, &err);
    if (rc != METALLM_OK) {
        c->decision.order_count = 0;
        refuse_choice(c, rc, why, &err);
        return;
    }
    metallm__metrics_decided(v->worker->shard, (uint64_t)((to.tv_sec - from.tv_sec) * 1000000000L +
                                                          (to.tv_nsec - from.tv_nsec)));
    take_order(c);
    if (is_count && c->candidate_count > 0)
        metallm__chat_count(c, c->candidates[0]);
    else if (c->is_dry)
        metallm__chat_tell(c);
    else if (reserve(c, c->decision.candidates[c->decision.chosen].cost_usd))
        metallm__chat_call(c);
}

/* ---- The vector. ---- */

static uint64_t mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The vector of a tiered router file's cheap encoder; it takes microseconds. */
static bool take_coarse(struct metallm__chat *c)
{
    metallm_encoder *encoder = c->visit.worker->shared->coarse;
    const metallm_router *coarse =
        c->view->file == NULL ? NULL : metallm_router_coarse(c->view->file);
    if (encoder == NULL || coarse == NULL || c->coarse != NULL ||
        strcmp(metallm_router_encoder(coarse), metallm_encoder_id(encoder)) != 0)
        return c->coarse != NULL;
    metallm_layout layout = metallm_encoder_layout(encoder);
    const char *text = c->request.text.p;
    size_t len = c->request.text.n;
    metallm_error err;
    c->coarse = metallm__alloc(metallm_layout_dim(&layout), sizeof *c->coarse);
    if (c->coarse != NULL &&
        metallm_encoder_features(encoder, &text, &len, 1, c->coarse, NULL, &err) == METALLM_OK)
        return true;
    metallm__free(c->coarse);
    c->coarse = NULL;
    return false;
}

/* The encoder failed or was late: the cheap vector serves, or none does. */
static void drop_features(struct metallm__chat *c)
{
    metallm__free(c->features);
    c->features = NULL;
    metallm__metrics_encoded(c->visit.worker->shard,
                             take_coarse(c) ? METALLM__ENCODED_FALLBACK : METALLM__ENCODED_NONE,
                             mono_ns() - c->encode_ns);
}

static void encoded_here(struct metallm__mail *mail)
{
    struct metallm__chat *c =
        (struct metallm__chat *)(void *)((char *)mail - offsetof(struct metallm__chat, mail));
    c->is_encoding = false;
    metallm__timer_stop(c->visit.worker->loop, &c->late);
    if (c->visit.x == NULL) { /* the client has gone meanwhile */
        metallm__chat_release(c);
        return;
    }
    if (c->encoded == METALLM_OK)
        metallm__metrics_encoded(c->visit.worker->shard, METALLM__ENCODED_COMPUTED,
                                 mono_ns() - c->encode_ns);
    else
        drop_features(c);
    decide(c);
}

/* The service looks at deadlines between batches; this one is kept to the millisecond. */
static void encoder_late(struct metallm__timer *timer)
{
    struct metallm__chat *c =
        (struct metallm__chat *)(void *)((char *)timer - offsetof(struct metallm__chat, late));
    if (!metallm_service_cancel(c->visit.worker->shared->service, c->ticket))
        return; /* its answer is under way */
    c->is_encoding = false;
    drop_features(c);
    decide(c);
}

static void encoded_there(void *payload, int status, const metallm_error *err)
{
    (void)err;
    struct metallm__chat *c = payload;
    c->encoded = status;
    metallm__loop_mail(c->visit.worker->loop, &c->mail);
}

/* True: the answer will come by mail. */
static bool submit(struct metallm__chat *c)
{
    struct metallm__shared *s = c->visit.worker->shared;
    uint64_t timeout = c->visit.world->config->encoder.timeout_ms;
    struct metallm_service_request request = {
        .text = c->request.text.p,
        .len = c->request.text.n,
        .out = c->features,
        .deadline_ns = timeout == 0 ? 0 : metallm_service_now_ns(s->service) + timeout * 1000000u,
        .done = encoded_there,
        .payload = c};
    c->mail.deliver = encoded_here;
    bool is_ready = false;
    metallm_error err;
    c->is_encoding = true; /* before: done may run at once, on its thread */
    int rc = metallm_service_submit(s->service, &request, &is_ready, &c->ticket, &err);
    if (rc == METALLM_OK && !is_ready) {
        struct metallm__loop *loop = c->visit.worker->loop;
        c->late.fired = encoder_late;
        if (timeout > 0)
            metallm__timer_set(loop, &c->late, metallm__loop_now(loop) + timeout * 1000000u);
        return true;
    }
    c->is_encoding = false;
    if (rc == METALLM_OK)
        metallm__metrics_encoded(c->visit.worker->shard, METALLM__ENCODED_CACHE,
                                 mono_ns() - c->encode_ns);
    else
        drop_features(c);
    return false;
}

/* An encoder that takes microseconds is asked on the spot. */
static void encode_now(struct metallm__chat *c)
{
    const char *text = c->request.text.p;
    size_t len = c->request.text.n;
    metallm_error err;
    if (metallm_encoder_features(c->visit.worker->shared->encoder, &text, &len, 1, c->features,
                                 NULL, &err) == METALLM_OK)
        metallm__metrics_encoded(c->visit.worker->shard, METALLM__ENCODED_COMPUTED,
                                 mono_ns() - c->encode_ns);
    else
        drop_features(c);
}

/* Cheap first: true where the cheap vector's word is clear enough. */
static bool is_clear(struct metallm__chat *c)
{
    uint8_t allowed[METALLM_MODELS_MAX];
    const char *why = NULL;
    struct metallm__brain_query q;
    if (!c->visit.worker->shared->is_tiered || !take_coarse(c))
        return false;
    if (find_allowed(c, allowed, &why) == 0)
        return true; /* to be refused: no vector is needed for that */
    fill_query(c, allowed, &q);
    if (!metallm__brain_is_clear(c->view, &q))
        return false;
    metallm__metrics_encoded(c->visit.worker->shard, METALLM__ENCODED_FALLBACK,
                             mono_ns() - c->encode_ns);
    return true;
}

static void encode(struct metallm__chat *c)
{
    struct metallm__shared *s = c->visit.worker->shared;
    c->encode_ns = mono_ns();
    if (s->encoder == NULL || c->request.text.n == 0 || is_clear(c)) {
        decide(c);
        return;
    }
    metallm_layout layout = metallm_encoder_layout(s->encoder);
    c->features = metallm__alloc(metallm_layout_dim(&layout), sizeof *c->features);
    if (c->features != NULL && s->service != NULL) {
        if (submit(c))
            return;
    } else if (c->features != NULL) {
        encode_now(c);
    }
    decide(c);
}

/* ---- The LLM was named. ---- */

static bool can_be_said(struct metallm__chat *c, const struct metallm__llm *llm, const char **why)
{
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        if (metallm__deployment_says(&llm->deployments[i], &c->request, why))
            return true;
    return false;
}

static void refuse_unsaid(struct metallm__chat *c, const char *llm, const char *why)
{
    char reason[160], text[METALLM_ERROR_BYTES];
    struct metallm__refusal no = {
        .status = 400, .type = "invalid_request_error", .code = "no_model_fits"};
    write_why(c, why, reason, sizeof reason);
    snprintf(text, sizeof text, "'%.60s' %s", llm, reason);
    metallm__chat_refuse(c, &no, text);
}

static void call_named(struct metallm__chat *c)
{
    struct metallm__visit *v = &c->visit;
    const struct metallm__llm *llm = &v->world->llms->items[c->name.model];
    metallm_error err = {0};
    if (c->is_dry) {
        struct metallm__refusal no = {
            .status = 400, .type = "invalid_request_error", .param = "model"};
        metallm__chat_refuse(c, &no, "'model' names an LLM: there is nothing to decide");
        return;
    }
    const char *why = NULL;
    if (c->request.kind != METALLM__WIRE_COUNT && !can_be_said(c, llm, &why)) {
        refuse_unsaid(c, llm->name, why);
        return;
    }
    if (c->request.kind == METALLM__WIRE_COUNT) {
        metallm__chat_count(c, c->name.model);
        return;
    }
    c->candidates[0] = c->name.model;
    c->candidate_count = 1;
    struct metallm__wire_usage guess = {.input_tokens = c->request.needs.input_tokens,
                                        .output_tokens = c->request.needs.output_tokens_max};
    const struct metallm__price *price = metallm__llm_price(llm, metallm__day_today());
    int rc = name_decision(c, &err);
    if (rc != METALLM_OK) {
        struct metallm__refusal no = {.status = 503, .type = "server_error"};
        metallm__chat_refuse(c, &no, err.message);
    } else if (reserve(c, metallm__price_usage(price, &guess))) {
        metallm__chat_call(c);
    }
}

void metallm__chat_route(struct metallm__chat *c)
{
    take_session(c);
    if (c->router == NULL) {
        call_named(c);
        return;
    }
    struct metallm__brain_seat *seat = seat_of(c);
    c->view = seat == NULL ? NULL : metallm__view_take(metallm__brain_view(seat->reader));
    if (c->view == NULL || !make_room(c)) {
        struct metallm__refusal no = {.status = 503, .type = "server_error"};
        metallm__chat_refuse(c, &no, "no memory for this request");
        return;
    }
    encode(c);
}
