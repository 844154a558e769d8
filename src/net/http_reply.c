/* SPDX-License-Identifier: Apache-2.0
 * http_reply.c - answers: the head is made in memory that the exchange keeps, and leaves together
 * with the body, or its first piece, in one system call. */
#include "base/error.h"
#include "net/http_server_internal.h"
#include "net/internal.h"

#define REFUSAL_BYTES_MAX 4096u

/* ---- The exchange as its handler sees it ---- */
const struct metallm__request *metallm__exchange_request(const struct metallm__exchange *x)
{
    return &x->request;
}

struct metallm__loop *metallm__exchange_loop(const struct metallm__exchange *x)
{
    return x->conn->server->loop;
}

void metallm__exchange_watch(struct metallm__exchange *x,
                             const struct metallm__exchange_events *events, void *owner)
{
    x->events = events;
    x->owner = owner;
}

bool metallm__exchange_is_gone(const struct metallm__exchange *x)
{
    return x->is_gone;
}

/* ---- Heads ---- */
static void put(struct metallm__buf *b, struct metallm__span text)
{
    metallm__buf_add(b, text.p, text.n);
}

static void put_header(struct metallm__buf *b, const struct metallm__header *header)
{
    if (metallm__header_is_hop(header->name) || metallm__span_is_nocase(header->name, "date") ||
        !metallm__header_is_sound(header))
        return;
    put(b, header->name);
    metallm__buf_add(b, ": ", 2);
    put(b, header->value);
    metallm__buf_add(b, "\r\n", 2);
}

static void put_status(struct metallm__buf *b, int status)
{
    metallm__buf_add(b, "HTTP/1.1 ", 9);
    metallm__http_put_number(b, (uint64_t)status);
    metallm__buf_add(b, " ", 1);
    metallm__buf_puts(b, metallm__status_text(status));
    metallm__buf_add(b, "\r\n", 2);
}

/* Framing by status, method and version (RFC 9112, 6.3). False: no memory. */
static bool make_head(struct metallm__exchange *x, int status, struct metallm__headers headers,
                      uint64_t length)
{
    struct metallm__http_conn *c = x->conn;
    struct metallm__buf *b = &x->head;
    const bool is_bodiless = status < 200 || status == 204 || status == 304;
    METALLM_REQUIRE(x->reply == REPLY_NONE && status >= 200 && status <= 599);
    x->has_length = length != METALLM__LENGTH_UNKNOWN;
    x->left = length;
    x->is_chunked = !x->has_length && x->request.minor == 1 && !is_bodiless;
    if (!x->has_length && !x->is_chunked && !is_bodiless)
        c->must_close = true; /* HTTP/1.0: the end is the end of the connection */
    if (is_bodiless)
        x->sends_body = false;
    c->must_close |= c->server->is_draining;
    metallm__buf_clear(b);
    put_status(b, status);
    metallm__buf_add(b, "Date: ", 6);
    metallm__buf_add(b, metallm__loop_http_date(c->server->loop), 29);
    metallm__buf_add(b, "\r\n", 2);
    for (size_t i = 0; i < headers.count; i++)
        put_header(b, &headers.at[i]);
    if (x->has_length && !is_bodiless) {
        metallm__buf_add(b, "Content-Length: ", 16);
        metallm__http_put_number(b, length);
        metallm__buf_add(b, "\r\n", 2);
    } else if (x->is_chunked) {
        metallm__buf_puts(b, "Transfer-Encoding: chunked\r\n");
    }
    if (c->must_close)
        metallm__buf_puts(b, "Connection: close\r\n");
    else if (x->request.minor == 0)
        metallm__buf_puts(b, "Connection: keep-alive\r\n");
    metallm__buf_add(b, "\r\n", 2);
    x->is_chunked &= x->sends_body;
    x->reply = REPLY_HEAD;
    return !b->failed;
}

/* ---- Writing ---- */
static void release(const struct metallm__hold *hold)
{
    if (hold != NULL)
        hold->release(hold->arg);
}

static bool is_cut(const struct metallm__exchange *x)
{
    return x->is_gone || x->conn->stream == NULL || !metallm__stream_is_open(x->conn->stream);
}

/* The head, if it has not been written, then spans; the first `copied` of these are passing. */
static void write_out(struct metallm__exchange *x, const struct metallm__span *spans, size_t count,
                      size_t copied, const struct metallm__hold *hold)
{
    struct metallm__http_conn *c = x->conn;
    struct metallm__span all[4];
    size_t n = 0, bytes = 0;
    if (x->reply == REPLY_HEAD) {
        all[n++] = metallm__span(x->head.data, x->head.len);
        x->reply = REPLY_BODY;
        copied++;
    }
    for (size_t i = 0; i < count; i++)
        all[n++] = spans[i];
    for (size_t i = 0; i < n; i++)
        bytes += all[i].n;
    metallm__stream_write_mixed(c->stream, all, n, copied, hold);
    metallm__http_conn_written(c, bytes);
}

