/* SPDX-License-Identifier: Apache-2.0
 * metrics.c - see metrics.h. */
#include "eval/metrics.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"

struct sum {
    double total;
    size_t count;
};

static void sum_add(struct sum *s, float value)
{
    if (!isnan(value)) {
        s->total += (double)value;
        s->count++;
    }
}

static double sum_mean(const struct sum *s)
{
    return s->count > 0 ? s->total / (double)s->count : NAN;
}

struct metallm__point metallm__eval_mean(const struct metallm__truth *t, const uint16_t *choice)
{
    struct sum quality = {0}, cost = {0};
    for (size_t i = 0; i < t->n; i++)
        if (choice[i] != METALLM__NO_MODEL) {
            sum_add(&quality, t->score[i * t->models + choice[i]]);
            sum_add(&cost, t->cost[i * t->models + choice[i]]);
        }
    return (struct metallm__point){sum_mean(&quality), sum_mean(&cost)};
}

struct metallm__point metallm__eval_single(const struct metallm__truth *t, uint32_t model)
{
    struct sum quality = {0}, cost = {0};
    for (size_t i = 0; i < t->n; i++) {
        sum_add(&quality, t->score[i * t->models + model]);
        sum_add(&cost, t->cost[i * t->models + model]);
    }
    return (struct metallm__point){sum_mean(&quality), sum_mean(&cost)};
}

void metallm__eval_oracle(const struct metallm__truth *t, uint16_t *choice)
{
    for (size_t i = 0; i < t->n; i++) {
        const float *score = t->score + i * t->models, *cost = t->cost + i * t->models;
        choice[i] = METALLM__NO_MODEL;
        float best_score = -1, best_cost = INFINITY;
        for (uint32_t j = 0; j < t->models; j++) {
            float c = isnan(cost[j]) ? INFINITY : cost[j];
            if (score[j] > best_score || (score[j] == best_score && c < best_cost)) {
                choice[i] = (uint16_t)j;
                best_score = score[j];
                best_cost = c;
            }
        }
    }
}

static int by_cost(const void *a, const void *b)
{
    const struct metallm__point *p = a, *q = b;
    if (p->cost != q->cost)
        return p->cost < q->cost ? -1 : 1;
    return p->quality > q->quality ? -1 : p->quality < q->quality;
}

size_t metallm__eval_hull(struct metallm__point *points, size_t count)
{
    size_t kept = 0, hull = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(points[i].cost) && !isnan(points[i].quality))
            points[kept++] = points[i];
    qsort(points, kept, sizeof *points, by_cost);
    for (size_t i = 0; i < kept; i++) {
        struct metallm__point p = points[i];
        if (hull > 0 && p.quality <= points[hull - 1].quality)
            continue; /* dearer and no better */
        while (hull >= 2) {
            struct metallm__point a = points[hull - 2], b = points[hull - 1];
            if ((b.quality - a.quality) * (p.cost - a.cost) >
                (p.quality - a.quality) * (b.cost - a.cost))
                break;
            hull--; /* b lies on or below the line from a to p */
        }
        points[hull++] = p;
    }
    return hull;
}

double metallm__eval_hull_at(const struct metallm__point *hull, size_t count, double cost)
{
    if (count == 0 || isnan(cost))
        return NAN;
    if (cost <= hull[0].cost)
        return hull[0].quality;
    for (size_t i = 1; i < count; i++)
        if (cost <= hull[i].cost) {
            double share = (cost - hull[i - 1].cost) / (hull[i].cost - hull[i - 1].cost);
            return hull[i - 1].quality + share * (hull[i].quality - hull[i - 1].quality);
        }
    return hull[count - 1].quality;
}

