/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot.h - matrix products by the AVX-512 instructions that add up groups of small numbers: 4
 * bytes (VNNI) or 2 bfloat16 make one 32-bit lane. For few rows they beat oneDNN's, because the
 * weights of the next block of columns are fetched from memory while this one is worked on, and
 * nothing is set up per call. C (rows x n, 32-bit) = A (rows x k) W^T. W packed: blocks of 64
 * columns; in a block, lane by lane of k, 64 lanes of its columns. */
#ifndef ENCODER_GEMM_DOT_H
#define ENCODER_GEMM_DOT_H
#include <stdint.h>

#define METALLM__DOT_COLUMNS 64u /* n is a multiple of this */
#define METALLM__DOT_ROWS    6u  /* done at once: 6 x 4 sums fill the registers */

/* lanes: 32-bit lanes in a row of A (k / 4 or k / 2). a, c: rows x lanes, rows x n. */
typedef void metallm__dot_run(void *c, const void *a, const void *packed, uint32_t rows,
                              uint32_t lanes, uint32_t n);
metallm__dot_run metallm__dot_int8; /* uint8 x int8 -> int32; AVX512_VNNI */
metallm__dot_run metallm__dot_bf16; /* bfloat16 -> float; AVX512_BF16 */

/* plain: n x lanes, row-major (lanes of 4 bytes or 2 bfloat16); packed: as many bytes. */
void metallm__dot_pack(uint32_t *packed, const uint32_t *plain, uint32_t n, uint32_t lanes);
#endif
