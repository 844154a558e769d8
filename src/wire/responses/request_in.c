/* SPDX-License-Identifier: Apache-2.0
 * request_in.c - a Responses request read as a talk. Items of one side that follow each
 * other are one turn: reasoning, text and calls of the assistant; results and text of the user. */
#include "base/error.h"
#include "wire/responses/responses.h"
#include "wire/seal.h"
#include "wire/talk_read.h"

struct reading {
    struct metallm__pool *pool;
    struct metallm__talk *out;
    struct metallm__turn_list turns;
    const char **param;
    metallm_error *err;
};

static void use(struct reading *r, enum metallm__feature f)
{
    r->out->features |= 1ull << f;
}

static void use_other(struct reading *r, struct metallm__span name)
{
    if (r->out->other_name.n == 0)
        r->out->other_name = name;
    use(r, METALLM__FEATURE_OTHER);
}

static int wrong(struct reading *r, const char *member, const char *must)
{
    return metallm__talk_wrong(r->param, member, must, r->err);
}

static int no_room(struct reading *r)
{
    return metallm__pool_check(r->pool, r->err);
}

/* ---- Content of messages and of results. ---- */

static void read_cache_mark(yyjson_val *v, struct metallm__part *part)
{
    yyjson_val *mark = yyjson_obj_get(v, "prompt_cache_breakpoint");
    if (yyjson_is_obj(mark))
        part->cache = yyjson_equals_str(yyjson_obj_get(mark, "ttl"), "12h") ? METALLM__CACHE_LONG
                                                                            : METALLM__CACHE_SHORT;
}

static int read_image(struct reading *r, yyjson_val *v, struct metallm__part_list *parts)
{
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_IMAGE);
    if (part == NULL)
        return no_room(r);
    yyjson_val *url = yyjson_obj_get(v, "image_url");
    part->file_id = metallm__wire_text(yyjson_obj_get(v, "file_id"));
    part->detail = metallm__wire_text(yyjson_obj_get(v, "detail"));
    if (yyjson_is_str(url))
        metallm__part_source(part, metallm__wire_text(url));
    read_cache_mark(v, part);
    return part->file_id.n + part->url.n + part->data.n > 0
               ? METALLM_OK
               : wrong(r, "input", "made of images with image_url or file_id");
}

static int read_file(struct reading *r, yyjson_val *v, struct metallm__part_list *parts)
{
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_FILE);
    if (part == NULL)
        return no_room(r);
    struct metallm__span data = metallm__wire_text(yyjson_obj_get(v, "file_data"));
    part->file_id = metallm__wire_text(yyjson_obj_get(v, "file_id"));
    part->url = metallm__wire_text(yyjson_obj_get(v, "file_url"));
    part->name = metallm__wire_text(yyjson_obj_get(v, "filename"));
    if (data.n > 0 && !metallm__data_url(data, &part->media, &part->data))
        part->data = data;
    read_cache_mark(v, part);
    return part->file_id.n + part->url.n + part->data.n > 0
               ? METALLM_OK
               : wrong(r, "input", "made of files with file_data, file_url or file_id");
}

static int read_text(struct reading *r, yyjson_val *v, const char *member,
                     enum metallm__part_kind kind, struct metallm__part_list *parts)
{
    yyjson_val *text = yyjson_obj_get(v, member);
    if (!yyjson_is_str(text))
        return wrong(r, "input", "made of content whose text is a string");
    struct metallm__part *part = metallm__part_add(parts, kind);
    if (part == NULL)
        return no_room(r);
    part->text = metallm__wire_text(text);
    read_cache_mark(v, part);
    return METALLM_OK;
}

static int read_content_part(struct reading *r, yyjson_val *v, struct metallm__part_list *parts)
{
    yyjson_val *type = yyjson_obj_get(v, "type");
    if (yyjson_equals_str(type, "input_text") || yyjson_equals_str(type, "output_text") ||
        yyjson_equals_str(type, "text"))
        return read_text(r, v, "text", METALLM__PART_TEXT, parts);
    if (yyjson_equals_str(type, "refusal"))
        return read_text(r, v, "refusal", METALLM__PART_REFUSAL, parts);
    if (yyjson_equals_str(type, "input_image"))
        return read_image(r, v, parts);
    if (yyjson_equals_str(type, "input_file"))
        return read_file(r, v, parts);
    return wrong(r, "input", "made of content of a known type");
}

