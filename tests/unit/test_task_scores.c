/* SPDX-License-Identifier: Apache-2.0
 * test_task_scores.c - scores of whole tasks: closed forms, a table counted by hand, rules chosen
 * by leaving tasks out, labels, and the library in a file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "router/task_select.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static void close_to(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("got %.12g, want %.12g within %g", got, want, within);
}

/* --- formulas --- */

static void s3_is_s2_when_predictions_are_sure_and_a_half_when_they_are_blind(void **state)
{
    (void)state;
    for (double s2 = 0; s2 <= 1; s2 += 0.125) {
        close_to(metallm__task_s3(s2, 1), s2, 0);
        close_to(metallm__task_s3(s2, 0.5), 0.5, 0);
        close_to(metallm__task_s3(s2, 0), 1 - s2, 0);
    }
    close_to(metallm__task_s3(.8, .9), .9 * .8 + .1 * .2, 1e-15);
}

static void smoothing_weighs_by_a_gaussian_of_the_distance(void **state)
{
    (void)state;
    const double u[] = {.3, .39, .5, .2}, y[] = {.9, .6, NAN, .3};
    double a = exp(-.5), b = 1, c = exp(-.5 * (.19 / .09) * (.19 / .09));
    struct metallm__smoothed got = metallm__task_smooth(u, y, 4, .39, .09);
    double mean = (a * .9 + b * .6 + c * .3) / (a + b + c);
    close_to(got.mean, mean, 1e-12);
    close_to(got.sd, sqrt((a * .81 + b * .36 + c * .09) / (a + b + c) - mean * mean), 1e-12);
    /* Far from all pairs the nearest counts, not 0 / 0. */
    got = metallm__task_smooth(u, y, 4, 90, .09);
    close_to(got.mean, .6, 0);
    assert_true(isnan(metallm__task_smooth(u, y, 0, .3, .09).mean));
}

/* --- a library of points on a circle --- */

#define DIM    2u
#define MODELS 3u

struct world {
    struct metallm__library lib;
    float x[400 * DIM], score[400 * MODELS];
    uint32_t task[400];
    char *names[40];
};

/* Task t's samples lie around the angle t * step. Model 0 is right everywhere with chance .6, model
 * 1 in odd tasks' angles with .9, else .2; model 2 the other way round. */
static struct world *new_world(uint32_t tasks, uint32_t samples, double spread, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < tasks * samples; i++) {
        uint32_t t = i / samples;
        double at = (t % 2) * 1.5 + spread * metallm__rng_normal(&rng);
        w->x[i * DIM] = (float)cos(at);
        w->x[i * DIM + 1] = (float)sin(at);
        w->task[i] = t;
        const double chance[MODELS] = {.6, t % 2 ? .9 : .2, t % 2 ? .2 : .9};
        for (uint32_t j = 0; j < MODELS; j++)
            w->score[i * MODELS + j] = metallm__rng_uniform(&rng) < chance[j];
    }
    for (uint32_t t = 0; t < tasks; t++) {
        w->names[t] = calloc(1, 8);
        snprintf(w->names[t], 8, "t%u", t % 100);
    }
    w->lib = (struct metallm__library){.rows = tasks * samples,
                                       .dim = DIM,
                                       .models = MODELS,
                                       .tasks = tasks,
                                       .x = w->x,
                                       .score = w->score,
                                       .task = w->task,
                                       .names = w->names};
    return w;
}

static void free_world(struct world *w)
{
    for (uint32_t t = 0; t < w->lib.tasks; t++)
        free(w->names[t]);
    free(w);
}

static const double no_penalty[MODELS] = {0, 0, 0};

