/* SPDX-License-Identifier: Apache-2.0
 * sha256.c - see sha256.h. Names as in FIPS 180-4, sections 4.1.2, 4.2.2 and 6.2.2. */
#include "base/sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define BLOCK 64u

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t word_at(const uint8_t *bytes)
{
    uint32_t w;
    memcpy(&w, bytes, sizeof w);
    return __builtin_bswap32(w);
}

static void add_block(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (unsigned t = 0; t < 16; t++)
        w[t] = word_at(block + 4 * (size_t)t);
    for (unsigned t = 16; t < 64; t++) {
        uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(s, h, sizeof s);
    for (unsigned t = 0; t < 64; t += 8)
        for (unsigned i = 0; i < 8; i++) { /* a is s[-i mod 8], b the next, and so on */
            uint32_t a = s[(8 - i) & 7], b = s[(9 - i) & 7], c = s[(10 - i) & 7];
            uint32_t e = s[(12 - i) & 7], f = s[(13 - i) & 7], g = s[(14 - i) & 7];
            uint32_t *last = &s[(15 - i) & 7];
            uint32_t t1 = *last + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                          k[t + i] + w[t + i];
            s[(11 - i) & 7] += t1;
            *last = t1 + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        }
    for (unsigned i = 0; i < 8; i++)
        h[i] += s[i];
}

static void add_plain(uint32_t h[8], const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += BLOCK)
        add_block(h, blocks);
}

/* ---- The CPU's own instructions. They keep the state as ABEF and CDGH, the first letter in the
 * highest word, and do two rounds a step. ---- */

__attribute__((target("sha,sse4.1"))) static __m128i load(const void *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

/* With the words in w0, in whose place come those of sixteen rounds later. */
__attribute__((target("sha,sse4.1"))) static inline void four_rounds(__m128i *abef, __m128i *cdgh,
                                                                     __m128i constants, __m128i *w0,
                                                                     __m128i w1, __m128i w2,
                                                                     __m128i w3, bool has_more)
{
    __m128i x = _mm_add_epi32(*w0, constants);
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, x);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(x, 0x0e));
    if (!has_more)
        return;
    x = _mm_add_epi32(_mm_sha256msg1_epu32(*w0, w1), _mm_alignr_epi8(w3, w2, 4));
    *w0 = _mm_sha256msg2_epu32(x, w3);
}

__attribute__((target("sha,sse4.1"))) static void add_fast(uint32_t h[8], const uint8_t *blocks,
                                                           size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i cdab = _mm_shuffle_epi32(load(h), 0xb1), hgfe = _mm_shuffle_epi32(load(h + 4), 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
    for (; count > 0; count--, blocks += BLOCK) {
        __m128i w[4], abef_before = abef, cdgh_before = cdgh;
        for (unsigned i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(load(blocks + 16 * (size_t)i), swap);
        for (unsigned t = 0; t < 64; t += 16) {
            bool has_more = t < 48;
            four_rounds(&abef, &cdgh, load(k + t), &w[0], w[1], w[2], w[3], has_more);
            four_rounds(&abef, &cdgh, load(k + t + 4), &w[1], w[2], w[3], w[0], has_more);
            four_rounds(&abef, &cdgh, load(k + t + 8), &w[2], w[3], w[0], w[1], has_more);
            four_rounds(&abef, &cdgh, load(k + t + 12), &w[3], w[0], w[1], w[2], has_more);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Asked once: it is a slow question. */
static bool is_fast(void)
{
    static atomic_int known; /* 1: no, 2: yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        unsigned a, b, c, d;
        bool has_sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c >> 9 & 1) != 0 && (c >> 19 & 1) != 0;
        bool has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) != 0;
        answer = has_sse41 && has_sha ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

typedef void (*adder)(uint32_t h[8], const uint8_t *blocks, size_t count);

static void hash(adder add, const void *bytes, size_t len, uint8_t out[METALLM__SHA256_BYTES])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t last[2 * BLOCK] = {0};
    size_t blocks = len / BLOCK, left = len % BLOCK;
    add(h, bytes, blocks);
    if (left > 0)
        memcpy(last, (const uint8_t *)bytes + blocks * BLOCK, left);
    last[left] = 0x80;
    size_t end = left < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    for (unsigned i = 0; i < 8; i++)
        last[end - 1 - i] = (uint8_t)((uint64_t)len * 8 >> 8 * i);
    add(h, last, end / BLOCK);
    for (unsigned i = 0; i < METALLM__SHA256_BYTES; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void metallm__sha256(const void *bytes, size_t len, uint8_t out[METALLM__SHA256_BYTES])
{
    hash(is_fast() ? add_fast : add_plain, bytes, len, out);
}

void metallm__sha256_plain(const void *bytes, size_t len, uint8_t out[METALLM__SHA256_BYTES])
{
    hash(add_plain, bytes, len, out);
}
