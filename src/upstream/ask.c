/* SPDX-License-Identifier: Apache-2.0
 * ask.c - see ask.h: the way of a call from attempt to attempt, and its end. Users' callbacks are
 * called from the loop alone: what ends within a function of the header is told by a timer. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "upstream/ask_internal.h"

#define MS 1000000u

static uint64_t now_of(const struct metallm__ask *ask)
{
    return metallm__loop_now(ask->u->loop);
}

/* ---- Attempts, one after the other. ---- */

/* What is known of the attempt goes into the record, the breaker and the counters. */
void metallm__ask_end_attempt(struct metallm__ask *ask, enum metallm__fault fault)
{
    struct metallm__health *h = metallm__ask_deployment(ask)->health;
    uint64_t now = now_of(ask);
    bool is_ours = fault == METALLM__FAULT_BUSY || fault == METALLM__FAULT_MEMORY ||
                   fault == METALLM__FAULT_EXPRESSION;
    bool is_held = fault == METALLM__FAULT_RATE || ask->status == 503;
    if (fault == METALLM__FAULT_NONE)
        metallm__health_success(h, now);
    else if (is_held && ask->retry_after_ns > 0)
        metallm__health_hold(h, now, ask->retry_after_ns);
    else if (!is_ours)
        metallm__health_fault(h, now, metallm__rng_uniform(&ask->u->rng));
    else if (ask->is_probe)
        metallm__health_forget(h);
    ask->is_probe = false;
    atomic_fetch_add(&h->faults[fault], fault != METALLM__FAULT_NONE);
    if (ask->attempt_count < METALLM__ASK_ATTEMPTS_MAX)
        ask->attempts[ask->attempt_count++] =
            (struct metallm__attempt){.llm = ask->llm,
                                      .deployment = ask->deployment,
                                      .fault = fault,
                                      .status = (unsigned)ask->status,
                                      .ms = (float)((double)(now - ask->attempt_ns) / 1e6)};
    ask->fault = fault;
    metallm__slot_give(ask);
}

/* Ends by the timer, because the caller may be within metallm__ask_start. */
static void fail_soon(struct metallm__ask *ask)
{
    ask->phase = METALLM__PHASE_FAILING;
    metallm__timer_set(ask->u->loop, &ask->timer, now_of(ask) + 1);
}

static void give_up_here(struct metallm__ask *ask)
{
    ask->tried |= 1ull << ask->deployment;
}

/* No slot in time, or no room in the queue: nothing was sent. */
static void pass_over_busy(struct metallm__ask *ask)
{
    ask->attempt_ns = now_of(ask);
    ask->status = 0;
    metallm__ask_end_attempt(ask, METALLM__FAULT_BUSY);
    give_up_here(ask);
}

void metallm__ask_advance(struct metallm__ask *ask)
{
    ask->phase = METALLM__PHASE_IDLE;
    while (ask->attempt_count < ask->u->options.attempts_max && now_of(ask) < ask->deadline_ns &&
           metallm__ask_pick(ask)) {
        ask->is_fresh = ask->is_stale_retried = false;
        if (metallm__slot_take(ask)) {
            metallm__ask_go(ask);
            return;
        }
        if (metallm__slot_wait(ask) == METALLM_OK)
            return;
        pass_over_busy(ask);
    }
    fail_soon(ask);
}

void metallm__ask_go(struct metallm__ask *ask)
{
    struct metallm__health *h = metallm__ask_deployment(ask)->health;
    atomic_fetch_add(&h->requests, 1);
    atomic_fetch_add(&h->retries, ask->attempt_count > 0);
    ask->attempt_ns = now_of(ask);
    ask->phase = METALLM__PHASE_CALLING;
    int rc = metallm__attempt_begin(ask, &ask->untold);
    if (rc == METALLM_ENOMEM)
        metallm__ask_failed(ask, METALLM__FAULT_MEMORY, false);
    else if (rc == METALLM_ENOTFOUND) /* nothing to sign with */
        metallm__ask_failed(ask, METALLM__FAULT_AUTH, false);
    else if (rc != METALLM_OK)
        metallm__ask_failed(ask, METALLM__FAULT_EXPRESSION, false);
}

