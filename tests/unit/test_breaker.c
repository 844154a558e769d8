/* SPDX-License-Identifier: Apache-2.0
 * The circuit breaker: a function of what it is told, so time and chance are numbers here. */
#include "metallm/base.h"
#include "support/cmocka_all.h"
#include "upstream/breaker.h"

#define S 1000000000ull

static const struct metallm__breaker_options small = {.consecutive_max = 3,
                                                      .requests_min = 10,
                                                      .error_rate_max = 0.5,
                                                      .window_ns = 10 * S,
                                                      .open_ns = 2 * S,
                                                      .open_max_ns = 16 * S,
                                                      .probe_ns = 5 * S};

static bool passes(struct metallm__breaker *b, uint64_t now)
{
    bool is_probe;
    return metallm__breaker_pass(b, now, &is_probe);
}

static void faults_in_a_row_open_it(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &small);
    metallm__breaker_fault(&b, S, 0.5);
    metallm__breaker_fault(&b, S, 0.5);
    metallm__breaker_success(&b, S);
    metallm__breaker_fault(&b, S, 0.5);
    metallm__breaker_fault(&b, S, 0.5);
    assert_true(passes(&b, S));
    metallm__breaker_fault(&b, S, 0.5);
    assert_int_equal(b.state, METALLM__BREAKER_OPEN);
    assert_false(passes(&b, S));
    assert_int_equal(metallm__breaker_wait(&b, S), 2 * S); /* u = 0.5: 100 % */
    assert_false(passes(&b, 3 * S - 1));
    assert_true(passes(&b, 3 * S));
}

static void a_high_share_of_faults_opens_it(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &small);
    for (unsigned i = 0; i < 9; i++) {
        assert_true(passes(&b, S));
        if (i % 2 == 0)
            metallm__breaker_fault(&b, S, 0.5);
        else
            metallm__breaker_success(&b, S);
    }
    assert_int_equal(b.state, METALLM__BREAKER_CLOSED); /* fewer than requests_min */
    metallm__breaker_fault(&b, S, 0.5);
    assert_int_equal(b.state, METALLM__BREAKER_OPEN);
}

static void old_faults_are_forgotten(void **state)
{
    struct metallm__breaker b;
    (void)state;
    for (uint64_t later = 11 * S; later <= 1000 * S; later *= 3) {
        metallm__breaker_init(&b, &small);
        for (unsigned i = 0; i < 4; i++) {
            metallm__breaker_fault(&b, S, 0.5);
            metallm__breaker_success(&b, S);
        }
        for (unsigned i = 0; i < 9; i++)
            metallm__breaker_success(&b, later);
        metallm__breaker_fault(&b, later, 0.5);
        assert_int_equal(b.state, METALLM__BREAKER_CLOSED);
        assert_int_equal(b.requests[0] + b.requests[1] + b.requests[2] + b.requests[3] +
                             b.requests[4] + b.requests[5] + b.requests[6] + b.requests[7] +
                             b.requests[8] + b.requests[9],
                         10);
    }
}

static void one_probe_decides(void **state)
{
    struct metallm__breaker b;
    bool is_probe;
    (void)state;
    metallm__breaker_init(&b, &small);
    for (unsigned i = 0; i < 3; i++)
        metallm__breaker_fault(&b, 0, 0.5);
    assert_true(metallm__breaker_would_pass(&b, 2 * S));
    assert_true(metallm__breaker_pass(&b, 2 * S, &is_probe));
    assert_true(is_probe);
    assert_int_equal(b.state, METALLM__BREAKER_HALF_OPEN);
    assert_false(metallm__breaker_pass(&b, 2 * S, &is_probe)); /* the second one waits */
    metallm__breaker_fault(&b, 3 * S, 0.5);
    assert_int_equal(metallm__breaker_wait(&b, 3 * S), 4 * S); /* twice as long */
    assert_true(metallm__breaker_pass(&b, 7 * S, &is_probe));
    metallm__breaker_success(&b, 8 * S);
    assert_int_equal(b.state, METALLM__BREAKER_CLOSED);
    assert_true(metallm__breaker_pass(&b, 8 * S, &is_probe));
    assert_false(is_probe);
    for (unsigned i = 0; i < 3; i++) /* the open time begins anew */
        metallm__breaker_fault(&b, 8 * S, 0.5);
    assert_int_equal(metallm__breaker_wait(&b, 8 * S), 2 * S);
}

static void a_probe_that_tells_nothing_does_not_block(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &small);
    for (unsigned i = 0; i < 3; i++)
        metallm__breaker_fault(&b, 0, 0.5);
    assert_true(passes(&b, 2 * S));
    metallm__breaker_forget(&b); /* its client hung up */
    assert_true(passes(&b, 2 * S));
    assert_false(passes(&b, 7 * S - 1));
    assert_true(passes(&b, 7 * S)); /* lost: after probe_ns another may */
}

static void open_time_is_bounded_and_spread(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &small);
    uint64_t now = 0;
    for (unsigned i = 0; i < 3; i++)
        metallm__breaker_fault(&b, now, 0);
    assert_int_equal(metallm__breaker_wait(&b, now), 2 * S * 3 / 4);
    for (unsigned i = 0; i < 40; i++) {
        now += metallm__breaker_wait(&b, now);
        assert_true(passes(&b, now));
        metallm__breaker_fault(&b, now, 0.999999);
        assert_true(metallm__breaker_wait(&b, now) <= 16 * S * 5 / 4);
    }
    assert_true(metallm__breaker_wait(&b, now) > 19 * S);
}

static void it_is_held_open_as_long_as_it_is_asked(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &small);
    metallm__breaker_hold(&b, S, 3 * S);
    assert_int_equal(metallm__breaker_wait(&b, S), 3 * S);
    metallm__breaker_hold(&b, S, 2 * S); /* never shorter */
    assert_int_equal(metallm__breaker_wait(&b, S), 3 * S);
    metallm__breaker_success(&b, 2 * S); /* of a request from before */
    assert_int_equal(metallm__breaker_wait(&b, 2 * S), 2 * S);
    metallm__breaker_hold(&b, 2 * S, 100000 * S);
    assert_int_equal(metallm__breaker_wait(&b, 2 * S), 16 * S);
}

static void zero_options_are_the_defaults(void **state)
{
    struct metallm__breaker b;
    (void)state;
    metallm__breaker_init(&b, &(struct metallm__breaker_options){0});
    for (unsigned i = 0; i < 4; i++)
        metallm__breaker_fault(&b, S, 0.5);
    assert_true(metallm__breaker_would_pass(&b, S));
    metallm__breaker_fault(&b, S, 0.5);
    assert_false(metallm__breaker_would_pass(&b, S));
    metallm__breaker_tune(&b, &small);
    assert_false(metallm__breaker_would_pass(&b, S));
    assert_int_equal(b.options.consecutive_max, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_in_a_row_open_it),
        cmocka_unit_test(a_high_share_of_faults_opens_it),
        cmocka_unit_test(old_faults_are_forgotten),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(a_probe_that_tells_nothing_does_not_block),
        cmocka_unit_test(open_time_is_bounded_and_spread),
        cmocka_unit_test(it_is_held_open_as_long_as_it_is_asked),
        cmocka_unit_test(zero_options_are_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
