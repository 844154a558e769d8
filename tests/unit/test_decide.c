/* SPDX-License-Identifier: Apache-2.0
 * test_decide.c - the choice under dial, target, highest cost and candidates; ties; unknown costs.
 */
#include <math.h>

#include "router/decide.h"
#include "support/cmocka_all.h"

enum { SMALL, MIDDLE, BIG, MODELS };

static const metallm_estimate ladder[MODELS] = {
    {.quality = 0.60f, .cost_usd = 0.001f},
    {.quality = 0.70f, .cost_usd = 0.010f},
    {.quality = 0.80f, .cost_usd = 0.100f},
};

static const struct metallm__deciding plain = {.models = MODELS, .scale = 0.1};

static void the_constraint_decides(void **state)
{
    (void)state;
    const uint8_t without_big[MODELS] = {1, 1, 0};
    const struct {
        metallm_constraints c;
        uint32_t model;
        enum metallm_reason reason;
    } cases[] = {
        {{0}, BIG, METALLM_REASON_BEST_SCORE},
        {{.dial = 0.2f}, MIDDLE, METALLM_REASON_BEST_SCORE}, /* .598, .680, .600 */
        {{.dial = 5}, SMALL, METALLM_REASON_BEST_SCORE},
        {{.target = 0.65f}, MIDDLE, METALLM_REASON_TARGET_MET},
        {{.target = 0.5f}, SMALL, METALLM_REASON_TARGET_MET},
        {{.target = 0.9f}, BIG, METALLM_REASON_TARGET_MISSED},
        {{.target = 0.9f, .max_cost_usd = 0.05f}, MIDDLE, METALLM_REASON_TARGET_MISSED},
        {{.max_cost_usd = 0.05f}, MIDDLE, METALLM_REASON_BEST_SCORE},
        {{.max_cost_usd = 0.0005f}, SMALL, METALLM_REASON_OVER_MAX_COST},
        {{.allowed = without_big}, MIDDLE, METALLM_REASON_BEST_SCORE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct metallm__deciding d = plain;
        d.constraints = cases[i].c;
        assert_int_equal(metallm__deciding_check(&d, NULL), METALLM_OK);
        enum metallm_reason reason;
        assert_int_equal(metallm__decide_greedy(&d, ladder, &reason), cases[i].model);
        assert_int_equal(reason, cases[i].reason);
    }
}

static void scores_are_rewards_and_nan_where_left_out(void **state)
{
    (void)state;
    struct metallm__deciding d = plain;
    d.constraints = (metallm_constraints){.dial = 0.5f, .max_cost_usd = 0.05f};
    float scores[MODELS];
    metallm__decide_scores(&d, ladder, scores);
    assert_true(fabsf(scores[SMALL] - 0.595f) < 1e-6f);
    assert_true(fabsf(scores[MIDDLE] - 0.65f) < 1e-6f);
    assert_true(isnan(scores[BIG]));
}

static void ties_go_to_the_cheaper_then_the_lower_index(void **state)
{
    (void)state;
    const metallm_estimate same[MODELS] = {
        {.quality = 0.5f, .cost_usd = 0.02f},
        {.quality = 0.5f, .cost_usd = 0.01f},
        {.quality = 0.5f, .cost_usd = 0.01f},
    };
    enum metallm_reason reason;
    assert_int_equal(metallm__decide_greedy(&plain, same, &reason), 1);
    struct metallm__deciding d = plain;
    d.constraints.target = 0.4f;
    assert_int_equal(metallm__decide_greedy(&d, same, &reason), 1);
}

static void unknown_cost_counts_as_the_highest_mean(void **state)
{
    (void)state;
    metallm_estimate e[MODELS] = {ladder[0], ladder[1], ladder[2]};
    e[SMALL].cost_usd = NAN;
    struct metallm__deciding d = plain;
    d.constraints.dial = 1;
    float scores[MODELS];
    metallm__decide_scores(&d, e, scores);
    assert_true(fabsf(scores[SMALL] - (0.6f - 1.0f)) < 1e-6f);
    d.constraints = (metallm_constraints){.max_cost_usd = 0.05f};
    metallm__decide_scores(&d, e, scores);
    assert_true(isnan(scores[SMALL]));
}

static void without_any_cost_the_dial_does_nothing(void **state)
{
    (void)state;
    metallm_estimate e[MODELS];
    for (int m = 0; m < MODELS; m++)
        e[m] = (metallm_estimate){.quality = 0.1f * (float)m, .cost_usd = NAN};
    struct metallm__deciding d = {.models = MODELS, .scale = NAN, .constraints = {.dial = 3}};
    enum metallm_reason reason;
    assert_int_equal(metallm__decide_greedy(&d, e, &reason), BIG);
    assert_int_equal(reason, METALLM_REASON_BEST_SCORE);
}

static void constraints_out_of_range_are_refused(void **state)
{
    (void)state;
    const uint8_t none[MODELS] = {0};
    const metallm_constraints bad[] = {
        {.dial = -1},    {.dial = NAN},        {.dial = INFINITY},    {.target = 1.1f},
        {.target = NAN}, {.max_cost_usd = -1}, {.max_cost_usd = NAN}, {.allowed = none},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct metallm__deciding d = plain;
        d.constraints = bad[i];
        metallm_error err = {0};
        assert_int_equal(metallm__deciding_check(&d, &err), METALLM_EINVAL);
        assert_true(err.message[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_constraint_decides),
        cmocka_unit_test(scores_are_rewards_and_nan_where_left_out),
        cmocka_unit_test(ties_go_to_the_cheaper_then_the_lower_index),
        cmocka_unit_test(unknown_cost_counts_as_the_highest_mean),
        cmocka_unit_test(without_any_cost_the_dial_does_nothing),
        cmocka_unit_test(constraints_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
