/* SPDX-License-Identifier: Apache-2.0
 * distill.c - see distill.h: from token vectors and a corpus to an 8-bit table. */
#include "encoder/distill.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/dense.h"

#define BLOCK 512u /* corpus texts whose vectors are held at a time */

/* counts of tokens over the corpus, read as the encoder will read the texts */
static int count_tokens(const struct metallm__tokenizer *t, const struct metallm__corpus *corpus,
                        uint64_t *counts, struct metallm__distill_report *report,
                        metallm_error *err)
{
    uint32_t ids[METALLM__STATIC_TOKENS];
    for (size_t i = 0; i < corpus->count; i++) {
        bool is_cut = false;
        size_t n = metallm__tokenize_head(t, corpus->texts[i], corpus->lens[i], ids,
                                          METALLM__STATIC_TOKENS, &is_cut);
        for (size_t k = 0; k < n; k++)
            report->corpus_distinct += counts[ids[k]]++ == 0;
        report->corpus_tokens += n;
        report->corpus_texts += n > 0;
    }
    if (report->corpus_tokens == 0)
        return metallm__error_set(err, METALLM_EINVAL, "the corpus holds no text");
    return METALLM_OK;
}

/* z (count x dim) = centred vectors in the first principal components; rows of zeros stay so. */
static int principal(float *vectors, size_t count, uint32_t width, uint32_t dim, float *z,
                     double *kept, metallm_error *err)
{
    size_t used = 0;
    double *mean = metallm__calloc(width, sizeof *mean);
    double *gram = metallm__alloc((size_t)width * width, sizeof *gram);
    double *values = metallm__alloc(dim, sizeof *values);
    double *axes = metallm__alloc((size_t)dim * width, sizeof *axes);
    float *basis = metallm__alloc((size_t)dim * width, sizeof *basis);
    int rc = METALLM_ENOMEM;
    if (mean == NULL || gram == NULL || values == NULL || axes == NULL || basis == NULL) {
        metallm__error_nomem(err, "principal components");
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        const float *v = vectors + i * width;
        double sum = 0;
        for (uint32_t k = 0; k < width; k++)
            sum += fabs((double)v[k]);
        if (!(sum > 0))
            continue;
        used++;
        for (uint32_t k = 0; k < width; k++)
            mean[k] += v[k];
    }
    for (size_t i = 0; i < count; i++) {
        float *v = vectors + i * width, sum = 0;
        for (uint32_t k = 0; k < width; k++)
            sum += fabsf(v[k]);
        for (uint32_t k = 0; k < width && sum > 0; k++)
            v[k] -= (float)(mean[k] / (double)used);
    }
    rc = metallm__gram(vectors, count, width, NULL, NULL, gram, err);
    if (rc != METALLM_OK)
        goto out;
    double all = 0, first = 0;
    for (uint32_t k = 0; k < width; k++)
        all += gram[(size_t)k * width + k];
    rc = metallm__eigen_top(gram, width, dim, values, axes, err);
    if (rc != METALLM_OK)
        goto out;
    for (uint32_t k = 0; k < dim; k++)
        first += values[k];
    *kept = all > 0 ? first / all : 1;
    for (size_t k = 0; k < (size_t)dim * width; k++)
        basis[k] = (float)axes[k];
    metallm__mul_nt(vectors, basis, z, count, dim, width);
out:
    metallm__free(basis);
    metallm__free(axes);
    metallm__free(values);
    metallm__free(gram);
    metallm__free(mean);
    return rc;
}

/* v_s = mean over the text's tokens of weight * z: SIF's formula before the common component. */
static size_t text_vectors(const struct metallm__tokenizer *t, const struct metallm__corpus *corpus,
                           size_t from, const float *z, uint32_t dim, float *out)
{
    uint32_t ids[METALLM__STATIC_TOKENS];
    size_t made = 0;
    for (size_t i = from; i < corpus->count && i < from + BLOCK; i++) {
        bool is_cut = false;
        size_t n = metallm__tokenize_head(t, corpus->texts[i], corpus->lens[i], ids,
                                          METALLM__STATIC_TOKENS, &is_cut);
        if (n == 0)
            continue;
        float *v = out + made++ * dim;
        memset(v, 0, dim * sizeof *v);
        for (size_t k = 0; k < n; k++)
            for (uint32_t d = 0; d < dim; d++)
                v[d] += z[(size_t)ids[k] * dim + d] / (float)n;
    }
    return made;
}

