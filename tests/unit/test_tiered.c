/* SPDX-License-Identifier: Apache-2.0
 * test_tiered.c - a router with a coarse one inside: trained, kept in one file, and asked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "metallm/router.h"
#include "router/router_state.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

enum { N = 240, COARSE = 3, FINE = 4 };

static char path[] = "/tmp/metallm-tiered-XXXXXX";
static metallm_outcomes *outcomes;
static float coarse_x[N * COARSE], fine_x[N * FINE];

/* Two kinds of queries. In the first, x decides which model is right, and both encoders see it; in
 * the second, y does, and the coarse one does not see it. */
static int make_data(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    uint32_t model;
    int fd = mkstemp(path), rc = metallm_outcomes_new(&outcomes, NULL);
    for (int m = 0; m < 2 && rc == METALLM_OK; m++)
        rc = metallm_outcomes_add_model(outcomes, m == 0 ? "big" : "small", &model, NULL);
    for (size_t i = 0; i < N && rc == METALLM_OK; i++) {
        bool is_plain = metallm__rng_uniform(&rng) < 0.7;
        float x = metallm__rng_uniform(&rng) < 0.5 ? -1 : 1;
        float y = metallm__rng_uniform(&rng) < 0.5 ? -1 : 1;
        const float seen[FINE] = {is_plain ? x : 0, is_plain ? 1 : -1, 0.1f, is_plain ? 0 : y};
        memcpy(coarse_x + i * COARSE, seen, COARSE * sizeof(float));
        memcpy(fine_x + i * FINE, seen, sizeof seen);
        char prompt[32];
        snprintf(prompt, sizeof prompt, "query %zu", i);
        size_t row;
        rc = metallm_outcomes_add_query(outcomes, &(metallm_query){.prompt = prompt}, &row, NULL);
        for (uint32_t m = 0; m < 2 && rc == METALLM_OK; m++) {
            metallm_outcome o = metallm_outcome_unknown();
            o.score = (is_plain ? x : y) * (m == 0 ? 1 : -1) > 0;
            o.cost_usd = m == 0 ? 0.02f : 0.001f;
            rc = metallm_outcomes_set(outcomes, row, m, &o, NULL);
        }
    }
    return fd < 0 || close(fd) != 0 || rc != METALLM_OK ? -1 : 0;
}

static int free_data(void **state)
{
    (void)state;
    metallm_outcomes_free(outcomes);
    return unlink(path);
}

static const metallm_vectors coarse = {coarse_x, N, {COARSE, 0, 0}, "cheap"};
static const metallm_vectors fine = {fine_x, N, {FINE, 0, 0}, "dear"};

static int train(metallm_router **out, double loss_max, metallm_tier_report *tiers)
{
    const metallm_train_options opts = {.estimator = "knn:k=9", .seed = 1};
    return metallm_router_train_tiered(out, outcomes, &coarse, &fine, &opts, loss_max, NULL, tiers,
                                       NULL);
}

/* What the coarse encoder sees is decided by it, what it does not see is passed on. */
static void unclear_queries_alone_are_passed_on(void **state)
{
    (void)state;
    metallm_router *r = NULL;
    metallm_tier_report tiers;
    assert_int_equal(train(&r, NAN, &tiers), METALLM_OK);
    assert_true(tiers.margin > 0);
    assert_true(tiers.lost <= 0.001);
    assert_true(tiers.share < 0.45);
    const metallm_router *inner = metallm_router_coarse(r);
    assert_non_null(inner);
    assert_string_equal(metallm_router_encoder(inner), "cheap");
    assert_string_equal(metallm_router_encoder(r), "dear");
    metallm_estimate e[N * 2];
    assert_int_equal(metallm_router_estimate(inner, &coarse, e, NULL), METALLM_OK);
    metallm_constraints c = {0};
    for (size_t i = 0; i < N; i++)
        assert_int_equal(metallm_router_is_safe(r, e + i * 2, &c), coarse_x[i * COARSE + 1] > 0);
    assert_false(metallm_router_is_safe(inner, e, &c));
    metallm_router_free(r);
}

static void a_file_keeps_both_routers_and_the_margin(void **state)
{
    (void)state;
    metallm_router *r = NULL, *again = NULL;
    assert_int_equal(train(&r, NAN, NULL), METALLM_OK);
    assert_int_equal(metallm_router_save(r, path, NULL), METALLM_OK);
    assert_int_equal(metallm_router_open(&again, path, NULL), METALLM_OK);
    metallm_estimate a[N * 2], b[N * 2];
    for (int tier = 0; tier < 2; tier++) {
        const metallm_router *x = tier == 0 ? metallm_router_coarse(r) : r;
        const metallm_router *y = tier == 0 ? metallm_router_coarse(again) : again;
        const metallm_vectors *v = tier == 0 ? &coarse : &fine;
        assert_int_equal(metallm_router_estimate(x, v, a, NULL), METALLM_OK);
        assert_int_equal(metallm_router_estimate(y, v, b, NULL), METALLM_OK);
        for (size_t i = 0; i < N * 2; i++)
            assert_true(fabsf(a[i].quality - b[i].quality) < 1e-6f);
    }
    assert_true(fabs(r->margin - again->margin) <= 1e-6 * r->margin);
    metallm_router_free(again);
    metallm_router_free(r);
}

static void with_a_bound_to_spare_nothing_is_passed_on(void **state)
{
    (void)state;
    metallm_router *r = NULL;
    metallm_tier_report tiers;
    assert_int_equal(train(&r, 10, &tiers), METALLM_OK);
    assert_true(tiers.share == 0 && tiers.margin == 0);
    metallm_router_free(r);
    assert_int_equal(train(&r, -1, &tiers), METALLM_EINVAL);
}

static void a_plain_router_has_no_coarse_one(void **state)
{
    (void)state;
    metallm_router *r = NULL;
    const metallm_train_options opts = {.estimator = "mean"};
    assert_int_equal(metallm_router_train(&r, outcomes, &fine, &opts, NULL, NULL), METALLM_OK);
    assert_null(metallm_router_coarse(r));
    metallm_router_free(r);
}

static int open_once(void *payload)
{
    (void)payload;
    metallm_router *r = NULL;
    int rc = metallm_router_open(&r, path, NULL);
    if (rc == METALLM_OK)
        metallm_router_free(r);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    metallm_router *r = NULL;
    assert_int_equal(train(&r, NAN, NULL), METALLM_OK);
    assert_int_equal(metallm_router_save(r, path, NULL), METALLM_OK);
    metallm_router_free(r);
    assert_true(fail_alloc_sweep(open_once, NULL) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unclear_queries_alone_are_passed_on),
        cmocka_unit_test(a_file_keeps_both_routers_and_the_margin),
        cmocka_unit_test(with_a_bound_to_spare_nothing_is_passed_on),
        cmocka_unit_test(a_plain_router_has_no_coarse_one),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_data, free_data);
}
