/* SPDX-License-Identifier: Apache-2.0
 * test_static.c - the static encoder's table: sums in closed form and damaged files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/safetensors.h"
#include "encoder/backend.h"
#include "encoder/static.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\ngreen\n##s\n";
enum { TOKENS = 9, RED = 5, BLUE = 6, GREEN = 7, PLURAL = 8, UNK = 1, DIM = 70 };

static char path[] = "/tmp/metallm-static-XXXXXX";
static int8_t rows[TOKENS * DIM];
static float scales[DIM];

static int make_table(void **state)
{
    (void)state;
    for (int i = 0; i < TOKENS; i++)
        for (int d = 0; d < DIM; d++)
            rows[i * DIM + d] = (int8_t)((i * 37 + d * 101) % 255 - 127);
    for (int d = 0; d < DIM; d++)
        scales[d] = 0.01f * (float)(d + 1);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_table(void **state)
{
    (void)state;
    return unlink(path);
}

static int save(metallm_error *err)
{
    return metallm__static_save(&(struct metallm__static_table){.tokens = TOKENS,
                                                                .dim = DIM,
                                                                .rows = rows,
                                                                .scales = scales,
                                                                .vocab = vocab,
                                                                .vocab_len = sizeof vocab - 1,
                                                                .is_uncased = true,
                                                                .sif_a = 1e-3},
                                path, err);
}

static int open_table(void **state, struct metallm__backend_facts *facts, metallm_error *err)
{
    metallm_encoder_options o = {.name = "static", .path = path};
    return metallm__backend_static.open(state, &o, facts, err);
}

/* The unit vector of the sum of these rows. */
static void expect(const float *got, const int *ids, int count)
{
    double sum[DIM], square = 0;
    for (int d = 0; d < DIM; d++) {
        sum[d] = 0;
        for (int i = 0; i < count; i++)
            sum[d] += (double)rows[ids[i] * DIM + d] * scales[d];
        square += sum[d] * sum[d];
    }
    for (int d = 0; d < DIM; d++)
        assert_true(fabs(got[d] - sum[d] / sqrt(square)) < 1e-6);
}

static void a_text_is_the_sum_of_its_tokens(void **state)
{
    (void)state;
    void *t = NULL;
    struct metallm__backend_facts facts;
    assert_int_equal(save(NULL), METALLM_OK);
    assert_int_equal(open_table(&t, &facts, NULL), METALLM_OK);
    assert_int_equal(facts.dim, DIM);
    assert_true(facts.has_tail);
    assert_int_equal(strncmp(facts.id, "static-", 7), 0);
    char longer[300 * 4 + 1] = "";
    for (int i = 0; i < 300; i++) /* 100 red, then 600 that no token fits */
        memcpy(longer + (size_t)i * 4, i < 100 ? "red " : "s~~ ", 5);
    const char *texts[] = {"Red blues", "", "?", "red red red green", longer};
    size_t lens[] = {9, 0, 1, 17, 300 * 4};
    float out[5 * 2 * DIM];
    uint32_t tokens[5];
    struct metallm__embed_job job = {texts, lens, 5, out, out + DIM, 2 * DIM, tokens};
    assert_int_equal(metallm__backend_static.embed(t, &job, NULL), METALLM_OK);
    expect(out, (const int[]){RED, BLUE, PLURAL}, 3);
    expect(out + DIM, (const int[]){RED, BLUE, PLURAL}, 3);
    expect(out + 2 * DIM, (const int[]){UNK}, 1);
    expect(out + 4 * DIM, (const int[]){UNK}, 1);
    expect(out + 6 * DIM, (const int[]){RED, RED, RED, GREEN}, 4);
    assert_int_equal(tokens[0], 3);
    assert_int_equal(tokens[4], METALLM__STATIC_TOKENS);
    int ids[METALLM__STATIC_TOKENS];
    for (int i = 0; i < (int)METALLM__STATIC_TOKENS; i++)
        ids[i] = i < 100 ? RED : UNK;
    expect(out + 8 * DIM, ids, METALLM__STATIC_TOKENS);
    for (int i = 0; i < (int)METALLM__STATIC_TOKENS; i++)
        ids[i] = UNK;
    expect(out + 9 * DIM, ids, METALLM__STATIC_TOKENS);
    metallm__backend_static.free(t);
}

