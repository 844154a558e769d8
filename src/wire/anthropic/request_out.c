/* SPDX-License-Identifier: Apache-2.0
 * request_out.c - a talk as the body of POST /messages. Content blocks: blocks_out.c. What the
 * Claude models take of it differs by their version, which is read from their names: before 4.6
 * thinking has a budget of tokens, since then it is adaptive with output_config.effort; since 4.7
 * there are no sampling options, and 4.8 is the first to take system messages among the others.
 * Source: Anthropic's "Migration guide", "Thinking" and "Mid-conversation system messages"
 * (2026-11). */
#include <math.h>

#include "base/error.h"
#include "wire/anthropic/anthropic.h"

#define BUDGET_TOKENS_MIN 1024u /* of thinking */

/* ---- Versions. ---- */

#define VERSION_ADAPTIVE    406u /* the first that thinks so */
#define VERSION_UNSAMPLED   407u /* the first without sampling options */
#define VERSION_LATE_SYSTEM 408u /* the first with system messages among the others */

/* A number of one or two digits at *at, which moves behind it; false: none (a date has more). */
static bool take_number(struct metallm__span *at, unsigned *out)
{
    size_t n = 0;
    while (n < at->n && at->p[n] >= '0' && at->p[n] <= '9')
        n++;
    uint64_t value = 0;
    if (n > 2 || !metallm__span_u64(metallm__span(at->p, n), &value))
        return false;
    *out = (unsigned)value;
    *at = metallm__span(at->p + n, at->n - n);
    return true;
}

unsigned metallm__anthropic_version(struct metallm__span model)
{
    static const char name[] = "claude-";
    const char *at = memmem(model.p, model.n, name, sizeof name - 1);
    if (at == NULL)
        return 0;
    at += sizeof name - 1;
    struct metallm__span rest = metallm__span(at, (size_t)(model.p + model.n - at));
    unsigned major = 0, minor = 0;
    if (!take_number(&rest, &major)) { /* behind the family's name */
        const char *dash = rest.n > 0 ? memchr(rest.p, '-', rest.n) : NULL;
        if (dash == NULL)
            return 0;
        rest = metallm__span(dash + 1, (size_t)(rest.p + rest.n - dash - 1));
        if (!take_number(&rest, &major))
            return 0;
    }
    if (rest.n > 0 && (rest.p[0] == '-' || rest.p[0] == '.')) {
        rest = metallm__span(rest.p + 1, rest.n - 1);
        (void)take_number(&rest, &minor);
    }
    return 100 * major + minor;
}

/* ---- System and messages. ---- */

static size_t leading_systems(const struct metallm__talk *talk)
{
    size_t n = 0;
    while (n < talk->turn_count && talk->turns[n].role == METALLM__ROLE_SYSTEM)
        n++;
    return n;
}

/* The turns of one role among these as a message; *told: there was something to say. */
static int write_message(struct metallm__jw *j, const struct metallm__anthropic_turns *t,
                         struct metallm__wire_out *out, bool *told, metallm_error *err)
{
    static const char *const names[] = {"system", "user", "assistant"};
    *told = metallm__anthropic_has_content(t, out);
    if (!*told)
        return METALLM_OK;
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "role");
    metallm__jw_text(j, names[t->role]);
    metallm__jw_name(j, "content");
    int rc = metallm__anthropic_content_out(j, t, err);
    metallm__jw_close(j, '}');
    return rc;
}

/* What stands between two of the assistant's turns: the user's, and then what the system says
 * there, which must follow a user's message. */
static int write_exchange(struct metallm__jw *j, struct metallm__anthropic_turns *t,
                          const struct metallm__wire_target *to, struct metallm__wire_out *out,
                          bool *told, metallm_error *err)
{
    bool has_system = false;
    unsigned version = metallm__anthropic_version(to->model);
    t->role = METALLM__ROLE_USER;
    int rc = write_message(j, t, out, told, err);
    t->role = METALLM__ROLE_SYSTEM;
    if (rc != METALLM_OK || !metallm__anthropic_has_content(t, out))
        return rc;
    if (version != 0 && version < VERSION_LATE_SYSTEM)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "late system messages cannot be said to '%.*s'",
                                  (int)(to->model.n < 64 ? to->model.n : 64), to->model.p);
    if (!*told)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "late system messages can be said to anthropic only beside a "
                                  "user's");
    return write_message(j, t, out, &has_system, err);
}

/* Turns of one role that follow each other are one message, as the results of parallel calls must
 * be. */
static int write_messages(const struct metallm__talk *talk, struct metallm__jw *j, size_t at,
                          const struct metallm__wire_target *to, struct metallm__wire_out *out,
                          metallm_error *err)
{
    bool has_any = false, told;
    int rc = METALLM_OK;
    metallm__jw_name(j, "messages");
    metallm__jw_open(j, '[');
    for (size_t end; rc == METALLM_OK && at < talk->turn_count; at = end) {
        bool is_assistant = talk->turns[at].role == METALLM__ROLE_ASSISTANT;
        for (end = at + 1; end < talk->turn_count &&
                           is_assistant == (talk->turns[end].role == METALLM__ROLE_ASSISTANT);)
            end++;
        struct metallm__anthropic_turns t = {&talk->turns[at], end - at, METALLM__ROLE_ASSISTANT};
        rc = is_assistant ? write_message(j, &t, out, &told, err)
                          : write_exchange(j, &t, to, out, &told, err);
        has_any |= told;
    }
    metallm__jw_close(j, ']');
    return rc != METALLM_OK || has_any
               ? rc
               : metallm__error_set(err, METALLM_EINVAL,
                                    "anthropic needs a message with content beside the system's");
}

