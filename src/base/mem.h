/* SPDX-License-Identifier: Apache-2.0
 * mem.h - the one way to allocate. Sizes are count * size with an overflow check; 0 bytes gives a
 * valid pointer. Tests wrap metallm__alloc_raw at link time to fail the n-th allocation. */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>

void *metallm__alloc(size_t count, size_t size);  /* not cleared; NULL: no memory */
void *metallm__calloc(size_t count, size_t size); /* cleared */
/* old may be NULL. On NULL old is untouched. */
void *metallm__realloc(void *old, size_t count, size_t size);
void metallm__free(void *p); /* NULL is fine */
char *metallm__strdup(const char *text);
char *metallm__strndup(const char *text, size_t len); /* always closed by NUL */
/* Aligned to 64 bytes for vector code; freed by metallm__free. */
void *metallm__alloc_aligned(size_t count, size_t size);

/* Makes room for at least need elements of size bytes in *p (capacity *cap), growing by half. 0:
 * ok. */
int metallm__grow(void **p, size_t *cap, size_t need, size_t size);

/* The door that tests wrap: what is NULL or old for realloc, align 0 for plain. */
void *metallm__alloc_raw(void *old, size_t bytes, size_t align);

#endif
