/* SPDX-License-Identifier: Apache-2.0
 * openai_answer.c - see openai_answer.h. Servers differ in where they put cached and reasoning
 * tokens; what is not there stays unknown, and what is absurd is not believed. */
#include "wire/openai_answer.h"

#include "base/error.h"
#include "wire/json_text.h"

#define TOKENS_MAX 1000000000000LL

/* A count of tokens into *out; what is none leaves it. */
static void read_count(yyjson_val *v, int64_t *out)
{
    uint64_t value = 0;
    if (yyjson_is_raw(v)) {
        if (!metallm__span_u64(metallm__span(yyjson_get_raw(v), yyjson_get_len(v)), &value))
            return;
    } else if (yyjson_is_uint(v)) {
        value = yyjson_get_uint(v);
    } else {
        return;
    }
    if (value <= TOKENS_MAX)
        *out = (int64_t)value;
}

static void read_usage(yyjson_val *usage, struct metallm__wire_usage *out)
{
    read_count(yyjson_obj_get(usage, "prompt_tokens"), &out->input_tokens);
    read_count(yyjson_obj_get(usage, "completion_tokens"), &out->output_tokens);
    yyjson_val *input = yyjson_obj_get(usage, "prompt_tokens_details");
    yyjson_val *output = yyjson_obj_get(usage, "completion_tokens_details");
    read_count(yyjson_obj_get(usage, "prompt_cache_hit_tokens"),
               &out->cached_tokens);                                         /* DeepSeek */
    read_count(yyjson_obj_get(usage, "cached_tokens"), &out->cached_tokens); /* Moonshot */
    read_count(yyjson_obj_get(input, "cached_tokens"), &out->cached_tokens);
    read_count(yyjson_obj_get(output, "reasoning_tokens"), &out->reasoning_tokens);
    if (out->cached_tokens > out->input_tokens) /* a part of the input cannot be more than it */
        out->cached_tokens = out->input_tokens;
}

static enum metallm__wire_finish finish_of(struct metallm__span reason)
{
    static const struct {
        const char *name;
        enum metallm__wire_finish finish;
    } reasons[] = {
        {"stop", METALLM__WIRE_FINISH_STOP},
        {"length", METALLM__WIRE_FINISH_LENGTH},
        {"tool_calls", METALLM__WIRE_FINISH_TOOLS},
        {"function_call", METALLM__WIRE_FINISH_TOOLS},
        {"eos", METALLM__WIRE_FINISH_STOP},
        {"content_filter", METALLM__WIRE_FINISH_FILTER},
        {"model_length", METALLM__WIRE_FINISH_LENGTH},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (metallm__span_is(reason, reasons[i].name))
            return reasons[i].finish;
    return METALLM__WIRE_FINISH_OTHER;
}

/* What a message or a delta holds: texts, reasoning, arguments of tool calls. */
static uint64_t units_of(yyjson_val *message)
{
    uint64_t units = 0;
    yyjson_obj_iter i = yyjson_obj_iter_with(message);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (yyjson_equals_str(key, "content") || yyjson_equals_str(key, "reasoning_content") ||
            yyjson_equals_str(key, "reasoning") || yyjson_equals_str(key, "refusal"))
            units += metallm__token_units(metallm__wire_text(value));
        if (!yyjson_equals_str(key, "tool_calls"))
            continue;
        yyjson_arr_iter calls = yyjson_arr_iter_with(value);
        for (yyjson_val *call; (call = yyjson_arr_iter_next(&calls)) != NULL;) {
            yyjson_val *function = yyjson_obj_get(call, "function");
            units += metallm__token_units(metallm__wire_text(yyjson_obj_get(function, "name")));
            units +=
                metallm__token_units(metallm__wire_text(yyjson_obj_get(function, "arguments")));
        }
    }
    return units;
}

static void read_choices(yyjson_val *choices, struct metallm__wire_answer *out)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(choices);
    for (yyjson_val *choice; (choice = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_obj_iter members = yyjson_obj_iter_with(choice);
        for (yyjson_val *key; (key = yyjson_obj_iter_next(&members)) != NULL;) {
            yyjson_val *value = yyjson_obj_iter_get_val(key);
            if (yyjson_equals_str(key, "delta") || yyjson_equals_str(key, "message"))
                out->text_units += units_of(value);
            else if (yyjson_equals_str(key, "text"))
                out->text_units += metallm__token_units(metallm__wire_text(value));
            else if (yyjson_equals_str(key, "finish_reason") && yyjson_get_len(value) > 0 &&
                     yyjson_is_str(value))
                out->finish = finish_of(metallm__wire_text(value));
        }
    }
}

bool metallm__openai_read_chunk(yyjson_val *root, struct metallm__wire_answer *out)
{
    bool has_usage = false, has_choices = false;
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (yyjson_equals_str(key, "id")) {
            if (out->id[0] == '\0' && yyjson_is_str(value))
                metallm__wire_text_copy(out->id, sizeof out->id, metallm__wire_text(value));
        } else if (yyjson_equals_str(key, "model")) {
            if (out->model[0] == '\0' && yyjson_is_str(value))
                metallm__wire_text_copy(out->model, sizeof out->model, metallm__wire_text(value));
        } else if (yyjson_equals_str(key, "choices")) {
            has_choices = yyjson_arr_size(value) > 0;
            read_choices(value, out);
        } else if (yyjson_equals_str(key, "usage") && yyjson_is_obj(value)) {
            has_usage = true;
            read_usage(value, &out->usage);
        } else if (yyjson_equals_str(key, "x_groq")) {
            read_usage(yyjson_obj_get(value, "usage"), &out->usage);
        }
    }
    return has_usage && !has_choices;
}

void metallm__openai_read_answer(yyjson_val *root, struct metallm__wire_answer *out)
{
    (void)metallm__openai_read_chunk(root, out);
}

/* The error's object or text, whichever form the server gives it; NULL: none. */
static yyjson_val *error_of(yyjson_val *root)
{
    yyjson_val *error = yyjson_obj_get(root, "error");
    return yyjson_is_obj(error) || yyjson_is_str(error) ? error : NULL;
}

bool metallm__openai_read_error(yyjson_val *root, metallm_error *err)
{
    yyjson_val *error = error_of(root);
    if (error == NULL)
        return false;
    char message[160];
    yyjson_val *text = yyjson_is_str(error) ? error : yyjson_obj_get(error, "message");
    metallm__wire_text_copy(message, sizeof message, metallm__wire_text(text));
    (void)metallm__error_set(err, METALLM_EFORMAT, "the upstream answered with an error: %s",
                             message[0] != '\0' ? message : "(no message)");
    return true;
}

void metallm__openai_error_in(struct metallm__span body, struct metallm__wire_error *out)
{
    *out = (struct metallm__wire_error){.message = ""};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(body.n > 0 ? body.p : ""), body.n,
                                       YYJSON_READ_NOFLAG, &metallm__json_alc, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = error_of(root);
    if (error == NULL) /* FastAPI says {"detail": ...}, others {"message": ...} */
        error = yyjson_obj_get(root, "detail") != NULL ? yyjson_obj_get(root, "detail") : root;
    yyjson_val *code = yyjson_obj_get(error, "code");
    metallm__wire_text_copy(
        out->message, sizeof out->message,
        metallm__wire_text(yyjson_is_str(error) ? error : yyjson_obj_get(error, "message")));
    metallm__wire_text_copy(out->type, sizeof out->type,
                            metallm__wire_text(yyjson_obj_get(error, "type")));
    metallm__wire_text_copy(out->code, sizeof out->code, metallm__wire_text(code));
    yyjson_doc_free(doc);
}
