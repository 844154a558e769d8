/* SPDX-License-Identifier: Apache-2.0
 * simd_gelu.h - GELU to within 1.7e-4, for results that are rounded to 8 bits or to bfloat16
 * anyway: a third of the work of simd_math.h's. */
#ifndef ENCODER_SIMD_GELU_H
#define ENCODER_SIMD_GELU_H
#include "encoder/simd_avx512.h"

/* h(t) = t (1 - Phi(t)) by parabolas in u = t - i / 8 on |u| <= 1/16, i = 0..31, fitted to even
 * error (below 1e-5); the last one is a line to 0 at t = 4 - 1/16. [power of u][i] */
static const float gelu_parts[3][32] __attribute__((aligned(64))) = {
    {6.4107041e-08f, 0.056282478f,  0.1003232f,   0.13268616f,   0.15426864f,    0.16624088f,
     0.1699705f,     0.16693862f,   0.15865533f,  0.14658144f,   0.13206235f,    0.11627801f,
     0.10021094f,    0.084632206f,  0.070103635f, 0.056993268f,  0.0455003f,     0.035685824f,
     0.027505093f,   0.020839392f,  0.015524165f, 0.01137267f,   0.008194337f,   0.0058078806f,
     0.0040496786f,  0.0027781892f, 0.001875318f, 0.0012456283f, 0.00081419229f, 0.0005237351f,
     0.00033155902f, 0.00013111972f},
    {0.49998478f,    0.40087824f,    0.30481251f,    0.21464742f,    0.13282731f,    0.061246535f,
     0.0011535397f,  -0.046885026f,  -0.082960806f,  -0.10774824f,   -0.12238963f,   -0.1283564f,
     -0.127303f,     -0.12092833f,   -0.11085691f,   -0.098547325f,  -0.085231765f,  -0.071886026f,
     -0.059226754f,  -0.047729006f,  -0.037659237f,  -0.029115693f,  -0.022071063f,  -0.016412805f,
     -0.011978141f,  -0.0085821522f, -0.0060385411f, -0.0041735569f, -0.0028340854f, -0.0018911793f,
     -0.0012403263f, -0.0020979155f},
    {-0.39847208f,  -0.39243225f,  -0.37430436f,  -0.3454795f,
     -0.30789157f,  -0.26397234f,  -0.21641926f,  -0.16795165f,
     -0.12108371f,  -0.07793876f,  -0.040121449f, -0.0086556328f,
     0.016013559f,  0.03396278f,   0.04569341f,   0.052011716f,
     0.053918997f,  0.052415927f,  0.048563802f,  0.04325451f,
     0.037245148f,  0.03112297f,   0.025306714f,  0.020062916f,
     0.015531293f,  0.011753921f,  0.0087040449f, 0.0063117107f,
     0.0044846309f, 0.0031237847f, 0.0021340088f, 0},
};

/* GELU(x) = x Phi(x) = max(x, 0) - h(|x|). Beyond 4 - 1/16, h counts as 0. */
static inline vf rough_gelu_of(vf x)
{
    /* Adding 1.5 * 2^20 rounds to eighths, and leaves 8 t in the lowest bits. */
    const vf shift = vf_set(1572864.0f);
    vf t = vf_min(_mm512_abs_ps(x), vf_set(0x1.f7fffep+1f)); /* below 4 - 1/16 */
    vf eighths = t + shift, u = t - (eighths - shift), h[3];
    __m512i i = _mm512_castps_si512(eighths);
    for (int k = 0; k < 3; k++)
        h[k] = _mm512_permutex2var_ps(_mm512_load_ps(gelu_parts[k]), i,
                                      _mm512_load_ps(gelu_parts[k] + 16));
    vf bend = vf_fma(vf_fma(h[2], u, h[1]), u, h[0]);
    return vf_max(x, vf_set(0)) - bend;
}
#endif
