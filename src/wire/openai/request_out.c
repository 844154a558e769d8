/* SPDX-License-Identifier: Apache-2.0
 * request_out.c - a talk as a chat completion's request. OpenAI's own hosts want
 * max_completion_tokens and at most four stop sequences; other servers know max_tokens alone. */
#include <math.h>

#include "base/error.h"
#include "wire/openai/openai.h"

#define CARRIED METALLM__VERDICT_CARRIED
#define DROPPED METALLM__VERDICT_DROPPED
/* What is not here is refused. */
const uint8_t metallm__openai_verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = CARRIED,
    [METALLM__FEATURE_TOP_P] = CARRIED,
    [METALLM__FEATURE_STOP] = CARRIED,
    [METALLM__FEATURE_SEED] = CARRIED,
    [METALLM__FEATURE_FREQUENCY_PENALTY] = CARRIED,
    [METALLM__FEATURE_PRESENCE_PENALTY] = CARRIED,
    [METALLM__FEATURE_LOGPROBS] = CARRIED,
    [METALLM__FEATURE_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NONE] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_ANY] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NAMED] = CARRIED,
    [METALLM__FEATURE_PARALLEL_TOOLS_OFF] = CARRIED,
    [METALLM__FEATURE_STRICT_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_ERROR] = DROPPED, /* the result's text tells it */
    [METALLM__FEATURE_IMAGES] = CARRIED,
    [METALLM__FEATURE_IMAGE_URLS] = CARRIED,
    [METALLM__FEATURE_IMAGE_DETAIL] = CARRIED,
    [METALLM__FEATURE_AUDIO] = CARRIED,
    [METALLM__FEATURE_FILES] = CARRIED,
    [METALLM__FEATURE_JSON] = CARRIED,
    [METALLM__FEATURE_JSON_SCHEMA] = CARRIED,
    [METALLM__FEATURE_REASONING_EFFORT] = CARRIED,
    [METALLM__FEATURE_REASONING_BUDGET] = DROPPED, /* as an effort, where none is given */
    [METALLM__FEATURE_REASONING_HISTORY] = DROPPED,
    [METALLM__FEATURE_REFUSAL_HISTORY] = CARRIED,
    [METALLM__FEATURE_SYSTEM_LATE] = CARRIED,
    [METALLM__FEATURE_TURN_NAMES] = CARRIED,
    [METALLM__FEATURE_CACHE_MARKS] = DROPPED,
    [METALLM__FEATURE_USER] = CARRIED,
    [METALLM__FEATURE_METADATA] = DROPPED,
    [METALLM__FEATURE_STORE] = DROPPED,
    [METALLM__FEATURE_SERVICE_TIER] = DROPPED,
    [METALLM__FEATURE_VERBOSITY] = CARRIED,
    [METALLM__FEATURE_PREDICTION] = DROPPED, /* it makes answers faster, not others */
};

