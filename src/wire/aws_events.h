/* SPDX-License-Identifier: Apache-2.0
 * aws_events.h - AWS's binary event stream (application/vnd.amazon.eventstream): an incremental
 * parser. A message is: total length, headers length, CRC of these (4 bytes each, big-endian);
 * headers (name length 1, name, type 1, value); payload; CRC of all before it. CRCs are CRC-32
 * (IEEE 802.3). Source: AWS, "Amazon Transcribe Developer Guide: event stream encoding". */
#ifndef WIRE_AWS_EVENTS_H
#define WIRE_AWS_EVENTS_H
#include "base/buf.h"
#include "base/span.h"

#define METALLM__AWS_EVENT_BYTES_MAX ((size_t)16 << 20)

/* Valid during the callback. Headers of other names and types are passed over. */
struct metallm__aws_event {
    struct metallm__span type;    /* ":message-type": event, exception, error */
    struct metallm__span name;    /* ":event-type", ":exception-type" or ":error-code" */
    struct metallm__span message; /* ":error-message" */
    struct metallm__span payload;
};
typedef int (*metallm__aws_sink)(void *payload, const struct metallm__aws_event *event);

struct metallm__aws_events {
    struct metallm__buf held; /* the message that has begun and has not ended */
};
void metallm__aws_events_init(struct metallm__aws_events *p);
void metallm__aws_events_fini(struct metallm__aws_events *p);
/* Takes the next bytes, cut anywhere. METALLM_EFORMAT: a CRC or a length is wrong; METALLM_ELIMIT;
 * METALLM_ENOMEM; or what the sink returned. */
METALLM_MUSTCHECK int metallm__aws_events_feed(struct metallm__aws_events *p,
                                               struct metallm__span in, metallm__aws_sink sink,
                                               void *payload, metallm_error *err);
/* The stream has ended: METALLM_EFORMAT within a message. */
METALLM_MUSTCHECK int metallm__aws_events_end(const struct metallm__aws_events *p,
                                              metallm_error *err);

#endif
