/* SPDX-License-Identifier: Apache-2.0
 * test_distill.c - each step from token vectors to a static encoder's table, by hand. */
#include "encoder/distill.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metallm/encoder.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\ngreen\n##s\n";
enum { TOKENS = 9, RED = 5, BLUE = 6 };

static void open_words(struct metallm__tokenizer *t)
{
    assert_int_equal(metallm__tokenizer_init_bytes(t, vocab, sizeof vocab - 1, "words", true, NULL),
                     METALLM_OK);
}

static const char *const texts[] = {"red blue", "red green", "red", "blue blue red", ""};
static const size_t lens[] = {8, 9, 3, 13, 0};
static const struct metallm__corpus corpus = {texts, lens, 5};

/* Two columns, all steps by hand: centring, axes, weights, the removed direction, 8 bits. */
static void distilled_rows_follow_the_formulas(void **state)
{
    (void)state;
    struct metallm__tokenizer t;
    open_words(&t);
    /* Tokens with a vector: red, blue, green, ##s; the others are zero and stay zero. */
    float vectors[TOKENS * 2] = {0};
    const float given[4][2] = {{4, 1}, {-2, 1}, {0, -1}, {2, 3}};
    memcpy(vectors + RED * 2, given, sizeof given);
    int8_t got[TOKENS * 2];
    float scale[2];
    struct metallm__distill_report report;
    struct metallm__distill_options o = {.dim = 2, .sif_a = 0.125};
    assert_int_equal(metallm__distill_rows(vectors, 2, &t, &corpus, &o, got, scale, &report, NULL),
                     METALLM_OK);
    assert_int_equal(report.corpus_texts, 4);
    assert_int_equal(report.corpus_tokens, 8);
    assert_int_equal(report.corpus_distinct, 3);
    assert_true(fabs(report.kept - 1) < 1e-9);
    /* With dim = width PCA is a rotation: lengths and angles are those of w_i (v_i - mean). Then
     * one direction is gone: what is left lies on a line. */
    const double w[4] = {.125 / (.125 + 4.0 / 8), .125 / (.125 + 3.0 / 8), .125 / (.125 + 1.0 / 8),
                         1};
    double z[4][2], gram[3] = {0};
    for (int i = 0; i < 4; i++)
        for (int d = 0; d < 2; d++)
            z[i][d] = w[i] * (given[i][d] - 1); /* the mean is (1, 1) */
    const double mix[4][4] = {{.5, .5}, {.5, 0, .5}, {1}, {1 / 3.0, 2 / 3.0}};
    for (int s = 0; s < 4; s++) {
        double v[2] = {0};
        for (int i = 0; i < 4; i++)
            for (int d = 0; d < 2; d++)
                v[d] += mix[s][i] * z[i][d];
        gram[0] += v[0] * v[0];
        gram[1] += v[0] * v[1];
        gram[2] += v[1] * v[1];
    }
    double angle = .5 * atan2(2 * gram[1], gram[0] - gram[2]); /* of the first direction */
    for (int i = 0; i < 4; i++) {
        double left = -sin(angle) * z[i][0] + cos(angle) * z[i][1];
        double x = got[(RED + i) * 2] * scale[0], y = got[(RED + i) * 2 + 1] * scale[1];
        assert_true(fabs(sqrt(x * x + y * y) - fabs(left)) < 0.01);
    }
    for (int i = 0; i < RED * 2; i++)
        assert_int_equal(got[i], 0);
    metallm__tokenizer_fini(&t);
}

static void a_corpus_without_words_is_refused(void **state)
{
    (void)state;
    struct metallm__tokenizer t;
    open_words(&t);
    float vectors[TOKENS * 2] = {0};
    int8_t got[TOKENS * 2];
    float scale[2];
    struct metallm__distill_report report;
    metallm_error err = {0};
    const struct metallm__corpus blank = {(const char *const[]){"  "}, (const size_t[]){2}, 1};
    struct metallm__distill_options o = {.dim = 2};
    assert_int_equal(metallm__distill_rows(vectors, 2, &t, &blank, &o, got, scale, &report, &err),
                     METALLM_EINVAL);
    assert_non_null(strstr(err.message, "holds no text"));
    o.dim = 3;
    assert_int_equal(metallm__distill_rows(vectors, 2, &t, &corpus, &o, got, scale, &report, &err),
                     METALLM_EINVAL);
    o = (struct metallm__distill_options){.dim = 2, .sif_a = -1};
    assert_int_equal(metallm__distill_rows(vectors, 2, &t, &corpus, &o, got, scale, &report, &err),
                     METALLM_EINVAL);
    metallm__tokenizer_fini(&t);
}

