/* SPDX-License-Identifier: Apache-2.0
 * Conversations made at random: written in a protocol and read back by the client's side of it,
 * answers and their pieces the other way round. They mean the same. */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/wire_random.h"

#define POOL_BYTES ((size_t)16 << 20)

/* A protocol and the surface that its clients use. */
static const struct pair {
    const struct metallm__wire *wire;
    enum metallm__wire_kind kind;
    struct wire_random options;
} pairs[] = {
    {&metallm__wire_openai,
     METALLM__WIRE_CHAT,
     {.temperature_max = 2, .stops_max = 4, .seals = {"openai", "openai", NULL}}},
    {&metallm__wire_openai_responses,
     METALLM__WIRE_RESPONSES,
     {.temperature_max = 2,
      .stops_max = 1,
      .seal_of = "openai-responses",
      .seals = {"openai-responses", "openai-responses", NULL}}},
    {&metallm__wire_anthropic,
     METALLM__WIRE_MESSAGES,
     {.temperature_max = 1,
      .stops_max = 9,
      .seal_of = "anthropic",
      .has_no_format_name = true,
      .has_no_refusals = true,
      .seals = {"anthropic", "anthropic", NULL}}},
};
#define PAIR_COUNT (sizeof pairs / sizeof *pairs)

static const struct metallm__wire_target target = {.model = METALLM__SPAN("m"),
                                                   .model_json = METALLM__SPAN("\"m\""),
                                                   .region = METALLM__SPAN("eu-1"),
                                                   .is_usage_asked = true};

static struct wire_random random_for(const struct pair *p, uint64_t seed)
{
    struct wire_random r = p->options;
    metallm_rng_seed(&r.rng, seed);
    metallm__pool_init(&r.pool, POOL_BYTES);
    for (unsigned f = 0; f < METALLM__FEATURES; f++)
        if (p->wire->verdicts[f] == METALLM__VERDICT_CARRIED)
            r.allowed |= 1ull << f;
    if (r.has_no_refusals)
        r.allowed &= ~(1ull << METALLM__FEATURE_REFUSAL_HISTORY);
    return r;
}

static yyjson_doc *parse(struct metallm__span text)
{
    return yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NUMBER_AS_RAW, NULL,
                            NULL);
}

static void fail_with(const struct pair *p, uint64_t seed, const char *why,
                      struct metallm__span text)
{
    fail_msg("%s, seed %llu: %s\n%.*s", p->wire->name, (unsigned long long)seed, why, (int)text.n,
             text.p);
}

/* ---- Requests. ---- */

static void talk_there_and_back(const struct pair *p, uint64_t seed)
{
    struct wire_random r = random_for(p, seed);
    struct metallm__talk talk, back;
    struct metallm__wire_out out = {.is_translated = true};
    metallm_error err = {0};
    const char *param = NULL;
    metallm__buf_init(&out.made, POOL_BYTES);
    metallm__buf_init(&out.path_made, 4096);
    random_talk(&r, &talk);
    if (p->wire->talk_out(&talk, &target, &out, &err) != METALLM_OK)
        fail_with(p, seed, err.message, metallm__span("", 0));
    struct metallm__span text = metallm__span(out.made.data, out.made.len);
    yyjson_doc *doc = parse(text);
    if (doc == NULL)
        fail_with(p, seed, "no JSON", text);
    metallm__talk_clear(&back);
    int rc = metallm__surface_of(p->kind)->talk_in(yyjson_doc_get_root(doc), &r.pool, &back, &param,
                                                   &err);
    if (rc == METALLM_OK)
        rc = metallm__talk_settle(&back, &r.pool, &err);
    if (rc != METALLM_OK)
        fail_with(p, seed, err.message, text);
    const char *why = talk_difference(&talk, &back);
    if (why[0] != '\0')
        fail_with(p, seed, why, text);
    yyjson_doc_free(doc);
    metallm__wire_out_fini(&out);
    metallm__pool_fini(&r.pool);
}

static void talks_keep_their_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIR_COUNT; i++)
        for (uint64_t seed = 0; seed < 10000; seed++)
            talk_there_and_back(&pairs[i], seed);
}

