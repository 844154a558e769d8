/* SPDX-License-Identifier: Apache-2.0
 * index.h - an open hash table from 64-bit hashes to row numbers; equal hashes may occur, the
 * caller compares what they stand for. */
#ifndef DATA_INDEX_H
#define DATA_INDEX_H
#include <stddef.h>
#include <stdint.h>

struct metallm__index_slot {
    uint64_t hash;
    size_t row; /* + 1; 0: free */
};

struct metallm__index { /* a cleared record is an empty index */
    struct metallm__index_slot *slots;
    size_t count, cap; /* cap: 0 or a power of two */
};

void metallm__index_fini(struct metallm__index *x);
/* 0, or -1: no memory. */
int metallm__index_add(struct metallm__index *x, uint64_t hash, size_t row);
/* Rows of this hash, one a call: *cursor begins at SIZE_MAX; SIZE_MAX: no more. */
size_t metallm__index_find(const struct metallm__index *x, uint64_t hash, size_t *cursor);

#endif
