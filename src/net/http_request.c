/* SPDX-License-Identifier: Apache-2.0
 * http_request.c - the request line, llhttp's callbacks, and the checks of RFC 9112 that decide
 * how long a message is: two parsers must never read two different requests here. */
#include "net/http_request.h"

#include "base/mem.h"

#define METHOD_MAX     16u
#define VERSION_BYTES  8u /* "HTTP/1.1" */
#define HEAD_KEEP      8192u
#define BODY_KEEP      32768u
#define BODY_PAD       8u /* zero bytes behind a body, for JSON readers that look ahead */
#define ODD_BYTES_MAX  4096u
#define EMPTY_LINE_MAX 4u /* bytes of CRLF before a request */

enum line_state { LINE_METHOD, LINE_TARGET, LINE_VERSION, LINE_LF };

void metallm__request_refuse(struct metallm__request_parser *p, int status,
                             enum metallm__http_refusal refusal, const char *message)
{
    if (p->phase == METALLM__REQUEST_REFUSED)
        return; /* the first fault counts */
    p->phase = METALLM__REQUEST_REFUSED;
    p->status = status;
    p->refusal = refusal;
    p->message = message;
    p->keep_alive = false;
}

static int refuse_syntax(struct metallm__request_parser *p, const char *message)
{
    metallm__request_refuse(p, 400, METALLM__REFUSED_SYNTAX, message);
    return HPE_USER;
}

static int refuse_head_fault(struct metallm__request_parser *p, enum metallm__head_fault fault)
{
    if (fault == METALLM__HEAD_NO_MEMORY)
        metallm__request_refuse(p, 503, METALLM__REFUSED_MEMORY, "no memory for the request");
    else if (fault == METALLM__HEAD_TOO_LARGE)
        metallm__request_refuse(p, 431, METALLM__REFUSED_HEADERS,
                                "the request's head is too large");
    return fault == METALLM__HEAD_OK ? 0 : HPE_USER;
}

/* Bytes of trailers and chunk extensions: nobody needs them, so there may be few. */
static int odd_bytes(struct metallm__request_parser *p, size_t n)
{
    p->odd_bytes += n;
    if (p->odd_bytes <= ODD_BYTES_MAX)
        return 0;
    metallm__request_refuse(p, 431, METALLM__REFUSED_HEADERS,
                            "chunk extensions or trailers are too large");
    return HPE_USER;
}

/* ---- llhttp's callbacks ---- */
static int on_name(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__request_parser *p = http->data;
    if (p->phase == METALLM__REQUEST_BODY)
        return odd_bytes(p, n); /* a trailer: read over */
    return refuse_head_fault(p, metallm__head_name(&p->head, at, n, &p->target));
}

static int on_value(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__request_parser *p = http->data;
    if (p->phase == METALLM__REQUEST_BODY)
        return odd_bytes(p, n);
    return refuse_head_fault(p, metallm__head_value(&p->head, at, n, &p->target));
}

static bool has_sound_host(struct metallm__request_parser *p)
{
    struct metallm__span host = {NULL, 0};
    size_t count = metallm__head_count(&p->head, "host", &host);
    if (count > 1 || (count == 0 && p->minor == 1))
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = metallm__lower(host.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || strchr(".-_~:[]%!$&'()*+,;=", c) == NULL))
            return false;
    }
    return true;
}