static bool is_passing(enum metallm__fault fault) /* may it be gone on the next try? */
{
    return fault == METALLM__FAULT_DNS || fault == METALLM__FAULT_CONNECT ||
           fault == METALLM__FAULT_RESET || fault == METALLM__FAULT_PROTOCOL ||
           fault == METALLM__FAULT_GARBAGE || fault == METALLM__FAULT_RATE ||
           fault == METALLM__FAULT_SERVER;
}

/* backoff 2^k, spread over 50-100 %, or what the upstream asked for if that is longer. */
static uint64_t backoff(struct metallm__ask *ask)
{
    const struct metallm__upstream_options *o = &ask->u->options;
    uint64_t ms = o->backoff_ms, most = (uint64_t)o->backoff_max_ms * MS;
    for (unsigned i = 0; i < ask->backoffs && ms < o->backoff_max_ms; i++)
        ms *= 2;
    double u = metallm__rng_uniform(&ask->u->rng);
    uint64_t ns = (uint64_t)((double)ms * MS * (0.5 + 0.5 * u));
    ns = ns < most ? ns : most;
    ask->backoffs++;
    return ns > ask->retry_after_ns ? ns : ask->retry_after_ns;
}

/* Whether, and when, to try the same deployment again. An upstream that asks for patience gets it
 * where there is no other. */
static bool retries_here(struct metallm__ask *ask, enum metallm__fault fault, uint64_t *delay)
{
    const struct metallm__upstream_options *o = &ask->u->options;
    if (!is_passing(fault) || ask->tries_here > o->retries_max ||
        ask->attempt_count >= o->attempts_max)
        return false;
    bool is_held = fault == METALLM__FAULT_RATE || ask->retry_after_ns > 0;
    if (is_held &&
        (ask->retry_after_ns > (uint64_t)o->backoff_max_ms * MS || metallm__ask_has_other(ask)))
        return false;
    *delay = backoff(ask);
    return *delay < ask->deadline_ns - now_of(ask);
}

void metallm__ask_failed(struct metallm__ask *ask, enum metallm__fault fault, bool was_stale)
{
    uint64_t delay = 0, now = now_of(ask);
    metallm__attempt_clear(ask);
    if (was_stale && !ask->is_stale_retried) { /* a kept connection had been closed: no fault */
        ask->is_stale_retried = ask->is_fresh = true;
        metallm__ask_go(ask);
        return;
    }
    if (now >= ask->deadline_ns && fault != METALLM__FAULT_NONE)
        fault = METALLM__FAULT_TIMEOUT;
    metallm__ask_end_attempt(ask, fault);
    ask->tries_here++;
    if (now < ask->deadline_ns && retries_here(ask, fault, &delay)) {
        ask->phase = METALLM__PHASE_BACKOFF;
        metallm__timer_set(ask->u->loop, &ask->timer, now + delay + 1);
        return;
    }
    give_up_here(ask);
    metallm__ask_advance(ask);
}

/* The pause is over: the same one again, if its breaker still lets it. */
static void try_again(struct metallm__ask *ask)
{
    struct metallm__health *h = metallm__ask_deployment(ask)->health;
    ask->phase = METALLM__PHASE_IDLE;
    if (!metallm__health_pass(h, now_of(ask), &ask->is_probe)) {
        ask->is_open_seen = true;
    } else if (metallm__slot_take(ask)) {
        metallm__ask_go(ask);
        return;
    } else if (metallm__slot_wait(ask) == METALLM_OK) {
        return;
    } else {
        pass_over_busy(ask);
    }
    give_up_here(ask);
    metallm__ask_advance(ask);
}

