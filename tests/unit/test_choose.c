/* SPDX-License-Identifier: Apache-2.0
 * test_choose.c - one choice under its rules: targets, prices of money, highest costs, exploration
 * within floor and cap; chances sum to 1 and the draw's propensity is exact. */
#include "router/choose.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "router/learner.h"
#include "support/cmocka_all.h"
#include "support/near.h"

static const struct metallm__belief beliefs[3] = {{.quality = 0.9, .sd = 0.1, .cost_usd = 0.010},
                                                  {.quality = 0.8, .sd = 0.1, .cost_usd = 0.002},
                                                  {.quality = 0.5, .sd = 0.1, .cost_usd = NAN}};
static const struct metallm__policy_choice greedy = {.policy = &metallm__policy_greedy};

static struct metallm__choosing rules(void)
{
    return (struct metallm__choosing){
        .beliefs = beliefs, .count = 3, .policy = &greedy, .scale = 0.010};
}

static uint32_t best(const struct metallm__choosing *c, enum metallm_reason *reason)
{
    double scores[3], chance[3];
    *reason = metallm__choose_chances(c, scores, chance);
    assert_near(chance[0] + chance[1] + chance[2], 1, 1e-12);
    for (uint32_t m = 0; m < 3; m++)
        if (chance[m] > 0.5)
            return m;
    return UINT32_MAX;
}

static void rules_pick_as_they_say(void **state)
{
    (void)state;
    enum metallm_reason reason;
    struct metallm__choosing c = rules();
    assert_int_equal(best(&c, &reason), 0);
    c.price.high = c.price.low = 20; /* .9 - .2, .8 - .04, .5 - .2 */
    assert_int_equal(best(&c, &reason), 1);
    const double bonus[3] = {0.07, 0, 0};
    c.bonus = bonus;
    assert_int_equal(best(&c, &reason), 0);
    c = rules();
    c.target = 0.75;
    assert_int_equal(best(&c, &reason), 1);
    assert_int_equal(reason, METALLM_REASON_TARGET_MET);
    c.target = 0.95;
    assert_int_equal(best(&c, &reason), 0);
    assert_int_equal(reason, METALLM_REASON_TARGET_MISSED);
    c.price.high = c.price.low = 20; /* the budget asks for less than the target */
    assert_int_equal(best(&c, &reason), 1);
    c = rules();
    c.max_cost_usd = 0.005;
    assert_int_equal(best(&c, &reason), 1);
    c.max_cost_usd = 0.001;
    assert_int_equal(best(&c, &reason), 1);
    assert_int_equal(reason, METALLM_REASON_OVER_MAX_COST);
    const uint8_t allowed[3] = {0, 0, 1};
    c.allowed = allowed; /* an unknown cost counts as the scale */
    assert_int_equal(best(&c, &reason), 2);
    assert_int_equal(reason, METALLM_REASON_OVER_MAX_COST);
}

static void two_prices_are_mixed_by_their_share(void **state)
{
    (void)state;
    double scores[3], chance[3];
    struct metallm__choosing c = rules();
    c.price = (struct metallm__pacer_price){.low = 0, .high = 20, .share_low = 0.3};
    metallm__choose_chances(&c, scores, chance);
    assert_near(chance[0], 0.3, 1e-12);
    assert_near(chance[1], 0.7, 1e-12);
}

static void exploration_keeps_its_floor_and_cap(void **state)
{
    (void)state;
    const struct metallm__choosing c = rules();
    const uint8_t none[3] = {0}, newcomer[3] = {0, 0, 1};
    struct metallm__exploring e = {.all = 0.06,
                                   .newcomer = 0.05,
                                   .cap = 0.2,
                                   .allowance = NAN,
                                   .is_new = newcomer,
                                   .watched = none};
    double scores[3], chance[3];
    metallm_rng rng;
    metallm_rng_seed(&rng, 1);
    int drawn[3] = {0};
    for (int i = 0; i < 30000; i++) {
        const struct metallm__choice got = metallm__choose(&c, &e, scores, chance, &rng);
        assert_true(got.propensity == chance[got.model]);
        assert_int_equal(got.reason == METALLM_REASON_EXPLORED, got.model != 0);
        drawn[got.model]++;
    }
    assert_near(chance[1], 0.02, 1e-12);
    assert_near(chance[2], 0.07, 1e-12);
    assert_near(chance[0], 0.91, 1e-12);
    for (int m = 0; m < 3; m++)
        assert_near(drawn[m] / 30000.0, chance[m], 4 * sqrt(chance[m] * (1 - chance[m]) / 30000));
    e.all = 0.9; /* capped, in proportion */
    metallm__choose(&c, &e, scores, chance, &rng);
    assert_near(chance[0], 0.8 + 0.2 * 0.3 / 0.95, 1e-12);
    e.all = 0;
    e.is_new = none;
    e.floor = 0.01;
    e.allowance = 0; /* nothing may be spent on learning: the floor stays */
    metallm__choose(&c, &e, scores, chance, &rng);
    assert_near(chance[1], 0.01, 1e-12);
    assert_near(chance[2], 0.01, 1e-12);
}

static void a_corrected_score_is_as_if_never_said_otherwise(void **state)
{
    (void)state;
    enum { DIM = 5, PAD = 8, N = 40 };
    struct metallm__learner *wrong = NULL, *right = NULL;
    const struct metallm__learner_options o = {.dim = DIM, .models = 1, .lambda = 2, .gamma = 1};
    double z[N][PAD] __attribute__((aligned(64))) = {{0}};
    metallm_rng rng;
    metallm_rng_seed(&rng, 4);
    assert_int_equal(metallm__learner_new(&wrong, &o, NULL), METALLM_OK);
    assert_int_equal(metallm__learner_new(&right, &o, NULL), METALLM_OK);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < DIM; k++)
            z[i][k] = metallm__rng_normal(&rng);
        double y[METALLM__TARGETS] = {metallm__rng_uniform(&rng), NAN, NAN};
        assert_int_equal(metallm__learner_observe(right, 0, z[i], y, 1, NULL), METALLM_OK);
        if (i == 7)
            y[0] -= 0.75;
        assert_int_equal(metallm__learner_observe(wrong, 0, z[i], y, 1, NULL), METALLM_OK);
    }
    metallm__learner_correct(wrong, 0, z[7], 1, 0.75);
    for (int k = 0; k < DIM; k++)
        assert_near(metallm__learner_theta(wrong, 0, METALLM__TARGET_QUALITY)[k],
                    metallm__learner_theta(right, 0, METALLM__TARGET_QUALITY)[k], 1e-12);
    metallm__learner_free(wrong);
    metallm__learner_free(right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_pick_as_they_say),
        cmocka_unit_test(two_prices_are_mixed_by_their_share),
        cmocka_unit_test(exploration_keeps_its_floor_and_cap),
        cmocka_unit_test(a_corrected_score_is_as_if_never_said_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
