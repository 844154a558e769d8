/* SPDX-License-Identifier: Apache-2.0
 * test_csv.c - CSV records, JSON records and Python lists from bytes, whole and broken. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "data/csv.h"
#include "data/pyliteral.h"
#include "data/records.h"
#include "data/text.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

/* Every record as "LINE|field|field;" and states as "!why;" ("!!" when the rest is lost). */
static void csv_to_text(const char *bytes, size_t len, char *out, size_t size)
{
    struct metallm__csv c;
    metallm__csv_init(&c, bytes, len);
    enum metallm__csv_state state = METALLM__CSV_RECORD;
    size_t used = 0;
    out[0] = '\0';
    while (state != METALLM__CSV_END) {
        assert_int_equal(metallm__csv_next(&c, &state, NULL), METALLM_OK);
        if (state == METALLM__CSV_RECORD) {
            used += (size_t)snprintf(out + used, size - used, "%zu", c.record_line);
            for (size_t i = 0; i < c.field_count; i++)
                used += (size_t)snprintf(out + used, size - used, "|%.*s", (int)c.fields[i].len,
                                         c.fields[i].bytes);
            used += (size_t)snprintf(out + used, size - used, ";");
        } else if (state != METALLM__CSV_END) {
            used += (size_t)snprintf(out + used, size - used, "%zu%s;", c.record_line,
                                     state == METALLM__CSV_LOST ? "!!" : "!");
        }
    }
    metallm__csv_fini(&c);
}

static void csv_records_follow_rfc_4180(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *records;
    } cases[] = {
        {"", ""},
        {"a,b\n1,2\n", "1|a|b;2|1|2;"},
        {"a,b\r\n1,2", "1|a|b;2|1|2;"},
        {"\xef\xbb\xbf"
         "a\n\n\n1\n",
         "1|a;4|1;"},
        {",\n,,\n", "1||;2|||;"},
        {"\"a\nb\",c\nd,e\n", "1|a\nb|c;3|d|e;"},
        {"\"a\"\"b\",\"\",\"\"\"\"\n", "1|a\"b||\";"},
        {"\"x\"\"y\",\"z\"\"\"\n\"q\"\"\",r\n", "1|x\"y|z\";2|q\"|r;"},
        {"5\" pipe,b\n", "1|5\" pipe|b;"},
        {"a\rb,c\n", "1|a\rb|c;"},
        {"\"a\"b,c\nd,e\n", "1!;2|d|e;"},
        {"a,\"b\nc,d\n", "1!!;"},
        {"a,b\n\"c,d", "1|a|b;2!!;"},
        {"\"", "1!!;"},
        {"\"a\"", "1|a;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        csv_to_text(cases[i].bytes, strlen(cases[i].bytes), text, sizeof text);
        assert_string_equal(text, cases[i].records);
    }
}

static void csv_cut_anywhere_is_read_or_told(void **state)
{
    (void)state;
    static const char bytes[] = "p,\"m \"\"x\"\"\"\r\n\"a\r\nb, \"\"c\"\"\",1\r\nq,\"0\"\r\n";
    for (size_t len = 0; len < sizeof bytes; len++) {
        char text[256];
        csv_to_text(bytes, len, text, sizeof text); /* ends, and overruns nothing (ASan) */
    }
}

/* Every record as "LINE|text;", broken ones as "LINE!;", a lost rest as "LINE!!;". */
static void records_to_text(const char *bytes, size_t len, char *out, size_t size)
{
    struct metallm__records r;
    metallm__records_init(&r, bytes, len);
    enum metallm__records_state state = METALLM__RECORD;
    size_t used = 0;
    out[0] = '\0';
    while (state != METALLM__RECORDS_END) {
        yyjson_doc *doc = NULL;
        metallm_error err = {0};
        assert_int_equal(metallm__records_next(&r, &doc, &state, &err), METALLM_OK);
        if (state == METALLM__RECORD) {
            used += (size_t)snprintf(out + used, size - used, "%zu|%.*s;", r.record_line,
                                     (int)r.text.len, r.text.bytes);
        } else if (state != METALLM__RECORDS_END) {
            assert_true(err.message[0] != '\0');
            used += (size_t)snprintf(out + used, size - used, "%zu%s;", r.record_line,
                                     state == METALLM__RECORDS_LOST ? "!!" : "!");
        }
        yyjson_doc_free(doc);
    }
}

