/* SPDX-License-Identifier: Apache-2.0
 * Conversations made at random, told to Amazon Bedrock and read there (tests/support/bedrock_peer):
 * they mean the same; answers and their pieces the other way round. */
#include <stdio.h>

#include "support/bedrock_peer.h"
#include "support/cmocka_all.h"
#include "support/wire_random.h"

#define POOL_BYTES ((size_t)16 << 20)
#define SEEDS      10000
#define W          (&metallm__wire_bedrock)

static const struct metallm__wire_target target = {
    .model = METALLM__SPAN("anthropic.claude-sonnet-4-6")};

/* What comes back as something else is made by the table in test_wire_bedrock.c: refusals are told
 * as texts, and documents get other names. */
static struct wire_random random_of(uint64_t seed)
{
    struct wire_random r = {.temperature_max = 1,
                            .stops_max = 9,
                            .seal_of = "bedrock",
                            .has_no_refusals = true,
                            .seals = {"bedrock", "bedrock", NULL}};
    metallm_rng_seed(&r.rng, seed);
    metallm__pool_init(&r.pool, POOL_BYTES);
    for (unsigned f = 0; f < METALLM__FEATURES; f++)
        if (W->verdicts[f] == METALLM__VERDICT_CARRIED && f != METALLM__FEATURE_FILES &&
            f != METALLM__FEATURE_REFUSAL_HISTORY)
            r.allowed |= 1ull << f;
    return r;
}

static void fail_with(uint64_t seed, const char *why, const struct metallm__buf *text)
{
    fail_msg("seed %llu: %s\n%s", (unsigned long long)seed, why,
             text->data != NULL ? text->data : "");
}

static yyjson_doc *parse(const struct metallm__buf *text)
{
    return yyjson_read_opts(text->data, text->len, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
}

static void talks_keep_their_meaning(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct wire_random r = random_of(seed);
        struct metallm__talk talk, back;
        struct metallm__wire_out out = {.is_translated = true};
        metallm_error err = {0};
        metallm__buf_init(&out.made, POOL_BYTES);
        metallm__buf_init(&out.path_made, 4096);
        random_talk(&r, &talk);
        if (talk.format == METALLM__FORMAT_SCHEMA)
            talk.is_format_strict = 1; /* as all schemas are there */
        if (W->talk_out(&talk, &target, &out, &err) != METALLM_OK)
            fail_with(seed, err.message, &out.made);
        yyjson_doc *doc = parse(&out.made);
        const char *why =
            doc == NULL ? "no JSON" : bedrock_talk_in(yyjson_doc_get_root(doc), &r.pool, &back);
        if (why == NULL && metallm__talk_settle(&back, &r.pool, &err) != METALLM_OK)
            why = err.message;
        if (why == NULL)
            why = talk_difference(&talk, &back);
        if (why[0] != '\0' || out.dropped != 0)
            fail_with(seed, why, &out.made);
        yyjson_doc_free(doc);
        metallm__wire_out_fini(&out);
        metallm__pool_fini(&r.pool);
    }
}

/* Bedrock tells neither an id nor a model nor how many tokens it thought. */
static void random_answer(struct wire_random *r, struct metallm__said *said)
{
    random_said(r, said);
    said->id = said->model = metallm__span(NULL, 0);
    said->usage.reasoning_tokens = -1;
}

static void answers_keep_their_meaning(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct wire_random r = random_of(seed);
        struct metallm__said said, back = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
        struct metallm__buf text;
        metallm_error err = {0};
        metallm__buf_init(&text, POOL_BYTES);
        random_answer(&r, &said);
        bedrock_said_out(&said, &text);
        yyjson_doc *doc = parse(&text);
        if (doc == NULL || W->said_in(yyjson_doc_get_root(doc), &r.pool, &back, &err) != METALLM_OK)
            fail_with(seed, err.message, &text);
        const char *why = said_difference(&said, &back);
        if (why[0] != '\0')
            fail_with(seed, why, &text);
        yyjson_doc_free(doc);
        metallm__buf_fini(&text);
        metallm__pool_fini(&r.pool);
    }
}

struct hearing {
    struct metallm__hearing h;
    struct said_maker maker;
    bool is_end;
};

static int take_event(void *payload, const struct metallm__aws_event *e)
{
    struct hearing *in = payload;
    const struct metallm__wire_event event = {.name = e->name, .data = e->payload};
    int rc = W->event_in(&in->h, &event, &in->is_end);
    metallm__pool_clear(&in->h.pool);
    return rc;
}

/* The frames in pieces, as one answer again. */
static int hear(struct wire_random *r, const struct metallm__buf *frames, struct hearing *in,
                metallm_error *err)
{
    struct metallm__aws_events p;
    int rc = METALLM_OK;
    *in = (struct hearing){.maker = {.pool = &r->pool}};
    in->maker.said.usage = (struct metallm__wire_usage)METALLM__WIRE_USAGE_UNKNOWN;
    in->h = (struct metallm__hearing){.usage = METALLM__WIRE_USAGE_UNKNOWN,
                                      .sink = said_from_delta,
                                      .payload = &in->maker,
                                      .err = err};
    metallm__pool_init(&in->h.pool, POOL_BYTES);
    metallm__aws_events_init(&p);
    for (size_t at = 0; at < frames->len && rc == METALLM_OK;) {
        size_t n = 1 + metallm__rng_below(&r->rng, 2000);
        n = n < frames->len - at ? n : frames->len - at;
        rc = metallm__aws_events_feed(&p, metallm__span(frames->data + at, n), take_event, in, err);
        at += n;
    }
    metallm__aws_events_fini(&p);
    metallm__pool_fini(&in->h.pool);
    return rc;
}

static void streams_keep_their_meaning(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct wire_random r = random_of(seed);
        struct bedrock_stream stream = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
        struct metallm__said said;
        struct hearing in;
        metallm_error err = {0};
        metallm__buf_init(&stream.frames, POOL_BYTES);
        random_answer(&r, &said);
        if (said_as_deltas(&r, &said, bedrock_delta_out, &stream) != METALLM_OK)
            fail_with(seed, "the stream cannot be written", &stream.frames);
        bedrock_stream_end(&stream);
        if (hear(&r, &stream.frames, &in, &err) != METALLM_OK)
            fail_with(seed, in.maker.wrong != NULL ? in.maker.wrong : err.message, &stream.frames);
        const char *why = in.is_end ? said_difference(&said, &in.maker.said) : "no end";
        if (why[0] != '\0')
            fail_with(seed, why, &stream.frames);
        metallm__buf_fini(&stream.frames);
        metallm__pool_fini(&r.pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_keep_their_meaning),
        cmocka_unit_test(answers_keep_their_meaning),
        cmocka_unit_test(streams_keep_their_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
