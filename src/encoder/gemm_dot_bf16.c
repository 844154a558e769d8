/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot_bf16.c - gemm_dot.h with bfloat16, 2 in a lane. */
#define RUN            metallm__dot_bf16
#define SUM            __m512
#define ZERO           _mm512_setzero_ps()
#define DOT(sum, a, w) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(w))
/* clang-format off */
#include "encoder/gemm_dot_impl.h"
/* clang-format on */
