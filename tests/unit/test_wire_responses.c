/* SPDX-License-Identifier: Apache-2.0
 * OpenAI's Responses: requests, answers and streams, read into what is said and written from it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/responses/responses.h"

#define POOL_BYTES ((size_t)1 << 20)

struct box { /* a talk that was read */
    yyjson_doc *doc;
    struct metallm__pool pool;
    struct metallm__talk talk;
};

static int open_box(struct box *b, const char *json, const char **param, metallm_error *err)
{
    metallm__pool_init(&b->pool, POOL_BYTES);
    b->doc = NULL;
    int rc = metallm__json_read_raw(&b->doc, json, strlen(json), err);
    return rc == METALLM_OK ? metallm__responses_talk_in(yyjson_doc_get_root(b->doc), &b->pool,
                                                         &b->talk, param, err)
                            : rc;
}

static void close_box(struct box *b)
{
    metallm__pool_fini(&b->pool);
    yyjson_doc_free(b->doc);
}

static const struct metallm__wire_target target = {.model = METALLM__SPAN("up"),
                                                   .model_json = METALLM__SPAN("\"up\"")};

static int write_talk(const struct metallm__talk *talk, struct metallm__wire_out *out,
                      metallm_error *err)
{
    *out = (struct metallm__wire_out){.span_count = 0};
    metallm__buf_init(&out->made, POOL_BYTES);
    metallm__buf_init(&out->path_made, 4096);
    return metallm__responses_talk_out(talk, &target, out, err);
}

/* ---- Requests. ---- */

/* In the form in which they are written, so that reading and writing must give the same bytes. */
static const char *const bodies[] = {
    "{\"model\":\"up\",\"input\":[{\"type\":\"message\",\"role\":\"system\",\"content\":[{\"type\":"
    "\"input_text\",\"text\":\"be brief\"}]},{\"type\":\"message\",\"role\":\"user\",\"content\":[{"
    "\"type\":\"input_text\",\"text\":\"hi \\\"you\\\"\"}]}],\"store\":false}",
    "{\"model\":\"up\",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
    "\"input_text\",\"text\":\"weather?\"}]},{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{"
    "\"type\":\"summary_text\",\"text\":\"two cities\"}],\"encrypted_content\":\"c2VhbA==\"},{"
    "\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"w\",\"arguments\":\"{\\\"q\\\":1}\"},"
    "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"w\",\"arguments\":\"{}\"},{\"type\":"
    "\"function_call_output\",\"call_id\":\"c1\",\"output\":\"sun\"},{\"type\":"
    "\"function_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":"
    "\"a\""
    "},{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":\"data:image/png;base64,QUJD\"}]"
    "},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":"
    "\"and?\"}]}],\"tools\":[{\"type\":\"function\",\"name\":\"w\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"x\":123456789012345678901234567890},\"strict\":true},{"
    "\"type\":"
    "\"function\",\"name\":\"n\",\"parameters\":null,\"strict\":false}],\"tool_choice\":{\"type\":"
    "\"function\",\"name\":\"w\"},\"include\":[\"reasoning.encrypted_content\"],"
    "\"parallel_tool_calls\":false,\"store\":false,\"stream\":true}",
    "{\"model\":\"up\",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
    "\"input_image\",\"detail\":\"low\",\"image_url\":\"https://a/"
    "b.png\"},{\"type\":\"input_file\","
    "\"file_id\":\"f1\"},{\"type\":\"input_file\",\"file_data\":\"data:application/"
    "pdf;base64,QQ==\""
    ",\"filename\":\"a.pdf\"}]},{\"type\":\"message\",\"role\":\"assistant\",\"content\":\"yes\"},{"
    "\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\","
    "\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},{\"type\":\"message\",\"role\":"
    "\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"why\"}]}],\"tool_choice\":"
    "\"required\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"s\",\"description\":"
    "\"d\",\"schema\":{\"type\":\"object\"},\"strict\":true},\"verbosity\":\"low\"},\"reasoning\":{"
    "\"effort\":\"max\",\"summary\":\"auto\"},\"include\":[\"reasoning.encrypted_content\"],"
    "\"max_output_tokens\":7,\"temperature\":0.5,\"top_p\":1,\"user\":\"u\",\"metadata\":{\"k\":"
    "\"v\"},\"store\":false}",
};

