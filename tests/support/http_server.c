/* SPDX-License-Identifier: Apache-2.0
 * http_server.c - see http_server.h. */
#include "support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 8 << 20 };

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

void http_answer(int fd, int status, const char *extra, const char *body, size_t len)
{
    char head[512];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
                     status, len, extra);
    write_all(fd, head, (size_t)n);
    write_all(fd, body, len);
}

static size_t length_of(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at != NULL ? (size_t)strtoul(at + 17, NULL, 10) : 0;
}

static void serve(struct http_server *s, int fd, char *buffer)
{
    size_t len = 0, need = SIZE_MAX;
    char *body = NULL;
    while (len < need && len < REQUEST_BYTES_MAX) {
        ssize_t n = recv(fd, buffer + len, REQUEST_BYTES_MAX - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
        buffer[len] = '\0';
        if (body == NULL && (body = strstr(buffer, "\r\n\r\n")) != NULL) {
            *body = '\0';
            body += 4;
            size_t wanted = length_of(buffer);
            need = (size_t)(body - buffer) + wanted;
            if (strcasestr(buffer, "expect: 100-continue") != NULL && len < need)
                write_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }
    }
    struct http_request r = {s->served++, buffer, body, len - (size_t)(body - buffer)};
    s->handle(s->payload, fd, &r);
}

static void *accept_loop(void *payload)
{
    struct http_server *s = payload;
    char *buffer = malloc(REQUEST_BYTES_MAX + 1);
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            break; /* shut down */
        serve(s, fd, buffer);
        close(fd);
    }
    free(buffer);
    return NULL;
}

int http_server_start(struct http_server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    s->served = 0;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s->listener, 64) != 0 || getsockname(s->listener, (struct sockaddr *)&a, &size) != 0)
        return -1;
    s->port = ntohs(a.sin_port);
    return pthread_create(&s->thread, NULL, accept_loop, s) == 0 ? 0 : -1;
}

void http_server_stop(struct http_server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}
