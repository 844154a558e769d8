/* SPDX-License-Identifier: Apache-2.0
 * peak.h - what the CPU's vector units can do at most, one thread: 10^9 operations a second (a
 * multiplication and an addition are two), or 0 where it lacks the instruction. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

double peak_int8(void);    /* vpdpbusd */
double peak_bf16(void);    /* vdpbf16ps */
double peak_seconds(void); /* CPU time of the process */
#endif
