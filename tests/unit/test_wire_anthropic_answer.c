/* SPDX-License-Identifier: Apache-2.0
 * Answers in Anthropic's protocol: what an upstream says is told as lines, what a client gets is
 * compared byte for byte, and streams are cut at every byte. */
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

#define MESSAGE(content, rest)                                                                     \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","        \
    "\"content\":[" content "]," rest "}"
#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":2,"                            \
    "\"cache_read_input_tokens\":3,\"output_tokens\":7}"
#define BLOCKS                                                                                     \
    "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},"                          \
    "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"b21p\"},"                            \
    "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"},{\"type\":\"text\",\"text\":\"a\\\"b\"},"  \
    "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"x\":[1.0]}},"           \
    "{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}"
#define PARTS                                                                                      \
    " reasoning text=hm seal=c2ln of=anthropic; reasoning seal=b21p of=anthropic; reasoning "      \
    "seal=ZGF0 of=anthropic-redacted; text text=a\"b; call text={\"x\":[1.0]} id=toolu_1 name=f; " \
    "call text={} id=toolu_2 name=g;"

static const struct {
    const char *in, *said;
} answers[] = {
    {MESSAGE(BLOCKS, "\"stop_reason\":\"tool_use\",\"stop_sequence\":null," USAGE),
     " id=msg_1 model=claude-x" PARTS " finish=tools in=15 cached=3 written=2 out=7 thought=-1"},
    {MESSAGE("{\"type\":\"text\",\"text\":\"a\"}",
             "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\",\"usage\":{"
             "\"input_tokens\":1,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
             "\"output_tokens\":9,\"output_tokens_details\":{\"thinking_tokens\":4}}"),
     " id=msg_1 model=claude-x text text=a; finish=sequence stop=END in=1 cached=0 written=0 out=9 "
     "thought=4"},
};

static int read_said(const char *body, yyjson_doc **doc, struct metallm__pool *pool,
                     struct metallm__said *said, metallm_error *err)
{
    metallm__pool_init(pool, POOL_BYTES_MAX);
    int rc = metallm__json_read_raw(doc, body, strlen(body), err);
    return rc == METALLM_OK
               ? metallm__wire_anthropic.said_in(yyjson_doc_get_root(*doc), pool, said, err)
               : rc;
}

static void answers_mean_the_same_here_and_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        yyjson_doc *doc = NULL;
        struct metallm__pool pool;
        struct metallm__said said;
        struct metallm__buf out;
        struct talk_lines l = {.len = 0};
        metallm_error err = {0};
        metallm__buf_init(&out, POOL_BYTES_MAX);
        assert_int_equal(read_said(answers[i].in, &doc, &pool, &said, &err), METALLM_OK);
        talk_lines_said(&l, &said);
        assert_string_equal(l.text, answers[i].said);
        assert_int_equal(metallm__surface_messages.said_out(&said, NULL, said.model, 5, &out, &err),
                         METALLM_OK);
        assert_string_equal(out.data, answers[i].in);
        metallm__buf_fini(&out);
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
}

