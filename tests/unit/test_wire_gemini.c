/* SPDX-License-Identifier: Apache-2.0
 * Talks as requests to Gemini's generateContent, its errors and its embeddings. Shapes are those of
 * Google's SDK (google-genai, types.py). */
#include <string.h>

#include "base/json.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

#define S(text) METALLM__SPAN(text)
#define W       (&metallm__wire_gemini)
#define OWN     S("gemini")

/* ---- Requests. ---- */

static const struct metallm__part hello[] = {{.text = S("Say \"hi\"")}};
static const struct metallm__part system_parts[] = {{.text = S("Be brief.")}, {.text = S("")}};
static const struct metallm__part calls[] = {
    {.kind = METALLM__PART_TEXT, .text = S("Two calls.")},
    {.kind = METALLM__PART_REASONING, .seal = S("c2VhbA=="), .seal_of = OWN},
    {.kind = METALLM__PART_CALL, .id = S("c1"), .name = S("add"), .text = S("{\"a\":1.50}")},
    {.kind = METALLM__PART_CALL, .id = S("c2"), .name = S("now"), .text = S("")},
};
static const struct metallm__part foreign_calls[] = {
    {.kind = METALLM__PART_REASONING,
     .text = S("secret"),
     .seal = S("x"),
     .seal_of = S("anthropic")},
    {.kind = METALLM__PART_CALL, .id = S("c1"), .name = S("add"), .text = S("{}")},
    {.kind = METALLM__PART_CALL, .id = S("c2"), .name = S("add"), .text = S("{}")},
};
static const struct metallm__part thoughts[] = {
    {.kind = METALLM__PART_REASONING, .text = S("Hm."), .seal = S("c2Vh"), .seal_of = OWN},
    {.kind = METALLM__PART_REFUSAL, .text = S("No.")},
    {.kind = METALLM__PART_REASONING, .seal = S("bGF0ZQ=="), .seal_of = OWN},
};
static const struct metallm__part one[] = {{.text = S("3")}};
static const struct metallm__part two[] = {
    {.text = S("a")},
    {.text = S("b")},
    {.kind = METALLM__PART_IMAGE, .media = S("image/png"), .data = S("AAAA")},
};
static const struct metallm__part results[] = {
    {.text = S("And then?")},
    {.kind = METALLM__PART_RESULT,
     .id = S("c1"),
     .name = S("add"),
     .parts = one,
     .part_count = 1,
     .is_error = true},
    {.kind = METALLM__PART_RESULT, .id = S("c2"), .name = S("now"), .parts = two, .part_count = 3},
    {.kind = METALLM__PART_RESULT, .id = S("c3"), .name = S("off")},
};
static const struct metallm__part nameless[] = {{.kind = METALLM__PART_RESULT, .id = S("c9")}};
static const struct metallm__part media[] = {
    {.kind = METALLM__PART_IMAGE, .url = S("https://x.example/a.JPG?b=1")},
    {.kind = METALLM__PART_FILE, .url = S("https://x.example/a")},
    {.kind = METALLM__PART_AUDIO, .media = S("audio/mpeg"), .data = S("AAAA")},
    {.kind = METALLM__PART_FILE, .media = S("application/pdf"), .data = S("BBBB"), .name = S("n")},
};
static const struct metallm__part untyped[] = {{.kind = METALLM__PART_FILE, .data = S("AAAA")}};
static const struct metallm__part uploaded[] = {{.kind = METALLM__PART_FILE, .file_id = S("f")}};

#define TURN(who, list)                                                                            \
    {                                                                                              \
        .role = METALLM__ROLE_##who, .parts = (list),                                              \
        .part_count = sizeof(list) / sizeof((list)[0])                                             \
    }
static const struct metallm__turn hello_turns[] = {TURN(SYSTEM, system_parts), TURN(USER, hello)};
static const struct metallm__turn call_turns[] = {TURN(USER, hello), TURN(ASSISTANT, calls),
                                                  TURN(USER, results), TURN(USER, hello)};
static const struct metallm__turn foreign_turns[] = {TURN(USER, hello),
                                                     TURN(ASSISTANT, foreign_calls)};
