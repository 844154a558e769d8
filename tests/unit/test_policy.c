/* SPDX-License-Identifier: Apache-2.0
 * test_policy.c - chances in closed form, parameters, draws, and regret on simulated linear models
 * growing as theory says. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "router/learner.h"
#include "router/policy.h"
#include "support/cmocka_all.h"
#include "support/near.h"

enum { K = 4 };

static struct metallm__policy_choice parsed(const char *spec)
{
    struct metallm__policy_choice c;
    assert_int_equal(metallm__policy_parse(&c, spec, NULL), METALLM_OK);
    return c;
}

static void chances_of(const char *spec, const double *score, const double *sd, uint64_t step,
                       double *chance)
{
    static const double cost[K] = {4, 3, 2, 1};
    const struct metallm__policy_choice c = parsed(spec);
    const struct metallm__arms arms = {
        .count = K, .score = score, .sd = sd, .cost = cost, .step = step};
    c.policy->chances(c.values, &arms, chance);
}

static void chances_sum_to_one_and_spare_those_left_out(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 1);
    for (size_t i = 0; metallm__policy_at(i) != NULL; i++)
        for (int n = 0; n < 300; n++) {
            double score[K], sd[K], chance[K], sum = 0;
            for (int m = 0; m < K; m++) {
                score[m] = n % 7 == 0 ? 0.5 : metallm__rng_normal(&rng); /* ties too */
                sd[m] = n % 5 == 0 ? 0 : exp(3 * metallm__rng_normal(&rng));
            }
            const int out = n % (K + 1);
            if (out < K)
                score[out] = NAN;
            if (n % 11 == 0 && out != 0) /* one candidate alone */
                score[1] = score[2] = score[3] = NAN, score[0] = 1;
            chances_of(metallm__policy_at(i)->name, score, sd, (uint64_t)n, chance);
            for (int m = 0; m < K; m++) {
                assert_true(chance[m] >= 0);
                assert_true(!isnan(score[m]) || chance[m] == 0);
                sum += chance[m];
            }
            assert_near(sum, 1, 1e-12);
        }
}

static void linucb_takes_the_highest_bound_and_the_cheaper_of_equals(void **state)
{
    (void)state;
    double chance[K];
    const double score[K] = {0.5, 0.4, 0.3, 0.2}, sd[K] = {0, 0.1, 0.4, 0};
    chances_of("linucb:alpha=0", score, sd, 0, chance);
    assert_near(chance[0], 1, 0);
    chances_of("linucb:alpha=1", score, sd, 0, chance);
    assert_near(chance[2], 1, 0);
    chances_of("greedy", (double[K]){0.5, 0.5, 0.5, 0.1}, NULL, 0, chance);
    assert_near(chance[2], 1, 0);
}

static void epsilon_decays_as_stated(void **state)
{
    (void)state;
    double chance[K];
    const double score[K] = {0, 1, NAN, 0.5};
    chances_of("epsilon:epsilon=0.3,decay=2", score, NULL, 0, chance);
    assert_near(chance[0], 0.1, 1e-15);
    assert_near(chance[1], 0.8, 1e-15);
    chances_of("epsilon:epsilon=0.3,decay=2", score, NULL, 99, chance);
    assert_near(chance[3], 0.06 / 3, 1e-15);
    chances_of("epsilon:epsilon=0.3,decay=0", score, NULL, 1000000, chance);
    assert_near(chance[3], 0.1, 1e-15);
}

static void squarecb_weighs_by_the_inverse_gap(void **state)
{
    (void)state;
    double chance[K];
    chances_of("squarecb:rate=2", (double[K]){0, 1, 0.5, NAN}, NULL, 11, chance);
    const double rate = 2 * sqrt(3 * 12);
    assert_near(chance[0], 1 / (3 + rate), 1e-15);
    assert_near(chance[2], 1 / (3 + rate * 0.5), 1e-15);
    assert_near(chance[1], 1 - chance[0] - chance[2], 1e-15);
}

