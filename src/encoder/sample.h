/* SPDX-License-Identifier: Apache-2.0
 * sample.h - the texts on which int8 measures the range of each input column. A fixed list of our
 * own, so that equal weights give equal vectors everywhere. */
#ifndef ENCODER_SAMPLE_H
#define ENCODER_SAMPLE_H

extern const char *const metallm__sample_texts[]; /* closed by NULL */
#endif
