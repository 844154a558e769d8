/* SPDX-License-Identifier: Apache-2.0
 * The protocols of Amazon Bedrock: answers and streams of Converse and of Titan's InvokeModel as
 * records, and Titan's embeddings. Shapes are those of botocore's service model. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "support/aws_frame.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

#define W      (&metallm__wire_bedrock)
#define INVOKE (&metallm__wire_bedrock_invoke)

/* ---- Answers. ---- */

/* Parts as "kind text|id|name|seal|seal_of;", then finish and usage. */
static void describe(const struct metallm__said *said, struct metallm__buf *out)
{
    static const char *const kinds[] = {"text", "refusal", "reasoning", "call"};
    const struct metallm__wire_usage *u = &said->usage;
    for (size_t i = 0; i < said->part_count; i++) {
        const struct metallm__part *p = &said->parts[i];
        const struct metallm__span all[] = {p->text, p->id, p->name, p->seal, p->seal_of};
        metallm__buf_puts(out, kinds[p->kind]);
        for (size_t k = 0; k < 5; k++) {
            metallm__buf_add(out, k > 0 ? "|" : " ", 1);
            metallm__buf_add(out, all[k].p, all[k].n);
        }
        metallm__buf_add(out, ";", 1);
    }
    metallm__buf_printf(out, "%s %d %d %d %d", metallm__wire_finish_name(said->finish),
                        (int)u->input_tokens, (int)u->cached_tokens, (int)u->written_tokens,
                        (int)u->output_tokens);
}

static int hear_answer(const struct metallm__wire *w, const char *json, struct metallm__buf *out,
                       metallm_error *err)
{
    struct metallm__said said = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__pool pool;
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read_raw(&doc, json, strlen(json), err);
    if (rc != METALLM_OK)
        return rc;
    metallm__pool_init(&pool, 1u << 20);
    rc = w->said_in(yyjson_doc_get_root(doc), &pool, &said, err);
    if (rc == METALLM_OK) {
        describe(&said, out);
        rc = metallm__buf_check(out, err);
    }
    metallm__pool_fini(&pool);
    yyjson_doc_free(doc);
    return rc;
}

#define ANSWER(content, reason, usage)                                                             \
    "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[" content                       \
    "]}},\"stopReason\":\"" reason "\",\"usage\":{" usage "},\"metrics\":{\"latencyMs\":7}}"
#define USAGE "\"inputTokens\":10,\"outputTokens\":2,\"totalTokens\":12"
#define FULL                                                                                       \
    ANSWER("{\"reasoningContent\":{\"reasoningText\":{\"text\":\"Hm.\",\"signature\":\"c2Vh\"}}}," \
           "{\"reasoningContent\":{\"redactedContent\":\"eHg=\"}},{\"text\":\"Hi\"},"              \
           "{\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"add\",\"input\":{\"a\": 1.50}}}",        \
           "tool_use", USAGE ",\"cacheReadInputTokens\":5,\"cacheWriteInputTokens\":3")
#define TITAN(reason)                                                                              \
    "{\"inputTextTokenCount\":5,\"results\":[{\"tokenCount\":3,\"outputText\":\"\\nHi\","          \
    "\"completionReason\":\"" reason "\"}]}"

