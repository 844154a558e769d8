/* SPDX-License-Identifier: Apache-2.0
 * rng.c - xoshiro256** seeded by splitmix64, and the draws built on it. */
#include "base/rng.h"

#include <math.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void metallm_rng_seed(metallm_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->state[i] = splitmix(&seed);
}

void metallm__rng_stream(metallm_rng *out, uint64_t seed, uint64_t stream)
{
    uint64_t s = seed ^ (stream * 0xd1342543de82ef95u + 0x632be59bd9b4e019u);
    metallm_rng_seed(out, splitmix(&s) + stream);
}

uint64_t metallm__rng_next(metallm_rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Lemire's multiply-and-reject (2019): even for every bound. */
uint32_t metallm__rng_below(metallm_rng *rng, uint32_t bound)
{
    uint64_t m = (metallm__rng_next(rng) >> 32) * bound;
    if ((uint32_t)m < bound) {
        uint32_t least = -bound % bound;
        while ((uint32_t)m < least)
            m = (metallm__rng_next(rng) >> 32) * bound;
    }
    return (uint32_t)(m >> 32);
}

double metallm__rng_uniform(metallm_rng *rng)
{
    return (double)(metallm__rng_next(rng) >> 11) * 0x1p-53;
}

double metallm__rng_normal(metallm_rng *rng)
{
    double u = 1.0 - metallm__rng_uniform(rng), v = metallm__rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void metallm__rng_shuffle(metallm_rng *rng, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = metallm__rng_below(rng, (uint32_t)i);
        uint32_t kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}

uint64_t metallm__hash_bytes(const void *bytes, size_t len, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return splitmix(&h);
}
