/* SPDX-License-Identifier: Apache-2.0
 * talk.c - see talk.h: the names of features, and those that follow from a talk itself. */
#include "wire/talk.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

/* ---- The features by name. ---- */

#define ROW(id, name, about) [METALLM__FEATURE_##id] = {(name), (about), "cannot be told " name}
static const struct {
    const char *name, *about, *untold;
} features[METALLM__FEATURES] = {
    ROW(TEMPERATURE, "temperature", "sampling temperature"),
    ROW(TOP_P, "top_p", "nucleus sampling"),
    ROW(TOP_K, "top_k", "sampling among the k likeliest tokens"),
    ROW(STOP, "stop sequences", "texts that end the answer"),
    ROW(SEED, "seed", "repeatable sampling"),
    ROW(FREQUENCY_PENALTY, "frequency_penalty", "a penalty for frequent tokens, not 0"),
    ROW(PRESENCE_PENALTY, "presence_penalty", "a penalty for tokens that were used, not 0"),
    ROW(LOGIT_BIAS, "logit_bias", "a bias for single tokens"),
    ROW(LOGPROBS, "logprobs", "log probabilities of the answer's tokens"),
    ROW(CHOICES, "several choices", "more than one answer at a time"),
    ROW(TOOLS, "tools", "functions that the LLM may call"),
    ROW(TOOL_CHOICE_NONE, "tool_choice none", "tools are there, but none may be called"),
    ROW(TOOL_CHOICE_ANY, "tool_choice any", "some tool must be called"),
    ROW(TOOL_CHOICE_NAMED, "tool_choice by name", "this tool must be called"),
    ROW(PARALLEL_TOOLS_OFF, "parallel tool calls off", "at most one tool call in an answer"),
    ROW(STRICT_TOOLS, "strict tools", "arguments that are sure to keep to the tool's schema"),
    ROW(HOSTED_TOOLS, "hosted tools", "tools that the provider runs, as web search"),
    ROW(TOOL_RESULT_IMAGES, "images in tool results", "images or files among a tool's results"),
    ROW(TOOL_RESULT_ERROR, "failed tool results", "the mark that a tool failed"),
    ROW(IMAGES, "images", "images as data"),
    ROW(IMAGE_URLS, "image URLs", "images by their address"),
    ROW(IMAGE_DETAIL, "image detail", "how closely to look at an image"),
    ROW(AUDIO, "audio", "audio in the request"),
    ROW(FILES, "files", "documents as data"),
    ROW(FILE_URLS, "file URLs", "documents by their address"),
    ROW(FILE_IDS, "uploaded files", "files by the name that the provider gave them"),
    ROW(JSON, "JSON mode", "an answer that is some JSON object"),
    ROW(JSON_SCHEMA, "JSON schemas", "an answer that keeps to a JSON schema"),
    ROW(REASONING_EFFORT, "reasoning effort", "how much to think, in words"),
    ROW(REASONING_BUDGET, "reasoning budget", "how much to think, in tokens"),
    ROW(REASONING_HISTORY, "reasoning history", "what was thought in earlier turns"),
    ROW(REFUSAL_HISTORY, "refusal history", "refusals in earlier turns, marked as such"),
    ROW(SYSTEM_LATE, "late system messages", "system messages behind a user's"),
    ROW(PREFILL, "prefill", "the beginning of the answer, given by the client"),
    ROW(TURN_NAMES, "participants' names", "names of those who speak"),
    ROW(CACHE_MARKS, "cache marks", "where the provider may cache the prompt"),
    ROW(USER, "user", "who the end user is"),
    ROW(METADATA, "metadata", "the client's own notes"),
    ROW(STORE, "store", "whether the provider keeps the answer"),
    ROW(STATE, "state", "going on from what the provider has kept"),
    ROW(SERVICE_TIER, "service_tier", "which class of service"),
    ROW(VERBOSITY, "verbosity", "how long answers are to be"),
    ROW(PREDICTION, "prediction", "a text that the answer is likely to repeat"),
    ROW(AUDIO_OUT, "audio answers", "an answer that is spoken"),
    ROW(COMPLETION_EXTRAS, "completion extras",
        "suffix, echo, best_of, and prompts that are several or tokens"),
    ROW(OTHER, "other members", "members that are not known here"),
};

