/* SPDX-License-Identifier: Apache-2.0
 * stream_in.c - chunks of a chat completion as deltas, of the first choice. A tool call
 * begins where its index or its id is another than the one before; its pieces stand together. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/seal.h"
#include "wire/talk_read.h"

/* More of a text part; another kind than the open one begins a part. */
static int hear_piece(struct metallm__hearing *h, enum metallm__part_kind kind,
                      struct metallm__span text)
{
    const struct metallm__delta begin = {.part = kind};
    if (text.n == 0)
        return METALLM_OK;
    int rc = h->is_open && h->open == kind ? METALLM_OK : metallm__hear_begin(h, &begin, 0);
    return rc == METALLM_OK ? metallm__hear_text(h, text) : rc;
}

/* A text, or Mistral's array of texts and thoughts. */
static int hear_content(struct metallm__hearing *h, yyjson_val *content)
{
    if (yyjson_is_str(content))
        return hear_piece(h, METALLM__PART_TEXT, metallm__wire_text(content));
    int rc = METALLM_OK;
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *piece; rc == METALLM_OK && (piece = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_arr_iter k = yyjson_arr_iter_with(yyjson_obj_get(piece, "thinking"));
        for (yyjson_val *v; rc == METALLM_OK && (v = yyjson_arr_iter_next(&k)) != NULL;)
            rc = hear_piece(h, METALLM__PART_REASONING,
                            metallm__wire_text(yyjson_obj_get(v, "text")));
        if (rc == METALLM_OK)
            rc = hear_piece(h, METALLM__PART_TEXT,
                            metallm__wire_text(yyjson_obj_get(piece, "text")));
    }
    return rc;
}

/* FNV-1a: tells one id from the next. */
static unsigned hash_of(struct metallm__span text)
{
    unsigned hash = 2166136261u;
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 16777619u;
    return hash;
}

/* An id where the server gives none. */
static struct metallm__span made_id(struct metallm__hearing *h)
{
    char text[32];
    int n = snprintf(text, sizeof text, "call_%u", h->calls);
    return metallm__pool_copy(&h->pool, metallm__span(text, (size_t)n));
}

