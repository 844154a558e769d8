/* SPDX-License-Identifier: Apache-2.0
 * openai.h - what the files of OpenAI's chat completions, completions and embeddings share; for
 * src/wire alone. */
#ifndef WIRE_OPENAI_OPENAI_H
#define WIRE_OPENAI_OPENAI_H
#include "base/json_out.h"
#include "wire/talk_read.h"
#include "wire/wire.h"

/* ---- Requests. ---- */

/* A request being read as a talk. */
struct metallm__openai_reading {
    struct metallm__pool *pool;
    struct metallm__talk *talk;
    uint32_t max_tokens; /* the older member */
    const char **param;
    metallm_error *err;
};
/* METALLM_EINVAL: "'MEMBER' must be MUST". member is static. */
int metallm__openai_wrong(struct metallm__openai_reading *r, const char *member, const char *must);
void metallm__openai_use(struct metallm__openai_reading *r, enum metallm__feature f);
/* Members that chats and completions have in common. METALLM_ENOTFOUND: it is none of them. */
int metallm__openai_option_in(struct metallm__openai_reading *r, struct metallm__span name,
                              yyjson_val *v);
/* A member that is not known. */
void metallm__openai_other_in(struct metallm__openai_reading *r, struct metallm__span name);
int metallm__openai_messages_in(struct metallm__openai_reading *r, yyjson_val *v);
/* What is left of a message's reasoning_details, which stand in the order of the calls that they
 * belong to. */
struct metallm__openai_details {
    yyjson_arr_iter items;
    yyjson_val *next; /* NULL: none */
};
/* What the LLM thought before its content; the rest is left in *d. */
int metallm__openai_reasoning_in(yyjson_val *message, struct metallm__openai_details *d,
                                 struct metallm__part_list *parts, metallm_error *err);
/* What it thought before this call. */
int metallm__openai_details_in(struct metallm__openai_details *d, int64_t call,
                               struct metallm__part_list *parts, metallm_error *err);
int metallm__openai_talk_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__talk *out,
                            const char **param, metallm_error *err);

extern const uint8_t metallm__openai_verdicts[METALLM__FEATURES];
int metallm__openai_talk_out(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                             struct metallm__wire_out *out, metallm_error *err);
int metallm__openai_head_out(const struct metallm__wire_target *t,
                             const struct metallm__wire_out *body, int64_t wall_ms,
                             struct metallm__buf *lines, metallm_error *err);
/* Azure's classic URL around out->path, where the target is such a one. */
int metallm__openai_path(const struct metallm__wire_target *t, struct metallm__wire_out *out,
                         metallm_error *err);
void metallm__openai_messages_out(struct metallm__jw *j, const struct metallm__talk *talk);

/* ---- Answers. ---- */

/* Numbers are raw. */
void metallm__openai_read_answer(yyjson_val *root, struct metallm__wire_answer *out);
/* Adds a chunk to what is known. true: it carries usage and nothing else. */
bool metallm__openai_read_chunk(yyjson_val *root, struct metallm__wire_answer *out);
void metallm__openai_read_usage(yyjson_val *usage, struct metallm__wire_usage *out);
enum metallm__wire_finish metallm__openai_finish_in(struct metallm__span reason);
/* true: it is an error object; err has the upstream's sentence. */
bool metallm__openai_read_error(yyjson_val *root, metallm_error *err);
void metallm__openai_error_in(struct metallm__span body, struct metallm__wire_error *out);
int metallm__openai_said_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                            metallm_error *err);
int metallm__openai_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                             bool *is_end);

/* "stop"; a finish that OpenAI has no word for is "stop", too. */
const char *metallm__openai_finish_out(enum metallm__wire_finish finish, bool has_calls);
/* The member "usage"; nothing where the counts are not known. */
void metallm__openai_usage_out(struct metallm__jw *j, const struct metallm__wire_usage *u);
/* An answer's id: prefix and the upstream's own, which may begin with it. */
void metallm__openai_id_out(struct metallm__jw *j, const char *prefix, struct metallm__span id);
int metallm__openai_said_out(const struct metallm__said *said,
                             const struct metallm__wire_request *request,
                             struct metallm__span model, int64_t wall_s, struct metallm__buf *out,
                             metallm_error *err);
int metallm__openai_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                              struct metallm__buf *events, struct metallm__buf *usage,
                              struct metallm__buf *last, metallm_error *err);
int metallm__completion_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                  struct metallm__buf *events, struct metallm__buf *usage,
                                  struct metallm__buf *last, metallm_error *err);

#endif