static void what_is_written_is_what_was_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct box b;
        struct metallm__wire_out out;
        const char *param = NULL;
        metallm_error err = {0};
        assert_int_equal(open_box(&b, bodies[i], &param, &err), METALLM_OK);
        assert_int_equal(write_talk(&b.talk, &out, &err), METALLM_OK);
        assert_string_equal(out.made.data, bodies[i]);
        assert_int_equal(out.dropped, 0);
        assert_true(metallm__span_is(out.path, "/responses"));
        metallm__wire_out_fini(&out);
        close_box(&b);
    }
}

static void short_forms_say_the_same_as_long_ones(void **state)
{
    struct box b;
    const char *param = NULL;
    metallm_error err = {0};
    (void)state;
    assert_int_equal(open_box(&b,
                              "{\"input\":\"hi\",\"instructions\":\"sys\",\"stream\":null,"
                              "\"temperature\":null,\"reasoning\":{\"effort\":null},\"store\":true,"
                              "\"service_tier\":\"flex\",\"prompt_cache_key\":\"k\"}",
                              &param, &err),
                     METALLM_OK);
    assert_int_equal(b.talk.turn_count, 2);
    assert_int_equal(b.talk.turns[0].role, METALLM__ROLE_SYSTEM);
    assert_true(metallm__span_is(b.talk.turns[0].parts[0].text, "sys"));
    assert_true(metallm__span_is(b.talk.turns[1].parts[0].text, "hi"));
    assert_true(isnan(b.talk.temperature));
    assert_false(b.talk.is_stream);
    assert_true(b.talk.features ==
                (1ull << METALLM__FEATURE_STORE | 1ull << METALLM__FEATURE_SERVICE_TIER |
                 1ull << METALLM__FEATURE_CACHE_MARKS));
    close_box(&b);
}

static void what_has_no_place_is_a_feature(void **state)
{
    static const struct {
        const char *json;
        enum metallm__feature feature;
    } rows[] = {
        {"{\"input\":\"x\",\"previous_response_id\":\"resp_1\"}", METALLM__FEATURE_STATE},
        {"{\"input\":\"x\",\"conversation\":\"c\"}", METALLM__FEATURE_STATE},
        {"{\"input\":\"x\",\"background\":true}", METALLM__FEATURE_STATE},
        {"{\"prompt\":{\"id\":\"p\"}}", METALLM__FEATURE_STATE},
        {"{\"input\":[{\"type\":\"item_reference\",\"id\":\"i\"},\"\"]}", METALLM__FEATURES},
        {"{\"input\":[{\"id\":\"i\"},{\"role\":\"user\",\"content\":\"x\"}]}",
         METALLM__FEATURE_STATE},
        {"{\"input\":\"x\",\"tools\":[{\"type\":\"web_search\"}]}", METALLM__FEATURE_HOSTED_TOOLS},
        {"{\"input\":\"x\",\"tool_choice\":{\"type\":\"mcp\"}}", METALLM__FEATURE_HOSTED_TOOLS},
        {"{\"input\":\"x\",\"truncation\":\"auto\"}", METALLM__FEATURE_OTHER},
        {"{\"input\":\"x\",\"moderation\":{\"model\":\"m\"}}", METALLM__FEATURE_OTHER},
        {"{\"input\":\"x\",\"top_logprobs\":3}", METALLM__FEATURE_LOGPROBS},
        {"{\"input\":\"x\",\"include\":[\"message.output_text.logprobs\"]}",
         METALLM__FEATURE_LOGPROBS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct box b;
        const char *param = NULL;
        metallm_error err = {0};
        int rc = open_box(&b, rows[i].json, &param, &err);
        assert_int_equal(rc, rows[i].feature == METALLM__FEATURES ? METALLM_EINVAL : METALLM_OK);
        if (rc == METALLM_OK)
            assert_true(b.talk.features == 1ull << rows[i].feature);
        close_box(&b);
    }
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *json, *param;
    } rows[] = {
        {"{}", "input"},
        {"{\"input\":1}", "input"},
        {"{\"input\":[1]}", "input"},
        {"{\"input\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "input"},
        {"{\"input\":[{\"role\":\"user\",\"content\":1}]}", "input"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]}", "input"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"x\"}]}]}", "input"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}", "input"},
        {"{\"input\":[{\"type\":\"function_call\",\"call_id\":\"a\"}]}", "input"},
        {"{\"input\":[{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"b\",\"arguments\":"
         "\"[]\"}]}",
         "input"},
        {"{\"input\":[{\"type\":\"function_call_output\",\"output\":\"a\"}]}", "input"},
        {"{\"input\":\"x\",\"instructions\":[]}", "instructions"},
        {"{\"input\":\"x\",\"temperature\":\"hot\"}", "temperature"},
        {"{\"input\":\"x\",\"max_output_tokens\":-1}", "max_output_tokens"},
        {"{\"input\":\"x\",\"tools\":{}}", "tools"},
        {"{\"input\":\"x\",\"tools\":[{\"type\":\"function\"}]}", "tools"},
        {"{\"input\":\"x\",\"tool_choice\":\"maybe\"}", "tool_choice"},
        {"{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\"}}}", "text"},
        {"{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"grammar\"}}}", "text"},
        {"{\"input\":\"x\",\"reasoning\":{\"effort\":\"huge\"}}", "reasoning"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct box b;
        const char *param = NULL;
        metallm_error err = {0};
        assert_int_equal(open_box(&b, rows[i].json, &param, &err), METALLM_EINVAL);
        assert_string_equal(param, rows[i].param);
        assert_non_null(strstr(err.message, param));
        close_box(&b);
    }
}

