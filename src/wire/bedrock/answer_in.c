/* SPDX-License-Identifier: Apache-2.0
 * answer_in.c - an answer of Converse. Blocks that are not known here are passed over, as
 * AWS's own clients do. */
#include "base/error.h"
#include "wire/bedrock/bedrock.h"

enum metallm__wire_finish metallm__bedrock_finish(struct metallm__span stop_reason)
{
    static const struct {
        const char *reason;
        enum metallm__wire_finish finish;
    } rows[] = {
        {"end_turn", METALLM__WIRE_FINISH_STOP},
        {"tool_use", METALLM__WIRE_FINISH_TOOLS},
        {"max_tokens", METALLM__WIRE_FINISH_LENGTH},
        {"stop_sequence", METALLM__WIRE_FINISH_SEQUENCE},
        {"guardrail_intervened", METALLM__WIRE_FINISH_FILTER},
        {"content_filtered", METALLM__WIRE_FINISH_FILTER},
        {"model_context_window_exceeded", METALLM__WIRE_FINISH_LENGTH},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (metallm__span_is(stop_reason, rows[i].reason))
            return rows[i].finish;
    return stop_reason.n > 0 ? METALLM__WIRE_FINISH_OTHER : METALLM__WIRE_FINISH_NONE;
}

/* inputTokens leaves out what was read from the cache and written to it. */
void metallm__bedrock_usage_in(yyjson_val *usage, struct metallm__wire_usage *out)
{
    metallm__json_tokens(yyjson_obj_get(usage, "inputTokens"), &out->input_tokens);
    metallm__json_tokens(yyjson_obj_get(usage, "outputTokens"), &out->output_tokens);
    metallm__json_tokens(yyjson_obj_get(usage, "cacheReadInputTokens"), &out->cached_tokens);
    metallm__json_tokens(yyjson_obj_get(usage, "cacheWriteInputTokens"), &out->written_tokens);
    if (out->input_tokens < 0)
        return;
    out->input_tokens += out->cached_tokens > 0 ? out->cached_tokens : 0;
    out->input_tokens += out->written_tokens > 0 ? out->written_tokens : 0;
}

/* The texts of a part, where there are several, side by side. */
static struct metallm__span join_texts(struct metallm__pool *pool, yyjson_val *list)
{
    size_t i, max, total = 0, at = 0;
    yyjson_val *v;
    yyjson_arr_foreach(list, i, max, v)
    {
        total += metallm__wire_text(yyjson_obj_get(v, "text")).n;
    }
    char *text = total > 0 ? metallm__pool_take(pool, total, 1) : NULL;
    if (text == NULL)
        return (struct metallm__span){NULL, 0};
    yyjson_arr_foreach(list, i, max, v)
    {
        struct metallm__span s = metallm__wire_text(yyjson_obj_get(v, "text"));
        if (s.n > 0)
            memcpy(text + at, s.p, s.n);
        at += s.n;
    }
    return metallm__span(text, total);
}

static void read_text(struct metallm__part_list *l, struct metallm__span text)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_TEXT);
    if (p != NULL)
        p->text = text;
}

static void read_call(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_CALL);
    yyjson_val *input = yyjson_obj_get(v, "input");
    if (p == NULL)
        return;
    p->id = metallm__wire_text(yyjson_obj_get(v, "toolUseId"));
    p->name = metallm__wire_text(yyjson_obj_get(v, "name"));
    p->text = yyjson_is_obj(input) ? metallm__json_kept(l->pool, input) : metallm__span_of("{}");
}

static void read_reasoning(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_REASONING);
    yyjson_val *text = yyjson_obj_get(v, "reasoningText");
    const char *seal_of = METALLM__BEDROCK_SEAL;
    if (p == NULL)
        return;
    p->text = metallm__wire_text(yyjson_obj_get(text, "text"));
    p->seal = metallm__wire_text(yyjson_obj_get(text, "signature"));
    if (text == NULL) {
        p->seal = metallm__wire_text(yyjson_obj_get(v, "redactedContent"));
        seal_of = METALLM__BEDROCK_REDACTED;
    }
    if (p->seal.n > 0)
        p->seal_of = metallm__span_of(seal_of);
}

static void read_block(struct metallm__part_list *l, yyjson_val *block)
{
    yyjson_val *v;
    if ((v = yyjson_obj_get(block, "text")) != NULL)
        read_text(l, metallm__wire_text(v));
    else if ((v = yyjson_obj_get(block, "toolUse")) != NULL) {
        if (yyjson_obj_get(v, "type") == NULL) /* else Bedrock itself runs it */
            read_call(l, v);
    } else if ((v = yyjson_obj_get(block, "reasoningContent")) != NULL)
        read_reasoning(l, v);
    else if ((v = yyjson_obj_get(block, "citationsContent")) != NULL)
        read_text(l, join_texts(l->pool, yyjson_obj_get(v, "content")));
}

int metallm__bedrock_said_in(yyjson_val *root, struct metallm__pool *pool,
                             struct metallm__said *out, metallm_error *err)
{
    yyjson_val *message = yyjson_obj_get(yyjson_obj_get(root, "output"), "message");
    yyjson_val *content = yyjson_obj_get(message, "content"), *block;
    struct metallm__part_list parts = {.pool = pool};
    size_t i, max;
    if (!yyjson_is_arr(content)) {
        int rc = metallm__bedrock_check(root, err);
        return rc != METALLM_OK
                   ? rc
                   : metallm__error_set(err, METALLM_EFORMAT, "the answer has no 'output'");
    }
    yyjson_arr_foreach(content, i, max, block)
    {
        read_block(&parts, block);
    }
    out->parts = parts.items;
    out->part_count = parts.count;
    out->finish = metallm__bedrock_finish(metallm__wire_text(yyjson_obj_get(root, "stopReason")));
    metallm__bedrock_usage_in(yyjson_obj_get(root, "usage"), &out->usage);
    return metallm__pool_check(pool, err);
}
