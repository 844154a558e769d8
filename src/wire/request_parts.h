/* SPDX-License-Identifier: Apache-2.0
 * request_parts.h - what the files that read a request share; for src/wire alone. */
#ifndef WIRE_REQUEST_PARTS_H
#define WIRE_REQUEST_PARTS_H
#include "wire/request.h"
#include "wire/scan.h"

/* A piece of text: it lies in the document, or at an offset of out->texts, which may still move. */
struct metallm__wire_piece {
    const char *direct; /* NULL: joined */
    size_t offset, len;
};

struct metallm__wire_reading {
    struct metallm__wire_request *out;
    const struct metallm__scan_member *member; /* where the top-level member at hand stands */
    struct metallm__wire_range at;             /* its value */
    struct metallm__wire_piece user, system;
    uint64_t tokens; /* estimated so far */
    uint32_t max_tokens;
    const char *param; /* what is wrong */
    metallm_error *err;
};

/* METALLM_EINVAL: "'MEMBER' must be MUST". member is static. */
int metallm__wire_wrong(struct metallm__wire_reading *r, const char *member, const char *must);
bool metallm__wire_key_is(yyjson_val *key, const char *name);

/* More text of a message; of several, joined by a line end. */
void metallm__wire_piece_add(struct metallm__wire_reading *r, struct metallm__wire_piece *p,
                             struct metallm__span s);

#define MESSAGE_TOKENS 4u   /* role and marks of a message (OpenAI's cookbook, "count tokens") */
#define IMAGE_TOKENS   765u /* an image of 1024 x 1024 (OpenAI's vision guide) */
#define AUDIO_TOKENS   600u /* a minute */
#define FILE_TOKENS    1500u

/* Kinds whose surface reads them as a talk at once: talk, needs and text. */
int metallm__wire_talk_read(struct metallm__wire_reading *r);
int metallm__wire_messages_read(struct metallm__wire_reading *r, yyjson_val *v);
int metallm__wire_prompt_read(struct metallm__wire_reading *r, yyjson_val *v);
int metallm__wire_input_read(struct metallm__wire_reading *r, yyjson_val *v);
int metallm__wire_text_settle(struct metallm__wire_reading *r); /* after all members */
int metallm__wire_hints_read(struct metallm__wire_reading *r, yyjson_val *v);

#endif
