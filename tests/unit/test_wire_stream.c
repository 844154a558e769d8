/* SPDX-License-Identifier: Apache-2.0
 * Server-sent events and OpenAI's answers: whole, byte by byte and cut at every position they must
 * read the same, and what passes must be the bytes that came. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "metallm/base.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

/* Events as "name|data\n", and all raw bytes. */
struct seen {
    char events[2048], raw[4096];
    size_t event_len, raw_len;
};

static int see(void *payload, const struct metallm__sse_event *e)
{
    struct seen *s = payload;
    if (e == NULL)
        return METALLM_OK;
    memcpy(s->raw + s->raw_len, e->raw.p, e->raw.n);
    s->raw_len += e->raw.n;
    if (e->has_data)
        s->event_len += (size_t)snprintf(
            s->events + s->event_len, sizeof s->events - s->event_len, "%.*s|%.*s;", (int)e->name.n,
            e->name.n > 0 ? e->name.p : "", (int)e->data.n, e->data.n > 0 ? e->data.p : "");
    return METALLM_OK;
}

static void feed(struct metallm__sse *p, const char *bytes, size_t n, struct seen *s)
{
    char *exact = malloc(n + 1); /* so that a byte too many is seen by the sanitizers */
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    assert_int_equal(metallm__sse_feed(p, metallm__span(exact, n), see, s, NULL), METALLM_OK);
    free(exact);
}

static void events_are_the_same_wherever_they_are_cut(void **state)
{
    static const struct {
        const char *in, *events;
    } rows[] = {
        {"data: a\n\ndata:b\n\n", "|a;|b;"},
        {"data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;"},
        {"data: a\r\rdata: b\r\r", "|a;|b;"},
        {"data: a\r\n\ndata: b\n\r\n", "|a;|b;"},
        {"data: one\ndata: two\ndata\n\n", "|one\ntwo\n;"},
        {": comment\n\nevent: x\ndata: a\nid: 7\nretry: 5\n\n", "x|a;"},
        {"event: x\n\n", ""},
        {"\xef\xbb\xbf"
         "data: a\n\n",
         "|a;"},
        {"data:  two blanks\n\ndata:\n\n", "| two blanks;|;"},
        {"\n\n\ndata: a: b\n\n", "|a: b;"},
        {"unknown\ndatax: 1\ndata: 2\n\n", "|2;"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].in);
        for (size_t cut = 0; cut <= n + 1; cut++) { /* n + 1: byte by byte */
            struct metallm__sse p;
            struct seen s = {.events = ""};
            metallm__sse_init(&p, 1000);
            for (size_t at = 0; cut == n + 1 && at < n; at++)
                feed(&p, rows[i].in + at, 1, &s);
            if (cut <= n) {
                feed(&p, rows[i].in, cut, &s);
                feed(&p, rows[i].in + cut, n - cut, &s);
            }
            assert_int_equal(metallm__sse_end(&p, see, &s, NULL), METALLM_OK);
            assert_string_equal(s.events, rows[i].events);
            /* All passes, but for the LF of a CRLF at the very end where it came alone. */
            assert_true(s.raw_len == n || s.raw_len == n - 1);
            assert_memory_equal(s.raw, rows[i].in, s.raw_len);
            metallm__sse_fini(&p);
        }
    }
}

static void an_event_without_its_blank_line_is_closed(void **state)
{
    struct metallm__sse p;
    struct seen s = {.events = ""};
    (void)state;
    metallm__sse_init(&p, 1000);
    feed(&p, "data: a\n\ndata: [DONE]", 21, &s);
    assert_string_equal(s.events, "|a;");
    assert_int_equal(metallm__sse_end(&p, see, &s, NULL), METALLM_OK);
    assert_string_equal(s.events, "|a;|[DONE];");
    assert_string_equal(s.raw, "data: a\n\ndata: [DONE]\n\n");
    metallm__sse_fini(&p);
}

static void an_event_too_large_is_refused(void **state)
{
    struct metallm__sse p;
    struct seen s = {.events = ""};
    metallm_error err = {0};
    (void)state;
    for (size_t step = 1; step <= 20; step += 19) {
        int rc = METALLM_OK;
        metallm__sse_init(&p, 16);
        for (size_t at = 0; at < 20 && rc == METALLM_OK; at += step)
            rc = metallm__sse_feed(&p, metallm__span(&"data: 12345678901234"[at], step), see, &s,
                                   &err);
        assert_int_equal(rc, METALLM_ELIMIT);
        metallm__sse_fini(&p);
    }
}

