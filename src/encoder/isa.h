/* SPDX-License-Identifier: Apache-2.0
 * isa.h - which vector instructions this process uses: what the CPU has, or less where the variable
 * METALLM_ISA says so (for tests). One level for the whole process: oneDNN can be told only once.
 */
#ifndef ENCODER_ISA_H
#define ENCODER_ISA_H
#include "metallm/base.h"

/* Each level has what stands before it. */
enum metallm__isa {
    METALLM__ISA_SSE,    /* any x86-64; oneDNN asks for SSE 4.1 */
    METALLM__ISA_AVX2,   /* with FMA */
    METALLM__ISA_AVX512, /* F, BW, VL, DQ */
    METALLM__ISA_VNNI,   /* AVX512_VNNI: 8-bit products */
    METALLM__ISA_BF16,   /* AVX512_BF16 */
    METALLM__ISA_AMX,    /* tiles for 8 bits and bfloat16 */
    METALLM__ISA_COUNT
};

const char *metallm__isa_name(enum metallm__isa isa); /* "sse", "avx2", ... */
/* METALLM_EINVAL: METALLM_ISA names no level. A level that the CPU lacks gives what it has. */
METALLM_MUSTCHECK int metallm__isa_get(enum metallm__isa *out, metallm_error *err);
#endif
