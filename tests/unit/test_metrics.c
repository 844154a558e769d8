/* SPDX-License-Identifier: Apache-2.0
 * test_metrics.c - hand-computed cases, and a small table whose figures an independent script
 * found by brute force (tests/data/metrics/make.py). */
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "eval/bootstrap.h"
#include "eval/metrics.h"
#include "math/calibration.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define N      60u
#define MODELS 4u

static void close_to(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("got %.12g, want %.12g within %g", got, want, within);
}

/* --- by hand --- */

static void means_leave_out_missing_cells_and_missing_choices(void **state)
{
    (void)state;
    const float score[] = {1, 0, NAN, 1, 0, NAN, 1, 1}; /* 4 x 2 */
    const float cost[] = {1, 9, 2, NAN, 3, 7, 6, 5};
    struct metallm__truth t = {score, cost, 4, 2};
    struct metallm__point p = metallm__eval_single(&t, 0);
    close_to(p.quality, 2.0 / 3, 1e-12);
    close_to(p.cost, 3, 1e-12);
    const uint16_t choice[] = {1, METALLM__NO_MODEL, 0, 1};
    p = metallm__eval_mean(&t, choice);
    close_to(p.quality, 1.0 / 3, 1e-12);
    close_to(p.cost, (9 + 3 + 5) / 3.0, 1e-12);
    const uint16_t none[] = {METALLM__NO_MODEL, METALLM__NO_MODEL, METALLM__NO_MODEL,
                             METALLM__NO_MODEL};
    p = metallm__eval_mean(&t, none);
    assert_true(isnan(p.quality) && isnan(p.cost));
}

static void oracle_takes_the_cheaper_of_equals_and_skips_unknowns(void **state)
{
    (void)state;
    const float score[] = {1, 1, 0, NAN, .5f, .5f, NAN, NAN, NAN, 0, 0, 0};
    const float cost[] = {3, 2, 1, 1, NAN, 8, 1, 1, 1, 2, 2, 2};
    struct metallm__truth t = {score, cost, 4, 3};
    uint16_t choice[4];
    metallm__eval_oracle(&t, choice);
    assert_int_equal(choice[0], 1);
    assert_int_equal(choice[1], 2); /* a known cost goes before an unknown one */
    assert_int_equal(choice[2], METALLM__NO_MODEL);
    assert_int_equal(choice[3], 0);
}

static void hull_drops_what_a_mixture_beats(void **state)
{
    (void)state;
    /* (2, .5) lies below the line (1, .4)-(3, .8); (4, .7) is dearer and worse. */
    struct metallm__point p[] = {{.7, 4}, {.5, 2}, {.8, 3}, {.4, 1}, {NAN, 1}, {.3, 1}, {.9, 5}};
    size_t count = metallm__eval_hull(p, 7);
    assert_int_equal(count, 3);
    close_to(p[0].cost, 1, 0);
    close_to(p[1].cost, 3, 0);
    close_to(p[2].cost, 5, 0);
    close_to(metallm__eval_hull_at(p, count, 2), .6, 1e-12);
    close_to(metallm__eval_hull_at(p, count, .5), .4, 1e-12);
    close_to(metallm__eval_hull_at(p, count, 9), .9, 1e-12);
    /* [1,3]: .6 x 2, [3,5]: .85 x 2, [5,7]: .9 x 2; over 6 */
    close_to(metallm__eval_hull_area(p, count, 1, 7), (1.2 + 1.7 + 1.8) / 6, 1e-12);
    close_to(metallm__eval_hull_area(p, count, 3.5, 4), .8 + .1 * .375, 1e-12);
    assert_true(isnan(metallm__eval_hull_area(p, count, 2, 2)));
    assert_true(isnan(metallm__eval_hull_area(p, 0, 1, 2)));
    assert_int_equal(metallm__eval_hull(p, 0), 0);
}

static void cost_to_reach_lies_on_the_hull(void **state)
{
    (void)state;
    const struct metallm__point p[] = {{.4, 1}, {.8, 3}, {.9, 5}};
    close_to(metallm__eval_hull_reach(p, 3, .3), 1, 0);
    close_to(metallm__eval_hull_reach(p, 3, .6), 2, 1e-12);
    close_to(metallm__eval_hull_reach(p, 3, .9), 5, 1e-12);
    assert_true(isinf(metallm__eval_hull_reach(p, 3, .95)));
    assert_true(isinf(metallm__eval_hull_reach(p, 0, .1)));
}

