/* SPDX-License-Identifier: Apache-2.0
 * kernels_impl.h - the bodies of kernels.h over the vector of simd_*.h. Each kernels_ISA.c includes
 * a simd header, names its table KERNELS and KERNELS_NAME, includes this, and is compiled with the
 * flags of its instruction set. */
#include "encoder/kernels.h"
#include "encoder/simd_math.h"

#define QUERIES 4 /* query rows that attention does at once */

static void embed(float *x, const uint32_t *ids, const uint32_t *positions, uint32_t rows,
                  uint32_t columns, const float *word, const float *position, const float *type,
                  const struct metallm__norm *norm)
{
    for (uint32_t r = 0; r < rows; r++, x += columns) {
        const float *w = word + (size_t)ids[r] * columns;
        const float *p = position + (size_t)positions[r] * columns;
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(x + i, vf_load(w + i) + vf_load(p + i) + vf_load(type + i));
        normalise(x, columns, norm);
    }
}

static void add_bias(float *out, const float *c, const float *bias, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, c += columns)
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(out + i, vf_load(c + i) + vf_load(bias + i));
}

static void gelu(float *out, const float *c, const float *bias, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, out += columns, c += columns)
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(out + i, gelu_of(vf_load(c + i) + vf_load(bias + i)));
}

static void add_norm(float *x, const float *c, const float *bias, uint32_t rows, uint32_t columns,
                     const struct metallm__norm *norm)
{
    for (uint32_t r = 0; r < rows; r++, x += columns, c += columns) {
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(x + i, vf_load(x + i) + vf_load(c + i) + vf_load(bias + i));
        normalise(x, columns, norm);
    }
}

static void pool(float *out, const float *x, uint32_t rows, uint32_t columns)
{
    memset(out, 0, columns * sizeof *out);
    for (uint32_t r = 0; r < rows; r++, x += columns)
        for (uint32_t i = 0; i < columns; i += LANES)
            vf_store(out + i, vf_load(out + i) + vf_load(x + i));
    vf squares = vf_set(0);
    for (uint32_t i = 0; i < columns; i += LANES)
        squares = vf_fma(vf_load(out + i), vf_load(out + i), squares);
    float length = sqrtf(sum_of(squares));
    if (!(length > 0))
        return;
    for (uint32_t i = 0; i < columns; i += LANES)
        vf_store(out + i, vf_load(out + i) * vf_set(1.0f / length));
}

/* ---- attention ----
 * For a head of D columns and n keys, padded to a whole vector: keys turned to K^T (D x padded),
 * then QUERIES rows at a time: scores = q K^T / sqrt(D), softmax, context = scores V. */

static void turn_keys(float *turned, const float *keys, size_t stride, uint32_t rows,
                      uint32_t padded, uint32_t columns)
{
    for (uint32_t d = 0; d < columns; d++) {
        for (uint32_t r = 0; r < rows; r++)
            turned[(size_t)d * padded + r] = keys[r * stride + d];
        for (uint32_t r = rows; r < padded; r++)
            turned[(size_t)d * padded + r] = 0;
    }
}

static inline void score(float *scores, const float *turned, const float *const *q, uint32_t padded,
                         uint32_t columns, float scale)
{
    for (uint32_t j = 0; j < padded; j += LANES) {
        vf sum[QUERIES];
        for (int i = 0; i < QUERIES; i++)
            sum[i] = vf_set(0);
        for (uint32_t d = 0; d < columns; d++) {
            vf k = vf_load(turned + (size_t)d * padded + j);
            for (int i = 0; i < QUERIES; i++)
                sum[i] = vf_fma(vf_set(q[i][d]), k, sum[i]);
        }
        for (int i = 0; i < QUERIES; i++)
            vf_store(scores + (size_t)i * padded + j, sum[i] * vf_set(scale));
    }
}