static void reasoning_of_another_provider_is_left_out_and_told(void **state)
{
    struct box b;
    struct metallm__wire_out out;
    const char *param = NULL;
    metallm_error err = {0};
    (void)state;
    assert_int_equal(
        open_box(&b,
                 "{\"input\":[{\"role\":\"user\",\"content\":\"a\"},{\"type\":\"reasoning\",\"id\":"
                 "\"r\",\"summary\":[],\"encrypted_content\":\"metallm:anthropic:abc\"},{\"role\":"
                 "\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
                 &param, &err),
        METALLM_OK);
    const struct metallm__part *part = &b.talk.turns[1].parts[0];
    assert_true(metallm__span_is(part->seal, "abc"));
    assert_true(metallm__span_is(part->seal_of, "anthropic"));
    assert_int_equal(write_talk(&b.talk, &out, &err), METALLM_OK);
    assert_null(strstr(out.made.data, "reasoning\",\"summary"));
    assert_true(out.dropped == 1ull << METALLM__FEATURE_REASONING_HISTORY);
    metallm__wire_out_fini(&out);
    close_box(&b);
}

/* ---- Answers. ---- */

static const char answer[] =
    "{\"id\":\"resp_1\",\"object\":\"response\",\"model\":\"m\",\"status\":\"completed\",\"error\":"
    "null,\"incomplete_details\":null,\"output\":[{\"type\":\"reasoning\",\"id\":\"rs\","
    "\"summary\":"
    "[{\"type\":\"summary_text\",\"text\":\"one\"},{\"type\":\"summary_text\",\"text\":\"two\"}],"
    "\"encrypted_content\":\"s\"},{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\","
    "\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\","
    "\"annotations\":[]},{\"type\":\"refusal\",\"refusal\":\"no\"}]},{\"type\":\"function_call\","
    "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"},{\"type\":"
    "\"web_search_call\"}],\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{"
    "\"cached_tokens\":4},\"output_tokens\":6,\"output_tokens_details\":{\"reasoning_tokens\":2},"
    "\"total_tokens\":16}}";

static int read_said(const char *json, struct box *b, struct metallm__said *said,
                     metallm_error *err)
{
    metallm__pool_init(&b->pool, POOL_BYTES);
    b->doc = NULL;
    int rc = metallm__json_read_raw(&b->doc, json, strlen(json), err);
    return rc == METALLM_OK
               ? metallm__responses_said_in(yyjson_doc_get_root(b->doc), &b->pool, said, err)
               : rc;
}

static void check_said(const struct metallm__said *said)
{
    static const struct {
        enum metallm__part_kind kind;
        const char *text;
    } parts[] = {{METALLM__PART_REASONING, "one\ntwo"},
                 {METALLM__PART_TEXT, "hi"},
                 {METALLM__PART_REFUSAL, "no"},
                 {METALLM__PART_CALL, "{\"a\":1}"}};
    assert_int_equal(said->part_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(said->parts[i].kind, parts[i].kind);
        assert_true(metallm__span_is(said->parts[i].text, parts[i].text));
    }
    assert_true(metallm__span_is(said->parts[0].seal, "s"));
    assert_true(metallm__span_is(said->parts[3].id, "c"));
    assert_true(metallm__span_is(said->parts[3].name, "f"));
    assert_int_equal(said->finish, METALLM__WIRE_FINISH_TOOLS);
    assert_int_equal(said->usage.input_tokens, 10);
    assert_int_equal(said->usage.cached_tokens, 4);
    assert_int_equal(said->usage.output_tokens, 6);
    assert_int_equal(said->usage.reasoning_tokens, 2);
}

static void an_answer_is_read_and_written_again(void **state)
{
    struct box b, again;
    struct metallm__said said;
    struct metallm__buf out;
    metallm_error err = {0};
    const struct metallm__wire_request request = {.kind = METALLM__WIRE_RESPONSES};
    (void)state;
    assert_int_equal(read_said(answer, &b, &said, &err), METALLM_OK);
    check_said(&said);
    metallm__buf_init(&out, POOL_BYTES);
    assert_int_equal(
        metallm__responses_said_out(&said, &request, said.model, 1700000000, &out, &err),
        METALLM_OK);
    assert_int_equal(read_said(out.data, &again, &said, &err), METALLM_OK);
    check_said(&said);
    assert_true(metallm__span_is(said.id, "resp_1"));
    assert_non_null(strstr(out.data, "\"created_at\":1700000000"));
    metallm__buf_fini(&out);
    close_box(&again);
    close_box(&b);
}

static void an_answer_that_failed_is_an_error_with_its_sentence(void **state)
{
    static const char *const rows[] = {
        "{\"status\":\"failed\",\"error\":{\"message\":\"broke\"},\"output\":[]}",
        "{\"status\":\"completed\"}",
        "{\"output\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct box b;
        struct metallm__said said;
        metallm_error err = {0};
        assert_int_equal(read_said(rows[i], &b, &said, &err), METALLM_EFORMAT);
        assert_non_null(strstr(err.message, i == 0 ? "broke" : "output"));
        close_box(&b);
    }
}

/* ---- Streams. ---- */

/* Deltas as "BEGIN call c f;TEXT ...;", merged texts of one part. */
struct trace {
    char text[2048];
    size_t len;
};

static int note(void *payload, const struct metallm__delta *d)
{
    static const char *const kinds[] = {"start", "begin", "text",   "seal",
                                        "end",   "usage", "finish", "ping"};
    struct trace *t = payload;
    const struct metallm__span s = d->kind == METALLM__DELTA_START ? d->model : d->text;
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s", kinds[d->kind]);
    if (d->kind == METALLM__DELTA_BEGIN)
        t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, " %u %.*s", d->part,
                                   (int)d->name.n, d->name.n > 0 ? d->name.p : "");
    if (s.n > 0)
        t->len +=
            (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, " %.*s", (int)s.n, s.p);
    if (d->kind == METALLM__DELTA_USAGE)
        t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, " %d/%d",
                                   (int)d->usage.input_tokens, (int)d->usage.output_tokens);
    if (d->kind == METALLM__DELTA_FINISH)
        t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, " %u", d->finish);
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, ";");
    return METALLM_OK;
}

