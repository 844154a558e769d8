/* SPDX-License-Identifier: Apache-2.0
 * request_out.c - a talk as the body of generateContent. Turns of one role that stand side
 * by side become one content, with the results of tools in a content of their own, since Gemini
 * wants as many results behind a content as it has calls. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/json_out.h"
#include "wire/gemini/gemini.h"

/* Gemini 3 refuses a call of the history without a signature, unless it has this one: what Google
 * documents for calls that another LLM made. */
#define FOREIGN_SEAL "skip_thought_signature_validator"

struct writer {
    struct metallm__jw j;
    const struct metallm__talk *talk;
    const struct metallm__wire_target *target;
    struct metallm__wire_out *out;
    struct metallm__span seal; /* for the next part */
    bool has_levels;           /* Gemini 3 and later: levels of thinking, and seals are checked */
    bool is_open;              /* a content */
    bool has_calls;            /* of this content, so far */
    int rc;
    metallm_error *err;
};

static bool begins(struct metallm__span text, const char *with)
{
    size_t n = strlen(with);
    return text.n >= n && memcmp(text.p, with, n) == 0;
}

static struct metallm__span short_name(struct metallm__span model)
{
    size_t n = begins(model, "models/") ? sizeof "models/" - 1 : 0;
    return metallm__span(model.p + n, model.n - n);
}

/* Gemini 1 and 2 think by a budget of tokens; later ones by levels. */
static bool has_levels(struct metallm__span model)
{
    struct metallm__span name = short_name(model);
    return begins(name, "gemini-") && !begins(name, "gemini-1.") && !begins(name, "gemini-2.") &&
           !begins(name, "gemini-robotics-er-1.");
}

void metallm__gemini_path_write(struct metallm__buf *out, struct metallm__span model)
{
    bool is_tuned = begins(model, "tunedModels/");
    size_t n = is_tuned ? sizeof "tunedModels/" - 1 : 0;
    struct metallm__span name = short_name(metallm__span(model.p + n, model.n - n));
    metallm__buf_puts(out, is_tuned ? "/tunedModels/" : "/models/");
    metallm__wire_segment_write(out, name);
}

static void fail(struct writer *w, const char *why)
{
    if (w->rc == METALLM_OK)
        w->rc = metallm__error_set(w->err, METALLM_EINVAL, "%s", why);
}

static void named_span(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

/* ---- Parts. ---- */

/* Most URLs do not tell what is behind them but by their names. */
static struct metallm__span media_of(const struct metallm__part *p)
{
    static const struct {
        const char *end;
        struct metallm__span media;
    } known[] = {
        {".png", METALLM__SPAN("image/png")},       {".jpg", METALLM__SPAN("image/jpeg")},
        {".jpeg", METALLM__SPAN("image/jpeg")},     {".webp", METALLM__SPAN("image/webp")},
        {".heic", METALLM__SPAN("image/heic")},     {".heif", METALLM__SPAN("image/heif")},
        {".pdf", METALLM__SPAN("application/pdf")},
    };
    static const struct metallm__span mp3 = METALLM__SPAN("audio/mp3");
    if (metallm__span_is(p->media, "audio/mpeg"))
        return mp3; /* Gemini's name for it */
    if (p->media.n > 0 || p->url.n == 0)
        return p->media;
    const char *query = memchr(p->url.p, '?', p->url.n);
    size_t n = query != NULL ? (size_t)(query - p->url.p) : p->url.n;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t len = strlen(known[i].end);
        if (n > len &&
            metallm__span_is_nocase(metallm__span(p->url.p + n - len, len), known[i].end))
            return known[i].media;
    }
    return p->media;
}

static void write_media(struct writer *w, const struct metallm__part *p)
{
    struct metallm__jw *j = &w->j;
    struct metallm__span media = media_of(p);
    if (p->data.n == 0 && p->url.n == 0) {
        fail(w, "a file that the client has uploaded elsewhere cannot be said to gemini");
        return;
    }
    if (p->data.n > 0 && media.n == 0) {
        fail(w, "gemini must be told the media type of an image or a file");
        return;
    }
    metallm__jw_name(j, p->data.n > 0 ? "inlineData" : "fileData");
    metallm__jw_open(j, '{');
    if (media.n > 0)
        named_span(j, "mimeType", media);
    if (p->data.n > 0)
        named_span(j, "data", p->data);
    else
        named_span(j, "fileUri", p->url);
    metallm__jw_close(j, '}');
}

