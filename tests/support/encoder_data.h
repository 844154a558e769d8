/* SPDX-License-Identifier: Apache-2.0
 * encoder_data.h - reference vectors and weights for the encoder's tests. */
#ifndef SUPPORT_ENCODER_DATA_H
#define SUPPORT_ENCODER_DATA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reference {
    char *text;
    size_t len;
    uint32_t *ids, *tail; /* [CLS] and [SEP] included; tail NULL where the file has none */
    size_t id_count, tail_count;
    size_t count; /* of the whole text's ids */
    float *embedding;
    size_t dim;
};

/* The rows of tests/data/encoder/reference.jsonl, then those of the larger set beside the
 * repository where that is. The caller frees. */
struct reference *references_load(size_t *count);
void references_free(struct reference *rows, size_t count);

/* Folder of all-MiniLM-L6-v2's weights, or NULL where setup has not put them. */
const char *weights_folder(void);
#endif