static const struct metallm__turn thought_turns[] = {TURN(USER, hello), TURN(ASSISTANT, thoughts)};
static const struct metallm__turn nameless_turns[] = {TURN(USER, nameless)};
static const struct metallm__turn media_turns[] = {TURN(USER, media)};
static const struct metallm__turn untyped_turns[] = {TURN(USER, untyped)};
static const struct metallm__turn uploaded_turns[] = {TURN(USER, uploaded)};

static const struct metallm__span stops[] = {S("a"), S("b"), S("c"), S("d"), S("e"), S("f")};
static const struct metallm__tool tools[] = {
    {.name = S("add"),
     .description = S("adds"),
     .schema = S("{\"type\":\"object\"}"),
     .is_strict = -1},
    {.name = S("now"), .is_strict = 1},
};

static void set_tools(struct metallm__talk *t, size_t count, enum metallm__tool_choice choice)
{
    t->tools = tools;
    t->tool_count = count;
    t->tool_choice = choice;
}
static void choose_auto(struct metallm__talk *t)
{
    set_tools(t, 1, METALLM__TOOL_CHOICE_AUTO);
}
static void choose_nothing(struct metallm__talk *t)
{
    set_tools(t, 1, METALLM__TOOL_CHOICE_UNSAID);
}
static void choose_strictly(struct metallm__talk *t)
{
    set_tools(t, 2, METALLM__TOOL_CHOICE_UNSAID);
}
static void choose_none(struct metallm__talk *t)
{
    set_tools(t, 1, METALLM__TOOL_CHOICE_NONE);
}
static void choose_any(struct metallm__talk *t)
{
    set_tools(t, 1, METALLM__TOOL_CHOICE_ANY);
}
static void choose_named(struct metallm__talk *t)
{
    set_tools(t, 2, METALLM__TOOL_CHOICE_NAMED);
    t->tool_name = tools[0].name;
}
static void sample(struct metallm__talk *t)
{
    t->temperature = 1.5;
    t->top_p = 0.25;
    t->top_k = 40;
    t->frequency_penalty = -0.5;
    t->presence_penalty = 2;
    t->max_tokens = 100;
    t->has_seed = true;
    t->seed = -7;
    t->stops = stops;
    t->stop_count = 2;
}
static void ask_schema(struct metallm__talk *t)
{
    t->format = METALLM__FORMAT_SCHEMA;
    t->schema = (struct metallm__span)S("{\"type\":\"object\"}");
}
static void ask_json(struct metallm__talk *t)
{
    t->format = METALLM__FORMAT_JSON;
}
static void ask_logprobs(struct metallm__talk *t)
{
    t->wants_logprobs = true;
    t->top_logprobs = 3;
}
static void stream_logprobs(struct metallm__talk *t)
{
    t->wants_logprobs = t->is_stream = true;
}
static void think_low(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_LOW;
    t->wants_reasoning_summary = true;
}
static void think_none(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_NONE;
}
static void think_budget(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_HIGH;
    t->reasoning_tokens = 2000;
}
static void stream(struct metallm__talk *t)
{
    t->is_stream = true;
}
static void six_stops(struct metallm__talk *t)
{
    t->stops = stops;
    t->stop_count = 6;
}
static void hot(struct metallm__talk *t)
{
    t->temperature = 2.5;
}
static void large_seed(struct metallm__talk *t)
{
    t->has_seed = true;
    t->seed = 1ll << 40;
}

#define SAY         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Say \\\"hi\\\"\"}]}"
#define SYSTEM      "\"systemInstruction\":{\"parts\":[{\"text\":\"Be brief.\"}]},"
#define TURNS(list) (list), sizeof(list) / sizeof((list)[0])
#define FLASH       "gemini-2.5-flash"
#define PRO         "gemini-3.1-pro-preview"
#define ADD                                                                                        \
    "{\"name\":\"add\",\"description\":\"adds\",\"parametersJsonSchema\":{\"type\":\"object\"}}"
