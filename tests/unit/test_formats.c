/* SPDX-License-Identifier: Apache-2.0
 * test_formats.c - every benchmark format is known by its bytes and gives what its file says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/import.h"
#include "data/read.h"
#include "metallm/outcomes.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static const char *in_data(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/formats/%s", getenv("METALLM_TEST_DATA"), name);
    return path;
}

static void no_problem(void *payload, const char *message)
{
    (void)payload;
    fail_msg("unexpected: %s", message);
}

static metallm_outcomes *read_good(const char *path, const metallm_read_options *more,
                                   metallm_read_report *report)
{
    metallm_outcomes *o = NULL;
    metallm_error err = {0};
    metallm_read_options opts = more != NULL ? *more : (metallm_read_options){0};
    opts.problem = no_problem;
    opts.is_strict = 1;
    assert_int_equal(metallm_outcomes_new(&o, &err), METALLM_OK);
    if (metallm_outcomes_read(o, path, &opts, report, &err) != METALLM_OK)
        fail_msg("%s: %s", path, err.message);
    return o;
}

static metallm_outcome cell(const metallm_outcomes *o, size_t query, const char *model)
{
    uint32_t m = metallm_outcomes_find_model(o, model);
    assert_int_not_equal(m, UINT32_MAX);
    return metallm_outcomes_get(o, query, m);
}

static void routerbench_prompts_are_unpacked_and_empty_scores_stay_missing(void **state)
{
    (void)state;
    metallm_read_report report = {0};
    metallm_outcomes *o = read_good(in_data("routerbench.csv"), NULL, &report);
    assert_int_equal(report.files, 1);
    assert_int_equal(report.rows, 3);
    assert_int_equal(report.cells_missing, 2);
    assert_int_equal(metallm_outcomes_query_count(o), 3);
    assert_int_equal(metallm_outcomes_model_count(o), 2);
    metallm_query q = metallm_outcomes_query(o, 0);
    assert_string_equal(q.id, "sums.dev.1");
    assert_string_equal(q.task, "sums");
    assert_string_equal(q.prompt, "What is 2 + 2?\nAnswer:");
    q = metallm_outcomes_query(o, 1);
    assert_string_equal(q.prompt, "It's \"quoted\", isn't it?\tTab \\ \xc3\xa9 "
                                  "\xe6\xbc\xa2\xe5\xad\x97 \x07");
    assert_string_equal(metallm_outcomes_query(o, 2).prompt, "First turn\nSecond turn");
    assert_true(cell(o, 1, "acme/large").score == 0.5f);
    assert_true(isnan(cell(o, 1, "tiny-1").score));
    assert_true(cell(o, 1, "tiny-1").cost_usd == 2e-5f);
    assert_true(cell(o, 0, "tiny-1").score == 0);
    metallm_outcomes_free(o);
}

static void routellm_reads_a_folder_a_file_a_task(void **state)
{
    (void)state;
    metallm_read_report report = {0};
    metallm_outcomes *o = read_good(in_data("routellm"), NULL, &report);
    assert_int_equal(report.files, 2);
    assert_int_equal(metallm_outcomes_query_count(o), 4); /* a copy of a prompt is a row */
    metallm_query q = metallm_outcomes_query(o, 0);
    assert_string_equal(q.task, "mmlu_colours");
    assert_string_equal(q.id, "mmlu_colours.csv:2");
    assert_string_equal(q.prompt, "Which colour is the sky?\r\nA. blue\r\nB. green\r\nAnswer:");
    assert_string_equal(metallm_outcomes_query(o, 1).prompt, "A \"red\" rose is");
    assert_string_equal(metallm_outcomes_query(o, 3).task, "mmlu_numbers");
    assert_true(cell(o, 0, "lab/strong-1").score == 1);
    assert_true(cell(o, 0, "lab/weak-1").score == 0);
    assert_true(cell(o, 3, "lab/strong-1").score == 0);
    assert_true(isnan(cell(o, 0, "lab/weak-1").cost_usd));
    metallm_outcomes_free(o);
}