static metallm_estimate guess(float quality, float cost)
{
    return (metallm_estimate){.quality = quality, .cost_usd = cost, .latency_ms = NAN};
}

static void dials_stand_where_choices_switch(void **state)
{
    (void)state;
    /* scale 2: slopes .5 and 1. Query 0 switches at (.9-.6)/.5 = .6; query 1 never; query 2's
     * unknown cost counts as 1, so it switches at (.7-.5)/.5 = .4; the third model is not allowed.
     */
    const metallm_estimate e[] = {guess(.6f, 1), guess(.9f, 2),   guess(1, 0),
                                  guess(.8f, 1), guess(.7f, 2),   guess(1, 0),
                                  guess(.5f, 1), guess(.7f, NAN), guess(1, 0)};
    const uint8_t allowed[] = {1, 1, 0};
    struct metallm__dial_request r = {e, allowed, 3, 10, 3, 2};
    float dials[10];
    size_t count;
    assert_int_equal(metallm__eval_dials(&r, dials, &count, NULL), METALLM_OK);
    assert_int_equal(count, 4);
    close_to(dials[0], 0, 0);
    close_to(dials[1], .4, 1e-6);
    close_to(dials[2], .6, 1e-6);
    assert_true(dials[3] > dials[2] && dials[3] < .61f);
}

static void calibration_of_equal_predictions_is_one_bin(void **state)
{
    (void)state;
    const float p[] = {.5f, .5f, .5f, .5f, NAN, .5f}, s[] = {1, 0, 1, 1, 1, NAN};
    struct metallm__calibration c;
    assert_int_equal(metallm__calibrate(p, s, 6, &c, NULL), METALLM_OK);
    assert_int_equal(c.count, 4);
    assert_int_equal(c.bin_count, 1);
    close_to(c.brier, .25, 1e-12);
    close_to(c.ece, .25, 1e-12);
    close_to(c.noise, sqrt(2 / 3.14159265358979 * (.25 - .0625) / 4), 1e-9);
    assert_int_equal(metallm__calibrate(p, s, 0, &c, NULL), METALLM_OK);
    assert_true(isnan(c.brier) && isnan(c.ece) && c.bin_count == 0);
}

static void quantiles_lie_between_neighbours(void **state)
{
    (void)state;
    const double v[] = {1, 2, 4, INFINITY};
    close_to(metallm__eval_quantile(v, 4, 0), 1, 0);
    close_to(metallm__eval_quantile(v, 4, .5), 3, 1e-12);
    assert_true(isinf(metallm__eval_quantile(v, 4, .9)));
    assert_true(isnan(metallm__eval_quantile(v, 0, .5)));
}

/* --- the bootstrap --- */

static void fill(struct metallm__gains *g)
{
    for (size_t i = 0; i < g->n; i++) {
        g->score[2 * i] = (float)(i % 4 == 0); /* mean .25 */
        g->cost[2 * i] = 2;
        g->score[2 * i + 1] = i % 2 == 0 ? NAN : .5f;
    }
}

static void intervals_have_the_width_that_theory_gives(void **state)
{
    (void)state;
    struct metallm__gains g;
    assert_int_equal(metallm__gains_init(&g, 400, 2, NULL), METALLM_OK);
    fill(&g);
    static struct metallm__point mean[2], draws[2 * 2000], again[2 * 2000];
    assert_int_equal(metallm__gains_means(&g, mean, NULL), METALLM_OK);
    close_to(mean[0].quality, .25, 1e-12);
    close_to(mean[1].quality, .5, 1e-12);
    assert_true(isnan(mean[1].cost));
    assert_int_equal(metallm__bootstrap(&g, 5, 2000, NULL, draws, NULL), METALLM_OK);
    assert_int_equal(metallm__bootstrap(&g, 5, 2000, NULL, again, NULL), METALLM_OK);
    static double v[2000];
    for (size_t b = 0; b < 2000; b++) {
        assert_true(draws[2 * b].quality == again[2 * b].quality);
        assert_true(isnan(draws[2 * b + 1].cost));
        v[b] = draws[2 * b].quality;
    }
    struct metallm__interval ci = metallm__interval_95(v, 2000);
    double half = 1.96 * sqrt(.25 * .75 / 400); /* normal approximation */
    close_to(ci.low, .25 - half, .006);
    close_to(ci.high, .25 + half, .006);
    metallm__gains_fini(&g);
}

static int stop(void *payload, const char *what, uint64_t done, uint64_t total)
{
    (void)payload, (void)what, (void)total;
    return done == 3;
}

