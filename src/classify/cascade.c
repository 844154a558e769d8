/* SPDX-License-Identifier: Apache-2.0
 * cascade.c - see cascade.h. */
#include "classify/cascade.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define RAW_EDGE     1e-4
#define STEPS_MAX    50
#define OFFSET_VAR   4.0 /* of the prior; the slope's is 1 */
#define ROUNDS_MAX   20
#define KEEP_NOTHING 2.0 /* above every chance */

/* ---- Confidence. ---- */

static double logit_of(double raw)
{
    const double c = raw < RAW_EDGE ? RAW_EDGE : raw > 1 - RAW_EDGE ? 1 - RAW_EDGE : raw;
    return log(c / (1 - c));
}

static double sigmoid(double t)
{
    return t >= 0 ? 1 / (1 + exp(-t)) : exp(t) / (1 + exp(t));
}

struct line {
    double slope, offset;
};

/* The logarithm of the posterior, but for a constant. */
static double merit(const struct metallm__confidence_seen *seen, uint32_t count, struct line at)
{
    double sum = -(at.slope - 1) * (at.slope - 1) / 2 - at.offset * at.offset / (2 * OFFSET_VAR);
    for (uint32_t i = 0; i < count; i++) {
        if (isnan(seen[i].raw))
            continue;
        const double t = at.slope * logit_of(seen[i].raw) + at.offset,
                     signed_t = seen[i].is_right ? t : -t;
        sum -= signed_t > 0 ? log1p(exp(-signed_t)) : log1p(exp(signed_t)) - signed_t;
    }
    return sum;
}

/* One step of Newton's, from first and second derivatives; with is_flat the slope stays 0. */
static struct line newton(const struct metallm__confidence_seen *seen, uint32_t count,
                          struct line at, bool is_flat)
{
    double gs = 1 - at.slope, go = -at.offset / OFFSET_VAR, ss = 1, oo = 1 / OFFSET_VAR, so = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (isnan(seen[i].raw))
            continue;
        const double x = logit_of(seen[i].raw), p = sigmoid(at.slope * x + at.offset),
                     left = (seen[i].is_right ? 1 : 0) - p, w = p * (1 - p);
        gs += left * x, go += left;
        ss += w * x * x, oo += w, so += w * x;
    }
    if (is_flat)
        return (struct line){0, go / oo};
    const double det = ss * oo - so * so; /* > 0: the prior's part is */
    return (struct line){(gs * oo - go * so) / det, (go * ss - gs * so) / det};
}

static struct line climb(const struct metallm__confidence_seen *seen, uint32_t count, bool is_flat)
{
    struct line at = {is_flat ? 0 : 1, 0};
    double now = merit(seen, count, at);
    for (int step = 0; step < STEPS_MAX; step++) {
        const struct line way = newton(seen, count, at, is_flat);
        double share = 1, then = -INFINITY;
        struct line next = at;
        for (; share > 1e-6; share /= 2) {
            next = (struct line){at.slope + share * way.slope, at.offset + share * way.offset};
            then = merit(seen, count, next);
            if (then >= now)
                break;
        }
        if (!(then > now + 1e-12))
            break;
        at = next;
        now = then;
    }
    return at;
}

void metallm__confidence_fit(struct metallm__confidence *out,
                             const struct metallm__confidence_seen *seen, uint32_t count)
{
    uint32_t without = 0, right = 0;
    for (uint32_t i = 0; i < count; i++)
        if (isnan(seen[i].raw)) {
            without++;
            right += seen[i].is_right;
        }
    struct line at = climb(seen, count, false);
    if (at.slope < 0)
        at = climb(seen, count, true);
    *out = (struct metallm__confidence){.slope = at.slope,
                                        .offset = at.offset,
                                        .plain = (right + 1.0) / (without + 2.0),
                                        .count = count - without,
                                        .without = without};
}

double metallm__confidence_chance(const struct metallm__confidence *c, double raw)
{
    return isnan(raw) ? c->plain : sigmoid(c->slope * logit_of(raw) + c->offset);
}

/* ---- Thresholds. ---- */

/* What a cascade reaches on the learning texts: sums over the rows. */
struct reach {
    double right; /* expected: the chances of the answers that are kept */
    double usd;
};

struct bend { /* a row that comes to a stage: what is won and spent by going on from there */
    float chance;
    double right_more; /* chance further on, less chance here */
    double usd_more;
};

struct search {
    const struct metallm__cascade_lesson *lesson;
    double *mean_usd; /* of each LLM */
    struct bend *bends;
};

static const struct metallm__cascade_cell *cell_of(const struct search *s, uint32_t row,
                                                   uint32_t llm)
{
    return &s->lesson->cells[(size_t)row * s->lesson->llms + llm];
}

