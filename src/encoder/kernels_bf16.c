/* SPDX-License-Identifier: Apache-2.0
 * kernels_bf16.c - see kernels_bf16.h. Two neighbouring numbers of bfloat16 make one 32-bit lane,
 * because the instruction (vdpbf16ps) adds the products of pairs.
 *
 * For a head of D columns and n keys, padded to a multiple of 16:
 *   turned [padded / 32][D / 2][32] lanes: columns 2p, 2p+1 of key j; a last block of 16 keys is
 *          [D / 2][16]
 *   paired [padded / 2][D] lanes: column d of values 2j, 2j+1
 * and QUERIES query rows at a time: scores (fp32), softmax (bfloat16, in place of the scores),
 * sums. */
#include "encoder/kernels_bf16.h"

#include "encoder/kernels_int8.h"
#include "encoder/simd_gelu.h"
#include "encoder/simd_int8.h"
#include "encoder/simd_math.h"

#define QUERIES 8
#define GROUP   16u /* keys in one vector */

static inline __m512bh as_bf16(__m512i v)
{
    return (__m512bh)v;
}

static inline void store_bf16(uint16_t *out, vf v)
{
    __m256bh low = _mm512_cvtneps_pbh(v);
    memcpy(out, &low, sizeof low);
}

void metallm__bf16_from_floats(uint16_t *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += LANES)
        store_bf16(out + i, vf_load(x + i));
}

void metallm__bf16_bias(uint16_t *out, const float *c, const float *bias, uint32_t rows,
                        uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, c += columns)
        for (uint32_t i = 0; i < columns; i += LANES)
            store_bf16(out + i, vf_load(c + i) + vf_load(bias + i));
}

void metallm__bf16_gelu(uint16_t *out, const float *c, const float *bias, uint32_t rows,
                        uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, c += columns)
        for (uint32_t i = 0; i < columns; i += LANES)
            store_bf16(out + i, rough_gelu_of(vf_load(c + i) + vf_load(bias + i)));
}

void metallm__int8_restore_bf16(uint16_t *out, const int32_t *sums,
                                const struct metallm__row8 *rows8,
                                const struct metallm__columns8 *c, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, sums += columns) {
        vf scale = vf_set(rows8[r].scale), zero = vf_set(rows8[r].scale * rows8[r].zero);
        for (uint32_t i = 0; i < columns; i += LANES)
            store_bf16(out + i, restore_at(sums, scale, zero, c, i));
    }
}

/* ---- attention ---- */

static uint32_t padded_rows(uint32_t rows)
{
    return (rows + GROUP - 1) / GROUP * GROUP;
}

size_t metallm__attend_bf16_bytes(uint32_t rows, uint32_t head_columns)
{
    size_t padded = padded_rows(rows);
    /* turned, paired, and the scores of QUERIES rows */
    return padded * head_columns * 4 + padded * QUERIES * 4;
}

