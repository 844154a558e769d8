/* SPDX-License-Identifier: Apache-2.0
 * replay_json.h - the result of a replay as one JSON object: the fields of `metallm replay --json`.
 * Each mean has its 95 % interval over orders beside it (`ci`, left out for a single order). */
#ifndef EVAL_REPLAY_JSON_H
#define EVAL_REPLAY_JSON_H
#include "base/buf.h"
#include "eval/replay.h"
#include "eval/replay_events.h"

void metallm__replay_json(struct metallm__buf *out, const struct metallm__replay_result *r,
                          const struct metallm__event_names *names);
#endif
