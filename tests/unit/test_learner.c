/* SPDX-License-Identifier: Apache-2.0
 * test_learner.c - online statistics against the batch ridge regression in closed form (normal
 * equations solved by Gaussian elimination here), merging, faults and files. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "router/learner.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

enum { DIM = 11, PAD = 16, ROWS = 700, BIG = 64 };

struct row {
    double z[PAD] __attribute__((aligned(64)));
    double y[METALLM__TARGETS];
    double weight;
};

static void rows_fill(struct row *rows, size_t count, uint32_t dim, uint64_t seed)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    for (size_t n = 0; n < count; n++) {
        memset(&rows[n], 0, sizeof rows[n]);
        for (uint32_t i = 0; i < dim; i++)
            rows[n].z[i] = i == 0 ? 1 : 0.4 * metallm__rng_normal(&rng);
        for (int t = 0; t < METALLM__TARGETS; t++)
            rows[n].y[t] = rows[n].z[1 + t] - 0.3 * rows[n].z[5] + metallm__rng_normal(&rng) / 3;
        rows[n].weight = 0.5 + metallm__rng_uniform(&rng);
    }
}

/* theta of weighted, discounted ridge regression by Gaussian elimination with pivots. */
static void batch_theta(const struct row *rows, size_t count, double lambda, double gamma, int t,
                        double theta[DIM])
{
    long double a[DIM][DIM + 1] = {{0}};
    for (size_t n = 0; n < count; n++) {
        const double w = rows[n].weight * pow(gamma, (double)(count - 1 - n));
        for (int i = 0; i < DIM; i++) {
            for (int j = 0; j < DIM; j++)
                a[i][j] += w * rows[n].z[i] * rows[n].z[j];
            a[i][DIM] += w * rows[n].z[i] * rows[n].y[t];
        }
    }
    for (int i = 0; i < DIM; i++)
        a[i][i] += lambda;
    for (int i = 0; i < DIM; i++) /* positive definite: no pivoting needed */
        for (int k = i + 1; k < DIM; k++) {
            const long double f = a[k][i] / a[i][i];
            for (int j = i; j <= DIM; j++)
                a[k][j] -= f * a[i][j];
        }
    for (int i = DIM - 1; i >= 0; i--) {
        long double s = a[i][DIM];
        for (int j = i + 1; j < DIM; j++)
            s -= a[i][j] * theta[j];
        theta[i] = (double)(s / a[i][i]);
    }
}

static struct metallm__learner *learner(uint32_t dim, uint32_t models, double lambda, double gamma)
{
    struct metallm__learner *l = NULL;
    const struct metallm__learner_options opts = {
        .dim = dim, .models = models, .lambda = lambda, .gamma = gamma};
    assert_int_equal(metallm__learner_new(&l, &opts, NULL), METALLM_OK);
    return l;
}

static void feed(struct metallm__learner *l, uint32_t model, const struct row *rows, size_t count)
{
    for (size_t n = 0; n < count; n++)
        assert_int_equal(
            metallm__learner_observe(l, model, rows[n].z, rows[n].y, rows[n].weight, NULL),
            METALLM_OK);
}

static void assert_theta(const struct metallm__learner *l, uint32_t model, int target,
                         const double *want, double tolerance)
{
    const double *theta = metallm__learner_theta(l, model, (enum metallm__target)target);
    for (uint32_t i = 0; i < metallm__learner_dim(l); i++)
        assert_near(theta[i], want[i], tolerance);
}

static void online_updates_equal_batch_ridge_regression(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 1);
    static const double lambdas[] = {1e-3, 1, 50};
    for (int k = 0; k < 3; k++) {
        struct metallm__learner *l = learner(DIM, 2, lambdas[k], 1);
        feed(l, 1, rows, ROWS);
        for (int t = 0; t < METALLM__TARGETS; t++) {
            double want[DIM];
            batch_theta(rows, ROWS, lambdas[k], 1, t, want);
            assert_theta(l, 1, t, want, 1e-9);
            assert_theta(l, 0, t, (double[DIM]){0}, 0); /* the other model is untouched */
        }
        assert_true(metallm__learner_drift(l) < 1e-9);
        metallm__learner_free(l);
    }
}

/* The prior stands outside the discount: without data for long, A does not vanish. D_ii stays
 * within [0.8, 1] lambda, so theta lies between those two batch solutions up to their difference.
 */
