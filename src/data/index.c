/* SPDX-License-Identifier: Apache-2.0
 * index.c - see index.h: linear probing, at most 3/4 full. */
#include "data/index.h"

#include "base/mem.h"

void metallm__index_fini(struct metallm__index *x)
{
    metallm__free(x->slots);
    *x = (struct metallm__index){0};
}

static void put(struct metallm__index *x, struct metallm__index_slot slot)
{
    size_t at = slot.hash & (x->cap - 1);
    while (x->slots[at].row != 0)
        at = (at + 1) & (x->cap - 1);
    x->slots[at] = slot;
}

static int widen(struct metallm__index *x)
{
    struct metallm__index old = *x;
    size_t cap = old.cap == 0 ? 64 : old.cap * 2;
    struct metallm__index_slot *slots = metallm__calloc(cap, sizeof *slots);
    if (slots == NULL)
        return -1;
    x->slots = slots;
    x->cap = cap;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].row != 0)
            put(x, old.slots[i]);
    metallm__free(old.slots);
    return 0;
}

int metallm__index_add(struct metallm__index *x, uint64_t hash, size_t row)
{
    if ((x->count + 1) * 4 > x->cap * 3 && widen(x) != 0)
        return -1;
    put(x, (struct metallm__index_slot){hash, row + 1});
    x->count++;
    return 0;
}

size_t metallm__index_find(const struct metallm__index *x, uint64_t hash, size_t *cursor)
{
    if (x->cap == 0)
        return SIZE_MAX;
    size_t at = (*cursor == SIZE_MAX ? (size_t)hash : *cursor + 1) & (x->cap - 1);
    for (; x->slots[at].row != 0; at = (at + 1) & (x->cap - 1))
        if (x->slots[at].hash == hash) {
            *cursor = at;
            return x->slots[at].row - 1;
        }
    return SIZE_MAX;
}
