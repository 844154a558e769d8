/* SPDX-License-Identifier: Apache-2.0
 * fuzz_http_request.c - any bytes as a request: cut in two anywhere they are read the same, and
 * what is accepted, written down again in plain form, is read as the same request. */
#include <stdlib.h>

#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "net/http_request.h"

static void read_cut(struct metallm__request_parser *p, const struct metallm__http_limits *limits,
                     struct metallm__span in, size_t cut)
{
    metallm__request_parser_reset(p, limits);
    size_t used = metallm__request_parser_feed(p, metallm__span(in.p, cut));
    if (used == cut && p->phase < METALLM__REQUEST_DONE)
        (void)metallm__request_parser_feed(p, metallm__span(in.p + cut, in.n - cut));
}

static bool are_equal(const struct metallm__request *a, const struct metallm__request *b)
{
    bool equal = a->method == b->method && metallm__span_eq(a->target, b->target) &&
                 metallm__span_eq(a->path, b->path) && metallm__span_eq(a->query, b->query) &&
                 metallm__span_eq(a->body, b->body) && a->minor == b->minor;
    return equal;
}

static bool headers_are_equal(struct metallm__headers a, struct metallm__headers b)
{
    for (size_t i = 0; i < a.count && i < b.count; i++)
        if (!metallm__span_eq(a.at[i].name, b.at[i].name) ||
            !metallm__span_eq(a.at[i].value, b.at[i].value))
            return false;
    return a.count == b.count;
}

/* With a Content-Length instead of chunks. */
static void write_again(const struct metallm__request *q, struct metallm__buf *out)
{
    metallm__buf_printf(out, "%s ", metallm__method_name(q->method));
    metallm__buf_add(out, q->target.p, q->target.n);
    metallm__buf_printf(out, " HTTP/1.%u\r\n", (unsigned)q->minor);
    for (size_t i = 0; i < q->headers.count; i++) {
        const struct metallm__header *h = &q->headers.at[i];
        if (metallm__span_is(h->name, "transfer-encoding")) {
            metallm__buf_printf(out, "content-length: %zu\r\n", q->body.n);
            continue;
        }
        metallm__buf_add(out, h->name.p, h->name.n);
        metallm__buf_add(out, ": ", 2);
        if (h->value.n > 0)
            metallm__buf_add(out, h->value.p, h->value.n);
        metallm__buf_add(out, "\r\n", 2);
    }
    metallm__buf_add(out, "\r\n", 2);
    metallm__buf_add(out, q->body.p, q->body.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__http_limits limits = metallm__http_limits_default();
    struct metallm__request_parser whole = {0}, cut = {0}, again = {0};
    struct metallm__request a, b;
    struct metallm__buf text;
    struct metallm__span in = {(const char *)data, size};
    limits.body_bytes = 4096;
    limits.head_bytes = 2048;
    limits.target_bytes = 256;
    read_cut(&whole, &limits, in, size);
    read_cut(&cut, &limits, in, size > 0 ? data[size / 2] % (size + 1) : 0);
    if (whole.phase != cut.phase || whole.status != cut.status)
        __builtin_trap();
    if (whole.phase == METALLM__REQUEST_DONE) {
        metallm__request_parser_show(&whole, &a);
        metallm__request_parser_show(&cut, &b);
        if (!are_equal(&a, &b) || !headers_are_equal(a.headers, b.headers))
            __builtin_trap();
        metallm__buf_init(&text, (size_t)1 << 20);
        write_again(&a, &text);
        limits.head_bytes = 1 << 20; /* "content-length" is longer than what it stands for */
        read_cut(&again, &limits, metallm__span(text.data, text.len), text.len);
        if (again.phase != METALLM__REQUEST_DONE)
            __builtin_trap();
        metallm__request_parser_show(&again, &b);
        if (!are_equal(&a, &b) || a.headers.count != b.headers.count)
            __builtin_trap();
        metallm__buf_fini(&text);
    }
    metallm__request_parser_fini(&whole);
    metallm__request_parser_fini(&cut);
    metallm__request_parser_fini(&again);
    return 0;
}
