/* SPDX-License-Identifier: Apache-2.0
 * gemini.h - the parts of Gemini's protocol (Google AI, v1beta): generateContent, its stream, and
 * embeddings. For the files gemini*.c alone. */
#ifndef WIRE_GEMINI_GEMINI_H
#define WIRE_GEMINI_GEMINI_H
#include "wire/wire.h"

#define METALLM__GEMINI                "gemini"
#define METALLM__GEMINI_STOPS_MAX      5u
#define METALLM__GEMINI_LOGPROBS_MAX   20u
#define METALLM__GEMINI_EMBEDDINGS_MAX 100u /* texts of one batch */

/* "/models/NAME" appended; a name with its collection ("tunedModels/x") keeps it. */
void metallm__gemini_path_write(struct metallm__buf *out, struct metallm__span model);

int metallm__gemini_talk_out(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                             struct metallm__wire_out *out, metallm_error *err);
int metallm__gemini_said_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                            metallm_error *err);
int metallm__gemini_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                             bool *is_end);
int metallm__gemini_embed_out(const struct metallm__wire_request *r,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out,
                              metallm_error *err);
int metallm__gemini_embed_in(yyjson_val *root, const struct metallm__wire_request *r,
                             struct metallm__buf *out, struct metallm__wire_answer *answer,
                             metallm_error *err);

/* Is this answer an error object? Then METALLM_EFORMAT with the upstream's sentence. */
int metallm__gemini_error_check(yyjson_val *root, metallm_error *err);
/* Why a candidate ended; has_calls: it called a tool. METALLM_EFORMAT: it broke off, which is no
 * answer. reason NULL: METALLM__WIRE_FINISH_NONE. */
int metallm__gemini_finish_in(yyjson_val *candidate, bool has_calls, enum metallm__wire_finish *out,
                              metallm_error *err);
/* What "usageMetadata" tells; the rest stays as it was. */
void metallm__gemini_usage_in(yyjson_val *usage, struct metallm__wire_usage *out);
/* The id of a call: its own, or one made of the answer's id, the call's number in it, its name and
 * its arguments. */
struct metallm__span metallm__gemini_call_id(struct metallm__pool *pool, yyjson_val *call,
                                             struct metallm__span response_id, unsigned number,
                                             struct metallm__span args);
/* "logprobsResult" as OpenAI's "logprobs" of a choice; empty: it has none. */
struct metallm__span metallm__gemini_logprobs_in(yyjson_val *result, struct metallm__pool *pool);

#endif
