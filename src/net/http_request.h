/* SPDX-License-Identifier: Apache-2.0
 * http_request.h - bytes into one request: no socket, no clock. However the bytes are cut, the
 * result is the same. The request line is read here (llhttp takes several blanks in it), the
 * headers and the body's framing by llhttp, and what it leaves open is checked again. */
#ifndef NET_HTTP_REQUEST_H
#define NET_HTTP_REQUEST_H
#include <llhttp.h>

#include "net/http_head.h"
#include "net/http_server.h"

enum metallm__request_phase {
    METALLM__REQUEST_NONE, /* nothing of it is there yet, but perhaps empty lines before it */
    METALLM__REQUEST_LINE,
    METALLM__REQUEST_HEAD,
    METALLM__REQUEST_BODY,
    METALLM__REQUEST_DONE,
    METALLM__REQUEST_REFUSED,
};

struct metallm__request_parser {
    llhttp_t http;
    const struct metallm__http_limits *limits; /* the owner's, unchanged within a request */
    enum metallm__request_phase phase;
    struct metallm__http_head head; /* its first bytes are the request line */
    uint8_t line_state;
    size_t line_blanks; /* where the two blanks of the request line stand, packed by the reader */
    size_t head_bytes;  /* as they came */
    size_t odd_bytes;   /* of chunk extensions and trailers */
    enum metallm__method method;
    struct metallm__span target; /* in origin form */
    uint8_t minor;
    bool keep_alive, expects_continue, has_length;
    uint64_t length; /* Content-Length, if has_length */
    char *body;
    size_t body_n, body_cap;
    /* METALLM__REQUEST_REFUSED: the answer that it gets. */
    int status;
    enum metallm__http_refusal refusal;
    const char *message; /* a sentence; static */
};

void metallm__request_parser_fini(struct metallm__request_parser *p); /* cleared: fine */
/* For a new request: all zero, or after another one, whose memory is used again. */
void metallm__request_parser_reset(struct metallm__request_parser *p,
                                   const struct metallm__http_limits *limits);
/* Takes bytes until the request is whole or refused: returns how many. Look at phase. */
size_t metallm__request_parser_feed(struct metallm__request_parser *p, struct metallm__span in);
/* phase DONE: what the handler sees, but for peer, is_tls and times. */
void metallm__request_parser_show(const struct metallm__request_parser *p,
                                  struct metallm__request *out);
void metallm__request_refuse(struct metallm__request_parser *p, int status,
                             enum metallm__http_refusal refusal, const char *message);

#endif