static void answers_are_read(void **state)
{
    static const struct {
        const struct metallm__wire *wire;
        const char *json, *said; /* said: or what the error says */
        bool is_wrong;
    } table[] = {
        {W, FULL,
         "reasoning Hm.|||c2Vh|bedrock;reasoning |||eHg=|bedrock-redacted;text Hi||||;"
         "call {\"a\":1.50}|t1|add||;tool_calls 18 5 3 2",
         false},
        {W, ANSWER("{\"text\":\"Hi\"}", "end_turn", USAGE), "text Hi||||;stop 10 -1 -1 2", false},
        {W, ANSWER("", "max_tokens", USAGE), "length 10 -1 -1 2", false},
        {W, ANSWER("", "model_context_window_exceeded", ""), "length -1 -1 -1 -1", false},
        {W, ANSWER("", "stop_sequence", ""), "stop_sequence -1 -1 -1 -1", false},
        {W, ANSWER("", "guardrail_intervened", ""), "content_filter -1 -1 -1 -1", false},
        {W, ANSWER("", "content_filtered", ""), "content_filter -1 -1 -1 -1", false},
        {W, ANSWER("", "malformed_tool_use", ""), "other -1 -1 -1 -1", false},
        {W,
         ANSWER("{\"citationsContent\":{\"content\":[{\"text\":\"a\"},{\"text\":\"b\"}],"
                "\"citations\":[]}},{\"searchResult\":{}},{\"toolUse\":{\"toolUseId\":\"s\","
                "\"name\":\"web\",\"input\":{},\"type\":\"server_tool_use\"}}",
                "end_turn", ""),
         "text ab||||;stop -1 -1 -1 -1", false},
        {W, "{\"message\":\"slow down\",\"__type\":\"a.b#ThrottlingException:http://x\"}",
         "ThrottlingException: slow down", true},
        {W, "{}", "the answer has no 'output'", true},
        {W, "[]", "the answer has no 'output'", true},
        {INVOKE, TITAN("FINISH"), "text \nHi||||;stop 5 -1 -1 3", false},
        {INVOKE, TITAN("LENGTH"), "text \nHi||||;length 5 -1 -1 3", false},
        {INVOKE, TITAN("CONTENT_FILTERED"), "text \nHi||||;content_filter 5 -1 -1 3", false},
        {INVOKE, TITAN("STOP_CRITERIA_MET"), "text \nHi||||;stop_sequence 5 -1 -1 3", false},
        {INVOKE, "{\"results\":[]}", "the answer has no 'results'", true},
        {INVOKE, "{\"Message\":\"no\"}", "an error: no", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct metallm__buf out;
        metallm_error err = {0};
        metallm__buf_init(&out, 1u << 16);
        int rc = hear_answer(table[i].wire, table[i].json, &out, &err);
        assert_int_equal(rc, table[i].is_wrong ? METALLM_EFORMAT : METALLM_OK);
        assert_string_equal(table[i].is_wrong ? err.message : out.data, table[i].said);
        metallm__buf_fini(&out);
    }
}

/* ---- Streams. ---- */

struct heard {
    const struct metallm__wire *wire;
    struct metallm__hearing h;
    struct metallm__buf told;
    bool is_end;
};

static int note(void *payload, const struct metallm__delta *d)
{
    static const char *const kinds[] = {"start", "begin", "+",      "seal",
                                        "end",   "usage", "finish", "ping"};
    static const char *const parts[] = {"text", "refusal", "reasoning", "call"};
    struct heard *s = payload;
    struct metallm__buf *b = &s->told;
    metallm__buf_puts(b, kinds[d->kind]);
    if (d->kind == METALLM__DELTA_BEGIN)
        metallm__buf_printf(b, " %s %.*s %.*s", parts[d->part], (int)d->id.n,
                            d->id.n > 0 ? d->id.p : "", (int)d->name.n,
                            d->name.n > 0 ? d->name.p : "");
    if (d->kind == METALLM__DELTA_TEXT || d->kind == METALLM__DELTA_SEAL) {
        metallm__buf_add(b, d->text.p, d->text.n);
        if (d->kind == METALLM__DELTA_SEAL)
            metallm__buf_printf(b, "@%.*s", (int)d->seal_of.n, d->seal_of.p);
    }
    if (d->kind == METALLM__DELTA_USAGE)
        metallm__buf_printf(b, " %d %d %d %d", (int)d->usage.input_tokens,
                            (int)d->usage.cached_tokens, (int)d->usage.written_tokens,
                            (int)d->usage.output_tokens);
    if (d->kind == METALLM__DELTA_FINISH)
        metallm__buf_printf(b, " %s", metallm__wire_finish_name(d->finish));
    metallm__buf_add(b, ";", 1);
    return metallm__buf_check(b, NULL);
}

static int take_event(void *payload, const struct metallm__aws_event *e)
{
    struct heard *s = payload;
    const struct metallm__wire_event event = {
        .name = e->name, .data = e->payload, .is_error = !metallm__span_is(e->type, "event")};
    int rc = s->wire->event_in(&s->h, &event, &s->is_end);
    metallm__pool_clear(&s->h.pool);
    return rc;
}

/* The frames cut at `cut`; n + 1: byte by byte. */
static int hear(const struct metallm__wire *w, const char *bytes, size_t n, size_t cut,
                struct heard *s, metallm_error *err)
{
    struct metallm__aws_events p;
    int rc = METALLM_OK;
    metallm__aws_events_init(&p);
    *s = (struct heard){
        .wire = w,
        .h = {.usage = METALLM__WIRE_USAGE_UNKNOWN, .sink = note, .payload = s, .err = err}};
    metallm__pool_init(&s->h.pool, 1u << 20);
    metallm__buf_init(&s->told, 1u << 16);
    for (size_t at = 0, step; at < n && rc == METALLM_OK; at += step) {
        step = cut > n ? 1 : at < cut ? cut : n - at;
        rc = metallm__aws_events_feed(&p, metallm__span(bytes + at, step), take_event, s, err);
    }
    metallm__aws_events_fini(&p);
    metallm__pool_fini(&s->h.pool);
    return rc;
}

#define D(delta)   "{\"contentBlockIndex\":0,\"delta\":{" delta "},\"p\":\"abcdefgh\"}"
#define EVENTS_MAX 16
static const struct stream_row {
    const struct metallm__wire *wire;
    struct {
        const char *name, *json;
    } events[EVENTS_MAX]; /* a name that begins with '!': an exception */
    const char *told, *error;
    bool is_end;
} streams[] = {
    {W,
     {{"messageStart", "{\"role\":\"assistant\",\"p\":\"ab\"}"},
      {"contentBlockDelta", D("\"reasoningContent\":{\"text\":\"Hm\"}")},
      {"contentBlockDelta", D("\"reasoningContent\":{\"signature\":\"c2Vh\"}")},
      {"contentBlockStop", "{\"contentBlockIndex\":0}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":1,\"delta\":{\"reasoningContent\":{"
                            "\"redactedContent\":\"eHg=\"}}}"},
      {"contentBlockStop", "{\"contentBlockIndex\":1}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":2,\"delta\":{\"text\":\"\"}}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":2,\"delta\":{\"text\":\"Hi\"}}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":2,\"delta\":{\"text\":\" you\"}}"},
      {"contentBlockStop", "{\"contentBlockIndex\":2}"},
      {"somethingNew", "no JSON"},
      {"messageStop", "{\"stopReason\":\"end_turn\"}"},
      {"metadata", "{\"usage\":{" USAGE ",\"cacheReadInputTokens\":5},\"metrics\":{}}"}},
     "start;begin reasoning  ;+Hm;sealc2Vh@bedrock;end;"
     "begin reasoning  ;sealeHg=@bedrock-redacted;end;"
     "begin text  ;+Hi;+ you;end;finish stop;usage 15 5 -1 2;",
     NULL,
     true},
    {W,
     {{"messageStart", "{\"role\":\"assistant\"}"},
      {"contentBlockDelta", D("\"text\":\"Calls:\"")},
      {"contentBlockStart", "{\"contentBlockIndex\":1,\"start\":{\"toolUse\":{"
                            "\"toolUseId\":\"t1\",\"name\":\"add\"}}}"},
      {"contentBlockDelta",
       "{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{\\\"a\\\":\"}}}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"1}\"}}}"},
      {"contentBlockStop", "{\"contentBlockIndex\":1}"},
      {"contentBlockStart", "{\"contentBlockIndex\":2,\"start\":{\"toolUse\":{"
                            "\"toolUseId\":\"t2\",\"name\":\"now\"}}}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":2,\"delta\":{\"toolUse\":{\"input\":\"\"}}}"},
      {"contentBlockStart", "{\"contentBlockIndex\":3,\"start\":{\"toolUse\":{\"toolUseId\":"
                            "\"s\",\"name\":\"web\",\"type\":\"server_tool_use\"}}}"},
      {"contentBlockDelta", "{\"contentBlockIndex\":3,\"delta\":{\"toolUse\":{\"input\":\"x\"}}}"},
      {"messageStop", "{\"stopReason\":\"tool_use\"}"}},
     "start;begin text  ;+Calls:;end;begin call t1 add;+{\"a\":;+1};end;begin call t2 now;+{};end;"
     "finish tool_calls;",
     NULL,
     false},
    {W,
     {{"messageStart", "{\"role\":\"assistant\"}"},
      {"contentBlockDelta", D("\"text\":\"Hi\"")},
      {"!throttlingException", "{\"message\":\"Too many\"}"}},
     "start;begin text  ;+Hi;",
     "throttlingException: Too many",
     false},
    {W,
     {{"!modelStreamErrorException", "{\"originalStatusCode\":500,\"originalMessage\":\"x\"}"}},
     "",
     "modelStreamErrorException: x",
     false},
    {W, {{"messageStart", "[]"}}, "", "no JSON object", false},
    {W, {{"contentBlockDelta", "{\"delta\":"}}, "", "no JSON object", false},
    {INVOKE, /* {"outputText":"Hi","index":0,"inputTextTokenCount":5}, then
              * {"outputText":"!","totalOutputTextTokenCount":2,"completionReason":"FINISH"} */
     {{"chunk", "{\"bytes\":\"eyJvdXRwdXRUZXh0IjoiSGkiLCJpbmRleCI6MCwiaW5wdXRUZXh0VG9rZW5Db3Vu"
                "dCI6NX0=\"}"},
      {"chunk", "{\"bytes\":\"eyJvdXRwdXRUZXh0IjoiISIsInRvdGFsT3V0cHV0VGV4dFRva2VuQ291bnQiOjIs"
                "ImNvbXBsZXRpb25SZWFzb24iOiJGSU5JU0gifQ==\",\"p\":\"abc\"}"}},
     "start;begin text  ;+Hi;usage 5 -1 -1 -1;+!;usage 5 -1 -1 2;end;finish stop;",
     NULL,
     false},
    {INVOKE, {{"chunk", "{\"bytes\":\"#\"}"}}, "", "no JSON object", false},
    {INVOKE, {{"chunk", "{}"}}, "", "no JSON object", false},
};

