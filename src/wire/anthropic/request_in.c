/* SPDX-License-Identifier: Apache-2.0
 * request_in.c - the body of POST /v1/messages as a talk: every member that the API
 * documents, into the record or as a feature. Words that are not known are features, too, as the
 * body may pass to an LLM that knows them. Content blocks: blocks_in.c. */
#include <math.h>

#include "base/error.h"
#include "wire/anthropic/anthropic.h"

#define USE(r, feature) ((r)->out->features |= UINT64_C(1) << (feature))

int metallm__anthropic_wrong(struct metallm__anthropic_reading *r, const char *member,
                             const char *must)
{
    return metallm__talk_wrong(r->param, member, must, r->err);
}

void metallm__anthropic_other(struct metallm__anthropic_reading *r, struct metallm__span name)
{
    USE(r, METALLM__FEATURE_OTHER);
    if (r->out->other_name.n == 0)
        r->out->other_name = name;
}

static void other(struct metallm__anthropic_reading *r, const char *name)
{
    metallm__anthropic_other(r, metallm__span_of(name));
}

/* ---- Numbers, flags and names. ---- */

static int read_count(struct metallm__anthropic_reading *r, yyjson_val *v, const char *member,
                      uint32_t *out)
{
    double value = -1; /* 1.0 is a count as well */
    if (!metallm__json_real(v, &value) || !(value >= 0 && value <= INT32_MAX) ||
        value > floor(value))
        return metallm__anthropic_wrong(r, member, "a count");
    *out = (uint32_t)value;
    return METALLM_OK;
}

static int read_max_tokens(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    int rc = read_count(r, v, "max_tokens", &r->out->max_tokens);
    if (rc == METALLM_OK && r->out->max_tokens == 0) /* fills the cache and answers nothing */
        other(r, "max_tokens 0");
    return rc;
}

static int read_top_k(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    return read_count(r, v, "top_k", &r->out->top_k);
}

static int read_share(struct metallm__anthropic_reading *r, yyjson_val *v, const char *member,
                      double *out)
{
    double value = -1;
    if (!metallm__json_real(v, &value) || !(value >= 0 && value <= 1))
        return metallm__anthropic_wrong(r, member, "a number from 0 to 1");
    *out = value;
    return METALLM_OK;
}

static int read_temperature(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    return read_share(r, v, "temperature", &r->out->temperature);
}

static int read_top_p(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    return read_share(r, v, "top_p", &r->out->top_p);
}

static int read_stream(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (!yyjson_is_bool(v))
        return metallm__anthropic_wrong(r, "stream", "true or false");
    r->out->is_stream = yyjson_is_true(v);
    return METALLM_OK;
}

static int read_stops(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    size_t count = yyjson_arr_size(v), n = 0;
    if (!yyjson_is_arr(v) || count > METALLM__TALK_STOPS_MAX)
        return metallm__anthropic_wrong(r, "stop_sequences", "an array of at most 64 strings");
    struct metallm__span *stops = metallm__pool_take(r->pool, count, sizeof *stops);
    if (stops == NULL)
        return METALLM_OK; /* the pool remembers */
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL; n++) {
        if (!yyjson_is_str(item) || yyjson_get_len(item) == 0)
            return metallm__anthropic_wrong(r, "stop_sequences", "an array of strings of text");
        stops[n] = metallm__wire_text(item);
    }
    r->out->stops = stops;
    r->out->stop_count = count;
    return METALLM_OK;
}

/* "auto" as OpenAI's, and "standard_only" is what OpenAI calls "default". */
static int read_service_tier(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (yyjson_equals_str(v, "standard_only"))
        r->out->service_tier = metallm__span_of("default");
    else if (yyjson_equals_str(v, "auto"))
        r->out->service_tier = metallm__span_of("auto");
    else
        other(r, "service_tier");
    return METALLM_OK;
}

static int read_metadata(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (!yyjson_is_obj(v))
        return metallm__anthropic_wrong(r, "metadata", "an object");
    yyjson_obj_iter i = yyjson_obj_iter_with(v);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (!yyjson_equals_str(key, "user_id"))
            other(r, "metadata");
        else if (yyjson_is_str(value))
            r->out->user = metallm__wire_text(value);
        else if (!yyjson_is_null(value))
            return metallm__anthropic_wrong(r, "metadata.user_id", "a string");
    }
    return METALLM_OK;
}

/* ---- Messages. ---- */

