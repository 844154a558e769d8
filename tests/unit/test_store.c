/* SPDX-License-Identifier: Apache-2.0
 * test_store.c - what enters a store comes out again, once; and what happens when it cannot. */
#include "store/store.h"

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/read.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

struct place {
    char folder[64], url[160], db[128], file[128];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/metallm-store-XXXXXX");
    if (p == NULL || mkdtemp(p->folder) == NULL)
        return -1;
    snprintf(p->db, sizeof p->db, "%s/test.db", p->folder);
    snprintf(p->url, sizeof p->url, "sqlite:%s", p->db);
    snprintf(p->file, sizeof p->file, "%s/rows.csv", p->folder);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char path[256];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", p->db, suffixes[i]);
        unlink(path);
    }
    unlink(p->file);
    rmdir(p->folder);
    free(p);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const char *in_data(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/formats/%s", getenv("METALLM_TEST_DATA"), name);
    return path;
}

static struct metallm__store *open_store(const struct place *p, enum metallm__store_mode mode)
{
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    if (metallm__store_open(&s, p->url, mode, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return s;
}

static int import(struct metallm__store *s, const char *path, const metallm_read_options *opts,
                  struct metallm__store_added *added, metallm_error *err)
{
    static const metallm_read_options none = {0};
    const char *format;
    return metallm__store_import(s, path, opts != NULL ? opts : &none, added, NULL, &format, err);
}

static void import_good(struct metallm__store *s, const char *path,
                        struct metallm__store_added *added)
{
    metallm_error err = {0};
    if (import(s, path, NULL, added, &err) != METALLM_OK)
        fail_msg("%s", err.message);
}

static metallm_outcomes *read_store(struct metallm__store *s, const char *task, const char *split)
{
    metallm_outcomes *o = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    if (metallm__store_read(s, task, split, o, NULL, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return o;
}

static void assert_same_number(float a, float b)
{
    assert_true((isnan(a) && isnan(b)) || a == b);
}

static void assert_same_table(const metallm_outcomes *a, const metallm_outcomes *b)
{
    assert_int_equal(metallm_outcomes_query_count(a), metallm_outcomes_query_count(b));
    assert_int_equal(metallm_outcomes_model_count(a), metallm_outcomes_model_count(b));
    for (uint32_t m = 0; m < metallm_outcomes_model_count(a); m++)
        assert_string_equal(metallm_outcomes_model_name(a, m), metallm_outcomes_model_name(b, m));
    for (size_t q = 0; q < metallm_outcomes_query_count(a); q++) {
        const metallm_query x = metallm_outcomes_query(a, q), y = metallm_outcomes_query(b, q);
        assert_string_equal(x.id, y.id);
        assert_string_equal(x.task, y.task);
        assert_string_equal(x.split, y.split);
        assert_string_equal(x.prompt, y.prompt);
        assert_string_equal(x.label, y.label);
        for (uint32_t m = 0; m < metallm_outcomes_model_count(a); m++) {
            const metallm_outcome c = metallm_outcomes_get(a, q, m);
            const metallm_outcome d = metallm_outcomes_get(b, q, m);
            assert_same_number(c.score, d.score);
            assert_same_number(c.cost_usd, d.cost_usd);
            assert_same_number(c.latency_ms, d.latency_ms);
            assert_same_number(c.input_tokens, d.input_tokens);
            assert_same_number(c.output_tokens, d.output_tokens);
        }
    }
}

static void what_enters_comes_out_as_if_read_from_files(void **state)
{
    const struct place *p = *state;
    static const char *const files[] = {"routerbench.csv", "routellm/mmlu_colours.csv",
                                        "routerdc.json",   "paretobandit.jsonl",
                                        "llmrouter.jsonl", "wide.csv",
                                        "long.csv",        "prompts.jsonl"};
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    metallm_outcomes *o = NULL;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        import_good(s, in_data(files[i]), &added);
        assert_int_equal(metallm_outcomes_read(o, in_data(files[i]), NULL, NULL, NULL), METALLM_OK);
    }
    assert_int_equal(added.queries, metallm_outcomes_query_count(o));
    metallm__store_close(s);
    s = open_store(p, METALLM__STORE_USE);
    metallm_outcomes *back = read_store(s, NULL, NULL);
    assert_same_table(o, back);
    metallm_outcomes_free(back);
    back = read_store(s, "sums", "dev");
    assert_int_equal(metallm_outcomes_query_count(back), 2);
    assert_int_equal(metallm_outcomes_model_count(back), 2);
    metallm_outcomes_free(back);
    metallm_outcomes_free(o);
    metallm__store_close(s);
}

static void a_file_is_imported_once(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added first = {0}, second = {0};
    import_good(s, in_data("routellm/mmlu_colours.csv"), &first);
    assert_int_equal(first.queries, 3);
    assert_int_equal(first.outcomes, 6);
    import_good(s, in_data("routellm/mmlu_colours.csv"), &second);
    assert_int_equal(second.files_known, 1);
    assert_int_equal(second.queries + second.outcomes, 0);
    metallm_outcomes *o = read_store(s, NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 3);
    metallm_outcomes_free(o);
    metallm__store_close(s);
}

static void a_changed_file_replaces_what_it_gave(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    write_file(p->file, "query,prompt,model,score\n1,one,a,1\n2,two,a,0\n");
    import_good(s, p->file, &added);
    write_file(p->file, "query,prompt,model,score\n2,two,a,1\n3,three,b,0\n");
    import_good(s, p->file, &added);
    assert_int_equal(added.files_replaced, 1);
    metallm_outcomes *o = read_store(s, NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 2);
    assert_string_equal(metallm_outcomes_query(o, 0).prompt, "two");
    assert_true(metallm_outcomes_get(o, 0, metallm_outcomes_find_model(o, "a")).score == 1);
    metallm_outcomes_free(o);
    metallm__store_close(s);
}

static void rows_of_one_query_meet_across_files(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    import_good(s, in_data("routerarena/cached_results/acme_large.jsonl"), &added);
    import_good(s, in_data("routerarena/cached_results/tiny-1.jsonl"), &added);
    assert_int_equal(added.queries, 3);
    const metallm_read_options opts = {0};
    metallm_error err = {0};
    assert_int_equal(metallm__store_prices(s, in_data("routerarena/model_cost/model_cost.json"),
                                           &opts, &added, &err),
                     METALLM_OK);
    assert_int_equal(added.costs, 2);
    assert_int_equal(added.copies, 0);
    import_good(s, in_data("routerarena_predictions.json"), &added);
    assert_int_equal(added.queries, 4);
    assert_int_equal(added.copies, 1);
    metallm_outcomes *o = read_store(s, NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 4);
    const metallm_outcome c = metallm_outcomes_get(o, 0, metallm_outcomes_find_model(o, "tiny-1"));
    assert_true(c.score == 0 && fabsf(c.cost_usd - 3e-5f) < 1e-10f);
    metallm_outcomes_free(o);
    metallm__store_close(s);
}

static void a_refused_file_leaves_nothing(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    metallm_error err = {0};
    const metallm_read_options strict = {.is_strict = 1};
    write_file(p->file, "prompt,a,b\none,1,0\ntwo,7,0\n");
    assert_int_equal(import(s, p->file, &strict, &added, &err), METALLM_EFORMAT);
    assert_non_null(strstr(err.message, "rows.csv:3: score '7'"));
    struct metallm__store_summary summary;
    assert_int_equal(metallm__store_summary(s, &summary, NULL), METALLM_OK);
    assert_int_equal(summary.queries + summary.model_count, 0);
    assert_int_equal(added.queries, 0);
    import_good(s, p->file, &added); /* not strict: the row's other cell is kept */
    assert_int_equal(added.queries, 2);
    assert_int_equal(added.outcomes, 3);
    metallm__store_close(s);
}

static void refuse(const struct place *p, enum metallm__store_mode mode, int code, const char *says)
{
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    int rc = metallm__store_open(&s, p->url, mode, &err);
    if (rc != code || strstr(err.message, says) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err.message, code, says);
}

static void run_sql(const struct place *p, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void other_things_are_told_from_a_store(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm__store_open(&s, "nosql:x", METALLM__STORE_USE, &err), METALLM_EINVAL);
    assert_int_equal(metallm__store_open(&s, "sqlite:", METALLM__STORE_USE, &err), METALLM_EINVAL);
    refuse(p, METALLM__STORE_USE, METALLM_ENOTFOUND, "no store");
    write_file(p->db, "");
    refuse(p, METALLM__STORE_USE, METALLM_EFORMAT, "is empty");
    write_file(p->db, "This is a letter and not a database, however long it may become.\n");
    refuse(p, METALLM__STORE_USE, METALLM_EFORMAT, "not an SQLite database");
    refuse(p, METALLM__STORE_FILL, METALLM_EFORMAT, "not an SQLite database");
    unlink(p->db);
    run_sql(p, "CREATE TABLE recipes(name TEXT)");
    refuse(p, METALLM__STORE_FILL, METALLM_EFORMAT, "no store of metallm");
    unlink(p->db);
    metallm__store_close(open_store(p, METALLM__STORE_FILL));
    run_sql(p, "PRAGMA user_version=99");
    refuse(p, METALLM__STORE_FILL, METALLM_EFORMAT, "made by a newer metallm");
    run_sql(p, "PRAGMA user_version=0");
    refuse(p, METALLM__STORE_USE, METALLM_EFORMAT, "older schema 0");
}

static void a_folder_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm__store_open(&s, "sqlite:/nonexistent/x.db", METALLM__STORE_FILL, &err),
                     METALLM_EIO);
    assert_non_null(strstr(err.message, "/nonexistent/x.db"));
}

static void a_lock_of_another_is_waited_for_then_told(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    metallm_error err = {0};
    sqlite3 *other;
    assert_int_equal(sqlite3_open(p->db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    metallm__store_wait(s, 50);
    assert_int_equal(import(s, in_data("wide.csv"), NULL, &added, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "locked by another process"));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    import_good(s, in_data("wide.csv"), &added);
    assert_int_equal(added.queries, 3);
    metallm__store_close(s);
}

static void write_many_rows(const char *path, unsigned rows)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("prompt,a,b\n", f);
    for (unsigned i = 0; i < rows; i++)
        fprintf(f, "a prompt of some length that fills a few pages of a database %u,1,0\n", i);
    assert_int_equal(fclose(f), 0);
}

static void no_room_is_told_and_leaves_what_was_there(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    metallm_error err = {0};
    import_good(s, in_data("wide.csv"), &added);
    write_many_rows(p->file, 20000);
    struct rlimit before, small = {.rlim_cur = 400000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = import(s, p->file, NULL, &added, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, METALLM_EIO);
    assert_true(err.message[0] != '\0');
    metallm__store_close(s);
    s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_summary summary;
    assert_int_equal(metallm__store_summary(s, &summary, NULL), METALLM_OK);
    assert_int_equal(summary.queries, 3);
    import_good(s, p->file, &added);
    assert_int_equal(added.queries, 20003);
    metallm__store_close(s);
}

static void a_killed_import_leaves_whole_files(void **state)
{
    const struct place *p = *state;
    write_many_rows(p->file, 20000);
    for (unsigned delay_us = 2000; delay_us <= 250000; delay_us *= 5) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct metallm__store *s = NULL;
            struct metallm__store_added added = {0};
            if (metallm__store_open(&s, p->url, METALLM__STORE_FILL, NULL) == METALLM_OK)
                _exit(import(s, p->file, NULL, &added, NULL) == METALLM_OK ? 0 : 1);
            _exit(1);
        }
        usleep(delay_us);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
        struct metallm__store_summary summary;
        assert_int_equal(metallm__store_summary(s, &summary, NULL), METALLM_OK);
        assert_true(summary.queries == 0 || summary.queries == 20000);
        metallm__store_close(s);
    }
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    import_good(s, p->file, &added);
    metallm_outcomes *o = read_store(s, NULL, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 20000);
    metallm_outcomes_free(o);
    metallm__store_close(s);
}

static void a_damaged_store_is_told_or_read_never_a_crash(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_added added = {0};
    import_good(s, in_data("routerbench.csv"), &added);
    metallm__store_close(s);
    struct stat st;
    assert_int_equal(stat(p->db, &st), 0);
    unsigned refused = 0;
    for (long page = 1; page * 4096 < (long)st.st_size; page++) {
        FILE *f = fopen(p->db, "r+b");
        char before[512], noise[512];
        assert_non_null(f);
        assert_int_equal(fseek(f, page * 4096, SEEK_SET), 0);
        assert_int_equal(fread(before, 1, sizeof before, f), sizeof before);
        memset(noise, (int)(page * 37 & 0xff), sizeof noise);
        assert_int_equal(fseek(f, page * 4096, SEEK_SET), 0);
        assert_int_equal(fwrite(noise, 1, sizeof noise, f), sizeof noise);
        assert_int_equal(fclose(f), 0);
        metallm_outcomes *o = NULL;
        metallm_error err = {0};
        assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
        int rc = metallm__store_open(&s, p->url, METALLM__STORE_USE, &err);
        if (rc == METALLM_OK) {
            rc = metallm__store_read(s, NULL, NULL, o, NULL, &err);
            metallm__store_close(s);
        }
        assert_true(rc == METALLM_OK || err.message[0] != '\0');
        refused += rc != METALLM_OK;
        metallm_outcomes_free(o);
        f = fopen(p->db, "r+b");
        assert_int_equal(fseek(f, page * 4096, SEEK_SET), 0);
        assert_int_equal(fwrite(before, 1, sizeof before, f), sizeof before);
        assert_int_equal(fclose(f), 0);
    }
    assert_true(refused > 0);
}

static void vectors_are_known_by_text_and_encoder(void **state)
{
    const struct place *p = *state;
    const char *const texts[] = {"one", "two", "three"};
    const size_t lens[] = {3, 3, 5};
    float rows[6] = {1, 2, 3, 4, 5, 6}, back[6] = {0}, wide[9] = {0};
    uint8_t found[3] = {0, 1, 0};
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__store_vectors v = {"e/fp32 1+1+0", texts, lens, 3, rows, 2, found};
    assert_int_equal(metallm__store_vectors_put(s, &v, NULL), METALLM_OK);
    metallm__store_close(s);
    s = open_store(p, METALLM__STORE_USE);
    v.rows = back;
    assert_int_equal(metallm__store_vectors_get(s, &v, NULL), METALLM_OK);
    assert_true(found[0] == 1 && found[1] == 0 && found[2] == 1); /* the second was not put */
    assert_true(back[0] == 1 && back[1] == 2 && back[2] == 0 && back[4] == 5 && back[5] == 6);
    v.kind = "e/int8 1+1+0";
    assert_int_equal(metallm__store_vectors_get(s, &v, NULL), METALLM_OK);
    assert_true(found[0] == 0 && found[2] == 0);
    v = (struct metallm__store_vectors){"e/fp32 1+1+0", texts, lens, 3, wide, 3, found};
    assert_int_equal(metallm__store_vectors_get(s, &v, NULL), METALLM_OK);
    assert_true(found[0] == 0 && found[2] == 0); /* of another length: to be made anew */
    metallm__store_close(s);
}

static int import_and_read(void *payload)
{
    const struct place *p = payload;
    struct metallm__store *s = NULL;
    struct metallm__store_added added = {0};
    metallm_outcomes *o = NULL;
    metallm_error err;
    unlink(p->db);
    int rc = metallm__store_open(&s, p->url, METALLM__STORE_FILL, &err);
    if (rc == METALLM_OK)
        rc = import(s, in_data("routerbench.csv"), NULL, &added, &err);
    if (rc == METALLM_OK)
        rc = metallm_outcomes_new(&o, &err);
    if (rc == METALLM_OK)
        rc = metallm__store_read(s, NULL, NULL, o, NULL, &err);
    metallm_outcomes_free(o);
    metallm__store_close(s);
    return rc;
}

static void every_failed_allocation_is_told(void **state)
{
    assert_true(fail_alloc_sweep(import_and_read, *state) > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, make_place, drop_place)
        STORE_TEST(what_enters_comes_out_as_if_read_from_files),
        STORE_TEST(a_file_is_imported_once),
        STORE_TEST(a_changed_file_replaces_what_it_gave),
        STORE_TEST(rows_of_one_query_meet_across_files),
        STORE_TEST(a_refused_file_leaves_nothing),
        STORE_TEST(other_things_are_told_from_a_store),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
        STORE_TEST(a_lock_of_another_is_waited_for_then_told),
        STORE_TEST(no_room_is_told_and_leaves_what_was_there),
        STORE_TEST(a_killed_import_leaves_whole_files),
        STORE_TEST(a_damaged_store_is_told_or_read_never_a_crash),
        STORE_TEST(vectors_are_known_by_text_and_encoder),
        STORE_TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