/* A string, or a list of parts. */
static int read_content(struct reading *r, yyjson_val *v, struct metallm__part_list *parts)
{
    if (yyjson_is_str(v)) {
        struct metallm__part *part = metallm__part_add(parts, METALLM__PART_TEXT);
        if (part == NULL)
            return no_room(r);
        part->text = metallm__wire_text(v);
        return METALLM_OK;
    }
    if (!yyjson_is_arr(v))
        return wrong(r, "input", "made of items whose content is a string or an array");
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    int rc = METALLM_OK;
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;)
        rc = read_content_part(r, item, parts);
    return rc;
}

/* ---- Items of the input. ---- */

static int read_message(struct reading *r, yyjson_val *v)
{
    yyjson_val *role = yyjson_obj_get(v, "role");
    struct metallm__part_list *parts;
    if (yyjson_equals_str(role, "user"))
        parts = metallm__turn_parts(&r->turns, METALLM__ROLE_USER);
    else if (yyjson_equals_str(role, "assistant"))
        parts = metallm__turn_parts(&r->turns, METALLM__ROLE_ASSISTANT);
    else if (yyjson_equals_str(role, "system") || yyjson_equals_str(role, "developer"))
        parts = metallm__turn_parts(&r->turns, METALLM__ROLE_SYSTEM);
    else
        return wrong(r, "input", "made of messages of user, assistant, system or developer");
    return parts != NULL ? read_content(r, yyjson_obj_get(v, "content"), parts) : no_room(r);
}

static int read_call(struct reading *r, yyjson_val *v)
{
    struct metallm__part_list *parts = metallm__turn_parts(&r->turns, METALLM__ROLE_ASSISTANT);
    struct metallm__part *part =
        parts != NULL ? metallm__part_add(parts, METALLM__PART_CALL) : NULL;
    if (part == NULL)
        return no_room(r);
    part->id = metallm__wire_text(yyjson_obj_get(v, "call_id"));
    part->name = metallm__wire_text(yyjson_obj_get(v, "name"));
    part->text = metallm__wire_text(yyjson_obj_get(v, "arguments"));
    if (part->text.n == 0)
        part->text = metallm__span_of("{}");
    if (part->id.n == 0 || part->name.n == 0)
        return wrong(r, "input", "made of calls with call_id and name");
    return metallm__json_is_object(part->text)
               ? no_room(r)
               : wrong(r, "input", "made of calls whose arguments are a JSON object");
}

static int read_result(struct reading *r, yyjson_val *v)
{
    struct metallm__part_list *parts = metallm__turn_parts(&r->turns, METALLM__ROLE_USER);
    struct metallm__part *part =
        parts != NULL ? metallm__part_add(parts, METALLM__PART_RESULT) : NULL;
    if (part == NULL)
        return no_room(r);
    struct metallm__part_list inner = {.pool = r->pool};
    part->id = metallm__wire_text(yyjson_obj_get(v, "call_id"));
    if (part->id.n == 0)
        return wrong(r, "input", "made of results with call_id");
    int rc = read_content(r, yyjson_obj_get(v, "output"), &inner);
    part->parts = inner.items;
    part->part_count = inner.count;
    return rc;
}

static int read_reasoning(struct reading *r, yyjson_val *v)
{
    struct metallm__part_list *parts = metallm__turn_parts(&r->turns, METALLM__ROLE_ASSISTANT);
    struct metallm__part *part =
        parts != NULL ? metallm__part_add(parts, METALLM__PART_REASONING) : NULL;
    if (part == NULL)
        return no_room(r);
    part->text = metallm__json_texts(r->pool, yyjson_obj_get(v, "content"), "text");
    if (part->text.n == 0)
        part->text = metallm__json_texts(r->pool, yyjson_obj_get(v, "summary"), "text");
    metallm__seal_read(metallm__wire_text(yyjson_obj_get(v, "encrypted_content")),
                       METALLM__RESPONSES, &part->seal, &part->seal_of);
    part->id = metallm__wire_text(yyjson_obj_get(v, "id"));
    return METALLM_OK;
}

