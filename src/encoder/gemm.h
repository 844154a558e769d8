/* SPDX-License-Identifier: Apache-2.0
 * gemm.h - matrix products with packed weights, by oneDNN: C = A W^T, with A (rows x k), W (n x k).
 *   precision  A        W        C
 *   fp32       float    float    float
 *   bf16       bfloat16 bfloat16 float
 *   int8       uint8    int8     int32
 * Weights are packed once and shared by threads. Row counts are rounded up to
 * METALLM__GEMM_ROW_STEP, so that few primitives serve all; they are made when first needed and
 * kept. */
#ifndef ENCODER_GEMM_H
#define ENCODER_GEMM_H
#include <stddef.h>

#include "encoder/isa.h"
#include "metallm/base.h"

#define METALLM__GEMM_ROWS_MAX   64u /* in one call */
#define METALLM__GEMM_ROW_STEP   4u
#define METALLM__GEMM_SHAPES_MAX 8u /* pairs (k, n) in one library */

enum metallm__precision {
    METALLM__PRECISION_FP32,
    METALLM__PRECISION_BF16,
    METALLM__PRECISION_INT8,
    METALLM__PRECISION_COUNT
};

struct metallm__gemm_library; /* shapes and primitives; any number of threads */
struct metallm__gemm_weights; /* one packed matrix; belongs to a library and must go before it */
struct metallm__gemm_worker;  /* what one thread needs to run products */

/* METALLM_EMISMATCH: oneDNN has no such product on this CPU. */
METALLM_MUSTCHECK int metallm__gemm_library_new(struct metallm__gemm_library **out,
                                                enum metallm__precision precision,
                                                enum metallm__isa isa, metallm_error *err);
void metallm__gemm_library_free(struct metallm__gemm_library *lib);

/* plain: n x k of W's type, row-major; not kept. */
METALLM_MUSTCHECK int metallm__gemm_pack(struct metallm__gemm_weights **out,
                                         struct metallm__gemm_library *lib, uint32_t n, uint32_t k,
                                         const void *plain, metallm_error *err);
/* What packed weights take: bytes, and a number that tells one way of packing from another. */
struct metallm__gemm_form {
    size_t bytes;
    uint64_t tag;
};
METALLM_MUSTCHECK int metallm__gemm_form(struct metallm__gemm_library *lib, uint32_t n, uint32_t k,
                                         struct metallm__gemm_form *out, metallm_error *err);
/* Weights that were packed in this form before, aligned to 64; they outlive *out. */
METALLM_MUSTCHECK int metallm__gemm_adopt(struct metallm__gemm_weights **out,
                                          struct metallm__gemm_library *lib, uint32_t n, uint32_t k,
                                          const void *packed, metallm_error *err);
const void *metallm__gemm_packed(const struct metallm__gemm_weights *w, size_t *bytes);
void metallm__gemm_weights_free(struct metallm__gemm_weights *w);

METALLM_MUSTCHECK int metallm__gemm_worker_new(struct metallm__gemm_worker **out,
                                               struct metallm__gemm_library *lib,
                                               metallm_error *err);
void metallm__gemm_worker_free(struct metallm__gemm_worker *w);

/* 1 <= rows <= METALLM__GEMM_ROWS_MAX. a and c have room for rows rounded up to the row step; the
 * rows beyond hold anything. Runs on the calling thread. */
METALLM_MUSTCHECK int metallm__gemm_run(struct metallm__gemm_worker *worker,
                                        const struct metallm__gemm_weights *w, const void *a,
                                        uint32_t rows, void *c, metallm_error *err);

/* oneDNN runs on OpenMP: between begin and end this thread's products stay on this thread. */
int metallm__gemm_begin(void);
void metallm__gemm_end(int kept);
#endif