static void put_text(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    if (text.n == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

static void put_real(struct metallm__jw *j, const char *name, double value)
{
    if (isnan(value))
        return;
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
}

static void put_word(struct metallm__jw *j, const char *name, const char *word)
{
    metallm__jw_name(j, name);
    metallm__jw_text(j, word);
}

/* ---- Messages. ---- */

static void begin_message(struct metallm__jw *j, const char *role)
{
    metallm__jw_open(j, '{');
    put_word(j, "role", role);
}

/* data:MEDIA;base64,DATA, or the URL. */
static void put_url(struct metallm__jw *j, const char *name, const struct metallm__part *p)
{
    metallm__jw_name(j, name);
    if (p->data.n == 0) {
        metallm__jw_span(j, p->url);
        return;
    }
    struct metallm__buf *b = j->out;
    metallm__buf_puts(b, "\"data:");
    metallm__json_escaped(b, p->media.p, p->media.n);
    metallm__buf_puts(b, ";base64,");
    metallm__json_escaped(b, p->data.p, p->data.n);
    metallm__buf_add(b, "\"", 1);
    j->wants_comma = true;
}

static void put_image(struct metallm__jw *j, const struct metallm__part *p)
{
    put_word(j, "type", "image_url");
    metallm__jw_name(j, "image_url");
    metallm__jw_open(j, '{');
    put_url(j, "url", p);
    put_text(j, "detail", p->detail);
    metallm__jw_close(j, '}');
}

static void put_audio(struct metallm__jw *j, const struct metallm__part *p)
{
    struct metallm__span format = p->media;
    const char *slash = format.n > 0 ? memchr(format.p, '/', format.n) : NULL;
    if (slash != NULL)
        format = metallm__span(slash + 1, format.n - (size_t)(slash + 1 - format.p));
    if (metallm__span_is(format, "mpeg"))
        format = metallm__span_of("mp3");
    put_word(j, "type", "input_audio");
    metallm__jw_name(j, "input_audio");
    metallm__jw_open(j, '{');
    put_text(j, "data", p->data);
    put_text(j, "format", format);
    metallm__jw_close(j, '}');
}

static void put_file(struct metallm__jw *j, const struct metallm__part *p)
{
    put_word(j, "type", "file");
    metallm__jw_name(j, "file");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "filename"); /* OpenAI refuses data without one */
    metallm__jw_span(j, p->name.n > 0 ? p->name : metallm__span_of("document"));
    put_url(j, "file_data", p);
    metallm__jw_close(j, '}');
}

static void put_part(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_open(j, '{');
    if (p->kind == METALLM__PART_IMAGE) {
        put_image(j, p);
    } else if (p->kind == METALLM__PART_AUDIO) {
        put_audio(j, p);
    } else if (p->kind == METALLM__PART_FILE) {
        put_file(j, p);
    } else {
        put_word(j, "type", "text");
        metallm__jw_name(j, "text");
        metallm__jw_span(j, p->text);
    }
    metallm__jw_close(j, '}');
}

static bool is_content(enum metallm__part_kind kind)
{
    return kind == METALLM__PART_TEXT || kind == METALLM__PART_IMAGE ||
           kind == METALLM__PART_AUDIO || kind == METALLM__PART_FILE;
}

/* One text is a string, which every server knows; else an array. is_nullable: none at all is null,
 * else "". */
static void put_content(struct metallm__jw *j, const struct metallm__part *parts, size_t count,
                        bool is_nullable)
{
    const struct metallm__part *one = NULL;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (is_content(parts[i].kind)) {
            one = &parts[i];
            found++;
        }
    metallm__jw_name(j, "content");
    if (found == 0) {
        metallm__jw_text(j, is_nullable ? NULL : "");
    } else if (found == 1 && one->kind == METALLM__PART_TEXT) {
        metallm__jw_span(j, one->text);
    } else {
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < count; i++)
            if (is_content(parts[i].kind))
                put_part(j, &parts[i]);
        metallm__jw_close(j, ']');
    }
}

static void put_call(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_open(j, '{');
    put_text(j, "id", p->id);
    put_word(j, "type", "function");
    metallm__jw_name(j, "function");
    metallm__jw_open(j, '{');
    put_text(j, "name", p->name);
    put_text(j, "arguments", p->text);
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}

static void put_assistant(struct metallm__jw *j, const struct metallm__turn *turn)
{
    bool has_calls = false, has_refusal = false;
    for (size_t i = 0; i < turn->part_count; i++) {
        has_calls |= turn->parts[i].kind == METALLM__PART_CALL;
        has_refusal |= turn->parts[i].kind == METALLM__PART_REFUSAL;
    }
    begin_message(j, "assistant");
    put_text(j, "name", turn->name);
    put_content(j, turn->parts, turn->part_count, has_calls || has_refusal);
    for (size_t i = 0; has_refusal && i < turn->part_count; i++)
        if (turn->parts[i].kind == METALLM__PART_REFUSAL) {
            put_text(j, "refusal", turn->parts[i].text);
            has_refusal = false; /* there is one such member */
        }
    if (has_calls) {
        metallm__jw_name(j, "tool_calls");
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < turn->part_count; i++)
            if (turn->parts[i].kind == METALLM__PART_CALL)
                put_call(j, &turn->parts[i]);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
}

