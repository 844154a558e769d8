/* SPDX-License-Identifier: Apache-2.0
 * wire.h - protocols that LLMs are spoken to in: bytes in, bytes out; no socket, no loop, no clock.
 * A protocol is one file that defines a `struct metallm__wire`, and one line in wire.c. What a
 * client gets is in the surface that it used; same-protocol traffic passes byte for byte. Threads:
 * the tables are constant; a request, stream or out record belongs to one thread at a time, except
 * that a read request may be written by many. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H
#include "wire/aws_events.h"
#include "wire/request.h"
#include "wire/sse.h"
#include "wire/surface.h"

#define METALLM__WIRE_SPANS_MAX 12u

/* What an answer, or a stream so far, tells of itself. Texts are cut to their room. */
struct metallm__wire_answer {
    struct metallm__wire_usage usage;
    enum metallm__wire_finish finish; /* of the last choice that told one */
    uint64_t text_units;              /* of what was written, METALLM__TOKEN_UNITS each token */
    char id[64], model[96];           /* the upstream's own; "" where not told */
};
/* More of what is known; -1 leaves what is there. */
void metallm__wire_usage_merge(struct metallm__wire_usage *into,
                               const struct metallm__wire_usage *more);
/* Copies a text into room bytes, cut between characters and closed; control characters become
 * blanks. */
void metallm__wire_text_copy(char *out, size_t room, struct metallm__span text);
/* An id for an answer whose upstream gives none: hexadecimal digits, another each time. */
#define METALLM__WIRE_MADE_ID_BYTES 32u
void metallm__wire_id_make(char out[METALLM__WIRE_MADE_ID_BYTES], int64_t wall_s);
void metallm__wire_answer_clear(struct metallm__wire_answer *a); /* nothing known */
/* Fills what usage is missing from estimates, and marks it. */
void metallm__wire_answer_settle(struct metallm__wire_answer *a,
                                 const struct metallm__wire_request *request);

/* An error as an upstream told it; texts are cut to their room, "" where not told. */
struct metallm__wire_error {
    char message[240], type[64], code[64];
    uint64_t retry_after_ms; /* when to come again, where the body tells it; 0: it does not */
};

/* Who signs requests to AWS; spans are secret but for the id. */
struct metallm__wire_aws_keys {
    struct metallm__span id, secret, token; /* token: of a session; empty: none */
};

/* What a request is written for. The spans are the deployment's. */
struct metallm__wire_target {
    struct metallm__span model;      /* the upstream's name of the LLM */
    struct metallm__span model_json; /* the same as a JSON string, quoted */
    struct metallm__span key;        /* secret; len 0: none */
    bool is_usage_asked;             /* streams: ask for usage where the client did not */
    unsigned native;                 /* bits of kinds whose bodies are passed as they are: a part of
                                      * the protocol's own */
    uint32_t max_tokens;             /* of an answer where the client does not say and the protocol
                                      * must be told; 0: METALLM__WIRE_MAX_TOKENS */
    struct metallm__span azure_version;           /* api-version; empty: not Azure's classic URLs */
    struct metallm__span region, host, base_path; /* AWS: what is signed; host with its port where
                                                   * that is not the scheme's */
    struct metallm__wire_aws_keys aws;            /* now; id empty: none */
};
#define METALLM__WIRE_MAX_TOKENS 4096u

/* A request as an upstream gets it. Spans point into the client's bytes, the target's, or `made`.
 */
struct metallm__wire_out {
    struct metallm__span path; /* behind the base URL, "/chat/completions"; static or in path_made.
                                * May end in a query */
    struct metallm__span spans[METALLM__WIRE_SPANS_MAX];
    unsigned span_count;
    size_t body_bytes;     /* of all spans */
    bool is_usage_dropped; /* the extra usage event is not the client's: stream_init needs it */
    bool is_translated;    /* the answer comes in another protocol than the client's */
    uint64_t dropped;      /* features of the talk that were left out: those that its verdicts
                            * tell, and what talk_out adds */
    struct metallm__span version, beta; /* native: the client's anthropic-version and -beta headers,
                                         * for head_out; else empty */
    struct metallm__buf made;           /* the body, where it had to be written */
    struct metallm__buf path_made;
};
void metallm__wire_out_fini(struct metallm__wire_out *out); /* a cleared record is fine */
/* Appends a path segment, percent-encoded but for RFC 3986's unreserved characters. */
void metallm__wire_segment_write(struct metallm__buf *out, struct metallm__span text);

