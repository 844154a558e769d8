/* SPDX-License-Identifier: Apache-2.0
 * request_out.c - a talk written as a Responses request. Nothing is kept at the provider
 * (store false): a conversation comes whole each time, reasoning with its seal. */
#include <math.h>

#include "base/error.h"
#include "wire/responses/responses.h"

static void put_text(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    if (text.n == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

static void put_typed(struct metallm__jw *j, const char *type)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "type");
    metallm__jw_text(j, type);
}

/* "data:MEDIA;base64,DATA", as a JSON string. */
static void put_data_url(struct metallm__jw *j, const char *name, const struct metallm__part *part)
{
    struct metallm__span media =
        part->media.n > 0 ? part->media : metallm__span_of("application/octet-stream");
    struct metallm__buf *out = j->out;
    metallm__jw_name(j, name);
    metallm__jw_json(j, metallm__span_of("\"data:"));
    metallm__json_escaped(out, media.p, media.n);
    metallm__buf_puts(out, ";base64,");
    metallm__json_escaped(out, part->data.p, part->data.n);
    metallm__buf_puts(out, "\"");
}

/* ---- Content of the user's messages and of results. ---- */

static void put_image(struct metallm__jw *j, const struct metallm__part *part)
{
    put_typed(j, "input_image");
    metallm__jw_name(j, "detail");
    metallm__jw_span(j, part->detail.n > 0 ? part->detail : metallm__span_of("auto"));
    put_text(j, "file_id", part->file_id);
    if (part->data.n > 0)
        put_data_url(j, "image_url", part);
    else
        put_text(j, "image_url", part->url);
    metallm__jw_close(j, '}');
}

static void put_file(struct metallm__jw *j, const struct metallm__part *part)
{
    put_typed(j, "input_file");
    put_text(j, "file_id", part->file_id);
    put_text(j, "file_url", part->url);
    if (part->data.n > 0) {
        put_data_url(j, "file_data", part);
        metallm__jw_name(j, "filename");
        metallm__jw_span(j, part->name.n > 0 ? part->name : metallm__span_of("file"));
    }
    metallm__jw_close(j, '}');
}

static void put_input(struct metallm__jw *j, const struct metallm__part *part)
{
    if (part->kind == METALLM__PART_IMAGE) {
        put_image(j, part);
    } else if (part->kind == METALLM__PART_FILE) {
        put_file(j, part);
    } else {
        put_typed(j, "input_text");
        metallm__jw_name(j, "text");
        metallm__jw_span(j, part->text);
        metallm__jw_close(j, '}');
    }
}

/* ---- Items. ---- */

static void put_result(struct metallm__jw *j, const struct metallm__part *part)
{
    put_typed(j, "function_call_output");
    put_text(j, "call_id", part->id);
    metallm__jw_name(j, "output");
    if (part->part_count == 1 && part->parts[0].kind == METALLM__PART_TEXT) {
        metallm__jw_span(j, part->parts[0].text);
    } else if (part->part_count == 0) {
        metallm__jw_text(j, "");
    } else {
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < part->part_count; i++)
            put_input(j, &part->parts[i]);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
}

/* The user's parts from `at` on that stand in one message; returns behind them. */
static size_t put_message(struct metallm__jw *j, const struct metallm__turn *turn, size_t at)
{
    put_typed(j, "message");
    metallm__jw_name(j, "role");
    metallm__jw_text(j, turn->role == METALLM__ROLE_SYSTEM ? "system" : "user");
    metallm__jw_name(j, "content");
    metallm__jw_open(j, '[');
    while (at < turn->part_count && turn->parts[at].kind != METALLM__PART_RESULT)
        put_input(j, &turn->parts[at++]);
    metallm__jw_close(j, ']');
    metallm__jw_close(j, '}');
    return at;
}

static void put_user_turn(struct metallm__jw *j, const struct metallm__turn *turn)
{
    for (size_t i = 0; i < turn->part_count;) {
        if (turn->parts[i].kind == METALLM__PART_RESULT)
            put_result(j, &turn->parts[i++]);
        else
            i = put_message(j, turn, i);
    }
}

