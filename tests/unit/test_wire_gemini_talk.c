/* SPDX-License-Identifier: Apache-2.0
 * Conversations made at random, told to Gemini and read there by a reader of its own: they mean the
 * same. */
#include <stdlib.h>

#include "support/cmocka_all.h"
#include "support/wire_random.h"
#include "wire/talk_read.h"

#define POOL_BYTES ((size_t)16 << 20)
#define SEEDS      10000
#define W          (&metallm__wire_gemini)

static const struct metallm__wire_target target = {.model = METALLM__SPAN("gemini-3-pro")};

/* What comes back as something else is made by the tables in test_wire_gemini.c: refusals are told
 * as texts, documents without their names, and one strict tool makes all strict. */
static struct wire_random random_of(uint64_t seed)
{
    const uint64_t changed = 1ull << METALLM__FEATURE_FILES |
                             1ull << METALLM__FEATURE_STRICT_TOOLS |
                             1ull << METALLM__FEATURE_REFUSAL_HISTORY;
    struct wire_random r = {.temperature_max = 2,
                            .stops_max = 5,
                            .seal_of = "gemini",
                            .has_no_refusals = true,
                            .has_no_format_name = true};
    metallm_rng_seed(&r.rng, seed);
    metallm__pool_init(&r.pool, POOL_BYTES);
    for (unsigned f = 0; f < METALLM__FEATURES; f++)
        if (W->verdicts[f] == METALLM__VERDICT_CARRIED)
            r.allowed |= 1ull << f;
    r.allowed &= ~changed;
    return r;
}

/* ---- Gemini's reading of a body. ---- */

static struct metallm__span text_of(yyjson_val *v, const char *name)
{
    return metallm__wire_text(yyjson_obj_get(v, name));
}

static void read_media(struct metallm__part_list *l, yyjson_val *v)
{
    yyjson_val *inside = yyjson_obj_get(v, "inlineData"), *file = yyjson_obj_get(v, "fileData");
    struct metallm__span media = text_of(inside, "mimeType");
    bool is_audio = media.n > 6 && memcmp(media.p, "audio/", 6) == 0;
    struct metallm__part *p =
        metallm__part_add(l, is_audio ? METALLM__PART_AUDIO : METALLM__PART_IMAGE);
    p->media = media; /* that of an address was made from its name */
    p->data = text_of(inside, "data");
    p->url = text_of(file, "fileUri");
}

static void add_text(struct metallm__part_list *l, yyjson_val *v)
{
    metallm__part_add(l, METALLM__PART_TEXT)->text = metallm__wire_text(v);
}

static void read_result(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part_list inner = {.pool = l->pool};
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_RESULT);
    yyjson_val *response = yyjson_obj_get(v, "response"),
               *error = yyjson_obj_get(response, "error");
    yyjson_val *told = error != NULL ? error : yyjson_obj_get(response, "output"), *item;
    p->id = text_of(v, "id");
    p->name = text_of(v, "name");
    p->is_error = error != NULL;
    if (yyjson_is_str(told))
        add_text(&inner, told);
    yyjson_arr_iter i = yyjson_arr_iter_with(told);
    while ((item = yyjson_arr_iter_next(&i)) != NULL)
        add_text(&inner, item);
    i = yyjson_arr_iter_with(yyjson_obj_get(v, "parts"));
    while ((item = yyjson_arr_iter_next(&i)) != NULL)
        read_media(&inner, item);
    p->parts = inner.items;
    p->part_count = inner.count;
}

static void read_call(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__part *p = metallm__part_add(l, METALLM__PART_CALL);
    p->id = text_of(v, "id");
    p->name = text_of(v, "name");
    p->text = metallm__json_kept(l->pool, yyjson_obj_get(v, "args"));
}

