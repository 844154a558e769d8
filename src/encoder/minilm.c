/* SPDX-License-Identifier: Apache-2.0
 * minilm.c - the sentence encoder all-MiniLM-L6-v2, or another BERT checkpoint given by its folder.
 * Tokenizes, packs sequences without padding, and hands them to a crew of threads. Crews are kept
 * for the next call, so that nothing is allocated in steady state. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "encoder/backend.h"
#include "encoder/net_file.h"
#include "encoder/sample.h"
#include "encoder/tokenizer.h"

#define PATH_BYTES 4096u

/* A crew and the batch that it works on; taken by one call at a time. */
struct session {
    struct metallm__crew *crew;
    struct metallm__pack pack;
    struct session *next;
};

struct state {
    struct metallm__bert *bert;
    struct metallm__tokenizer tokenizer;
    struct metallm__net *net;
    uint32_t threads;
    pthread_mutex_t lock;
    struct session *idle;
};

static const char *const precision_names[METALLM__PRECISION_COUNT] = {"fp32", "bf16", "int8"};

/* ---- packing ---- */

/* Adds [CLS] ids [SEP], where ids stand already at their place in the pack. */
static void close_sequence(const struct state *s, struct metallm__pack *pack, size_t ids,
                           float *out, float *copy)
{
    uint32_t first = pack->starts[pack->count], rows = (uint32_t)ids + 2;
    pack->ids[first] = s->tokenizer.cls;
    pack->ids[first + rows - 1] = s->tokenizer.sep;
    for (uint32_t i = 0; i < rows; i++)
        pack->positions[first + i] = i;
    pack->out[pack->count] = out;
    pack->copy[pack->count] = copy;
    pack->count++;
    pack->starts[pack->count] = first + rows;
}

/* Adds the beginning of a text, and its end where that is another. Returns the tokens of the head.
 */
static uint32_t add_text(const struct state *s, struct metallm__pack *pack, const char *text,
                         size_t len, float *head, float *tail)
{
    const size_t ids_max = s->bert->config.tokens_max - 2;
    bool is_cut;
    size_t n = metallm__tokenize_head(&s->tokenizer, text, len,
                                      pack->ids + pack->starts[pack->count] + 1, ids_max, &is_cut);
    close_sequence(s, pack, n, head, is_cut ? NULL : tail);
    if (is_cut && tail != NULL) {
        size_t last = metallm__tokenize_tail(&s->tokenizer, text, len,
                                             pack->ids + pack->starts[pack->count] + 1, ids_max);
        close_sequence(s, pack, last, tail, NULL);
    }
    return (uint32_t)n + 2;
}

/* The sample texts as one batch, for its ranges alone. */
static int make_sample(const struct state *s, struct metallm__pack **out, metallm_error *err)
{
    struct metallm__pack *pack = metallm__calloc(1, sizeof *pack);
    if (pack == NULL)
        return metallm__error_nomem(err, "an encoder's batch");
    for (size_t i = 0; metallm__sample_texts[i] != NULL; i++)
        if (pack->starts[pack->count] + s->bert->config.tokens_max <= METALLM__PACK_ROWS)
            add_text(s, pack, metallm__sample_texts[i], strlen(metallm__sample_texts[i]), NULL,
                     NULL);
    *out = pack;
    return METALLM_OK;
}

/* ---- opening ---- */

static int default_folder(char *out, size_t size, metallm_error *err)
{
    const char *cache = getenv("METALLM_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n;
    if (cache != NULL && cache[0] != '\0')
        n = snprintf(out, size, "%s/minilm", cache);
    else if (xdg != NULL && xdg[0] != '\0')
        n = snprintf(out, size, "%s/metallm/minilm", xdg);
    else if (home != NULL && home[0] != '\0')
        n = snprintf(out, size, "%s/.cache/metallm/minilm", home);
    else
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "no folder for the encoder's weights: HOME is not set");
    return n > 0 && (size_t)n < size
               ? METALLM_OK
               : metallm__error_set(err, METALLM_ELIMIT, "the cache folder's name is too long");
}

static int choose_precision(const char *wanted, enum metallm__isa isa, enum metallm__precision *out,
                            metallm_error *err)
{
    if (wanted == NULL || strcmp(wanted, "auto") == 0) {
        /* int8 keeps its cosine where it runs (docs/encoder.md), and is the fastest everywhere. */
        *out = metallm__precision_runs(METALLM__PRECISION_INT8, isa) ? METALLM__PRECISION_INT8
                                                                     : METALLM__PRECISION_FP32;
        return METALLM_OK;
    }
    for (int i = 0; i < METALLM__PRECISION_COUNT; i++)
        if (strcmp(wanted, precision_names[i]) == 0) {
            *out = (enum metallm__precision)i;
            return METALLM_OK;
        }
    return metallm__error_set(err, METALLM_EINVAL, "no precision '%s': fp32, bf16, int8 or auto",
                              wanted);
}

