/* SPDX-License-Identifier: Apache-2.0
 * test_cascade.c - confidences become chances; thresholds are those that a full search finds, and
 * hold on texts that were not learned from. */
#include "classify/cascade.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define ROWS 400u

static void chances_match_what_was_seen(void **state)
{
    (void)state;
    static struct metallm__confidence_seen seen[20000];
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    for (size_t i = 0; i < 20000; i++) { /* true chance: sigmoid(0.5 logit(c) - 1) */
        const double c = metallm__rng_uniform(&rng),
                     p = 1 / (1 + exp(-(0.5 * log(c / (1 - c)) - 1)));
        seen[i] = (struct metallm__confidence_seen){c, metallm__rng_uniform(&rng) < p};
    }
    struct metallm__confidence fit;
    metallm__confidence_fit(&fit, seen, 20000);
    assert_true(fabs(fit.slope - 0.5) < 0.05 && fabs(fit.offset + 1) < 0.05);
    assert_int_equal(fit.count, 20000);
    assert_true(fabs(metallm__confidence_chance(&fit, 0.5) - 0.2689) < 0.02);
    assert_true(metallm__confidence_chance(&fit, 0.9) > metallm__confidence_chance(&fit, 0.6));
}

static void few_or_odd_answers_stay_near_the_prior(void **state)
{
    (void)state;
    struct metallm__confidence fit;
    metallm__confidence_fit(&fit, NULL, 0);
    assert_true(fit.slope == 1 && fit.offset == 0 && fit.plain == 0.5);
    assert_true(fabs(metallm__confidence_chance(&fit, 0.8) - 0.8) < 1e-9);
    const struct metallm__confidence_seen all_right[] = {{0.9, true}, {0.8, true}, {1, true}};
    metallm__confidence_fit(&fit, all_right, 3);
    const double sure = metallm__confidence_chance(&fit, 1);
    assert_true(sure > 0.9 && sure < 1);
    /* Confidence that misleads is not turned round: it says nothing. */
    struct metallm__confidence_seen turned[200];
    for (size_t i = 0; i < 200; i++)
        turned[i] = (struct metallm__confidence_seen){i % 2 ? 0.99 : 0.01, i % 2 == 0};
    metallm__confidence_fit(&fit, turned, 200);
    assert_true(fit.slope == 0 && fabs(metallm__confidence_chance(&fit, 0.99) - 0.5) < 1e-6);
    const struct metallm__confidence_seen bare[] = {{NAN, true}, {NAN, true}, {NAN, false}};
    metallm__confidence_fit(&fit, bare, 3);
    assert_int_equal(fit.without, 3);
    assert_true(fabs(metallm__confidence_chance(&fit, NAN) - 0.6) < 1e-9);
}

/* The cheap LLM is right with its chance; the dear one nearly always; a third costs most. */
static void deal(struct metallm__cascade_cell *cells, uint32_t llms, uint64_t seed)
{
    static const float usd[] = {0.001f, 0.01f, 0.05f};
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t m = 0; m < llms; m++) {
            const double u = metallm__rng_uniform(&rng), p = m == 0   ? u
                                                             : m == 1 ? 0.7 + 0.3 * u
                                                                      : 0.8 + 0.19 * u;
            cells[i * llms + m] =
                (struct metallm__cascade_cell){(float)p, usd[m], metallm__rng_uniform(&rng) < p};
        }
}

static void judge(const struct metallm__cascade *c, const struct metallm__cascade_cell *cells,
                  uint32_t llms, double *expected, double *accuracy, double *usd)
{
    double right = 0, spent = 0, chances = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t s = 0; s < c->count; s++) {
            const struct metallm__cascade_cell *cell = &cells[i * llms + c->llm[s]];
            spent += (double)cell->usd;
            if (metallm__cascade_keeps(c, s, (double)cell->chance)) {
                right += cell->is_right;
                chances += (double)cell->chance;
                break;
            }
        }
    *expected = chances / ROWS;
    *accuracy = right / ROWS;
    *usd = spent / ROWS;
}

static void two_llms_get_the_best_threshold_there_is(void **state)
{
    (void)state;
    static struct metallm__cascade_cell cells[ROWS * 2], fresh[ROWS * 2];
    deal(cells, 2, 1);
    deal(fresh, 2, 2);
    for (double target = 0.5; target < 0.95; target += 0.05) {
        const struct metallm__cascade_lesson lesson = {
            .cells = cells, .rows = ROWS, .llms = 2, .target = target};
        struct metallm__cascade c, by_hand;
        assert_int_equal(metallm__cascade_learn(&c, &lesson, NULL), METALLM_OK);
        double expected, accuracy, usd, least = INFINITY, most = 0;
        judge(&c, cells, 2, &expected, &accuracy, &usd);
        assert_true(fabs(accuracy - c.accuracy) < 1e-9 && fabs(usd - c.usd) < 1e-9);
        assert_true(fabs(expected - c.expected) < 1e-6);
        const double prices[] = {0.001, 0.01};
        for (uint32_t i = 0; i <= ROWS;
             i++) { /* every threshold there is, and the dear one alone */
            metallm__cascade_plain(&by_hand, prices, 2, i < ROWS ? (double)cells[i * 2].chance : 1);
            double e, a, u;
            judge(&by_hand, cells, 2, &e, &a, &u);
            least = e >= target && u < least ? u : least;
            most = e > most ? e : most;
        }
        if (c.is_target_met)
            assert_true(expected >= target - 1e-6 && usd <= least + 1e-9);
        else
            assert_true(expected >= most - 1e-6);
        judge(&c, fresh, 2, &expected, &accuracy, &usd);
        assert_true(accuracy > fmin(target, c.expected) - 0.05); /* on texts that it has not seen */
    }
}

