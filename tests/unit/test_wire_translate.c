/* SPDX-License-Identifier: Apache-2.0
 * Requests, answers and streams on their way between a client and an upstream of another protocol:
 * what is sent, dropped and refused, wherever a stream is cut and whatever memory is missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/talk_read.h"
#include "wire/wire.h"

static const struct metallm__wire_target target = {.model = METALLM__SPAN("up/1"),
                                                   .model_json = METALLM__SPAN("\"up/1\""),
                                                   .is_usage_asked = true};

static int read_as(struct metallm__wire_request *r, enum metallm__wire_kind kind, const char *body)
{
    metallm_error err = {0};
    int rc = metallm__wire_request_read(r, kind, metallm__span_of(body), NULL, &err);
    if (rc != METALLM_OK && rc != METALLM_ENOMEM)
        fail_msg("%s: %s", body, err.message);
    return rc;
}

static void expect_sent(const struct metallm__wire_out *out, const char *want)
{
    char got[4096];
    size_t n = 0;
    for (unsigned i = 0; i < out->span_count; i++) {
        assert_true(n + out->spans[i].n < sizeof got);
        memcpy(got + n, out->spans[i].p, out->spans[i].n);
        n += out->spans[i].n;
    }
    got[n] = '\0';
    assert_int_equal(n, out->body_bytes);
    assert_string_equal(got, want);
}

/* ---- The tables. ---- */

static void every_protocol_and_surface_is_whole(void **state)
{
    const struct metallm__wire *w;
    size_t count = 0;
    (void)state;
    for (; (w = metallm__wire_at(count)) != NULL; count++) {
        assert_ptr_equal(metallm__wire_find(w->name), w);
        assert_true(w->talk_out != NULL && w->said_in != NULL && w->event_in != NULL);
        assert_true(w->error_in != NULL && w->head_out != NULL);
        assert_true(w->verdicts != NULL && w->accept != NULL);
        assert_true((w->embed_out == NULL) == (w->embed_in == NULL));
        for (unsigned kind = 0; kind < METALLM__WIRE_KINDS; kind++)
            assert_true((w->native >> kind & 1u) == (w->native_paths[kind] != NULL));
        for (unsigned f = 0; f < METALLM__FEATURES; f++)
            assert_in_range(w->verdicts[f], METALLM__VERDICT_REFUSED, METALLM__VERDICT_CARRIED);
        /* What is not known is never passed over in silence. */
        assert_int_equal(w->verdicts[METALLM__FEATURE_OTHER], METALLM__VERDICT_REFUSED);
    }
    assert_true(count >= 6);
    assert_null(metallm__wire_find("nobody's"));
    for (unsigned kind = 0; kind < METALLM__WIRE_KINDS; kind++) {
        const struct metallm__surface *s = metallm__surface_of((enum metallm__wire_kind)kind);
        assert_true(s->name != NULL && s->error_out != NULL && s->error_event != NULL);
        assert_true((s->talk_in == NULL) == (kind == METALLM__WIRE_EMBEDDING));
    }
}

static void every_feature_has_a_name_of_its_own(void **state)
{
    char untold[128];
    (void)state;
    for (unsigned f = 0; f < METALLM__FEATURES; f++) {
        const char *name = metallm__feature_name((enum metallm__feature)f);
        assert_true(metallm__feature_about((enum metallm__feature)f)[0] != '\0');
        snprintf(untold, sizeof untold, "cannot be told %s", name);
        assert_string_equal(metallm__feature_untold((enum metallm__feature)f), untold);
        for (unsigned g = 0; g < f; g++)
            assert_string_not_equal(name, metallm__feature_name((enum metallm__feature)g));
    }
}

/* ---- Requests. ---- */

#define PROMPT "{\"model\":\"auto\",\"prompt\":\"Say \\\"hi\\\"\",\"max_tokens\":9}"

