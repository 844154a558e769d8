/* SPDX-License-Identifier: Apache-2.0
 * test_inputs.c - what verbs read: outcomes from files or a store, and vectors of their prompts. */
#include "cli/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static char db[128], url[160];

static struct cli_io quiet_io(void)
{
    return (struct cli_io){.in = stdin, .out = stdout, .err = stderr};
}

static const char *in_data(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/formats/%s", getenv("METALLM_TEST_DATA"), name);
    return path;
}

static metallm_outcomes *load(const struct cli_inputs_options *opts, const char *file)
{
    const struct cli_io io = quiet_io();
    metallm_outcomes *o = NULL;
    metallm_error err = {0};
    const char *path = file != NULL ? in_data(file) : NULL;
    if (cli_inputs_load(&io, opts, &path, file != NULL, &o, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return o;
}

static struct cli_features features(const struct cli_inputs_options *opts,
                                    const metallm_outcomes *o, const char *wanted)
{
    const struct cli_io io = quiet_io();
    struct cli_features f = {0};
    metallm_error err = {0};
    if (cli_inputs_features(&io, opts, wanted, o, &f, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return f;
}

static void drop_store(void)
{
    char path[200];
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", db, suffixes[i]);
        unlink(path);
    }
}

static void equal_prompts_have_equal_vectors(void **state)
{
    (void)state;
    const struct cli_inputs_options opts = {.encoder = "hash"};
    metallm_outcomes *o = load(&opts, "wide.csv");
    struct cli_features f = features(&opts, o, NULL);
    size_t dim = metallm_layout_dim(&f.vectors.layout);
    assert_int_equal(f.vectors.rows, 3);
    assert_string_equal(f.vectors.encoder, "hash-256/2");
    assert_memory_equal(f.values, f.values + 2 * dim, dim * sizeof(float));
    assert_memory_not_equal(f.values, f.values + dim, dim * sizeof(float));
    cli_features_fini(&f);
    metallm_outcomes_free(o);
}

static void a_store_gives_the_vectors_that_were_made_before(void **state)
{
    (void)state;
    const struct cli_inputs_options plain = {.encoder = "hash"};
    const struct cli_inputs_options kept = {.encoder = "hash", .store = url};
    metallm_outcomes *o = load(&plain, "long.csv");
    struct cli_features made = features(&plain, o, NULL), first = features(&kept, o, NULL);
    size_t bytes = made.vectors.rows * metallm_layout_dim(&made.vectors.layout) * sizeof(float);
    assert_memory_equal(made.values, first.values, bytes);

    /* What is in the store is taken, whatever the encoder would say: one row is changed there. */
    const metallm_layout layout = made.vectors.layout;
    char kind[METALLM_ENCODER_ID_BYTES];
    snprintf(kind, sizeof kind, "hash-256/2 %u+%u+%u", layout.head, layout.tail, layout.text);
    const char *text = metallm_outcomes_query(o, 0).prompt;
    const size_t len = strlen(text);
    uint8_t found = 0;
    float *row = calloc(metallm_layout_dim(&layout), sizeof *row);
    row[0] = 42;
    struct metallm__store *s = NULL;
    const struct metallm__store_vectors v = {
        kind, &text, &len, 1, row, metallm_layout_dim(&layout), &found};
    assert_int_equal(metallm__store_open(&s, url, METALLM__STORE_FILL, NULL), METALLM_OK);
    assert_int_equal(metallm__store_vectors_put(s, &v, NULL), METALLM_OK);
    metallm__store_close(s);
    struct cli_features second = features(&kept, o, NULL);
    assert_true(second.values[0] == 42);
    assert_memory_equal(made.values + metallm_layout_dim(&layout),
                        second.values + metallm_layout_dim(&layout),
                        bytes - metallm_layout_dim(&layout) * sizeof(float));
    free(row);
    cli_features_fini(&made);
    cli_features_fini(&first);
    cli_features_fini(&second);
    metallm_outcomes_free(o);
    drop_store();
}

static void the_routers_encoder_is_opened_and_another_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *encoder, *precision, *wanted, *says; /* says NULL: it opens */
    } cases[] = {
        {NULL, NULL, "hash-256/2", NULL},
        {"auto", "auto", "hash-256/2", NULL},
        {"hash", NULL, "hash-256/2", NULL},
        {"hash", NULL, NULL, NULL},
        {"hash", NULL, "minilm-l6-v2/fp32", "needs vectors of 'minilm-l6-v2/fp32', the options"},
        {NULL, NULL, "hash-512/9", "needs vectors of 'hash-512/9', the options give 'hash-256/2'"},
        {NULL, NULL, "custom", "its maker's own"},
        {NULL, NULL, "nothing-known/fp32", "no encoder 'nothing'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cli_inputs_options opts = {.encoder = cases[i].encoder,
                                                .precision = cases[i].precision};
        metallm_encoder *e = NULL;
        metallm_error err = {0};
        int rc = cli_inputs_encoder(&opts, cases[i].wanted, &e, &err);
        if ((rc == METALLM_OK) != (cases[i].says == NULL) ||
            (cases[i].says != NULL && strstr(err.message, cases[i].says) == NULL))
            fail_msg("%zu: %d '%s'", i, rc, err.message);
        metallm_encoder_free(e);
    }
}

static void a_store_is_read_by_task_where_no_file_is_given(void **state)
{
    (void)state;
    struct metallm__store *s = NULL;
    struct metallm__store_added added = {0};
    const metallm_read_options read = {0};
    const char *format;
    assert_int_equal(metallm__store_open(&s, url, METALLM__STORE_FILL, NULL), METALLM_OK);
    assert_int_equal(
        metallm__store_import(s, in_data("long.csv"), &read, &added, NULL, &format, NULL),
        METALLM_OK);
    metallm__store_close(s);
    struct cli_inputs_options opts = {.store = url, .task = "chat"};
    metallm_outcomes *o = load(&opts, NULL);
    assert_int_equal(metallm_outcomes_query_count(o), 1);
    assert_int_equal(metallm_outcomes_model_count(o), 2);
    metallm_outcomes_free(o);
    const struct cli_io io = quiet_io();
    metallm_error err = {0};
    char prices[4096];
    snprintf(prices, sizeof prices, "%s", in_data("prices.yaml"));
    opts = (struct cli_inputs_options){.store = url, .task = "chat", .prices = prices};
    o = load(&opts, NULL);
    assert_true(metallm_outcomes_get(o, 0, metallm_outcomes_find_model(o, "small")).cost_usd ==
                0.0002f);
    metallm_outcomes_free(o);
    opts.task = "nothing";
    assert_int_equal(cli_inputs_load(&io, &opts, NULL, 0, &o, &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "of task nothing"));
    opts.store = NULL;
    assert_int_equal(cli_inputs_load(&io, &opts, NULL, 0, &o, &err), CLI_EUSAGE);
    drop_store();
}

static int make_features(void *payload)
{
    const struct cli_inputs_options opts = {.encoder = "hash", .store = payload};
    const struct cli_io io = quiet_io();
    const char *path = in_data("wide.csv");
    metallm_outcomes *o = NULL;
    struct cli_features f = {0};
    metallm_error err;
    drop_store();
    int rc = cli_inputs_load(&io, &opts, &path, 1, &o, &err);
    if (rc == METALLM_OK)
        rc = cli_inputs_features(&io, &opts, NULL, o, &f, &err);
    cli_features_fini(&f);
    metallm_outcomes_free(o);
    return rc;
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(make_features, url) > 15);
    drop_store();
}

static int name_store(void **state)
{
    (void)state;
    snprintf(db, sizeof db, "/tmp/metallm-inputs-%ld.db", (long)getpid());
    snprintf(url, sizeof url, "sqlite:%s", db);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_prompts_have_equal_vectors),
        cmocka_unit_test(a_store_gives_the_vectors_that_were_made_before),
        cmocka_unit_test(the_routers_encoder_is_opened_and_another_is_refused),
        cmocka_unit_test(a_store_is_read_by_task_where_no_file_is_given),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, name_store, NULL);
}
