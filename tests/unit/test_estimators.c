/* SPDX-License-Identifier: Apache-2.0
 * test_estimators.c - each estimator against a closed form on small data, and what all of them
 * promise: missing scores stay missing, equal seeds give equal predictions, files give back what
 * was saved, no memory is lost when there is none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "router/estimator.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

#define N   120u
#define DIM 3u
#define M   2u

static float x[N * DIM], y[N * M];

static struct metallm__fit_data data_of(size_t n)
{
    return (struct metallm__fit_data){.x = x, .y = y, .n = n, .dim = DIM, .models = M, .seed = 5};
}

static int fill(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 11);
    for (size_t i = 0; i < N; i++) {
        for (uint32_t j = 0; j < DIM; j++)
            x[i * DIM + j] = (float)metallm__rng_normal(&rng);
        y[i * M] = x[i * DIM] > 0 ? 1 : 0;
        y[i * M + 1] = metallm__rng_uniform(&rng) < 0.5 ? 1 : 0;
    }
    return 0;
}

struct fitted {
    struct metallm__spec spec;
    void *state;
};

static struct fitted fit(const char *text, const struct metallm__fit_data *d)
{
    struct fitted f = {.state = NULL};
    metallm_error err = {0};
    assert_int_equal(metallm__spec_parse(&f.spec, text, &err), METALLM_OK);
    assert_int_equal(f.spec.estimator->fit(&f.state, d, f.spec.values, &err), METALLM_OK);
    return f;
}

static void predict(const struct fitted *f, const float *z, size_t n, float *out)
{
    assert_int_equal(f->spec.estimator->predict(f->state, z, n, out, NULL), METALLM_OK);
}

static void done(struct fitted *f)
{
    f->spec.estimator->free(f->state);
}

static void mean_is_the_mean_of_what_is_known(void **state)
{
    (void)state;
    static const float scores[] = {1, NAN, 0, NAN, 1, 0.5f, 1, NAN};
    struct metallm__fit_data d = data_of(4);
    d.y = scores;
    struct fitted f = fit("mean", &d);
    float out[2];
    predict(&f, x, 1, out);
    assert_near((double)out[0], 0.75, 1e-7);
    assert_near((double)out[1], 0.5, 1e-7);
    done(&f);
}

/* One dimension: theta = sum (x - mx)(y - my) / (lambda + sum (x - mx)^2), b = my - theta mx. */
static void linear_is_ridge_regression_in_closed_form(void **state)
{
    (void)state;
    static const float one[] = {0, 1, 2, 5}, scores[] = {0, 1, NAN, 1};
    struct metallm__fit_data d = {.x = one, .y = scores, .n = 4, .dim = 1, .models = 1};
    struct fitted f = fit("linear:lambda=2", &d);
    double mx = 2, my = 2. / 3, theta = (-2 * -my + -1 * (1 - my) + 3 * (1 - my)) / (2 + 14);
    static const float at[] = {0, 3};
    float out[2];
    predict(&f, at, 2, out);
    assert_near((double)out[0], my - theta * mx, 1e-6);
    assert_near((double)out[1], my + theta * (3 - mx), 1e-6);
    done(&f);
}

/* At the minimum the gradient is zero: sum (p - y) = 0 and sum (p - y) x + l2 theta = 0. */
static void logistic_is_at_the_minimum_of_its_loss(void **state)
{
    (void)state;
    struct metallm__fit_data d = data_of(N);
    struct fitted f = fit("logistic:l2=2", &d);
    static float p[N * M];
    predict(&f, x, N, p);
    float origin[DIM] = {0}, unit[DIM] = {1, 0, 0}, b[M], v[M];
    predict(&f, origin, 1, b);
    predict(&f, unit, 1, v);
    for (uint32_t m = 0; m < M; m++) {
        double theta =
            log((double)v[m] / (1 - (double)v[m])) - log((double)b[m] / (1 - (double)b[m]));
        double free_sum = 0, sum = 2 * theta;
        for (size_t i = 0; i < N; i++) {
            double off = (double)p[i * M + m] - (double)y[i * M + m];
            free_sum += off;
            sum += off * (double)x[i * DIM];
        }
        assert_near(free_sum, 0, 1e-3);
        assert_near(sum, 0, 1e-3);
    }
    done(&f);
}

