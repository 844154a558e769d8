/* SPDX-License-Identifier: Apache-2.0
 * test_encoder.c - vectors whatever the batch and the threads; the features' layout; the hash
 * encoder and the text features. Accuracy: test_precision.c. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "encoder/isa.h"
#include "encoder/text_features.h"
#include "metallm/encoder.h"
#include "support/cmocka_all.h"
#include "support/encoder_data.h"
#include "support/fail_alloc.h"

static metallm_encoder *open_encoder(const char *name, const char *precision, uint32_t threads)
{
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    int rc = metallm_encoder_open(
        &e,
        &(metallm_encoder_options){
            .name = name, .path = weights_folder(), .precision = precision, .threads = threads},
        &err);
    if (rc != METALLM_OK)
        fail_msg("%s", err.message);
    return e;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Texts of many lengths, some longer than the limit. */
enum { TEXTS = 9 };
static char *make_text(size_t i, size_t *len)
{
    static const size_t words[TEXTS] = {0, 1, 5, 33, 61, 120, 253, 300, 2000};
    char *text = calloc(words[i] + 1, 12);
    *len = 0;
    for (size_t w = 0; w < words[i]; w++)
        *len += (size_t)snprintf(text + *len, 12, "%s%zu ", w % 3 == 0 ? "item" : "of", w * w + i);
    return text;
}

static void vectors_depend_on_neither_batch_nor_threads(void **state)
{
    (void)state;
    if (weights_folder() == NULL)
        skip();
    char *texts[TEXTS];
    size_t lens[TEXTS];
    for (size_t i = 0; i < TEXTS; i++)
        texts[i] = make_text(i, &lens[i]);
    const size_t dim = 768 + METALLM__TEXT_FEATURES;
    float *alone = calloc(TEXTS, dim * sizeof *alone), *batch = calloc(TEXTS, dim * sizeof *batch);
    metallm_encoder *e = open_encoder(NULL, "fp32", 1);
    metallm_layout layout = metallm_encoder_layout(e);
    assert_int_equal(metallm_layout_dim(&layout), dim);
    for (size_t i = 0; i < TEXTS; i++)
        assert_int_equal(metallm_encoder_features(e, (const char *const *)&texts[i], &lens[i], 1,
                                                  alone + i * dim, NULL, NULL),
                         METALLM_OK);
    metallm_encoder_free(e);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        e = open_encoder("minilm", "fp32", threads);
        assert_int_equal(
            metallm_encoder_features(e, (const char *const *)texts, lens, TEXTS, batch, NULL, NULL),
            METALLM_OK);
        assert_memory_equal(batch, alone, TEXTS * dim * sizeof *batch);
        metallm_encoder_free(e);
    }
    for (size_t i = 0; i < TEXTS; i++) {
        bool is_same = memcmp(alone + i * dim, alone + i * dim + 384, 384 * sizeof *alone) == 0;
        assert_int_equal(is_same, i < 5); /* the tail differs once a text is cut */
        free(texts[i]);
    }
    free(alone);
    free(batch);
}

static int stop_at_once(void *payload, const char *what, uint64_t done, uint64_t total)
{
    (void)payload, (void)what, (void)done, (void)total;
    return 1;
}

static void features_can_be_cancelled(void **state)
{
    (void)state;
    metallm_encoder *e = open_encoder("hash", NULL, 1);
    const char *text = "a";
    const size_t len = 1;
    float out[600];
    assert_int_equal(metallm_encoder_features(e, &text, &len, 1, out,
                                              &(metallm_progress){stop_at_once, NULL}, NULL),
                     METALLM_ECANCELED);
    metallm_encoder_free(e);
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm_encoder_open(&e, &(metallm_encoder_options){.name = "word2vec"}, &err),
                     METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "'word2vec'"));
    assert_int_equal(metallm_encoder_open(&e, &(metallm_encoder_options){.path = "/nowhere"}, &err),
                     METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "/nowhere"));
    assert_int_equal(metallm_encoder_open(&e, &(metallm_encoder_options){.precision = "fp8"}, &err),
                     METALLM_EINVAL);
    assert_non_null(strstr(err.message, "'fp8'"));
}

