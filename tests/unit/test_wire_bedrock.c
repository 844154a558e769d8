/* SPDX-License-Identifier: Apache-2.0
 * The protocols of Amazon Bedrock: talks as Converse and as Titan's InvokeModel, heads, errors.
 * Shapes are those of botocore's service model.
 * `test_wire_bedrock bodies` prints the bodies of all talks that can be said to Converse, a line
 * each: tests/gateway/test_aws.py has botocore check them against its model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

#define S(text) METALLM__SPAN(text)
#define W       (&metallm__wire_bedrock)
#define INVOKE  (&metallm__wire_bedrock_invoke)
#define OWN     S("bedrock")

/* ---- Requests. ---- */

static const struct metallm__part hello[] = {{.text = S("Say \"hi\"")}};
static const struct metallm__part again[] = {{.text = S("Again")}};
static const struct metallm__part empty[] = {{.text = S("")}};
static const struct metallm__part system_parts[] = {
    {.text = S("Be brief."), .cache = METALLM__CACHE_LONG}, {.text = S("")}};
static const struct metallm__part calls[] = {
    {.kind = METALLM__PART_REASONING, .text = S("Hm."), .seal = S("c2VhbA=="), .seal_of = OWN},
    {.kind = METALLM__PART_REASONING, .seal = S("eHg="), .seal_of = S("bedrock-redacted")},
    {.text = S("Two calls.")},
    {.kind = METALLM__PART_CALL, .id = S("c1"), .name = S("add"), .text = S("{\"a\":1.50}")},
    {.kind = METALLM__PART_CALL, .id = S("call/2"), .name = S("now")},
};
static const struct metallm__part foreign[] = {
    {.kind = METALLM__PART_REASONING, .text = S("x"), .seal = S("y"), .seal_of = S("anthropic")},
};
static const struct metallm__part refusal[] = {{.kind = METALLM__PART_REFUSAL, .text = S("No.")}};
static const struct metallm__part one[] = {{.text = S("3")}};
static const struct metallm__part two[] = {
    {.text = S("a")},
    {.kind = METALLM__PART_IMAGE, .media = S("image/png"), .data = S("AAAA")},
    {.kind = METALLM__PART_FILE, .media = S("text/csv"), .data = S("YSxi"), .name = S("t.csv")},
};
static const struct metallm__part results[] = {
    {.kind = METALLM__PART_RESULT, .id = S("c1"), .parts = one, .part_count = 1, .is_error = true},
    {.kind = METALLM__PART_RESULT,
     .id = S("call/2"),
     .parts = two,
     .part_count = 3,
     .cache = METALLM__CACHE_SHORT},
};
static const struct metallm__part media[] = {
    {.kind = METALLM__PART_IMAGE, .media = S("image/jpeg"), .data = S("AAAA")},
    {.kind = METALLM__PART_AUDIO, .media = S("audio/mpeg"), .data = S("AAAA")},
    {.kind = METALLM__PART_FILE,
     .media = S("application/pdf"),
     .data = S("BBBB"),
     .name = S("my_report  (1)//x.pdf")},
    {.kind = METALLM__PART_FILE, .media = S("text/plain; charset=utf-8"), .data = S("BBBB")},
};
static const struct metallm__part svg[] = {
    {.kind = METALLM__PART_IMAGE, .media = S("image/svg+xml"), .data = S("AAAA")}};
static const struct metallm__part odd_name[] = {
    {.kind = METALLM__PART_CALL, .id = S("c1"), .name = S("a.b"), .text = S("{}")}};

#define TURN(who, list)                                                                            \
    {                                                                                              \
        .role = METALLM__ROLE_##who, .parts = (list),                                              \
        .part_count = sizeof(list) / sizeof((list)[0])                                             \
    }
static const struct metallm__turn hello_turns[] = {TURN(USER, hello)};
static const struct metallm__turn system_turns[] = {TURN(SYSTEM, system_parts), TURN(USER, hello)};
static const struct metallm__turn call_turns[] = {TURN(USER, hello), TURN(ASSISTANT, calls),
                                                  TURN(USER, results), TURN(USER, again)};
