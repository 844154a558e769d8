/* SPDX-License-Identifier: Apache-2.0
 * ope.h - off-policy evaluation: what another policy would have earned (or spent), from logged
 * decisions with their propensities. Pure functions on plain rows.
 *
 * For decision i with chosen model a, logged propensity p, value y and, under the policy in
 * question, chance pi of that same model, w = pi / p. q is a prediction made without y:
 *   IPS   = mean of w y                                  (Horvitz and Thompson 1952)
 *   SNIPS = sum of w y / sum of w                        (Swaminathan and Joachims 2015, eq. 8)
 *   DR    = mean of sum_m pi(m) q(m) + w (y - q(a))      (Dudik, Langford and Li 2011, eq. 3)
 * IPS and DR are unbiased when the propensities are right and every model that the policy may
 * choose had one above 0; SNIPS is consistent and varies less. DR is unbiased as well when q is
 * right and the propensities are not.
 *
 * Intervals: 95 %, value -+ t s / sqrt(n) with the sample deviation s of the terms above; for SNIPS
 * the delta method's sqrt(sum w^2 (y - SNIPS)^2) / sum w (Owen, Monte Carlo theory, 2013, eq. 9.8).
 * t is Student's quantile at the degrees of freedom n_sigma - 1, where n_sigma = (sum w^2)^2 / sum
 * w^4 is Owen's effective sample size for a variance (section 9.3): a few heavy weights make the
 * deviation itself uncertain, and the normal quantile would promise too much. */
#ifndef EVAL_OPE_H
#define EVAL_OPE_H
#include <stdbool.h>

#include "metallm/base.h"

#define METALLM__OPE_ESS_LEAST  100.0 /* below it a result is flagged METALLM__OPE_FEW */
#define METALLM__OPE_MASS_SLACK 0.05  /* |mean weight - 1| that is let pass, beside 4 errors */

struct metallm__ope_row {
    double weight;    /* w, finite, >= 0 */
    double value;     /* y, finite */
    double predicted; /* q(a); NaN: no prediction */
    double direct;    /* sum_m pi(m) q(m); NaN: no prediction */
};

struct metallm__ope_estimate {
    double value, low, high; /* NaN: not known */
};

enum metallm__ope_warning { /* bits */
                            METALLM__OPE_NO_MATCH =
                                1, /* the policy agrees with no decision: nothing can be said */
                            METALLM__OPE_FEW =
                                2, /* effective sample size below METALLM__OPE_ESS_LEAST */
                            METALLM__OPE_MASS =
                                4, /* weights do not average 1: propensities wrong, or the log never
                                      tries what the policy would do (then IPS is biased) */
                            METALLM__OPE_CLIPPED =
                                8, /* some weights were cut: less spread, but biased */
                            METALLM__OPE_NO_MODEL = 16 /* no predictions: DR is IPS */
};

struct metallm__ope_result {
    size_t n;           /* rows */
    size_t matched;     /* rows of weight above 0 */
    size_t clipped;     /* rows whose weight was cut */
    double ess;         /* (sum w)^2 / sum w^2 (Kish 1965) */
    double mean_weight; /* 1 in expectation */
    double max_weight;
    double direct; /* mean of the predictions alone; biased when they are */
    struct metallm__ope_estimate ips, snips, dr;
    struct metallm__ope_estimate gain; /* DR - mean logged value, paired by row */
    unsigned warnings;                 /* bits of enum metallm__ope_warning */
};

/* clip: weights are cut at it; 0: not. n may be 0. Sums are compensated, so that the order of a
 * million rows does not matter. */
void metallm__ope(const struct metallm__ope_row *rows, size_t n, double clip,
                  struct metallm__ope_result *out);

/* Student's t: the 97.5 % quantile at df degrees of freedom, to 1e-3 from df = 3 on
 * (Cornish-Fisher; Abramowitz and Stegun 26.7.5); infinite below 1. */
double metallm__student_975(double df);

#endif