static void read_part(struct metallm__part_list *l, yyjson_val *v)
{
    struct metallm__span seal = text_of(v, "thoughtSignature");
    bool is_thought = yyjson_is_true(yyjson_obj_get(v, "thought"));
    if (metallm__span_is(seal, "skip_thought_signature_validator")) /* another LLM's call */
        seal = metallm__span(NULL, 0);
    if (is_thought || seal.n > 0) {
        struct metallm__part *p = metallm__part_add(l, METALLM__PART_REASONING);
        p->text = is_thought ? text_of(v, "text") : metallm__span(NULL, 0);
        p->seal = seal;
        p->seal_of = metallm__span_of("gemini");
    }
    if (is_thought)
        return;
    if (yyjson_obj_get(v, "functionCall") != NULL)
        read_call(l, yyjson_obj_get(v, "functionCall"));
    else if (yyjson_obj_get(v, "functionResponse") != NULL)
        read_result(l, yyjson_obj_get(v, "functionResponse"));
    else if (yyjson_obj_get(v, "text") != NULL)
        add_text(l, yyjson_obj_get(v, "text"));
    else
        read_media(l, v);
}

static void read_content(struct metallm__turn_list *turns, yyjson_val *content,
                         enum metallm__role role)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(content, "parts"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;)
        read_part(metallm__turn_parts(turns, role), v);
}

static void read_turns(struct metallm__pool *pool, yyjson_val *root, struct metallm__talk *t)
{
    struct metallm__turn_list turns = {.pool = pool};
    read_content(&turns, yyjson_obj_get(root, "systemInstruction"), METALLM__ROLE_SYSTEM);
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(root, "contents"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;)
        read_content(&turns, v,
                     yyjson_equals_str(yyjson_obj_get(v, "role"), "user")
                         ? METALLM__ROLE_USER
                         : METALLM__ROLE_ASSISTANT);
    metallm__turn_end(&turns);
    t->turns = turns.items;
    t->turn_count = turns.count;
}

static void read_tools(struct metallm__pool *pool, yyjson_val *root, struct metallm__talk *t)
{
    yyjson_val *list =
        yyjson_obj_get(yyjson_arr_get_first(yyjson_obj_get(root, "tools")), "functionDeclarations");
    yyjson_val *how = yyjson_obj_get(yyjson_obj_get(root, "toolConfig"), "functionCallingConfig");
    yyjson_val *mode = yyjson_obj_get(how, "mode");
    yyjson_val *only = yyjson_arr_get_first(yyjson_obj_get(how, "allowedFunctionNames"));
    struct metallm__tool *tools = metallm__pool_take(pool, yyjson_arr_size(list), sizeof *tools);
    yyjson_arr_iter i = yyjson_arr_iter_with(list);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;)
        tools[t->tool_count++] = (struct metallm__tool){
            .name = text_of(v, "name"),
            .description = text_of(v, "description"),
            .schema = metallm__json_kept(pool, yyjson_obj_get(v, "parametersJsonSchema")),
            .is_strict = -1};
    t->tools = tools;
    t->tool_name = metallm__wire_text(only);
    t->tool_choice = only != NULL                      ? METALLM__TOOL_CHOICE_NAMED
                     : yyjson_equals_str(mode, "ANY")  ? METALLM__TOOL_CHOICE_ANY
                     : yyjson_equals_str(mode, "NONE") ? METALLM__TOOL_CHOICE_NONE
                     : yyjson_equals_str(mode, "AUTO") ? METALLM__TOOL_CHOICE_AUTO
                                                       : METALLM__TOOL_CHOICE_UNSAID;
}

static uint32_t count_of(yyjson_val *v, const char *name)
{
    uint64_t count = 0;
    (void)metallm__json_count(yyjson_obj_get(v, name), UINT32_MAX, &count);
    return (uint32_t)count;
}

static void read_thinking(yyjson_val *v, struct metallm__talk *t)
{
    yyjson_val *level = yyjson_obj_get(v, "thinkingLevel");
    t->reasoning_tokens = count_of(v, "thinkingBudget");
    t->wants_reasoning_summary = yyjson_is_true(yyjson_obj_get(v, "includeThoughts"));
    t->effort = yyjson_equals_str(level, "LOW")      ? METALLM__EFFORT_LOW
                : yyjson_equals_str(level, "MEDIUM") ? METALLM__EFFORT_MEDIUM
                : yyjson_equals_str(level, "HIGH")   ? METALLM__EFFORT_HIGH
                                                     : METALLM__EFFORT_UNSAID;
}

