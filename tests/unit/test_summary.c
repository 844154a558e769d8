/* SPDX-License-Identifier: Apache-2.0
 * test_summary.c - a job's figures against hand-made rows: accuracy and interval, matrix, dollars,
 * what single LLMs would have reached, and the three ways to tell them. */
#include "classify/summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define NONE METALLM__LABEL_NONE

static struct metallm__labels *labels;
static const char *const llms[] = {"small", "large <b>"};

static int setup(void **state)
{
    (void)state;
    return metallm__labels_parse(&labels, "up,down,\"flat\"", NULL);
}

static int teardown(void **state)
{
    (void)state;
    metallm__labels_free(labels);
    return 0;
}

static int new_summary(struct metallm__summary **out)
{
    const struct metallm__summary_setup s = {.job = "job \"1\"",
                                             .router = "auto",
                                             .input = "in.csv",
                                             .labels = labels,
                                             .llms = llms,
                                             .llm_count = 2,
                                             .budget_usd = NAN,
                                             .dial = 0.5,
                                             .target = NAN,
                                             .lessons = "gold"};
    return metallm__summary_new(out, &s, NULL);
}

static struct metallm__summary *summary(void)
{
    struct metallm__summary *s = NULL;
    assert_int_equal(new_summary(&s), METALLM_OK);
    return s;
}

static void add(struct metallm__summary *s, uint32_t llm, uint32_t label, uint32_t gold,
                double confidence, double usd)
{
    const struct metallm__summary_call call = {
        .llm = llm, .label = label, .usd = usd, .latency_ms = 10 * (llm + 1)};
    const float usd_of[] = {0.25f, 1};
    const struct metallm__summary_row row = {.label = label,
                                             .llm = llm,
                                             .gold = gold,
                                             .how = label == NONE ? METALLM__LABEL_UNMAPPED
                                                                  : METALLM__LABEL_EXACT,
                                             .confidence = confidence,
                                             .propensity = NAN,
                                             .calls = &call,
                                             .call_count = 1,
                                             .usd_of = usd_of,
                                             .judged = NAN};
    metallm__summary_add(s, &row);
}

static void wilson_is_wilsons(void **state)
{
    (void)state;
    struct metallm__share w; /* checked against the closed form for 8 of 10: 0.4902, 0.9433 */
    metallm__wilson(8, 10, &w);
    assert_true(w.value == 0.8 && fabs(w.low - 0.490162) < 1e-5 && fabs(w.high - 0.943318) < 1e-5);
    metallm__wilson(0, 10, &w);
    assert_true(w.low == 0 && fabs(w.high - 0.277533) < 1e-5);
    metallm__wilson(10, 10, &w);
    assert_true(fabs(w.low - 0.722467) < 1e-5 && w.high == 1);
    metallm__wilson(0, 0, &w);
    assert_true(isnan(w.value) && isnan(w.low) && isnan(w.high));
}

static void figures_are_those_of_the_rows(void **state)
{
    (void)state;
    struct metallm__summary *s = summary();
    add(s, 0, 0, 0, 0.85, 0.5);
    add(s, 0, 1, 0, 0.65, 0.5);
    add(s, 1, 1, 1, 0.95, 2);
    add(s, 1, NONE, 1, NAN, 2); /* no label is wrong */
    add(s, 0, 2, NONE, 0.5, 0.5);
    const struct metallm__summary_row left = {
        .label = NONE, .llm = NONE, .gold = 0, .usd_lost = 0.125, .judged = NAN};
    metallm__summary_add(s, &left);
    metallm__summary_close(
        s, &(struct metallm__summary_end){.texts = 7, .seconds = 2, .is_budget_spent = true});
    struct metallm__summary_told t;
    metallm__summary_tell(s, &t);
    assert_int_equal(t.texts, 7);
    assert_int_equal(t.answered, 5);
    assert_int_equal(t.unmapped, 1);
    assert_int_equal(t.unanswered, 2);
    assert_true(t.accuracy.of == 4 && t.accuracy.hits == 2);
    assert_true(fabs(t.usd - 5.5) < 1e-9 && fabs(t.usd_lost - 0.125) < 1e-9);
    assert_true(fabs(t.usd_a_text - 1.1) < 1e-9);
    /* up: said 1, true 2, right 1: F1 2/3; down: 2, 2, 1: 1/2; flat: neither said nor true */
    assert_true(fabs(t.macro_f1 - (2.0 / 3 + 0.5) / 2) < 1e-9);
    assert_true(fabs(t.ece - (0.15 + 0.65 + 0.05) / 3) < 1e-9);
    assert_int_equal(metallm__summary_confusion(s, 0, 1), 1);
    assert_int_equal(metallm__summary_confusion(s, 1, 3), 1);
    struct metallm__summary_llm m;
    metallm__summary_llm_tell(s, 0, &m);
    assert_true(m.answered == 3 && m.calls == 3 && m.unmapped == 0);
    assert_true(m.right.of == 2 && m.right.hits == 1 && fabs(m.latency_ms - 10) < 1e-9);
    assert_true(fabs(m.single_usd - (3 * 0.5 + 2 * 0.25)) < 1e-6);
    assert_true(isnan(m.single)); /* no propensity: nothing can be said */
    metallm__summary_llm_tell(s, 1, &m);
    assert_true(m.unmapped == 1 && fabs(m.single_usd - (3 * 1 + 2 * 2)) < 1e-6);
    metallm__summary_free(s);
}