static int distill_once(void *payload)
{
    struct metallm__tokenizer *t = payload;
    float vectors[TOKENS * 2] = {0};
    vectors[RED * 2] = 1;
    vectors[BLUE * 2 + 1] = 1;
    int8_t got[TOKENS * 2];
    float scale[2];
    struct metallm__distill_report report;
    struct metallm__distill_options o = {.dim = 2};
    return metallm__distill_rows(vectors, 2, t, &corpus, &o, got, scale, &report, NULL);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    struct metallm__tokenizer t;
    open_words(&t);
    assert_true(fail_alloc_sweep(distill_once, &t) > 5);
    metallm__tokenizer_fini(&t);
}

/* A folder with MiniLM's weights and the first 1,100 lines of its vocabulary: the marks, digits and
 * letters. */
static void make_teacher(char *folder)
{
    const char *cache = getenv("METALLM_TEST_CACHE");
    char path[600], target[600];
    assert_non_null(cache);
    assert_non_null(mkdtemp(folder));
    snprintf(target, sizeof target, "%s/minilm/model.safetensors", cache);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(symlink(target, path), 0);
    snprintf(path, sizeof path, "%s/minilm/vocab.txt", cache);
    FILE *in = fopen(path, "r");
    snprintf(path, sizeof path, "%s/vocab.txt", folder);
    FILE *out = fopen(path, "w");
    assert_non_null(in);
    assert_non_null(out);
    char line[200];
    for (int i = 0; i < 1100 && fgets(line, sizeof line, in) != NULL; i++)
        fputs(line, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void remove_teacher(const char *folder)
{
    static const char *const names[] = {"model.safetensors", "vocab.txt", "table.safetensors"};
    char path[600];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static int stop_at_once(void *payload, const char *what, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)what;
    (void)done;
    (void)total;
    return 1;
}

static void a_table_is_made_from_minilm_and_serves_the_encoder(void **state)
{
    (void)state;
    char folder[] = "/tmp/metallm-teacher-XXXXXX", path[600];
    make_teacher(folder);
    snprintf(path, sizeof path, "%s/table.safetensors", folder);
    const struct metallm__corpus letters = {(const char *const[]){"a b c 1 2 3", "a 1 ?"},
                                            (const size_t[]){11, 5}, 2};
    struct metallm__distill_report report;
    metallm_error err = {0};
    metallm_progress stop = {stop_at_once, NULL};
    struct metallm__distill_options o = {.dim = 64, .progress = &stop};
    assert_int_equal(metallm__distill(folder, &letters, &o, path, &report, &err),
                     METALLM_ECANCELED);
    assert_int_not_equal(access(path, F_OK), 0);
    o.progress = NULL;
    assert_int_equal(metallm__distill(folder, &letters, &o, path, &report, &err), METALLM_OK);
    assert_int_equal(report.tokens, 1100);
    assert_int_equal(report.corpus_tokens, 9);
    assert_true(report.kept > 0.8 && report.kept < 1);
    metallm_encoder *e = NULL;
    assert_int_equal(
        metallm_encoder_open(&e, &(metallm_encoder_options){.name = "static", .path = path}, &err),
        METALLM_OK);
    assert_int_equal(metallm_encoder_dim(e), 64);
    float v[3 * 64];
    double near = 0, far = 0;
    assert_int_equal(metallm_encoder_embed(e, (const char *const[]){"5", "6", "("},
                                           (const size_t[]){1, 1, 1}, 3, v, NULL, &err),
                     METALLM_OK);
    for (int d = 0; d < 64; d++) {
        near += (double)v[d] * v[64 + d];
        far += (double)v[d] * v[128 + d];
    }
    assert_true(near > far + 0.2);
    metallm_encoder_free(e);
    remove_teacher(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distilled_rows_follow_the_formulas),
        cmocka_unit_test(a_corpus_without_words_is_refused),
        cmocka_unit_test(a_table_is_made_from_minilm_and_serves_the_encoder),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
