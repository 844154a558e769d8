/* SPDX-License-Identifier: Apache-2.0
 * vectors.h - OpenAI's embeddings for upstreams that have them in another form: what is asked,
 * and the answer being written. */
#ifndef WIRE_VECTORS_H
#define WIRE_VECTORS_H
#include "base/json_out.h"
#include "wire/request.h"

struct metallm__vectors_ask {
    yyjson_val *input;   /* a string, or an array of them */
    size_t count;        /* texts; >= 1 */
    uint32_t dimensions; /* 0: not said */
    bool is_base64;      /* the client wants vectors as base64 of floats */
};

/* METALLM_EINVAL, in a sentence: tokens instead of texts, or a member that cannot be said to this
 * protocol ("user" is let go). */
METALLM_MUSTCHECK int metallm__vectors_read(struct metallm__vectors_ask *out,
                                            const struct metallm__wire_request *r,
                                            const char *protocol, metallm_error *err);
struct metallm__span metallm__vectors_text(const struct metallm__vectors_ask *ask, size_t i);

/* {"object":"list","data":[ ... ],"model":M,"usage":{...}}: begin, each vector in its order, end.
 * vector: METALLM_EFORMAT where values is no array of numbers. tokens: -1: not told, and those that
 * the request was taken for. */
void metallm__vectors_begin(struct metallm__jw *j);
METALLM_MUSTCHECK int metallm__vectors_one(struct metallm__jw *j, size_t index, yyjson_val *values,
                                           bool is_base64, metallm_error *err);
void metallm__vectors_end(struct metallm__jw *j, const struct metallm__wire_request *r,
                          int64_t tokens);

#endif
