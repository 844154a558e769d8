/* SPDX-License-Identifier: Apache-2.0
 * surface.h - what clients speak: how a request is read from it and an answer written in it. One
 * row a kind of request. Used where the LLM speaks another protocol; where it speaks the same,
 * bytes pass as they are. Threads: the tables are constant. */
#ifndef WIRE_SURFACE_H
#define WIRE_SURFACE_H
#include "wire/request.h"
#include "wire/talk.h"

/* What a client is told went wrong; param and code may be NULL. */
struct metallm__wire_refusal {
    const char *message, *type, *param, *code;
    int status; /* HTTP */
};

/* A streamed answer being written: the state of one stream. The driver gives request, wall_s, id
 * and model (from START) and usage (merged) before it asks for the events of a delta; the other
 * fields are the surface's own, cleared at the start. */
struct metallm__telling {
    const struct metallm__wire_request *request;
    int64_t wall_s;                   /* "created" */
    char id[80];                      /* of the answer, in the surface's form */
    char model[96];                   /* what the client is told answered */
    unsigned part, calls, number;     /* parts, calls and events so far */
    unsigned outputs;                 /* items of the output so far */
    enum metallm__part_kind open;     /* the part that has begun; KINDS: none */
    char part_id[80];                 /* its id */
    struct metallm__wire_usage usage; /* so far */
    enum metallm__wire_finish finish;
    struct metallm__buf kept;  /* the open part's text, where it must be told again (responses) */
    struct metallm__buf names; /* the open call's id and name, each closed by a NUL */
    struct metallm__buf seal;  /* the open part's seal; seal_of is a protocol's name, static */
    struct metallm__span seal_of;
    struct metallm__buf items; /* finished items of the output (responses) */
    bool is_started;
};

struct metallm__surface {
    const char *name; /* "chat", "messages", ...: in metrics and docs */
    /* The body, which has been parsed to doc, as a talk. Spans lie in doc and pool. METALLM_EINVAL
     * with *param, a static member name: what the client did wrong. */
    int (*talk_in)(yyjson_val *root, struct metallm__pool *pool, struct metallm__talk *out,
                   const char **param, metallm_error *err);
    /* A whole answer, with model as the client is to read it. wall_s: seconds since 1970. */
    int (*said_out)(const struct metallm__said *said, const struct metallm__wire_request *request,
                    struct metallm__span model, int64_t wall_s, struct metallm__buf *out,
                    metallm_error *err);
    /* The events that tell this delta (FINISH comes last of all, after all usage is known),
     * appended to out. *kind: what they are for the gateway (METALLM__WIRE_PIECE_*), so that usage
     * and end can be held until the cost is known: a delta that gives an event with usage and an
     * end beside it writes the end to `last`. */
    int (*delta_out)(struct metallm__telling *t, const struct metallm__delta *delta,
                     struct metallm__buf *events, struct metallm__buf *usage,
                     struct metallm__buf *last, metallm_error *err);
    /* An error object of this surface, and the event that tells it within a stream. */
    void (*error_out)(struct metallm__buf *out, const struct metallm__wire_refusal *e);
    void (*error_event)(struct metallm__buf *out, const struct metallm__wire_refusal *e);
};

extern const struct metallm__surface metallm__surface_chat, metallm__surface_completion,
    metallm__surface_embedding, metallm__surface_responses, metallm__surface_messages;
/* By kind of request; never NULL. Embeddings and token counts have error_out alone. */
const struct metallm__surface *metallm__surface_of(enum metallm__wire_kind kind);

#endif