static int hear(struct metallm__hearing *h, const char *data, bool *is_end)
{
    const struct metallm__wire_event e = {.data = metallm__span_of(data)};
    *is_end = false;
    int rc = metallm__responses_event_in(h, &e, is_end);
    metallm__pool_clear(&h->pool);
    return rc;
}

static const char *const streamed[] = {
    "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}}",
    "{\"type\":\"response.in_progress\"}",
    "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"reasoning\"}"
    "}",
    "{\"type\":\"response.reasoning_summary_part.added\",\"summary_index\":0}",
    "{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}",
    "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\","
    "\"encrypted_content\":\"s\"}}",
    "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"message\"}}",
    "{\"type\":\"response.content_part.added\",\"output_index\":1,\"part\":{\"type\":"
    "\"output_text\"}}",
    "{\"type\":\"response.output_text.delta\",\"delta\":\"he\"}",
    "{\"type\":\"response.output_text.delta\",\"delta\":\"llo\"}",
    "{\"type\":\"response.output_text.done\",\"text\":\"hello\"}",
    "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\"}}",
    "{\"type\":\"response.output_item.added\",\"output_index\":2,\"item\":{\"type\":"
    "\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}}",
    "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}",
    "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\"}}",
    "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,"
    "\"output_tokens\":5}}}",
};

