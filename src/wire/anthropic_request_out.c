/* SPDX-License-Identifier: Apache-2.0
 * anthropic_request_out.c - a talk as the body of POST /messages. Content blocks:
 * anthropic_blocks_out.c. Effort is said as adaptive thinking with output_config.effort, which the
 * Claude models since 4.6 take; a budget of tokens as thinking of type "enabled". */
#include <math.h>

#include "base/error.h"
#include "wire/anthropic.h"

#define BUDGET_TOKENS_MIN 1024u /* of thinking */

/* ---- System and messages. ---- */

static size_t leading_systems(const struct metallm__talk *talk)
{
    size_t n = 0;
    while (n < talk->turn_count && talk->turns[n].role == METALLM__ROLE_SYSTEM)
        n++;
    return n;
}

static const char *role_name(enum metallm__role role)
{
    static const char *const names[] = {"system", "user", "assistant"};
    return names[role];
}

/* Turns of one role that follow each other are one message, as the results of parallel calls must
 * be. */
static int write_messages(const struct metallm__talk *talk, struct metallm__jw *j, size_t at,
                          struct metallm__wire_out *out, metallm_error *err)
{
    size_t told = 0;
    metallm__jw_name(j, "messages");
    metallm__jw_open(j, '[');
    for (size_t end; at < talk->turn_count; at = end) {
        for (end = at + 1; end < talk->turn_count && talk->turns[end].role == talk->turns[at].role;)
            end++;
        const struct metallm__turn *turns = &talk->turns[at];
        if (!metallm__anthropic_has_content(turns, end - at, out))
            continue;
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "role");
        metallm__jw_text(j, role_name(turns->role));
        metallm__jw_name(j, "content");
        int rc = metallm__anthropic_content_out(j, turns, end - at, err);
        if (rc != METALLM_OK)
            return rc;
        metallm__jw_close(j, '}');
        told++;
    }
    metallm__jw_close(j, ']');
    return told > 0 ? METALLM_OK
                    : metallm__error_set(err, METALLM_EINVAL,
                                         "anthropic needs a message with content beside the "
                                         "system's");
}

static int write_turns(const struct metallm__talk *talk, struct metallm__jw *j,
                       struct metallm__wire_out *out, metallm_error *err)
{
    size_t systems = leading_systems(talk);
    if (metallm__anthropic_has_content(talk->turns, systems, out)) {
        metallm__jw_name(j, "system");
        int rc = metallm__anthropic_content_out(j, talk->turns, systems, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return write_messages(talk, j, systems, out, err);
}

/* ---- Options. ---- */

static int write_sampling(const struct metallm__talk *talk, struct metallm__jw *j,
                          metallm_error *err)
{
    if (talk->temperature > 1)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "a temperature of %g cannot be said to anthropic, where 1 is the "
                                  "highest",
                                  talk->temperature);
    if (!isnan(talk->temperature)) {
        metallm__jw_name(j, "temperature");
        metallm__jw_real(j, talk->temperature);
    }
    if (!isnan(talk->top_p)) {
        metallm__jw_name(j, "top_p");
        metallm__jw_real(j, talk->top_p);
    }
    if (talk->top_k > 0) {
        metallm__jw_name(j, "top_k");
        metallm__jw_count(j, talk->top_k);
    }
    if (talk->stop_count > 0) {
        metallm__jw_name(j, "stop_sequences");
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < talk->stop_count; i++)
            metallm__jw_span(j, talk->stops[i]);
        metallm__jw_close(j, ']');
    }
    return METALLM_OK;
}

/* A schema must be that of an object. */
static void write_input_schema(struct metallm__jw *j, struct metallm__span schema)
{
    metallm__jw_name(j, "input_schema");
    if (schema.n == 0 || metallm__span_is(schema, "{}"))
        metallm__jw_raw(j, "{\"type\":\"object\",\"properties\":{}}");
    else
        metallm__jw_json(j, schema);
}

static void write_tool(struct metallm__jw *j, const struct metallm__tool *tool)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "name");
    metallm__jw_span(j, tool->name);
    if (tool->description.n > 0) {
        metallm__jw_name(j, "description");
        metallm__jw_span(j, tool->description);
    }
    write_input_schema(j, tool->schema);
    if (tool->is_strict >= 0) {
        metallm__jw_name(j, "strict");
        metallm__jw_flag(j, tool->is_strict > 0);
    }
    metallm__anthropic_cache_out(j, tool->cache);
    metallm__jw_close(j, '}');
}

static void write_tool_choice(const struct metallm__talk *talk, struct metallm__jw *j)
{
    static const char *const types[] = {"auto", "auto", "none", "any", "tool"};
    bool is_said = talk->tool_choice != METALLM__TOOL_CHOICE_UNSAID;
    if (!is_said && talk->is_parallel != 0)
        return;
    metallm__jw_name(j, "tool_choice");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "type");
    metallm__jw_text(j, types[talk->tool_choice]);
    if (talk->tool_choice == METALLM__TOOL_CHOICE_NAMED) {
        metallm__jw_name(j, "name");
        metallm__jw_span(j, talk->tool_name);
    }
    if (talk->is_parallel >= 0 && talk->tool_choice != METALLM__TOOL_CHOICE_NONE) {
        metallm__jw_name(j, "disable_parallel_tool_use");
        metallm__jw_flag(j, talk->is_parallel == 0);
    }
    metallm__jw_close(j, '}');
}

static void write_tools(const struct metallm__talk *talk, struct metallm__jw *j)
{
    if (talk->tool_count == 0)
        return;
    metallm__jw_name(j, "tools");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < talk->tool_count; i++)
        write_tool(j, &talk->tools[i]);
    metallm__jw_close(j, ']');
    write_tool_choice(talk, j);
}

