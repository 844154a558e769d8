/* SPDX-License-Identifier: Apache-2.0
 * Anthropic's Messages, as a client's surface and as an upstream's protocol: what is read is told
 * as lines, what is written is compared byte for byte, streams are cut at every byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "metallm/base.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/talk_lines.h"
#include "wire/wire.h"

#define POOL_BYTES_MAX ((size_t)1 << 20)

static const struct metallm__wire_target target = {.model = METALLM__SPAN("claude-x"),
                                                   .model_json = METALLM__SPAN("\"claude-x\""),
                                                   .key = METALLM__SPAN("k-1"),
                                                   .native = 1u << METALLM__WIRE_MESSAGES,
                                                   .max_tokens = 77};

/* A request's text as a talk in *t; doc and pool are the caller's to free. */
static int read_talk(const char *body, yyjson_doc **doc, struct metallm__pool *pool,
                     struct metallm__talk *t, const char **param, metallm_error *err)
{
    metallm__pool_init(pool, POOL_BYTES_MAX);
    int rc = metallm__json_read_raw(doc, body, strlen(body), err);
    if (rc == METALLM_OK)
        rc = metallm__surface_messages.talk_in(yyjson_doc_get_root(*doc), pool, t, param, err);
    return rc == METALLM_OK ? metallm__talk_settle(t, pool, err) : rc;
}

#define MESSAGES(content)  "{\"messages\":[" content "]}"
#define USER(content)      "{\"role\":\"user\",\"content\":" content "}"
#define ASSISTANT(content) "{\"role\":\"assistant\",\"content\":" content "}"
#define HI                 USER("\"hi\"")
#define WITH_HI            "\"messages\":[" HI "]"
#define HEAD               "{\"model\":\"claude-x\",\"max_tokens\":77"
#define HI_OUT             ",\"messages\":[" HI "]"

/* in: what a client says; talk: what it means; out: what the upstream is told, NULL: not looked at.
 */
