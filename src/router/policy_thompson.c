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
/* Nodes need be no closer than this many deviations. */
#define SPACING 1.4
enum { NODES = 7, NODES_MAX = METALLM_MODELS_MAX * NODES };
static const double nodes[NODES] = {-REACH, -3, -1.4, 0, 1.4, 3, REACH};
/* The points of one interval, side by side. */
typedef double v4 __attribute__((vector_size(32)));
static const v4 points = {-0.8611363115940526, -0.3399810435848563, 0.3399810435848563,
                          0.8611363115940526};
static const v4 weights = {0.3478548451374538, 0.6521451548625461, 0.6521451548625461,
                           0.3478548451374538};

struct contest {
    uint32_t count; /* of those that can win */
    uint32_t model[METALLM_MODELS_MAX];
    double mean[METALLM_MODELS_MAX], sd[METALLM_MODELS_MAX];
    double precision[METALLM_MODELS_MAX], won[METALLM_MODELS_MAX]; /* precision: 1 / sd */
};

typedef int64_t i4 __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline))

/* mask's lanes are all ones or zero. */
INLINE void choose(v4 *out, const i4 *mask, const v4 *yes, const v4 *no)
{
    *out = (v4)(((i4)*yes & *mask) | ((i4)*no & ~*mask));
}

/* exp(x) for -690 <= x <= 0, relative error below 1e-9: x = n log 2 + r, Taylor in r. */
INLINE void exponential(const v4 *x, v4 *out)
{
    const double magic = 0x1.8p52; /* its last bits are whole numbers */
    const v4 shifted = *x * 1.4426950408889634 + magic, n = shifted - magic;
    const v4 r = (*x - n * 0.693145751953125) - n * 1.42860682030941723e-06;
    v4 e = r * (1. / 40320) + 1. / 5040;
    e = e * r + 1. / 720;
    e = e * r + 1. / 120;
    e = e * r + 1. / 24;
    e = e * r + 1. / 6;
    e = e * r + 0.5;
    e = e * r + 1;
    e = e * r + 1;
    *out = (v4)((i4)e + ((i4)shifted << 52)); /* times 2^n */
}

/* Phi and phi of one exponential: Abramowitz and Stegun 26.2.17, |error| < 7.5e-8. */
INLINE void cumulative(const v4 *z, v4 *below, v4 *density)
{
    const v4 size = (v4)((i4)*z & INT64_MAX), t = 1 / (1 + 0.2316419 * size);
    const v4 least = {-690, -690, -690, -690};
    v4 square = -0.5 * *z * *z;
    const i4 is_near = square > least, is_above = *z >= 0 * least;
    choose(&square, &is_near, &square, &least);
    exponential(&square, density);
    *density *= 0.3989422804014327;
    const v4 tail = *density * t *
                    (0.319381530 +
                     t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    const v4 rest = 1 - tail;
    choose(below, &is_above, &rest, &tail);
}

/* Adds what every model wins in one interval: its density times the chances of all before it in the
 * list and all behind it to be below. */
INLINE void add_interval_body(struct contest *c, double middle, double half)
{
    v4 below[METALLM_MODELS_MAX], won[METALLM_MODELS_MAX];
    const v4 x = middle + half * points;
    v4 before = half * weights, behind = {1, 1, 1, 1};
    for (uint32_t i = 0; i < c->count; i++) {
        const v4 z = (x - c->mean[i]) * c->precision[i];
        v4 density;
        cumulative(&z, &below[i], &density);
        won[i] = density * c->precision[i] * before;
        before *= below[i];
    }
    for (uint32_t i = c->count; i-- > 0;) {
        won[i] *= behind;
        behind *= below[i];
        c->won[i] += (won[i][0] + won[i][1]) + (won[i][2] + won[i][3]);
    }
}

__attribute__((target("avx2,fma"))) static void add_interval_avx2(struct contest *c, double middle,
                                                                  double half)
{
    add_interval_body(c, middle, half);
}

static void add_interval(struct contest *c, double middle, double half)
{
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        add_interval_avx2(c, middle, half);
    else
        add_interval_body(c, middle, half);
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

/* The least deviation of those whose reach meets [low, high]: how fine the nodes have to be there.
 */
static double width_between(const struct contest *c, double low, double high)
{
    double width = HUGE_VAL;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->mean[i] + REACH * c->sd[i] > low && c->mean[i] - REACH * c->sd[i] < high)
            width = fmin(width, c->sd[i]);
    return width;
}

/* Drops nodes where the models' own stand closer than any of them needs; returns how many stay. */
static size_t thin(const struct contest *c, double *at, size_t n)
{
    size_t kept = 1;
    for (size_t i = 1; i + 1 < n; i++)
        if (at[i + 1] - at[kept - 1] > SPACING * width_between(c, at[kept - 1], at[i + 1]))
            at[kept++] = at[i];
    at[kept++] = at[n - 1];
    return kept;
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
    n = thin(c, at, n);
    for (size_t i = 0; i + 1 < n; i++) {
        const double half = (at[i + 1] - at[i]) / 2, middle = (at[i + 1] + at[i]) / 2;
        if (half > 0)
            add_interval(c, middle, half);
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
        c->precision[c->count] = 1 / sd;
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
