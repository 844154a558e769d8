/* SPDX-License-Identifier: Apache-2.0
 * test_ope.c - off-policy estimates: closed forms, unbiasedness, coverage of the intervals. */
#include "eval/ope.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "support/cmocka_all.h"

static void close_to(double a, double b, double slack)
{
    if (!(fabs(a - b) <= slack)) {
        fprintf(stderr, "%.12g is not within %g of %.12g\n", a, slack, b);
        fail();
    }
}

static void estimates_equal_their_formulas_on_three_rows(void **state)
{
    (void)state;
    /* Worked by hand: w = 2, 0, 4; y = 1, 0, .5; q(a) = .5, .25, 1; sum pi q = .75, .5, 1. */
    const struct metallm__ope_row rows[] = {{2, 1, .5, .75}, {0, 0, .25, .5}, {4, .5, 1, 1}};
    struct metallm__ope_result r;
    metallm__ope(rows, 3, 0, &r);
    close_to(r.ips.value, 4.0 / 3, 1e-15);   /* (2 + 0 + 2) / 3 */
    close_to(r.snips.value, 4.0 / 6, 1e-15); /* 4 / (2 + 4) */
    close_to(r.dr.value, 1.25 / 3, 1e-15);   /* (1.75 + .5 - 1) / 3 */
    close_to(r.direct, .75, 1e-15);
    close_to(r.gain.value, 1.25 / 3 - .5, 1e-15);
    close_to(r.ess, 36.0 / 20, 1e-15);
    close_to(r.mean_weight, 2, 1e-15);
    assert_int_equal(r.matched, 2);
    assert_true(r.warnings & METALLM__OPE_FEW);
    /* n_sigma = 20^2 / 272 = 1.47: too few for any interval. */
    assert_true(isnan(r.ips.low) && isnan(r.dr.high));
}

static void intervals_equal_their_formulas_when_the_policy_is_the_logged_one(void **state)
{
    (void)state;
    struct metallm__ope_row rows[8];
    for (int i = 0; i < 8; i++)
        rows[i] = (struct metallm__ope_row){1, i % 2, NAN, NAN};
    struct metallm__ope_result r;
    metallm__ope(rows, 8, 0, &r);
    /* s = sqrt(2 / 7), t(7) = 2.364624 (tables) */
    double half = 2.364624 * sqrt(2.0 / 7 / 8);
    close_to(r.ips.value, .5, 1e-15);
    close_to(r.ips.high - .5, half, 1e-4);
    close_to(.5 - r.dr.low, half, 1e-4);
    close_to(r.snips.high - .5, 2.364624 * sqrt(2.0) / 8, 1e-4);
    close_to(r.gain.value, 0, 1e-15);
    assert_true(r.warnings & METALLM__OPE_NO_MODEL);
    assert_false(r.warnings & METALLM__OPE_MASS);
}

