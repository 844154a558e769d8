/* SPDX-License-Identifier: Apache-2.0
 * Requests: what is read of them, what is refused, and that writing one for an upstream changes
 * only what it must. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "metallm/base.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

static int read_chat(struct metallm__wire_request *r, const char *body, metallm_error *err)
{
    return metallm__wire_request_read(r, METALLM__WIRE_CHAT, metallm__span_of(body), NULL, err);
}

#define assert_span(span, text)                                                                    \
    do {                                                                                           \
        struct metallm__span s_ = (span);                                                          \
        assert_int_equal(s_.n, strlen(text));                                                      \
        assert_memory_equal(s_.p, text, s_.n);                                                     \
    } while (0)

static void a_request_is_read(void **state)
{
    static const char body[] =
        "{\"model\":\"auto\",\"messages\":["
        "{\"role\":\"system\",\"content\":\"Be kind.\"},"
        "{\"role\":\"user\",\"content\":\"first\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"result\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what is\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:...\"}},"
        "{\"type\":\"text\",\"text\":\"th\\u00e4t?\"}]}],"
        "\"tools\":[{\"type\":\"function\"}],\"response_format\":{\"type\":\"json_schema\"},"
        "\"n\":3,\"max_tokens\":100,\"max_completion_tokens\":50,\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},"
        "\"metallm\":{\"dial\":0.5,\"target\":1,\"max_cost_usd\":0,\"models\":[\"a\",\"b\"],"
        "\"task\":\"t\",\"session\":\"s\"}}";
    struct metallm__wire_request r;
    metallm_error err = {0};
    (void)state;
    assert_int_equal(read_chat(&r, body, &err), METALLM_OK);
    assert_span(r.model, "auto");
    assert_true(r.is_stream && r.wants_usage);
    assert_true(r.needs.tools && r.needs.images && r.needs.json && r.needs.json_schema);
    assert_false(r.needs.audio || r.needs.files);
    assert_int_equal(r.needs.choices, 3);
    assert_int_equal(r.needs.output_tokens_max, 50);
    assert_in_range(r.needs.input_tokens, 765, 830);
    assert_span(r.last_user, "what is\nth\xc3\xa4t?");
    assert_span(r.system, "Be kind.");
    assert_span(r.text, "Be kind.\n\nwhat is\nth\xc3\xa4t?");
    assert_int_equal(r.rest_bytes, strlen("first") + strlen("result"));
    assert_int_equal(r.message_count, 5);
    assert_true(r.hints.dial == 0.5 && r.hints.target == 1 && r.hints.max_cost_usd == 0);
    assert_int_equal(r.hints.model_count, 2);
    assert_span(r.hints.models[1], "b");
    assert_span(r.hints.task, "t");
    assert_span(r.hints.session, "s");
    metallm__wire_request_fini(&r);
}

static void what_is_routed_on_follows_the_rule(void **state)
{
    static const struct {
        const char *messages, *text;
    } rows[] = {
        {"[{\"role\":\"user\",\"content\":\"q\"}]", "q"},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]", "b"},
        {"[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"w\"}]", "q"},
        {"[{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"system\",\"content\":\"x\"},"
         "{\"role\":\"user\",\"content\":\"q\"}]",
         "d\n\nq"},
        {"[{\"role\":\"assistant\",\"content\":\"w\"}]", "w"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", ""},
        {"[{\"role\":\"user\",\"content\":null}]", ""},
        {"[{\"content\":[\"x\",\"y\"],\"role\":\"user\"}]", "x\ny"},
        {"[{\"role\":[1,2],\"content\":\"q\",\"tool_calls\":[{\"function\":{\"name\":[1,2],"
         "\"arguments\":{\"a\":1}}},7]}]",
         "q"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":[1],\"text\":[1,2]},{\"text\":\"q\"}]}]", "q"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[512];
        struct metallm__wire_request r;
        metallm_error err = {0};
        snprintf(body, sizeof body, "{\"messages\":%s,\"model\":\"m\"}", rows[i].messages);
        assert_int_equal(read_chat(&r, body, &err), METALLM_OK);
        assert_span(r.text, rows[i].text);
        metallm__wire_request_fini(&r);
    }
}

/* A system message of 600 two-byte characters and a question of 100,000: both are cut between
 * characters, the question in its middle. */
