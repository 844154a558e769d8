/* SPDX-License-Identifier: Apache-2.0
 * Calls whose upstream speaks another protocol than the client, over real sockets: completions for
 * LLMs that chat. What comes back is the client's, whole, streamed or refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "metallm/base.h"
#include "support/ask_world.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define ASKED "{\"model\":\"auto\",\"prompt\":\"hi\",\"user\":\"u\"}"
#define STREAMED                                                                                   \
    "{\"model\":\"auto\",\"prompt\":\"hi\",\"stream\":true,"                                       \
    "\"stream_options\":{\"include_usage\":true}}"
#define UNTOLD "{\"model\":\"auto\",\"prompt\":\"hi\",\"n\":2}"

static void an_answer_is_the_clients(void **state)
{
    struct world w;
    struct seen s;
    char body[1024], key[1024];
    (void)state;
    world_open(&w, "ok");
    world_call(&w, &s, ASKED, 0);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_non_null(strstr(s.body, "\"object\":\"text_completion\""));
    assert_non_null(strstr(s.body, "\"text\":\"Hello\""));
    assert_string_equal(s.content_type, "application/json");
    assert_int_equal(s.result.answer.usage.output_tokens, 2);
    assert_true(fabs(s.result.cost_usd - (10 * 100 + 2 * 1000) * 1e-6) < 1e-12);
    assert_string_equal(s.result.answer.model, "real");
    assert_int_equal(s.result.dropped, 0);
    fake_upstream_last(world_fake, body, key);
    assert_string_equal(body, "{\"model\":\"m0\",\"messages\":[{\"role\":\"user\",\"content\":"
                              "\"hi\"}],\"user\":\"u\"}");
    world_close(&w);
}

static void a_stream_is_the_clients(void **state)
{
    static const char *const plans[] = {"ok", "nodone", "whole"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        struct seen s;
        world_open(&w, plans[i]);
        world_call(&w, &s, STREAMED, 0);
        assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
        assert_int_equal(s.streams, 1);
        s.pieces[s.piece_bytes] = '\0';
        assert_non_null(strstr(s.pieces, "\"text_completion\""));
        assert_null(strstr(s.pieces, "\"delta\""));
        assert_string_equal(s.pieces + s.piece_bytes - 14, "data: [DONE]\n\n");
        assert_int_equal(s.result.answer.finish, METALLM__WIRE_FINISH_STOP);
        assert_int_equal(s.result.answer.usage.output_tokens, 2);
        assert_true((strstr(s.pieces, "\"completion_tokens\":2") != NULL) == (i != 1));
        assert_int_equal(s.body[0], '\0');
        world_close(&w);
    }
}

static void a_stream_that_dies_is_told(void **state)
{
    static const char *const plans[] = {"die ok", "late-error ok"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct seen s;
        world_open(&w, plans[i]);
        world_call(&w, &s, STREAMED, 0);
        assert_int_equal(s.result.end, METALLM__ASK_BROKEN);
        assert_int_equal(s.result.llm, 0);
        assert_string_equal(s.pieces + s.piece_bytes - 2, "\n\n"); /* whole events */
        world_close(&w);
    }
}

static void a_slow_reader_holds_back_and_a_hang_up_ends_it(void **state)
{
    struct world w;
    struct seen s = {.pause_after = 1};
    metallm_error err;
    (void)state;
    world_open(&w, "flood");
    uint64_t before = fake_upstream_sent(world_fake);
    unsigned gone = fake_upstream_gone(world_fake);
    assert_int_equal(world_begin(&w, &s, STREAMED, 0, &err), METALLM_OK);
    world_turn_for(&w, 200); /* longer than idle_ms, which rests */
    assert_int_equal(s.dones, 0);
    size_t read = s.piece_bytes;
    assert_in_range(read, 1, 256 * 1024);
    world_turn_for(&w, 50);
    assert_int_equal(s.piece_bytes, read);
    /* What the server could send is what the kernel's buffers hold, not the 24 MB. */
    assert_true(fake_upstream_sent(world_fake) - before < (uint64_t)16 << 20);
    metallm__ask_resume(s.ask);
    for (int i = 0; i < 1000 && s.piece_bytes < read + 1000000; i++)
        metallm__loop_turn(w.loop, 5);
    assert_true(s.piece_bytes >= read + 1000000);
    metallm__ask_cancel(s.ask);
    for (int i = 0; i < 1000 && fake_upstream_gone(world_fake) == gone; i++)
        metallm__loop_turn(w.loop, 5);
    assert_int_equal(fake_upstream_gone(world_fake), gone + 1);
    assert_int_equal(s.dones, 0);
    metallm__wire_request_fini(&s.request);
    world_close(&w);
}

