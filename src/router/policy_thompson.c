/* SPDX-License-Identifier: Apache-2.0
 * policy_thompson.c - linear Thompson sampling with exact propensities. Drawing each model's reward
 * from N(score, (scale sd)^2) and taking the best chooses model m with chance
 *     P_m = integral of phi_m(x) prod over k != m of Phi_k(x) dx,
 * since models are disjoint. That integral is worked out, and one draw made from it: the same
 * choices as sampling, and the propensity beside them. Gauss-Legendre with 4 points between nodes
 * that fit every model's width; error below 1e-5 (tested against a fine sum). */
#include <math.h>

#include "base/error.h"
#include "router/policy.h"

enum { SCALE };

/* Beyond this many deviations a model neither wins nor loses by chance. */
#define REACH 6.0
enum { NODES = 7, POINTS = 4, NODES_MAX = METALLM_MODELS_MAX * NODES };
static const double nodes[NODES] = {-REACH, -3, -1.4, 0, 1.4, 3, REACH};
static const double points[POINTS] = {-0.8611363115940526, -0.3399810435848563, 0.3399810435848563,
                                      0.8611363115940526};
static const double weights[POINTS] = {0.3478548451374538, 0.6521451548625461, 0.6521451548625461,
                                       0.3478548451374538};

struct contest {
    uint32_t count; /* of those that can win */
    uint32_t model[METALLM_MODELS_MAX];
    double mean[METALLM_MODELS_MAX], sd[METALLM_MODELS_MAX], won[METALLM_MODELS_MAX];
};

/* Phi and phi of one exponential: Abramowitz and Stegun 26.2.17, |error| < 7.5e-8. */
static inline double cumulative(double z, double *density)
{
    const double t = 1 / (1 + 0.2316419 * fabs(z));
    *density = 0.3989422804014327 * exp(-0.5 * z * z);
    const double tail =
        *density * t *
        (0.319381530 +
         t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    return z >= 0 ? 1 - tail : tail;
}

static void add_point(struct contest *c, double x, double weight)
{
    double below[METALLM_MODELS_MAX], density[METALLM_MODELS_MAX], product = 1;
    for (uint32_t i = 0; i < c->count; i++) {
        below[i] = fmax(cumulative((x - c->mean[i]) / c->sd[i], &density[i]), 1e-300);
        product *= below[i];
    }
    for (uint32_t i = 0; i < c->count; i++)
        c->won[i] += weight * density[i] / c->sd[i] * product / below[i];
}

static void sort(double *x, size_t count) /* few and nearly in order: by insertion */
{
    for (size_t i = 1; i < count; i++) {
        const double kept = x[i];
        size_t j = i;
        for (; j > 0 && x[j - 1] > kept; j--)
            x[j] = x[j - 1];
        x[j] = kept;
    }
}

static void integrate(struct contest *c, double low, double high)
{
    double at[NODES_MAX + 2];
    size_t n = 0;
    at[n++] = low;
    for (uint32_t i = 0; i < c->count; i++)
        for (int j = 0; j < NODES; j++) {
            const double x = c->mean[i] + nodes[j] * c->sd[i];
            if (x > low && x < high)
                at[n++] = x;
        }
    at[n++] = high;
    sort(at, n);
    for (size_t i = 0; i + 1 < n; i++) {
        const double half = (at[i + 1] - at[i]) / 2, middle = (at[i + 1] + at[i]) / 2;
        if (half > 0)
            for (int j = 0; j < POINTS; j++)
                add_point(c, middle + half * points[j], half * weights[j]);
    }
}

/* Those whose reach does not end below somebody's least. */
static void enter(struct contest *c, const struct metallm__arms *arms, double scale, double *low,
                  double *high)
{
    *low = *high = -HUGE_VAL;
    for (uint32_t m = 0; m < arms->count; m++) {
        if (isnan(arms->score[m]))
            continue;
        const double reach = REACH * fmax(scale * arms->sd[m], 1e-9);
        *low = fmax(*low, arms->score[m] - reach);
        *high = fmax(*high, arms->score[m] + reach);
    }
    c->count = 0;
    for (uint32_t m = 0; m < arms->count; m++) {
        const double sd = fmax(scale * arms->sd[m], 1e-9);
        if (isnan(arms->score[m]) || arms->score[m] + REACH * sd <= *low)
            continue;
        c->model[c->count] = m;
        c->mean[c->count] = arms->score[m];
        c->sd[c->count] = sd;
        c->won[c->count++] = 0;
    }
}

static void chances(const double *values, const struct metallm__arms *arms, double *chance)
{
    struct contest c;
    double low, high, sum = 0;
    for (uint32_t m = 0; m < arms->count; m++)
        chance[m] = 0;
    if (!(values[SCALE] > 0)) {
        chance[metallm__policy_best(arms, 0)] = 1;
        return;
    }
    enter(&c, arms, values[SCALE], &low, &high);
    METALLM_REQUIRE(c.count > 0);
    if (c.count == 1)
        c.won[0] = 1;
    else
        integrate(&c, low, high);
    for (uint32_t i = 0; i < c.count; i++)
        sum += c.won[i];
    for (uint32_t i = 0; i < c.count; i++)
        chance[c.model[i]] = c.won[i] / sum;
}

static const struct metallm__param params[] = {
    [SCALE] = {.name = "scale",
               .fallback = 0.1,
               .low = 0,
               .high = 1000,
               .help = "width of the posterior, in standard errors"},
};

const struct metallm__policy metallm__policy_thompson = {
    .name = "thompson",
    .source = "Agrawal and Goyal 2013 (arXiv 1209.3352), algorithm 1; disjoint models",
    .help = "each model with the chance that its reward is the highest",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .needs_sd = true,
    .chances = chances,
};
