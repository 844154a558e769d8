/* SPDX-License-Identifier: Apache-2.0
 * net.c - packs a model's weights for one precision. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/net_file.h"

static const struct metallm__pass *const passes[METALLM__PRECISION_COUNT] = {
    [METALLM__PRECISION_FP32] = &metallm__pass_fp32,
    [METALLM__PRECISION_BF16] = &metallm__pass_bf16,
    [METALLM__PRECISION_INT8] = &metallm__pass_int8,
};

bool metallm__precision_runs(enum metallm__precision precision, enum metallm__isa isa)
{
    static const enum metallm__isa least[METALLM__PRECISION_COUNT] = {
        [METALLM__PRECISION_FP32] = METALLM__ISA_SSE,
        [METALLM__PRECISION_BF16] = METALLM__ISA_BF16,
        [METALLM__PRECISION_INT8] = METALLM__ISA_VNNI,
    };
    return isa >= least[precision];
}

static int pack(struct metallm__net *net, struct metallm__product *p,
                const struct metallm__plain *plain, metallm_error *err)
{
    if (net->precision == METALLM__PRECISION_BF16)
        return metallm__pack_bf16(net->gemm, p, plain, err);
    if (net->precision == METALLM__PRECISION_INT8)
        return metallm__pack_int8(net->gemm, p, plain, err);
    return metallm__gemm_pack(&p->weights, net->gemm, plain->columns, plain->inputs, plain->weight,
                              err);
}

static int pack_linear(struct metallm__net *net, struct metallm__product *p,
                       const struct metallm__linear *from, uint32_t columns, uint32_t inputs,
                       const struct metallm__product *measured, metallm_error *err)
{
    const struct metallm__plain plain = {.weight = from->weight,
                                         .bias = from->bias,
                                         .columns = columns,
                                         .inputs = inputs,
                                         .seen = measured != NULL ? measured->seen : NULL};
    return pack(net, p, &plain, err);
}

/* Query, key and value as one product: three matrices below one another. */
static int pack_qkv(struct metallm__net *net, struct metallm__net_layer *layer,
                    const struct metallm__bert_layer *from,
                    const struct metallm__net_layer *measured, metallm_error *err)
{
    const size_t hidden = net->bert->config.hidden, size = hidden * hidden;
    const struct metallm__linear *parts[] = {&from->query, &from->key, &from->value};
    float *joined = metallm__alloc(3 * size, sizeof *joined);
    if (joined == NULL)
        return metallm__error_nomem(err, "packed weights");
    for (size_t i = 0; i < 3; i++)
        memcpy(joined + i * size, parts[i]->weight, size * sizeof *joined);
    const struct metallm__linear whole = {.weight = joined, .bias = layer->qkv_bias};
    int rc = pack_linear(net, &layer->qkv, &whole, 3 * (uint32_t)hidden, (uint32_t)hidden,
                         measured != NULL ? &measured->qkv : NULL, err);
    metallm__free(joined);
    return rc;
}

static void describe(struct metallm__product *p, const float *bias, uint32_t columns,
                     uint32_t inputs)
{
    p->bias = bias;
    p->columns = columns;
    p->inputs = inputs;
}

/* Sizes and biases of a layer's products, before there are weights. */
static int describe_layer(const struct metallm__net *net, struct metallm__net_layer *to,
                          const struct metallm__bert_layer *from, metallm_error *err)
{
    const uint32_t hidden = net->bert->config.hidden, inner = net->bert->config.inner;
    const struct metallm__linear *parts[] = {&from->query, &from->key, &from->value};
    to->qkv_bias = metallm__alloc(3 * (size_t)hidden, sizeof *to->qkv_bias);
    if (to->qkv_bias == NULL)
        return metallm__error_nomem(err, "packed weights");
    for (size_t i = 0; i < 3; i++)
        memcpy(to->qkv_bias + i * hidden, parts[i]->bias, hidden * sizeof *to->qkv_bias);
    describe(&to->qkv, to->qkv_bias, 3 * hidden, hidden);
    describe(&to->attended, from->attended.bias, hidden, hidden);
    describe(&to->up, from->up.bias, inner, hidden);
    describe(&to->down, from->down.bias, hidden, inner);
    return METALLM_OK;
}

