/* SPDX-License-Identifier: Apache-2.0
 * crew.c - the forward pass. Each thread owns a run of rows (tokens); only attention reads the rows
 * of others, so the threads meet twice a layer. Rows go through the products in blocks that stay in
 * the cache. */
#include <sched.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/kernels_bf16.h"
#include "encoder/net_internal.h"

#define SPINS_BEFORE_YIELD 2000u

/* All threads of the crew arrive before any goes on. Spins first: the others are close behind. */
static void meet(struct metallm__crew *crew)
{
    if (crew->threads == 1)
        return;
    unsigned generation = atomic_load_explicit(&crew->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&crew->waiting, 1, memory_order_acq_rel) + 1 == crew->threads) {
        atomic_store_explicit(&crew->waiting, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&crew->generation, 1, memory_order_release);
        return;
    }
    for (unsigned spins = 0;
         atomic_load_explicit(&crew->generation, memory_order_acquire) == generation; spins++)
        if (spins >= SPINS_BEFORE_YIELD)
            sched_yield();
        else
            __builtin_ia32_pause();
}

/* ---- the pass ---- */

static void pool(const struct metallm__crew *crew, uint32_t part)
{
    const struct metallm__pack *pack = crew->pack;
    const struct metallm__bert_config *c = &crew->net->bert->config;
    for (uint32_t s = part; s < pack->count; s += crew->threads) {
        uint32_t rows = c->is_cls ? 1 : pack->starts[s + 1] - pack->starts[s];
        if (pack->out[s] == NULL)
            continue;
        crew->net->kernels->pool(pack->out[s], crew->x + (size_t)pack->starts[s] * c->hidden, rows,
                                 c->hidden);
        if (pack->copy[s] != NULL)
            memcpy(pack->copy[s], pack->out[s], c->hidden * sizeof *pack->out[s]);
    }
}

static void run_part(struct metallm__worker *w)
{
    const struct metallm__crew *crew = w->crew;
    const struct metallm__bert *b = crew->net->bert;
    const struct metallm__pack *pack = crew->pack;
    const uint64_t rows = pack->starts[pack->count];
    const uint32_t begin = (uint32_t)(rows * w->part / crew->threads),
                   end = (uint32_t)(rows * (w->part + 1) / crew->threads);
    const struct metallm__pass *pass = crew->net->pass;
    int kept = metallm__gemm_begin();
    w->rc = METALLM_OK;
    crew->net->kernels->embed(crew->x + (size_t)begin * b->config.hidden, pack->ids + begin,
                              pack->positions + begin, end - begin, b->config.hidden, b->word,
                              b->position, b->type, &b->norm);
    for (uint32_t i = 0; i < b->config.layers; i++) {
        pass->project(w, &crew->net->layers[i], begin, end);
        meet(w->crew);
        pass->attend(w, begin, end);
        meet(w->crew);
        pass->feed_forward(w, &crew->net->layers[i], &b->layers[i], begin, end);
    }
    meet(w->crew);
    pool(crew, w->part);
    metallm__gemm_end(kept);
}

/* ---- the crew ---- */

