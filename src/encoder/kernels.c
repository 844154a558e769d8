/* SPDX-License-Identifier: Apache-2.0
 * kernels.c - the choice among the kernel tables. */
#include "encoder/kernels.h"

const struct metallm__kernels *metallm__kernels_for(enum metallm__isa isa)
{
    if (isa >= METALLM__ISA_AVX512)
        return &metallm__kernels_avx512;
    return isa >= METALLM__ISA_AVX2 ? &metallm__kernels_avx2 : &metallm__kernels_sse;
}

/* K^T and the scores of up to eight query rows, keys padded to a whole vector. */
size_t metallm__attend_floats(uint32_t rows, uint32_t head_columns)
{
    size_t padded = ((size_t)rows + METALLM__KERNEL_COLUMNS - 1) / METALLM__KERNEL_COLUMNS *
                    METALLM__KERNEL_COLUMNS;
    return padded * (head_columns + 8);
}