static bool is_better(const struct search *s, struct reach a, struct reach b) /* than b */
{
    const struct metallm__cascade_lesson *l = s->lesson;
    if (isnan(l->target)) {
        const double won = a.right - l->money * a.usd, had = b.right - l->money * b.usd;
        return won > had || (won == had && a.usd < b.usd);
    }
    const double least = l->target * l->rows - 1e-9;
    const bool is_enough = a.right >= least, was_enough = b.right >= least;
    if (is_enough != was_enough)
        return is_enough;
    if (is_enough)
        return a.usd < b.usd || (a.usd == b.usd && a.right > b.right);
    return a.right > b.right || (a.right == b.right && a.usd < b.usd);
}

/* What the stages from `stage` on make of a row. */
static struct reach walk(const struct search *s, const struct metallm__cascade *c, uint32_t row,
                         uint32_t stage)
{
    struct reach r = {0, 0};
    for (; stage < c->count; stage++) {
        const struct metallm__cascade_cell *cell = cell_of(s, row, c->llm[stage]);
        r.usd += (double)cell->usd;
        if (metallm__cascade_keeps(c, stage, (double)cell->chance)) {
            r.right = (double)cell->chance;
            break;
        }
    }
    return r;
}

static struct reach reach_of(const struct search *s, const struct metallm__cascade *c)
{
    struct reach sum = {0, 0};
    for (uint32_t row = 0; row < s->lesson->rows; row++) {
        const struct reach r = walk(s, c, row, 0);
        sum.right += r.right;
        sum.usd += r.usd;
    }
    return sum;
}

static int by_chance(const void *a, const void *b) /* falling */
{
    const float x = ((const struct bend *)a)->chance, y = ((const struct bend *)b)->chance;
    return (x < y) - (x > y);
}

static bool comes_to(const struct search *s, const struct metallm__cascade *c, uint32_t row,
                     uint32_t stage)
{
    for (uint32_t i = 0; i < stage; i++)
        if (metallm__cascade_keeps(c, i, (double)cell_of(s, row, c->llm[i])->chance))
            return false;
    return true;
}

/* The best threshold of one stage while the others stand. All rows that come to it are sorted by
 * chance; first all go on, then one more after the other is kept. */
static bool improve(const struct search *s, struct metallm__cascade *c, uint32_t stage,
                    struct reach *best)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < s->lesson->rows; row++) {
        if (!comes_to(s, c, row, stage))
            continue;
        const struct metallm__cascade_cell *here = cell_of(s, row, c->llm[stage]);
        const struct reach further = walk(s, c, row, stage + 1);
        s->bends[n++] = (struct bend){.chance = here->chance,
                                      .right_more = further.right - (double)here->chance,
                                      .usd_more = further.usd};
    }
    qsort(s->bends, n, sizeof *s->bends, by_chance);
    const double before = c->keep[stage];
    c->keep[stage] = KEEP_NOTHING;
    struct reach at = reach_of(s, c);
    double keep = before;
    bool is_changed = false;
    for (uint32_t i = 0; i <= n; i++) {
        if ((i == 0 || i == n || s->bends[i].chance < s->bends[i - 1].chance) &&
            is_better(s, at, *best)) {
            *best = at;
            is_changed = true;
            keep = i == 0   ? KEEP_NOTHING
                   : i == n ? 0
                            : ((double)s->bends[i - 1].chance + (double)s->bends[i].chance) / 2;
        }
        if (i < n) {
            at.right -= s->bends[i].right_more;
            at.usd -= s->bends[i].usd_more;
        }
    }
    c->keep[stage] = keep;
    return is_changed;
}

/* Thresholds for these LLMs, in order of their dollars; what they reach. */
static struct reach settle(const struct search *s, struct metallm__cascade *c)
{
    for (uint32_t i = 1; i < c->count; i++) /* few: by insertion */
        for (uint32_t k = i; k > 0 && s->mean_usd[c->llm[k]] < s->mean_usd[c->llm[k - 1]]; k--) {
            const uint32_t llm = c->llm[k];
            c->llm[k] = c->llm[k - 1];
            c->llm[k - 1] = llm;
        }
    for (uint32_t i = 0; i < c->count; i++)
        c->keep[i] = i + 1 == c->count || isnan(s->lesson->target) ? 0 : s->lesson->target;
    struct reach best = reach_of(s, c);
    bool is_changed = true;
    for (int round = 0; is_changed && round < ROUNDS_MAX; round++) {
        is_changed = false;
        for (uint32_t stage = c->count - 1; stage-- > 0;)
            is_changed |= improve(s, c, stage, &best);
    }
    return reach_of(s, c);
}

static struct metallm__cascade without(const struct metallm__cascade *c, uint32_t stage)
{
    struct metallm__cascade less = {0};
    for (uint32_t i = 0; i < c->count; i++)
        if (i != stage)
            less.llm[less.count++] = c->llm[i];
    return less;
}