static int hash_once(void *out)
{
    metallm_encoder *e = NULL;
    const char *texts[] = {"The quick brown fox", "the QUICK brown fox", "", "a slow green turtle"};
    const size_t lens[] = {19, 19, 0, 19};
    int rc = metallm_encoder_open(&e, &(metallm_encoder_options){.name = "hash"}, NULL);
    if (rc == METALLM_OK)
        rc = metallm_encoder_embed(e, texts, lens, 4, out, NULL, NULL);
    metallm_encoder_free(e);
    return rc;
}

static void hashed_vectors_are_unit_and_tell_texts_apart(void **state)
{
    (void)state;
    static float v[4][256];
    assert_int_equal(hash_once(v), METALLM_OK);
    for (int i = 0; i < 4; i++) {
        double squares = 0;
        for (int j = 0; j < 256; j++)
            squares += (double)v[i][j] * v[i][j];
        assert_true(fabs(squares - 1) < 1e-5);
    }
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    assert_true(cosine(v[0], v[3], 256) < 0.3);
    assert_true(fail_alloc_sweep(hash_once, v) >= 2);
}

static void a_long_text_has_a_hashed_end(void **state)
{
    (void)state;
    char text[3000], *end = text + 2600;
    for (size_t i = 0; i + 5 < sizeof text; i += 4)
        memcpy(text + i, i < 2600 ? "abc " : "xyz ", 5);
    metallm_encoder *e = open_encoder("hash", NULL, 1);
    float whole[512 + METALLM__TEXT_FEATURES], last[512 + METALLM__TEXT_FEATURES];
    const char *p = text;
    size_t len = 2600 + 256;
    assert_int_equal(metallm_encoder_features(e, &p, &len, 1, whole, NULL, NULL), METALLM_OK);
    p = end - (256 - 64) * 4;
    len = 256 * 4;
    assert_int_equal(metallm_encoder_features(e, &p, &len, 1, last, NULL, NULL), METALLM_OK);
    assert_memory_equal(whole + 256, last, 256 * sizeof(float));
    assert_true(cosine(whole, whole + 256, 256) < 0.99);
    metallm_encoder_free(e);
}

static float feature(const float *f, const char *name)
{
    for (unsigned i = 0; i < METALLM__TEXT_FEATURES; i++)
        if (strcmp(metallm__text_feature_name(i), name) == 0)
            return f[i];
    fail_msg("no feature '%s'", name);
    return 0;
}