enum metallm__wire_piece_kind {
    METALLM__WIRE_PIECE_EVENTS = 0, /* one or more whole events */
    METALLM__WIRE_PIECE_USAGE,      /* the event that carries usage, alone */
    METALLM__WIRE_PIECE_DONE        /* the event that ends the stream ("data: [DONE]"), alone */
};
/* Bytes for the client, valid during the callback. Not METALLM_OK: stop feeding. */
typedef int (*metallm__wire_sink)(void *payload, enum metallm__wire_piece_kind kind,
                                  struct metallm__span bytes);

/* A streamed answer being heard: the state of a protocol's event_in. Cleared at the start. */
struct metallm__hearing {
    struct metallm__pool pool;    /* for one event: cleared after each */
    bool is_started;              /* START was told */
    bool is_open;                 /* a part has begun */
    bool is_finished;             /* FINISH was told */
    enum metallm__part_kind open; /* which */
    uint64_t index;               /* the upstream's own number of it */
    enum metallm__wire_finish finish;
    struct metallm__wire_usage usage;
    unsigned calls; /* tools called so far */
    unsigned state; /* the protocol's own */
    metallm__delta_sink sink;
    void *payload;
    metallm_error *err;
};
/* For event_in. json: the event's object; *root, whose numbers are raw, lives in h->pool until the
 * event is over. start: START, once. begin: BEGIN, after START and the END of the part before. text
 * and seal: of the open part; METALLM_EFORMAT where none is. usage: merged into h->usage (-1 leaves
 * what is there) and told. finish: END of the open part, then FINISH, once; usage may still follow.
 */
METALLM_MUSTCHECK int metallm__hear_json(struct metallm__hearing *h, struct metallm__span data,
                                         yyjson_val **root);
METALLM_MUSTCHECK int metallm__hear_start(struct metallm__hearing *h, struct metallm__span id,
                                          struct metallm__span model);
METALLM_MUSTCHECK int metallm__hear_begin(struct metallm__hearing *h,
                                          const struct metallm__delta *begin, uint64_t index);
METALLM_MUSTCHECK int metallm__hear_text(struct metallm__hearing *h, struct metallm__span text);
METALLM_MUSTCHECK int metallm__hear_seal(struct metallm__hearing *h, struct metallm__span text,
                                         const char *seal_of);
METALLM_MUSTCHECK int metallm__hear_end(struct metallm__hearing *h); /* fine where none is open */
METALLM_MUSTCHECK int metallm__hear_usage(struct metallm__hearing *h,
                                          const struct metallm__wire_usage *usage);
METALLM_MUSTCHECK int metallm__hear_finish(struct metallm__hearing *h,
                                           enum metallm__wire_finish finish,
                                           struct metallm__span stop);

/* One event of a stream, of whatever framing. */
struct metallm__wire_event {
    struct metallm__span name; /* SSE "event:", AWS ":event-type"; empty: none */
    struct metallm__span data; /* the payload */
    bool is_error;             /* AWS: ":message-type" exception or error; name tells which */
};

