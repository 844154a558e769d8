/* SPDX-License-Identifier: Apache-2.0
 * bedrock_peer.c - see bedrock_peer.h. */
#include "support/bedrock_peer.h"

#include <stdlib.h>

#include "base/json_out.h"
#include "support/aws_frame.h"
#include "wire/talk_read.h"

/* ---- Bodies. ---- */

struct reading {
    struct metallm__pool *pool;
    struct metallm__talk *out;
    struct metallm__turn_list turns;
    const char *wrong;
};

static struct metallm__span text_of(yyjson_val *v, const char *name)
{
    return metallm__wire_text(yyjson_obj_get(v, name));
}

static enum metallm__cache_mark cache_of(yyjson_val *point)
{
    return yyjson_obj_get(point, "ttl") != NULL ? METALLM__CACHE_LONG : METALLM__CACHE_SHORT;
}

static void read_media(struct metallm__part_list *l, yyjson_val *v, enum metallm__part_kind kind,
                       const char *type)
{
    struct metallm__part *p = metallm__part_add(l, kind);
    char media[64];
    struct metallm__span format = text_of(v, "format");
    int n = snprintf(media, sizeof media, "%s/%.*s", type, (int)format.n, format.p);
    p->media = metallm__pool_copy(l->pool, metallm__span(media, (size_t)n));
    p->data = text_of(yyjson_obj_get(v, "source"), "bytes");
}

static void read_content(struct reading *r, struct metallm__part_list *l, yyjson_val *content);

static void read_result(struct reading *r, struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part_list inner = {.pool = r->pool};
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_RESULT);
    p->id = text_of(v, "toolUseId");
    p->is_error = yyjson_equals_str(yyjson_obj_get(v, "status"), "error");
    read_content(r, &inner, yyjson_obj_get(v, "content"));
    p->parts = inner.items;
    p->part_count = inner.count;
}

static void read_reasoning(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_REASONING);
    yyjson_val *text = yyjson_obj_get(v, "reasoningText");
    p->text = text_of(text, "text");
    p->seal = text_of(text != NULL ? text : v, text != NULL ? "signature" : "redactedContent");
    p->seal_of = metallm__span_of(text != NULL ? "bedrock" : "bedrock-redacted");
}

static void read_call(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_CALL);
    p->id = text_of(v, "toolUseId");
    p->name = text_of(v, "name");
    p->text = metallm__json_kept(l->pool, yyjson_obj_get(v, "input"));
}

static void read_content(struct reading *r, struct metallm__part_list *l, yyjson_val *content)
{
    size_t i, max;
    yyjson_val *block;
    yyjson_arr_foreach(content, i, max, block)
    {
        yyjson_obj_iter it = yyjson_obj_iter_with(block);
        yyjson_val *key = yyjson_obj_iter_next(&it), *v = yyjson_obj_iter_get_val(key);
        if (yyjson_equals_str(key, "text"))
            metallm__part_add(l, METALLM__PART_TEXT)->text = metallm__wire_text(v);
        else if (yyjson_equals_str(key, "image"))
            read_media(l, v, METALLM__PART_IMAGE, "image");
        else if (yyjson_equals_str(key, "audio"))
            read_media(l, v, METALLM__PART_AUDIO, "audio");
        else if (yyjson_equals_str(key, "toolUse"))
            read_call(l, v);
        else if (yyjson_equals_str(key, "toolResult"))
            read_result(r, l, v);
        else if (yyjson_equals_str(key, "reasoningContent"))
            read_reasoning(l, v);
        else if (yyjson_equals_str(key, "cachePoint") && l->count > 0)
            l->items[l->count - 1].cache = cache_of(v);
        else
            r->wrong = yyjson_get_str(key);
    }
}

static void read_messages(struct reading *r, yyjson_val *messages)
{
    size_t i, max;
    yyjson_val *m;
    yyjson_arr_foreach(messages, i, max, m)
    {
        yyjson_val *role = yyjson_obj_get(m, "role");
        metallm__turn_begin(&r->turns, yyjson_equals_str(role, "user") ? METALLM__ROLE_USER
                                       : yyjson_equals_str(role, "assistant")
                                           ? METALLM__ROLE_ASSISTANT
                                           : METALLM__ROLE_SYSTEM);
        read_content(r, &r->turns.parts, yyjson_obj_get(m, "content"));
    }
}

static void read_inference(struct reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    uint64_t most = 0;
    if (metallm__json_count(yyjson_obj_get(v, "maxTokens"), UINT32_MAX, &most))
        t->max_tokens = (uint32_t)most;
    (void)metallm__json_real(yyjson_obj_get(v, "temperature"), &t->temperature);
    (void)metallm__json_real(yyjson_obj_get(v, "topP"), &t->top_p);
    yyjson_val *list = yyjson_obj_get(v, "stopSequences");
    t->stop_count = yyjson_arr_size(list);
    struct metallm__span *stops = metallm__pool_take(r->pool, t->stop_count, sizeof *stops);
    for (size_t i = 0; i < t->stop_count; i++)
        stops[i] = metallm__wire_text(yyjson_arr_get(list, i));
    t->stops = stops;
}