const char *metallm__feature_name(enum metallm__feature f)
{
    return features[f].name;
}

const char *metallm__feature_about(enum metallm__feature f)
{
    return features[f].about;
}

const char *metallm__feature_untold(enum metallm__feature f)
{
    return features[f].untold;
}

uint64_t metallm__talk_with(const struct metallm__talk *t,
                            const uint8_t verdicts[METALLM__FEATURES],
                            enum metallm__verdict verdict)
{
    uint64_t found = 0;
    for (uint64_t left = t->features; left != 0; left &= left - 1)
        if (verdicts[__builtin_ctzll(left)] == verdict)
            found |= left & -left;
    return found;
}

int metallm__talk_check(const struct metallm__talk *t, const uint8_t verdicts[METALLM__FEATURES],
                        const char *protocol, metallm_error *err)
{
    uint64_t refused = metallm__talk_with(t, verdicts, METALLM__VERDICT_REFUSED);
    if (refused == 0)
        return METALLM_OK;
    enum metallm__feature f = (enum metallm__feature)__builtin_ctzll(refused);
    if (f != METALLM__FEATURE_OTHER)
        return metallm__error_set(err, METALLM_EINVAL, "'%s' cannot be said to %s",
                                  features[f].name, protocol);
    int n = t->other_name.n < 64 ? (int)t->other_name.n : 64;
    return metallm__error_set(err, METALLM_EINVAL, "'%.*s' cannot be said to %s", n,
                              n > 0 ? t->other_name.p : "", protocol);
}

void metallm__talk_clear(struct metallm__talk *t)
{
    *t = (struct metallm__talk){.temperature = NAN,
                                .top_p = NAN,
                                .frequency_penalty = NAN,
                                .presence_penalty = NAN,
                                .is_parallel = -1,
                                .is_format_strict = -1};
}

/* ---- Features that follow from the record. ---- */

static void use(struct metallm__talk *t, enum metallm__feature f, bool is_used)
{
    t->features |= (uint64_t)is_used << f;
}

static void use_media(struct metallm__talk *t, const struct metallm__part *p)
{
    bool is_image = p->kind == METALLM__PART_IMAGE;
    if (p->kind == METALLM__PART_AUDIO)
        use(t, METALLM__FEATURE_AUDIO, true);
    else if (p->file_id.n > 0)
        use(t, METALLM__FEATURE_FILE_IDS, true);
    else if (p->url.n > 0)
        use(t, is_image ? METALLM__FEATURE_IMAGE_URLS : METALLM__FEATURE_FILE_URLS, true);
    else
        use(t, is_image ? METALLM__FEATURE_IMAGES : METALLM__FEATURE_FILES, true);
    use(t, METALLM__FEATURE_IMAGE_DETAIL,
        is_image && p->detail.n > 0 && !metallm__span_is(p->detail, "auto"));
}

static void use_result(struct metallm__talk *t, const struct metallm__part *p)
{
    use(t, METALLM__FEATURE_TOOL_RESULT_ERROR, p->is_error);
    for (size_t i = 0; i < p->part_count; i++) {
        const struct metallm__part *inner = &p->parts[i];
        use(t, METALLM__FEATURE_CACHE_MARKS, inner->cache != METALLM__CACHE_NONE);
        if (inner->kind == METALLM__PART_TEXT)
            continue;
        use(t, METALLM__FEATURE_TOOL_RESULT_IMAGES, true);
        use_media(t, inner);
    }
}