static int read_system(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (!metallm__turn_begin(&r->turns, METALLM__ROLE_SYSTEM))
        return METALLM_OK;
    int rc = metallm__anthropic_content_in(r, v, METALLM__ROLE_SYSTEM, &r->turns.parts);
    metallm__turn_end(&r->turns);
    return rc;
}

static int read_message(struct metallm__anthropic_reading *r, yyjson_val *message)
{
    yyjson_val *role = yyjson_obj_get(message, "role");
    enum metallm__role kind = METALLM__ROLE_USER;
    if (yyjson_equals_str(role, "assistant"))
        kind = METALLM__ROLE_ASSISTANT;
    else if (yyjson_equals_str(role, "system"))
        kind = METALLM__ROLE_SYSTEM;
    else if (!yyjson_equals_str(role, "user"))
        return metallm__anthropic_wrong(r, "messages.role", "'user', 'assistant' or 'system'");
    if (!metallm__turn_begin(&r->turns, kind))
        return METALLM_OK;
    int rc =
        metallm__anthropic_content_in(r, yyjson_obj_get(message, "content"), kind, &r->turns.parts);
    metallm__turn_end(&r->turns);
    return rc;
}

static int read_messages(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0 ||
        yyjson_arr_size(v) >= METALLM__TALK_TURNS_MAX)
        return metallm__anthropic_wrong(r, "messages", "an array of 1 to 16383 messages");
    int rc = METALLM_OK;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;)
        rc = yyjson_is_obj(item) ? read_message(r, item)
                                 : metallm__anthropic_wrong(r, "messages", "an array of objects");
    return rc;
}

/* ---- Tools. ---- */

/* Only the LLM itself may call it, unless a tool of the provider's is told. */
static bool is_called_directly(yyjson_val *callers)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(callers);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        if (!yyjson_equals_str(item, "direct"))
            return false;
    return true;
}

/* eager_input_streaming is about the size of pieces: nothing is lost without it. */
static int read_tool(struct metallm__anthropic_reading *r, yyjson_val *v, struct metallm__tool *out)
{
    yyjson_val *schema = yyjson_obj_get(v, "input_schema"), *strict = yyjson_obj_get(v, "strict");
    *out = (struct metallm__tool){
        .name = metallm__wire_text(yyjson_obj_get(v, "name")),
        .description = metallm__wire_text(yyjson_obj_get(v, "description")),
        .schema = metallm__json_kept(r->pool, schema),
        .is_strict = yyjson_is_bool(strict) ? yyjson_is_true(strict) : -1,
    };
    if (out->name.n == 0)
        return metallm__anthropic_wrong(r, "tools.name", "a string");
    if (!yyjson_is_obj(schema))
        return metallm__anthropic_wrong(r, "tools.input_schema", "an object");
    if (yyjson_is_true(yyjson_obj_get(v, "defer_loading")) ||
        !is_called_directly(yyjson_obj_get(v, "allowed_callers")))
        USE(r, METALLM__FEATURE_HOSTED_TOOLS);
    if (yyjson_arr_size(yyjson_obj_get(v, "input_examples")) > 0)
        other(r, "tools.input_examples");
    return metallm__anthropic_cache_in(r, yyjson_obj_get(v, "cache_control"), &out->cache);
}

/* A type other than "custom" is a tool of Anthropic's own. */
static int read_tools(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    size_t count = yyjson_arr_size(v);
    if (!yyjson_is_arr(v) || count > METALLM__TALK_TOOLS_MAX)
        return metallm__anthropic_wrong(r, "tools", "an array of at most 1024 tools");
    struct metallm__tool *tools = metallm__pool_take(r->pool, count, sizeof *tools);
    if (tools == NULL)
        return METALLM_OK;
    r->out->tools = tools;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *type = yyjson_obj_get(item, "type");
        if (!yyjson_is_obj(item))
            return metallm__anthropic_wrong(r, "tools", "an array of objects");
        if (yyjson_is_str(type) && !yyjson_equals_str(type, "custom")) {
            USE(r, METALLM__FEATURE_HOSTED_TOOLS);
            continue;
        }
        int rc = read_tool(r, item, &tools[r->out->tool_count]);
        if (rc != METALLM_OK)
            return rc;
        r->out->tool_count++;
    }
    return METALLM_OK;
}

