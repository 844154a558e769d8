/* SPDX-License-Identifier: Apache-2.0
 * test_router.c - training, estimates, decisions and files of a whole router, on made-up outcomes
 * whose truth is known: model 0 is right where the first axis is positive, model 1 elsewhere. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "metallm/router.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

#define N     300u
#define HEAD  8u
#define TEXT  2u
#define WIDTH (2 * HEAD + TEXT)

static float values[N * WIDTH];
static const metallm_vectors all = {
    .values = values, .rows = N, .layout = {HEAD, HEAD, TEXT}, .encoder = "custom"};

static void make_values(float *out, size_t n, uint64_t seed)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        float *row = out + i * WIDTH, squares = 0;
        for (uint32_t j = 0; j < HEAD; j++) {
            row[j] = (float)metallm__rng_normal(&rng);
            squares += row[j] * row[j];
        }
        for (uint32_t j = 0; j < HEAD; j++)
            row[j] = row[HEAD + j] = row[j] / sqrtf(squares);
        row[2 * HEAD] = (float)metallm__rng_normal(&rng);
        row[2 * HEAD + 1] = 3; /* constant: no information */
    }
}

static metallm_outcomes *make_outcomes(size_t n)
{
    metallm_outcomes *o = NULL;
    static const char *const names[] = {"left", "right", "silent"};
    uint32_t m;
    size_t query;
    if (metallm_outcomes_new(&o, NULL) != METALLM_OK)
        return NULL;
    int rc = METALLM_OK;
    for (uint32_t i = 0; i < 3 && rc == METALLM_OK; i++)
        rc = metallm_outcomes_add_model(o, names[i], &m, NULL);
    for (size_t i = 0; i < n && rc == METALLM_OK; i++) {
        char prompt[32];
        (void)snprintf(prompt, sizeof prompt, "prompt %zu", i);
        const metallm_query q = {.prompt = prompt};
        rc = metallm_outcomes_add_query(o, &q, &query, NULL);
        for (uint32_t k = 0; k < 2 && rc == METALLM_OK; k++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = (values[i * WIDTH] > 0) == (k == 0) ? 1 : 0;
            cell.cost_usd = k == 0 ? 0.002f : 0.001f * expf(values[i * WIDTH + 2 * HEAD]);
            if (i % 7 != 0 || k == 0)
                rc = metallm_outcomes_set(o, query, k, &cell, NULL);
        }
    }
    if (rc == METALLM_OK)
        return o;
    metallm_outcomes_free(o);
    return NULL;
}

static int fill(void **state)
{
    (void)state;
    make_values(values, N, 3);
    return 0;
}

static metallm_router *train(const char *estimator, metallm_train_report *report)
{
    metallm_outcomes *o = make_outcomes(N);
    assert_non_null(o);
    const metallm_train_options opts = {.estimator = estimator, .seed = 9, .threads = 2};
    metallm_router *r = NULL;
    metallm_error err = {0};
    if (metallm_router_train(&r, o, &all, &opts, report, &err) != METALLM_OK)
        fail_msg("%s: %s", estimator, err.message);
    metallm_outcomes_free(o);
    return r;
}

static const char *const estimators[] = {"auto", "mean",   "linear", "logistic",
                                         "knn",  "kernel", "mlp",    "forest"};

static void every_estimator_learns_who_is_good_at_what(void **state)
{
    (void)state;
    static float fresh[100 * WIDTH];
    static metallm_estimate e[100 * 3];
    make_values(fresh, 100, 77);
    metallm_vectors x = all;
    x.values = fresh;
    x.rows = 100;
    for (size_t k = 0; k < sizeof estimators / sizeof estimators[0]; k++) {
        metallm_train_report report;
        metallm_router *r = train(estimators[k], &report);
        assert_int_equal(metallm_router_estimate(r, &x, e, NULL), METALLM_OK);
        int right = 0;
        for (size_t i = 0; i < 100; i++) {
            metallm_decision d;
            const metallm_constraints c = {.dial = 0};
            assert_int_equal(metallm_router_decide(r, &e[i * 3], &c, NULL, &d, NULL), METALLM_OK);
            right += d.model == (fresh[i * WIDTH] > 0 ? 0u : 1u);
            for (int m = 0; m < 3; m++) {
                assert_true(e[i * 3 + m].quality >= 0 && e[i * 3 + m].quality <= 1);
                assert_true(e[i * 3 + m].quality_sd >= 0);
            }
            assert_true(isnan(e[i * 3 + 2].cost_usd)); /* never priced */
            assert_near((double)e[i * 3].cost_usd, 0.002, 2e-4);
        }
        if (strcmp(estimators[k], "mean") != 0) {
            if (right < 80)
                fail_msg("%s is right on %d of 100", estimators[k], right);
            assert_true(report.quality > 0.8 && report.quality_best < 0.65);
            assert_true(report.brier < 0.2 && report.ece < 0.15);
        }
        assert_int_equal(report.queries, N);
        assert_int_equal(report.folds, 5);
        metallm_router_free(r);
    }
}

