/* SPDX-License-Identifier: Apache-2.0
 * kernels_int8.c - see kernels_int8.h. */
#include "encoder/kernels_int8.h"

#include <float.h>

#include "encoder/simd_gelu.h"
#include "encoder/simd_int8.h"
#include "encoder/simd_math.h"

/* The scale and zero for values in low..high. */
static struct metallm__row8 row8_of(float low, float high)
{
    float span = high - low;
    struct metallm__row8 r = {.scale = span > FLT_MIN * 512 ? span / 255.0f : 1.0f};
    r.zero = -low / r.scale;
    return r;
}

static inline float low_of(vf v)
{
    return _mm512_reduce_min_ps(v);
}

static inline float high_of(vf v)
{
    return _mm512_reduce_max_ps(v);
}

/* x / scale + zero of 16 columns, rounded. */
static inline __m512i whole_at(const float *x, const float *smooth, vf factor, vf zero)
{
    vf v = vf_load(x);
    if (smooth != NULL)
        v = v * vf_load(smooth);
    return _mm512_cvtps_epi32(vf_fma(v, factor, zero));
}

/* q = x / scale + zero, rounded to 0..255; the row times smooth was seen to lie in range. */
static inline void store_row8(uint8_t *q, const float *x, const float *smooth,
                              struct metallm__row8 r, uint32_t columns)
{
    /* Packing goes quarter by quarter of a vector: this puts the bytes in order again. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const vf factor = vf_set(1.0f / r.scale), zero = vf_set(r.zero);
    const size_t step = smooth != NULL ? LANES : 0;
    uint32_t i = 0;
    for (; i + 4 * LANES <= columns; i += 4 * LANES) {
        const float *s = smooth != NULL ? smooth + i : NULL;
        __m512i v[4];
        for (size_t k = 0; k < 4; k++)
            v[k] = whole_at(x + i + k * LANES, s != NULL ? s + k * step : NULL, factor, zero);
        __m512i low = _mm512_packs_epi32(v[0], v[1]), high = _mm512_packs_epi32(v[2], v[3]);
        _mm512_storeu_si512(q + i, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
    }
    for (; i < columns; i += LANES) {
        __m512i v = whole_at(x + i, smooth != NULL ? smooth + i : NULL, factor, zero);
        v = _mm512_max_epi32(v, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(void *)(q + i), _mm512_cvtusepi32_epi8(v));
    }
}

void metallm__int8_quantise(uint8_t *q, struct metallm__row8 *rows8, const float *x,
                            const float *smooth, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, q += columns, x += columns) {
        vf low = vf_load(x) * vf_load(smooth), high = low;
        for (uint32_t i = LANES; i < columns; i += LANES) {
            vf v = vf_load(x + i) * vf_load(smooth + i);
            low = vf_min(low, v);
            high = vf_max(high, v);
        }
        rows8[r] = row8_of(low_of(low), high_of(high));
        store_row8(q, x, smooth, rows8[r], columns);
    }
}

void metallm__int8_restore(float *out, const int32_t *sums, const struct metallm__row8 *rows8,
                           const struct metallm__columns8 *c, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, sums += columns) {
        vf scale = vf_set(rows8[r].scale), zero = vf_set(rows8[r].scale * rows8[r].zero);
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(out + i, restore_at(sums, scale, zero, c, i));
    }
}

void metallm__int8_gelu(uint8_t *q, struct metallm__row8 *rows8_out, const int32_t *sums,
                        const struct metallm__row8 *rows8, const struct metallm__columns8 *c,
                        const float *smooth, float *line, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, q += columns, sums += columns) {
        vf scale = vf_set(rows8[r].scale), zero = vf_set(rows8[r].scale * rows8[r].zero);
        vf low = vf_set(0), high = vf_set(0);
        for (uint32_t i = 0; i < columns; i += LANES) {
            vf v = rough_gelu_of(restore_at(sums, scale, zero, c, i)) * vf_load(smooth + i);
            low = vf_min(low, v);
            high = vf_max(high, v);
            vf_store(line + i, v);
        }
        rows8_out[r] = row8_of(low_of(low), high_of(high));
        store_row8(q, line, NULL, rows8_out[r], columns);
    }
}

/* x += sums + bias; *mean and *scale (1 / sqrt(variance + epsilon)) of the row. */
static inline void add_row(float *x, const int32_t *sums, struct metallm__row8 r,
                           const struct metallm__columns8 *c, uint32_t columns, float epsilon,
                           float *mean, float *scale)
{
    const vf row_scale = vf_set(r.scale), zero = vf_set(r.scale * r.zero);
    vf sum = vf_set(0), squares = vf_set(0);
    for (uint32_t i = 0; i < columns; i += LANES) {
        vf v = vf_load(x + i) + restore_at(sums, row_scale, zero, c, i);
        vf_store(x + i, v);
        sum = sum + v;
        squares = vf_fma(v, v, squares);
    }
    *mean = _mm512_reduce_add_ps(sum) / (float)columns;
    float variance = _mm512_reduce_add_ps(squares) / (float)columns - *mean * *mean;
    *scale = 1.0f / sqrtf((variance > 0 ? variance : 0) + epsilon);
}

void metallm__int8_add_norm(float *x, const int32_t *sums, const struct metallm__row8 *rows8,
                            const struct metallm__columns8 *c, uint32_t rows, uint32_t columns,
                            const struct metallm__norm *norm)
{
    for (uint32_t r = 0; r < rows; r++, x += columns, sums += columns) {
        float mean, scale;
        add_row(x, sums, rows8[r], c, columns, norm->epsilon, &mean, &scale);
        const vf by = vf_set(scale), shift = vf_set(-mean * scale);
        for (uint32_t i = 0; i < columns; i += LANES) {
            vf v = vf_fma(vf_load(x + i), by, shift);
            vf_store(x + i, vf_fma(v, vf_load(norm->gamma + i), vf_load(norm->beta + i)));
        }
    }
}

void metallm__int8_add_norm_quantise(uint8_t *q, struct metallm__row8 *rows8_out, float *x,
                                     const int32_t *sums, const struct metallm__row8 *rows8,
                                     const struct metallm__columns8 *c, const float *smooth,
                                     uint32_t rows, uint32_t columns,
                                     const struct metallm__norm *norm)
{
    for (uint32_t r = 0; r < rows; r++, x += columns, sums += columns, q += columns) {
        float mean, scale;
        add_row(x, sums, rows8[r], c, columns, norm->epsilon, &mean, &scale);
        const vf by = vf_set(scale), shift = vf_set(-mean * scale);
        vf low = vf_set(INFINITY), high = vf_set(-INFINITY);
        for (uint32_t i = 0; i < columns; i += LANES) {
            vf v = vf_fma(vf_load(x + i), by, shift);
            v = vf_fma(v, vf_load(norm->gamma + i), vf_load(norm->beta + i));
            vf_store(x + i, v);
            v = v * vf_load(smooth + i);
            low = vf_min(low, v);
            high = vf_max(high, v);
        }
        rows8_out[r] = row8_of(low_of(low), high_of(high));
        store_row8(q, x, smooth, rows8_out[r], columns);
    }
}