static void single_llms_are_counted_where_all_were_asked(void **state)
{
    (void)state;
    struct metallm__summary *s = summary();
    for (uint32_t i = 0; i < 10; i++) {
        const struct metallm__summary_call calls[] = {
            {.llm = 1, .label = 0, .usd = 1, .latency_ms = NAN},
            {.llm = 0, .label = i < 4 ? 0 : 1, .usd = 1, .latency_ms = NAN}};
        const struct metallm__summary_row row = {.label = 0,
                                                 .llm = 1,
                                                 .gold = 0,
                                                 .how = METALLM__LABEL_LED,
                                                 .confidence = NAN,
                                                 .propensity = 1,
                                                 .calls = calls,
                                                 .call_count = 2,
                                                 .judged = 0.5,
                                                 .is_lesson = true};
        metallm__summary_add(s, &row);
    }
    struct metallm__summary_llm m;
    metallm__summary_llm_tell(s, 0, &m);
    assert_true(m.is_single_exact && m.single_rows == 10 && fabs(m.single - 0.4) < 1e-9);
    struct metallm__summary_told t;
    metallm__summary_tell(s, &t);
    assert_true(t.best == 1 && t.agreement.of == 10 && t.agreement.hits == 4);
    assert_true(t.judged_count == 10 && t.judged == 0.5);
    metallm__summary_free(s);
}

static void a_judge_costs_and_answers_nothing(void **state)
{
    (void)state;
    struct metallm__summary *s = NULL;
    const struct metallm__summary_setup setup_of = {
        .labels = labels, .llms = llms, .llm_count = 2, .candidate_count = 1};
    assert_int_equal(metallm__summary_new(&s, &setup_of, NULL), METALLM_OK);
    const struct metallm__summary_call calls[] = {
        {.llm = 0, .label = 1, .usd = 1, .latency_ms = 1},
        {.llm = 1, .label = NONE, .usd = 2, .latency_ms = 1, .is_judge = true}};
    const struct metallm__summary_row row = {.label = 1,
                                             .llm = 0,
                                             .gold = 1,
                                             .how = METALLM__LABEL_EXACT,
                                             .confidence = NAN,
                                             .propensity = NAN,
                                             .calls = calls,
                                             .call_count = 2,
                                             .judged = 1,
                                             .is_lesson = true};
    metallm__summary_add(s, &row);
    struct metallm__summary_told t;
    struct metallm__summary_llm m;
    metallm__summary_tell(s, &t);
    assert_true(t.usd == 3 && t.agreement.of == 0 && t.best == 0);
    metallm__summary_llm_tell(s, 0, &m);
    assert_true(m.is_single_exact && m.single == 1); /* all who may answer were asked */
    metallm__summary_llm_tell(s, 1, &m);
    assert_true(m.calls == 1 && m.unmapped == 0 && m.usd == 2 && isnan(m.single));
    metallm__summary_free(s);
}

/* A thousand texts, drawn with known chances: the estimate of each LLM alone must cover the truth,
 * with beliefs that are quite wrong. */
static void single_llms_are_estimated_by_propensity(void **state)
{
    (void)state;
    static const double truth[] = {0.6, 0.9};
    unsigned covered[2] = {0, 0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct metallm__summary *s = summary();
        metallm_rng rng;
        metallm_rng_seed(&rng, seed);
        for (uint32_t i = 0; i < 1000; i++) {
            const double p1 = 0.2 + 0.6 * metallm__rng_uniform(&rng);
            const uint32_t llm = metallm__rng_uniform(&rng) < p1;
            const struct metallm__summary_call call = {
                .llm = llm,
                .label = metallm__rng_uniform(&rng) < truth[llm] ? 0 : 1,
                .usd = 1,
                .latency_ms = 1};
            const float quality_of[] = {0.9f, 0.5f};
            const struct metallm__summary_row row = {.label = call.label,
                                                     .llm = llm,
                                                     .gold = 0,
                                                     .how = METALLM__LABEL_EXACT,
                                                     .confidence = NAN,
                                                     .propensity = llm ? p1 : 1 - p1,
                                                     .calls = &call,
                                                     .call_count = 1,
                                                     .quality_of = quality_of,
                                                     .judged = NAN};
            metallm__summary_add(s, &row);
        }
        for (uint32_t m = 0; m < 2; m++) {
            struct metallm__summary_llm told;
            metallm__summary_llm_tell(s, m, &told);
            assert_false(told.is_single_exact);
            assert_true(told.single_high - told.single_low < 0.2);
            covered[m] += told.single_low <= truth[m] && truth[m] <= told.single_high;
        }
        metallm__summary_free(s);
    }
    assert_true(covered[0] >= 35 && covered[1] >= 35);
}

