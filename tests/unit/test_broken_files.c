/* SPDX-License-Identifier: Apache-2.0
 * test_broken_files.c - what is wrong in a benchmark file is told with file, line and value,
 * counted and left out, or refused when strict; and what is odd but right is read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/prices.h"
#include "data/read.h"
#include "metallm/outcomes.h"
#include "support/cmocka_all.h"

struct told {
    size_t count;
    char first[512];
};

static void tell(void *payload, const char *message)
{
    struct told *t = payload;
    if (t->count++ == 0)
        snprintf(t->first, sizeof t->first, "%s", message);
}

static char folder[64];

static const char *write_file(const char *name, const char *bytes, size_t len)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

struct broken {
    const char *name, *bytes;
    size_t len; /* 0: up to the NUL */
    /* of the first problem, behind the folder; NULL: nothing is wrong */
    const char *says;
    size_t rows, skipped, bad, copies, queries;
};

static const struct broken cases[] = {
    /* Scores and costs */
    {"w.csv", "prompt,a,b\np,7,1\n", 0, "w.csv:2: score '7' of model 'a' is above 1", 1, 0, 1, 0,
     1},
    {"w.csv", "prompt,a,b\np,1,NaN\n", 0, "w.csv:2: score 'NaN' of model 'b' is not a number", 1, 0,
     1, 0, 1},
    {"w.csv", "prompt,a,b\np,-0.5,1\n", 0, "w.csv:2: score '-0.5' of model 'a' is negative", 1, 0,
     1, 0, 1},
    {"w.csv", "prompt,a\np,1\n\"q\nr\",yes\n", 0, "w.csv:3: score 'yes' of model 'a' is not", 2, 0,
     1, 0, 2},
    {"w.csv", "prompt,a,a:cost_usd\np,1,1e300\n", 0, "w.csv:2: cost '1e300' of model 'a' is too", 1,
     0, 1, 0, 1},
    {"w.csv", "prompt,a\np,\nq, 0.5 \n", 0, NULL, 2, 0, 0, 0, 2},
    {"t.csv", "prompt,a\np,True\nq,0.5\n", 0, "t.csv:3: score '0.5' of model 'a' is neither", 2, 0,
     1, 0, 2},
    {"p.jsonl", "{\"prompt\":\"p\",\"arms\":{\"a\":{\"reward\":NaN}}}\n", 0,
     "p.jsonl:1: score 'nan' of model 'a'", 1, 0, 1, 0, 1},
    {"p.jsonl", "{\"prompt\":\"p\",\"arms\":{\"a\":{\"reward\":1,\"cost\":-1}}}\n", 0,
     "p.jsonl:1: cost '-1' of model 'a' is negative", 1, 0, 1, 0, 1},
    {"p.jsonl", "{\"prompt\":\"p\",\"arms\":{\"a\":3}}\n", 0, "p.jsonl:1: arm 'a' is not an object",
     1, 0, 1, 0, 1},
    {"d.json", "[{\"question\":\"q\",\"scores\":{\"a\":[1],\"b\":1}}]", 0,
     "d.json:1: score '[...]' of model 'a'", 1, 0, 1, 0, 1},
    {"d.json", "[{\"question\":\"q\",\"scores\":{\"a\":1,\"a\":0}}]", 0,
     "d.json:1: model 'a' stands twice", 1, 0, 1, 0, 1},
    /* Rows */
    {"w.csv", "prompt,a,b\np,1\nq,1,0\n", 0, "w.csv:2: 2 fields, the header has 3", 2, 1, 0, 0, 1},
    {"w.csv", "prompt,a\n\"p\"x,1\nq,1\n", 0, "w.csv:2: text stands behind a closing quote", 2, 1,
     0, 0, 1},
    {"w.csv", "prompt,a\nq,1\n\"p,1\nr,1\n", 0, "w.csv:3: a quote is opened and never closed", 2, 1,
     0, 0, 1},
    {"w.csv", "prompt,a\nq,1\nr", 0, "w.csv:3: 1 fields, the header has 2", 2, 1, 0, 0, 1},
    {"w.csv", "prompt,a\n,1\nq,1\n", 0, "w.csv:2: the prompt is empty", 2, 1, 0, 0, 1},
    {"w.csv", "prompt,a\np\xff,1\nq,1\n", 0, "w.csv:2: prompt 'p\\xff' is not UTF-8", 2, 1, 0, 0,
     1},
    {"w.csv", "prompt,a\np\0z,1\nq,1\n", 19, "w.csv:2: prompt 'p\\x00z' holds a NUL", 2, 1, 0, 0,
     1},
    {"p.jsonl", "{\"prompt\":\"p\\u0000\",\"arms\":{\"a\":{\"reward\":1}}}\n", 0,
     "p.jsonl:1: prompt 'p\\x00' holds a NUL", 1, 1, 0, 0, 0},
    {"p.jsonl", "{\"prompt\":\"p\",\"arms\":{}}\n{\"prompt\": 3,\"arms\":{}}\n[]\n{\"prompt", 0,
     "p.jsonl:2: the prompt is empty", 4, 3, 0, 0, 1},
    {"d.json", "[{\"question\":\"q\",\"scores\":{\"a\":1}},\n{\"question\":\"r\",\"sco", 0,
     "d.json:2: the record is not closed: the file is cut off", 2, 1, 0, 0, 1},
    {"d.json",
     "[{\"question\":\"q\",\"scores\":{\"a\":1}},\n{\"question\":\"\xc3\",\"scores\":{}}]", 0,
     "d.json:2: not JSON", 2, 1, 0, 0, 1},
    {"r.csv", "sample_id,prompt,eval_name,a,a|total_cost\n1,['p,e,1,0\n2,['q'],e,1,0\n", 0,
     "r.csv:2: the prompt is no list of strings: '['p'", 2, 1, 0, 0, 1},
    {"l.json", "[{\"query\":\"q\",\"llm_name_list\":[\"a\"],\"perf_list\":[1,0]}]", 0,
     "l.json:1: 1 names of models and 2 scores", 1, 1, 0, 0, 0},
    /* Copies */
    {"w.csv", "query,prompt,a\n1,p,1\n1,p,1\n", 0, "w.csv:3: query '1' with model 'a' is there", 2,
     0, 0, 1, 1},
    {"w.csv", "prompt,a\np,1\np,1\n", 0, NULL, 2, 0, 0, 0, 2},
    {"w.csv", "query,prompt,a,b\n1,p,1,\n1,p,,0\n", 0, NULL, 2, 0, 0, 0, 1},
    {"w.csv", "query,prompt,a\n1,p,\n1,p,\n", 0, "w.csv:3: query '1' is there already", 2, 0, 0, 1,
     1},
    {"l.csv", "query,prompt,model,score\n1,p,a,1\n1,p,a,0\n1,p,b,0\n", 0,
     "l.csv:3: query '1' with model 'a' is there already", 3, 0, 0, 1, 1},
    {"l.csv", "query,prompt,model,score\n1,p,a,1\n1,other,b,0\n", 0,
     "l.csv:3: query '1' has another prompt elsewhere", 2, 1, 0, 0, 1},
    {"l.csv", "query,prompt,model,score\n1,,a,1\n", 0, "l.csv:2: the prompt is empty", 1, 1, 0, 0,
     0},
    {"l.csv", "prompt,model,score\np,,1\nq,a,1\n", 0, "l.csv:2: a model cannot be named ''", 2, 0,
     1, 0, 1},
    {"l.csv", "prompt,model,score,cost\np,a,1,5\n", 0, "l.csv:1: column 'cost' is not known", 1, 0,
     1, 0, 1},
};

