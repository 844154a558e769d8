/* SPDX-License-Identifier: Apache-2.0
 * attempt.c - one HTTP call of a call: what is sent, and what comes back. An answer that is not
 * streamed is kept until it is whole and has proved to be what the protocol promises. */
#include <time.h>

#include "base/error.h"
#include "upstream/ask_internal.h"

#define MS             1000000u
#define HEADERS_MAX    (METALLM__EXTRA_HEADERS_MAX + 24u)
#define PATH_BYTES_MAX (METALLM__URL_BYTES_MAX + 8192u)
/* A text written anew may grow: a control character becomes six bytes. */
#define TRANSLATED_FACTOR 6u

void metallm__attempt_clear(struct metallm__ask *ask)
{
    metallm__wire_out_fini(&ask->out);
    if (ask->is_events)
        metallm__wire_stream_fini(&ask->stream);
    ask->is_events = false;
}

/* ---- What comes back. ---- */

static enum metallm__fault fault_of_status(int status)
{
    switch (status) {
    case 401:
    case 402:
    case 403:
    case 407:
        return METALLM__FAULT_AUTH;
    case 404:
    case 405:
    case 410:
        return METALLM__FAULT_UNKNOWN;
    case 408:
    case 409:
    case 424: /* of Bedrock: the model failed */
    case 425:
        return METALLM__FAULT_SERVER;
    case 429:
        return METALLM__FAULT_RATE;
    default:
        return status >= 500  ? METALLM__FAULT_SERVER
               : status < 400 ? METALLM__FAULT_PROTOCOL /* a redirection is not followed */
                              : METALLM__FAULT_NONE;    /* the client's own */
    }
}

static enum metallm__fault fault_of_failure(enum metallm__http_call_failure why)
{
    switch (why) {
    case METALLM__HTTP_DNS:
        return METALLM__FAULT_DNS;
    case METALLM__HTTP_CONNECT:
        return METALLM__FAULT_CONNECT;
    case METALLM__HTTP_TLS:
        return METALLM__FAULT_TLS;
    case METALLM__HTTP_TIMEOUT_CONNECT:
    case METALLM__HTTP_TIMEOUT_FIRST:
    case METALLM__HTTP_TIMEOUT_GAP:
    case METALLM__HTTP_TIMEOUT_TOTAL:
        return METALLM__FAULT_TIMEOUT;
    case METALLM__HTTP_RESET:
    case METALLM__HTTP_BROKEN:
        return METALLM__FAULT_RESET;
    case METALLM__HTTP_MEMORY:
        return METALLM__FAULT_MEMORY;
    default:
        return METALLM__FAULT_PROTOCOL;
    }
}

static uint64_t retry_after(const struct metallm__ask *ask, struct metallm__headers headers)
{
    uint64_t value = 0;
    const uint64_t most = 86400; /* a day */
    struct metallm__span text = metallm__headers_value(headers, "retry-after-ms");
    if (text.n > 0 && metallm__span_u64(text, &value))
        return (value < most * 1000 ? value : most * 1000) * MS;
    text = metallm__headers_value(headers, "retry-after");
    if (text.n == 0)
        return 0;
    if (metallm__span_u64(text, &value))
        return (value < most ? value : most) * 1000 * MS;
    char date[40];
    struct tm tm = {0};
    if (text.n >= sizeof date)
        return 0;
    memcpy(date, text.p, text.n);
    date[text.n] = '\0';
    if (strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == NULL)
        return 0;
    int64_t seconds = (int64_t)timegm(&tm) - metallm__loop_wall_ms(ask->u->loop) / 1000;
    return seconds <= 0 ? 0 : ((uint64_t)seconds < most ? (uint64_t)seconds : most) * 1000 * MS;
}

static bool begins_nocase(struct metallm__span s, const char *start)
{
    size_t n = strlen(start);
    return s.n >= n && metallm__span_is_nocase(metallm__span(s.p, n), start);
}

static void on_connected(void *owner, bool was_kept)
{
    struct metallm__ask *ask = owner;
    if (!was_kept)
        atomic_fetch_add(&metallm__ask_deployment(ask)->health->connects, 1);
}

static int64_t wall_s(const struct metallm__ask *ask)
{
    return metallm__loop_wall_ms(ask->u->loop) / 1000;
}

