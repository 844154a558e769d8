/* SPDX-License-Identifier: Apache-2.0
 * test_gateway_metrics.c - what shards count arrives in the text, summed, with labels escaped and
 * bounded; scraping while shards count is safe. With an argument it prints the text, for another's
 * parser. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gateway/metrics.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

static struct metallm__metrics *metrics_new(uint32_t shards)
{
    struct metallm__metrics *m = NULL;
    assert_int_equal(metallm__metrics_new(&m, shards, NULL), METALLM_OK);
    return m;
}

/* Two shards that saw a little of everything. */
static struct metallm__metrics *some(void)
{
    struct metallm__metrics *m = metrics_new(2);
    uint32_t big = metallm__metrics_llm(m, "big"), odd = metallm__metrics_llm(m, "a\"b\\c\nd");
    uint32_t router = metallm__metrics_router(m, "auto");
    for (uint32_t i = 0; i < 2; i++) {
        struct metallm__metrics_shard *s = metallm__metrics_shard(m, i);
        metallm__metrics_request(s, METALLM__EP_CHAT, 200, router, 30000000);
        metallm__metrics_request(s, METALLM__EP_CHAT, 503, router, 400000000000);
        metallm__metrics_request(s, METALLM__EP_HEALTH, 418, METALLM__METRICS_NONE, 1);
        metallm__metrics_first_token(s, big, 1000000);
        metallm__metrics_attempt(s, big, METALLM__ATTEMPT_OK);
        metallm__metrics_attempt(s, odd, METALLM__ATTEMPT_5XX);
        metallm__metrics_answered(s, &(struct metallm__metrics_answer){.llm = big,
                                                                       .router = router,
                                                                       .input_tokens = 100,
                                                                       .cached_tokens = 40,
                                                                       .output_tokens = 7,
                                                                       .usd = 0.25,
                                                                       .is_explored = i == 0,
                                                                       .regret = 0.125,
                                                                       .latency_ns = 2000000});
        metallm__metrics_answered(
            s, &(struct metallm__metrics_answer){
                   .llm = odd, .router = router, .usd = NAN, .is_estimated = true, .regret = NAN});
        metallm__metrics_encoded(s, METALLM__ENCODED_FALLBACK, 5000);
        metallm__metrics_decided(s, 5000);
        metallm__metrics_feedback(s, METALLM__FEEDBACK_GRADED);
        metallm__metrics_limited(s, 3);
        metallm__metrics_in_work(s, 1);
        metallm__metrics_traffic(s, &(struct metallm__metrics_traffic){i == 0 ? 2 : 1, 2, 10, 20});
    }
    /* A request may end on another count than it began. */
    metallm__metrics_in_work(metallm__metrics_shard(m, 1), -1);
    return m;
}

static void render(struct metallm__metrics *m, struct metallm__buf *out)
{
    static const struct metallm__metrics_breaker breakers[] = {{"big", "eu", 2, 3}};
    static const struct metallm__metrics_quality quality[] = {{"auto", "big", 0.75, 0.7, 0.8, 12},
                                                              {"auto", "new", NAN, NAN, NAN, 0}};
    const struct metallm__metrics_gauges g = {.started_ms = 1000,
                                              .breakers = breakers,
                                              .breaker_count = 1,
                                              .quality = quality,
                                              .quality_count = 2,
                                              .journal_lag_s = 0.5};
    metallm__buf_init(out, 1 << 22);
    metallm__metrics_render(m, &g, out);
    assert_int_equal(metallm__buf_check(out, NULL), METALLM_OK);
}

