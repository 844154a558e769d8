/* SPDX-License-Identifier: Apache-2.0
 * pass_fp32.c - the reference precision, and what all precisions share. */
#include <math.h>
#include <string.h>

#include "encoder/kernels_bf16.h"
#include "encoder/net_internal.h"

uint32_t metallm__block_rows(uint32_t left)
{
    uint32_t blocks = (left + METALLM__GEMM_ROWS_MAX - 1) / METALLM__GEMM_ROWS_MAX;
    uint32_t even = (left + blocks - 1) / blocks;
    even = (even + METALLM__GEMM_ROW_STEP - 1) / METALLM__GEMM_ROW_STEP * METALLM__GEMM_ROW_STEP;
    return even < left ? even : left;
}

void metallm__product_run(struct metallm__worker *w, const struct metallm__product *p,
                          const void *in, uint32_t rows)
{
    if (w->rc == METALLM_OK)
        w->rc = metallm__gemm_run(w->gemm, p->weights, in, rows, w->block, &w->err);
}

static void note(float *seen, const float *in, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++, in += columns)
        for (uint32_t i = 0; i < columns; i++)
            seen[i] = fabsf(in[i]) > seen[i] ? fabsf(in[i]) : seen[i];
}

/* A product reads whole row steps: an input that ends amid one is copied to where there is room. */
static void product(struct metallm__worker *w, const struct metallm__product *p, const float *in,
                    uint32_t rows)
{
    if (p->seen != NULL)
        note(p->seen, in, rows, p->inputs);
    if (rows % METALLM__GEMM_ROW_STEP != 0)
        in = memcpy(w->input, in, (size_t)rows * p->inputs * sizeof *in);
    metallm__product_run(w, p, in, rows);
}

static void project(struct metallm__worker *w, const struct metallm__net_layer *l, uint32_t begin,
                    uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const uint32_t hidden = crew->net->bert->config.hidden;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        product(w, &l->qkv, crew->x + (size_t)r * hidden, n);
        crew->net->kernels->bias((float *)crew->qkv + (size_t)r * 3 * hidden, w->block, l->qkv.bias,
                                 n, 3 * hidden);
    }
}

static void attend_fp32(const struct metallm__worker *w, uint32_t first, uint32_t rows,
                        uint32_t begin, uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const struct metallm__bert_config *c = &crew->net->bert->config;
    crew->net->kernels->attend(&(struct metallm__attend){
        .qkv = (const float *)crew->qkv + (size_t)first * 3 * c->hidden,
        .context = crew->context + (size_t)first * c->hidden,
        .scratch = w->scratch,
        .hidden = c->hidden,
        .heads = c->heads,
        .rows = rows,
        .begin = begin,
        .end = end,
    });
}

static void attend_bf16(const struct metallm__worker *w, uint32_t first, uint32_t rows,
                        uint32_t begin, uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const struct metallm__bert_config *c = &crew->net->bert->config;
    metallm__attend_bf16(&(struct metallm__attend_bf16){
        .qkv = (const uint16_t *)crew->qkv + (size_t)first * 3 * c->hidden,
        .context = crew->context + (size_t)first * c->hidden,
        .scratch = w->scratch,
        .hidden = c->hidden,
        .heads = c->heads,
        .rows = rows,
        .begin = begin,
        .end = end,
    });
}

void metallm__attend_run(struct metallm__worker *w, uint32_t begin, uint32_t end)
{
    const struct metallm__pack *pack = w->crew->pack;
    for (uint32_t s = 0; s < pack->count; s++) {
        uint32_t first = pack->starts[s], last = pack->starts[s + 1];
        if (last <= begin || first >= end)
            continue;
        uint32_t from = begin > first ? begin - first : 0, to = (end < last ? end : last) - first;
        if (w->crew->net->is_bf16_attended)
            attend_bf16(w, first, last - first, from, to);
        else
            attend_fp32(w, first, last - first, from, to);
    }
}

void metallm__feed_forward(const struct metallm__float_steps *steps, struct metallm__worker *w,
                           const struct metallm__net_layer *l, const struct metallm__bert_layer *b,
                           uint32_t begin, uint32_t end)
{
    const struct metallm__crew *crew = w->crew;
    const struct metallm__kernels *k = crew->net->kernels;
    const uint32_t hidden = l->down.columns, inner = l->up.columns;
    for (uint32_t r = begin, n; r < end; r += n) {
        n = metallm__block_rows(end - r);
        float *x = crew->x + (size_t)r * hidden;
        steps->product(w, &l->attended, crew->context + (size_t)r * hidden, n);
        k->add_norm(x, w->block, l->attended.bias, n, hidden, &b->attended_norm);
        steps->product(w, &l->up, x, n);
        steps->gelu(w, l->up.bias, n, inner);
        if (l->down.seen != NULL)
            note(l->down.seen, w->input, n, inner);
        metallm__product_run(w, &l->down, w->input, n);
        k->add_norm(x, w->block, l->down.bias, n, hidden, &b->output_norm);
    }
}

static void gelu(struct metallm__worker *w, const float *bias, uint32_t rows, uint32_t columns)
{
    w->crew->net->kernels->gelu(w->input, w->block, bias, rows, columns);
}

static void feed_forward(struct metallm__worker *w, const struct metallm__net_layer *l,
                         const struct metallm__bert_layer *b, uint32_t begin, uint32_t end)
{
    static const struct metallm__float_steps steps = {product, gelu};
    metallm__feed_forward(&steps, w, l, b, begin, end);
}

const struct metallm__pass metallm__pass_fp32 = {project, metallm__attend_run, feed_forward};
