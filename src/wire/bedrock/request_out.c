/* SPDX-License-Identifier: Apache-2.0
 * request_out.c - a talk as the body of Converse. Content blocks: blocks_out.c.
 * What Converse has no field for and a model's own documentation names goes into
 * additionalModelRequestFields. */
#include <math.h>

#include "base/error.h"
#include "wire/anthropic/anthropic.h"
#include "wire/bedrock/bedrock.h"

/* Of Claude. Source: Anthropic's "Migration guide" and "Thinking" (2026-11). */
#define BUDGET_TOKENS_MIN 1024u
#define VERSION_THINKING  307u /* the first that thinks, with a budget of tokens */
#define VERSION_ADAPTIVE  406u /* the first that thinks by an effort */
#define VERSION_UNSAMPLED 407u /* the first without sampling options */

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

/* ---- System and messages. ---- */

static size_t leading_systems(const struct metallm__talk *talk)
{
    size_t n = 0;
    while (n < talk->turn_count && talk->turns[n].role == METALLM__ROLE_SYSTEM)
        n++;
    return n;
}

/* The end of the turns of one role that begin at `at`: they are one message, as roles must
 * alternate and the results of parallel calls stand together. Turns with nothing to tell do not
 * part them. */
static size_t run_end(const struct metallm__talk *talk, size_t at)
{
    size_t end = at + 1;
    while (end < talk->turn_count && (talk->turns[end].role == talk->turns[at].role ||
                                      !metallm__bedrock_has_content(&talk->turns[end], 1)))
        end++;
    return end;
}

static int write_messages(struct metallm__bedrock_writing *w, size_t at, metallm_error *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const struct metallm__talk *talk = w->talk;
    size_t told = 0;
    metallm__jw_name(&w->j, "messages");
    metallm__jw_open(&w->j, '[');
    for (size_t end; at < talk->turn_count; at = end) {
        end = run_end(talk, at);
        if (!metallm__bedrock_has_content(&talk->turns[at], end - at))
            continue;
        metallm__jw_open(&w->j, '{');
        metallm__jw_name(&w->j, "role");
        metallm__jw_text(&w->j, roles[talk->turns[at].role]);
        metallm__jw_name(&w->j, "content");
        int rc = metallm__bedrock_content_out(w, &talk->turns[at], end - at, err);
        if (rc != METALLM_OK)
            return rc;
        metallm__jw_close(&w->j, '}');
        told++;
    }
    metallm__jw_close(&w->j, ']');
    return told > 0 ? METALLM_OK
                    : metallm__error_set(err, METALLM_EINVAL,
                                         "bedrock needs a message with content beside the "
                                         "system's");
}

