/* SPDX-License-Identifier: Apache-2.0
 * kernels_sse.c - the kernels with simd_sse.h's vector. Reached through its table alone, once the
 * CPU is known to have these instructions. */
#define KERNELS      metallm__kernels_sse
#define KERNELS_NAME "sse"
/* clang-format off */
#include "encoder/simd_sse.h"
#include "encoder/kernels_impl.h"
/* clang-format on */