static const struct {
    const char *in, *talk, *out;
} requests[] = {
    {MESSAGES(HI), "user: text text=hi;\n", HEAD HI_OUT "}"},
    {"{\"model\":\"m\",\"max_tokens\":5,\"stream\":true,\"temperature\":0.5,\"top_p\":0.25,"
     "\"top_k\":3,\"stop_sequences\":[\"a\",\"b\"],\"system\":\"be\\nbrief\"," WITH_HI
     ",\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"standard_only\",\"container\":null}",
     "system: text text=be\nbrief;\nuser: text text=hi;\n max=5 temperature=0.5 top_p=0.25 top_k=3 "
     "stop=a stop=b user=u tier=default stream",
     "{\"model\":\"claude-x\",\"max_tokens\":5,\"system\":\"be\\nbrief\"" HI_OUT
     ",\"temperature\":0.5,\"top_p\":0.25,\"top_k\":3,\"stop_sequences\":[\"a\",\"b\"],"
     "\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"standard_only\",\"stream\":true}"},
    /* Marks, in every place that has them. */
    {"{\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":{\"type\":\"ephemeral\","
     "\"ttl\":\"1h\"}}],\"cache_control\":{\"type\":\"ephemeral\"}," WITH_HI
     ",\"tools\":[{\"name\":\"t\",\"input_schema\":{\"type\":\"object\"},\"cache_control\":{"
     "\"type\":\"ephemeral\"}}]}",
     "system: text text=s 1h;\nuser: text text=hi 5m;\n tool=t schema={\"type\":\"object\"} kept "
     "uses=cache marks",
     HEAD ",\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":{\"type\":"
          "\"ephemeral\",\"ttl\":\"1h\"}}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
          "\"text\",\"text\":\"hi\",\"cache_control\":{\"type\":\"ephemeral\"}}]}],\"tools\":[{"
          "\"name\":\"t\",\"input_schema\":{\"type\":\"object\"},\"cache_control\":{\"type\":"
          "\"ephemeral\"}}]}"},
    /* Parallel calls and their results, with numbers as they were written. */
    {MESSAGES(HI "," ASSISTANT(
         "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},{\"type\":"
         "\"redacted_thinking\",\"data\":\"ZGF0\"},{\"type\":\"text\",\"text\":\"ok\","
         "\"citations\":null},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{"
         "\"x\":1.50}},{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{},"
         "\"caller\":{\"type\":\"direct\"}}]") "," USER("[{\"type\":\"text\",\"text\":\"and\"},{"
                                                        "\"type\":\"tool_result\",\"tool_use_id\":"
                                                        "\"toolu_1\",\"content\":\"one\"},{"
                                                        "\"type\":\"tool_result\",\"tool_use_id\":"
                                                        "\"toolu_2\","
                                                        "\"is_error\":true,\"content\":[{\"type\":"
                                                        "\"text\",\"text\":\"two\"},{\"type\":"
                                                        "\"image\","
                                                        "\"source\":{\"type\":\"base64\",\"media_"
                                                        "type\":\"image/"
                                                        "png\",\"data\":\"AAAA\"}}]}]")),
     "user: text text=hi;\nassistant: reasoning text=hm seal=c2ln of=anthropic; reasoning "
     "seal=ZGF0 of=anthropic-redacted; text text=ok; call text={\"x\":1.50} id=toolu_1 name=f; "
     "call "
     "text={} id=toolu_2 name=g;\nuser: text text=and; result id=toolu_1 name=f [ text text=one; "
     "]; "
     "result id=toolu_2 name=g failed [ text text=two; image media=image/png data=AAAA; ];\n",
     HEAD ",\"messages\":[" HI
          "," ASSISTANT("[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
                        "\"c2ln\"},{\"type\":"
                        "\"redacted_thinking\",\"data\":\"ZGF0\"},{\"type\":"
                        "\"text\",\"text\":\"ok\"},{\"type\":"
                        "\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{"
                        "\"x\":1.50}},{\"type\":"
                        "\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{"
                        "}}]") "," USER("[{\"type\":\"tool_result\",\"tool_use_"
                                        "id\":\"toolu_1\",\"content\":\"one\"},{"
                                        "\"type\":"
                                        "\"tool_result\",\"tool_use_id\":\"toolu_"
                                        "2\",\"content\":[{\"type\":\"text\","
                                        "\"text\":"
                                        "\"two\"},{\"type\":\"image\",\"source\":{"
                                        "\"type\":\"base64\",\"media_type\":"
                                        "\"image/"
                                        "png\",\"data\":\"AAAA\"}}],\"is_error\":"
                                        "true},{\"type\":\"text\",\"text\":\"and\"}"
                                        "]") "]}"},
    /* Another LLM's reasoning is named by it, and is not told to Anthropic. */
    {MESSAGES(HI "," ASSISTANT(
         "[{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"metallm:gemini:Z2Vt\"},{"
         "\"type\":\"thinking\",\"thinking\":\"b\",\"signature\":\"\"},{\"type\":\"redacted_"
         "thinking\",\"data\":\"metallm:openai-responses:ZW5j\"},{\"type\":\"text\",\"text\":"
         "\"c\"}]")),
     "user: text text=hi;\nassistant: reasoning text=a seal=Z2Vt of=gemini; reasoning text=b; "
     "reasoning seal=ZW5j of=openai-responses; text text=c;\n uses=prefill",
     HEAD ",\"messages\":[" HI "," ASSISTANT("\"c\"") "]}"},
    /* Images and documents. */
    {MESSAGES(USER(
         "[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://e/x.png\"},"
         "\"transformations\":{\"oversized_image\":\"downsize\"}},{\"type\":\"document\","
         "\"title\":\"t\",\"citations\":{\"enabled\":false},\"source\":{\"type\":\"base64\","
         "\"media_type\":\"application/pdf\",\"data\":\"JVBE\"}},{\"type\":\"document\",\"source\":"
         "{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"a\\u00e9\"}},{\"type\":"
         "\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://e/y.pdf\"}},{\"type\":"
         "\"document\",\"source\":{\"type\":\"content\",\"content\":\"four\"}}]")),
     "user: image url=https://e/x.png; file name=t media=application/pdf data=JVBE; file "
     "media=text/plain data=YcOp; file url=https://e/y.pdf; file media=text/plain data=Zm91cg==;\n",
     HEAD ",\"messages\":[" USER(
         "[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://e/x.png\"}},{"
         "\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/"
         "pdf\",\"data\":\"JVBE\"},\"title\":\"t\"},{\"type\":\"document\",\"source\":{\"type\":"
         "\"text\",\"media_type\":\"text/plain\",\"data\":\"a\xc3\xa9\"}},{\"type\":\"document\","
         "\"source\":{\"type\":\"url\",\"url\":\"https://e/y.pdf\"}},{\"type\":\"document\","
         "\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"four\"}}]") "]}"},
    {MESSAGES(USER("[{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"}}]")),
     "user: image file=file_1;\n", NULL},
    /* Tools and how they are chosen. */
    {"{" WITH_HI ",\"tools\":[{\"name\":\"a\",\"description\":\"d\",\"strict\":true,\"type\":"
     "\"custom\",\"input_schema\":{},\"eager_input_streaming\":true,\"allowed_callers\":["
     "\"direct\"]}],\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true}}",
     "user: text text=hi;\n tool=a about=d schema={} strict choice=any one-by-one",
     HEAD HI_OUT ",\"tools\":[{\"name\":\"a\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\",\"properties\":{}},\"strict\":true}],\"tool_choice\":{\"type\":"
                 "\"any\",\"disable_parallel_tool_use\":true}}"},
    {"{" WITH_HI ",\"tools\":[{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"tool_choice\":{\"type\":\"tool\",\"name\":\"a\"}}",
     "user: text text=hi;\n tool=a schema={\"type\":\"object\"} choice=named tool_name=a",
     HEAD HI_OUT ",\"tools\":[{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}}],"
                 "\"tool_choice\":{\"type\":\"tool\",\"name\":\"a\"}}"},
    {"{" WITH_HI ",\"tools\":[{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"tool_choice\":{\"type\":\"none\"}}",
     "user: text text=hi;\n tool=a schema={\"type\":\"object\"} choice=none",
     HEAD HI_OUT ",\"tools\":[{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}}],"
                 "\"tool_choice\":{\"type\":\"none\"}}"},
    {"{" WITH_HI ",\"tools\":[{\"type\":\"web_search_20260318\",\"name\":\"web_search\"}],"
     "\"mcp_servers\":[{\"type\":\"url\"}]}",
     "user: text text=hi;\n uses=hosted tools", NULL},
    /* Thinking and the form of the answer. */
    {"{" WITH_HI ",\"max_tokens\":4000,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}}",
     "user: text text=hi;\n max=4000 budget=2048 shown",
     "{\"model\":\"claude-x\",\"max_tokens\":4000" HI_OUT
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048,\"display\":\"summarized\"}}"},
    {"{" WITH_HI ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"},\"output_config\":{"
     "\"effort\":\"xhigh\",\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\","
     "\"additionalProperties\":false}}}}",
     "user: text text=hi;\n effort=xhigh "
     "format={\"type\":\"object\",\"additionalProperties\":false}",
     HEAD HI_OUT ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"},\"output_config\":{"
                 "\"effort\":\"xhigh\",\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":"
                 "\"object\",\"additionalProperties\":false}}}}"},
    {"{" WITH_HI ",\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"max\"},"
     "\"output_format\":{\"type\":\"json_schema\",\"schema\":{\"a\":1}}}",
     "user: text text=hi;\n effort=none format={\"a\":1}",
     HEAD HI_OUT ",\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"format\":{\"type\":"
                 "\"json_schema\",\"schema\":{\"a\":1}}}}"},
    /* What only Anthropic has. */
    {"{" WITH_HI ",\"container\":\"c\",\"inference_geo\":\"eu\",\"speed\":\"standard\","
     "\"diagnostics\":{\"previous_message_id\":null},\"context_management\":{\"edits\":[{\"type\":"
     "\"clear_thinking_20251015\"}]}}",
     "user: text text=hi;\n uses=state uses=cache marks uses=other members other=inference_geo",
     NULL},
    {MESSAGES(USER("[{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[]},"
                   "{\"type\":\"container_upload\",\"file_id\":\"f\"}]")),
     "user:\n uses=hosted tools uses=other members other=search_result", NULL},
    {MESSAGES(HI
              "," ASSISTANT("[{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\","
                            "\"input\":{}},{\"type\":\"web_search_tool_result\"}]") "," HI),
     "user: text text=hi;\nassistant:\nuser: text text=hi;\n uses=hosted tools", NULL},
    /* Words that are not known here may be known there. */
    {MESSAGES(USER("[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":{}}]")),
     "user:\n uses=other members other=blocks of another role", NULL},
    {"{" WITH_HI ",\"output_config\":{\"effort\":\"huge\"},\"service_tier\":\"gold\"}",
     "user: text text=hi;\n uses=other members other=output_config.effort", NULL},
    {"{" WITH_HI ",\"thinking\":{\"type\":\"deep\"},\"tool_choice\":{\"type\":\"two\"}}",
     "user: text text=hi;\n uses=other members other=thinking", NULL},
    {"{\"max_tokens\":0," WITH_HI "}",
     "user: text text=hi;\n uses=other members other=max_tokens 0", NULL},
    /* Late instructions stay where they are; turns of one role are one message. */
    {MESSAGES(HI "," USER("[{\"type\":\"text\",\"text\":\"you\"}]") ",{\"role\":\"system\","
                                                                    "\"content\":\"now brief\"}"),
     "user: text text=hi;\nuser: text text=you;\nsystem: text text=now brief;\n uses=late system "
     "messages",
     HEAD ",\"messages\":[" USER("[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"text\",\"text\":"
                                 "\"you\"}]") ",{\"role\":\"system\",\"content\":\"now brief\"}]}"},
    /* What the system says late goes behind what the user says there. */
    {MESSAGES(
         HI "," ASSISTANT("\"ho\"") ",{\"role\":\"system\",\"content\":\"brief\"}," USER("\"so\"")),
     "user: text text=hi;\nassistant: text text=ho;\nsystem: text text=brief;\nuser: text "
     "text=so;\n uses=late system messages",
     HEAD ",\"messages\":[" HI
          "," ASSISTANT("\"ho\"") "," USER("\"so\"") ",{\"role\":\"system\","
                                                     "\"content\":\"brief\"}]}"},
};

static void requests_mean_the_same_here_and_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        yyjson_doc *doc = NULL;
        struct metallm__pool pool;
        struct metallm__talk t;
        struct metallm__wire_out out = {.is_translated = true};
        struct talk_lines l = {.len = 0};
        const char *param = NULL;
        metallm_error err = {0};
        assert_int_equal(read_talk(requests[i].in, &doc, &pool, &t, &param, &err), METALLM_OK);
        talk_lines_talk(&l, &t);
        assert_string_equal(l.text, requests[i].talk);
        metallm__buf_init(&out.made, POOL_BYTES_MAX);
        if (requests[i].out != NULL) {
            int rc = metallm__wire_anthropic.talk_out(&t, &target, &out, &err);
            assert_string_equal(err.message, "");
            assert_int_equal(rc, METALLM_OK);
            assert_string_equal(out.made.data, requests[i].out);
            assert_true(metallm__span_is(out.path, "/messages"));
        }
        metallm__wire_out_fini(&out);
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
}

