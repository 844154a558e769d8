/* SPDX-License-Identifier: Apache-2.0
 * answer_in.c - a Response object read as an answer. */
#include "base/error.h"
#include "wire/responses/responses.h"
#include "wire/seal.h"
#include "wire/talk_read.h"

void metallm__responses_usage_in(yyjson_val *usage, struct metallm__wire_usage *out)
{
    yyjson_val *input = yyjson_obj_get(usage, "input_tokens_details");
    metallm__json_tokens(yyjson_obj_get(usage, "input_tokens"), &out->input_tokens);
    metallm__json_tokens(yyjson_obj_get(usage, "output_tokens"), &out->output_tokens);
    metallm__json_tokens(yyjson_obj_get(input, "cached_tokens"), &out->cached_tokens);
    metallm__json_tokens(yyjson_obj_get(input, "cache_write_tokens"), &out->written_tokens);
    metallm__json_tokens(
        yyjson_obj_get(yyjson_obj_get(usage, "output_tokens_details"), "reasoning_tokens"),
        &out->reasoning_tokens);
}

enum metallm__wire_finish metallm__responses_finish_in(yyjson_val *response, bool has_calls)
{
    yyjson_val *reason = yyjson_obj_get(yyjson_obj_get(response, "incomplete_details"), "reason");
    if (yyjson_equals_str(reason, "max_output_tokens"))
        return METALLM__WIRE_FINISH_LENGTH;
    if (yyjson_equals_str(reason, "content_filter"))
        return METALLM__WIRE_FINISH_FILTER;
    if (yyjson_is_str(reason))
        return METALLM__WIRE_FINISH_OTHER;
    return has_calls ? METALLM__WIRE_FINISH_TOOLS : METALLM__WIRE_FINISH_STOP;
}

int metallm__responses_error_in(yyjson_val *error, metallm_error *err)
{
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(error, "message"));
    if (text.n == 0)
        text = metallm__span_of("(no message)");
    return metallm__error_set(err, METALLM_EFORMAT, "the upstream answered with an error: %.*s",
                              (int)(text.n < 150 ? text.n : 150), text.p);
}

static struct metallm__part *add(struct metallm__part_list *parts, enum metallm__part_kind kind,
                                 struct metallm__span text)
{
    struct metallm__part *part = metallm__part_add(parts, kind);
    if (part != NULL)
        part->text = text;
    return part;
}

static void read_message(yyjson_val *item, struct metallm__part_list *parts)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(item, "content"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *type = yyjson_obj_get(v, "type");
        if (yyjson_equals_str(type, "output_text"))
            (void)add(parts, METALLM__PART_TEXT, metallm__wire_text(yyjson_obj_get(v, "text")));
        else if (yyjson_equals_str(type, "refusal"))
            (void)add(parts, METALLM__PART_REFUSAL,
                      metallm__wire_text(yyjson_obj_get(v, "refusal")));
    }
}

static void read_call(yyjson_val *item, struct metallm__part_list *parts)
{
    struct metallm__part *part =
        add(parts, METALLM__PART_CALL, metallm__wire_text(yyjson_obj_get(item, "arguments")));
    if (part == NULL)
        return;
    part->id = metallm__wire_text(yyjson_obj_get(item, "call_id"));
    part->name = metallm__wire_text(yyjson_obj_get(item, "name"));
    if (part->text.n == 0)
        part->text = metallm__span_of("{}");
}

static void read_reasoning(yyjson_val *item, struct metallm__part_list *parts)
{
    struct metallm__span text =
        metallm__json_texts(parts->pool, yyjson_obj_get(item, "content"), "text");
    if (text.n == 0)
        text = metallm__json_texts(parts->pool, yyjson_obj_get(item, "summary"), "text");
    struct metallm__span seal = metallm__wire_text(yyjson_obj_get(item, "encrypted_content"));
    struct metallm__part *part =
        text.n + seal.n > 0 ? add(parts, METALLM__PART_REASONING, text) : NULL;
    if (part != NULL)
        metallm__seal_read(seal, METALLM__RESPONSES, &part->seal, &part->seal_of);
}

int metallm__responses_said_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__said *out, metallm_error *err)
{
    yyjson_val *output = yyjson_obj_get(root, "output"), *error = yyjson_obj_get(root, "error");
    struct metallm__part_list parts = {.pool = pool};
    *out = (struct metallm__said){.usage = METALLM__WIRE_USAGE_UNKNOWN};
    if (yyjson_is_obj(error))
        return metallm__responses_error_in(error, err);
    if (!yyjson_is_arr(output))
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has no 'output'");
    bool has_calls = false;
    yyjson_arr_iter i = yyjson_arr_iter_with(output);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *type = yyjson_obj_get(item, "type");
        if (yyjson_equals_str(type, "message")) {
            read_message(item, &parts);
        } else if (yyjson_equals_str(type, "function_call")) {
            read_call(item, &parts);
            has_calls = true;
        } else if (yyjson_equals_str(type, "reasoning")) {
            read_reasoning(item, &parts);
        }
    }
    for (size_t k = 0; k < parts.count; k++)
        if (parts.items[k].kind == METALLM__PART_CALL &&
            (parts.items[k].name.n == 0 || !metallm__json_is_object(parts.items[k].text)))
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "a tool is called without a name, or by what is no JSON");
    out->id = metallm__wire_text(yyjson_obj_get(root, "id"));
    out->model = metallm__wire_text(yyjson_obj_get(root, "model"));
    out->parts = parts.items;
    out->part_count = parts.count;
    out->finish = metallm__responses_finish_in(root, has_calls);
    metallm__responses_usage_in(yyjson_obj_get(root, "usage"), &out->usage);
    return metallm__pool_check(pool, err);
}