static size_t write_stream(const struct stream_row *r, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < EVENTS_MAX && r->events[i].name != NULL; i++)
        n += r->events[i].name[0] == '!'
                 ? aws_frame_exception(to + n, r->events[i].name + 1, r->events[i].json)
                 : aws_frame_event(to + n, r->events[i].name, r->events[i].json);
    return n;
}

static void streams_are_heard_wherever_they_are_cut(void **state)
{
    static char bytes[8192];
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const struct stream_row *r = &streams[i];
        size_t n = write_stream(r, bytes);
        for (size_t cut = 1; cut <= n + 1; cut++) {
            struct heard s;
            metallm_error err = {0};
            int rc = hear(r->wire, bytes, n, cut, &s, &err);
            assert_int_equal(rc, r->error != NULL ? METALLM_EFORMAT : METALLM_OK);
            assert_string_equal(s.told.len > 0 ? s.told.data : "", r->told);
            assert_int_equal(s.is_end, r->is_end);
            if (r->error != NULL)
                assert_non_null(strstr(err.message, r->error));
            metallm__buf_fini(&s.told);
        }
    }
}

/* ---- Embeddings. ---- */

static int embed(const char *model, const char *ask, const char *answer, struct metallm__buf *asked,
                 struct metallm__buf *told, metallm_error *err)
{
    struct metallm__wire_request r;
    struct metallm__wire_target t = {.model = metallm__span_of(model)};
    struct metallm__wire_out out = {0};
    struct metallm__wire_answer about;
    yyjson_doc *doc = NULL;
    metallm__wire_answer_clear(&about);
    metallm__buf_init(&out.made, 1u << 16);
    metallm__buf_init(&out.path_made, 1u << 12);
    int rc =
        metallm__wire_request_read(&r, METALLM__WIRE_EMBEDDING, metallm__span_of(ask), NULL, err);
    if (rc != METALLM_OK)
        return rc;
    rc = INVOKE->embed_out(&r, &t, &out, err);
    if (rc == METALLM_OK) {
        metallm__buf_add(asked, out.path.p, out.path.n);
        metallm__buf_add(asked, out.made.data, out.made.len);
        rc = metallm__json_read_raw(&doc, answer, strlen(answer), err);
    }
    if (rc == METALLM_OK)
        rc = INVOKE->embed_in(yyjson_doc_get_root(doc), &r, told, &about, err);
    yyjson_doc_free(doc);
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
    return rc;
}