static void what_does_not_help_is_left_out(void **state)
{
    (void)state;
    static struct metallm__cascade_cell cells[ROWS * 3];
    deal(cells, 3, 4);
    struct metallm__cascade c;
    struct metallm__cascade_lesson lesson = {
        .cells = cells, .rows = ROWS, .llms = 3, .target = NAN, .money = 0};
    assert_int_equal(metallm__cascade_learn(&c, &lesson, NULL), METALLM_OK);
    const double most = c.expected;
    lesson.money = 1e6; /* a dollar is worth more than any answer */
    assert_int_equal(metallm__cascade_learn(&c, &lesson, NULL), METALLM_OK);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.llm[0], 0);
    assert_true(c.expected < most && fabs(c.share[0] - 1) < 1e-9);
    lesson.target = 0.8;
    assert_int_equal(metallm__cascade_learn(&c, &lesson, NULL), METALLM_OK);
    assert_true(c.is_target_met && c.expected >= 0.8 && c.usd < 0.01);
    double all = 0;
    for (uint32_t i = 0; i < c.count; i++)
        all += c.share[i];
    assert_true(fabs(all - 1) < 1e-9 && c.keep[c.count - 1] == 0);
    lesson.target = 1; /* out of reach: as good as can be */
    assert_int_equal(metallm__cascade_learn(&c, &lesson, NULL), METALLM_OK);
    assert_false(c.is_target_met);
    assert_true(c.expected >= most - 1e-6);
}

static void lessons_are_checked(void **state)
{
    (void)state;
    static struct metallm__cascade_cell cells[ROWS * 2];
    deal(cells, 2, 1);
    const struct metallm__cascade_lesson good = {
        .cells = cells, .rows = ROWS, .llms = 2, .target = 0.8};
    struct metallm__cascade_lesson wrong[6];
    for (size_t i = 0; i < 6; i++)
        wrong[i] = good;
    wrong[0].rows = METALLM__CASCADE_ROWS_LEAST - 1;
    wrong[1].llms = 0;
    wrong[2].llms = METALLM__CASCADE_STAGES_MAX + 1;
    wrong[3].target = 1.1;
    wrong[4].target = NAN, wrong[4].money = -1;
    wrong[5].target = NAN, wrong[5].money = NAN;
    for (size_t i = 0; i < 6; i++) {
        struct metallm__cascade c;
        metallm_error err = {0};
        assert_int_equal(metallm__cascade_learn(&c, &wrong[i], &err), METALLM_EINVAL);
        assert_true(err.message[0] != '\0');
    }
    cells[5].chance = NAN;
    struct metallm__cascade c;
    assert_int_equal(metallm__cascade_learn(&c, &good, NULL), METALLM_EINVAL);
}

static void before_anything_is_learned_the_cheapest_is_asked_first(void **state)
{
    (void)state;
    const double usd[] = {0.3, NAN, 0.1, 0.2};
    struct metallm__cascade c;
    metallm__cascade_plain(&c, usd, 4, 0.9);
    const uint32_t order[] = {2, 3, 0, 1};
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(c.llm[i], order[i]);
    assert_true(metallm__cascade_keeps(&c, 0, 0.9) && !metallm__cascade_keeps(&c, 0, 0.89));
    assert_true(metallm__cascade_keeps(&c, 3, 0));
}

static int learn(void *payload)
{
    struct metallm__cascade c;
    return metallm__cascade_learn(&c, payload, NULL);
}

static void missing_memory_is_told(void **state)
{
    (void)state;
    static struct metallm__cascade_cell cells[ROWS * 2];
    deal(cells, 2, 1);
    struct metallm__cascade_lesson lesson = {
        .cells = cells, .rows = ROWS, .llms = 2, .target = 0.8};
    assert_int_equal(fail_alloc_sweep(learn, &lesson), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chances_match_what_was_seen),
        cmocka_unit_test(few_or_odd_answers_stay_near_the_prior),
        cmocka_unit_test(two_llms_get_the_best_threshold_there_is),
        cmocka_unit_test(what_does_not_help_is_left_out),
        cmocka_unit_test(lessons_are_checked),
        cmocka_unit_test(before_anything_is_learned_the_cheapest_is_asked_first),
        cmocka_unit_test(missing_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
