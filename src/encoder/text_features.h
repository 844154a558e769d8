/* SPDX-License-Identifier: Apache-2.0
 * text_features.h - cheap marks of a text that stand beside its embedding: length, digits, code,
 * formulas, question form. Raw numbers: a router standardises them on its training rows. One pass
 * over the bytes. */
#ifndef ENCODER_TEXT_FEATURES_H
#define ENCODER_TEXT_FEATURES_H
#include <stddef.h>

#include "metallm/encoder.h"

#define METALLM__TEXT_FEATURES 25u
_Static_assert(METALLM__TEXT_FEATURES <= METALLM_TEXT_FEATURES_MAX, "text features");

/* out: METALLM__TEXT_FEATURES floats, all finite. The text may hold any bytes. */
void metallm__text_features(const char *text, size_t len, float *out);
const char *metallm__text_feature_name(unsigned i); /* for reports and documents */
#endif
