/* SPDX-License-Identifier: Apache-2.0
 * combine.h - one prediction from several estimators, and its calibration, both learned from
 * out-of-fold predictions.
 * Combination (stacked regression: Breiman, Machine Learning 24, 1996), on what routing depends
 * on: with mu the models' mean scores and D_k = p_k - mu less its mean over the row's models, the
 * weights minimise |Y - sum_k w_k D_k|^2 + ridge |w - prior|^2, w >= 0, and are brought to sum 1;
 * then `strength`, the least-squares factor on sum_k w_k D_k within 0..STRENGTH_MAX, draws all to
 * the means where the training rows say that differences between queries are mostly noise:
 *     q = mu + strength * sum_k w_k (p_k - mu).
 * Calibration (Platt 1999), a model at a time: sigmoid(intercept + slope * logit(q)), its slope
 * drawn to 1 by SLOPE_PRIOR pseudo-observations' worth. */
#ifndef ROUTER_COMBINE_H
#define ROUTER_COMBINE_H
#include "router/estimator.h"

#define METALLM__MEMBERS_MAX 8u

struct metallm__combination {
    uint32_t members;
    double weight[METALLM__MEMBERS_MAX];
    double strength;
};

/* p: members arrays of n x models; prior: members weights that sum to 1; mean: models. */
void metallm__combine_fit(struct metallm__combination *out, const struct metallm__fit_data *data,
                          float *const *p, const double *prior, uint32_t members,
                          const double *mean);
/* q: n x models, may be p[0]. */
void metallm__combine_apply(const struct metallm__combination *c, const double *mean,
                            float *const *p, size_t n, uint32_t models, float *q);

struct metallm__platt { /* a model's */
    float intercept, slope;
};

/* q: n x models out-of-fold predictions. A model whose predictions or scores do not vary keeps
 * intercept 0, slope 1. */
void metallm__platt_fit(struct metallm__platt *out, const struct metallm__fit_data *data,
                        const float *q);
float metallm__platt_apply(const struct metallm__platt *p, float q);

#endif