static metallm_outcomes *new_table(void)
{
    metallm_outcomes *o = NULL;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    return o;
}

static void check(const struct broken *c, const char *path)
{
    struct told told = {0};
    metallm_error err = {0};
    metallm_read_report r = {0};
    metallm_read_options opts = {.problem = tell, .problem_payload = &told};
    metallm_outcomes *o = new_table();
    if (metallm_outcomes_read(o, path, &opts, &r, &err) != METALLM_OK)
        fail_msg("%s: %s", c->bytes, err.message);
    if (c->says != NULL && strstr(told.first, c->says) == NULL)
        fail_msg("'%s' told for '%s', not '%s'", told.first, c->bytes, c->says);
    if (told.count != c->skipped + c->bad + c->copies || r.rows != c->rows ||
        r.rows_skipped != c->skipped || r.cells_bad != c->bad || r.duplicates != c->copies ||
        metallm_outcomes_query_count(o) != c->queries)
        fail_msg("%s: told %zu, rows %zu, skipped %zu, bad %zu, copies %zu, queries %zu", c->bytes,
                 told.count, r.rows, r.rows_skipped, r.cells_bad, r.duplicates,
                 metallm_outcomes_query_count(o));
    metallm_outcomes_free(o);

    o = new_table();
    opts.is_strict = 1;
    int rc = metallm_outcomes_read(o, path, &opts, NULL, &err);
    assert_int_equal(rc, c->says != NULL ? METALLM_EFORMAT : METALLM_OK);
    if (c->says != NULL && strstr(err.message, c->says) == NULL)
        fail_msg("'%s' refused '%s', not '%s'", err.message, c->bytes, c->says);
    metallm_outcomes_free(o);
}

