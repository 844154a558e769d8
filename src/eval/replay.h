/* SPDX-License-Identifier: Apache-2.0
 * replay.h - recorded outcomes as a stream: each order of the rows is one run, in which an agent
 * decides, sees what its choice did and learns. What it earns is compared, row by row, with three
 * references that know all outcomes of the phase (the time between two events):
 *   best model   - the best single model; under a budget the best mix of two (or one) that keeps it
 *   best policy  - argmax of prior quality - price * prior cost at the best fixed price
 *   oracle       - argmax of true quality - price * true cost
 * Reward is quality - dial * cost / scale; under a budget it is quality, and the references are
 * held to the same budget by their price. Regret is the reference's reward less the run's. */
#ifndef EVAL_REPLAY_H
#define EVAL_REPLAY_H
#include <stdbool.h>

#include "eval/spool.h"
#include "router/agent.h"

/* A row of the spool: z[dim] (1 first, for the intercept), then METALLM__REPLAY_CELLS floats for
 * each model. All known but latency, which may be NaN. */
enum metallm__replay_cell {
    METALLM__CELL_PRIOR_QUALITY,
    METALLM__CELL_PRIOR_SD,
    METALLM__CELL_PRIOR_COST, /* NaN: not known */
    METALLM__CELL_SCORE,
    METALLM__CELL_COST, /* 0 where the outcomes know no cost */
    METALLM__CELL_LATENCY,
    METALLM__REPLAY_CELLS
};

enum metallm__event_kind {
    METALLM__EVENT_PRICE,   /* a model's cost is multiplied by factor, which is announced */
    METALLM__EVENT_COST,    /* the same, unannounced */
    METALLM__EVENT_QUALITY, /* a model's scores become score, or are shifted by shift */
    METALLM__EVENT_RESTORE, /* a model's scores and costs are as recorded again */
    METALLM__EVENT_ARRIVE,  /* a model appears; until then it was not there */
    METALLM__EVENT_LEAVE,   /* a model is retired */
    METALLM__EVENT_DELAY,   /* feedback on quality comes this many requests late */
    METALLM__EVENT_MISSING, /* a share of it never comes */
    METALLM__EVENT_NOISE,   /* it carries normal noise of this deviation, kept within 0..1 */
};

enum metallm__event_prior {
    METALLM__PRIOR_ROUTER, /* the router's own estimates, query by query */
    METALLM__PRIOR_S1,     /* task score S1 of the rows, for every query (metallm__replay_task) */
    METALLM__PRIOR_S2,     /* ... S2 */
    METALLM__PRIOR_S3,     /* ... S3; with the event's amount as p where it gives one */
    METALLM__PRIOR_LIKE,   /* another model's estimates and statistics */
    METALLM__PRIOR_NONE,   /* uninformed: the mean of the other models' estimates */
};

struct metallm__event {
    uint64_t step; /* before this request, counted from 0 */
    enum metallm__event_kind kind;
    uint32_t model;                  /* price to leave */
    double factor, score, shift;     /* score NaN: shift */
    double amount;                   /* of delay, missing, noise; p, NaN: the fitted one */
    enum metallm__event_prior prior; /* arrive */
    uint32_t like;
    char what[96]; /* for people */
};
#define METALLM__EVENTS_MAX 256u

enum metallm__replay_start {
    METALLM__START_PRIOR,  /* the router's estimates, corrected online */
    METALLM__START_COLD,   /* nothing is known */
    METALLM__START_HYBRID, /* the first share of the rows is seen whole, then online */
    METALLM__START_OFFLINE /* the same, without learning afterwards */
};

/* One decision, for a log. Arrays have a place per model of the input. */
struct metallm__replay_decision {
    uint64_t step;
    uint32_t model;
    double propensity, price;              /* price: quality per dollar */
    const struct metallm__belief *beliefs; /* by model; quality NaN: it was not there */
    const double *scores;
    const double *cost_factor; /* of every model's costs now */
    struct metallm__seen seen;
};

/* Scores of the rows as one task (router/task_scores.h), by model of the input. */
struct metallm__replay_task {
    double s1[METALLM_MODELS_MAX], s2[METALLM_MODELS_MAX], s3[METALLM_MODELS_MAX];
};

struct metallm__replay_options {
    struct metallm__agent_options agent; /* adapt.kind and learner.dim, models are set by the run */
    enum metallm__replay_start start;
    bool is_joint;                       /* regress a - p c / scale (cold, hybrid, offline) */
    double share;                        /* of the rows seen whole before the stream begins */
    uint32_t runs;                       /* orders, >= 1 */
    uint64_t seed;                       /* of the first */
    bool is_in_order;                    /* rows as they come; runs differ by their draws alone */
    uint64_t steps;                      /* requests in a run; 0: all rows */
    uint32_t points;                     /* of the curves; 0: 200 */
    const struct metallm__event *events; /* by step */
    size_t event_count;
    /* For arrivals whose prior is S1 to S3; NULL: S1 is the mean of the router's estimates over the
     * rows, S2 of 1[estimate > 0.5], and S3's p of max(estimate, 1 - estimate). */
    const struct metallm__replay_task *task;
    metallm_progress progress;
    /* Told of every decision of the first run; may be NULL. METALLM_OK, or the run stops. */
    int (*decided)(void *payload, const struct metallm__replay_decision *d, metallm_error *err);
    void *payload;
};

/* A mean with its 95 % interval. */
struct metallm__mean {
    double value, low, high;
};

struct metallm__replay_point {
    uint64_t step;                              /* requests until here */
    struct metallm__mean quality, cost, reward; /* means since the last point */
    struct metallm__mean regret, regret_best_model, regret_best_policy; /* sums since the start */
};

struct metallm__replay_event {
    uint64_t step;
    const char *what;
    double settled_after; /* requests until the mix of models is near where it ends; NaN: never */
};

/* The same means a request, each query once, with intervals over queries in place of orders. */
struct metallm__over_rows {
    struct metallm__mean quality, cost, reward, regret, regret_best_model, regret_best_policy;
};

struct metallm__replay_result {
    uint64_t n; /* requests in a run */
    uint32_t runs, models;
    struct metallm__mean quality, cost, reward; /* a request; over orders */
    struct metallm__over_rows over_rows;
    double budget;                    /* dollars a request; 0: none */
    struct metallm__mean budget_used; /* share of it */
    double
        period_most; /* share of its money that the fullest whole period spent; NaN: no periods */
    struct metallm__mean regret, regret_best_model, regret_best_policy; /* a request */
    double reward_oracle, reward_best_model, reward_best_policy;
    double explored, changes; /* share of draws to learn; alarms a run */
    bool is_tiered;           /* cheap first; set by who made the rows */
    double fine_share;        /* of the rows that needed the fine encoder */
    double *share;            /* by model */
    struct metallm__replay_point *points;
    size_t point_count;
    struct metallm__replay_event *events; /* as many as were given */
    size_t event_count;
};

struct metallm__replay_input {
    const struct metallm__spool *rows;
    uint32_t dim, models;
    bool has_cost;
};

/* The caller finis *out. */
/* Whether an event asks for a task score. */
bool metallm__replay_needs_task(const struct metallm__replay_options *opts);
METALLM_MUSTCHECK int metallm__replay(const struct metallm__replay_input *in,
                                      const struct metallm__replay_options *opts,
                                      struct metallm__replay_result *out, metallm_error *err);
void metallm__replay_fini(struct metallm__replay_result *r);

static inline uint32_t metallm__replay_floats(uint32_t dim, uint32_t models)
{
    return dim + models * METALLM__REPLAY_CELLS;
}

#endif
