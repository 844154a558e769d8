/* SPDX-License-Identifier: Apache-2.0
 * fail_alloc.h - makes the n-th allocation fail, and tells whether all that was allocated was
 * freed. The sweep: for (fail_alloc_at(n = 0); call() == METALLM_ENOMEM; fail_alloc_at(++n)) ... */
#ifndef SUPPORT_FAIL_ALLOC_H
#define SUPPORT_FAIL_ALLOC_H

void fail_alloc_at(long n); /* allocation n (0 is the next one) fails, once; -1: none */
long fail_alloc_seen(void); /* allocations since the last fail_alloc_at */

/* Runs call(payload) with allocation 0, 1, 2 ... failing until it returns METALLM_OK; every other
 * result must be METALLM_ENOMEM. Returns how many failures were tried. Leaks are LeakSanitizer's.
 */
long fail_alloc_sweep(int (*call)(void *payload), void *payload);

#endif
