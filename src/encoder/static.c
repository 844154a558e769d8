/* SPDX-License-Identifier: Apache-2.0
 * static.c - the backend "static": sums of 8-bit token vectors, see static.h. */
#include "encoder/static.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/safetensors.h"
#include "encoder/backend.h"
#include "encoder/tokenizer.h"

#define BLOCK 128u /* columns that are summed together: two cache lines of a row */

struct table;
typedef void embed_ids_fn(const struct table *t, const uint32_t *ids, size_t count, float *out);

struct table {
    struct metallm__st_file *file;
    struct metallm__tokenizer tokenizer;
    bool has_tokenizer;
    int8_t *rows;  /* tokens x stride: rows padded to BLOCK */
    float *scales; /* stride, zeros beyond dim */
    uint32_t dim, stride, tokens;
    embed_ids_fn *embed_ids;
};

/* The rows lie all over the table: this many are asked for before they are needed. */
#define AHEAD 16u

typedef int8_t v32qi __attribute__((vector_size(32), aligned(1)));
typedef int16_t v32hi __attribute__((vector_size(64)));

static inline __attribute__((always_inline)) void fetch_row(const int8_t *row)
{
    for (uint32_t at = 0; at < BLOCK; at += 64)
        __builtin_prefetch(row + at);
}

/* sum (stride) = the rows of these ids: at most METALLM__STATIC_TOKENS + 1 of them, each within
 * +-127, so that 16 bits hold the sum. A block of columns at a time stays in registers. */
static inline __attribute__((always_inline)) void
add_rows(const struct table *t, const uint32_t *ids, size_t count, int16_t *sum)
{
    for (uint32_t at = 0; at < t->stride; at += BLOCK) {
        const int8_t *rows = t->rows + at;
        v32hi a = {0}, b = {0}, c = {0}, d = {0};
        for (size_t i = 0; i < count && i < AHEAD; i++)
            fetch_row(rows + (size_t)ids[i] * t->stride);
        for (size_t i = 0; i < count; i++) {
            if (i + AHEAD < count)
                fetch_row(rows + (size_t)ids[i + AHEAD] * t->stride);
            const int8_t *row = rows + (size_t)ids[i] * t->stride;
            a += __builtin_convertvector(*(const v32qi *)(const void *)row, v32hi);
            b += __builtin_convertvector(*(const v32qi *)(const void *)(row + 32), v32hi);
            c += __builtin_convertvector(*(const v32qi *)(const void *)(row + 64), v32hi);
            d += __builtin_convertvector(*(const v32qi *)(const void *)(row + 96), v32hi);
        }
        memcpy(sum + at, &a, sizeof a);
        memcpy(sum + at + 32, &b, sizeof b);
        memcpy(sum + at + 64, &c, sizeof c);
        memcpy(sum + at + 96, &d, sizeof d);
    }
}

/* ---- a text's vector ---- */

static inline __attribute__((always_inline)) void
embed_body(const struct table *t, const uint32_t *ids, size_t count, float *out)
{
    int16_t sum[METALLM__STATIC_DIM_MAX];
    float values[METALLM__STATIC_DIM_MAX], squares[16] = {0}, total = 0;
    add_rows(t, ids, count, sum);
    for (uint32_t at = 0; at < t->stride; at += 16)
        for (uint32_t d = 0; d < 16; d++) {
            values[at + d] = (float)sum[at + d] * t->scales[at + d];
            float square = values[at + d] * values[at + d];
            squares[d] += square; /* apart, so that no compiler fuses them */
        }
    for (int i = 0; i < 16; i++)
        total += squares[i];
    float scale = total > 0 ? 1 / sqrtf(total) : 0;
    for (uint32_t d = 0; d < t->dim; d++)
        out[d] = values[d] * scale;
}

/* The same numbers at every level: nothing is fused, and sums of floats have one order. */
static void embed_any(const struct table *t, const uint32_t *ids, size_t count, float *out)
{
    embed_body(t, ids, count, out);
}

static __attribute__((target("avx2"))) void embed_avx2(const struct table *t, const uint32_t *ids,
                                                       size_t count, float *out)
{
    embed_body(t, ids, count, out);
}

static __attribute__((target("avx512bw,avx512f"))) void
embed_avx512(const struct table *t, const uint32_t *ids, size_t count, float *out)
{
    embed_body(t, ids, count, out);
}