static void what_a_client_got_wrong_is_named(void **state)
{
    static const struct {
        const char *in, *param;
    } rows[] = {
        {"{}", "messages"},
        {"{\"messages\":[]}", "messages"},
        {"{\"messages\":[7]}", "messages"},
        {MESSAGES("{\"role\":\"tool\",\"content\":\"\"}"), "messages.role"},
        {MESSAGES(USER("7")), "messages.content"},
        {MESSAGES(USER("[7]")), "messages.content"},
        {MESSAGES(USER("[{\"type\":\"text\"}]")), "messages.content.text"},
        {MESSAGES(
             ASSISTANT("[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":\"x\"}]")),
         "messages.content.tool_use"},
        {MESSAGES(USER("[{\"type\":\"tool_result\",\"content\":\"\"}]")),
         "messages.content.tool_use_id"},
        {MESSAGES(USER("[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":\"A\"}}]")),
         "source.media_type"},
        {MESSAGES(USER("[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":7}]")),
         "cache_control"},
        {"{" WITH_HI ",\"temperature\":1.5}", "temperature"},
        {"{" WITH_HI ",\"top_k\":-1}", "top_k"},
        {"{" WITH_HI ",\"max_tokens\":\"5\"}", "max_tokens"},
        {"{" WITH_HI ",\"stop_sequences\":\"a\"}", "stop_sequences"},
        {"{" WITH_HI ",\"tools\":[{\"name\":\"a\"}]}", "tools.input_schema"},
        {"{" WITH_HI ",\"tool_choice\":\"auto\"}", "tool_choice"},
        {"{" WITH_HI ",\"thinking\":{\"type\":\"enabled\"}}", "thinking.budget_tokens"},
        {"{" WITH_HI ",\"max_tokens\":1.5}", "max_tokens"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        yyjson_doc *doc = NULL;
        struct metallm__pool pool;
        struct metallm__talk t;
        const char *param = "";
        metallm_error err = {0};
        assert_int_equal(read_talk(rows[i].in, &doc, &pool, &t, &param, &err), METALLM_EINVAL);
        assert_string_equal(param, rows[i].param);
        assert_non_null(strstr(err.message, param));
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
}

/* A talk of another surface: values that Anthropic has no place for. */
static void what_cannot_be_said_is_refused_or_told(void **state)
{
    struct metallm__part parts[] = {
        {.kind = METALLM__PART_IMAGE, .media = METALLM__SPAN("image/bmp"), .data = {"AA", 2}},
        {.kind = METALLM__PART_FILE, .media = METALLM__SPAN("text/csv"), .data = {"AA", 2}},
        {.kind = METALLM__PART_FILE, .media = METALLM__SPAN("text/plain"), .data = {"*", 1}},
        {.kind = METALLM__PART_FILE, .media = METALLM__SPAN("text/plain"), .data = {"/w==", 4}},
        {.kind = METALLM__PART_TEXT},
        {.kind = METALLM__PART_TEXT, .text = METALLM__SPAN("a")},
    };
    static const int results[] = {METALLM_EINVAL, METALLM_EINVAL, METALLM_EINVAL,
                                  METALLM_EINVAL, METALLM_EINVAL, METALLM_OK};
    (void)state;
    for (size_t i = 0; i < 9; i++) {
        struct metallm__talk t;
        struct metallm__wire_out out = {.is_translated = true};
        struct metallm__turn turn = {METALLM__ROLE_USER, {NULL, 0}, &parts[i < 5 ? i : 5], 1};
        metallm_error err = {0};
        metallm__talk_clear(&t);
        t.turns = &turn;
        t.turn_count = 1;
        if (i == 6)
            t.temperature = 1.2;
        if (i == 7)
            t.reasoning_tokens = 100;
        if (i == 8)
            t.service_tier = metallm__span_of("flex");
        metallm__buf_init(&out.made, POOL_BYTES_MAX);
        int rc = metallm__wire_anthropic.talk_out(&t, &target, &out, &err);
        assert_int_equal(rc, i < 6 ? results[i] : i < 8 ? METALLM_EINVAL : METALLM_OK);
        assert_int_equal(rc == METALLM_OK, err.message[0] == '\0');
        assert_int_equal(out.dropped, i == 8 ? UINT64_C(1) << METALLM__FEATURE_SERVICE_TIER : 0);
        metallm__wire_out_fini(&out);
    }
}

/* ---- The client's own bytes. ---- */

static void other_llms_reasoning_is_taken_out_of_native_bodies(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{ \"model\":\"m\",\"max_tokens\":1.0,\"new\":[1e2]," WITH_HI "}",
         "{ \"model\":\"claude-x\",\"max_tokens\":1.0,\"new\":[1e2]," WITH_HI "}"},
        {"{\"model\":\"m\",\"x\":1.50,\"messages\":[" ASSISTANT("[{\"type\":\"thinking\","
                                                                "\"thinking\":\"a\",\"signature\":"
                                                                "\"\"}]") "," ASSISTANT("[{"
                                                                                        "\"type\":"
                                                                                        "\"thinking"
                                                                                        "\","
                                                                                        "\"thinking"
                                                                                        "\":\"a\","
                                                                                        "\"signatur"
                                                                                        "e\":"
                                                                                        "\"c2ln\"},"
                                                                                        "{\"type\":"
                                                                                        "\"redacted"
                                                                                        "_thinking"
                                                                                        "\","
                                                                                        "\"data\":"
                                                                                        "\"metallm:"
                                                                                        "gemini:"
                                                                                        "a\"},{"
                                                                                        "\"type\":"
                                                                                        "\"tool_"
                                                                                        "reference"
                                                                                        "\"}]") "],"
                                                                                                "\""
                                                                                                "me"
                                                                                                "ta"
                                                                                                "ll"
                                                                                                "m"
                                                                                                "\""
                                                                                                ":{"
                                                                                                "\""
                                                                                                "di"
                                                                                                "al"
                                                                                                "\""
                                                                                                ":2"
                                                                                                "}"
                                                                                                "}",
         "{\"model\":\"claude-x\",\"x\":1.50,\"messages\":[" ASSISTANT(
             "[{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"c2ln\"},{\"type\":"
             "\"tool_reference\"}]") "]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r;
        struct metallm__wire_out out;
        const char *param;
        metallm_error err = {0};
        char body[1024];
        size_t n = 0;
        int rc = metallm__wire_request_read(&r, METALLM__WIRE_MESSAGES,
                                            metallm__span_of(rows[i].in), &param, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(rc, METALLM_OK);
        rc = metallm__wire_request_out(&metallm__wire_anthropic, &r, &target, &out, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(rc, METALLM_OK);
        assert_false(out.is_translated);
        assert_true(metallm__span_is(out.path, "/messages"));
        for (unsigned k = 0; k < out.span_count; k++) {
            memcpy(body + n, out.spans[k].p, out.spans[k].n);
            n += out.spans[k].n;
        }
        body[n] = '\0';
        assert_string_equal(body, rows[i].out);
        assert_int_equal(n, out.body_bytes);
        metallm__wire_out_fini(&out);
        metallm__wire_request_fini(&r);
    }
}

/* What is said of sampling and thinking, by the model's name; NULL: it is refused. */
static void models_are_told_what_they_take(void **state)
{
#define TAIL(rest) ",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]" rest "}"
#define LOW(display)                                                                               \
    ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"" display                                  \
    "\"},\"output_config\":{\"effort\":\"low\"}"
    static const struct {
        const char *model;
        double temperature;
        enum metallm__effort effort;
        uint32_t max_tokens;
        const char *rest;
    } rows[] = {
        {"claude-x", 0.5, 0, 9, TAIL(",\"temperature\":0.5")},
        {"deepseek-4-7", 0.5, 0, 9, TAIL(",\"temperature\":0.5")},
        {"claude-opus-4-6", 0.5, 0, 9, TAIL(",\"temperature\":0.5")},
        {"claude-3-5-haiku-20241022", 0.5, 0, 9, TAIL(",\"temperature\":0.5")},
        {"claude-sonnet-4-20250514", 0.5, 0, 9, TAIL(",\"temperature\":0.5")},
        {"claude-opus-4-7", 0.5, 0, 9, NULL},
        {"us.anthropic.claude-sonnet-5-v1:0", 0.5, 0, 9, NULL},
        {"claude-haiku-5-5", 1, 0, 9, TAIL("")},
        {"claude-haiku-5-5", 1, METALLM__EFFORT_LOW, 9, TAIL(LOW("omitted"))},
        {"claude-x", 1, METALLM__EFFORT_MINIMAL, 9, TAIL(",\"temperature\":1" LOW("omitted"))},
        {"claude-haiku-4-5", 1, METALLM__EFFORT_MEDIUM, 9000,
         TAIL(",\"temperature\":1,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":8192,"
              "\"display\":\"omitted\"}")},
        {"claude-haiku-4-5", 1, METALLM__EFFORT_MAX, 9000,
         TAIL(",\"temperature\":1,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":8999,"
              "\"display\":\"omitted\"}")},
        {"claude-haiku-4-5", 1, METALLM__EFFORT_LOW, 1000, NULL},
        {"claude-haiku-4-5", 1, METALLM__EFFORT_LOW, 1, NULL},
    };
    const struct metallm__part part = {.text = METALLM__SPAN("a")};
    const struct metallm__turn turn = {METALLM__ROLE_USER, {NULL, 0}, &part, 1};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct metallm__wire_target to = {.model = metallm__span_of(rows[i].model),
                                                .model_json = METALLM__SPAN("\"\"")};
        struct metallm__wire_out out = {.is_translated = true};
        struct metallm__talk t;
        char wanted[512];
        metallm__talk_clear(&t);
        t.turns = &turn;
        t.turn_count = 1;
        t.temperature = rows[i].temperature;
        t.effort = rows[i].effort;
        t.max_tokens = rows[i].max_tokens;
        metallm__buf_init(&out.made, POOL_BYTES_MAX);
        int rc = metallm__wire_anthropic.talk_out(&t, &to, &out, NULL);
        assert_int_equal(rc, rows[i].rest != NULL ? METALLM_OK : METALLM_EINVAL);
        snprintf(wanted, sizeof wanted, "{\"model\":\"\",\"max_tokens\":%u%s",
                 (unsigned)rows[i].max_tokens, rc == METALLM_OK ? rows[i].rest : "");
        if (rc == METALLM_OK)
            assert_string_equal(out.made.data, wanted);
        metallm__wire_out_fini(&out);
    }
}

static void late_system_messages_need_a_place(void **state)
{
    static const struct {
        const char *model, *messages;
        int rc;
    } rows[] = {
        {"claude-opus-4-8", HI ",{\"role\":\"system\",\"content\":\"b\"}", METALLM_OK},
        {"claude-opus-4-7", HI ",{\"role\":\"system\",\"content\":\"b\"}", METALLM_EINVAL},
        {"claude-opus-4-7", HI ",{\"role\":\"system\",\"content\":\"\"}", METALLM_OK},
        {"claude-opus-4-8", HI "," ASSISTANT("\"a\"") ",{\"role\":\"system\",\"content\":\"b\"}",
         METALLM_EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct metallm__wire_target to = {.model = metallm__span_of(rows[i].model),
                                                .model_json = METALLM__SPAN("\"\"")};
        struct metallm__wire_out out = {.is_translated = true};
        struct metallm__pool pool;
        struct metallm__talk t;
        yyjson_doc *doc = NULL;
        const char *param;
        char body[512];
        snprintf(body, sizeof body, "{\"messages\":[%s]}", rows[i].messages);
        assert_int_equal(read_talk(body, &doc, &pool, &t, &param, NULL), METALLM_OK);
        metallm__buf_init(&out.made, POOL_BYTES_MAX);
        assert_int_equal(metallm__wire_anthropic.talk_out(&t, &to, &out, NULL), rows[i].rc);
        metallm__wire_out_fini(&out);
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
}

static void the_head_tells_key_and_version(void **state)
{
    const struct metallm__wire_out body = {.version = METALLM__SPAN("2026-10-21"),
                                           .beta = METALLM__SPAN("b-1")};
    struct metallm__buf lines;
    (void)state;
    metallm__buf_init(&lines, 1000);
    assert_int_equal(metallm__wire_anthropic.head_out(&target, &body, 0, &lines, NULL), METALLM_OK);
    assert_string_equal(
        lines.data, "anthropic-version: 2026-10-21\r\nx-api-key: k-1\r\nanthropic-beta: b-1\r\n");
    metallm__buf_clear(&lines);
    assert_int_equal(metallm__wire_anthropic.head_out(&target, NULL, 0, &lines, NULL), METALLM_OK);
    assert_string_equal(lines.data, "anthropic-version: 2023-06-01\r\nx-api-key: k-1\r\n");
    metallm__buf_fini(&lines);
}

/* ---- Memory. ---- */

static int translate_all(void *payload)
{
    int rc = METALLM_OK;
    (void)payload;
    for (size_t i = 0; rc == METALLM_OK && i < sizeof requests / sizeof *requests; i++) {
        yyjson_doc *doc = NULL;
        struct metallm__pool pool;
        struct metallm__talk t;
        struct metallm__wire_out out = {.is_translated = true};
        const char *param;
        metallm__buf_init(&out.made, POOL_BYTES_MAX);
        rc = read_talk(requests[i].in, &doc, &pool, &t, &param, NULL);
        if (rc == METALLM_OK && requests[i].out != NULL)
            rc = metallm__wire_anthropic.talk_out(&t, &target, &out, NULL);
        metallm__wire_out_fini(&out);
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
    return rc;
}

static void every_lack_of_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(translate_all, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_mean_the_same_here_and_there),
        cmocka_unit_test(what_a_client_got_wrong_is_named),
        cmocka_unit_test(what_cannot_be_said_is_refused_or_told),
        cmocka_unit_test(other_llms_reasoning_is_taken_out_of_native_bodies),
        cmocka_unit_test(models_are_told_what_they_take),
        cmocka_unit_test(late_system_messages_need_a_place),
        cmocka_unit_test(the_head_tells_key_and_version),
        cmocka_unit_test(every_lack_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
