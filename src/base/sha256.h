/* SPDX-License-Identifier: Apache-2.0
 * sha256.h - SHA-256 of bytes in memory (FIPS 180-4): about 200 MB/s, and several times that where
 * the CPU has instructions for it. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H
#include <stddef.h>
#include <stdint.h>

#define METALLM__SHA256_BYTES 32u

void metallm__sha256(const void *bytes, size_t len, uint8_t out[METALLM__SHA256_BYTES]);
/* The same without those instructions, to compare with. */
void metallm__sha256_plain(const void *bytes, size_t len, uint8_t out[METALLM__SHA256_BYTES]);
#endif
