/* SPDX-License-Identifier: Apache-2.0
 * task_experiment.c - leaves every known task out in turn (task_select.h). Whatever a rule or the
 * choice among rules is made from, the task left out has no part in it: neither its pairs nor its
 * samples as other tasks' neighbours. */
#include <math.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "router/task_select.h"

#define SPARE                                                                                      \
    76u /* neighbours beyond those needed: leaving one more task out seldom needs a search */

/* Sums for a correlation. */
struct moments {
    double n, x, y, xx, yy, xy;
};

static void moments_add(struct moments *m, double x, double y)
{
    if (isnan(x) || isnan(y))
        return;
    m->n++;
    m->x += x;
    m->y += y;
    m->xx += x * x;
    m->yy += y * y;
    m->xy += x * y;
}

static double correlation(const struct moments *m)
{
    double xx = m->xx - m->x * m->x / m->n, yy = m->yy - m->y * m->y / m->n;
    return xx > 0 && yy > 0 ? (m->xy - m->x * m->y / m->n) / sqrt(xx * yy) : NAN;
}

struct mean {
    double sum, square, n;
};

static void mean_add(struct mean *m, double v)
{
    m->sum += v;
    m->square += v * v;
    m->n++;
}

static double mean_of(const struct mean *m)
{
    return m->n > 0 ? m->sum / m->n : NAN;
}

static double error_of(const struct mean *m)
{
    double mean = m->sum / m->n;
    return m->n > 1 ? sqrt(fmax(m->square / m->n - mean * mean, 0) / (m->n - 1)) : NAN;
}

struct sums {
    struct mean quality[METALLM__RULES], gain[METALLM__RULES], p_error[METALLM__RULES];
    struct moments differences[METALLM__RULES];
    struct mean used, used_gain, possible, labelled, labelled_bma, moved[METALLM__RULES];
    uint32_t times_used[METALLM__RULES_OFFERED];
};

struct trial {
    const struct metallm__experiment_request *request;
    struct metallm__task_lists lists;
    struct metallm__task_table whole; /* with all tasks */
    struct metallm__task_view view;   /* of others; is_used leaves `task` out */
    uint8_t *is_used;
    uint32_t *order; /* rows of a task, those to label first */
    uint32_t task;
    struct metallm__task_trial told; /* of this task; its arrays follow */
    double score[METALLM__RULES][METALLM_MODELS_MAX];
    double p[METALLM__RULES][METALLM_MODELS_MAX];
    double labelled[METALLM_MODELS_MAX], rest[METALLM_MODELS_MAX];
    uint8_t allowed[METALLM_MODELS_MAX];
    struct sums sums;
};

static double value(const struct trial *t, uint32_t pick)
{
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    return row->truth[pick] - t->request->penalty[pick];
}

static void try_rules(struct trial *t, double *bma)
{
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    const struct metallm__task_view *v = &t->view;
    for (uint32_t r = 0; r < METALLM__RULES; r++) {
        enum metallm__task_rule rule = (enum metallm__task_rule)r;
        double *score = t->score[r];
        metallm__task_score(v, row, rule, score);
        uint32_t pick = metallm__task_choose(v, row, rule, score, t->allowed);
        t->told.pick[r] = pick;
        for (uint32_t j = 0; j < v->models; j++)
            t->p[r][j] = metallm__task_p(v, row, rule, j).mean;
        double got = value(t, pick);
        *bma = r == METALLM__RULE_BMA ? got : *bma;
        mean_add(&t->sums.quality[r], got);
        mean_add(&t->sums.gain[r], got - *bma);
        if (v->models == 2)
            moments_add(&t->sums.differences[r], score[1] - score[0],
                        row->truth[1] - row->truth[0]);
        uint32_t patch = rule == METALLM__RULE_CONFIDENCE ? 1 : 0;
        if (rule == METALLM__RULE_CONFIDENCE || rule == METALLM__RULE_S3)
            for (uint32_t j = 0; j < v->models; j++)
                if (t->allowed[j])
                    mean_add(&t->sums.p_error[r], fabs(metallm__task_p(v, row, rule, j).mean -
                                                       row->patch[patch].accuracy[j]));
    }
}

static int by_hash(const void *a, const void *b, void *payload)
{
    const struct trial *t = payload;
    uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
    uint64_t x = metallm__hash_bytes(&p, sizeof p, t->request->seed);
    uint64_t y = metallm__hash_bytes(&q, sizeof q, t->request->seed);
    return x != y ? (x < y ? -1 : 1) : (p > q) - (p < q);
}

static double rest_of_task(const struct trial *t, size_t first, size_t count, uint32_t model)
{
    const struct metallm__library *lib = t->request->lib;
    double sum = 0, n = 0;
    for (size_t i = first; i < count; i++) {
        float s = lib->score[(size_t)t->order[i] * lib->models + model];
        if (!isnan(s)) {
            sum += (double)s;
            n++;
        }
    }
    return n > 0 ? sum / n - t->request->penalty[model] : NAN;
}

