/* SPDX-License-Identifier: Apache-2.0
 * sse.h - server-sent events (WHATWG HTML, 9.2): an incremental parser that also tells the raw
 * bytes of each event, so that a stream can be passed on byte for byte, and a writer. */
#ifndef WIRE_SSE_H
#define WIRE_SSE_H
#include "base/buf.h"
#include "base/span.h"

#define METALLM__SSE_EVENT_BYTES_MAX ((size_t)8 << 20) /* the default: images come as one event */

/* One event. name and data are valid during the callback; raw until the sink is called with NULL,
 * which ends each feed. */
struct metallm__sse_event {
    struct metallm__span raw;  /* all its bytes: comments, fields and the blank line that ends it */
    struct metallm__span name; /* of the last "event:" field; len 0: none */
    struct metallm__span data; /* "data:" fields joined by LF; len 0: none or empty */
    bool has_data;             /* an event without data is a comment or a heartbeat */
};

/* event NULL: no more of this feed. Returns METALLM_OK to go on; anything else stops the feed,
 * which returns it. */
typedef int (*metallm__sse_sink)(void *payload, const struct metallm__sse_event *event);

/* Fields are the parser's own. */
struct metallm__sse {
    struct metallm__buf held;   /* the event that has begun and has not ended */
    struct metallm__buf joined; /* data of an event with several data fields */
    size_t event_bytes_max;
    size_t line, scanned; /* offsets in what is being read: its current line; what was looked at */
    bool after_cr;        /* an LF at the start belongs to the CR before it */
    bool is_started;      /* a byte-order mark at the very start is skipped once */
};

void metallm__sse_init(struct metallm__sse *p, size_t event_bytes_max);
void metallm__sse_fini(struct metallm__sse *p);

/* Takes the next bytes, cut anywhere. METALLM_ELIMIT: an event is too large; METALLM_ENOMEM; or
 * what the sink returned. After an error the parser is of no more use. */
METALLM_MUSTCHECK int metallm__sse_feed(struct metallm__sse *p, struct metallm__span in,
                                        metallm__sse_sink sink, void *payload, metallm_error *err);
/* The stream has ended in good order. An event whose blank line is missing is given all the same,
 * its raw bytes closed by what was missing: some servers leave it out after "data: [DONE]". */
METALLM_MUSTCHECK int metallm__sse_end(struct metallm__sse *p, metallm__sse_sink sink,
                                       void *payload, metallm_error *err);

/* Appends an event with this data; each line of it becomes a data field. name may be NULL. */
void metallm__sse_write(struct metallm__buf *out, const char *name, struct metallm__span data);

#endif
