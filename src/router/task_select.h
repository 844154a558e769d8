/* SPDX-License-Identifier: Apache-2.0
 * task_select.h - picks a model for a new task: which rule of task_scores.h did best when each
 * known task was left out in turn, what it says of the new one, and how sure that is. */
#ifndef ROUTER_TASK_SELECT_H
#define ROUTER_TASK_SELECT_H
#include "router/task_table.h"

#define METALLM__LABEL_PRIOR    30.0 /* pseudo-counts of the rule's score against labels */
#define METALLM__TASKS_MIN      3u   /* fewer known tasks: no chances */
#define METALLM__RULE_TASKS_MIN 8u   /* fewer: BMA, since a handful cannot tell rules apart */

/* What each rule would have picked for each known task, had that task been new. */
struct metallm__loto {
    uint32_t judged;                           /* tasks in the means */
    double quality[METALLM__RULES];            /* mean true score (less penalty) of the picks */
    double gain[METALLM__RULES_OFFERED];       /* above BMA's */
    double gain_error[METALLM__RULES_OFFERED]; /* standard error of gain, paired by task */
    enum metallm__task_rule best;
};
/* The best offered rule is that of the highest quality among those whose gain over BMA is above one
 * standard error of it; else BMA. residual: where not NULL, tasks x models for the best rule: truth
 * less score; NaN: not known. */
METALLM_MUSTCHECK int metallm__task_loto(const struct metallm__task_view *v,
                                         struct metallm__loto *out, double *residual,
                                         metallm_error *err);

/* Known scores of some samples of a new task. */
struct metallm__labels {
    const float *score;   /* samples x models; NaN: not known */
    const uint32_t *rows; /* count rows of score */
    size_t count;
    uint32_t models;
};
/* score counts as METALLM__LABEL_PRIOR observations beside the labels. rng: of a resample of the
 * labels (drawn whole, so that models stay paired); NULL: the labels as they are. */
void metallm__task_add_labels(const struct metallm__labels *labels, metallm_rng *rng,
                              double *score);

struct metallm__select_request {
    const struct metallm__library *lib;
    const float *x;        /* samples x lib->dim, unit length */
    const float *label;    /* samples x lib->models known scores, NaN: unlabelled; or NULL */
    const double *penalty; /* lib->models */
    size_t samples;
    uint64_t seed;
};
struct metallm__selection {
    struct metallm__loto loto;
    double s1[METALLM_MODELS_MAX], s2[METALLM_MODELS_MAX], s3[METALLM_MODELS_MAX]; /* k = 5 */
    double score[METALLM_MODELS_MAX];  /* of the rule used, and of the labels */
    double mean[METALLM_MODELS_MAX];   /* over the known tasks: BMA's */
    double p_best[METALLM_MODELS_MAX]; /* chance of being the best; NaN with too few tasks */
    uint32_t choice, paper_choice, bma;
    double distance; /* u */
    size_t labels;   /* samples with a known score */
};
METALLM_MUSTCHECK int metallm__task_select(const struct metallm__select_request *request,
                                           struct metallm__selection *out, metallm_error *err);

/* Leaves each task of a library out in turn, as if it were new: also for the choice of the rule,
 * which sees nothing of it. */
struct metallm__task_trial { /* what happened to one task; arrays of models, models numbers each */
    const char *task;
    size_t samples;
    uint32_t models;
    double distance;                     /* u */
    const struct metallm__task_row *row; /* truth, and the accuracy and confidence of gbar */
    const double *score[METALLM__RULES];
    const double *p[METALLM__RULES]; /* the chance that gbar is right, as the rule takes it */
    uint32_t pick[METALLM__RULES];
    enum metallm__task_rule used; /* the rule that did best on the other tasks */
    uint32_t used_pick;
    size_t labels; /* 0: the task was too small, or none were asked for; what follows needs some */
    const double *labelled; /* scores with the labels as observations beside S1's */
    const double *rest;     /* mean true score, less penalty, of the unlabelled samples */
    uint32_t labelled_pick;
    uint32_t moved_pick[METALLM__RULES]; /* with the labelled samples among the known ones instead:
                                          * the paper's way */
    double moved_distance;               /* u of the rest from the known samples, those included */
};
struct metallm__experiment_request {
    const struct metallm__library *lib;
    const double *penalty;
    size_t labels;      /* of each task, for `labelled` and `moved` */
    double label_share; /* at most this share of each task; 0: no such limit */
    uint64_t seed;
    const metallm_progress *progress;                                      /* may be NULL */
    void (*tried)(void *payload, const struct metallm__task_trial *trial); /* may be NULL */
    void *payload;
};
struct metallm__experiment {
    uint32_t judged;
    double quality[METALLM__RULES];
    double quality_error[METALLM__RULES]; /* standard error of its gain over BMA */
    double correlation[METALLM__RULES];   /* two models: of score and true differences; else NaN */
    double p_error[METALLM__RULES];       /* mean |p - accuracy|; NaN where the rule has no p */
    double used, used_error;              /* of the rule chosen without the task */
    double labelled, labelled_bma;        /* on the rest of each task; NaN without labels */
    double moved[METALLM__RULES]; /* the same, of the picks with the paper's use of labels */
    double possible;              /* the best model of each task */
    uint32_t times_used[METALLM__RULES_OFFERED];
};
METALLM_MUSTCHECK int metallm__task_experiment(const struct metallm__experiment_request *request,
                                               struct metallm__experiment *out, metallm_error *err);
#endif
