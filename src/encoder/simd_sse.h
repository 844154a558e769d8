/* SPDX-License-Identifier: Apache-2.0
 * simd_sse.h - the vector of kernels_impl.h for any x86-64: 4 floats, SSE2. */
#ifndef ENCODER_SIMD_SSE_H
#define ENCODER_SIMD_SSE_H
#include <emmintrin.h>

#define LANES 4
typedef __m128 vf;

static inline vf vf_load(const float *p)
{
    return _mm_loadu_ps(p);
}
static inline void vf_store(float *p, vf v)
{
    _mm_storeu_ps(p, v);
}
static inline vf vf_set(float x)
{
    return _mm_set1_ps(x);
}
/* a * b + c */
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm_max_ps(a, b);
}
static inline vf vf_round(vf a)
{
    return _mm_cvtepi32_ps(_mm_cvtps_epi32(a));
}
/* a * 2^n for whole n in -126..127 */
static inline vf vf_scale(vf a, vf n)
{
    __m128i bits = _mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127)), 23);
    return _mm_mul_ps(a, _mm_castsi128_ps(bits));
}
#endif
