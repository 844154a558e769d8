/* SPDX-License-Identifier: Apache-2.0
 * features.c - see inputs.h: the encoder that is meant, and vectors of prompts, each text once. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/inputs.h"
#include "data/index.h"
#include "metallm/service.h"
#include "store/store.h"

#define BATCH_TEXTS 256u

/* What is opened to get vectors of an id: "minilm-l6-v2/bf16" is made by "minilm" in "bf16",
 * "bert-..." by "minilm" with weights of its own, "remote:MODEL/fp32" by "remote:MODEL". */
static void split_id(const char *id, char *name, const char **precision)
{
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    const char *slash = strrchr(id, '/');
    *precision = NULL;
    for (size_t i = 0; slash != NULL && i < sizeof precisions / sizeof *precisions; i++)
        if (strcmp(slash + 1, precisions[i]) == 0)
            *precision = precisions[i];
    size_t len = strcspn(id, "-/:");
    if (strncmp(id, "remote:", 7) == 0)
        len = slash != NULL ? (size_t)(slash - id) : strlen(id);
    snprintf(name, METALLM_ENCODER_ID_BYTES, "%.*s", (int)len, id);
    if (strcmp(name, "bert") == 0)
        snprintf(name, METALLM_ENCODER_ID_BYTES, "minilm");
}

static bool is_given(const char *option)
{
    return option != NULL && strcmp(option, "auto") != 0;
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
    char name[METALLM_ENCODER_ID_BYTES];
    const char *precision = NULL;
    metallm_encoder_options e = {.name = opts->encoder,
                                 .path = opts->weights,
                                 .precision = opts->precision,
                                 .threads = thread_count(opts->threads)};
    if (wanted != NULL && strcmp(wanted, "custom") == 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "the router was trained on vectors of its maker's own, which no "
                                  "encoder here gives");
    if (wanted != NULL)
        split_id(wanted, name, &precision);
    if (wanted != NULL && !is_given(opts->encoder))
        e.name = name;
    bool is_same = wanted != NULL && is_given(e.name) && strcmp(e.name, name) == 0;
    if (is_same && !is_given(opts->precision))
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

/* Where vectors are made: an encoder, threads that share its texts among them (NULL: none but
 * this one), and a store of those made before (NULL: none). */
struct maker {
    const struct cli_io *io;
    metallm_encoder *encoder;
    metallm_service *service;
    struct metallm__store *store;
    char kind[METALLM_ENCODER_ID_BYTES + 40]; /* what the store calls such vectors */
    size_t dim;
    float *scratch; /* BATCH_TEXTS x dim */
};

/* Texts that the service has not answered yet, and the first answer that was an error. */
struct pending {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    size_t left;
    int status;
    metallm_error err;
};

static void note_answer(void *payload, int status, const metallm_error *err)
{
    struct pending *p = payload;
    pthread_mutex_lock(&p->lock);
    p->left--;
    if (status != METALLM_OK && p->status == METALLM_OK) {
        p->status = status;
        p->err = *err;
    }
    pthread_cond_signal(&p->answered);
    pthread_mutex_unlock(&p->lock);
}

static int encode_by_service(struct maker *k, const char *const *texts, const size_t *lens,
                             size_t count, metallm_error *err)
{
    struct pending p = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < count; i++) {
        bool ready = false; /* there is no cache: it never is */
        const metallm_service_request r = {.text = texts[i],
                                           .len = lens[i],
                                           .out = k->scratch + i * k->dim,
                                           .done = note_answer,
                                           .payload = &p};
        pthread_mutex_lock(&p.lock);
        p.left++;
        pthread_mutex_unlock(&p.lock);
        rc = metallm_service_submit(k->service, &r, &ready, NULL, err);
        if (rc != METALLM_OK || ready)
            note_answer(&p, METALLM_OK, NULL); /* this one does not come */
    }
    pthread_mutex_lock(&p.lock);
    while (p.left > 0) /* also after an error: rows are written until then */
        pthread_cond_wait(&p.answered, &p.lock);
    pthread_mutex_unlock(&p.lock);
    if (rc == METALLM_OK && p.status != METALLM_OK)
        rc = metallm__error_set(err, p.status, "%s", p.err.message);
    return rc;
}

