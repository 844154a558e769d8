/* SPDX-License-Identifier: Apache-2.0
 * task_select.c - see task_select.h. */
#include "router/task_select.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

/* --- leave one task out --- */

/* The view as a task sees it that is new: without itself. is_used is the caller's, tasks flags. */
static struct metallm__task_view without(const struct metallm__task_view *v, uint32_t task,
                                         uint8_t *is_used)
{
    struct metallm__task_view others = *v;
    memcpy(is_used, v->is_used, v->tasks);
    is_used[task] = 0;
    others.is_used = is_used;
    return others;
}

/* Models whose true score on the task is known; false: none, or the task is too small. */
static bool can_judge(const struct metallm__task_row *row, uint32_t models, uint8_t *allowed)
{
    bool any = false;
    for (uint32_t j = 0; j < models; j++) {
        allowed[j] = (uint8_t)(isnan(row->truth[j]) ? 0 : 1);
        any = any || allowed[j];
    }
    return any && row->samples >= METALLM__TASK_ROWS_MIN;
}

/* True score, less penalty, of the rule's pick for the task; score: models numbers. */
static double value_of_rule(const struct metallm__task_view *others,
                            const struct metallm__task_row *row, enum metallm__task_rule rule,
                            const uint8_t *allowed, double *score)
{
    metallm__task_score(others, row, rule, score);
    uint32_t pick = metallm__task_choose(others, row, rule, score, allowed);
    return pick == UINT32_MAX ? NAN : row->truth[pick] - others->penalty[pick];
}

struct paired { /* means of a rule's values and of its gains over BMA */
    double value, gain, gain_square;
};

static void pair_add(struct paired *p, double value, double bma)
{
    p->value += value;
    p->gain += value - bma;
    p->gain_square += (value - bma) * (value - bma);
}

static double pair_error(const struct paired *p, uint32_t count)
{
    double n = (double)count, mean = p->gain / n;
    double variance = (p->gain_square / n - mean * mean) * n / (n - 1);
    return count < 2 ? NAN : sqrt(fmax(variance, 0) / n);
}

static enum metallm__task_rule best_rule(const struct metallm__loto *l)
{
    enum metallm__task_rule best = METALLM__RULE_BMA;
    if (l->judged < METALLM__RULE_TASKS_MIN)
        return best;
    for (uint32_t r = 0; r < METALLM__RULES_OFFERED; r++)
        if (l->gain[r] > l->gain_error[r] && l->quality[r] > l->quality[best] + 1e-12)
            best = (enum metallm__task_rule)r;
    return best;
}

int metallm__task_loto(const struct metallm__task_view *v, struct metallm__loto *out,
                       double *residual, metallm_error *err)
{
    struct metallm__loto l = {0};
    struct paired sums[METALLM__RULES] = {{0}};
    double score[METALLM_MODELS_MAX];
    uint8_t allowed[METALLM_MODELS_MAX];
    uint8_t *is_used = metallm__alloc(v->tasks, 1);
    if (is_used == NULL)
        return metallm__error_nomem(err, "tasks left out");
    for (uint32_t t = 0; t < v->tasks; t++) {
        if (!v->is_used[t] || !can_judge(&v->rows[t], v->models, allowed))
            continue;
        struct metallm__task_view others = without(v, t, is_used);
        double bma = 0;
        l.judged++;
        for (uint32_t r = 0; r < METALLM__RULES; r++) {
            double value =
                value_of_rule(&others, &v->rows[t], (enum metallm__task_rule)r, allowed, score);
            bma = r == METALLM__RULE_BMA ? value : bma;
            pair_add(&sums[r], value, bma);
        }
    }
    for (uint32_t r = 0; r < METALLM__RULES; r++)
        l.quality[r] = sums[r].value / (double)l.judged;
    for (uint32_t r = 0; r < METALLM__RULES_OFFERED; r++) {
        l.gain[r] = sums[r].gain / (double)l.judged;
        l.gain_error[r] = pair_error(&sums[r], l.judged);
    }
    l.best = best_rule(&l);
    for (uint32_t t = 0; residual != NULL && t < v->tasks; t++) {
        bool is_judged = v->is_used[t] && can_judge(&v->rows[t], v->models, allowed);
        struct metallm__task_view others = without(v, t, is_used);
        metallm__task_score(&others, &v->rows[t], l.best, score);
        for (uint32_t j = 0; j < v->models; j++)
            residual[(size_t)t * v->models + j] = is_judged ? v->rows[t].truth[j] - score[j] : NAN;
    }
    metallm__free(is_used);
    *out = l;
    return METALLM_OK;
}

/* --- labels and chances --- */

static bool is_labelled(const float *score, uint32_t models)
{
    for (uint32_t j = 0; j < models; j++)
        if (!isnan(score[j]))
            return true;
    return false;
}

static bool has_known(const double *values, uint32_t count)
{
    for (uint32_t j = 0; j < count; j++)
        if (!isnan(values[j]))
            return true;
    return false;
}

void metallm__task_add_labels(const struct metallm__labels *labels, metallm_rng *rng, double *score)
{
    double sum[METALLM_MODELS_MAX] = {0}, known[METALLM_MODELS_MAX] = {0};
    for (size_t i = 0; i < labels->count; i++) {
        size_t at = rng != NULL ? metallm__rng_below(rng, (uint32_t)labels->count) : i;
        const float *row = labels->score + (size_t)labels->rows[at] * labels->models;
        for (uint32_t j = 0; j < labels->models; j++)
            if (!isnan(row[j])) {
                sum[j] += (double)row[j];
                known[j]++;
            }
    }
    for (uint32_t j = 0; j < labels->models; j++) {
        double prior = isnan(score[j]) ? 0 : METALLM__LABEL_PRIOR;
        if (known[j] > 0)
            score[j] = (prior * (prior > 0 ? score[j] : 0) + sum[j]) / (prior + known[j]);
    }
}

