/* SPDX-License-Identifier: Apache-2.0
 * replay_read.h - outcomes into the rows of a replay, part by part, so that neither all prompts nor
 * all vectors are in memory at once. */
#ifndef CLI_REPLAY_READ_H
#define CLI_REPLAY_READ_H
#include "cli/inputs.h"
#include "eval/replay_rows.h"

/* Files one by one where they can be (RouterArena's costs come in a file of their own), in blocks
 * of queries where a row is one; a store is read whole. */
METALLM_MUSTCHECK int cli_replay_read(const struct cli_io *io,
                                      const struct cli_inputs_options *opts,
                                      const metallm_router *router, const char *const *files,
                                      size_t count, struct metallm__rows *rows, metallm_error *err);
/* Flags for the router's models from a list parted by commas; the caller's to free. */
METALLM_MUSTCHECK int cli_replay_models(const metallm_router *r, const char *list, uint8_t **out,
                                        metallm_error *err);
#endif