#define TOOLS_ADD "\"tools\":[{\"functionDeclarations\":[" ADD "]}],"
#define MODE(m)   "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"" m "\"}},"
#define CONFIG    "\"generationConfig\":{"

static const struct row {
    const char *model;
    const struct metallm__turn *turns;
    size_t turn_count;
    void (*set)(struct metallm__talk *t);
    const char *path, *body; /* body: or what the error says */
    uint64_t dropped;
} rows[] = {
    {FLASH, TURNS(hello_turns), NULL, "/models/gemini-2.5-flash:generateContent",
     SAY "]," SYSTEM CONFIG "}}", 0},
    {"models/gemini-2.5-flash", TURNS(hello_turns), stream,
     "/models/gemini-2.5-flash:streamGenerateContent?alt=sse", SAY "]," SYSTEM CONFIG "}}", 0},
    {"tunedModels/my model", TURNS(hello_turns), NULL, "/tunedModels/my%20model:generateContent",
     SAY "]," SYSTEM CONFIG "}}", 0},
    {PRO, TURNS(call_turns), choose_auto, NULL,
     SAY ",{\"role\":\"model\",\"parts\":[{\"text\":\"Two calls.\"},"
         "{\"functionCall\":{\"id\":\"c1\",\"name\":\"add\",\"args\":{\"a\":1.50}},"
         "\"thoughtSignature\":\"c2VhbA==\"},"
         "{\"functionCall\":{\"id\":\"c2\",\"name\":\"now\",\"args\":{}}}]},"
         "{\"role\":\"user\",\"parts\":["
         "{\"functionResponse\":{\"id\":\"c1\",\"name\":\"add\",\"response\":{\"error\":\"3\"}}},"
         "{\"functionResponse\":{\"id\":\"c2\",\"name\":\"now\","
         "\"response\":{\"output\":[\"a\",\"b\"]},"
         "\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}]}},"
         "{\"functionResponse\":{\"id\":\"c3\",\"name\":\"off\",\"response\":{\"output\":[]}}}]},"
         "{\"role\":\"user\",\"parts\":[{\"text\":\"And then?\"},{\"text\":\"Say "
         "\\\"hi\\\"\"}]}]," TOOLS_ADD MODE("AUTO") CONFIG "}}",
     0},
    {PRO, TURNS(foreign_turns), NULL, NULL,
     SAY ",{\"role\":\"model\",\"parts\":["
         "{\"functionCall\":{\"id\":\"c1\",\"name\":\"add\",\"args\":{}},"
         "\"thoughtSignature\":\"skip_thought_signature_validator\"},"
         "{\"functionCall\":{\"id\":\"c2\",\"name\":\"add\",\"args\":{}}}]}]," CONFIG "}}",
     1ull << METALLM__FEATURE_REASONING_HISTORY},
    {FLASH, TURNS(foreign_turns), NULL, NULL,
     SAY ",{\"role\":\"model\",\"parts\":["
         "{\"functionCall\":{\"id\":\"c1\",\"name\":\"add\",\"args\":{}}},"
         "{\"functionCall\":{\"id\":\"c2\",\"name\":\"add\",\"args\":{}}}]}]," CONFIG "}}",
     1ull << METALLM__FEATURE_REASONING_HISTORY},
    {PRO, TURNS(thought_turns), NULL, NULL,
     SAY ",{\"role\":\"model\",\"parts\":["
         "{\"thought\":true,\"text\":\"Hm.\",\"thoughtSignature\":\"c2Vh\"},"
         "{\"text\":\"No.\"},{\"text\":\"\",\"thoughtSignature\":\"bGF0ZQ==\"}]}]," CONFIG "}}",
     0},
    {FLASH, TURNS(media_turns), NULL, NULL,
     "{\"contents\":[{\"role\":\"user\",\"parts\":["
     "{\"fileData\":{\"mimeType\":\"image/jpeg\",\"fileUri\":\"https://x.example/a.JPG?b=1\"}},"
     "{\"fileData\":{\"fileUri\":\"https://x.example/a\"}},"
     "{\"inlineData\":{\"mimeType\":\"audio/mp3\",\"data\":\"AAAA\"}},"
     "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"BBBB\"}}]}]," CONFIG "}}",
     0},
    {FLASH, TURNS(hello_turns), sample, NULL,
     SAY "]," SYSTEM CONFIG "\"maxOutputTokens\":100,\"temperature\":1.5,\"topP\":0.25,\"topK\":40,"
         "\"frequencyPenalty\":-0.5,\"presencePenalty\":2,\"stopSequences\":[\"a\",\"b\"],"
         "\"seed\":-7}}",
     0},
    {FLASH, TURNS(hello_turns), choose_nothing, NULL, SAY "]," SYSTEM TOOLS_ADD CONFIG "}}", 0},
    {FLASH, TURNS(hello_turns), choose_none, NULL,
     SAY "]," SYSTEM TOOLS_ADD MODE("NONE") CONFIG "}}", 0},
    {FLASH, TURNS(hello_turns), choose_any, NULL, SAY "]," SYSTEM TOOLS_ADD MODE("ANY") CONFIG "}}",
     0},
    {FLASH, TURNS(hello_turns), choose_strictly, NULL,
     SAY "]," SYSTEM "\"tools\":[{\"functionDeclarations\":[" ADD
         ",{\"name\":\"now\"}]}]," MODE("VALIDATED") CONFIG "}}",
     0},
    {FLASH, TURNS(hello_turns), choose_named, NULL,
     SAY "]," SYSTEM "\"tools\":[{\"functionDeclarations\":[" ADD ",{\"name\":\"now\"}]}],"
         "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\","
         "\"allowedFunctionNames\":[\"add\"]}}," CONFIG "}}",
     0},
    {FLASH, TURNS(hello_turns), ask_json, NULL,
     SAY "]," SYSTEM CONFIG "\"responseMimeType\":\"application/json\"}}", 0},
    {FLASH, TURNS(hello_turns), ask_schema, NULL,
     SAY "]," SYSTEM CONFIG "\"responseMimeType\":\"application/json\","
         "\"responseJsonSchema\":{\"type\":\"object\"}}}",
     0},
    {FLASH, TURNS(hello_turns), ask_logprobs, NULL,
     SAY "]," SYSTEM CONFIG "\"responseLogprobs\":true,\"logprobs\":3}}", 0},
    {FLASH, TURNS(hello_turns), think_low, NULL,
     SAY "]," SYSTEM CONFIG
         "\"thinkingConfig\":{\"thinkingBudget\":1024,\"includeThoughts\":true}}}",
     0},
    {PRO, TURNS(hello_turns), think_low, NULL,
     SAY "]," SYSTEM CONFIG
         "\"thinkingConfig\":{\"thinkingLevel\":\"LOW\",\"includeThoughts\":true}}}",
     0},
    {"gemini-flash-latest", TURNS(hello_turns), think_budget, NULL,
     SAY "]," SYSTEM CONFIG "\"thinkingConfig\":{\"thinkingBudget\":2000}}}", 0},
    {FLASH, TURNS(hello_turns), think_none, NULL,
     SAY "]," SYSTEM CONFIG "\"thinkingConfig\":{\"thinkingBudget\":0}}}", 0},
    /* What cannot be said. */
    {PRO, TURNS(hello_turns), think_none, NULL, "reasoning cannot be turned off", 0},
    {FLASH, TURNS(hello_turns), six_stops, NULL, "at most 5 stop sequences", 0},
    {FLASH, TURNS(hello_turns), hot, NULL, "'temperature' of 0 to 2, not 2.5", 0},
    {FLASH, TURNS(hello_turns), large_seed, NULL, "'seed' of 32 bits", 0},
    {FLASH, TURNS(hello_turns), stream_logprobs, NULL, "cannot be streamed", 0},
    {FLASH, TURNS(nameless_turns), NULL, NULL, "answers no call", 0},
    {FLASH, TURNS(untyped_turns), NULL, NULL, "media type", 0},
    {FLASH, TURNS(uploaded_turns), NULL, NULL, "uploaded elsewhere", 0},
    {FLASH, NULL, 0, NULL, NULL, "must be given a text", 0},
};