/* What the client gets is of this type. */
static void name_type(struct metallm__ask *ask, const char *type)
{
    snprintf(ask->content_type, sizeof ask->content_type, "%s", type);
}

/* The client gets another body than the upstream gave. */
static void put_body(struct metallm__ask *ask, struct metallm__buf *made)
{
    metallm__buf_fini(&ask->body);
    ask->body = *made;
    name_type(ask, "application/json");
}

static void on_head(void *owner, const struct metallm__http_answer *answer)
{
    struct metallm__ask *ask = owner;
    struct metallm__health *h = metallm__ask_deployment(ask)->health;
    const struct metallm__wire *wire = metallm__ask_deployment(ask)->wire;
    struct metallm__span type = metallm__headers_value(answer->headers, "content-type");
    uint64_t ns = metallm__loop_now(ask->u->loop) - ask->attempt_ns;
    atomic_fetch_add(&h->first_byte_us_sum, ns / 1000);
    atomic_fetch_add(&h->first_byte_count, 1);
    ask->status = answer->status;
    size_t n = type.n < sizeof ask->content_type ? type.n : 0;
    memcpy(ask->content_type, n > 0 ? type.p : "", n);
    ask->content_type[n] = '\0';
    metallm__wire_text_copy(ask->error_kind, sizeof ask->error_kind,
                            metallm__headers_value(answer->headers, "x-amzn-errortype"));
    ask->retry_after_ns = answer->status >= 400 ? retry_after(ask, answer->headers) : 0;
    ask->is_events = answer->status / 100 == 2 && ask->request->is_stream &&
                     (type.n == 0 || begins_nocase(type, wire->accept));
    if (!ask->is_events)
        return;
    if (ask->out.is_translated)
        name_type(ask, "text/event-stream");
    metallm__wire_stream_init(&ask->stream, wire, ask->request, &ask->out, wall_s(ask));
    if (ask->is_paused)
        metallm__http_call_pause(ask->http);
}

/* Pieces of a stream go to the client; with the first one there is no way back. */
static int hand_on(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct metallm__ask *ask = payload;
    if (!ask->is_streaming) {
        ask->is_streaming = true;
        ask->first_ns = metallm__loop_now(ask->u->loop);
        ask->events->on_stream(ask->payload, ask->llm, ask->deployment,
                               ask->content_type[0] != '\0' ? ask->content_type : NULL);
    }
    if (!ask->is_cancelled)
        ask->events->on_piece(ask->payload, kind, bytes);
    return ask->is_cancelled ? METALLM_ECANCELED : METALLM_OK;
}

static void cut_http(struct metallm__ask *ask)
{
    if (ask->http != NULL)
        metallm__http_call_cancel(ask->http);
    ask->http = NULL;
}

/* A stream has gone wrong: another one is asked, unless the client has seen a part of it. */
static void break_stream(struct metallm__ask *ask, enum metallm__fault fault, bool was_stale)
{
    cut_http(ask);
    if (!ask->is_streaming) {
        metallm__ask_failed(ask, fault, was_stale);
        return;
    }
    metallm__ask_end_attempt(ask, fault);
    metallm__ask_finish(ask, METALLM__ASK_BROKEN);
}

static enum metallm__fault fault_of_code(int rc)
{
    return rc == METALLM_ENOMEM ? METALLM__FAULT_MEMORY : METALLM__FAULT_GARBAGE;
}

/* true: the client has hung up from within a callback, and the call is gone. */
static bool leave_event(struct metallm__ask *ask)
{
    bool is_gone = ask->is_cancelled;
    ask->is_in_event = false;
    if (is_gone)
        metallm__ask_free(ask);
    return is_gone;
}

static void on_stream_body(struct metallm__ask *ask, struct metallm__span piece)
{
    metallm_error err;
    ask->is_in_event = true;
    int rc = metallm__wire_stream_feed(&ask->stream, piece, hand_on, ask, &err);
    if (!leave_event(ask) && rc != METALLM_OK)
        break_stream(ask, fault_of_code(rc), false);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct metallm__ask *ask = owner;
    if (ask->is_events) {
        on_stream_body(ask, piece);
        return;
    }
    metallm__buf_add(&ask->body, piece.p, piece.n);
    if (!ask->body.failed)
        return;
    cut_http(ask);
    metallm__ask_failed(ask,
                        metallm__buf_check(&ask->body, NULL) == METALLM_ENOMEM
                            ? METALLM__FAULT_MEMORY
                            : METALLM__FAULT_PROTOCOL,
                        false);
}