static void routerdc_scores_go_by_name_not_by_place(void **state)
{
    (void)state;
    metallm_outcomes *o = read_good(in_data("routerdc.json"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_string_equal(metallm_outcomes_query(o, 0).task, "routerdc");
    assert_true(cell(o, 0, "org/model-a").score == 0.75f);
    assert_true(cell(o, 0, "org/model-b").score == 0);
    assert_true(cell(o, 1, "org/model-b").score == 1);
    assert_true(isnan(cell(o, 1, "org/model-a").score)); /* null */
    metallm_outcomes_free(o);
}

static void paretobandit_lines_end_at_line_feeds_alone(void **state)
{
    (void)state;
    metallm_outcomes *o = read_good(in_data("paretobandit.jsonl"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_string_equal(metallm_outcomes_query(o, 0).prompt,
                        "Copy a list.\xe2\x80\xa8Keep its order.");
    assert_string_equal(metallm_outcomes_query(o, 1).task, "bbh/sums");
    assert_true(cell(o, 0, "a").score == 0.4f);
    assert_true(cell(o, 0, "a").cost_usd == 3.5e-5f);
    assert_true(cell(o, 1, "b").score == 1);
    metallm_outcomes_free(o);
}

static void llmrouter_calls_of_one_query_meet(void **state)
{
    (void)state;
    metallm_outcomes *o = read_good(in_data("llmrouter.jsonl"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_string_equal(metallm_outcomes_query(o, 1).label, "11");
    assert_string_equal(metallm_outcomes_query(o, 1).task, "sums");
    metallm_outcome c = cell(o, 1, "m-7b");
    assert_true(c.score == 0 && c.input_tokens == 20 && c.output_tokens == 10);
    assert_true(c.latency_ms == 1250);
    assert_true(isnan(c.cost_usd));
    metallm_outcomes_free(o);
    o = read_good(in_data("llmrouter_lists.json"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_true(cell(o, 0, "x/b").score == 0.95f);
    assert_true(isnan(cell(o, 1, "x/a").score));
    assert_true(cell(o, 1, "x/c").score == 1);
    metallm_outcomes_free(o);
    const metallm_read_options as_llmrouter = {.format = "llmrouter"};
    o = read_good(in_data("routerdc.json"), &as_llmrouter, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    metallm_outcomes_free(o);
}

static void routerarena_takes_costs_from_its_cost_file(void **state)
{
    (void)state;
    metallm_read_report report = {0};
    metallm_outcomes *o = read_good(in_data("routerarena"), NULL, &report);
    assert_int_equal(report.files, 3);
    assert_int_equal(metallm_outcomes_query_count(o), 3);
    metallm_query q = metallm_outcomes_query(o, 0);
    assert_string_equal(q.id, "Letters_100k_1");
    assert_string_equal(q.task, "Letters_100k");
    assert_string_equal(q.label, "A");
    assert_true(cell(o, 0, "acme/large").cost_usd == 0.00125f);
    /* Written as 0 although tokens were used: 100 x 0.1 + 50 x 0.4 dollars a million. */
    assert_true(fabsf(cell(o, 0, "tiny-1").cost_usd - 3e-5f) < 1e-10f);
    assert_true(isnan(cell(o, 2, "tiny-1").score)); /* the call failed */
    metallm_outcomes_free(o);
    o = read_good(in_data("routerarena/cached_results/tiny-1.jsonl"), NULL, NULL);
    assert_true(isnan(cell(o, 0, "tiny-1").cost_usd));
    metallm_outcomes_free(o);
    o = read_good(in_data("routerarena_predictions.json"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_true(cell(o, 0, "acme/large").cost_usd == 0.0025f);
    assert_true(cell(o, 0, "acme/large").output_tokens == 200);
    metallm_outcomes_free(o);
}

static void wide_columns_give_costs_beside_scores(void **state)
{
    (void)state;
    metallm_outcomes *o = read_good(in_data("wide.csv"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 3);
    assert_int_equal(metallm_outcomes_model_count(o), 2);
    metallm_query q = metallm_outcomes_query(o, 1);
    assert_string_equal(q.id, "q2");
    assert_string_equal(q.split, "dev");
    assert_string_equal(q.prompt, "What, then, is 2 + 2?");
    assert_string_equal(q.label, "4");
    assert_true(isnan(cell(o, 1, "big").score) && cell(o, 1, "big").cost_usd == 0.02f);
    assert_true(cell(o, 0, "big").latency_ms == 350 && cell(o, 0, "small").output_tokens == 12);
    metallm_outcomes_free(o);
}

static void long_rows_meet_by_id_or_by_prompt(void **state)
{
    (void)state;
    metallm_read_report report = {0};
    metallm_outcomes *o = read_good(in_data("long.csv"), NULL, &report);
    assert_int_equal(report.rows, 5);
    assert_int_equal(metallm_outcomes_query_count(o), 3);
    assert_string_equal(metallm_outcomes_query(o, 0).prompt, "What is\n1 + 1?");
    assert_true(cell(o, 0, "small").score == 0 && cell(o, 0, "small").latency_ms == 120);
    assert_true(isnan(cell(o, 1, "big").score) && cell(o, 1, "big").input_tokens == 11);
    assert_string_equal(metallm_outcomes_query(o, 2).task, "chat");
    assert_string_equal(metallm_outcomes_query(o, 2).id, "long.csv:6");
    assert_true(cell(o, 2, "big").score == 1 && cell(o, 2, "small").score == 0.5f);
    metallm_outcomes_free(o);
}

static void prices_fill_what_is_unknown_by_the_day(void **state)
{
    (void)state;
    static const struct {
        const char *day;
        double big;
    } cases[] = {{"2026-02-28", 1e-6 * (2.5 * 11 + 10 * 2)},
                 {"2026-03-01", 1e-6 * (1.0 * 11 + 4 * 2)},
                 {"2026-12-31", 0.05}};
    char prices[4096];
    snprintf(prices, sizeof prices, "%s", in_data("prices.yaml"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const metallm_read_options opts = {.prices = prices, .prices_on = cases[i].day};
        metallm_outcomes *o = read_good(in_data("long.jsonl"), &opts, NULL);
        assert_int_equal(metallm_outcomes_query_count(o), 2);
        assert_string_equal(metallm_outcomes_query(o, 1).prompt, "A\xe2\x80\xa8"
                                                                 "B");
        assert_string_equal(metallm_outcomes_query(o, 1).label, "7");
        assert_true(cell(o, 0, "big").cost_usd == 0.01f);     /* the file's own stands */
        assert_true(cell(o, 0, "small").cost_usd == 0.0002f); /* by the call */
        metallm_outcomes_free(o);
        metallm_outcomes *priced = NULL;
        assert_int_equal(metallm_outcomes_new(&priced, NULL), METALLM_OK);
        const metallm_outcome call = {1, NAN, NAN, 11, 2};
        size_t q;
        uint32_t m;
        assert_int_equal(metallm_outcomes_add_model(priced, "big", &m, NULL), METALLM_OK);
        assert_int_equal(
            metallm_outcomes_add_query(priced, &(metallm_query){.prompt = "p"}, &q, NULL),
            METALLM_OK);
        assert_int_equal(metallm_outcomes_set(priced, q, m, &call, NULL), METALLM_OK);
        assert_int_equal(metallm__read_prices(priced, &opts, NULL, NULL), METALLM_OK);
        assert_true(fabs((double)metallm_outcomes_get(priced, q, m).cost_usd - cases[i].big) <
                    1e-6 * cases[i].big);
        metallm_outcomes_free(priced);
    }
}

static void prompts_alone_are_queries_without_outcomes(void **state)
{
    (void)state;
    metallm_outcomes *o = read_good(in_data("prompts.jsonl"), NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_int_equal(metallm_outcomes_model_count(o), 0);
    assert_string_equal(metallm_outcomes_query(o, 1).prompt, "Say goodbye");
    metallm_outcomes_free(o);
}

static void task_and_split_can_be_given(void **state)
{
    (void)state;
    const metallm_read_options opts = {.task = "mine", .split = "held-out"};
    metallm_outcomes *o = read_good(in_data("paretobandit.jsonl"), &opts, NULL);
    assert_string_equal(metallm_outcomes_query(o, 1).task, "mine");
    assert_string_equal(metallm_outcomes_query(o, 1).split, "held-out");
    metallm_outcomes_free(o);
}

struct seen_responses {
    size_t count;
    char last[64];
};

static int keep_response(void *payload, size_t query, uint32_t model, struct metallm__span text,
                         metallm_error *err)
{
    struct seen_responses *seen = payload;
    (void)query, (void)model, (void)err;
    seen->count++;
    snprintf(seen->last, sizeof seen->last, "%.*s", (int)text.len, text.bytes);
    return METALLM_OK;
}

static void responses_reach_who_asks_for_them(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t count;
        const char *last;
    } cases[] = {{"routerbench.csv", 4, "x"},
                 {"long.csv", 4, "hello, you"},
                 {"wide.csv", 1, "two"},
                 {"llmrouter.jsonl", 4, "It is 11"},
                 {"routerarena/cached_results/tiny-1.jsonl", 3, "\\boxed{A}"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen_responses seen = {0};
        const struct metallm__response_sink sink = {keep_response, &seen};
        const metallm_read_options opts = {.problem = no_problem};
        metallm_outcomes *o = NULL;
        const char *format = NULL;
        assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
        assert_int_equal(
            metallm__read_file(o, in_data(cases[i].file), &opts, &sink, NULL, &format, NULL),
            METALLM_OK);
        assert_int_equal(seen.count, cases[i].count);
        assert_string_equal(seen.last, cases[i].last);
        metallm_outcomes_free(o);
    }
}

static int read_all(void *payload)
{
    metallm_outcomes *o = NULL;
    metallm_error err;
    int rc = metallm_outcomes_new(&o, &err);
    if (rc == METALLM_OK)
        rc = metallm_outcomes_read(o, payload, NULL, NULL, &err);
    metallm_outcomes_free(o);
    return rc;
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    static const char *const files[] = {"routerbench.csv", "routerdc.json", "long.jsonl",
                                        "routerarena"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s", in_data(files[i]));
        assert_true(fail_alloc_sweep(read_all, path) >= 8);
    }
}

/* The recorded sets beside the project, where they are: rows as their description states them. */
static void recorded_sets_give_their_stated_rows_and_means(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t rows;
        const char *model;
        double mean;
    } sets[] = {
        {"routellm_mmlu", 14042, "mistralai/Mixtral-8x7B-Instruct-v0.1", 0.681},
        {"routellm_mmlu", 14042, "gpt-4-1106-preview", 0.806},
        {"routerbench", 2225, NULL, 0},
        {"ulab", 5608, NULL, 0},
        {"dev/paretobandit/test.jsonl", 714, "google/gemini-2.5-pro", 0.9380},
        {"dev/routerbench/test", 882, "gpt-4-1106-preview", 0.8776},
        {"dev/ulab/test.json", 2244, "llama-3.1-nemotron-51b-instruct", 0.6229},
        {"dev/routerdc/test", 3040, "cognitivecomputations/dolphin-2.9-llama3-8b", 0.5413},
        {"dev/routellm_mmlu/test", 2419, "gpt-4-1106-preview", 0.8041},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        snprintf(path, sizeof path, "%s/../../../shared/data/%s", getenv("METALLM_TEST_DATA"),
                 sets[i].path);
        if (access(path, R_OK) != 0)
            skip();
        metallm_outcomes *o = read_good(path, NULL, NULL);
        assert_int_equal(metallm_outcomes_query_count(o), sets[i].rows);
        double sum = 0;
        for (size_t q = 0; sets[i].model != NULL && q < sets[i].rows; q++)
            sum += (double)cell(o, q, sets[i].model).score;
        if (sets[i].model != NULL && fabs(sum / (double)sets[i].rows - sets[i].mean) > 0.0005)
            fail_msg("%s: mean %.5f of %s", sets[i].path, sum / (double)sets[i].rows,
                     sets[i].model);
        metallm_outcomes_free(o);
    }
}

struct taken {
    size_t blocks, queries;
    metallm_outcomes *o;
};

static int take(void *payload, const metallm_outcomes *o, metallm_error *err)
{
    (void)err;
    struct taken *t = payload;
    assert_ptr_equal(o, t->o);
    t->blocks++;
    t->queries += metallm_outcomes_query_count(o);
    return METALLM_OK;
}

static void a_long_file_is_handed_over_in_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t blocks, left;                                        /* of one query each */
    } cases[] = {{"paretobandit.jsonl", 1, 1}, {"long.csv", 0, 3}}; /* rows of one query meet */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct taken t = {0};
        const struct metallm__block_sink sink = {1, take, &t};
        const metallm_read_options opts = {.problem = no_problem};
        const char *format;
        assert_int_equal(metallm_outcomes_new(&t.o, NULL), METALLM_OK);
        assert_int_equal(
            metallm__read_blocks(t.o, in_data(cases[i].file), &opts, &sink, NULL, &format, NULL),
            METALLM_OK);
        assert_int_equal(t.blocks, cases[i].blocks);
        assert_int_equal(t.queries, cases[i].blocks);
        assert_int_equal(metallm_outcomes_query_count(t.o), cases[i].left);
        assert_false(isnan((double)metallm_outcomes_get(t.o, 0, 0).score));
        metallm_outcomes_free(t.o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routerbench_prompts_are_unpacked_and_empty_scores_stay_missing),
        cmocka_unit_test(routellm_reads_a_folder_a_file_a_task),
        cmocka_unit_test(routerdc_scores_go_by_name_not_by_place),
        cmocka_unit_test(paretobandit_lines_end_at_line_feeds_alone),
        cmocka_unit_test(llmrouter_calls_of_one_query_meet),
        cmocka_unit_test(routerarena_takes_costs_from_its_cost_file),
        cmocka_unit_test(wide_columns_give_costs_beside_scores),
        cmocka_unit_test(long_rows_meet_by_id_or_by_prompt),
        cmocka_unit_test(prices_fill_what_is_unknown_by_the_day),
        cmocka_unit_test(prompts_alone_are_queries_without_outcomes),
        cmocka_unit_test(task_and_split_can_be_given),
        cmocka_unit_test(responses_reach_who_asks_for_them),
        cmocka_unit_test(a_long_file_is_handed_over_in_blocks),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(recorded_sets_give_their_stated_rows_and_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