/* Leaves exp(s - max) with zeros beyond rows; returns 1 / their sum. */
static inline float softmax(float *s, uint32_t rows, uint32_t padded)
{
    for (uint32_t j = rows; j < padded; j++)
        s[j] = -INFINITY;
    vf high = vf_load(s), sum = vf_set(0);
    for (uint32_t j = LANES; j < padded; j += LANES)
        high = vf_max(high, vf_load(s + j));
    vf top = vf_set(max_of(high));
    for (uint32_t j = 0; j < padded; j += LANES)
        vf_store(s + j, exp_of(vf_load(s + j) - top));
    for (uint32_t j = rows; j < padded; j++)
        s[j] = 0;
    for (uint32_t j = 0; j < padded; j += LANES)
        sum = sum + vf_load(s + j);
    return 1.0f / sum_of(sum);
}

/* context[i] (columns c..c+16) = factor[i] * sum over keys of scores[i][j] * values[j]. */
static inline void mix(float *const *context, const float *scores, const float *factor,
                       const float *values, size_t stride, uint32_t rows, uint32_t padded)
{
    enum { PARTS = (int)METALLM__KERNEL_COLUMNS / LANES };
    vf sum[QUERIES][PARTS];
    for (int i = 0; i < QUERIES; i++)
        for (int part = 0; part < PARTS; part++)
            sum[i][part] = vf_set(0);
    for (uint32_t j = 0; j < rows; j++)
        for (int part = 0; part < PARTS; part++) {
            vf v = vf_load(values + j * stride + part * LANES);
            for (int i = 0; i < QUERIES; i++)
                sum[i][part] = vf_fma(vf_set(scores[(size_t)i * padded + j]), v, sum[i][part]);
        }
    for (int i = 0; i < QUERIES; i++)
        for (int part = 0; part < PARTS; part++)
            vf_store(context[i] + part * LANES, sum[i][part] * vf_set(factor[i]));
}

static void attend_head(const struct metallm__attend *a, uint32_t head, uint32_t padded)
{
    const uint32_t columns = a->hidden / a->heads, at = head * columns;
    const size_t stride = 3 * (size_t)a->hidden;
    float *turned = a->scratch, *scores = turned + (size_t)columns * padded;
    const float *values = a->qkv + 2 * a->hidden + at;
    turn_keys(turned, a->qkv + a->hidden + at, stride, a->rows, padded, columns);
    for (uint32_t r = a->begin; r < a->end; r += QUERIES) {
        const float *q[QUERIES];
        float *context[QUERIES], factor[QUERIES];
        for (uint32_t i = 0; i < QUERIES; i++) {
            uint32_t row = r + i < a->end ? r + i : a->end - 1; /* the last one again */
            q[i] = a->qkv + row * stride + at;
            context[i] = a->context + (size_t)row * a->hidden + at;
        }
        score(scores, turned, q, padded, columns, 1.0f / sqrtf((float)columns));
        for (uint32_t i = 0; i < QUERIES; i++)
            factor[i] = softmax(scores + (size_t)i * padded, a->rows, padded);
        for (uint32_t c = 0; c < columns; c += METALLM__KERNEL_COLUMNS) {
            float *into[QUERIES];
            for (uint32_t i = 0; i < QUERIES; i++)
                into[i] = context[i] + c;
            mix(into, scores, factor, values + c, stride, a->rows, padded);
        }
    }
}

static void attend(const struct metallm__attend *a)
{
    uint32_t padded =
        (a->rows + METALLM__KERNEL_COLUMNS - 1) / METALLM__KERNEL_COLUMNS * METALLM__KERNEL_COLUMNS;
    for (uint32_t head = 0; head < a->heads; head++)
        attend_head(a, head, padded);
}

const struct metallm__kernels KERNELS = {
    .name = KERNELS_NAME,
    .embed = embed,
    .bias = add_bias,
    .gelu = gelu,
    .add_norm = add_norm,
    .attend = attend,
    .pool = pool,
};
