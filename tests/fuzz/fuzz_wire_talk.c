/* SPDX-License-Identifier: Apache-2.0
 * fuzz_wire_talk.c - any bytes as a client's request of the surface that the first byte chooses:
 * refused with a sentence, or said to each protocol in turn: refused with a sentence, or written as
 * JSON, which the surface of the same protocol reads. */
#include "fuzz/fuzz.h"
#include "fuzz/wire_kinds.h"

static void read_back(enum metallm__wire_kind kind, struct metallm__span body)
{
    struct metallm__wire_request r;
    metallm_error err = {0};
    const struct metallm__talk *talk;
    int rc = metallm__wire_request_read(&r, kind, body, NULL, &err);
    MUST(rc == METALLM_OK);
    MUST(metallm__wire_request_talk(&r, &talk, &err) == METALLM_OK);
    metallm__wire_request_fini(&r);
}

static void say(const struct metallm__wire *w, struct metallm__wire_request *r)
{
    static const struct {
        const char *protocol;
        enum metallm__wire_kind kind;
    } readers[] = {{"anthropic", METALLM__WIRE_MESSAGES},
                   {"openai-responses", METALLM__WIRE_RESPONSES},
                   {"openai", METALLM__WIRE_CHAT}};
    const struct metallm__wire_target target = {.model = METALLM__SPAN("up"),
                                                .model_json = METALLM__SPAN("\"up\""),
                                                .region = METALLM__SPAN("eu-west-1"),
                                                .host = METALLM__SPAN("h")};
    struct metallm__wire_out out;
    metallm_error err = {0};
    int rc = metallm__wire_request_out(w, r, &target, &out, &err);
    MUST(rc == METALLM_OK || rc == METALLM_EINVAL);
    MUST((rc == METALLM_OK) == (err.message[0] == '\0'));
    if (rc != METALLM_OK)
        return;
    MUST(out.is_translated && out.span_count == 1 && out.path.n > 0);
    must_be_json(out.spans[0].p, out.spans[0].n);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(w->name, readers[i].protocol) == 0)
            read_back(readers[i].kind, out.spans[0]);
    metallm__wire_out_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__wire_request r;
    const struct metallm__talk *talk;
    metallm_error err = {0};
    if (size < 1)
        return 0;
    struct metallm__span body = metallm__span((const char *)data + 1, size - 1);
    enum metallm__wire_kind kind = wire_kinds[data[0] % WIRE_KINDS].kind;
    if (metallm__wire_request_read(&r, kind, body, NULL, &err) != METALLM_OK) {
        MUST(err.message[0] != '\0');
        return 0;
    }
    if (metallm__wire_request_talk(&r, &talk, &err) != METALLM_OK)
        MUST(err.message[0] != '\0');
    else
        for (size_t i = 0; metallm__wire_at(i) != NULL; i++)
            say(metallm__wire_at(i), &r);
    metallm__wire_request_fini(&r);
    return 0;
}
