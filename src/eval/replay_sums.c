/* SPDX-License-Identifier: Apache-2.0
 * replay_sums.c - see replay_sums.h. */
#include "eval/replay_sums.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/ope.h"

enum series { QUALITY, COST, REWARD, REGRET, REGRET_MODEL, REGRET_POLICY, SERIES };

/* Over runs. */
struct acc {
    double sum, squares;
};

struct metallm__sums {
    const struct metallm__replay_input *in;
    const struct metallm__replay_options *opts;
    uint64_t steps;
    uint32_t points;
    double now[SERIES], since[SERIES]; /* of this run; since the last point */
    uint64_t in_point, point;
    double changes, explored; /* over all runs */
    uint64_t period;          /* requests; 0: none */
    double period_cost, period_most;
    struct acc runs[SERIES];
    struct acc *curve;  /* points x SERIES */
    double *share;      /* models; counts over all runs */
    float *row_sum;     /* rows x SERIES: over all runs */
    uint32_t *row_seen; /* a row */
    uint64_t every;
    size_t looks;
    double *mix; /* looks x models, summed over runs */
};

static void acc_add(struct acc *a, double x)
{
    a->sum += x;
    a->squares += x * x;
}

static struct metallm__mean mean_of(const struct acc *a, double n)
{
    struct metallm__mean m = {.value = a->sum / n, .low = NAN, .high = NAN};
    if (n >= 2) {
        const double v = fmax(a->squares / n - m.value * m.value, 0) * n / (n - 1);
        const double half = metallm__student_975(n - 1) * sqrt(v / n);
        m.low = m.value - half;
        m.high = m.value + half;
    }
    return m;
}

int metallm__sums_new(struct metallm__sums **out, const struct metallm__replay_input *in,
                      const struct metallm__replay_options *opts, uint64_t steps,
                      metallm_error *err)
{
    struct metallm__sums *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a replay's sums");
    const size_t rows = metallm__spool_count(in->rows);
    s->in = in;
    s->opts = opts;
    s->steps = steps;
    s->points = opts->points > 0 ? opts->points : 200;
    if (s->points > steps)
        s->points = (uint32_t)steps;
    if (opts->agent.pacer.usd_per_period > 0)
        s->period = (uint64_t)opts->agent.pacer.period_s;
    if (opts->event_count > 0) {
        s->every = steps / 5000 > METALLM__PANEL_EVERY ? steps / 5000 : METALLM__PANEL_EVERY;
        s->looks = (size_t)((steps + s->every - 1) / s->every);
    }
    s->curve = metallm__calloc((size_t)s->points * SERIES, sizeof *s->curve);
    s->share = metallm__calloc(in->models, sizeof *s->share);
    s->row_sum = metallm__calloc(rows, SERIES * sizeof *s->row_sum);
    s->row_seen = metallm__calloc(rows, sizeof *s->row_seen);
    s->mix = metallm__calloc(s->looks * in->models, sizeof *s->mix);
    if (s->curve == NULL || s->share == NULL || s->row_sum == NULL || s->row_seen == NULL ||
        s->mix == NULL) {
        metallm__sums_free(s);
        return metallm__error_nomem(err, "a replay's sums");
    }
    *out = s;
    return METALLM_OK;
}

void metallm__sums_free(struct metallm__sums *s)
{
    if (s == NULL)
        return;
    metallm__free(s->curve);
    metallm__free(s->share);
    metallm__free(s->row_sum);
    metallm__free(s->row_seen);
    metallm__free(s->mix);
    metallm__free(s);
}

static uint64_t end_of_point(const struct metallm__sums *s, uint64_t point)
{
    return (point + 1) * s->steps / s->points;
}

