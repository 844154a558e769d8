/* SPDX-License-Identifier: Apache-2.0
 * http_server.h - a real HTTP server on 127.0.0.1 in one thread, for tests of clients. The handler
 * writes whatever it likes to the connection, which is closed afterwards. */
#ifndef SUPPORT_HTTP_SERVER_H
#define SUPPORT_HTTP_SERVER_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct http_request {
    size_t number;    /* from 0 */
    const char *head; /* request line and headers, closed by NUL */
    const char *body; /* closed by NUL */
    size_t body_len;
};

struct http_server {
    void (*handle)(void *payload, int fd, const struct http_request *request);
    void *payload;
    int listener, port;
    size_t served;
    pthread_t thread;
};

/* handle and payload are set by the caller; 0, or -1. */
int http_server_start(struct http_server *s);
void http_server_stop(struct http_server *s);
/* A whole answer; extra: further header lines, each closed by \r\n, or "". */
void http_answer(int fd, int status, const char *extra, const char *body, size_t len);

#endif
