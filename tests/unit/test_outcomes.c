/* SPDX-License-Identifier: Apache-2.0
 * test_outcomes.c - the table of outcomes: what goes in comes out, unknown stays unknown. */
#include "metallm/outcomes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static metallm_outcomes *table(void)
{
    metallm_outcomes *o = NULL;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    return o;
}

static uint32_t add_model(metallm_outcomes *o, const char *name)
{
    uint32_t m = UINT32_MAX;
    assert_int_equal(metallm_outcomes_add_model(o, name, &m, NULL), METALLM_OK);
    return m;
}

static size_t add_prompt(metallm_outcomes *o, const char *prompt)
{
    size_t q = SIZE_MAX;
    metallm_query query = {.prompt = prompt, .task = "t"};
    assert_int_equal(metallm_outcomes_add_query(o, &query, &q, NULL), METALLM_OK);
    return q;
}

static void a_model_has_one_index_whatever_how_often_it_is_added(void **state)
{
    (void)state;
    metallm_outcomes *o = table();
    assert_int_equal(add_model(o, "a"), 0);
    assert_int_equal(add_model(o, "b"), 1);
    assert_int_equal(add_model(o, "a"), 0);
    assert_int_equal(metallm_outcomes_model_count(o), 2);
    assert_string_equal(metallm_outcomes_model_name(o, 1), "b");
    assert_int_equal(metallm_outcomes_find_model(o, "b"), 1);
    assert_int_equal(metallm_outcomes_find_model(o, "c"), UINT32_MAX);
    metallm_outcomes_free(o);
    metallm_outcomes_free(NULL);
}