static int embed(void *state, const struct metallm__embed_job *job, metallm_error *err)
{
    (void)err;
    const struct table *t = state;
    uint32_t ids[METALLM__STATIC_TOKENS];
    for (size_t i = 0; i < job->count; i++) {
        bool is_cut = false;
        float *head = job->head + i * job->stride;
        size_t count = metallm__tokenize_head(&t->tokenizer, job->texts[i], job->lens[i], ids,
                                              METALLM__STATIC_TOKENS, &is_cut);
        if (count == 0)
            ids[count++] = t->tokenizer.unk; /* a text without a word still has a direction */
        t->embed_ids(t, ids, count, head);
        if (job->tokens != NULL)
            job->tokens[i] = (uint32_t)count;
        if (job->tail == NULL)
            continue;
        float *tail = job->tail + i * job->stride;
        if (is_cut) {
            count = metallm__tokenize_tail(&t->tokenizer, job->texts[i], job->lens[i], ids,
                                           METALLM__STATIC_TOKENS);
            t->embed_ids(t, ids, count, tail);
        } else {
            memcpy(tail, head, t->dim * sizeof *tail);
        }
    }
    return METALLM_OK;
}

/* ---- files ---- */

static uint64_t digest(const int8_t *rows, size_t count, const float *scales, uint32_t dim)
{
    uint64_t h = metallm__hash_bytes(rows, count, 1);
    return metallm__hash_bytes(scales, dim * sizeof *scales, h);
}

int metallm__static_save(const struct metallm__static_table *t, const char *path,
                         metallm_error *err)
{
    struct metallm__st_writer *w = NULL;
    int rc = metallm__st_writer_new(&w, err);
    if (rc != METALLM_OK)
        return rc;
    char number[64];
    snprintf(number, sizeof number, "%016" PRIx64,
             digest(t->rows, (size_t)t->tokens * t->dim, t->scales, t->dim));
    const size_t shape[2] = {t->tokens, t->dim};
    rc = metallm__st_put_meta(w, "format", METALLM__STATIC_FORMAT, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "version", METALLM__STATIC_VERSION, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "digest", number, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "case", t->is_uncased ? "uncased" : "cased", err);
    snprintf(number, sizeof number, "%.17g", t->sif_a);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "sif_a", number, err);
    snprintf(number, sizeof number, "%" PRIu64, t->corpus_texts);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "corpus_texts", number, err);
    snprintf(number, sizeof number, "%" PRIu64, t->corpus_tokens);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "corpus_tokens", number, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "rows", METALLM__I8, 2, shape, t->rows, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "scales", METALLM__F32, 1, shape + 1, t->scales, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "vocab", METALLM__U8, 1, &t->vocab_len, t->vocab, err);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, path, err);
    metallm__st_writer_free(w);
    return rc;
}

static void static_free(void *state)
{
    struct table *t = state;
    if (t == NULL)
        return;
    if (t->has_tokenizer)
        metallm__tokenizer_fini(&t->tokenizer);
    metallm__free(t->rows);
    metallm__free(t->scales);
    metallm__st_close(t->file);
    metallm__free(t);
}

static int check_kind(const struct metallm__st_file *f, const char *path, metallm_error *err)
{
    const char *format = metallm__st_meta(f, "format"), *version = metallm__st_meta(f, "version");
    if (format == NULL || strcmp(format, METALLM__STATIC_FORMAT) != 0)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is not a static encoder's table",
                                  path);
    if (version == NULL || strcmp(version, METALLM__STATIC_VERSION) != 0)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'%s' is a static encoder's table of version '%s'; this program "
                                  "reads version " METALLM__STATIC_VERSION,
                                  path, version != NULL ? version : "");
    return METALLM_OK;
}