static void a_completion_is_asked_as_a_chat(void **state)
{
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    const char *why = NULL;
    (void)state;
    assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, PROMPT), METALLM_OK);
    assert_true(metallm__wire_says(&metallm__wire_openai, &target, &r, &why));
    assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, NULL),
                     METALLM_OK);
    assert_true(out.is_translated);
    assert_true(metallm__span_is(out.path, "/chat/completions"));
    expect_sent(&out, "{\"model\":\"up/1\",\"messages\":[{\"role\":\"user\",\"content\":"
                      "\"Say \\\"hi\\\"\"}],\"max_tokens\":9}");
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
}

static void azure_is_spoken_to_by_its_classic_urls(void **state)
{
    struct metallm__wire_target azure = target;
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    struct metallm__buf lines;
    (void)state;
    azure.azure_version = metallm__span_of("2026-01-01");
    azure.key = metallm__span_of("k");
    for (int is_native = 0; is_native < 2; is_native++) {
        azure.native = is_native ? 1u << METALLM__WIRE_COMPLETION : 0;
        assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, PROMPT), METALLM_OK);
        assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &azure, &out, NULL),
                         METALLM_OK);
        assert_true(metallm__span_is(
            out.path, is_native
                          ? "/openai/deployments/up%2F1/completions?api-version=2026-01-01"
                          : "/openai/deployments/up%2F1/chat/completions?api-version=2026-01-01"));
        if (!is_native)
            assert_non_null(strstr(out.made.data, "\"max_completion_tokens\":9"));
        metallm__wire_out_fini(&out);
        metallm__wire_request_fini(&r);
    }
    metallm__buf_init(&lines, 1000);
    assert_int_equal(metallm__wire_openai.head_out(&azure, NULL, 0, &lines, NULL), METALLM_OK);
    assert_string_equal(lines.data, "api-key: k\r\n");
    metallm__buf_fini(&lines);
}

static void azure_takes_responses_without_a_deployment(void **state)
{
    struct metallm__wire_target azure = target;
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    (void)state;
    azure.azure_version = metallm__span_of("v");
    azure.native = 1u << METALLM__WIRE_RESPONSES;
    assert_int_equal(read_as(&r, METALLM__WIRE_RESPONSES, "{\"model\":\"a\",\"input\":\"hi\"}"),
                     METALLM_OK);
    assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &azure, &out, NULL),
                     METALLM_OK);
    assert_true(metallm__span_is(out.path, "/openai/responses?api-version=v"));
    expect_sent(&out, "{\"model\":\"up/1\",\"input\":\"hi\"}");
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
}

static void what_cannot_be_said_is_refused_by_name(void **state)
{
    static const struct {
        enum metallm__wire_kind kind;
        const char *body, *why, *message;
    } rows[] = {
        {METALLM__WIRE_COMPLETION, "{\"model\":\"a\",\"prompt\":[\"a\",\"b\"]}",
         "cannot be told completion extras", "'completion extras' cannot be said to openai"},
        {METALLM__WIRE_COMPLETION, "{\"model\":\"a\",\"prompt\":\"a\",\"n\":2}",
         "cannot be told several choices", "'several choices' cannot be said to openai"},
        {METALLM__WIRE_CHAT,
         "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"min_p\":1}",
         "cannot be told other members", "'min_p' cannot be said to openai"},
        {METALLM__WIRE_CHAT, "{\"model\":\"a\",\"messages\":[{\"role\":\"nobody\"}]}",
         "'messages.role' must be system, developer, user, assistant or tool",
         "'messages.role' must be system, developer, user, assistant or tool"},
        {METALLM__WIRE_CHAT,
         "{\"model\":\"a\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"[1]\"}}]}]}",
         "'messages.tool_calls' must be made of functions with id, name and arguments in JSON",
         "'messages.tool_calls' must be made of functions with id, name and arguments in JSON"},
        {METALLM__WIRE_EMBEDDING, "{\"model\":\"a\",\"input\":\"a\"}",
         "cannot be told this kind of request", "openai cannot be told this kind of request"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r;
        struct metallm__wire_out out;
        metallm_error err = {0};
        const char *why = NULL;
        assert_int_equal(read_as(&r, rows[i].kind, rows[i].body), METALLM_OK);
        assert_false(metallm__wire_says(&metallm__wire_openai, &target, &r, &why));
        assert_string_equal(why, rows[i].why);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(
                metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, &err),
                METALLM_EINVAL);
            assert_string_equal(err.message, rows[i].message);
        }
        metallm__wire_request_fini(&r);
    }
}

