/* SPDX-License-Identifier: Apache-2.0
 * request_in.c - the members of a chat completion's request, but for its messages
 * (messages_in.c), as a talk. Members that are null are not said. */
#include <limits.h>

#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/talk_read.h"

int metallm__openai_wrong(struct metallm__openai_reading *r, const char *member, const char *must)
{
    return metallm__talk_wrong(r->param, member, must, r->err);
}

void metallm__openai_use(struct metallm__openai_reading *r, enum metallm__feature f)
{
    r->talk->features |= 1ull << f;
}

void metallm__openai_other_in(struct metallm__openai_reading *r, struct metallm__span name)
{
    metallm__openai_use(r, METALLM__FEATURE_OTHER);
    if (r->talk->other_name.n == 0)
        r->talk->other_name = name;
}

/* ---- Members of chats and completions. ---- */

static int read_real(struct metallm__openai_reading *r, yyjson_val *v, const char *name,
                     double least, double most, const char *must, double *out)
{
    double value = 0;
    if (!metallm__json_real(v, &value) || !(value >= least && value <= most))
        return metallm__openai_wrong(r, name, must);
    *out = value;
    return METALLM_OK;
}

static int read_count(struct metallm__openai_reading *r, yyjson_val *v, const char *name,
                      uint32_t *out)
{
    uint64_t value = 0;
    if (!metallm__json_count(v, INT_MAX, &value))
        return metallm__openai_wrong(r, name, "an integer from 0 to 2147483647");
    *out = (uint32_t)value;
    return METALLM_OK;
}

static int read_temperature(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_real(r, v, "temperature", 0, 2, "a number from 0 to 2", &r->talk->temperature);
}

static int read_top_p(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_real(r, v, "top_p", 0, 1, "a number from 0 to 1", &r->talk->top_p);
}

static int read_top_k(struct metallm__openai_reading *r, yyjson_val *v)
{
    double value = 0;
    if (metallm__json_real(v, &value) && value < 0) /* vLLM: all */
        return METALLM_OK;
    return read_count(r, v, "top_k", &r->talk->top_k);
}

static int read_frequency(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_real(r, v, "frequency_penalty", -2, 2, "a number from -2 to 2",
                     &r->talk->frequency_penalty);
}

static int read_presence(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_real(r, v, "presence_penalty", -2, 2, "a number from -2 to 2",
                     &r->talk->presence_penalty);
}

static int read_seed(struct metallm__openai_reading *r, yyjson_val *v)
{
    uint64_t value = 0;
    struct metallm__span text = metallm__span(yyjson_get_raw(v), yyjson_get_len(v));
    bool is_minus = yyjson_is_raw(v) && text.n > 0 && text.p[0] == '-';
    if (is_minus)
        text = metallm__span(text.p + 1, text.n - 1);
    if (!yyjson_is_raw(v) || !metallm__span_u64(text, &value) || value > INT64_MAX)
        return metallm__openai_wrong(r, "seed", "an integer");
    r->talk->has_seed = true;
    r->talk->seed = is_minus ? -(int64_t)value : (int64_t)value;
    return METALLM_OK;
}

static int read_stop(struct metallm__openai_reading *r, yyjson_val *v)
{
    static const char must[] = "a text, or an array of at most 64 of them";
    size_t count = yyjson_is_str(v) ? 1 : yyjson_arr_size(v), at = 0;
    if ((!yyjson_is_str(v) && !yyjson_is_arr(v)) || count > METALLM__TALK_STOPS_MAX)
        return metallm__openai_wrong(r, "stop", must);
    struct metallm__span *stops = metallm__pool_take(r->pool, count, sizeof *stops);
    if (stops == NULL)
        return metallm__pool_check(r->pool, r->err);
    if (yyjson_is_str(v))
        stops[at++] = metallm__wire_text(v);
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        if (!yyjson_is_str(item))
            return metallm__openai_wrong(r, "stop", must);
        stops[at++] = metallm__wire_text(item);
    }
    r->talk->stops = stops;
    r->talk->stop_count = count;
    return METALLM_OK;
}