static void discounted_updates_keep_the_prior(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 2);
    struct metallm__learner *l = learner(DIM, 1, 2, 0.97);
    feed(l, 0, rows, ROWS);
    double full[DIM], least[DIM];
    batch_theta(rows, ROWS, 2, 0.97, 0, full);
    batch_theta(rows, ROWS, 2 * METALLM__LEARNER_PRIOR_LEAST, 0.97, 0, least);
    const double *theta = metallm__learner_theta(l, 0, METALLM__TARGET_QUALITY);
    double gap = 0, off = 0;
    for (int i = 0; i < DIM; i++) {
        gap = fmax(gap, fabs(full[i] - least[i]));
        off = fmax(off, fabs(theta[i] - full[i]));
    }
    assert_true(off <= gap);
    double z[PAD] __attribute__((aligned(64))) = {0};
    z[0] = 1;
    double zero[METALLM__TARGETS] = {0, 0, 0};
    struct row seen = rows[0];
    memset(seen.z, 0, sizeof seen.z); /* thousands of observations that say nothing of z */
    seen.z[1] = 1;
    for (int n = 0; n < 5000; n++)
        assert_int_equal(metallm__learner_observe(l, 0, seen.z, zero, 1, NULL), METALLM_OK);
    const double variance = metallm__learner_variance(l, 0, METALLM__FACTOR_QUALITY, z);
    assert_true(variance >= 1 / 2.0 - 1e-9 && variance <= 1 / (2 * 0.8) + 1e-9);
    assert_near(metallm__learner_mass(l, 0, METALLM__FACTOR_QUALITY), 1 / 0.03, 1e-6);
    metallm__learner_free(l);
}

static void theta_of_a_combined_reward_is_the_combination(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 3);
    struct metallm__learner *apart = learner(DIM, 1, 1, 0.995), *joint = learner(DIM, 1, 1, 0.995);
    feed(apart, 0, rows, ROWS);
    for (int n = 0; n < ROWS; n++)
        rows[n].y[0] -= 0.7 * rows[n].y[1];
    feed(joint, 0, rows, ROWS);
    const double *a = metallm__learner_theta(apart, 0, METALLM__TARGET_QUALITY);
    const double *c = metallm__learner_theta(apart, 0, METALLM__TARGET_COST);
    double want[DIM];
    for (int i = 0; i < DIM; i++)
        want[i] = a[i] - 0.7 * c[i];
    assert_theta(joint, 0, METALLM__TARGET_QUALITY, want, 1e-10);
    metallm__learner_free(apart);
    metallm__learner_free(joint);
}

static void cost_alone_does_not_teach_quality(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 4);
    struct metallm__learner *l = learner(DIM, 1, 1, 1);
    feed(l, 0, rows, 300);
    double before[DIM];
    memcpy(before, metallm__learner_theta(l, 0, 0), sizeof before);
    for (int n = 300; n < ROWS; n++)
        rows[n].y[0] = rows[n].y[2] = NAN;
    feed(l, 0, rows + 300, ROWS - 300);
    assert_theta(l, 0, METALLM__TARGET_QUALITY, before, 0);
    assert_int_equal(metallm__learner_seen(l, 0, METALLM__FACTOR_QUALITY), 300);
    assert_int_equal(metallm__learner_seen(l, 0, METALLM__FACTOR_SPEND), ROWS);
    double want[DIM];
    batch_theta(rows, ROWS, 1, 1, METALLM__TARGET_COST, want);
    assert_theta(l, 0, METALLM__TARGET_COST, want, 1e-9);
    assert_true(metallm__learner_variance(l, 0, METALLM__FACTOR_SPEND, rows[0].z) <
                metallm__learner_variance(l, 0, METALLM__FACTOR_QUALITY, rows[0].z));
    metallm__learner_free(l);
}