static void what_is_left_out_is_told(void **state)
{
    static const char body[] =
        "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"store\":true,"
        "\"metadata\":{\"a\":\"b\"},\"service_tier\":\"flex\",\"prompt_cache_key\":\"k\","
        "\"presence_penalty\":0,\"n\":1,\"logit_bias\":{},\"user\":null}";
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    (void)state;
    assert_int_equal(read_as(&r, METALLM__WIRE_CHAT, body), METALLM_OK);
    assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, NULL),
                     METALLM_OK);
    assert_int_equal(out.dropped, 1ull << METALLM__FEATURE_STORE |
                                      1ull << METALLM__FEATURE_METADATA |
                                      1ull << METALLM__FEATURE_SERVICE_TIER |
                                      1ull << METALLM__FEATURE_CACHE_MARKS);
    expect_sent(&out, "{\"model\":\"up/1\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                      "\"presence_penalty\":0}");
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
}

static void results_get_the_names_of_their_tools(void **state)
{
#define CALL(id, name) "{\"id\":\"" id "\",\"function\":{\"name\":\"" name "\",\"arguments\":\"\"}}"
    static const char body[] =
        "{\"model\":\"a\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[" CALL(
            "1", "one") "," CALL("2", "two") "]},"
                                             "{\"role\":\"tool\",\"tool_call_id\":\"2\","
                                             "\"content\":\"b\"},{\"role\":\"tool\","
                                             "\"tool_call_id\":\"3\"},"
                                             "{\"role\":\"assistant\",\"tool_calls\":[" CALL(
                                                 "2", "other") "]},{\"role\":\"tool\","
                                                               "\"tool_call_id\":\"2\"}]}";
    struct metallm__wire_request r;
    const struct metallm__talk *t = NULL;
    (void)state;
    assert_int_equal(read_as(&r, METALLM__WIRE_CHAT, body), METALLM_OK);
    assert_int_equal(metallm__wire_request_talk(&r, &t, NULL), METALLM_OK);
    assert_int_equal(t->turn_count, 4);
    assert_true(metallm__span_is(t->turns[1].parts[0].name, "two"));
    assert_int_equal(t->turns[1].parts[1].name.n, 0); /* nobody called it */
    assert_true(metallm__span_is(t->turns[3].parts[0].name, "other"));
    metallm__wire_request_fini(&r);
}

