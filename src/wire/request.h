/* SPDX-License-Identifier: Apache-2.0
 * request.h - a client's request, read once: what it wants, what it needs, the text that it is
 * routed on, and where in its bytes the members stand that change on the way to an LLM.
 * docs/gateway.md, "What a conversation is routed on", defines the text. */
#ifndef WIRE_REQUEST_H
#define WIRE_REQUEST_H
#include "base/buf.h"
#include "base/json.h"
#include "base/span.h"
#include "wire/talk.h"

#define METALLM__WIRE_BODY_BYTES_MAX   ((size_t)64 << 20)
#define METALLM__WIRE_DEPTH_MAX        128u /* of nested arrays and objects */
#define METALLM__WIRE_NAME_BYTES_MAX   256u /* model names, tasks, sessions */
#define METALLM__WIRE_MODELS_MAX       64u  /* names in metallm.models */
#define METALLM__WIRE_LABEL_BYTES_MAX  4096u
#define METALLM__WIRE_SYSTEM_BYTES_MAX 512u /* of the system message in the text routed on */
#define METALLM__WIRE_TEXT_BYTES_MAX   ((size_t)64 << 10) /* of the text routed on */

enum metallm__wire_kind {
    METALLM__WIRE_CHAT = 0,   /* POST /v1/chat/completions */
    METALLM__WIRE_COMPLETION, /* POST /v1/completions */
    METALLM__WIRE_EMBEDDING,  /* POST /v1/embeddings */
    METALLM__WIRE_RESPONSES,  /* POST /v1/responses */
    METALLM__WIRE_MESSAGES,   /* POST /v1/messages (Anthropic) */
    METALLM__WIRE_COUNT,      /* POST /v1/messages/count_tokens */
    METALLM__WIRE_KINDS
};

/* The member "metallm", or x-metallm-* headers. NaN, len 0 and count 0 mean: not given. */
struct metallm__wire_hints {
    double dial;         /* 0..1e6: dollars' weight, as metallm_router_query.dial */
    double target;       /* 0..1: least chance of being right */
    double max_cost_usd; /* 0..1e6, for this request */
    struct metallm__span models[METALLM__WIRE_MODELS_MAX]; /* the only ones that may answer */
    unsigned model_count;
    struct metallm__span task, session;
    struct metallm__span label; /* the right answer, for graders; at most 4,096 bytes */
};

/* What an LLM must be able to do to answer. */
struct metallm__wire_needs {
    bool tools;                 /* "tools" or "functions" with an element */
    bool images;                /* an image part in a message */
    bool audio;                 /* an audio part, or audio asked for */
    bool files;                 /* a file part */
    bool json;                  /* response_format json_object or json_schema */
    bool json_schema;           /* response_format json_schema */
    unsigned choices;           /* n; 1 where not stated */
    uint32_t output_tokens_max; /* max_completion_tokens, max_tokens; 0: not stated */
    uint32_t input_tokens;      /* estimated: metallm__tokens_estimate and docs/gateway.md */
};

/* A range of the body's bytes. */
struct metallm__wire_range {
    size_t begin, end;
};

struct metallm__wire_request {
    enum metallm__wire_kind kind;
    struct metallm__span body;  /* the client's bytes, borrowed: they outlive the request */
    struct metallm__span model; /* decoded; len >= 1 */
    /* MESSAGES, COUNT: headers anthropic-version and anthropic-beta, set by who reads headers: the
     * body was written for them. */
    struct metallm__span version, beta;
    bool is_stream;
    bool wants_usage; /* stream_options.include_usage is true */
    struct metallm__wire_hints hints;
    struct metallm__wire_needs needs;

    /* What it is routed on. len 0: nothing (embeddings, token prompts, images alone). */
    struct metallm__span text;      /* the two below, cut and joined: what the encoder gets */
    struct metallm__span last_user; /* text parts of the last user message, or the prompt */
    struct metallm__span system;    /* the first system or developer message */
    size_t rest_bytes;              /* text bytes of all other messages */
    unsigned message_count;         /* turns so far; 1 for a prompt */

    /* Owned, and used by the writers. */
    yyjson_doc *doc;
    struct metallm__pool pool; /* of talk */
    struct metallm__talk talk; /* once has_talk: from the start for responses and messages, for chat
                                * and completions by metallm__wire_request_talk */
    bool has_talk;
    int talk_rc; /* why there is none; METALLM_OK: not yet asked for */
    metallm_error talk_err;
    struct metallm__buf texts, joined;     /* texts of several parts; `text` */
    struct metallm__wire_range model_at;   /* the value of "model" */
    struct metallm__wire_range hints_at;   /* "metallm" with its comma; empty: none */
    struct metallm__wire_range options_at; /* the value of "stream_options"; empty: none */
    struct metallm__wire_range usage_at;   /* the value of "include_usage" in it; empty: none */
    size_t object_at;                      /* just behind the opening brace */
};

/* Reads a body; body.bytes must stay as they are until fini. What is wrong is in err (a sentence
 * for the client that names the member) and *param, a static member name or NULL, which may be
 * NULL. METALLM_EFORMAT: not JSON, not UTF-8, not an object; METALLM_EINVAL: a member is missing,
 * stands twice, or is of the wrong type or out of range; METALLM_ELIMIT: too large or too deep;
 * METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__wire_request_read(struct metallm__wire_request *out,
                                                 enum metallm__wire_kind kind,
                                                 struct metallm__span body, const char **param,
                                                 metallm_error *err);
void metallm__wire_request_fini(struct metallm__wire_request *r); /* a cleared record is fine */

/* The request apart from its protocol, for an LLM that speaks another one; read when it is first
 * asked for. One thread. METALLM_EINVAL with a sentence: it cannot be understood, as a tool's
 * arguments that are no JSON; the same again on every further call. METALLM_ENOMEM. Embeddings have
 * none: METALLM_ENOTFOUND. */
METALLM_MUSTCHECK int metallm__wire_request_talk(struct metallm__wire_request *r,
                                                 const struct metallm__talk **out,
                                                 metallm_error *err);

/* One hint from a header "x-metallm-NAME: value" (name without the prefix, any case, "-" or "_";
 * models are separated by commas). The value's bytes are borrowed. It fills what is not given yet:
 * a hint in the body wins. METALLM_ENOTFOUND: no such hint; METALLM_EINVAL: out of range. */
METALLM_MUSTCHECK int metallm__wire_hint_header(struct metallm__wire_hints *h,
                                                struct metallm__span name,
                                                struct metallm__span value, metallm_error *err);
void metallm__wire_hints_clear(struct metallm__wire_hints *h); /* nothing given */

/* Tokens of a text where nobody counted: (ASCII bytes) / 4 + 0.8 (other characters), after the rule
 * of thumb of four characters a token for English. In units, which can be added up over pieces, or
 * rounded up to tokens. */
#define METALLM__TOKEN_UNITS 20u
uint64_t metallm__token_units(struct metallm__span text);
uint32_t metallm__tokens_estimate(struct metallm__span text);

#endif
