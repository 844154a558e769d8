/* SPDX-License-Identifier: Apache-2.0
 * world.h - one generation of what requests refer to: the config with the LLMs, brains and prices
 * that follow from it. Immutable and counted: a request holds the one that it began with, while a
 * reload makes the next. An index into config->models is the id of the LLM in llms. */
#ifndef GATEWAY_WORLD_H
#define GATEWAY_WORLD_H
#include <stdatomic.h>

#include "gateway/brain.h"
#include "gateway/grade.h"
#include "gateway/log.h"
#include "gateway/metrics.h"
#include "upstream/llms.h"

struct metallm__world {
    atomic_uint references;
    uint64_t number; /* 1 for the first; each reload counts on */
    const struct metallm__config *config;
    struct metallm__llms *llms;
    struct metallm__brain **brains;     /* one per config->routers; borrowed from brains */
    struct metallm__graders **graders;  /* one per config->routers; NULL: none */
    uint32_t *llm_slots, *router_slots; /* of the metrics */
    int64_t models_since_s;             /* "created" in /v1/models */
};

/* What a generation is made with; borrowed for the call. */
struct metallm__world_parts {
    const struct metallm__world *before; /* NULL: the first */
    struct metallm__brains *brains;
    struct metallm__metrics *metrics;
    const char *encoder; /* metallm_encoder_id; "" : none */
    metallm_layout layout;
    metallm_encoder *outcomes; /* encodes newcomers' outcomes; NULL: none */
    struct metallm__log *log;  /* NULL: none */
    int64_t wall_ms;
};

/* Takes the config's reference on success. Configures the brains, so that one call is made at a
 * time. What is wrong is told with the config's line. */
METALLM_MUSTCHECK int metallm__world_new(struct metallm__world **out,
                                         const struct metallm__config *config,
                                         const struct metallm__world_parts *parts,
                                         metallm_error *err);
/* The LLMs of a config alone; before as in llms.h. The caller holds one reference. */
METALLM_MUSTCHECK int metallm__world_llms(struct metallm__llms **out,
                                          const struct metallm__config *config,
                                          const struct metallm__llms *before, metallm_error *err);
struct metallm__world *metallm__world_take(struct metallm__world *w);
void metallm__world_drop(struct metallm__world *w); /* NULL is fine */

/* What a name in "model" stands for. */
struct metallm__name {
    const struct metallm__config_alias *alias; /* NULL: none */
    uint32_t router, model;                    /* index; the other is METALLM__CONFIG_NONE */
};
/* METALLM_ENOTFOUND: nothing of that name, or a retired LLM. */
METALLM_MUSTCHECK int metallm__world_find(const struct metallm__world *w, const char *name,
                                          size_t len, struct metallm__name *out);
#endif
