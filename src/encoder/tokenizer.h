/* SPDX-License-Identifier: Apache-2.0
 * tokenizer.h - text to token ids as BERT does it: basic tokenizer, then WordPiece. Time is linear
 * in the bytes read, and no more bytes are read than the limit needs. Invalid UTF-8 is dropped as
 * U+FFFD is. Threads: read-only after init. */
#ifndef ENCODER_TOKENIZER_H
#define ENCODER_TOKENIZER_H
#include <stdbool.h>
#include <stddef.h>

#include "encoder/vocab.h"

#define METALLM__WORD_CHARS_MAX 100u /* a longer word is [UNK] as a whole */
#define METALLM__SPECIALS       5u

struct metallm__tokenizer {
    struct metallm__vocab vocab;
    bool is_uncased;
    uint32_t unk, cls, sep;
    uint32_t specials[METALLM__SPECIALS]; /* ids of [PAD] [UNK] [CLS] [SEP] [MASK] */
    uint32_t punct[128];                  /* ids of the ASCII punctuation marks, [UNK] where none */
};

/* vocab_path: vocab.txt. METALLM_EFORMAT without [UNK], [CLS] and [SEP]. */
METALLM_MUSTCHECK int metallm__tokenizer_init(struct metallm__tokenizer *t, const char *vocab_path,
                                              bool is_uncased, metallm_error *err);
/* vocab.txt's bytes, which are not kept; name is what messages call them. */
METALLM_MUSTCHECK int metallm__tokenizer_init_bytes(struct metallm__tokenizer *t, const char *bytes,
                                                    size_t len, const char *name, bool is_uncased,
                                                    metallm_error *err);
void metallm__tokenizer_fini(struct metallm__tokenizer *t);

/* The first ids_max tokens of text ([CLS] and [SEP] not among them). Returns how many; *is_cut says
 * whether there are more. */
size_t metallm__tokenize_head(const struct metallm__tokenizer *t, const char *text, size_t len,
                              uint32_t *ids, size_t ids_max, bool *is_cut);
/* The last ids_max tokens: reads the end of a long text alone. */
size_t metallm__tokenize_tail(const struct metallm__tokenizer *t, const char *text, size_t len,
                              uint32_t *ids, size_t ids_max);
#endif
