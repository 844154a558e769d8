/* SPDX-License-Identifier: Apache-2.0
 * ask_world.h - what tests of calls share: LLMs whose servers misbehave as told, and a call with
 * what its caller sees. A plan names them: "a b,c" is two LLMs, the second with two deployments;
 * each word is what support/fake_upstream.h does, or "refuse": nobody listens. They are named m0,
 * m1, ... */
#ifndef SUPPORT_ASK_WORLD_H
#define SUPPORT_ASK_WORLD_H
#include "support/fake_upstream.h"
#include "upstream/ask.h"

struct world {
    struct metallm__loop *loop;
    struct metallm__upstream *u;
    struct metallm__llms *llms;
    uint32_t candidates[8];
    unsigned candidate_count;
};

extern struct fake_upstream *world_fake;
extern struct metallm__deployment_options world_deployment; /* of all; tests put theirs in */
extern struct metallm__upstream_options world_options;
extern enum metallm__wire_kind world_kind; /* of requests: chat, unless a test says another */

int world_fake_start(void **state); /* cmocka's group setup */
int world_fake_stop(void **state);
void world_open(struct world *w, const char *plan);
void world_close(struct world *w);

struct seen {
    struct metallm__ask *ask;
    struct metallm__wire_request request;
    struct metallm__ask_result result;
    struct metallm__attempt attempts[METALLM__ASK_ATTEMPTS_MAX];
    char content_type[64];
    char body[512], message[160], pieces[4096];
    size_t piece_bytes;
    unsigned streams, dones;
    unsigned pause_after, cancel_after; /* pieces; 0: never */
    unsigned piece_count;
};

/* body: a request of world_kind. s is cleared by the caller. */
int world_begin(struct world *w, struct seen *s, const char *body, uint32_t total_ms,
                metallm_error *err);
void world_turn_until_done(struct world *w, struct seen *s);
void world_turn_for(struct world *w, unsigned ms);
/* All of it. */
void world_call(struct world *w, struct seen *s, const char *body, uint32_t total_ms);

#define PLAIN                                                                                      \
    "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"                   \
    "\"metallm\":{\"dial\":1}}"
#define STREAM                                                                                     \
    "{\"stream\":true,\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

#endif
