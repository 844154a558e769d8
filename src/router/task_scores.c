/* SPDX-License-Identifier: Apache-2.0
 * task_scores.c - see task_scores.h. */
#include "router/task_scores.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/rng.h"

const char *metallm__task_rule_name(enum metallm__task_rule rule)
{
    static const char *const names[] = {
        "bma",   "s1-k20", "s3",       "s3-confidence-k20", "centres",       "s1-k5",
        "s2-k5", "s2-k20", "s3-plain", "s3-true-p-k5",      "s3-true-p-k20",
    };
    METALLM_REQUIRE((unsigned)rule < METALLM__RULES);
    return names[rule];
}

double metallm__task_s3(double s2, double p)
{
    return p * s2 + (1 - p) * (1 - s2);
}

/* A kernel-weighted mean of values that come one by one. */
struct smoother {
    double weight, first, second; /* sums of w, w y, w y^2 */
    double nearest, nearest_y;    /* the pair to fall back on */
};

static void smoother_add(struct smoother *s, double away, double y, double width)
{
    if (isnan(y) || isnan(away))
        return;
    double w = exp(-0.5 * (away / width) * (away / width));
    s->weight += w;
    s->first += w * y;
    s->second += w * y * y;
    if (!(fabs(away) >= s->nearest)) {
        s->nearest = fabs(away);
        s->nearest_y = y;
    }
}

static struct metallm__smoothed smoother_value(const struct smoother *s)
{
    if (s->weight < 1e-12)
        return (struct metallm__smoothed){s->nearest_y, isnan(s->nearest_y) ? NAN : 0.5};
    double mean = s->first / s->weight;
    return (struct metallm__smoothed){mean, sqrt(fmax(s->second / s->weight - mean * mean, 0))};
}

static const struct smoother empty = {.nearest = NAN, .nearest_y = NAN};

struct metallm__smoothed metallm__task_smooth(const double *u, const double *y, size_t count,
                                              double at, double width)
{
    struct smoother s = empty;
    for (size_t i = 0; i < count; i++)
        smoother_add(&s, at - u[i], y[i], width);
    return smoother_value(&s);
}

/* Where a rule gets its S2 and its p from. */
static const struct source {
    uint8_t patch;
    enum { FIXED, SMOOTHED, CONFIDENCE, TRUE } p;
} sources[METALLM__RULES] = {
    [METALLM__RULE_S1] = {1, FIXED},
    [METALLM__RULE_S3] = {0, SMOOTHED},
    [METALLM__RULE_CONFIDENCE] = {1, CONFIDENCE},
    [METALLM__RULE_S1_PAPER] = {0, FIXED},
    [METALLM__RULE_S2_PAPER] = {0, FIXED},
    [METALLM__RULE_S2_WIDE] = {1, FIXED},
    [METALLM__RULE_S3_PLAIN] = {0, SMOOTHED},
    [METALLM__RULE_TRUE_P] = {0, TRUE},
    [METALLM__RULE_TRUE_P_WIDE] = {1, TRUE},
};

static double width_of(const struct metallm__task_view *v)
{
    return v->how.width > 0 ? v->how.width : METALLM__TASK_WIDTH;
}

static double sure_of(const struct metallm__task_view *v)
{
    return v->how.sure > 0 ? v->how.sure : METALLM__TASK_SURE;
}

static struct metallm__smoothed smoothed_p(const struct metallm__task_view *v,
                                           const struct metallm__task_row *row, uint32_t patch,
                                           uint32_t model)
{
    struct smoother s = empty;
    for (uint32_t t = 0; t < v->tasks; t++)
        if (v->is_used[t] && v->rows[t].samples >= METALLM__TASK_ROWS_MIN)
            smoother_add(&s, row->distance - v->rows[t].distance,
                         v->rows[t].patch[patch].accuracy[model], width_of(v));
    return smoother_value(&s);
}

struct metallm__smoothed metallm__task_p(const struct metallm__task_view *v,
                                         const struct metallm__task_row *row,
                                         enum metallm__task_rule rule, uint32_t model)
{
    const struct source *from = &sources[rule];
    const struct metallm__patch *patch = &row->patch[from->patch];
    switch (from->p) {
    case SMOOTHED:
        return smoothed_p(v, row, from->patch, model);
    case CONFIDENCE:
        return (struct metallm__smoothed){patch->confidence[model], 0};
    case TRUE:
        return (struct metallm__smoothed){patch->accuracy[model], 0};
    case FIXED:
        break;
    }
    return (struct metallm__smoothed){1, 0};
}

