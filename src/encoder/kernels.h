/* SPDX-License-Identifier: Apache-2.0
 * kernels.h - what an encoder layer does between the matrix products, as vector code. One table per
 * instruction set; every count of columns is a multiple of 16. Nothing allocates. */
#ifndef ENCODER_KERNELS_H
#define ENCODER_KERNELS_H
#include <stddef.h>

#include "encoder/isa.h"

#define METALLM__KERNEL_COLUMNS 16u /* hidden sizes and head sizes are multiples of this */

struct metallm__norm {
    const float *gamma, *beta; /* columns */
    float epsilon;
};

/* Attention of some rows of one sequence, fp32. */
struct metallm__attend {
    const float *qkv; /* of the sequence's first row: [rows][3 * hidden], q | k | v, bias added */
    float *context;   /* of the sequence's first row: [rows][hidden] */
    float *scratch;   /* metallm__attend_floats() */
    uint32_t hidden, heads;
    uint32_t rows;       /* of the sequence */
    uint32_t begin, end; /* the query rows to do */
};
size_t metallm__attend_floats(uint32_t rows, uint32_t head_columns);

struct metallm__kernels {
    const char *name;
    /* x[r] = norm(word[ids[r]] + position[positions[r]] + type) */
    void (*embed)(float *x, const uint32_t *ids, const uint32_t *positions, uint32_t rows,
                  uint32_t columns, const float *word, const float *position, const float *type,
                  const struct metallm__norm *norm);
    /* out = c + bias, row by row */
    void (*bias)(float *out, const float *c, const float *bias, uint32_t rows, uint32_t columns);
    /* out = GELU(c + bias), GELU(x) = x/2 (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel, 2016) */
    void (*gelu)(float *out, const float *c, const float *bias, uint32_t rows, uint32_t columns);
    /* x = norm(x + c + bias) */
    void (*add_norm)(float *x, const float *c, const float *bias, uint32_t rows, uint32_t columns,
                     const struct metallm__norm *norm);
    void (*attend)(const struct metallm__attend *a);
    /* out = mean of the rows, then of unit length (all zeros stay zeros) */
    void (*pool)(float *out, const float *x, uint32_t rows, uint32_t columns);
};

extern const struct metallm__kernels metallm__kernels_sse, metallm__kernels_avx2,
    metallm__kernels_avx512;
const struct metallm__kernels *metallm__kernels_for(enum metallm__isa isa);
#endif
