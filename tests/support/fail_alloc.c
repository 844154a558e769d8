/* SPDX-License-Identifier: Apache-2.0
 * fail_alloc.c - see fail_alloc.h; linked with --wrap=metallm__alloc_raw. */
#include "support/fail_alloc.h"

#include <stdatomic.h>

#include "metallm/base.h"
#include "support/cmocka_all.h"

void *__real_metallm__alloc_raw(void *old, size_t bytes, size_t align);
void *__wrap_metallm__alloc_raw(void *old, size_t bytes, size_t align);

static atomic_long fail_at = -1;
static atomic_long seen = 0;

void fail_alloc_at(long n)
{
    atomic_store(&seen, 0);
    atomic_store(&fail_at, n);
}

long fail_alloc_seen(void)
{
    return atomic_load(&seen);
}

void *__wrap_metallm__alloc_raw(void *old, size_t bytes, size_t align)
{
    if (atomic_fetch_add(&seen, 1) == atomic_load(&fail_at))
        return NULL;
    return __real_metallm__alloc_raw(old, bytes, align);
}

long fail_alloc_sweep(int (*call)(void *payload), void *payload)
{
    for (long n = 0;; n++) {
        fail_alloc_at(n);
        int rc = call(payload);
        fail_alloc_at(-1);
        if (rc == METALLM_OK)
            return n;
        assert_int_equal(rc, METALLM_ENOMEM);
        assert_true(n < 1000000);
    }
}