static int write_turns(struct metallm__bedrock_writing *w, metallm_error *err)
{
    size_t systems = leading_systems(w->talk);
    if (metallm__bedrock_has_content(w->talk->turns, systems)) {
        metallm__jw_name(&w->j, "system");
        int rc = metallm__bedrock_content_out(w, w->talk->turns, systems, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return write_messages(w, systems, err);
}

/* ---- Options of inference. ---- */

static int refuse(const char *what, metallm_error *err)
{
    return metallm__error_set(err, METALLM_EINVAL, "%s cannot be said to this model of bedrock",
                              what);
}

static int check_share(const struct metallm__bedrock_writing *w, double value, const char *name,
                       metallm_error *err)
{
    if (isnan(value) || value == 1)
        return METALLM_OK;
    if (!(value >= 0 && value <= 1))
        return metallm__error_set(err, METALLM_EINVAL,
                                  "%s of %g cannot be said to bedrock, where 1 is the highest",
                                  name, value);
    return w->version < VERSION_UNSAMPLED ? METALLM_OK : refuse(name, err);
}

/* Where there are no sampling options, 1 is what it is anyhow. */
static void write_share(struct metallm__bedrock_writing *w, const char *name, double value)
{
    if (isnan(value) || w->version >= VERSION_UNSAMPLED)
        return;
    metallm__jw_name(&w->j, name);
    metallm__jw_real(&w->j, value);
}

static int write_inference(struct metallm__bedrock_writing *w, metallm_error *err)
{
    const struct metallm__talk *talk = w->talk;
    struct metallm__jw *j = &w->j;
    int rc = check_share(w, talk->temperature, "a temperature", err);
    if (rc == METALLM_OK)
        rc = check_share(w, talk->top_p, "a top_p", err);
    if (rc != METALLM_OK || (talk->max_tokens == 0 && isnan(talk->temperature) &&
                             isnan(talk->top_p) && talk->stop_count == 0))
        return rc;
    open_member(j, "inferenceConfig");
    if (talk->max_tokens > 0) {
        metallm__jw_name(j, "maxTokens");
        metallm__jw_count(j, talk->max_tokens);
    }
    write_share(w, "temperature", talk->temperature);
    write_share(w, "topP", talk->top_p);
    if (talk->stop_count > 0) {
        metallm__jw_name(j, "stopSequences");
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < talk->stop_count; i++)
            metallm__jw_span(j, talk->stops[i]);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
    return METALLM_OK;
}

/* ---- Tools. ---- */

static int write_tool(struct metallm__bedrock_writing *w, const struct metallm__tool *tool,
                      metallm_error *err)
{
    struct metallm__jw *j = &w->j;
    metallm__jw_open(j, '{');
    open_member(j, "toolSpec");
    metallm__jw_name(j, "name");
    int rc = metallm__bedrock_tool_name(j, tool->name, err);
    if (tool->description.n > 0)
        member(j, "description", tool->description);
    open_member(j, "inputSchema");
    metallm__jw_name(j, "json");
    metallm__jw_json(j, tool->schema.n > 2 ? tool->schema /* "{}" is none */
                                           : metallm__span_of("{\"type\":\"object\","
                                                              "\"properties\":{}}"));
    metallm__jw_close(j, '}');
    if (tool->is_strict > 0) {
        metallm__jw_name(j, "strict");
        metallm__jw_flag(j, true);
    }
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    metallm__bedrock_cache_out(w, tool->cache);
    return rc;
}

static bool has_calls(const struct metallm__talk *talk)
{
    for (size_t i = 0; i < talk->turn_count; i++)
        for (size_t k = 0; k < talk->turns[i].part_count; k++)
            if (talk->turns[i].parts[k].kind == METALLM__PART_CALL ||
                talk->turns[i].parts[k].kind == METALLM__PART_RESULT)
                return true;
    return false;
}

static int write_tools(struct metallm__bedrock_writing *w, metallm_error *err)
{
    const struct metallm__talk *talk = w->talk;
    struct metallm__jw *j = &w->j;
    int rc = METALLM_OK;
    if (talk->tool_count == 0)
        return !has_calls(talk) ? METALLM_OK
                                : metallm__error_set(err, METALLM_EINVAL,
                                                     "bedrock must be told the tools that the "
                                                     "conversation has called");
    open_member(j, "toolConfig");
    metallm__jw_name(j, "tools");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < talk->tool_count && rc == METALLM_OK; i++)
        rc = write_tool(w, &talk->tools[i], err);
    metallm__jw_close(j, ']');
    if (talk->tool_choice == METALLM__TOOL_CHOICE_NAMED) {
        open_member(j, "toolChoice");
        open_member(j, "tool");
        member(j, "name", talk->tool_name);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
    } else if (talk->tool_choice != METALLM__TOOL_CHOICE_UNSAID) {
        metallm__jw_name(j, "toolChoice");
        metallm__jw_raw(j, talk->tool_choice == METALLM__TOOL_CHOICE_ANY ? "{\"any\":{}}"
                                                                         : "{\"auto\":{}}");
    }
    metallm__jw_close(j, '}');
    return rc;
}

/* ---- Fields that are a model's own. ---- */

/* NULL: it is not said as an effort. There is nothing below "low". */
static const char *effort_name(const struct metallm__bedrock_writing *w)
{
    enum metallm__effort effort = w->talk->effort;
    if (effort <= METALLM__EFFORT_NONE || (w->version > 0 && w->version < VERSION_ADAPTIVE))
        return NULL;
    return effort == METALLM__EFFORT_MINIMAL ? "low" : metallm__effort_name(effort);
}

/* Tokens that Claude is to think with; 0: that is left to it. An effort becomes a budget where
 * there are no efforts, and leaves room for the answer. */
static uint32_t budget_of(const struct metallm__bedrock_writing *w)
{
    static const uint32_t budgets[] = {0, 0, 1024, 1024, 8192, 16384, 24576, 24576};
    const struct metallm__talk *talk = w->talk;
    if (talk->reasoning_tokens > 0 || w->version == 0 || w->version >= VERSION_ADAPTIVE)
        return talk->reasoning_tokens;
    uint32_t budget = budgets[talk->effort];
    return budget > 0 && talk->max_tokens > 0 && budget >= talk->max_tokens ? talk->max_tokens - 1
                                                                            : budget;
}

static int write_budget(struct metallm__bedrock_writing *w, uint32_t budget, metallm_error *err)
{
    uint32_t most = w->talk->max_tokens;
    if (budget < BUDGET_TOKENS_MIN || (most > 0 && budget >= most))
        return metallm__error_set(err, METALLM_EINVAL,
                                  "Claude thinks with %u tokens or more, and less than the %u of "
                                  "the answer",
                                  BUDGET_TOKENS_MIN, (unsigned)most);
    metallm__jw_name(&w->j, "thinking");
    metallm__jw_raw(&w->j, "{\"type\":\"enabled\"");
    metallm__jw_name(&w->j, "budget_tokens");
    metallm__jw_count(&w->j, budget);
    metallm__jw_close(&w->j, '}');
    return METALLM_OK;
}

static int write_claude(struct metallm__bedrock_writing *w, metallm_error *err)
{
    const struct metallm__talk *talk = w->talk;
    struct metallm__jw *j = &w->j;
    uint32_t budget = budget_of(w);
    bool is_asked = budget > 0 || talk->effort > METALLM__EFFORT_NONE;
    if (w->version > 0 && w->version < VERSION_THINKING)
        return is_asked ? refuse("reasoning", err) : METALLM_OK;
    if (talk->effort == METALLM__EFFORT_NONE) {
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, "{\"type\":\"disabled\"}");
    } else if (budget > 0) {
        return write_budget(w, budget, err);
    } else if (is_asked || talk->wants_reasoning_summary) {
        metallm__jw_name(j, "thinking");
        metallm__jw_raw(j, talk->wants_reasoning_summary
                               ? "{\"type\":\"adaptive\",\"display\":\"summarized\"}"
                               : "{\"type\":\"adaptive\"}");
    }
    return METALLM_OK;
}