/* Transposes 16 vectors of 16 lanes. */
static inline void transpose(__m512i v[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]),
                b = _mm512_unpackhi_epi32(v[i], v[i + 1]),
                c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]),
                d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    /* t[4g + i] holds in its quarter q column 4q + i of rows 4g..4g+3. */
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88),
                b = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd),
                c = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88),
                d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
        v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        v[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        v[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

/* keys: of the head, rows apart by stride numbers. A head's columns that do not fill a vector of 32
 * are read under a mask. */
static void turn_keys(uint32_t *turned, const uint16_t *keys, size_t stride, uint32_t rows,
                      uint32_t padded, uint32_t columns)
{
    for (uint32_t d = 0; d < columns; d += 32) {
        uint32_t lanes = (columns - d < 32 ? columns - d : 32) / 2;
        __mmask16 mask = (__mmask16)((1u << lanes) - 1);
        for (uint32_t j = 0; j < padded; j += GROUP) {
            const uint32_t first = j / (2 * GROUP) * (2 * GROUP), left = padded - first;
            const uint32_t width = left < 2 * GROUP ? left : 2 * GROUP;
            uint32_t *block = turned + (size_t)first * columns / 2 + (j - first);
            __m512i v[GROUP];
            for (uint32_t i = 0; i < GROUP; i++)
                v[i] = j + i < rows ? _mm512_maskz_loadu_epi32(mask, keys + (j + i) * stride + d)
                                    : _mm512_setzero_si512();
            transpose(v);
            for (uint32_t i = 0; i < lanes; i++)
                _mm512_store_si512(block + (size_t)(d / 2 + i) * width, v[i]);
        }
    }
}

static void pair_values(uint32_t *paired, const uint16_t *values, size_t stride, uint32_t rows,
                        uint32_t padded, uint32_t columns)
{
    for (uint32_t j = 0; j < padded; j += 2, paired += columns)
        for (uint32_t d = 0; d < columns; d += LANES) {
            __m512i low = _mm512_setzero_si512(), high = low;
            if (j < rows)
                low = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256((const void *)(values + j * stride + d)));
            if (j + 1 < rows)
                high = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256((const void *)(values + (j + 1) * stride + d)));
            _mm512_store_si512(paired + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

static inline __m512i pair_at(const uint16_t *p)
{
    int32_t lane;
    memcpy(&lane, p, sizeof lane);
    return _mm512_set1_epi32(lane);
}

/* scores of QUERIES rows against vectors * 16 keys from j on. */
static inline __attribute__((always_inline)) void score_some(float *scores, const uint32_t *turned,
                                                             const uint16_t *const *q,
                                                             uint32_t padded, uint32_t columns,
                                                             uint32_t j, const int vectors)
{
    vf sum[QUERIES][2];
    for (int i = 0; i < QUERIES; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = vf_set(0);
    for (uint32_t d = 0; d < columns; d += 2) {
        const uint32_t *k = turned + (size_t)j * columns / 2 + (size_t)(d / 2) * vectors * GROUP;
        __m512bh keys[2];
        for (int v = 0; v < vectors; v++)
            keys[v] = as_bf16(_mm512_load_si512(k + v * GROUP));
        for (int i = 0; i < QUERIES; i++)
            for (int v = 0; v < vectors; v++)
                sum[i][v] = _mm512_dpbf16_ps(sum[i][v], as_bf16(pair_at(q[i] + d)), keys[v]);
    }
    for (int i = 0; i < QUERIES; i++)
        for (int v = 0; v < vectors; v++)
            _mm512_store_ps(scores + (size_t)i * padded + j + v * GROUP, sum[i][v]);
}

static void score(float *scores, const uint32_t *turned, const uint16_t *const *q, uint32_t padded,
                  uint32_t columns)
{
    uint32_t j = 0;
    for (; j + 2 * GROUP <= padded; j += 2 * GROUP)
        score_some(scores, turned, q, padded, columns, j, 2);
    if (j < padded)
        score_some(scores, turned, q, padded, columns, j, 1);
}

/* 2^x for x <= 0: 2^f for 0 <= f < 1 by a cubic fitted to even relative error, 8e-5: far below
 * bfloat16's. */
static inline vf power_of_two(vf x)
{
    x = vf_max(x, vf_set(-126.0f));
    vf f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* x - floor(x) */
    vf p = vf_set(7.80247e-2f);
    p = vf_fma(p, f, vf_set(2.26067420e-1f));
    p = vf_fma(p, f, vf_set(6.95833160e-1f));
    p = vf_fma(p, f, vf_set(9.99925290e-1f));
    return vf_scale(p, x); /* takes the floor of x itself */
}

/* Turns QUERIES rows of scores into bfloat16 numbers 2^(factor (s - max)), zero beyond rows, in
 * place; they are to be divided by their sums, which are returned inverted. The rows go side by
 * side: the steps of one wait for each other. */
static inline void softmax(float *scores, uint32_t rows, uint32_t padded, float factor,
                           float *inverse)
{
    const __mmask16 last = (__mmask16)(0xffffu >> (padded - rows));
    const uint32_t end = padded - GROUP;
    const vf scale = vf_set(factor);
    vf top[QUERIES], sum[QUERIES];
    for (int i = 0; i < QUERIES; i++)
        top[i] = _mm512_mask_mov_ps(vf_set(-INFINITY), last,
                                    _mm512_load_ps(scores + (size_t)i * padded + end));
    for (uint32_t j = 0; j < end; j += GROUP)
        for (int i = 0; i < QUERIES; i++)
            top[i] = vf_max(top[i], _mm512_load_ps(scores + (size_t)i * padded + j));
    for (int i = 0; i < QUERIES; i++) {
        top[i] = vf_set(_mm512_reduce_max_ps(top[i]) * factor);
        sum[i] = vf_set(0);
    }
    for (uint32_t j = 0; j < end; j += GROUP)
        for (int i = 0; i < QUERIES; i++) {
            float *s = scores + (size_t)i * padded; /* written never ahead of what is read */
            vf e = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(s + j), scale, top[i]));
            sum[i] = sum[i] + e;
            store_bf16((uint16_t *)(void *)s + j, e);
        }
    for (int i = 0; i < QUERIES; i++) {
        float *s = scores + (size_t)i * padded;
        vf e = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(s + end), scale, top[i]));
        e = _mm512_maskz_mov_ps(last, e);
        sum[i] = sum[i] + e;
        store_bf16((uint16_t *)(void *)s + end, e);
    }
    for (int i = 0; i < QUERIES; i++)
        inverse[i] = 1.0f / _mm512_reduce_add_ps(sum[i]);
}