static void a_resampling_can_be_stopped(void **state)
{
    (void)state;
    struct metallm__gains g;
    struct metallm__point draws[2 * 10];
    metallm_progress progress = {stop, NULL};
    assert_int_equal(metallm__gains_init(&g, 8, 2, NULL), METALLM_OK);
    fill(&g);
    assert_int_equal(metallm__bootstrap(&g, 5, 10, &progress, draws, NULL), METALLM_ECANCELED);
    metallm__gains_fini(&g);
}

/* --- against the independent script --- */

struct reference {
    yyjson_doc *doc;
    float score[N * MODELS], cost[N * MODELS];
    metallm_estimate estimates[N * MODELS];
    double scale;
};

static double number(yyjson_val *object, const char *key)
{
    yyjson_val *v = yyjson_obj_get(object, key);
    assert_true(yyjson_is_num(v));
    return yyjson_get_num(v);
}

static float cell(yyjson_val *root, const char *table, size_t i, size_t j)
{
    yyjson_val *v = yyjson_arr_get(yyjson_arr_get(yyjson_obj_get(root, table), i), j);
    return yyjson_is_null(v) ? NAN : (float)yyjson_get_num(v);
}

static int load_reference(void **state)
{
    struct reference *r = calloc(1, sizeof *r);
    struct metallm__buf path;
    struct metallm__map map;
    metallm__buf_init(&path, 4096);
    metallm__buf_printf(&path, "%s/metrics/reference.json", getenv("METALLM_TEST_DATA"));
    assert_int_equal(metallm__map_open(&map, path.data, NULL), METALLM_OK);
    assert_int_equal(metallm__json_read(&r->doc, map.bytes, map.len, NULL), METALLM_OK);
    metallm__map_close(&map);
    metallm__buf_fini(&path);
    yyjson_val *root = yyjson_doc_get_root(r->doc);
    for (size_t c = 0; c < N * MODELS; c++) {
        r->score[c] = cell(root, "score", c / MODELS, c % MODELS);
        r->cost[c] = cell(root, "cost", c / MODELS, c % MODELS);
        r->estimates[c] = guess(cell(root, "quality", c / MODELS, c % MODELS),
                                cell(root, "spend", c / MODELS, c % MODELS));
    }
    r->scale = number(root, "scale");
    *state = r;
    return 0;
}

static int free_reference(void **state)
{
    struct reference *r = *state;
    yyjson_doc_free(r->doc);
    free(r);
    return 0;
}

static void same_point(struct metallm__point got, yyjson_val *want)
{
    close_to(got.quality, number(want, "quality"), 1e-12);
    close_to(got.cost, number(want, "cost"), 1e-12);
}

static void figures_agree_with_the_reference(void **state)
{
    struct reference *r = *state;
    yyjson_val *root = yyjson_doc_get_root(r->doc), *row;
    struct metallm__truth t = {r->score, r->cost, N, MODELS};
    struct metallm__point singles[MODELS], curve[32];
    uint16_t choice[N];
    double low = INFINITY, high = 0;
    for (uint32_t j = 0; j < MODELS; j++) {
        singles[j] = metallm__eval_single(&t, j);
        same_point(singles[j], yyjson_arr_get(yyjson_obj_get(root, "singles"), j));
        low = fmin(low, singles[j].cost);
        high = fmax(high, singles[j].cost);
    }
    metallm__eval_oracle(&t, choice);
    same_point(metallm__eval_mean(&t, choice), yyjson_obj_get(root, "oracle"));
    size_t count = 0, index, max;
    yyjson_arr_foreach(yyjson_obj_get(root, "curve"), index, max, row)
    {
        for (size_t i = 0; i < N; i++)
            choice[i] = (uint16_t)yyjson_get_num(yyjson_arr_get(yyjson_obj_get(row, "choice"), i));
        curve[count] = metallm__eval_mean(&t, choice);
        same_point(curve[count++], row);
    }
    curve[count++] = singles[0]; /* the cheapest */
    size_t hull = metallm__eval_hull(singles, MODELS);
    close_to(metallm__eval_hull_area(singles, hull, low, high), number(root, "zero_aiq"), 1e-12);
    hull = metallm__eval_hull(curve, count);
    close_to(metallm__eval_hull_area(curve, hull, low, high), number(root, "aiq"), 1e-12);
}

