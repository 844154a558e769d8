/* SPDX-License-Identifier: Apache-2.0
 * mem.c - allocation with overflow checks; every byte comes through metallm__alloc_raw (raw.c). */
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

static int too_large(size_t count, size_t size)
{
    return size != 0 && count > PTRDIFF_MAX / size;
}

void *metallm__alloc(size_t count, size_t size)
{
    return metallm__realloc(NULL, count, size);
}

void *metallm__calloc(size_t count, size_t size)
{
    void *p = metallm__alloc(count, size);
    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

void *metallm__realloc(void *old, size_t count, size_t size)
{
    if (too_large(count, size))
        return NULL;
    return metallm__alloc_raw(old, count * size, 0);
}

void *metallm__alloc_aligned(size_t count, size_t size)
{
    if (too_large(count, size) || count * size > PTRDIFF_MAX - 63)
        return NULL;
    return metallm__alloc_raw(NULL, (count * size + 63) & ~(size_t)63, 64);
}

char *metallm__strndup(const char *text, size_t len)
{
    char *copy = metallm__alloc(len + 1, 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *metallm__strdup(const char *text)
{
    return metallm__strndup(text, strlen(text));
}

int metallm__grow(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    size_t wanted = *cap + *cap / 2 + 16;
    if (wanted < need)
        wanted = need;
    void *fresh = metallm__realloc(*p, wanted, size);
    if (fresh == NULL)
        return -1;
    *p = fresh;
    *cap = wanted;
    return 0;
}