static void a_stream_is_heard_in_order(void **state)
{
    struct trace t = {.len = 0};
    metallm_error err = {0};
    struct metallm__hearing h = {
        .usage = METALLM__WIRE_USAGE_UNKNOWN, .sink = note, .payload = &t, .err = &err};
    bool is_end = false;
    (void)state;
    metallm__pool_init(&h.pool, POOL_BYTES);
    for (size_t i = 0; i < sizeof streamed / sizeof *streamed; i++) {
        assert_false(is_end);
        assert_int_equal(hear(&h, streamed[i], &is_end), METALLM_OK);
    }
    assert_true(is_end);
    assert_string_equal(t.text, "start m;begin 2 ;text hm;seal s;end;begin 0 ;text he;text llo;end;"
                                "begin 3 f;text {};end;usage 3/5;finish 3;");
    metallm__pool_fini(&h.pool);
}

static void a_stream_that_fails_tells_why(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"error\",\"code\":\"x\",\"message\":\"broke\"}",
        "{\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"broke\"}}}",
        "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}",
        "[1]",
        "{",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct trace t = {.len = 0};
        metallm_error err = {0};
        struct metallm__hearing h = {.sink = note, .payload = &t, .err = &err};
        bool is_end;
        metallm__pool_init(&h.pool, POOL_BYTES);
        assert_int_equal(hear(&h, rows[i], &is_end), METALLM_EFORMAT);
        assert_false(is_end);
        assert_true(i >= 2 || strstr(err.message, "broke") != NULL);
        metallm__pool_fini(&h.pool);
    }
}

/* Tells the deltas that it hears, as a gateway between two speakers of this protocol would. */
struct told {
    struct metallm__telling telling;
    struct metallm__buf events, usage, last;
};

static int tell(void *payload, const struct metallm__delta *d)
{
    struct told *t = payload;
    if (d->kind == METALLM__DELTA_START) {
        snprintf(t->telling.id, sizeof t->telling.id, "%.*s", (int)d->id.n, d->id.p);
        snprintf(t->telling.model, sizeof t->telling.model, "%.*s", (int)d->model.n, d->model.p);
    } else if (d->kind == METALLM__DELTA_USAGE) {
        t->telling.usage = d->usage;
    }
    return metallm__responses_delta_out(&t->telling, d, &t->events, &t->usage, &t->last, NULL);
}

static void told_init(struct told *t)
{
    *t = (struct told){.telling = {.open = METALLM__PART_KINDS, .wall_s = 1}};
    struct metallm__buf *bufs[] = {&t->events,       &t->usage,         &t->last,
                                   &t->telling.kept, &t->telling.names, &t->telling.seal,
                                   &t->telling.items};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        metallm__buf_init(bufs[i], POOL_BYTES);
}

static void told_fini(struct told *t)
{
    struct metallm__buf *bufs[] = {&t->events,       &t->usage,         &t->last,
                                   &t->telling.kept, &t->telling.names, &t->telling.seal,
                                   &t->telling.items};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        metallm__buf_fini(bufs[i]);
}

static int pass_stream(struct told *t, metallm_error *err)
{
    struct metallm__hearing h = {
        .usage = METALLM__WIRE_USAGE_UNKNOWN, .sink = tell, .payload = t, .err = err};
    bool is_end;
    int rc = METALLM_OK;
    metallm__pool_init(&h.pool, POOL_BYTES);
    for (size_t i = 0; rc == METALLM_OK && i < sizeof streamed / sizeof *streamed; i++)
        rc = hear(&h, streamed[i], &is_end);
    metallm__pool_fini(&h.pool);
    return rc;
}

