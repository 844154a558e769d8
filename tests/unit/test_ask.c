/* SPDX-License-Identifier: Apache-2.0
 * Calls against servers that misbehave, over real sockets: each fault with what the caller sees.
 * The servers run on a thread of their own (support/fake_upstream.h), the calls on this one. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metallm/base.h"
#include "support/ask_world.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "upstream/drive.h"

static void an_answer_comes_with_usage_and_cost(void **state)
{
    struct world w;
    struct seen s;
    char body[1024], key[1024];
    (void)state;
    world_open(&w, "ok");
    for (int i = 0; i < 3; i++) {
        world_call(&w, &s, PLAIN, 0);
        assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
        assert_int_equal(s.result.status, 200);
        assert_non_null(strstr(s.body, "\"Hello\""));
        assert_int_equal(s.result.answer.usage.output_tokens, 2);
        assert_false(s.result.answer.usage.is_estimated);
        assert_true(fabs(s.result.cost_usd - (10 * 100 + 2 * 1000) * 1e-6) < 1e-12);
        assert_string_equal(s.result.answer.model, "real");
        assert_int_equal(s.result.attempt_count, 1);
        assert_true(s.result.first_ms >= 0 && s.result.total_ms >= s.result.first_ms);
    }
    fake_upstream_last(world_fake, body, key);
    assert_string_equal(key, "Bearer sk-1");
    assert_string_equal(body,
                        "{\"model\":\"m0\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    const struct metallm__health *h = w.llms->items[0].deployments[0].health;
    assert_int_equal(h->requests, 3);
    assert_int_equal(h->answers, 3);
    assert_int_equal(h->connects, 1); /* kept */
    assert_int_equal(h->in_flight, 0);
    world_close(&w);
}

static void a_stream_comes_event_by_event(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "ok");
    world_call(&w, &s, STREAM, 0);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_int_equal(s.result.answer.usage.input_tokens,
                     10); /* asked for, and kept from the client */
    assert_null(strstr(s.pieces, "prompt_tokens"));
    assert_non_null(strstr(s.pieces, "[DONE]"));
    assert_true(fabs(s.result.cost_usd - 3000e-6) < 1e-12);
    assert_int_equal(s.result.answer.finish, METALLM__WIRE_FINISH_STOP);
    world_close(&w);
    world_open(&w, "nodone");
    world_call(&w, &s, STREAM, 0);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_true(s.result.answer.usage.is_estimated);
    assert_int_equal(s.result.answer.usage.output_tokens, 2); /* five letters */
    world_close(&w);
    world_open(&w, "whole");
    world_call(&w, &s, STREAM, 0);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_int_equal(s.streams, 0);
    assert_non_null(strstr(s.body, "\"Hello\""));
    world_close(&w);
}

