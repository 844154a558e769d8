/* SPDX-License-Identifier: Apache-2.0
 * adapt.h - what is believed of every model for a query once feedback is taken in: the offline
 * estimate (the prior), corrected by what was learned online (learner.h), by the model's level
 * (drift.h) and by its price now.
 *   residual: quality = prior + theta_a'z + level
 *             cost    = price * prior * exp(theta_c'z + level_c)
 *   absolute: quality = theta_a'z, cost = scale * theta_c'z      (MetaLLM with its terms apart)
 *   joint:    quality = theta'z of the reward a - p c / scale     (MetaLLM to the letter)
 * Owner: the caller of new frees. Threads: any number may read; changes need it to themselves. */
#ifndef ROUTER_ADAPT_H
#define ROUTER_ADAPT_H
#include "router/drift.h"
#include "router/learner.h"

enum metallm__adapt_kind { METALLM__ADAPT_RESIDUAL, METALLM__ADAPT_ABSOLUTE, METALLM__ADAPT_JOINT };

struct metallm__adapt_options {
    enum metallm__adapt_kind kind;
    struct metallm__learner_options learner;
    double scale; /* dollars of the highest mean cost; absolute and joint */
    double dial;  /* p; joint */
    double fade;  /* share of a model's statistics kept when it has changed, 0..1 */
    struct metallm__drift_options drift;
};

/* Of one model for one query. NaN: not known. */
struct metallm__belief {
    double quality, sd; /* sd: standard error of quality; a prior's is 0 when it is not known */
    double cost_usd, latency_ms;
};

struct metallm__seen {
    double quality, cost_usd, latency_ms; /* NaN: not known */
};

/* Where a newcomer's belief comes from. */
struct metallm__newcomer {
    uint32_t like;   /* a model whose statistics it borrows, or UINT32_MAX */
    double share;    /* of their weight */
    double level;    /* added to its prior quality */
    double level_sd; /* how far that may be off; 0: it is trusted, and not watched */
};

struct metallm__adapt;

struct metallm__adapt_options metallm__adapt_defaults(void);
METALLM_MUSTCHECK int metallm__adapt_new(struct metallm__adapt **out,
                                         const struct metallm__adapt_options *opts,
                                         metallm_error *err);
METALLM_MUSTCHECK int metallm__adapt_copy(struct metallm__adapt **out,
                                          const struct metallm__adapt *a, metallm_error *err);
void metallm__adapt_free(struct metallm__adapt *a);
const struct metallm__learner *metallm__adapt_learner(const struct metallm__adapt *a);
const struct metallm__drift *metallm__adapt_drift(const struct metallm__adapt *a, uint32_t model);
uint32_t metallm__adapt_models(const struct metallm__adapt *a);

/* Beliefs of all models: prior and out have a record for each. z is prepared (learner.h). needs_sd:
 * whether sd is worked out; it costs most of the time. */
void metallm__adapt_believe(const struct metallm__adapt *a, const double *z,
                            const struct metallm__belief *prior, int needs_sd,
                            struct metallm__belief *out);
/* Takes in what one model did; prior is that model's for this query. Out-of-range or unknown fields
 * are left out; a z that is not finite is METALLM_EINVAL and teaches nothing. change may be NULL.
 */
METALLM_MUSTCHECK int metallm__adapt_observe(struct metallm__adapt *a, uint32_t model,
                                             const double *z, const struct metallm__belief *prior,
                                             const struct metallm__seen *seen,
                                             enum metallm__drift_change *change,
                                             metallm_error *err);
/* The quality of an observation that counts with `weight` by now was `by` higher than was said: its
 * part in the regression is put right (which is linear in it), the level, which follows the newest
 * observations, is left. Residual kind, gamma 1. */
void metallm__adapt_correct(struct metallm__adapt *a, uint32_t model, const double *z,
                            double weight, double by);
/* One more request has come; models that are not heard of grow uncertain by requests. */
void metallm__adapt_tick(struct metallm__adapt *a);
uint64_t metallm__adapt_now(const struct metallm__adapt *a);

/* The model's price is multiplied from now on; nothing is relearned. factor > 0. */
void metallm__adapt_reprice(struct metallm__adapt *a, uint32_t model, double factor);
/* The newcomer takes the last index. */
METALLM_MUSTCHECK int metallm__adapt_add_model(struct metallm__adapt *a,
                                               const struct metallm__newcomer *n,
                                               metallm_error *err);
void metallm__adapt_remove_model(struct metallm__adapt *a, uint32_t model);

/* Residual kind alone. Tensors "PREFIX.sides", "PREFIX.bets" and the learner's. Saving what was
 * loaded gives the same bytes. load: METALLM_EFORMAT when damaged or of other sizes. */
METALLM_MUSTCHECK int metallm__adapt_save(const struct metallm__adapt *a,
                                          struct metallm__st_writer *w, const char *prefix,
                                          metallm_error *err);
METALLM_MUSTCHECK int metallm__adapt_load(struct metallm__adapt **out,
                                          const struct metallm__st_file *f, const char *prefix,
                                          uint32_t dim, uint32_t models, metallm_error *err);

#endif