static const struct metallm__turn foreign_turns[] = {TURN(USER, hello), TURN(ASSISTANT, foreign),
                                                     TURN(USER, again)};
static const struct metallm__turn late_turns[] = {TURN(USER, hello), TURN(ASSISTANT, refusal),
                                                  TURN(SYSTEM, again), TURN(USER, again)};
static const struct metallm__turn media_turns[] = {TURN(USER, media)};
static const struct metallm__turn svg_turns[] = {TURN(USER, svg)};
static const struct metallm__turn empty_turns[] = {TURN(SYSTEM, hello), TURN(USER, empty)};
static const struct metallm__turn odd_turns[] = {TURN(USER, hello), TURN(ASSISTANT, odd_name)};

static const struct metallm__span stops[] = {S("a"), S("b")};
static const struct metallm__tool tools[] = {
    {.name = S("add"),
     .description = S("adds"),
     .schema = S("{\"type\":\"object\"}"),
     .is_strict = -1},
    {.name = S("now"), .is_strict = 1, .cache = METALLM__CACHE_SHORT},
};

static void with_tools(struct metallm__talk *t)
{
    t->tools = tools;
    t->tool_count = 2;
}
static void with_any(struct metallm__talk *t)
{
    with_tools(t);
    t->tool_choice = METALLM__TOOL_CHOICE_ANY;
}
static void with_auto(struct metallm__talk *t)
{
    with_tools(t);
    t->tool_choice = METALLM__TOOL_CHOICE_AUTO;
}
static void with_named(struct metallm__talk *t)
{
    with_tools(t);
    t->tool_choice = METALLM__TOOL_CHOICE_NAMED;
    t->tool_name = tools[1].name;
}
static void sample(struct metallm__talk *t)
{
    t->temperature = 0.5;
    t->top_p = 0.25;
    t->max_tokens = 100;
    t->stops = stops;
    t->stop_count = 2;
}
static void top_k(struct metallm__talk *t)
{
    t->top_k = 40;
}
static void budget(struct metallm__talk *t)
{
    t->reasoning_tokens = 2000;
    t->max_tokens = 4000;
}
static void small_budget(struct metallm__talk *t)
{
    t->reasoning_tokens = 100;
}
static void think_none(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_NONE;
}
static void think_high(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_HIGH;
}
static void think_high_in_2000(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_HIGH;
    t->max_tokens = 2000;
}
static void as_it_is(struct metallm__talk *t)
{
    t->temperature = t->top_p = 1;
    t->max_tokens = 9;
}
static void think_max(struct metallm__talk *t)
{
    t->effort = METALLM__EFFORT_MAX;
    t->wants_reasoning_summary = true;
}
static void ask_schema(struct metallm__talk *t)
{
    t->format = METALLM__FORMAT_SCHEMA;
    t->schema = (struct metallm__span)S("{\"type\":\"object\"}");
    t->format_name = (struct metallm__span)S("n");
    t->format_description = (struct metallm__span)S("d");
}
static void stream(struct metallm__talk *t)
{
    t->is_stream = true;
}
static void hot(struct metallm__talk *t)
{
    t->temperature = 1.5;
}
static void tier_flex(struct metallm__talk *t)
{
    t->service_tier = (struct metallm__span)S("flex");
}
static void tier_auto(struct metallm__talk *t)
{
    t->service_tier = (struct metallm__span)S("auto");
}

#define TURNS(list)   (list), sizeof(list) / sizeof((list)[0])
#define CLAUDE        "us.anthropic.claude-sonnet-4-6-v1:0"
#define CLAUDE_3      "anthropic.claude-3-7-sonnet-20250219-v1:0"
#define CLAUDE_5      "anthropic.claude-opus-5-v1:0"
#define NOVA          "amazon.nova-2-lite-v1:0"
#define LLAMA         "meta.llama3-1-8b-instruct-v1:0"
#define SAY           "{\"role\":\"user\",\"content\":[{\"text\":\"Say \\\"hi\\\"\"}]}"
#define MESSAGES_OPEN "{\"messages\":[" SAY
#define MESSAGES      MESSAGES_OPEN "]"
#define CACHE         "{\"cachePoint\":{\"type\":\"default\"}}"
#define BIT(name)     (1ull << METALLM__FEATURE_##name)
#define SPECS                                                                                      \
    "{\"toolSpec\":{\"name\":\"add\",\"description\":\"adds\","                                    \
    "\"inputSchema\":{\"json\":{\"type\":\"object\"}}}},"                                          \
    "{\"toolSpec\":{\"name\":\"now\",\"inputSchema\":{\"json\":{\"type\":\"object\","              \
    "\"properties\":{}}},\"strict\":true}}"
