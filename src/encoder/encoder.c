/* SPDX-License-Identifier: Apache-2.0
 * encoder.c - metallm/encoder.h: finds the way of encoding by name, and puts embeddings and text
 * features together. */
#include "metallm/encoder.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/backend.h"
#include "encoder/text_features.h"

#define CHUNK_TEXTS 64u /* between two calls of progress */

/* The first is what "auto" means. */
static const struct metallm__backend *const backends[] = {
    &metallm__backend_minilm,
    &metallm__backend_hash,
    &metallm__backend_static,
    &metallm__backend_remote,
};
#define BACKENDS (sizeof backends / sizeof backends[0])

struct metallm_encoder {
    const struct metallm__backend *backend;
    void *state;
    struct metallm__backend_facts facts;
};

static const struct metallm__backend *find_backend(const char *name)
{
    if (name == NULL || strcmp(name, "auto") == 0)
        return backends[0];
    size_t len = strcspn(name, ":");
    for (size_t i = 0; i < BACKENDS; i++)
        if (strlen(backends[i]->name) == len && memcmp(backends[i]->name, name, len) == 0)
            return backends[i];
    return NULL;
}

int metallm_encoder_open(metallm_encoder **out, const metallm_encoder_options *opts,
                         metallm_error *err)
{
    static const metallm_encoder_options defaults = {0};
    METALLM_REQUIRE(out != NULL);
    if (opts == NULL)
        opts = &defaults;
    const struct metallm__backend *backend = find_backend(opts->name);
    if (backend == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no encoder '%s'", opts->name);
    metallm_encoder *e = metallm__calloc(1, sizeof *e);
    if (e == NULL)
        return metallm__error_nomem(err, "an encoder");
    e->backend = backend;
    int rc = backend->open(&e->state, opts, &e->facts, err);
    if (rc != METALLM_OK) {
        metallm__free(e);
        return rc;
    }
    *out = e;
    return METALLM_OK;
}

void metallm_encoder_free(metallm_encoder *e)
{
    if (e == NULL)
        return;
    e->backend->free(e->state);
    metallm__free(e);
}

const char *metallm_encoder_id(const metallm_encoder *e)
{
    return e->facts.id;
}

uint32_t metallm_encoder_dim(const metallm_encoder *e)
{
    return e->facts.dim;
}

metallm_layout metallm_encoder_layout(const metallm_encoder *e)
{
    return (metallm_layout){.head = e->facts.dim,
                            .tail = e->facts.has_tail ? e->facts.dim : 0,
                            .text = METALLM__TEXT_FEATURES};
}

uint32_t metallm_layout_dim(const metallm_layout *layout)
{
    return layout->head + layout->tail + layout->text;
}

int metallm_encoder_embed(metallm_encoder *e, const char *const *texts, const size_t *lens,
                          size_t count, float *out, uint32_t *tokens, metallm_error *err)
{
    const struct metallm__embed_job job = {.texts = texts,
                                           .lens = lens,
                                           .count = count,
                                           .head = out,
                                           .stride = e->facts.dim,
                                           .tokens = tokens};
    return count == 0 ? METALLM_OK : e->backend->embed(e->state, &job, err);
}

int metallm_encoder_features(metallm_encoder *e, const char *const *texts, const size_t *lens,
                             size_t count, float *out, const metallm_progress *progress,
                             metallm_error *err)
{
    const metallm_layout layout = metallm_encoder_layout(e);
    const size_t stride = metallm_layout_dim(&layout);
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < CHUNK_TEXTS ? count - at : CHUNK_TEXTS;
        float *row = out + at * stride;
        if (progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "encoding", at, count) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "encoding was cancelled");
        const struct metallm__embed_job job = {.texts = texts + at,
                                               .lens = lens + at,
                                               .count = n,
                                               .head = row,
                                               .tail = layout.tail > 0 ? row + layout.head : NULL,
                                               .stride = stride};
        int rc = e->backend->embed(e->state, &job, err);
        if (rc != METALLM_OK)
            return rc;
        for (size_t i = 0; i < n; i++)
            metallm__text_features(texts[at + i], lens[at + i],
                                   row + i * stride + layout.head + layout.tail);
    }
    if (progress != NULL && progress->step != NULL && count > 0)
        (void)progress->step(progress->payload, "encoding", count, count);
    return METALLM_OK;
}