static void timer_fired(struct metallm__timer *timer)
{
    struct metallm__ask *ask =
        (struct metallm__ask *)(void *)((char *)timer - offsetof(struct metallm__ask, timer));
    if (ask->phase == METALLM__PHASE_BACKOFF) {
        try_again(ask);
    } else if (ask->phase == METALLM__PHASE_SLOT) {
        metallm__slot_leave(ask);
        pass_over_busy(ask);
        metallm__ask_advance(ask);
    } else if (ask->phase == METALLM__PHASE_FAILING) {
        metallm__ask_finish(ask, METALLM__ASK_FAILED);
    }
}

/* ---- The end. ---- */

static bool has_only(const struct metallm__ask *ask, enum metallm__fault fault)
{
    for (unsigned i = 0; i < ask->attempt_count; i++)
        if (ask->attempts[i].fault != fault)
            return false;
    return ask->attempt_count > 0;
}

/* What the client is told when nobody answered. */
static unsigned failed_status(const struct metallm__ask *ask)
{
    if (now_of(ask) >= ask->deadline_ns || ask->fault == METALLM__FAULT_TIMEOUT)
        return 504;
    if (has_only(ask, METALLM__FAULT_RATE))
        return 429;
    if (has_only(ask, METALLM__FAULT_EXPRESSION))
        return 400;
    if (ask->attempt_count == 0 || ask->fault == METALLM__FAULT_BUSY ||
        ask->fault == METALLM__FAULT_MEMORY)
        return 503;
    return 502;
}

static void say(struct metallm__ask *ask)
{
    const struct metallm__llms *llms = ask->binding->llms;
    const char *name = llms->items[ask->llm].name;
    if (ask->attempt_count == 0) {
        snprintf(
            ask->message, sizeof ask->message, "no LLM is to be had now (%s)",
            metallm__fault_name(ask->is_open_seen ? METALLM__FAULT_OPEN : METALLM__FAULT_NONE));
        return;
    }
    if (ask->fault == METALLM__FAULT_EXPRESSION && ask->untold.message[0] != '\0') {
        snprintf(ask->message, sizeof ask->message, "%s", ask->untold.message);
        return;
    }
    const struct metallm__attempt *last = &ask->attempts[ask->attempt_count - 1];
    char status[32] = "";
    if (last->status != 0)
        snprintf(status, sizeof status, ", status %u", last->status);
    snprintf(ask->message, sizeof ask->message, "'%.64s' failed: %s%s (attempt %u)", name,
             metallm__fault_name(last->fault), status, ask->attempt_count);
}

static void settle(struct metallm__ask *ask, struct metallm__ask_result *r)
{
    const struct metallm__llm *llm = &ask->binding->llms->items[ask->llm];
    uint64_t wait = r->end == METALLM__ASK_FAILED ? metallm__ask_wait(ask) : 0;
    r->retry_after_ms = r->status == 429 || r->status == 503 ? (wait + MS - 1) / MS : 0;
    if (r->end == METALLM__ASK_ANSWERED || r->end == METALLM__ASK_BROKEN) {
        metallm__wire_answer_settle(&r->answer, ask->request);
        r->cost_usd = metallm__price_usage(metallm__llm_price(llm, ask->day), &r->answer.usage);
    }
}

void metallm__ask_finish(struct metallm__ask *ask, enum metallm__ask_end end)
{
    uint64_t now = now_of(ask);
    if (end == METALLM__ASK_FAILED || end == METALLM__ASK_BROKEN)
        say(ask);
    if (ask->first_ns == 0 && end != METALLM__ASK_FAILED)
        ask->first_ns = now;
    struct metallm__ask_result r = {
        .end = end,
        .status = end == METALLM__ASK_FAILED ? failed_status(ask) : (unsigned)ask->status,
        .llm = ask->llm,
        .deployment = ask->deployment,
        .attempts = ask->attempts,
        .attempt_count = ask->attempt_count,
        .content_type = ask->content_type[0] != '\0' ? ask->content_type : NULL,
        .body = &ask->body,
        .answer = ask->is_events ? ask->stream.answer : ask->answer,
        .dropped = ask->out.dropped,
        .first_ms = ask->first_ns > 0 ? (double)(ask->first_ns - ask->started_ns) / 1e6 : NAN,
        .total_ms = (double)(now - ask->started_ns) / 1e6,
        .message = ask->message[0] != '\0' ? ask->message : NULL,
    };
    settle(ask, &r);
    ask->is_in_event = true;
    ask->events->on_done(ask->payload, &r);
    metallm__ask_free(ask);
}