static void what_is_written_is_read(void **state)
{
    struct metallm__sse p;
    struct seen s = {.events = ""};
    struct metallm__buf b;
    (void)state;
    metallm__buf_init(&b, 1000);
    metallm__sse_write(&b, "x", metallm__span("a\nb\r\nc", 6));
    metallm__sse_write(&b, NULL, metallm__span("", 0));
    assert_string_equal(b.data, "event: x\ndata: a\ndata: b\ndata: c\n\ndata: \n\n");
    metallm__sse_init(&p, 1000);
    feed(&p, b.data, b.len, &s);
    assert_string_equal(s.events, "x|a\nb\nc;|;");
    metallm__sse_fini(&p);
    metallm__buf_fini(&b);
}

/* ---- Streams of chunks. ---- */

struct pieces {
    char bytes[4096], kinds[64];
    size_t len, count;
};

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct pieces *p = payload;
    memcpy(p->bytes + p->len, bytes.p, bytes.n);
    p->len += bytes.n;
    p->bytes[p->len] = '\0';
    p->kinds[p->count++] = "EUD"[kind];
    return METALLM_OK;
}

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"c1\",\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":" delta             \
    ",\"finish_reason\":" finish "}],\"usage\":null}\n\n"
#define HEAD  CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define HELLO CHUNK("{\"content\":\"Hello wor\"}", "null")
#define STOP  CHUNK("{}", "\"stop\"")
#define USAGE                                                                                      \
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,"  \
    "\"prompt_tokens_details\":{\"cached_tokens\":5},"                                             \
    "\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n"
#define DONE "data: [DONE]\n\n"

static int run(struct metallm__wire_stream *s, const char *in, size_t step, struct pieces *out,
               bool is_dropped, metallm_error *err)
{
    size_t n = strlen(in);
    int rc = METALLM_OK;
    *out = (struct pieces){.bytes = ""};
    static const struct metallm__wire_request chat = {.kind = METALLM__WIRE_CHAT};
    const struct metallm__wire_out sent = {.is_usage_dropped = is_dropped};
    metallm__wire_stream_init(s, &metallm__wire_openai, &chat, &sent, 0);
    for (size_t at = 0; at < n && rc == METALLM_OK; at += step) {
        size_t part = n - at < step ? n - at : step;
        char *exact = malloc(part);
        assert_non_null(exact);
        memcpy(exact, in + at, part);
        rc = metallm__wire_stream_feed(s, metallm__span(exact, part), take, out, err);
        free(exact);
    }
    return rc == METALLM_OK ? metallm__wire_stream_end(s, take, out, err) : rc;
}

static void a_stream_passes_and_tells_of_itself(void **state)
{
    static const char in[] = HEAD ": ping\n\n" HELLO STOP USAGE DONE;
    struct metallm__wire_stream s;
    struct pieces p;
    (void)state;
    for (size_t step = 1; step <= sizeof in; step += step < 40 ? 1 : 61) {
        assert_int_equal(run(&s, in, step, &p, false, NULL), METALLM_OK);
        assert_string_equal(p.bytes, in);
        assert_true(s.is_done);
        assert_string_equal(s.answer.id, "c1");
        assert_string_equal(s.answer.model, "up");
        assert_int_equal(s.answer.finish, METALLM__WIRE_FINISH_STOP);
        assert_int_equal(s.answer.usage.input_tokens, 9);
        assert_int_equal(s.answer.usage.cached_tokens, 5);
        assert_int_equal(s.answer.usage.output_tokens, 4);
        assert_int_equal(s.answer.usage.reasoning_tokens, 1);
        assert_int_equal(s.answer.text_units, 9 * 5);
        assert_string_equal(p.kinds + p.count - 2, "UD");
        metallm__wire_stream_fini(&s);
    }
    assert_int_equal(run(&s, in, sizeof in, &p, false, NULL), METALLM_OK);
    assert_string_equal(p.kinds, "EUD"); /* events side by side are one piece */
    metallm__wire_stream_fini(&s);
}

