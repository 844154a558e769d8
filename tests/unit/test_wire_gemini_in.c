/* SPDX-License-Identifier: Apache-2.0
 * Answers and streams of Gemini's generateContent as records. Shapes are those of Google's SDK
 * (google-genai, types.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/wire.h"

#define W (&metallm__wire_gemini)

struct told {
    char text[4096];
    size_t len;
    enum metallm__part_kind open;
};

static void tell(struct told *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct told *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    t->len += (size_t)vsnprintf(t->text + t->len, sizeof t->text - t->len, format, args);
    va_end(args);
    assert_true(t->len < sizeof t->text);
}

#define PRINT(s) (int)(s).n, (s).n > 0 ? (s).p : ""

static void tell_usage(struct told *t, const struct metallm__wire_usage *u)
{
    tell(t, "usage %lld/%lld %lld/%lld;", (long long)u->cached_tokens, (long long)u->input_tokens,
         (long long)u->reasoning_tokens, (long long)u->output_tokens);
}

static const char letters[METALLM__PART_KINDS] = {'T', 'X', 'R', 'C'};

static void tell_said(struct told *t, const struct metallm__said *s)
{
    tell(t, "%.*s %.*s;", PRINT(s->id), PRINT(s->model));
    for (size_t i = 0; i < s->part_count; i++) {
        const struct metallm__part *p = &s->parts[i];
        tell(t, "%c", letters[p->kind]);
        if (p->kind == METALLM__PART_CALL)
            tell(t, "(%.*s,%.*s)", PRINT(p->id), PRINT(p->name));
        tell(t, "%.*s", PRINT(p->text));
        if (p->seal.n > 0)
            tell(t, "<%.*s %.*s>", PRINT(p->seal), PRINT(p->seal_of));
        tell(t, ";");
    }
    tell_usage(t, &s->usage);
    tell(t, "%s", metallm__wire_finish_name(s->finish));
    if (s->logprobs.n > 0)
        tell(t, ";%.*s", PRINT(s->logprobs));
}

#define USAGE                                                                                      \
    "\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":4,"                       \
    "\"totalTokenCount\":17,\"thoughtsTokenCount\":3,\"cachedContentTokenCount\":2}"
#define HEAD "\"responseId\":\"r1\",\"modelVersion\":\"gemini-x\""
#define CANDIDATE(parts, reason)                                                                   \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]},"                    \
    "\"finishReason\":\"" reason "\",\"index\":0}]," USAGE "," HEAD "}"

static const struct {
    const char *body, *told; /* told: or what the error says, behind "!" */
} answers[] = {
    {CANDIDATE("{\"text\":\"Hi\"},{\"text\":\"!\"}", "STOP"),
     "r1 gemini-x;THi;T!;usage 2/10 3/7;stop"},
    {CANDIDATE("{\"text\":\"Hm\",\"thought\":true,\"thoughtSignature\":\"cw==\"},"
               "{\"text\":\"Hi\",\"thoughtSignature\":\"dA==\"},"
               "{\"text\":\"\",\"thoughtSignature\":\"dQ==\"}",
               "MAX_TOKENS"),
     "r1 gemini-x;RHm<cw== gemini>;R<dA== gemini>;THi;R<dQ== gemini>;usage 2/10 3/7;length"},
    {CANDIDATE("{\"functionCall\":{\"id\":\"f1\",\"name\":\"add\",\"args\":{\"a\":1.50}},"
               "\"thoughtSignature\":\"cw==\"},{\"functionCall\":{\"name\":\"now\"}},"
               "{\"functionCall\":{\"name\":\"now\"}}",
               "STOP"),
     "r1 gemini-x;R<cw== gemini>;C(f1,add){\"a\":1.50};C(call_3f4c63c3c1383e99,now){};"
     "C(call_2751585a36be9682,now){};usage 2/10 3/7;tool_calls"},
    {CANDIDATE("", "SAFETY"), "r1 gemini-x;usage 2/10 3/7;content_filter"},
    {CANDIDATE("", "RECITATION"), "r1 gemini-x;usage 2/10 3/7;content_filter"},
    {CANDIDATE("", "NEW_REASON"), "r1 gemini-x;usage 2/10 3/7;other"},
    {CANDIDATE("", "MALFORMED_FUNCTION_CALL"), "!the answer broke off (MALFORMED_FUNCTION_CALL)"},
    {"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":5,"
     "\"totalTokenCount\":5}}",
     " ;usage -1/5 -1/0;content_filter"},
    {"{\"promptFeedback\":{\"blockReason\":\"OTHER\",\"blockReasonMessage\":\"Not so.\"}}",
     " ;XNot so.;usage -1/-1 -1/-1;content_filter"},
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\","
     "\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":\"a\","
     "\"logProbability\":-0.5},{\"token\":\"\\u00e9\",\"logProbability\":-2}]}],"
     "\"chosenCandidates\":[{\"token\":\"a\",\"logProbability\":-0.5}]}}]}",
     " ;Ta;usage -1/-1 -1/-1;stop;{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97],"
     "\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97]},"
     "{\"token\":\"\xc3\xa9\",\"logprob\":-2,\"bytes\":[195,169]}]}],\"refusal\":null}"},
    {"{\"error\":{\"code\":500,\"message\":\"Went wrong.\",\"status\":\"INTERNAL\"}}",
     "!Went wrong."},
    {"{}", "!no 'candidates'"},
    {"{\"candidates\":{},\"usageMetadata\":[],\"promptFeedback\":1}", "!no 'candidates'"},
    {"{\"candidates\":[{\"content\":{\"parts\":[1,{},{\"text\":3},{\"functionCall\":[]}]}}],"
     "\"usageMetadata\":{\"promptTokenCount\":\"x\",\"cachedContentTokenCount\":-1}}",
     " ;usage -1/-1 -1/-1;"},
};

