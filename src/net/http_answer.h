/* SPDX-License-Identifier: Apache-2.0
 * http_answer.h - bytes into one answer: no socket, no clock. However the bytes are cut, the result
 * is the same. llhttp reads; framing that two parsers could read differently is refused. */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H
#include <llhttp.h>

#include "net/http_client.h"
#include "net/http_head.h"

enum metallm__answer_phase {
    METALLM__ANSWER_NONE, /* no byte yet */
    METALLM__ANSWER_HEAD, /* also after 1xx */
    METALLM__ANSWER_BODY,
    METALLM__ANSWER_DONE,
    METALLM__ANSWER_FAULTY,  /* fault and message tell */
    METALLM__ANSWER_STOPPED, /* a callback asked for it */
};

struct metallm__answer_parser {
    llhttp_t http;
    /* Called from feed. They return false to stop. */
    bool (*on_head)(void *owner, const struct metallm__http_answer *answer);
    bool (*on_body)(void *owner, struct metallm__span piece);
    void *owner;
    enum metallm__answer_phase phase;
    bool is_to_head; /* the request was HEAD: no body follows */
    bool keep_alive; /* DONE: the connection may be used again */
    size_t head_limit, head_bytes, odd_bytes;
    struct metallm__http_head head;
    struct metallm__http_answer answer;
    enum metallm__http_call_failure fault;
    const char *message; /* static */
};

void metallm__answer_parser_fini(struct metallm__answer_parser *p);
/* For a new answer; memory is used again. on_head, on_body and owner are set by the caller. */
void metallm__answer_parser_reset(struct metallm__answer_parser *p, bool is_to_head,
                                  size_t head_limit, size_t header_limit);
/* Returns how many bytes were taken; fewer only if phase is DONE, FAULTY or STOPPED. */
size_t metallm__answer_parser_feed(struct metallm__answer_parser *p, struct metallm__span in);
/* The peer has closed: an answer without a length ends here. Else FAULTY (BROKEN, or RESET if not a
 * byte of it had come). */
void metallm__answer_parser_eof(struct metallm__answer_parser *p);

#endif