static void answers_end_for_a_reason(void **state)
{
    static const struct {
        const char *rest, *said;
    } rows[] = {
        {"\"stop_reason\":\"end_turn\"", " finish=stop"},
        {"\"stop_reason\":\"max_tokens\"", " finish=length"},
        {"\"stop_reason\":\"model_context_window_exceeded\"", " finish=length"},
        {"\"stop_reason\":\"pause_turn\"", " finish=other"},
        {"\"stop_reason\":null", " finish=none"},
        {"\"stop_reason\":\"refusal\",\"stop_details\":{\"type\":\"refusal\",\"category\":\"bio\","
         "\"explanation\":\"no\"}",
         " refusal text=no; finish=filter"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[512], wanted[512];
        yyjson_doc *doc = NULL;
        struct metallm__pool pool;
        struct metallm__said said;
        struct talk_lines l = {.len = 0};
        snprintf(body, sizeof body, "{\"content\":[{\"type\":\"server_tool_use\"}],%s}",
                 rows[i].rest);
        snprintf(wanted, sizeof wanted, "%s in=-1 cached=-1 written=-1 out=-1 thought=-1",
                 rows[i].said);
        assert_int_equal(read_said(body, &doc, &pool, &said, NULL), METALLM_OK);
        talk_lines_said(&l, &said);
        assert_string_equal(l.text, wanted);
        metallm__pool_fini(&pool);
        yyjson_doc_free(doc);
    }
}

/* What other LLMs say, as a client of Anthropic's reads it. */
static void answers_of_others_are_messages(void **state)
{
    const struct metallm__part parts[] = {
        {.kind = METALLM__PART_REASONING, .text = METALLM__SPAN("r")},
        {.kind = METALLM__PART_REASONING,
         .text = METALLM__SPAN("r"),
         .seal = METALLM__SPAN("s"),
         .seal_of = METALLM__SPAN("gemini")},
        {.kind = METALLM__PART_REASONING,
         .seal = METALLM__SPAN("s"),
         .seal_of = METALLM__SPAN("gemini")},
        {.kind = METALLM__PART_REASONING},
        {.kind = METALLM__PART_CALL, .id = METALLM__SPAN("a.b"), .name = METALLM__SPAN("f")},
        {.kind = METALLM__PART_REFUSAL, .text = METALLM__SPAN("no")},
    };
    const struct metallm__said said = {.id = METALLM__SPAN("chatcmpl \"7"),
                                       .parts = parts,
                                       .part_count = 6,
                                       .finish = METALLM__WIRE_FINISH_STOP,
                                       .usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__buf out;
    (void)state;
    metallm__buf_init(&out, POOL_BYTES_MAX);
    assert_int_equal(
        metallm__surface_messages.said_out(&said, NULL, metallm__span_of("m"), 5, &out, NULL),
        METALLM_OK);
    assert_string_equal(
        out.data,
        "{\"id\":\"msg_chatcmpl__7\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
        "\"content\":[{\"type\":\"thinking\",\"thinking\":\"r\",\"signature\":\"\"},{\"type\":"
        "\"thinking\",\"thinking\":\"r\",\"signature\":\"metallm:gemini:s\"},{\"type\":"
        "\"redacted_thinking\",\"data\":\"metallm:gemini:s\"},{\"type\":\"tool_use\",\"id\":"
        "\"a_2eb\",\"name\":\"f\",\"input\":{}},{\"type\":\"text\",\"text\":\"no\"}],"
        "\"stop_reason\":\"refusal\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":0,"
        "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}");
    metallm__buf_fini(&out);
}

static void errors_keep_their_type_and_sentence(void **state)
{
    static const struct {
        int status;
        const char *type;
    } rows[] = {{400, "invalid_request_error"},
                {401, "authentication_error"},
                {403, "permission_error"},
                {404, "not_found_error"},
                {413, "request_too_large"},
                {429, "rate_limit_error"},
                {500, "api_error"},
                {502, "api_error"},
                {504, "timeout_error"},
                {529, "overloaded_error"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct metallm__wire_refusal refusal = {.message = "so \"it\" is",
                                                      .status = rows[i].status};
        struct metallm__wire_error e;
        struct metallm__buf out;
        metallm__buf_init(&out, 1000);
        metallm__surface_messages.error_event(&out, &refusal);
        static const char head[] = "event: error\ndata: {\"type\":\"error\",\"error\":{";
        assert_memory_equal(out.data, head, sizeof head - 1);
        metallm__wire_anthropic.error_in(metallm__span(out.data + 19, out.len - 21), &e);
        assert_string_equal(e.message, "so \"it\" is");
        assert_string_equal(e.type, rows[i].type);
        metallm__buf_fini(&out);
    }
    struct metallm__said said;
    yyjson_doc *doc = NULL;
    struct metallm__pool pool;
    metallm_error err = {0};
    assert_int_equal(read_said("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                               "\"message\":\"Overloaded\"}}",
                               &doc, &pool, &said, &err),
                     METALLM_EFORMAT);
    assert_string_equal(err.message, "overloaded_error: Overloaded");
    metallm__pool_fini(&pool);
    yyjson_doc_free(doc);
}

/* ---- Streams. ---- */

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define BLOCK_START(index, block)                                                                  \
    EVENT("content_block_start", ",\"index\":" index ",\"content_block\":{" block "}")
#define BLOCK_DELTA(index, delta)                                                                  \
    EVENT("content_block_delta", ",\"index\":" index ",\"delta\":{" delta "}")
#define BLOCK_STOP(index) EVENT("content_block_stop", ",\"index\":" index)
#define FIRST                                                                                      \
    EVENT("message_start", ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"         \
                           "\"assistant\",\"model\":\"claude-x\",\"content\":[],"                  \
                           "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"               \
                           "\"input_tokens\":10,\"cache_creation_input_tokens\":2,"                \
                           "\"cache_read_input_tokens\":3,\"output_tokens\":1}}")
#define TEXT_AND_CALLS                                                                             \
    BLOCK_START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")                 \
    BLOCK_DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"h\"")                             \
    BLOCK_DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"m\"")                             \
    BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\"")                        \
    BLOCK_STOP("0")                                                                                \
    BLOCK_START("1", "\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"")                           \
    BLOCK_STOP("1")                                                                                \
    BLOCK_START("2", "\"type\":\"text\",\"text\":\"\"")                                            \
    EVENT("ping", "")                                                                              \
    BLOCK_DELTA("2", "\"type\":\"text_delta\",\"text\":\"a\\nb\"")                                 \
    BLOCK_STOP("2")                                                                                \
    BLOCK_START("3", "\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}")       \
    BLOCK_DELTA("3", "\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\":\"")             \
    BLOCK_DELTA("3", "\"type\":\"input_json_delta\",\"partial_json\":\"1}\"")                      \
    BLOCK_STOP("3")