static void write_call(struct writer *w, const struct metallm__part *p)
{
    static const struct metallm__span foreign = METALLM__SPAN(FOREIGN_SEAL);
    struct metallm__jw *j = &w->j;
    metallm__jw_name(j, "functionCall");
    metallm__jw_open(j, '{');
    if (p->id.n > 0)
        named_span(j, "id", p->id);
    named_span(j, "name", p->name);
    metallm__jw_name(j, "args");
    if (p->text.n > 0)
        metallm__jw_json(j, p->text);
    else
        metallm__jw_raw(j, "{}");
    metallm__jw_close(j, '}');
    if (w->seal.n == 0 && w->has_levels && !w->has_calls)
        w->seal = foreign;
    w->has_calls = true;
}

/* One text as a string, several as a list: their borders are kept. */
static void write_result_texts(struct metallm__jw *j, const struct metallm__part *p)
{
    size_t texts = 0;
    for (size_t i = 0; i < p->part_count; i++)
        texts += p->parts[i].kind == METALLM__PART_TEXT;
    if (texts != 1)
        metallm__jw_open(j, '[');
    for (size_t i = 0; i < p->part_count; i++)
        if (p->parts[i].kind == METALLM__PART_TEXT)
            metallm__jw_span(j, p->parts[i].text);
    if (texts != 1)
        metallm__jw_close(j, ']');
}

static void write_result_media(struct writer *w, const struct metallm__part *p)
{
    bool is_first = true;
    for (size_t i = 0; i < p->part_count; i++) {
        if (p->parts[i].kind == METALLM__PART_TEXT)
            continue;
        if (is_first) {
            metallm__jw_name(&w->j, "parts");
            metallm__jw_open(&w->j, '[');
        }
        is_first = false;
        metallm__jw_open(&w->j, '{');
        write_media(w, &p->parts[i]);
        metallm__jw_close(&w->j, '}');
    }
    if (!is_first)
        metallm__jw_close(&w->j, ']');
}

static void write_result(struct writer *w, const struct metallm__part *p)
{
    struct metallm__jw *j = &w->j;
    if (p->name.n == 0) {
        fail(w, "a tool's result answers no call of the conversation, and gemini must be told the "
                "tool's name");
        return;
    }
    metallm__jw_name(j, "functionResponse");
    metallm__jw_open(j, '{');
    if (p->id.n > 0)
        named_span(j, "id", p->id);
    named_span(j, "name", p->name);
    metallm__jw_name(j, "response");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, p->is_error ? "error" : "output");
    write_result_texts(j, p);
    metallm__jw_close(j, '}');
    write_result_media(w, p);
    metallm__jw_close(j, '}');
}

/* ---- Contents. ---- */

static void open_content(struct writer *w, enum metallm__role role)
{
    if (w->is_open)
        return;
    w->is_open = true;
    w->has_calls = false;
    metallm__jw_open(&w->j, '{');
    metallm__jw_name(&w->j, "role");
    metallm__jw_raw(&w->j, role == METALLM__ROLE_USER ? "\"user\"" : "\"model\"");
    metallm__jw_name(&w->j, "parts");
    metallm__jw_open(&w->j, '[');
}

static void write_seal(struct writer *w)
{
    if (w->seal.n > 0)
        named_span(&w->j, "thoughtSignature", w->seal);
    w->seal = (struct metallm__span){NULL, 0};
}

/* A seal that no part follows stands beside an empty text, as Gemini's streams give it. */
static void flush_seal(struct writer *w)
{
    if (w->seal.n == 0)
        return;
    open_content(w, METALLM__ROLE_ASSISTANT);
    metallm__jw_open(&w->j, '{');
    metallm__jw_name(&w->j, "text");
    metallm__jw_raw(&w->j, "\"\"");
    write_seal(w);
    metallm__jw_close(&w->j, '}');
}