static int hear_whole(const char *body, struct told *t, metallm_error *err)
{
    struct metallm__pool pool;
    struct metallm__said said = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)body, strlen(body),
                                       YYJSON_READ_NUMBER_AS_RAW, &metallm__json_alc, NULL);
    if (doc == NULL)
        return METALLM_ENOMEM;
    metallm__pool_init(&pool, 1u << 20);
    int rc = W->said_in(yyjson_doc_get_root(doc), &pool, &said, err);
    if (rc == METALLM_OK)
        tell_said(t, &said);
    metallm__pool_fini(&pool);
    yyjson_doc_free(doc);
    return rc;
}

static void an_answer_reads_as_the_table_tells(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct told t = {.len = 0};
        metallm_error err = {0};
        int rc = hear_whole(answers[i].body, &t, &err);
        if (answers[i].told[0] == '!') {
            assert_int_equal(rc, METALLM_EFORMAT);
            assert_non_null(strstr(err.message, answers[i].told + 1));
            continue;
        }
        assert_int_equal(rc, METALLM_OK);
        assert_string_equal(t.text, answers[i].told);
    }
}

static int hear_again(void *payload)
{
    struct told t = {.len = 0};
    return hear_whole(payload, &t, NULL);
}

static void an_answer_out_of_memory_is_told(void **state)
{
    (void)state;
    for (size_t i = 1; i < 10; i += 7)
        if (answers[i].told[0] != '!')
            assert_true(fail_alloc_sweep(hear_again, (void *)(uintptr_t)answers[i].body) >= 2);
    assert_true(fail_alloc_sweep(hear_again, (void *)(uintptr_t)answers[2].body) >= 4);
}

/* ---- Streams. ---- */

static int take(void *payload, const struct metallm__delta *d)
{
    struct told *t = payload;
    switch (d->kind) {
    case METALLM__DELTA_START:
        tell(t, "%.*s %.*s;", PRINT(d->id), PRINT(d->model));
        break;
    case METALLM__DELTA_BEGIN:
        assert_true(t->open == METALLM__PART_KINDS);
        t->open = d->part;
        tell(t, "%c", letters[d->part]);
        if (d->part == METALLM__PART_CALL)
            tell(t, "(%.*s,%.*s)", PRINT(d->id), PRINT(d->name));
        break;
    case METALLM__DELTA_TEXT:
        assert_true(t->open == d->part);
        tell(t, "%.*s|", PRINT(d->text));
        break;
    case METALLM__DELTA_SEAL:
        tell(t, "<%.*s %.*s>", PRINT(d->text), PRINT(d->seal_of));
        break;
    case METALLM__DELTA_END:
        assert_true(t->open == d->part);
        t->open = METALLM__PART_KINDS;
        tell(t, ";");
        break;
    case METALLM__DELTA_USAGE:
        tell_usage(t, &d->usage);
        break;
    case METALLM__DELTA_FINISH:
        tell(t, "%s", metallm__wire_finish_name(d->finish));
        break;
    default:
        break;
    }
    return METALLM_OK;
}