#define LAST_BUT_ONE                                                                               \
    EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},"     \
                           "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":2,"     \
                           "\"cache_read_input_tokens\":3,\"output_tokens\":7}")
#define LAST  EVENT("message_stop", "")
#define WHOLE FIRST TEXT_AND_CALLS LAST_BUT_ONE LAST

/* Pieces of a stream, and which they were. */
struct taken {
    char text[8192], kinds[512];
    size_t len, pieces;
};

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct taken *t = payload;
    assert_true(t->len + bytes.n < sizeof t->text);
    memcpy(t->text + t->len, bytes.p, bytes.n);
    t->len += bytes.n;
    t->text[t->len] = '\0';
    char is = kind == METALLM__WIRE_PIECE_USAGE  ? 'u'
              : kind == METALLM__WIRE_PIECE_DONE ? 'd'
                                                 : 'e';
    if (t->pieces == 0 || t->kinds[t->pieces - 1] != is) /* events may come in any number */
        t->kinds[t->pieces++] = is;
    t->kinds[t->pieces] = '\0';
    return METALLM_OK;
}

/* Feeds a stream cut at `cut` (len + 1: byte by byte) to a client of Messages. */
static int stream(const char *text, size_t cut, bool is_translated, struct taken *t,
                  struct metallm__wire_answer *answer, metallm_error *err)
{
    static struct metallm__wire_request request = {.kind = METALLM__WIRE_MESSAGES,
                                                   .model = METALLM__SPAN("m")};
    const struct metallm__wire_out out = {.is_translated = is_translated};
    struct metallm__wire_stream s;
    size_t n = strlen(text), step = cut > n ? 1 : n;
    int rc = METALLM_OK;
    *t = (struct taken){.len = 0};
    metallm__wire_stream_init(&s, &metallm__wire_anthropic, &request, &out, 5);
    for (size_t at = 0; rc == METALLM_OK && at < n;) {
        size_t end = at < cut && cut <= n ? cut : at + step < n ? at + step : n;
        char *exact = malloc(end - at); /* so that a byte too many is seen by the sanitizers */
        assert_non_null(exact);
        memcpy(exact, text + at, end - at);
        rc = metallm__wire_stream_feed(&s, metallm__span(exact, end - at), take, t, err);
        free(exact);
        at = end;
    }
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, take, t, err);
    *answer = s.answer;
    metallm__wire_stream_fini(&s);
    return rc;
}

/* Passed on or told anew: both give the client the same bytes, wherever they were cut. */
static void streams_are_the_same_wherever_they_are_cut(void **state)
{
    static const char whole[] = WHOLE;
    (void)state;
    for (size_t cut = 0; cut <= sizeof whole; cut++)
        for (int is_translated = 0; is_translated < 2; is_translated++) {
            struct taken t;
            struct metallm__wire_answer a;
            metallm_error err = {0};
            int rc = stream(whole, cut, is_translated, &t, &a, &err);
            assert_string_equal(err.message, "");
            assert_int_equal(rc, METALLM_OK);
            assert_string_equal(t.text, whole);
            assert_string_equal(t.kinds, "eud");
            assert_string_equal(a.id, "msg_1");
            assert_string_equal(a.model, "claude-x");
            assert_int_equal(a.finish, METALLM__WIRE_FINISH_TOOLS);
            assert_int_equal(a.usage.input_tokens, 15);
            assert_int_equal(a.usage.cached_tokens, 3);
            assert_int_equal(a.usage.written_tokens, 2);
            assert_int_equal(a.usage.output_tokens, 7);
        }
}