/* The integral on an even grid so fine that nothing escapes it, with erfc. */
static void fine_sum(const double *mean, const double *sd, double *chance)
{
    const double low = -40, step = 2e-4;
    for (int m = 0; m < K; m++)
        chance[m] = 0;
    for (int i = 0; i < 400000; i++) {
        const double x = low + (i + 0.5) * step;
        for (int m = 0; m < K; m++) {
            const double z = (x - mean[m]) / sd[m];
            double p = exp(-z * z / 2) / (sd[m] * 2.5066282746310002) * step;
            for (int k = 0; k < K && p > 0; k++)
                if (k != m)
                    p *= 0.5 * erfc(-(x - mean[k]) / (sd[k] * 1.4142135623730951));
            chance[m] += p;
        }
    }
}

static void thompson_propensity_is_the_chance_to_be_best(void **state)
{
    (void)state;
    static const struct {
        double mean[K], sd[K];
    } cases[] = {
        {{0, 0, 0, 0}, {1, 1, 1, 1}},
        {{0, 0.5, -0.5, 0.2}, {1, 0.01, 3, 0.3}},
        {{0.93, 0.92, 0.80, 0.5}, {0.02, 0.004, 0.1, 0.5}},
        {{3, 1, -2, 0}, {1, 2, 4, 0.05}},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        double want[K], chance[K];
        fine_sum(cases[n].mean, cases[n].sd, want);
        chances_of("thompson:scale=1", cases[n].mean, cases[n].sd, 0, chance);
        for (int m = 0; m < K; m++)
            assert_near(chance[m], want[m], 1e-5);
    }
}

static void draws_follow_the_chances_and_exploration_is_mixed_in(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 5);
    double chance[K] = {0, 0.7, 0.3, 0};
    const double score[K] = {0, 1, 2, NAN}, extra[K] = {0.1, 0, 0.05, 0};
    const struct metallm__arms arms = {.count = K, .score = score};
    metallm__policy_mix(&arms, extra, chance);
    assert_near(chance[0], 0.1, 1e-15);
    assert_near(chance[1], 0.7 * 0.85, 1e-15);
    assert_near(chance[2], 0.3 * 0.85 + 0.05, 1e-15);
    int seen[K] = {0};
    for (int n = 0; n < 100000; n++)
        seen[metallm__policy_draw(chance, K, &rng)]++;
    for (int m = 0; m < K; m++)
        assert_near(seen[m] / 1e5, chance[m], 0.006);
    assert_int_equal(seen[3], 0);
}