/* Names the weights: a hash of rows spread over the embedding and of all small vectors tells one
 * model from another without reading the whole file. */
static uint64_t fingerprint(const struct metallm__bert *b)
{
    const struct metallm__bert_config *c = &b->config;
    const size_t row = c->hidden * sizeof(float);
    uint64_t h = metallm__hash_bytes(&c->tokens_max, sizeof c->tokens_max, c->is_cls);
    for (uint32_t i = 0; i < 64; i++)
        h = metallm__hash_bytes(b->word + (size_t)c->vocab * i / 64 * c->hidden, row, h);
    for (uint32_t i = 0; i < c->layers; i++) {
        h = metallm__hash_bytes(b->layers[i].up.bias, c->inner * sizeof(float), h);
        h = metallm__hash_bytes(b->layers[i].query.weight, row, h);
        h = metallm__hash_bytes(b->layers[i].output_norm.gamma, row, h);
    }
    return h;
}

/* sentence-transformers/all-MiniLM-L6-v2's model.safetensors. */
static const uint8_t minilm_sha256[METALLM__SHA256_BYTES] = {
    0x53, 0xaa, 0x51, 0x17, 0x2d, 0x14, 0x2c, 0x89, 0xd9, 0x01, 0x2c, 0xce, 0x15, 0xae, 0x4d, 0x6c,
    0xc0, 0xca, 0x68, 0x95, 0x89, 0x51, 0x14, 0x37, 0x9c, 0xac, 0xb4, 0xfa, 0xb1, 0x28, 0xd9, 0xdb};

static int name_model(const struct metallm__bert *b, enum metallm__precision precision,
                      const struct metallm__net_source *source,
                      struct metallm__backend_facts *facts, metallm_error *err)
{
    const uint64_t minilm_l6_v2 = 0xd87738448f62b6e5u, print = fingerprint(b);
    if (print == minilm_l6_v2 && memcmp(source->sha256, minilm_sha256, sizeof minilm_sha256) != 0)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'%s' is all-MiniLM-L6-v2, but damaged: its SHA-256 is not the "
                                  "published file's; run scripts/setup again",
                                  source->weights);
    if (print == minilm_l6_v2)
        snprintf(facts->id, sizeof facts->id, "minilm-l6-v2/%s", precision_names[precision]);
    else
        snprintf(facts->id, sizeof facts->id, "bert-%ux%u-%016llx/%s", b->config.layers,
                 b->config.hidden, (unsigned long long)print, precision_names[precision]);
    facts->dim = b->config.hidden;
    facts->has_tail = true;
    return METALLM_OK;
}

static void free_minilm(void *payload)
{
    struct state *s = payload;
    if (s == NULL)
        return;
    while (s->idle != NULL) {
        struct session *next = s->idle->next;
        metallm__crew_free(s->idle->crew);
        metallm__free(s->idle);
        s->idle = next;
    }
    metallm__net_free(s->net);
    metallm__tokenizer_fini(&s->tokenizer);
    metallm__bert_free(s->bert);
    pthread_mutex_destroy(&s->lock);
    metallm__free(s);
}

static int open_net(struct state *s, const char *folder, enum metallm__precision precision,
                    enum metallm__isa isa, struct metallm__backend_facts *facts, metallm_error *err)
{
    char weights[PATH_BYTES + 32], packed[PATH_BYTES + 64];
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    snprintf(packed, sizeof packed, "%s/packed-%s-%s.bin", folder, precision_names[precision],
             metallm__isa_name(isa));
    struct metallm__net_source source = {.weights = weights, .packed = packed};
    struct metallm__pack *sample = NULL;
    int rc = metallm__weights_look(&source.look, weights, err);
    if (rc == METALLM_OK)
        rc = make_sample(s, &sample, err);
    if (rc == METALLM_OK)
        rc = metallm__net_new(&s->net, s->bert, precision, isa, sample, &source, err);
    metallm__free(sample);
    return rc == METALLM_OK ? name_model(s->bert, precision, &source, facts, err) : rc;
}

