/* SPDX-License-Identifier: Apache-2.0
 * fuzz_wire_request.c - any bytes as a client's request, of each kind: refused with a sentence, or
 * passed on to an upstream of the same protocol as JSON that has the upstream's model and not our
 * own member. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

static void check_written(struct metallm__wire_request *r)
{
    const struct metallm__wire_target target = {.model = METALLM__SPAN("up"),
                                                .model_json = METALLM__SPAN("\"up\""),
                                                .native = ~0u,
                                                .is_usage_asked = true};
    struct metallm__wire_out out;
    bool is_anthropic = r->kind == METALLM__WIRE_MESSAGES || r->kind == METALLM__WIRE_COUNT;
    if (metallm__wire_request_out(is_anthropic ? &metallm__wire_anthropic : &metallm__wire_openai,
                                  r, &target, &out, NULL) != METALLM_OK)
        __builtin_trap();
    char *text = malloc(out.body_bytes + 1);
    size_t n = 0;
    for (unsigned i = 0; text != NULL && i < out.span_count; n += out.spans[i++].n)
        memcpy(text + n, out.spans[i].p, out.spans[i].n);
    yyjson_doc *doc = yyjson_read(text, n, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (n != out.body_bytes || !yyjson_equals_str(yyjson_obj_get(root, "model"), "up") ||
        yyjson_obj_get(root, "metallm") != NULL)
        __builtin_trap();
    if (r->is_stream && r->kind <= METALLM__WIRE_COMPLETION &&
        !yyjson_is_true(yyjson_obj_get(yyjson_obj_get(root, "stream_options"), "include_usage")))
        __builtin_trap();
    yyjson_doc_free(doc);
    free(text);
    metallm__wire_out_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int kind = 0; kind < METALLM__WIRE_KINDS; kind++) {
        struct metallm__wire_request r;
        metallm_error err = {0};
        const char *param = NULL;
        struct metallm__span body = metallm__span((const char *)data, size);
        int rc = metallm__wire_request_read(&r, (enum metallm__wire_kind)kind, body, &param, &err);
        if (rc != METALLM_OK) {
            if (err.message[0] == '\0')
                __builtin_trap();
            continue;
        }
        if (r.model.n == 0 || r.text.n > METALLM__WIRE_TEXT_BYTES_MAX + 1024 || r.needs.choices < 1)
            __builtin_trap();
        check_written(&r);
        metallm__wire_request_fini(&r);
    }
    return 0;
}