/* "type;" of each event, whose numbers must count up. */
static void list_types(const struct metallm__buf *b, unsigned *number, char *out, size_t room)
{
    size_t len = strlen(out);
    for (const char *p = b->data; p != NULL && (p = strstr(p, "\ndata: ")) != NULL;) {
        const char *end = strstr(p += 7, "\n\n");
        yyjson_doc *doc = yyjson_read(p, (size_t)(end - p), 0);
        yyjson_val *root = yyjson_doc_get_root(doc);
        assert_non_null(root);
        assert_int_equal(yyjson_get_uint(yyjson_obj_get(root, "sequence_number")), (*number)++);
        const char *type = yyjson_get_str(yyjson_obj_get(root, "type"));
        len += (size_t)snprintf(out + len, room - len, "%s;", type != NULL ? type : "(none)");
        yyjson_doc_free(doc);
    }
}

static void a_stream_is_told_in_events_that_repeat_it_at_the_end(void **state)
{
    struct told t;
    struct box b;
    struct metallm__said said;
    char types[2048] = "";
    unsigned number = 0;
    metallm_error err = {0};
    (void)state;
    told_init(&t);
    assert_int_equal(pass_stream(&t, &err), METALLM_OK);
    list_types(&t.events, &number, types, sizeof types);
    list_types(&t.usage, &number, types, sizeof types);
    assert_string_equal(
        types,
        "response.created;response.in_progress;"
        "response.output_item.added;response.reasoning_summary_part.added;"
        "response.reasoning_summary_text.delta;response.reasoning_summary_text.done;"
        "response.reasoning_summary_part.done;response.output_item.done;"
        "response.output_item.added;response.content_part.added;response.output_text.delta;"
        "response.output_text.delta;response.output_text.done;response.content_part.done;"
        "response.output_item.done;"
        "response.output_item.added;response.function_call_arguments.delta;"
        "response.function_call_arguments.done;response.output_item.done;response.completed;");
    /* The last event holds the whole answer. */
    const char *whole = strstr(t.usage.data, "\"response\":{") + 11;
    char *copy = strdup(whole);
    assert_non_null(copy);
    *strstr(copy, "}\n\n") = '\0';
    assert_int_equal(read_said(copy, &b, &said, &err), METALLM_OK);
    assert_int_equal(said.part_count, 3);
    assert_true(metallm__span_is(said.parts[0].text, "hm"));
    assert_true(metallm__span_is(said.parts[0].seal, "s"));
    assert_true(metallm__span_is(said.parts[1].text, "hello"));
    assert_true(metallm__span_is(said.parts[2].name, "f"));
    assert_int_equal(said.usage.output_tokens, 5);
    close_box(&b);
    free(copy);
    told_fini(&t);
}

/* ---- Without memory. ---- */

static int all_once(void *payload)
{
    struct box b;
    struct metallm__said said;
    struct metallm__wire_out out = {.span_count = 0};
    struct told t;
    const char *param;
    metallm_error err = {0};
    (void)payload;
    int rc = open_box(&b, bodies[1], &param, &err);
    if (rc == METALLM_OK)
        rc = write_talk(&b.talk, &out, &err);
    metallm__wire_out_fini(&out);
    close_box(&b);
    if (rc != METALLM_OK)
        return rc;
    rc = read_said(answer, &b, &said, &err);
    close_box(&b);
    told_init(&t);
    if (rc == METALLM_OK)
        rc = pass_stream(&t, &err);
    told_fini(&t);
    return rc;
}

static void no_memory_is_an_error_and_loses_nothing(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(all_once, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_what_was_read),
        cmocka_unit_test(short_forms_say_the_same_as_long_ones),
        cmocka_unit_test(what_has_no_place_is_a_feature),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(reasoning_of_another_provider_is_left_out_and_told),
        cmocka_unit_test(an_answer_is_read_and_written_again),
        cmocka_unit_test(an_answer_that_failed_is_an_error_with_its_sentence),
        cmocka_unit_test(a_stream_is_heard_in_order),
        cmocka_unit_test(a_stream_that_fails_tells_why),
        cmocka_unit_test(a_stream_is_told_in_events_that_repeat_it_at_the_end),
        cmocka_unit_test(no_memory_is_an_error_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
