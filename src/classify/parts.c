/* SPDX-License-Identifier: Apache-2.0
 * parts.c - see parts.h. The order is gateway_parts.c's: the store's place stands in the config,
 * changes to the config in the store. */
#include "classify/parts.h"

#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/brain_learn.h"
#include "gateway/keep.h"
#include "math/dense.h"

static int open_config(struct metallm__parts *p, const char *path, const char *store,
                       const struct metallm__config **out, metallm_error *err)
{
    const struct metallm__config *plain = NULL;
    struct metallm__changes *changes = NULL;
    int rc = metallm__config_load(&plain, path, NULL, err);
    if (rc != METALLM_OK)
        return rc;
    p->store_url = metallm__strdup(store != NULL ? store : plain->store);
    if (p->store_url == NULL)
        rc = metallm__error_nomem(err, "a store");
    if (rc == METALLM_OK)
        rc = metallm__store_open(&p->store, p->store_url, METALLM__STORE_FILL, err);
    if (rc == METALLM_OK)
        rc = metallm__keep_changes(p->store, &changes, err);
    if (rc == METALLM_OK)
        rc = metallm__config_load(out, path, metallm__changes_list(changes), err);
    metallm__changes_free(changes);
    metallm__config_drop(plain);
    return rc;
}

static const char *given(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static bool is_quick(const char *id)
{
    return strncmp(id, "hash", 4) == 0 || strncmp(id, "static", 6) == 0;
}

static int open_encoder(struct metallm__parts *p, const struct metallm__config *c,
                        metallm_error *err)
{
    const struct metallm__config_encoder *e = &c->encoder;
    const struct metallm_remote_options remote = {
        .url = given(e->url), .model = given(e->model), .key = given(e->api_key)};
    p->is_tiered = strcmp(e->name, "tiered") == 0;
    const metallm_encoder_options options = {.name = p->is_tiered ? "minilm" : given(e->name),
                                             .path = given(e->weights),
                                             .precision = given(e->precision),
                                             .threads = 1,
                                             .remote = &remote};
    int rc = metallm_encoder_open(&p->encoder, &options, err);
    if (rc == METALLM_OK && p->is_tiered)
        rc = metallm_encoder_open(&p->coarse, &(metallm_encoder_options){.name = "static"}, err);
    if (rc != METALLM_OK || is_quick(metallm_encoder_id(p->encoder)))
        return rc;
    const metallm_service_options service = {.encoder = p->encoder,
                                             .features = true,
                                             .threads = (uint32_t)e->threads,
                                             .queue = (uint32_t)e->queue,
                                             .batch = (uint32_t)e->batch,
                                             .cache = (uint32_t)e->cache};
    return metallm_service_new(&p->service, &service, err);
}

static int open_world(struct metallm__parts *p, const struct metallm__config *c, metallm_error *err)
{
    int rc = metallm__brains_new(&p->brains, err);
    struct metallm__world_parts parts = {.brains = p->brains,
                                         .metrics = p->metrics,
                                         .encoder = "",
                                         .outcomes = p->encoder,
                                         .wall_ms = (int64_t)time(NULL) * 1000};
    if (p->encoder != NULL) {
        parts.encoder = metallm_encoder_id(p->encoder);
        parts.layout = metallm_encoder_layout(p->encoder);
    }
    return rc == METALLM_OK ? metallm__world_new(&p->world, c, &parts, err) : rc;
}

int metallm__parts_open(struct metallm__parts *p, const char *config, const char *store,
                        metallm_error *err)
{
    const struct metallm__config *c = NULL;
    *p = (struct metallm__parts){0};
    metallm__math_threads(1); /* each product is small */
    int rc = open_config(p, config, store, &c, err);
    if (rc == METALLM_OK)
        rc = metallm__metrics_new(&p->metrics, 1, err);
    if (rc == METALLM_OK && c->router_count > 0)
        rc = open_encoder(p, c, err);
    if (rc == METALLM_OK)
        rc = open_world(p, c, err); /* takes c */
    if (rc != METALLM_OK) {
        metallm__config_drop(c);
        metallm__parts_close(p);
    }
    return rc;
}

int metallm__parts_open_journal(struct metallm__parts *p, metallm_error *err)
{
    const struct metallm__config *c = p->world->config;
    const struct metallm__journal_options options = {.store = p->store_url,
                                                     .decisions_days = c->retention.decisions_days,
                                                     .feedback_days = c->retention.feedback_days,
                                                     .brains = p->brains};
    return metallm__journal_open(&p->journal, &options, err);
}

int metallm__parts_restore(struct metallm__parts *p, metallm_error *err)
{
    return metallm__brains_restore(p->brains, p->store, (int64_t)time(NULL) * 1000, err);
}

int metallm__parts_close_journal(struct metallm__parts *p, metallm_error *err)
{
    int rc = metallm__journal_close(p->journal, err); /* NULL is fine */
    p->journal = NULL;
    return rc;
}

void metallm__parts_close(struct metallm__parts *p)
{
    metallm_service_free(p->service);
    (void)metallm__parts_close_journal(p, NULL);
    metallm__world_drop(p->world);
    metallm__brains_free(p->brains);
    metallm_encoder_free(p->coarse);
    metallm_encoder_free(p->encoder);
    metallm__metrics_free(p->metrics);
    metallm__store_close(p->store);
    metallm__free(p->store_url);
    *p = (struct metallm__parts){0};
}