/* "type" has been opened and not closed. */
static void close_thinking(const struct metallm__talk *talk, struct metallm__jw *j)
{
    metallm__jw_name(j, "display");
    metallm__jw_text(j, talk->wants_reasoning_summary ? "summarized" : "omitted");
    metallm__jw_close(j, '}');
}

static int write_thinking(const struct metallm__talk *talk, uint32_t max_tokens,
                          struct metallm__jw *j, metallm_error *err)
{
    if (talk->effort == METALLM__EFFORT_NONE) {
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"disabled\"}");
        return METALLM_OK;
    }
    if (talk->reasoning_tokens > 0) {
        if (talk->reasoning_tokens < BUDGET_TOKENS_MIN || talk->reasoning_tokens >= max_tokens)
            return metallm__error_set(err, METALLM_EINVAL,
                                      "anthropic thinks with %u tokens or more, and less than the "
                                      "%u of the answer",
                                      BUDGET_TOKENS_MIN, (unsigned)max_tokens);
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"enabled\"");
        metallm__jw_name(j, "budget_tokens");
        metallm__jw_count(j, talk->reasoning_tokens);
        close_thinking(talk, j);
    } else if (talk->effort != METALLM__EFFORT_UNSAID || talk->wants_reasoning_summary) {
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"adaptive\"");
        close_thinking(talk, j);
    }
    return METALLM_OK;
}

/* The schema with the description of the format as its own, where it has none. */
static void write_schema(const struct metallm__talk *talk, struct metallm__jw *j)
{
    yyjson_doc *doc = NULL;
    bool is_new = false;
    if (talk->format_description.n > 0 &&
        metallm__json_read(&doc, talk->schema.p, talk->schema.n, NULL) == METALLM_OK) {
        yyjson_val *root = yyjson_doc_get_root(doc);
        is_new = yyjson_obj_size(root) > 0 && yyjson_obj_get(root, "description") == NULL;
    }
    yyjson_doc_free(doc);
    if (!is_new) {
        metallm__jw_json(j, talk->schema);
        return;
    }
    const char *brace = memchr(talk->schema.p, '{', talk->schema.n);
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "description");
    metallm__jw_span(j, talk->format_description);
    metallm__jw_json(
        j, metallm__span(brace + 1, (size_t)(talk->schema.p + talk->schema.n - brace) - 1));
}

/* There is nothing below "low". */
static void write_output_config(const struct metallm__talk *talk, struct metallm__jw *j)
{
    const char *effort = NULL;
    if (talk->effort > METALLM__EFFORT_NONE)
        effort =
            talk->effort == METALLM__EFFORT_MINIMAL ? "low" : metallm__effort_name(talk->effort);
    bool has_schema = talk->format == METALLM__FORMAT_SCHEMA;
    if (effort == NULL && !has_schema)
        return;
    metallm__jw_name(j, "output_config");
    metallm__jw_open(j, '{');
    if (effort != NULL) {
        metallm__jw_name(j, "effort");
        metallm__jw_text(j, effort);
    }
    if (has_schema) {
        metallm__jw_name(j, "format");
        metallm__jw_raw(j, "{\"type\":\"json_schema\"");
        metallm__jw_name(j, "schema");
        write_schema(talk, j);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, '}');
}

/* Of the classes of service only OpenAI's "default" has a name here. */
static void write_service(const struct metallm__talk *talk, struct metallm__jw *j,
                          struct metallm__wire_out *out)
{
    if (talk->user.n > 0) {
        metallm__jw_name(j, "metadata");
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "user_id");
        metallm__jw_span(j, talk->user);
        metallm__jw_close(j, '}');
    }
    if (metallm__span_is(talk->service_tier, "auto") ||
        metallm__span_is(talk->service_tier, "default")) {
        bool is_auto = metallm__span_is(talk->service_tier, "auto");
        metallm__jw_name(j, "service_tier");
        metallm__jw_text(j, is_auto ? "auto" : "standard_only");
    } else if (talk->service_tier.n > 0) {
        out->dropped |= UINT64_C(1) << METALLM__FEATURE_SERVICE_TIER;
    }
}

static uint32_t max_tokens_of(const struct metallm__talk *talk,
                              const struct metallm__wire_target *t)
{
    if (talk->max_tokens > 0)
        return talk->max_tokens;
    uint32_t most = t->max_tokens > 0 ? t->max_tokens : METALLM__WIRE_MAX_TOKENS;
    if (talk->reasoning_tokens > 0 && talk->reasoning_tokens < INT32_MAX - most)
        most += talk->reasoning_tokens; /* thinking counts, too */
    return most;
}

int metallm__anthropic_talk_out(const struct metallm__talk *talk,
                                const struct metallm__wire_target *t, struct metallm__wire_out *out,
                                metallm_error *err)
{
    struct metallm__jw j = {.out = &out->made};
    uint32_t max_tokens = max_tokens_of(talk, t);
    out->path = metallm__span_of("/messages");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "model");
    metallm__jw_json(&j, t->model_json);
    metallm__jw_name(&j, "max_tokens");
    metallm__jw_count(&j, max_tokens);
    int rc = write_turns(talk, &j, out, err);
    if (rc == METALLM_OK)
        rc = write_sampling(talk, &j, err);
    if (rc == METALLM_OK)
        rc = write_thinking(talk, max_tokens, &j, err);
    if (rc != METALLM_OK)
        return rc;
    write_tools(talk, &j);
    write_output_config(talk, &j);
    write_service(talk, &j, out);
    if (talk->is_stream) {
        metallm__jw_name(&j, "stream");
        metallm__jw_flag(&j, true);
    }
    metallm__jw_close(&j, '}');
    return metallm__buf_check(&out->made, err);
}
