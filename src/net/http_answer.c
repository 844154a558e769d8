/* SPDX-License-Identifier: Apache-2.0
 * http_answer.c - llhttp's callbacks for answers, and the checks of RFC 9112, 6.3. */
#include "net/http_answer.h"

#define HEAD_KEEP     8192u
#define ODD_BYTES_MAX 65536u

static int fail(struct metallm__answer_parser *p, enum metallm__http_call_failure fault,
                const char *message)
{
    if (p->phase < METALLM__ANSWER_DONE) {
        p->phase = METALLM__ANSWER_FAULTY;
        p->fault = fault;
        p->message = message;
    }
    return HPE_USER;
}

static int fail_head(struct metallm__answer_parser *p, enum metallm__head_fault fault)
{
    switch (fault) {
    case METALLM__HEAD_TOO_LARGE:
        return fail(p, METALLM__HTTP_TOO_LARGE, "the answer's head is too large");
    case METALLM__HEAD_NO_MEMORY:
        return fail(p, METALLM__HTTP_MEMORY, "no memory for the answer's head");
    case METALLM__HEAD_OK:
        break;
    }
    return 0;
}

static int odd_bytes(struct metallm__answer_parser *p, size_t n)
{
    p->odd_bytes += n;
    if (p->odd_bytes <= ODD_BYTES_MAX)
        return 0;
    return fail(p, METALLM__HTTP_TOO_LARGE, "chunk extensions or trailers are too large");
}

static int on_begin(llhttp_t *http)
{
    struct metallm__answer_parser *p = http->data;
    metallm__head_reset(&p->head, HEAD_KEEP);
    return 0;
}

static int on_name(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__answer_parser *p = http->data;
    if (p->phase == METALLM__ANSWER_BODY)
        return odd_bytes(p, n);
    return fail_head(p, metallm__head_name(&p->head, at, n, NULL));
}

static int on_value(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__answer_parser *p = http->data;
    if (p->phase == METALLM__ANSWER_BODY)
        return odd_bytes(p, n);
    return fail_head(p, metallm__head_value(&p->head, at, n, NULL));
}

/* 0, or the answer is faulty. */
static int check_length(struct metallm__answer_parser *p)
{
    struct metallm__span length = {NULL, 0}, coding = {NULL, 0};
    size_t lengths = metallm__head_count(&p->head, "content-length", &length);
    size_t codings = metallm__head_count(&p->head, "transfer-encoding", &coding);
    p->answer.length = METALLM__ANSWER_LENGTH_UNKNOWN;
    if (lengths > 1 || codings > 1 || lengths + codings > 1)
        return fail(p, METALLM__HTTP_BAD_ANSWER, "the answer's length is told twice");
    if (codings == 1 && !metallm__span_is_nocase(coding, "chunked"))
        return fail(p, METALLM__HTTP_BAD_ANSWER, "the answer has an unknown Transfer-Encoding");
    if (codings == 1 && p->http.http_minor == 0)
        return fail(p, METALLM__HTTP_BAD_ANSWER, "an HTTP/1.0 answer with a Transfer-Encoding");
    if (lengths == 1 && !metallm__span_u64(length, &p->answer.length))
        return fail(p, METALLM__HTTP_BAD_ANSWER, "the answer's Content-Length is no number");
    return 0;
}

static int on_head(llhttp_t *http)
{
    struct metallm__answer_parser *p = http->data;
    int status = http->status_code;
    if (http->http_major != 1 || http->http_minor > 1)
        return fail(p, METALLM__HTTP_BAD_ANSWER, "the answer is not HTTP/1.1");
    if (status < 100 || status > 599 || status == 101)
        return fail(p, METALLM__HTTP_BAD_ANSWER, "the answer has a status that was not asked for");
    if (!metallm__head_finish(&p->head))
        return fail(p, METALLM__HTTP_BAD_ANSWER, "a control character in the answer's headers");
    http->upgrade = 0;
    if (status < 200)
        return 1; /* another answer follows */
    int rc = check_length(p);
    if (rc != 0)
        return rc;
    p->answer.status = status;
    p->answer.headers = (struct metallm__headers){p->head.headers, p->head.count};
    p->phase = METALLM__ANSWER_BODY;
    bool is_bodiless = p->is_to_head || status == 204 || status == 304;
    if (is_bodiless)
        p->answer.length = 0;
    if (!p->on_head(p->owner, &p->answer)) {
        p->phase = METALLM__ANSWER_STOPPED;
        return HPE_USER;
    }
    return is_bodiless;
}