static void text_features_count_what_they_say(void **state)
{
    (void)state;
    float f[METALLM__TEXT_FEATURES];
    const char *text = "Which is NOT prime, 12 or 7?\n(A) 12\n B. 7\nAnswer: ";
    metallm__text_features(text, strlen(text), f);
    const struct {
        const char *name;
        double want;
    } cases[] = {
        {"log_chars", log1p(50)},
        {"log_words", log1p(12)},
        {"chars_per_word", 50 / 12.0},
        {"digit_share", 6 / 50.0},
        {"log_numbers", log1p(4)},
        {"cjk_share", 0},
        {"log_newlines", log1p(3)},
        {"log_questions", log1p(1)},
        {"log_choices", log1p(2)},
        {"upper_share", 7 / 25.0},
        {"says_not", 1},
        {"says_which", 1},
        {"says_how_many", 0},
        {"ends_in_answer", 1},
        {"log_commas", log1p(1)},
        {"log_line_max", log1p(28)},
        {"has_dollar", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (fabs(feature(f, cases[i].name) - cases[i].want) > 1e-6)
            fail_msg("%s is %g, not %g", cases[i].name, (double)feature(f, cases[i].name),
                     cases[i].want);
    metallm__text_features("nothing", 7, f);
    assert_true(feature(f, "says_not") == 0); /* a part of a word */
    metallm__text_features("中文字 = $x^2$\xff", 18, f);
    assert_true(fabs(feature(f, "cjk_share") - 3 / 12.0) < 1e-6);
    assert_true(fabs(feature(f, "log_formula") - log1p(4)) < 1e-6);
    metallm__text_features("", 0, f);
    for (unsigned i = 0; i < METALLM__TEXT_FEATURES; i++)
        assert_true(f[i] == (i == 2 ? 5.0f : 0.0f));
}

/* Characters are looked at sixteen at a time: where a text stands among them changes no count. */
static void text_features_do_not_depend_on_position(void **state)
{
    (void)state;
    static const char base[] =
        "\nA. How many? 12, not 7; x == y() __ \"q\" {return} ``` $5 \\frac^2 Which\r\n"
        "import a, explain: except nothing, false or true \xe4\xb8\xad\xe6\x96\x87 why\n";
    static const char *const fixed[] = {
        "log_numbers",  "log_code",   "log_formula", "log_newlines",  "log_questions",
        "log_choices",  "log_blanks", "log_quotes",  "says_how_many", "says_not",
        "says_which",   "says_why",   "says_write",  "has_dollar",    "log_commas",
        "log_line_max", "says_true"};
    float first[METALLM__TEXT_FEATURES], f[METALLM__TEXT_FEATURES];
    char text[3 * sizeof base + 64];
    for (size_t shift = 0; shift < 40; shift++) {
        memset(text, 'z', shift);
        size_t len = shift;
        for (int i = 0; i < 3; i++) {
            memcpy(text + len, base, sizeof base - 1);
            len += sizeof base - 1;
        }
        metallm__text_features(text, len, shift == 0 ? first : f);
        for (size_t i = 0; shift > 0 && i < sizeof fixed / sizeof *fixed; i++)
            assert_true(feature(f, fixed[i]) == feature(first, fixed[i]));
        if (shift > 0) {
            double digits = (double)feature(f, "digit_share") * (exp((double)f[0]) - 1);
            assert_true(fabs(digits - 3 * 5) < 1e-3);
        }
    }
    assert_true(fabs((double)feature(first, "log_choices") - log1p(3)) < 1e-6);
    assert_true(fabs((double)feature(first, "log_numbers") - log1p(3 * 4)) < 1e-6);
}

/* A byte amid the weights that no fingerprint looks at. */
static void a_damaged_minilm_is_refused(void **state)
{
    (void)state;
    if (weights_folder() == NULL)
        skip();
    char folder[] = "/tmp/metallm-damaged-XXXXXX", path[4200], vocab[4200];
    struct metallm__map model;
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/vocab.txt", weights_folder());
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", folder);
    assert_int_equal(symlink(path, vocab), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", weights_folder());
    assert_int_equal(metallm__map_open(&model, path, NULL), METALLM_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(model.bytes, 1, model.len, f), model.len);
    assert_int_equal(fseek(f, (long)model.len * 2 / 3, SEEK_SET), 0);
    fputc(model.bytes[model.len * 2 / 3] ^ 1, f);
    assert_int_equal(fclose(f), 0);
    metallm__map_close(&model);
    assert_int_equal(metallm_encoder_open(
                         &e, &(metallm_encoder_options){.path = folder, .precision = "fp32"}, &err),
                     METALLM_EFORMAT);
    assert_non_null(strstr(err.message, "SHA-256"));
    unlink(path);
    unlink(vocab);
    enum metallm__isa isa;
    assert_int_equal(metallm__isa_get(&isa, NULL), METALLM_OK);
    snprintf(path, sizeof path, "%s/packed-fp32-%s.bin", folder, metallm__isa_name(isa));
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_depend_on_neither_batch_nor_threads),
        cmocka_unit_test(features_can_be_cancelled),
        cmocka_unit_test(what_cannot_be_opened_is_named),
        cmocka_unit_test(hashed_vectors_are_unit_and_tell_texts_apart),
        cmocka_unit_test(a_long_text_has_a_hashed_end),
        cmocka_unit_test(a_damaged_minilm_is_refused),
        cmocka_unit_test(text_features_count_what_they_say),
        cmocka_unit_test(text_features_do_not_depend_on_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