static void every_fault_is_overcome_by_the_next_llm(void **state)
{
    static const struct {
        const char *what;
        enum metallm__fault fault;
        unsigned status, attempts; /* of the first LLM */
    } rows[] = {
        {"refuse", METALLM__FAULT_CONNECT, 0, 2},     {"hang", METALLM__FAULT_TIMEOUT, 0, 1},
        {"slow", METALLM__FAULT_TIMEOUT, 0, 1},       {"500", METALLM__FAULT_SERVER, 500, 2},
        {"503-after", METALLM__FAULT_SERVER, 503, 1}, {"429", METALLM__FAULT_RATE, 429, 1},
        {"429-after", METALLM__FAULT_RATE, 429, 1},   {"429-long", METALLM__FAULT_RATE, 429, 1},
        {"401", METALLM__FAULT_AUTH, 401, 1},         {"403", METALLM__FAULT_AUTH, 403, 1},
        {"404", METALLM__FAULT_UNKNOWN, 404, 1},      {"302", METALLM__FAULT_PROTOCOL, 302, 2},
        {"garbage", METALLM__FAULT_GARBAGE, 200, 2},  {"empty", METALLM__FAULT_GARBAGE, 200, 2},
        {"half", METALLM__FAULT_RESET, 200, 2},       {"die-early", METALLM__FAULT_RESET, 200, 2},
        {"error", METALLM__FAULT_GARBAGE, 200, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int is_stream = 0; is_stream <= 1; is_stream++) {
            struct world w;
            struct seen s;
            char plan[64];
            bool is_stream_only =
                strstr(rows[i].what, "error") != NULL || strncmp(rows[i].what, "die", 3) == 0;
            if (is_stream_only && is_stream == 0)
                continue;
            snprintf(plan, sizeof plan, "%s ok", rows[i].what);
            world_open(&w, plan);
            world_call(&w, &s, is_stream ? STREAM : PLAIN, 0);
            if (s.result.end != METALLM__ASK_ANSWERED || s.result.llm != 1 ||
                s.result.attempt_count != rows[i].attempts + 1 ||
                s.attempts[0].fault != rows[i].fault || s.attempts[0].status != rows[i].status)
                fail_msg("%s (stream %d): end %u by %u after %u: %s %u", rows[i].what, is_stream,
                         s.result.end, s.result.llm, s.result.attempt_count,
                         metallm__fault_name(s.attempts[0].fault), s.attempts[0].status);
            assert_int_equal(s.attempts[rows[i].attempts].fault, METALLM__FAULT_NONE);
            assert_int_equal(s.streams, is_stream);
            const struct metallm__health *h = w.llms->items[0].deployments[0].health;
            assert_int_equal(h->faults[rows[i].fault], rows[i].attempts);
            assert_int_equal(h->in_flight, 0);
            world_close(&w);
        }
}

static void alone_it_fails_with_what_fits_the_client(void **state)
{
    static const struct {
        const char *plan;
        unsigned status;
    } rows[] = {{"refuse", 502},
                {"hang", 504},
                {"500", 502},
                {"garbage", 502},
                {"401", 502},
                {"429-long", 429},
                {"429-long,429-long 429-long", 429}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        struct seen s;
        world_open(&w, rows[i].plan);
        world_call(&w, &s, PLAIN, 0);
        assert_int_equal(s.result.end, METALLM__ASK_FAILED);
        assert_int_equal(s.result.status, rows[i].status);
        assert_true(s.message[0] != '\0');
        assert_null(strstr(s.message, "sk-1"));
        if (rows[i].status == 429)
            assert_in_range(s.result.retry_after_ms, 29000, 30000);
        world_close(&w);
    }
}

static void the_clients_own_errors_pass_as_they_are(void **state)
{
    static const char *const plans[] = {"400 ok", "413 ok", "422 ok"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        struct seen s;
        world_open(&w, plans[i]);
        world_call(&w, &s, PLAIN, 0);
        assert_int_equal(s.result.end, METALLM__ASK_REFUSED);
        assert_int_equal(s.result.status, strtol(plans[i], NULL, 10));
        assert_string_equal(s.body, "{\"error\":{\"message\":\"as asked\"}}");
        assert_int_equal(s.result.attempt_count, 1);
        assert_true(metallm__health_would_pass(w.llms->items[0].deployments[0].health, 0));
        world_close(&w);
    }
}

static void a_fault_that_passes_is_retried_in_place(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "flaky");
    world_call(&w, &s, PLAIN, 0);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_int_equal(s.result.attempt_count, 2);
    assert_true(s.result.total_ms >= 2.5); /* at least half of the back-off */
    assert_int_equal(w.llms->items[0].deployments[0].health->retries, 1);
    world_close(&w);
    /* Who asks for patience, and is alone, gets it. */
    world_open(&w, "429-after");
    world_call(&w, &s, PLAIN, 0);
    assert_int_equal(s.result.end, METALLM__ASK_FAILED);
    assert_int_equal(s.result.attempt_count, 2);
    assert_true(s.result.total_ms >= 60);
    world_close(&w);
}

static void deployments_of_one_llm_come_before_the_next_llm(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "500,ok,500 ok");
    for (int i = 0; i < 6; i++) {
        world_call(&w, &s, PLAIN, 0);
        assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
        assert_int_equal(s.result.llm, 0);
        assert_int_equal(s.result.deployment, 1);
    }
    world_close(&w);
}