static int read_logit_bias(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (!yyjson_is_obj(v))
        return metallm__openai_wrong(r, "logit_bias", "an object");
    if (yyjson_obj_size(v) > 0)
        metallm__openai_use(r, METALLM__FEATURE_LOGIT_BIAS);
    return METALLM_OK;
}

static int read_n(struct metallm__openai_reading *r, yyjson_val *v)
{
    double value = 0;
    if (!metallm__json_real(v, &value))
        return metallm__openai_wrong(r, "n", "an integer from 1 to 128");
    if (value > 1)
        metallm__openai_use(r, METALLM__FEATURE_CHOICES);
    return METALLM_OK;
}

static int read_max_tokens(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_count(r, v, "max_tokens", &r->max_tokens);
}

static int read_user(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (!yyjson_is_str(v))
        return metallm__openai_wrong(r, "user", "a text");
    r->talk->user = metallm__wire_text(v);
    return METALLM_OK;
}

/* Read elsewhere, or of no matter here. */
static int pass_over(struct metallm__openai_reading *r, yyjson_val *v)
{
    (void)r;
    (void)v;
    return METALLM_OK;
}

/* ---- Members of chats alone. ---- */

static int read_max_completion_tokens(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_count(r, v, "max_completion_tokens", &r->talk->max_tokens);
}

static int read_logprobs(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (!yyjson_is_bool(v))
        return metallm__openai_wrong(r, "logprobs", "true or false");
    r->talk->wants_logprobs = yyjson_is_true(v);
    return METALLM_OK;
}

static int read_top_logprobs(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_count(r, v, "top_logprobs", &r->talk->top_logprobs);
}

static int read_parallel(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (!yyjson_is_bool(v))
        return metallm__openai_wrong(r, "parallel_tool_calls", "true or false");
    r->talk->is_parallel = yyjson_is_true(v);
    return METALLM_OK;
}

static int read_function(struct metallm__openai_reading *r, yyjson_val *f,
                         struct metallm__tool *tool)
{
    yyjson_val *schema = yyjson_obj_get(f, "parameters"), *strict = yyjson_obj_get(f, "strict");
    tool->name = metallm__wire_text(yyjson_obj_get(f, "name"));
    tool->description = metallm__wire_text(yyjson_obj_get(f, "description"));
    tool->is_strict = yyjson_is_bool(strict) ? yyjson_is_true(strict) : -1;
    if (tool->name.n == 0 || (schema != NULL && !yyjson_is_null(schema) && !yyjson_is_obj(schema)))
        return metallm__openai_wrong(r, "tools", "functions with a name, their parameters objects");
    if (yyjson_is_obj(schema))
        tool->schema = metallm__json_kept(r->pool, schema);
    return METALLM_OK;
}

static int read_tools_of(struct metallm__openai_reading *r, yyjson_val *v, bool is_bare)
{
    size_t count = yyjson_arr_size(v), at = 0;
    if (!yyjson_is_arr(v) || count > METALLM__TALK_TOOLS_MAX)
        return metallm__openai_wrong(r, "tools", "an array of at most 1024 tools");
    struct metallm__tool *tools = metallm__pool_take(r->pool, count, sizeof *tools);
    if (tools == NULL)
        return metallm__pool_check(r->pool, r->err);
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *type = yyjson_obj_get(item, "type");
        if (!is_bare && !yyjson_equals_str(type, "function")) {
            if (!yyjson_is_str(type))
                return metallm__openai_wrong(r, "tools", "made of objects with a type");
            if (yyjson_equals_str(type, "custom"))
                metallm__openai_other_in(r, (struct metallm__span)METALLM__SPAN("custom tools"));
            else
                metallm__openai_use(r, METALLM__FEATURE_HOSTED_TOOLS);
            continue;
        }
        int rc = read_function(r, is_bare ? item : yyjson_obj_get(item, "function"), &tools[at++]);
        if (rc != METALLM_OK)
            return rc;
    }
    r->talk->tools = tools;
    r->talk->tool_count = at;
    return METALLM_OK;
}

static int read_tools(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_tools_of(r, v, false);
}

static int read_functions(struct metallm__openai_reading *r, yyjson_val *v)
{
    return read_tools_of(r, v, true);
}