static void models_stop_at_their_limit(void **state)
{
    (void)state;
    metallm_outcomes *o = table();
    char name[16];
    for (unsigned m = 0; m < METALLM_MODELS_MAX; m++) {
        snprintf(name, sizeof name, "m%u", m);
        assert_int_equal(add_model(o, name), m);
    }
    uint32_t index = 7;
    metallm_error err;
    assert_int_equal(metallm_outcomes_add_model(o, "more", &index, &err), METALLM_ELIMIT);
    assert_non_null(strstr(err.message, "'more'"));
    assert_int_equal(metallm_outcomes_add_model(o, "", &index, &err), METALLM_EINVAL);
    char longest[METALLM_MODEL_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(metallm_outcomes_add_model(o, longest, &index, &err), METALLM_EINVAL);
    assert_int_equal(index, 7);
    metallm_outcomes_free(o);
}

static void texts_stay_where_they_are_while_the_table_grows(void **state)
{
    (void)state;
    metallm_outcomes *o = table();
    size_t first = add_prompt(o, "the first prompt");
    const char *text = metallm_outcomes_query(o, first).prompt;
    char *lengthy = malloc(3000001);
    memset(lengthy, 'p', 3000000);
    lengthy[3000000] = '\0';
    size_t big = add_prompt(o, lengthy);
    char prompt[64];
    for (int i = 0; i < 100000; i++) {
        snprintf(prompt, sizeof prompt, "prompt number %d", i);
        assert_int_equal(add_prompt(o, prompt), i + 2);
    }
    assert_ptr_equal(metallm_outcomes_query(o, first).prompt, text);
    assert_string_equal(text, "the first prompt");
    assert_string_equal(metallm_outcomes_query(o, big).prompt, lengthy);
    metallm_query q = metallm_outcomes_query(o, 99999);
    assert_string_equal(q.prompt, "prompt number 99997");
    assert_string_equal(q.task, "t");
    assert_string_equal(q.label, "");
    free(lengthy);
    metallm_outcomes_free(o);
}

static void a_prompt_over_the_limit_is_refused(void **state)
{
    (void)state;
    metallm_outcomes *o = table();
    char *prompt = malloc(METALLM_PROMPT_BYTES_MAX + 2);
    memset(prompt, 'p', METALLM_PROMPT_BYTES_MAX + 1);
    prompt[METALLM_PROMPT_BYTES_MAX + 1] = '\0';
    size_t q = 5;
    metallm_query query = {.prompt = prompt};
    assert_int_equal(metallm_outcomes_add_query(o, &query, &q, NULL), METALLM_ELIMIT);
    assert_int_equal(q, 5);
    assert_int_equal(metallm_outcomes_query_count(o), 0);
    free(prompt);
    metallm_outcomes_free(o);
}

static int is_unknown(const metallm_outcome *c)
{
    return isnan(c->score) && isnan(c->cost_usd) && isnan(c->latency_ms) &&
           isnan(c->input_tokens) && isnan(c->output_tokens);
}

static void cells_are_unknown_until_they_are_set(void **state)
{
    (void)state;
    metallm_outcomes *o = table();
    uint32_t a = add_model(o, "a");
    for (int i = 0; i < 10; i++)
        add_prompt(o, "p");
    metallm_outcome cell = metallm_outcome_unknown();
    assert_true(is_unknown(&cell));
    cell.score = 0.25f;
    cell.output_tokens = 12;
    assert_int_equal(metallm_outcomes_set(o, 4, a, &cell, NULL), METALLM_OK);
    uint32_t late = add_model(o, "late");
    for (size_t q = 0; q < 10; q++) {
        metallm_outcome got = metallm_outcomes_get(o, q, late);
        assert_true(is_unknown(&got));
        got = metallm_outcomes_get(o, q, a);
        assert_true(q == 4 ? got.score == 0.25f && isnan(got.cost_usd) && got.output_tokens == 12
                           : is_unknown(&got));
    }
    cell.score = NAN; /* a known value can be taken back */
    assert_int_equal(metallm_outcomes_set(o, 4, a, &cell, NULL), METALLM_OK);
    assert_true(isnan(metallm_outcomes_get(o, 4, a).score));
    metallm_outcomes_free(o);
}

static void values_out_of_range_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const metallm_outcome bad[] = {
        {7, 0, 0, 0, 0},  {-0.1f, 0, 0, 0, 0}, {1, -1, 0, 0, 0},        {1, INFINITY, 0, 0, 0},
        {1, 0, -1, 0, 0}, {1, 0, 0, -1, 0},    {1, 0, 0, 0, -INFINITY}, {INFINITY, 0, 0, 0, 0},
    };
    metallm_outcomes *o = table();
    uint32_t a = add_model(o, "a");
    size_t q = add_prompt(o, "p");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        metallm_error err;
        assert_int_equal(metallm_outcomes_set(o, q, a, &bad[i], &err), METALLM_EINVAL);
        assert_non_null(strstr(err.message, "'a'"));
        metallm_outcome got = metallm_outcomes_get(o, q, a);
        assert_true(is_unknown(&got));
    }
    metallm_outcomes_free(o);
}

static int build(void *payload)
{
    (void)payload;
    metallm_outcomes *o = NULL;
    metallm_error err;
    int rc = metallm_outcomes_new(&o, &err);
    for (int i = 0; rc == METALLM_OK && i < 40; i++) {
        size_t q;
        uint32_t m;
        metallm_query query = {.id = "i", .task = "t", .prompt = "a prompt"};
        metallm_outcome cell = {1, 1, 1, 1, 1};
        rc = metallm_outcomes_add_query(o, &query, &q, &err);
        if (rc == METALLM_OK)
            rc = metallm_outcomes_add_model(o, i % 2 ? "one" : "two", &m, &err);
        if (rc == METALLM_OK)
            rc = metallm_outcomes_set(o, q, m, &cell, &err);
    }
    metallm_outcomes_free(o);
    return rc;
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(build, NULL) > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_has_one_index_whatever_how_often_it_is_added),
        cmocka_unit_test(models_stop_at_their_limit),
        cmocka_unit_test(texts_stay_where_they_are_while_the_table_grows),
        cmocka_unit_test(a_prompt_over_the_limit_is_refused),
        cmocka_unit_test(cells_are_unknown_until_they_are_set),
        cmocka_unit_test(values_out_of_range_are_refused_and_change_nothing),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