static int write_turns(const struct metallm__talk *talk, struct metallm__jw *j,
                       const struct metallm__wire_target *to, struct metallm__wire_out *out,
                       metallm_error *err)
{
    size_t systems = leading_systems(talk);
    const struct metallm__anthropic_turns first = {talk->turns, systems, METALLM__ROLE_SYSTEM};
    if (metallm__anthropic_has_content(&first, out)) {
        metallm__jw_name(j, "system");
        int rc = metallm__anthropic_content_out(j, &first, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return write_messages(talk, j, systems, to, out, err);
}

/* ---- Options. ---- */

/* 1, which the API takes for what is not said, is not said to those that take none. */
static int write_share(struct metallm__jw *j, const char *name, double value,
                       const struct metallm__wire_target *t, metallm_error *err)
{
    bool is_taken = metallm__anthropic_version(t->model) < VERSION_UNSAMPLED;
    if (isnan(value) || (!is_taken && value >= 1 && value <= 1))
        return METALLM_OK;
    if (value > 1)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "a %s of %g cannot be said to anthropic, where 1 is the highest",
                                  name, value);
    if (!is_taken)
        return metallm__error_set(err, METALLM_EINVAL, "'%s' cannot be said to '%.*s'", name,
                                  (int)(t->model.n < 64 ? t->model.n : 64), t->model.p);
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
    return METALLM_OK;
}

static int write_sampling(const struct metallm__talk *talk, struct metallm__jw *j,
                          const struct metallm__wire_target *t, metallm_error *err)
{
    int rc = write_share(j, "temperature", talk->temperature, t, err);
    if (rc == METALLM_OK)
        rc = write_share(j, "top_p", talk->top_p, t, err);
    if (rc != METALLM_OK)
        return rc;
    if (talk->top_k > 0 && metallm__anthropic_version(t->model) >= VERSION_UNSAMPLED)
        return metallm__error_set(err, METALLM_EINVAL, "'top_k' cannot be said to '%.*s'",
                                  (int)(t->model.n < 64 ? t->model.n : 64), t->model.p);
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

/* Tokens to think with; 0: that is left to the model. */
static uint32_t budget_of(const struct metallm__talk *talk, unsigned version)
{
    static const uint32_t budgets[] = {0, 0, 1024, 1024, 8192, 16384, 24576, 24576};
    bool is_adaptive = version == 0 || version >= VERSION_ADAPTIVE;
    if (talk->reasoning_tokens > 0)
        return talk->reasoning_tokens;
    return is_adaptive ? 0 : budgets[talk->effort];
}

static int write_thinking(const struct metallm__talk *talk, uint32_t budget, uint32_t max_tokens,
                          struct metallm__jw *j, metallm_error *err)
{
    if (talk->effort == METALLM__EFFORT_NONE) {
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"disabled\"}");
        return METALLM_OK;
    }
    if (budget > 0) {
        if (budget < BUDGET_TOKENS_MIN || budget >= max_tokens)
            return metallm__error_set(err, METALLM_EINVAL,
                                      "anthropic thinks with %u tokens or more, and less than the "
                                      "%u of the answer",
                                      BUDGET_TOKENS_MIN, (unsigned)max_tokens);
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"enabled\"");
        metallm__jw_name(j, "budget_tokens");
        metallm__jw_count(j, budget);
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
static void write_output_config(const struct metallm__talk *talk, unsigned version,
                                struct metallm__jw *j)
{
    const char *effort = NULL;
    if (talk->effort > METALLM__EFFORT_NONE && (version == 0 || version >= VERSION_ADAPTIVE))
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

/* Thinking counts, too: it gets its room where the client sets no limit, and may not take all of
 * one. */
static void limits_of(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                      uint32_t *max_tokens, uint32_t *budget)
{
    uint32_t most = t->max_tokens > 0 ? t->max_tokens : METALLM__WIRE_MAX_TOKENS;
    *budget = budget_of(talk, metallm__anthropic_version(t->model));
    *max_tokens = talk->max_tokens;
    if (talk->max_tokens == 0)
        *max_tokens = most < INT32_MAX - *budget ? most + *budget : most;
    else if (talk->reasoning_tokens == 0 && *budget >= talk->max_tokens)
        *budget = talk->max_tokens > 1 ? talk->max_tokens - 1 : 1; /* then refused as too little */
}

int metallm__anthropic_talk_out(const struct metallm__talk *talk,
                                const struct metallm__wire_target *t, struct metallm__wire_out *out,
                                metallm_error *err)
{
    struct metallm__jw j = {.out = &out->made};
    uint32_t max_tokens, budget;
    limits_of(talk, t, &max_tokens, &budget);
    out->path = metallm__span_of("/messages");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "model");
    metallm__jw_json(&j, t->model_json);
    metallm__jw_name(&j, "max_tokens");
    metallm__jw_count(&j, max_tokens);
    int rc = write_turns(talk, &j, t, out, err);
    if (rc == METALLM_OK)
        rc = write_sampling(talk, &j, t, err);
    if (rc == METALLM_OK)
        rc = write_thinking(talk, budget, max_tokens, &j, err);
    if (rc != METALLM_OK)
        return rc;
    write_tools(talk, &j);
    write_output_config(talk, metallm__anthropic_version(t->model), &j);
    write_service(talk, &j, out);
    if (talk->is_stream) {
        metallm__jw_name(&j, "stream");
        metallm__jw_flag(&j, true);
    }
    metallm__jw_close(&j, '}');
    return metallm__buf_check(&out->made, err);
}
