/* SPDX-License-Identifier: Apache-2.0
 * bootstrap.c - see bootstrap.h. */
#include "eval/bootstrap.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

int metallm__gains_init(struct metallm__gains *g, size_t n, size_t policies, metallm_error *err)
{
    *g = (struct metallm__gains){.n = n, .policies = policies};
    g->score = metallm__alloc(n, policies * sizeof *g->score);
    g->cost = metallm__alloc(n, policies * sizeof *g->cost);
    if (g->score == NULL || g->cost == NULL) {
        metallm__gains_fini(g);
        return metallm__error_nomem(err, "the table of policies");
    }
    for (size_t i = 0; i < n * policies; i++)
        g->score[i] = g->cost[i] = NAN;
    return METALLM_OK;
}

void metallm__gains_fini(struct metallm__gains *g)
{
    metallm__free(g->score);
    metallm__free(g->cost);
    *g = (struct metallm__gains){0};
}

void metallm__gains_set(struct metallm__gains *g, size_t policy, const struct metallm__truth *t,
                        const uint16_t *choice)
{
    METALLM_REQUIRE(t->n == g->n && policy < g->policies);
    for (size_t i = 0; i < g->n; i++)
        if (choice[i] != METALLM__NO_MODEL) {
            g->score[i * g->policies + policy] = t->score[i * t->models + choice[i]];
            g->cost[i * g->policies + policy] = t->cost[i * t->models + choice[i]];
        }
}

/* Per column: the sum of the known values and how many there are. Scores first, then costs. */
struct sums {
    double *total, *known; /* 2 x policies */
    size_t policies;
};

static int sums_init(struct sums *s, size_t policies, metallm_error *err)
{
    s->policies = policies;
    s->total = metallm__calloc(policies, 4 * sizeof *s->total);
    if (s->total == NULL)
        return metallm__error_nomem(err, "sums of a resample");
    s->known = s->total + 2 * policies;
    return METALLM_OK;
}

static void sums_clear(struct sums *s)
{
    memset(s->total, 0, s->policies * 4 * sizeof *s->total);
}

static void add_columns(double *restrict total, double *restrict known, const float *restrict row,
                        size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        int is_known = row[c] == row[c]; /* false for NaN */
        total[c] += is_known ? (double)row[c] : 0.0;
        known[c] += is_known ? 1.0 : 0.0;
    }
}

static void add_query(struct sums *s, const struct metallm__gains *g, size_t i)
{
    size_t p = s->policies;
    add_columns(s->total, s->known, g->score + i * p, p);
    add_columns(s->total + p, s->known + p, g->cost + i * p, p);
}

static void read_points(const struct sums *s, struct metallm__point *out)
{
    for (size_t p = 0, c = s->policies; p < s->policies; p++, c++) {
        out[p].quality = s->known[p] > 0 ? s->total[p] / s->known[p] : NAN;
        out[p].cost = s->known[c] > 0 ? s->total[c] / s->known[c] : NAN;
    }
}

int metallm__gains_means(const struct metallm__gains *g, struct metallm__point *out,
                         metallm_error *err)
{
    struct sums sums;
    int rc = sums_init(&sums, g->policies, err);
    if (rc != METALLM_OK)
        return rc;
    for (size_t i = 0; i < g->n; i++)
        add_query(&sums, g, i);
    read_points(&sums, out);
    metallm__free(sums.total);
    return METALLM_OK;
}

int metallm__bootstrap(const struct metallm__gains *g, uint64_t seed, size_t resamples,
                       const metallm_progress *progress, struct metallm__point *out,
                       metallm_error *err)
{
    METALLM_REQUIRE(g->n > 0 && g->n <= UINT32_MAX);
    struct sums sums;
    int rc = sums_init(&sums, g->policies, err);
    if (rc != METALLM_OK)
        return rc;
    for (size_t b = 0; rc == METALLM_OK && b < resamples; b++) {
        metallm_rng rng;
        metallm__rng_stream(&rng, seed, b);
        sums_clear(&sums);
        for (size_t draw = 0; draw < g->n; draw++)
            add_query(&sums, g, metallm__rng_below(&rng, (uint32_t)g->n));
        read_points(&sums, out + b * g->policies);
        if (progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "resampling", b + 1, resamples) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "stopped while resampling");
    }
    metallm__free(sums.total);
    return rc;
}

struct metallm__interval metallm__interval_95(double *values, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            values[kept++] = values[i];
    qsort(values, kept, sizeof *values, metallm__eval_compare_double);
    return (struct metallm__interval){metallm__eval_quantile(values, kept, 0.025),
                                      metallm__eval_quantile(values, kept, 0.975)};
}
