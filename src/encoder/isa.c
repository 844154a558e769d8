/* SPDX-License-Identifier: Apache-2.0
 * isa.c - see isa.h. */
#include "encoder/isa.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const char *const names[METALLM__ISA_COUNT] = {"sse",  "avx2", "avx512",
                                                      "vnni", "bf16", "amx"};

const char *metallm__isa_name(enum metallm__isa isa)
{
    return names[isa];
}

/* AMX tiles also need the system's leave (Linux: arch_prctl), for which oneDNN asks. */
static bool has_amx(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0 && (d >> 25 & 1) != 0; /* BF16, TILE, INT8 */
}

static bool has_avx512_bf16(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1) != 0;
}

static enum metallm__isa detect(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return METALLM__ISA_SSE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return METALLM__ISA_AVX2;
    if (!__builtin_cpu_supports("avx512vnni"))
        return METALLM__ISA_AVX512;
    if (!has_avx512_bf16())
        return METALLM__ISA_VNNI;
    return has_amx() ? METALLM__ISA_AMX : METALLM__ISA_BF16;
}

int metallm__isa_get(enum metallm__isa *out, metallm_error *err)
{
    enum metallm__isa best = detect();
    const char *wanted = getenv("METALLM_ISA");
    if (wanted == NULL || wanted[0] == '\0') {
        *out = best;
        return METALLM_OK;
    }
    for (int i = 0; i < METALLM__ISA_COUNT; i++)
        if (strcmp(wanted, names[i]) == 0) {
            *out = (enum metallm__isa)i < best ? (enum metallm__isa)i : best;
            return METALLM_OK;
        }
    return metallm__error_set(err, METALLM_EINVAL,
                              "METALLM_ISA is '%s', not sse, avx2, avx512, vnni, bf16 or amx",
                              wanted);
}