#define TOOLS(choice) ",\"toolConfig\":{\"tools\":[" SPECS "," CACHE "]" choice "}"
/* The SHA-256 of "call/2". */
#define CALL_2 "82bbcd873c211130b5dac7a18991ca1bd47456fb34f29788561b26a5189ec56d"

static const struct row {
    const char *model;
    const struct metallm__turn *turns;
    size_t turn_count;
    void (*set)(struct metallm__talk *t);
    const char *path, *body; /* path NULL: not looked at. body: or what the error says */
    uint64_t dropped;
} rows[] = {
    {CLAUDE, TURNS(hello_turns), NULL, "/model/us.anthropic.claude-sonnet-4-6-v1%3A0/converse",
     MESSAGES "}", 0},
    {"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x", TURNS(hello_turns),
     stream,
     "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fx/"
     "converse-stream",
     MESSAGES "}", 0},
    {CLAUDE, TURNS(system_turns), NULL, NULL,
     "{\"system\":[{\"text\":\"Be brief.\"},{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}]"
     ",\"messages\":[" SAY "]}",
     0},
    {LLAMA, TURNS(system_turns), NULL, NULL,
     "{\"system\":[{\"text\":\"Be brief.\"}],\"messages\":[" SAY "]}", BIT(CACHE_MARKS)},
    {CLAUDE, TURNS(foreign_turns), NULL, NULL,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Say \\\"hi\\\"\"},"
     "{\"text\":\"Again\"}]}]}",
     BIT(REASONING_HISTORY)},
    {CLAUDE, TURNS(late_turns), NULL, NULL,
     MESSAGES_OPEN ",{\"role\":\"assistant\",\"content\":[{\"text\":\"No.\"}]},"
                   "{\"role\":\"system\",\"content\":[{\"text\":\"Again\"}]},"
                   "{\"role\":\"user\",\"content\":[{\"text\":\"Again\"}]}]}",
     0},
    {CLAUDE, TURNS(media_turns), NULL, NULL,
     "{\"messages\":[{\"role\":\"user\",\"content\":["
     "{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
     "{\"audio\":{\"format\":\"mp3\",\"source\":{\"bytes\":\"AAAA\"}}},"
     "{\"document\":{\"format\":\"pdf\",\"name\":\"my-report (1)--x-pdf\","
     "\"source\":{\"bytes\":\"BBBB\"}}},"
     "{\"document\":{\"format\":\"txt\",\"name\":\"document 2\","
     "\"source\":{\"bytes\":\"BBBB\"}}}]}]}",
     0},
    /* The id that Bedrock would refuse becomes its hash. */
    {CLAUDE, TURNS(call_turns), with_tools, NULL,
     MESSAGES_OPEN
     ",{\"role\":\"assistant\",\"content\":["
     "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"Hm.\",\"signature\":\"c2VhbA==\"}}},"
     "{\"reasoningContent\":{\"redactedContent\":\"eHg=\"}},"
     "{\"text\":\"Two calls.\"},"
     "{\"toolUse\":{\"toolUseId\":\"c1\",\"name\":\"add\",\"input\":{\"a\":1.50}}},"
     "{\"toolUse\":{\"toolUseId\":\"" CALL_2 "\",\"name\":\"now\",\"input\":{}}}]},"
     "{\"role\":\"user\",\"content\":["
     "{\"toolResult\":{\"toolUseId\":\"c1\",\"content\":[{\"text\":\"3\"}],"
     "\"status\":\"error\"}},"
     "{\"toolResult\":{\"toolUseId\":\"" CALL_2 "\",\"content\":[{\"text\":\"a\"},"
     "{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"AAAA\"}}},"
     "{\"document\":{\"format\":\"csv\",\"name\":\"t-csv\",\"source\":{\"bytes\":\"YSxi\"}}}]}}"
     "," CACHE ",{\"text\":\"Again\"}]}]" TOOLS("") "}",
     0},
    {CLAUDE, TURNS(hello_turns), sample, NULL,
     MESSAGES ",\"inferenceConfig\":{\"maxTokens\":100,\"temperature\":0.5,\"topP\":0.25,"
              "\"stopSequences\":[\"a\",\"b\"]}}",
     0},
    {CLAUDE, TURNS(hello_turns), with_tools, NULL, MESSAGES TOOLS("") "}", 0},
    {CLAUDE, TURNS(hello_turns), with_auto, NULL,
     MESSAGES TOOLS(",\"toolChoice\":{\"auto\":{}}") "}", 0},
    {CLAUDE, TURNS(hello_turns), with_any, NULL, MESSAGES TOOLS(",\"toolChoice\":{\"any\":{}}") "}",
     0},
    {CLAUDE, TURNS(hello_turns), with_named, NULL,
     MESSAGES TOOLS(",\"toolChoice\":{\"tool\":{\"name\":\"now\"}}") "}", 0},
    {CLAUDE, TURNS(hello_turns), top_k, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"top_k\":40}}", 0},
    {CLAUDE_3, TURNS(hello_turns), think_high, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\","
              "\"budget_tokens\":16384}}}",
     0},
    {CLAUDE_3, TURNS(hello_turns), think_high_in_2000, NULL,
     MESSAGES ",\"inferenceConfig\":{\"maxTokens\":2000},\"additionalModelRequestFields\":{"
              "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1999}}}",
     0},
    {CLAUDE_5, TURNS(hello_turns), as_it_is, NULL,
     MESSAGES ",\"inferenceConfig\":{\"maxTokens\":9}}", 0},
    {NOVA, TURNS(hello_turns), top_k, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"inferenceConfig\":{\"topK\":40}}}", 0},
    {CLAUDE, TURNS(hello_turns), budget, NULL,
     MESSAGES ",\"inferenceConfig\":{\"maxTokens\":4000},\"additionalModelRequestFields\":{"
              "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}}",
     0},
    {CLAUDE, TURNS(hello_turns), think_none, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"disabled\"}}}", 0},
    {CLAUDE, TURNS(hello_turns), think_max, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"adaptive\","
              "\"display\":\"summarized\"}},\"outputConfig\":{\"effort\":\"max\"}}",
     0},
    {NOVA, TURNS(hello_turns), think_high, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"reasoningConfig\":{\"type\":\"enabled\","
              "\"maxReasoningEffort\":\"high\"}}}",
     0},
    {NOVA, TURNS(hello_turns), think_none, NULL,
     MESSAGES ",\"additionalModelRequestFields\":{\"reasoningConfig\":{\"type\":\"disabled\"}}}",
     0},
    {LLAMA, TURNS(hello_turns), think_high, NULL,
     MESSAGES ",\"outputConfig\":{\"effort\":\"high\"}}", 0},
    {CLAUDE, TURNS(hello_turns), ask_schema, NULL,
     MESSAGES ",\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{"
              "\"jsonSchema\":{\"schema\":\"{\\\"type\\\":\\\"object\\\"}\",\"name\":\"n\","
              "\"description\":\"d\"}}}}}",
     0},
    {CLAUDE, TURNS(hello_turns), tier_flex, NULL, MESSAGES ",\"serviceTier\":{\"type\":\"flex\"}}",
     0},
    {CLAUDE, TURNS(hello_turns), tier_auto, NULL, MESSAGES "}", BIT(SERVICE_TIER)},
    /* What cannot be said. */
    {CLAUDE, TURNS(call_turns), NULL, NULL, "must be told the tools", 0},
    {CLAUDE, TURNS(odd_turns), with_tools, NULL, "a tool of the name 'a.b'", 0},
    {CLAUDE, TURNS(hello_turns), hot, NULL, "a temperature of 1.5", 0},
    {CLAUDE, TURNS(hello_turns), small_budget, NULL, "1024 tokens or more", 0},
    {CLAUDE, TURNS(svg_turns), NULL, NULL, "an image of type 'image/svg+xml'", 0},
    {CLAUDE, TURNS(empty_turns), NULL, NULL, "a message with content", 0},
    {LLAMA, TURNS(hello_turns), top_k, NULL, "top_k cannot", 0},
    {CLAUDE_5, TURNS(hello_turns), top_k, NULL, "top_k cannot", 0},
    {CLAUDE_5, TURNS(hello_turns), sample, NULL, "a temperature cannot", 0},
    {"anthropic.claude-3-5-haiku-20241022-v1:0", TURNS(hello_turns), think_high, NULL,
     "reasoning cannot", 0},
    {LLAMA, TURNS(hello_turns), budget, NULL, "a budget", 0},
    {LLAMA, TURNS(hello_turns), think_none, NULL, "shall not reason", 0},
    {NOVA, TURNS(hello_turns), budget, NULL, "a budget", 0},
    {NOVA, TURNS(hello_turns), think_max, NULL, "above high", 0},
};

