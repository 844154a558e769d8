/* SPDX-License-Identifier: Apache-2.0
 * simd_math.h - functions of vectors and rows over the vector of a simd_*.h, which is included
 * before this. */
#ifndef ENCODER_SIMD_MATH_H
#define ENCODER_SIMD_MATH_H
#include <math.h>
#include <string.h>

#include "encoder/kernels.h"

static inline float sum_of(vf v)
{
    float lanes[LANES];
    vf_store(lanes, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

static inline float max_of(vf v)
{
    float lanes[LANES];
    vf_store(lanes, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

/* exp(x) for x <= 0: 2^n e^r with |r| <= ln(2)/2, e^r by its Taylor series to the sixth power
 * (relative error below 2e-7; zero comes out as 2^-126 at worst). */
static inline vf exp_of(vf x)
{
    x = vf_max(x, vf_set(-87.0f));
    vf n = vf_round(x * vf_set(1.44269504f));
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.0f / 720);
    p = vf_fma(p, r, vf_set(1.0f / 120));
    p = vf_fma(p, r, vf_set(1.0f / 24));
    p = vf_fma(p, r, vf_set(1.0f / 6));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    return vf_scale(p, n);
}

/* erf by a rational function of odd order 13 over even order 8, |x| clamped to 4 (the coefficients
 * are those of Eigen's and XLA's float erf; error below 1e-6, checked in the tests). */
static inline vf erf_of(vf x)
{
    x = vf_max(vf_min(x, vf_set(4.0f)), vf_set(-4.0f));
    vf z = x * x;
    vf p = vf_set(-2.72614225801306e-10f);
    p = vf_fma(p, z, vf_set(2.77068142495902e-08f));
    p = vf_fma(p, z, vf_set(-2.10102402082508e-06f));
    p = vf_fma(p, z, vf_set(-5.69250639462346e-05f));
    p = vf_fma(p, z, vf_set(-7.34990630326855e-04f));
    p = vf_fma(p, z, vf_set(-2.95459980854025e-03f));
    p = vf_fma(p, z, vf_set(-1.60960333262415e-02f));
    vf q = vf_set(-1.45660718464996e-05f);
    q = vf_fma(q, z, vf_set(-2.13374055278905e-04f));
    q = vf_fma(q, z, vf_set(-1.68282697438203e-03f));
    q = vf_fma(q, z, vf_set(-7.37332916720468e-03f));
    q = vf_fma(q, z, vf_set(-1.42647390514189e-02f));
    return x * p / q;
}

static inline vf gelu_of(vf x)
{
    vf half = x * vf_set(0.5f);
    return vf_fma(half, erf_of(x * vf_set(0.70710678f)), half);
}

/* x = (x - mean) / sqrt(variance + epsilon) * gamma + beta, in place (Ba et al., 2016). */
static inline void normalise(float *x, uint32_t columns, const struct metallm__norm *norm)
{
    vf sum = vf_set(0), squares = vf_set(0);
    for (uint32_t i = 0; i < columns; i += LANES)
        sum = sum + vf_load(x + i);
    vf mean = vf_set(sum_of(sum) / (float)columns);
    for (uint32_t i = 0; i < columns; i += LANES) {
        vf d = vf_load(x + i) - mean;
        squares = vf_fma(d, d, squares);
    }
    vf scale = vf_set(1.0f / sqrtf(sum_of(squares) / (float)columns + norm->epsilon));
    for (uint32_t i = 0; i < columns; i += LANES) {
        vf d = (vf_load(x + i) - mean) * scale;
        vf_store(x + i, vf_fma(d, vf_load(norm->gamma + i), vf_load(norm->beta + i)));
    }
}
#endif
