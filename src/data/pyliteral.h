/* SPDX-License-Identifier: Apache-2.0
 * pyliteral.h - Python's repr of a list (or tuple) of strings, as data frames saved to CSV hold it:
 * ['it\'s', "two"]. */
#ifndef DATA_PYLITERAL_H
#define DATA_PYLITERAL_H
#include <stdbool.h>

#include "base/buf.h"
#include "data/text.h"

/* Appends the strings, parted by a line feed, to out as UTF-8. false: not such a list (out then
 * holds what was read so far). */
bool metallm__pyliteral_strings(struct metallm__span text, struct metallm__buf *out);

#endif
