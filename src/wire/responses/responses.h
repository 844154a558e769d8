/* SPDX-License-Identifier: Apache-2.0
 * responses.h - what the files of OpenAI's Responses protocol share; for src/wire alone.
 * request_in.c, answer_out.c, stream_out.c: what clients speak.
 * request_out.c, answer_in.c, stream_in.c: what an upstream speaks. */
#ifndef WIRE_RESPONSES_RESPONSES_H
#define WIRE_RESPONSES_RESPONSES_H
#include "base/json_out.h"
#include "wire/wire.h"

#define METALLM__RESPONSES "openai-responses" /* the protocol's name, and whose seals are bare */

int metallm__responses_talk_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__talk *out, const char **param, metallm_error *err);
int metallm__responses_said_out(const struct metallm__said *said,
                                const struct metallm__wire_request *request,
                                struct metallm__span model, int64_t wall_s,
                                struct metallm__buf *out, metallm_error *err);
int metallm__responses_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                 struct metallm__buf *events, struct metallm__buf *usage,
                                 struct metallm__buf *last, metallm_error *err);
void metallm__responses_error_event(struct metallm__buf *out,
                                    const struct metallm__wire_refusal *e);

int metallm__responses_talk_out(const struct metallm__talk *talk,
                                const struct metallm__wire_target *t, struct metallm__wire_out *out,
                                metallm_error *err);
int metallm__responses_said_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__said *out, metallm_error *err);
int metallm__responses_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                                bool *is_end);

/* ---- answer_out.c: the objects that whole answers and streams share. ---- */
struct metallm__responses_frame { /* of a response object */
    struct metallm__span id, model;
    int64_t wall_s;
    const struct metallm__wire_request *request;
    enum metallm__wire_finish finish;
    bool is_done;                            /* else in progress */
    struct metallm__span output;             /* items, JSON text without the brackets */
    const struct metallm__wire_usage *usage; /* NULL: null */
};
void metallm__responses_frame_write(struct metallm__jw *j,
                                    const struct metallm__responses_frame *f);
/* An item of the output: a message around one part, a call, or reasoning. id: its own. is_done:
 * with its text; else as it begins. */
void metallm__responses_item_write(struct metallm__jw *j, const struct metallm__part *part,
                                   struct metallm__span id, bool is_done);
/* An item's own id. */
#define METALLM__RESPONSES_ID_BYTES 80u
struct metallm__span metallm__responses_item_id(char room[METALLM__RESPONSES_ID_BYTES],
                                                enum metallm__part_kind kind, unsigned number,
                                                struct metallm__span id);
/* The content part of a message. */
void metallm__responses_content_write(struct metallm__jw *j, enum metallm__part_kind kind,
                                      struct metallm__span text);

/* ---- answer_in.c ---- */
void metallm__responses_usage_in(yyjson_val *usage, struct metallm__wire_usage *out);
enum metallm__wire_finish metallm__responses_finish_in(yyjson_val *response, bool has_calls);
/* METALLM_EFORMAT with the upstream's sentence. */
int metallm__responses_error_in(yyjson_val *error, metallm_error *err);

#endif