#define V2 "amazon.titan-embed-text-v2:0"
#define AT "/model/amazon.titan-embed-text-v2%3A0/invoke"
#define VECTOR                                                                                     \
    "{\"embedding\":[1.5,-2],\"embeddingsByType\":{\"float\":[1.5,-2]},\"inputTextTokenCount\":4}"

static void embeddings_are_asked_and_read(void **state)
{
    static const struct {
        const char *model, *ask, *answer, *asked, *told; /* told: a part; or of the error */
        int rc;
    } table[] = {
        {V2, "{\"model\":\"m\",\"input\":\"hi\"}", VECTOR, AT "{\"inputText\":\"hi\"}",
         "\"embedding\":[1.5,-2]", METALLM_OK},
        {V2, "{\"model\":\"m\",\"input\":[\"hi\"],\"dimensions\":256}", VECTOR,
         AT "{\"inputText\":\"hi\",\"dimensions\":256}", "\"prompt_tokens\":4", METALLM_OK},
        {V2, "{\"model\":\"m\",\"input\":\"hi\",\"encoding_format\":\"base64\"}", VECTOR,
         AT "{\"inputText\":\"hi\"}", "\"embedding\":\"AADAPwAAAMA=\"", METALLM_OK},
        {"amazon.titan-embed-image-v1", "{\"model\":\"m\",\"input\":\"hi\",\"dimensions\":256}",
         VECTOR,
         "/model/amazon.titan-embed-image-v1/invoke{\"inputText\":\"hi\","
         "\"embeddingConfig\":{\"outputEmbeddingLength\":256}}",
         "\"object\":\"list\"", METALLM_OK},
        {V2, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}", "", "", "one text", METALLM_EINVAL},
        {"amazon.titan-embed-text-v1", "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":9}", "", "",
         "'dimensions'", METALLM_EINVAL},
        {"anthropic.claude-3", "{\"model\":\"m\",\"input\":\"a\"}", "", "", "Titan models",
         METALLM_EINVAL},
        {V2, "{\"model\":\"m\",\"input\":\"a\"}", "{\"message\":\"no\"}",
         AT "{\"inputText\":\"a\"}", "no", METALLM_EFORMAT},
        {V2, "{\"model\":\"m\",\"input\":\"a\"}", "{\"embedding\":7}", AT "{\"inputText\":\"a\"}",
         "", METALLM_EFORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct metallm__buf asked, told;
        metallm_error err = {0};
        metallm__buf_init(&asked, 1u << 16);
        metallm__buf_init(&told, 1u << 16);
        assert_int_equal(embed(table[i].model, table[i].ask, table[i].answer, &asked, &told, &err),
                         table[i].rc);
        assert_string_equal(asked.len > 0 ? asked.data : "", table[i].asked);
        assert_non_null(strstr(table[i].rc == METALLM_OK ? told.data : err.message, table[i].told));
        metallm__buf_fini(&asked);
        metallm__buf_fini(&told);
    }
}

/* ---- No memory. ---- */

static int hear_all(void *payload)
{
    static char bytes[8192];
    struct metallm__buf out;
    int rc = METALLM_OK;
    (void)payload;
    metallm__buf_init(&out, 1u << 16);
    for (size_t i = 0; i < sizeof streams / sizeof *streams && rc == METALLM_OK; i++) {
        struct heard s;
        if (streams[i].error != NULL)
            continue;
        size_t n = write_stream(&streams[i], bytes);
        rc = hear(streams[i].wire, bytes, n, n / 2, &s, NULL);
        metallm__buf_fini(&s.told);
    }
    if (rc == METALLM_OK)
        rc = hear_answer(W, FULL, &out, NULL);
    metallm__buf_fini(&out);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(hear_all, NULL) >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(streams_are_heard_wherever_they_are_cut),
        cmocka_unit_test(embeddings_are_asked_and_read),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