/* Encodes those texts of the batch that are not found; rows move within the batch. */
static int encode_missing(struct maker *k, const struct metallm__store_vectors *batch,
                          metallm_error *err)
{
    const char *texts[BATCH_TEXTS];
    size_t lens[BATCH_TEXTS], missing = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->found[i]) {
            texts[missing] = batch->texts[i];
            lens[missing++] = batch->lens[i];
        }
    if (missing == 0)
        return METALLM_OK;
    int rc = k->service != NULL ? encode_by_service(k, texts, lens, missing, err)
                                : metallm_encoder_features(k->encoder, texts, lens, missing,
                                                           k->scratch, NULL, err);
    for (size_t i = 0, from = 0; rc == METALLM_OK && i < batch->count; i++)
        if (!batch->found[i])
            memcpy(batch->rows + i * k->dim, k->scratch + from++ * k->dim, k->dim * sizeof(float));
    if (rc == METALLM_OK && k->store != NULL)
        rc = metallm__store_vectors_put(k->store, batch, err);
    return rc;
}

/* The vectors of the next distinct prompts of the plan, into their rows of values. rows:
 * BATCH_TEXTS x dim. */
static int make_batch(struct maker *k, const metallm_outcomes *o, const size_t *queries,
                      size_t count, float *rows, float *values, metallm_error *err)
{
    const char *texts[BATCH_TEXTS];
    size_t lens[BATCH_TEXTS];
    uint8_t found[BATCH_TEXTS] = {0};
    for (size_t i = 0; i < count; i++) {
        texts[i] = metallm_outcomes_query(o, queries[i]).prompt;
        lens[i] = strlen(texts[i]);
    }
    const struct metallm__store_vectors batch = {.kind = k->kind,
                                                 .texts = texts,
                                                 .lens = lens,
                                                 .count = count,
                                                 .rows = rows,
                                                 .dim = (uint32_t)k->dim,
                                                 .found = found};
    int rc = k->store != NULL ? metallm__store_vectors_get(k->store, &batch, err) : METALLM_OK;
    if (rc == METALLM_OK)
        rc = encode_missing(k, &batch, err);
    for (size_t i = 0; rc == METALLM_OK && i < count; i++)
        memcpy(values + queries[i] * k->dim, rows + i * k->dim, k->dim * sizeof *values);
    return rc;
}

static int make_all(struct maker *k, const metallm_outcomes *o, const struct plan *p, float *values,
                    metallm_error *err)
{
    const metallm_progress *progress = &k->io->progress;
    float *rows = metallm__alloc(BATCH_TEXTS * k->dim, sizeof *rows);
    k->scratch = metallm__alloc(BATCH_TEXTS * k->dim, sizeof *k->scratch);
    int rc = rows != NULL && k->scratch != NULL ? METALLM_OK : metallm__error_nomem(err, "vectors");
    for (size_t i = 0; rc == METALLM_OK && i < p->distinct_count; i += BATCH_TEXTS) {
        size_t count = p->distinct_count - i < BATCH_TEXTS ? p->distinct_count - i : BATCH_TEXTS;
        rc = make_batch(k, o, p->distinct + i, count, rows, values, err);
        if (rc == METALLM_OK && progress->step != NULL &&
            progress->step(progress->payload, "encoding", i + count, p->distinct_count) != 0)
            rc = metallm__error_set(err, METALLM_ECANCELED, "encoding was cancelled");
    }
    metallm__free(k->scratch);
    metallm__free(rows);
    for (size_t q = 0; rc == METALLM_OK && q < p->count; q++)
        if (p->same_as[q] != q)
            memcpy(values + q * k->dim, values + p->same_as[q] * k->dim, k->dim * sizeof *values);
    return rc;
}