void metallm__reply(struct metallm__exchange *x, int status, struct metallm__headers headers,
                    struct metallm__span body, const struct metallm__hold *hold)
{
    if (is_cut(x)) {
        release(hold);
    } else if (body.n > INT32_MAX || !make_head(x, status, headers, body.n)) {
        release(hold);
        metallm__http_conn_cut(x->conn);
    } else if (x->sends_body) {
        write_out(x, &body, 1, 0, hold);
    } else {
        release(hold);
        write_out(x, NULL, 0, 0, NULL);
    }
    metallm__http_conn_answered(x->conn);
}

void metallm__reply_head(struct metallm__exchange *x, int status, struct metallm__headers headers,
                         uint64_t length)
{
    if (!is_cut(x) && !make_head(x, status, headers, length))
        metallm__http_conn_cut(x->conn);
}

void metallm__reply_piece(struct metallm__exchange *x, struct metallm__span piece,
                          const struct metallm__hold *hold)
{
    static const char hex[] = "0123456789abcdef";
    if (piece.n > INT32_MAX)
        metallm__http_conn_cut(x->conn);
    if (is_cut(x)) {
        release(hold);
        return;
    }
    METALLM_REQUIRE(x->reply != REPLY_NONE);
    if (piece.n == 0 || !x->sends_body) {
        release(hold);
        if (x->reply == REPLY_HEAD)
            write_out(x, NULL, 0, 0, NULL);
        return;
    }
    METALLM_REQUIRE(!x->has_length || piece.n <= x->left);
    x->left -= x->has_length ? piece.n : 0;
    if (!x->is_chunked) {
        write_out(x, &piece, 1, 0, hold);
        return;
    }
    char line[2 * sizeof piece.n + 2];
    size_t at = sizeof line;
    line[--at] = '\n';
    line[--at] = '\r';
    for (size_t n = piece.n; n > 0; n >>= 4)
        line[--at] = hex[n & 15];
    struct metallm__span spans[3] = {{line + at, sizeof line - at}, piece, METALLM__SPAN("\r\n")};
    write_out(x, spans, 3, 1, hold);
}

void metallm__reply_end(struct metallm__exchange *x)
{
    static const struct metallm__span last_chunk = METALLM__SPAN("0\r\n\r\n");
    if (!is_cut(x)) {
        METALLM_REQUIRE(x->reply != REPLY_NONE);
        if (x->has_length && x->left > 0 && x->sends_body)
            metallm__http_conn_cut(x->conn); /* less than was promised: a broken answer */
        else if (x->is_chunked)
            write_out(x, &last_chunk, 1, 0, NULL);
        else if (x->reply == REPLY_HEAD)
            write_out(x, NULL, 0, 0, NULL);
    }
    metallm__http_conn_answered(x->conn);
}

void metallm__reply_abort(struct metallm__exchange *x)
{
    metallm__http_conn_cut(x->conn);
    metallm__http_conn_answered(x->conn);
}

size_t metallm__reply_queued(const struct metallm__exchange *x)
{
    return is_cut(x) ? 0 : metallm__stream_queued(x->conn->stream);
}

void metallm__reply_close_after(struct metallm__exchange *x)
{
    x->conn->must_close = true;
}

/* ---- Refusals ---- */
/* An OpenAI error object. The messages are ours: nothing in them needs escaping. */
static void plain_refusal(const struct metallm__request_parser *p, struct metallm__buf *out)
{
    metallm__buf_printf(
        out, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%s}}\n",
        p->message,
        p->status >= 500 && p->status != 501 && p->status != 505 ? "server_error"
                                                                 : "invalid_request_error",
        p->status == 408 ? "\"request_timeout\"" : "null");
}

void metallm__http_refusal_write(struct metallm__exchange *x)
{
    static const struct metallm__header json[] = {
        {METALLM__SPAN("Content-Type"), METALLM__SPAN("application/json")},
        {METALLM__SPAN("Allow"), METALLM__SPAN("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")},
    };
    const struct metallm__request_parser *p = &x->parser;
    const struct metallm__http_server *server = x->conn->server;
    struct metallm__buf body;
    x->request.minor = 1;
    x->sends_body = true;
    if (is_cut(x))
        return;
    metallm__buf_init(&body, REFUSAL_BYTES_MAX);
    if (server->refusal != NULL)
        server->refusal(server->payload, p->target, p->status, p->message, &body);
    else
        plain_refusal(p, &body);
    struct metallm__headers headers = {json, p->status == 405 ? 2 : 1};
    struct metallm__span text = {body.data, body.len};
    if (make_head(x, p->status, headers, text.n))
        write_out(x, &text, 1, 1, NULL);
    else
        metallm__http_conn_cut(x->conn);
    metallm__buf_fini(&body);
}