static int say(const struct metallm__wire *w, const struct row *r, struct metallm__wire_out *out,
               metallm_error *err)
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
    return w->talk_out(&talk, &target, out, err);
}

static void check_row(const struct metallm__wire *w, const struct row *r)
{
    struct metallm__wire_out out;
    metallm_error err = {0};
    int rc = say(w, r, &out, &err);
    if (r->body[0] != '{') {
        assert_int_equal(rc, METALLM_EINVAL);
        assert_non_null(strstr(err.message, r->body));
    } else {
        assert_int_equal(rc, METALLM_OK);
        assert_string_equal(out.made.data, r->body);
        assert_true(out.dropped == r->dropped);
        if (r->path != NULL)
            assert_true(metallm__span_is(out.path, r->path));
    }
    metallm__wire_out_fini(&out);
}

static void a_talk_is_said_as_the_table_tells(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(W, &rows[i]);
}

#define LITE "amazon.titan-text-lite-v1"
static const struct metallm__part bots[] = {{.text = S("Well,")}};
static const struct metallm__turn prefill_turns[] = {TURN(USER, hello), TURN(ASSISTANT, bots)};
static const struct row titan_rows[] = {
    {LITE, TURNS(hello_turns), NULL, "/model/amazon.titan-text-lite-v1/invoke",
     "{\"inputText\":\"User: Say \\\"hi\\\"\\nBot:\",\"textGenerationConfig\":{}}", 0},
    {LITE, TURNS(prefill_turns), stream,
     "/model/amazon.titan-text-lite-v1/invoke-with-response-stream",
     "{\"inputText\":\"User: Say \\\"hi\\\"\\nBot: Well,\",\"textGenerationConfig\":{}}", 0},
    {LITE, TURNS(hello_turns), sample, NULL,
     "{\"inputText\":\"User: Say \\\"hi\\\"\\nBot:\",\"textGenerationConfig\":{"
     "\"temperature\":0.5,\"topP\":0.25,\"maxTokenCount\":100,\"stopSequences\":[\"a\",\"b\"]}}",
     0},
    {LITE, TURNS(hello_turns), hot, NULL, "above 1", 0},
    {LITE, TURNS(system_turns), NULL, NULL,
     "{\"inputText\":\"Be brief.\\n\\nUser: Say \\\"hi\\\"\\nBot:\",\"textGenerationConfig\":{}}",
     0},
    {LITE, TURNS(media_turns), NULL, NULL, "only text", 0},
    {CLAUDE, TURNS(hello_turns), NULL, NULL, "Titan models alone", 0},
};