static void merged_replicas_equal_one_that_saw_all(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 5);
    for (int n = 150; n < ROWS; n += 3)
        rows[n].y[0] = NAN; /* parts the factors on the way */
    static const double gammas[] = {1, 0.99};
    for (int k = 0; k < 2; k++) {
        struct metallm__learner *whole = learner(DIM, 2, 1, gammas[k]), *base = NULL;
        feed(whole, 0, rows, 100);
        assert_int_equal(metallm__learner_copy(&base, whole, NULL), METALLM_OK);
        struct metallm__learner *first = NULL, *second = NULL;
        assert_int_equal(metallm__learner_copy(&first, base, NULL), METALLM_OK);
        assert_int_equal(metallm__learner_copy(&second, base, NULL), METALLM_OK);
        feed(first, 0, rows + 100, 300);
        feed(second, 0, rows + 400, 300);
        feed(whole, 0, rows + 100, 600);
        assert_int_equal(metallm__learner_subtract(first, base, NULL), METALLM_OK);
        assert_int_equal(metallm__learner_subtract(second, base, NULL), METALLM_OK);
        assert_int_equal(metallm__learner_add(base, first, NULL), METALLM_OK);
        assert_int_equal(metallm__learner_add(base, second, NULL), METALLM_OK);
        /* With a discount the one that saw all has refilled its prior by turns: no closer than
         * 0.8..1 lambda. */
        const double tolerance = gammas[k] == 1 ? 1e-9 : 5e-3;
        for (int t = 0; t < METALLM__TARGETS; t++)
            assert_theta(base, 0, t, metallm__learner_theta(whole, 0, (enum metallm__target)t),
                         tolerance);
        for (int f = 0; f < METALLM__FACTORS; f++) {
            assert_int_equal(metallm__learner_seen(base, 0, (enum metallm__factor)f),
                             metallm__learner_seen(whole, 0, (enum metallm__factor)f));
            assert_near(metallm__learner_mass(base, 0, (enum metallm__factor)f),
                        metallm__learner_mass(whole, 0, (enum metallm__factor)f), 1e-9);
        }
        metallm__learner_free(whole);
        metallm__learner_free(base);
        metallm__learner_free(first);
        metallm__learner_free(second);
    }
}

static void absurd_observations_teach_nothing(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 6);
    struct metallm__learner *l = learner(DIM, 1, 1, 1);
    feed(l, 0, rows, 50);
    double before[DIM];
    memcpy(before, metallm__learner_theta(l, 0, 0), sizeof before);
    static const double absurd[] = {NAN, INFINITY, -INFINITY, 1e7, -1e300};
    for (int k = 0; k < 5; k++) {
        struct row bad = rows[60];
        bad.z[3] = absurd[k];
        metallm_error err = {0};
        assert_int_equal(metallm__learner_observe(l, 0, bad.z, bad.y, 1, &err), METALLM_EINVAL);
        assert_non_null(strstr(err.message, "element 3"));
        bad = rows[60];
        bad.y[0] = absurd[k];
        const int want = isnan(absurd[k]) ? METALLM_OK : METALLM_EINVAL; /* NaN: not known */
        if (want != METALLM_OK)
            assert_int_equal(metallm__learner_observe(l, 0, bad.z, bad.y, 1, NULL), want);
        assert_int_equal(metallm__learner_observe(l, 0, rows[60].z, rows[60].y, absurd[k], NULL),
                         METALLM_EINVAL);
    }
    assert_theta(l, 0, METALLM__TARGET_QUALITY, before, 0);
    metallm__learner_free(l);
}

/* Vectors that are nearly one line, at weights up to the limit, for long: the worst for P. */
static void drift_stays_bounded_over_many_updates(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 7);
    static const double gammas[] = {1, 0.9};
    for (int k = 0; k < 2; k++) {
        struct metallm__learner *l = learner(DIM, 1, 1e-4, gammas[k]);
        double z[PAD] __attribute__((aligned(64))) = {0};
        for (int n = 0; n < 40000; n++) {
            for (int i = 0; i < DIM; i++)
                z[i] = 30 + 1e-3 * metallm__rng_normal(&rng);
            double y[METALLM__TARGETS] = {metallm__rng_uniform(&rng), NAN, NAN};
            const double w = n % 100 == 0 ? METALLM__LEARNER_WEIGHT_MAX : 1;
            assert_int_equal(metallm__learner_observe(l, 0, z, y, w, NULL), METALLM_OK);
            double out[METALLM__TARGETS];
            metallm__learner_predict(l, 0, z, out);
            assert_true(isfinite(out[0]) && fabs(out[0]) < 3);
            assert_true(isfinite(metallm__learner_variance(l, 0, 0, z)));
        }
        metallm__learner_free(l);
    }
}