static void close_content(struct writer *w)
{
    flush_seal(w);
    if (!w->is_open)
        return;
    w->is_open = false;
    metallm__jw_close(&w->j, ']');
    metallm__jw_close(&w->j, '}');
}

/* What is left out: empty texts, which Gemini refuses, and thoughts that only another LLM can read.
 * A seal alone waits for the part that it belongs to. */
static bool is_kept(struct writer *w, const struct metallm__part *p)
{
    if (p->kind == METALLM__PART_TEXT || p->kind == METALLM__PART_REFUSAL)
        return p->text.n > 0;
    if (p->kind != METALLM__PART_REASONING)
        return true;
    if (p->seal.n == 0 || !metallm__span_is(p->seal_of, METALLM__GEMINI)) {
        w->out->dropped |= 1ull << METALLM__FEATURE_REASONING_HISTORY;
        return false;
    }
    flush_seal(w);
    w->seal = p->seal;
    return p->text.n > 0;
}

static void write_part(struct writer *w, enum metallm__role role, const struct metallm__part *p)
{
    if (!is_kept(w, p))
        return;
    open_content(w, role);
    metallm__jw_open(&w->j, '{');
    switch (p->kind) {
    case METALLM__PART_REASONING:
        metallm__jw_name(&w->j, "thought");
        metallm__jw_flag(&w->j, true);
        /* fall through */
    case METALLM__PART_TEXT:
    case METALLM__PART_REFUSAL:
        named_span(&w->j, "text", p->text);
        break;
    case METALLM__PART_CALL:
        write_call(w, p);
        break;
    case METALLM__PART_RESULT:
        write_result(w, p);
        break;
    default:
        write_media(w, p);
        break;
    }
    if (role == METALLM__ROLE_ASSISTANT)
        write_seal(w);
    metallm__jw_close(&w->j, '}');
}

/* Parts of these turns that are results of tools, or those that are not. */
static void write_parts(struct writer *w, size_t begin, size_t end, bool are_results)
{
    enum metallm__role role = w->talk->turns[begin].role;
    for (size_t i = begin; i < end; i++)
        for (size_t k = 0; k < w->talk->turns[i].part_count; k++) {
            const struct metallm__part *p = &w->talk->turns[i].parts[k];
            if ((p->kind == METALLM__PART_RESULT) == are_results)
                write_part(w, role, p);
        }
    close_content(w);
}

static void write_contents(struct writer *w)
{
    const struct metallm__talk *t = w->talk;
    metallm__jw_name(&w->j, "contents");
    metallm__jw_open(&w->j, '[');
    for (size_t i = 0, end; i < t->turn_count; i = end) {
        for (end = i + 1; end < t->turn_count && t->turns[end].role == t->turns[i].role;)
            end++;
        if (t->turns[i].role == METALLM__ROLE_SYSTEM)
            continue;
        if (t->turns[i].role == METALLM__ROLE_USER)
            write_parts(w, i, end, true);
        write_parts(w, i, end, false);
    }
    if (!w->j.wants_comma)
        fail(w, "gemini must be given a text, and the conversation has none");
    metallm__jw_close(&w->j, ']');
}

static void write_system(struct writer *w)
{
    bool is_first = true;
    for (size_t i = 0; i < w->talk->turn_count; i++) {
        const struct metallm__turn *turn = &w->talk->turns[i];
        for (size_t k = 0; turn->role == METALLM__ROLE_SYSTEM && k < turn->part_count; k++) {
            if (turn->parts[k].kind != METALLM__PART_TEXT)
                fail(w, "a system message of gemini holds text alone");
            if (turn->parts[k].text.n == 0)
                continue;
            if (is_first) {
                metallm__jw_name(&w->j, "systemInstruction");
                metallm__jw_open(&w->j, '{');
                metallm__jw_name(&w->j, "parts");
                metallm__jw_open(&w->j, '[');
            }
            is_first = false;
            metallm__jw_open(&w->j, '{');
            named_span(&w->j, "text", turn->parts[k].text);
            metallm__jw_close(&w->j, '}');
        }
    }
    if (is_first)
        return;
    metallm__jw_close(&w->j, ']');
    metallm__jw_close(&w->j, '}');
}

/* ---- Tools. ---- */