static int say(const struct row *r, struct metallm__wire_out *out, metallm_error *err)
{
    const struct metallm__wire_target target = {.model = metallm__span_of(r->model)};
    struct metallm__talk talk;
    metallm__talk_clear(&talk);
    talk.turns = r->turns;
    talk.turn_count = r->turn_count;
    if (r->set != NULL)
        r->set(&talk);
    *out = (struct metallm__wire_out){0};
    metallm__buf_init(&out->made, 1u << 20);
    metallm__buf_init(&out->path_made, 1u << 12);
    return W->talk_out(&talk, &target, out, err);
}

static void a_talk_is_said_as_the_table_tells(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_out out;
        metallm_error err = {0};
        int rc = say(&rows[i], &out, &err);
        if (rows[i].body[0] != '{') {
            assert_int_equal(rc, METALLM_EINVAL);
            assert_non_null(strstr(err.message, rows[i].body));
        } else {
            assert_int_equal(rc, METALLM_OK);
            assert_string_equal(out.made.data, rows[i].body);
            assert_true(out.dropped == rows[i].dropped);
            yyjson_doc *doc = NULL;
            assert_int_equal(metallm__json_read(&doc, out.made.data, out.made.len, NULL),
                             METALLM_OK);
            yyjson_doc_free(doc);
        }
        if (rows[i].path != NULL)
            assert_true(metallm__span_is(out.path, rows[i].path));
        metallm__wire_out_fini(&out);
    }
}

