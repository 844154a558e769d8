/* SPDX-License-Identifier: Apache-2.0
 * static.h - the static encoder's table: a vector per token of a WordPiece vocabulary; a text's
 * vector is the sum over its tokens, made unit length. docs/formats.md says what stands in the
 * file. Weights and the removed component are part of the rows, so that a sum of whole numbers is
 * all there is to do: exact, and equal on every machine. */
#ifndef ENCODER_STATIC_H
#define ENCODER_STATIC_H
#include <stdbool.h>

#include "metallm/base.h"

#define METALLM__STATIC_FORMAT  "metallm-static-encoder"
#define METALLM__STATIC_VERSION "1"
#define METALLM__STATIC_DIM_MAX 1024u
#define METALLM__STATIC_TOKENS                                                                     \
    254u /* read at either end: as many as MiniLM; keeps sums in 16 bits */

/* In the cache folder: where `metallm distill` writes and --encoder static looks. */
#define METALLM__STATIC_DEFAULT "minilm/static.safetensors"

struct metallm__static_table {
    uint32_t tokens, dim;
    const int8_t *rows;  /* tokens x dim */
    const float *scales; /* dim: a whole number times its column's scale */
    const char *vocab;   /* vocab.txt as it was: a token a line */
    size_t vocab_len;
    bool is_uncased;
    double sif_a;                         /* of the weights a / (a + p); for the record */
    uint64_t corpus_texts, corpus_tokens; /* what p was counted over; for the record */
};

METALLM_MUSTCHECK int metallm__static_save(const struct metallm__static_table *t, const char *path,
                                           metallm_error *err);
#endif
