/* SPDX-License-Identifier: Apache-2.0
 * nearest.h - for each query row, the rows of a base with the highest inner product (for rows of
 * unit length: the cosine), exact, in blocks whose memory does not grow with the base. */
#ifndef MATH_NEAREST_H
#define MATH_NEAREST_H
#include "metallm/base.h"

#define METALLM__NEAREST_MAX  1024u /* neighbours */
#define METALLM__NEAREST_NONE UINT32_MAX

struct metallm__nearest {
    const float *base, *queries; /* base_rows x dim, query_rows x dim; row-major */
    size_t base_rows, query_rows;
    uint32_t dim, k; /* k: 1..METALLM__NEAREST_MAX */
    /* A query skips the base rows of its own group; both NULL: none. */
    const uint32_t *base_group, *query_group;
};

/* index, similarity: query_rows x k, best first; equals by rising index. Where fewer rows qualify
 * the rest is METALLM__NEAREST_NONE and -INFINITY. */
METALLM_MUSTCHECK int metallm__nearest_find(const struct metallm__nearest *n, uint32_t *index,
                                            float *similarity, metallm_error *err);
#endif
