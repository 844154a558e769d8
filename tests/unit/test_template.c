/* SPDX-License-Identifier: Apache-2.0
 * test_template.c - template files are checked and become the requests that they promise. */
#include "classify/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/json_text.h"
#include "wire/wire.h"

static struct metallm__labels *labels;
static struct metallm__labels *letters;

static int setup(void **state)
{
    (void)state;
    return metallm__labels_parse(&labels, "up,down,\"flat\"", NULL) != METALLM_OK ||
           metallm__labels_letters(&letters, 26, NULL) != METALLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    metallm__labels_free(labels);
    metallm__labels_free(letters);
    return 0;
}

static const struct metallm__span two[] = {METALLM__SPAN("yes"), METALLM__SPAN("a \"no\"")};
static const struct metallm__template_example plain_examples[] = {
    {.text = METALLM__SPAN("it \"rose\""), .label = 0},
    {.text = METALLM__SPAN("it fell"), .label = 1},
};
static const struct metallm__template_example choice_examples[] = {
    {.text = METALLM__SPAN("Is it?"), .label = 1, .choices = two, .choice_count = 2},
};

static struct metallm__template_source source_of(const char *file, bool is_choices,
                                                 uint32_t example_count)
{
    return (struct metallm__template_source){
        .labels = is_choices ? letters : labels,
        .is_choices = is_choices,
        .file = metallm__span_of(file),
        .path = "t.txt",
        .examples = is_choices ? choice_examples : plain_examples,
        .example_count = example_count,
    };
}

/* The messages as "role: content|", out of a request that the gateway's reader takes. */
static void messages_are(const struct metallm__template *t, const struct metallm__template_fill *f,
                         const char *expected)
{
    struct metallm__buf body, got;
    struct metallm__wire_request request = {0};
    const char *param = NULL;
    metallm_error err = {0};
    metallm__buf_init(&body, METALLM__TEMPLATE_BODY_MAX);
    metallm__buf_init(&got, 65536);
    metallm__buf_puts(&body, "what was there before");
    if (metallm__template_fill(t, f, &body, &err) != METALLM_OK ||
        metallm__wire_request_read(&request, METALLM__WIRE_CHAT, metallm__span(body.data, body.len),
                                   &param, &err) != METALLM_OK)
        fail_msg("%s: %s", body.data, err.message);
    assert_true(metallm__span_eq(request.model, f->model));
    assert_int_equal(request.needs.output_tokens_max, metallm__template_output_tokens(t));
    size_t i, max;
    yyjson_doc *doc = NULL;
    assert_int_equal(metallm__json_read(&doc, body.data, body.len, &err), METALLM_OK);
    yyjson_val *m, *root = yyjson_doc_get_root(doc);
    yyjson_arr_foreach(yyjson_obj_get(root, "messages"), i, max, m)
    {
        const struct metallm__span role = metallm__wire_text(yyjson_obj_get(m, "role")),
                                   content = metallm__wire_text(yyjson_obj_get(m, "content"));
        metallm__buf_add(&got, role.p, role.n);
        metallm__buf_puts(&got, ": ");
        metallm__buf_add(&got, content.p, content.n);
        metallm__buf_puts(&got, "|");
    }
    if (strcmp(got.data, expected) != 0)
        fail_msg("%s\ninstead of\n%s", got.data, expected);
    assert_true(yyjson_get_num(yyjson_obj_get(root, "temperature")) == 0);
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(root, "top_logprobs")), f->logprobs);
    assert_int_equal(yyjson_get_bool(yyjson_obj_get(root, "logprobs")), f->logprobs > 0);
    yyjson_doc_free(doc);
    metallm__wire_request_fini(&request);
    metallm__buf_fini(&body);
    metallm__buf_fini(&got);
}