static void newcomers_and_leavers_leave_the_others_alone(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 8);
    struct metallm__learner *l = learner(DIM, 2, 1, 1);
    feed(l, 0, rows, 100);
    feed(l, 1, rows + 100, 100);
    double old0[DIM], old1[DIM];
    memcpy(old0, metallm__learner_theta(l, 0, 0), sizeof old0);
    memcpy(old1, metallm__learner_theta(l, 1, 0), sizeof old1);
    assert_int_equal(metallm__learner_add_model(l, UINT32_MAX, 0, NULL), METALLM_OK);
    assert_int_equal(metallm__learner_add_model(l, 1, 0.25, NULL), METALLM_OK);
    assert_int_equal(metallm__learner_models(l), 4);
    assert_theta(l, 2, 0, (double[DIM]){0}, 0);
    assert_true(metallm__learner_variance(l, 3, 0, rows[0].z) >
                metallm__learner_variance(l, 1, 0, rows[0].z));
    assert_near(metallm__learner_mass(l, 3, 0), metallm__learner_mass(l, 1, 0) / 4, 1e-12);
    feed(l, 2, rows + 200, 100);
    assert_int_equal(metallm__learner_fade(l, 3, 0, NULL), METALLM_OK);
    assert_theta(l, 3, 0, (double[DIM]){0}, 0);
    assert_theta(l, 0, 0, old0, 0);
    metallm__learner_remove_model(l, 0);
    assert_int_equal(metallm__learner_models(l), 3);
    assert_theta(l, 0, 0, old1, 0);
    metallm__learner_free(l);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const struct metallm__learner_options good = {.dim = 4, .models = 2, .lambda = 1, .gamma = 1};
    static const double bad[] = {NAN, 0, -1, INFINITY};
    struct metallm__learner *l = NULL;
    for (int k = 0; k < 4; k++) {
        struct metallm__learner_options o = good;
        o.lambda = bad[k];
        assert_int_equal(metallm__learner_new(&l, &o, NULL), METALLM_EINVAL);
        o = good;
        o.gamma = bad[k];
        assert_int_equal(metallm__learner_new(&l, &o, NULL), METALLM_EINVAL);
    }
    struct metallm__learner_options o = good;
    o.dim = METALLM__LEARNER_DIM_MAX + 1;
    assert_int_equal(metallm__learner_new(&l, &o, NULL), METALLM_EINVAL);
    assert_null(l);
}

struct file_case {
    struct metallm__learner *l;
    char path[64];
};

static int save_it(void *payload)
{
    struct file_case *c = payload;
    struct metallm__st_writer *w = NULL;
    int rc = metallm__st_writer_new(&w, NULL);
    if (rc == METALLM_OK)
        rc = metallm__learner_save(c->l, w, "learner", NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, c->path, NULL);
    metallm__st_writer_free(w);
    return rc;
}

static int load_it(void *payload)
{
    struct file_case *c = payload;
    struct metallm__st_file *f = NULL;
    struct metallm__learner *l = NULL, *copy = NULL;
    int rc = metallm__st_open(&f, c->path, NULL);
    if (rc == METALLM_OK)
        rc = metallm__learner_load(&l, f, "learner", NULL);
    if (rc == METALLM_OK)
        rc = metallm__learner_copy(&copy, l, NULL);
    if (rc == METALLM_OK)
        rc = metallm__learner_add_model(copy, 0, 0.5, NULL);
    metallm__st_close(f);
    metallm__learner_free(copy);
    metallm__learner_free(c->l);
    c->l = l;
    return rc;
}

static void state_survives_a_file_and_failing_memory(void **state)
{
    (void)state;
    struct row rows[ROWS];
    rows_fill(rows, ROWS, DIM, 9);
    struct file_case c = {.l = learner(DIM, 3, 2, 0.999)};
    snprintf(c.path, sizeof c.path, "test_learner_%ld.safetensors", (long)getpid());
    feed(c.l, 0, rows, 200);
    for (int n = 200; n < 400; n += 2)
        rows[n].y[0] = NAN;
    feed(c.l, 2, rows + 200, 200);
    double old[DIM], other[DIM];
    memcpy(old, metallm__learner_theta(c.l, 0, 1), sizeof old);
    memcpy(other, metallm__learner_theta(c.l, 2, 0), sizeof other);
    assert_true(fail_alloc_sweep(save_it, &c) > 5);
    assert_true(fail_alloc_sweep(load_it, &c) > 20);
    assert_theta(c.l, 0, 1, old, 5e-3); /* the prior is back at lambda after a load */
    assert_theta(c.l, 2, 0, other, 5e-3);
    assert_int_equal(metallm__learner_seen(c.l, 2, METALLM__FACTOR_QUALITY), 100);
    assert_int_equal(metallm__learner_seen(c.l, 2, METALLM__FACTOR_SPEND), 200);
    metallm__learner_free(c.l);
    unlink(c.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(online_updates_equal_batch_ridge_regression),
        cmocka_unit_test(discounted_updates_keep_the_prior),
        cmocka_unit_test(theta_of_a_combined_reward_is_the_combination),
        cmocka_unit_test(cost_alone_does_not_teach_quality),
        cmocka_unit_test(merged_replicas_equal_one_that_saw_all),
        cmocka_unit_test(absurd_observations_teach_nothing),
        cmocka_unit_test(drift_stays_bounded_over_many_updates),
        cmocka_unit_test(newcomers_and_leavers_leave_the_others_alone),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(state_survives_a_file_and_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