/* measured: the same layer of a net that has seen the sample, or NULL. */
static int pack_layer(struct metallm__net *net, uint32_t i,
                      const struct metallm__net_layer *measured, metallm_error *err)
{
    const struct metallm__bert_config *c = &net->bert->config;
    const struct metallm__bert_layer *from = &net->bert->layers[i];
    struct metallm__net_layer *to = &net->layers[i];
    int rc = pack_qkv(net, to, from, measured, err);
    if (rc == METALLM_OK)
        rc = pack_linear(net, &to->attended, &from->attended, c->hidden, c->hidden,
                         measured != NULL ? &measured->attended : NULL, err);
    if (rc == METALLM_OK)
        rc = pack_linear(net, &to->up, &from->up, c->inner, c->hidden,
                         measured != NULL ? &measured->up : NULL, err);
    if (rc == METALLM_OK)
        rc = pack_linear(net, &to->down, &from->down, c->hidden, c->inner,
                         measured != NULL ? &measured->down : NULL, err);
    return rc;
}

/* A net without weights. */
static int net_begin(struct metallm__net **out, const struct metallm__bert *b,
                     enum metallm__precision precision, enum metallm__isa isa, metallm_error *err)
{
    struct metallm__net *net = metallm__calloc(1, sizeof *net);
    if (net == NULL)
        return metallm__error_nomem(err, "an encoder");
    net->bert = b;
    net->precision = precision;
    net->pass = passes[precision];
    net->kernels = metallm__kernels_for(isa);
    net->is_bf16_attended = precision != METALLM__PRECISION_FP32 && isa >= METALLM__ISA_BF16;
    int rc = metallm__gemm_library_new(&net->gemm, precision, isa, err);
    for (uint32_t i = 0; rc == METALLM_OK && i < b->config.layers; i++)
        rc = describe_layer(net, &net->layers[i], &b->layers[i], err);
    if (rc != METALLM_OK) {
        metallm__net_free(net);
        return rc;
    }
    *out = net;
    return METALLM_OK;
}

static int net_pack(struct metallm__net **out, const struct metallm__bert *b,
                    enum metallm__precision precision, enum metallm__isa isa,
                    const struct metallm__net *measured, metallm_error *err)
{
    struct metallm__net *net = NULL;
    int kept = metallm__gemm_begin();
    int rc = net_begin(&net, b, precision, isa, err);
    for (uint32_t i = 0; rc == METALLM_OK && i < b->config.layers; i++)
        rc = pack_layer(net, i, measured != NULL ? &measured->layers[i] : NULL, err);
    metallm__gemm_end(kept);
    if (rc != METALLM_OK) {
        metallm__net_free(net);
        return rc;
    }
    *out = net;
    return METALLM_OK;
}

static int note_inputs(struct metallm__product *p, metallm_error *err)
{
    p->seen = metallm__calloc(p->inputs, sizeof *p->seen);
    return p->seen != NULL ? METALLM_OK : metallm__error_nomem(err, "packed weights");
}

/* A net of fp32 that has seen the sample. */
static int measure(struct metallm__net **out, const struct metallm__bert *b, enum metallm__isa isa,
                   const struct metallm__pack *sample, metallm_error *err)
{
    struct metallm__net *net = NULL;
    struct metallm__crew *crew = NULL;
    int rc = net_pack(&net, b, METALLM__PRECISION_FP32, isa, NULL, err);
    for (uint32_t i = 0; rc == METALLM_OK && i < b->config.layers; i++) {
        struct metallm__net_layer *l = &net->layers[i];
        struct metallm__product *all[] = {&l->qkv, &l->attended, &l->up, &l->down};
        for (size_t k = 0; rc == METALLM_OK && k < 4; k++)
            rc = note_inputs(all[k], err);
    }
    if (rc == METALLM_OK)
        rc = metallm__crew_new(&crew, net, 1, err);
    if (rc == METALLM_OK)
        rc = metallm__crew_run(crew, sample, err);
    metallm__crew_free(crew);
    if (rc != METALLM_OK) {
        metallm__net_free(net);
        return rc;
    }
    *out = net;
    return METALLM_OK;
}

