/* SPDX-License-Identifier: Apache-2.0
 * stream.h - what readers of streams share beyond wire.h; for src/wire alone. */
#ifndef WIRE_STREAM_H
#define WIRE_STREAM_H
#include "wire/wire.h"

/* Raw bytes for the client, of the feed under way. Events that lie side by side go as one piece. */
METALLM_MUSTCHECK int metallm__stream_pass(struct metallm__wire_stream *s,
                                           struct metallm__span raw);
METALLM_MUSTCHECK int metallm__stream_pass_alone(struct metallm__wire_stream *s,
                                                 enum metallm__wire_piece_kind kind,
                                                 struct metallm__span raw);
METALLM_MUSTCHECK int metallm__stream_flush(struct metallm__wire_stream *s);

#endif
