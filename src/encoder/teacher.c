/* SPDX-License-Identifier: Apache-2.0
 * teacher.c - metallm__distill: asks a BERT sentence encoder for the vector of every token of its
 * vocabulary, and writes the table that distill.c makes of them. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "encoder/distill.h"
#include "encoder/net.h"

#define SEQUENCE 3u /* [CLS] token [SEP] */

struct teacher {
    struct metallm__bert *bert;
    struct metallm__net *net;
    struct metallm__crew *crew;
    struct metallm__tokenizer tokenizer;
    struct metallm__map vocab;
    char *folder;
};

static void teacher_close(struct teacher *t)
{
    metallm__crew_free(t->crew);
    metallm__net_free(t->net);
    metallm__bert_free(t->bert);
    metallm__tokenizer_fini(&t->tokenizer);
    metallm__map_close(&t->vocab);
    metallm__free(t->folder);
}

static int teacher_open(struct teacher *t, const char *folder, metallm_error *err)
{
    char path[4096];
    enum metallm__isa isa;
    int rc = METALLM_OK;
    if (folder == NULL)
        rc = metallm__cache_path(&t->folder, "minilm", err);
    else if ((t->folder = metallm__strdup(folder)) == NULL)
        rc = metallm__error_nomem(err, "a folder's name");
    if (rc != METALLM_OK)
        return rc;
    if ((size_t)snprintf(path, sizeof path, "%s/vocab.txt", t->folder) >= sizeof path)
        return metallm__error_set(err, METALLM_EINVAL, "the folder's name is too long");
    rc = metallm__isa_get(&isa, err);
    if (rc == METALLM_OK)
        rc = metallm__bert_open(&t->bert, t->folder, err);
    if (rc == METALLM_OK)
        rc = metallm__tokenizer_init(&t->tokenizer, path, t->bert->config.is_uncased, err);
    if (rc == METALLM_OK)
        rc = metallm__map_open(&t->vocab, path, err);
    if (rc == METALLM_OK)
        rc = metallm__net_new(&t->net, t->bert, METALLM__PRECISION_FP32, isa, NULL, NULL, err);
    if (rc == METALLM_OK)
        rc = metallm__crew_new(&t->crew, t->net, 1, err);
    return rc;
}

/* "[unused17]" was never trained: its vector says nothing. */
static bool is_unused(const char *token)
{
    return strncmp(token, "[unused", 7) == 0;
}

static void add_sequence(struct metallm__pack *pack, const struct teacher *t, uint32_t id,
                         float *out)
{
    uint32_t at = pack->count * SEQUENCE;
    const uint32_t ids[SEQUENCE] = {t->tokenizer.cls, id, t->tokenizer.sep};
    for (uint32_t i = 0; i < SEQUENCE; i++) {
        pack->ids[at + i] = ids[i];
        pack->positions[at + i] = i;
    }
    pack->starts[pack->count] = at;
    pack->out[pack->count++] = out;
    pack->starts[pack->count] = at + SEQUENCE;
}

static int token_vectors(struct teacher *t, float *vectors, const metallm_progress *progress,
                         metallm_error *err)
{
    uint32_t count = t->tokenizer.vocab.count, width = t->bert->config.hidden;
    struct metallm__pack *pack = metallm__calloc(1, sizeof *pack);
    if (pack == NULL)
        return metallm__error_nomem(err, "a batch of tokens");
    int rc = METALLM_OK;
    for (uint32_t id = 0; id < count && rc == METALLM_OK;) {
        pack->count = 0;
        for (; id < count && (pack->count + 1) * SEQUENCE <= METALLM__PACK_ROWS; id++)
            if (!is_unused(metallm__vocab_token(&t->tokenizer.vocab, id)))
                add_sequence(pack, t, id, vectors + (size_t)id * width);
        if (pack->count > 0)
            rc = metallm__crew_run(t->crew, pack, err);
        if (rc == METALLM_OK && progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "tokens", id, count) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "stopped");
    }
    metallm__free(pack);
    return rc;
}

static int distill(struct teacher *t, const struct metallm__corpus *corpus,
                   const struct metallm__distill_options *opts, const char *out_path,
                   struct metallm__distill_report *report, metallm_error *err)
{
    uint32_t count = t->tokenizer.vocab.count, width = t->bert->config.hidden;
    uint32_t dim = opts->dim != 0 ? opts->dim : METALLM__DISTILL_DIM;
    if (t->bert->config.vocab < count)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s': %u tokens, but vectors for %u",
                                  t->folder, count, t->bert->config.vocab);
    float *vectors = metallm__calloc((size_t)count * width, sizeof *vectors);
    int8_t *rows = metallm__alloc((size_t)count * dim, 1);
    float *scales = metallm__alloc(dim, sizeof *scales);
    int rc = METALLM_OK;
    if (vectors == NULL || rows == NULL || scales == NULL)
        rc = metallm__error_nomem(err, "a vocabulary's vectors");
    if (rc == METALLM_OK)
        rc = token_vectors(t, vectors, opts->progress, err);
    if (rc == METALLM_OK)
        rc = metallm__distill_rows(vectors, width, &t->tokenizer, corpus, opts, rows, scales,
                                   report, err);
    if (rc == METALLM_OK)
        rc = metallm__static_save(
            &(struct metallm__static_table){
                .tokens = count,
                .dim = dim,
                .rows = rows,
                .scales = scales,
                .vocab = t->vocab.bytes,
                .vocab_len = t->vocab.len,
                .is_uncased = t->bert->config.is_uncased,
                .sif_a = opts->sif_a != 0 ? opts->sif_a : METALLM__DISTILL_SIF_A,
                .corpus_texts = report->corpus_texts,
                .corpus_tokens = report->corpus_tokens,
            },
            out_path, err);
    metallm__free(scales);
    metallm__free(rows);
    metallm__free(vectors);
    return rc;
}

int metallm__distill(const char *teacher, const struct metallm__corpus *corpus,
                     const struct metallm__distill_options *opts, const char *out_path,
                     struct metallm__distill_report *report, metallm_error *err)
{
    struct teacher t = {0};
    int rc = teacher_open(&t, teacher, err);
    if (rc == METALLM_OK)
        rc = distill(&t, corpus, opts, out_path, report, err);
    teacher_close(&t);
    return rc;
}