static void knn_averages_the_nearest_by_cosine(void **state)
{
    (void)state;
    static const float rows[] = {1, 0, 0, 2, 0.1f, 0, 0, 3, 0, 0, 0, 1};
    static const float scores[] = {1, 0, 0, NAN, 1, 1, 1, 1};
    struct metallm__fit_data d = data_of(4);
    d.x = rows;
    d.y = scores;
    struct fitted f = fit("knn:k=2", &d);
    static const float at[] = {5, 0, 0};
    float out[2];
    predict(&f, at, 1, out);
    assert_near((double)out[0], 0.5, 1e-6); /* 1 and 0 */
    assert_near((double)out[1], 0, 1e-6);   /* 0 and not known */
    done(&f);
    f = fit("knn:k=2,weight=10", &d);
    predict(&f, at, 1, out);
    double cosine = 2 / sqrt(4.01), w = exp(10 * (cosine - 1));
    assert_near((double)out[0], 1 / (1 + w), 1e-5);
    done(&f);
}

/* Two points, one dimension: alpha = (K + lambda I)^-1 (y - my), here without a free mean's help
 * because the scores' mean is what ridge takes off first. */
static void kernel_with_all_landmarks_is_kernel_ridge_regression(void **state)
{
    (void)state;
    struct metallm__fit_data d = data_of(40);
    struct fitted few = fit("kernel:gamma=0.5,lambda=1,landmarks=40", &d);
    static float p[40 * M];
    predict(&few, x, 40, p);
    /* The fitted values solve, with C the centring matrix: C K C a = fitted less the mean,
     * a = (y - fitted) / lambda, up to the jitter on K. */
    for (uint32_t m = 0; m < M; m++) {
        double mean = 0, a[40], ka[40], ka_mean = 0, a_mean = 0;
        for (size_t i = 0; i < 40; i++) {
            mean += (double)y[i * M + m] / 40;
            a[i] = (double)y[i * M + m] - (double)p[i * M + m];
            a_mean += a[i] / 40;
        }
        assert_near(a_mean, 0, 1e-4);
        for (size_t i = 0; i < 40; i++) {
            ka[i] = 0;
            for (size_t j = 0; j < 40; j++) {
                double s = 0;
                for (uint32_t k = 0; k < DIM; k++)
                    s += pow((double)x[i * DIM + k] - (double)x[j * DIM + k], 2);
                ka[i] += exp(-0.5 * s) * a[j];
            }
            ka_mean += ka[i] / 40;
        }
        for (size_t i = 0; i < 40; i++)
            assert_near((double)p[i * M + m], mean + ka[i] - ka_mean, 2e-3);
    }
    done(&few);
}

/* A target that depends on one feature's sign is found; noise is not. */
static void forest_and_mlp_find_a_threshold(void **state)
{
    (void)state;
    static const char *const specs[] = {"forest:leaf=3,share=1",
                                        "mlp:epochs=300,rate=0.01,decay=0,dropout=0"};
    struct metallm__fit_data d = data_of(N);
    for (size_t s = 0; s < 2; s++) {
        struct fitted f = fit(specs[s], &d);
        static const float at[] = {1.5f, 0, 0, -1.5f, 0, 0};
        float out[4];
        predict(&f, at, 2, out);
        assert_true(out[0] > 0.85f);
        assert_true(out[2] < 0.15f);
        done(&f);
    }
}

/* With one row a leaf and no shrinking but one pseudo-count a level, a tree of two rows is known.
 */
static void a_leaf_is_drawn_to_its_parent_by_one_count(void **state)
{
    (void)state;
    static const float rows[] = {0, 0, 0, 1, 0, 0}, scores[] = {0, 1, 1, NAN};
    struct metallm__fit_data d = data_of(2);
    d.x = rows;
    d.y = scores;
    struct fitted f = fit("forest:trees=1,leaf=1,share=1", &d);
    float out[4];
    predict(&f, rows, 2, out);
    assert_near((double)out[0], 0.25, 1e-6); /* .5 + (-.5 + 0) / (1 + 1) */
    assert_near((double)out[2], 0.75, 1e-6);
    assert_near((double)out[1], 1, 1e-6);
    assert_near((double)out[3], 1, 1e-6); /* not known there: the parent's */
    done(&f);
}

