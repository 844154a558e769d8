/* SPDX-License-Identifier: Apache-2.0
 * net.c - packs a model's weights for one precision. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/net_internal.h"

static int pack(struct metallm__net *net, struct metallm__product *p, const float *weight,
                const float *bias, uint32_t columns, uint32_t inputs, metallm_error *err)
{
    p->bias = bias;
    p->columns = columns;
    p->inputs = inputs;
    return metallm__gemm_pack(&p->weights, net->gemm, columns, inputs, weight, err);
}

/* Query, key and value as one product: three matrices below one another. */
static int pack_qkv(struct metallm__net *net, struct metallm__net_layer *layer,
                    const struct metallm__bert_layer *from, metallm_error *err)
{
    const size_t hidden = net->bert->config.hidden, size = hidden * hidden;
    const struct metallm__linear *parts[] = {&from->query, &from->key, &from->value};
    float *joined = metallm__alloc(3 * size, sizeof *joined);
    layer->qkv_bias = metallm__alloc(3 * hidden, sizeof *layer->qkv_bias);
    if (joined == NULL || layer->qkv_bias == NULL) {
        metallm__free(joined);
        return metallm__error_nomem(err, "packed weights");
    }
    for (size_t i = 0; i < 3; i++) {
        memcpy(joined + i * size, parts[i]->weight, size * sizeof *joined);
        memcpy(layer->qkv_bias + i * hidden, parts[i]->bias, hidden * sizeof *joined);
    }
    int rc = pack(net, &layer->qkv, joined, layer->qkv_bias, 3 * (uint32_t)hidden, (uint32_t)hidden,
                  err);
    metallm__free(joined);
    return rc;
}

static int pack_layer(struct metallm__net *net, uint32_t i, metallm_error *err)
{
    const struct metallm__bert_config *c = &net->bert->config;
    const struct metallm__bert_layer *from = &net->bert->layers[i];
    struct metallm__net_layer *to = &net->layers[i];
    int rc = pack_qkv(net, to, from, err);
    if (rc == METALLM_OK)
        rc = pack(net, &to->attended, from->attended.weight, from->attended.bias, c->hidden,
                  c->hidden, err);
    if (rc == METALLM_OK)
        rc = pack(net, &to->up, from->up.weight, from->up.bias, c->inner, c->hidden, err);
    if (rc == METALLM_OK)
        rc = pack(net, &to->down, from->down.weight, from->down.bias, c->hidden, c->inner, err);
    return rc;
}

int metallm__net_new(struct metallm__net **out, const struct metallm__bert *b,
                     enum metallm__precision precision, enum metallm__isa isa, metallm_error *err)
{
    struct metallm__net *net = metallm__calloc(1, sizeof *net);
    if (net == NULL)
        return metallm__error_nomem(err, "an encoder");
    net->bert = b;
    net->precision = precision;
    net->kernels = metallm__kernels_for(isa);
    int kept = metallm__gemm_begin();
    int rc = metallm__gemm_library_new(&net->gemm, precision, isa, err);
    for (uint32_t i = 0; rc == METALLM_OK && i < b->config.layers; i++)
        rc = pack_layer(net, i, err);
    metallm__gemm_end(kept);
    if (rc != METALLM_OK) {
        metallm__net_free(net);
        return rc;
    }
    *out = net;
    return METALLM_OK;
}

void metallm__net_free(struct metallm__net *net)
{
    if (net == NULL)
        return;
    for (uint32_t i = 0; i < net->bert->config.layers; i++) {
        struct metallm__net_layer *l = &net->layers[i];
        metallm__gemm_weights_free(l->qkv.weights);
        metallm__gemm_weights_free(l->attended.weights);
        metallm__gemm_weights_free(l->up.weights);
        metallm__gemm_weights_free(l->down.weights);
        metallm__free(l->qkv_bias);
    }
    metallm__gemm_library_free(net->gemm);
    metallm__free(net);
}
