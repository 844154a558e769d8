/* SPDX-License-Identifier: Apache-2.0
 * spend.h - what a model's answer to a query will cost, or how long it will take.
 * MEAN: the model's mean. LOG: ridge regression of log(amount) with Duan's smearing factor
 * (Duan, JASA 78, 1983), exp(theta'z + b) * mean(exp(residual)). FOREST: extremely randomised
 * trees of amount / mean (forest.h). A model that was never priced is NaN; one whose amounts do not
 * vary is its mean. */
#ifndef ROUTER_SPEND_H
#define ROUTER_SPEND_H
#include "router/estimator.h"
#include "router/forest.h"
#include "router/weights.h"

enum metallm__spend_kind { METALLM__SPEND_MEAN, METALLM__SPEND_LOG, METALLM__SPEND_FOREST };

struct metallm__spend {
    enum metallm__spend_kind kind;
    uint32_t models;
    double *mean;                /* models; NaN: never seen */
    float *smear;                /* models; LOG */
    struct metallm__weights log; /* LOG */
    struct metallm__forest tree; /* FOREST */
};

/* data->y: amounts >= 0 or NaN. kind: the one wanted; MEAN where no amount varies. */
METALLM_MUSTCHECK int metallm__spend_fit(struct metallm__spend *out,
                                         const struct metallm__fit_data *data,
                                         enum metallm__spend_kind kind, metallm_error *err);
void metallm__spend_fini(struct metallm__spend *s);
/* out: n x models. */
void metallm__spend_predict(const struct metallm__spend *s, const float *z, size_t n, float *out);
METALLM_MUSTCHECK int metallm__spend_save(const struct metallm__spend *s,
                                          struct metallm__st_writer *w, const char *prefix,
                                          metallm_error *err);
METALLM_MUSTCHECK int metallm__spend_load(struct metallm__spend *out,
                                          const struct metallm__st_file *f, const char *prefix,
                                          uint32_t dim, uint32_t models, metallm_error *err);
#endif