/* context[i] columns c..c+16*vectors = factor[i] * sum of the row's weights times the values. */
static inline __attribute__((always_inline)) void
mix_some(float *const *context, const float *scores, const float *factor, const uint32_t *paired,
         uint32_t rows, uint32_t padded, uint32_t columns, uint32_t c, const int vectors)
{
    vf sum[QUERIES][2];
    for (int i = 0; i < QUERIES; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = vf_set(0);
    for (uint32_t j = 0; j < rows; j += 2) {
        const uint32_t *p = paired + (size_t)(j / 2) * columns + c;
        __m512bh values[2];
        for (int v = 0; v < vectors; v++)
            values[v] = as_bf16(_mm512_load_si512(p + v * GROUP));
        for (int i = 0; i < QUERIES; i++) {
            const uint16_t *weights = (const uint16_t *)(const void *)(scores + (size_t)i * padded);
            for (int v = 0; v < vectors; v++)
                sum[i][v] = _mm512_dpbf16_ps(sum[i][v], as_bf16(pair_at(weights + j)), values[v]);
        }
    }
    for (int i = 0; i < QUERIES; i++)
        for (int v = 0; v < vectors; v++)
            vf_store(context[i] + c + v * GROUP, sum[i][v] * vf_set(factor[i]));
}

static void mix(float *const *context, const float *scores, const float *factor,
                const uint32_t *paired, uint32_t rows, uint32_t padded, uint32_t columns)
{
    uint32_t c = 0;
    for (; c + 2 * GROUP <= columns; c += 2 * GROUP)
        mix_some(context, scores, factor, paired, rows, padded, columns, c, 2);
    if (c < columns)
        mix_some(context, scores, factor, paired, rows, padded, columns, c, 1);
}

static void attend_head(const struct metallm__attend_bf16 *a, uint32_t head)
{
    const uint32_t columns = a->hidden / a->heads, at = head * columns,
                   padded = padded_rows(a->rows);
    const size_t stride = 3 * (size_t)a->hidden;
    uint32_t *turned = a->scratch, *paired = turned + (size_t)columns / 2 * padded;
    float *scores = (float *)(void *)(paired + (size_t)columns / 2 * padded);
    const float factor = 1.44269504f / sqrtf((float)columns); /* base 2, 1 / sqrt(D) */
    turn_keys(turned, a->qkv + a->hidden + at, stride, a->rows, padded, columns);
    pair_values(paired, a->qkv + 2 * a->hidden + at, stride, a->rows, padded, columns);
    for (uint32_t r = a->begin; r < a->end; r += QUERIES) {
        const uint16_t *q[QUERIES];
        float *context[QUERIES], inverse[QUERIES];
        for (uint32_t i = 0; i < QUERIES; i++) {
            uint32_t row = r + i < a->end ? r + i : a->end - 1; /* the last one again */
            q[i] = a->qkv + row * stride + at;
            context[i] = a->context + (size_t)row * a->hidden + at;
        }
        score(scores, turned, q, padded, columns);
        softmax(scores, a->rows, padded, factor, inverse);
        mix(context, scores, inverse, paired, a->rows, padded, columns);
    }
}

void metallm__attend_bf16(const struct metallm__attend_bf16 *a)
{
    for (uint32_t head = 0; head < a->heads; head++)
        attend_head(a, head);
}
