/* SPDX-License-Identifier: Apache-2.0
 * crossfit.h - predictions of each training row by an estimator that has not seen it, and the
 * choice of hyper-parameters by them. Equal prompts share a fold, so that copies never cross. */
#ifndef ROUTER_CROSSFIT_H
#define ROUTER_CROSSFIT_H
#include "router/estimator.h"

#define METALLM__FOLDS_MAX 50u

struct metallm__folds {
    uint32_t count; /* 0: too few distinct prompts to leave any out */
    uint8_t *of;    /* n: the fold of each row */
};

/* keys: n numbers, equal for rows that belong together (hashes of the prompts). Groups are dealt
 * round by the order of a hash of key and seed; a fold never holds all rows. */
METALLM_MUSTCHECK int metallm__folds_new(struct metallm__folds *out, const uint64_t *keys, size_t n,
                                         uint32_t wanted, uint64_t seed, metallm_error *err);
void metallm__folds_fini(struct metallm__folds *f);

/* out: n x models, row i predicted by the estimator fitted without the rows of its fold. */
METALLM_MUSTCHECK int metallm__crossfit(const struct metallm__spec *spec,
                                        const struct metallm__fit_data *data,
                                        const struct metallm__folds *folds, float *out,
                                        metallm_error *err);

/* What a choice among models loses by predictions p (n x models): the mean over rows of
 *     1/2 mean_m (y_m - p_m)^2  +  1/2 mean_m ((y_m - mean_y) - (p_m - mean_p))^2,
 * means over the row's known scores. The second half is blind to how hard the query is for all. */
double metallm__routing_loss(const struct metallm__fit_data *data, const float *p);

/* Sets each parameter that is not given to the candidate with the least routing loss, one after
 * the other. On more than METALLM__TUNE_ROWS rows a part of the rows is used. out (n x models)
 * takes the out-of-fold predictions under the values chosen. */
#define METALLM__TUNE_ROWS 5000u
METALLM_MUSTCHECK int metallm__tune(struct metallm__spec *spec,
                                    const struct metallm__fit_data *data,
                                    const struct metallm__folds *folds, float *out,
                                    metallm_error *err);
#endif