/* By name: of {"function":{"name"}}, or of function_call's {"name"}. */
static int choose_named(struct metallm__openai_reading *r, yyjson_val *name, const char *member)
{
    r->talk->tool_choice = METALLM__TOOL_CHOICE_NAMED;
    r->talk->tool_name = metallm__wire_text(name);
    return r->talk->tool_name.n > 0
               ? METALLM_OK
               : metallm__openai_wrong(r, member, "none, auto, required, or name a function");
}

static int read_tool_choice(struct metallm__openai_reading *r, yyjson_val *v)
{
    yyjson_val *type = yyjson_obj_get(v, "type");
    struct metallm__talk *t = r->talk;
    if (yyjson_equals_str(v, "auto"))
        t->tool_choice = METALLM__TOOL_CHOICE_AUTO;
    else if (yyjson_equals_str(v, "none"))
        t->tool_choice = METALLM__TOOL_CHOICE_NONE;
    else if (yyjson_equals_str(v, "required") || yyjson_equals_str(v, "any")) /* Mistral */
        t->tool_choice = METALLM__TOOL_CHOICE_ANY;
    else if (yyjson_equals_str(type, "allowed_tools") || yyjson_equals_str(type, "custom"))
        metallm__openai_other_in(r, (struct metallm__span)METALLM__SPAN("tool_choice"));
    else
        return choose_named(r, yyjson_obj_get(yyjson_obj_get(v, "function"), "name"),
                            "tool_choice");
    return METALLM_OK;
}

static int read_function_call(struct metallm__openai_reading *r, yyjson_val *v)
{
    return yyjson_is_str(v) ? read_tool_choice(r, v)
                            : choose_named(r, yyjson_obj_get(v, "name"), "function_call");
}

static int read_response_format(struct metallm__openai_reading *r, yyjson_val *v)
{
    static const char must[] = "of type text, json_object or json_schema with a schema";
    yyjson_val *type = yyjson_obj_get(v, "type"), *json = yyjson_obj_get(v, "json_schema");
    struct metallm__talk *t = r->talk;
    if (yyjson_equals_str(type, "text"))
        return METALLM_OK;
    if (yyjson_equals_str(type, "json_object")) {
        t->format = METALLM__FORMAT_JSON;
        return METALLM_OK;
    }
    yyjson_val *schema = yyjson_obj_get(json, "schema"), *strict = yyjson_obj_get(json, "strict");
    if (!yyjson_equals_str(type, "json_schema") || !yyjson_is_obj(json) ||
        (schema != NULL && !yyjson_is_obj(schema)))
        return metallm__openai_wrong(r, "response_format", must);
    t->format = METALLM__FORMAT_SCHEMA;
    t->format_name = metallm__wire_text(yyjson_obj_get(json, "name"));
    t->format_description = metallm__wire_text(yyjson_obj_get(json, "description"));
    t->is_format_strict = yyjson_is_bool(strict) ? yyjson_is_true(strict) : -1;
    t->schema = schema != NULL ? metallm__json_kept(r->pool, schema)
                               : (struct metallm__span)METALLM__SPAN("{}");
    return METALLM_OK;
}

static int read_effort(struct metallm__openai_reading *r, yyjson_val *v)
{
    r->talk->effort = metallm__effort_find(metallm__wire_text(v));
    return r->talk->effort != METALLM__EFFORT_UNSAID
               ? METALLM_OK
               : metallm__openai_wrong(r, "reasoning_effort",
                                       "none, minimal, low, medium, high, xhigh or max");
}

static int read_metadata(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (!yyjson_is_obj(v))
        return metallm__openai_wrong(r, "metadata", "an object");
    if (yyjson_obj_size(v) > 0)
        r->talk->metadata = metallm__json_kept(r->pool, v);
    return METALLM_OK;
}

static int read_store(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (yyjson_is_true(v)) /* false is the default */
        metallm__openai_use(r, METALLM__FEATURE_STORE);
    return METALLM_OK;
}

static int read_service_tier(struct metallm__openai_reading *r, yyjson_val *v)
{
    r->talk->service_tier = metallm__wire_text(v);
    return METALLM_OK;
}

static int read_verbosity(struct metallm__openai_reading *r, yyjson_val *v)
{
    r->talk->verbosity = metallm__wire_text(v);
    return METALLM_OK;
}