void metallm__ask_free(struct metallm__ask *ask)
{
    struct metallm__upstream *u = ask->u;
    if (ask->phase == METALLM__PHASE_SLOT)
        metallm__slot_leave(ask);
    if (ask->http != NULL)
        metallm__http_call_cancel(ask->http);
    ask->http = NULL;
    if (ask->is_probe) /* it told nothing: the next one may */
        metallm__health_forget(metallm__ask_deployment(ask)->health);
    metallm__slot_give(ask);
    metallm__timer_stop(u->loop, &ask->timer);
    metallm__attempt_clear(ask);
    metallm__buf_fini(&ask->body);
    *ask->link = ask->next;
    if (ask->next != NULL)
        ask->next->link = ask->link;
    metallm__binding_put(u, ask->binding);
    metallm__free(ask);
}

/* ---- The header's functions. ---- */

int metallm__ask_start(struct metallm__ask **out, struct metallm__upstream *u,
                       const struct metallm__ask_options *o, metallm_error *err)
{
    METALLM_REQUIRE(o->candidate_count >= 1);
    struct metallm__ask *ask = metallm__calloc(1, sizeof *ask);
    if (ask == NULL)
        return metallm__error_nomem(err, "a call");
    int rc = metallm__binding_get(&ask->binding, u, o->llms, err);
    if (rc != METALLM_OK) {
        metallm__free(ask);
        return rc;
    }
    ask->u = u;
    ask->candidate_count = o->candidate_count < METALLM__ASK_CANDIDATES_MAX
                               ? o->candidate_count
                               : METALLM__ASK_CANDIDATES_MAX;
    memcpy(ask->candidates, o->candidates, ask->candidate_count * sizeof *ask->candidates);
    for (unsigned i = 0; i < ask->candidate_count; i++)
        METALLM_REQUIRE(ask->candidates[i] < o->llms->count);
    ask->llm = ask->candidates[0];
    ask->request = o->request;
    ask->headers = o->headers;
    ask->day = o->day;
    ask->events = o->events;
    ask->payload = o->payload;
    ask->started_ns = metallm__loop_now(u->loop);
    ask->deadline_ns = o->total_ms != 0 ? ask->started_ns + (uint64_t)o->total_ms * MS : UINT64_MAX;
    ask->timer.fired = timer_fired;
    metallm__buf_init(&ask->body, u->options.answer_bytes_max);
    metallm__wire_answer_clear(&ask->answer);
    ask->next = u->asks;
    ask->link = &u->asks;
    if (u->asks != NULL)
        u->asks->link = &ask->next;
    u->asks = ask;
    metallm__ask_advance(ask);
    *out = ask;
    return METALLM_OK;
}

void metallm__ask_cancel(struct metallm__ask *ask)
{
    if (ask->is_in_event) /* the event's function frees it */
        ask->is_cancelled = true;
    else
        metallm__ask_free(ask);
}

uint64_t metallm__ask_dropped(const struct metallm__ask *ask)
{
    return ask->out.dropped;
}

void metallm__ask_pause(struct metallm__ask *ask)
{
    if (!ask->is_paused && ask->http != NULL && ask->is_events)
        metallm__http_call_pause(ask->http);
    ask->is_paused = true;
}

void metallm__ask_resume(struct metallm__ask *ask)
{
    if (ask->is_paused && ask->http != NULL && ask->is_events)
        metallm__http_call_resume(ask->http);
    ask->is_paused = false;
}
