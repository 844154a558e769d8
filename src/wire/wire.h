/* SPDX-License-Identifier: Apache-2.0
 * wire.h - protocols that LLMs are spoken to in: bytes in, bytes out; no socket, no loop, no clock.
 * A protocol is one file that defines a `struct metallm__wire`, and one line in wire.c. What a
 * client gets is in the surface that it used; same-protocol traffic passes byte for byte. Threads:
 * the tables are constant; a request, stream or out record belongs to one thread at a time, except
 * that a read request may be written by many. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H
#include "wire/request.h"
#include "wire/sse.h"

#define METALLM__WIRE_SPANS_MAX 12u

enum metallm__wire_finish {                                /* why the answer ended */
                            METALLM__WIRE_FINISH_NONE = 0, /* not told */
                            METALLM__WIRE_FINISH_STOP,
                            METALLM__WIRE_FINISH_LENGTH,
                            METALLM__WIRE_FINISH_TOOLS,
                            METALLM__WIRE_FINISH_FILTER,
                            METALLM__WIRE_FINISH_OTHER
};
const char *metallm__wire_finish_name(enum metallm__wire_finish finish); /* "stop"...; static */

/* Token counts; -1: not known. cached_tokens are a part of input_tokens, reasoning_tokens of
 * output_tokens. */
struct metallm__wire_usage {
    int64_t input_tokens, cached_tokens, output_tokens, reasoning_tokens;
    bool is_estimated; /* input or output was counted by us, roughly */
};

/* What an answer, or a stream so far, tells of itself. Texts are cut to their room. */
struct metallm__wire_answer {
    struct metallm__wire_usage usage;
    enum metallm__wire_finish finish; /* of the last choice that told one */
    uint64_t text_units;              /* of what was written, METALLM__TOKEN_UNITS each token */
    char id[64], model[96];           /* the upstream's own; "" where not told */
};
void metallm__wire_answer_clear(struct metallm__wire_answer *a); /* nothing known */
/* Fills what usage is missing from estimates, and marks it. */
void metallm__wire_answer_settle(struct metallm__wire_answer *a,
                                 const struct metallm__wire_request *request);

/* An error as an upstream told it; texts are cut to their room, "" where not told. */
struct metallm__wire_error {
    char message[240], type[64], code[64];
};

/* What a request is written for. The spans are the deployment's. */
struct metallm__wire_target {
    struct metallm__span model_json; /* the upstream's name of the LLM as a JSON string, quoted */
    struct metallm__span key;        /* secret; len 0: none */
    bool is_usage_asked;             /* streams: ask for usage where the client did not */
};

/* A request as an upstream gets it. Spans point into the client's bytes, the target's, or `made`.
 */
struct metallm__wire_out {
    struct metallm__span path; /* behind the base URL, "/chat/completions"; static or in made */
    struct metallm__span spans[METALLM__WIRE_SPANS_MAX];
    unsigned span_count;
    size_t body_bytes;        /* of all spans */
    bool is_usage_dropped;    /* the extra usage event is not the client's: stream_init needs it */
    struct metallm__buf made; /* bytes that had to be written */
};
void metallm__wire_out_fini(struct metallm__wire_out *out); /* a cleared record is fine */

enum metallm__wire_piece_kind {
    METALLM__WIRE_PIECE_EVENTS = 0, /* one or more whole events */
    METALLM__WIRE_PIECE_USAGE,      /* the event that carries usage, alone */
    METALLM__WIRE_PIECE_DONE        /* the event that ends the stream ("data: [DONE]"), alone */
};
/* Bytes for the client, valid during the callback. Not METALLM_OK: stop feeding. */
typedef int (*metallm__wire_sink)(void *payload, enum metallm__wire_piece_kind kind,
                                  struct metallm__span bytes);

/* A streamed answer being read. Fields but `answer` and `is_done` are the protocol's own. */
struct metallm__wire_stream {
    struct metallm__wire_answer answer; /* so far */
    bool is_done;                       /* the end was told in the protocol's own way */
    const struct metallm__wire *wire;
    struct metallm__sse sse;
    bool is_usage_dropped;
    struct metallm__buf room; /* for parsing one event */
    struct metallm__span run; /* events to hand on that stand side by side */
    metallm__wire_sink sink;  /* of the feed that is under way */
    void *payload;
    metallm_error *err;
};

struct metallm__wire {
    const char *name; /* what the config says: "openai" */
    /* Header lines ("name: value\r\n") that name the client to the upstream. Written once for a
     * deployment where is_head_static, else for each request once its body is there. */
    bool is_head_static;
    int (*head_out)(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                    int64_t wall_ms, struct metallm__buf *lines, metallm_error *err);
    /* METALLM_EINVAL: the request cannot be expressed in this protocol, with a sentence. */
    int (*request_out)(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err);
    /* Reads a whole answer with status 2xx. METALLM_EFORMAT: it is not what the protocol promises.
     */
    int (*answer_in)(enum metallm__wire_kind kind, struct metallm__span body,
                     struct metallm__wire_answer *out, metallm_error *err);
    /* METALLM_EFORMAT: an event is no JSON, or is an error: err holds the upstream's sentence. */
    int (*stream_feed)(struct metallm__wire_stream *s, struct metallm__span in);
    int (*stream_end)(struct metallm__wire_stream *s);
    void (*error_in)(struct metallm__span body, struct metallm__wire_error *out);
};
extern const struct metallm__wire metallm__wire_openai;
/* The protocol of this name; NULL: none. */
const struct metallm__wire *metallm__wire_find(const char *name);

void metallm__wire_stream_init(struct metallm__wire_stream *s, const struct metallm__wire *wire,
                               bool is_usage_dropped);
void metallm__wire_stream_fini(struct metallm__wire_stream *s); /* a cleared record is fine */
/* Takes the next bytes of a stream, cut anywhere, and hands whole events to the sink. What the sink
 * refused with, METALLM_EFORMAT, METALLM_ELIMIT or METALLM_ENOMEM: the stream is broken, and what
 * was handed on before stays whole. */
METALLM_MUSTCHECK int metallm__wire_stream_feed(struct metallm__wire_stream *s,
                                                struct metallm__span in, metallm__wire_sink sink,
                                                void *payload, metallm_error *err);
/* The upstream has ended its answer in good order. */
METALLM_MUSTCHECK int metallm__wire_stream_end(struct metallm__wire_stream *s,
                                               metallm__wire_sink sink, void *payload,
                                               metallm_error *err);

/* Appends an OpenAI error object, {"error":{"message","type","param","code"}}. param and code may
 * be NULL (null). */
struct metallm__wire_refusal {
    const char *message, *type, *param, *code;
};
void metallm__wire_error_write(struct metallm__buf *out, const struct metallm__wire_refusal *e);
/* The same as an event, for a stream that breaks; no [DONE] follows it. */
void metallm__wire_error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e);
/* Appends text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void metallm__wire_string_write(struct metallm__buf *out, struct metallm__span text);

#endif
