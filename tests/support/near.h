/* SPDX-License-Identifier: Apache-2.0
 * near.h - doubles compared within a tolerance (cmocka's own comparison is in float). */
#ifndef SUPPORT_NEAR_H
#define SUPPORT_NEAR_H
#include <math.h>

#include "support/cmocka_all.h"

#define assert_near(got, want, tolerance) near_check(got, want, tolerance, #got, __FILE__, __LINE__)

static inline void near_check(double got, double want, double tolerance, const char *what,
                              const char *file, int line)
{
    if (fabs(got - want) <= tolerance)
        return;
    print_error("%s is %.17g, not within %g of %.17g\n", what, got, tolerance, want);
    _fail(file, line);
}

#endif
