/* SPDX-License-Identifier: Apache-2.0
 * json_out.h - writes JSON into a buffer: commas and escapes are its own, the rest is the caller's.
 */
#ifndef BASE_JSON_OUT_H
#define BASE_JSON_OUT_H
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

struct metallm__jw { /* .out set, the rest cleared */
    struct metallm__buf *out;
    bool wants_comma;
};
void metallm__jw_open(struct metallm__jw *j, char bracket); /* '{' or '[' */
void metallm__jw_close(struct metallm__jw *j, char bracket);
void metallm__jw_name(struct metallm__jw *j, const char *name);
void metallm__jw_text(struct metallm__jw *j, const char *text); /* NULL: null */
void metallm__jw_bytes(struct metallm__jw *j, const char *text, size_t len);
void metallm__jw_count(struct metallm__jw *j, uint64_t value);
void metallm__jw_integer(struct metallm__jw *j, int64_t value);
void metallm__jw_real(struct metallm__jw *j, double value); /* not finite: null */
void metallm__jw_flag(struct metallm__jw *j, bool value);
void metallm__jw_raw(struct metallm__jw *j, const char *json); /* a whole value */
void metallm__jw_span(struct metallm__jw *j, struct metallm__span text);
void metallm__jw_json(struct metallm__jw *j, struct metallm__span json); /* a whole value */

/* A JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void metallm__json_string(struct metallm__buf *out, const char *text, size_t len);
void metallm__json_escaped(struct metallm__buf *out, const char *text, size_t len); /* no quotes */
/* The escaped form of a text, without quotes, into out; what is not UTF-8 becomes U+FFFD. Stops
 * before a character that does not fit. Returns the bytes written; *used: the bytes read. */
size_t metallm__jw_escape(char *out, size_t room, const char *text, size_t len, size_t *used);

#endif