static void *help(void *payload)
{
    struct metallm__worker *w = payload;
    struct metallm__crew *crew = w->crew;
    uint64_t done = 0;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (!crew->is_ending && crew->batch == done)
            pthread_cond_wait(&crew->wake, &crew->lock);
        if (crew->is_ending)
            break;
        done = crew->batch;
        pthread_mutex_unlock(&crew->lock);
        run_part(w);
        pthread_mutex_lock(&crew->lock);
        if (--crew->at_work == 0)
            pthread_cond_signal(&crew->done);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

int metallm__crew_run(struct metallm__crew *crew, const struct metallm__pack *pack,
                      metallm_error *err)
{
    METALLM_REQUIRE(pack->count > 0 && pack->starts[pack->count] <= METALLM__PACK_ROWS);
    crew->pack = pack;
    if (crew->threads > 1) {
        pthread_mutex_lock(&crew->lock);
        crew->batch++;
        crew->at_work = crew->threads - 1;
        pthread_cond_broadcast(&crew->wake);
        pthread_mutex_unlock(&crew->lock);
    }
    run_part(&crew->workers[0]);
    if (crew->threads > 1) {
        pthread_mutex_lock(&crew->lock);
        while (crew->at_work > 0)
            pthread_cond_wait(&crew->done, &crew->lock);
        pthread_mutex_unlock(&crew->lock);
    }
    for (uint32_t i = 0; i < crew->threads; i++)
        if (crew->workers[i].rc != METALLM_OK) {
            if (err != NULL)
                *err = crew->workers[i].err;
            return crew->workers[i].rc;
        }
    return METALLM_OK;
}

/* Attention's scratch, in fp32 or in bfloat16. */
static size_t scratch_bytes(const struct metallm__bert_config *c)
{
    size_t wide = metallm__attend_floats(c->tokens_max, c->hidden / c->heads) * sizeof(float);
    size_t low = metallm__attend_bf16_bytes(c->tokens_max, c->hidden / c->heads);
    return wide > low ? wide : low;
}

static int worker_init(struct metallm__worker *w, struct metallm__crew *crew, uint32_t part,
                       metallm_error *err)
{
    const struct metallm__bert_config *c = &crew->net->bert->config;
    const size_t widest = c->inner > 3 * c->hidden ? c->inner : 3 * c->hidden;
    w->crew = crew;
    w->part = part;
    w->input = metallm__arena_take(&w->arena, METALLM__GEMM_ROWS_MAX * widest * sizeof(float));
    w->block = metallm__arena_take(&w->arena, METALLM__GEMM_ROWS_MAX * widest * sizeof(float));
    w->scratch = metallm__arena_take(&w->arena, scratch_bytes(c));
    w->line = metallm__arena_take(&w->arena, widest * sizeof *w->line);
    if (w->input == NULL || w->block == NULL || w->scratch == NULL || w->line == NULL)
        return metallm__error_nomem(err, "an encoder's thread");
    /* Rows that pad a block are computed and not used, but never uninitialised. */
    memset(w->input, 0, METALLM__GEMM_ROWS_MAX * widest * sizeof(float));
    return metallm__gemm_worker_new(&w->gemm, crew->net->gemm, err);
}

int metallm__crew_new(struct metallm__crew **out, struct metallm__net *net, uint32_t threads,
                      metallm_error *err)
{
    METALLM_REQUIRE(threads >= 1 && threads <= METALLM__THREADS_MAX);
    const size_t hidden = net->bert->config.hidden;
    struct metallm__crew *crew = metallm__calloc(1, sizeof *crew);
    if (crew == NULL)
        return metallm__error_nomem(err, "an encoder's threads");
    crew->net = net;
    crew->threads = threads;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->wake, NULL);
    pthread_cond_init(&crew->done, NULL);
    crew->workers = metallm__calloc(threads, sizeof *crew->workers);
    const size_t state_bytes = METALLM__PACK_ROWS * hidden * sizeof(float);
    crew->x = metallm__arena_take(&crew->arena, state_bytes);
    crew->qkv = metallm__arena_take(&crew->arena, 3 * state_bytes);
    crew->context = metallm__arena_take(&crew->arena, state_bytes);
    int rc = METALLM_OK;
    if (crew->workers == NULL || crew->x == NULL || crew->qkv == NULL || crew->context == NULL)
        rc = metallm__error_nomem(err, "an encoder's threads");
    for (uint32_t i = 0; rc == METALLM_OK && i < threads; i++)
        rc = worker_init(&crew->workers[i], crew, i, err);
    for (crew->started = 1; rc == METALLM_OK && crew->started < threads; crew->started++)
        if (pthread_create(&crew->workers[crew->started].thread, NULL, help,
                           &crew->workers[crew->started]) != 0) {
            rc = metallm__error_set(err, METALLM_ELIMIT, "cannot start an encoder's thread");
            break;
        }
    if (rc != METALLM_OK) {
        metallm__crew_free(crew);
        return rc;
    }
    *out = crew;
    return METALLM_OK;
}

void metallm__crew_free(struct metallm__crew *crew)
{
    if (crew == NULL)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->is_ending = true;
    pthread_cond_broadcast(&crew->wake);
    pthread_mutex_unlock(&crew->lock);
    for (uint32_t i = 1; i < crew->started; i++)
        pthread_join(crew->workers[i].thread, NULL);
    for (uint32_t i = 0; crew->workers != NULL && i < crew->threads; i++) {
        metallm__gemm_worker_free(crew->workers[i].gemm);
        metallm__arena_fini(&crew->workers[i].arena);
    }
    metallm__free(crew->workers);
    metallm__arena_fini(&crew->arena);
    pthread_cond_destroy(&crew->wake);
    pthread_cond_destroy(&crew->done);
    pthread_mutex_destroy(&crew->lock);
    metallm__free(crew);
}