/* All LLMs first; then whichever can be left out with profit is, one by one. */
static void eliminate(const struct search *s, struct metallm__cascade *out)
{
    struct metallm__cascade best = {.count = s->lesson->llms};
    for (uint32_t i = 0; i < best.count; i++)
        best.llm[i] = i;
    struct reach reached = settle(s, &best);
    for (bool goes_on = true; goes_on && best.count > 1;) {
        const struct metallm__cascade from = best;
        goes_on = false;
        for (uint32_t i = 0; i < from.count; i++) {
            struct metallm__cascade less = without(&from, i);
            const struct reach r = settle(s, &less);
            if (!is_better(s, reached, r)) { /* as good with fewer */
                best = less;
                reached = r;
                goes_on = true;
            }
        }
    }
    const double rows = s->lesson->rows;
    best.expected = reached.right / rows;
    best.usd = reached.usd / rows;
    best.is_target_met =
        isnan(s->lesson->target) || reached.right >= s->lesson->target * rows - 1e-9;
    *out = best;
}

static void count_shares(const struct search *s, struct metallm__cascade *c)
{
    for (uint32_t row = 0; row < s->lesson->rows; row++) {
        uint32_t stage = 0;
        while (!metallm__cascade_keeps(c, stage, (double)cell_of(s, row, c->llm[stage])->chance))
            stage++;
        c->share[stage] += 1.0 / s->lesson->rows;
        c->accuracy += cell_of(s, row, c->llm[stage])->is_right ? 1.0 / s->lesson->rows : 0;
    }
}

static int check(const struct metallm__cascade_lesson *l, metallm_error *err)
{
    if (l->llms < 1 || l->llms > METALLM__CASCADE_STAGES_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a cascade of %u LLMs: at most %u", l->llms,
                                  METALLM__CASCADE_STAGES_MAX);
    if (l->rows < METALLM__CASCADE_ROWS_LEAST)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "%u texts to learn thresholds from: at least %u", l->rows,
                                  METALLM__CASCADE_ROWS_LEAST);
    if (isnan(l->target) ? !(l->money >= 0 && isfinite(l->money))
                         : !(l->target >= 0 && l->target <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "a target of %g, money %g: out of range",
                                  l->target, l->money);
    for (size_t i = 0; i < (size_t)l->rows * l->llms; i++)
        if (!(l->cells[i].chance >= 0 && l->cells[i].chance <= 1) ||
            !(l->cells[i].usd >= 0 && isfinite(l->cells[i].usd)))
            return metallm__error_set(err, METALLM_EINVAL, "a chance or a price is out of range");
    return METALLM_OK;
}

int metallm__cascade_learn(struct metallm__cascade *out,
                           const struct metallm__cascade_lesson *lesson, metallm_error *err)
{
    struct metallm__cascade_lesson cut = *lesson;
    if (cut.rows > METALLM__CASCADE_ROWS_MAX)
        cut.rows = METALLM__CASCADE_ROWS_MAX;
    int rc = check(&cut, err);
    if (rc != METALLM_OK)
        return rc;
    double mean_usd[METALLM__CASCADE_STAGES_MAX] = {0};
    struct search s = {
        .lesson = &cut, .mean_usd = mean_usd, .bends = metallm__alloc(cut.rows, sizeof *s.bends)};
    if (s.bends == NULL)
        return metallm__error_nomem(err, "a cascade");
    for (uint32_t row = 0; row < cut.rows; row++)
        for (uint32_t llm = 0; llm < cut.llms; llm++)
            mean_usd[llm] += (double)cell_of(&s, row, llm)->usd / cut.rows;
    eliminate(&s, out);
    count_shares(&s, out);
    metallm__free(s.bends);
    return METALLM_OK;
}

void metallm__cascade_plain(struct metallm__cascade *out, const double *usd, uint32_t llms,
                            double keep)
{
    METALLM_REQUIRE(llms >= 1 && llms <= METALLM__CASCADE_STAGES_MAX);
    *out = (struct metallm__cascade){.count = llms, .expected = NAN, .accuracy = NAN, .usd = NAN};
    for (uint32_t i = 0; i < llms; i++) {
        uint32_t at = i; /* kept in order; unknown dollars come last */
        for (; at > 0 && (usd[i] < usd[out->llm[at - 1]] || isnan(usd[out->llm[at - 1]])); at--)
            out->llm[at] = out->llm[at - 1];
        out->llm[at] = i;
        out->keep[i] = i + 1 < llms ? keep : 0;
        out->share[i] = NAN;
    }
}

bool metallm__cascade_keeps(const struct metallm__cascade *c, uint32_t stage, double chance)
{
    return stage + 1 >= c->count || chance >= c->keep[stage];
}
