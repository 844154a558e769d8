/* SPDX-License-Identifier: Apache-2.0
 * http.h - what HTTP server and client share: headers as spans, methods, statuses. */
#ifndef NET_HTTP_H
#define NET_HTTP_H
#include "base/span.h"

enum metallm__method {
    METALLM__GET,
    METALLM__HEAD,
    METALLM__POST,
    METALLM__PUT,
    METALLM__PATCH,
    METALLM__DELETE,
    METALLM__OPTIONS,
};
const char *metallm__method_name(enum metallm__method method); /* "GET"; static */

struct metallm__header {
    struct metallm__span name, value; /* received ones: name in lower case, value trimmed */
};

struct metallm__headers {
    const struct metallm__header *at;
    size_t count;
};

/* The first one of that name, which is given in lower case; NULL: none. */
const struct metallm__header *metallm__headers_find(struct metallm__headers headers,
                                                    const char *lower_name);
/* Its value; an empty span (p NULL) if there is none. */
struct metallm__span metallm__headers_value(struct metallm__headers headers,
                                            const char *lower_name);
/* Headers that belong to one connection alone (connection, keep-alive, te, trailer,
 * transfer-encoding, upgrade, proxy-*) and content-length: not to be passed on. Any case. */
bool metallm__header_is_hop(struct metallm__span name);
/* A token, and a value without control characters: can be sent. */
bool metallm__header_is_sound(const struct metallm__header *header);

struct metallm__buf;
void metallm__http_put_number(struct metallm__buf *b, uint64_t value); /* in decimal */

const char *metallm__status_text(int status); /* "Not Found"; "Status" for unknown ones; static */

#endif
