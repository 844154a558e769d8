/* SPDX-License-Identifier: Apache-2.0
 * messages_in.c - the messages of a chat completion as turns. Messages of tools that stand
 * side by side are one turn of the user's. What an LLM of another protocol thought comes back in
 * reasoning_content or reasoning_details, as answer_out.c gives it. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/seal.h"
#include "wire/talk_read.h"

static int failed(struct metallm__openai_reading *r)
{
    return metallm__pool_check(r->pool, r->err);
}

/* ---- Parts of contents. ---- */

static int read_image(struct metallm__openai_reading *r, yyjson_val *part,
                      struct metallm__part *out)
{
    yyjson_val *image = yyjson_obj_get(part, "image_url");
    struct metallm__span url =
        metallm__wire_text(yyjson_is_str(image) ? image : yyjson_obj_get(image, "url"));
    out->kind = METALLM__PART_IMAGE;
    out->detail = metallm__wire_text(yyjson_obj_get(image, "detail"));
    if (url.n == 0)
        return metallm__openai_wrong(r, "messages.content", "made of images with a URL");
    metallm__part_source(out, url);
    return METALLM_OK;
}

static int read_audio(struct metallm__openai_reading *r, yyjson_val *part,
                      struct metallm__part *out)
{
    yyjson_val *audio = yyjson_obj_get(part, "input_audio");
    struct metallm__span format = metallm__wire_text(yyjson_obj_get(audio, "format"));
    out->kind = METALLM__PART_AUDIO;
    out->data = metallm__wire_text(yyjson_obj_get(audio, "data"));
    if (out->data.n == 0 || format.n == 0 || format.n > 32)
        return metallm__openai_wrong(r, "messages.content", "made of audio with data and format");
    char *media = metallm__pool_take_raw(r->pool, 6 + format.n);
    if (media == NULL)
        return failed(r);
    memcpy(media, "audio/", 6);
    memcpy(media + 6, format.p, format.n);
    out->media = metallm__span(media, 6 + format.n);
    return METALLM_OK;
}

static int read_file(struct metallm__openai_reading *r, yyjson_val *part, struct metallm__part *out)
{
    yyjson_val *file = yyjson_obj_get(part, "file");
    struct metallm__span data = metallm__wire_text(yyjson_obj_get(file, "file_data"));
    out->kind = METALLM__PART_FILE;
    out->name = metallm__wire_text(yyjson_obj_get(file, "filename"));
    out->file_id = metallm__wire_text(yyjson_obj_get(file, "file_id"));
    if (!metallm__data_url(data, &out->media, &out->data))
        out->data = data;
    return out->data.n > 0 || out->file_id.n > 0
               ? METALLM_OK
               : metallm__openai_wrong(r, "messages.content", "made of files with data or an id");
}

static enum metallm__cache_mark cache_of(yyjson_val *part)
{
    yyjson_val *mark = yyjson_obj_get(part, "prompt_cache_breakpoint");
    if (!yyjson_is_obj(mark))
        return METALLM__CACHE_NONE;
    return yyjson_equals_str(yyjson_obj_get(mark, "ttl"), "12h") ? METALLM__CACHE_LONG
                                                                 : METALLM__CACHE_SHORT;
}

static int read_part(struct metallm__openai_reading *r, yyjson_val *part,
                     struct metallm__part_list *parts)
{
    yyjson_val *type = yyjson_obj_get(part, "type");
    struct metallm__part *out = metallm__part_add(parts, METALLM__PART_TEXT);
    if (out == NULL)
        return failed(r);
    out->cache = cache_of(part);
    if (yyjson_is_str(part)) {
        out->text = metallm__wire_text(part);
        return METALLM_OK;
    }
    if (yyjson_equals_str(type, "image_url"))
        return read_image(r, part, out);
    if (yyjson_equals_str(type, "input_audio"))
        return read_audio(r, part, out);
    if (yyjson_equals_str(type, "file"))
        return read_file(r, part, out);
    if (yyjson_equals_str(type, "refusal")) {
        out->kind = METALLM__PART_REFUSAL;
        out->text = metallm__wire_text(yyjson_obj_get(part, "refusal"));
        return METALLM_OK;
    }
    yyjson_val *text = yyjson_obj_get(part, "text");
    out->text = metallm__wire_text(text);
    bool is_text = type == NULL || yyjson_equals_str(type, "text");
    return is_text && yyjson_is_str(text)
               ? METALLM_OK
               : metallm__openai_wrong(r, "messages.content",
                                       "made of text, image_url, input_audio, file and refusal");
}