static void use_part(struct metallm__talk *t, const struct metallm__part *p)
{
    use(t, METALLM__FEATURE_CACHE_MARKS, p->cache != METALLM__CACHE_NONE);
    switch (p->kind) {
    case METALLM__PART_RESULT:
        use_result(t, p);
        break;
    case METALLM__PART_IMAGE:
    case METALLM__PART_AUDIO:
    case METALLM__PART_FILE:
        use_media(t, p);
        break;
    default:
        use(t, METALLM__FEATURE_REASONING_HISTORY, p->kind == METALLM__PART_REASONING);
        use(t, METALLM__FEATURE_REFUSAL_HISTORY, p->kind == METALLM__PART_REFUSAL);
    }
}

static void use_turns(struct metallm__talk *t)
{
    bool is_begun = false;
    for (size_t i = 0; i < t->turn_count; i++) {
        const struct metallm__turn *turn = &t->turns[i];
        use(t, METALLM__FEATURE_SYSTEM_LATE, is_begun && turn->role == METALLM__ROLE_SYSTEM);
        use(t, METALLM__FEATURE_TURN_NAMES, turn->name.n > 0);
        is_begun |= turn->role != METALLM__ROLE_SYSTEM;
        for (size_t k = 0; k < turn->part_count; k++)
            use_part(t, &turn->parts[k]);
    }
    use(t, METALLM__FEATURE_PREFILL,
        t->turn_count > 0 && t->turns[t->turn_count - 1].role == METALLM__ROLE_ASSISTANT);
}

static void use_tools(struct metallm__talk *t)
{
    use(t, METALLM__FEATURE_TOOLS, t->tool_count > 0);
    use(t, METALLM__FEATURE_PARALLEL_TOOLS_OFF, t->is_parallel == 0 && t->tool_count > 0);
    use(t, METALLM__FEATURE_TOOL_CHOICE_NONE, t->tool_choice == METALLM__TOOL_CHOICE_NONE);
    use(t, METALLM__FEATURE_TOOL_CHOICE_ANY, t->tool_choice == METALLM__TOOL_CHOICE_ANY);
    use(t, METALLM__FEATURE_TOOL_CHOICE_NAMED, t->tool_choice == METALLM__TOOL_CHOICE_NAMED);
    for (size_t i = 0; i < t->tool_count; i++) {
        use(t, METALLM__FEATURE_STRICT_TOOLS, t->tools[i].is_strict > 0);
        use(t, METALLM__FEATURE_CACHE_MARKS, t->tools[i].cache != METALLM__CACHE_NONE);
    }
}

static void use_options(struct metallm__talk *t)
{
    use(t, METALLM__FEATURE_TEMPERATURE, !isnan(t->temperature));
    use(t, METALLM__FEATURE_TOP_P, !isnan(t->top_p));
    use(t, METALLM__FEATURE_TOP_K, t->top_k > 0);
    use(t, METALLM__FEATURE_STOP, t->stop_count > 0);
    use(t, METALLM__FEATURE_SEED, t->has_seed);
    use(t, METALLM__FEATURE_FREQUENCY_PENALTY, fabs(t->frequency_penalty) > 0);
    use(t, METALLM__FEATURE_PRESENCE_PENALTY, fabs(t->presence_penalty) > 0);
    use(t, METALLM__FEATURE_LOGPROBS, t->wants_logprobs);
    use(t, METALLM__FEATURE_JSON, t->format == METALLM__FORMAT_JSON);
    use(t, METALLM__FEATURE_JSON_SCHEMA, t->format == METALLM__FORMAT_SCHEMA);
    use(t, METALLM__FEATURE_REASONING_EFFORT, t->effort != METALLM__EFFORT_UNSAID);
    use(t, METALLM__FEATURE_REASONING_BUDGET, t->reasoning_tokens > 0);
    use(t, METALLM__FEATURE_USER, t->user.n > 0);
    use(t, METALLM__FEATURE_METADATA, t->metadata.n > 0);
    use(t, METALLM__FEATURE_VERBOSITY, t->verbosity.n > 0);
    use(t, METALLM__FEATURE_SERVICE_TIER,
        t->service_tier.n > 0 && !metallm__span_is(t->service_tier, "auto"));
}