static struct metallm__template *template_of(const char *file, bool is_choices, uint32_t examples)
{
    const struct metallm__template_source source = source_of(file, is_choices, examples);
    struct metallm__template *t = NULL;
    metallm_error err = {0};
    if (metallm__template_new(&t, &source, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return t;
}

static void files_become_messages(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool is_choices;
        uint32_t examples;
        const char *expected;
    } cases[] = {
        {"[user]\n{{text}}", false, 0, "user: {\"x\":\n\t1}|"},
        {"# a comment\n\n[system]\n\n{{count}} labels: {{labels}}.\nOr: {{or_labels}}\n\n"
         "[user]\n{ {{text}} }}\n\n",
         false, 0,
         "system: 3 labels: up, down, \"flat\".\nOr: up, down or \"flat\"|"
         "user: { {\"x\":\n\t1} }}|"},
        {"[ask]\nQ {{text}}\n[reply]\n{{label}}.\n[user]\nQ {{text}}", false, 2,
         "user: Q it \"rose\"|assistant: up.|user: Q it fell|assistant: down.|"
         "user: Q {\"x\":\n\t1}|"},
        {"[ask]\nQ {{text}}\n[reply]\n{{label}}.\n[user]\nQ {{text}}", false, 0,
         "user: Q {\"x\":\n\t1}|"},
        {"[user]\r\n{{examples}}T: {{text}}\r\nL:\r\n[example]\r\nT: {{text}}\r\nL: {{label}}\r\n",
         false, 2, "user: T: it \"rose\"\nL: up\n\nT: it fell\nL: down\n\nT: {\"x\":\n\t1}\nL:|"},
        {"[system]\n[user]\n{{text}} {{text}}", false, 0, "user: {\"x\":\n\t1} {\"x\":\n\t1}|"},
        {"[system]\n{{or_labels}} of {{count}}\n[ask]\n{{text}}\n{{choices}}\n[reply]\n{{label}}\n"
         "[user]\n{{text}}\n{{choices}} ({{labels}})",
         true, 1,
         "system: A or B of 2|user: Is it?\nA. yes\nB. a \"no\"|assistant: B|"
         "user: {\"x\":\n\t1}\nA. yes\nB. a \"no\" (A, B)|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__template *t =
            template_of(cases[i].file, cases[i].is_choices, cases[i].examples);
        const struct metallm__template_fill fill = {
            .model = METALLM__SPAN("the \"LLM\""),
            .text = METALLM__SPAN("{\"x\":\n\t1}"),
            .choices = two,
            .choice_count = cases[i].is_choices ? 2 : 0,
            .logprobs = i % 2 == 0 ? 0 : 20,
        };
        messages_are(t, &fill, cases[i].expected);
        metallm__template_free(t);
    }
}

static void the_builtin_ones_are_files_too(void **state)
{
    (void)state;
    for (int is_choices = 0; is_choices < 2; is_choices++) {
        const struct metallm__template_source given = source_of("", is_choices, 1),
                                              same =
                                                  source_of(metallm__template_builtin(is_choices),
                                                            is_choices, 1);
        struct metallm__template *a = NULL, *b = NULL;
        assert_int_equal(metallm__template_new(&a, &given, NULL), METALLM_OK);
        assert_int_equal(metallm__template_new(&b, &same, NULL), METALLM_OK);
        assert_true(metallm__template_hash(a) == metallm__template_hash(b));
        metallm__template_free(a);
        metallm__template_free(b);
    }
}

static void what_a_request_depends_on_is_hashed(void **state)
{
    (void)state;
    struct metallm__template *t[5];
    struct metallm__template_source longer = source_of("[user]\n{{text}}", false, 0);
    longer.output_tokens = 77;
    t[0] = template_of("[user]\n{{text}}", false, 0);
    t[1] = template_of("[user]\n{{text}} ", false, 0); /* a blank at the end is not sent */
    t[2] = template_of("[user]\n{{text}}!", false, 0);
    t[3] = template_of("[user]\nx{{text}}", false, 0);
    assert_int_equal(metallm__template_new(&t[4], &longer, NULL), METALLM_OK);
    assert_int_equal(metallm__template_output_tokens(t[4]), 77);
    assert_true(metallm__template_hash(t[0]) == metallm__template_hash(t[1]));
    for (int i = 2; i < 5; i++)
        assert_true(metallm__template_hash(t[0]) != metallm__template_hash(t[i]));
    for (int i = 0; i < 5; i++)
        metallm__template_free(t[i]);
}

static void wrong_files_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool is_choices;
        uint32_t examples;
        int code;
        const char *says;
    } cases[] = {
        {"hello", false, 0, METALLM_EFORMAT, "t.txt:1: 'hello' stands before the first section"},
        {"[system]\nx", false, 0, METALLM_EFORMAT, "t.txt:1: there is no [user]"},
        {"[system]\nx\n[user]\nhi", false, 0, METALLM_EFORMAT, "t.txt:3: [user] has no {{text}}"},
        {"[user]\n{{text}}\n[user]\n", false, 0, METALLM_EFORMAT, "t.txt:3: a second [user]"},
        {"[user]\n\n\n{{text}}\n{{txt}}", false, 0, METALLM_EFORMAT, "t.txt:5: '{{txt}}' is no"},
        {"[user]\n{{text}} {{label}}", false, 0, METALLM_EFORMAT,
         "t.txt:2: {{label}} has no meaning in [user]"},
        {"[user]\n{{text}} {{choices}}", false, 0, METALLM_EFORMAT, "without choices"},
        {"[user]\n{{text}}", true, 0, METALLM_EFORMAT, "[user] has no {{choices}}"},
        {"[user]\n{{text}}{{examples}}", false, 0, METALLM_EFORMAT, "t.txt:1: {{examples}} needs"},
        {"[user]\n{{text}}\n[example]\n{{text}}{{label}}", false, 0, METALLM_EFORMAT,
         "t.txt:3: [example] needs {{examples}}"},
        {"[user]\n{{text}}\n[ask]\n{{text}}", false, 0, METALLM_EFORMAT,
         "t.txt:3: [ask] and [reply] go together"},
        {"[user]\n{{examples}}{{text}}\n[example]\n{{text}}{{label}}\n[ask]\n{{text}}\n"
         "[reply]\n{{label}}",
         false, 0, METALLM_EFORMAT, "t.txt:5: examples stand in"},
        {"[user]\n{{text}}\n[ask]\n{{text}}\n[reply]\nyes", false, 0, METALLM_EFORMAT,
         "t.txt:5: [reply] has no {{label}}"},
        {"[user]\n{{text}}", false, 1, METALLM_EINVAL, "no place for examples"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct metallm__template_source source =
            source_of(cases[i].file, cases[i].is_choices, cases[i].examples);
        struct metallm__template *t = NULL;
        metallm_error err = {0};
        assert_int_equal(metallm__template_new(&t, &source, &err), cases[i].code);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("'%s': %s", cases[i].file, err.message);
        assert_null(t);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    struct metallm__template *t = template_of("[user]\n{{text}}\n{{choices}}", true, 0);
    struct metallm__buf body;
    char *big = calloc(1, METALLM__TEMPLATE_TEXT_MAX + 1);
    memset(big, 1, METALLM__TEMPLATE_TEXT_MAX + 1); /* each byte takes six in JSON */
    struct metallm__template_fill fill = {
        .text = {big, METALLM__TEMPLATE_TEXT_MAX}, .choices = two, .choice_count = 2};
    metallm__buf_init(&body, METALLM__TEMPLATE_BODY_MAX);
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_OK);
    fill.text.n++;
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_ELIMIT);
    fill.text.n = 1;
    fill.choice_count = 1;
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_EINVAL);
    fill.choice_count = 27;
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_EINVAL);
    fill.choice_count = 2;
    fill.logprobs = 21;
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_EINVAL);
    fill.logprobs = 20;
    body.max = 100;
    assert_int_equal(metallm__template_fill(t, &fill, &body, NULL), METALLM_ELIMIT);
    metallm__template_free(t);

    struct metallm__template_source source = source_of("", false, 0);
    source.file = metallm__span(big, METALLM__TEMPLATE_BYTES_MAX + 1);
    assert_int_equal(metallm__template_new(&t, &source, NULL), METALLM_ELIMIT);
    source = source_of("", false, 0);
    source.output_tokens = METALLM__TEMPLATE_OUTPUT_MAX + 1;
    assert_int_equal(metallm__template_new(&t, &source, NULL), METALLM_EINVAL);
    const struct metallm__template_example wrong[] = {{.text = METALLM__SPAN("x"), .label = 3},
                                                      {.text = METALLM__SPAN(""), .label = 0}};
    for (size_t i = 0; i < 2; i++) {
        source = source_of("", false, 1);
        source.examples = &wrong[i];
        assert_int_equal(metallm__template_new(&t, &source, NULL), METALLM_EINVAL);
    }
    free(big);
    metallm__buf_fini(&body);
}