static int read_tool_choice(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    static const struct {
        const char *type;
        enum metallm__tool_choice choice;
    } choices[] = {{"auto", METALLM__TOOL_CHOICE_AUTO},
                   {"any", METALLM__TOOL_CHOICE_ANY},
                   {"tool", METALLM__TOOL_CHOICE_NAMED},
                   {"none", METALLM__TOOL_CHOICE_NONE}};
    struct metallm__talk *t = r->out;
    yyjson_val *type = yyjson_obj_get(v, "type");
    yyjson_val *alone = yyjson_obj_get(v, "disable_parallel_tool_use");
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (yyjson_equals_str(type, choices[i].type))
            t->tool_choice = choices[i].choice;
    if (!yyjson_is_str(type))
        return metallm__anthropic_wrong(r, "tool_choice", "an object with a type");
    if (t->tool_choice == METALLM__TOOL_CHOICE_UNSAID)
        other(r, "tool_choice");
    if (yyjson_is_bool(alone))
        t->is_parallel = !yyjson_is_true(alone);
    t->tool_name = metallm__wire_text(yyjson_obj_get(v, "name"));
    if (t->tool_choice == METALLM__TOOL_CHOICE_NAMED && t->tool_name.n == 0)
        return metallm__anthropic_wrong(r, "tool_choice.name", "a string");
    return METALLM_OK;
}

/* ---- Reasoning and the form of the output. ---- */

/* "between_tools" is thinking turned off, too. "adaptive" leaves it to the LLM, as saying nothing
 * does elsewhere. */
static int read_thinking(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *type = yyjson_obj_get(v, "type");
    bool is_shown = !yyjson_equals_str(yyjson_obj_get(v, "display"), "omitted");
    if (yyjson_equals_str(type, "disabled") || yyjson_equals_str(type, "between_tools")) {
        t->effort = METALLM__EFFORT_NONE;
    } else if (yyjson_equals_str(type, "adaptive")) {
        t->wants_reasoning_summary = is_shown;
    } else if (yyjson_equals_str(type, "enabled")) {
        t->wants_reasoning_summary = is_shown;
        int rc = read_count(r, yyjson_obj_get(v, "budget_tokens"), "thinking.budget_tokens",
                            &t->reasoning_tokens);
        if (rc != METALLM_OK || t->reasoning_tokens == 0)
            return metallm__anthropic_wrong(r, "thinking.budget_tokens", "a count of at least 1");
    } else if (yyjson_is_str(type)) {
        other(r, "thinking");
    } else {
        return metallm__anthropic_wrong(r, "thinking", "an object with a type");
    }
    return METALLM_OK;
}

static int read_effort(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    enum metallm__effort effort = metallm__effort_find(metallm__wire_text(v));
    if (effort < METALLM__EFFORT_LOW) /* the API has none below */
        other(r, "output_config.effort");
    else if (r->out->effort == METALLM__EFFORT_UNSAID) /* thinking turned off stays off */
        r->out->effort = effort;
    return METALLM_OK;
}

/* Anthropic holds to a schema always. */
static int read_format(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    struct metallm__talk *t = r->out;
    yyjson_val *schema = yyjson_obj_get(v, "schema");
    if (!yyjson_equals_str(yyjson_obj_get(v, "type"), "json_schema")) {
        other(r, "output_config.format");
        return METALLM_OK;
    }
    if (!yyjson_is_obj(schema))
        return metallm__anthropic_wrong(r, "output_config.format.schema", "an object");
    t->format = METALLM__FORMAT_SCHEMA;
    t->is_format_strict = 1;
    t->schema = metallm__json_kept(r->pool, schema);
    return METALLM_OK;
}

static int read_output_config(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    int rc =
        yyjson_is_obj(v) ? METALLM_OK : metallm__anthropic_wrong(r, "output_config", "an object");
    yyjson_obj_iter i = yyjson_obj_iter_with(v);
    for (yyjson_val *key; rc == METALLM_OK && (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (yyjson_is_null(value))
            continue;
        if (yyjson_equals_str(key, "effort"))
            rc = read_effort(r, value);
        else if (yyjson_equals_str(key, "format"))
            rc = read_format(r, value);
        else
            other(r, "output_config");
    }
    return rc;
}

/* ---- What is the provider's own. ---- */

static int read_state(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    (void)v;
    USE(r, METALLM__FEATURE_STATE);
    return METALLM_OK;
}

static int read_hosted(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (yyjson_arr_size(v) > 0)
        USE(r, METALLM__FEATURE_HOSTED_TOOLS);
    return METALLM_OK;
}

/* Why a cache was missed: of no use where there is none, and of no effect on the answer. */
static int read_diagnostics(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    (void)v;
    USE(r, METALLM__FEATURE_CACHE_MARKS);
    return METALLM_OK;
}

static int read_speed(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    if (!yyjson_equals_str(v, "standard"))
        other(r, "speed");
    return METALLM_OK;
}

/* Which thinking of earlier turns is kept is about reasoning among the turns; any other edit
 * changes what the LLM reads. */
static int read_context_management(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    static const char clear[] = "clear_thinking";
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(v, "edits"));
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        struct metallm__span type = metallm__wire_text(yyjson_obj_get(item, "type"));
        if (type.n >= sizeof clear - 1 && memcmp(type.p, clear, sizeof clear - 1) == 0)
            USE(r, METALLM__FEATURE_REASONING_HISTORY);
        else
            other(r, "context_management");
    }
    return METALLM_OK;
}