static void long_texts_are_cut_between_characters(void **state)
{
    enum { SYSTEM = 600, USER = 50000 };
    char *body = calloc(1, 2 * SYSTEM + 2 * USER + 200), *at = body;
    struct metallm__wire_request r;
    metallm_error err = {0};
    (void)state;
    assert_non_null(body);
    at += sprintf(at, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"x");
    for (int i = 0; i < SYSTEM; i++)
        at += sprintf(at, "\xc3\xa4");
    at += sprintf(at, "\"},{\"role\":\"user\",\"content\":\"y");
    for (int i = 0; i < USER; i++)
        at += sprintf(at, "\xc3\xb6");
    sprintf(at, "\"}]}");
    assert_int_equal(read_chat(&r, body, &err), METALLM_OK);
    assert_int_equal(r.last_user.n, 1 + 2 * USER);
    assert_int_equal(r.text.n, 511 + 2 + 32767 + 1 + 32768);
    assert_memory_equal(r.text.p + 511, "\n\ny\xc3\xb6", 5);
    assert_memory_equal(r.text.p + 513 + 32767, "\n\xc3\xb6", 3);
    assert_int_equal(r.rest_bytes, 0);
    metallm__wire_request_fini(&r);
    free(body);
}

static void prompts_and_inputs_are_read(void **state)
{
    struct metallm__wire_request r;
    metallm_error err = {0};
    (void)state;
    const struct metallm__span prompt = METALLM__SPAN("{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_COMPLETION, prompt, NULL, &err),
                     METALLM_OK);
    assert_span(r.text, "a\nb");
    metallm__wire_request_fini(&r);
    const struct metallm__span tokens = METALLM__SPAN("{\"model\":\"m\",\"prompt\":[1,2,3]}");
    assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_COMPLETION, tokens, NULL, &err),
                     METALLM_OK);
    assert_int_equal(r.text.n, 0);
    assert_int_equal(r.needs.input_tokens, 3);
    metallm__wire_request_fini(&r);
    const struct metallm__span input = METALLM__SPAN("{\"model\":\"m\",\"input\":\"abcd\"}");
    assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_EMBEDDING, input, NULL, &err),
                     METALLM_OK);
    assert_int_equal(r.text.n, 0);
    assert_int_equal(r.needs.input_tokens, 1);
    metallm__wire_request_fini(&r);
}

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"
static void what_is_wrong_is_refused_by_name(void **state)
{
    static const struct {
        const char *body, *param;
        int rc;
    } rows[] = {
        {"", NULL, METALLM_EFORMAT},
        {"[]", NULL, METALLM_EFORMAT},
        {"{\"model\":\"m\"," M, NULL, METALLM_EFORMAT},
        {"{\"model\":\"m\"," M "} x", NULL, METALLM_EFORMAT},
        {"{\"model\":\"\xff\"," M "}", NULL, METALLM_EFORMAT},
        {"{\"model\":\"\\ud800\"," M "}", NULL, METALLM_EFORMAT},
        {"{" M "}", "model", METALLM_EINVAL},
        {"{\"model\":\"m\"}", "messages", METALLM_EINVAL},
        {"{\"model\":\"m\",\"mod\\u0065l\":\"x\"," M "}", "model", METALLM_EINVAL},
        {"{\"model\":\"m\"," M "," M "}", "messages", METALLM_EINVAL},
        {"{\"model\":\"\"," M "}", "model", METALLM_EINVAL},
        {"{\"model\":7," M "}", "model", METALLM_EINVAL},
        {"{\"model\":\"m\",\"messages\":[]}", "messages", METALLM_EINVAL},
        {"{\"model\":\"m\",\"messages\":{}}", "messages", METALLM_EINVAL},
        {"{\"model\":\"m\",\"messages\":[1]}", "messages", METALLM_EINVAL},
        {"{\"model\":\"m\",\"messages\":[{\"content\":1}]}", "messages.content", METALLM_EINVAL},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"role\":\"x\"}]}", "messages",
         METALLM_EINVAL},
        {"{\"model\":\"m\",\"stream\":1," M "}", "stream", METALLM_EINVAL},
        {"{\"model\":\"m\",\"stream_options\":[]," M "}", "stream_options", METALLM_EINVAL},
        {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":1}," M "}",
         "stream_options.include_usage", METALLM_EINVAL},
        {"{\"model\":\"m\",\"n\":0," M "}", "n", METALLM_EINVAL},
        {"{\"model\":\"m\",\"n\":129," M "}", "n", METALLM_EINVAL},
        {"{\"model\":\"m\",\"n\":1.5," M "}", "n", METALLM_EINVAL},
        {"{\"model\":\"m\",\"max_tokens\":-1," M "}", "max_tokens", METALLM_EINVAL},
        {"{\"model\":\"m\",\"max_tokens\":1e300," M "}", "max_tokens", METALLM_EINVAL},
        {"{\"model\":\"m\",\"tools\":{}," M "}", "tools", METALLM_EINVAL},
        {"{\"model\":\"m\",\"response_format\":1," M "}", "response_format", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":1," M "}", "metallm", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"dail\":1}," M "}", "metallm", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"dial\":-1}," M "}", "metallm.dial", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"dial\":1,\"dial\":1}," M "}", "metallm.dial",
         METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"target\":1.01}," M "}", "metallm.target", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"max_cost_usd\":\"1\"}," M "}", "metallm.max_cost_usd",
         METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"models\":[]}," M "}", "metallm.models", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"models\":[\"a\",\"a\"]}," M "}", "metallm.models",
         METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"task\":\"\"}," M "}", "metallm.task", METALLM_EINVAL},
        {"{\"model\":\"m\",\"metallm\":{\"session\":\"a\\u0000\"}," M "}", "metallm.session",
         METALLM_EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r;
        metallm_error err = {0};
        const char *param = "?";
        int rc = metallm__wire_request_read(&r, METALLM__WIRE_CHAT, metallm__span_of(rows[i].body),
                                            &param, &err);
        if (rc != rows[i].rc || (param == NULL) != (rows[i].param == NULL) ||
            (param != NULL && strcmp(param, rows[i].param) != 0))
            fail_msg("%s: %d %s %s", rows[i].body, rc, param, err.message);
        assert_true(err.message[0] != '\0');
        if (param != NULL)
            assert_non_null(strstr(err.message, param));
    }
}

