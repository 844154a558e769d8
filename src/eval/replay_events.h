/* SPDX-License-Identifier: Apache-2.0
 * replay_events.h - the events of a replay from a file of JSON Lines, one event a line, and as
 * words. The fields are listed in docs/formats.md, section "Events of a replay". */
#ifndef EVAL_REPLAY_EVENTS_H
#define EVAL_REPLAY_EVENTS_H
#include "eval/replay.h"

struct metallm__event_names {
    uint32_t count;
    const char *(*name)(const void *payload, uint32_t model);
    const void *payload;
};

/* *out: METALLM__EVENTS_MAX records at most, sorted by step, the caller's to free
 * (metallm__free). Errors name file and line. */
METALLM_MUSTCHECK int metallm__events_read(const char *path,
                                           const struct metallm__event_names *names,
                                           struct metallm__event **out, size_t *count,
                                           metallm_error *err);
#endif