/* The JSON library is the judge; rng makes texts that are nearly JSON. */
static void what_is_an_object_is_known_without_memory(void **state)
{
    static const char *const words[] = {
        "{",  "}",    "[",   "]",    ",",  ":",     "\"a\"",   "1",           "-0", "1.5", "1e3",
        "01", "true", "nul", "\"\\", "\"", "\\u12", "\"\\n\"", "\"\\u00e4\"", " ",  "\n"};
    static const char *const whole[] = {"{}",
                                        " {\"a\" : [ 1 , {} , [ ] , -1.5E+3 ] , \"b\":null }\n",
                                        "{\"a\":\"\\ud83d\\ude00\",\"b\":{\"c\":[true,false]}}"};
    char deep[600] = "{\"a\":";
    metallm_rng rng;
    size_t objects = 0;
    (void)state;
    metallm_rng_seed(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        char text[200] = "";
        if (i % 3 == 0) { /* a text that is right, with a word put in */
            const char *base = whole[metallm__rng_below(&rng, 3)];
            size_t at = metallm__rng_below(&rng, (uint32_t)strlen(base) + 1);
            snprintf(text, sizeof text, "%.*s%s%s", (int)at, base,
                     words[metallm__rng_below(&rng, 21)], base + at);
        } else {
            strcpy(text, "{");
            for (uint32_t k = metallm__rng_below(&rng, 8); k > 0; k--)
                strcat(text, words[metallm__rng_below(&rng, 21)]);
        }
        yyjson_doc *doc = yyjson_read(text, strlen(text), YYJSON_READ_NUMBER_AS_RAW);
        bool want = yyjson_is_obj(yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
        objects += want;
        if (metallm__json_is_object(metallm__span_of(text)) != want)
            fail_msg("%s: %d", text, want);
    }
    assert_true(objects > 1000);
    for (size_t i = 0; i < 127; i++)
        strcat(deep, "[");
    for (size_t i = 0; i < 127; i++)
        strcat(deep, "]");
    strcat(deep, "}");
    assert_true(metallm__json_is_object(metallm__span_of(deep)));
    deep[5] = '[', memmove(deep + 6, deep + 5, strlen(deep + 5) + 1), deep[5] = ':';
    assert_false(metallm__json_is_object(metallm__span_of(deep)));
    assert_false(metallm__json_is_object(metallm__span(NULL, 0)));
}

static void long_histories_of_short_turns_are_read(void **state)
{
    static const char turn[] = "{\"role\":\"user\",\"content\":\"a\"},";
    const size_t count = METALLM__TALK_TURNS_MAX;
    struct metallm__wire_request r;
    const struct metallm__talk *t = NULL;
    struct metallm__buf b;
    metallm_error err = {0};
    (void)state;
    metallm__buf_init(&b, (size_t)4 << 20);
    for (size_t more = 0; more < 2; more++) {
        metallm__buf_clear(&b);
        metallm__buf_puts(&b, "{\"model\":\"a\",\"messages\":[");
        for (size_t i = 0; i < count + more; i++)
            metallm__buf_add(&b, turn, sizeof turn - 1);
        b.len--;
        metallm__buf_puts(&b, "]}");
        assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_CHAT,
                                                    metallm__span(b.data, b.len), NULL, NULL),
                         METALLM_OK);
        int rc = metallm__wire_request_talk(&r, &t, &err);
        assert_int_equal(rc, more == 0 ? METALLM_OK : METALLM_ELIMIT);
        if (rc == METALLM_OK)
            assert_int_equal(t->turn_count, count);
        metallm__wire_request_fini(&r);
    }
    metallm__buf_fini(&b);
}

/* ---- Answers. ---- */

static void an_answer_is_told_as_the_client_asked(void **state)
{
    static const char answer[] =
        "{\"id\":\"x1\",\"model\":\"up\",\"choices\":[{\"message\":{\"content\":\"Hi\\n\"},"
        "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    struct metallm__wire_request r;
    struct metallm__wire_answer a;
    struct metallm__buf made;
    (void)state;
    metallm__buf_init(&made, 4096);
    assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, PROMPT), METALLM_OK);
    assert_int_equal(metallm__wire_answer_in(&metallm__wire_openai, &r, true,
                                             metallm__span_of(answer), 77, &made, &a, NULL),
                     METALLM_OK);
    assert_string_equal(made.data,
                        "{\"id\":\"cmpl-x1\",\"object\":\"text_completion\",\"created\":77,"
                        "\"model\":\"up\",\"choices\":[{\"text\":\"Hi\\n\",\"index\":0,"
                        "\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{"
                        "\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}");
    assert_int_equal(a.usage.output_tokens, 2);
    assert_int_equal(a.finish, METALLM__WIRE_FINISH_LENGTH);
    assert_int_equal(a.text_units, 15);
    metallm__buf_clear(&made);
    struct metallm__wire_refused refused = {
        .status = 400,
        .body = METALLM__SPAN("{\"error\":{\"message\":\"too \\\"long\\\"\",\"code\":\"c\"}}"),
        .kind = METALLM__SPAN("Other"),
    };
    metallm__wire_refusal_in(&metallm__wire_openai, &r, &refused, &made);
    assert_string_equal(made.data, "{\"error\":{\"message\":\"too \\\"long\\\"\",\"type\":"
                                   "\"invalid_request_error\",\"param\":null,\"code\":\"c\"}}");
    metallm__buf_clear(&made);
    refused.body = metallm__span_of("{\"message\":\"no\"}");
    refused.kind = metallm__span_of("ValidationException:http://internal.amazon.com/coral/");
    metallm__wire_refusal_in(&metallm__wire_bedrock, &r, &refused, &made);
    assert_string_equal(made.data,
                        "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\","
                        "\"param\":null,\"code\":\"ValidationException\"}}");
    metallm__buf_fini(&made);
    metallm__wire_request_fini(&r);
}