static void a_row_is_counted_from_the_neighbours(void **state)
{
    (void)state;
    /* Six base samples on a line of angles; the new task has one sample next to the first five. */
    float x[6 * DIM], score[6 * MODELS];
    uint32_t task[6] = {0, 0, 0, 0, 0, 0};
    for (int i = 0; i < 6; i++) {
        x[2 * i] = (float)cos(.1 * i);
        x[2 * i + 1] = (float)sin(.1 * i);
        score[3 * i] = i < 3;                  /* 3 of 5 right: g = .6, all six: .5 */
        score[3 * i + 1] = i == 1 ? NAN : .5f; /* unknown ones are left out: g = .5, not above */
        score[3 * i + 2] = NAN;
    }
    char *name[] = {(char[]){"a"}};
    struct metallm__library lib = {6, DIM, MODELS, 1, x, score, task, name, {{0}, 0, 0, 0}};
    const float sample[DIM] = {1, 0}, own[MODELS] = {1, .25f, NAN};
    struct metallm__task_table t;
    assert_int_equal(metallm__task_table_of_samples(&t, &lib, sample, own, 1, NULL), METALLM_OK);
    const struct metallm__task_row *row = &t.rows[0];
    close_to(row->patch[0].s1[0], .6, 1e-12);
    close_to(row->patch[0].s2[0], 1, 0);
    close_to(row->patch[0].confidence[0], .6, 1e-12);
    close_to(row->patch[0].accuracy[0], 1, 0);
    close_to(row->patch[1].s1[0], .5, 1e-12);
    close_to(row->patch[1].s2[0], 0, 0);
    close_to(row->patch[0].s1[1], .5, 1e-12);
    close_to(row->patch[0].s2[1], 0, 0);
    close_to(row->patch[0].accuracy[1], .75, 1e-12);
    assert_true(isnan(row->patch[0].s1[2]) && isnan(row->truth[2]));
    double far = 0;
    for (int i = 0; i < 6; i++)
        far += (1 - cos(.1 * i)) / 6;
    close_to(row->distance, far, 1e-6);
    metallm__task_table_fini(&t);
    lib.how.nearest = 2;
    assert_int_equal(metallm__task_table_of_samples(&t, &lib, sample, own, 1, NULL), METALLM_OK);
    close_to(t.rows[0].distance, (1 - cos(.1)) / 2, 1e-6);
    metallm__task_table_fini(&t);
}

/* Rows of the table when a task is held out equal those of a library that never had it. */
static void a_task_held_out_leaves_no_trace(void **state)
{
    (void)state;
    struct world *w = new_world(6, 30, .4, 7), *less = new_world(6, 30, .4, 7);
    less->lib.tasks = 5;
    less->lib.rows = 150; /* the last task is gone */
    struct metallm__task_lists a, b;
    struct metallm__task_table held, gone;
    /* 20 neighbours are too few to filter: most rows take the search. */
    assert_int_equal(metallm__task_lists_find(&a, &w->lib, 20, NULL), METALLM_OK);
    assert_int_equal(metallm__task_lists_find(&b, &less->lib, 64, NULL), METALLM_OK);
    assert_int_equal(metallm__task_table_of_library(&held, &a, 5, NULL), METALLM_OK);
    assert_int_equal(metallm__task_table_of_library(&gone, &b, UINT32_MAX, NULL), METALLM_OK);
    for (uint32_t t = 0; t < 5; t++)
        for (uint32_t j = 0; j < MODELS; j++)
            for (uint32_t p = 0; p < METALLM__TASK_PATCHES; p++) {
                close_to(held.rows[t].patch[p].s1[j], gone.rows[t].patch[p].s1[j], 1e-12);
                close_to(held.rows[t].patch[p].accuracy[j], gone.rows[t].patch[p].accuracy[j],
                         1e-12);
                close_to(held.rows[t].distance, gone.rows[t].distance, 1e-9);
            }
    metallm__task_table_fini(&held);
    metallm__task_table_fini(&gone);
    metallm__task_lists_fini(&a);
    metallm__task_lists_fini(&b);
    less->lib.tasks = 6;
    free_world(w);
    free_world(less);
}

static struct metallm__selection select_for(const struct world *w, double angle, const float *label,
                                            size_t labelled)
{
    float x[40 * DIM], labels[40 * MODELS];
    for (uint32_t i = 0; i < 40; i++) {
        x[i * DIM] = (float)cos(angle);
        x[i * DIM + 1] = (float)sin(angle);
        for (uint32_t j = 0; j < MODELS; j++)
            labels[i * MODELS + j] = i < labelled ? label[j] : NAN;
    }
    struct metallm__select_request q = {&w->lib, x, labels, no_penalty, 40, 1};
    struct metallm__selection s;
    assert_int_equal(metallm__task_select(&q, &s, NULL), METALLM_OK);
    return s;
}

static void a_new_task_gets_the_model_that_is_good_nearby(void **state)
{
    (void)state;
    struct world *w = new_world(10, 40, .1, 3);
    struct metallm__selection s = select_for(w, 1.5, NULL, 0);
    assert_true(s.loto.best != METALLM__RULE_BMA); /* BMA cannot tell odd from even */
    assert_int_equal(s.choice, 1);
    assert_true(s.p_best[1] > .9);
    close_to(s.p_best[0] + s.p_best[1] + s.p_best[2], 1, 1e-9);
    assert_true(s.loto.quality[s.loto.best] > s.loto.quality[METALLM__RULE_BMA] + .1);
    assert_int_equal(select_for(w, 0, NULL, 0).choice, 2);
    free_world(w);
}