/* Mean truth of the used tasks under weights of their centres' distances, or equal ones. */
static void weighted_truth(const struct metallm__task_view *v, const struct metallm__task_row *row,
                           bool by_centre, double *score)
{
    double weight[METALLM_MODELS_MAX] = {0};
    for (uint32_t j = 0; j < v->models; j++)
        score[j] = 0;
    for (uint32_t t = 0; t < v->tasks; t++) {
        if (!v->is_used[t])
            continue;
        double w = 1;
        if (by_centre) {
            double cosine = 0;
            for (uint32_t d = 0; d < v->dim; d++)
                cosine += (double)row->centre[d] * (double)v->rows[t].centre[d];
            w = exp(-(1 - cosine) / METALLM__CENTRE_SCALE);
        }
        for (uint32_t j = 0; j < v->models; j++)
            if (!isnan(v->rows[t].truth[j])) {
                score[j] += w * v->rows[t].truth[j];
                weight[j] += w;
            }
    }
    for (uint32_t j = 0; j < v->models; j++)
        score[j] = weight[j] > 0 ? score[j] / weight[j] : NAN;
}

void metallm__task_score(const struct metallm__task_view *v, const struct metallm__task_row *row,
                         enum metallm__task_rule rule, double *score)
{
    METALLM_REQUIRE((unsigned)rule < METALLM__RULES);
    if (rule == METALLM__RULE_BMA || rule == METALLM__RULE_CENTRES) {
        weighted_truth(v, row, rule == METALLM__RULE_CENTRES, score);
        return;
    }
    const struct metallm__patch *patch = &row->patch[sources[rule].patch];
    bool is_s1 = rule == METALLM__RULE_S1 || rule == METALLM__RULE_S1_PAPER;
    for (uint32_t j = 0; j < v->models; j++)
        score[j] = is_s1 ? patch->s1[j]
                         : metallm__task_s3(patch->s2[j], metallm__task_p(v, row, rule, j).mean);
}

static uint32_t highest(const struct metallm__task_view *v, const double *score, const double *mean,
                        const uint8_t *allowed)
{
    uint32_t best = UINT32_MAX;
    double top = 0, top_mean = 0;
    for (uint32_t j = 0; j < v->models; j++) {
        if (isnan(score[j]) || (allowed != NULL && !allowed[j]))
            continue;
        double value = score[j] - v->penalty[j], own = isnan(mean[j]) ? 0 : mean[j];
        own -= v->penalty[j];
        /* Means of the same counts may differ in their last bit. */
        if (best == UINT32_MAX || value > top + 1e-12 || (value >= top - 1e-12 && own > top_mean)) {
            best = j;
            top = value;
            top_mean = own;
        }
    }
    return best;
}

static double draw_p(struct metallm__smoothed p, metallm_rng *rng)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        double v = p.mean + p.sd * metallm__rng_normal(rng);
        if (v >= 0 && v <= 1)
            return v;
    }
    return fmin(fmax(p.mean, 0), 1);
}

/* P(S3 of a, less its penalty, is above that of b) over draws of p. */
static double chance_above(const struct metallm__task_view *v, const struct metallm__task_row *row,
                           uint32_t a, uint32_t b)
{
    struct metallm__smoothed p = metallm__task_p(v, row, METALLM__RULE_S3, a);
    struct metallm__smoothed q = metallm__task_p(v, row, METALLM__RULE_S3, b);
    metallm_rng rng;
    metallm_rng_seed(&rng, v->seed);
    double wins = 0;
    for (uint32_t i = 0; i < METALLM__TASK_DRAWS; i++) {
        double x = metallm__task_s3(row->patch[0].s2[a], draw_p(p, &rng)) - v->penalty[a];
        double y = metallm__task_s3(row->patch[0].s2[b], draw_p(q, &rng)) - v->penalty[b];
        wins += x > y ? 1 : x == y ? 0.5 : 0;
    }
    return wins / METALLM__TASK_DRAWS;
}

uint32_t metallm__task_choose(const struct metallm__task_view *v,
                              const struct metallm__task_row *row, enum metallm__task_rule rule,
                              const double *score, const uint8_t *allowed)
{
    double mean[METALLM_MODELS_MAX];
    weighted_truth(v, row, false, mean);
    uint32_t bma = highest(v, mean, mean, allowed), best = highest(v, score, mean, allowed);
    if (best == UINT32_MAX)
        return bma;
    if (rule != METALLM__RULE_S3 || bma == UINT32_MAX || best == bma)
        return best;
    bool is_comparable = !isnan(score[bma]);
    return !is_comparable || chance_above(v, row, best, bma) >= sure_of(v) ? best : bma;
}
