/* SPDX-License-Identifier: Apache-2.0
 * kernels_bf16.h - attention and conversions in bfloat16 (stored as uint16_t), sums in fp32.
 * AVX512_BF16. */
#ifndef ENCODER_KERNELS_BF16_H
#define ENCODER_KERNELS_BF16_H
#include "encoder/kernels.h"

/* Attention of some rows of one sequence; as struct metallm__attend. */
struct metallm__attend_bf16 {
    const uint16_t *qkv; /* [rows][3 * hidden], q | k | v, bias added */
    float *context;      /* [rows][hidden] */
    void *scratch;       /* metallm__attend_bf16_bytes(), aligned to 64 */
    uint32_t hidden, heads, rows, begin, end;
};
size_t metallm__attend_bf16_bytes(uint32_t rows, uint32_t head_columns);
void metallm__attend_bf16(const struct metallm__attend_bf16 *a);

void metallm__bf16_from_floats(uint16_t *out, const float *x, size_t count); /* multiple of 16 */
/* out = c + bias */
void metallm__bf16_bias(uint16_t *out, const float *c, const float *bias, uint32_t rows,
                        uint32_t columns);
/* out = GELU(c + bias) */
void metallm__bf16_gelu(uint16_t *out, const float *c, const float *bias, uint32_t rows,
                        uint32_t columns);
#endif