/* The body's framing. 0, or the request has been refused. */
static int check_length(struct metallm__request_parser *p)
{
    struct metallm__span length = {NULL, 0}, coding = {NULL, 0};
    size_t lengths = metallm__head_count(&p->head, "content-length", &length);
    size_t codings = metallm__head_count(&p->head, "transfer-encoding", &coding);
    p->has_length = lengths == 1;
    if (lengths > 1)
        return refuse_syntax(p, "more than one Content-Length");
    if (lengths + codings > 1 && lengths > 0)
        return refuse_syntax(p, "both Content-Length and Transfer-Encoding");
    if (codings > 1 || (codings == 1 && p->minor == 0))
        return refuse_syntax(p, "a Transfer-Encoding that cannot be relied on");
    if (codings == 1 && !metallm__span_is_nocase(coding, "chunked")) {
        metallm__request_refuse(p, 501, METALLM__REFUSED_SYNTAX,
                                "a Transfer-Encoding other than chunked");
        return HPE_USER;
    }
    if (lengths == 1 && !metallm__span_u64(length, &p->length))
        return refuse_syntax(p, "a Content-Length that is no number");
    if (p->minor == 0 && lengths == 0 &&
        (p->method == METALLM__POST || p->method == METALLM__PUT || p->method == METALLM__PATCH)) {
        metallm__request_refuse(p, 411, METALLM__REFUSED_LENGTH, "no Content-Length");
        return HPE_USER;
    }
    if (lengths == 1 && p->length > p->limits->body_bytes) {
        metallm__request_refuse(p, 413, METALLM__REFUSED_BODY, "the request's body is too large");
        return HPE_USER;
    }
    return 0;
}

static int on_head(llhttp_t *http)
{
    struct metallm__request_parser *p = http->data;
    struct metallm__span expected = {NULL, 0};
    if (!metallm__head_finish(&p->head))
        return refuse_syntax(p, "a control character in a header");
    int rc = check_length(p);
    if (rc != 0)
        return rc;
    if (!has_sound_host(p))
        return refuse_syntax(p, "not exactly one sound Host header");
    if (metallm__head_count(&p->head, "expect", &expected) > 0) {
        if (p->minor == 0 || !metallm__span_is_nocase(expected, "100-continue")) {
            metallm__request_refuse(p, 417, METALLM__REFUSED_EXPECT,
                                    "an expectation other than 100-continue");
            return HPE_USER;
        }
        p->expects_continue = true;
    }
    http->upgrade = 0; /* other protocols are not spoken: the header is read over (RFC 9110, 7.8) */
    p->phase = METALLM__REQUEST_BODY;
    return 0;
}

/* Grows with what came, not with what was promised. */
static bool body_room(struct metallm__request_parser *p, size_t n)
{
    size_t need = p->body_n + n + BODY_PAD;
    if (p->body_cap >= need)
        return true;
    size_t cap = p->body_cap < 4096 ? 4096 : p->body_cap * 2;
    if (cap < need)
        cap = need;
    if (p->has_length && cap > p->length + BODY_PAD)
        cap = (size_t)p->length + BODY_PAD;
    char *more = metallm__realloc(p->body, cap, 1);
    if (more == NULL)
        return false;
    p->body = more;
    p->body_cap = cap;
    return true;
}

static int on_body(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__request_parser *p = http->data;
    if (n > p->limits->body_bytes - p->body_n) {
        metallm__request_refuse(p, 413, METALLM__REFUSED_BODY, "the request's body is too large");
        return HPE_USER;
    }
    if (!body_room(p, n)) {
        metallm__request_refuse(p, 503, METALLM__REFUSED_MEMORY, "no memory for the request");
        return HPE_USER;
    }
    memcpy(p->body + p->body_n, at, n);
    p->body_n += n;
    return 0;
}

static int on_chunk(llhttp_t *http)
{
    struct metallm__request_parser *p = http->data;
    if (http->content_length <= p->limits->body_bytes - p->body_n)
        return 0;
    metallm__request_refuse(p, 413, METALLM__REFUSED_BODY, "the request's body is too large");
    return HPE_USER;
}

static int on_extension(llhttp_t *http, const char *at, size_t n)
{
    struct metallm__request_parser *p = http->data;
    (void)at;
    return odd_bytes(p, n);
}

static int on_whole(llhttp_t *http)
{
    struct metallm__request_parser *p = http->data;
    p->keep_alive = llhttp_should_keep_alive(http) != 0;
    p->phase = METALLM__REQUEST_DONE;
    if (p->body != NULL)
        memset(p->body + p->body_n, 0, BODY_PAD);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_chunk_header = on_chunk,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_message_complete = on_whole,
};