static int open_parts(struct state *s, const char *folder, const metallm_encoder_options *opts,
                      struct metallm__backend_facts *facts, metallm_error *err)
{
    char vocab[PATH_BYTES + 16];
    enum metallm__isa isa = METALLM__ISA_SSE;
    enum metallm__precision precision = METALLM__PRECISION_FP32;
    int rc = metallm__isa_get(&isa, err);
    if (rc == METALLM_OK)
        rc = choose_precision(opts->precision, isa, &precision, err);
    if (rc == METALLM_OK)
        rc = metallm__bert_open(&s->bert, folder, err);
    if (rc != METALLM_OK)
        return rc;
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", folder);
    rc = metallm__tokenizer_init(&s->tokenizer, vocab, s->bert->config.is_uncased, err);
    if (rc == METALLM_OK && s->tokenizer.vocab.count > s->bert->config.vocab)
        rc = metallm__error_set(err, METALLM_EMISMATCH,
                                "'%s' has %u tokens, the model's embedding only %u", vocab,
                                s->tokenizer.vocab.count, s->bert->config.vocab);
    return rc == METALLM_OK ? open_net(s, folder, precision, isa, facts, err) : rc;
}

static int open_minilm(void **state, const metallm_encoder_options *opts,
                       struct metallm__backend_facts *facts, metallm_error *err)
{
    char folder[PATH_BYTES];
    if (opts->threads > METALLM__THREADS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u threads, at most %u", opts->threads,
                                  METALLM__THREADS_MAX);
    int rc = METALLM_OK;
    if (opts->path == NULL)
        rc = default_folder(folder, sizeof folder, err);
    else if (snprintf(folder, sizeof folder, "%s", opts->path) >= (int)sizeof folder)
        rc = metallm__error_set(err, METALLM_ELIMIT, "the folder's name is too long");
    if (rc != METALLM_OK)
        return rc;
    struct state *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "an encoder");
    pthread_mutex_init(&s->lock, NULL);
    s->threads = opts->threads > 0 ? opts->threads : 1;
    rc = open_parts(s, folder, opts, facts, err);
    if (rc != METALLM_OK) {
        free_minilm(s);
        return rc == METALLM_ENOTFOUND && opts->path == NULL
                   ? metallm__error_set(err, rc,
                                        "no encoder weights in '%s': run scripts/setup, or give "
                                        "their folder",
                                        folder)
                   : rc;
    }
    *state = s;
    return METALLM_OK;
}

/* ---- embedding ---- */

static int take_session(struct state *s, struct session **out, metallm_error *err)
{
    pthread_mutex_lock(&s->lock);
    struct session *taken = s->idle;
    if (taken != NULL)
        s->idle = taken->next;
    pthread_mutex_unlock(&s->lock);
    if (taken == NULL) {
        taken = metallm__calloc(1, sizeof *taken);
        if (taken == NULL)
            return metallm__error_nomem(err, "an encoder's batch");
        int rc = metallm__crew_new(&taken->crew, s->net, s->threads, err);
        if (rc != METALLM_OK) {
            metallm__free(taken);
            return rc;
        }
    }
    *out = taken;
    return METALLM_OK;
}

static void give_back(struct state *s, struct session *session)
{
    pthread_mutex_lock(&s->lock);
    session->next = s->idle;
    s->idle = session;
    pthread_mutex_unlock(&s->lock);
}

static int run(struct session *session, metallm_error *err)
{
    int rc = session->pack.count > 0 ? metallm__crew_run(session->crew, &session->pack, err)
                                     : METALLM_OK;
    session->pack.count = 0;
    return rc;
}

static int embed(void *payload, const struct metallm__embed_job *job, metallm_error *err)
{
    struct state *s = payload;
    struct session *session = NULL;
    int rc = take_session(s, &session, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__pack *pack = &session->pack;
    pack->count = 0;
    for (size_t i = 0; rc == METALLM_OK && i < job->count; i++) {
        if (pack->starts[pack->count] + 2 * s->bert->config.tokens_max > METALLM__PACK_ROWS)
            rc = run(session, err);
        if (rc != METALLM_OK)
            break;
        float *head = job->head + i * job->stride;
        float *tail = job->tail != NULL ? job->tail + i * job->stride : NULL;
        uint32_t tokens = add_text(s, pack, job->texts[i], job->lens[i], head, tail);
        if (job->tokens != NULL)
            job->tokens[i] = tokens;
    }
    if (rc == METALLM_OK)
        rc = run(session, err);
    give_back(s, session);
    return rc;
}

const struct metallm__backend metallm__backend_minilm = {
    .name = "minilm",
    .help = "all-MiniLM-L6-v2, or the BERT sentence encoder in the folder given",
    .open = open_minilm,
    .free = free_minilm,
    .embed = embed,
};