static void usage_that_the_client_did_not_ask_for_is_dropped(void **state)
{
    struct metallm__wire_stream s;
    struct pieces p;
    (void)state;
    for (size_t step = 1; step < 600; step += 23) {
        assert_int_equal(run(&s, HEAD HELLO STOP USAGE DONE, step, &p, true, NULL), METALLM_OK);
        assert_string_equal(p.bytes, HEAD HELLO STOP DONE);
        assert_int_equal(s.answer.usage.output_tokens, 4);
        metallm__wire_stream_fini(&s);
    }
}

static void a_stream_that_breaks_is_told(void **state)
{
    static const struct {
        const char *in, *passed;
    } rows[] = {
        {HEAD HELLO, HEAD HELLO}, /* ended before its answer did */
        {HEAD "data: {\"choices\":[\n\n" HELLO, HEAD},
        {HEAD "data: 7\n\n", HEAD},
        {HEAD "data: {\"error\":{\"message\":\"overloaded\"}}\n\n", HEAD},
        {"data: {\"error\":\"boom\"}\n\n", ""},
        {"<html></html>", ""},
    };
    struct metallm__wire_stream s;
    struct pieces p;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 400; step += 57) {
            metallm_error err = {0};
            assert_int_equal(run(&s, rows[i].in, step, &p, false, &err), METALLM_EFORMAT);
            assert_true(err.message[0] != '\0');
            assert_int_equal(strncmp(p.bytes, rows[i].passed, strlen(rows[i].passed)), 0);
            metallm__wire_stream_fini(&s);
        }
    /* [DONE] left out, but the answer's end was told. */
    assert_int_equal(run(&s, HEAD STOP, 7, &p, false, NULL), METALLM_OK);
    metallm__wire_stream_fini(&s);
}

/* ---- Whole answers and errors. ---- */

static void answers_tell_their_usage(void **state)
{
    static const char chat[] =
        "{\"id\":\"x\\u0001y\",\"model\":\"m-1\",\"choices\":[{\"message\":{\"content\":"
        "\"12345678\","
        "\"tool_calls\":[{\"function\":{\"name\":\"abcd\",\"arguments\":\"{}xx\"}}]},"
        "\"finish_reason\":\"tool_calls\"}],"
        "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"prompt_cache_hit_tokens\":12}}";
    struct metallm__wire_answer a;
    (void)state;
    assert_int_equal(
        metallm__wire_openai.answer_in(METALLM__WIRE_CHAT, metallm__span_of(chat), &a, NULL),
        METALLM_OK);
    assert_string_equal(a.id, "x y");
    assert_int_equal(a.finish, METALLM__WIRE_FINISH_TOOLS);
    assert_int_equal(a.usage.input_tokens, 10);
    assert_int_equal(a.usage.cached_tokens, 10); /* never more than the input */
    assert_int_equal(a.text_units, 16 * 5);
    static const char embedding[] =
        "{\"data\":[{\"embedding\":[1e5,-2]}],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}";
    assert_int_equal(metallm__wire_openai.answer_in(METALLM__WIRE_EMBEDDING,
                                                    metallm__span_of(embedding), &a, NULL),
                     METALLM_OK);
    assert_int_equal(a.usage.input_tokens, 3);
    assert_int_equal(a.usage.output_tokens, -1);
    static const char odd[] = /* arrays where texts are expected */
        "{\"id\":[1],\"model\":{\"a\":1},\"choices\":[{\"text\":[1,2],\"message\":{\"content\":[1,"
        "2],"
        "\"tool_calls\":[{\"function\":{\"name\":[1],\"arguments\":{\"b\":2}}}]},"
        "\"finish_reason\":[1]}],\"usage\":{\"prompt_tokens\":[3],\"completion_tokens\":\"2\"}}";
    assert_int_equal(
        metallm__wire_openai.answer_in(METALLM__WIRE_CHAT, metallm__span_of(odd), &a, NULL),
        METALLM_OK);
    assert_int_equal(a.usage.input_tokens, -1);
    assert_int_equal(a.text_units, 0);
}

