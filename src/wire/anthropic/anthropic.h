/* SPDX-License-Identifier: Apache-2.0
 * anthropic.h - what the files of Anthropic's Messages protocol share. Shapes: the official Python
 * SDK, anthropic 2.14.0 (2026-11). */
#ifndef WIRE_ANTHROPIC_ANTHROPIC_H
#define WIRE_ANTHROPIC_ANTHROPIC_H
#include "base/json_out.h"
#include "wire/talk_read.h"
#include "wire/wire.h"

/* Who can read a seal: that of a thinking block, and the data of a redacted one, which has no text.
 */
#define METALLM__ANTHROPIC_SEAL     "anthropic"
#define METALLM__ANTHROPIC_REDACTED "anthropic-redacted"

/* A request being read. */
struct metallm__anthropic_reading {
    struct metallm__pool *pool;
    struct metallm__talk *out;
    const char **param;
    metallm_error *err;
    struct metallm__turn_list turns;
};
/* METALLM_EINVAL: "'MEMBER' must be MUST". */
int metallm__anthropic_wrong(struct metallm__anthropic_reading *r, const char *member,
                             const char *must);
/* A member or value that a talk has no place for. */
void metallm__anthropic_other(struct metallm__anthropic_reading *r, struct metallm__span name);
/* The string or blocks of a "system", or of a message's "content", into parts. */
int metallm__anthropic_content_in(struct metallm__anthropic_reading *r, yyjson_val *content,
                                  enum metallm__role role, struct metallm__part_list *parts);
int metallm__anthropic_cache_in(struct metallm__anthropic_reading *r, yyjson_val *v,
                                enum metallm__cache_mark *out);

/* Surface messages: see surface.h. */
int metallm__anthropic_talk_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__talk *out, const char **param, metallm_error *err);
int metallm__anthropic_said_out(const struct metallm__said *said,
                                const struct metallm__wire_request *request,
                                struct metallm__span model, int64_t wall_s,
                                struct metallm__buf *out, metallm_error *err);
int metallm__anthropic_delta_out(struct metallm__telling *t, const struct metallm__delta *delta,
                                 struct metallm__buf *events, struct metallm__buf *usage,
                                 struct metallm__buf *last, metallm_error *err);

/* Some turns, of which those of this role are said as one message. */
struct metallm__anthropic_turns {
    const struct metallm__turn *turns;
    size_t count;
    enum metallm__role role;
};
/* Is anything of them said? Tells in out->dropped what is not. */
bool metallm__anthropic_has_content(const struct metallm__anthropic_turns *t,
                                    struct metallm__wire_out *out);
/* The content of that message: a string or an array of blocks. METALLM_EINVAL: a kind of image or
 * document that the API does not take. */
int metallm__anthropic_content_out(struct metallm__jw *j, const struct metallm__anthropic_turns *t,
                                   metallm_error *err);
void metallm__anthropic_cache_out(struct metallm__jw *j, enum metallm__cache_mark cache);
/* A call's id, which may only be of letters, digits, "_" and "-": any other byte as "_XX". */
void metallm__anthropic_call_id(struct metallm__jw *j, struct metallm__span id);

/* Upstream anthropic: see wire.h. */
int metallm__anthropic_talk_out(const struct metallm__talk *talk,
                                const struct metallm__wire_target *t, struct metallm__wire_out *out,
                                metallm_error *err);
/* 406 for "claude-opus-4-6" and "us.anthropic.claude-sonnet-4-6-v1", 305 for "claude-3-5-haiku"; 0:
 * the name tells none. */
unsigned metallm__anthropic_version(struct metallm__span model);
int metallm__anthropic_said_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__said *out, metallm_error *err);
int metallm__anthropic_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                                bool *is_end);
void metallm__anthropic_error_in(struct metallm__span body, struct metallm__wire_error *out);

/* What both kinds of answers share. */
enum metallm__wire_finish metallm__anthropic_finish(yyjson_val *stop_reason);
/* What the object tells; the rest of *out stays. */
void metallm__anthropic_usage_in(yyjson_val *usage, struct metallm__wire_usage *out);
/* An error object's sentence into err, "TYPE: MESSAGE"; false: root is none. */
bool metallm__anthropic_error(yyjson_val *root, metallm_error *err);

/* What both ways to write an answer share. */
/* An id in the form that clients know, "msg_...", into out[room]. */
void metallm__anthropic_id(struct metallm__span id, int64_t wall_s, char *out, size_t room);
const char *metallm__anthropic_stop_reason(enum metallm__wire_finish finish, bool has_calls,
                                           bool has_refusal);
/* The members of a usage object; what is not known is 0. */
void metallm__anthropic_usage_out(struct metallm__jw *j, const struct metallm__wire_usage *u);

#endif
