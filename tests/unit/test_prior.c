/* SPDX-License-Identifier: Apache-2.0
 * test_prior.c - what is expected of a newcomer by its outcomes on benchmarks: closed forms on a
 * circle, the queries of a real router, files that say nothing, and what is worked out once. */
#include "gateway/prior.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static void close_to(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("got %.12g, want %.12g within %g", got, want, within);
}

#define EACH 10u /* outcomes of a task */

struct task {
    double degrees;
    float score;
};

struct world {
    struct metallm__library lib;
    float x[4 * EACH * 2], score[4 * EACH];
    uint32_t task[4 * EACH];
};

/* Tasks of one model as points on a circle. */
static void make(struct world *w, const struct task *tasks, uint32_t count)
{
    const double to_radians = acos(-1) / 180;
    for (uint32_t i = 0; i < count * EACH; i++) {
        const struct task *t = &tasks[i / EACH];
        w->x[2 * i] = (float)cos(t->degrees * to_radians);
        w->x[2 * i + 1] = (float)sin(t->degrees * to_radians);
        w->score[i] = t->score;
        w->task[i] = i / EACH;
    }
    w->lib = (struct metallm__library){.rows = (size_t)count * EACH,
                                       .dim = 2,
                                       .models = 1,
                                       .tasks = count,
                                       .x = w->x,
                                       .score = w->score,
                                       .task = w->task};
}

/* Three quarters of the queries near 0 degrees, the rest near 90. */
static struct metallm__prior_scores judge(const struct task *tasks, uint32_t count)
{
    struct world w;
    struct metallm__prior_scores s = {.mean = 0.25};
    float x[40 * 2];
    make(&w, tasks, count);
    for (size_t i = 0; i < 40; i++) {
        x[2 * i] = i < 30 ? 1 : 0;
        x[2 * i + 1] = i < 30 ? 0 : 1;
    }
    assert_int_equal(metallm__prior_judge(&w.lib, x, 40, &s, NULL), METALLM_OK);
    assert_int_equal(s.queries, 40);
    return s;
}

static void scores_follow_the_routers_queries_and_not_the_benchmarks_mean(void **state)
{
    (void)state;
    /* Each task's nearest other task has the same score: predictions are always right. */
    const struct task sure[] = {{0, 1}, {5, 1}, {90, 0}, {95, 0}};
    struct metallm__prior_scores s = judge(sure, 4);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S1), 0.75, 1e-9);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S2), 0.75, 1e-9);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S3), 0.75, 1e-9);
    close_to(s.bma, 0.5, 1e-9);
    /* Right for two tasks, wrong for the two at the same distances: p is a half. */
    const struct task unsure[] = {{0, 1}, {5, 1}, {90, 0}, {95, 1}};
    s = judge(unsure, 4);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S1), 0.75, 1e-9);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S2), 0.75, 1e-9);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S3), 0.5, 1e-6);
}

static void what_is_not_known_gives_way_to_the_mean(void **state)
{
    (void)state;
    const struct task one[] = {{0, 0.75f}};
    struct metallm__prior_scores s = judge(one, 1); /* no other task to tell p by */
    assert_true(isnan(s.s3));
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S3), 0.75, 1e-6);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S2), 1, 1e-9);
    s = (struct metallm__prior_scores){.s1 = NAN, .s2 = NAN, .s3 = NAN, .bma = NAN, .mean = 0.25};
    for (int k = METALLM__SCORE_S1; k <= METALLM__SCORE_S3; k++)
        close_to(metallm__prior_quality(&s, (enum metallm__prior_score)k), 0.25, 0);
}

/* ---- Files. ---- */

static const char path[] = "/tmp/metallm-prior-test.csv";

/* Nine sums for each riddle: "new" is good at sums alone. */
static void write_outcomes(const char *last)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "query,task,prompt,new,other,mute\n");
    for (int i = 0; i < 100; i++)
        fprintf(f, "q%d,%s,%s %d,%d,0.5,\n", i, i % 10 ? "sums" : "riddles",
                i % 10 ? "what is the sum of" : "who walks at noon and never sleeps", i,
                i % 10 != 0);
    fprintf(f, "%s", last);
    fclose(f);
}

static const char *prompt_of(size_t i, char *out, size_t size)
{
    (void)snprintf(out, size, "%s %zu",
                   i % 4 ? "who walks at noon and never sleeps" : "what is the sum of", 500 + i);
    return out;
}

