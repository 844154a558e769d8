/* SPDX-License-Identifier: Apache-2.0
 * bedrock.h - what the files of the protocols "bedrock" (Converse, ConverseStream) and
 * "bedrock-invoke" (InvokeModel, for Amazon's Titan models) share. Shapes: the service model of
 * bedrock-runtime in botocore 1.44.8, and AWS's "Amazon Bedrock User Guide" for what single models
 * take in additionalModelRequestFields. */
#ifndef WIRE_BEDROCK_BEDROCK_H
#define WIRE_BEDROCK_BEDROCK_H
#include "base/json_out.h"
#include "wire/talk_read.h"
#include "wire/wire.h"

/* Whose seals these are: a signature of reasoning text, and reasoning that is encrypted whole. */
#define METALLM__BEDROCK_SEAL     "bedrock"
#define METALLM__BEDROCK_REDACTED "bedrock-redacted"

#define METALLM__BEDROCK_NAME_BYTES_MAX 64u /* of tools and of the ids of their calls */

/* Who made the model, as far as its id or ARN tells. */
enum metallm__bedrock_vendor {
    METALLM__BEDROCK_OTHER = 0,
    METALLM__BEDROCK_UNKNOWN, /* an ARN that does not name the model */
    METALLM__BEDROCK_CLAUDE,
    METALLM__BEDROCK_NOVA
};
enum metallm__bedrock_vendor metallm__bedrock_vendor(struct metallm__span model);

/* A request being written. */
struct metallm__bedrock_writing {
    struct metallm__jw j;
    const struct metallm__talk *talk;
    struct metallm__wire_out *out; /* ... to, and what is left out */
    enum metallm__bedrock_vendor vendor;
    unsigned version;   /* of Claude, 406: 4.6; 0: another, or not known */
    unsigned documents; /* so far: their names must differ */
};

/* "/model/ID/NAME" into out->path. */
int metallm__bedrock_path(struct metallm__wire_out *out, struct metallm__span model,
                          const char *name, metallm_error *err);
/* Is there anything in these turns that is told? */
bool metallm__bedrock_has_content(const struct metallm__turn *turns, size_t count);
/* Is there reasoning that is not, as its seal is another protocol's? */
bool metallm__bedrock_drops_reasoning(const struct metallm__talk *talk);
/* The array of content blocks of turns of one role. */
int metallm__bedrock_content_out(struct metallm__bedrock_writing *w,
                                 const struct metallm__turn *turns, size_t count,
                                 metallm_error *err);
/* The element that marks the prompt so far for the cache, where the model has one. */
void metallm__bedrock_cache_out(struct metallm__bedrock_writing *w, enum metallm__cache_mark mark);
/* METALLM_EINVAL: Bedrock takes no tool of this name. */
int metallm__bedrock_tool_name(struct metallm__jw *j, struct metallm__span name,
                               metallm_error *err);

int metallm__bedrock_talk_out(const struct metallm__talk *talk,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out,
                              metallm_error *err);
int metallm__bedrock_said_in(yyjson_val *root, struct metallm__pool *pool,
                             struct metallm__said *out, metallm_error *err);
int metallm__bedrock_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                              bool *is_end);

/* Shared with bedrock-invoke. */
int metallm__bedrock_head_out(const struct metallm__wire_target *t,
                              const struct metallm__wire_out *body, int64_t wall_ms,
                              struct metallm__buf *lines, metallm_error *err);
void metallm__bedrock_error_in(struct metallm__span body, struct metallm__wire_error *out);
/* METALLM_EFORMAT with the upstream's sentence where the object is an error's. */
int metallm__bedrock_check(yyjson_val *root, metallm_error *err);
/* An event that tells of an error: METALLM_EFORMAT, always. */
int metallm__bedrock_exception(struct metallm__hearing *h, const struct metallm__wire_event *event);

/* ---- For answer_in and stream_in. ---- */
enum metallm__wire_finish metallm__bedrock_finish(struct metallm__span stop_reason);
void metallm__bedrock_usage_in(yyjson_val *usage, struct metallm__wire_usage *out);

#endif
