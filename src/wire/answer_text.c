/* SPDX-License-Identifier: Apache-2.0
 * answer_text.c - the text of an answer, out of JSON, by the surface's own shape. */
#include "wire/answer_text.h"

#include <yyjson.h>

static void add(yyjson_val *text, struct metallm__buf *out)
{
    if (yyjson_is_str(text))
        metallm__buf_add(out, yyjson_get_str(text), yyjson_get_len(text));
}

static bool is_type(yyjson_val *object, const char *type)
{
    return yyjson_equals_str(yyjson_obj_get(object, "type"), type);
}

/* choices[0]: .text, or .content of its message or delta. */
static void add_choice(yyjson_val *root, const char *holder, struct metallm__buf *out)
{
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    if (yyjson_get_uint(yyjson_obj_get(choice, "index")) != 0)
        return;
    add(holder == NULL ? yyjson_obj_get(choice, "text")
                       : yyjson_obj_get(yyjson_obj_get(choice, holder), "content"),
        out);
}

/* Parts of this type in a list. */
static void add_parts(yyjson_val *list, const char *type, struct metallm__buf *out)
{
    size_t i, count;
    yyjson_val *part;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach(list, i, count, part)
    {
        if (is_type(part, type))
            add(yyjson_obj_get(part, "text"), out);
    }
}

static void add_items(yyjson_val *output, struct metallm__buf *out)
{
    size_t i, count;
    yyjson_val *item;
    if (!yyjson_is_arr(output))
        return;
    yyjson_arr_foreach(output, i, count, item)
    {
        if (is_type(item, "message"))
            add_parts(yyjson_obj_get(item, "content"), "output_text", out);
    }
}

static void add_event(enum metallm__wire_kind kind, yyjson_val *root, struct metallm__buf *out)
{
    yyjson_val *delta = yyjson_obj_get(root, "delta");
    switch (kind) {
    case METALLM__WIRE_RESPONSES:
        if (is_type(root, "response.output_text.delta"))
            add(delta, out);
        break;
    case METALLM__WIRE_MESSAGES:
        if (is_type(root, "content_block_delta") && is_type(delta, "text_delta"))
            add(yyjson_obj_get(delta, "text"), out);
        break;
    default:
        add_choice(root, kind == METALLM__WIRE_CHAT ? "delta" : NULL, out);
    }
}

void metallm__answer_text_whole(enum metallm__wire_kind kind, struct metallm__span body,
                                struct metallm__buf *out)
{
    yyjson_doc *doc = yyjson_read(body.p, body.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    switch (kind) {
    case METALLM__WIRE_RESPONSES:
        add_items(yyjson_obj_get(root, "output"), out);
        break;
    case METALLM__WIRE_MESSAGES:
        add_parts(yyjson_obj_get(root, "content"), "text", out);
        break;
    default:
        add_choice(root, kind == METALLM__WIRE_CHAT ? "message" : NULL, out);
    }
    yyjson_doc_free(doc);
}

void metallm__answer_text_events(enum metallm__wire_kind kind, struct metallm__span events,
                                 struct metallm__buf *out)
{
    for (size_t at = 0; at < events.n;) {
        const char *line = events.p + at, *end = memchr(line, '\n', events.n - at);
        size_t len = end == NULL ? events.n - at : (size_t)(end - line);
        if (len > 5 && memcmp(line, "data:", 5) == 0) {
            yyjson_doc *doc = yyjson_read(line + 5, len - 5, 0);
            add_event(kind, yyjson_doc_get_root(doc), out);
            yyjson_doc_free(doc);
        }
        at += len + 1;
    }
}