/* ---- The request line: method SP target SP version CRLF, nothing else ---- */
static bool is_token_char(char c)
{
    struct metallm__header one = {{&c, 1}, {NULL, 0}};
    return metallm__header_is_sound(&one);
}

/* One byte of it. False: refused. */
static bool line_byte(struct metallm__request_parser *p, char c)
{
    const struct metallm__http_limits *limits = p->limits;
    size_t target_at = p->line_blanks;
    switch ((enum line_state)p->line_state) {
    case LINE_METHOD:
        if (c == ' ' && p->head.n > 0) {
            p->line_state = LINE_TARGET;
            p->line_blanks = p->head.n + 1;
            return true;
        }
        if (!is_token_char(c))
            (void)refuse_syntax(p, "not an HTTP request");
        else if (p->head.n == METHOD_MAX)
            metallm__request_refuse(p, 501, METALLM__REFUSED_METHOD, "an unknown method");
        break;
    case LINE_TARGET:
        if (c == ' ' && p->head.n > target_at) {
            p->line_state = LINE_VERSION;
            p->target = metallm__span(p->head.bytes + target_at, p->head.n - target_at);
        } else if (c == '\r' && p->head.n > target_at) {
            metallm__request_refuse(p, 505, METALLM__REFUSED_SYNTAX, "HTTP/0.9 is not spoken here");
        } else if (c <= 0x20 || c >= 0x7f) {
            (void)refuse_syntax(p, "a character that has no place in a request target");
        } else if (p->head.n - target_at == limits->target_bytes) {
            metallm__request_refuse(p, 414, METALLM__REFUSED_TARGET,
                                    "the request target is too long");
        }
        break;
    case LINE_VERSION:
        if (c == '\r')
            p->line_state = LINE_LF;
        else if (c <= 0x20 || c >= 0x7f ||
                 p->head.n - (size_t)(p->target.p + p->target.n - p->head.bytes) > VERSION_BYTES)
            (void)refuse_syntax(p, "a request line that does not end in a version");
        break;
    case LINE_LF:
        if (c != '\n')
            (void)refuse_syntax(p, "a CR without LF");
        break;
    }
    return p->phase != METALLM__REQUEST_REFUSED;
}

static bool find_method(struct metallm__request_parser *p, struct metallm__span name)
{
    for (unsigned m = METALLM__GET; m <= METALLM__OPTIONS; m++)
        if (metallm__span_is(name, metallm__method_name((enum metallm__method)m))) {
            p->method = (enum metallm__method)m;
            return true;
        }
    if (metallm__span_is(name, "CONNECT") || metallm__span_is(name, "TRACE"))
        metallm__request_refuse(p, 405, METALLM__REFUSED_METHOD, "a method that is not allowed");
    else
        metallm__request_refuse(p, 501, METALLM__REFUSED_METHOD, "an unknown method");
    return false;
}

/* Origin form, absolute form (brought into origin form), or "*" with OPTIONS. */
static bool judge_target(struct metallm__request_parser *p)
{
    struct metallm__span *t = &p->target;
    if (memchr(t->p, '#', t->n) != NULL)
        return false;
    if (t->p[0] == '/')
        return true;
    if (t->n == 1 && t->p[0] == '*')
        return p->method == METALLM__OPTIONS;
    size_t scheme = t->n > 7 && metallm__span_is_nocase(metallm__span(t->p, 7), "http://")    ? 7
                    : t->n > 8 && metallm__span_is_nocase(metallm__span(t->p, 8), "https://") ? 8
                                                                                              : 0;
    if (scheme == 0 || t->p[scheme] == '/' || t->p[scheme] == '?')
        return false;
    for (size_t i = scheme; i < t->n; i++) {
        if (t->p[i] == '?')
            return false; /* "http://host?query" has no path to stand for it here */
        if (t->p[i] == '/') {
            *t = metallm__span(t->p + i, t->n - i);
            return true;
        }
    }
    *t = metallm__span(t->p + scheme - 1, 1); /* a slash that stays where the head is */
    return true;
}