/* z -= (z'u) u with u the first singular direction of the corpus's text vectors. */
static int remove_common(const struct metallm__tokenizer *t, const struct metallm__corpus *corpus,
                         float *z, uint32_t dim, metallm_error *err)
{
    size_t area = (size_t)dim * dim;
    float *vectors = metallm__alloc((size_t)BLOCK * dim, sizeof *vectors);
    double *gram = metallm__alloc(area, sizeof *gram), *sum = metallm__calloc(area, sizeof *sum);
    double *axis = metallm__alloc(dim, sizeof *axis), value = 0;
    int rc = METALLM_OK;
    if (vectors == NULL || gram == NULL || sum == NULL || axis == NULL)
        rc = metallm__error_nomem(err, "a common component");
    for (size_t from = 0; from < corpus->count && rc == METALLM_OK; from += BLOCK) {
        size_t made = text_vectors(t, corpus, from, z, dim, vectors);
        if (made == 0)
            continue;
        rc = metallm__gram(vectors, made, dim, NULL, NULL, gram, err);
        for (size_t k = 0; k < area && rc == METALLM_OK; k++)
            sum[k] += gram[k];
    }
    if (rc == METALLM_OK)
        rc = metallm__eigen_top(sum, dim, 1, &value, axis, err);
    for (size_t i = 0; i < t->vocab.count && rc == METALLM_OK; i++) {
        double dot = 0;
        for (uint32_t d = 0; d < dim; d++)
            dot += z[i * dim + d] * axis[d];
        for (uint32_t d = 0; d < dim; d++)
            z[i * dim + d] -= (float)(dot * axis[d]);
    }
    metallm__free(axis);
    metallm__free(sum);
    metallm__free(gram);
    metallm__free(vectors);
    return rc;
}

/* 8 bits: a column's greatest number is 127. */
static void quantize(const float *z, size_t count, uint32_t dim, int8_t *rows, float *scales)
{
    for (uint32_t d = 0; d < dim; d++) {
        float high = 0;
        for (size_t i = 0; i < count; i++)
            high = fmaxf(high, fabsf(z[i * dim + d]));
        scales[d] = high / 127;
        for (size_t i = 0; i < count; i++)
            rows[i * dim + d] = (int8_t)(high > 0 ? lroundf(z[i * dim + d] / scales[d]) : 0);
    }
}

static int check_options(const struct metallm__distill_options *opts, uint32_t width, uint32_t dim,
                         double a, metallm_error *err)
{
    (void)opts;
    if (dim > width || dim > METALLM__STATIC_DIM_MAX)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "%u dimensions from token vectors of %u (the limit is %u)", dim,
                                  width, METALLM__STATIC_DIM_MAX);
    if (!(a > 0 && a <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "the weights' a is %g, not in (0, 1]", a);
    return METALLM_OK;
}

int metallm__distill_rows(float *vectors, uint32_t width,
                          const struct metallm__tokenizer *tokenizer,
                          const struct metallm__corpus *corpus,
                          const struct metallm__distill_options *opts, int8_t *rows, float *scales,
                          struct metallm__distill_report *report, metallm_error *err)
{
    uint32_t count = tokenizer->vocab.count;
    uint32_t dim = opts->dim != 0 ? opts->dim : METALLM__DISTILL_DIM;
    double a = opts->sif_a != 0 ? opts->sif_a : METALLM__DISTILL_SIF_A;
    int rc = check_options(opts, width, dim, a, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__distill_report found = {.tokens = count, .dim = dim};
    uint64_t *counts = metallm__calloc(count, sizeof *counts);
    float *z = metallm__alloc((size_t)count * dim, sizeof *z);
    if (counts == NULL || z == NULL)
        rc = metallm__error_nomem(err, "a static encoder's table");
    if (rc == METALLM_OK)
        rc = count_tokens(tokenizer, corpus, counts, &found, err);
    if (rc == METALLM_OK)
        rc = principal(vectors, count, width, dim, z, &found.kept, err);
    for (size_t i = 0; i < count && rc == METALLM_OK; i++) {
        double p = (double)counts[i] / (double)found.corpus_tokens, weight = a / (a + p);
        for (uint32_t d = 0; d < dim; d++)
            z[i * dim + d] *= (float)weight;
    }
    if (rc == METALLM_OK)
        rc = remove_common(tokenizer, corpus, z, dim, err);
    if (rc == METALLM_OK) {
        quantize(z, count, dim, rows, scales);
        *report = found;
    }
    metallm__free(z);
    metallm__free(counts);
    return rc;
}
