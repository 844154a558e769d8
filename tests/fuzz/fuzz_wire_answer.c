/* SPDX-License-Identifier: Apache-2.0
 * fuzz_wire_answer.c - any bytes as an upstream's answer, error and stream: refused, or read into
 * texts that are closed and counts that can be; a stream hands on nothing but what came. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

static void check_answer(const struct metallm__wire_answer *a)
{
    if (memchr(a->id, '\0', sizeof a->id) == NULL ||
        memchr(a->model, '\0', sizeof a->model) == NULL || a->usage.input_tokens < -1 ||
        a->usage.output_tokens < -1 || a->usage.cached_tokens > a->usage.input_tokens)
        __builtin_trap();
    (void)metallm__wire_finish_name(a->finish);
}

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    size_t *passed = payload;
    volatile unsigned sum = 0; /* so that the reads stay */
    (void)kind;
    for (size_t i = 0; i < bytes.n; i++)
        sum += (unsigned char)bytes.p[i];
    (void)sum;
    *passed += bytes.n;
    return METALLM_OK;
}

static void stream(const uint8_t *data, size_t size, size_t step, bool is_dropped)
{
    struct metallm__wire_stream s;
    metallm_error err = {0};
    size_t passed = 0;
    int rc = METALLM_OK;
    static const struct metallm__wire_request chat = {.kind = METALLM__WIRE_CHAT};
    const struct metallm__wire_out sent = {.is_usage_dropped = is_dropped};
    metallm__wire_stream_init(&s, &metallm__wire_openai, &chat, &sent, 0);
    for (size_t at = 0; at < size && rc == METALLM_OK; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *exact = malloc(n);
        memcpy(exact, data + at, n);
        rc = metallm__wire_stream_feed(&s, metallm__span(exact, n), take, &passed, &err);
        free(exact);
    }
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, take, &passed, &err);
    if (passed > size + 2 || (rc != METALLM_OK && err.message[0] == '\0'))
        __builtin_trap();
    check_answer(&s.answer);
    metallm__wire_stream_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__span body = metallm__span((const char *)data, size);
    for (int kind = 0; kind < METALLM__WIRE_KINDS; kind++) {
        struct metallm__wire_answer a;
        metallm_error err = {0};
        int rc = metallm__wire_openai.answer_in((enum metallm__wire_kind)kind, body, &a, &err);
        if (rc != METALLM_OK && err.message[0] == '\0')
            __builtin_trap();
        check_answer(&a);
    }
    struct metallm__wire_error e;
    metallm__wire_openai.error_in(body, &e);
    if (memchr(e.message, '\0', sizeof e.message) == NULL)
        __builtin_trap();
    stream(data, size, size > 0 ? size : 1, false);
    stream(data, size, 7, true);
    return 0;
}