static void read_options(struct metallm__pool *pool, yyjson_val *v, struct metallm__talk *t)
{
    yyjson_val *seed = yyjson_obj_get(v, "seed"), *list = yyjson_obj_get(v, "stopSequences");
    yyjson_val *schema = yyjson_obj_get(v, "responseJsonSchema");
    struct metallm__span *stops = metallm__pool_take(pool, yyjson_arr_size(list), sizeof *stops);
    t->max_tokens = count_of(v, "maxOutputTokens");
    t->top_k = count_of(v, "topK");
    (void)metallm__json_real(yyjson_obj_get(v, "temperature"), &t->temperature);
    (void)metallm__json_real(yyjson_obj_get(v, "topP"), &t->top_p);
    (void)metallm__json_real(yyjson_obj_get(v, "frequencyPenalty"), &t->frequency_penalty);
    (void)metallm__json_real(yyjson_obj_get(v, "presencePenalty"), &t->presence_penalty);
    t->has_seed = seed != NULL;
    t->seed = seed != NULL ? strtoll(yyjson_get_raw(seed), NULL, 10) : 0;
    t->wants_logprobs = yyjson_is_true(yyjson_obj_get(v, "responseLogprobs"));
    t->top_logprobs = count_of(v, "logprobs");
    yyjson_arr_iter i = yyjson_arr_iter_with(list);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        stops[t->stop_count++] = metallm__wire_text(item);
    t->stops = stops;
    if (yyjson_obj_get(v, "responseMimeType") != NULL)
        t->format = schema != NULL ? METALLM__FORMAT_SCHEMA : METALLM__FORMAT_JSON;
    t->schema = metallm__json_kept(pool, schema);
    t->is_format_strict = schema != NULL ? 1 : -1; /* all are kept to */
    read_thinking(yyjson_obj_get(v, "thinkingConfig"), t);
}

/* ---- There, and read there. ---- */

static const char *there(const struct metallm__talk *talk, struct metallm__wire_out *out,
                         struct metallm__pool *pool, yyjson_doc **doc, struct metallm__talk *back)
{
    static metallm_error err;
    if (W->talk_out(talk, &target, out, &err) != METALLM_OK)
        return err.message;
    *doc = yyjson_read_opts(out->made.data, out->made.len, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    if (*doc == NULL)
        return "no JSON";
    yyjson_val *root = yyjson_doc_get_root(*doc);
    metallm__talk_clear(back);
    read_turns(pool, root, back);
    read_tools(pool, root, back);
    read_options(pool, yyjson_obj_get(root, "generationConfig"), back);
    if (metallm__talk_settle(back, pool, &err) != METALLM_OK)
        return err.message;
    return out->dropped == 0 ? talk_difference(talk, back) : "something was dropped";
}

static void talks_keep_their_meaning(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct wire_random r = random_of(seed);
        struct metallm__talk talk, back;
        struct metallm__wire_out out = {.is_translated = true};
        yyjson_doc *doc = NULL;
        metallm__buf_init(&out.made, POOL_BYTES);
        metallm__buf_init(&out.path_made, 4096);
        random_talk(&r, &talk);
        if (talk.reasoning_tokens > 0) { /* a budget says more, and both at once are refused */
            talk.effort = METALLM__EFFORT_UNSAID;
            talk.features &= ~(1ull << METALLM__FEATURE_REASONING_EFFORT);
        }
        const char *why = there(&talk, &out, &r.pool, &doc, &back);
        if (why[0] != '\0')
            fail_msg("seed %llu: %s\n%s", (unsigned long long)seed, why,
                     out.made.data != NULL ? out.made.data : "");
        yyjson_doc_free(doc);
        metallm__wire_out_fini(&out);
        metallm__pool_fini(&r.pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_keep_their_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