static void calibration_agrees_with_the_reference(void **state)
{
    struct reference *r = *state;
    yyjson_val *root = yyjson_doc_get_root(r->doc), *bins = yyjson_obj_get(root, "bins");
    float predicted[N * MODELS];
    for (size_t c = 0; c < N * MODELS; c++)
        predicted[c] = r->estimates[c].quality;
    struct metallm__calibration got;
    assert_int_equal(metallm__calibrate(predicted, r->score, N * MODELS, &got, NULL), METALLM_OK);
    close_to(got.brier, number(root, "brier"), 1e-9);
    close_to(got.ece, number(root, "ece"), 1e-9);
    assert_int_equal(got.bin_count, yyjson_arr_size(bins));
    for (size_t b = 0; b < got.bin_count; b++)
        assert_int_equal(got.bins[b].count, (size_t)yyjson_get_num(yyjson_arr_get(bins, b)));
}

static uint32_t best_at(const metallm_estimate *row, double dial, double scale)
{
    uint32_t best = 0;
    for (uint32_t j = 1; j < MODELS; j++) {
        double gain = (double)row[j].quality - (double)row[best].quality -
                      dial * ((double)row[j].cost_usd - (double)row[best].cost_usd) / scale;
        if (gain > 0)
            best = j;
    }
    return best;
}

static void dials_trace_the_whole_curve(void **state)
{
    struct reference *r = *state;
    const uint8_t allowed[MODELS] = {1, 1, 1, 1};
    struct metallm__dial_request request = {r->estimates, allowed, N, 24, MODELS, r->scale};
    float dials[24];
    size_t count, moved_before = 0;
    assert_int_equal(metallm__eval_dials(&request, dials, &count, NULL), METALLM_OK);
    assert_int_equal(count, 24);
    for (size_t d = 1; d < count; d++) {
        assert_true(dials[d] > dials[d - 1]);
        size_t moved = 0; /* queries that left the model of dial 0 */
        for (size_t i = 0; i < N; i++)
            moved += best_at(r->estimates + i * MODELS, dials[d], r->scale) !=
                     best_at(r->estimates + i * MODELS, 0, r->scale);
        assert_true(moved >= moved_before && moved - moved_before <= N / 6);
        moved_before = moved;
    }
    for (size_t i = 0; i < N; i++) /* beyond the last switch all go to the cheapest */
        assert_int_equal(best_at(r->estimates + i * MODELS, dials[count - 1], r->scale), 0);
}

static int all_that_allocates(void *payload)
{
    struct reference *r = payload;
    const uint8_t allowed[MODELS] = {1, 1, 1, 1};
    struct metallm__dial_request request = {r->estimates, allowed, N, 24, MODELS, r->scale};
    float dials[24], predicted[4] = {0, 0, 0, 0};
    size_t count;
    struct metallm__calibration c;
    struct metallm__gains g = {0};
    struct metallm__point points[2 * 3];
    int rc = metallm__eval_dials(&request, dials, &count, NULL);
    if (rc == METALLM_OK)
        rc = metallm__calibrate(predicted, predicted, 4, &c, NULL);
    if (rc == METALLM_OK)
        rc = metallm__gains_init(&g, 5, 2, NULL);
    if (rc == METALLM_OK)
        rc = metallm__gains_means(&g, points, NULL);
    if (rc == METALLM_OK)
        rc = metallm__bootstrap(&g, 1, 3, NULL, points, NULL);
    metallm__gains_fini(&g);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    assert_true(fail_alloc_sweep(all_that_allocates, *state) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_leave_out_missing_cells_and_missing_choices),
        cmocka_unit_test(oracle_takes_the_cheaper_of_equals_and_skips_unknowns),
        cmocka_unit_test(hull_drops_what_a_mixture_beats),
        cmocka_unit_test(cost_to_reach_lies_on_the_hull),
        cmocka_unit_test(dials_stand_where_choices_switch),
        cmocka_unit_test(calibration_of_equal_predictions_is_one_bin),
        cmocka_unit_test(quantiles_lie_between_neighbours),
        cmocka_unit_test(intervals_have_the_width_that_theory_gives),
        cmocka_unit_test(a_resampling_can_be_stopped),
        cmocka_unit_test_setup_teardown(figures_agree_with_the_reference, load_reference,
                                        free_reference),
        cmocka_unit_test_setup_teardown(calibration_agrees_with_the_reference, load_reference,
                                        free_reference),
        cmocka_unit_test_setup_teardown(dials_trace_the_whole_curve, load_reference,
                                        free_reference),
        cmocka_unit_test_setup_teardown(every_failing_allocation_is_reported, load_reference,
                                        free_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
