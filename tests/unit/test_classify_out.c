/* SPDX-License-Identifier: Apache-2.0
 * test_classify_out.c - what a job tells: its rows as a file, its progress in a line, its forecast.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "classify/out.h"
#include "cli/classify_forecast.h"
#include "cli/classify_progress.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

struct place {
    char folder[64], csv[96], jsonl[96];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/metallm-out-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        return -1;
    snprintf(p->csv, sizeof p->csv, "%s/out.csv", p->folder);
    snprintf(p->jsonl, sizeof p->jsonl, "%s/out.jsonl", p->folder);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;
    unlink(p->csv);
    unlink(p->jsonl);
    assert_int_equal(rmdir(p->folder), 0); /* nothing half written stands beside them */
    free(p);
    return 0;
}

static const struct metallm__out_row rows[] = {
    {.id = METALLM__SPAN("h1"),
     .label = "up",
     .llm = "small",
     .confidence = 0.75,
     .usd = 2.5e-06,
     .latency_ms = 12.5,
     .decision = "dec_x",
     .state = "answered",
     .how = "exact"},
    {.id = METALLM__SPAN("a,\"b\"\nc"),
     .label = "not, sure",
     .llm = " big",
     .confidence = NAN,
     .usd = NAN,
     .latency_ms = NAN,
     .decision = "",
     .state = "left",
     .how = ""},
};
#define HEADER "id,label,llm,confidence,usd,latency_ms,decision,state,how\n"

static int write_rows(void *path)
{
    struct metallm__out o = {0};
    int rc = metallm__out_open(&o, path, NULL);
    for (size_t i = 0; i < 2 && rc == METALLM_OK; i++)
        rc = metallm__out_row(&o, &rows[i], NULL);
    if (rc == METALLM_OK)
        rc = metallm__out_commit(&o, NULL);
    metallm__out_abort(&o);
    return rc;
}

static void assert_file(const char *path, const char *want)
{
    static char bytes[2048];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    bytes[fread(bytes, 1, sizeof bytes - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(bytes, want);
}

static void rows_are_csv_or_json_by_the_name_of_the_file(void **state)
{
    struct place *p = *state;
    assert_int_equal(write_rows(p->csv), METALLM_OK);
    assert_file(p->csv, HEADER "h1,up,small,0.75,2.5e-06,12.5,dec_x,answered,exact\n"
                               "\"a,\"\"b\"\"\nc\",\"not, sure\",\" big\",,,,,left,\n");
    assert_int_equal(write_rows(p->jsonl), METALLM_OK);
    assert_file(p->jsonl, "{\"id\":\"h1\",\"label\":\"up\",\"llm\":\"small\",\"confidence\":0.75,"
                          "\"usd\":2.5e-06,\"latency_ms\":12.5,\"decision\":\"dec_x\","
                          "\"state\":\"answered\",\"how\":\"exact\"}\n"
                          "{\"id\":\"a,\\\"b\\\"\\nc\",\"label\":\"not, sure\",\"llm\":\" big\","
                          "\"confidence\":null,\"usd\":null,\"latency_ms\":null,\"decision\":null,"
                          "\"state\":\"left\",\"how\":null}\n");
}

static void without_memory_the_old_file_stands(void **state)
{
    struct place *p = *state;
    FILE *f = fopen(p->csv, "wb");
    fputs("old", f);
    fclose(f);
    fail_alloc_at(0);
    assert_int_equal(write_rows(p->csv), METALLM_ENOMEM);
    fail_alloc_at(-1);
    assert_file(p->csv, "old");
    assert_true(fail_alloc_sweep(write_rows, p->csv) >= 2);
    assert_true(fail_alloc_sweep(write_rows, p->jsonl) >= 2);
}

static void progress_tells_rate_money_shares_and_time_left(void **state)
{
    (void)state;
    static const char *const llms[] = {"big", "small", "third"};
    static const uint64_t shares[] = {100, 400, 0}, none[] = {0, 0, 0};
    const struct metallm__run_state begun = {
        .texts = 5000, .llm_count = 3, .llms = llms, .shares = none};
    const struct metallm__run_state half = {.texts = 5000,
                                            .answered = 2500,
                                            .here = 500,
                                            .seconds = 5,
                                            .usd = 0.01,
                                            .lost_usd = 0.0025,
                                            .llm_count = 3,
                                            .llms = llms,
                                            .shares = shares};
    char line[320];
    cli_classify_progress_line(line, sizeof line, &begun);
    assert_string_equal(line, "0/5000 texts, 0.0/s, $0");
    cli_classify_progress_line(line, sizeof line, &half);
    assert_string_equal(line, "2500/5000 texts, 100/s, $0.0125, small 80 % big 20 %, 25 s left");
}

static void a_forecast_is_told_as_text_and_json(void **state)
{
    (void)state;
    struct metallm__run_forecast f = {.answered = 3,
                                      .texts = 5000,
                                      .looked_at = 2000,
                                      .paid_texts = 1000,
                                      .budget_usd = 0.5,
                                      .usd = 2.5,
                                      .most_usd = 10,
                                      .accuracy = NAN,
                                      .low = NAN,
                                      .high = NAN,
                                      .llm_count = 1};
    f.llms[0] = (struct metallm__run_forecast_llm){
        .name = "big", .share = 1, .single_usd = 2.5, .single_accuracy = 0.75};
    struct metallm__buf b;
    metallm__buf_init(&b, 65536);
    cli_classify_forecast_text(&f, &b);
    assert_non_null(
        strstr(b.data, "3 texts answered before, 5000 to ask (judged by 2000 of them)"));
    assert_non_null(strstr(b.data, "dollars: 2.5, at most 10\nright:   not known\n"));
    assert_non_null(strstr(b.data, "the budget of 0.5 dollars pays for about 1000 of them"));
    metallm__buf_clear(&b);
    cli_classify_forecast_json(&f, &b);
    yyjson_doc *doc = NULL;
    assert_int_equal(metallm__json_read(&doc, b.data, b.len, NULL), METALLM_OK);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_true(yyjson_is_null(yyjson_obj_get(root, "accuracy")));
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(root, "paid_texts")), 1000);
    yyjson_val *llm = yyjson_arr_get_first(yyjson_obj_get(root, "llms"));
    assert_string_equal(yyjson_get_str(yyjson_obj_get(llm, "name")), "big");
    assert_true(yyjson_get_num(yyjson_obj_get(llm, "single_accuracy")) == 0.75);
    yyjson_doc_free(doc);
    metallm__buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_csv_or_json_by_the_name_of_the_file, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(without_memory_the_old_file_stands, make_place, drop_place),
        cmocka_unit_test(progress_tells_rate_money_shares_and_time_left),
        cmocka_unit_test(a_forecast_is_told_as_text_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
