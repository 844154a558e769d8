/* SPDX-License-Identifier: Apache-2.0
 * raw.c - the only calls of the C library's allocator, apart from mem.c so that tests can wrap
 * them. */
#define METALLM_BASE_ALLOCATES
#include "base/banned.h"
#include "base/mem.h"

void *metallm__alloc_raw(void *old, size_t bytes, size_t align)
{
    if (bytes == 0)
        bytes = 1;
    if (align != 0)
        return aligned_alloc(align, (bytes + align - 1) / align * align);
    return realloc(old, bytes);
}

void metallm__free(void *p)
{
    free(p);
}
