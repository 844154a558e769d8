/* SPDX-License-Identifier: Apache-2.0
 * calibration.c - see calibration.h. */
#include "math/calibration.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

struct pair {
    float predicted, score;
};

static int by_prediction(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    if (p->predicted != q->predicted)
        return p->predicted < q->predicted ? -1 : 1;
    return (p->score > q->score) - (p->score < q->score);
}

/* pairs: sorted, one bin. Adds the bin to the record. */
static void close_bin(struct metallm__calibration *c, const struct pair *pairs, size_t count)
{
    double predicted = 0, observed = 0, square = 0;
    for (size_t i = 0; i < count; i++) {
        double p = (double)pairs[i].predicted, s = (double)pairs[i].score;
        predicted += p;
        observed += s;
        square += (p - s) * (p - s);
    }
    double n = (double)count, gap = (predicted - observed) / n;
    double variance = fmax(square / n - gap * gap, 0); /* of the residuals */
    c->brier += square;
    c->ece += fabs(gap) * n;
    c->noise += sqrt(2 / 3.14159265358979323846 * variance / n) * n;
    c->bins[c->bin_count++] = (struct metallm__bin){predicted / n, observed / n, count};
}

int metallm__calibrate(const float *predicted, const float *score, size_t count,
                       struct metallm__calibration *out, metallm_error *err)
{
    struct metallm__calibration c = {0};
    struct pair *pairs = metallm__alloc(count, sizeof *pairs);
    if (pairs == NULL)
        return metallm__error_nomem(err, "calibration");
    for (size_t i = 0; i < count; i++)
        if (!isnan(predicted[i]) && !isnan(score[i]))
            pairs[c.count++] = (struct pair){predicted[i], score[i]};
    qsort(pairs, c.count, sizeof *pairs, by_prediction);
    size_t start = 0;
    for (size_t i = 1; i <= c.count; i++) {
        size_t due = c.count * (c.bin_count + 1) / METALLM__CALIBRATION_BINS;
        if (i == c.count || (i >= due && pairs[i].predicted != pairs[i - 1].predicted)) {
            close_bin(&c, pairs + start, i - start);
            start = i;
        }
    }
    metallm__free(pairs);
    double n = c.count > 0 ? (double)c.count : NAN;
    c.brier /= n;
    c.ece /= n;
    c.noise /= n;
    *out = c;
    return METALLM_OK;
}