static void answered(struct metallm__ask *ask)
{
    atomic_fetch_add(&metallm__ask_deployment(ask)->health->answers, 1);
    metallm__ask_end_attempt(ask, METALLM__FAULT_NONE);
    metallm__ask_finish(ask, METALLM__ASK_ANSWERED);
}

static void end_stream(struct metallm__ask *ask)
{
    metallm_error err;
    ask->is_in_event = true;
    int rc = metallm__wire_stream_end(&ask->stream, hand_on, ask, &err);
    if (leave_event(ask))
        return;
    if (rc != METALLM_OK || !ask->is_streaming)
        break_stream(ask, fault_of_code(rc), false);
    else
        answered(ask);
}

/* A stream was asked for, and a whole answer of another protocol came: told as a stream. */
static void stream_whole(struct metallm__ask *ask)
{
    metallm_error err;
    struct metallm__span body = metallm__span(ask->body.data, ask->body.len);
    ask->is_events = ask->is_in_event = true;
    name_type(ask, "text/event-stream");
    metallm__wire_stream_init(&ask->stream, metallm__ask_deployment(ask)->wire, ask->request,
                              &ask->out, wall_s(ask));
    int rc = metallm__wire_stream_whole(&ask->stream, body, hand_on, ask, &err);
    if (leave_event(ask))
        return;
    metallm__buf_clear(&ask->body);
    if (rc != METALLM_OK)
        break_stream(ask, fault_of_code(rc), false);
    else
        answered(ask);
}

static void end_whole(struct metallm__ask *ask)
{
    metallm_error err;
    struct metallm__buf made;
    metallm__buf_init(&made, TRANSLATED_FACTOR * ask->body.max);
    int rc = metallm__wire_answer_in(
        metallm__ask_deployment(ask)->wire, ask->request, ask->out.is_translated,
        metallm__span(ask->body.data, ask->body.len), wall_s(ask), &made, &ask->answer, &err);
    if (rc != METALLM_OK) {
        metallm__buf_fini(&made);
        metallm__ask_failed(ask, fault_of_code(rc), false);
        return;
    }
    if (ask->out.is_translated)
        put_body(ask, &made);
    answered(ask);
}

/* An upstream's refusal, told as the client's surface tells it. */
static void translate_refusal(struct metallm__ask *ask)
{
    struct metallm__buf made;
    const struct metallm__wire_refused refused = {
        .status = (unsigned)ask->status,
        .body = {ask->body.data, ask->body.len},
        .kind = metallm__span_of(ask->error_kind),
    };
    metallm__buf_init(&made, TRANSLATED_FACTOR * ask->body.max);
    metallm__wire_refusal_in(metallm__ask_deployment(ask)->wire, ask->request, &refused, &made);
    put_body(ask, &made);
}

/* Some tell it in the error alone, in place of a header. */
static uint64_t retry_after_body(struct metallm__ask *ask)
{
    struct metallm__wire_error why = {0};
    const uint64_t most = 86400u * 1000u; /* a day */
    metallm__ask_deployment(ask)->wire->error_in(metallm__span(ask->body.data, ask->body.len),
                                                 &why);
    return (why.retry_after_ms < most ? why.retry_after_ms : most) * MS;
}

static void on_end(void *owner)
{
    struct metallm__ask *ask = owner;
    ask->http = NULL;
    if (ask->is_events) {
        end_stream(ask);
        return;
    }
    if (ask->status / 100 == 2) {
        if (ask->out.is_translated && ask->request->is_stream)
            stream_whole(ask);
        else
            end_whole(ask);
        return;
    }
    enum metallm__fault fault = fault_of_status(ask->status);
    if (fault != METALLM__FAULT_NONE) {
        if (ask->retry_after_ns == 0 && (ask->status == 429 || ask->status == 503))
            ask->retry_after_ns = retry_after_body(ask);
        metallm__ask_failed(ask, fault, false);
        return;
    }
    if (ask->out.is_translated)
        translate_refusal(ask);
    metallm__ask_end_attempt(ask, METALLM__FAULT_NONE);
    metallm__ask_finish(ask, METALLM__ASK_REFUSED);
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct metallm__ask *ask = owner;
    ask->http = NULL;
    if (ask->is_events && ask->stream.is_done) /* all that matters was there */
        answered(ask);
    else
        break_stream(ask, fault_of_failure(fault->why), fault->was_stale);
}