static void every_estimator_gives_back_what_was_saved(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-est-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct metallm__fit_data d = data_of(N);
    y[7] = NAN;
    const struct metallm__estimator *e;
    for (uint32_t k = 0; (e = metallm__estimator_at(k)) != NULL; k++) {
        struct fitted f = fit(e->name, &d), again = fit(e->name, &d);
        static float before[N * M], after[N * M], twin[N * M];
        predict(&f, x, N, before);
        predict(&again, x, N, twin);
        assert_memory_equal(before, twin, sizeof before);
        for (size_t i = 0; i < N * M; i++)
            assert_true(isfinite(before[i]));
        struct metallm__st_writer *w = NULL;
        assert_int_equal(metallm__st_writer_new(&w, NULL), METALLM_OK);
        assert_int_equal(e->save(f.state, w, "p", NULL), METALLM_OK);
        assert_int_equal(metallm__st_write(w, path, NULL), METALLM_OK);
        metallm__st_writer_free(w);
        struct metallm__st_file *file = NULL;
        assert_int_equal(metallm__st_open(&file, path, NULL), METALLM_OK);
        struct fitted loaded = {.spec = f.spec};
        metallm_error err = {0};
        assert_int_equal(e->load(&loaded.state, file, "p", DIM, M, &err), METALLM_OK);
        predict(&loaded, x, N, after);
        assert_memory_equal(before, after, sizeof before);
        done(&loaded);
        void *wrong = NULL;
        assert_int_not_equal(e->load(&wrong, file, "p", DIM, M + 1, &err), METALLM_OK);
        assert_null(wrong);
        metallm__st_close(file);
        done(&f);
        done(&again);
    }
    y[7] = 1;
    (void)unlink(path);
}

static int fit_all(void *payload)
{
    (void)payload;
    static const char *const specs[] = {"mean",
                                        "linear",
                                        "logistic",
                                        "knn:library=30",
                                        "kernel:landmarks=20",
                                        "mlp:epochs=1,seeds=1",
                                        "forest:trees=2"};
    struct metallm__fit_data d = data_of(N);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct metallm__spec s;
        void *fitted = NULL;
        float out[M];
        int rc = metallm__spec_parse(&s, specs[i], NULL);
        if (rc == METALLM_OK)
            rc = s.estimator->fit(&fitted, &d, s.values, NULL);
        if (rc == METALLM_OK)
            rc = s.estimator->predict(fitted, x, 1, out, NULL);
        s.estimator->free(fitted);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static void no_memory_is_told_at_every_allocation(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(fit_all, NULL) > 30);
}

static void descriptions_are_read_and_refused(void **state)
{
    (void)state;
    struct metallm__spec s;
    metallm_error err = {0};
    assert_int_equal(metallm__spec_parse(&s, "knn:k=7,weight=2.5", &err), METALLM_OK);
    assert_near(s.values[0], 7, 0);
    assert_near(s.values[1], 2.5, 0);
    assert_true(s.given[0] && s.given[1] && !s.given[2]);
    static const struct {
        const char *text;
        int code;
    } bad[] = {{"nn", METALLM_ENOTFOUND},       {"knn:q=1", METALLM_EINVAL},
               {"knn:k", METALLM_EINVAL},       {"knn:k=", METALLM_EINVAL},
               {"knn:k=0", METALLM_EINVAL},     {"knn:k=1x", METALLM_EINVAL},
               {"knn:k=nan", METALLM_EINVAL},   {"mean:k=1", METALLM_EINVAL},
               {"knn:k=1,,k=2", METALLM_EINVAL}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(metallm__spec_parse(&s, bad[i].text, &err), bad[i].code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_is_the_mean_of_what_is_known),
        cmocka_unit_test(linear_is_ridge_regression_in_closed_form),
        cmocka_unit_test(logistic_is_at_the_minimum_of_its_loss),
        cmocka_unit_test(knn_averages_the_nearest_by_cosine),
        cmocka_unit_test(kernel_with_all_landmarks_is_kernel_ridge_regression),
        cmocka_unit_test(forest_and_mlp_find_a_threshold),
        cmocka_unit_test(a_leaf_is_drawn_to_its_parent_by_one_count),
        cmocka_unit_test(every_estimator_gives_back_what_was_saved),
        cmocka_unit_test(no_memory_is_told_at_every_allocation),
        cmocka_unit_test(descriptions_are_read_and_refused),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