static void deep_nesting_is_refused(void **state)
{
    char body[1024];
    metallm_error err = {0};
    struct metallm__wire_request r;
    (void)state;
    for (int depth = 126; depth <= 128; depth++) {
        char *at = body + sprintf(body, "{\"model\":\"m\"," M ",\"x\":");
        memset(at, '[', (size_t)depth);
        memset(at + depth, ']', (size_t)depth);
        strcpy(at + 2 * depth, "}");
        assert_int_equal(read_chat(&r, body, &err), depth < 128 ? METALLM_OK : METALLM_ELIMIT);
        if (depth < 128)
            metallm__wire_request_fini(&r);
    }
}

static void headers_are_hints_and_the_body_wins(void **state)
{
    static const struct {
        const char *name, *value;
        int rc;
    } rows[] = {
        {"Dial", "0.25", METALLM_OK},      {"dial", "-1", METALLM_EINVAL},
        {"dial", "nan", METALLM_EINVAL},   {"dial", "0x1", METALLM_EINVAL},
        {"dial", "", METALLM_EINVAL},      {"target", "1e-1", METALLM_OK},
        {"target", "1.1", METALLM_EINVAL}, {"max-cost-usd", "2", METALLM_OK},
        {"models", "a, b", METALLM_OK},    {"models", "a,,b", METALLM_EINVAL},
        {"task", "t", METALLM_OK},         {"session", "a\tb", METALLM_EINVAL},
        {"tsak", "t", METALLM_ENOTFOUND},
    };
    struct metallm__wire_hints h;
    metallm_error err;
    (void)state;
    metallm__wire_hints_clear(&h);
    h.dial = 3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(metallm__wire_hint_header(&h, metallm__span_of(rows[i].name),
                                                   metallm__span_of(rows[i].value), &err),
                         rows[i].rc);
    assert_true(h.dial == 3 && h.target == 0.1 && h.max_cost_usd == 2);
    assert_int_equal(h.model_count, 2);
    assert_span(h.models[1], "b");
    assert_span(h.task, "t");
    assert_int_equal(h.session.n, 0);
}

/* ---- Writing: a random object with what is edited at any place. ---- */

static metallm_rng rng;
static char text[1 << 16];
static size_t len;

static void add(const char *s)
{
    len += (size_t)snprintf(text + len, sizeof text - len, "%s", s);
    assert_true(len < sizeof text - 1);
}

static const char *one_of(const char *const *list, unsigned count)
{
    return list[metallm__rng_below(&rng, count)];
}

static void blank(void)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\t \r\n"};
    add(one_of(blanks, 6));
}

static void value(unsigned depth);

static void object(unsigned depth)
{
    static const char *const keys[] = {"\"model\"",    "\"metallm\"", "\"mod\\u0065l\"",
                                       "\"a\\\"},b\"", "\"\"",        "\"stream_options\""};
    bool used[6] = {false};
    unsigned count = metallm__rng_below(&rng, 4), put = 0;
    add("{");
    blank();
    for (unsigned i = 0; i < count; i++) {
        unsigned k = metallm__rng_below(&rng, 6);
        if (used[k] || (k == 2 && used[0]) || (k == 0 && used[2]))
            continue;
        used[k] = true;
        if (put++ > 0)
            add(",");
        blank();
        add(keys[k]);
        blank();
        add(":");
        blank();
        value(depth + 1);
        blank();
    }
    add("}");
}