/* Asked by this client; out is what its request holds in memory. */
static void ask_as(const struct pair *p, uint64_t seed, const struct metallm__talk *talk,
                   struct metallm__wire_out *out, struct metallm__wire_request *r)
{
    metallm_error err = {0};
    *out = (struct metallm__wire_out){.is_translated = true};
    metallm__buf_init(&out->made, POOL_BYTES);
    metallm__buf_init(&out->path_made, 4096);
    if (p->wire->talk_out(talk, &target, out, &err) != METALLM_OK ||
        metallm__wire_request_read(r, p->kind, metallm__span(out->made.data, out->made.len), NULL,
                                   &err) != METALLM_OK)
        fail_with(p, seed, err.message, metallm__span(out->made.data, out->made.len));
}

/* A conversation is routed on the same text, and needs the same, whichever way it comes in. */
static void what_is_routed_on_is_the_same_in_every_surface(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct wire_random r = random_for(&pairs[PAIR_COUNT - 1], seed);
        struct metallm__talk talk;
        struct metallm__wire_out first_out, out;
        struct metallm__wire_request first, request;
        for (size_t i = 0; i + 1 < PAIR_COUNT; i++)
            r.allowed &= random_for(&pairs[i], 0).allowed;
        r.allowed &= ~(1ull << METALLM__FEATURE_SYSTEM_LATE);
        r.has_one_system = true;
        random_talk(&r, &talk);
        ask_as(&pairs[0], seed, &talk, &first_out, &first);
        for (size_t i = 1; i < PAIR_COUNT; i++) {
            ask_as(&pairs[i], seed, &talk, &out, &request);
            if (!metallm__span_eq(first.text, request.text) ||
                !metallm__span_eq(first.last_user, request.last_user) ||
                !metallm__span_eq(first.system, request.system))
                fail_with(&pairs[i], seed, "another text", request.text);
            assert_int_equal(first.needs.tools, request.needs.tools);
            assert_int_equal(first.needs.images, request.needs.images);
            assert_int_equal(first.needs.files, request.needs.files);
            assert_int_equal(first.needs.json, request.needs.json);
            assert_int_equal(first.needs.json_schema, request.needs.json_schema);
            assert_int_equal(first.needs.output_tokens_max, request.needs.output_tokens_max);
            assert_true(abs((int)first.needs.input_tokens - (int)request.needs.input_tokens) <
                        60 + (int)first.needs.input_tokens / 4);
            metallm__wire_request_fini(&request);
            metallm__wire_out_fini(&out);
        }
        metallm__wire_request_fini(&first);
        metallm__wire_out_fini(&first_out);
        metallm__pool_fini(&r.pool);
    }
}

/* ---- Answers. ---- */

static void said_there_and_back(const struct pair *p, uint64_t seed)
{
    struct wire_random r = random_for(p, seed);
    const struct metallm__wire_request request = {.kind = p->kind};
    struct metallm__said said, back = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__buf b;
    metallm_error err = {0};
    metallm__buf_init(&b, POOL_BYTES);
    random_said(&r, &said);
    int rc = metallm__surface_of(p->kind)->said_out(&said, &request, said.model, 1, &b, &err);
    struct metallm__span text = metallm__span(b.data, b.len);
    yyjson_doc *doc = parse(text);
    if (rc != METALLM_OK || doc == NULL)
        fail_with(p, seed, err.message, text);
    if (p->wire->said_in(yyjson_doc_get_root(doc), &r.pool, &back, &err) != METALLM_OK)
        fail_with(p, seed, err.message, text);
    const char *why = said_difference(&said, &back);
    if (why[0] != '\0')
        fail_with(p, seed, why, text);
    yyjson_doc_free(doc);
    metallm__buf_fini(&b);
    metallm__pool_fini(&r.pool);
}

static void answers_keep_their_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIR_COUNT; i++)
        for (uint64_t seed = 0; seed < 10000; seed++)
            said_there_and_back(&pairs[i], seed);
}

