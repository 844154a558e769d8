/* SPDX-License-Identifier: Apache-2.0
 * pass_int8.c - products of 8-bit rows and weights; state and norms in fp32, attention in bfloat16
 * where the CPU has it. */
#include "encoder/net_internal.h"

/* The block's product of rows of x; their scales stand in w->rows8[0]. */
static void product(struct metallm__worker *w, const struct metallm__product *p, const float *x,
                    uint32_t rows)
{
    metallm__int8_quantise(w->input, w->rows8[0], x, p->smooth, rows, p->inputs);
    metallm__product_run(w, p, w->input, rows);
}

static void project(struct metallm__worker *w, const struct metallm__net_layer *l, uint32_t begin,
                    uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const uint32_t hidden = l->qkv.inputs;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        size_t at = (size_t)r * 3 * hidden;
        product(w, &l->qkv, crew->x + (size_t)r * hidden, n);
        if (crew->net->is_bf16_attended)
            metallm__int8_restore_bf16((uint16_t *)crew->qkv + at, w->block, w->rows8[0],
                                       &l->qkv.columns8, n, 3 * hidden);
        else
            metallm__int8_restore((float *)crew->qkv + at, w->block, w->rows8[0], &l->qkv.columns8,
                                  n, 3 * hidden);
    }
}

static void feed_forward(struct metallm__worker *w, const struct metallm__net_layer *l,
                         const struct metallm__bert_layer *b, uint32_t begin, uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const uint32_t hidden = l->down.columns, inner = l->up.columns;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        float *x = crew->x + (size_t)r * hidden;
        product(w, &l->attended, crew->context + (size_t)r * hidden, n);
        metallm__int8_add_norm_quantise(w->input, w->rows8[0], x, w->block, w->rows8[0],
                                        &l->attended.columns8, l->up.smooth, n, hidden,
                                        &b->attended_norm);
        metallm__product_run(w, &l->up, w->input, n);
        metallm__int8_gelu(w->input, w->rows8[1], w->block, w->rows8[0], &l->up.columns8,
                           l->down.smooth, w->line, n, inner);
        metallm__product_run(w, &l->down, w->input, n);
        metallm__int8_add_norm(x, w->block, w->rows8[1], &l->down.columns8, n, hidden,
                               &b->output_norm);
    }
}

const struct metallm__pass metallm__pass_int8 = {project, metallm__attend_run, feed_forward};
