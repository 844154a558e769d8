/* SPDX-License-Identifier: Apache-2.0
 * test_evaluate.c - a router on outcomes: what is printed must follow from the table and from the
 * router's own decisions. */
#include "eval/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define N      300u
#define MODELS 3u

static const char *const names[MODELS] = {"small", "middle", "large"};
static const double prices[MODELS] = {1e-4, 1e-3, 1e-2};
static float heads[N * 4];

struct made {
    metallm_outcomes *outcomes;
    metallm_router *router;
};

/* "large" is right with .8; "small" with .95 where x0 > 0 and else .3; "middle" the other way. */
static metallm_outcomes *make_outcomes(size_t n, bool has_cost, uint32_t first, uint32_t last,
                                       const char *extra)
{
    metallm_outcomes *o;
    metallm_rng rng;
    uint32_t model;
    size_t query;
    char prompt[32];
    metallm_rng_seed(&rng, 11);
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    for (uint32_t m = first; m < last; m++)
        assert_int_equal(metallm_outcomes_add_model(o, names[m], &model, NULL), METALLM_OK);
    if (extra != NULL)
        assert_int_equal(metallm_outcomes_add_model(o, extra, &model, NULL), METALLM_OK);
    for (size_t i = 0; i < n; i++) {
        snprintf(prompt, sizeof prompt, "prompt %zu", i);
        metallm_query q = {"", "task", "", prompt, ""};
        assert_int_equal(metallm_outcomes_add_query(o, &q, &query, NULL), METALLM_OK);
        for (int d = 0; d < 4; d++)
            heads[4 * i + d] = (float)metallm__rng_normal(&rng);
        bool is_right_side = heads[4 * i] > 0;
        const double chance[MODELS] = {is_right_side ? .95 : .3, is_right_side ? .3 : .95, .8};
        for (uint32_t m = 0; m < MODELS; m++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = metallm__rng_uniform(&rng) < chance[m];
            if (has_cost)
                cell.cost_usd = (float)prices[m];
            if (m >= first && m < last)
                assert_int_equal(metallm_outcomes_set(o, query, m - first, &cell, NULL),
                                 METALLM_OK);
        }
    }
    return o;
}

static metallm_vectors vectors(size_t n)
{
    return (metallm_vectors){heads, n, {4, 0, 0}, "custom"};
}

