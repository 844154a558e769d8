/* SPDX-License-Identifier: Apache-2.0
 * openai_answer.h - what OpenAI's answers, stream chunks and errors tell of themselves; for
 * src/wire alone. */
#ifndef WIRE_OPENAI_ANSWER_H
#define WIRE_OPENAI_ANSWER_H
#include "wire/wire.h"

/* Numbers may be raw (YYJSON_READ_NUMBER_AS_RAW) or read. */
void metallm__openai_read_answer(yyjson_val *root, struct metallm__wire_answer *out);
/* Adds a chunk to what is known. true: it carries usage and nothing else. */
bool metallm__openai_read_chunk(yyjson_val *root, struct metallm__wire_answer *out);
/* true: it is an error object; err has the upstream's sentence. */
bool metallm__openai_read_error(yyjson_val *root, metallm_error *err);
int metallm__openai_head_out(const struct metallm__wire_target *t,
                             const struct metallm__wire_out *body, int64_t wall_ms,
                             struct metallm__buf *lines, metallm_error *err);
void metallm__openai_error_in(struct metallm__span body, struct metallm__wire_error *out);

#endif
