/* SPDX-License-Identifier: Apache-2.0
 * kernels_avx512.c - the kernels with simd_avx512.h's vector. Reached through its table alone, once
 * the CPU is known to have these instructions. */
#define KERNELS      metallm__kernels_avx512
#define KERNELS_NAME "avx512"
/* clang-format off */
#include "encoder/simd_avx512.h"
#include "encoder/kernels_impl.h"
/* clang-format on */
