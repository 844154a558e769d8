/* SPDX-License-Identifier: Apache-2.0
 * fuzz_wire_said.c - any bytes as a whole answer, or as a refusal, of the protocol that the first
 * byte chooses: refused with a sentence, or told to a client of each surface as JSON. */
#include "fuzz/fuzz.h"
#include "fuzz/wire_kinds.h"

static void answer(const struct metallm__wire *w, const struct metallm__wire_request *r,
                   struct metallm__span body)
{
    struct metallm__wire_answer a;
    struct metallm__buf made;
    metallm_error err = {0};
    metallm__buf_init(&made, (size_t)1 << 30);
    int rc = metallm__wire_answer_in(w, r, true, body, 5, &made, &a, &err);
    MUST((rc == METALLM_OK) == (err.message[0] == '\0'));
    if (rc == METALLM_OK) {
        must_be_json(made.data, made.len);
        MUST(memchr(a.id, '\0', sizeof a.id) != NULL && a.usage.output_tokens >= -1);
    }
    metallm__buf_clear(&made);
    const struct metallm__wire_refused refused = {.status = 400, .body = body, .kind = body};
    metallm__wire_refusal_in(w, r, &refused, &made);
    must_be_json(made.data, made.len);
    metallm__buf_fini(&made);
}

static void embed(const struct metallm__wire *w, struct metallm__span body)
{
    static const char request[] = "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}";
    struct metallm__wire_request r;
    MUST(metallm__wire_request_read(&r, METALLM__WIRE_EMBEDDING,
                                    metallm__span(request, sizeof request - 1), NULL,
                                    NULL) == METALLM_OK);
    answer(w, &r, body);
    metallm__wire_request_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct metallm__wire *w = wire_by(data[0]);
    struct metallm__span body = metallm__span((const char *)data + 1, size - 1);
    for (size_t i = 0; i < WIRE_KINDS && w->said_in != NULL; i++) {
        struct metallm__wire_request r;
        MUST(metallm__wire_request_read(&r, wire_kinds[i].kind,
                                        metallm__span_of(wire_kinds[i].body), NULL,
                                        NULL) == METALLM_OK);
        answer(w, &r, body);
        metallm__wire_request_fini(&r);
    }
    if (w->embed_in != NULL)
        embed(w, body);
    return 0;
}