static void feed_llhttp(struct metallm__request_parser *p, const char *bytes, size_t n,
                        size_t *used);

/* The line is whole: judge it, and bring llhttp to where its headers begin. */
static void end_line(struct metallm__request_parser *p)
{
    size_t version_at = (size_t)(p->target.p + p->target.n - p->head.bytes) + 1, used;
    struct metallm__span version = {p->head.bytes + version_at, p->head.n - 2 - version_at};
    struct metallm__span method = {p->head.bytes, p->line_blanks - 1};
    if (metallm__span_is(version, "HTTP/1.1"))
        p->minor = 1;
    else if (metallm__span_is(version, "HTTP/1.0"))
        p->minor = 0;
    else if (version.n >= 6 && memcmp(version.p, "HTTP/", 5) == 0 && version.p[5] >= '0' &&
             version.p[5] <= '9')
        metallm__request_refuse(p, 505, METALLM__REFUSED_SYNTAX, "only HTTP/1.1 is spoken here");
    else
        (void)refuse_syntax(p, "a request line that does not end in a version");
    if (p->phase == METALLM__REQUEST_REFUSED || !find_method(p, method))
        return;
    if (!judge_target(p)) {
        (void)refuse_syntax(p, "a request target that is neither a path nor a URL");
        return;
    }
    char line[METHOD_MAX + 16];
    const char *rest = p->minor == 1 ? " / HTTP/1.1\r\n" : " / HTTP/1.0\r\n";
    size_t n = strlen(metallm__method_name(p->method));
    memcpy(line, metallm__method_name(p->method), n);
    memcpy(line + n, rest, strlen(rest));
    n += strlen(rest);
    llhttp_init(&p->http, HTTP_REQUEST, &settings);
    p->http.data = p;
    p->phase = METALLM__REQUEST_HEAD;
    p->head.max = p->head.n + p->limits->head_bytes;
    feed_llhttp(p, line, n, &used);
}

static size_t feed_line(struct metallm__request_parser *p, struct metallm__span in)
{
    size_t i = 0;
    for (; i < in.n && p->phase <= METALLM__REQUEST_LINE; i++) {
        char c = in.p[i];
        p->head_bytes++;
        if (p->phase == METALLM__REQUEST_NONE) {
            bool is_lf_due = p->head_bytes % 2 == 0; /* an empty line or two before it are fine */
            if (p->head_bytes <= EMPTY_LINE_MAX && c == (is_lf_due ? '\n' : '\r'))
                continue;
            p->phase = METALLM__REQUEST_LINE;
            if (is_lf_due) {
                (void)refuse_syntax(p, "a CR without LF");
                break;
            }
        }
        if (!line_byte(p, c) || refuse_head_fault(p, metallm__head_room(&p->head, 1, &p->target)))
            break;
        p->head.bytes[p->head.n++] = c;
        if (c == '\n')
            end_line(p);
    }
    return i;
}

/* ---- The rest, by llhttp ---- */
/* llhttp refuses a coding, or one beside another coding or a length. */
static void judge_coding(struct metallm__request_parser *p)
{
    struct metallm__span value;
    if (metallm__head_count(&p->head, "content-length", &value) > 0)
        (void)refuse_syntax(p, "both Content-Length and Transfer-Encoding");
    else if (metallm__head_count(&p->head, "transfer-encoding", &value) > 1)
        (void)refuse_syntax(p, "a Transfer-Encoding that cannot be relied on");
    else
        metallm__request_refuse(p, 501, METALLM__REFUSED_SYNTAX,
                                "a Transfer-Encoding other than chunked");
}

