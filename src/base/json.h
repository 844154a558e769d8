/* SPDX-License-Identifier: Apache-2.0
 * json.h - yyjson with our allocator, so that its memory is counted and can be told to fail. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <yyjson.h>

#include "metallm/base.h"

extern const yyjson_alc metallm__json_alc; /* pass it to every yyjson call that allocates */

/* Parses len bytes, which are not changed. METALLM_EFORMAT with the byte's position and the
 * parser's sentence, or METALLM_ENOMEM. The caller owns *out (yyjson_doc_free). */
METALLM_MUSTCHECK int metallm__json_read(yyjson_doc **out, const char *text, size_t len,
                                         metallm_error *err);
/* The same with numbers left as they are written (yyjson_is_raw). */
METALLM_MUSTCHECK int metallm__json_read_raw(yyjson_doc **out, const char *text, size_t len,
                                             metallm_error *err);
#endif