/* Results are messages of their own, and stand first: they answer the message before. */
static void put_user(struct metallm__jw *j, const struct metallm__turn *turn)
{
    size_t results = 0;
    for (size_t i = 0; i < turn->part_count; i++) {
        const struct metallm__part *p = &turn->parts[i];
        if (p->kind != METALLM__PART_RESULT)
            continue;
        results++;
        begin_message(j, "tool");
        put_text(j, "tool_call_id", p->id);
        put_content(j, p->parts, p->part_count, false);
        metallm__jw_close(j, '}');
    }
    if (results > 0 && results == turn->part_count)
        return;
    begin_message(j, "user");
    put_text(j, "name", turn->name);
    put_content(j, turn->parts, turn->part_count, false);
    metallm__jw_close(j, '}');
}

void metallm__openai_messages_out(struct metallm__jw *j, const struct metallm__talk *talk)
{
    metallm__jw_name(j, "messages");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < talk->turn_count; i++) {
        const struct metallm__turn *turn = &talk->turns[i];
        if (turn->role == METALLM__ROLE_ASSISTANT) {
            put_assistant(j, turn);
        } else if (turn->role == METALLM__ROLE_USER) {
            put_user(j, turn);
        } else {
            begin_message(j, "system");
            put_text(j, "name", turn->name);
            put_content(j, turn->parts, turn->part_count, false);
            metallm__jw_close(j, '}');
        }
    }
    metallm__jw_close(j, ']');
}

/* ---- Options. ---- */

static void put_strict(struct metallm__jw *j, int8_t is_strict)
{
    if (is_strict < 0)
        return;
    metallm__jw_name(j, "strict");
    metallm__jw_flag(j, is_strict > 0);
}

static void put_tools(struct metallm__jw *j, const struct metallm__talk *t)
{
    if (t->tool_count == 0)
        return;
    metallm__jw_name(j, "tools");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < t->tool_count; i++) {
        const struct metallm__tool *tool = &t->tools[i];
        metallm__jw_open(j, '{');
        put_word(j, "type", "function");
        metallm__jw_name(j, "function");
        metallm__jw_open(j, '{');
        put_text(j, "name", tool->name);
        put_text(j, "description", tool->description);
        if (tool->schema.n > 0) {
            metallm__jw_name(j, "parameters");
            metallm__jw_json(j, tool->schema);
        }
        put_strict(j, tool->is_strict);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    if (t->is_parallel >= 0) {
        metallm__jw_name(j, "parallel_tool_calls");
        metallm__jw_flag(j, t->is_parallel > 0);
    }
}

static void put_tool_choice(struct metallm__jw *j, const struct metallm__talk *t)
{
    static const char *const words[] = {NULL, "auto", "none", "required", NULL};
    if (t->tool_choice == METALLM__TOOL_CHOICE_UNSAID || t->tool_count == 0)
        return;
    if (t->tool_choice != METALLM__TOOL_CHOICE_NAMED) {
        put_word(j, "tool_choice", words[t->tool_choice]);
        return;
    }
    metallm__jw_name(j, "tool_choice");
    metallm__jw_open(j, '{');
    put_word(j, "type", "function");
    metallm__jw_name(j, "function");
    metallm__jw_open(j, '{');
    put_text(j, "name", t->tool_name);
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}

