/* SPDX-License-Identifier: Apache-2.0
 * chat.h - a request to an LLM (of any surface, or for the decision alone) on its way:
 *   chat.c        begin: read, name, limits          -> route
 *   chat_route.c  vector, estimates, choice          -> call (or the decision itself)
 *   chat_tell.c   the decision as the answer
 *   chat_call.c   upstream call, answer to the client -> end
 *   chat_end.c    settle, record, metrics, graders
 *   count.c       a count of tokens, in place of the call
 * It lives on its worker's loop. Three parties may hold it at a time: the client (the exchange),
 * the encoder (a mail that will come), the upstream call. chat_release frees it with the last. */
#ifndef GATEWAY_CHAT_H
#define GATEWAY_CHAT_H
#include "gateway/worker.h"

#define METALLM__CALL_SPARE_MAX 8u

struct metallm__chat {
    struct metallm__visit visit; /* first */
    struct metallm__wire_request request;
    bool is_dry; /* /v1/route: the decision alone */
    struct metallm__name name;
    const struct metallm__config_router
        *router; /* of the world's config; NULL: the LLM was named */

    /* Limits of the key. */
    uint64_t predicted_tokens;
    struct metallm__limit_state limits; /* after this request, for its headers; 0: none */
    struct metallm__reservation reservation;
    bool is_counted; /* in shared->in_work */

    /* The vector. */
    float *features; /* NULL: none was asked for, or it failed */
    float *coarse;   /* of a tiered router file's cheap encoder; NULL: none */
    bool is_encoding;
    uint64_t ticket, encode_ns;
    int encoded; /* status of the encoder */
    struct metallm__mail mail;
    struct metallm__timer late; /* the encoder's time is over */

    /* The decision. */
    const struct metallm__view *view; /* held; NULL: direct */
    struct metallm__brain_decision decision;
    void *room; /* of its candidates and order */
    struct metallm__session session;
    uint64_t session_hash;
    struct metallm__decision_id id;
    char id_text[METALLM__DECISION_ID_LEN + 1]; /* "" : none */
    int64_t time_ms;

    /* The call. */
    struct metallm__ask *ask;
    uint32_t candidates[METALLM__ASK_CANDIDATES_MAX]; /* indices of the world's LLMs */
    unsigned candidate_count;
    uint32_t spare[METALLM__CALL_SPARE_MAX]; /* able, but their breakers were open: tried last */
    uint32_t spare_count;
    struct metallm__header trace;
    char trace_text[METALLM__TRACEPARENT_LEN + 1];
    bool was_called, is_streaming, is_paused;
    struct metallm__buf last;   /* the last events of a stream, until the cost is known */
    size_t usage_bytes;         /* of them the usage event's */
    struct metallm__buf answer; /* text of the answer, for graders */
    bool is_answer_kept;
};

/* Endpoints. */
void metallm__chat_begin(struct metallm__visit *v);
void metallm__completion_begin(struct metallm__visit *v);
void metallm__embedding_begin(struct metallm__visit *v);
void metallm__responses_begin(struct metallm__visit *v);
void metallm__messages_begin(struct metallm__visit *v);
void metallm__count_begin(struct metallm__visit *v);
void metallm__route_begin(struct metallm__visit *v);

/* models.c */
void metallm__models_begin(struct metallm__visit *v);
void metallm__model_begin(struct metallm__visit *v);

/* chat_route.c: goes on to metallm__chat_call, or answers. */
void metallm__chat_route(struct metallm__chat *c);
/* chat_tell.c: the JSON of POST /v1/route. */
void metallm__chat_tell(struct metallm__chat *c);

/* chat_call.c */
void metallm__chat_call(struct metallm__chat *c);

/* count.c: the tokens of a request to this LLM, counted by it where it can, else estimated. */
void metallm__chat_count(struct metallm__chat *c, uint32_t llm);
/* By the estimate; answers. */
void metallm__chat_count_estimate(struct metallm__chat *c, uint32_t llm);

/* chat_end.c. result NULL: no call was made, or it was cancelled. Settles and records, once. */
void metallm__chat_end(struct metallm__chat *c, const struct metallm__ask_result *result);
/* After the exchange is over and nobody else holds it. */
void metallm__chat_release(struct metallm__chat *c);
/* Refuses and ends. */
void metallm__chat_refuse(struct metallm__chat *c, const struct metallm__refusal *why,
                          const char *message);

/* judge.c: asks the judge of a grader about this answer, in the background. */
void metallm__judge_start(struct metallm__chat *c, uint32_t grader, struct metallm__span answer);

/* Drops what is being judged. */
void metallm__judge_stop(struct metallm__worker *w);

#endif