/* Rows are copied with padding: 8 MB, once; sums then need no remainder loop. */
static int copy_rows(struct table *t, const struct metallm__tensor *rows,
                     const struct metallm__tensor *scales, const char *path, metallm_error *err)
{
    t->tokens = (uint32_t)rows->shape[0];
    t->dim = (uint32_t)rows->shape[1];
    t->stride = (t->dim + BLOCK - 1) / BLOCK * BLOCK;
    t->rows = metallm__alloc_aligned((size_t)t->tokens * t->stride, 1);
    t->scales = metallm__calloc(t->stride, sizeof *t->scales);
    if (t->rows == NULL || t->scales == NULL)
        return metallm__error_nomem(err, "a static encoder's table");
    memcpy(t->scales, scales->data, t->dim * sizeof *t->scales);
    for (uint32_t d = 0; d < t->dim; d++)
        if (!(t->scales[d] >= 0 && t->scales[d] < 1e30f))
            return metallm__error_set(err, METALLM_EFORMAT, "'%s': scale %u is out of range", path,
                                      d);
    const int8_t *from = rows->data;
    memset(t->rows, 0, (size_t)t->tokens * t->stride);
    for (size_t i = 0; i < t->tokens; i++)
        for (uint32_t d = 0; d < t->dim; d++)
            t->rows[i * t->stride + d] = from[i * t->dim + d] == -128 ? -127 : from[i * t->dim + d];
    return METALLM_OK;
}

static int read_table(struct table *t, const char *path, metallm_error *err)
{
    struct metallm__tensor rows, scales, vocab;
    int rc = metallm__st_open(&t->file, path, err);
    if (rc == METALLM_OK)
        rc = check_kind(t->file, path, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(t->file, "rows", METALLM__I8, 2, (const size_t[]){0, 0}, &rows, err);
    if (rc != METALLM_OK)
        return rc;
    if (rows.shape[0] < 1 || rows.shape[0] > METALLM__VOCAB_TOKENS_MAX || rows.shape[1] < 1 ||
        rows.shape[1] > METALLM__STATIC_DIM_MAX)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'%s': a table of %zu x %zu is not possible", path, rows.shape[0],
                                  rows.shape[1]);
    rc = metallm__st_get(t->file, "scales", METALLM__F32, 1, &rows.shape[1], &scales, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(t->file, "vocab", METALLM__U8, 1, (const size_t[]){0}, &vocab, err);
    const char *letters = metallm__st_meta(t->file, "case");
    bool is_uncased = letters == NULL || strcmp(letters, "cased") != 0;
    if (rc == METALLM_OK)
        rc = copy_rows(t, &rows, &scales, path, err);
    if (rc == METALLM_OK)
        rc = metallm__tokenizer_init_bytes(&t->tokenizer, vocab.data, vocab.count, path, is_uncased,
                                           err);
    t->has_tokenizer = rc == METALLM_OK;
    if (rc == METALLM_OK && t->tokenizer.vocab.count != t->tokens)
        rc = metallm__error_set(err, METALLM_EFORMAT, "'%s': %u tokens for %u rows", path,
                                t->tokenizer.vocab.count, t->tokens);
    return rc;
}

static int static_open(void **state, const metallm_encoder_options *opts,
                       struct metallm__backend_facts *facts, metallm_error *err)
{
    char *standard = NULL;
    int rc = METALLM_OK;
    if (opts->precision != NULL && strcmp(opts->precision, "auto") != 0 &&
        strcmp(opts->precision, "int8") != 0)
        return metallm__error_set(err, METALLM_EINVAL, "the static encoder has no precision '%s'",
                                  opts->precision);
    if (opts->path == NULL)
        rc = metallm__cache_path(&standard, METALLM__STATIC_DEFAULT, err);
    struct table *t = metallm__calloc(1, sizeof *t);
    if (rc == METALLM_OK && t == NULL)
        rc = metallm__error_nomem(err, "a static encoder");
    if (rc == METALLM_OK) {
        rc = read_table(t, standard != NULL ? standard : opts->path, err);
        if (rc == METALLM_ENOTFOUND && standard != NULL)
            metallm__error_set(err, rc,
                               "no static encoder at '%.120s': make one with 'metallm distill "
                               "FILES', or name one with --weights",
                               standard);
    }
    metallm__free(standard);
    if (rc != METALLM_OK) {
        static_free(t);
        return rc;
    }
    t->embed_ids = __builtin_cpu_supports("avx512bw") ? embed_avx512
                   : __builtin_cpu_supports("avx2")   ? embed_avx2
                                                      : embed_any;
    const char *sum = metallm__st_meta(t->file, "digest");
    snprintf(facts->id, sizeof facts->id, "static-%.8s/int8", sum != NULL ? sum : "unnamed");
    facts->dim = t->dim;
    facts->has_tail = true;
    *state = t;
    return METALLM_OK;
}

const struct metallm__backend metallm__backend_static = {
    .name = "static",
    .help = "sums of token vectors made by metallm distill: about a thousand times faster",
    .open = static_open,
    .free = static_free,
    .embed = embed,
};
