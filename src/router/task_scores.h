/* SPDX-License-Identifier: Apache-2.0
 * task_scores.h - how good each model may be on a whole task, from unlabelled prompts: the scores
 * S1, S2 and S3 of "Large Language Model Routing with Benchmark Datasets" (arXiv 2309.15789,
 * section 3), and the alternatives that stand beside them. Plain functions on a table with a row a
 * task; nothing here searches neighbours or reads files. */
#ifndef ROUTER_TASK_SCORES_H
#define ROUTER_TASK_SCORES_H
#include "metallm/router.h"

#define METALLM__TASK_DRAWS    1000u
#define METALLM__TASK_WIDTH    0.09 /* of the Gaussian kernel over u (paper, section 3.2) */
#define METALLM__TASK_SURE     0.6  /* P(chosen beats BMA) below this: BMA */
#define METALLM__TASK_NEAREST  19u  /* kappa: neighbours in the distance u */
#define METALLM__CENTRE_SCALE  0.1  /* cosine distance at which a task's weight falls to 1/e */
#define METALLM__TASK_PATCHES  2u   /* sizes of neighbourhood that are kept: */
#define METALLM__TASK_K_PAPER  5u   /* 0: the paper's k */
#define METALLM__TASK_K_WIDE   20u  /* 1 */
#define METALLM__TASK_K_MAX    100u /* of either k, and of nearest, in settings */
#define METALLM__TASK_ROWS_MIN 5u   /* a smaller task gives no (u, accuracy) pair */

/* What experiments may vary; 0: as above. */
struct metallm__task_settings {
    uint32_t k[METALLM__TASK_PATCHES]; /* neighbours, 1..METALLM__TASK_K_MAX */
    uint32_t nearest;                  /* neighbours in the distance u, 1..METALLM__TASK_K_MAX */
    double width, sure;
};

/* Means over a task's samples, by model, from neighbours outside the task. g = mean score of the k
 * nearest samples, gbar = 1[g > 1/2]. Soft scores s count as chances: gbar is right with chance
 * gbar s + (1 - gbar)(1 - s). NaN: not known. */
struct metallm__patch {
    double *s1;         /* mean g */
    double *s2;         /* mean gbar */
    double *confidence; /* mean max(g, 1 - g): the predictor's own idea of its accuracy */
    double *accuracy;   /* how often gbar was right; NaN without the task's own scores */
};
struct metallm__task_row {
    struct metallm__patch patch[METALLM__TASK_PATCHES];
    double *truth;       /* mean score; NaN: not known */
    const float *centre; /* mean embedding, unit length; dim floats */
    double distance;     /* u: mean cosine distance to the 19 nearest */
    size_t samples;
};

/* What a task is judged with: the other tasks, of which those with is_used[t] count. */
struct metallm__task_view {
    const struct metallm__task_row *rows;
    const uint8_t *is_used;
    const double *penalty; /* models; taken off every score when models are compared */
    uint32_t tasks, models, dim;
    uint64_t seed; /* of the draws */
    struct metallm__task_settings how;
};

enum metallm__task_rule {
    METALLM__RULE_BMA,        /* mean of the used tasks' truths */
    METALLM__RULE_S1,         /* S1 with k = 20 */
    METALLM__RULE_S3,         /* the paper's choice: S3 with k = 5, smoothed p, back to BMA */
    METALLM__RULE_CONFIDENCE, /* S3 with k = 20 and the predictor's confidence as p */
    METALLM__RULE_CENTRES,    /* truths weighted by exp(-distance of centres / 0.1) */
    METALLM__RULES_OFFERED,   /* the rest is for comparison */
    METALLM__RULE_S1_PAPER = METALLM__RULES_OFFERED, /* k = 5 */
    METALLM__RULE_S2_PAPER,                          /* k = 5 */
    METALLM__RULE_S2_WIDE,                           /* k = 20 */
    METALLM__RULE_S3_PLAIN,                          /* the paper's without its way back to BMA */
    METALLM__RULE_TRUE_P,      /* S3 with k = 5 and the accuracy that gbar had: needs labels */
    METALLM__RULE_TRUE_P_WIDE, /* k = 20 */
    METALLM__RULES,
};
const char *metallm__task_rule_name(enum metallm__task_rule rule); /* static */

/* S3 from S2: the expected share of right answers when gbar is right with chance p. */
double metallm__task_s3(double s2, double p);

/* Nadaraya-Watson mean and standard deviation at u of pairs (u_i, y_i) with weights
 * exp(-((u - u_i) / width)^2 / 2); far from all pairs the nearest one counts. NaN pairs are left
 * out; without any both are NaN. */
struct metallm__smoothed {
    double mean, sd;
};
struct metallm__smoothed metallm__task_smooth(const double *u, const double *y, size_t count,
                                              double at, double width);

/* The chance that gbar is right under a rule: smoothed over pairs of the used tasks alone, the
 * predictor's confidence, the true accuracy, or 1 where the rule is S2 itself. */
struct metallm__smoothed metallm__task_p(const struct metallm__task_view *v,
                                         const struct metallm__task_row *row,
                                         enum metallm__task_rule rule, uint32_t model);
/* score: models numbers, NaN where nothing is known. */
void metallm__task_score(const struct metallm__task_view *v, const struct metallm__task_row *row,
                         enum metallm__task_rule rule, double *score);
/* The model that the rule picks: the highest score less penalty; equals go to the better BMA mean,
 * then to the lower index. allowed: models flags, NULL: all. UINT32_MAX: no score is known. The
 * paper's rule keeps its pick only if S3 beats BMA's S3 in 60 % of 1,000 draws of p from a normal
 * distribution truncated to [0,1]. */
uint32_t metallm__task_choose(const struct metallm__task_view *v,
                              const struct metallm__task_row *row, enum metallm__task_rule rule,
                              const double *score, const uint8_t *allowed);

#endif
