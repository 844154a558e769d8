/* SPDX-License-Identifier: Apache-2.0
 * scan.h - the byte ranges of an object's members in JSON text that a parser has accepted already:
 * what can be cut out or replaced without touching the other bytes. */
#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H
#include "base/span.h"

struct metallm__scan {
    const char *bytes;
    size_t at, end;
    size_t comma;   /* where the last comma stood; SIZE_MAX: none yet */
    unsigned depth; /* deepest nesting seen, the object itself being 1 */
};

struct metallm__scan_member {
    size_t key;          /* the quote that opens the key */
    size_t value, stop;  /* value: bytes[value, stop) */
    size_t comma_before; /* SIZE_MAX: it is the first */
    size_t comma_after;  /* SIZE_MAX: it is the last */
};

/* text must be valid JSON and an object, blanks around it allowed. Returns where the first byte
 * behind the opening brace is. */
size_t metallm__scan_begin(struct metallm__scan *s, struct metallm__span text);
/* The next member, in the text's order; false: there is none left. */
bool metallm__scan_next(struct metallm__scan *s, struct metallm__scan_member *out);

#endif
