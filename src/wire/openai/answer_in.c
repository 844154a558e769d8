/* SPDX-License-Identifier: Apache-2.0
 * answer_in.c - what OpenAI's answers, stream chunks and errors tell of themselves. Servers
 * differ in where they put cached and reasoning tokens; what is not there stays unknown, and what
 * is absurd is not believed. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/talk_read.h"

void metallm__openai_read_usage(yyjson_val *usage, struct metallm__wire_usage *out)
{
    metallm__json_tokens(yyjson_obj_get(usage, "prompt_tokens"), &out->input_tokens);
    metallm__json_tokens(yyjson_obj_get(usage, "completion_tokens"), &out->output_tokens);
    yyjson_val *input = yyjson_obj_get(usage, "prompt_tokens_details");
    yyjson_val *output = yyjson_obj_get(usage, "completion_tokens_details");
    metallm__json_tokens(yyjson_obj_get(usage, "prompt_cache_hit_tokens"),
                         &out->cached_tokens); /* DeepSeek */
    metallm__json_tokens(yyjson_obj_get(usage, "cached_tokens"),
                         &out->cached_tokens); /* Moonshot */
    metallm__json_tokens(yyjson_obj_get(input, "cached_tokens"), &out->cached_tokens);
    metallm__json_tokens(yyjson_obj_get(input, "cache_write_tokens"), &out->written_tokens);
    metallm__json_tokens(yyjson_obj_get(output, "reasoning_tokens"), &out->reasoning_tokens);
    if (out->cached_tokens > out->input_tokens) /* a part of the input cannot be more than it */
        out->cached_tokens = out->input_tokens;
}

enum metallm__wire_finish metallm__openai_finish_in(struct metallm__span reason)
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
                out->finish = metallm__openai_finish_in(metallm__wire_text(value));
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
            metallm__openai_read_usage(value, &out->usage);
        } else if (yyjson_equals_str(key, "x_groq")) {
            metallm__openai_read_usage(yyjson_obj_get(value, "usage"), &out->usage);
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

/* ---- An answer as its parts. ---- */

/* One part with this text, if there is any. */
static void add_text(struct metallm__part_list *parts, enum metallm__part_kind kind,
                     struct metallm__span text)
{
    struct metallm__part *part = text.n > 0 ? metallm__part_add(parts, kind) : NULL;
    if (part != NULL)
        part->text = text;
}

/* Mistral answers by an array: texts, and thoughts that are arrays of texts. */
static void add_pieces(struct metallm__part_list *parts, enum metallm__part_kind kind,
                       yyjson_val *v)
{
    if (yyjson_is_str(v))
        add_text(parts, kind, metallm__wire_text(v));
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *piece; (piece = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *thoughts = yyjson_obj_get(piece, "thinking");
        yyjson_arr_iter k = yyjson_arr_iter_with(thoughts);
        for (yyjson_val *thought; (thought = yyjson_arr_iter_next(&k)) != NULL;)
            add_text(parts, METALLM__PART_REASONING,
                     metallm__wire_text(yyjson_obj_get(thought, "text")));
        add_text(parts, kind, metallm__wire_text(yyjson_obj_get(piece, "text")));
    }
}

static int add_call(struct metallm__part_list *parts, yyjson_val *call, metallm_error *err)
{
    yyjson_val *function = yyjson_obj_get(call, "function");
    yyjson_val *arguments = yyjson_obj_get(function, "arguments");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_CALL);
    if (part == NULL)
        return metallm__pool_check(parts->pool, err);
    part->id = metallm__wire_text(yyjson_obj_get(call, "id"));
    part->name = metallm__wire_text(yyjson_obj_get(function, "name"));
    part->text = yyjson_is_obj(arguments) ? metallm__json_kept(parts->pool, arguments)
                                          : metallm__wire_text(arguments);
    if (part->text.n == 0)
        part->text = (struct metallm__span)METALLM__SPAN("{}");
    if (part->name.n == 0 || !metallm__json_is_object(part->text))
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "a tool is called without a name, or by what is no JSON");
    return METALLM_OK;
}

static int add_parts(struct metallm__part_list *parts, yyjson_val *message, metallm_error *err)
{
    struct metallm__openai_details details;
    int64_t at = 0;
    int rc = metallm__openai_reasoning_in(message, &details, parts, err);
    if (rc != METALLM_OK)
        return rc;
    add_pieces(parts, METALLM__PART_TEXT, yyjson_obj_get(message, "content"));
    add_text(parts, METALLM__PART_REFUSAL, metallm__wire_text(yyjson_obj_get(message, "refusal")));
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    for (yyjson_val *call; (call = yyjson_arr_iter_next(&i)) != NULL; at++) {
        rc = metallm__openai_details_in(&details, at, parts, err);
        if (rc == METALLM_OK)
            rc = add_call(parts, call, err);
        if (rc != METALLM_OK)
            return rc;
    }
    rc = metallm__openai_details_in(&details, INT64_MAX, parts, err); /* behind the last one */
    return rc == METALLM_OK ? metallm__pool_check(parts->pool, err) : rc;
}

int metallm__openai_said_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                            metallm_error *err)
{
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    yyjson_val *message = yyjson_obj_get(choice, "message");
    yyjson_val *logprobs = yyjson_obj_get(choice, "logprobs");
    yyjson_val *finish = yyjson_obj_get(choice, "finish_reason");
    struct metallm__part_list parts = {.pool = pool};
    if (metallm__openai_read_error(root, err))
        return METALLM_EFORMAT;
    if (!yyjson_is_obj(message))
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has no message");
    int rc = add_parts(&parts, message, err);
    if (rc != METALLM_OK)
        return rc;
    *out = (struct metallm__said){.id = metallm__wire_text(yyjson_obj_get(root, "id")),
                                  .model = metallm__wire_text(yyjson_obj_get(root, "model")),
                                  .parts = parts.items,
                                  .part_count = parts.count,
                                  .usage = METALLM__WIRE_USAGE_UNKNOWN};
    if (yyjson_is_str(finish) && yyjson_get_len(finish) > 0)
        out->finish = metallm__openai_finish_in(metallm__wire_text(finish));
    if (yyjson_is_obj(logprobs))
        out->logprobs = metallm__json_kept(pool, logprobs);
    metallm__openai_read_usage(yyjson_obj_get(root, "usage"), &out->usage);
    return metallm__pool_check(pool, err);
}
