/* SPDX-License-Identifier: Apache-2.0
 * bert.h - a BERT sentence encoder's weights and settings, read from a folder:
 *   model.safetensors (fp32), vocab.txt              always
 *   config.json                                      the sizes; without it all-MiniLM-L6-v2's
 *   sentence_bert_config.json, 1_Pooling/config.json, tokenizer_config.json     where they differ
 * Weights stay in the read-only mapping, shared with every other process that has the file open. */
#ifndef ENCODER_BERT_H
#define ENCODER_BERT_H
#include <stdbool.h>

#include "base/safetensors.h"
#include "encoder/kernels.h"

#define METALLM__BERT_LAYERS_MAX 48u
#define METALLM__BERT_TOKENS_MAX 512u /* of one sequence, [CLS] and [SEP] included */

struct metallm__bert_config {
    uint32_t layers, hidden, heads, inner; /* inner: columns of the feed-forward part */
    uint32_t vocab, positions, tokens_max;
    float epsilon;
    bool is_uncased, is_cls; /* is_cls: the vector is [CLS]'s, else the mean over all tokens */
};

struct metallm__linear {
    const float *weight, *bias; /* [out][in], [out] */
};

struct metallm__bert_layer {
    struct metallm__linear query, key, value, attended, up, down;
    struct metallm__norm attended_norm, output_norm;
};

struct metallm__bert {
    struct metallm__bert_config config;
    struct metallm__st_file *file;
    const float *word, *position, *type; /* embeddings; type: row 0 */
    struct metallm__norm norm;
    struct metallm__bert_layer layers[METALLM__BERT_LAYERS_MAX];
};

/* METALLM_EMISMATCH: a kind of model that is not supported; the message says what of it. */
METALLM_MUSTCHECK int metallm__bert_open(struct metallm__bert **out, const char *folder,
                                         metallm_error *err);
void metallm__bert_free(struct metallm__bert *b);
#endif