static void what_is_wrong_is_told_counted_and_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = cases[i].len > 0 ? cases[i].len : strlen(cases[i].bytes);
        check(&cases[i], write_file(cases[i].name, cases[i].bytes, len));
    }
}

static void a_file_that_is_wrong_from_its_beginning_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *format, *bytes, *says;
    } files[] = {
        {"a.csv", NULL, "", "the file is empty"},
        {"a.csv", NULL, "question,a\nq,1\n", "of no known format: begins with 'question,a'"},
        {"a.json", NULL, "{\"text\":\"x\"}\n", "of no known format"},
        {"a.json", NULL, "[", "of no known format"},
        {"a.csv", "wide", "question,a\nq,1\n", "a.csv:1: the header has no column 'prompt'"},
        {"a.csv", NULL, "prompt,a,a\nq,1,1\n", "a.csv:1: the header names column 'a' twice"},
        {"a.csv", NULL, "prompt,a,b:cost_usd\nq,1,1\n", "'b:cost_usd' belongs to no model"},
        {"a.csv", "wide", "\"prompt,a\nq,1\n", "a.csv:1: the header is broken: a quote is opened"},
        {"a.csv", "routerbench", "prompt,a|total_cost\nq,1\n", "belongs to no model's score"},
        {"a.csv", NULL, "query,model,score\n1,a,1\n", "a.csv:1: the header has no column 'prompt'"},
        {"a.csv", NULL, "prompt,model,score,score\np,a,1,1\n", "names column 'score' twice"},
        {"a.csv", "nonsense", "prompt,a\nq,1\n", "no format 'nonsense'"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        metallm_error err = {0};
        metallm_outcomes *o = new_table();
        const metallm_read_options opts = {.format = files[i].format};
        const char *path = write_file(files[i].name, files[i].bytes, strlen(files[i].bytes));
        int rc = metallm_outcomes_read(o, path, &opts, NULL, &err);
        if (rc == METALLM_OK || strstr(err.message, files[i].says) == NULL)
            fail_msg("%d '%s', not '%s'", rc, err.message, files[i].says);
        metallm_outcomes_free(o);
    }
}

static void paths_that_lead_nowhere_are_told(void **state)
{
    (void)state;
    char path[256];
    metallm_error err = {0};
    metallm_outcomes *o = new_table();
    snprintf(path, sizeof path, "%s/none.csv", folder);
    assert_int_equal(metallm_outcomes_read(o, path, NULL, NULL, &err), METALLM_ENOTFOUND);
    snprintf(path, sizeof path, "%s/empty", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(metallm_outcomes_read(o, path, NULL, NULL, &err), METALLM_ENOTFOUND);
    rmdir(path);
    metallm_outcomes_free(o);
}

static void strange_files_in_a_folder_are_told_and_passed_over(void **state)
{
    (void)state;
    struct told told = {0};
    metallm_read_report r = {0};
    const metallm_read_options opts = {.problem = tell, .problem_payload = &told};
    metallm_outcomes *o = new_table();
    unlink(write_file("d.json", "", 0)); /* left by others */
    write_file("w.csv", "prompt,a\np,1\n", 13);
    write_file("notes.json", "{\"title\": 1}", 12);
    char unrelated[256];
    snprintf(unrelated, sizeof unrelated, "%s", write_file("readme.txt", "prompt,a\n", 9));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, "w.csv") != 0)
            unlink(write_file(cases[i].name, "", 0));
    unlink(write_file("a.csv", "", 0));
    unlink(write_file("a.json", "", 0));
    assert_int_equal(metallm_outcomes_read(o, folder, &opts, &r, NULL), METALLM_OK);
    assert_int_equal(r.files, 1);
    assert_int_equal(r.files_unknown, 1);
    assert_non_null(strstr(told.first, "notes.json:1: of no known format"));
    metallm_outcomes_free(o);
    unlink(unrelated);
    unlink(write_file("notes.json", "", 0));
}

