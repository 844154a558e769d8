/* SPDX-License-Identifier: Apache-2.0
 * projection.h - from the vector of a query (head | tail | text, metallm/encoder.h) to the vector z
 * that every estimator sees:
 *     e = [head | tail] / s,   s the root mean square length of the training rows
 *     z = [(e - mean(e)) V | METALLM__TEXT_WEIGHT * clip((text - mean) / sd, -5, 5)]
 * V holds the first principal axes of e (at most METALLM__AXES_MAX). Principal axes keep the
 * distances between queries while training costs the cube of the dimension no more than once.
 * Beside z, e's part outside those axes is known by its length alone: metallm__projection_apply
 * gives |e - mean|, the gate (gate.h) reads it. */
#ifndef ROUTER_PROJECTION_H
#define ROUTER_PROJECTION_H
#include "base/safetensors.h"
#include "metallm/router.h"

#define METALLM__AXES_MAX    64u
#define METALLM__TEXT_WEIGHT 0.2f
#define METALLM__TEXT_CLIP   5.0f
#define METALLM__LAYOUT_MAX  4096u /* floats in [head | tail] */

struct metallm__projection {
    metallm_layout layout;
    uint32_t axes;       /* columns of e that z keeps */
    uint32_t dim;        /* axes + layout.text: floats in z */
    float *axes_t;       /* axes x (head + tail): V' / s */
    float *offset;       /* axes: mean(e) V */
    float *mean;         /* head + tail: mean of the unscaled row */
    float *text_mean;    /* layout.text */
    float *text_scale;   /* layout.text: METALLM__TEXT_WEIGHT / sd; 0 for a constant column */
    float inverse_scale; /* 1 / s */
};

/* Fitted on the training rows alone. The caller finis. METALLM_EINVAL: a layout beyond
 * METALLM__LAYOUT_MAX or a value that is not finite. */
METALLM_MUSTCHECK int metallm__projection_fit(struct metallm__projection *f,
                                              const metallm_vectors *x, metallm_error *err);
void metallm__projection_fini(struct metallm__projection *f); /* a cleared record is fine */

/* values: n rows of the layout; z: n x dim; lengths: n, |e - mean(e)|, or NULL. No allocation
 * beyond a block of rows. */
METALLM_MUSTCHECK int metallm__projection_apply(const struct metallm__projection *f,
                                                const float *values, size_t n, float *z,
                                                float *lengths, metallm_error *err);
METALLM_MUSTCHECK int metallm__projection_save(const struct metallm__projection *f,
                                               struct metallm__st_writer *w, metallm_error *err);
METALLM_MUSTCHECK int metallm__projection_load(struct metallm__projection *f,
                                               const struct metallm__st_file *file,
                                               const metallm_layout *layout, metallm_error *err);
#endif
