/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot_int8.c - gemm_dot.h with bytes, 4 in a lane. */
#define RUN            metallm__dot_int8
#define SUM            __m512i
#define ZERO           _mm512_setzero_si512()
#define DOT(sum, a, w) _mm512_dpbusd_epi32(sum, a, w)
/* clang-format off */
#include "encoder/gemm_dot_impl.h"
/* clang-format on */
