/* SPDX-License-Identifier: Apache-2.0
 * siphash.c - see siphash.h. */
#include "encoder/siphash.h"

#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void rounds(struct state *s, int count)
{
    for (int i = 0; i < count; i++) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void take(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

struct metallm__hash128 metallm__siphash(const uint64_t key[2], const void *bytes, size_t len)
{
    struct state s = {0x736f6d6570736575ull ^ key[0], 0x646f72616e646f6dull ^ key[1] ^ 0xee,
                      0x6c7967656e657261ull ^ key[0], 0x7465646279746573ull ^ key[1]};
    const unsigned char *p = bytes;
    uint64_t word;
    for (size_t left = len; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8); /* x86-64 is little-endian, as SipHash reads */
        take(&s, word);
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; i < (len & 7); i++)
        word |= (uint64_t)p[i] << (8 * i);
    take(&s, word);
    struct metallm__hash128 out;
    s.v2 ^= 0xee;
    rounds(&s, 4);
    out.lo = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    rounds(&s, 4);
    out.hi = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return out;
}