static int make_features(struct maker *k, const metallm_outcomes *o, const metallm_layout *layout,
                         struct cli_features *out, metallm_error *err)
{
    struct plan plan;
    size_t rows = metallm_outcomes_query_count(o);
    struct cli_features made = {.values = metallm__alloc_aligned(rows * k->dim, sizeof(float)),
                                .encoder = metallm__strdup(metallm_encoder_id(k->encoder))};
    int rc = made.values != NULL && made.encoder != NULL ? METALLM_OK
                                                         : metallm__error_nomem(err, "vectors");
    if (rc == METALLM_OK)
        rc = plan_init(&plan, o, err);
    if (rc == METALLM_OK) {
        rc = make_all(k, o, &plan, made.values, err);
        plan_fini(&plan);
    }
    if (rc != METALLM_OK) {
        cli_features_fini(&made);
        return rc;
    }
    made.vectors = (metallm_vectors){
        .values = made.values, .rows = rows, .layout = *layout, .encoder = made.encoder};
    *out = made;
    return METALLM_OK;
}

int cli_inputs_features(const struct cli_io *io, const struct cli_inputs_options *opts,
                        const char *wanted, const metallm_outcomes *o, struct cli_features *out,
                        metallm_error *err)
{
    struct maker k = {.io = io};
    struct cli_inputs_options inputs = *opts;
    const uint32_t threads = thread_count(opts->threads);
    inputs.threads = 1; /* of one batch: there are batches enough for all */
    int rc = cli_inputs_encoder(&inputs, wanted, &k.encoder, err);
    if (rc != METALLM_OK)
        return rc;
    if (threads > 1)
        rc = metallm_service_new(
            &k.service,
            &(metallm_service_options){
                .encoder = k.encoder,
                .features = true,
                .threads =
                    threads < METALLM_SERVICE_THREADS_MAX ? threads : METALLM_SERVICE_THREADS_MAX,
                .queue = 2 * BATCH_TEXTS, /* the last batch's places may not be free yet */
                .queue_bytes = (size_t)BATCH_TEXTS * METALLM_PROMPT_BYTES_MAX},
            err);
    const metallm_layout layout = metallm_encoder_layout(k.encoder);
    k.dim = metallm_layout_dim(&layout);
    snprintf(k.kind, sizeof k.kind, "%s %u+%u+%u", metallm_encoder_id(k.encoder), layout.head,
             layout.tail, layout.text);
    if (rc == METALLM_OK && opts->store != NULL)
        rc = metallm__store_open(&k.store, opts->store, METALLM__STORE_FILL, err);
    if (rc == METALLM_OK)
        rc = make_features(&k, o, &layout, out, err);
    metallm__store_close(k.store);
    metallm_service_free(k.service);
    metallm_encoder_free(k.encoder);
    return rc;
}

void cli_features_fini(struct cli_features *features)
{
    metallm__free(features->values);
    metallm__free(features->encoder);
    *features = (struct cli_features){0};
}

struct cli_inputs_options cli_inputs_of_tier(const struct cli_inputs_options *opts, bool is_coarse)
{
    struct cli_inputs_options out = *opts;
    if (opts->encoder != NULL && strcmp(opts->encoder, "tiered") == 0)
        out.encoder = NULL;
    if (is_coarse)
        out.precision = NULL;
    else
        out.weights = NULL;
    return out;
}

int cli_inputs_tiers(const struct cli_io *io, const struct cli_inputs_options *opts,
                     const metallm_router *router, const metallm_outcomes *o, struct cli_tiers *out,
                     metallm_error *err)
{
    const metallm_router *coarse = metallm_router_coarse(router);
    struct cli_tiers made = {0};
    struct cli_inputs_options inputs = *opts;
    int rc = METALLM_OK;
    if (coarse != NULL) {
        inputs = cli_inputs_of_tier(opts, true);
        rc = cli_inputs_features(io, &inputs, metallm_router_encoder(coarse), o, &made.coarse, err);
        inputs = cli_inputs_of_tier(opts, false);
    }
    if (rc == METALLM_OK)
        rc = cli_inputs_features(io, &inputs, metallm_router_encoder(router), o, &made.fine, err);
    if (rc != METALLM_OK) {
        cli_tiers_fini(&made);
        return rc;
    }
    *out = made;
    out->cheap = coarse != NULL ? &out->coarse.vectors : NULL;
    return METALLM_OK;
}

void cli_tiers_fini(struct cli_tiers *tiers)
{
    cli_features_fini(&tiers->fine);
    cli_features_fini(&tiers->coarse);
    tiers->cheap = NULL;
}
