/* SPDX-License-Identifier: Apache-2.0
 * net_internal.h - what net.c (weights) and crew.c (threads, the pass itself) share. */
#ifndef ENCODER_NET_INTERNAL_H
#define ENCODER_NET_INTERNAL_H
#include "encoder/net.h"

/* One linear part, packed. */
struct metallm__product {
    struct metallm__gemm_weights *weights;
    const float *bias;
    uint32_t columns, inputs; /* of the output, of the input */
};

struct metallm__net_layer {
    struct metallm__product qkv, attended, up, down; /* qkv: three parts in one */
    float *qkv_bias;                                 /* owned */
};

struct metallm__net {
    const struct metallm__bert *bert;
    const struct metallm__kernels *kernels;
    struct metallm__gemm_library *gemm;
    enum metallm__precision precision;
    struct metallm__net_layer layers[METALLM__BERT_LAYERS_MAX];
};
#endif