static int read_nothing(struct metallm__anthropic_reading *r, yyjson_val *v)
{
    (void)r;
    (void)v;
    return METALLM_OK;
}

/* "cache_control" beside the messages marks the last part that can be marked. */
static int mark_last(struct metallm__anthropic_reading *r, yyjson_val *mark)
{
    enum metallm__cache_mark cache = METALLM__CACHE_NONE;
    int rc = metallm__anthropic_cache_in(r, mark, &cache);
    struct metallm__turn_list *l = &r->turns;
    if (rc != METALLM_OK || cache == METALLM__CACHE_NONE || r->pool->failed || l->count == 0)
        return rc;
    struct metallm__turn *turn = &l->items[l->count - 1];
    struct metallm__part *parts = l->parts.items; /* of the last turn */
    for (size_t i = turn->part_count; i > 0; i--)
        if (parts[i - 1].kind != METALLM__PART_REASONING) {
            parts[i - 1].cache = cache;
            return METALLM_OK;
        }
    USE(r, METALLM__FEATURE_CACHE_MARKS);
    return METALLM_OK;
}

/* In the order in which they are read: what stands in one may depend on those before. */
static const struct member {
    const char *name;
    int (*read)(struct metallm__anthropic_reading *r, yyjson_val *v);
} members[] = {
    {"system", read_system}, /* first of the turns, wherever it stands in the body */
    {"messages", read_messages},
    {"thinking", read_thinking},
    {"output_config", read_output_config},
    {"output_format", read_format}, /* before output_config.format */
    {"model", read_nothing},        /* request.c */
    {"metallm", read_nothing},      /* request.c */
    {"cache_control", mark_last},   /* once the last part is known */
    {"max_tokens", read_max_tokens},
    {"stream", read_stream},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"stop_sequences", read_stops},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"metadata", read_metadata},
    {"service_tier", read_service_tier},
    {"speed", read_speed},
    {"container", read_state},
    {"diagnostics", read_diagnostics},
    {"context_management", read_context_management},
    {"mcp_servers", read_hosted},
};
#define MEMBER_COUNT (sizeof members / sizeof *members)

/* The values of the members that are known, by their place in the table; null is not given. */
static void find_members(struct metallm__anthropic_reading *r, yyjson_val *root,
                         yyjson_val *found[MEMBER_COUNT])
{
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        struct metallm__span name = metallm__wire_text(key);
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        size_t m = 0;
        while (m < MEMBER_COUNT && !metallm__span_is(name, members[m].name))
            m++;
        if (yyjson_is_null(value))
            continue;
        if (m == MEMBER_COUNT)
            metallm__anthropic_other(r, name);
        else
            found[m] = value;
    }
}

int metallm__anthropic_talk_in(yyjson_val *root, struct metallm__pool *pool,
                               struct metallm__talk *out, const char **param, metallm_error *err)
{
    struct metallm__talk t;
    metallm__talk_clear(&t);
    struct metallm__anthropic_reading r = {
        .pool = pool, .out = &t, .param = param, .err = err, .turns = {.pool = pool}};
    yyjson_val *found[MEMBER_COUNT] = {NULL};
    find_members(&r, root, found);
    int rc = found[1] != NULL
                 ? METALLM_OK
                 : metallm__anthropic_wrong(&r, "messages", "an array of 1 to 16383 messages");
    for (size_t m = 0; rc == METALLM_OK && m < MEMBER_COUNT; m++)
        if (found[m] != NULL)
            rc = members[m].read(&r, found[m]);
    t.turns = r.turns.items;
    t.turn_count = r.turns.count;
    if (rc == METALLM_OK)
        rc = metallm__pool_check(pool, err);
    if (rc == METALLM_OK)
        *out = t;
    return rc;
}
