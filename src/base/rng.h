/* SPDX-License-Identifier: Apache-2.0
 * rng.h - draws from a metallm_rng. Threads: one generator belongs to one thread at a time. */
#ifndef BASE_RNG_H
#define BASE_RNG_H
#include "metallm/base.h"

uint64_t metallm__rng_next(metallm_rng *rng);
uint32_t metallm__rng_below(metallm_rng *rng,
                            uint32_t bound);   /* even over 0..bound-1; bound >= 1 */
double metallm__rng_uniform(metallm_rng *rng); /* [0,1), 53 bits */
double metallm__rng_normal(metallm_rng *rng);  /* mean 0, variance 1 (Box-Muller) */
void metallm__rng_shuffle(metallm_rng *rng, uint32_t *items, size_t count); /* Fisher-Yates */
/* An independent generator for stream number `stream` of this seed: work split over threads stays
 * the same whatever their number. */
void metallm__rng_stream(metallm_rng *out, uint64_t seed, uint64_t stream);
/* Fold of a query by its text: equal texts land in one fold, so that copies never cross a split. */
uint64_t metallm__hash_bytes(const void *bytes, size_t len, uint64_t seed); /* FNV-1a, then mixed */

#endif