static void titan_is_told_text_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof titan_rows / sizeof *titan_rows; i++)
        check_row(INVOKE, &titan_rows[i]);
}

/* ---- Heads and errors. ---- */

static struct metallm__wire_target target(void)
{
    return (struct metallm__wire_target){
        .model = S("m"),
        .region = S("eu-west-1"),
        .host = S("127.0.0.1:8080"),
        .base_path = S("/base"),
        .aws = {.id = S("AKIDEXAMPLE"), .secret = S("very-secret"), .token = S("tok")},
    };
}

static void a_request_is_signed_or_carries_the_key(void **state)
{
    (void)state; /* the signature is botocore's */
    struct metallm__wire_target t = target();
    const struct metallm__wire_out body = {
        .path = S("/model/m/converse"), .spans = {S("{}")}, .span_count = 1};
    struct metallm__buf lines;
    metallm_error err;
    metallm__buf_init(&lines, 4096);
    assert_false(W->is_head_static);
    assert_int_equal(W->head_out(&t, &body, 1440938160999, &lines, &err), METALLM_OK);
    assert_string_equal(
        lines.data,
        "x-amz-date: 20150830T123600Z\r\nx-amz-security-token: tok\r\n"
        "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/bedrock/"
        "aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "
        "Signature=e0488f3c6d48583747a48a711648faf47382de3a4d9402aa7470c353e991bd89\r\n");
    metallm__buf_clear(&lines);
    t.key = metallm__span_of("bedrock-api-key-1");
    assert_int_equal(W->head_out(&t, &body, 0, &lines, &err), METALLM_OK);
    assert_string_equal(lines.data, "authorization: Bearer bedrock-api-key-1\r\n");
    metallm__buf_clear(&lines);
    t.key.n = t.aws.id.n = 0;
    assert_int_equal(W->head_out(&t, &body, 0, &lines, &err), METALLM_EINVAL);
    assert_int_equal(lines.len, 0);
    assert_non_null(strstr(err.message, "no AWS credentials"));
    metallm__buf_fini(&lines);
}