static void weights_share_the_calls(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "ok,ok");
    struct metallm__llm *llm = &w.llms->items[0];
    llm->deployments[1].weight = 3;
    for (int i = 0; i < 200; i++)
        world_call(&w, &s, PLAIN, 0);
    /* Binomial, n 200, p 3/4: 150, standard deviation 6.1. */
    assert_in_range(llm->deployments[1].health->requests, 150 - 25, 150 + 25);
    world_close(&w);
}

static void a_stream_that_dies_is_told_and_not_retried(void **state)
{
    static const char *const plans[] = {"die ok", "late-error ok"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct seen s;
        world_open(&w, plans[i]);
        world_call(&w, &s, STREAM, 0);
        assert_int_equal(s.result.end, METALLM__ASK_BROKEN);
        assert_int_equal(s.result.llm, 0);
        assert_int_equal(s.result.attempt_count, 1);
        assert_true(s.piece_bytes > 0);
        assert_string_equal(s.pieces + s.piece_bytes - 2, "\n\n"); /* whole events */
        assert_true(s.result.answer.usage.is_estimated);
        assert_true(s.result.cost_usd > 0);
        assert_true(s.message[0] != '\0');
        assert_null(strstr(s.message, "overloaded"));
        world_close(&w);
    }
}

static void the_deadline_holds_over_all_attempts(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "hang,hang hang ok");
    world_call(&w, &s, PLAIN, 100);
    assert_int_equal(s.result.end, METALLM__ASK_FAILED);
    assert_int_equal(s.result.status, 504);
    assert_true(s.result.total_ms >= 95 && s.result.total_ms < 2000);
    assert_int_equal(s.result.attempt_count, 1);
    world_close(&w);
}

static void an_open_breaker_is_passed_over_and_probed(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_deployment.breaker =
        (struct metallm__breaker_options){.consecutive_max = 2, .open_ns = 200000000};
    world_open(&w, "flaky ok");
    struct metallm__health *h = w.llms->items[0].deployments[0].health;
    for (int i = 0; i < 2; i++)
        metallm__health_fault(h, metallm__loop_now(w.loop), 0.5);
    world_call(&w, &s, PLAIN, 0);
    assert_int_equal(s.result.llm, 1);
    assert_int_equal(s.result.attempt_count, 1); /* the open one was not even asked */
    world_turn_for(&w, 220);
    world_call(&w, &s, PLAIN, 0); /* the probe: flaky is well again */
    assert_int_equal(s.result.llm, 0);
    assert_int_equal(metallm__health_state(h, metallm__loop_now(w.loop)), METALLM__BREAKER_CLOSED);
    world_close(&w);
    /* All open, nobody asked: told at once, with when to come again. */
    world_open(&w, "ok");
    h = w.llms->items[0].deployments[0].health;
    for (int i = 0; i < 2; i++)
        metallm__health_fault(h, metallm__loop_now(w.loop), 0.5);
    world_call(&w, &s, PLAIN, 0);
    assert_int_equal(s.result.end, METALLM__ASK_FAILED);
    assert_int_equal(s.result.status, 503);
    assert_int_equal(s.result.attempt_count, 0);
    assert_in_range(s.result.retry_after_ms, 100, 200);
    world_deployment.breaker = (struct metallm__breaker_options){0};
    world_close(&w);
}