static void a_file_gives_back_the_router(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-router-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    static metallm_estimate before[N * 3], after[N * 3];
    for (size_t k = 0; k < sizeof estimators / sizeof estimators[0]; k++) {
        metallm_router *r = train(estimators[k], NULL), *again = NULL;
        metallm_error err = {0};
        assert_int_equal(metallm_router_save(r, path, &err), METALLM_OK);
        if (metallm_router_open(&again, path, &err) != METALLM_OK)
            fail_msg("%s: %s", estimators[k], err.message);
        assert_int_equal(metallm_router_estimate(r, &all, before, NULL), METALLM_OK);
        assert_int_equal(metallm_router_estimate(again, &all, after, NULL), METALLM_OK);
        for (size_t i = 0; i < N * 3; i++) {
            assert_near((double)before[i].quality, (double)after[i].quality, 2e-6);
            assert_near((double)before[i].quality_sd, (double)after[i].quality_sd, 1e-6);
            assert_int_equal(isnan(before[i].cost_usd), isnan(after[i].cost_usd));
        }
        assert_string_equal(metallm_router_estimator(r), metallm_router_estimator(again));
        assert_string_equal(metallm_router_model_name(again, 1), "right");
        assert_int_equal(metallm_router_find_model(again, "silent"), 2);
        assert_int_equal(metallm_router_find_model(again, "loud"), UINT32_MAX);
        assert_near(metallm_router_mean_cost(again, 0), 0.002, 1e-6);
        metallm_router_free(r);
        metallm_router_free(again);
    }
    (void)unlink(path);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    metallm_outcomes *o = make_outcomes(N);
    static metallm_estimate e[2][N * 3];
    for (uint32_t t = 0; t < 2; t++) {
        const metallm_train_options opts = {.seed = 4, .threads = 1 + 2 * t};
        metallm_router *r = NULL;
        assert_int_equal(metallm_router_train(&r, o, &all, &opts, NULL, NULL), METALLM_OK);
        assert_int_equal(metallm_router_estimate(r, &all, e[t], NULL), METALLM_OK);
        metallm_router_free(r);
    }
    assert_memory_equal(e[0], e[1], sizeof e[0]);
    metallm_outcomes_free(o);
}

/* Cut short or with a byte changed, a file is refused or read; never more than that. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-router-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    metallm_router *r = train("forest:trees=3", NULL);
    assert_int_equal(metallm_router_save(r, path, NULL), METALLM_OK);
    metallm_router_free(r);
    struct metallm__map map;
    assert_int_equal(metallm__map_open(&map, path, NULL), METALLM_OK);
    size_t len = map.len;
    static char bytes[1 << 20];
    assert_true(len < sizeof bytes);
    memcpy(bytes, map.bytes, len);
    metallm__map_close(&map);
    metallm_rng rng;
    metallm_rng_seed(&rng, 1);
    for (int i = 0; i < 300; i++) {
        size_t cut = i % 3 == 0 ? metallm__rng_below(&rng, (uint32_t)len) : len;
        size_t at = metallm__rng_below(&rng, (uint32_t)(i % 2 ? len : 3000));
        char kept = bytes[at];
        bytes[at] = (char)metallm__rng_next(&rng);
        FILE *f = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, cut, f), cut);
        assert_int_equal(fclose(f), 0);
        bytes[at] = kept;
        metallm_error err = {0};
        metallm_router *got = NULL;
        static metallm_estimate e[N * 3];
        int rc = metallm_router_open(&got, path, &err);
        if (rc == METALLM_OK) /* the change may have hit the layout or the encoder's name */
            rc = metallm_router_estimate(got, &all, e, NULL);
        else
            assert_true(rc == METALLM_EFORMAT && strstr(err.message, path) != NULL);
        metallm_router_free(got);
    }
    (void)unlink(path);
}

