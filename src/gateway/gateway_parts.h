/* SPDX-License-Identifier: Apache-2.0
 * gateway_parts.h - what a gateway is made of: gateway_parts.c opens and closes it, gateway.c runs
 * it. */
#ifndef GATEWAY_GATEWAY_PARTS_H
#define GATEWAY_GATEWAY_PARTS_H
#include "gateway/keep.h"
#include "gateway/worker.h"

struct metallm__gateway_listener {
    char text[80]; /* "127.0.0.1:8080", with the port that was taken */
};

struct metallm__gateway {
    struct metallm__shared shared;
    struct metallm__store *store; /* the control thread's own handle */
    struct metallm__tls_server *tls;
    struct metallm__worker **workers;
    uint32_t worker_count;
    struct metallm__gateway_listener *listeners;
    uint32_t listener_count;
    uint64_t kept_version; /* of keys and changes in the store, as last read */
    int day;               /* YYYYMMDD whose prices are in force */
    int wake_fd;
    _Atomic unsigned stops;
    _Atomic bool is_reload_asked;
    struct metallm__gateway_job *jobs, **last_job; /* under shared.lock */
    bool is_closed;                                /* under shared.lock */
};

struct metallm__world_parts metallm__gateway_world_parts(struct metallm__gateway *g);
int metallm__gateway_close_journal(struct metallm__gateway *g, metallm_error *err);
METALLM_MUSTCHECK int metallm__gateway_refresh_keys(struct metallm__gateway *g, metallm_error *err);
#endif