static void sums_of_extreme_rows_do_not_overflow(void **state)
{
    (void)state;
    memset(rows + RED * DIM, 127, DIM);
    assert_int_equal(save(NULL), METALLM_OK);
    void *t = NULL;
    struct metallm__backend_facts facts;
    assert_int_equal(open_table(&t, &facts, NULL), METALLM_OK);
    char text[400 * 4];
    for (size_t i = 0; i < 400; i++)
        memcpy(text + i * 4, "red ", 4);
    float out[DIM];
    struct metallm__embed_job job = {
        (const char *const[]){text}, (const size_t[]){sizeof text}, 1, out, NULL, DIM, NULL};
    assert_int_equal(metallm__backend_static.embed(t, &job, NULL), METALLM_OK);
    expect(out, (const int[]){RED}, 1);
    metallm__backend_static.free(t);
}

static void another_table_has_another_id(void **state)
{
    (void)state;
    void *t = NULL;
    struct metallm__backend_facts a, b;
    assert_int_equal(save(NULL), METALLM_OK);
    assert_int_equal(open_table(&t, &a, NULL), METALLM_OK);
    metallm__backend_static.free(t);
    rows[3]++;
    assert_int_equal(save(NULL), METALLM_OK);
    assert_int_equal(open_table(&t, &b, NULL), METALLM_OK);
    metallm__backend_static.free(t);
    assert_string_not_equal(a.id, b.id);
}

/* A file with these parts changed or left out is refused with this sentence. */
static void write_odd(const char *format, size_t row_count, size_t scale_count, float scale,
                      const char *words)
{
    struct metallm__st_writer *w = NULL;
    assert_int_equal(metallm__st_writer_new(&w, NULL), METALLM_OK);
    float values[8] = {1, 1, 1, 1, 1, 1, 1, scale};
    int8_t numbers[200] = {0};
    int rc = metallm__st_put_meta(w, "format", format, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "version", "1", NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "rows", METALLM__I8, 2, (const size_t[]){row_count, 8}, numbers,
                             NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "scales", METALLM__F32, 1, &scale_count, values, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "vocab", METALLM__U8, 1, (const size_t[]){strlen(words)}, words,
                             NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, path, NULL);
    metallm__st_writer_free(w);
    assert_int_equal(rc, METALLM_OK);
}

static void assert_refused(int code, const char *said)
{
    void *t = NULL;
    struct metallm__backend_facts facts;
    metallm_error err = {0};
    assert_int_equal(open_table(&t, &facts, &err), code);
    assert_non_null(strstr(err.message, said));
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    write_odd("another", TOKENS, 8, 1, vocab);
    assert_refused(METALLM_EFORMAT, "is not a static encoder's table");
    write_odd(METALLM__STATIC_FORMAT, TOKENS - 1, 8, 1, vocab);
    assert_refused(METALLM_EFORMAT, "9 tokens for 8 rows");
    write_odd(METALLM__STATIC_FORMAT, TOKENS, 7, 1, vocab);
    assert_refused(METALLM_EFORMAT, "scales");
    write_odd(METALLM__STATIC_FORMAT, TOKENS, 8, NAN, vocab);
    assert_refused(METALLM_EFORMAT, "scale 7 is out of range");
    write_odd(METALLM__STATIC_FORMAT, 0, 8, 1, vocab);
    assert_refused(METALLM_EFORMAT, "0 x 8");
    write_odd(METALLM__STATIC_FORMAT, 2, 8, 1, "a\nb\n");
    assert_refused(METALLM_EFORMAT, "[UNK]");
}

static void without_a_table_the_message_says_how_to_make_one(void **state)
{
    (void)state;
    char folder[] = "/tmp/metallm-cache-XXXXXX";
    assert_non_null(mkdtemp(folder));
    const char *before = getenv("METALLM_CACHE");
    char *kept = before != NULL ? strdup(before) : NULL;
    setenv("METALLM_CACHE", folder, 1);
    void *t = NULL;
    struct metallm__backend_facts facts;
    metallm_error err = {0};
    metallm_encoder_options o = {.name = "static"};
    assert_int_equal(metallm__backend_static.open(&t, &o, &facts, &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "metallm distill"));
    if (kept != NULL)
        setenv("METALLM_CACHE", kept, 1);
    else
        unsetenv("METALLM_CACHE");
    free(kept);
    rmdir(folder);
}

static int save_and_open(void *payload)
{
    (void)payload;
    void *t = NULL;
    struct metallm__backend_facts facts;
    int rc = save(NULL);
    if (rc == METALLM_OK)
        rc = open_table(&t, &facts, NULL);
    metallm__backend_static.free(t);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(save_and_open, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_the_sum_of_its_tokens),
        cmocka_unit_test(sums_of_extreme_rows_do_not_overflow),
        cmocka_unit_test(another_table_has_another_id),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(without_a_table_the_message_says_how_to_make_one),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_table, remove_table);
}