static void put_format(struct metallm__jw *j, const struct metallm__talk *t)
{
    if (t->format == METALLM__FORMAT_TEXT)
        return;
    metallm__jw_name(j, "response_format");
    metallm__jw_open(j, '{');
    put_word(j, "type", t->format == METALLM__FORMAT_JSON ? "json_object" : "json_schema");
    if (t->format == METALLM__FORMAT_SCHEMA) {
        metallm__jw_name(j, "json_schema");
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "name"); /* must be there */
        metallm__jw_span(j, t->format_name.n > 0 ? t->format_name : metallm__span_of("answer"));
        put_text(j, "description", t->format_description);
        metallm__jw_name(j, "schema");
        metallm__jw_json(j, t->schema);
        put_strict(j, t->is_format_strict);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, '}');
}

/* The word for an effort; of a budget of tokens, where no word is given. */
static const char *effort_of(const struct metallm__talk *t)
{
    return metallm__effort_name(t->effort != METALLM__EFFORT_UNSAID
                                    ? t->effort
                                    : metallm__effort_of_budget(t->reasoning_tokens));
}

static void put_sampling(struct metallm__jw *j, const struct metallm__talk *t)
{
    put_real(j, "temperature", t->temperature);
    put_real(j, "top_p", t->top_p);
    put_real(j, "frequency_penalty", t->frequency_penalty);
    put_real(j, "presence_penalty", t->presence_penalty);
    if (t->has_seed) {
        metallm__jw_name(j, "seed");
        metallm__jw_integer(j, t->seed);
    }
    if (t->stop_count > 0) {
        metallm__jw_name(j, "stop");
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < t->stop_count; i++)
            metallm__jw_span(j, t->stops[i]);
        metallm__jw_close(j, ']');
    }
    if (t->wants_logprobs)
        metallm__jw_name(j, "logprobs"), metallm__jw_flag(j, true);
    if (t->wants_logprobs && t->top_logprobs > 0)
        metallm__jw_name(j, "top_logprobs"), metallm__jw_count(j, t->top_logprobs);
}

static bool ends_with(struct metallm__span s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && metallm__span_is_nocase(metallm__span(s.p + s.n - n, n), end);
}

static bool is_openai(const struct metallm__wire_target *t)
{
    return t->azure_version.n > 0 || ends_with(t->host, "api.openai.com") ||
           ends_with(t->host, ".openai.azure.com") ||
           ends_with(t->host, ".cognitiveservices.azure.com");
}

static void put_options(struct metallm__jw *j, const struct metallm__talk *t,
                        const struct metallm__wire_target *target)
{
    if (t->max_tokens > 0) {
        metallm__jw_name(j, is_openai(target) ? "max_completion_tokens" : "max_tokens");
        metallm__jw_count(j, t->max_tokens);
    }
    put_sampling(j, t);
    put_tools(j, t);
    put_tool_choice(j, t);
    put_format(j, t);
    if (effort_of(t) != NULL)
        put_word(j, "reasoning_effort", effort_of(t));
    put_text(j, "verbosity", t->verbosity);
    put_text(j, "user", t->user);
    if (!t->is_stream)
        return;
    metallm__jw_name(j, "stream"), metallm__jw_flag(j, true);
    if (target->is_usage_asked)
        metallm__jw_name(j, "stream_options"), metallm__jw_raw(j, "{\"include_usage\":true}");
}

int metallm__openai_talk_out(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                             struct metallm__wire_out *out, metallm_error *err)
{
    struct metallm__jw j = {.out = &out->made};
    if (is_openai(t) && talk->stop_count > 4)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "OpenAI takes at most 4 stop sequences, not %zu",
                                  talk->stop_count);
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "model");
    metallm__jw_json(&j, t->model_json);
    metallm__openai_messages_out(&j, talk);
    put_options(&j, talk, t);
    metallm__jw_close(&j, '}');
    out->path = (struct metallm__span)METALLM__SPAN("/chat/completions");
    return metallm__openai_path(t, out, err);
}