/* A streamed answer being read. Fields but `answer` and `is_done` are the protocol's own. */
struct metallm__wire_stream {
    struct metallm__wire_answer answer; /* so far */
    bool is_done;                       /* the end was told in the protocol's own way */
    const struct metallm__wire *wire;
    const struct metallm__wire_request *request; /* borrowed */
    struct metallm__sse sse;
    struct metallm__aws_events aws;
    bool is_usage_dropped;
    bool has_usage;     /* the event at hand told of usage */
    bool is_translated; /* deltas are told by the client's surface; else raw bytes are passed */
    struct metallm__span run; /* events to hand on that stand side by side */
    struct metallm__hearing hearing;
    struct metallm__telling telling; /* where is_translated */
    bool has_begun;                  /* more than START and usage was told: until then nothing is
                                      * handed on, so that another LLM can still be asked */
    bool has_finish;                 /* FINISH waits for the end; its stop: */
    struct metallm__buf stop;
    struct metallm__buf events, usage_event, last; /* ... told by the feed under way */
    metallm__wire_sink sink;                       /* of the feed that is under way */
    void *payload;
    metallm_error *err;
};

enum metallm__framing { METALLM__FRAMING_SSE = 0, METALLM__FRAMING_AWS };

/* A protocol that an upstream speaks. Pure functions over bytes; any may be NULL where said. */
struct metallm__wire {
    const char *name; /* what the config says: "openai" */
    unsigned native;  /* bits 1 << METALLM__WIRE_*: kinds of requests that pass as bytes */
    const char *native_paths[METALLM__WIRE_KINDS]; /* behind the base URL; NULL: not native */
    /* Whose functions read native RESPONSES, where a server of this protocol serves them, too;
     * NULL: its own. */
    const struct metallm__wire *responses;
    const uint8_t *verdicts; /* METALLM__FEATURES of enum metallm__verdict, for translation */
    enum metallm__framing framing;
    const char *accept; /* content type of its streams: "text/event-stream", ... */
    /* Header lines ("name: value\r\n") that name the client to the upstream. Written once for a
     * deployment where is_head_static (body NULL), else for each request once its body is there. */
    bool is_head_static;
    int (*head_out)(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                    int64_t wall_ms, struct metallm__buf *lines, metallm_error *err);

    /* ---- Translation. ---- */
    /* The talk's body into out->made, its path into out->path. Features have been checked.
     * METALLM_EINVAL: a value cannot be expressed in this protocol, with a sentence. */
    int (*talk_out)(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                    struct metallm__wire_out *out, metallm_error *err);
    /* A whole answer with status 2xx, parsed; spans of out lie in root's document and the pool.
     * METALLM_EFORMAT: it is not what the protocol promises, or an error: err has the sentence. */
    int (*said_in)(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                   metallm_error *err);
    /* One event: tells its deltas by metallm__hear_*. METALLM_EFORMAT: it is no JSON, or an error
     * (the upstream's sentence in h->err). METALLM_OK with *is_end: the stream is complete. */
    int (*event_in)(struct metallm__hearing *h, const struct metallm__wire_event *event,
                    bool *is_end);
    void (*error_in)(struct metallm__span body, struct metallm__wire_error *out);
    /* Embeddings asked in OpenAI's form; NULL: it has none, or they are native. */
    int (*embed_out)(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                     struct metallm__wire_out *out, metallm_error *err);
    /* The answer as OpenAI's, appended to out; usage into answer. */
    int (*embed_in)(yyjson_val *root, const struct metallm__wire_request *r,
                    struct metallm__buf *out, struct metallm__wire_answer *answer,
                    metallm_error *err);

    /* ---- Native kinds; NULL: what wire.c does by the members above. ---- */
    int (*request_out)(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err);
    int (*answer_in)(enum metallm__wire_kind kind, struct metallm__span body,
                     struct metallm__wire_answer *out, metallm_error *err);
    int (*raw_event_in)(struct metallm__wire_stream *s, const struct metallm__sse_event *event);
};
extern const struct metallm__wire metallm__wire_openai, metallm__wire_openai_responses,
    metallm__wire_anthropic, metallm__wire_bedrock, metallm__wire_bedrock_invoke,
    metallm__wire_gemini;
/* The protocol of this name; NULL: none. */
const struct metallm__wire *metallm__wire_find(const char *name);
/* By number, for lists; NULL: there are no more. */
const struct metallm__wire *metallm__wire_at(size_t i);

/* Whose functions a native kind is read by: w, or what it names for it. */
const struct metallm__wire *metallm__wire_native(const struct metallm__wire *w,
                                                 enum metallm__wire_kind kind);
