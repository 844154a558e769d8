/* SPDX-License-Identifier: Apache-2.0
 * fuzz_http_answer.c - any bytes as an answer: cut in two anywhere they are read the same. */
#include "fuzz/fuzz.h"
#include "net/http_answer.h"

struct seen {
    int status;
    uint64_t length, headers, body, body_n;
};

static uint64_t mix(uint64_t sum, struct metallm__span bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        sum = sum * 31 + (unsigned char)bytes.p[i];
    return sum * 31 + bytes.n;
}

static bool on_head(void *owner, const struct metallm__http_answer *a)
{
    struct seen *s = owner;
    if (s->status != 0 || a->status < 200 || a->status > 599)
        __builtin_trap();
    s->status = a->status;
    s->length = a->length;
    for (size_t i = 0; i < a->headers.count; i++) {
        if (!metallm__header_is_sound(&a->headers.at[i]))
            __builtin_trap();
        s->headers = mix(mix(s->headers, a->headers.at[i].name), a->headers.at[i].value);
    }
    return true;
}

static bool on_body(void *owner, struct metallm__span piece)
{
    struct seen *s = owner;
    if (s->status == 0)
        __builtin_trap();
    for (size_t i = 0; i < piece.n; i++)
        s->body = s->body * 31 + (unsigned char)piece.p[i];
    s->body_n += piece.n;
    return true;
}

static void read_cut(struct metallm__answer_parser *p, struct seen *s, const char *bytes, size_t n,
                     size_t cut, bool is_to_head)
{
    *s = (struct seen){0};
    p->on_head = on_head;
    p->on_body = on_body;
    p->owner = s;
    metallm__answer_parser_reset(p, is_to_head, 2048, 32);
    if (metallm__answer_parser_feed(p, metallm__span(bytes, cut)) == cut)
        (void)metallm__answer_parser_feed(p, metallm__span(bytes + cut, n - cut));
    metallm__answer_parser_eof(p);
    if (p->phase < METALLM__ANSWER_DONE)
        __builtin_trap();
    if (p->phase == METALLM__ANSWER_DONE && s->length != METALLM__ANSWER_LENGTH_UNKNOWN &&
        s->body_n != s->length)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__answer_parser whole = {0}, cut = {0};
    struct seen a, b;
    bool is_to_head = size > 0 && data[size - 1] == 'H';
    size_t at = size > 0 ? data[size / 2] % (size + 1) : 0;
    read_cut(&whole, &a, (const char *)data, size, size, is_to_head);
    read_cut(&cut, &b, (const char *)data, size, at, is_to_head);
    if (whole.phase != cut.phase || a.status != b.status || a.length != b.length ||
        a.headers != b.headers || a.body != b.body || a.body_n != b.body_n ||
        (whole.phase == METALLM__ANSWER_FAULTY && whole.fault != cut.fault) ||
        (whole.phase == METALLM__ANSWER_DONE && whole.keep_alive != cut.keep_alive))
        __builtin_trap();
    metallm__answer_parser_fini(&whole);
    metallm__answer_parser_fini(&cut);
    return 0;
}