/* A request whose history is this answer, as the client got it. */
static void write_history(const struct pair *p, yyjson_val *answer, struct metallm__buf *out)
{
    static const char *const heads[METALLM__WIRE_KINDS] = {
        [METALLM__WIRE_CHAT] = "{\"model\":\"m\",\"messages\":[",
        [METALLM__WIRE_RESPONSES] = "{\"model\":\"m\",\"input\":",
        [METALLM__WIRE_MESSAGES] = "{\"model\":\"m\",\"max_tokens\":1,\"messages\":["
                                   "{\"role\":\"assistant\",\"content\":"};
    static const char *const tails[METALLM__WIRE_KINDS] = {[METALLM__WIRE_CHAT] = "]}",
                                                           [METALLM__WIRE_RESPONSES] = "}",
                                                           [METALLM__WIRE_MESSAGES] = "}]}"};
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(answer, "choices"));
    yyjson_val *history = p->kind == METALLM__WIRE_CHAT        ? yyjson_obj_get(choice, "message")
                          : p->kind == METALLM__WIRE_RESPONSES ? yyjson_obj_get(answer, "output")
                                                               : yyjson_obj_get(answer, "content");
    size_t n = 0;
    char *text = yyjson_val_write(history, 0, &n);
    metallm__buf_puts(out, heads[p->kind]);
    metallm__buf_add(out, text, n);
    metallm__buf_puts(out, tails[p->kind]);
    free(text);
}

/* What a client got and gives back is what it was, reasoning of whatever LLM with it. */
static void history_there_and_back(const struct pair *p, uint64_t seed)
{
    struct wire_random r = random_for(p, seed);
    const struct metallm__wire_request asked = {.kind = p->kind};
    struct metallm__wire_request request;
    const struct metallm__talk *talk = NULL;
    struct metallm__said said, back;
    struct metallm__buf answer, history;
    metallm_error err = {0};
    metallm__buf_init(&answer, POOL_BYTES);
    metallm__buf_init(&history, POOL_BYTES);
    r.seals[0] = "gemini", r.seals[1] = "bedrock";
    random_said(&r, &said);
    int rc = metallm__surface_of(p->kind)->said_out(&said, &asked, said.model, 1, &answer, &err);
    yyjson_doc *doc = parse(metallm__span(answer.data, answer.len));
    write_history(p, yyjson_doc_get_root(doc), &history);
    struct metallm__span text = metallm__span(history.data, history.len);
    if (rc == METALLM_OK)
        rc = metallm__wire_request_read(&request, p->kind, text, NULL, &err);
    if (rc == METALLM_OK)
        rc = metallm__wire_request_talk(&request, &talk, &err);
    if (rc != METALLM_OK)
        fail_with(p, seed, err.message, text);
    back = said;
    back.parts = talk->turns[0].parts;
    back.part_count = talk->turns[0].part_count;
    const char *why = talk->turn_count == 1 ? said_difference(&said, &back) : "several turns";
    if (why[0] != '\0')
        fail_with(p, seed, why, text);
    yyjson_doc_free(doc);
    metallm__wire_request_fini(&request);
    metallm__buf_fini(&answer);
    metallm__buf_fini(&history);
    metallm__pool_fini(&r.pool);
}

static void answers_come_back_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIR_COUNT; i++)
        for (uint64_t seed = 0; seed < 3000; seed++)
            history_there_and_back(&pairs[i], seed);
}

/* ---- Streams. ---- */

/* What the surface tells, as a client gets it. */
struct telling {
    const struct metallm__surface *surface;
    struct metallm__telling t;
    struct metallm__buf events, usage, last;
    metallm_error err;
};

static int tell(void *payload, const struct metallm__delta *d)
{
    struct telling *to = payload;
    if (d->kind == METALLM__DELTA_START) {
        metallm__wire_text_copy(to->t.id, sizeof to->t.id, d->id);
        metallm__wire_text_copy(to->t.model, sizeof to->t.model, d->model);
    } else if (d->kind == METALLM__DELTA_USAGE) {
        metallm__wire_usage_merge(&to->t.usage, &d->usage);
    } else if (d->kind == METALLM__DELTA_FINISH) {
        to->t.finish = d->finish;
    }
    return to->surface->delta_out(&to->t, d, &to->events, &to->usage, &to->last, &to->err);
}

