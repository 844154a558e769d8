/* SPDX-License-Identifier: Apache-2.0
 * kernels_int8.h - between the products of the int8 pass: rows to 8 bits and sums back. AVX-512.
 * A row is quantised by itself, from its own least and greatest value: x = scale (q - zero), q in
 * 0..255. Weights are quantised by output column, symmetric: w = column scale * v, v in -127..127.
 * So sum x w = row scale * (column scale * sum q v - zero * column scale * sum v). */
#ifndef ENCODER_KERNELS_INT8_H
#define ENCODER_KERNELS_INT8_H
#include "encoder/kernels.h"

struct metallm__row8 {
    float scale, zero;
};

/* What a product's output columns carry. */
struct metallm__columns8 {
    const float *scale;      /* column scale */
    const float *correction; /* column scale * sum of the column's v */
    const float *bias;
};

/* q = x * smooth, row by row; smooth: a factor per column. */
void metallm__int8_quantise(uint8_t *q, struct metallm__row8 *rows8, const float *x,
                            const float *smooth, uint32_t rows, uint32_t columns);
/* out = sums + bias. */
void metallm__int8_restore(float *out, const int32_t *sums, const struct metallm__row8 *rows8,
                           const struct metallm__columns8 *c, uint32_t rows, uint32_t columns);
/* q = GELU(sums + bias) * smooth. line: columns floats to work in. */
void metallm__int8_gelu(uint8_t *q, struct metallm__row8 *rows8_out, const int32_t *sums,
                        const struct metallm__row8 *rows8, const struct metallm__columns8 *c,
                        const float *smooth, float *line, uint32_t rows, uint32_t columns);
/* x = norm(x + sums + bias). */
void metallm__int8_add_norm(float *x, const int32_t *sums, const struct metallm__row8 *rows8,
                            const struct metallm__columns8 *c, uint32_t rows, uint32_t columns,
                            const struct metallm__norm *norm);
/* The same, and q = x * smooth for the next product; rows8_out may be rows8. */
void metallm__int8_add_norm_quantise(uint8_t *q, struct metallm__row8 *rows8_out, float *x,
                                     const int32_t *sums, const struct metallm__row8 *rows8,
                                     const struct metallm__columns8 *c, const float *smooth,
                                     uint32_t rows, uint32_t columns,
                                     const struct metallm__norm *norm);
/* bfloat16 of sums + bias, for attention in bfloat16 (needs AVX512_BF16: kernels_bf16.c). */
void metallm__int8_restore_bf16(uint16_t *out, const int32_t *sums,
                                const struct metallm__row8 *rows8,
                                const struct metallm__columns8 *c, uint32_t rows, uint32_t columns);
#endif
