/* SPDX-License-Identifier: Apache-2.0
 * json_text.h - the text of a JSON value, whatever the value is. */
#ifndef WIRE_JSON_TEXT_H
#define WIRE_JSON_TEXT_H
#include <yyjson.h>

#include "base/span.h"

/* Of a string; empty for anything else, and for NULL (yyjson_get_len alone would tell an array's
 * count). */
static inline struct metallm__span metallm__wire_text(yyjson_val *v)
{
    return metallm__span(yyjson_get_str(v), yyjson_is_str(v) ? yyjson_get_len(v) : 0);
}

#endif