static void telling_open(struct telling *to, const struct metallm__wire_request *request)
{
    *to = (struct telling){.surface = metallm__surface_of(request->kind)};
    to->t = (struct metallm__telling){.request = request,
                                      .wall_s = 1,
                                      .open = METALLM__PART_KINDS,
                                      .usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__buf *const all[] = {&to->events,  &to->usage,  &to->last,   &to->t.kept,
                                        &to->t.names, &to->t.seal, &to->t.items};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        metallm__buf_init(all[i], POOL_BYTES);
}

static void telling_close(struct telling *to)
{
    struct metallm__buf *const all[] = {&to->events,  &to->usage,  &to->last,   &to->t.kept,
                                        &to->t.names, &to->t.seal, &to->t.items};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        metallm__buf_fini(all[i]);
}

struct hearing {
    const struct metallm__wire *wire;
    struct metallm__hearing h;
    struct said_maker maker;
    bool is_end;
};

static int take_event(void *payload, const struct metallm__sse_event *e)
{
    struct hearing *in = payload;
    if (e == NULL || !e->has_data)
        return METALLM_OK;
    const struct metallm__wire_event event = {.name = e->name, .data = e->data};
    int rc = in->wire->event_in(&in->h, &event, &in->is_end);
    metallm__pool_clear(&in->h.pool);
    return rc;
}

/* The events' bytes in pieces, read by the protocol, as one answer again. */
static int hear(const struct pair *p, struct wire_random *r, struct metallm__span bytes,
                struct hearing *in, metallm_error *err)
{
    struct metallm__sse sse;
    *in = (struct hearing){.wire = p->wire, .maker = {.pool = &r->pool}};
    in->maker.said.usage = (struct metallm__wire_usage)METALLM__WIRE_USAGE_UNKNOWN;
    in->h = (struct metallm__hearing){.usage = METALLM__WIRE_USAGE_UNKNOWN,
                                      .sink = said_from_delta,
                                      .payload = &in->maker,
                                      .err = err};
    metallm__pool_init(&in->h.pool, POOL_BYTES);
    metallm__sse_init(&sse, METALLM__SSE_EVENT_BYTES_MAX);
    int rc = METALLM_OK;
    for (size_t at = 0; at < bytes.n && rc == METALLM_OK;) {
        size_t n = 1 + metallm__rng_below(&r->rng, 2000);
        n = n < bytes.n - at ? n : bytes.n - at;
        rc = metallm__sse_feed(&sse, metallm__span(bytes.p + at, n), take_event, in, err);
        at += n;
    }
    metallm__sse_fini(&sse);
    metallm__pool_fini(&in->h.pool);
    return rc;
}

static void deltas_there_and_back(const struct pair *p, uint64_t seed)
{
    struct wire_random r = random_for(p, seed);
    const struct metallm__wire_request request = {
        .kind = p->kind, .is_stream = true, .wants_usage = true};
    struct metallm__said said;
    struct telling to;
    struct hearing in;
    metallm_error err = {0};
    random_said(&r, &said);
    telling_open(&to, &request);
    if (said_as_deltas(&r, &said, tell, &to) != METALLM_OK)
        fail_with(p, seed, to.err.message, metallm__span(to.events.data, to.events.len));
    metallm__buf_add(&to.events, to.usage.data, to.usage.len);
    metallm__buf_add(&to.events, to.last.data, to.last.len);
    struct metallm__span bytes = metallm__span(to.events.data, to.events.len);
    if (hear(p, &r, bytes, &in, &err) != METALLM_OK)
        fail_with(p, seed, in.maker.wrong != NULL ? in.maker.wrong : err.message, bytes);
    const char *why = in.is_end ? said_difference(&said, &in.maker.said) : "no end";
    if (why[0] != '\0')
        fail_with(p, seed, why, bytes);
    telling_close(&to);
    metallm__pool_fini(&r.pool);
}

static void streams_keep_their_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIR_COUNT; i++)
        for (uint64_t seed = 0; seed < 10000; seed++)
            deltas_there_and_back(&pairs[i], seed);
}

/* ---- From an upstream of one protocol to a client of another. ---- */

/* What neither can say is left out; seals stand for their own protocol alone. */
static struct wire_random random_across(const struct pair *p, const struct pair *q, uint64_t seed)
{
    struct wire_random r = random_for(p, seed);
    r.has_no_refusals |= q->options.has_no_refusals;
    r.seals[0] = r.seals[1] = r.seals[2] = NULL;
    return r;
}

static int gather(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    (void)kind;
    metallm__buf_add(payload, bytes.p, bytes.n);
    return METALLM_OK;
}