static int read_safety_identifier(struct metallm__openai_reading *r, yyjson_val *v)
{
    if (r->talk->user.n == 0)
        r->talk->user = metallm__wire_text(v);
    return METALLM_OK;
}

static int read_modalities(struct metallm__openai_reading *r, yyjson_val *v)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        if (!yyjson_equals_str(item, "text"))
            metallm__openai_use(r, METALLM__FEATURE_AUDIO_OUT);
    return METALLM_OK;
}

static int read_prediction(struct metallm__openai_reading *r, yyjson_val *v)
{
    (void)v;
    metallm__openai_use(r, METALLM__FEATURE_PREDICTION);
    return METALLM_OK;
}

static int read_web_search(struct metallm__openai_reading *r, yyjson_val *v)
{
    (void)v;
    metallm__openai_use(r, METALLM__FEATURE_HOSTED_TOOLS);
    return METALLM_OK;
}

static int read_cache_hint(struct metallm__openai_reading *r, yyjson_val *v)
{
    (void)v;
    metallm__openai_use(r, METALLM__FEATURE_CACHE_MARKS);
    return METALLM_OK;
}

static const struct member {
    const char *name;
    int (*read)(struct metallm__openai_reading *r, yyjson_val *v);
} options[] =
    {
        {"model", pass_over},
        {"stream", pass_over},
        {"stream_options", pass_over},
        {"metallm", pass_over},
        {"temperature", read_temperature},
        {"max_tokens", read_max_tokens},
        {"top_p", read_top_p},
        {"top_k", read_top_k},
        {"stop", read_stop},
        {"frequency_penalty", read_frequency},
        {"presence_penalty", read_presence},
        {"seed", read_seed},
        {"n", read_n},
        {"logit_bias", read_logit_bias},
        {"user", read_user},
},
  chat[] = {
      {"messages", metallm__openai_messages_in},
      {"max_completion_tokens", read_max_completion_tokens},
      {"tools", read_tools},
      {"tool_choice", read_tool_choice},
      {"parallel_tool_calls", read_parallel},
      {"response_format", read_response_format},
      {"reasoning_effort", read_effort},
      {"logprobs", read_logprobs},
      {"top_logprobs", read_top_logprobs},
      {"functions", read_functions},
      {"function_call", read_function_call},
      {"metadata", read_metadata},
      {"store", read_store},
      {"service_tier", read_service_tier},
      {"verbosity", read_verbosity},
      {"modalities", read_modalities},
      {"audio", pass_over}, /* how to speak; modalities ask for it */
      {"prediction", read_prediction},
      {"web_search_options", read_web_search},
      {"safety_identifier", read_safety_identifier},
      {"prompt_cache_key", read_cache_hint},
      {"prompt_cache_options", read_cache_hint},
      {"prompt_cache_retention", read_cache_hint},
};

static int read_by(const struct member *members, size_t count, struct metallm__openai_reading *r,
                   struct metallm__span name, yyjson_val *v)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].name[0] == (name.n > 0 ? name.p[0] : '\0') &&
            metallm__span_is(name, members[i].name))
            return yyjson_is_null(v) ? METALLM_OK : members[i].read(r, v);
    return METALLM_ENOTFOUND;
}

int metallm__openai_option_in(struct metallm__openai_reading *r, struct metallm__span name,
                              yyjson_val *v)
{
    return read_by(options, sizeof options / sizeof *options, r, name, v);
}

int metallm__openai_talk_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__talk *out,
                            const char **param, metallm_error *err)
{
    struct metallm__openai_reading r = {.pool = pool, .talk = out, .param = param, .err = err};
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        struct metallm__span name = metallm__wire_text(key);
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        int rc = read_by(chat, sizeof chat / sizeof *chat, &r, name, v);
        if (rc == METALLM_ENOTFOUND)
            rc = metallm__openai_option_in(&r, name, v);
        if (rc == METALLM_ENOTFOUND && !yyjson_is_null(v))
            metallm__openai_other_in(&r, name);
        if (rc != METALLM_OK && rc != METALLM_ENOTFOUND)
            return rc;
    }
    if (out->max_tokens == 0)
        out->max_tokens = r.max_tokens;
    return metallm__pool_check(pool, err);
}
