/* SPDX-License-Identifier: Apache-2.0
 * remote.h - what the remote encoder says over the wire: bytes in, bytes out, no socket. */
#ifndef ENCODER_REMOTE_H
#define ENCODER_REMOTE_H
#include "base/buf.h"
#include "metallm/encoder.h"

#define METALLM__REMOTE_DIM_MAX   16384u
#define METALLM__REMOTE_BATCH_MAX 2048u

/* The body of a request: {"model", "input": [...], "encoding_format": "float"}. Invalid UTF-8
 * becomes U+FFFD, a text longer than text_bytes is cut at a character, an empty one is sent as a
 * blank (endpoints refuse ""). */
METALLM_MUSTCHECK int metallm__remote_request(struct metallm__buf *out, const char *model,
                                              const char *const *texts, const size_t *lens,
                                              size_t count, size_t text_bytes, metallm_error *err);

/* Reads an answer to count texts. *dim 0: any dimension, which is written to *dim and out is not
 * touched (count is 1 then). Else out gets row i at out + i * stride, made unit length.
 * METALLM_EFORMAT: not JSON, not count embeddings, an index out of place, a number that is not
 * finite, a vector of zeros; METALLM_EMISMATCH: another dimension. */
METALLM_MUSTCHECK int metallm__remote_answer(const char *body, size_t len, size_t count,
                                             uint32_t *dim, float *out, size_t stride,
                                             metallm_error *err);

/* The sentence of an OpenAI error object, made safe to print; "" where there is none, or where it
 * holds the key. */
void metallm__remote_complaint(const char *body, size_t len, const char *key, char *out,
                               size_t out_size);
#endif