static int say_again(void *payload)
{
    struct metallm__wire_out out;
    int rc = say(payload, &out, NULL);
    metallm__wire_out_fini(&out);
    return rc;
}

static void a_talk_out_of_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(say_again, (void *)(uintptr_t)&rows[3]) >= 2);
}

/* ---- Errors, keys, embeddings. ---- */

static void an_error_tells_its_reason_and_when_to_come_again(void **state)
{
    static const struct {
        const char *body, *message, *type, *code;
        unsigned retry_after_ms;
    } errors[] = {
        {"{\"error\":{\"code\":429,\"message\":\"Too much.\",\"status\":\"RESOURCE_EXHAUSTED\","
         "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\"},"
         "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"46.25s\"}]}}",
         "Too much.", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", 46250},
        {"[{\"error\":{\"code\":400,\"message\":\"No key.\",\"status\":\"INVALID_ARGUMENT\","
         "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
         "\"reason\":\"API_KEY_INVALID\"}]}}]",
         "No key.", "INVALID_ARGUMENT", "API_KEY_INVALID", 0},
        {"{\"error\":{\"message\":7,\"details\":[{\"retryDelay\":\"soon\"},3]}}", "", "", "", 0},
        {"nothing", "", "", "", 0},
        {"", "", "", "", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct metallm__wire_error e;
        W->error_in(metallm__span_of(errors[i].body), &e);
        assert_string_equal(e.message, errors[i].message);
        assert_string_equal(e.type, errors[i].type);
        assert_string_equal(e.code, errors[i].code);
        assert_int_equal(e.retry_after_ms, errors[i].retry_after_ms);
    }
}

static void the_key_stands_in_its_own_header(void **state)
{
    struct metallm__wire_target t = {.key = S("secret")};
    struct metallm__buf lines;
    (void)state;
    metallm__buf_init(&lines, 1000);
    assert_int_equal(W->head_out(&t, NULL, 0, &lines, NULL), METALLM_OK);
    assert_string_equal(lines.data, "x-goog-api-key: secret\r\n");
    metallm__buf_clear(&lines);
    t.key.n = 0;
    assert_int_equal(W->head_out(&t, NULL, 0, &lines, NULL), METALLM_OK);
    assert_int_equal(lines.len, 0);
    metallm__buf_fini(&lines);
}

#define VECTORS                                                                                    \
    "{\"embeddings\":[{\"values\":[1,-0.50]},{\"values\":[0,2.5e-1]}],"                            \
    "\"usageMetadata\":{\"promptTokenCount\":6}}"

static const struct {
    const char *body, *out, *answer, *made; /* out: or what the error says */
} embeddings[] = {
    {"{\"model\":\"e\",\"input\":[\"a\",\"b\"],\"dimensions\":2,\"user\":\"u\"}",
     "{\"requests\":[{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":"
     "[{\"text\":\"a\"}]},\"outputDimensionality\":2},{\"model\":\"models/gemini-embedding-001\","
     "\"content\":{\"parts\":[{\"text\":\"b\"}]},\"outputDimensionality\":2}]}",
     VECTORS,
     "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
     "[1,-0.50]},{\"object\":\"embedding\",\"index\":1,\"embedding\":[0,2.5e-1]}],"
     "\"model\":\"e\",\"usage\":{\"prompt_tokens\":6,\"total_tokens\":6}}"},
    {"{\"model\":\"e\",\"input\":\"abcd\",\"encoding_format\":\"base64\"}",
     "{\"requests\":[{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":"
     "[{\"text\":\"abcd\"}]}}]}",
     "{\"embeddings\":[{\"values\":[1,-0.5,0.25,2]}]}",
     "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
     "\"AACAPwAAAL8AAIA+AAAAQA==\"}],\"model\":\"e\",\"usage\":{\"prompt_tokens\":1,"
     "\"total_tokens\":1}}"},
    {"{\"model\":\"e\",\"input\":\"a\"}", NULL, VECTORS, "!2 vectors for 1"},
    {"{\"model\":\"e\",\"input\":\"a\"}", NULL, "{\"embeddings\":[{\"values\":[true]}]}",
     "!no number"},
    {"{\"model\":\"e\",\"input\":\"a\"}", NULL, "{\"embeddings\":[{}]}", "!no vector"},
    {"{\"model\":\"e\",\"input\":[1,2]}", "as tokens", NULL, NULL},
    {"{\"model\":\"e\",\"input\":\"a\",\"task\":\"x\"}", "'task' cannot be said", NULL, NULL},
    {"{\"model\":\"e\",\"input\":\"a\",\"dimensions\":0}", "'dimensions'", NULL, NULL},
    {"{\"model\":\"e\",\"input\":\"a\",\"encoding_format\":\"int8\"}", "'encoding_format'", NULL,
     NULL},
};

static void embed(size_t i)
{
    const struct metallm__wire_target t = {.model = S("gemini-embedding-001")};
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    struct metallm__wire_answer answer;
    struct metallm__buf made;
    metallm_error err = {0};
    assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_EMBEDDING,
                                                metallm__span_of(embeddings[i].body), NULL, &err),
                     METALLM_OK);
    int rc = metallm__wire_request_out(W, &r, &t, &out, &err);
    if (embeddings[i].answer == NULL) {
        assert_int_equal(rc, METALLM_EINVAL);
        assert_non_null(strstr(err.message, embeddings[i].out));
        metallm__wire_request_fini(&r);
        return;
    }
    assert_int_equal(rc, METALLM_OK);
    assert_true(metallm__span_is(out.path, "/models/gemini-embedding-001:batchEmbedContents"));
    if (embeddings[i].out != NULL)
        assert_string_equal(out.made.data, embeddings[i].out);
    metallm__buf_init(&made, 1u << 20);
    rc = metallm__wire_answer_in(W, &r, true, metallm__span_of(embeddings[i].answer), 0, &made,
                                 &answer, &err);
    if (embeddings[i].made[0] == '!') {
        assert_int_equal(rc, METALLM_EFORMAT);
        assert_non_null(strstr(err.message, embeddings[i].made + 1));
    } else {
        assert_int_equal(rc, METALLM_OK);
        assert_string_equal(made.data, embeddings[i].made);
    }
    metallm__buf_fini(&made);
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
}

static void embeddings_go_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof embeddings / sizeof *embeddings; i++)
        embed(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_talk_is_said_as_the_table_tells),
        cmocka_unit_test(a_talk_out_of_memory_is_told),
        cmocka_unit_test(an_error_tells_its_reason_and_when_to_come_again),
        cmocka_unit_test(the_key_stands_in_its_own_header),
        cmocka_unit_test(embeddings_go_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