static void wrong_vectors_and_empty_outcomes_are_refused(void **state)
{
    (void)state;
    metallm_error err = {0};
    metallm_router *r = train("linear", NULL), *none = NULL;
    static metallm_estimate e[N * 3];
    metallm_vectors x = all;
    x.encoder = "other";
    assert_int_equal(metallm_router_estimate(r, &x, e, &err), METALLM_EMISMATCH);
    x = all;
    x.layout.text--;
    assert_int_equal(metallm_router_estimate(r, &x, e, &err), METALLM_EMISMATCH);
    metallm_router_free(r);
    metallm_outcomes *o = make_outcomes(0);
    const metallm_train_options opts = {0};
    assert_int_equal(metallm_router_train(&none, o, &all, &opts, NULL, &err), METALLM_EINVAL);
    metallm_outcomes_free(o);
    o = make_outcomes(10);
    assert_int_equal(metallm_router_train(&none, o, &all, &opts, NULL, &err), METALLM_EMISMATCH);
    x = all;
    x.rows = 10;
    const metallm_train_options unknown = {.estimator = "oracle"};
    assert_int_equal(metallm_router_train(&none, o, &x, &unknown, NULL, &err), METALLM_ENOTFOUND);
    assert_null(none);
    for (uint32_t rows = 1; rows <= 10; rows += 3) { /* few rows are learned from all the same */
        metallm_outcomes *few = make_outcomes(rows);
        x.rows = rows;
        if (metallm_router_train(&none, few, &x, &opts, NULL, &err) != METALLM_OK)
            fail_msg("%u rows: %s", rows, err.message);
        assert_int_equal(metallm_router_estimate(none, &x, e, &err), METALLM_OK);
        metallm_router_free(none);
        none = NULL;
        metallm_outcomes_free(few);
    }
    metallm_outcomes_free(o);
}

static int train_and_save(void *payload)
{
    metallm_outcomes *o = make_outcomes(60);
    if (o == NULL)
        return METALLM_ENOMEM;
    metallm_vectors x = all;
    x.rows = 60;
    metallm_router *r = NULL, *again = NULL;
    const metallm_train_options opts = {.estimator = "linear:lambda=1", .folds = 2};
    int rc = metallm_router_train(&r, o, &x, &opts, NULL, NULL);
    if (rc == METALLM_OK)
        rc = metallm_router_save(r, payload, NULL);
    if (rc == METALLM_OK)
        rc = metallm_router_open(&again, payload, NULL);
    static metallm_estimate e[60 * 3];
    if (rc == METALLM_OK)
        rc = metallm_router_estimate(again, &x, e, NULL);
    metallm_router_free(r);
    metallm_router_free(again);
    metallm_outcomes_free(o);
    return rc;
}

static void no_memory_is_told_at_every_allocation(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-router-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_true(fail_alloc_sweep(train_and_save, path) > 100);
    (void)unlink(path);
}

static int stop_at_once(void *payload, const char *what, uint64_t step, uint64_t total)
{
    (void)payload;
    (void)what;
    (void)step;
    (void)total;
    return 1;
}

static void a_stopped_training_says_so(void **state)
{
    (void)state;
    metallm_outcomes *o = make_outcomes(N);
    const metallm_train_options opts = {.estimator = "linear", .progress = {stop_at_once, NULL}};
    metallm_router *r = NULL;
    assert_int_equal(metallm_router_train(&r, o, &all, &opts, NULL, NULL), METALLM_ECANCELED);
    assert_null(r);
    metallm_outcomes_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_estimator_learns_who_is_good_at_what),
        cmocka_unit_test(a_file_gives_back_the_router),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(wrong_vectors_and_empty_outcomes_are_refused),
        cmocka_unit_test(no_memory_is_told_at_every_allocation),
        cmocka_unit_test(a_stopped_training_says_so),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