static void without_structure_the_best_on_average_stays(void **state)
{
    (void)state;
    struct world *w = new_world(12, 30, 0, 5);
    metallm_rng rng;
    metallm_rng_seed(&rng, 9);
    for (size_t i = 0; i < w->lib.rows; i++)
        for (uint32_t j = 0; j < MODELS; j++) /* the same everywhere */
            w->score[i * MODELS + j] = metallm__rng_uniform(&rng) < .5 + .1 * j;
    struct metallm__selection s = select_for(w, 0, NULL, 0);
    assert_int_equal(s.bma, 2);
    assert_int_equal(s.choice, 2);
    assert_int_equal(s.loto.best, METALLM__RULE_BMA);
    free_world(w);
}

static void labels_outweigh_what_neighbours_say(void **state)
{
    (void)state;
    struct world *w = new_world(10, 40, .1, 3);
    const float label[MODELS] = {1, 0, 0};
    struct metallm__selection s = select_for(w, 1.5, label, 40);
    assert_int_equal(s.labels, 40);
    assert_int_equal(s.choice, 0);
    double prior = select_for(w, 1.5, NULL, 0).score[0];
    close_to(s.score[0], (30 * prior + 40) / 70, 1e-9);
    assert_true(s.p_best[0] > .5);
    free_world(w);
}

static void few_tasks_give_no_chances(void **state)
{
    (void)state;
    struct world *w = new_world(2, 20, .1, 3);
    struct metallm__selection s = select_for(w, 0, NULL, 0);
    assert_int_equal(s.choice, s.bma);
    assert_true(isnan(s.p_best[0]));
    free_world(w);
}

static void the_experiment_finds_the_structure_and_repeats(void **state)
{
    (void)state;
    struct world *w = new_world(10, 40, .1, 3);
    struct metallm__experiment_request q = {
        .lib = &w->lib, .penalty = no_penalty, .labels = 20, .seed = 1};
    struct metallm__experiment a, b;
    assert_int_equal(metallm__task_experiment(&q, &a, NULL), METALLM_OK);
    assert_int_equal(metallm__task_experiment(&q, &b, NULL), METALLM_OK);
    assert_memory_equal(a.quality, b.quality, sizeof a.quality);
    assert_int_equal(a.judged, 10);
    close_to(a.used, .9, .05);
    close_to(a.possible, .9, .05);
    assert_true(a.quality[METALLM__RULE_BMA] < .7);
    assert_true(a.quality[METALLM__RULE_S1] > .8 && a.labelled > a.labelled_bma);
    free_world(w);
}

struct told {
    uint32_t trials;
    double s1, used, rest;
};

static void add_trial(void *payload, const struct metallm__task_trial *t)
{
    struct told *told = payload;
    told->trials++;
    told->s1 += t->row->truth[t->pick[METALLM__RULE_S1]];
    told->used += t->row->truth[t->used_pick];
    told->rest += t->rest[t->labelled_pick];
    assert_int_equal(t->samples, 40);
    assert_int_equal(t->labels, 20);
}

static void each_trial_of_the_experiment_is_told(void **state)
{
    (void)state;
    struct world *w = new_world(10, 40, .1, 3);
    struct told told = {0};
    struct metallm__experiment_request q = {.lib = &w->lib,
                                            .penalty = no_penalty,
                                            .labels = 20,
                                            .seed = 1,
                                            .tried = add_trial,
                                            .payload = &told};
    struct metallm__experiment e, wide;
    assert_int_equal(metallm__task_experiment(&q, &e, NULL), METALLM_OK);
    assert_int_equal(told.trials, e.judged);
    close_to(told.s1 / told.trials, e.quality[METALLM__RULE_S1], 1e-12);
    close_to(told.used / told.trials, e.used, 1e-12);
    close_to(told.rest / told.trials, e.labelled, 1e-12);
    /* With the same k everywhere the two rules are one; a rule that is never sure enough is BMA. */
    w->lib.how = (struct metallm__task_settings){.k = {60, 60}, .sure = 1.1};
    assert_int_equal(metallm__task_experiment(&q, &wide, NULL), METALLM_OK);
    close_to(wide.quality[METALLM__RULE_S1], wide.quality[METALLM__RULE_S1_PAPER], 1e-12);
    close_to(wide.quality[METALLM__RULE_S3], wide.quality[METALLM__RULE_BMA], 1e-12);
    free_world(w);
}

