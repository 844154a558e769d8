/* SPDX-License-Identifier: Apache-2.0
 * sessions.h - which LLM answered a conversation last, so that a follow-up turn can weigh the
 * prompt cache that it would lose (brain.h). Known by a keyed hash of the session's name; the least
 * recently used goes first. Bounded; nothing of it is durable. Threads: any; a short lock on one of
 * METALLM__SESSION_SHARDS parts. */
#ifndef GATEWAY_SESSIONS_H
#define GATEWAY_SESSIONS_H
#include "gateway/config.h"

#define METALLM__SESSION_SHARDS 16u
#define METALLM__SESSIONS_MAX   16777216u

struct metallm__session {
    uint32_t model;   /* index into config->models; METALLM__CONFIG_NONE: a first turn */
    uint64_t context; /* tokens of the conversation so far */
    double age_s;     /* since that answer */
};

struct metallm__sessions;

/* most: sessions kept, 1..METALLM__SESSIONS_MAX; idle_s: after which they are forgotten, 0: never.
 * Memory is taken as they come, about 64 bytes each. */
METALLM_MUSTCHECK int metallm__sessions_new(struct metallm__sessions **out, uint64_t most,
                                            uint64_t idle_s, metallm_error *err);
void metallm__sessions_free(struct metallm__sessions *s);

/* Not known, forgotten, or its LLM is no longer in the configuration: out->model is NONE. */
void metallm__sessions_get(struct metallm__sessions *s, uint64_t hash,
                           const struct metallm__config *config, uint64_t wall_ms,
                           struct metallm__session *out);
/* model: its name; tokens: of the whole conversation with this answer. Without memory for a new
 * session it is not kept. */
void metallm__sessions_put(struct metallm__sessions *s, uint64_t hash, const char *model,
                           uint64_t tokens, uint64_t wall_ms);
uint64_t metallm__sessions_count(struct metallm__sessions *s);
#endif
