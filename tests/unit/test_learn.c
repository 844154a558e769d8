/* SPDX-License-Identifier: Apache-2.0
 * test_learn.c - a whole router that learns in use: its estimates move to what is seen, of the
 * model that was asked alone, and what was learned survives a file. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "metallm/router.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

enum { N = 200, HEAD = 6, TEXT = 2, WIDTH = 2 * HEAD + TEXT, MODELS = 2 };

static float values[N * WIDTH];
static const metallm_vectors all = {
    .values = values, .rows = N, .layout = {HEAD, HEAD, TEXT}, .encoder = "custom"};

static metallm_vectors one(size_t i)
{
    metallm_vectors x = all;
    x.values = values + i * WIDTH;
    x.rows = 1;
    return x;
}

/* Model 1 was never asked what it costs. */
static metallm_router *trained(void)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, 4);
    metallm_outcomes *o = NULL;
    uint32_t model;
    size_t query;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "first", &model, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "second", &model, NULL), METALLM_OK);
    for (size_t i = 0; i < N; i++) {
        char prompt[32];
        for (int j = 0; j < WIDTH; j++)
            values[i * WIDTH + j] = (float)metallm__rng_normal(&rng) / 3;
        (void)snprintf(prompt, sizeof prompt, "prompt %zu", i);
        const metallm_query q = {.prompt = prompt};
        assert_int_equal(metallm_outcomes_add_query(o, &q, &query, NULL), METALLM_OK);
        for (uint32_t m = 0; m < MODELS; m++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = 0.6f + 0.2f * (float)metallm__rng_uniform(&rng);
            cell.cost_usd = m == 0 ? 0.01f : NAN;
            assert_int_equal(metallm_outcomes_set(o, query, m, &cell, NULL), METALLM_OK);
        }
    }
    metallm_router *r = NULL;
    const metallm_train_options opts = {.estimator = "linear", .seed = 1};
    assert_int_equal(metallm_router_train(&r, o, &all, &opts, NULL, NULL), METALLM_OK);
    metallm_outcomes_free(o);
    return r;
}

static void feed(metallm_router *r, uint32_t model, float score, float cost)
{
    metallm_outcome seen = metallm_outcome_unknown();
    seen.score = score;
    seen.cost_usd = cost;
    for (size_t i = 0; i < 150; i++) {
        const metallm_vectors x = one(i);
        assert_int_equal(metallm_router_observe(r, &x, model, &seen, NULL), METALLM_OK);
    }
}

static void feedback_moves_the_model_that_was_asked_alone(void **state)
{
    (void)state;
    metallm_router *r = trained();
    metallm_estimate before[MODELS], now[MODELS];
    const metallm_vectors x = one(170);
    assert_int_equal(metallm_router_estimate(r, &x, before, NULL), METALLM_OK);
    assert_near((double)before[0].quality, 0.7, 0.1);
    feed(r, 0, 0.2f, 0.03f);
    assert_int_equal(metallm_router_estimate(r, &x, now, NULL), METALLM_OK);
    assert_near((double)now[0].quality, 0.2, 0.1);
    assert_near((double)now[0].cost_usd, 0.03, 0.005);
    assert_true(now[1].quality == before[1].quality);
    feed(r, 1, 0.7f, 0.002f); /* its cost is known at last */
    assert_int_equal(metallm_router_estimate(r, &x, now, NULL), METALLM_OK);
    assert_near((double)now[1].cost_usd, 0.002, 2e-4);
    metallm_router_free(r);
}

static void absurd_feedback_is_refused_and_teaches_nothing(void **state)
{
    (void)state;
    metallm_router *r = trained();
    metallm_estimate before[MODELS], now[MODELS];
    const metallm_vectors x = one(3);
    assert_int_equal(metallm_router_estimate(r, &x, before, NULL), METALLM_OK);
    static const float bad[] = {-0.1f, 1.5f, INFINITY};
    for (int k = 0; k < 3; k++) {
        metallm_outcome seen = metallm_outcome_unknown();
        seen.score = bad[k];
        assert_int_equal(metallm_router_observe(r, &x, 0, &seen, NULL), METALLM_EINVAL);
        seen.score = 0.5f;
        seen.cost_usd = bad[k] > 1 && bad[k] < 2 ? -1 : bad[k];
        assert_int_equal(metallm_router_observe(r, &x, 0, &seen, NULL), METALLM_EINVAL);
    }
    const metallm_outcome fine = {.score = 0.5f, .cost_usd = NAN, .latency_ms = NAN};
    assert_int_equal(metallm_router_observe(r, &x, MODELS, &fine, NULL), METALLM_EINVAL);
    assert_int_equal(metallm_router_observe(r, &all, 0, &fine, NULL), METALLM_EINVAL);
    assert_int_equal(metallm_router_estimate(r, &x, now, NULL), METALLM_OK);
    assert_memory_equal(before, now, 2 * sizeof(float)); /* quality and its error */
    metallm_router_free(r);
}

struct file_case {
    metallm_router *r;
    char path[64];
};

static int save_it(void *payload)
{
    struct file_case *c = payload;
    return metallm_router_save(c->r, c->path, NULL);
}

static int open_and_observe(void *payload)
{
    struct file_case *c = payload;
    metallm_router *r = NULL;
    const metallm_vectors x = one(7);
    const metallm_outcome seen = {.score = 0.4f, .cost_usd = NAN, .latency_ms = NAN};
    int rc = metallm_router_open(&r, c->path, NULL);
    if (rc == METALLM_OK)
        rc = metallm_router_observe(r, &x, 0, &seen, NULL);
    metallm_router_free(r);
    return rc;
}

static void what_was_learned_survives_a_file_and_failing_memory(void **state)
{
    (void)state;
    struct file_case c = {.r = trained()};
    snprintf(c.path, sizeof c.path, "test_learn_%ld.safetensors", (long)getpid());
    feed(c.r, 0, 0.2f, 0.03f);
    assert_true(fail_alloc_sweep(save_it, &c) > 5);
    assert_true(fail_alloc_sweep(open_and_observe, &c) > 5);
    metallm_router *back = NULL;
    assert_int_equal(metallm_router_open(&back, c.path, NULL), METALLM_OK);
    for (size_t i = 0; i < N; i += 20) {
        metallm_estimate a[MODELS], b[MODELS];
        const metallm_vectors x = one(i);
        assert_int_equal(metallm_router_estimate(c.r, &x, a, NULL), METALLM_OK);
        assert_int_equal(metallm_router_estimate(back, &x, b, NULL), METALLM_OK);
        assert_near((double)a[0].quality, (double)b[0].quality, 1e-5);
        assert_near((double)a[0].cost_usd, (double)b[0].cost_usd, 1e-6);
    }
    metallm_router_free(back);
    metallm_router_free(c.r);
    unlink(c.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feedback_moves_the_model_that_was_asked_alone),
        cmocka_unit_test(absurd_feedback_is_refused_and_teaches_nothing),
        cmocka_unit_test(what_was_learned_survives_a_file_and_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