#define TOOL_CALLS(calls) "{\"choices\":[{\"message\":{\"tool_calls\":[" calls "]}}]}"

static void what_is_no_answer_is_not_translated(void **state)
{
    static const char *const rows[] = {
        "",
        "[]",
        "{}",
        "{\"choices\":[]}",
        "{\"error\":{\"message\":\"no\"}}",
        TOOL_CALLS("{\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
        TOOL_CALLS("{}"),
    };
    struct metallm__wire_request r;
    struct metallm__wire_answer a;
    struct metallm__buf made;
    (void)state;
    metallm__buf_init(&made, 4096);
    assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, PROMPT), METALLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        metallm_error err = {0};
        assert_int_equal(metallm__wire_answer_in(&metallm__wire_openai, &r, true,
                                                 metallm__span_of(rows[i]), 77, &made, &a, &err),
                         METALLM_EFORMAT);
        assert_true(err.message[0] != '\0');
        assert_int_equal(made.len, 0);
    }
    metallm__wire_request_fini(&r);
    metallm__buf_fini(&made);
}

/* ---- Streams. ---- */

struct pieces {
    char bytes[8192], kinds[512];
    size_t len, count;
};

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct pieces *p = payload;
    assert_true(p->len + bytes.n < sizeof p->bytes && p->count + 1 < sizeof p->kinds);
    memcpy(p->bytes + p->len, bytes.p, bytes.n);
    p->len += bytes.n;
    p->bytes[p->len] = '\0';
    if (kind != METALLM__WIRE_PIECE_EVENTS || p->count == 0 || p->kinds[p->count - 1] != 'E')
        p->kinds[p->count++] = "EUD"[kind];
    return METALLM_OK;
}

static int run(const struct metallm__wire_request *r, const char *in, size_t step,
               struct pieces *out, metallm_error *err)
{
    const struct metallm__wire_out sent = {.is_translated = true};
    struct metallm__wire_stream s;
    size_t n = strlen(in);
    int rc = METALLM_OK;
    *out = (struct pieces){.bytes = ""};
    metallm__wire_stream_init(&s, &metallm__wire_openai, r, &sent, 77);
    for (size_t at = 0; at < n && rc == METALLM_OK; at += step)
        rc = metallm__wire_stream_feed(&s, metallm__span(in + at, n - at < step ? n - at : step),
                                       take, out, err);
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, take, out, err);
    if (rc == METALLM_OK) {
        assert_int_equal(s.answer.usage.output_tokens, 4);
        assert_int_equal(s.answer.finish, METALLM__WIRE_FINISH_STOP);
        assert_string_equal(s.answer.id, "c1");
    }
    metallm__wire_stream_fini(&s);
    return rc;
}

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"c1\",\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":" delta             \
    ",\"finish_reason\":" finish "}]}\n\n"
