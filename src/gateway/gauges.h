/* SPDX-License-Identifier: Apache-2.0
 * gauges.h - the gateway's state at this moment, put together for /metrics, / and the admin API
 * from those who know it. On a worker's thread, or the control thread. */
#ifndef GATEWAY_GAUGES_H
#define GATEWAY_GAUGES_H
#include "gateway/status.h"
#include "gateway/worker.h"

/* GET /metrics. */
void metallm__gauges_render(struct metallm__shared *s, const struct metallm__world *w,
                            struct metallm__buf *out);
/* *out and what it points at is one allocation, freed by metallm__free; its texts are the world's.
 */
METALLM_MUSTCHECK int metallm__status_take(struct metallm__status **out, struct metallm__shared *s,
                                           const struct metallm__world *w, metallm_error *err);
#endif
