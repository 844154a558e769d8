/* SPDX-License-Identifier: Apache-2.0
 * siphash.h - SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012, and its reference
 * code's double-width mode): a keyed hash, so that a stranger who sends texts cannot make two of
 * them collide. */
#ifndef ENCODER_SIPHASH_H
#define ENCODER_SIPHASH_H
#include <stddef.h>
#include <stdint.h>

struct metallm__hash128 {
    uint64_t lo, hi;
};

struct metallm__hash128 metallm__siphash(const uint64_t key[2], const void *bytes, size_t len);

#endif