static int read_item(struct reading *r, yyjson_val *v)
{
    if (!yyjson_is_obj(v))
        return wrong(r, "input", "a string or an array of objects");
    yyjson_val *type = yyjson_obj_get(v, "type");
    if (type == NULL && yyjson_obj_get(v, "role") == NULL) { /* {"id"}: an item kept there */
        use(r, METALLM__FEATURE_STATE);
        return METALLM_OK;
    }
    if (type == NULL || yyjson_equals_str(type, "message"))
        return read_message(r, v);
    if (yyjson_equals_str(type, "function_call"))
        return read_call(r, v);
    if (yyjson_equals_str(type, "function_call_output"))
        return read_result(r, v);
    if (yyjson_equals_str(type, "reasoning"))
        return read_reasoning(r, v);
    use(r, yyjson_equals_str(type, "item_reference") ? METALLM__FEATURE_STATE
                                                     : METALLM__FEATURE_HOSTED_TOOLS);
    return METALLM_OK;
}

static int read_input(struct reading *r, yyjson_val *v)
{
    if (yyjson_is_str(v)) {
        struct metallm__part_list *parts = metallm__turn_parts(&r->turns, METALLM__ROLE_USER);
        return parts != NULL ? read_content(r, v, parts) : no_room(r);
    }
    if (!yyjson_is_arr(v))
        return wrong(r, "input", "a string or an array of objects");
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    int rc = METALLM_OK;
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;)
        rc = read_item(r, item);
    return rc;
}

/* ---- Tools and formats. ---- */

static int8_t tristate(yyjson_val *v)
{
    return yyjson_is_bool(v) ? (int8_t)yyjson_is_true(v) : (int8_t)-1;
}

static int read_tools(struct reading *r, yyjson_val *v)
{
    size_t count = yyjson_arr_size(v), used = 0;
    if (!yyjson_is_arr(v) || count > METALLM__TALK_TOOLS_MAX)
        return wrong(r, "tools", "an array of at most 1,024 tools");
    struct metallm__tool *tools = metallm__pool_take(r->pool, count, sizeof *tools);
    if (tools == NULL)
        return no_room(r);
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        if (!yyjson_equals_str(yyjson_obj_get(item, "type"), "function")) {
            use(r, METALLM__FEATURE_HOSTED_TOOLS);
            continue;
        }
        yyjson_val *schema = yyjson_obj_get(item, "parameters");
        struct metallm__tool *tool = &tools[used++];
        tool->name = metallm__wire_text(yyjson_obj_get(item, "name"));
        tool->description = metallm__wire_text(yyjson_obj_get(item, "description"));
        tool->is_strict = tristate(yyjson_obj_get(item, "strict"));
        if (yyjson_is_obj(schema))
            tool->schema = metallm__json_kept(r->pool, schema);
        if (tool->name.n == 0)
            return wrong(r, "tools", "made of functions with a name");
    }
    r->out->tools = tools;
    r->out->tool_count = used;
    return no_room(r);
}

static int read_tool_choice(struct reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *type = yyjson_obj_get(v, "type");
    if (yyjson_equals_str(v, "auto")) {
        t->tool_choice = METALLM__TOOL_CHOICE_AUTO;
    } else if (yyjson_equals_str(v, "none")) {
        t->tool_choice = METALLM__TOOL_CHOICE_NONE;
    } else if (yyjson_equals_str(v, "required")) {
        t->tool_choice = METALLM__TOOL_CHOICE_ANY;
    } else if (yyjson_equals_str(type, "function")) {
        t->tool_choice = METALLM__TOOL_CHOICE_NAMED;
        t->tool_name = metallm__wire_text(yyjson_obj_get(v, "name"));
    } else if (yyjson_is_str(type)) {
        use(r, METALLM__FEATURE_HOSTED_TOOLS);
    } else if (!yyjson_is_null(v)) {
        return wrong(r, "tool_choice", "auto, none, required or an object");
    }
    return METALLM_OK;
}

