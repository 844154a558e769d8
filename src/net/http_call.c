/* SPDX-License-Identifier: Apache-2.0
 * http_call.c - one call: a link from the pool or a new one, the request in one write, the answer
 * handed on as it comes, one timer for four timeouts, and one end. */
#include "base/error.h"
#include "net/http_client_internal.h"

#define CONNECT_NS UINT64_C(10000000000)

/* ---- Time ---- */
static void set_timer(struct metallm__http_call *call)
{
    uint64_t due = call->phase_due;
    if (due == 0 || (call->total_due != 0 && call->total_due < due))
        due = call->total_due;
    if (due != 0)
        metallm__timer_set(call->pool->loop, &call->timer, due);
    else
        metallm__timer_stop(call->pool->loop, &call->timer);
}

static void set_phase(struct metallm__http_call *call, enum call_phase phase, uint64_t wait_ns)
{
    call->phase = phase;
    call->phase_due = wait_ns == 0 ? 0 : metallm__loop_now(call->pool->loop) + wait_ns;
    set_timer(call);
}

/* ---- The end ---- */
/* Takes the link away from the call; is_reusable: an answer was whole, and nothing is behind it. */
static void leave_link(struct metallm__http_call *call, bool is_reusable)
{
    struct metallm__http_link *l = call->via;
    call->via = NULL;
    if (l == NULL)
        return;
    l->call = NULL;
    if (!is_reusable || metallm__stream_queued(l->stream) > 0) { /* a part of the request waits */
        metallm__http_link_close(l);
        return;
    }
    if (call->is_paused)
        metallm__stream_resume(l->stream);
    metallm__http_link_keep(l);
}

static void finish(struct metallm__http_call *call)
{
    if (call->is_feeding)
        call->is_cancelled = true; /* feed gives it back */
    else
        metallm__http_call_give(call);
}

static void fail(struct metallm__http_call *call, enum metallm__http_call_failure why,
                 const char *message)
{
    struct metallm__http_call_fault fault = {.why = why, .message = message};
    fault.was_sent = call->phase != CALL_CONNECT;
    fault.was_stale = call->was_kept && why == METALLM__HTTP_RESET && call->phase == CALL_WAIT;
    metallm__pool_count(&call->pool->counts.failed[why], 1);
    metallm__timer_stop(call->pool->loop, &call->timer);
    leave_link(call, false);
    call->events->failed(call->owner, &fault);
    finish(call);
}

void metallm__http_call_on_timer(struct metallm__timer *timer)
{
    struct metallm__http_call *call =
        (void *)((char *)timer - offsetof(struct metallm__http_call, timer));
    uint64_t now = metallm__loop_now(call->pool->loop);
    if (call->total_due != 0 && now >= call->total_due)
        fail(call, METALLM__HTTP_TIMEOUT_TOTAL, "the answer was not whole in time");
    else if (call->phase == CALL_WAIT)
        fail(call, METALLM__HTTP_TIMEOUT_FIRST, "no answer in time");
    else if (call->phase == CALL_ANSWER && !call->is_paused)
        fail(call, METALLM__HTTP_TIMEOUT_GAP, "the answer stopped coming");
}

void metallm__http_call_ended(struct metallm__http_call *call, enum metallm__stream_end end,
                              const char *why)
{
    static const enum metallm__http_call_failure kinds[] = {
        [METALLM__END_CLOSED] = METALLM__HTTP_RESET,
        [METALLM__END_RESET] = METALLM__HTTP_RESET,
        [METALLM__END_DNS] = METALLM__HTTP_DNS,
        [METALLM__END_CONNECT] = METALLM__HTTP_CONNECT,
        [METALLM__END_TIMEOUT] = METALLM__HTTP_TIMEOUT_CONNECT,
        [METALLM__END_TLS] = METALLM__HTTP_TLS,
        [METALLM__END_LIMIT] = METALLM__HTTP_MEMORY,
        [METALLM__END_MEMORY] = METALLM__HTTP_MEMORY,
    };
    enum metallm__http_call_failure kind = kinds[end];
    if (call->phase == CALL_ANSWER && kind == METALLM__HTTP_RESET)
        kind = METALLM__HTTP_BROKEN;
    fail(call, kind, why);
}