static int hear_call(struct metallm__hearing *h, yyjson_val *call)
{
    yyjson_val *function = yyjson_obj_get(call, "function");
    yyjson_val *arguments = yyjson_obj_get(function, "arguments");
    struct metallm__delta begin = {.part = METALLM__PART_CALL};
    uint64_t index = 0;
    begin.id = metallm__wire_text(yyjson_obj_get(call, "id"));
    begin.name = metallm__wire_text(yyjson_obj_get(function, "name"));
    (void)metallm__json_count(yyjson_obj_get(call, "index"), UINT32_MAX, &index);
    bool is_new = !h->is_open || h->open != METALLM__PART_CALL || h->index != index ||
                  (begin.id.n > 0 && hash_of(begin.id) != h->state);
    if (is_new && begin.name.n == 0)
        return metallm__error_set(h->err, METALLM_EFORMAT, "a tool is called without a name");
    if (is_new) {
        h->state = begin.id.n > 0 ? hash_of(begin.id) : 0;
        if (begin.id.n == 0)
            begin.id = made_id(h);
        int rc = metallm__hear_begin(h, &begin, index);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__hear_text(h, yyjson_is_obj(arguments) ? metallm__json_kept(&h->pool, arguments)
                                                          : metallm__wire_text(arguments));
}

/* A protocol's name; NULL: it is none that is known here. */
static const char *owner_of(struct metallm__span name)
{
    const struct metallm__wire *w;
    for (size_t i = 0; (w = metallm__wire_at(i)) != NULL; i++)
        if (metallm__span_is(name, w->name))
            return w->name;
    return NULL;
}

/* A sealed piece of reasoning, whose text has been told if a part of that kind is open. */
static int hear_detail(struct metallm__hearing *h, yyjson_val *item)
{
    struct metallm__span seal, seal_of;
    const struct metallm__delta begin = {.part = METALLM__PART_REASONING};
    metallm__seal_read(metallm__wire_text(yyjson_obj_get(item, "signature")), "openai", &seal,
                       &seal_of);
    if (seal.n == 0 || owner_of(seal_of) == NULL)
        return METALLM_OK;
    int rc = METALLM_OK;
    if (!h->is_open || h->open != METALLM__PART_REASONING) {
        rc = metallm__hear_begin(h, &begin, 0);
        if (rc == METALLM_OK)
            rc = metallm__hear_text(h, metallm__wire_text(yyjson_obj_get(item, "text")));
    }
    if (rc == METALLM_OK)
        rc = metallm__hear_seal(h, seal, owner_of(seal_of));
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int hear_each(struct metallm__hearing *h, yyjson_val *items,
                     int (*one)(struct metallm__hearing *h, yyjson_val *item))
{
    int rc = METALLM_OK;
    yyjson_arr_iter i = yyjson_arr_iter_with(items);
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;)
        rc = one(h, item);
    return rc;
}

static int hear_delta(struct metallm__hearing *h, yyjson_val *delta)
{
    int rc = METALLM_OK;
    yyjson_obj_iter i = yyjson_obj_iter_with(delta);
    for (yyjson_val *key; rc == METALLM_OK && (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        if (yyjson_equals_str(key, "content"))
            rc = hear_content(h, v);
        else if (yyjson_equals_str(key, "reasoning_content") || yyjson_equals_str(key, "reasoning"))
            rc = hear_piece(h, METALLM__PART_REASONING, metallm__wire_text(v));
        else if (yyjson_equals_str(key, "refusal"))
            rc = hear_piece(h, METALLM__PART_REFUSAL, metallm__wire_text(v));
        else if (yyjson_equals_str(key, "reasoning_details"))
            rc = hear_each(h, v, hear_detail);
        else if (yyjson_equals_str(key, "tool_calls"))
            rc = hear_each(h, v, hear_call);
    }
    return rc;
}

static int hear_usage(struct metallm__hearing *h, yyjson_val *v)
{
    struct metallm__wire_usage usage = METALLM__WIRE_USAGE_UNKNOWN;
    if (!yyjson_is_obj(v))
        return METALLM_OK;
    metallm__openai_read_usage(v, &usage);
    return metallm__hear_usage(h, &usage);
}

int metallm__openai_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                             bool *is_end)
{
    yyjson_val *root = NULL;
    *is_end = metallm__span_is(event->data, "[DONE]");
    if (*is_end)
        return METALLM_OK;
    int rc = metallm__hear_json(h, event->data, &root);
    if (rc != METALLM_OK)
        return rc;
    if (metallm__openai_read_error(root, h->err))
        return METALLM_EFORMAT;
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    yyjson_val *finish = yyjson_obj_get(choice, "finish_reason");
    struct metallm__span id = metallm__wire_text(yyjson_obj_get(root, "id"));
    if (id.n > 0 || choice != NULL) /* Azure begins with a chunk that names nothing */
        rc = metallm__hear_start(h, id, metallm__wire_text(yyjson_obj_get(root, "model")));
    if (rc == METALLM_OK)
        rc = hear_delta(h, yyjson_obj_get(choice, "delta"));
    if (rc == METALLM_OK && yyjson_is_str(finish) && yyjson_get_len(finish) > 0)
        rc = metallm__hear_finish(h, metallm__openai_finish_in(metallm__wire_text(finish)),
                                  (struct metallm__span){NULL, 0});
    if (rc == METALLM_OK)
        rc = hear_usage(h, yyjson_obj_get(root, "usage"));
    if (rc == METALLM_OK) /* Groq's */
        rc = hear_usage(h, yyjson_obj_get(yyjson_obj_get(root, "x_groq"), "usage"));
    return rc;
}