static void garbage_is_no_answer(void **state)
{
    static const char *const rows[] = {"",
                                       "<html>",
                                       "{\"choices\":",
                                       "[]",
                                       "{\"choices\":{}}",
                                       "{\"data\":[]}",
                                       "{}",
                                       "{\"error\":\"x\"}",
                                       "{\"choices\":[],\"error\":{\"message\":\"no\"}}"};
    struct metallm__wire_answer a;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        metallm_error err = {0};
        assert_int_equal(
            metallm__wire_openai.answer_in(METALLM__WIRE_CHAT, metallm__span_of(rows[i]), &a, &err),
            METALLM_EFORMAT);
        assert_true(err.message[0] != '\0');
    }
}

static void missing_usage_is_estimated_and_marked(void **state)
{
    static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"sixteen letters.\"}]}";
    struct metallm__wire_request r;
    struct metallm__wire_answer a;
    (void)state;
    assert_int_equal(
        metallm__wire_request_read(&r, METALLM__WIRE_CHAT, metallm__span_of(body), NULL, NULL),
        METALLM_OK);
    metallm__wire_answer_clear(&a);
    a.text_units = 41;
    metallm__wire_answer_settle(&a, &r);
    assert_true(a.usage.is_estimated);
    assert_int_equal(a.usage.input_tokens, 4 + 4);
    assert_int_equal(a.usage.output_tokens, 3);
    a.usage = (struct metallm__wire_usage){7, -1, 5, -1, -1, false};
    metallm__wire_answer_settle(&a, &r);
    assert_false(a.usage.is_estimated);
    assert_int_equal(a.usage.input_tokens, 7);
    metallm__wire_request_fini(&r);
}

static void errors_of_upstreams_are_read(void **state)
{
    static const struct {
        const char *body, *message, *code;
    } rows[] = {
        {"{\"error\":{\"message\":\"no\",\"type\":\"t\",\"code\":\"c\"}}", "no", "c"},
        {"{\"error\":\"plain\"}", "plain", ""},
        {"{\"detail\":\"fast\"}", "fast", ""},
        {"{\"message\":\"top\",\"code\":7}", "top", ""},
        {"<html>", "", ""},
        {"", "", ""},
        {"7", "", ""},
        {"{\"error\":{\"message\":[1,2],\"type\":{\"a\":1},\"code\":[1]}}", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_error e;
        metallm__wire_openai.error_in(metallm__span_of(rows[i].body), &e);
        assert_string_equal(e.message, rows[i].message);
        assert_string_equal(e.code, rows[i].code);
    }
}

static void errors_are_written_as_openai_does(void **state)
{
    struct metallm__buf b;
    const struct metallm__wire_refusal e = {.message = "a \"b\"\n\xff", .type = "t", .code = "c"};
    (void)state;
    metallm__buf_init(&b, 1000);
    metallm__wire_error_event(&b, &e);
    assert_string_equal(b.data, "data: {\"error\":{\"message\":\"a \\\"b\\\"\\n\xef\xbf\xbd\","
                                "\"type\":\"t\",\"param\":null,\"code\":\"c\"}}\n\n");
    metallm__buf_fini(&b);
}

static int stream_all(void *payload)
{
    struct metallm__wire_stream s;
    struct pieces p;
    metallm_error err = {0};
    (void)payload;
    int rc = run(&s, HEAD HELLO STOP USAGE DONE, 100, &p, true, &err);
    metallm__wire_stream_fini(&s);
    return rc;
}

static int answer_all(void *payload)
{
    struct metallm__wire_answer a;
    (void)payload;
    return metallm__wire_openai.answer_in(METALLM__WIRE_CHAT, metallm__span_of("{\"choices\":[]}"),
                                          &a, NULL);
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(stream_all, NULL) >= 2);
    assert_true(fail_alloc_sweep(answer_all, NULL) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(an_event_without_its_blank_line_is_closed),
        cmocka_unit_test(an_event_too_large_is_refused),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_stream_passes_and_tells_of_itself),
        cmocka_unit_test(usage_that_the_client_did_not_ask_for_is_dropped),
        cmocka_unit_test(a_stream_that_breaks_is_told),
        cmocka_unit_test(answers_tell_their_usage),
        cmocka_unit_test(garbage_is_no_answer),
        cmocka_unit_test(missing_usage_is_estimated_and_marked),
        cmocka_unit_test(errors_of_upstreams_are_read),
        cmocka_unit_test(errors_are_written_as_openai_does),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