void metallm__sums_add(struct metallm__sums *s, const struct metallm__got *g)
{
    const double reward = g->quality - g->price * g->cost;
    const double got[SERIES] = {[QUALITY] = g->quality,
                                [COST] = g->cost,
                                [REWARD] = reward,
                                [REGRET] = g->best->oracle - reward,
                                [REGRET_MODEL] = g->best->best_model - reward,
                                [REGRET_POLICY] = g->best->best_policy - reward};
    for (int k = 0; k < SERIES; k++) {
        s->now[k] += got[k];
        s->since[k] += got[k];
        s->row_sum[g->row * SERIES + (size_t)k] += (float)got[k];
    }
    s->share[g->model]++;
    s->explored += g->explored;
    s->row_seen[g->row]++;
    s->period_cost += g->cost;
    if (s->period > 0 && (g->step + 1) % s->period == 0) {
        s->period_most = fmax(s->period_most, s->period_cost);
        s->period_cost = 0;
    }
    s->in_point++;
    if (g->step + 1 != end_of_point(s, s->point))
        return;
    struct acc *at = s->curve + (size_t)s->point * SERIES;
    for (int k = 0; k < SERIES; k++) {
        acc_add(&at[k], k < REGRET ? s->since[k] / (double)s->in_point : s->now[k]);
        s->since[k] = 0;
    }
    s->in_point = 0;
    s->point++;
}

void metallm__sums_change(struct metallm__sums *s)
{
    s->changes++;
}

void metallm__sums_end_run(struct metallm__sums *s)
{
    for (int k = 0; k < SERIES; k++) {
        acc_add(&s->runs[k], s->now[k] / (double)s->steps);
        s->now[k] = s->since[k] = 0;
    }
    s->point = s->in_point = 0;
    s->period_cost = 0;
}

uint64_t metallm__sums_mix_every(const struct metallm__sums *s)
{
    return s->every;
}

void metallm__sums_mix(struct metallm__sums *s, uint64_t step, const double *mix)
{
    double *at = s->mix + (size_t)(step / s->every) * s->in->models;
    for (uint32_t m = 0; m < s->in->models; m++)
        at[m] += mix[m];
}

/* Mean over rows, each the mean of its visits; the interval is that of the rows. */
static struct metallm__mean over_rows(const struct metallm__sums *s, enum series k)
{
    struct acc a = {0, 0};
    double n = 0;
    for (size_t i = 0; i < metallm__spool_count(s->in->rows); i++)
        if (s->row_seen[i] > 0) {
            acc_add(&a, (double)s->row_sum[i * SERIES + k] / s->row_seen[i]);
            n++;
        }
    return mean_of(&a, n);
}

/* Sum of a mix over looks [from, end), as shares. */
static void mean_mix(const struct metallm__sums *s, size_t from, size_t end, double *out)
{
    for (uint32_t m = 0; m < s->in->models; m++) {
        out[m] = 0;
        for (size_t k = from; k < end; k++)
            out[m] += s->mix[k * s->in->models + m];
        out[m] /= (double)(end - from) * s->opts->runs;
    }
}

/* Requests from the event until the mean mix, over runs and the next 50 requests, is within
 * METALLM__SETTLED_NEAR of that of the phase's last quarter. */
static double settled_after(const struct metallm__sums *s, uint64_t from, uint64_t end)
{
    const size_t first = (size_t)((from + s->every - 1) / s->every);
    const size_t last = (size_t)((end + s->every - 1) / s->every);
    enum { AHEAD = 5 };
    if (first >= last || last > s->looks || last - first < 2 * AHEAD)
        return NAN;
    double final[METALLM_MODELS_MAX], now[METALLM_MODELS_MAX];
    mean_mix(s, last - (last - first) / 4, last, final);
    for (size_t k = first; k + AHEAD <= last; k++) {
        double apart = 0;
        mean_mix(s, k, k + AHEAD, now);
        for (uint32_t m = 0; m < s->in->models; m++)
            apart += fabs(now[m] - final[m]) / 2;
        if (apart <= METALLM__SETTLED_NEAR)
            return (double)(k * s->every) - (double)from;
    }
    return NAN;
}

static void fill_events(const struct metallm__sums *s, const struct metallm__worlds *w,
                        struct metallm__replay_result *out)
{
    for (size_t i = 0; i < s->opts->event_count; i++) {
        const struct metallm__event *e = &s->opts->events[i];
        uint64_t end = s->steps;
        for (size_t k = w->count; k-- > 0;)
            if (w->items[k].from > e->step && w->items[k].from < end)
                end = w->items[k].from;
        out->events[i] = (struct metallm__replay_event){
            .step = e->step, .what = e->what, .settled_after = settled_after(s, e->step, end)};
    }
}