#define AZURE "data: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n"
#define HEAD  CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define HELLO CHUNK("{\"content\":\"Hello \\\"w\\\"\"}", "null")
#define STOP  CHUNK("{}", "\"stop\"")
#define USAGE                                                                                      \
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":"    \
    "4}}\n\n"
#define DONE "data: [DONE]\n\n"
#define TOLD(members)                                                                              \
    "data: {\"id\":\"cmpl-c1\",\"object\":\"text_completion\",\"created\":77,\"model\":\"up\","    \
    "\"choices\":[" members "\n\n"
static const char stream_prompt[] = "{\"model\":\"auto\",\"prompt\":\"a\",\"stream\":true,"
                                    "\"stream_options\":{\"include_usage\":true}}";

static void a_stream_is_the_same_wherever_it_is_cut(void **state)
{
    static const char in[] = AZURE HEAD ": thinking\n\n" HELLO STOP USAGE DONE;
    static const char want[] =
        ": ping\n\n" TOLD("{\"index\":0,\"text\":\"Hello \\\"w\\\"\",\"logprobs\":null,"
                          "\"finish_reason\":null}],\"usage\":null}")
            TOLD("{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                 "\"usage\":null}") TOLD("],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,"
                                         "\"total_tokens\":13}}") DONE;
    struct metallm__wire_request r;
    struct pieces p;
    (void)state;
    assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, stream_prompt), METALLM_OK);
    for (size_t step = 1; step <= sizeof in; step++) {
        assert_int_equal(run(&r, in, step, &p, NULL), METALLM_OK);
        assert_string_equal(p.bytes, want);
        assert_string_equal(p.kinds, "EUD");
    }
    /* The end may be left out. */
    assert_int_equal(run(&r, HEAD HELLO STOP USAGE, 50, &p, NULL), METALLM_OK);
    assert_string_equal(p.kinds, "EUD");
    metallm__wire_request_fini(&r);
}

static void a_stream_that_breaks_keeps_what_was_told(void **state)
{
    static const char *const rows[] = {
        HEAD HELLO,
        HEAD HELLO DONE,
        HEAD HELLO "data: {\"choices\":[\n\n",
        HEAD HELLO "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
        HEAD HELLO CHUNK("{\"tool_calls\":[{\"index\":0}]}", "null"),
    };
    struct metallm__wire_request r;
    struct pieces p;
    (void)state;
    assert_int_equal(read_as(&r, METALLM__WIRE_COMPLETION, stream_prompt), METALLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 800; step += 29) {
            metallm_error err = {0};
            assert_int_equal(run(&r, rows[i], step, &p, &err), METALLM_EFORMAT);
            assert_true(err.message[0] != '\0');
            assert_string_equal(p.kinds, "E");
            assert_string_equal(p.bytes, TOLD("{\"index\":0,\"text\":\"Hello \\\"w\\\"\","
                                              "\"logprobs\":null,\"finish_reason\":null}],"
                                              "\"usage\":null}"));
        }
    metallm__wire_request_fini(&r);
}