double metallm__eval_hull_area(const struct metallm__point *hull, size_t count, double low,
                               double high)
{
    if (count == 0 || !(low < high))
        return NAN;
    double area = 0, at = low, height = metallm__eval_hull_at(hull, count, low);
    for (size_t i = 0; i < count; i++)
        if (hull[i].cost > low && hull[i].cost < high) {
            area += 0.5 * (height + hull[i].quality) * (hull[i].cost - at);
            at = hull[i].cost;
            height = hull[i].quality;
        }
    area += 0.5 * (height + metallm__eval_hull_at(hull, count, high)) * (high - at);
    return area / (high - low);
}

double metallm__eval_hull_reach(const struct metallm__point *hull, size_t count, double quality)
{
    for (size_t i = 0; i < count; i++)
        if (hull[i].quality >= quality) {
            if (i == 0)
                return hull[0].cost;
            double share =
                (quality - hull[i - 1].quality) / (hull[i].quality - hull[i - 1].quality);
            return hull[i - 1].cost + share * (hull[i].cost - hull[i - 1].cost);
        }
    return INFINITY;
}

int metallm__eval_compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double metallm__eval_quantile(const double *sorted, size_t count, double q)
{
    if (count == 0)
        return NAN;
    double rank = q * (double)(count - 1);
    size_t below = (size_t)rank;
    if (below + 1 >= count)
        return sorted[count - 1];
    double share = rank - (double)below;
    /* Not a weighted sum: infinite values (a level that was not reached) must not give NaN. */
    return share == 0 || sorted[below] == sorted[below + 1]
               ? sorted[below]
               : sorted[below] + share * (sorted[below + 1] - sorted[below]);
}

/* The dials at which one query's choice switches, appended to out; returns how many. Each model is
 * a line quality - dial * cost / scale; the choices for rising dials are their upper envelope. */
static size_t switches(const struct metallm__dial_request *r, const metallm_estimate *row,
                       double *out)
{
    double slope[METALLM_MODELS_MAX];
    size_t count = 0;
    uint32_t at = UINT32_MAX;
    for (uint32_t j = 0; j < r->models; j++) {
        slope[j] = isnan(row[j].cost_usd) ? 1.0 : (double)row[j].cost_usd / r->scale;
        if (r->allowed[j] && (at == UINT32_MAX || row[j].quality > row[at].quality ||
                              (row[j].quality == row[at].quality && slope[j] < slope[at])))
            at = j;
    }
    while (at != UINT32_MAX) {
        uint32_t next = UINT32_MAX;
        double next_dial = INFINITY;
        for (uint32_t j = 0; j < r->models; j++)
            if (r->allowed[j] && slope[j] < slope[at]) {
                double dial =
                    ((double)row[at].quality - (double)row[j].quality) / (slope[at] - slope[j]);
                if (dial < next_dial || (dial == next_dial && slope[j] < slope[next])) {
                    next_dial = dial;
                    next = j;
                }
            }
        if (next != UINT32_MAX)
            out[count++] = next_dial;
        at = next;
    }
    return count;
}

int metallm__eval_dials(const struct metallm__dial_request *r, float *out, size_t *count,
                        metallm_error *err)
{
    METALLM_REQUIRE(r->count_max >= 3 && r->scale > 0);
    double *all = metallm__alloc(r->n, sizeof *all * r->models);
    if (all == NULL)
        return metallm__error_nomem(err, "the dials of a curve");
    size_t total = 0, made = 0;
    for (size_t i = 0; i < r->n; i++)
        total += switches(r, r->estimates + i * r->models, all + total);
    qsort(all, total, sizeof *all, metallm__eval_compare_double);
    out[made++] = 0;
    size_t inner = r->count_max - 2;
    for (size_t k = 0; total > 0 && k < inner; k++) {
        size_t rank = total * (k + 1) / (inner + 1);
        float dial = (float)all[rank];
        if (dial > out[made - 1])
            out[made++] = dial;
    }
    if (total > 0) {
        float last = (float)(all[total - 1] * 1.001);
        if (last > out[made - 1])
            out[made++] = last;
    }
    *count = made;
    metallm__free(all);
    return METALLM_OK;
}