/* The library with the labelled samples of the task, but without its others, which are gathered
 * behind them: rows in all lib->rows, of which *known are the library's. */
static struct metallm__library *part_rows(const struct trial *t, size_t labels, size_t count,
                                          size_t *known)
{
    const struct metallm__library *lib = t->request->lib;
    const size_t x = lib->dim * sizeof *lib->x, score = lib->models * sizeof *lib->score;
    struct metallm__library *out = metallm__calloc(1, sizeof *out);
    if (out == NULL)
        return NULL;
    *out = (struct metallm__library){
        .dim = lib->dim, .models = lib->models, .tasks = lib->tasks, .how = lib->how};
    out->x = metallm__alloc_aligned(lib->rows, x);
    out->score = metallm__alloc(lib->rows, score);
    if (out->x == NULL || out->score == NULL) {
        metallm__library_free(out);
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < lib->rows + count; i++) {
        if (i < lib->rows && lib->task[i] == t->task)
            continue;
        size_t from = i < lib->rows ? i : t->order[i - lib->rows]; /* labelled ones come first */
        memcpy(out->x + at * lib->dim, lib->x + from * lib->dim, x);
        memcpy(out->score + at++ * lib->models, lib->score + from * lib->models, score);
    }
    *known = out->rows = lib->rows - (count - labels);
    return out;
}

/* The paper's way with labels: the labelled samples are known samples like those of other tasks,
 * and the rules choose for the rest. p is still smoothed over other tasks alone. */
static int try_moved(struct trial *t, size_t labels, size_t count, metallm_error *err)
{
    size_t known;
    struct metallm__task_table rest;
    struct metallm__library *lib = part_rows(t, labels, count, &known);
    if (lib == NULL)
        return metallm__error_nomem(err, "a library with labels");
    int rc = metallm__task_table_of_samples(&rest, lib, lib->x + known * lib->dim,
                                            lib->score + known * lib->models, count - labels, err);
    for (uint32_t r = 0; rc == METALLM_OK && r < METALLM__RULES; r++) {
        enum metallm__task_rule rule = (enum metallm__task_rule)r;
        double score[METALLM_MODELS_MAX];
        metallm__task_score(&t->view, rest.rows, rule, score);
        uint32_t pick = metallm__task_choose(&t->view, rest.rows, rule, score, t->allowed);
        t->told.moved_pick[r] = pick;
        if (!isnan(t->rest[pick]))
            mean_add(&t->sums.moved[r], t->rest[pick]);
    }
    if (rc == METALLM_OK) {
        t->told.moved_distance = rest.rows->distance;
        metallm__task_table_fini(&rest);
    }
    metallm__library_free(lib);
    return rc;
}

static size_t labels_of(const struct metallm__experiment_request *q, size_t samples)
{
    size_t share = (size_t)(q->label_share * (double)samples);
    return q->label_share > 0 && share < q->labels ? share : q->labels;
}

/* Some samples of the task get labels; the rest of the task judges the picks. */
static int try_labels(struct trial *t, metallm_error *err)
{
    const struct metallm__library *lib = t->request->lib;
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    size_t count = 0;
    for (size_t i = 0; i < lib->rows; i++)
        if (lib->task[i] == t->task)
            t->order[count++] = (uint32_t)i;
    size_t labels = labels_of(t->request, count);
    if (labels == 0 || count < labels + METALLM__TASK_ROWS_MIN)
        return METALLM_OK;
    qsort_r(t->order, count, sizeof *t->order, by_hash, t);
    double *score = t->labelled, mean[METALLM_MODELS_MAX];
    metallm__task_score(&t->view, row, METALLM__RULE_S1, score);
    struct metallm__labels known = {lib->score, t->order, labels, lib->models};
    metallm__task_add_labels(&known, NULL, score);
    uint32_t pick = metallm__task_choose(&t->view, row, METALLM__RULE_S1, score, t->allowed);
    metallm__task_score(&t->view, row, METALLM__RULE_BMA, mean);
    uint32_t bma = metallm__task_choose(&t->view, row, METALLM__RULE_BMA, mean, t->allowed);
    t->told.labels = labels;
    t->told.labelled_pick = pick;
    for (uint32_t j = 0; j < lib->models; j++)
        t->rest[j] = rest_of_task(t, labels, count, j);
    double got = rest_of_task(t, labels, count, pick), plain = rest_of_task(t, labels, count, bma);
    if (!isnan(got) && !isnan(plain)) {
        mean_add(&t->sums.labelled, got);
        mean_add(&t->sums.labelled_bma, plain);
    }
    return try_moved(t, labels, count, err);
}