static int stop(void *payload, const char *what, uint64_t done, uint64_t total)
{
    (void)payload, (void)what, (void)done, (void)total;
    return 1;
}

static void a_stop_is_obeyed(void **state)
{
    (void)state;
    metallm_error err = {0};
    metallm_outcomes *o = new_table();
    const metallm_read_options opts = {.progress = {.step = stop}};
    const char *path = write_file("w.csv", "prompt,a\np,1\n", 13);
    assert_int_equal(metallm_outcomes_read(o, path, &opts, NULL, &err), METALLM_ECANCELED);
    metallm_outcomes_free(o);
}

static void a_wrong_price_file_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *says;
    } files[] = {
        {"models: [", "p.yaml:2: not YAML"},
        {"", "p.yaml:1: no mapping"},
        {"models: 3\n", "p.yaml:1: 'models' must map"},
        {"models:\n  a: {usd_per_call: free}\n", "p.yaml:2: a price is not a number: 'free'"},
        {"models:\n  a: {usd_per_call: -1}\n", "p.yaml:2: a price is out of range: '-1'"},
        {"models:\n  a: {usd_per_call: .nan}\n", "p.yaml:2: a price is not a number"},
        {"models:\n  a: {input: 1}\n", "p.yaml:2: neither usd_per_call nor input and output"},
        {"models:\n  a: {input: 1, ouput: 2}\n", "p.yaml:2: unknown key 'ouput'"},
        {"models:\n  a: {input: 1, input: 2, output: 1}\n", "p.yaml:2: a price stands twice"},
        {"models:\n  a:\n    - {usd_per_call: 1, from: 2026-02-30}\n", "p.yaml:3: not a day"},
        {"models:\n  a:\n    - {usd_per_call: 1}\n    - {usd_per_call: 2}\n",
         "p.yaml:4: a second price"},
        {"models:\n  a: 5\n", "p.yaml:2: a price must be"},
        {"models:\n  a: [[1]]\n", "p.yaml:2: a price must be"},
        {"models:\n  ? [a]\n  : {usd_per_call: 1}\n", "p.yaml:2: a model cannot be named"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct metallm__prices prices = {0};
        metallm_error err = {0};
        int rc =
            metallm__prices_parse(&prices, "p.yaml", files[i].bytes, strlen(files[i].bytes), &err);
        if (rc != METALLM_EFORMAT || strstr(err.message, files[i].says) == NULL)
            fail_msg("%d '%s', not '%s'", rc, err.message, files[i].says);
        metallm__prices_fini(&prices);
    }
}

static void a_model_without_a_price_is_told(void **state)
{
    (void)state;
    struct told told = {0};
    metallm_read_report r = {0};
    char prices[256];
    snprintf(prices, sizeof prices, "%s",
             write_file("p.yaml", "models: {b: {usd_per_call: 0.5}}\n", 33));
    metallm_read_options opts = {.prices = prices, .problem = tell, .problem_payload = &told};
    metallm_outcomes *o = new_table();
    const char *path = write_file("w.csv", "prompt,a,b\np,1,1\n", 17);
    assert_int_equal(metallm_outcomes_read(o, path, &opts, &r, NULL), METALLM_OK);
    assert_non_null(strstr(told.first, "p.yaml:1: no price for model 'a'"));
    assert_true(isnan(metallm_outcomes_get(o, 0, 0).cost_usd));
    assert_true(metallm_outcomes_get(o, 0, 1).cost_usd == 0.5f);
    opts.prices_on = "yesterday";
    assert_int_equal(metallm_outcomes_read(o, path, &opts, &r, NULL), METALLM_EINVAL);
    metallm_outcomes_free(o);
    unlink(prices);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/metallm-broken-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"w.csv",  "t.csv",  "l.csv", "r.csv", "p.jsonl",
                                        "d.json", "l.json", "a.csv", "a.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(write_file(names[i], "", 0));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_told_counted_and_left_out),
        cmocka_unit_test(a_file_that_is_wrong_from_its_beginning_is_refused),
        cmocka_unit_test(paths_that_lead_nowhere_are_told),
        cmocka_unit_test(strange_files_in_a_folder_are_told_and_passed_over),
        cmocka_unit_test(a_stop_is_obeyed),
        cmocka_unit_test(a_wrong_price_file_is_refused_with_its_line),
        cmocka_unit_test(a_model_without_a_price_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