/* Streams that are told in another way than they came. */
static void streams_are_told_in_order_whatever_comes(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        /* A signature in pieces is told in one; a call without arguments gets {}; blocks and events
         * that are not known are passed over. */
        {FIRST EVENT("news", "") BLOCK_START("0", "\"type\":\"thinking\",\"thinking\":\"a\"")
             BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2\"")
                 BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"ln\"")
                     BLOCK_STOP("0") BLOCK_START("1", "\"type\":\"server_tool_use\"")
                         BLOCK_DELTA("1", "\"type\":\"input_json_delta\",\"partial_json\":\"{}\"")
                             BLOCK_STOP("1") BLOCK_START("2", "\"type\":\"tool_use\",\"id\":\"t\","
                                                              "\"name\":\"g\",\"input\":{}")
                                 BLOCK_STOP("2") LAST_BUT_ONE LAST,
         FIRST BLOCK_START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
             BLOCK_DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"a\"")
                 BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\"")
                     BLOCK_STOP("0") BLOCK_START("1", "\"type\":\"tool_use\",\"id\":\"t\",\"name\":"
                                                      "\"g\",\"input\":{}")
                         BLOCK_DELTA("1", "\"type\":\"input_json_delta\",\"partial_json\":\"{}\"")
                             BLOCK_STOP("1") LAST_BUT_ONE LAST},
        /* Thinking whose words are left out stays thinking. */
        {FIRST BLOCK_START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
             BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\"") BLOCK_STOP("0")
                 LAST_BUT_ONE LAST,
         FIRST BLOCK_START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
             BLOCK_DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\"") BLOCK_STOP("0")
                 LAST_BUT_ONE LAST},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct taken t;
        struct metallm__wire_answer a;
        metallm_error err = {0};
        assert_int_equal(stream(rows[i].in, 0, true, &t, &a, &err), METALLM_OK);
        assert_string_equal(t.text, rows[i].out);
    }
}

static void broken_streams_are_refused(void **state)
{
    static const struct {
        const char *in, *sentence;
    } rows[] = {
        {FIRST EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Busy\"}"),
         "overloaded_error: Busy"},
        {FIRST "data: [1]\n\n", "an event of the stream is no JSON object"},
        {FIRST "data: {\n\n", "an event of the stream is no JSON object"},
        {FIRST TEXT_AND_CALLS, "the stream ended before its answer did"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int is_translated = 0; is_translated < 2; is_translated++) {
            struct taken t;
            struct metallm__wire_answer a;
            metallm_error err = {0};
            assert_int_equal(stream(rows[i].in, 0, is_translated, &t, &a, &err), METALLM_EFORMAT);
            assert_string_equal(err.message, rows[i].sentence);
            /* What came before, if more than the answer's head is to be translated. */
            assert_int_equal(t.text[0] != '\0', !is_translated || i == 3);
        }
}

/* ---- Memory. ---- */

static int answer_all(void *payload)
{
    yyjson_doc *doc = NULL;
    struct metallm__pool pool;
    struct metallm__said said;
    struct metallm__buf out;
    struct taken t;
    struct metallm__wire_answer a;
    (void)payload;
    metallm__buf_init(&out, POOL_BYTES_MAX);
    int rc = read_said(answers[0].in, &doc, &pool, &said, NULL);
    if (rc == METALLM_OK)
        rc = metallm__surface_messages.said_out(&said, NULL, said.model, 5, &out, NULL);
    metallm__buf_fini(&out);
    metallm__pool_fini(&pool);
    yyjson_doc_free(doc);
    return rc == METALLM_OK ? stream(WHOLE, 0, true, &t, &a, NULL) : rc;
}

static void every_lack_of_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(answer_all, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_mean_the_same_here_and_there),
        cmocka_unit_test(answers_end_for_a_reason),
        cmocka_unit_test(answers_of_others_are_messages),
        cmocka_unit_test(errors_keep_their_type_and_sentence),
        cmocka_unit_test(streams_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(streams_are_told_in_order_whatever_comes),
        cmocka_unit_test(broken_streams_are_refused),
        cmocka_unit_test(every_lack_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
