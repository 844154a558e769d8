/* SPDX-License-Identifier: Apache-2.0
 * gateway.h - the gateway as a whole: started from a config file, run until it is told to stop.
 * Threads: new, run and free from one thread (the control thread: it reloads, and writes what the
 * admin API asks); stop, reload and job from any; stop and reload also from a signal handler. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H
#include "metallm/base.h"

struct metallm__gateway;

/* Reads the config, opens store, encoder, router files and listeners. Nothing is served yet. */
METALLM_MUSTCHECK int metallm__gateway_new(struct metallm__gateway **out, const char *config_path,
                                           metallm_error *err);
/* Serves until stop; then finishes what runs, at most limits.drain_ms, and writes what waits.
 * METALLM_EIO: something acknowledged could not be written in the end (never without a log line).
 */
METALLM_MUSTCHECK int metallm__gateway_run(struct metallm__gateway *g, metallm_error *err);
void metallm__gateway_free(struct metallm__gateway *g); /* NULL is fine */

void metallm__gateway_stop(struct metallm__gateway *g);   /* a second call cuts what still runs */
void metallm__gateway_reload(struct metallm__gateway *g); /* a bad config is logged and not taken */

/* Work for the control thread, in the order of asking. job lies in its owner's memory until `run`
 * is called. METALLM_ECANCELED: the gateway has stopped. */
struct metallm__gateway_job {
    struct metallm__gateway_job *next; /* the gateway's */
    void (*run)(struct metallm__gateway *g, struct metallm__gateway_job *job);
};
METALLM_MUSTCHECK int metallm__gateway_submit(struct metallm__gateway *g,
                                              struct metallm__gateway_job *job);
/* On the control thread: the config again with the changes that the store holds. */
METALLM_MUSTCHECK int metallm__gateway_refresh(struct metallm__gateway *g, metallm_error *err);
/* Where it listens, "127.0.0.1:8080": for messages and tests (port 0 in the config). */
const char *metallm__gateway_address(const struct metallm__gateway *g, uint32_t i); /* NULL: none */

#endif