/* ---- What is sent. ---- */

static uint64_t least_ns(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool is_among(struct metallm__headers headers, struct metallm__span name)
{
    for (size_t i = 0; i < headers.count; i++)
        if (headers.at[i].name.n == name.n &&
            strncasecmp(headers.at[i].name.p, name.p, name.n) == 0)
            return true;
    return false;
}

/* Header lines that stand for this request alone. */
static int sign(const struct metallm__ask *ask, const struct metallm__deployment *d,
                struct metallm__buf *lines, struct metallm__header *headers, size_t *count,
                metallm_error *err)
{
    int64_t now_ms = metallm__loop_wall_ms(ask->u->loop);
    struct metallm__wire_target target = d->target;
    struct metallm__aws_copy aws;
    metallm__buf_init(lines, 65536);
    if (d->wire->is_head_static)
        return METALLM_OK;
    if (d->aws != NULL) {
        int rc = metallm__aws_credentials_copy(d->aws, now_ms / 1000, &aws, err);
        if (rc != METALLM_OK)
            return rc;
        target.aws = aws.keys;
    }
    int rc = d->wire->head_out(&target, &ask->out, now_ms, lines, err);
    if (d->aws != NULL)
        metallm__aws_copy_wipe(&aws);
    struct metallm__span rest = metallm__span(lines->data, lines->len);
    struct metallm__headers own = {d->headers, d->header_count};
    while (rc == METALLM_OK && *count < HEADERS_MAX &&
           metallm__header_line(&rest, &headers[*count]))
        *count += !is_among(own, headers[*count].name); /* the config's own wins */
    return rc;
}

static size_t append_headers(struct metallm__header *to, size_t count,
                             const struct metallm__header *from, size_t more)
{
    for (size_t i = 0; i < more && count < HEADERS_MAX; i++)
        to[count++] = from[i];
    return count;
}

static int send_request(struct metallm__ask *ask, const struct metallm__deployment *d,
                        metallm_error *err)
{
    static const struct metallm__http_call_events events = {on_connected, on_head, on_body, on_end,
                                                            on_failed};
    struct metallm__header headers[HEADERS_MAX];
    struct metallm__buf lines;
    char path[PATH_BYTES_MAX];
    uint64_t now = metallm__loop_now(ask->u->loop);
    uint64_t left = ask->deadline_ns > now ? ask->deadline_ns - now : 1;
    size_t count = append_headers(headers, 0, d->headers, d->header_count);
    count = append_headers(headers, count, ask->headers.at, ask->headers.count);
    int n = snprintf(path, sizeof path, "%s%.*s", d->path, (int)ask->out.path.n, ask->out.path.p);
    if (n < 0 || (size_t)n >= sizeof path)
        return metallm__error_set(err, METALLM_EINVAL, "the path is too long");
    int rc = sign(ask, d, &lines, headers, &count, err);
    const struct metallm__http_call_options o = {
        .origin = metallm__ask_seat(ask)->origin,
        .method = METALLM__POST,
        .target = {path, (size_t)n},
        .headers = {headers, count},
        .body = ask->out.spans,
        .body_count = ask->out.span_count,
        .fresh = ask->is_fresh,
        .connect_ns = least_ns((uint64_t)d->connect_ms * MS, left),
        .first_ns = least_ns((uint64_t)d->first_byte_ms * MS, left),
        .gap_ns = least_ns((uint64_t)d->idle_ms * MS, left),
        .total_ns = least_ns((uint64_t)d->total_ms * MS, left),
    };
    if (rc == METALLM_OK)
        rc = metallm__http_call_start(&ask->http, &o, &events, ask, err);
    if (lines.data != NULL)
        explicit_bzero(lines.data, lines.len);
    metallm__buf_fini(&lines);
    return rc;
}

int metallm__attempt_begin(struct metallm__ask *ask, metallm_error *err)
{
    const struct metallm__deployment *d = metallm__ask_deployment(ask);
    ask->status = 0;
    ask->content_type[0] = '\0';
    ask->retry_after_ns = 0;
    metallm__buf_clear(&ask->body);
    int rc = metallm__wire_request_out(d->wire, ask->request, &d->target, &ask->out, err);
    return rc == METALLM_OK ? send_request(ask, d, err) : rc;
}