/* Draws truth = score + error, errors normal with the second moments (across models, over tasks)
 * of the residuals, and counts who is best. */
static void chances(const struct metallm__task_view *v, const double *residual, const double *score,
                    const struct metallm__labels *labels, double *p_best)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, v->seed);
    uint32_t known = 0;
    for (uint32_t t = 0; t < v->tasks; t++)
        known += has_known(residual + (size_t)t * v->models, v->models);
    for (uint32_t j = 0; j < v->models; j++)
        p_best[j] = known >= METALLM__TASKS_MIN ? 0 : NAN;
    if (known < METALLM__TASKS_MIN)
        return;
    for (uint32_t draw = 0; draw < METALLM__TASK_DRAWS; draw++) {
        double truth[METALLM_MODELS_MAX];
        memcpy(truth, score, v->models * sizeof *truth);
        for (uint32_t t = 0; t < v->tasks; t++) {
            double z = metallm__rng_normal(&rng) / sqrt((double)known);
            for (uint32_t j = 0; j < v->models; j++) {
                double r = residual[(size_t)t * v->models + j];
                truth[j] += isnan(r) ? 0 : z * r;
            }
        }
        metallm__task_add_labels(labels, &rng, truth);
        uint32_t best = UINT32_MAX;
        for (uint32_t j = 0; j < v->models; j++)
            if (!isnan(truth[j]) &&
                (best == UINT32_MAX || truth[j] - v->penalty[j] > truth[best] - v->penalty[best]))
                best = j;
        if (best != UINT32_MAX)
            p_best[best] += 1.0 / METALLM__TASK_DRAWS;
    }
}

/* --- a new task --- */

static void find_labels(const struct metallm__select_request *q, uint32_t *rows,
                        struct metallm__labels *out)
{
    *out = (struct metallm__labels){q->label, rows, 0, q->lib->models};
    for (size_t i = 0; q->label != NULL && i < q->samples; i++)
        if (is_labelled(q->label + i * q->lib->models, q->lib->models))
            rows[out->count++] = (uint32_t)i;
}

static void fill_selection(const struct metallm__task_view *v, const struct metallm__task_row *row,
                           const struct metallm__labels *labels, struct metallm__selection *s)
{
    double paper[METALLM_MODELS_MAX];
    s->distance = row->distance;
    s->labels = labels->count;
    memcpy(s->s1, row->patch[0].s1, v->models * sizeof *s->s1);
    memcpy(s->s2, row->patch[0].s2, v->models * sizeof *s->s2);
    metallm__task_score(v, row, METALLM__RULE_S3_PLAIN, s->s3);
    metallm__task_score(v, row, METALLM__RULE_BMA, s->mean);
    metallm__task_score(v, row, METALLM__RULE_S3, paper);
    s->bma = metallm__task_choose(v, row, METALLM__RULE_BMA, s->mean, NULL);
    s->paper_choice = metallm__task_choose(v, row, METALLM__RULE_S3, paper, NULL);
    metallm__task_score(v, row, s->loto.best, s->score);
    if (labels->count == 0) {
        s->choice = metallm__task_choose(v, row, s->loto.best, s->score, NULL);
        return;
    }
    metallm__task_add_labels(labels, NULL, s->score);
    s->choice = metallm__task_choose(v, row, METALLM__RULE_S1, s->score, NULL);
}

int metallm__task_select(const struct metallm__select_request *q, struct metallm__selection *out,
                         metallm_error *err)
{
    const struct metallm__library *lib = q->lib;
    struct metallm__selection s = {0};
    struct metallm__task_lists lists = {0};
    struct metallm__task_table known = {0}, fresh = {0};
    struct metallm__labels labels;
    uint32_t *rows = metallm__alloc(q->samples, sizeof *rows);
    uint8_t *is_used = metallm__alloc(lib->tasks, 1);
    double *residual = metallm__alloc(lib->tasks, sizeof *residual * lib->models);
    int rc = rows == NULL || is_used == NULL || residual == NULL
                 ? metallm__error_nomem(err, "a selection")
                 : metallm__task_lists_find(&lists, lib, metallm__task_depth(lib), err);
    if (rc == METALLM_OK)
        rc = metallm__task_table_of_library(&known, &lists, UINT32_MAX, err);
    if (rc == METALLM_OK)
        rc = metallm__task_table_of_samples(&fresh, lib, q->x, NULL, q->samples, err);
    if (rc == METALLM_OK) {
        memset(is_used, 1, lib->tasks);
        struct metallm__task_view v = {known.rows,  is_used,  q->penalty, lib->tasks,
                                       lib->models, lib->dim, q->seed,    lib->how};
        rc = metallm__task_loto(&v, &s.loto, residual, err);
        if (rc == METALLM_OK) {
            find_labels(q, rows, &labels);
            fill_selection(&v, fresh.rows, &labels, &s);
            double prior[METALLM_MODELS_MAX];
            metallm__task_score(&v, fresh.rows, s.loto.best, prior);
            chances(&v, residual, prior, &labels, s.p_best);
        }
    }
    metallm__task_table_fini(&fresh);
    metallm__task_table_fini(&known);
    metallm__task_lists_fini(&lists);
    metallm__free(residual);
    metallm__free(is_used);
    metallm__free(rows);
    if (rc == METALLM_OK)
        *out = s;
    return rc;
}
