/* SPDX-License-Identifier: Apache-2.0
 * learner.h - what is learned online: per model, linear regressions of quality, cost and latency on
 * the vector z of a query, fed by the outcomes of the chosen model alone.
 *
 * For a model m, after observations (z_s, y_s, w_s), s = 1..n:
 *     S = sum gamma^(n-s) w_s z_s z_s'      b = sum gamma^(n-s) w_s y_s z_s
 *     A = lambda I + S                      theta = A^-1 b
 * the ridge regression of LinUCB (Li et al. 2010, alg. 1; MetaLLM, arXiv 2407.10834, eq. 3-5) with
 * its prior outside the discount. One factor serves several right-hand sides, so theta of
 * a - p c is theta_a - p theta_c. What y means is the caller's: a value, or what is left of it
 * after a prior prediction.
 *
 * Quality may come late or never while cost and latency are known at once, so there are two
 * factors: quality's, and spend's (cost and latency). They are one until an observation parts them.
 *
 * A^-1 is kept up to date by rank-one updates (Sherman and Morrison). The discount shrinks the
 * prior as well; it is put back coordinate by coordinate, a few at each observation, so that at any
 * time A = D + S with a diagonal D and METALLM__LEARNER_PRIOR_LEAST * lambda <= D_ii <= lambda
 * (D = lambda I when gamma is 1). Every METALLM__LEARNER_CHECK observations the residual
 * |A A^-1 z - z| / |z| (greatest element) is measured; above METALLM__LEARNER_DRIFT_MAX the factor
 * is made anew from S.
 *
 * S, b and the counts are additive: replicas merge by their deltas (subtract, then add).
 * Owner: the caller of new frees. Threads: any number may read; changes need it to themselves. */
#ifndef ROUTER_LEARNER_H
#define ROUTER_LEARNER_H
#include "base/safetensors.h"
#include "metallm/base.h"

#define METALLM__LEARNER_DIM_MAX     1024u
#define METALLM__LEARNER_VALUE_MAX   1e6 /* |z_i| and |y|; beyond it an observation is refused */
#define METALLM__LEARNER_WEIGHT_MAX  1e6
#define METALLM__LEARNER_CHECK       256u
#define METALLM__LEARNER_DRIFT_MAX   1e-8
#define METALLM__LEARNER_PRIOR_LEAST 0.8

enum metallm__target {
    METALLM__TARGET_QUALITY,
    METALLM__TARGET_COST,
    METALLM__TARGET_LATENCY,
    METALLM__TARGETS
};

enum metallm__factor { METALLM__FACTOR_QUALITY, METALLM__FACTOR_SPEND, METALLM__FACTORS };

struct metallm__learner_options {
    uint32_t dim;    /* floats in z, 1..METALLM__LEARNER_DIM_MAX */
    uint32_t models; /* 0..METALLM_MODELS_MAX */
    double lambda;   /* prior precision, > 0 */
    double gamma;    /* discount at each observation of a model, in [0.5, 1] */
};

struct metallm__learner;

METALLM_MUSTCHECK int metallm__learner_new(struct metallm__learner **out,
                                           const struct metallm__learner_options *opts,
                                           metallm_error *err);
METALLM_MUSTCHECK int metallm__learner_copy(struct metallm__learner **out,
                                            const struct metallm__learner *l, metallm_error *err);
void metallm__learner_free(struct metallm__learner *l);

uint32_t metallm__learner_dim(const struct metallm__learner *l);
uint32_t metallm__learner_models(const struct metallm__learner *l);
double metallm__learner_gamma(const struct metallm__learner *l);
/* Doubles in a prepared vector: dim rounded up to 8. */
uint32_t metallm__learner_pad(const struct metallm__learner *l);
/* Widens z (dim floats) to out (pad doubles, aligned to 64 bytes), once per query. */
void metallm__learner_prepare(const struct metallm__learner *l, const float *z, double *out);

/* theta_m'z for each target; z is prepared. */
void metallm__learner_predict(const struct metallm__learner *l, uint32_t model, const double *z,
                              double out[METALLM__TARGETS]);
/* z'A^-1 z: the prediction's variance in units of the noise's. z is prepared. */
double metallm__learner_variance(const struct metallm__learner *l, uint32_t model,
                                 enum metallm__factor factor, const double *z);
/* Sum of the discounted weights seen: the effective number of observations. */
double metallm__learner_mass(const struct metallm__learner *l, uint32_t model,
                             enum metallm__factor factor);
uint64_t metallm__learner_seen(const struct metallm__learner *l, uint32_t model,
                               enum metallm__factor factor);
const double *metallm__learner_theta(const struct metallm__learner *l, uint32_t model,
                                     enum metallm__target target); /* pad doubles, the learner's */

/* y: NaN where not known. Of cost and latency, one that is missing while the other is there counts
 * as predicted right. METALLM_EINVAL: z, y or weight not finite or out of range; nothing changes.
 * METALLM_ENUMERIC: the factor cannot be made (it never is, short of overflow); the model is back
 * at its prior then. */
METALLM_MUSTCHECK int metallm__learner_observe(struct metallm__learner *l, uint32_t model,
                                               const double *z, const double y[METALLM__TARGETS],
                                               double weight, metallm_error *err);

/* b += weight * by * z of quality, theta with it: an outcome that was seen turned out to be higher
 * by that much. gamma is 1. */
void metallm__learner_correct(struct metallm__learner *l, uint32_t model, const double *z,
                              double weight, double by);
/* Takes a model's knowledge down to `share` (0..1) of its weight: 0 is back to the prior. No other
 * model is touched. */
METALLM_MUSTCHECK int metallm__learner_fade(struct metallm__learner *l, uint32_t model,
                                            double share, metallm_error *err);
/* A newcomer takes the last index. like: a model whose statistics it borrows at `share` of their
 * weight, or UINT32_MAX. */
METALLM_MUSTCHECK int metallm__learner_add_model(struct metallm__learner *l, uint32_t like,
                                                 double share, metallm_error *err);
/* Later models move down by one. */
void metallm__learner_remove_model(struct metallm__learner *l, uint32_t model);

/* now -= base: what `now` learned since it was a copy of `base`. A delta can only be added. */
METALLM_MUSTCHECK int metallm__learner_subtract(struct metallm__learner *now,
                                                const struct metallm__learner *base,
                                                metallm_error *err);
/* The same as if l had gone on to see the delta's observations itself. METALLM_EMISMATCH: other
 * dim, models, lambda or gamma. */
METALLM_MUSTCHECK int metallm__learner_add(struct metallm__learner *l,
                                           const struct metallm__learner *delta,
                                           metallm_error *err);

/* Greatest residual seen by the checks, and how often a factor was made anew. */
double metallm__learner_drift(const struct metallm__learner *l);
uint64_t metallm__learner_refactored(const struct metallm__learner *l);

/* Tensors "PREFIX.s", ".b" and ".seen", meta "PREFIX.options". */
METALLM_MUSTCHECK int metallm__learner_save(const struct metallm__learner *l,
                                            struct metallm__st_writer *w, const char *prefix,
                                            metallm_error *err);
METALLM_MUSTCHECK int metallm__learner_load(struct metallm__learner **out,
                                            const struct metallm__st_file *f, const char *prefix,
                                            metallm_error *err);
#endif