static int read_text_options(struct reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *format = yyjson_obj_get(v, "format"), *type = yyjson_obj_get(format, "type");
    t->verbosity = metallm__wire_text(yyjson_obj_get(v, "verbosity"));
    if (yyjson_equals_str(type, "json_object")) {
        t->format = METALLM__FORMAT_JSON;
    } else if (yyjson_equals_str(type, "json_schema")) {
        t->format = METALLM__FORMAT_SCHEMA;
        t->format_name = metallm__wire_text(yyjson_obj_get(format, "name"));
        t->format_description = metallm__wire_text(yyjson_obj_get(format, "description"));
        t->is_format_strict = tristate(yyjson_obj_get(format, "strict"));
        t->schema = metallm__json_kept(r->pool, yyjson_obj_get(format, "schema"));
        if (t->schema.n == 0)
            return wrong(r, "text", "an object whose format has a schema");
    } else if (type != NULL && !yyjson_equals_str(type, "text")) {
        return wrong(r, "text", "an object whose format is text, json_object or json_schema");
    }
    return no_room(r);
}

static int read_reasoning_options(struct reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *effort = yyjson_obj_get(v, "effort"), *mode = yyjson_obj_get(v, "mode");
    t->effort = metallm__effort_find(metallm__wire_text(effort));
    if (yyjson_is_str(effort) && t->effort == METALLM__EFFORT_UNSAID)
        return wrong(r, "reasoning", "an object with an effort from none to max");
    t->wants_reasoning_summary = yyjson_is_str(yyjson_obj_get(v, "summary")) ||
                                 yyjson_is_str(yyjson_obj_get(v, "generate_summary"));
    if (yyjson_is_str(mode) && !yyjson_equals_str(mode, "standard"))
        use_other(r, metallm__span_of("reasoning.mode"));
    return METALLM_OK;
}

/* ---- The members. ---- */

static int read_real(struct reading *r, yyjson_val *v, const char *member, double *out)
{
    if (yyjson_is_null(v) || metallm__json_real(v, out))
        return METALLM_OK;
    return wrong(r, member, "a number");
}

static int read_small(struct reading *r, yyjson_val *v, const char *member, uint32_t *out)
{
    uint64_t value = 0;
    if (!yyjson_is_null(v) && !metallm__json_count(v, INT32_MAX, &value))
        return wrong(r, member, "a count");
    *out = (uint32_t)value;
    return METALLM_OK;
}

static int read_temperature(struct reading *r, yyjson_val *v)
{
    return read_real(r, v, "temperature", &r->out->temperature);
}

static int read_top_p(struct reading *r, yyjson_val *v)
{
    return read_real(r, v, "top_p", &r->out->top_p);
}

static int read_max(struct reading *r, yyjson_val *v)
{
    return read_small(r, v, "max_output_tokens", &r->out->max_tokens);
}

static int read_top_logprobs(struct reading *r, yyjson_val *v)
{
    int rc = read_small(r, v, "top_logprobs", &r->out->top_logprobs);
    r->out->wants_logprobs |= r->out->top_logprobs > 0;
    return rc;
}

static int read_include(struct reading *r, yyjson_val *v)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        r->out->wants_logprobs |= yyjson_equals_str(item, "message.output_text.logprobs");
    return METALLM_OK; /* the others name what hosted tools give, or encrypted reasoning */
}

static int read_parallel(struct reading *r, yyjson_val *v)
{
    r->out->is_parallel = tristate(v);
    return METALLM_OK;
}

static int read_user(struct reading *r, yyjson_val *v)
{
    if (yyjson_is_str(v))
        r->out->user = metallm__wire_text(v);
    return METALLM_OK;
}

static int read_metadata(struct reading *r, yyjson_val *v)
{
    if (yyjson_is_obj(v) && yyjson_obj_size(v) > 0)
        r->out->metadata = metallm__json_kept(r->pool, v);
    return no_room(r);
}