static void value(unsigned depth)
{
    static const char *const plain[] = {
        "null", "true",     "-1.5e3",           "0",
        "\"\"", "\"}],{\"", "\"\\\\\\\" \\n\"", "\"\xe2\x82\xac and some thirty bytes of text\""};
    unsigned kind = metallm__rng_below(&rng, depth < 4 ? 10 : 8);
    if (kind < 8) {
        add(plain[kind]);
    } else if (kind == 8) {
        object(depth);
    } else {
        add("[");
        unsigned count = metallm__rng_below(&rng, 4);
        for (unsigned i = 0; i < count; i++) {
            if (i > 0)
                add(",");
            blank();
            value(depth + 1);
            blank();
        }
        add("]");
    }
}

/* The members that a request has, in any order, some of them missing, strangers between them. */
static void request(void)
{
    static const char *const models[] = {"\"model\":\"auto\"", "\"mod\\u0065l\" :\n\"a\\\"b\""};
    static const char *const hints[] = {"\"metallm\":{}", "\"metallm\" : {\"dial\": 0.5 }",
                                        "\"m\\u0065tallm\":{\"task\":\"}],\"}"};
    static const char *const options[] = {"\"stream_options\":null",
                                          "\"stream_options\" : { }",
                                          "\"stream_options\":{\"x\":[{}]}",
                                          "\"stream_options\":{\"include_usage\":true }",
                                          "\"stream_options\":{\"x\":1,\"include_usage\": false}",
                                          "\"stream_options\": {\"include_usage\":null,\"y\":2}"};
    static const char *const streams[] = {"\"stream\":true", "\"stream\" : false"};
    const char *members[16];
    static char strangers[4][4096];
    unsigned count = 0;
    members[count++] = one_of(models, 2);
    members[count++] = M;
    if (metallm__rng_below(&rng, 3) > 0)
        members[count++] = one_of(hints, 3);
    if (metallm__rng_below(&rng, 2) > 0)
        members[count++] = one_of(options, 6);
    if (metallm__rng_below(&rng, 3) > 0)
        members[count++] = one_of(streams, 2);
    for (unsigned i = metallm__rng_below(&rng, 4); i > 0; i--) {
        len = (size_t)snprintf(text, sizeof text, "\"stranger%u\":", i);
        value(0);
        assert_true(len < sizeof strangers[i]);
        memcpy(strangers[i], text, len + 1);
        members[count++] = strangers[i];
    }
    uint32_t order[16];
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    metallm__rng_shuffle(&rng, order, count);
    len = 0;
    blank();
    add("{");
    for (unsigned i = 0; i < count; i++) {
        blank();
        add(members[order[i]]);
        blank();
        add(i + 1 < count ? "," : "}");
    }
    blank();
}

/* The parsed input with the change made by the JSON library. */
static yyjson_mut_doc *expected(const struct metallm__wire_request *r, bool is_asked)
{
    yyjson_doc *plain = yyjson_read(r->body.p, r->body.n, 0); /* with its numbers read */
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(plain, NULL);
    yyjson_doc_free(plain);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_mut_obj_remove_key(root, "model");
    yyjson_mut_obj_add_str(doc, root, "model", "up\"stream");
    yyjson_mut_obj_remove_key(root, "metallm");
    if (is_asked) {
        yyjson_mut_val *options = yyjson_mut_obj_get(root, "stream_options");
        if (!yyjson_mut_is_obj(options)) {
            yyjson_mut_obj_remove_key(root, "stream_options");
            options = yyjson_mut_obj_add_obj(doc, root, "stream_options");
        }
        yyjson_mut_obj_remove_key(options, "include_usage");
        yyjson_mut_obj_add_true(doc, options, "include_usage");
    }
    return doc;
}