static void judge_error(struct metallm__request_parser *p, llhttp_errno_t code)
{
    switch (code) {
    case HPE_OK:
    case HPE_PAUSED:
        return;
    case HPE_INVALID_TRANSFER_ENCODING:
        judge_coding(p);
        return;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        (void)refuse_syntax(p, "more than one length of the body");
        return;
    case HPE_INVALID_CONTENT_LENGTH:
        (void)refuse_syntax(p, "a Content-Length that is no number");
        return;
    case HPE_INVALID_CHUNK_SIZE:
        (void)refuse_syntax(p, "a chunk size that is no number");
        return;
    case HPE_CR_EXPECTED:
    case HPE_LF_EXPECTED:
        (void)refuse_syntax(p, "a line that does not end in CR LF");
        return;
    default:
        (void)refuse_syntax(p, "headers or chunks that are not sound HTTP/1.1");
    }
}

static void feed_llhttp(struct metallm__request_parser *p, const char *bytes, size_t n,
                        size_t *used)
{
    llhttp_errno_t code = llhttp_execute(&p->http, bytes, n);
    judge_error(p, code);
    const char *at = code == HPE_OK ? bytes + n : llhttp_get_error_pos(&p->http);
    *used = at >= bytes && at <= bytes + n ? (size_t)(at - bytes) : n;
}

/* At most so many bytes at a time that the head cannot grow past its limit unseen. */
static size_t feed_head(struct metallm__request_parser *p, struct metallm__span in)
{
    size_t limit = (size_t)p->limits->head_bytes + p->limits->target_bytes, used = 0;
    size_t room = p->head_bytes < limit ? limit - p->head_bytes : 0;
    size_t n = in.n < room ? in.n : room;
    if (n > 0)
        feed_llhttp(p, in.p, n, &used);
    p->head_bytes += used;
    if (p->phase == METALLM__REQUEST_HEAD && p->head_bytes >= limit)
        (void)refuse_head_fault(p, METALLM__HEAD_TOO_LARGE);
    return used;
}

size_t metallm__request_parser_feed(struct metallm__request_parser *p, struct metallm__span in)
{
    size_t done = 0;
    while (done < in.n && p->phase < METALLM__REQUEST_DONE) {
        struct metallm__span rest = {in.p + done, in.n - done};
        size_t used = 0;
        if (p->phase <= METALLM__REQUEST_LINE)
            used = feed_line(p, rest);
        else if (p->phase == METALLM__REQUEST_HEAD)
            used = feed_head(p, rest);
        else
            feed_llhttp(p, rest.p, rest.n, &used);
        done += used;
        if (used == 0)
            break; /* refused, or nothing more to be done */
    }
    return done;
}

void metallm__request_parser_show(const struct metallm__request_parser *p,
                                  struct metallm__request *out)
{
    const char *mark = memchr(p->target.p, '?', p->target.n);
    size_t path_n = mark == NULL ? p->target.n : (size_t)(mark - p->target.p);
    *out = (struct metallm__request){
        .method = p->method,
        .target = p->target,
        .path = {p->target.p, path_n},
        .headers = {p->head.headers, p->head.count},
        .body = {p->body_n > 0 ? p->body : "", p->body_n},
        .minor = p->minor,
    };
    if (mark != NULL)
        out->query = metallm__span(mark + 1, p->target.n - path_n - 1);
}

void metallm__request_parser_reset(struct metallm__request_parser *p,
                                   const struct metallm__http_limits *limits)
{
    struct metallm__http_head head = p->head;
    char *body = p->body;
    size_t cap = p->body_cap;
    metallm__head_reset(&head, HEAD_KEEP);
    if (cap > BODY_KEEP) {
        metallm__free(body);
        body = NULL;
        cap = 0;
    }
    *p = (struct metallm__request_parser){.limits = limits, .head = head, .body = body};
    p->body_cap = cap;
    p->head.count_max = limits->headers;
    p->head.max = SIZE_MAX;
}

void metallm__request_parser_fini(struct metallm__request_parser *p)
{
    metallm__head_fini(&p->head);
    metallm__free(p->body);
    p->body = NULL;
    p->body_cap = 0;
}
