/* SPDX-License-Identifier: Apache-2.0
 * metallm/encoder.h - text to vector, in process.
 * Two forms: an embedding (unit length, what `metallm embed` prints), and the features of a query
 * that a router reads: [embedding of the first tokens | embedding of the last tokens | text
 * features]. Threads: any number may encode with one encoder at a time. */
#ifndef METALLM_ENCODER_H
#define METALLM_ENCODER_H
#include "metallm/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define METALLM_ENCODER_ID_BYTES  96u
#define METALLM_TEXT_FEATURES_MAX 64u

typedef struct metallm_encoder metallm_encoder;

/* "remote": an OpenAI-compatible /v1/embeddings endpoint. A field that is NULL is taken from the
 * environment variable named beside it. The key is never part of a message. */
typedef struct metallm_remote_options {
    const char *url;      /* "https://host/v1"; options.path; METALLM_EMBEDDINGS_URL */
    const char *model;    /* what follows "remote:" in options.name; METALLM_EMBEDDINGS_MODEL */
    const char *key;      /* METALLM_EMBEDDINGS_KEY; none: no Authorization header */
    const char *key_file; /* its first line; METALLM_EMBEDDINGS_KEY_FILE */
    uint32_t timeout_ms;  /* of one attempt, from connect to last byte; 0: 30,000 */
    uint32_t attempts;    /* of a batch that meets 429, 5xx or a broken connection; 0: 4 */
    uint32_t backoff_ms;  /* before the second attempt, then doubled, with jitter; 0: 250 */
    uint32_t batch;       /* texts in one request, at most 2048; 0: 64 */
    uint32_t text_bytes;  /* a longer text is cut at a character; 0: 16,384 */
} metallm_remote_options;

typedef struct metallm_encoder_options {
    const char *name; /* "minilm", "hash", ...; NULL or "auto": minilm */
    const char *path; /* folder of the weights; NULL: the cache folder's */
    const char
        *precision;   /* "fp32", "bf16", "int8"; NULL or "auto": fastest that is accurate here */
    uint32_t threads; /* for one batch; 0: 1 */
    const metallm_remote_options *remote; /* NULL: all from name, path and the environment */
} metallm_encoder_options;

/* How a feature vector is laid out: head | tail | text, floats. Custom vectors: head alone. */
typedef struct metallm_layout {
    uint32_t head; /* embedding of the text's beginning (at most 256 tokens), unit length */
    uint32_t tail; /* embedding of the end where the text is longer than that, else equal to head */
    uint32_t text; /* text features, raw (not standardised) */
} metallm_layout;

METALLM_API METALLM_MUSTCHECK int metallm_encoder_open(metallm_encoder **out,
                                                       const metallm_encoder_options *opts,
                                                       metallm_error *err);
METALLM_API void metallm_encoder_free(metallm_encoder *e);
/* Name, model and precision, as "minilm-l6-v2/fp32": stored vectors and router files carry it. */
METALLM_API const char *metallm_encoder_id(const metallm_encoder *e);
METALLM_API uint32_t metallm_encoder_dim(const metallm_encoder *e); /* floats in an embedding */
METALLM_API metallm_layout metallm_encoder_layout(const metallm_encoder *e);
METALLM_API uint32_t metallm_layout_dim(const metallm_layout *layout); /* head + tail + text */

/* lens in bytes; texts need no NUL and may hold any bytes (invalid UTF-8 is read as U+FFFD).
 * out: count x dim floats, row-major; tokens: count numbers ([CLS] and [SEP] included), may be
 * NULL. */
METALLM_API METALLM_MUSTCHECK int
metallm_encoder_embed(metallm_encoder *e, const char *const *texts, const size_t *lens,
                      size_t count, float *out, uint32_t *tokens, metallm_error *err);
/* out: count x metallm_layout_dim floats. progress may be NULL. */
METALLM_API METALLM_MUSTCHECK int
metallm_encoder_features(metallm_encoder *e, const char *const *texts, const size_t *lens,
                         size_t count, float *out, const metallm_progress *progress,
                         metallm_error *err);

#ifdef __cplusplus
}
#endif
#endif
