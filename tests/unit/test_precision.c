/* SPDX-License-Identifier: Apache-2.0
 * test_precision.c - every precision that this CPU (or METALLM_ISA, with which the suite runs this
 * again) has: vectors against the reference, and each vector kernel against plain arithmetic. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/isa.h"
#include "encoder/kernels.h"
#include "encoder/kernels_bf16.h"
#include "encoder/kernels_int8.h"
#include "encoder/net.h"
#include "metallm/encoder.h"
#include "support/cmocka_all.h"
#include "support/encoder_data.h"

static enum metallm__isa isa;

static int ask_isa(void **state)
{
    (void)state;
    return metallm__isa_get(&isa, NULL);
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

/* Mean and least cosine over all reference rows; ids and token counts must be exact. */
static void check_precision(const char *precision, double mean, double least)
{
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    if (metallm_encoder_open(
            &e, &(metallm_encoder_options){.path = weights_folder(), .precision = precision},
            &err) != METALLM_OK)
        fail_msg("%s", err.message);
    char id[64];
    snprintf(id, sizeof id, "minilm-l6-v2/%s", precision);
    assert_string_equal(metallm_encoder_id(e), id);
    size_t loaded, count = 0;
    struct reference *rows = references_load(&loaded);
    const size_t step =
        getenv("METALLM_ISA") != NULL ? 3 : 1; /* all rows once, a third per level */
    const char **texts = calloc(loaded, sizeof *texts);
    size_t *lens = calloc(loaded, sizeof *lens);
    float *out = calloc(loaded, 384 * sizeof *out);
    uint32_t *tokens = calloc(loaded, sizeof *tokens);
    for (size_t i = 0; i < loaded; i += step, count++) {
        texts[count] = rows[i].text;
        lens[count] = rows[i].len;
    }
    assert_int_equal(metallm_encoder_embed(e, texts, lens, count, out, tokens, NULL), METALLM_OK);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double c = cosine(out + 384 * i, rows[i * step].embedding, 384);
        if (!(c >= least) || tokens[i] != rows[i * step].id_count)
            fail_msg("%s, row %zu: cosine %.6f, %u tokens", precision, i, c, tokens[i]);
        sum += c;
    }
    if (!(sum / (double)count >= mean))
        fail_msg("%s: mean cosine %.6f", precision, sum / (double)count);
    free(texts);
    free(lens);
    free(out);
    free(tokens);
    metallm_encoder_free(e);
    references_free(rows, loaded);
}

static void vectors_are_as_near_to_the_reference_as_promised(void **state)
{
    (void)state;
    if (weights_folder() == NULL)
        skip();
    check_precision("fp32", 0.99999, 0.99999);
    if (metallm__precision_runs(METALLM__PRECISION_BF16, isa))
        check_precision("bf16", 0.9999, 0.9999);
    if (metallm__precision_runs(METALLM__PRECISION_INT8, isa))
        check_precision("int8", 0.998, 0.995);
}

static void a_precision_that_the_cpu_lacks_is_refused(void **state)
{
    (void)state;
    if (weights_folder() == NULL || metallm__precision_runs(METALLM__PRECISION_BF16, isa))
        skip();
    metallm_encoder *e = NULL;
    assert_int_equal(
        metallm_encoder_open(
            &e, &(metallm_encoder_options){.path = weights_folder(), .precision = "bf16"}, NULL),
        METALLM_EMISMATCH);
}

/* ---- kernels ---- */

static float random_float(void)
{
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static void gelu_and_norm_equal_plain_arithmetic(void **state)
{
    (void)state;
    enum { ROWS = 3, COLUMNS = 48 };
    const struct metallm__kernels *k = metallm__kernels_for(isa);
    float c[ROWS][COLUMNS], bias[COLUMNS], out[ROWS][COLUMNS], gamma[COLUMNS], beta[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        bias[i] = random_float();
        gamma[i] = 1 + random_float() / 2;
        beta[i] = random_float();
        for (int r = 0; r < ROWS; r++)
            c[r][i] = 8 * random_float();
    }
    k->gelu(out[0], c[0], bias, ROWS, COLUMNS);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < COLUMNS; i++) {
            double x = (double)c[r][i] + bias[i];
            double want = x / 2 * (1 + erf(x / sqrt(2)));
            assert_true(fabs(out[r][i] - want) < 2e-6 * (1 + fabs(x)));
        }
    memcpy(out, c, sizeof out);
    k->add_norm(out[0], c[0], bias, ROWS, COLUMNS, &(struct metallm__norm){gamma, beta, 1e-5f});
    for (int r = 0; r < ROWS; r++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < COLUMNS; i++)
            mean += (2.0 * c[r][i] + bias[i]) / COLUMNS;
        for (int i = 0; i < COLUMNS; i++)
            variance += pow(2.0 * c[r][i] + bias[i] - mean, 2) / COLUMNS;
        for (int i = 0; i < COLUMNS; i++) {
            double want =
                (2.0 * c[r][i] + bias[i] - mean) / sqrt(variance + 1e-5) * gamma[i] + beta[i];
            assert_true(fabs(out[r][i] - want) < 1e-5);
        }
    }
}

enum { HEADS = 2, HIDDEN_MAX = 96, ROWS_MAX = 70 };