/* ---- The answer ---- */
static bool on_head(void *owner, const struct metallm__http_answer *answer)
{
    struct metallm__http_call *call = owner;
    if (call->was_kept && call->events->connected != NULL)
        call->events->connected(call->owner, true);
    if (!call->is_cancelled)
        call->events->head(call->owner, answer);
    return !call->is_cancelled;
}

static bool on_body(void *owner, struct metallm__span piece)
{
    struct metallm__http_call *call = owner;
    call->events->body(call->owner, piece);
    return !call->is_cancelled;
}

/* Whole or faulty? taken_all: nothing stands behind what the parser took. */
static void judge(struct metallm__http_call *call, bool taken_all)
{
    struct metallm__answer_parser *p = &call->parser;
    if (p->phase == METALLM__ANSWER_DONE) {
        metallm__timer_stop(call->pool->loop, &call->timer);
        leave_link(call, p->keep_alive && taken_all);
        call->events->end(call->owner);
        metallm__http_call_give(call);
    } else if (p->phase == METALLM__ANSWER_FAULTY) {
        fail(call, p->fault, p->message);
    }
}

void metallm__http_call_bytes(struct metallm__http_call *call, struct metallm__span in)
{
    if (call->phase == CALL_CONNECT)
        return; /* cannot be: nothing is read before it is open */
    call->is_feeding = true;
    size_t used = metallm__answer_parser_feed(&call->parser, in);
    call->is_feeding = false;
    if (call->is_cancelled) {
        metallm__http_call_give(call);
        return;
    }
    if (call->parser.phase < METALLM__ANSWER_DONE && call->parser.phase > METALLM__ANSWER_NONE)
        set_phase(call, CALL_ANSWER, call->is_paused ? 0 : call->gap_ns);
    judge(call, used == in.n);
}

void metallm__http_call_eof(struct metallm__http_call *call)
{
    struct metallm__http_link *l = call->via;
    if (!metallm__stream_eof_is_clean(l->stream) && call->parser.phase == METALLM__ANSWER_BODY) {
        fail(call, METALLM__HTTP_BROKEN, "TLS was cut within the answer");
        return;
    }
    call->is_feeding = true;
    metallm__answer_parser_eof(&call->parser);
    call->is_feeding = false;
    judge(call, false);
}

/* ---- The request ---- */
static void nothing_to_release(void *arg)
{
    (void)arg;
}

static void send_request(struct metallm__http_call *call)
{
    static const struct metallm__hold hold = {nothing_to_release, NULL};
    struct metallm__span spans[METALLM__HTTP_SPANS_MAX + 1];
    size_t bytes = call->head.len;
    spans[0] = metallm__span(call->head.data, call->head.len);
    for (size_t i = 0; i < call->body_count; i++) {
        spans[i + 1] = call->body[i];
        bytes += call->body[i].n;
    }
    metallm__pool_count(&call->pool->counts.bytes_out, bytes);
    set_phase(call, CALL_WAIT, call->first_ns);
    /* Head and body lie in the call's and the caller's memory until the call ends, and with the
     * call ends its link, if anything of it is still queued. */
    metallm__stream_write_mixed(call->via->stream, spans, call->body_count + 1, 0, &hold);
}

void metallm__http_call_opened(struct metallm__http_call *call)
{
    if (call->events->connected != NULL) {
        call->is_feeding = true;
        call->events->connected(call->owner, false);
        call->is_feeding = false;
        if (call->is_cancelled) {
            metallm__http_call_give(call);
            return;
        }
    }
    send_request(call);
}

static void put(struct metallm__buf *b, const char *text)
{
    metallm__buf_puts(b, text);
}

static void put_span(struct metallm__buf *b, struct metallm__span s)
{
    metallm__buf_add(b, s.p, s.n);
}

static bool is_sound_target(struct metallm__span t)
{
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i] <= 0x20 || t.p[i] >= 0x7f)
            return false;
    return t.n > 0 && t.p[0] == '/';
}