static int set_up(void **state)
{
    struct made *made = calloc(1, sizeof *made);
    made->outcomes = make_outcomes(N, true, 0, MODELS, NULL);
    metallm_vectors x = vectors(N);
    metallm_train_options how = {.estimator = "logistic", .seed = 1};
    metallm_error err = {0};
    if (metallm_router_train(&made->router, made->outcomes, &x, &how, NULL, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    *state = made;
    return 0;
}

static int tear_down(void **state)
{
    struct made *made = *state;
    metallm_router_free(made->router);
    metallm_outcomes_free(made->outcomes);
    free(made);
    return 0;
}

static struct metallm__evaluation *evaluate(const metallm_router *r, const metallm_outcomes *o,
                                            uint32_t resamples)
{
    metallm_vectors x = vectors(metallm_outcomes_query_count(o));
    struct metallm__evaluate_options how = {.seed = 1, .resamples = resamples};
    struct metallm__evaluation *e = NULL;
    metallm_error err = {0};
    if (metallm__evaluate(r, o, &x, &how, &e, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return e;
}

static void figures_follow_from_the_table(void **state)
{
    const struct made *made = *state;
    struct metallm__evaluation *e = evaluate(made->router, made->outcomes, 200);
    assert_int_equal(e->n, N);
    assert_int_equal(e->models, MODELS);
    assert_string_equal(e->names[e->best], "large");
    assert_int_equal(e->bma, e->best);
    for (uint32_t m = 0; m < MODELS; m++)
        assert_true(fabs(e->policies[m].mean.cost - prices[m]) < 1e-9);
    double mean =
        (e->policies[0].mean.quality + e->policies[1].mean.quality + e->policies[2].mean.quality) /
        3;
    assert_true(fabs(e->policies[e->random].mean.quality - mean) < 1e-6);
    assert_true(e->policies[e->oracle].mean.quality >= e->figures[METALLM__FIG_QUALITY_MAX]);
    assert_true(e->curve_count > 10);
    for (size_t d = 0; d < e->curve_count; d++) {
        float share = 0;
        for (uint32_t m = 0; m < MODELS; m++)
            share += e->curve[d].share[m];
        assert_true(fabsf(share - 1) < 1e-5f);
        const struct metallm__policy_result *p = &e->policies[e->curve[d].policy];
        assert_true(p->quality_ci.low <= p->mean.quality && p->mean.quality <= p->quality_ci.high);
        if (d > 0)
            assert_true(p->mean.cost >= e->policies[e->curve[d - 1].policy].mean.cost);
    }
    /* Two cheap models that share the work do what the dear one does at a tenth of its cost. */
    assert_true(e->figures[METALLM__FIG_AIQ] > e->figures[METALLM__FIG_ZERO_AIQ] + .1);
    assert_true(e->figures[METALLM__FIG_MATCH] < .5);
    assert_true(e->curve[0].share[0] == 1.0f); /* the cheapest end: all to "small" */
    metallm__evaluation_free(e);
}

static void the_curve_is_what_the_router_decides(void **state)
{
    const struct made *made = *state;
    struct metallm__evaluation *e = evaluate(made->router, made->outcomes, 0);
    metallm_estimate estimates[N * MODELS];
    metallm_vectors x = vectors(N);
    assert_int_equal(metallm_router_estimate(made->router, &x, estimates, NULL), METALLM_OK);
    size_t middle = e->curve_count / 2, counts[MODELS] = {0};
    metallm_constraints c = {.dial = e->curve[middle].dial};
    metallm_rng rng;
    metallm_rng_seed(&rng, 1);
    for (size_t i = 0; i < N; i++) {
        metallm_decision d;
        assert_int_equal(
            metallm_router_decide(made->router, estimates + i * MODELS, &c, &rng, &d, NULL),
            METALLM_OK);
        counts[d.model]++;
    }
    for (uint32_t m = 0; m < MODELS; m++)
        assert_true(e->curve[middle].share[m] == (float)counts[m] / N);
    metallm__evaluation_free(e);
}

static void only_models_that_both_sides_know_take_part(void **state)
{
    const struct made *made = *state;
    metallm_outcomes *o = make_outcomes(50, true, 1, 3, "stranger");
    struct metallm__evaluation *e = evaluate(made->router, o, 0);
    assert_int_equal(e->models, 2);
    assert_string_equal(e->names[0], "middle");
    assert_int_equal(e->not_in_files, 1);
    assert_int_equal(e->not_in_router, 1);
    assert_true(e->curve[0].share[0] == 1.0f); /* "small" is no candidate */
    metallm__evaluation_free(e);
    metallm_outcomes_free(o);

    metallm_vectors x = vectors(5);
    struct metallm__evaluate_options how = {.seed = 1};
    metallm_error err = {0};
    o = make_outcomes(5, true, 0, 0, "stranger");
    assert_int_equal(metallm__evaluate(made->router, o, &x, &how, &e, &err), METALLM_EMISMATCH);
    assert_non_null(strstr(err.message, "small"));
    metallm_outcomes_free(o);
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    x.rows = 0;
    assert_int_equal(metallm__evaluate(made->router, o, &x, &how, &e, &err), METALLM_EMISMATCH);
    metallm_outcomes_free(o);
}

static yyjson_doc *as_json(const struct metallm__evaluation *e)
{
    struct metallm__buf text;
    yyjson_doc *doc;
    metallm__buf_init(&text, 1u << 24);
    assert_int_equal(metallm__evaluation_json(e, &text, NULL), METALLM_OK);
    assert_int_equal(metallm__json_read(&doc, text.data, text.len, NULL), METALLM_OK);
    metallm__buf_fini(&text);
    return doc;
}

static void without_costs_there_is_quality_alone(void **state)
{
    const struct made *made = *state;
    metallm_outcomes *o = make_outcomes(80, false, 0, MODELS, NULL);
    struct metallm__evaluation *e = evaluate(made->router, o, 50);
    assert_int_equal(e->curve_count, 1);
    assert_true(e->curve[0].dial == 0);
    yyjson_doc *doc = as_json(e);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_true(yyjson_is_null(yyjson_obj_get(root, "aiq")));
    assert_true(yyjson_is_null(yyjson_obj_get(root, "match_best_cost")));
    yyjson_val *point = yyjson_arr_get_first(yyjson_obj_get(root, "curve"));
    assert_true(yyjson_is_null(yyjson_obj_get(point, "cost")));
    assert_true(yyjson_is_num(yyjson_obj_get(point, "quality")));
    assert_true(yyjson_is_num(yyjson_obj_get(root, "quality_max")));
    yyjson_doc_free(doc);
    metallm__evaluation_free(e);
    metallm_outcomes_free(o);
}

static void json_carries_the_contract(void **state)
{
    const struct made *made = *state;
    struct metallm__evaluation *e = evaluate(made->router, made->outcomes, 20);
    yyjson_doc *doc = as_json(e);
    yyjson_val *root = yyjson_doc_get_root(doc);
    static const char *const numbers[] = {"n",   "aiq",      "quality_max", "match_best_cost",
                                          "ece", "zero_aiq", "brier",       "ece_noise"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(yyjson_is_num(yyjson_obj_get(root, numbers[i])));
    static const char *const points[] = {"oracle", "random", "bma"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        assert_true(yyjson_is_num(yyjson_obj_get(yyjson_obj_get(root, points[i]), "quality")));
        assert_true(yyjson_is_num(yyjson_obj_get(yyjson_obj_get(root, points[i]), "cost")));
    }
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "models")), MODELS);
    yyjson_val *last = yyjson_arr_get_last(yyjson_obj_get(root, "curve"));
    assert_true(yyjson_is_num(yyjson_obj_get(last, "dial")));
    assert_true(yyjson_is_num(yyjson_obj_get(yyjson_obj_get(last, "share"), "large")));
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(last, "quality_ci")), 2);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "targets")), METALLM__EVAL_TARGETS);
    yyjson_doc_free(doc);
    metallm__evaluation_free(e);
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    const struct made *made = *state;
    struct metallm__buf a, b;
    struct metallm__buf *const texts[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        struct metallm__evaluation *e = evaluate(made->router, made->outcomes, 30);
        metallm__buf_init(texts[i], 1u << 24);
        assert_int_equal(metallm__evaluation_json(e, texts[i], NULL), METALLM_OK);
        metallm__evaluation_free(e);
    }
    assert_string_equal(a.data, b.data);
    metallm__buf_fini(&a);
    metallm__buf_fini(&b);
}

static int evaluate_once(void *payload)
{
    const struct made *made = payload;
    metallm_vectors x = vectors(N);
    struct metallm__evaluate_options how = {.seed = 1, .resamples = 2};
    struct metallm__evaluation *e = NULL;
    struct metallm__buf text;
    metallm__buf_init(&text, 1u << 24);
    int rc = metallm__evaluate(made->router, made->outcomes, &x, &how, &e, NULL);
    if (rc == METALLM_OK)
        rc = metallm__evaluation_json(e, &text, NULL);
    metallm__buf_fini(&text);
    metallm__evaluation_free(e);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    assert_true(fail_alloc_sweep(evaluate_once, *state) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_follow_from_the_table),
        cmocka_unit_test(the_curve_is_what_the_router_decides),
        cmocka_unit_test(only_models_that_both_sides_know_take_part),
        cmocka_unit_test(without_costs_there_is_quality_alone),
        cmocka_unit_test(json_carries_the_contract),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
