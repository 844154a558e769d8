/* SPDX-License-Identifier: Apache-2.0
 * calibration.h - how well predicted chances and scores agree. */
#ifndef MATH_CALIBRATION_H
#define MATH_CALIBRATION_H
#include <stddef.h>

#include "metallm/base.h"

#define METALLM__CALIBRATION_BINS 15u

struct metallm__bin {
    double predicted, observed; /* means in the bin */
    size_t count;
};
/* Brier score: mean (p - s)^2. ECE: 15 bins of equal mass (equal predictions share a bin), mean of
 * |predicted - observed| weighted by count. noise: the ECE expected of perfect predictions with
 * the same residual variance and counts (normal approximation). */
struct metallm__calibration {
    double brier, ece, noise; /* NaN when count is 0 */
    size_t count, bin_count;
    struct metallm__bin bins[METALLM__CALIBRATION_BINS];
};
/* Pairs where either is NaN are left out. */
METALLM_MUSTCHECK int metallm__calibrate(const float *predicted, const float *score, size_t count,
                                         struct metallm__calibration *out, metallm_error *err);
#endif
