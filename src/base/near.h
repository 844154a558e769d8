/* SPDX-License-Identifier: Apache-2.0
 * near.h - which name was probably meant by one that is not known. */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H
#include <stdbool.h>

#define METALLM__NEAR_BYTES 40u

/* Levenshtein's distance; a name longer than METALLM__NEAR_BYTES is far from every other. */
unsigned metallm__near_distance(const char *a, const char *b);

/* Offer names one by one: best is the nearest so far, of those at a distance of at most two (one
 * for names of three letters or fewer). */
struct metallm__near {
    const char *wanted, *best; /* best NULL: none */
    unsigned distance;
};
void metallm__near_offer(struct metallm__near *n, const char *name);

#endif