/* Do bodies of this kind pass as they are? */
bool metallm__wire_is_native(const struct metallm__wire *w, const struct metallm__wire_target *t,
                             enum metallm__wire_kind kind);
/* For request_out: the path of native_paths and the client's bytes with the upstream's model,
 * without the member "metallm", asking for usage where the target says so. */
void metallm__wire_native_out(const struct metallm__wire *w, const struct metallm__wire_request *r,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out);
/* Can the request be said to this target? Else *why is a reason, "cannot be told seed": static, or
 * the request's own. Values out of the protocol's range show in request_out alone. */
bool metallm__wire_says(const struct metallm__wire *w, const struct metallm__wire_target *t,
                        struct metallm__wire_request *r, const char **why);
/* The request as this target gets it: native bytes with a few edits, or the talk written anew.
 * METALLM_EINVAL: it cannot be said there, with a sentence. */
METALLM_MUSTCHECK int metallm__wire_request_out(const struct metallm__wire *w,
                                                struct metallm__wire_request *r,
                                                const struct metallm__wire_target *t,
                                                struct metallm__wire_out *out, metallm_error *err);
/* What the records of one answer may take: parts are larger than their shortest JSON. */
#define METALLM__WIRE_ANSWER_POOL_BYTES_MAX ((size_t)256 << 20)
/* A whole answer with status 2xx. made: what the client gets in its stead where is_translated
 * (with content type application/json); else it stays empty and the body passes. */
METALLM_MUSTCHECK int metallm__wire_answer_in(const struct metallm__wire *w,
                                              const struct metallm__wire_request *r,
                                              bool is_translated, struct metallm__span body,
                                              int64_t wall_s, struct metallm__buf *made,
                                              struct metallm__wire_answer *out, metallm_error *err);
/* An upstream's refusal (4xx) in the client's surface, into made; the status stays. */
struct metallm__wire_refused {
    unsigned status;
    struct metallm__span body;
    struct metallm__span kind; /* "x-amzn-errortype", which AWS tells in the head; empty: none */
};
void metallm__wire_refusal_in(const struct metallm__wire *w, const struct metallm__wire_request *r,
                              const struct metallm__wire_refused *refused,
                              struct metallm__buf *made);

void metallm__wire_stream_init(struct metallm__wire_stream *s, const struct metallm__wire *wire,
                               const struct metallm__wire_request *r,
                               const struct metallm__wire_out *out, int64_t wall_s);
void metallm__wire_stream_fini(struct metallm__wire_stream *s); /* a cleared record is fine */
/* Takes the next bytes of a stream, cut anywhere, and hands whole events in the client's surface to
 * the sink. What the sink refused with, METALLM_EFORMAT, METALLM_ELIMIT or METALLM_ENOMEM: the
 * stream is broken, and what was handed on before stays whole. */
METALLM_MUSTCHECK int metallm__wire_stream_feed(struct metallm__wire_stream *s,
                                                struct metallm__span in, metallm__wire_sink sink,
                                                void *payload, metallm_error *err);
/* In place of feed and end, where the upstream answers a translated stream by a whole body. */
METALLM_MUSTCHECK int metallm__wire_stream_whole(struct metallm__wire_stream *s,
                                                 struct metallm__span body, metallm__wire_sink sink,
                                                 void *payload, metallm_error *err);
/* The upstream has ended its answer in good order. */
METALLM_MUSTCHECK int metallm__wire_stream_end(struct metallm__wire_stream *s,
                                               metallm__wire_sink sink, void *payload,
                                               metallm_error *err);

/* Appends an OpenAI error object, {"error":{"message","type","param","code"}}. param and code may
 * be NULL (null). */
void metallm__wire_error_write(struct metallm__buf *out, const struct metallm__wire_refusal *e);
/* The same as an event, for a stream that breaks; no [DONE] follows it. */
void metallm__wire_error_event(struct metallm__buf *out, const struct metallm__wire_refusal *e);

#endif