static void look_at_odd_trial(void *payload, const struct metallm__task_trial *t)
{
    struct metallm__task_trial *told = payload;
    if (strcmp(t->task, "t1") == 0)
        *told = *t;
}

static void labels_among_the_known_samples_are_neighbours_of_the_rest(void **state)
{
    (void)state;
    struct world *w = new_world(3, 40, .1, 3); /* t1 is the only one at its angle */
    struct metallm__task_trial told;
    struct metallm__experiment_request q = {.lib = &w->lib,
                                            .penalty = no_penalty,
                                            .labels = 30,
                                            .seed = 1,
                                            .tried = look_at_odd_trial,
                                            .payload = &told};
    struct metallm__experiment e;
    assert_int_equal(metallm__task_experiment(&q, &e, NULL), METALLM_OK);
    assert_int_equal(told.labels, 30);
    assert_int_equal(told.pick[METALLM__RULE_S1_PAPER], 2);
    assert_int_equal(told.moved_pick[METALLM__RULE_S1_PAPER], 1);
    assert_true(told.moved_distance < told.distance / 4);
    assert_true(e.moved[METALLM__RULE_S1_PAPER] > .8);
    q.label_share = .25; /* of 40 */
    assert_int_equal(metallm__task_experiment(&q, &e, NULL), METALLM_OK);
    assert_int_equal(told.labels, 10);
    free_world(w);
}

/* --- the library and its file --- */

static metallm_outcomes *sample_outcomes(size_t n)
{
    metallm_outcomes *o;
    uint32_t model;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "a", &model, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "b", &model, NULL), METALLM_OK);
    for (size_t i = 0; i < n; i++) {
        char prompt[32];
        size_t query;
        snprintf(prompt, sizeof prompt, "prompt %zu", i);
        const char *const tasks[] = {"big", "bbh/one", "bbh/two", "big"};
        metallm_query q = {"", tasks[i % 4], "", prompt, ""};
        assert_int_equal(metallm_outcomes_add_query(o, &q, &query, NULL), METALLM_OK);
        metallm_outcome cell = metallm_outcome_unknown();
        cell.score = (float)(i % 3) / 2;
        if (i != 2)
            assert_int_equal(metallm_outcomes_set(o, query, 0, &cell, NULL), METALLM_OK);
    }
    return o;
}

static float heads[40 * 3];

static metallm_vectors sample_vectors(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        heads[3 * i] = (float)(i + 1);
        heads[3 * i + 1] = 1;
        heads[3 * i + 2] = 77; /* a text feature, not part of the head */
    }
    return (metallm_vectors){heads, n, {2, 0, 1}, "custom"};
}

static void subtasks_are_joined_and_large_tasks_are_cut(void **state)
{
    (void)state;
    metallm_outcomes *o = sample_outcomes(40);
    metallm_vectors x = sample_vectors(40);
    struct metallm__library *lib;
    assert_int_equal(metallm__library_build(&lib, o, &x, 100, 1, NULL), METALLM_OK);
    assert_int_equal(lib->rows, 40);
    assert_int_equal(lib->tasks, 2);
    assert_string_equal(lib->names[0], "bbh");
    assert_string_equal(lib->names[1], "big");
    for (size_t i = 0; i < lib->rows; i++)
        close_to(hypot((double)lib->x[2 * i], (double)lib->x[2 * i + 1]), 1, 1e-6);
    metallm__library_free(lib);
    assert_int_equal(metallm__library_build(&lib, o, &x, 11, 1, NULL), METALLM_OK);
    assert_int_equal(lib->rows, 10); /* five of each */
    metallm__library_free(lib);
    metallm_outcomes_free(o);
}

