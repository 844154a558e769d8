/* SPDX-License-Identifier: Apache-2.0
 * talk_read.h - what the readers of requests and answers share: lists that grow in a pool, JSON
 * kept as text, data URLs. */
#ifndef WIRE_TALK_READ_H
#define WIRE_TALK_READ_H
#include "base/json.h"
#include "wire/json_text.h"
#include "wire/talk.h"

/* Parts and turns in their order. NULL from add: no memory or too many; the pool says which. */
struct metallm__part_list {
    struct metallm__pool *pool;
    struct metallm__part *items;
    size_t count, room;
};
struct metallm__part *metallm__part_add(struct metallm__part_list *l, enum metallm__part_kind kind);

struct metallm__turn_list {
    struct metallm__pool *pool;
    struct metallm__turn *items;
    size_t count, room;
    struct metallm__part_list parts; /* of the turn at hand */
    bool is_open;
};
/* The parts to add to for this role: those of the turn at hand, or of a new one. NULL: failed. */
struct metallm__part_list *metallm__turn_parts(struct metallm__turn_list *l,
                                               enum metallm__role role);
/* Begins a turn whatever the one at hand is. false: failed. */
bool metallm__turn_begin(struct metallm__turn_list *l, enum metallm__role role);
void metallm__turn_end(struct metallm__turn_list *l); /* closes the one at hand */

/* The compact JSON text of a value, numbers as they were written. Empty where the pool failed or v
 * is NULL. */
struct metallm__span metallm__json_kept(struct metallm__pool *pool, yyjson_val *v);
/* The texts of this member in an array of objects, joined by line ends. */
struct metallm__span metallm__json_texts(struct metallm__pool *pool, yyjson_val *array,
                                         const char *member);
/* Is it the text of one JSON object, nested at most 128 deep? (json_check.c) */
bool metallm__json_is_object(struct metallm__span text);
/* Takes "data:image/png;base64,AAAA" apart; false: it is no such URL. */
bool metallm__data_url(struct metallm__span url, struct metallm__span *media,
                       struct metallm__span *data);
/* An image, audio or file part from a URL: data or url is set. */
void metallm__part_source(struct metallm__part *part, struct metallm__span url);

/* A number into *out; false: v is none. Numbers may be raw. */
bool metallm__json_real(yyjson_val *v, double *out);
bool metallm__json_count(yyjson_val *v, uint64_t most, uint64_t *out);
/* A count of tokens into *out; what is none, or absurd, leaves it. */
void metallm__json_tokens(yyjson_val *v, int64_t *out);

/* METALLM_EINVAL: "'MEMBER' must be MUST"; *param = member, which is static. */
int metallm__talk_wrong(const char **param, const char *member, const char *must,
                        metallm_error *err);

#endif
