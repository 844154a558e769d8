/* SPDX-License-Identifier: Apache-2.0
 * answer_text.c - choices[0].message.content, .delta.content or .text, out of JSON. */
#include "wire/answer_text.h"

#include <yyjson.h>

static void add_choice(enum metallm__wire_kind kind, struct metallm__span json, const char *holder,
                       struct metallm__buf *out)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "choices"));
    yyjson_val *index = yyjson_obj_get(choice, "index");
    yyjson_val *text = kind == METALLM__WIRE_CHAT
                           ? yyjson_obj_get(yyjson_obj_get(choice, holder), "content")
                           : yyjson_obj_get(choice, "text");
    if (yyjson_is_str(text) && yyjson_get_uint(index) == 0)
        metallm__buf_add(out, yyjson_get_str(text), yyjson_get_len(text));
    yyjson_doc_free(doc);
}

void metallm__answer_text_whole(enum metallm__wire_kind kind, struct metallm__span body,
                                struct metallm__buf *out)
{
    add_choice(kind, body, "message", out);
}

void metallm__answer_text_events(enum metallm__wire_kind kind, struct metallm__span events,
                                 struct metallm__buf *out)
{
    for (size_t at = 0; at < events.n;) {
        const char *line = events.p + at, *end = memchr(line, '\n', events.n - at);
        size_t len = end == NULL ? events.n - at : (size_t)(end - line);
        if (len > 5 && memcmp(line, "data:", 5) == 0)
            add_choice(kind, metallm__span(line + 5, len - 5), "delta", out);
        at += len + 1;
    }
}
