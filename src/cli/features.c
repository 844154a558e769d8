/* SPDX-License-Identifier: Apache-2.0
 * features.c - see inputs.h: the encoder that is meant, and vectors of prompts, each text once. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/inputs.h"
#include "data/index.h"

#define BATCH_TEXTS 256u

/* "minilm-l6-v2/fp32" is made by encoder "minilm" in precision "fp32". */
static void split_id(const char *id, char *name, char *precision)
{
    size_t len = strcspn(id, "-/");
    const char *slash = strrchr(id, '/');
    snprintf(name, METALLM_ENCODER_ID_BYTES, "%.*s", (int)len, id);
    snprintf(precision, METALLM_ENCODER_ID_BYTES, "%s", slash != NULL ? slash + 1 : "");
}

static uint32_t thread_count(uint64_t asked)
{
    if (asked > 0)
        return (uint32_t)asked;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

int cli_inputs_encoder(const struct cli_inputs_options *opts, const char *wanted,
                       metallm_encoder **out, metallm_error *err)
{
    char name[METALLM_ENCODER_ID_BYTES] = "", precision[METALLM_ENCODER_ID_BYTES] = "";
    if (wanted != NULL && strcmp(wanted, "custom") == 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "the router was trained on vectors of its maker's own, which no "
                                  "encoder here gives");
    if (wanted != NULL)
        split_id(wanted, name, precision);
    metallm_encoder_options e = {.name = opts->encoder,
                                 .path = opts->weights,
                                 .precision = opts->precision,
                                 .threads = thread_count(opts->threads)};
    if (e.name == NULL && name[0] != '\0')
        e.name = name;
    if (e.precision == NULL && precision[0] != '\0')
        e.precision = precision;
    metallm_encoder *encoder = NULL;
    int rc = metallm_encoder_open(&encoder, &e, err);
    if (rc != METALLM_OK)
        return rc;
    if (wanted != NULL && strcmp(wanted, metallm_encoder_id(encoder)) != 0) {
        rc = metallm__error_set(err, METALLM_EMISMATCH,
                                "the router needs vectors of '%s', the options give '%s'", wanted,
                                metallm_encoder_id(encoder));
        metallm_encoder_free(encoder);
        return rc;
    }
    *out = encoder;
    return METALLM_OK;
}

/* Which queries are to be encoded, and for the others which query has the same prompt. */
struct plan {
    size_t *same_as;  /* of each query: the first with its prompt */
    size_t *distinct; /* first queries */
    size_t distinct_count, count;
};

static void plan_fini(struct plan *p)
{
    metallm__free(p->same_as);
    metallm__free(p->distinct);
}

static size_t find_prompt(const struct metallm__index *seen, const metallm_outcomes *o,
                          const char *prompt, uint64_t hash)
{
    size_t cursor = SIZE_MAX, row;
    while ((row = metallm__index_find(seen, hash, &cursor)) != SIZE_MAX)
        if (strcmp(metallm_outcomes_query(o, row).prompt, prompt) == 0)
            return row;
    return SIZE_MAX;
}

static int plan_init(struct plan *p, const metallm_outcomes *o, metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(o);
    struct metallm__index seen = {0};
    *p = (struct plan){.count = n,
                       .same_as = metallm__alloc(n, sizeof *p->same_as),
                       .distinct = metallm__alloc(n, sizeof *p->distinct)};
    int failed = p->same_as == NULL || p->distinct == NULL;
    for (size_t q = 0; !failed && q < n; q++) {
        const char *prompt = metallm_outcomes_query(o, q).prompt;
        uint64_t hash = metallm__hash_bytes(prompt, strlen(prompt), 0);
        size_t first = find_prompt(&seen, o, prompt, hash);
        p->same_as[q] = first != SIZE_MAX ? first : q;
        if (first == SIZE_MAX) {
            p->distinct[p->distinct_count++] = q;
            failed = metallm__index_add(&seen, hash, q) != 0;
        }
    }
    metallm__index_fini(&seen);
    if (!failed)
        return METALLM_OK;
    plan_fini(p);
    return metallm__error_nomem(err, "a plan of encoding");
}

/* Encodes the next texts of the plan into their rows. scratch: BATCH_TEXTS x dim. */
static int encode_batch(metallm_encoder *encoder, const metallm_outcomes *o, const size_t *queries,
                        size_t count, float *scratch, float *values, size_t dim, metallm_error *err)
{
    const char *texts[BATCH_TEXTS];
    size_t lens[BATCH_TEXTS];
    for (size_t i = 0; i < count; i++) {
        texts[i] = metallm_outcomes_query(o, queries[i]).prompt;
        lens[i] = strlen(texts[i]);
    }
    int rc = metallm_encoder_features(encoder, texts, lens, count, scratch, NULL, err);
    for (size_t i = 0; rc == METALLM_OK && i < count; i++)
        memcpy(values + queries[i] * dim, scratch + i * dim, dim * sizeof *values);
    return rc;
}

static int encode(const struct cli_io *io, metallm_encoder *encoder, const metallm_outcomes *o,
                  const struct plan *p, float *values, size_t dim, metallm_error *err)
{
    float *scratch = metallm__alloc(BATCH_TEXTS * dim, sizeof *scratch);
    if (scratch == NULL)
        return metallm__error_nomem(err, "vectors");
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < p->distinct_count; i += BATCH_TEXTS) {
        size_t count = p->distinct_count - i < BATCH_TEXTS ? p->distinct_count - i : BATCH_TEXTS;
        rc = encode_batch(encoder, o, p->distinct + i, count, scratch, values, dim, err);
        if (rc == METALLM_OK && io->progress.step != NULL &&
            io->progress.step(io->progress.payload, "encoding", i + count, p->distinct_count) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "encoding was cancelled");
    }
    metallm__free(scratch);
    for (size_t q = 0; rc == METALLM_OK && q < p->count; q++)
        if (p->same_as[q] != q)
            memcpy(values + q * dim, values + p->same_as[q] * dim, dim * sizeof *values);
    return rc;
}

int cli_inputs_features(const struct cli_io *io, const struct cli_inputs_options *opts,
                        const char *wanted, const metallm_outcomes *o, struct cli_features *out,
                        metallm_error *err)
{
    metallm_encoder *encoder = NULL;
    struct plan plan;
    int rc = cli_inputs_encoder(opts, wanted, &encoder, err);
    if (rc != METALLM_OK)
        return rc;
    const metallm_layout layout = metallm_encoder_layout(encoder);
    size_t dim = metallm_layout_dim(&layout), rows = metallm_outcomes_query_count(o);
    struct cli_features made = {.values = metallm__alloc_aligned(rows * dim, sizeof(float)),
                                .encoder = metallm__strdup(metallm_encoder_id(encoder))};
    if (made.values == NULL || made.encoder == NULL)
        rc = metallm__error_nomem(err, "vectors");
    if (rc == METALLM_OK)
        rc = plan_init(&plan, o, err);
    if (rc == METALLM_OK) {
        rc = encode(io, encoder, o, &plan, made.values, dim, err);
        plan_fini(&plan);
    }
    metallm_encoder_free(encoder);
    if (rc != METALLM_OK) {
        cli_features_fini(&made);
        return rc;
    }
    made.vectors = (metallm_vectors){
        .values = made.values, .rows = rows, .layout = layout, .encoder = made.encoder};
    *out = made;
    return METALLM_OK;
}

void cli_features_fini(struct cli_features *features)
{
    metallm__free(features->values);
    metallm__free(features->encoder);
    *features = (struct cli_features){0};
}
