/* SPDX-License-Identifier: Apache-2.0
 * tier.c - see tier.h. */
#include "router/tier.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

const float metallm__tier_dials[METALLM__TIER_DIALS] = {
    0, 0.003f, 0.01f, 0.02f, 0.05f, 0.1f, 0.15f, 0.2f, 0.3f, 0.5f, 0.7f, 1, 2};

static double lead_to_target(const struct metallm__deciding *d, const metallm_estimate *e,
                             const float *scores)
{
    double least = INFINITY;
    for (uint32_t m = 0; m < d->models; m++)
        if (!isnan(scores[m]))
            least = fmin(least, fabs((double)e[m].quality - (double)d->constraints.target));
    return least;
}

double metallm__tier_lead(const struct metallm__deciding *d, const metallm_estimate *coarse)
{
    float scores[METALLM_MODELS_MAX];
    metallm__decide_scores(d, coarse, scores);
    double first = -INFINITY, second = -INFINITY;
    for (uint32_t m = 0; m < d->models; m++) {
        double s = (double)scores[m];
        if (s > first) {
            second = first;
            first = s;
        } else if (s > second) {
            second = s;
        }
    }
    double lead = isfinite(second) ? first - second : INFINITY;
    return d->constraints.target > 0 ? fmin(lead_to_target(d, coarse, scores), INFINITY) : lead;
}

/* A row at a dial: what the coarse choice loses against the fine one, by the fine estimates. */
struct pair {
    double lead, lost;
};

static int by_falling_lead(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return x->lead > y->lead ? -1 : x->lead < y->lead;
}

static size_t fill(const struct metallm__tier_rows *rows, struct pair *pairs)
{
    size_t count = 0;
    uint32_t dials = rows->scale > 0 ? METALLM__TIER_DIALS : 1;
    for (uint32_t k = 0; k < dials; k++) {
        struct metallm__deciding d = {
            .constraints = {.dial = metallm__tier_dials[k]}, rows->models, rows->scale};
        for (size_t i = 0; i < rows->n; i++) {
            enum metallm_reason reason;
            float scores[METALLM_MODELS_MAX];
            const metallm_estimate *coarse = rows->coarse + i * rows->models;
            const metallm_estimate *fine = rows->fine + i * rows->models;
            uint32_t a = metallm__decide_greedy(&d, coarse, &reason);
            uint32_t b = metallm__decide_greedy(&d, fine, &reason);
            metallm__decide_scores(&d, fine, scores);
            pairs[count++] = (struct pair){metallm__tier_lead(&d, coarse),
                                           (double)scores[b] - (double)scores[a]};
        }
    }
    return count;
}

int metallm__tier_choose(const struct metallm__tier_rows *rows, double loss_max,
                         struct metallm__tier_choice *out, metallm_error *err)
{
    struct pair *pairs = metallm__alloc(rows->n * METALLM__TIER_DIALS, sizeof *pairs);
    if (pairs == NULL)
        return metallm__error_nomem(err, "a margin's choice");
    size_t count = fill(rows, pairs), kept = 0;
    double sum = 0, bound = loss_max * (double)count;
    struct metallm__tier_choice best = {.margin = INFINITY, .share = 1, .lost = 0};
    qsort(pairs, count, sizeof *pairs, by_falling_lead);
    while (kept < count && sum <= bound) {
        double lead = pairs[kept].lead;
        for (; kept < count && pairs[kept].lead == lead; kept++) /* equal leads stand or fall */
            sum += pairs[kept].lost;
        if (sum <= bound)
            best = (struct metallm__tier_choice){lead, 1 - (double)kept / (double)count,
                                                 sum / (double)count};
    }
    metallm__free(pairs);
    if (best.share <= 0)
        best.margin = 0; /* every coarse decision may stand, also one with a smaller lead */
    *out = best;
    return METALLM_OK;
}