static void faults_are_overcome_by_the_next_llm(void **state)
{
    static const char *const plans[] = {"500 ok", "garbage ok", "half ok", "error ok", "empty ok"};
    (void)state;
    for (size_t i = 0; i < 5; i++)
        for (int is_stream = 0; is_stream <= 1; is_stream++) {
            struct world w;
            struct seen s;
            if (is_stream == 0 && strncmp(plans[i], "error", 5) == 0)
                continue;
            world_open(&w, plans[i]);
            world_call(&w, &s, is_stream ? STREAMED : ASKED, 0);
            assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
            assert_int_equal(s.result.llm, 1);
            world_close(&w);
        }
}

static void a_refusal_is_told_in_the_clients_words(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "400 ok");
    world_call(&w, &s, STREAMED, 0);
    assert_int_equal(s.result.end, METALLM__ASK_REFUSED);
    assert_int_equal(s.result.status, 400);
    assert_string_equal(s.body, "{\"error\":{\"message\":\"as asked\",\"type\":"
                                "\"invalid_request_error\",\"param\":null,\"code\":null}}");
    assert_string_equal(s.content_type, "application/json");
    world_close(&w);
}

static void what_cannot_be_told_goes_where_it_can(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "ok");
    world_call(&w, &s, UNTOLD, 0);
    assert_int_equal(s.result.end, METALLM__ASK_FAILED);
    assert_int_equal(s.result.status, 400);
    assert_string_equal(s.message, "'several choices' cannot be said to openai");
    assert_int_equal(s.attempts[0].fault, METALLM__FAULT_EXPRESSION);
    assert_true(metallm__health_would_pass(w.llms->items[0].deployments[0].health, 0));
    world_close(&w);
    world_open(&w, "ok,ok ok"); /* the second deployment takes completions as they are */
    w.llms->items[0].deployments[1].target.native |= 1u << METALLM__WIRE_COMPLETION;
    for (int i = 0; i < 8; i++) {
        world_call(&w, &s, UNTOLD, 0);
        assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
        assert_int_equal(s.result.deployment, 1);
        assert_int_equal(s.result.attempt_count, 1);
    }
    world_close(&w);
}

static void no_memory_is_a_fault_like_others(void **state)
{
    struct world w;
    struct seen s = {.dones = 0};
    metallm_error err;
    unsigned faults = 0;
    (void)state;
    world_options.attempts_max = 1;
    world_open(&w, "ok");
    world_options.attempts_max = 0;
    for (long n = 0; n < 400; n += 1 + n / 40) {
        s = (struct seen){.dones = 0};
        fail_alloc_at(n);
        int rc = world_begin(&w, &s, STREAMED, 0, &err);
        if (rc == METALLM_OK)
            world_turn_until_done(&w, &s);
        bool has_failed = fail_alloc_seen() > n;
        fail_alloc_at(-1);
        metallm__wire_request_fini(&s.request);
        if (rc != METALLM_OK) {
            assert_int_equal(rc, METALLM_ENOMEM);
            continue;
        }
        faults += s.result.end != METALLM__ASK_ANSWERED;
        if (!has_failed)
            break;
    }
    assert_true(faults > 0);
    world_close(&w);
}

static int setup(void **state)
{
    world_kind = METALLM__WIRE_COMPLETION;
    return world_fake_start(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_clients),
        cmocka_unit_test(a_stream_is_the_clients),
        cmocka_unit_test(a_stream_that_dies_is_told),
        cmocka_unit_test(a_slow_reader_holds_back_and_a_hang_up_ends_it),
        cmocka_unit_test(faults_are_overcome_by_the_next_llm),
        cmocka_unit_test(a_refusal_is_told_in_the_clients_words),
        cmocka_unit_test(what_cannot_be_told_goes_where_it_can),
        cmocka_unit_test(no_memory_is_a_fault_like_others),
    };
    return cmocka_run_group_tests(tests, setup, world_fake_stop);
}