static void json_records_come_in_lines_arrays_and_runs(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *records;
    } cases[] = {
        {"", ""},
        {"{\"a\":1}\n\n {\"b\":2}\r\n", "1|{\"a\":1};3|{\"b\":2};"},
        {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", "1|{\"a\":1};2!;3|{\"c\":3};"},
        {"{\"a\":\"x\xe2\x80\xa8y\"}\n{\"b\":2}", "1|{\"a\":\"x\xe2\x80\xa8y\"};2|{\"b\":2};"},
        {"[{\"a\":1},\n {\"b\":[1,{}]}\n]\n", "1|{\"a\":1};2|{\"b\":[1,{}]};"},
        {"[]", ""},
        {"[{\"a\":\"]}\\\"\"}]", "1|{\"a\":\"]}\\\"\"};"},
        {"[{\"a\":1}, {\"b\":x}, {\"c\":3}]", "1|{\"a\":1};1!;1|{\"c\":3};"},
        {"[{\"a\":1},\n{\"b\":", "1|{\"a\":1};2!!;"},
        {"[{\"a\":1},\n", "1|{\"a\":1};2!!;"},
        {"[{\"a\":1}] x", "1|{\"a\":1};1!!;"},
        {"[1,\"two\",null]", "1|1;1|\"two\";1|null;"},
        {"{\n \"a\": 1\n}\n{\n \"b\": 2\n}\n", "1|{\n \"a\": 1\n};4|{\n \"b\": 2\n};"},
        {"{\n \"a\": 1\n}\n}\n{}", "1|{\n \"a\": 1\n};4!;5|{};"},
        {"{\"a\":\"\xff\"}\n{}", "1!;2|{};"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        size_t len = strlen(cases[i].bytes);
        records_to_text(cases[i].bytes, len, text, sizeof text);
        assert_string_equal(text, cases[i].records);
        for (size_t cut = 0; cut < len; cut++) /* ends, and overruns nothing (ASan) */
            records_to_text(cases[i].bytes, cut, text, sizeof text);
    }
}

static void python_lists_give_their_strings(void **state)
{
    (void)state;
    static const struct {
        const char *literal, *strings; /* NULL: refused */
    } cases[] = {
        {"['a']", "a"},
        {"[\"it's\", 'so']", "it's\nso"},
        {"[ ]", ""},
        {"('a',)", "a"},
        {"['a\\n\\t\\\\\\'\\x41\\u00e9\\U0001F600\\101\\\nb']", "a\n\t\\'A\xc3\xa9\xf0\x9f\x98\x80"
                                                                "Ab"},
        {"['\\q']", "\\q"},
        {"['\\ud800']", NULL},
        {"['\\x4']", NULL},
        {"['\\N{DASH}']", NULL},
        {"['a", NULL},
        {"['a'", NULL},
        {"['a]", NULL},
        {"['a' 'b']", NULL},
        {"[1]", NULL},
        {"['a', 2]", NULL},
        {"'a'", NULL},
        {"[", NULL},
        {"['\\']", NULL},
        {"['a'),", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__buf out;
        metallm__buf_init(&out, 1024);
        bool is_list = metallm__pyliteral_strings(metallm__span_of(cases[i].literal), &out);
        assert_int_equal(is_list, cases[i].strings != NULL);
        if (is_list)
            assert_string_equal(out.data != NULL ? out.data : "", cases[i].strings);
        metallm__buf_fini(&out);
    }
}

static void numbers_are_decimal_and_finite(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1", 1},        {" 0.5 ", 0.5}, {"-2", -2},
                {"+3", 3},       {".5", 0.5},    {"1.", 1},
                {"1e-05", 1e-5}, {"1E2", 100},   {"0.30000000000000004", 0.1 + 0.2},
                {"007", 7},      {"-0", 0}};
    static const char *const bad[] = {"",
                                      " ",
                                      "nan",
                                      "NaN",
                                      "inf",
                                      "-inf",
                                      "1,5",
                                      "0x10",
                                      "1 2",
                                      "1e",
                                      "--1",
                                      "one",
                                      "1e999",
                                      ".",
                                      "-",
                                      "+",
                                      "1..",
                                      "1e+",
                                      ("\xc2\xa0"
                                       "1")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = 42;
        bool is_number = metallm__text_number(metallm__span_of(bad[i]), &value);
        if (is_number)
            fail_msg("'%s' was read as %g", bad[i], value);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = 42;
        if (!metallm__text_number(metallm__span_of(good[i].text), &value))
            fail_msg("'%s' was not read", good[i].text);
        assert_true(value == good[i].value);
    }
}

static void utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain ascii text",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf",
                                       "aaaaaaaa\xe6\xbc\xa2"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xc2",
                                      "\xe6\xbc",
                                      "aaaaaaaa\xff",
                                      "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(metallm__text_is_utf8(metallm__span_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(metallm__text_is_utf8(metallm__span_of(bad[i])));
}

static void values_are_shown_short_and_plain(void **state)
{
    (void)state;
    char out[METALLM__SHOWN_BYTES], longest[200];
    assert_string_equal(metallm__text_show(out, metallm__span_of("a\n\xff\xe6\xbc\xa2")),
                        "a\\x0a\\xff\xe6\xbc\xa2");
    assert_string_equal(metallm__text_show(out, (struct metallm__span){NULL, 0}), "");
    memset(longest, 1, sizeof longest);
    metallm__text_show(out, (struct metallm__span){longest, sizeof longest});
    assert_true(strlen(out) < METALLM__SHOWN_BYTES);
    assert_string_equal(out + strlen(out) - 3, "...");
}

static int read_csv(void *payload)
{
    const char *bytes = payload;
    struct metallm__csv c;
    metallm__csv_init(&c, bytes, strlen(bytes));
    enum metallm__csv_state state = METALLM__CSV_RECORD;
    int rc = METALLM_OK;
    while (rc == METALLM_OK && state != METALLM__CSV_END)
        rc = metallm__csv_next(&c, &state, NULL);
    metallm__csv_fini(&c);
    return rc;
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    char bytes[] = "a,\"b\"\"c\",d\n1,\"2\"\"\",3\n";
    assert_true(fail_alloc_sweep(read_csv, bytes) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_records_follow_rfc_4180),
        cmocka_unit_test(csv_cut_anywhere_is_read_or_told),
        cmocka_unit_test(json_records_come_in_lines_arrays_and_runs),
        cmocka_unit_test(python_lists_give_their_strings),
        cmocka_unit_test(numbers_are_decimal_and_finite),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(values_are_shown_short_and_plain),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
