/* SPDX-License-Identifier: Apache-2.0
 * net_pack.c - weights to bfloat16 and to 8 bits. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/net_internal.h"

/* Rounds to nearest, ties to even; weights are finite. */
static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

int metallm__pack_bf16(struct metallm__gemm_library *gemm, struct metallm__product *p,
                       const struct metallm__plain *plain, metallm_error *err)
{
    const size_t size = (size_t)plain->columns * plain->inputs;
    uint16_t *low = metallm__alloc(size, sizeof *low);
    if (low == NULL)
        return metallm__error_nomem(err, "packed weights");
    for (size_t i = 0; i < size; i++)
        low[i] = to_bf16(plain->weight[i]);
    int rc = metallm__gemm_pack(&p->weights, gemm, plain->columns, plain->inputs, low, err);
    metallm__free(low);
    return rc;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* SmoothQuant (Xiao et al., 2023), equation 4 with alpha = 1/2: an input column is divided by
 * s = sqrt(max |input| / max |weight|), its weights are multiplied. smooth: 1 / s. */
static void choose_smooth(const struct metallm__plain *plain, float *smooth)
{
    const uint32_t inputs = plain->inputs;
    memset(smooth, 0, inputs * sizeof *smooth);
    for (uint32_t n = 0; n < plain->columns; n++)
        for (uint32_t i = 0; i < inputs; i++)
            smooth[i] = larger(smooth[i], fabsf(plain->weight[(size_t)n * inputs + i]));
    for (uint32_t i = 0; i < inputs; i++) {
        float x = plain->seen != NULL ? plain->seen[i] : 1.0f;
        smooth[i] = x > 1e-6f && smooth[i] > 1e-6f ? sqrtf(smooth[i] / x) : 1.0f;
    }
}

/* One output column: its weights times s in 127 steps to either side. */
static void quantise_column(int8_t *to, const float *from, const float *smooth, uint32_t inputs,
                            float *scale, float *correction)
{
    float high = 0;
    for (uint32_t i = 0; i < inputs; i++)
        high = larger(high, fabsf(from[i] / smooth[i]));
    *scale = high > 0 ? high / 127.0f : 1.0f;
    int32_t sum = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        to[i] = (int8_t)lrintf(from[i] / smooth[i] / *scale);
        sum += to[i];
    }
    *correction = *scale * (float)sum;
}

void metallm__product_take_params(struct metallm__product *p, const float *params)
{
    const float *correction = params + p->columns;
    p->columns8 = (struct metallm__columns8){params, correction, p->bias};
    p->smooth = correction + p->columns;
}

int metallm__pack_int8(struct metallm__gemm_library *gemm, struct metallm__product *p,
                       const struct metallm__plain *plain, metallm_error *err)
{
    const size_t columns = plain->columns, inputs = plain->inputs;
    int8_t *low = metallm__alloc(columns * inputs, sizeof *low);
    p->params = metallm__alloc_aligned(2 * columns + inputs, sizeof *p->params);
    if (low == NULL || p->params == NULL) {
        metallm__free(low);
        return metallm__error_nomem(err, "packed weights");
    }
    float *scale = p->params, *correction = scale + columns, *smooth = correction + columns;
    choose_smooth(plain, smooth);
    for (size_t n = 0; n < columns; n++)
        quantise_column(low + n * inputs, plain->weight + n * inputs, smooth, plain->inputs,
                        &scale[n], &correction[n]);
    metallm__product_take_params(p, p->params);
    int rc = metallm__gemm_pack(&p->weights, gemm, plain->columns, plain->inputs, low, err);
    metallm__free(low);
    return rc;
}