static void answer_across(const struct pair *p, const struct pair *q, uint64_t seed)
{
    struct wire_random r = random_across(p, q, seed);
    const struct metallm__wire_request of_p = {.kind = p->kind}, of_q = {.kind = q->kind};
    struct metallm__said said, back = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    struct metallm__wire_answer answer;
    struct metallm__buf upstream, made;
    metallm_error err = {0};
    metallm__buf_init(&upstream, POOL_BYTES);
    metallm__buf_init(&made, POOL_BYTES);
    random_said(&r, &said);
    int rc = metallm__surface_of(p->kind)->said_out(&said, &of_p, said.model, 1, &upstream, &err);
    struct metallm__span sent = metallm__span(upstream.data, upstream.len);
    if (rc == METALLM_OK)
        rc = metallm__wire_answer_in(p->wire, &of_q, true, sent, 1, &made, &answer, &err);
    struct metallm__span got = metallm__span(made.data, made.len);
    yyjson_doc *doc = rc == METALLM_OK ? parse(got) : NULL;
    if (doc == NULL ||
        q->wire->said_in(yyjson_doc_get_root(doc), &r.pool, &back, &err) != METALLM_OK)
        fail_with(p, seed, err.message, sent);
    const char *why = said_difference(&said, &back);
    if (why[0] != '\0' || answer.usage.output_tokens != said.usage.output_tokens)
        fail_with(q, seed, why, got);
    yyjson_doc_free(doc);
    metallm__buf_fini(&upstream);
    metallm__buf_fini(&made);
    metallm__pool_fini(&r.pool);
}

/* The upstream's bytes, cut anywhere, as the driver hands them to the client. */
static int drive(const struct pair *p, const struct metallm__wire_request *request,
                 struct wire_random *r, struct metallm__span bytes, struct metallm__buf *out,
                 metallm_error *err)
{
    const struct metallm__wire_out sent = {.is_translated = true};
    struct metallm__wire_stream s;
    int rc = METALLM_OK;
    metallm__wire_stream_init(&s, p->wire, request, &sent, 1);
    for (size_t at = 0; at < bytes.n && rc == METALLM_OK;) {
        size_t n = 1 + metallm__rng_below(&r->rng, 700);
        n = n < bytes.n - at ? n : bytes.n - at;
        rc = metallm__wire_stream_feed(&s, metallm__span(bytes.p + at, n), gather, out, err);
        at += n;
    }
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, gather, out, err);
    metallm__wire_stream_fini(&s);
    return rc;
}

static void stream_across(const struct pair *p, const struct pair *q, uint64_t seed)
{
    struct wire_random r = random_across(p, q, seed);
    const struct metallm__wire_request of_p = {
        .kind = p->kind, .is_stream = true, .wants_usage = true};
    const struct metallm__wire_request of_q = {
        .kind = q->kind, .is_stream = true, .wants_usage = true};
    struct metallm__said said;
    struct telling to;
    struct hearing in;
    struct metallm__buf made;
    metallm_error err = {0};
    metallm__buf_init(&made, POOL_BYTES);
    random_said(&r, &said);
    telling_open(&to, &of_p);
    if (said_as_deltas(&r, &said, tell, &to) != METALLM_OK)
        fail_with(p, seed, to.err.message, metallm__span(to.events.data, to.events.len));
    metallm__buf_add(&to.events, to.usage.data, to.usage.len);
    metallm__buf_add(&to.events, to.last.data, to.last.len);
    struct metallm__span sent = metallm__span(to.events.data, to.events.len);
    if (drive(p, &of_q, &r, sent, &made, &err) != METALLM_OK)
        fail_with(p, seed, err.message, sent);
    struct metallm__span got = metallm__span(made.data, made.len);
    if (hear(q, &r, got, &in, &err) != METALLM_OK)
        fail_with(q, seed, in.maker.wrong != NULL ? in.maker.wrong : err.message, got);
    const char *why = in.is_end ? said_difference(&said, &in.maker.said) : "no end";
    if (why[0] != '\0')
        fail_with(q, seed, why, got);
    telling_close(&to);
    metallm__buf_fini(&made);
    metallm__pool_fini(&r.pool);
}

static void every_pair_keeps_the_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIR_COUNT; i++)
        for (size_t k = 0; k < PAIR_COUNT; k++)
            for (uint64_t seed = 0; seed < 1000; seed++) {
                answer_across(&pairs[i], &pairs[k], seed);
                stream_across(&pairs[i], &pairs[k], seed);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_keep_their_meaning),
        cmocka_unit_test(what_is_routed_on_is_the_same_in_every_surface),
        cmocka_unit_test(answers_keep_their_meaning),
        cmocka_unit_test(answers_come_back_as_they_were),
        cmocka_unit_test(streams_keep_their_meaning),
        cmocka_unit_test(every_pair_keeps_the_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
