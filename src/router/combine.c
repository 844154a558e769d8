/* SPDX-License-Identifier: Apache-2.0
 * combine.c - see combine.h. */
#include "router/combine.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "math/dense.h"

#define RIDGE_SHARE  0.3 /* of the mean diagonal of the members' second moments */
#define SWEEPS       500
#define STRENGTH_MAX 1.1
#define SLOPE_PRIOR  30.0
#define PLATT_STEPS  30
#define SLOPE_LEAST  0.05

/* Second moments of centred predictions and their products with centred scores. */
struct moments {
    double a[METALLM__MEMBERS_MAX][METALLM__MEMBERS_MAX], b[METALLM__MEMBERS_MAX];
};

static void add_row(struct moments *s, const struct metallm__fit_data *d, size_t i, float *const *p,
                    uint32_t members, const double *mean)
{
    double centre[METALLM__MEMBERS_MAX + 1] = {0}, known = 0;
    for (uint32_t m = 0; m < d->models; m++) {
        size_t at = i * d->models + m;
        if (isnan(d->y[at]))
            continue;
        known += 1;
        for (uint32_t k = 0; k < members; k++)
            centre[k] += (double)p[k][at] - mean[m];
        centre[members] += (double)d->y[at] - mean[m];
    }
    if (known < 2) /* nothing to compare: the query's own level must do */
        memset(centre, 0, sizeof centre);
    for (uint32_t m = 0; m < d->models; m++) {
        size_t at = i * d->models + m;
        if (isnan(d->y[at]))
            continue;
        double off[METALLM__MEMBERS_MAX];
        double y = (double)d->y[at] - mean[m] - centre[members] / known;
        for (uint32_t k = 0; k < members; k++)
            off[k] = (double)p[k][at] - mean[m] - centre[k] / known;
        for (uint32_t k = 0; k < members; k++) {
            s->b[k] += off[k] * y;
            for (uint32_t l = 0; l < members; l++)
                s->a[k][l] += off[k] * off[l];
        }
    }
}

/* Coordinate descent on w >= 0 for the ridge problem. */
static void solve(struct metallm__combination *c, const struct moments *s, const double *prior)
{
    double trace = 0;
    for (uint32_t k = 0; k < c->members; k++)
        trace += s->a[k][k];
    double ridge = RIDGE_SHARE * trace / c->members;
    for (int sweep = 0; sweep < SWEEPS && ridge > 0; sweep++)
        for (uint32_t k = 0; k < c->members; k++) {
            double rest = s->b[k] + ridge * prior[k];
            for (uint32_t l = 0; l < c->members; l++)
                rest -= l == k ? 0 : s->a[k][l] * c->weight[l];
            c->weight[k] = fmax(0, rest / (s->a[k][k] + ridge));
        }
}

static double strength_of(const struct metallm__combination *c, const struct moments *s)
{
    double up = 0, down = 0;
    for (uint32_t k = 0; k < c->members; k++) {
        up += c->weight[k] * s->b[k];
        for (uint32_t l = 0; l < c->members; l++)
            down += c->weight[k] * c->weight[l] * s->a[k][l];
    }
    return down > 0 ? fmin(fmax(up / down, 0), STRENGTH_MAX) : 1;
}

void metallm__combine_fit(struct metallm__combination *out, const struct metallm__fit_data *data,
                          float *const *p, const double *prior, uint32_t members,
                          const double *mean)
{
    METALLM_REQUIRE(members >= 1 && members <= METALLM__MEMBERS_MAX);
    struct moments s = {0};
    for (size_t i = 0; i < data->n; i++)
        add_row(&s, data, i, p, members, mean);
    struct metallm__combination c = {.members = members};
    memcpy(c.weight, prior, members * sizeof *prior);
    solve(&c, &s, prior);
    double sum = 0;
    for (uint32_t k = 0; k < members; k++)
        sum += c.weight[k];
    for (uint32_t k = 0; k < members; k++)
        c.weight[k] = sum > 0 ? c.weight[k] / sum : prior[k];
    c.strength = strength_of(&c, &s);
    *out = c;
}

void metallm__combine_apply(const struct metallm__combination *c, const double *mean,
                            float *const *p, size_t n, uint32_t models, float *q)
{
    for (size_t i = 0; i < n * models; i++) {
        double mu = mean[i % models], sum = 0;
        for (uint32_t k = 0; k < c->members; k++)
            sum += c->weight[k] * ((double)p[k][i] - mu);
        q[i] = (float)(mu + c->strength * sum);
    }
}

/* One model's cells. */
struct cells {
    const struct metallm__fit_data *data;
    const float *q;
    uint32_t model;
};

static int varies(const struct cells *c)
{
    double low = INFINITY, high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
    for (size_t i = 0; i < c->data->n; i++) {
        double y = (double)c->data->y[i * c->data->models + c->model];
        double q = (double)c->q[i * c->data->models + c->model];
        if (isnan(y))
            continue;
        low = fmin(low, q);
        high = fmax(high, q);
        y_low = fmin(y_low, y);
        y_high = fmax(y_high, y);
    }
    return high - low > 1e-6 && y_high > y_low;
}

/* Newton's method on the convex negative log-likelihood with the slope's prior. */
static void fit_model(struct metallm__platt *out, const struct cells *c)
{
    double a = 0, b = 1;
    for (int step = 0; step < PLATT_STEPS; step++) {
        double ga = 1e-3 * a, gb = SLOPE_PRIOR * (b - 1);
        double haa = 1e-3, hab = 0, hbb = SLOPE_PRIOR;
        for (size_t i = 0; i < c->data->n; i++) {
            size_t at = i * c->data->models + c->model;
            if (isnan(c->data->y[at]))
                continue;
            double x = metallm__logit((double)c->q[at]), p = metallm__sigmoid(a + b * x);
            double off = p - (double)c->data->y[at], w = p * (1 - p);
            ga += off;
            gb += off * x;
            haa += w;
            hab += w * x;
            hbb += w * x * x;
        }
        double det = haa * hbb - hab * hab;
        if (!(det > 1e-12))
            break;
        double da = (hbb * ga - hab * gb) / det, db = (haa * gb - hab * ga) / det;
        double most = fmax(fabs(da), fabs(db)), size = most > 1 ? 1 / most : 1;
        a -= size * da;
        b -= size * db;
        if (most < 1e-8)
            break;
    }
    *out = (struct metallm__platt){(float)a, (float)fmax(b, SLOPE_LEAST)};
}

void metallm__platt_fit(struct metallm__platt *out, const struct metallm__fit_data *data,
                        const float *q)
{
    for (uint32_t m = 0; m < data->models; m++) {
        struct cells c = {data, q, m};
        out[m] = (struct metallm__platt){0, 1};
        if (varies(&c))
            fit_model(&out[m], &c);
    }
}

float metallm__platt_apply(const struct metallm__platt *p, float q)
{
    return (float)metallm__sigmoid((double)p->intercept +
                                   (double)p->slope * metallm__logit((double)q));
}