/* The head of an answer alone binds nobody to the LLM that began it. */
static void nothing_is_handed_on_before_an_answer_has_begun(void **state)
{
    static const struct {
        enum metallm__wire_kind kind;
        const char *body;
    } rows[] = {
        {METALLM__WIRE_MESSAGES,
         "{\"model\":\"auto\",\"max_tokens\":9,\"stream\":true,\"messages\":"
         "[{\"role\":\"user\",\"content\":\"a\"}]}"},
        {METALLM__WIRE_RESPONSES, "{\"model\":\"auto\",\"stream\":true,\"input\":\"a\"}"},
        {METALLM__WIRE_CHAT, "{\"model\":\"auto\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                             "\"content\":\"a\"}]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r;
        struct pieces p;
        metallm_error err = {0};
        assert_int_equal(read_as(&r, rows[i].kind, rows[i].body), METALLM_OK);
        assert_int_equal(
            run(&r, HEAD "data: {\"error\":{\"message\":\"overloaded\"}}\n\n", 7, &p, &err),
            METALLM_EFORMAT);
        assert_int_equal(p.count, 0);
        assert_int_equal(run(&r, HEAD HELLO STOP USAGE DONE, 7, &p, &err), METALLM_OK);
        assert_int_equal(p.kinds[0], 'E');
        metallm__wire_request_fini(&r);
    }
}

/* ---- No memory. ---- */

static int request_all(void *payload)
{
    static const char body[] =
        "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
        "\"input_audio\":{\"format\":\"wav\",\"data\":\"AAAA\"}}]},{\"role\":\"assistant\","
        "\"tool_calls\":[" CALL("1", "f") "]},{\"role\":\"tool\",\"tool_call_id\":\"1\"}],"
                                          "\"tools\":[{\"type\":\"function\",\"function\":{"
                                          "\"name\":\"f\",\"parameters\":{}}}],"
                                          "\"stop\":[\"a\"],\"metadata\":{\"a\":1}}";
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    metallm_error err;
    (void)payload;
    int rc = metallm__wire_request_read(&r, METALLM__WIRE_CHAT, metallm__span_of(body), NULL, &err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, &err);
    if (rc == METALLM_OK)
        metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
    return rc;
}

static int answer_all(void *payload)
{
    static const char answer[] =
        "{\"choices\":[{\"message\":{\"content\":\"Hi\",\"reasoning_content\":\"r\","
        "\"tool_calls\":[" CALL("1", "f") "]},\"logprobs\":{}}]}";
    const struct metallm__wire_request *r = payload;
    struct metallm__wire_answer a;
    struct metallm__buf made;
    metallm_error err;
    metallm__buf_init(&made, 4096);
    int rc = metallm__wire_answer_in(&metallm__wire_openai, r, true, metallm__span_of(answer), 77,
                                     &made, &a, &err);
    metallm__buf_fini(&made);
    return rc;
}

static int stream_all(void *payload)
{
    static struct pieces p;
    metallm_error err;
    return run(payload, HEAD HELLO STOP USAGE DONE, 100, &p, &err);
}

static void no_memory_is_told(void **state)
{
    struct metallm__wire_request r;
    (void)state;
    assert_true(fail_alloc_sweep(request_all, NULL) >= 5);
    assert_int_equal(read_as(&r, METALLM__WIRE_CHAT,
                             "{\"model\":\"a\",\"messages\":[{\"role\":\"user\"}],"
                             "\"stream\":true}"),
                     METALLM_OK);
    assert_true(fail_alloc_sweep(answer_all, &r) >= 4);
    assert_true(fail_alloc_sweep(stream_all, &r) >= 4);
    metallm__wire_request_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_and_surface_is_whole),
        cmocka_unit_test(every_feature_has_a_name_of_its_own),
        cmocka_unit_test(a_completion_is_asked_as_a_chat),
        cmocka_unit_test(azure_is_spoken_to_by_its_classic_urls),
        cmocka_unit_test(azure_takes_responses_without_a_deployment),
        cmocka_unit_test(what_cannot_be_said_is_refused_by_name),
        cmocka_unit_test(what_is_left_out_is_told),
        cmocka_unit_test(results_get_the_names_of_their_tools),
        cmocka_unit_test(what_is_an_object_is_known_without_memory),
        cmocka_unit_test(long_histories_of_short_turns_are_read),
        cmocka_unit_test(an_answer_is_told_as_the_client_asked),
        cmocka_unit_test(what_is_no_answer_is_not_translated),
        cmocka_unit_test(a_stream_is_the_same_wherever_it_is_cut),
        cmocka_unit_test(a_stream_that_breaks_keeps_what_was_told),
        cmocka_unit_test(nothing_is_handed_on_before_an_answer_has_begun),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
