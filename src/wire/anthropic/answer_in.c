/* SPDX-License-Identifier: Apache-2.0
 * answer_in.c - a whole Message as a said, and errors. Blocks of tools that Anthropic
 * runs itself are left out: a translated request cannot have asked for them. */
#include "base/error.h"
#include "wire/anthropic/anthropic.h"

enum metallm__wire_finish metallm__anthropic_finish(yyjson_val *stop_reason)
{
    static const struct {
        const char *name;
        enum metallm__wire_finish finish;
    } reasons[] = {
        {"end_turn", METALLM__WIRE_FINISH_STOP},
        {"tool_use", METALLM__WIRE_FINISH_TOOLS},
        {"max_tokens", METALLM__WIRE_FINISH_LENGTH},
        {"stop_sequence", METALLM__WIRE_FINISH_SEQUENCE},
        {"refusal", METALLM__WIRE_FINISH_FILTER},
        {"model_context_window_exceeded", METALLM__WIRE_FINISH_LENGTH},
    };
    if (!yyjson_is_str(stop_reason))
        return METALLM__WIRE_FINISH_NONE;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (yyjson_equals_str(stop_reason, reasons[i].name))
            return reasons[i].finish;
    return METALLM__WIRE_FINISH_OTHER; /* "pause_turn", and what is yet to come */
}

/* input_tokens are those beside the cache's. In the middle of a stream the counts may come without
 * each other: what was told before counts then. */
void metallm__anthropic_usage_in(yyjson_val *usage, struct metallm__wire_usage *out)
{
    int64_t fresh = -1, *cached = &out->cached_tokens, *written = &out->written_tokens;
    metallm__json_tokens(yyjson_obj_get(usage, "cache_read_input_tokens"), cached);
    metallm__json_tokens(yyjson_obj_get(usage, "cache_creation_input_tokens"), written);
    metallm__json_tokens(yyjson_obj_get(usage, "input_tokens"), &fresh);
    metallm__json_tokens(yyjson_obj_get(usage, "output_tokens"), &out->output_tokens);
    yyjson_val *details = yyjson_obj_get(usage, "output_tokens_details");
    metallm__json_tokens(yyjson_obj_get(details, "thinking_tokens"), &out->reasoning_tokens);
    if (fresh >= 0)
        out->input_tokens = fresh + (*cached > 0 ? *cached : 0) + (*written > 0 ? *written : 0);
    if (out->reasoning_tokens > out->output_tokens) /* absurd */
        out->reasoning_tokens = -1;
}

bool metallm__anthropic_error(yyjson_val *root, metallm_error *err)
{
    yyjson_val *error = yyjson_obj_get(root, "error");
    if (!yyjson_equals_str(yyjson_obj_get(root, "type"), "error") && !yyjson_is_obj(error))
        return false;
    struct metallm__span type = metallm__wire_text(yyjson_obj_get(error, "type"));
    struct metallm__span message = metallm__wire_text(yyjson_obj_get(error, "message"));
    if (type.n == 0)
        type = metallm__span_of("error");
    if (message.n == 0)
        message = metallm__span_of("without a message");
    metallm__error_set(err, METALLM_EFORMAT, "%.*s: %.*s", (int)(type.n < 40 ? type.n : 40), type.p,
                       (int)(message.n < 180 ? message.n : 180), message.p);
    return true;
}

/* ---- Blocks. ---- */

static void read_thinking(yyjson_val *block, struct metallm__part *part)
{
    part->text = metallm__wire_text(yyjson_obj_get(block, "thinking"));
    part->seal = metallm__wire_text(yyjson_obj_get(block, "signature"));
    if (part->seal.n > 0)
        part->seal_of = metallm__span_of(METALLM__ANTHROPIC_SEAL);
}

