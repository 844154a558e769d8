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

static void feed_forward(struct metallm__worker *w, const struct metallm__net_layer *l,
                         const struct metallm__bert_layer *b, uint32_t begin, uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const struct metallm__kernels *k = crew->net->kernels;
    const uint32_t hidden = l->down.columns, inner = l->up.columns;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        float *x = crew->x + (size_t)r * hidden;
        product(w, &l->attended, crew->context + (size_t)r * hidden, n);
        k->add_norm(x, w->block, l->attended.bias, n, hidden, &b->attended_norm);
        product(w, &l->up, x, n);
        metallm__bf16_gelu(w->input, w->block, l->up.bias, n, inner);
        metallm__product_run(w, &l->down, w->input, n);
        k->add_norm(x, w->block, l->down.bias, n, hidden, &b->output_norm);
    }
}

const struct metallm__pass metallm__pass_bf16 = {project, metallm__attend_run, feed_forward};
