/* SPDX-License-Identifier: Apache-2.0
 * peak.c - see peak.h: independent sums in registers, no memory. */
#include "peak.h"

#include <cpuid.h>
#include <immintrin.h>
#include <time.h>

#define ROUNDS 400000
#define RUNS   8

double peak_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int has(unsigned subleaf, int use_ecx, unsigned bit)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, subleaf, &a, &b, &c, &d) && ((use_ecx ? c : a) >> bit & 1);
}

/* 12 sums: more than latency times throughput of any CPU known. */
#define EACH(do)                                                                                   \
    do                                                                                             \
    (0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)
#define SUMS 12

__attribute__((target("avx512f,avx512vnni"))) static void run_int8(void)
{
#define DECLARE(i) __m512i s##i = _mm512_set1_epi32(i);
#define STEP(i)    __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(s##i) : "v"(x), "v"(y));
    __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(2);
    EACH(DECLARE)
    for (int n = 0; n < ROUNDS; n++) {
        EACH(STEP)
    }
#undef DECLARE
#undef STEP
}

__attribute__((target("avx512f,avx512bf16"))) static void run_bf16(void)
{
#define DECLARE(i) __m512 s##i = _mm512_set1_ps(i);
#define STEP(i)    __asm__ volatile("vdpbf16ps %1, %2, %0" : "+v"(s##i) : "v"(x), "v"(y));
    __m512i x = _mm512_set1_epi16(0x3f80), y = x;
    EACH(DECLARE)
    for (int n = 0; n < ROUNDS; n++) {
        EACH(STEP)
    }
#undef DECLARE
#undef STEP
}

static double rate(void (*run)(void), double operations)
{
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double t = peak_seconds();
        run();
        t = peak_seconds() - t;
        double r = operations * SUMS * ROUNDS / t * 1e-9;
        best = r > best ? r : best;
    }
    return best;
}

double peak_int8(void)
{
    return __builtin_cpu_supports("avx512f") && has(0, 1, 11) ? rate(run_int8, 128) : 0;
}

double peak_bf16(void)
{
    return __builtin_cpu_supports("avx512f") && has(1, 0, 5) ? rate(run_bf16, 64) : 0;
}