static int write_nova(struct metallm__bedrock_writing *w, metallm_error *err)
{
    const struct metallm__talk *talk = w->talk;
    struct metallm__jw *j = &w->j;
    const char *effort = effort_name(w);
    if (talk->reasoning_tokens > 0)
        return refuse("a budget of reasoning tokens", err);
    if (talk->effort > METALLM__EFFORT_HIGH)
        return refuse("an effort above high", err);
    if (talk->top_k > 0) {
        open_member(j, "inferenceConfig");
        metallm__jw_name(j, "topK");
        metallm__jw_count(j, talk->top_k);
        metallm__jw_close(j, '}');
    }
    if (talk->effort == METALLM__EFFORT_NONE) {
        metallm__jw_name(j, "reasoningConfig");
        metallm__jw_raw(j, "{\"type\":\"disabled\"}");
    } else if (effort != NULL) {
        metallm__jw_name(j, "reasoningConfig");
        metallm__jw_raw(j, "{\"type\":\"enabled\"");
        metallm__jw_name(j, "maxReasoningEffort");
        metallm__jw_text(j, effort);
        metallm__jw_close(j, '}');
    }
    return METALLM_OK;
}

/* What other models are asked for, and have no field for. */
static int check_others(const struct metallm__talk *talk, metallm_error *err)
{
    return talk->top_k > 0                        ? refuse("top_k", err)
           : talk->reasoning_tokens > 0           ? refuse("a budget of reasoning tokens", err)
           : talk->effort == METALLM__EFFORT_NONE ? refuse("that it shall not reason", err)
                                                  : METALLM_OK;
}

