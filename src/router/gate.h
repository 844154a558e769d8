/* SPDX-License-Identifier: Apache-2.0
 * gate.h - how much the estimates of a query deserve to be believed, 0..1, by its likeness to the
 * training queries: the mean cosine to the METALLM__GATE_NEAR nearest of them (the distance of
 * arXiv 2309.15789, section 3.3, there to 19). Cosines are of the whole centred embeddings: what
 * lies outside the principal axes counts in the length (projection.h).
 * 1 where a training query left out would be likelier than its 5 % quantile, falling to 0 over as
 * much again as lies between that and the median. */
#ifndef ROUTER_GATE_H
#define ROUTER_GATE_H
#include "base/safetensors.h"
#include "metallm/base.h"

#define METALLM__GATE_NEAR    20u
#define METALLM__GATE_LIBRARY 1024u /* training queries kept at most */

struct metallm__gate {
    uint32_t axes;      /* floats of a row; 0: no embedding, always open */
    uint32_t count;     /* rows kept */
    float *rows;        /* count x axes, of length <= 1: the part of a unit row within the axes */
    float closed, open; /* likeness at which the gate is 0 and 1 */
};

/* Rows of z (n x dim, the first axes of each are the embedding's) with their lengths. */
struct metallm__gate_rows {
    const float *z, *lengths;
    size_t n;
    uint32_t dim, axes;
};

METALLM_MUSTCHECK int metallm__gate_fit(struct metallm__gate *out,
                                        const struct metallm__gate_rows *rows, uint64_t seed,
                                        metallm_error *err);
void metallm__gate_fini(struct metallm__gate *g);
/* out: n numbers, 0..1. */
METALLM_MUSTCHECK int metallm__gate_apply(const struct metallm__gate *g,
                                          const struct metallm__gate_rows *rows, float *out,
                                          metallm_error *err);
METALLM_MUSTCHECK int metallm__gate_save(const struct metallm__gate *g,
                                         struct metallm__st_writer *w, metallm_error *err);
METALLM_MUSTCHECK int metallm__gate_load(struct metallm__gate *out,
                                         const struct metallm__st_file *f, uint32_t axes,
                                         metallm_error *err);
#endif