static void errors_are_read(void **state)
{
    static const struct {
        const char *body, *message, *type;
    } table[] = {
        {"{\"message\":\"no\"}", "no", ""},
        {"{\"Message\":\"no\",\"__type\":\"ValidationException\"}", "no", "ValidationException"},
        {"{\"message\":\"a\\nb\",\"__type\":\"com.amazon.coral.service#AccessDeniedException\"}",
         "a b", "AccessDeniedException"},
        {"{\"message\":\"x\",\"code\":\"ThrottlingException:http://internal\"}", "x",
         "ThrottlingException"},
        {"{\"message\":7}", "", ""},
        {"<html>", "", ""},
        {"", "", ""},
        {"[]", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct metallm__wire_error e;
        W->error_in(metallm__span_of(table[i].body), &e);
        assert_string_equal(e.message, table[i].message);
        assert_string_equal(e.type, table[i].type);
    }
}

/* ---- No memory. ---- */

static int say_all(void *payload)
{
    int rc = METALLM_OK;
    (void)payload;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && rc == METALLM_OK; i++) {
        struct metallm__wire_out out;
        if (rows[i].body[0] == '{')
            rc = say(W, &rows[i], &out, NULL);
        if (rows[i].body[0] == '{')
            metallm__wire_out_fini(&out);
    }
    for (size_t i = 0; i < 2 && rc == METALLM_OK; i++) {
        struct metallm__wire_out out;
        rc = say(INVOKE, &titan_rows[i], &out, NULL);
        metallm__wire_out_fini(&out);
    }
    return rc;
}

static int sign_one(void *payload)
{
    const struct metallm__wire_target t = target();
    const struct metallm__wire_out body = {.path = S("/x"), .spans = {S("{}")}, .span_count = 1};
    struct metallm__buf lines;
    (void)payload;
    metallm__buf_init(&lines, 4096);
    int rc = W->head_out(&t, &body, 0, &lines, NULL);
    metallm__buf_fini(&lines);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(say_all, NULL) >= 20);
    assert_true(fail_alloc_sweep(sign_one, NULL) >= 3);
}

static int print_bodies(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_out out;
        if (say(W, &rows[i], &out, NULL) == METALLM_OK)
            printf("%s\t%s\n", rows[i].model, out.made.data);
        metallm__wire_out_fini(&out);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "bodies") == 0)
        return print_bodies();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_talk_is_said_as_the_table_tells),
        cmocka_unit_test(titan_is_told_text_alone),
        cmocka_unit_test(a_request_is_signed_or_carries_the_key),
        cmocka_unit_test(errors_are_read),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