/* Only what this provider sealed can be given back to it; the rest is told as left out. */
static void put_reasoning(struct metallm__jw *j, const struct metallm__part *part,
                          struct metallm__wire_out *out)
{
    if (part->seal.n == 0 || !metallm__span_is(part->seal_of, METALLM__RESPONSES)) {
        out->dropped |= 1ull << METALLM__FEATURE_REASONING_HISTORY;
        return;
    }
    metallm__responses_item_write(j, part, part->id.n > 0 ? part->id : metallm__span_of("rs_0"),
                                  true);
}

static void put_assistant_part(struct metallm__jw *j, const struct metallm__part *part,
                               struct metallm__wire_out *out)
{
    if (part->kind == METALLM__PART_REASONING) {
        put_reasoning(j, part, out);
    } else if (part->kind == METALLM__PART_REFUSAL) {
        metallm__responses_item_write(j, part, metallm__span_of("msg_0"), true);
    } else if (part->kind == METALLM__PART_CALL) {
        put_typed(j, "function_call");
        put_text(j, "call_id", part->id);
        put_text(j, "name", part->name);
        put_text(j, "arguments", part->text);
        metallm__jw_close(j, '}');
    } else {
        put_typed(j, "message");
        metallm__jw_name(j, "role");
        metallm__jw_text(j, "assistant");
        metallm__jw_name(j, "content");
        metallm__jw_span(j, part->text);
        metallm__jw_close(j, '}');
    }
}

/* false: there was nothing to say. */
static bool put_turns(struct metallm__jw *j, const struct metallm__talk *talk,
                      struct metallm__wire_out *out)
{
    metallm__jw_name(j, "input");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < talk->turn_count; i++) {
        const struct metallm__turn *turn = &talk->turns[i];
        if (turn->role != METALLM__ROLE_ASSISTANT) {
            put_user_turn(j, turn);
            continue;
        }
        for (size_t p = 0; p < turn->part_count; p++)
            put_assistant_part(j, &turn->parts[p], out);
    }
    bool has_any = j->wants_comma;
    metallm__jw_close(j, ']');
    return has_any;
}

/* ---- Tools, format, options. ---- */