static int pack_measured(struct metallm__net **out, const struct metallm__bert *b,
                         enum metallm__precision precision, enum metallm__isa isa,
                         const struct metallm__pack *sample, metallm_error *err)
{
    struct metallm__net *measured = NULL;
    int rc = METALLM_OK;
    if (precision == METALLM__PRECISION_INT8)
        rc = measure(&measured, b, isa, sample, err);
    if (rc == METALLM_OK)
        rc = net_pack(out, b, precision, isa, measured, err);
    metallm__net_free(measured);
    return rc;
}

/* The net out of its file, where that is there and of these weights. *out stays NULL without. */
static int open_file(struct metallm__net **out, const struct metallm__bert *b,
                     enum metallm__precision precision, enum metallm__isa isa,
                     struct metallm__net_source *source, metallm_error *err)
{
    struct metallm__net *net = NULL;
    struct metallm__weights_look look;
    uint8_t sha256[METALLM__SHA256_BYTES];
    int kept = metallm__gemm_begin();
    int rc = net_begin(&net, b, precision, isa, err);
    int found = rc;
    if (rc == METALLM_OK)
        found = metallm__net_file_open(net, source->packed, &look, sha256, err);
    if (found == METALLM_ENOMEM)
        rc = found;
    if (rc == METALLM_OK && found == METALLM_OK) {
        if (memcmp(&look, &source->look, sizeof look) == 0) {
            memcpy(source->sha256, sha256, sizeof sha256);
            source->is_hashed = true;
        } else { /* another file, but perhaps of the same bytes */
            rc = metallm__weights_sha256(source->sha256, source->weights, err);
            source->is_hashed = rc == METALLM_OK;
        }
        if (rc == METALLM_OK && memcmp(source->sha256, sha256, sizeof sha256) == 0) {
            *out = net;
            net = NULL;
        }
    }
    metallm__gemm_end(kept);
    metallm__net_free(net);
    return rc;
}

int metallm__net_new(struct metallm__net **out, const struct metallm__bert *b,
                     enum metallm__precision precision, enum metallm__isa isa,
                     const struct metallm__pack *sample, struct metallm__net_source *source,
                     metallm_error *err)
{
    struct metallm__net *net = NULL;
    if (!metallm__precision_runs(precision, isa))
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "this CPU (level %s) has no instructions for this precision",
                                  metallm__isa_name(isa));
    if (source == NULL)
        return pack_measured(out, b, precision, isa, sample, err);
    int rc = open_file(&net, b, precision, isa, source, err);
    if (rc == METALLM_OK && net == NULL) {
        if (!source->is_hashed)
            rc = metallm__weights_sha256(source->sha256, source->weights, err);
        if (rc == METALLM_OK)
            rc = pack_measured(&net, b, precision, isa, sample, err);
        source->is_hashed = rc == METALLM_OK;
        int kept = METALLM_OK; /* in a folder that cannot be written to nothing is */
        if (rc == METALLM_OK)
            kept = metallm__net_file_write(net, source->packed, &source->look, source->sha256, err);
        if (kept == METALLM_ENOMEM) {
            metallm__net_free(net);
            return kept;
        }
    }
    if (rc == METALLM_OK)
        *out = net;
    return rc;
}

static void product_fini(struct metallm__product *p)
{
    metallm__gemm_weights_free(p->weights);
    metallm__free(p->params);
    metallm__free(p->seen);
}

void metallm__net_free(struct metallm__net *net)
{
    if (net == NULL)
        return;
    for (uint32_t i = 0; i < net->bert->config.layers; i++) {
        product_fini(&net->layers[i].qkv);
        product_fini(&net->layers[i].attended);
        product_fini(&net->layers[i].up);
        product_fini(&net->layers[i].down);
        metallm__free(net->layers[i].qkv_bias);
    }
    metallm__gemm_library_free(net->gemm);
    metallm__map_close(&net->packed);
    metallm__free(net);
}