static void read_block(yyjson_val *block, struct metallm__part_list *parts)
{
    yyjson_val *type = yyjson_obj_get(block, "type");
    struct metallm__part p = {.kind = METALLM__PART_KINDS};
    if (yyjson_equals_str(type, "text")) {
        p.kind = METALLM__PART_TEXT;
        p.text = metallm__wire_text(yyjson_obj_get(block, "text"));
    } else if (yyjson_equals_str(type, "thinking")) {
        p.kind = METALLM__PART_REASONING;
        read_thinking(block, &p);
    } else if (yyjson_equals_str(type, "redacted_thinking")) {
        p.kind = METALLM__PART_REASONING;
        p.seal = metallm__wire_text(yyjson_obj_get(block, "data"));
        p.seal_of = metallm__span_of(METALLM__ANTHROPIC_REDACTED);
    } else if (yyjson_equals_str(type, "tool_use")) {
        yyjson_val *input = yyjson_obj_get(block, "input");
        p.kind = METALLM__PART_CALL;
        p.id = metallm__wire_text(yyjson_obj_get(block, "id"));
        p.name = metallm__wire_text(yyjson_obj_get(block, "name"));
        p.text =
            yyjson_is_obj(input) ? metallm__json_kept(parts->pool, input) : metallm__span_of("{}");
    }
    struct metallm__part *part =
        p.kind != METALLM__PART_KINDS ? metallm__part_add(parts, p.kind) : NULL;
    if (part != NULL)
        *part = p;
}

/* Why it was refused, in the provider's words, as the refusal. */
static void read_refusal(yyjson_val *details, struct metallm__part_list *parts)
{
    struct metallm__span why = metallm__wire_text(yyjson_obj_get(details, "explanation"));
    struct metallm__part *part = why.n > 0 ? metallm__part_add(parts, METALLM__PART_REFUSAL) : NULL;
    if (part != NULL)
        part->text = why;
}

int metallm__anthropic_said_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__said *out, metallm_error *err)
{
    yyjson_val *content = yyjson_obj_get(root, "content");
    if (metallm__anthropic_error(root, err))
        return METALLM_EFORMAT;
    if (!yyjson_is_arr(content) || yyjson_arr_size(content) >= METALLM__SAID_PARTS_MAX)
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has no 'content'");
    struct metallm__part_list parts = {.pool = pool};
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *block; (block = yyjson_arr_iter_next(&i)) != NULL;)
        read_block(block, &parts);
    struct metallm__said said = {
        .id = metallm__wire_text(yyjson_obj_get(root, "id")),
        .model = metallm__wire_text(yyjson_obj_get(root, "model")),
        .finish = metallm__anthropic_finish(yyjson_obj_get(root, "stop_reason")),
        .stop = metallm__wire_text(yyjson_obj_get(root, "stop_sequence")),
        .usage = METALLM__WIRE_USAGE_UNKNOWN,
    };
    if (said.finish == METALLM__WIRE_FINISH_FILTER)
        read_refusal(yyjson_obj_get(root, "stop_details"), &parts);
    metallm__anthropic_usage_in(yyjson_obj_get(root, "usage"), &said.usage);
    said.parts = parts.items;
    said.part_count = parts.count;
    int rc = metallm__pool_check(pool, err);
    if (rc == METALLM_OK)
        *out = said;
    return rc;
}

/* ---- Errors. ---- */

void metallm__anthropic_error_in(struct metallm__span body, struct metallm__wire_error *out)
{
    yyjson_doc *doc = NULL;
    *out = (struct metallm__wire_error){.message = ""};
    if (metallm__json_read(&doc, body.n > 0 ? body.p : "", body.n, NULL) != METALLM_OK)
        return;
    yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
    yyjson_val *code = yyjson_obj_get(yyjson_obj_get(error, "details"), "error_code");
    metallm__wire_text_copy(out->message, sizeof out->message,
                            metallm__wire_text(yyjson_obj_get(error, "message")));
    metallm__wire_text_copy(out->type, sizeof out->type,
                            metallm__wire_text(yyjson_obj_get(error, "type")));
    metallm__wire_text_copy(out->code, sizeof out->code, metallm__wire_text(code));
    yyjson_doc_free(doc);
}