static void wrong_specs_are_refused_by_name(void **state)
{
    (void)state;
    struct metallm__policy_choice c;
    metallm_error err;
    assert_int_equal(metallm__policy_parse(&c, "linucbx", &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "linucbx"));
    static const char *const bad[] = {
        "linucb:beta=1",    "linucb:alpha",    "linucb:alpha=", "linucb:alpha=-1",
        "linucb:alpha=nan", "linucb:alpha=1x", "linucb:",       "epsilon:epsilon=2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(metallm__policy_parse(&c, bad[i], &err), METALLM_EINVAL);
    c = parsed("epsilon:decay=7,epsilon=0.25");
    assert_near(c.values[0], 0.25, 0);
    assert_near(c.values[1], 7, 0);
}

enum { DIM = 6, PAD = 8, STEPS = 24000 };

/* Linear models with noisy rewards. Regret is that of the chosen model's expected reward. Writes
 * the sum after STEPS / 4 and after STEPS, averaged over three seeds. */
static void simulate(const char *spec, double *quarter, double *whole)
{
    const struct metallm__policy_choice c = parsed(spec);
    *quarter = *whole = 0;
    for (uint64_t seed = 0; seed < 3; seed++) {
        metallm_rng rng;
        metallm_rng_seed(&rng, 100 + seed);
        double theta[K][DIM], cost[K] = {0};
        for (int m = 0; m < K; m++)
            for (int i = 0; i < DIM; i++)
                theta[m][i] = 0.3 * metallm__rng_normal(&rng);
        struct metallm__learner *l = NULL;
        const struct metallm__learner_options opts = {
            .dim = DIM, .models = K, .lambda = 1, .gamma = 1};
        assert_int_equal(metallm__learner_new(&l, &opts, NULL), METALLM_OK);
        double regret = 0;
        for (uint64_t t = 0; t < STEPS; t++) {
            double z[PAD] __attribute__((aligned(64))) = {0}, mean[K], sd[K], score[K], chance[K];
            double best = -HUGE_VAL;
            for (int i = 0; i < DIM; i++)
                z[i] = i == 0 ? 1 : metallm__rng_normal(&rng) / 2;
            for (uint32_t m = 0; m < K; m++) {
                double out[METALLM__TARGETS];
                mean[m] = 0;
                for (int i = 0; i < DIM; i++)
                    mean[m] += theta[m][i] * z[i];
                best = fmax(best, mean[m]);
                metallm__learner_predict(l, m, z, out);
                score[m] = out[0];
                sd[m] = sqrt(metallm__learner_variance(l, m, METALLM__FACTOR_QUALITY, z));
            }
            const struct metallm__arms arms = {
                .count = K, .score = score, .sd = sd, .cost = cost, .step = t};
            c.policy->chances(c.values, &arms, chance);
            const uint32_t m = metallm__policy_draw(chance, K, &rng);
            const double y[METALLM__TARGETS] = {mean[m] + 0.3 * metallm__rng_normal(&rng), NAN,
                                                NAN};
            assert_int_equal(metallm__learner_observe(l, m, z, y, 1, NULL), METALLM_OK);
            regret += best - mean[m];
            if (t + 1 == STEPS / 4)
                *quarter += regret / 3;
        }
        *whole += regret / 3;
        metallm__learner_free(l);
    }
}

/* Four times the steps: regret of order log t grows by 1.16 (epsilon decaying), of log^2 t by 1.34
 * (linucb, thompson: Abbasi-Yadkori et al. 2011 with a gap), of sqrt t by 2 (squarecb), of t by 4;
 * the bounds leave .25 for the noise of three runs. In all: below the O(d sqrt(K t log^3 t)) of
 * LinUCB's analysis with constant 1/40. */
static void regret_grows_as_theory_says(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        double low, high; /* of the growth */
    } cases[] = {
        {"linucb:alpha=0.5", 1, 1.6},
        {"thompson:scale=0.5", 1, 1.6},
        {"squarecb:rate=10", 1, 2.25},
        {"epsilon:epsilon=1,decay=5", 1, 1.4},
        {"epsilon:epsilon=0.2,decay=0", 3.75, 4.25}, /* explores for ever */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double quarter, whole;
        simulate(cases[i].spec, &quarter, &whole);
        print_message("%s: regret %.1f after %d steps, %.1f after %d\n", cases[i].spec, quarter,
                      STEPS / 4, whole, STEPS);
        assert_true(whole / quarter >= cases[i].low && whole / quarter <= cases[i].high);
        if (cases[i].low < 3)
            assert_true(whole < DIM * sqrt(K * (double)STEPS * pow(log(STEPS), 3)) / 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chances_sum_to_one_and_spare_those_left_out),
        cmocka_unit_test(linucb_takes_the_highest_bound_and_the_cheaper_of_equals),
        cmocka_unit_test(epsilon_decays_as_stated),
        cmocka_unit_test(squarecb_weighs_by_the_inverse_gap),
        cmocka_unit_test(thompson_propensity_is_the_chance_to_be_best),
        cmocka_unit_test(draws_follow_the_chances_and_exploration_is_mixed_in),
        cmocka_unit_test(wrong_specs_are_refused_by_name),
        cmocka_unit_test(regret_grows_as_theory_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