static void the_encoder_gets_text_and_choices(void **state)
{
    (void)state;
    struct metallm__buf out;
    metallm__buf_init(&out, 100);
    const struct metallm__template_fill fill = {
        .text = METALLM__SPAN("Is it?"), .choices = two, .choice_count = 2};
    assert_int_equal(metallm__template_routed(&fill, &out, NULL), METALLM_OK);
    assert_string_equal(out.data, "Is it?\nA. yes\nB. a \"no\"");
    metallm__buf_fini(&out);
}

static int make_and_fill(void *payload)
{
    const struct metallm__template_source source = source_of("", true, 1);
    struct metallm__template *t = NULL;
    struct metallm__buf body;
    (void)payload;
    int rc = metallm__template_new(&t, &source, NULL);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_init(&body, 4096);
    const struct metallm__template_fill fill = {
        .text = METALLM__SPAN("x"), .choices = two, .choice_count = 2};
    rc = metallm__template_fill(t, &fill, &body, NULL);
    metallm__buf_fini(&body);
    metallm__template_free(t);
    return rc;
}

static void missing_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(make_and_fill, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_become_messages),
        cmocka_unit_test(the_builtin_ones_are_files_too),
        cmocka_unit_test(what_a_request_depends_on_is_hashed),
        cmocka_unit_test(wrong_files_are_refused_with_their_line),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(the_encoder_gets_text_and_choices),
        cmocka_unit_test(missing_memory_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