static void student_quantiles_match_the_tables(void **state)
{
    (void)state;
    const struct {
        double df, t;
    } known[] = {{1, 12.7062}, {2, 4.3027},  {4, 2.7764},  {5, 2.5706},
                 {10, 2.2281}, {30, 2.0423}, {100, 1.984}, {1e9, 1.95996}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        close_to(metallm__student_975(known[i].df), known[i].t, 2e-3);
    close_to(metallm__student_975(3), 3.1824, 1e-2);
    assert_true(isinf(metallm__student_975(.5)));
}

static void nothing_is_claimed_where_nothing_matches(void **state)
{
    (void)state;
    const struct metallm__ope_row rows[] = {{0, 1, .5, .5}, {0, 0, .5, .5}};
    struct metallm__ope_result r;
    metallm__ope(rows, 2, 0, &r);
    assert_true(r.warnings & METALLM__OPE_NO_MATCH);
    assert_true(isnan(r.snips.value) && isnan(r.ips.low) && isnan(r.dr.low));
    metallm__ope(rows, 0, 0, &r);
    assert_true(isnan(r.ips.value) && isnan(r.mean_weight) && r.n == 0);
}

static void weights_are_cut_only_when_asked(void **state)
{
    (void)state;
    const struct metallm__ope_row rows[] = {{10, 1, NAN, NAN}, {1, 1, NAN, NAN}};
    struct metallm__ope_result r;
    metallm__ope(rows, 2, 0, &r);
    assert_int_equal(r.clipped, 0);
    close_to(r.ips.value, 5.5, 1e-15);
    metallm__ope(rows, 2, 4, &r);
    assert_int_equal(r.clipped, 1);
    assert_true(r.warnings & METALLM__OPE_CLIPPED);
    close_to(r.ips.value, 2.5, 1e-15);
}

static void a_log_that_never_tries_what_the_policy_does_is_flagged(void **state)
{
    (void)state;
    struct metallm__ope_row
        rows[1000]; /* a deterministic log agrees with the policy half the time */
    for (int i = 0; i < 1000; i++)
        rows[i] = (struct metallm__ope_row){i % 2, 1, NAN, NAN};
    struct metallm__ope_result r;
    metallm__ope(rows, 1000, 0, &r);
    assert_true(r.warnings & METALLM__OPE_MASS);
}

/* A world with three models whose chance of being right depends on a context u in [0,1). */
#define MODELS 3
struct world {
    double noise;   /* of the logged prediction q about the truth */
    double bias;    /* of q */
    double explore; /* share drawn evenly by the logging policy; the rest goes to its favourite */
    double propensity_error; /* factor on the logged propensities */
    double target_random;    /* share that the policy in question draws evenly */
};

static double truth_of(int model, double u)
{
    return model == 0 ? .5 + .3 * u : model == 1 ? .9 - .4 * u : .6;
}

/* One log of n decisions; adds the policy's true value to *truth. */
static void simulate(const struct world *w, metallm_rng *rng, struct metallm__ope_row *rows,
                     size_t n, double *truth)
{
    for (size_t i = 0; i < n; i++) {
        double u = metallm__rng_uniform(rng), q[MODELS], pi[MODELS], p[MODELS];
        int logged_favourite = u < .3 ? 0 : 2, favourite = u < .5 ? 1 : 0;
        double direct = 0;
        for (int m = 0; m < MODELS; m++) {
            q[m] = truth_of(m, u) + w->bias + w->noise * metallm__rng_normal(rng);
            p[m] = w->explore / MODELS + (m == logged_favourite ? 1 - w->explore : 0);
            pi[m] = w->target_random / MODELS + (m == favourite ? 1 - w->target_random : 0);
            direct += pi[m] * q[m];
            *truth += pi[m] * truth_of(m, u);
        }
        double draw = metallm__rng_uniform(rng);
        int a = draw < p[0] ? 0 : draw < p[0] + p[1] ? 1 : 2;
        double y = metallm__rng_uniform(rng) < truth_of(a, u);
        rows[i] = (struct metallm__ope_row){pi[a] / (p[a] * w->propensity_error), y, q[a], direct};
    }
}

/* The policy's true value: an exact mean over contexts would do, a long average is simpler. */
static double true_value(const struct world *w)
{
    double sum = 0;
    const int steps = 100000;
    for (int i = 0; i < steps; i++) {
        double u = (i + .5) / steps;
        int favourite = u < .5 ? 1 : 0;
        for (int m = 0; m < MODELS; m++)
            sum += (w->target_random / MODELS + (m == favourite ? 1 - w->target_random : 0)) *
                   truth_of(m, u);
    }
    return sum / steps;
}

enum { IPS, SNIPS, DR, ESTIMATORS };
struct tally {
    double mean[ESTIMATORS], error[ESTIMATORS], cover[ESTIMATORS], width[ESTIMATORS];
    double ess;
};

#define ROWS 600
static struct tally repeat(const struct world *w, uint64_t seed, size_t times)
{
    struct tally t = {0};
    double value = true_value(w), ignored = 0, squares[ESTIMATORS] = {0};
    static struct metallm__ope_row rows[ROWS];
    for (size_t s = 0; s < times; s++) {
        metallm_rng rng;
        metallm__rng_stream(&rng, seed, s);
        simulate(w, &rng, rows, ROWS, &ignored);
        struct metallm__ope_result r;
        metallm__ope(rows, ROWS, 0, &r);
        const struct metallm__ope_estimate e[] = {r.ips, r.snips, r.dr};
        for (int k = 0; k < ESTIMATORS; k++) {
            t.mean[k] += e[k].value / (double)times;
            squares[k] += e[k].value * e[k].value / (double)times;
            t.cover[k] += (e[k].low <= value && value <= e[k].high) / (double)times;
            t.width[k] += (e[k].high - e[k].low) / (double)times;
        }
        t.ess += r.ess / (double)times;
    }
    for (int k = 0; k < ESTIMATORS; k++)
        t.error[k] = sqrt((squares[k] - t.mean[k] * t.mean[k]) / (double)times);
    return t;
}

static const struct world worlds[] = {
    {.noise = .1, .bias = 0, .explore = .3, .propensity_error = 1, .target_random = 0},
    {.noise = .1, .bias = .2, .explore = .3, .propensity_error = 1, .target_random = 0},
    {.noise = .3, .bias = -.1, .explore = .15, .propensity_error = 1, .target_random = .1},
    {.noise = .05, .bias = 0, .explore = 1, .propensity_error = 1, .target_random = .5},
};
#define WORLDS (sizeof worlds / sizeof worlds[0])

static void intervals_cover_the_truth_in_at_least_93_of_100_simulations(void **state)
{
    (void)state;
    const size_t times = 4000; /* standard error of a coverage of .95: .0034 */
    for (size_t i = 0; i < WORLDS; i++) {
        struct tally t = repeat(&worlds[i], 1000 + i, times);
        fprintf(stderr, "world %zu, ess %.0f: cover ips %.3f snips %.3f dr %.3f\n", i, t.ess,
                t.cover[IPS], t.cover[SNIPS], t.cover[DR]);
        for (int k = 0; k < ESTIMATORS; k++)
            assert_true(t.cover[k] - 1.96 * sqrt(.93 * .07 / (double)times) >= .93);
    }
}

static void ips_and_dr_are_unbiased_whatever_the_predictions(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORLDS; i++) {
        struct tally t = repeat(&worlds[i], 2000 + i, 3000);
        double value = true_value(&worlds[i]);
        close_to(t.mean[IPS], value, 4 * t.error[IPS]);
        close_to(t.mean[DR], value, 4 * t.error[DR]);
        close_to(t.mean[SNIPS], value, 4 * t.error[SNIPS] + .01); /* consistent only */
        assert_true(t.width[SNIPS] < t.width[IPS]);
        assert_true(t.width[DR] < t.width[IPS]);
    }
}

static void dr_stays_unbiased_with_wrong_propensities_when_predictions_are_right(void **state)
{
    (void)state;
    const struct world w = {
        .noise = 0, .bias = 0, .explore = .3, .propensity_error = .5, .target_random = 0};
    struct tally t = repeat(&w, 31, 3000);
    close_to(t.mean[DR], true_value(&w), 4 * t.error[DR]);
    close_to(t.mean[IPS], 2 * true_value(&w), .02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_equal_their_formulas_on_three_rows),
        cmocka_unit_test(intervals_equal_their_formulas_when_the_policy_is_the_logged_one),
        cmocka_unit_test(student_quantiles_match_the_tables),
        cmocka_unit_test(nothing_is_claimed_where_nothing_matches),
        cmocka_unit_test(weights_are_cut_only_when_asked),
        cmocka_unit_test(a_log_that_never_tries_what_the_policy_does_is_flagged),
        cmocka_unit_test(intervals_cover_the_truth_in_at_least_93_of_100_simulations),
        cmocka_unit_test(ips_and_dr_are_unbiased_whatever_the_predictions),
        cmocka_unit_test(dr_stays_unbiased_with_wrong_propensities_when_predictions_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
