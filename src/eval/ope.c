/* SPDX-License-Identifier: Apache-2.0
 * ope.c - see ope.h. Two passes over the rows: sums, then squares about the means. */
#include "eval/ope.h"

#include <math.h>

struct sum { /* Neumaier's compensated sum */
    double total, lost;
};

static void add(struct sum *s, double v)
{
    double t = s->total + v;
    s->lost += fabs(s->total) >= fabs(v) ? (s->total - t) + v : (v - t) + s->total;
    s->total = t;
}

static double total(const struct sum *s)
{
    return s->total + s->lost;
}

double metallm__student_975(double df)
{
    if (!(df >= 1))
        return INFINITY;
    if (df < 2) /* the exact quantile at 1; between 1 and 2 it falls, so this is cautious */
        return 12.7062047364;
    if (df < 3)
        return 4.3026527297;
    const double z = 1.959963984540054, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z,
                 z9 = z7 * z * z;
    double g1 = (z3 + z) / 4, g2 = (5 * z5 + 16 * z3 + 3 * z) / 96,
           g3 = (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / 384,
           g4 = (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / 92160;
    return z + (g1 + (g2 + (g3 + g4 / df) / df) / df) / df;
}

static double weight_of(const struct metallm__ope_row *r, double clip)
{
    return clip > 0 && r->weight > clip ? clip : r->weight;
}

static bool has_model(const struct metallm__ope_row *r)
{
    return isfinite(r->predicted) && isfinite(r->direct);
}

/* A row without a prediction counts as predicted 0: its term is then IPS's. */
static double dr_term(const struct metallm__ope_row *r, double w)
{
    return has_model(r) ? r->direct + w * (r->value - r->predicted) : w * r->value;
}

struct sums {
    struct sum w, w2, w4, wy, dr, y, direct;
    size_t modelled;
};

static void first_pass(const struct metallm__ope_row *rows, size_t n, double clip, struct sums *s,
                       struct metallm__ope_result *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct metallm__ope_row *r = &rows[i];
        double w = weight_of(r, clip);
        out->clipped += w < r->weight;
        out->matched += w > 0;
        out->max_weight = fmax(out->max_weight, w);
        add(&s->w, w);
        add(&s->w2, w * w);
        add(&s->w4, w * w * w * w);
        add(&s->wy, w * r->value);
        add(&s->y, r->value);
        add(&s->dr, dr_term(r, w));
        if (has_model(r)) {
            add(&s->direct, r->direct);
            s->modelled++;
        }
    }
}

struct squares { /* about the estimates */
    struct sum ips, snips, dr, gain, weight;
};

static struct metallm__ope_estimate interval(double value, double error, double t)
{
    bool is_known = isfinite(t) && isfinite(error);
    return (struct metallm__ope_estimate){value, is_known ? value - t * error : NAN,
                                          is_known ? value + t * error : NAN};
}

static double standard_error(const struct sum *squares, size_t n)
{
    return n > 1 ? sqrt(total(squares) / ((double)n - 1) / (double)n) : NAN;
}

static void second_pass(const struct metallm__ope_row *rows, size_t n, double clip,
                        const struct sums *s, struct metallm__ope_result *out)
{
    double count = (double)n, w = total(&s->w), ips = total(&s->wy) / count,
           snips = w > 0 ? total(&s->wy) / w : NAN, dr = total(&s->dr) / count,
           gain = (total(&s->dr) - total(&s->y)) / count, mass = w / count;
    struct squares q = {0};
    for (size_t i = 0; i < n; i++) {
        const struct metallm__ope_row *r = &rows[i];
        double weight = weight_of(r, clip), term = dr_term(r, weight), e;
        e = weight * r->value - ips;
        add(&q.ips, e * e);
        e = w > 0 ? weight * (r->value - snips) : 0;
        add(&q.snips, e * e);
        e = term - dr;
        add(&q.dr, e * e);
        e = term - r->value - gain;
        add(&q.gain, e * e);
        e = weight - mass;
        add(&q.weight, e * e);
    }
    double n_sigma = w > 0 ? total(&s->w2) * total(&s->w2) / total(&s->w4) : 0,
           t = metallm__student_975(n_sigma - 1);
    out->ips = interval(ips, standard_error(&q.ips, n), t);
    out->snips = interval(snips, w > 0 && n > 1 ? sqrt(total(&q.snips)) / w : NAN, t);
    out->dr = interval(dr, standard_error(&q.dr, n), t);
    out->gain = interval(gain, standard_error(&q.gain, n), t);
    double mass_error = standard_error(&q.weight, n);
    if (w > 0 && isfinite(mass_error) && fabs(mass - 1) > METALLM__OPE_MASS_SLACK + 4 * mass_error)
        out->warnings |= METALLM__OPE_MASS;
}

void metallm__ope(const struct metallm__ope_row *rows, size_t n, double clip,
                  struct metallm__ope_result *out)
{
    const struct metallm__ope_estimate unknown = {NAN, NAN, NAN};
    *out = (struct metallm__ope_result){.n = n,
                                        .mean_weight = NAN,
                                        .direct = NAN,
                                        .ips = unknown,
                                        .snips = unknown,
                                        .dr = unknown,
                                        .gain = unknown};
    struct sums s = {0};
    first_pass(rows, n, clip, &s, out);
    double w = total(&s.w);
    if (n > 0) {
        out->mean_weight = w / (double)n;
        out->ess = w > 0 ? w * w / total(&s.w2) : 0;
        second_pass(rows, n, clip, &s, out);
    }
    if (s.modelled == n && n > 0)
        out->direct = total(&s.direct) / (double)n;
    if (s.modelled == 0)
        out->warnings |= METALLM__OPE_NO_MODEL;
    if (out->matched == 0)
        out->warnings |= METALLM__OPE_NO_MATCH;
    if (out->ess < METALLM__OPE_ESS_LEAST)
        out->warnings |= METALLM__OPE_FEW;
    if (out->clipped > 0)
        out->warnings |= METALLM__OPE_CLIPPED;
}