/* ---- Results get the names of their tools. ---- */

/* A call as it stands among all parts; ids may come again in later turns. */
struct call {
    struct metallm__span id, name;
    size_t at;
};

static int by_id(const void *a, const void *b)
{
    const struct call *x = a, *y = b;
    size_t n = x->id.n < y->id.n ? x->id.n : y->id.n;
    int order = n > 0 ? memcmp(x->id.p, y->id.p, n) : 0;
    if (order == 0)
        order = (x->id.n > y->id.n) - (x->id.n < y->id.n);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* The last call with this id before `at`; empty: none. calls is sorted. */
static struct metallm__span name_before(const struct call *calls, size_t count,
                                        struct metallm__span id, size_t at)
{
    const struct call key = {.id = id, .at = at};
    size_t low = 0, high = count; /* the first that is not before key */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (by_id(&calls[mid], &key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || !metallm__span_eq(calls[low - 1].id, id))
        return (struct metallm__span){NULL, 0};
    return calls[low - 1].name;
}

static size_t gather_calls(const struct metallm__talk *t, struct call *out, size_t *nameless)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < t->turn_count; i++)
        for (size_t k = 0; k < t->turns[i].part_count; k++, at++) {
            const struct metallm__part *p = &t->turns[i].parts[k];
            *nameless += p->kind == METALLM__PART_RESULT && p->name.n == 0;
            if (p->kind != METALLM__PART_CALL)
                continue;
            if (out != NULL)
                out[count] = (struct call){p->id, p->name, at};
            count++;
        }
    return count;
}

/* The parts lie in the pool, which is ours to write: only the record calls them const. */
static int name_results(struct metallm__talk *t, struct metallm__pool *pool, metallm_error *err)
{
    size_t nameless = 0, count = gather_calls(t, NULL, &nameless), at = 0;
    if (count == 0 || nameless == 0)
        return METALLM_OK;
    struct call *calls = metallm__pool_take(pool, count, sizeof *calls);
    if (calls == NULL)
        return metallm__pool_check(pool, err);
    gather_calls(t, calls, &nameless);
    qsort(calls, count, sizeof *calls, by_id);
    for (size_t i = 0; i < t->turn_count; i++)
        for (size_t k = 0; k < t->turns[i].part_count; k++, at++) {
            struct metallm__part *p = (struct metallm__part *)(uintptr_t)&t->turns[i].parts[k];
            if (p->kind == METALLM__PART_RESULT && p->name.n == 0)
                p->name = name_before(calls, count, p->id, at);
        }
    return METALLM_OK;
}

int metallm__talk_settle(struct metallm__talk *t, struct metallm__pool *pool, metallm_error *err)
{
    int rc = metallm__pool_check(pool, err);
    if (rc != METALLM_OK)
        return rc;
    use_options(t);
    use_tools(t);
    use_turns(t);
    return name_results(t, pool, err);
}

/* ---- Efforts. ---- */

#define BUDGET_LOW    2048u
#define BUDGET_MEDIUM 8192u

static const char *const effort_names[] = {NULL,     "none", "minimal", "low",
                                           "medium", "high", "xhigh",   "max"};
#define EFFORT_COUNT (sizeof effort_names / sizeof *effort_names)

const char *metallm__effort_name(enum metallm__effort effort)
{
    return effort_names[effort];
}

enum metallm__effort metallm__effort_find(struct metallm__span name)
{
    for (size_t i = 1; i < EFFORT_COUNT; i++)
        if (metallm__span_is(name, effort_names[i]))
            return (enum metallm__effort)i;
    return METALLM__EFFORT_UNSAID;
}

enum metallm__effort metallm__effort_of_budget(uint32_t tokens)
{
    if (tokens == 0)
        return METALLM__EFFORT_UNSAID;
    return tokens <= BUDGET_LOW      ? METALLM__EFFORT_LOW
           : tokens <= BUDGET_MEDIUM ? METALLM__EFFORT_MEDIUM
                                     : METALLM__EFFORT_HIGH;
}
