/* SPDX-License-Identifier: Apache-2.0
 * pass_bf16.c - products and attention in bfloat16 with fp32 sums; state, norms and GELU in fp32.
 */
#include "encoder/kernels_bf16.h"
#include "encoder/net_internal.h"

static void product(struct metallm__worker *w, const struct metallm__product *p, const float *in,
                    uint32_t rows)
{
    metallm__bf16_from_floats(w->input, in, (size_t)rows * p->inputs);
    metallm__product_run(w, p, w->input, rows);
}

static void project(struct metallm__worker *w, const struct metallm__net_layer *l, uint32_t begin,
                    uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const uint32_t hidden = l->qkv.inputs;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        product(w, &l->qkv, crew->x + (size_t)r * hidden, n);
        metallm__bf16_bias((uint16_t *)crew->qkv + (size_t)r * 3 * hidden, w->block, l->qkv.bias, n,
                           3 * hidden);
    }
}

static void gelu(struct metallm__worker *w, const float *bias, uint32_t rows, uint32_t columns)
{
    metallm__bf16_gelu(w->input, w->block, bias, rows, columns);
}

static void feed_forward(struct metallm__worker *w, const struct metallm__net_layer *l,
                         const struct metallm__bert_layer *b, uint32_t begin, uint32_t end)
{
    static const struct metallm__float_steps steps = {product, gelu};
    metallm__feed_forward(&steps, w, l, b, begin, end);
}

const struct metallm__pass metallm__pass_bf16 = {project, metallm__attend_run, feed_forward};