static int hear_event(void *payload, const struct metallm__sse_event *e)
{
    struct metallm__hearing *h = payload;
    bool is_end = false;
    if (e == NULL || !e->has_data)
        return METALLM_OK;
    const struct metallm__wire_event event = {.name = e->name, .data = e->data};
    int rc = W->event_in(h, &event, &is_end);
    metallm__pool_clear(&h->pool);
    return rc;
}

struct stream {
    struct metallm__sse sse;
    struct metallm__hearing hearing;
    struct told told;
    metallm_error err;
};

static void stream_begin(struct stream *s)
{
    *s = (struct stream){.told = {.open = METALLM__PART_KINDS}};
    s->hearing = (struct metallm__hearing){
        .usage = METALLM__WIRE_USAGE_UNKNOWN, .sink = take, .payload = &s->told, .err = &s->err};
    metallm__pool_init(&s->hearing.pool, 1u << 20);
    metallm__sse_init(&s->sse, 1u << 20);
}

static void stream_end(struct stream *s)
{
    metallm__sse_fini(&s->sse);
    metallm__pool_fini(&s->hearing.pool);
}

#define EVENT(parts)                                                                               \
    "data: {\"candidates\":[{\"content\":{\"parts\":[" parts "]}}]," HEAD "}\r\n\r\n"
#define LAST(parts, reason) "data: " CANDIDATE(parts, reason) "\r\n\r\n"

static const struct {
    const char *in, *told, *error; /* error: NULL: none */
} streams[] = {
    {EVENT("{\"text\":\"He\"}") EVENT("{\"text\":\"llo\"}") LAST("{\"text\":\"!\"}", "STOP"),
     "r1 gemini-x;THe|llo|!|usage 2/10 3/7;;stop", NULL},
    {EVENT("{\"text\":\"Hm\",\"thought\":true}") EVENT("{\"text\":\"m\",\"thought\":true}")
         EVENT("{\"text\":\"Hi\"}") LAST("{\"text\":\"\",\"thoughtSignature\":\"cw==\"}", "STOP"),
     "r1 gemini-x;RHm|m|;THi|;R<cw== gemini>;usage 2/10 3/7;stop", NULL},
    {EVENT("{\"text\":\"Hm\",\"thought\":true,\"thoughtSignature\":\"cw==\"},{\"text\":\"a\"}")
         EVENT("{\"text\":\"b\",\"thoughtSignature\":\"dA==\"}") LAST("", "MAX_TOKENS"),
     "r1 gemini-x;RHm|<cw== gemini>;Ta|;R<dA== gemini>;Tb|usage 2/10 3/7;;length", NULL},
    {EVENT("{\"functionCall\":{\"id\":\"f1\",\"name\":\"add\",\"args\":{\"a\":1.50}},"
           "\"thoughtSignature\":\"cw==\"}")
         EVENT("{\"functionCall\":{\"name\":\"now\",\"args\":{}}}")
             EVENT("{\"functionCall\":{\"name\":\"now\",\"args\":{}}}") LAST("", "STOP"),
     "r1 gemini-x;R<cw== gemini>;C(f1,add){\"a\":1.50}|;C(call_3f4c63c3c1383e99,now){}|;"
     "C(call_2751585a36be9682,now){}|;usage 2/10 3/7;tool_calls",
     NULL},
    {"data: {\"promptFeedback\":{\"blockReason\":\"OTHER\",\"blockReasonMessage\":\"No.\"}," HEAD
     "}\n\n",
     "r1 gemini-x;XNo.|;content_filter", NULL},
    {EVENT("{\"text\":\"He\"}") LAST("", "MALFORMED_FUNCTION_CALL"),
     "r1 gemini-x;THe|usage 2/10 3/7;", "the answer broke off (MALFORMED_FUNCTION_CALL)"},
    {EVENT("{\"text\":\"He\"}") "data: {\"error\":{\"code\":503,\"message\":\"Overloaded.\"}}\n\n",
     "r1 gemini-x;THe|", "Overloaded."},
    {EVENT("{\"text\":\"He\"}") "data: {\"candidates\":\n\n", "r1 gemini-x;THe|", "no JSON"},
};

