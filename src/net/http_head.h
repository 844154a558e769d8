/* SPDX-License-Identifier: Apache-2.0
 * http_head.h - where a message's head is collected while it arrives in any pieces: one growing
 * buffer for all names and values, and the list of headers that point into it. */
#ifndef NET_HTTP_HEAD_H
#define NET_HTTP_HEAD_H
#include <stdint.h>

#include "net/http.h"

struct metallm__http_head {
    char *bytes;
    size_t n, cap, max; /* max: bytes of names and values together */
    struct metallm__header *headers;
    size_t count, header_cap, count_max;
    bool is_in_value;
};

enum metallm__head_fault {
    METALLM__HEAD_OK,
    METALLM__HEAD_TOO_LARGE, /* bytes or count */
    METALLM__HEAD_NO_MEMORY,
};

void metallm__head_fini(struct metallm__http_head *head);
/* Empty again, for the next message; memory over keep_bytes is given back. */
void metallm__head_reset(struct metallm__http_head *head, size_t keep_bytes);
/* Room for n more bytes; what points into it moves along. extra: a span of the caller's that points
 * into it, or NULL. */
enum metallm__head_fault metallm__head_room(struct metallm__http_head *head, size_t n,
                                            struct metallm__span *extra);
enum metallm__head_fault metallm__head_name(struct metallm__http_head *head, const char *p,
                                            size_t n,
                                            struct metallm__span *extra); /* lower case is made */
enum metallm__head_fault metallm__head_value(struct metallm__http_head *head, const char *p,
                                             size_t n, struct metallm__span *extra);
/* The headers are all there: values are trimmed. False: one holds control characters. */
bool metallm__head_finish(struct metallm__http_head *head);
/* How many headers have that name, and the first one's value. */
size_t metallm__head_count(const struct metallm__http_head *head, const char *lower_name,
                           struct metallm__span *value);

#endif
