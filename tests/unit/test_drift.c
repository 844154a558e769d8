/* SPDX-License-Identifier: Apache-2.0
 * test_drift.c - the change test keeps its false-alarm promise and sees changes soon; the level
 * follows what it should. */
#include <math.h>

#include "base/rng.h"
#include "router/drift.h"
#include "support/cmocka_all.h"
#include "support/near.h"

static double score(metallm_rng *rng, double mean, int is_binary)
{
    const double u = metallm__rng_uniform(rng);
    return is_binary ? u < mean : fmin(fmax(mean + 0.1 * (u - 0.5), 0), 1);
}

/* 500 models a kind, 1,000 observations each at a patience of 2,000: the promise allows an alarm
 * for at most every second; half of that is asked. Errors of prediction within the slack are no
 * change, whatever the distribution. */
static void false_alarms_are_rarer_than_promised(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 11);
    struct metallm__drift_options o = metallm__drift_defaults();
    o.patience = 2000;
    for (int kind = 0; kind < 4; kind++) { /* binary or not, prediction biased by +- slack */
        int alarms = 0;
        for (int n = 0; n < 500; n++) {
            struct metallm__drift d;
            metallm__drift_init(&d, 0, 0, 0);
            const double p = 0.05 + 0.9 * metallm__rng_uniform(&rng);
            const double bias = kind / 2 == 0 ? -o.slack : o.slack;
            for (uint64_t t = 1; t <= 1000; t++)
                if (metallm__drift_observe(&d, &o, t, p + bias, score(&rng, p, kind % 2)) !=
                    METALLM__DRIFT_NONE) {
                    alarms++;
                    break;
                }
        }
        assert_true(alarms <= 250 / 2);
    }
}

static void a_collapse_is_seen_within_a_few_observations(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 12);
    const struct metallm__drift_options o = metallm__drift_defaults();
    double delay = 0;
    for (int n = 0; n < 200; n++) {
        struct metallm__drift d;
        metallm__drift_init(&d, 0, 0, 0);
        uint64_t t = 1;
        for (; t <= 300; t++)
            assert_int_equal(metallm__drift_observe(&d, &o, t, 0.92, score(&rng, 0.92, 0)),
                             METALLM__DRIFT_NONE);
        while (metallm__drift_observe(&d, &o, t, 0.92 + d.level, 0.75) == METALLM__DRIFT_NONE)
            assert_true(++t < 400);
        delay += (double)(t - 300) / 200;
        assert_near(d.level, -0.17, 0.03); /* the level takes what was lost */
        assert_true(d.watch > 0);
    }
    assert_true(delay < 30);
}

static void a_probe_moves_a_model_unheard_of_for_long(void **state)
{
    (void)state;
    const struct metallm__drift_options o = metallm__drift_defaults();
    struct metallm__drift d;
    metallm__drift_init(&d, -0.2, 0.05, 0);
    assert_true(metallm__drift_observe(&d, &o, 500, 0.7, 0.9) == METALLM__DRIFT_NONE);
    const double quiet = d.level;
    metallm__drift_init(&d, -0.2, 0.05, 0);
    metallm__drift_watch(&d, &o);
    assert_true(metallm__drift_variance(&d, &o, 500) > metallm__drift_variance(&d, &o, 10));
    assert_true(metallm__drift_observe(&d, &o, 500, 0.7, 0.9) == METALLM__DRIFT_NONE);
    assert_true(d.level > quiet + 0.05);
    metallm__drift_init(&d, 0, 0, 0); /* a trusted prior in quiet times: not moved by noise */
    for (uint64_t t = 1; t < 100; t++)
        assert_int_equal(metallm__drift_observe(&d, &o, t, 0.5, t % 2 == 0), METALLM__DRIFT_NONE);
    assert_near(d.level, 0, 0);
}

/* A watched model that comes back surprises its first probe, is looked at more closely, and after
 * three probes its level is near. */
static void surprising_probes_are_looked_at_closely_and_soon_believed(void **state)
{
    (void)state;
    const struct metallm__drift_options o = metallm__drift_defaults();
    struct metallm__drift d;
    metallm__drift_init(&d, -0.6, 0.02, 0);
    assert_int_equal(metallm__drift_closeness(&d), 0);
    metallm__drift_watch(&d, &o);
    assert_int_equal(metallm__drift_closeness(&d), 1);
    uint64_t now = 20;
    assert_int_equal(metallm__drift_observe(&d, &o, now, 0.92 + d.level, 0.92), 0);
    assert_true(metallm__drift_closeness(&d) >= 3);
    for (int probe = 0; probe < 2; probe++, now += 5)
        assert_int_equal(metallm__drift_observe(&d, &o, now, 0.92 + d.level, 0.92), 0);
    assert_near(d.level, 0, 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(false_alarms_are_rarer_than_promised),
        cmocka_unit_test(a_collapse_is_seen_within_a_few_observations),
        cmocka_unit_test(a_probe_moves_a_model_unheard_of_for_long),
        cmocka_unit_test(surprising_probes_are_looked_at_closely_and_soon_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
