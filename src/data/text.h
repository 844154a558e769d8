/* SPDX-License-Identifier: Apache-2.0
 * text.h - looking at bytes from a file: is it UTF-8, is it a number, how is it shown in a message.
 * Nothing here allocates or depends on the locale. */
#ifndef DATA_TEXT_H
#define DATA_TEXT_H
#include <stdbool.h>
#include <stddef.h>

/* Bytes that belong to somebody else; not closed by NUL. A missing text has bytes == NULL. */
struct metallm__span {
    const char *bytes;
    size_t len;
};

struct metallm__span metallm__span_of(const char *text);         /* NULL gives a missing span */
struct metallm__span metallm__span_trim(struct metallm__span s); /* blanks at both ends */
bool metallm__span_is(struct metallm__span s, const char *text);
/* Whether it ends in suffix (with something before it), which is then cut off. */
bool metallm__span_cut_end(struct metallm__span *s, const char *suffix);
bool metallm__span_is_nocase(struct metallm__span s, const char *text); /* ASCII letters */

/* Well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates). */
bool metallm__text_is_utf8(struct metallm__span s);
/* Appends the UTF-8 form of a code point to out (4 bytes of room); bytes written, 0 when it has
 * none (surrogates, above U+10FFFF). */
size_t metallm__text_put_utf8(char *out, unsigned long code);
/* A decimal number, blanks around it allowed: 1, -2.5, .5, 1e-3. "nan" and "inf" are none. */
bool metallm__text_number(struct metallm__span s, double *out);

#define METALLM__SHOWN_BYTES 56u
/* A value as it stands in a message: cut (with "..."), control characters and bytes that are not
 * UTF-8 written as \xHH. Returns out, METALLM__SHOWN_BYTES bytes of the caller. */
const char *metallm__text_show(char *out, struct metallm__span s);

#endif