/* VALIDATED is AUTO whose calls keep to their schemas; ANY always keeps to them. */
static const char *mode_of(const struct metallm__talk *t)
{
    switch (t->tool_choice) {
    case METALLM__TOOL_CHOICE_NONE:
        return "\"NONE\"";
    case METALLM__TOOL_CHOICE_ANY:
    case METALLM__TOOL_CHOICE_NAMED:
        return "\"ANY\"";
    default:
        break;
    }
    for (size_t i = 0; i < t->tool_count; i++)
        if (t->tools[i].is_strict == 1)
            return "\"VALIDATED\"";
    return t->tool_choice == METALLM__TOOL_CHOICE_AUTO ? "\"AUTO\"" : NULL;
}

static void write_tool_config(struct metallm__jw *j, const struct metallm__talk *t)
{
    const char *mode = mode_of(t);
    if (mode == NULL)
        return;
    metallm__jw_name(j, "toolConfig");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "functionCallingConfig");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "mode");
    metallm__jw_raw(j, mode);
    if (t->tool_choice == METALLM__TOOL_CHOICE_NAMED) {
        metallm__jw_name(j, "allowedFunctionNames");
        metallm__jw_open(j, '[');
        metallm__jw_span(j, t->tool_name);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}

static void write_tools(struct metallm__jw *j, const struct metallm__talk *t)
{
    if (t->tool_count == 0)
        return;
    metallm__jw_name(j, "tools");
    metallm__jw_open(j, '[');
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "functionDeclarations");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < t->tool_count; i++) {
        const struct metallm__tool *tool = &t->tools[i];
        metallm__jw_open(j, '{');
        named_span(j, "name", tool->name);
        if (tool->description.n > 0)
            named_span(j, "description", tool->description);
        if (tool->schema.n > 0) {
            metallm__jw_name(j, "parametersJsonSchema");
            metallm__jw_json(j, tool->schema);
        }
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    metallm__jw_close(j, '}');
    metallm__jw_close(j, ']');
    write_tool_config(j, t);
}

/* ---- Options. ---- */

/* METALLM__EFFORT_* as tokens for Gemini 2.5: what Google's own OpenAI-compatible endpoint makes of
 * "none" to "high" (ai.google.dev/gemini-api/docs/openai). */
static const unsigned budgets[] = {0, 0, 1024, 1024, 8192, 24576, 24576, 24576};
static const char *const levels[] = {NULL,     NULL,   "MINIMAL", "LOW",
                                     "MEDIUM", "HIGH", "XHIGH",   "XHIGH"};

static void write_thinking(struct writer *w)
{
    const struct metallm__talk *t = w->talk;
    bool is_shown = t->wants_reasoning_summary && t->effort != METALLM__EFFORT_NONE;
    if (t->effort == METALLM__EFFORT_UNSAID && t->reasoning_tokens == 0 && !is_shown)
        return;
    metallm__jw_name(&w->j, "thinkingConfig");
    metallm__jw_open(&w->j, '{');
    if (t->reasoning_tokens > 0) { /* both at once are refused; a budget says more */
        metallm__jw_name(&w->j, "thinkingBudget");
        metallm__jw_count(&w->j, t->reasoning_tokens);
    } else if (t->effort != METALLM__EFFORT_UNSAID && !w->has_levels) {
        metallm__jw_name(&w->j, "thinkingBudget");
        metallm__jw_count(&w->j, budgets[t->effort]);
    } else if (t->effort == METALLM__EFFORT_NONE) {
        fail(w, "reasoning cannot be turned off in Gemini 3 and later");
    } else if (t->effort != METALLM__EFFORT_UNSAID) {
        metallm__jw_name(&w->j, "thinkingLevel");
        metallm__jw_text(&w->j, levels[t->effort]);
    }
    if (is_shown) {
        metallm__jw_name(&w->j, "includeThoughts");
        metallm__jw_flag(&w->j, true);
    }
    metallm__jw_close(&w->j, '}');
}

static void write_real(struct writer *w, const char *name, double value, double least, double most)
{
    if (isnan(value))
        return;
    if (!(value >= least && value <= most) && w->rc == METALLM_OK)
        w->rc =
            metallm__error_set(w->err, METALLM_EINVAL, "gemini takes a '%s' of %g to %g, not %g",
                               name, least, most, value);
    metallm__jw_name(&w->j, name);
    metallm__jw_real(&w->j, value);
}