static int read_service_tier(struct reading *r, yyjson_val *v)
{
    if (!yyjson_equals_str(v, "auto") && !yyjson_equals_str(v, "default"))
        r->out->service_tier = metallm__wire_text(v);
    return METALLM_OK;
}

static int read_store(struct reading *r, yyjson_val *v)
{
    if (yyjson_is_true(v))
        use(r, METALLM__FEATURE_STORE);
    return METALLM_OK;
}

static int read_state(struct reading *r, yyjson_val *v)
{
    if (!yyjson_is_null(v) && !yyjson_is_false(v))
        use(r, METALLM__FEATURE_STATE);
    return METALLM_OK;
}

static int read_cache(struct reading *r, yyjson_val *v)
{
    if (!yyjson_is_null(v))
        use(r, METALLM__FEATURE_CACHE_MARKS);
    return METALLM_OK;
}

static int read_truncation(struct reading *r, yyjson_val *v)
{
    if (yyjson_is_str(v) && !yyjson_equals_str(v, "disabled"))
        use_other(r, metallm__span_of("truncation"));
    return METALLM_OK;
}

static int pass_over(struct reading *r,
                     yyjson_val *v) /* read elsewhere, or a hint without effect */
{
    (void)r;
    (void)v;
    return METALLM_OK;
}

static const struct member {
    const char *name;
    int (*read)(struct reading *r, yyjson_val *v);
} members[] = {
    {"model", pass_over},
    {"stream", pass_over},
    {"metallm", pass_over},
    {"stream_options", pass_over},
    {"max_tool_calls", pass_over}, /* of hosted tools alone */
    {"instructions", pass_over},   /* read before the input, whatever their order */
    {"input", read_input},
    {"max_output_tokens", read_max},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_logprobs", read_top_logprobs},
    {"include", read_include},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"parallel_tool_calls", read_parallel},
    {"text", read_text_options},
    {"reasoning", read_reasoning_options},
    {"metadata", read_metadata},
    {"user", read_user},
    {"safety_identifier", read_user},
    {"service_tier", read_service_tier},
    {"store", read_store},
    {"previous_response_id", read_state},
    {"conversation", read_state},
    {"prompt", read_state},
    {"background", read_state},
    {"prompt_cache_key", read_cache},
    {"prompt_cache_retention", read_cache},
    {"prompt_cache_options", read_cache},
    {"truncation", read_truncation},
};

static int read_member(struct reading *r, yyjson_val *key, yyjson_val *v)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (yyjson_equals_str(key, members[i].name))
            return members[i].read(r, v);
    if (!yyjson_is_null(v))
        use_other(r, metallm__wire_text(key));
    return METALLM_OK;
}

static int read_system(struct reading *r, yyjson_val *v)
{
    if (v == NULL || yyjson_is_null(v))
        return METALLM_OK;
    if (!yyjson_is_str(v))
        return wrong(r, "instructions", "a string");
    struct metallm__part_list *parts = metallm__turn_parts(&r->turns, METALLM__ROLE_SYSTEM);
    return parts != NULL ? read_content(r, v, parts) : no_room(r);
}

int metallm__responses_talk_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__talk *out, const char **param, metallm_error *err)
{
    struct reading r = {
        .pool = pool, .out = out, .turns = {.pool = pool}, .param = param, .err = err};
    metallm__talk_clear(out);
    int rc = read_system(&r, yyjson_obj_get(root, "instructions"));
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; rc == METALLM_OK && (key = yyjson_obj_iter_next(&i)) != NULL;)
        rc = read_member(&r, key, yyjson_obj_iter_get_val(key));
    metallm__turn_end(&r.turns);
    out->turns = r.turns.items;
    out->turn_count = r.turns.count;
    out->is_stream = yyjson_is_true(yyjson_obj_get(root, "stream"));
    if (rc == METALLM_OK && out->turn_count == 0 &&
        (out->features >> METALLM__FEATURE_STATE & 1u) == 0)
        rc = wrong(&r, "input", "there");
    return rc == METALLM_OK ? metallm__talk_settle(out, pool, err) : rc;
}
