/* SPDX-License-Identifier: Apache-2.0
 * distill.h - makes a static encoder's table from a sentence encoder's vectors of single tokens
 * (Minishlab's Model2Vec does the same in Python):
 *   1. the teacher's vector of [CLS] token [SEP] for every token of its vocabulary
 *   2. principal components of these vectors, the first dim of them (centred)
 *   3. weights a / (a + p), p the token's share of the corpus, and the first principal component of
 *      the corpus's text vectors removed: SIF (Arora, Liang and Ma 2017, algorithm 1)
 *   4. 8 bits, one scale a column
 * Steps 2 to 4 are here; the teacher is asked in teacher.c. */
#ifndef ENCODER_DISTILL_H
#define ENCODER_DISTILL_H
#include "encoder/static.h"
#include "encoder/tokenizer.h"

#define METALLM__DISTILL_DIM   256u
#define METALLM__DISTILL_SIF_A 1e-3

struct metallm__corpus {
    const char *const *texts;
    const size_t *lens;
    size_t count;
};

struct metallm__distill_options {
    uint32_t dim;                     /* at most the teacher's; 0: METALLM__DISTILL_DIM */
    double sif_a;                     /* > 0; 0: METALLM__DISTILL_SIF_A */
    const metallm_progress *progress; /* may be NULL */
};

struct metallm__distill_report {
    uint32_t tokens, dim;
    double kept; /* share of the token vectors' variance in the kept components */
    uint64_t corpus_texts, corpus_tokens, corpus_distinct;
};

/* vectors: tokenizer->vocab.count x width, overwritten; a row of zeros is a token that is left out
 * of step 2. rows: count x dim and scales: dim numbers, the caller's. */
METALLM_MUSTCHECK int
metallm__distill_rows(float *vectors, uint32_t width, const struct metallm__tokenizer *tokenizer,
                      const struct metallm__corpus *corpus,
                      const struct metallm__distill_options *opts, int8_t *rows, float *scales,
                      struct metallm__distill_report *report, metallm_error *err);

/* All four steps: teacher is a folder with model.safetensors and vocab.txt; NULL: the cache's
 * minilm. Writes out_path whole or not at all. METALLM_EINVAL: the corpus holds no token. */
METALLM_MUSTCHECK int metallm__distill(const char *teacher, const struct metallm__corpus *corpus,
                                       const struct metallm__distill_options *opts,
                                       const char *out_path, struct metallm__distill_report *report,
                                       metallm_error *err);
#endif