static void put_tools(struct metallm__jw *j, const struct metallm__talk *talk)
{
    if (talk->tool_count == 0)
        return;
    metallm__jw_name(j, "tools");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < talk->tool_count; i++) {
        const struct metallm__tool *tool = &talk->tools[i];
        put_typed(j, "function");
        put_text(j, "name", tool->name);
        put_text(j, "description", tool->description);
        metallm__jw_name(j, "parameters");
        metallm__jw_json(j, tool->schema.n > 0 ? tool->schema : metallm__span_of("null"));
        metallm__jw_name(j, "strict");
        metallm__jw_flag(j, tool->is_strict == 1);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void put_tool_choice(struct metallm__jw *j, const struct metallm__talk *talk)
{
    static const char *const names[] = {NULL, "auto", "none", "required"};
    if (talk->tool_choice == METALLM__TOOL_CHOICE_UNSAID)
        return;
    metallm__jw_name(j, "tool_choice");
    if (talk->tool_choice != METALLM__TOOL_CHOICE_NAMED) {
        metallm__jw_text(j, names[talk->tool_choice]);
        return;
    }
    put_typed(j, "function");
    put_text(j, "name", talk->tool_name);
    metallm__jw_close(j, '}');
}

static void put_schema(struct metallm__jw *j, const struct metallm__talk *talk)
{
    put_typed(j, "json_schema");
    metallm__jw_name(j, "name");
    metallm__jw_span(j, talk->format_name.n > 0 ? talk->format_name : metallm__span_of("answer"));
    put_text(j, "description", talk->format_description);
    metallm__jw_name(j, "schema");
    metallm__jw_json(j, talk->schema);
    if (talk->is_format_strict >= 0) {
        metallm__jw_name(j, "strict");
        metallm__jw_flag(j, talk->is_format_strict == 1);
    }
    metallm__jw_close(j, '}');
}

static void put_text_options(struct metallm__jw *j, const struct metallm__talk *talk)
{
    if (talk->format == METALLM__FORMAT_TEXT && talk->verbosity.n == 0)
        return;
    metallm__jw_name(j, "text");
    metallm__jw_open(j, '{');
    if (talk->format != METALLM__FORMAT_TEXT)
        metallm__jw_name(j, "format");
    if (talk->format == METALLM__FORMAT_SCHEMA) {
        put_schema(j, talk);
    } else if (talk->format == METALLM__FORMAT_JSON) {
        put_typed(j, "json_object");
        metallm__jw_close(j, '}');
    }
    put_text(j, "verbosity", talk->verbosity);
    metallm__jw_close(j, '}');
}

static const char *effort_of(const struct metallm__talk *talk)
{
    return metallm__effort_name(talk->effort != METALLM__EFFORT_UNSAID
                                    ? talk->effort
                                    : metallm__effort_of_budget(talk->reasoning_tokens));
}

/* Encrypted reasoning is asked for where there may be some: other models refuse to be asked. */
static void put_reasoning_options(struct metallm__jw *j, const struct metallm__talk *talk)
{
    const char *effort = effort_of(talk);
    bool has_history = (talk->features >> METALLM__FEATURE_REASONING_HISTORY & 1u) != 0;
    if (effort != NULL || talk->wants_reasoning_summary) {
        metallm__jw_name(j, "reasoning");
        metallm__jw_open(j, '{');
        if (effort != NULL) {
            metallm__jw_name(j, "effort");
            metallm__jw_text(j, effort);
        }
        if (talk->wants_reasoning_summary) {
            metallm__jw_name(j, "summary");
            metallm__jw_text(j, "auto");
        }
        metallm__jw_close(j, '}');
    } else if (!has_history) {
        return;
    }
    metallm__jw_name(j, "include");
    metallm__jw_json(j, metallm__span_of("[\"reasoning.encrypted_content\"]"));
}

static void put_options(struct metallm__jw *j, const struct metallm__talk *talk)
{
    if (talk->max_tokens > 0) {
        metallm__jw_name(j, "max_output_tokens");
        metallm__jw_count(j, talk->max_tokens);
    }
    if (!isnan(talk->temperature)) {
        metallm__jw_name(j, "temperature");
        metallm__jw_real(j, talk->temperature);
    }
    if (!isnan(talk->top_p)) {
        metallm__jw_name(j, "top_p");
        metallm__jw_real(j, talk->top_p);
    }
    put_text(j, "user", talk->user);
    if (talk->metadata.n > 0) {
        metallm__jw_name(j, "metadata");
        metallm__jw_json(j, talk->metadata);
    }
    if (talk->is_parallel >= 0) {
        metallm__jw_name(j, "parallel_tool_calls");
        metallm__jw_flag(j, talk->is_parallel == 1);
    }
    metallm__jw_name(j, "store");
    metallm__jw_flag(j, false);
    if (talk->is_stream) {
        metallm__jw_name(j, "stream");
        metallm__jw_flag(j, true);
    }
}

int metallm__responses_talk_out(const struct metallm__talk *talk,
                                const struct metallm__wire_target *t, struct metallm__wire_out *out,
                                metallm_error *err)
{
    if (talk->temperature > 2)
        return metallm__error_set(err, METALLM_EINVAL, "a temperature above 2");
    struct metallm__jw j = {.out = &out->made};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "model");
    metallm__jw_json(&j, t->model_json);
    if (!put_turns(&j, talk, out))
        return metallm__error_set(err, METALLM_EINVAL,
                                  "openai-responses needs a message with content");
    put_tools(&j, talk);
    put_tool_choice(&j, talk);
    put_text_options(&j, talk);
    put_reasoning_options(&j, talk);
    put_options(&j, talk);
    metallm__jw_close(&j, '}');
    out->path = metallm__span_of("/responses");
    return metallm__buf_check(&out->made, err);
}