static int on_body(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__answer_parser *p = http->data;
    if (n == 0 || p->on_body(p->owner, metallm__span(at, n)))
        return 0;
    p->phase = METALLM__ANSWER_STOPPED;
    return HPE_USER;
}

static int on_extension(llhttp_t *http, const char *at, size_t n)
{
    (void)at;
    return odd_bytes(http->data, n);
}

static int on_whole(llhttp_t *http)
{
    struct metallm__answer_parser *p = http->data;
    if (p->phase != METALLM__ANSWER_BODY)
        return 0; /* 1xx: its head counts on towards the limit */
    p->phase = METALLM__ANSWER_DONE;
    p->keep_alive = llhttp_should_keep_alive(http) != 0;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_message_complete = on_whole,
};

static const char *describe(llhttp_errno_t code)
{
    switch (code) {
    case HPE_INVALID_CHUNK_SIZE:
        return "the answer has a chunk size that is no number";
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return "the answer's length is told twice";
    case HPE_CLOSED_CONNECTION:
        return "bytes behind an answer that was to be the last";
    default:
        return "the answer is not sound HTTP/1.1";
    }
}

static size_t execute(struct metallm__answer_parser *p, const char *bytes, size_t n)
{
    llhttp_errno_t code = llhttp_execute(&p->http, bytes, n);
    if (code == HPE_OK)
        return n;
    if (code != HPE_PAUSED)
        (void)fail(p, METALLM__HTTP_BAD_ANSWER, describe(code));
    const char *at = llhttp_get_error_pos(&p->http);
    return at >= bytes && at <= bytes + n ? (size_t)(at - bytes) : n;
}

size_t metallm__answer_parser_feed(struct metallm__answer_parser *p, struct metallm__span in)
{
    size_t done = 0;
    while (done < in.n && p->phase < METALLM__ANSWER_DONE) {
        size_t n = in.n - done;
        if (p->phase == METALLM__ANSWER_NONE)
            p->phase = METALLM__ANSWER_HEAD;
        if (p->phase == METALLM__ANSWER_BODY) {
            done += execute(p, in.p + done, n);
            continue;
        }
        size_t room = p->head_limit - p->head_bytes;
        size_t used = execute(p, in.p + done, n < room ? n : room);
        p->head_bytes += used;
        done += used;
        if (p->phase <= METALLM__ANSWER_HEAD && p->head_bytes >= p->head_limit)
            (void)fail_head(p, METALLM__HEAD_TOO_LARGE);
    }
    return done;
}

void metallm__answer_parser_eof(struct metallm__answer_parser *p)
{
    if (p->phase >= METALLM__ANSWER_DONE)
        return;
    if (p->phase == METALLM__ANSWER_BODY && llhttp_message_needs_eof(&p->http)) {
        (void)llhttp_finish(&p->http);
        p->keep_alive = false;
    }
    if (p->phase == METALLM__ANSWER_BODY || p->phase == METALLM__ANSWER_HEAD)
        (void)fail(p, METALLM__HTTP_BROKEN, "the connection was cut within the answer");
    else if (p->phase == METALLM__ANSWER_NONE)
        (void)fail(p, METALLM__HTTP_RESET, "the connection was closed before an answer");
}

void metallm__answer_parser_reset(struct metallm__answer_parser *p, bool is_to_head,
                                  size_t head_limit, size_t header_limit)
{
    metallm__head_reset(&p->head, HEAD_KEEP);
    p->head.max = head_limit;
    p->head.count_max = header_limit;
    p->phase = METALLM__ANSWER_NONE;
    p->is_to_head = is_to_head;
    p->keep_alive = false;
    p->head_limit = head_limit;
    p->head_bytes = p->odd_bytes = 0;
    llhttp_init(&p->http, HTTP_RESPONSE, &settings);
    p->http.data = p;
}

void metallm__answer_parser_fini(struct metallm__answer_parser *p)
{
    metallm__head_fini(&p->head);
}