static int make_head(struct metallm__http_call *call, const struct metallm__http_call_options *o,
                     metallm_error *err)
{
    struct metallm__buf *b = &call->head;
    uint64_t length = 0;
    if (!is_sound_target(o->target))
        return metallm__error_set(err, METALLM_EINVAL, "a request target that is no path");
    put(b, metallm__method_name(o->method));
    metallm__buf_add(b, " ", 1);
    put_span(b, o->target);
    put(b, " HTTP/1.1\r\nHost: ");
    put(b, o->origin->host_header);
    for (size_t i = 0; i < o->headers.count; i++) {
        const struct metallm__header *h = &o->headers.at[i];
        if (metallm__header_is_hop(h->name) || metallm__span_is_nocase(h->name, "host"))
            continue;
        if (!metallm__header_is_sound(h))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "a request header with characters that cannot be sent");
        metallm__buf_add(b, "\r\n", 2);
        put_span(b, h->name);
        metallm__buf_add(b, ": ", 2);
        put_span(b, h->value);
    }
    for (size_t i = 0; i < o->body_count; i++) {
        if (o->body[i].n > INT32_MAX)
            return metallm__error_set(err, METALLM_EINVAL, "a request body over 2 GiB");
        length += o->body[i].n;
    }
    if (length > 0 || o->method == METALLM__POST || o->method == METALLM__PUT ||
        o->method == METALLM__PATCH) {
        put(b, "\r\nContent-Length: ");
        metallm__http_put_number(b, length);
    }
    metallm__buf_add(b, "\r\n\r\n", 4);
    return metallm__buf_check(b, err);
}

static void prepare(struct metallm__http_call *call, const struct metallm__http_call_options *o)
{
    uint64_t now = metallm__loop_now(call->pool->loop);
    metallm__answer_parser_reset(&call->parser, o->method == METALLM__HEAD,
                                 call->pool->opts.head_bytes, call->pool->opts.headers);
    call->parser.on_head = on_head;
    call->parser.on_body = on_body;
    call->parser.owner = call;
    call->body_count = o->body_count;
    for (size_t i = 0; i < o->body_count; i++)
        call->body[i] = o->body[i];
    call->is_paused = call->is_feeding = call->is_cancelled = false;
    call->first_ns = o->first_ns;
    call->gap_ns = o->gap_ns;
    call->total_due = o->total_ns == 0 ? 0 : now + o->total_ns;
}

int metallm__http_call_start(struct metallm__http_call **out,
                             const struct metallm__http_call_options *opts,
                             const struct metallm__http_call_events *events, void *owner,
                             metallm_error *err)
{
    struct metallm__origin *origin = opts->origin;
    METALLM_REQUIRE(opts->body_count <= METALLM__HTTP_SPANS_MAX);
    struct metallm__http_call *call = metallm__http_call_take(origin->pool);
    if (call == NULL)
        return metallm__error_nomem(err, "a call");
    metallm__origin_hold(origin);
    call->origin = origin;
    call->events = events;
    call->owner = owner;
    int rc = make_head(call, opts, err);
    if (rc == METALLM_OK) {
        prepare(call, opts);
        set_phase(call, CALL_CONNECT, 0);
        call->via = opts->fresh ? NULL : metallm__http_link_take(origin);
        call->was_kept = call->via != NULL;
        if (call->was_kept)
            call->via->call = call;
        else
            call->via = metallm__http_link_open(call, opts->connect_ns != 0 ? opts->connect_ns
                                                                            : CONNECT_NS);
        if (call->via == NULL)
            rc = metallm__error_nomem(err, "a connection");
    }
    if (rc != METALLM_OK) {
        metallm__http_call_give(call);
        return rc;
    }
    metallm__pool_count(&call->pool->counts.calls, 1);
    *out = call;
    if (call->was_kept) {
        metallm__pool_count(&call->pool->counts.reuses, 1);
        send_request(call);
    }
    return METALLM_OK;
}

void metallm__http_call_pause(struct metallm__http_call *call)
{
    if (call->is_paused || call->via == NULL)
        return;
    call->is_paused = true;
    metallm__stream_pause(call->via->stream);
    if (call->phase == CALL_ANSWER)
        set_phase(call, CALL_ANSWER, 0);
}

void metallm__http_call_resume(struct metallm__http_call *call)
{
    if (!call->is_paused || call->via == NULL)
        return;
    call->is_paused = false;
    metallm__stream_resume(call->via->stream);
    if (call->phase == CALL_ANSWER)
        set_phase(call, CALL_ANSWER, call->gap_ns);
}

void metallm__http_call_cancel(struct metallm__http_call *call)
{
    metallm__timer_stop(call->pool->loop, &call->timer);
    leave_link(call, false);
    finish(call);
}