static void plain_attention(double *out, const float *qkv, uint32_t rows, uint32_t hidden)
{
    const uint32_t d = hidden / HEADS;
    for (uint32_t h = 0; h < HEADS; h++)
        for (uint32_t i = 0; i < rows; i++) {
            double weights[ROWS_MAX], sum = 0;
            for (uint32_t j = 0; j < rows; j++) {
                double s = 0;
                for (uint32_t k = 0; k < d; k++)
                    s += (double)qkv[i * 3 * hidden + h * d + k] *
                         qkv[j * 3 * hidden + hidden + h * d + k];
                sum += weights[j] = exp(s / sqrt(d));
            }
            for (uint32_t k = 0; k < d; k++) {
                double v = 0;
                for (uint32_t j = 0; j < rows; j++)
                    v += weights[j] / sum * qkv[j * 3 * hidden + 2 * hidden + h * d + k];
                out[i * hidden + h * d + k] = v;
            }
        }
}

static void check_attention(uint32_t rows, uint32_t hidden, bool is_low)
{
    static float qkv[ROWS_MAX * 3 * HIDDEN_MAX], context[ROWS_MAX * HIDDEN_MAX];
    static double want[ROWS_MAX * HIDDEN_MAX];
    static _Alignas(64) unsigned char scratch[1 << 20];
    const size_t size = (size_t)rows * 3 * hidden;
    for (size_t i = 0; i < size; i++)
        qkv[i] = 2 * random_float();
    plain_attention(want, qkv, rows, hidden);
    memset(context, 0, sizeof context);
    /* The rows in two parts, as two threads would do them. */
    uint32_t cut = rows / 3;
    static uint16_t low[ROWS_MAX * 3 * HIDDEN_MAX];
    assert_true(metallm__attend_floats(rows, hidden / HEADS) * sizeof(float) <= sizeof scratch);
    assert_true(metallm__attend_bf16_bytes(rows, hidden / HEADS) <= sizeof scratch);
    if (is_low)
        metallm__bf16_from_floats(low, qkv, size);
    for (int part = 0; part < 2; part++) {
        uint32_t begin = part == 0 ? 0 : cut, end = part == 0 ? cut : rows;
        if (begin == end)
            continue;
        if (is_low)
            metallm__attend_bf16(&(struct metallm__attend_bf16){low, context, scratch, hidden,
                                                                HEADS, rows, begin, end});
        else
            metallm__kernels_for(isa)->attend(&(struct metallm__attend){
                qkv, context, (float *)(void *)scratch, hidden, HEADS, rows, begin, end});
    }
    for (size_t i = 0; i < (size_t)rows * hidden; i++)
        if (!(fabs(context[i] - want[i]) < (is_low ? 0.03 : 1e-5)))
            fail_msg("%u rows, %u columns: %g, not %g", rows, hidden, (double)context[i], want[i]);
}

static void attention_equals_plain_arithmetic(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 2, 7, 15, 16, 17, 33, 64, 70}, hidden[] = {32, 64, 96};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (size_t h = 0; h < sizeof hidden / sizeof hidden[0]; h++) {
            check_attention(rows[r], hidden[h], false);
            if (isa >= METALLM__ISA_BF16)
                check_attention(rows[r], hidden[h], true);
        }
}

/* The passes of small numbers take a shorter way to GELU. */
static void gelu_in_small_numbers_is_near(void **state)
{
    (void)state;
    if (isa < METALLM__ISA_BF16)
        skip();
    enum { STEPS = 16384 };
    static float x[STEPS], bias[STEPS];
    static uint16_t low[STEPS];
    for (int i = 0; i < STEPS; i++)
        x[i] = ((float)i - STEPS / 2) / (STEPS / 16); /* -8..8 */
    metallm__bf16_gelu(low, x, bias, 1, STEPS);
    for (int i = 0; i < STEPS; i++) {
        uint32_t bits = (uint32_t)low[i] << 16;
        float got;
        memcpy(&got, &bits, sizeof got);
        double want = (double)x[i] * 0.5 * (1 + erf((double)x[i] / sqrt(2)));
        assert_true(fabs((double)got - want) <= 1.7e-4 + fabs(want) / 256);
    }
}

static void rows_come_back_from_8_bits_within_half_a_step(void **state)
{
    (void)state;
    if (isa < METALLM__ISA_VNNI)
        skip();
    enum { ROWS = 5, COLUMNS = 80 };
    float x[ROWS][COLUMNS], smooth[COLUMNS];
    uint8_t q[ROWS][COLUMNS];
    struct metallm__row8 rows8[ROWS];
    for (int i = 0; i < COLUMNS; i++)
        smooth[i] = 1 + random_float() / 2;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < COLUMNS; i++)
            x[r][i] = r == 0 ? 0 : r == 1 ? 3.0f : (float)r * random_float() + (float)(r - 3);
    metallm__int8_quantise(q[0], rows8, x[0], smooth, ROWS, COLUMNS);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < COLUMNS; i++) {
            double back = (double)rows8[r].scale * (q[r][i] - (double)rows8[r].zero);
            assert_true(fabs(back - (double)x[r][i] * smooth[i]) <= 0.501 * rows8[r].scale + 1e-6);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_and_norm_equal_plain_arithmetic),
        cmocka_unit_test(attention_equals_plain_arithmetic),
        cmocka_unit_test(gelu_in_small_numbers_is_near),
        cmocka_unit_test(rows_come_back_from_8_bits_within_half_a_step),
        cmocka_unit_test(a_precision_that_the_cpu_lacks_is_refused),
        cmocka_unit_test(vectors_are_as_near_to_the_reference_as_promised),
    };
    return cmocka_run_group_tests(tests, ask_isa, NULL);
}
