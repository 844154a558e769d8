/* SPDX-License-Identifier: Apache-2.0
 * simd_avx512.h - the vector of kernels_impl.h for AVX-512: 16 floats. */
#ifndef ENCODER_SIMD_AVX512_H
#define ENCODER_SIMD_AVX512_H
#include <immintrin.h>

#define LANES 16
typedef __m512 vf;

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
/* a * b + c */
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for whole n in -126..127 */
static inline vf vf_scale(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
#endif
