/* SPDX-License-Identifier: Apache-2.0
 * simd_int8.h - one vector of a product's sums, back to floats. */
#ifndef ENCODER_SIMD_INT8_H
#define ENCODER_SIMD_INT8_H
#include "encoder/kernels_int8.h"
#include "encoder/simd_avx512.h"

/* sums[i..i+16] of a row: row scale * (sum * column scale - zero * correction) + bias. */
static inline vf restore_at(const int32_t *sums, vf scale, vf scaled_zero,
                            const struct metallm__columns8 *c, uint32_t i)
{
    vf sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums + i));
    vf rest = _mm512_fnmadd_ps(scaled_zero, vf_load(c->correction + i), vf_load(c->bias + i));
    return vf_fma(sum * vf_load(c->scale + i), scale, rest);
}
#endif