static void fill_points(const struct metallm__sums *s, struct metallm__replay_result *out)
{
    for (uint32_t k = 0; k < s->points; k++) {
        const struct acc *at = s->curve + (size_t)k * SERIES;
        const double n = s->opts->runs;
        out->points[k] =
            (struct metallm__replay_point){.step = end_of_point(s, k),
                                           .quality = mean_of(&at[QUALITY], n),
                                           .cost = mean_of(&at[COST], n),
                                           .reward = mean_of(&at[REWARD], n),
                                           .regret = mean_of(&at[REGRET], n),
                                           .regret_best_model = mean_of(&at[REGRET_MODEL], n),
                                           .regret_best_policy = mean_of(&at[REGRET_POLICY], n)};
    }
}

/* References averaged over the stream's phases. */
static void fill_references(const struct metallm__sums *s, const struct metallm__worlds *w,
                            struct metallm__replay_result *out)
{
    for (size_t k = 0; k < w->count && w->items[k].from < s->steps; k++) {
        const uint64_t end =
            k + 1 < w->count && w->items[k + 1].from < s->steps ? w->items[k + 1].from : s->steps;
        const double share = (double)(end - w->items[k].from) / (double)s->steps;
        out->reward_oracle += share * w->items[k].oracle;
        out->reward_best_model += share * w->items[k].best_model;
        out->reward_best_policy += share * w->items[k].best_policy;
    }
}

int metallm__sums_result(const struct metallm__sums *s, const struct metallm__worlds *w,
                         struct metallm__replay_result *out, metallm_error *err)
{
    const double n = s->opts->runs, requests = n * (double)s->steps;
    const double budget = s->opts->agent.pacer.usd_per_request;
    struct metallm__replay_result r = {
        .n = s->steps,
        .runs = s->opts->runs,
        .models = s->in->models,
        .quality = mean_of(&s->runs[QUALITY], n),
        .cost = mean_of(&s->runs[COST], n),
        .reward = mean_of(&s->runs[REWARD], n),
        .over_rows = {.quality = over_rows(s, QUALITY),
                      .cost = over_rows(s, COST),
                      .reward = over_rows(s, REWARD),
                      .regret = over_rows(s, REGRET),
                      .regret_best_model = over_rows(s, REGRET_MODEL),
                      .regret_best_policy = over_rows(s, REGRET_POLICY)},
        .budget = budget,
        .regret = mean_of(&s->runs[REGRET], n),
        .regret_best_model = mean_of(&s->runs[REGRET_MODEL], n),
        .regret_best_policy = mean_of(&s->runs[REGRET_POLICY], n),
        .explored = s->explored / requests,
        .changes = s->changes / n,
        .point_count = s->points,
        .event_count = s->opts->event_count};
    r.budget_used =
        (struct metallm__mean){r.cost.value / budget, r.cost.low / budget, r.cost.high / budget};
    r.period_most = s->period > 0 && s->period <= s->steps
                        ? s->period_most / s->opts->agent.pacer.usd_per_period
                        : NAN;
    r.share = metallm__calloc(s->in->models, sizeof *r.share);
    r.points = metallm__calloc(r.point_count, sizeof *r.points);
    r.events = metallm__calloc(r.event_count + 1, sizeof *r.events);
    if (r.share == NULL || r.points == NULL || r.events == NULL) {
        metallm__replay_fini(&r);
        return metallm__error_nomem(err, "a replay's result");
    }
    for (uint32_t m = 0; m < s->in->models; m++)
        r.share[m] = s->share[m] / requests;
    fill_references(s, w, &r);
    fill_points(s, &r);
    fill_events(s, w, &r);
    *out = r;
    return METALLM_OK;
}

void metallm__replay_fini(struct metallm__replay_result *r)
{
    metallm__free(r->share);
    metallm__free(r->points);
    metallm__free(r->events);
    *r = (struct metallm__replay_result){0};
}