static void read_tools(struct reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *list = yyjson_obj_get(v, "tools"), *choice = yyjson_obj_get(v, "toolChoice");
    struct metallm__tool *tools = metallm__pool_take(r->pool, yyjson_arr_size(list), sizeof *tools);
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(list, i, max, item)
    {
        yyjson_val *spec = yyjson_obj_get(item, "toolSpec");
        if (spec == NULL) {
            tools[t->tool_count - 1].cache = cache_of(yyjson_obj_get(item, "cachePoint"));
            continue;
        }
        tools[t->tool_count++] = (struct metallm__tool){
            .name = text_of(spec, "name"),
            .description = text_of(spec, "description"),
            .schema = metallm__json_kept(
                r->pool, yyjson_obj_get(yyjson_obj_get(spec, "inputSchema"), "json")),
            .is_strict = yyjson_is_true(yyjson_obj_get(spec, "strict")) ? 1 : -1};
    }
    t->tools = tools;
    t->tool_name = text_of(yyjson_obj_get(choice, "tool"), "name");
    t->tool_choice = yyjson_obj_get(choice, "any") != NULL    ? METALLM__TOOL_CHOICE_ANY
                     : yyjson_obj_get(choice, "auto") != NULL ? METALLM__TOOL_CHOICE_AUTO
                     : choice != NULL                         ? METALLM__TOOL_CHOICE_NAMED
                                                              : METALLM__TOOL_CHOICE_UNSAID;
}

static void read_fields(struct reading *r, yyjson_val *v)
{
    uint64_t n = 0;
    if (metallm__json_count(yyjson_obj_get(v, "top_k"), UINT32_MAX, &n))
        r->out->top_k = (uint32_t)n;
    yyjson_val *thinking = yyjson_obj_get(v, "thinking");
    if (metallm__json_count(yyjson_obj_get(thinking, "budget_tokens"), UINT32_MAX, &n))
        r->out->reasoning_tokens = (uint32_t)n;
}

static void read_output(struct reading *r, yyjson_val *v)
{
    static const char *const efforts[] = {"", "", "minimal", "low", "medium", "high"};
    struct metallm__talk *t = r->out;
    yyjson_val *schema =
        yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(v, "textFormat"), "structure"), "jsonSchema");
    for (size_t i = 2; i < sizeof efforts / sizeof *efforts; i++)
        if (yyjson_equals_str(yyjson_obj_get(v, "effort"), efforts[i]))
            t->effort = (enum metallm__effort)i;
    if (schema == NULL)
        return;
    t->format = METALLM__FORMAT_SCHEMA;
    t->schema = text_of(schema, "schema");
    t->format_name = text_of(schema, "name");
    t->format_description = text_of(schema, "description");
    t->is_format_strict = 1; /* always */
}

const char *bedrock_talk_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__talk *out)
{
    struct reading r = {.pool = pool, .out = out, .turns = {.pool = pool}};
    size_t i, max;
    yyjson_val *key, *v;
    metallm__talk_clear(out);
    if (yyjson_obj_get(root, "system") != NULL) {
        metallm__turn_begin(&r.turns, METALLM__ROLE_SYSTEM);
        read_content(&r, &r.turns.parts, yyjson_obj_get(root, "system"));
    }
    read_messages(&r, yyjson_obj_get(root, "messages"));
    metallm__turn_end(&r.turns);
    out->turns = r.turns.items;
    out->turn_count = r.turns.count;
    yyjson_obj_foreach(root, i, max, key, v)
    {
        if (yyjson_equals_str(key, "inferenceConfig"))
            read_inference(&r, v);
        else if (yyjson_equals_str(key, "toolConfig"))
            read_tools(&r, v);
        else if (yyjson_equals_str(key, "additionalModelRequestFields"))
            read_fields(&r, v);
        else if (yyjson_equals_str(key, "outputConfig"))
            read_output(&r, v);
        else if (!yyjson_equals_str(key, "system") && !yyjson_equals_str(key, "messages"))
            r.wrong = yyjson_get_str(key);
    }
    return r.wrong;
}

/* ---- Answers. ---- */

