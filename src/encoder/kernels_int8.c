/* SPDX-License-Identifier: Apache-2.0
 * kernels_int8.c - see kernels_int8.h. */
#include "encoder/kernels_int8.h"

#include <float.h>

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

/* q = x / scale + zero, rounded to 0..255; the row times smooth was seen to lie in range. */
static inline void store_row8(uint8_t *q, const float *x, const float *smooth,
                              struct metallm__row8 r, uint32_t columns)
{
    vf factor = vf_set(1.0f / r.scale), zero = vf_set(r.zero);
    for (uint32_t i = 0; i < columns; i += LANES) {
        vf v = vf_load(x + i);
        if (smooth != NULL)
            v = v * vf_load(smooth + i);
        __m512i whole = _mm512_cvtps_epi32(vf_fma(v, factor, zero));
        whole = _mm512_max_epi32(whole, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(void *)(q + i), _mm512_cvtusepi32_epi8(whole));
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
            vf v = gelu_of(restore_at(sums, scale, zero, c, i)) * vf_load(smooth + i);
            low = vf_min(low, v);
            high = vf_max(high, v);
            vf_store(line + i, v);
        }
        rows8_out[r] = row8_of(low_of(low), high_of(high));
        store_row8(q, line, NULL, rows8_out[r], columns);
    }
}

void metallm__int8_add_norm(float *x, const int32_t *sums, const struct metallm__row8 *rows8,
                            const struct metallm__columns8 *c, uint32_t rows, uint32_t columns,
                            const struct metallm__norm *norm)
{
    for (uint32_t r = 0; r < rows; r++, x += columns, sums += columns) {
        vf scale = vf_set(rows8[r].scale), zero = vf_set(rows8[r].scale * rows8[r].zero);
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(x + i, vf_load(x + i) + restore_at(sums, scale, zero, c, i));
        normalise(x, columns, norm);
    }
}