static int cluster_once(void *payload)
{
    (void)payload;
    metallm_outcomes *o = sample_outcomes(40);
    metallm_vectors x = sample_vectors(40);
    struct metallm__library *lib = NULL;
    for (size_t i = 0; i < 40; i++) { /* two heaps, at right angles */
        heads[3 * i] = i % 5 == 0 ? 1 : .01f * (float)i;
        heads[3 * i + 1] = i % 5 == 0 ? .01f * (float)i : 1;
    }
    int rc = metallm__library_build(&lib, o, &x, 100, 1, NULL);
    if (rc == METALLM_OK)
        rc = metallm__library_cluster(lib, 2, 1, NULL);
    if (rc == METALLM_OK) {
        assert_int_equal(lib->tasks, 2);
        size_t in_first = 0;
        for (size_t i = 0; i < 40; i++) {
            assert_int_equal(lib->task[i] == lib->task[0],
                             (lib->x[2 * i] > lib->x[2 * i + 1]) == (lib->x[0] > lib->x[1]));
            in_first += lib->task[i] == 0;
        }
        assert_true(in_first == 8 || in_first == 32);
    }
    metallm__library_free(lib);
    metallm_outcomes_free(o);
    return rc;
}

static void clusters_part_heaps_of_like_prompts(void **state)
{
    (void)state;
    assert_int_equal(cluster_once(NULL), METALLM_OK);
}

static int save_and_load(void *payload)
{
    const char *path = payload;
    metallm_outcomes *o = sample_outcomes(40);
    metallm_vectors x = sample_vectors(40);
    struct metallm__library *lib = NULL, *back = NULL;
    struct metallm__st_writer *w = NULL;
    struct metallm__st_file *f = NULL;
    int rc = metallm__library_build(&lib, o, &x, 100, 1, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_writer_new(&w, NULL);
    if (rc == METALLM_OK)
        rc = metallm__library_save(lib, w, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, path, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_open(&f, path, NULL);
    if (rc == METALLM_OK)
        rc = metallm__library_load(&back, f, 2, NULL);
    if (rc == METALLM_OK) {
        assert_int_equal(back->rows, lib->rows);
        assert_int_equal(back->tasks, lib->tasks);
        assert_memory_equal(back->task, lib->task, lib->rows * sizeof *lib->task);
        assert_memory_equal(back->score, lib->score, 2 * lib->rows * sizeof *lib->score);
        for (size_t i = 0; i < 2 * lib->rows; i++)
            close_to((double)back->x[i], (double)lib->x[i], 0x1p-11 * fabs((double)lib->x[i]));
        assert_string_equal(back->names[0], "bbh");
    }
    metallm__library_free(back);
    metallm__library_free(lib);
    metallm__st_close(f);
    metallm__st_writer_free(w);
    metallm_outcomes_free(o);
    return rc;
}

static void a_library_survives_its_file(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-tasks-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(save_and_load(path), METALLM_OK);
    struct metallm__st_file *f;
    struct metallm__library *lib;
    assert_int_equal(metallm__st_open(&f, path, NULL), METALLM_OK);
    assert_int_equal(metallm__library_load(&lib, f, 3, NULL), METALLM_EFORMAT);
    metallm__st_close(f);
    unlink(path);
}

static int select_once(void *payload)
{
    const struct world *w = payload;
    float x[2 * DIM] = {1, 0, 0, 1};
    struct metallm__select_request q = {&w->lib, x, NULL, no_penalty, 2, 1};
    struct metallm__selection s;
    int rc = metallm__task_select(&q, &s, NULL);
    struct metallm__experiment_request e = {
        .lib = &w->lib, .penalty = no_penalty, .labels = 5, .seed = 1};
    struct metallm__experiment result;
    return rc == METALLM_OK ? metallm__task_experiment(&e, &result, NULL) : rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    struct world *w = new_world(3, 12, .1, 3);
    assert_true(fail_alloc_sweep(select_once, w) > 10);
    free_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s3_is_s2_when_predictions_are_sure_and_a_half_when_they_are_blind),
        cmocka_unit_test(smoothing_weighs_by_a_gaussian_of_the_distance),
        cmocka_unit_test(a_row_is_counted_from_the_neighbours),
        cmocka_unit_test(a_task_held_out_leaves_no_trace),
        cmocka_unit_test(a_new_task_gets_the_model_that_is_good_nearby),
        cmocka_unit_test(without_structure_the_best_on_average_stays),
        cmocka_unit_test(labels_outweigh_what_neighbours_say),
        cmocka_unit_test(few_tasks_give_no_chances),
        cmocka_unit_test(the_experiment_finds_the_structure_and_repeats),
        cmocka_unit_test(each_trial_of_the_experiment_is_told),
        cmocka_unit_test(labels_among_the_known_samples_are_neighbours_of_the_rest),
        cmocka_unit_test(subtasks_are_joined_and_large_tasks_are_cut),
        cmocka_unit_test(clusters_part_heaps_of_like_prompts),
        cmocka_unit_test(a_library_survives_its_file),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