static void what_was_counted_is_told(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "metallm_requests_total{endpoint=\"chat\",status=\"200\"} 2",
        "metallm_requests_total{endpoint=\"chat\",status=\"503\"} 2",
        "metallm_requests_total{endpoint=\"health\",status=\"other\"} 2",
        "metallm_request_seconds_bucket{endpoint=\"chat\",le=\"0.025\"} 0",
        "metallm_request_seconds_bucket{endpoint=\"chat\",le=\"0.05\"} 2",
        "metallm_request_seconds_bucket{endpoint=\"chat\",le=\"300\"} 2",
        "metallm_request_seconds_bucket{endpoint=\"chat\",le=\"+Inf\"} 4",
        "metallm_request_seconds_sum{endpoint=\"chat\"} 800.06",
        "metallm_request_seconds_count{endpoint=\"chat\"} 4",
        "metallm_router_requests_total{router=\"auto\"} 4",
        "metallm_router_errors_total{router=\"auto\"} 2",
        "metallm_router_explored_total{router=\"auto\"} 1",
        "metallm_router_regret_total{router=\"auto\"} 0.25",
        "metallm_router_choices_total{router=\"auto\",llm=\"big\"} 2",
        "metallm_llm_answers_total{llm=\"big\"} 2",
        "metallm_llm_answers_total{llm=\"a\\\"b\\\\c\\nd\"} 2",
        "metallm_llm_unpriced_total{llm=\"a\\\"b\\\\c\\nd\"} 2",
        "metallm_llm_share{llm=\"big\"} 0.5",
        "metallm_llm_dollars_total{llm=\"big\"} 0.5",
        "metallm_llm_tokens_total{llm=\"big\",kind=\"cached_input\"} 80",
        "metallm_llm_attempts_total{llm=\"a\\\"b\\\\c\\nd\",result=\"5xx\"} 2",
        "metallm_first_token_seconds_bucket{llm=\"big\",le=\"0.001\"} 2",
        "metallm_vectors_total{source=\"fallback\"} 2",
        "metallm_feedback_total{result=\"graded\"} 2",
        "metallm_limited_total{limit=\"budget\"} 2",
        "metallm_connections 3",
        "metallm_connections_total 4",
        "metallm_requests_in_work 1",
        "metallm_bytes_total{direction=\"out\"} 40",
        "metallm_quality{router=\"auto\",llm=\"big\"} 0.75",
        "metallm_quality_observations{router=\"auto\",llm=\"new\"} 0",
        "metallm_breaker_state{llm=\"big\",deployment=\"eu\"} 2",
        "metallm_journal_lag_seconds 0.5",
        "process_start_time_seconds 1.000",
    };
    struct metallm__metrics *m = some();
    struct metallm__buf out;
    render(m, &out);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[160];
        snprintf(line, sizeof line, "\n%s\n", lines[i]);
        if (strstr(out.data, line) == NULL)
            fail_msg("no line %s", lines[i]);
    }
    assert_null(strstr(out.data, "metallm_quality{router=\"auto\",llm=\"new\"}"));
    metallm__buf_fini(&out);
    const struct metallm__metrics_sums sums = metallm__metrics_sum(m);
    assert_int_equal(sums.requests, 4);
    assert_int_equal(sums.errors, 2);
    assert_int_equal(sums.answered, 4);
    assert_near(sums.usd, 0.5, 0);
    assert_near(sums.latency_p50_s, 0.05, 1e-9);
    assert_near(sums.latency_p95_s, 300, 0);
    assert_int_equal(metallm__metrics_sum_llm(m, 1).failed, 2);
    metallm__metrics_free(m);
}

static void names_beyond_the_room_are_other(void **state)
{
    (void)state;
    struct metallm__metrics *m = metrics_new(1);
    for (unsigned i = 0; i < 2 * METALLM__METRICS_ROUTERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%u", i);
        uint32_t slot = metallm__metrics_router(m, name);
        assert_int_equal(slot, i < METALLM__METRICS_ROUTERS - 1 ? i : METALLM__METRICS_ROUTERS - 1);
        assert_int_equal(slot, metallm__metrics_router(m, name));
        metallm__metrics_request(metallm__metrics_shard(m, 0), METALLM__EP_CHAT, 200, slot, 1);
    }
    struct metallm__buf out;
    render(m, &out);
    assert_non_null(strstr(out.data, "metallm_router_requests_total{router=\"other\"} 65"));
    metallm__buf_fini(&out);
    metallm__metrics_free(m);
}

static void *count_many(void *payload)
{
    for (int i = 0; i < 20000; i++)
        metallm__metrics_request(payload, METALLM__EP_CHAT, 200, 0, 1000);
    return NULL;
}

static void scraping_while_counting_is_safe(void **state)
{
    (void)state;
    struct metallm__metrics *m = metrics_new(3);
    pthread_t threads[3];
    uint64_t last = 0;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, count_many, metallm__metrics_shard(m, i)), 0);
    for (int i = 0; i < 20; i++) {
        const uint64_t now = metallm__metrics_sum(m).requests;
        assert_true(now >= last);
        last = now;
        metallm__metrics_llm(m, "late");
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metallm__metrics_sum(m).requests, 60000);
    metallm__metrics_free(m);
}

static int make_once(void *payload)
{
    struct metallm__metrics *m = NULL;
    (void)payload;
    int rc = metallm__metrics_new(&m, 3, NULL);
    metallm__metrics_free(m);
    return rc;
}

static void a_failing_allocation_is_told(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(make_once, NULL), 5);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        struct metallm__metrics *m = some();
        struct metallm__buf out;
        render(m, &out);
        fputs(out.data, stdout);
        metallm__buf_fini(&out);
        metallm__metrics_free(m);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_counted_is_told),
        cmocka_unit_test(names_beyond_the_room_are_other),
        cmocka_unit_test(scraping_while_counting_is_safe),
        cmocka_unit_test(a_failing_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