static void tell(struct trial *t, enum metallm__task_rule used, uint32_t pick)
{
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    if (t->request->tried == NULL)
        return;
    t->told.task = t->request->lib->names[t->task];
    t->told.samples = row->samples;
    t->told.models = t->view.models;
    t->told.distance = row->distance;
    t->told.row = row;
    t->told.used = used;
    t->told.used_pick = pick;
    for (uint32_t r = 0; r < METALLM__RULES; r++) {
        t->told.score[r] = t->score[r];
        t->told.p[r] = t->p[r];
    }
    t->told.labelled = t->labelled;
    t->told.rest = t->rest;
    t->request->tried(t->request->payload, &t->told);
}

/* One task is new: rules are compared on the others, and the best of them is used. */
static int try_task(struct trial *t, metallm_error *err)
{
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    struct metallm__task_table others;
    struct metallm__loto loto;
    double score[METALLM_MODELS_MAX], bma = 0, possible = -INFINITY;
    int rc = metallm__task_table_of_library(&others, &t->lists, t->task, err);
    if (rc != METALLM_OK)
        return rc;
    memset(t->is_used, 1, others.tasks);
    t->is_used[t->task] = 0;
    t->told = (struct metallm__task_trial){0};
    t->view.rows = others.rows;
    rc = metallm__task_loto(&t->view, &loto, NULL, err);
    if (rc == METALLM_OK) {
        try_rules(t, &bma);
        rc = try_labels(t, err);
    }
    if (rc == METALLM_OK) {
        metallm__task_score(&t->view, row, loto.best, score);
        uint32_t pick = metallm__task_choose(&t->view, row, loto.best, score, t->allowed);
        mean_add(&t->sums.used, value(t, pick));
        mean_add(&t->sums.used_gain, value(t, pick) - bma);
        t->sums.times_used[loto.best]++;
        for (uint32_t j = 0; j < t->view.models; j++)
            if (t->allowed[j])
                possible = fmax(possible, value(t, j));
        mean_add(&t->sums.possible, possible);
        tell(t, loto.best, pick);
    }
    metallm__task_table_fini(&others);
    return rc;
}

static bool is_judged(struct trial *t)
{
    const struct metallm__task_row *row = &t->whole.rows[t->task];
    bool any = false;
    for (uint32_t j = 0; j < t->whole.models; j++) {
        t->allowed[j] = (uint8_t)(isnan(row->truth[j]) ? 0 : 1);
        any = any || t->allowed[j];
    }
    return any && row->samples >= METALLM__TASK_ROWS_MIN;
}

static int try_all(struct trial *t, metallm_error *err)
{
    const struct metallm__library *lib = t->request->lib;
    const metallm_progress *progress = t->request->progress;
    int rc = metallm__task_lists_find(&t->lists, lib, metallm__task_depth(lib) + SPARE, err);
    if (rc == METALLM_OK)
        rc = metallm__task_table_of_library(&t->whole, &t->lists, UINT32_MAX, err);
    for (t->task = 0; rc == METALLM_OK && t->task < lib->tasks; t->task++) {
        if (is_judged(t))
            rc = try_task(t, err);
        if (rc == METALLM_OK && progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "leaving tasks out", t->task + 1, lib->tasks) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "stopped while leaving tasks out");
    }
    return rc;
}

static void sum_up(const struct sums *s, struct metallm__experiment *e)
{
    *e = (struct metallm__experiment){.judged = (uint32_t)s->possible.n};
    for (uint32_t r = 0; r < METALLM__RULES; r++) {
        e->quality[r] = mean_of(&s->quality[r]);
        e->quality_error[r] = error_of(&s->gain[r]);
        e->correlation[r] = correlation(&s->differences[r]);
        e->p_error[r] = mean_of(&s->p_error[r]);
        e->moved[r] = mean_of(&s->moved[r]);
    }
    e->used = mean_of(&s->used);
    e->used_error = error_of(&s->used_gain);
    e->labelled = mean_of(&s->labelled);
    e->labelled_bma = mean_of(&s->labelled_bma);
    e->possible = mean_of(&s->possible);
    memcpy(e->times_used, s->times_used, sizeof e->times_used);
}

int metallm__task_experiment(const struct metallm__experiment_request *request,
                             struct metallm__experiment *out, metallm_error *err)
{
    const struct metallm__library *lib = request->lib;
    struct trial *t = metallm__calloc(1, sizeof *t);
    if (t == NULL)
        return metallm__error_nomem(err, "an experiment");
    t->request = request;
    t->is_used = metallm__alloc(lib->tasks, 1);
    t->order = metallm__alloc(lib->rows, sizeof *t->order);
    t->view = (struct metallm__task_view){NULL,        t->is_used, request->penalty, lib->tasks,
                                          lib->models, lib->dim,   request->seed,    lib->how};
    int rc = t->is_used == NULL || t->order == NULL ? metallm__error_nomem(err, "an experiment")
                                                    : try_all(t, err);
    if (rc == METALLM_OK)
        sum_up(&t->sums, out);
    metallm__task_table_fini(&t->whole);
    metallm__task_lists_fini(&t->lists);
    metallm__free(t->order);
    metallm__free(t->is_used);
    metallm__free(t);
    return rc;
}