static void a_client_that_hangs_up_cancels_the_call(void **state)
{
    struct world w;
    struct seen s = {.dones = 0};
    metallm_error err;
    (void)state;
    world_deployment.first_byte_ms = 60000;
    world_open(&w, "hang");
    unsigned gone = fake_upstream_gone(world_fake), seen = fake_upstream_seen(world_fake);
    assert_int_equal(world_begin(&w, &s, PLAIN, 0, &err), METALLM_OK);
    while (fake_upstream_seen(world_fake) == seen)
        metallm__loop_turn(w.loop, 5);
    metallm__ask_cancel(s.ask);
    metallm__wire_request_fini(&s.request);
    for (int i = 0; i < 1000 && fake_upstream_gone(world_fake) == gone; i++)
        metallm__loop_turn(w.loop, 5);
    assert_int_equal(fake_upstream_gone(world_fake), gone + 1);
    assert_int_equal(s.dones, 0);
    assert_int_equal(w.llms->items[0].deployments[0].health->in_flight, 0);
    world_deployment.first_byte_ms = 150;
    world_close(&w);
    /* From within a piece. */
    world_open(&w, "flood");
    s = (struct seen){.cancel_after = 1};
    gone = fake_upstream_gone(world_fake);
    assert_int_equal(world_begin(&w, &s, STREAM, 0, &err), METALLM_OK);
    for (int i = 0; i < 1000 && fake_upstream_gone(world_fake) == gone; i++)
        metallm__loop_turn(w.loop, 5);
    assert_int_equal(fake_upstream_gone(world_fake), gone + 1);
    assert_int_equal(s.piece_count, 1);
    assert_int_equal(s.dones, 0);
    metallm__wire_request_fini(&s.request);
    world_close(&w);
    /* All at once, when the loop ends; in back-off, too. */
    world_open(&w, "hang");
    struct seen three[3] = {{.dones = 0}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(world_begin(&w, &three[i], PLAIN, 0, &err), METALLM_OK);
    world_turn_for(&w, 10);
    world_close(&w);
    for (int i = 0; i < 3; i++)
        metallm__wire_request_fini(&three[i].request);
}

static void a_slow_reader_holds_the_upstream_back(void **state)
{
    struct world w;
    struct seen s = {.pause_after = 1};
    metallm_error err;
    (void)state;
    world_open(&w, "flood");
    uint64_t before = fake_upstream_sent(world_fake);
    assert_int_equal(world_begin(&w, &s, STREAM, 0, &err), METALLM_OK);
    world_turn_for(&w, 400); /* longer than idle_ms, which rests */
    assert_int_equal(s.dones, 0);
    uint64_t sent = fake_upstream_sent(world_fake) - before;
    size_t read = s.piece_bytes;
    assert_true(read <= 128 * 1024);
    world_turn_for(&w, 100);
    assert_int_equal(s.piece_bytes, read);
    /* What the server could send is what the kernel's buffers hold, not the 24 MB. */
    if (fake_upstream_sent(world_fake) - before != sent)
        fail_msg("still sending while paused");
    metallm__ask_resume(s.ask);
    world_turn_until_done(&w, &s);
    assert_int_equal(s.result.end, METALLM__ASK_ANSWERED);
    assert_true(s.piece_bytes > 24000 * 1000);
    metallm__wire_request_fini(&s.request);
    world_close(&w);
}

static void slots_bound_what_is_under_way(void **state)
{
    struct world w;
    struct seen s[6] = {{.dones = 0}};
    metallm_error err;
    unsigned most = 0, busy = 0;
    (void)state;
    world_deployment.concurrent_max = 2;
    world_deployment.waiting_max = 3;
    world_deployment.waiting_ms = 5000;
    world_deployment.first_byte_ms = 5000;
    world_open(&w, "slow");
    for (int i = 0; i < 6; i++)
        assert_int_equal(world_begin(&w, &s[i], PLAIN, 0, &err), METALLM_OK);
    struct metallm__health *h = w.llms->items[0].deployments[0].health;
    assert_int_equal(h->in_flight, 2);
    assert_int_equal(h->waiting, 3);
    for (int i = 0; i < 1000 &&
                    s[0].dones + s[1].dones + s[2].dones + s[3].dones + s[4].dones + s[5].dones < 6;
         i++) {
        metallm__loop_turn(w.loop, 5);
        most = h->in_flight > most ? h->in_flight : most;
    }
    for (int i = 0; i < 6; i++) {
        busy += s[i].result.end == METALLM__ASK_FAILED && s[i].result.status == 503 &&
                s[i].attempts[0].fault == METALLM__FAULT_BUSY;
        metallm__wire_request_fini(&s[i].request);
    }
    assert_int_equal(most, 2);
    assert_int_equal(busy, 1); /* the sixth: the queue was full */
    assert_int_equal(h->in_flight + h->waiting, 0);
    world_deployment.concurrent_max = 0;
    world_deployment.first_byte_ms = 150;
    world_close(&w);
}

static void a_new_generation_keeps_connections_and_health(void **state)
{
    struct world w;
    struct seen s;
    (void)state;
    world_open(&w, "ok");
    world_call(&w, &s, PLAIN, 0);
    struct metallm__llms *old = w.llms;
    const struct metallm__deployment *d = &old->items[0].deployments[0];
    struct metallm__deployment_options again = world_deployment;
    again.base_url = d->base_url;
    const struct metallm__llm_options o = {
        .name = "m0", .deployments = &again, .deployment_count = 1};
    assert_int_equal(metallm__llms_new(&w.llms, &o, 1, old, NULL), METALLM_OK);
    metallm__llms_unref(old);
    world_call(&w, &s, PLAIN, 0);
    assert_int_equal(w.llms->items[0].deployments[0].health->requests, 2);
    assert_int_equal(w.llms->items[0].deployments[0].health->connects, 1);
    assert_true(isnan(s.result.cost_usd)); /* this generation knows no price */
    world_close(&w);
}

/* ---- Batches. ---- */

struct batch {
    unsigned wanted, given, done, answered, under_way, most;
    const uint32_t *candidates;
};

static int next_job(void *payload, struct metallm__drive_job *job, metallm_error *err)
{
    struct batch *b = payload;
    (void)err;
    if (b->given == b->wanted)
        return METALLM_ENOTFOUND;
    if (b->given == 3 && b->done == 0)
        return METALLM_EBUSY;
    b->given++;
    b->under_way++;
    b->most = b->under_way > b->most ? b->under_way : b->most;
    *job = (struct metallm__drive_job){
        .body = METALLM__SPAN(PLAIN), .candidates = b->candidates, .candidate_count = 2, .tag = b};
    return METALLM_OK;
}

static int job_done(void *payload, void *tag, const struct metallm__ask_result *r,
                    metallm_error *err)
{
    struct batch *b = payload;
    (void)err;
    assert_ptr_equal(tag, b);
    b->done++;
    b->under_way--;
    b->answered += r->end == METALLM__ASK_ANSWERED;
    return b->wanted == 7 ? METALLM_ECANCELED : METALLM_OK;
}

static void a_batch_runs_on_its_own_loop(void **state)
{
    static const uint32_t order[] = {0, 1};
    struct world w;
    struct batch b = {.wanted = 500, .candidates = order};
    metallm_error err = {0};
    (void)state;
    world_open(&w, "500,ok ok");
    struct metallm__drive_options o = {.llms = w.llms,
                                       .upstream = world_options,
                                       .concurrent = 16,
                                       .day = 20261122,
                                       .next = next_job,
                                       .done = job_done,
                                       .payload = &b};
    assert_int_equal(metallm__drive(&o, &err), METALLM_OK);
    assert_int_equal(b.done, 500);
    assert_int_equal(b.answered, 500);
    assert_in_range(b.most, 4, 16);
    b = (struct batch){.wanted = 7, .candidates = order};
    assert_int_equal(metallm__drive(&o, &err), METALLM_ECANCELED); /* as done() said */
    b = (struct batch){.wanted = 0, .candidates = order};
    assert_int_equal(metallm__drive(&o, &err), METALLM_OK);
    world_close(&w);
}

static void *drive_thread(void *payload)
{
    int rc = metallm__drive(payload, NULL);
    assert_int_equal(rc, METALLM_OK);
    return NULL;
}

static void loops_share_slots_and_breakers(void **state)
{
    static const uint32_t order[] = {0, 1};
    struct world w;
    struct batch b[3];
    struct metallm__drive_options o[3];
    pthread_t threads[3];
    (void)state;
    struct fake_upstream *kept = world_fake;
    world_fake = fake_upstream_start(); /* one that has seen nothing yet */
    world_deployment.concurrent_max = 4;
    world_deployment.waiting_max = 100;
    world_deployment.waiting_ms = 10000;
    world_open(&w, "500 ok");
    for (int i = 0; i < 3; i++) {
        b[i] = (struct batch){.wanted = 300, .candidates = order};
        o[i] = (struct metallm__drive_options){.llms = w.llms,
                                               .upstream = world_options,
                                               .concurrent = 8,
                                               .day = 20261122,
                                               .next = next_job,
                                               .done = job_done,
                                               .payload = &b[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, drive_thread, &o[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(b[i].answered, 300);
    }
    const struct metallm__health *bad = w.llms->items[0].deployments[0].health;
    const struct metallm__health *good = w.llms->items[1].deployments[0].health;
    assert_int_equal(good->answers, 900);
    assert_int_equal(good->in_flight + good->waiting + bad->in_flight + bad->waiting, 0);
    assert_true(bad->requests < 200);                      /* its breaker opened for all */
    assert_in_range(fake_upstream_most(world_fake), 1, 8); /* four at each deployment */
    world_deployment.concurrent_max = world_deployment.waiting_max = world_deployment.waiting_ms =
        0;
    world_close(&w);
    fake_upstream_stop(world_fake);
    world_fake = kept;
}

/* Whatever allocation fails: an answer, or a failure that is told; never a crash or a leak. */
static void no_memory_is_a_fault_like_others(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "ok");
    for (long n = 0; n < 60; n++) {
        struct seen s = {.dones = 0};
        metallm_error err;
        fail_alloc_at(n);
        int rc = world_begin(&w, &s, n % 2 == 0 ? PLAIN : STREAM, 3000, &err);
        if (rc == METALLM_OK)
            world_turn_until_done(&w, &s);
        else
            assert_int_equal(rc, METALLM_ENOMEM);
        fail_alloc_at(-1);
        metallm__wire_request_fini(&s.request);
    }
    assert_int_equal(w.llms->items[0].deployments[0].health->in_flight, 0);
    world_close(&w);
}

static int open_all(void *payload)
{
    struct metallm__loop *loop = payload;
    struct metallm__upstream *u;
    metallm_error err;
    int rc = metallm__upstream_new(&u, loop, &world_options, &err);
    if (rc == METALLM_OK)
        metallm__upstream_free(u);
    return rc;
}

static void no_memory_at_the_start_is_told(void **state)
{
    struct metallm__loop *loop;
    (void)state;
    assert_int_equal(metallm__loop_new(&loop, NULL, NULL), METALLM_OK);
    assert_true(fail_alloc_sweep(open_all, loop) >= 3);
    metallm__loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_with_usage_and_cost),
        cmocka_unit_test(a_stream_comes_event_by_event),
        cmocka_unit_test(every_fault_is_overcome_by_the_next_llm),
        cmocka_unit_test(alone_it_fails_with_what_fits_the_client),
        cmocka_unit_test(the_clients_own_errors_pass_as_they_are),
        cmocka_unit_test(a_fault_that_passes_is_retried_in_place),
        cmocka_unit_test(deployments_of_one_llm_come_before_the_next_llm),
        cmocka_unit_test(weights_share_the_calls),
        cmocka_unit_test(a_stream_that_dies_is_told_and_not_retried),
        cmocka_unit_test(the_deadline_holds_over_all_attempts),
        cmocka_unit_test(an_open_breaker_is_passed_over_and_probed),
        cmocka_unit_test(a_client_that_hangs_up_cancels_the_call),
        cmocka_unit_test(a_slow_reader_holds_the_upstream_back),
        cmocka_unit_test(slots_bound_what_is_under_way),
        cmocka_unit_test(a_new_generation_keeps_connections_and_health),
        cmocka_unit_test(a_batch_runs_on_its_own_loop),
        cmocka_unit_test(loops_share_slots_and_breakers),
        cmocka_unit_test(no_memory_is_a_fault_like_others),
        cmocka_unit_test(no_memory_at_the_start_is_told),
    };
    return cmocka_run_group_tests(tests, world_fake_start, world_fake_stop);
}