/* A choice without chance tells nothing of the LLM that it passes by, whatever is believed. */
static void an_llm_without_a_chance_is_known_from_lessons_alone(void **state)
{
    (void)state;
    struct metallm__summary *s = summary();
    const float quality_of[] = {0.9f, 0.9f};
    for (uint32_t i = 0; i < 100; i++) {
        const struct metallm__summary_call calls[] = {
            {.llm = 0, .label = 0, .usd = 1, .latency_ms = 1},
            {.llm = 1, .label = i % 2, .usd = 1, .latency_ms = 1}};
        const struct metallm__summary_row row = {.label = 0,
                                                 .llm = 0,
                                                 .gold = 0,
                                                 .how = METALLM__LABEL_EXACT,
                                                 .confidence = NAN,
                                                 .propensity = 1,
                                                 .calls = calls,
                                                 .call_count = i < 20 || i > 90 ? 2 : 1,
                                                 .quality_of = quality_of,
                                                 .judged = NAN,
                                                 .is_lesson = i < 20};
        metallm__summary_add(s, &row);
        if (i == 0 || i == 19 || i == 99) {
            struct metallm__summary_llm m;
            metallm__summary_llm_tell(s, 1, &m);
            assert_true(m.single_rows == (i < 20 ? i + 1 : 20));
            assert_true(fabs(m.single - (i == 0 ? 1 : 0.5)) < 1e-9);
        }
    }
    metallm__summary_free(s);
}

static void it_is_told_as_json_and_text(void **state)
{
    (void)state;
    struct metallm__summary *s = summary();
    add(s, 0, 0, 0, 0.85, 0.5);
    add(s, 1, 1, 0, 0.85, 1e-9);
    const struct metallm__cascade cascade = {.count = 2,
                                             .llm = {0, 1},
                                             .keep = {0.75, 0},
                                             .accuracy = 0.5,
                                             .usd = 0.1,
                                             .share = {1, 0},
                                             .is_target_met = true};
    metallm__summary_close(
        s, &(struct metallm__summary_end){.texts = 2, .seconds = NAN, .cascade = &cascade});
    struct metallm__buf out;
    metallm__buf_init(&out, 65536);
    metallm__summary_json(s, &out);
    yyjson_doc *doc = NULL;
    assert_int_equal(metallm__json_read(&doc, out.data, out.len, NULL), METALLM_OK);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "job")), "job \"1\"");
    assert_true(yyjson_get_num(yyjson_ptr_get(root, "/accuracy/value")) == 0.5);
    assert_true(yyjson_is_null(yyjson_obj_get(root, "seconds")));
    assert_int_equal(yyjson_get_uint(yyjson_ptr_get(root, "/confusion/0/1")), 1);
    assert_int_equal(yyjson_arr_size(yyjson_ptr_get(root, "/confusion/0")), 4);
    assert_string_equal(yyjson_get_str(yyjson_ptr_get(root, "/labels/2/name")), "\"flat\"");
    assert_string_equal(yyjson_get_str(yyjson_ptr_get(root, "/cascade/stages/1/llm")), llms[1]);
    assert_int_equal(yyjson_get_uint(yyjson_ptr_get(root, "/read_as/exact")), 2);
    yyjson_doc_free(doc);
    metallm__buf_clear(&out);
    metallm__summary_text(s, &out);
    static const char *const said[] = {"2 texts: 2 answered\n", "accuracy: 50.0 % [",
                                       "gold \\ said", "kept from 0.750 on", "large <b>"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (strstr(out.data, said[i]) == NULL)
            fail_msg("no '%s' in:\n%s", said[i], out.data);
    size_t widest = 0;
    for (const char *line = out.data; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        widest = end != NULL && (size_t)(end - line) > widest ? (size_t)(end - line) : widest;
        line = end != NULL ? end + 1 : NULL;
    }
    assert_true(widest <= 120);
    metallm__buf_fini(&out);
    metallm__summary_free(s);
}

static int make(void *payload)
{
    struct metallm__summary *s = NULL;
    (void)payload;
    const int rc = new_summary(&s);
    metallm__summary_free(s);
    return rc;
}

static void missing_memory_is_told(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(make, NULL), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_is_wilsons),
        cmocka_unit_test(figures_are_those_of_the_rows),
        cmocka_unit_test(single_llms_are_counted_where_all_were_asked),
        cmocka_unit_test(a_judge_costs_and_answers_nothing),
        cmocka_unit_test(single_llms_are_estimated_by_propensity),
        cmocka_unit_test(an_llm_without_a_chance_is_known_from_lessons_alone),
        cmocka_unit_test(it_is_told_as_json_and_text),
        cmocka_unit_test(missing_memory_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