static int write_fields(struct metallm__bedrock_writing *w, metallm_error *err)
{
    const struct metallm__talk *talk = w->talk;
    bool is_claude = w->vendor == METALLM__BEDROCK_CLAUDE;
    bool is_asked = talk->top_k > 0 || talk->reasoning_tokens > 0 ||
                    talk->effort != METALLM__EFFORT_UNSAID ||
                    (is_claude && talk->wants_reasoning_summary);
    if (!is_claude && w->vendor != METALLM__BEDROCK_NOVA)
        return check_others(talk, err);
    if (talk->top_k > 0 && w->version >= VERSION_UNSAMPLED)
        return refuse("top_k", err);
    if (!is_asked)
        return METALLM_OK;
    open_member(&w->j, "additionalModelRequestFields");
    if (is_claude && talk->top_k > 0) {
        metallm__jw_name(&w->j, "top_k");
        metallm__jw_count(&w->j, talk->top_k);
    }
    int rc = is_claude ? write_claude(w, err) : write_nova(w, err);
    metallm__jw_close(&w->j, '}');
    return rc;
}

/* ---- The rest. ---- */

static void write_format(struct metallm__bedrock_writing *w)
{
    const struct metallm__talk *talk = w->talk;
    struct metallm__jw *j = &w->j;
    open_member(j, "textFormat");
    metallm__jw_name(j, "type");
    metallm__jw_text(j, "json_schema");
    open_member(j, "structure");
    open_member(j, "jsonSchema");
    member(j, "schema", talk->schema); /* as a text */
    if (talk->format_name.n > 0)
        member(j, "name", talk->format_name);
    if (talk->format_description.n > 0)
        member(j, "description", talk->format_description);
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}

static void write_output(struct metallm__bedrock_writing *w)
{
    const char *effort = w->vendor != METALLM__BEDROCK_NOVA ? effort_name(w) : NULL;
    bool has_schema = w->talk->format == METALLM__FORMAT_SCHEMA;
    if (effort == NULL && !has_schema)
        return;
    open_member(&w->j, "outputConfig");
    if (has_schema)
        write_format(w);
    if (effort != NULL) {
        metallm__jw_name(&w->j, "effort");
        metallm__jw_text(&w->j, effort);
    }
    metallm__jw_close(&w->j, '}');
}

static void write_service(struct metallm__bedrock_writing *w)
{
    static const char *const tiers[] = {"default", "flex", "priority", "reserved"};
    struct metallm__span tier = w->talk->service_tier;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if (metallm__span_is(tier, tiers[i])) {
            open_member(&w->j, "serviceTier");
            member(&w->j, "type", tier);
            metallm__jw_close(&w->j, '}');
            return;
        }
    if (tier.n > 0)
        w->out->dropped |= UINT64_C(1) << METALLM__FEATURE_SERVICE_TIER;
}

int metallm__bedrock_talk_out(const struct metallm__talk *talk,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out,
                              metallm_error *err)
{
    struct metallm__bedrock_writing w = {.j = {.out = &out->made},
                                         .talk = talk,
                                         .out = out,
                                         .vendor = metallm__bedrock_vendor(t->model)};
    if (w.vendor == METALLM__BEDROCK_CLAUDE)
        w.version = metallm__anthropic_version(t->model);
    int rc = metallm__bedrock_path(out, t->model,
                                   talk->is_stream ? "/converse-stream" : "/converse", err);
    if (metallm__bedrock_drops_reasoning(talk))
        out->dropped |= UINT64_C(1) << METALLM__FEATURE_REASONING_HISTORY;
    metallm__jw_open(&w.j, '{');
    if (rc == METALLM_OK)
        rc = write_turns(&w, err);
    if (rc == METALLM_OK)
        rc = write_inference(&w, err);
    if (rc == METALLM_OK)
        rc = write_tools(&w, err);
    if (rc == METALLM_OK)
        rc = write_fields(&w, err);
    if (rc != METALLM_OK)
        return rc;
    write_output(&w);
    write_service(&w);
    metallm__jw_close(&w.j, '}');
    return metallm__buf_check(&out->made, err);
}
