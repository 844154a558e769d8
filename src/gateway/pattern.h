/* SPDX-License-Identifier: Apache-2.0
 * pattern.h - whether a text is a regular expression that graders take (grade.h). */
#ifndef GATEWAY_PATTERN_H
#define GATEWAY_PATTERN_H
#include "metallm/base.h"

/* METALLM_EINVAL with the place and PCRE2's sentence. */
METALLM_MUSTCHECK int metallm__pattern_check(const char *pattern, metallm_error *err);
#endif