static void write_stops(struct writer *w)
{
    const struct metallm__talk *t = w->talk;
    if (t->stop_count == 0)
        return;
    if (t->stop_count > METALLM__GEMINI_STOPS_MAX)
        fail(w, "gemini takes at most 5 stop sequences");
    metallm__jw_name(&w->j, "stopSequences");
    metallm__jw_open(&w->j, '[');
    for (size_t i = 0; i < t->stop_count; i++)
        metallm__jw_span(&w->j, t->stops[i]);
    metallm__jw_close(&w->j, ']');
}

static void write_seed(struct writer *w)
{
    char text[24];
    if (!w->talk->has_seed)
        return;
    if (w->talk->seed != (int32_t)w->talk->seed)
        fail(w, "gemini takes a 'seed' of 32 bits");
    snprintf(text, sizeof text, "%" PRId32, (int32_t)w->talk->seed);
    metallm__jw_name(&w->j, "seed");
    metallm__jw_raw(&w->j, text);
}

/* Pieces of a streamed answer have no place for them. */
static void write_logprobs(struct writer *w)
{
    const struct metallm__talk *t = w->talk;
    if (!t->wants_logprobs)
        return;
    if (t->is_stream)
        fail(w, "the logprobs of gemini cannot be streamed");
    if (t->top_logprobs > METALLM__GEMINI_LOGPROBS_MAX)
        fail(w, "gemini tells at most 20 'top_logprobs'");
    metallm__jw_name(&w->j, "responseLogprobs");
    metallm__jw_flag(&w->j, true);
    if (t->top_logprobs == 0)
        return;
    metallm__jw_name(&w->j, "logprobs");
    metallm__jw_count(&w->j, t->top_logprobs);
}

static void write_format(struct writer *w)
{
    if (w->talk->format == METALLM__FORMAT_TEXT)
        return;
    metallm__jw_name(&w->j, "responseMimeType");
    metallm__jw_raw(&w->j, "\"application/json\"");
    if (w->talk->format != METALLM__FORMAT_SCHEMA || w->talk->schema.n == 0)
        return;
    metallm__jw_name(&w->j, "responseJsonSchema");
    metallm__jw_json(&w->j, w->talk->schema);
}

static void write_options(struct writer *w)
{
    const struct metallm__talk *t = w->talk;
    metallm__jw_name(&w->j, "generationConfig");
    metallm__jw_open(&w->j, '{');
    if (t->max_tokens > 0) {
        metallm__jw_name(&w->j, "maxOutputTokens");
        metallm__jw_count(&w->j, t->max_tokens);
    }
    write_real(w, "temperature", t->temperature, 0, 2);
    write_real(w, "topP", t->top_p, 0, 1);
    if (t->top_k > 0) {
        metallm__jw_name(&w->j, "topK");
        metallm__jw_count(&w->j, t->top_k);
    }
    write_real(w, "frequencyPenalty", t->frequency_penalty, -2, 2);
    write_real(w, "presencePenalty", t->presence_penalty, -2, 2);
    write_stops(w);
    write_seed(w);
    write_logprobs(w);
    write_format(w);
    write_thinking(w);
    metallm__jw_close(&w->j, '}');
}

int metallm__gemini_talk_out(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                             struct metallm__wire_out *out, metallm_error *err)
{
    struct writer w = {.j.out = &out->made,
                       .talk = talk,
                       .target = t,
                       .out = out,
                       .has_levels = has_levels(t->model),
                       .err = err};
    metallm__gemini_path_write(&out->path_made, t->model);
    metallm__buf_puts(&out->path_made,
                      talk->is_stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
    metallm__jw_open(&w.j, '{');
    write_contents(&w);
    write_system(&w);
    write_tools(&w.j, talk);
    write_options(&w);
    metallm__jw_close(&w.j, '}');
    int rc = w.rc;
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&out->path_made, err);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&out->made, err);
    out->path = metallm__span(out->path_made.data, out->path_made.len);
    return rc;
}