static void member(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

static void open_member(struct metallm__jw *j, const char *name)
{
    metallm__jw_name(j, name);
    metallm__jw_open(j, '{');
}

static void write_usage(struct metallm__jw *j, const struct metallm__wire_usage *u)
{
    open_member(j, "usage");
    metallm__jw_name(j, "inputTokens");
    metallm__jw_count(j, (uint64_t)(u->input_tokens - u->cached_tokens - u->written_tokens));
    metallm__jw_name(j, "outputTokens");
    metallm__jw_count(j, (uint64_t)u->output_tokens);
    metallm__jw_name(j, "totalTokens");
    metallm__jw_count(j, (uint64_t)(u->input_tokens + u->output_tokens));
    metallm__jw_name(j, "cacheReadInputTokens");
    metallm__jw_count(j, (uint64_t)u->cached_tokens);
    metallm__jw_name(j, "cacheWriteInputTokens");
    metallm__jw_count(j, (uint64_t)u->written_tokens);
    metallm__jw_close(j, '}');
}

static void write_block(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_open(j, '{');
    if (p->kind == METALLM__PART_CALL) {
        open_member(j, "toolUse");
        member(j, "toolUseId", p->id);
        member(j, "name", p->name);
        metallm__jw_name(j, "input");
        metallm__jw_json(j, p->text);
        metallm__jw_close(j, '}');
    } else if (p->kind == METALLM__PART_REASONING) {
        open_member(j, "reasoningContent");
        open_member(j, "reasoningText");
        member(j, "text", p->text);
        if (p->seal.n > 0)
            member(j, "signature", p->seal);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
    } else {
        member(j, "text", p->text);
    }
    metallm__jw_close(j, '}');
}

static const char *reason_of(enum metallm__wire_finish finish)
{
    return finish == METALLM__WIRE_FINISH_TOOLS    ? "tool_use"
           : finish == METALLM__WIRE_FINISH_LENGTH ? "max_tokens"
           : finish == METALLM__WIRE_FINISH_FILTER ? "content_filtered"
                                                   : "end_turn";
}

void bedrock_said_out(const struct metallm__said *said, struct metallm__buf *out)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_open(&j, '{');
    open_member(&j, "output");
    open_member(&j, "message");
    metallm__jw_name(&j, "role");
    metallm__jw_text(&j, "assistant");
    metallm__jw_name(&j, "content");
    metallm__jw_open(&j, '[');
    for (size_t i = 0; i < said->part_count; i++)
        write_block(&j, &said->parts[i]);
    metallm__jw_close(&j, ']');
    metallm__jw_close(&j, '}');
    metallm__jw_close(&j, '}');
    metallm__jw_name(&j, "stopReason");
    metallm__jw_text(&j, reason_of(said->finish));
    write_usage(&j, &said->usage);
    metallm__jw_close(&j, '}');
}

/* ---- Streams. ---- */

static void add_frame(struct bedrock_stream *s, const char *name, const struct metallm__buf *json)
{
    char *frame = malloc(json->len + strlen(name) + 256);
    size_t n = frame != NULL ? aws_frame_event(frame, name, json->data) : 0;
    metallm__buf_add(&s->frames, frame, n);
    free(frame);
}

static const char *write_delta(struct metallm__jw *j, const struct metallm__delta *d)
{
    if (d->kind == METALLM__DELTA_BEGIN) {
        open_member(j, "start");
        open_member(j, "toolUse");
        member(j, "toolUseId", d->id);
        member(j, "name", d->name);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
        return "contentBlockStart";
    }
    if (d->kind == METALLM__DELTA_END)
        return "contentBlockStop";
    open_member(j, "delta");
    if (d->part == METALLM__PART_REASONING) {
        open_member(j, "reasoningContent");
        member(j, d->kind == METALLM__DELTA_SEAL ? "signature" : "text", d->text);
        metallm__jw_close(j, '}');
    } else if (d->part == METALLM__PART_CALL) {
        open_member(j, "toolUse");
        member(j, "input", d->text);
        metallm__jw_close(j, '}');
    } else {
        member(j, "text", d->text);
    }
    metallm__jw_close(j, '}');
    return "contentBlockDelta";
}

int bedrock_delta_out(void *stream, const struct metallm__delta *d)
{
    struct bedrock_stream *s = stream;
    struct metallm__buf json;
    struct metallm__jw j = {.out = &json};
    const char *name = NULL;
    metallm__buf_init(&json, 1u << 20);
    metallm__jw_open(&j, '{');
    if (d->kind == METALLM__DELTA_START) {
        name = "messageStart";
    } else if (d->kind == METALLM__DELTA_FINISH) {
        metallm__jw_name(&j, "stopReason");
        metallm__jw_text(&j, reason_of(d->finish));
        name = "messageStop";
    } else if (d->kind == METALLM__DELTA_USAGE) {
        metallm__wire_usage_merge(&s->usage, &d->usage);
    } else if (d->kind != METALLM__DELTA_PING &&
               (d->kind != METALLM__DELTA_BEGIN || d->part == METALLM__PART_CALL)) {
        metallm__jw_name(&j, "contentBlockIndex");
        metallm__jw_count(&j, s->index);
        name = write_delta(&j, d);
        s->index += d->kind == METALLM__DELTA_END;
    }
    metallm__jw_close(&j, '}');
    if (name != NULL)
        add_frame(s, name, &json);
    metallm__buf_fini(&json);
    return metallm__buf_check(&s->frames, NULL);
}

void bedrock_stream_end(struct bedrock_stream *s)
{
    struct metallm__buf json;
    struct metallm__jw j = {.out = &json};
    metallm__buf_init(&json, 1u << 20);
    metallm__jw_open(&j, '{');
    write_usage(&j, &s->usage);
    metallm__jw_close(&j, '}');
    add_frame(s, "metadata", &json);
    metallm__buf_fini(&json);
}
