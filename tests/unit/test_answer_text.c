/* SPDX-License-Identifier: Apache-2.0
 * test_answer_text.c - the text that a client reads is found in answers and in streams. */
#include "wire/answer_text.h"

#include "support/cmocka_all.h"

static void expect(const struct metallm__buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    if (b->len > 0)
        assert_memory_equal(b->data, text, b->len);
}

static void whole_answers_give_the_first_choice(void **state)
{
    (void)state;
    static const struct {
        enum metallm__wire_kind kind;
        const char *body, *text;
    } cases[] = {
        {METALLM__WIRE_CHAT,
         "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\\nb\"}},"
         "{\"index\":1,\"message\":{\"content\":\"c\"}}]}",
         "a\nb"},
        {METALLM__WIRE_CHAT, "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[]}}]}",
         ""},
        {METALLM__WIRE_CHAT, "{\"choices\":[]}", ""},
        {METALLM__WIRE_CHAT, "{\"choices\":{}}", ""},
        {METALLM__WIRE_CHAT, "not JSON", ""},
        {METALLM__WIRE_CHAT, "", ""},
        {METALLM__WIRE_COMPLETION, "{\"choices\":[{\"text\":\"t\"}]}", "t"},
        {METALLM__WIRE_COMPLETION, "{\"choices\":[{\"message\":{\"content\":\"t\"}}]}", ""},
        {METALLM__WIRE_RESPONSES,
         "{\"output\":[{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":"
         "\"hm\"}]},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"},"
         "{\"type\":\"refusal\",\"refusal\":\"no\"},{\"type\":\"output_text\",\"text\":\"b\"}]}]}",
         "ab"},
        {METALLM__WIRE_RESPONSES, "{\"output\":{\"type\":\"message\"}}", ""},
        {METALLM__WIRE_RESPONSES, "{\"output\":[{\"type\":\"message\",\"content\":\"a\"}]}", ""},
        {METALLM__WIRE_MESSAGES,
         "{\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":"
         "\"a\"},{\"type\":\"tool_use\",\"input\":{}},{\"type\":\"text\",\"text\":\"b\"}]}",
         "ab"},
        {METALLM__WIRE_MESSAGES, "{\"content\":\"a\"}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__buf out;
        metallm__buf_init(&out, 1024);
        metallm__answer_text_whole(cases[i].kind, metallm__span_of(cases[i].body), &out);
        expect(&out, cases[i].text);
        metallm__buf_fini(&out);
    }
}

static void streamed_pieces_add_up(void **state)
{
    (void)state;
    static const char *const events[] = {
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n"
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}\r\n\r\n"
        ": a comment\n\ndata:{\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
        "data: {\"choices\":[],\"usage\":{}}\n\n",
        "data: [DONE]\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"!\"}}]}", /* its end is missing */
    };
    struct metallm__buf out;
    metallm__buf_init(&out, 1024);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        metallm__answer_text_events(METALLM__WIRE_CHAT, metallm__span_of(events[i]), &out);
    expect(&out, "Hello!");
    metallm__buf_fini(&out);
}

static void each_surface_streams_in_its_own_events(void **state)
{
    (void)state;
    static const struct {
        enum metallm__wire_kind kind;
        const char *events;
    } cases[] = {
        {METALLM__WIRE_COMPLETION, "data: {\"choices\":[{\"text\":\"Hi\"}]}\n\n"},
        {METALLM__WIRE_RESPONSES,
         "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
         "\"delta\":\"H\"}\n\ndata: "
         "{\"type\":\"response.reasoning_text.delta\",\"delta\":\"x\"}\n\n"
         "data: {\"type\":\"response.output_text.delta\",\"delta\":\"i\"}\n\n"
         "data: {\"type\":\"response.output_text.done\",\"text\":\"Hi\"}\n\n"},
        {METALLM__WIRE_MESSAGES,
         "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":"
         "\"text_delta\",\"text\":\"Hi\"}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":"
         "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n"
         "data: {\"type\":\"content_block_delta\",\"delta\":3}\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__buf out;
        metallm__buf_init(&out, 1024);
        metallm__answer_text_events(cases[i].kind, metallm__span_of(cases[i].events), &out);
        expect(&out, "Hi");
        metallm__buf_fini(&out);
    }
}

static void a_text_beyond_the_limit_is_no_text(void **state)
{
    (void)state;
    struct metallm__buf out;
    metallm__buf_init(&out, 4);
    metallm__answer_text_whole(METALLM__WIRE_COMPLETION,
                               metallm__span_of("{\"choices\":[{\"text\":\"longer than four\"}]}"),
                               &out);
    assert_true(out.failed);
    metallm__buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers_give_the_first_choice),
        cmocka_unit_test(streamed_pieces_add_up),
        cmocka_unit_test(each_surface_streams_in_its_own_events),
        cmocka_unit_test(a_text_beyond_the_limit_is_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