/* A quarter of its queries are sums. */
static metallm_router *train(metallm_encoder *e)
{
    enum { N = 80 };
    static float values[N * 2048];
    const metallm_layout layout = metallm_encoder_layout(e);
    metallm_outcomes *o = NULL;
    metallm_router *r = NULL;
    uint32_t model;
    assert_true(metallm_layout_dim(&layout) <= 2048);
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "old", &model, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "older", &model, NULL), METALLM_OK);
    for (size_t i = 0; i < N; i++) {
        char prompt[64];
        size_t at;
        const char *text = prompt_of(i, prompt, sizeof prompt);
        const size_t len = strlen(text);
        assert_int_equal(metallm_encoder_features(e, &text, &len, 1,
                                                  values + i * metallm_layout_dim(&layout), NULL,
                                                  NULL),
                         METALLM_OK);
        const metallm_query q = {.prompt = prompt, .task = i % 4 ? "riddles" : "sums"};
        assert_int_equal(metallm_outcomes_add_query(o, &q, &at, NULL), METALLM_OK);
        for (uint32_t m = 0; m < 2; m++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = (float)((i + m) % 2);
            assert_int_equal(metallm_outcomes_set(o, at, m, &cell, NULL), METALLM_OK);
        }
    }
    const metallm_vectors x = {
        .values = values, .rows = N, .layout = layout, .encoder = metallm_encoder_id(e)};
    const metallm_train_options opts = {.estimator = "linear", .seed = 1};
    assert_int_equal(metallm_router_train(&r, o, &x, &opts, NULL, NULL), METALLM_OK);
    metallm_outcomes_free(o);
    return r;
}

static int find_anew(void *payload)
{
    struct metallm__priors *p = NULL;
    struct metallm__prior_scores s;
    bool is_new;
    int rc = metallm__priors_new(&p, NULL);
    if (rc == METALLM_OK)
        rc = metallm__priors_find(p, payload, &s, &is_new, NULL);
    if (rc == METALLM_OK)
        assert_true(is_new && !s.is_partial && s.queries == 80);
    metallm__priors_free(p);
    return rc;
}

static void outcomes_are_held_against_a_routers_queries_once(void **state)
{
    (void)state;
    const metallm_encoder_options hash = {.name = "hash"};
    metallm_encoder *e = NULL;
    struct metallm__priors *p = NULL;
    struct metallm__prior_scores s;
    bool is_new = false;
    write_outcomes("");
    assert_int_equal(metallm_encoder_open(&e, &hash, NULL), METALLM_OK);
    metallm_router *r = train(e);
    struct metallm__prior_request q = {.path = path, .model = "new", .encoder = e};
    assert_int_equal(metallm__priors_new(&p, NULL), METALLM_OK);

    assert_int_equal(metallm__priors_find(p, &q, &s, &is_new, NULL), METALLM_OK);
    assert_true(is_new && s.rows == 100 && s.queries == 0);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S3), 0.9, 1e-9);

    q.router = r;
    q.print = 7;
    assert_int_equal(metallm__priors_find(p, &q, &s, &is_new, NULL), METALLM_OK);
    assert_true(is_new && s.rows == 100 && s.queries == 80);
    close_to(metallm__prior_quality(&s, METALLM__SCORE_S1), 0.25, 0.05);
    const double first = s.s1;
    assert_int_equal(metallm__priors_find(p, &q, &s, &is_new, NULL), METALLM_OK);
    assert_true(!is_new && s.s1 == first);
    q.print = 8; /* another router file */
    assert_int_equal(metallm__priors_find(p, &q, &s, &is_new, NULL), METALLM_OK);
    assert_true(is_new && s.s1 == first); /* the same seed */
    write_outcomes("q200,sums,what is the sum of nothing,1,1,\n");
    assert_int_equal(metallm__priors_find(p, &q, &s, &is_new, NULL), METALLM_OK);
    assert_true(is_new && s.rows == 101);

    assert_true(fail_alloc_sweep(find_anew, &q) > 20);
    metallm__priors_free(p);
    metallm_router_free(r);
    metallm_encoder_free(e);
    unlink(path);
}

static void a_file_that_says_nothing_of_the_llm_is_refused(void **state)
{
    (void)state;
    metallm_error err = {0};
    write_outcomes("");
    assert_int_equal(metallm__prior_check(path, "new", &err), METALLM_OK);
    assert_int_equal(metallm__prior_check(path, "nobody", &err), METALLM_EFORMAT);
    assert_non_null(strstr(err.message, "holds no score of 'nobody'"));
    assert_int_equal(metallm__prior_check(path, "mute", &err), METALLM_EFORMAT);
    assert_int_equal(metallm__prior_check("/no/such/file.csv", "new", &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "/no/such/file.csv"));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("\x01\x02 no outcomes", f);
    fclose(f);
    assert_int_equal(metallm__prior_check(path, "new", &err), METALLM_EFORMAT);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_follow_the_routers_queries_and_not_the_benchmarks_mean),
        cmocka_unit_test(what_is_not_known_gives_way_to_the_mean),
        cmocka_unit_test(outcomes_are_held_against_a_routers_queries_once),
        cmocka_unit_test(a_file_that_says_nothing_of_the_llm_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
