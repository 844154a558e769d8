/* SPDX-License-Identifier: Apache-2.0
 * bedrock_peer.h - Amazon Bedrock's side of Converse, for what talks to it: bodies read as talks,
 * answers and their pieces written as the service writes them. */
#ifndef SUPPORT_BEDROCK_PEER_H
#define SUPPORT_BEDROCK_PEER_H
#include "wire/wire.h"

/* Reads a body for Claude. NULL, or a member that nobody expects there. */
const char *bedrock_talk_in(yyjson_val *root, struct metallm__pool *pool,
                            struct metallm__talk *out);
void bedrock_said_out(const struct metallm__said *said, struct metallm__buf *out);

/* A stream being written, frame by frame; usage goes with the last one. */
struct bedrock_stream {
    struct metallm__buf frames;
    struct metallm__wire_usage usage;
    unsigned index; /* of the block at hand */
};
int bedrock_delta_out(void *stream, const struct metallm__delta *d);
void bedrock_stream_end(struct bedrock_stream *s);

#endif