static int read_content(struct metallm__openai_reading *r, yyjson_val *content,
                        struct metallm__part_list *parts)
{
    if (yyjson_is_str(content)) {
        struct metallm__part *out =
            yyjson_get_len(content) > 0 ? metallm__part_add(parts, METALLM__PART_TEXT) : NULL;
        if (out != NULL)
            out->text = metallm__wire_text(content);
        return failed(r);
    }
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *part; (part = yyjson_arr_iter_next(&i)) != NULL;) {
        int rc = read_part(r, part, parts);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* ---- The assistant's messages. ---- */

static int add_reasoning(struct metallm__part_list *parts, struct metallm__span text,
                         struct metallm__span seal, metallm_error *err)
{
    if (text.n == 0 && seal.n == 0)
        return METALLM_OK;
    struct metallm__part *out = metallm__part_add(parts, METALLM__PART_REASONING);
    if (out == NULL)
        return metallm__pool_check(parts->pool, err);
    out->text = text;
    metallm__seal_read(seal, "openai", &out->seal, &out->seal_of);
    return METALLM_OK;
}

/* The call that a piece stands before; -1: it stands before the content. */
static int64_t place_of(yyjson_val *item)
{
    uint64_t call = 0;
    bool is_of_call = metallm__json_count(yyjson_obj_get(item, "tool_call"), UINT32_MAX, &call);
    return is_of_call ? (int64_t)call : -1;
}

int metallm__openai_details_in(struct metallm__openai_details *d, int64_t call,
                               struct metallm__part_list *parts, metallm_error *err)
{
    for (; d->next != NULL && place_of(d->next) <= call;
         d->next = yyjson_arr_iter_next(&d->items)) {
        int rc = add_reasoning(parts, metallm__wire_text(yyjson_obj_get(d->next, "text")),
                               metallm__wire_text(yyjson_obj_get(d->next, "signature")), err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* Other servers have an array of this name, too, which repeats the text in another shape. */
static bool has_signature(yyjson_val *details)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(details);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        if (yyjson_is_str(yyjson_obj_get(item, "signature")))
            return true;
    return false;
}

int metallm__openai_reasoning_in(yyjson_val *message, struct metallm__openai_details *d,
                                 struct metallm__part_list *parts, metallm_error *err)
{
    yyjson_val *details = yyjson_obj_get(message, "reasoning_details");
    yyjson_val *text = yyjson_obj_get(message, "reasoning_content");
    *d = (struct metallm__openai_details){.next = NULL};
    if (has_signature(details)) {
        d->items = yyjson_arr_iter_with(details);
        d->next = yyjson_arr_iter_next(&d->items);
        return metallm__openai_details_in(d, -1, parts, err);
    }
    if (!yyjson_is_str(text))
        text = yyjson_obj_get(message, "reasoning");
    return add_reasoning(parts, metallm__wire_text(text),
                         metallm__wire_text(yyjson_obj_get(message, "reasoning_signature")), err);
}

static int add_call(struct metallm__openai_reading *r, struct metallm__span id,
                    yyjson_val *function, const char *member, struct metallm__part_list *parts)
{
    static const struct metallm__span nothing = METALLM__SPAN("{}");
    yyjson_val *arguments = yyjson_obj_get(function, "arguments");
    struct metallm__part *out = metallm__part_add(parts, METALLM__PART_CALL);
    if (out == NULL)
        return failed(r);
    out->id = id;
    out->name = metallm__wire_text(yyjson_obj_get(function, "name"));
    out->text = yyjson_is_obj(arguments) /* Ollama's */
                    ? metallm__json_kept(r->pool, arguments)
                    : metallm__wire_text(arguments);
    if (out->text.n == 0)
        out->text = nothing;
    if (out->id.n == 0 || out->name.n == 0 || !metallm__json_is_object(out->text))
        return metallm__openai_wrong(r, member,
                                     "made of functions with id, name and arguments in JSON");
    return METALLM_OK;
}

static int read_calls(struct metallm__openai_reading *r, yyjson_val *message,
                      struct metallm__openai_details *d, struct metallm__part_list *parts)
{
    int64_t at = 0;
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    for (yyjson_val *call; (call = yyjson_arr_iter_next(&i)) != NULL; at++) {
        int rc = metallm__openai_details_in(d, at, parts, r->err);
        if (rc == METALLM_OK && yyjson_equals_str(yyjson_obj_get(call, "type"), "custom"))
            metallm__openai_other_in(r, (struct metallm__span)METALLM__SPAN("custom tools"));
        else if (rc == METALLM_OK)
            rc = add_call(r, metallm__wire_text(yyjson_obj_get(call, "id")),
                          yyjson_obj_get(call, "function"), "messages.tool_calls", parts);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__openai_details_in(d, INT64_MAX, parts, r->err); /* behind the last one */
}

static int read_assistant(struct metallm__openai_reading *r, yyjson_val *message,
                          struct metallm__part_list *parts)
{
    yyjson_val *refusal = yyjson_obj_get(message, "refusal");
    yyjson_val *function = yyjson_obj_get(message, "function_call");
    struct metallm__openai_details details;
    int rc = metallm__openai_reasoning_in(message, &details, parts, r->err);
    if (rc == METALLM_OK)
        rc = read_content(r, yyjson_obj_get(message, "content"), parts);
    if (rc == METALLM_OK && yyjson_is_str(refusal) && yyjson_get_len(refusal) > 0) {
        struct metallm__part *out = metallm__part_add(parts, METALLM__PART_REFUSAL);
        if (out == NULL)
            return failed(r);
        out->text = metallm__wire_text(refusal);
    }
    if (rc == METALLM_OK && yyjson_is_obj(yyjson_obj_get(message, "audio")))
        metallm__openai_use(r, METALLM__FEATURE_STATE); /* what was said is at the provider's */
    if (rc == METALLM_OK)
        rc = read_calls(r, message, &details, parts);
    if (rc == METALLM_OK && yyjson_is_obj(function)) /* functions are called by name alone */
        rc = add_call(r, metallm__wire_text(yyjson_obj_get(function, "name")), function,
                      "messages.function_call", parts);
    return rc;
}

/* ---- Messages. ---- */

static int read_result(struct metallm__openai_reading *r, yyjson_val *message, const char *id,
                       struct metallm__turn_list *turns)
{
    struct metallm__part_list *parts = &turns->parts, inner = {.pool = r->pool};
    bool goes_on = turns->is_open && turns->items[turns->count - 1].role == METALLM__ROLE_USER &&
                   parts->count > 0 && parts->items[0].kind == METALLM__PART_RESULT;
    if (!goes_on && !metallm__turn_begin(turns, METALLM__ROLE_USER))
        return failed(r);
    struct metallm__part *out = metallm__part_add(parts, METALLM__PART_RESULT);
    if (out == NULL)
        return failed(r);
    out->id = metallm__wire_text(yyjson_obj_get(message, id));
    if (out->id.n == 0)
        return metallm__openai_wrong(r, "messages.tool_call_id", "the id of a tool call");
    int rc = read_content(r, yyjson_obj_get(message, "content"), &inner);
    out->parts = inner.items;
    out->part_count = inner.count;
    return rc;
}

static int read_message(struct metallm__openai_reading *r, yyjson_val *message,
                        struct metallm__turn_list *turns)
{
    yyjson_val *role = yyjson_obj_get(message, "role");
    if (yyjson_equals_str(role, "tool"))
        return read_result(r, message, "tool_call_id", turns);
    if (yyjson_equals_str(role, "function"))
        return read_result(r, message, "name", turns);
    bool is_assistant = yyjson_equals_str(role, "assistant");
    bool is_user = yyjson_equals_str(role, "user");
    if (!is_assistant && !is_user && !yyjson_equals_str(role, "system") &&
        !yyjson_equals_str(role, "developer"))
        return metallm__openai_wrong(r, "messages.role",
                                     "system, developer, user, assistant or tool");
    if (!metallm__turn_begin(turns, is_assistant ? METALLM__ROLE_ASSISTANT
                                    : is_user    ? METALLM__ROLE_USER
                                                 : METALLM__ROLE_SYSTEM))
        return failed(r);
    turns->items[turns->count - 1].name = metallm__wire_text(yyjson_obj_get(message, "name"));
    return is_assistant ? read_assistant(r, message, &turns->parts)
                        : read_content(r, yyjson_obj_get(message, "content"), &turns->parts);
}

int metallm__openai_messages_in(struct metallm__openai_reading *r, yyjson_val *v)
{
    struct metallm__turn_list turns = {.pool = r->pool};
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *message; (message = yyjson_arr_iter_next(&i)) != NULL;) {
        int rc = read_message(r, message, &turns);
        if (rc != METALLM_OK)
            return rc;
    }
    metallm__turn_end(&turns);
    r->talk->turns = turns.items;
    r->talk->turn_count = turns.count;
    return failed(r);
}