static void writing_changes_only_what_it_must(void **state)
{
    static char out_text[1 << 17];
    const struct metallm__wire_target target = {.model_json = METALLM__SPAN("\"up\\\"stream\""),
                                                .native = 1u << METALLM__WIRE_CHAT,
                                                .is_usage_asked = true};
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        metallm_error err = {0};
        struct metallm__wire_request r;
        struct metallm__wire_out out;
        metallm_rng_seed(&rng, seed);
        request();
        if (read_chat(&r, text, &err) != METALLM_OK)
            fail_msg("seed %u: %s: %s", (unsigned)seed, err.message, text);
        assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, &err),
                         METALLM_OK);
        size_t n = 0, kept = 0;
        const char *last = text;
        for (unsigned i = 0; i < out.span_count; i++) {
            struct metallm__span s = out.spans[i];
            memcpy(out_text + n, s.p, s.n);
            n += s.n;
            if (s.p >= text && s.p < text + len) { /* the client's bytes, in their order */
                assert_true(s.p >= last);
                last = s.p + s.n;
                kept += s.n;
            }
        }
        assert_int_equal(n, out.body_bytes);
        bool is_asked = r.is_stream && !r.wants_usage;
        assert_int_equal(out.is_usage_dropped, is_asked);
        size_t gone = (r.model_at.end - r.model_at.begin) + (r.hints_at.end - r.hints_at.begin);
        if (is_asked && r.usage_at.end > 0)
            gone += r.usage_at.end - r.usage_at.begin;
        else if (is_asked && out.spans[0].p != NULL && r.options_at.end > 0 &&
                 len - kept - gone == r.options_at.end - r.options_at.begin)
            gone = len - kept; /* null or {} */
        assert_int_equal(kept + gone, len);
        yyjson_mut_doc *want = expected(&r, is_asked);
        yyjson_doc *want_read = yyjson_mut_doc_imut_copy(want, NULL);
        yyjson_doc *got = yyjson_read(out_text, n, 0);
        if (got == NULL || !yyjson_equals(yyjson_doc_get_root(got), yyjson_doc_get_root(want_read)))
            fail_msg("seed %u: %s\n-> %.*s", (unsigned)seed, text, (int)n, out_text);
        yyjson_doc_free(got);
        yyjson_doc_free(want_read);
        yyjson_mut_doc_free(want);
        metallm__wire_out_fini(&out);
        metallm__wire_request_fini(&r);
    }
}

static void a_usual_request_is_written_as_it_is(void **state)
{
    static const char body[] = "{ \"metallm\":{\"dial\":1} , " M ", \"model\" : \"auto\"}\n";
    const struct metallm__wire_target target = {.model_json = METALLM__SPAN("\"big\""),
                                                .native = 1u << METALLM__WIRE_CHAT,
                                                .is_usage_asked = true};
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    char got[512] = "";
    (void)state;
    assert_int_equal(read_chat(&r, body, NULL), METALLM_OK);
    assert_int_equal(metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, NULL),
                     METALLM_OK);
    for (unsigned i = 0; i < out.span_count; i++)
        strncat(got, out.spans[i].p, out.spans[i].n);
    assert_string_equal(got, "{  " M ", \"model\" : \"big\"}\n");
    assert_span(out.path, "/chat/completions");
    metallm__wire_request_fini(&r);
}

static int read_all(void *payload)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
        "\"content\":[{\"text\":\"a\"},{\"text\":\"b\"}]}],\"metallm\":{\"models\":[\"a\"]}}";
    struct metallm__wire_request r;
    metallm_error err = {0};
    (void)payload;
    int rc = read_chat(&r, body, &err);
    if (rc == METALLM_OK)
        metallm__wire_request_fini(&r);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(read_all, NULL) >= 3);
}

static void tokens_are_estimated_by_characters(void **state)
{
    (void)state;
    assert_int_equal(metallm__tokens_estimate(metallm__span_of("")), 0);
    assert_int_equal(metallm__tokens_estimate(metallm__span_of("abcd")), 1);
    assert_int_equal(metallm__tokens_estimate(metallm__span_of("abcde")), 2);
    assert_int_equal(metallm__tokens_estimate(metallm__span_of("\xe6\x97\xa5\xe6\x9c\xac")), 2);
    char many[256]; /* 85 characters of three bytes: long and short ways of counting agree */
    for (int i = 0; i < 255; i++)
        many[i] = "\xe6\x97\xa5"[i % 3];
    for (size_t n = 0; n <= 255; n++) {
        uint64_t units = 0;
        for (size_t i = 0; i < n; i++)
            units += metallm__token_units(metallm__span(many + i, 1));
        assert_int_equal(metallm__token_units(metallm__span(many, n)), units);
    }
    assert_int_equal(metallm__tokens_estimate(metallm__span(many, 255)), 68);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(what_is_routed_on_follows_the_rule),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(prompts_and_inputs_are_read),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(headers_are_hints_and_the_body_wins),
        cmocka_unit_test(a_usual_request_is_written_as_it_is),
        cmocka_unit_test(writing_changes_only_what_it_must),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(tokens_are_estimated_by_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