static void a_stream_reads_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        size_t n = strlen(streams[i].in);
        const char *why = streams[i].error;
        for (size_t cut = 0; cut <= n; cut++) {
            struct stream s;
            stream_begin(&s);
            char *first = malloc(cut + 1), *rest = malloc(n - cut + 1);
            assert_true(first != NULL && rest != NULL);
            memcpy(first, streams[i].in, cut);
            memcpy(rest, streams[i].in + cut, n - cut);
            int rc = metallm__sse_feed(&s.sse, metallm__span(first, cut), hear_event, &s.hearing,
                                       &s.err);
            if (rc == METALLM_OK)
                rc = metallm__sse_feed(&s.sse, metallm__span(rest, n - cut), hear_event, &s.hearing,
                                       &s.err);
            assert_int_equal(rc, why != NULL ? METALLM_EFORMAT : METALLM_OK);
            assert_string_equal(s.told.text, streams[i].told);
            if (why != NULL)
                assert_non_null(strstr(s.err.message, why));
            else
                assert_true(s.hearing.is_finished);
            free(first);
            free(rest);
            stream_end(&s);
        }
    }
}

static int stream_again(void *payload)
{
    const char *in = payload;
    struct stream s;
    stream_begin(&s);
    int rc = metallm__sse_feed(&s.sse, metallm__span_of(in), hear_event, &s.hearing, &s.err);
    stream_end(&s);
    return rc;
}

static void a_stream_out_of_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(stream_again, (void *)(uintptr_t)streams[3].in) >= 3);
}

/* ---- Through the driver, to a client of chat completions. ---- */

struct client {
    char text[4096];
    size_t len;
    unsigned done; /* [DONE] told */
};

static int get_piece(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct client *c = payload;
    assert_true(c->len + bytes.n < sizeof c->text);
    memcpy(c->text + c->len, bytes.p, bytes.n);
    c->len += bytes.n;
    c->done += kind == METALLM__WIRE_PIECE_DONE;
    return METALLM_OK;
}

static int stream_to_client(const char *in, struct client *c, metallm_error *err)
{
    static const char body[] = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":"
                               "\"user\",\"content\":\"hi\"}]}";
    const struct metallm__wire_target target = {.model = METALLM__SPAN("gemini-x")};
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    struct metallm__wire_stream s;
    assert_int_equal(metallm__wire_request_read(&r, METALLM__WIRE_CHAT,
                                                metallm__span(body, sizeof body - 1), NULL, err),
                     METALLM_OK);
    assert_int_equal(metallm__wire_request_out(W, &r, &target, &out, err), METALLM_OK);
    assert_true(metallm__span_is(out.path, "/models/gemini-x:streamGenerateContent?alt=sse"));
    metallm__wire_stream_init(&s, W, &r, &out, 1);
    int rc = metallm__wire_stream_feed(&s, metallm__span_of(in), get_piece, c, err);
    assert_int_equal(c->done, 0);
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, get_piece, c, err);
    metallm__wire_stream_fini(&s);
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
    return rc;
}

static void a_stream_is_over_when_the_upstream_closes_it(void **state)
{
    struct client c = {.len = 0}, broken = {.len = 0};
    metallm_error err = {0};
    (void)state;
    assert_int_equal(
        stream_to_client(EVENT("{\"text\":\"He\"}") LAST("{\"text\":\"y\"}", "STOP"), &c, &err),
        METALLM_OK);
    assert_int_equal(c.done, 1);
    assert_non_null(strstr(c.text, "\"content\":\"He\""));
    assert_non_null(strstr(c.text, "\"content\":\"y\""));
    assert_non_null(strstr(c.text, "\"finish_reason\":\"stop\""));
    assert_int_equal(stream_to_client(EVENT("{\"text\":\"He\"}"), &broken, &err), METALLM_EFORMAT);
    assert_int_equal(broken.done, 0);
    assert_non_null(strstr(broken.text, "\"content\":\"He\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_reads_as_the_table_tells),
        cmocka_unit_test(an_answer_out_of_memory_is_told),
        cmocka_unit_test(a_stream_reads_the_same_wherever_it_is_cut),
        cmocka_unit_test(a_stream_out_of_memory_is_told),
        cmocka_unit_test(a_stream_is_over_when_the_upstream_closes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
