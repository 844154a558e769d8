/* SPDX-License-Identifier: Apache-2.0
 * upstream.c - an OpenAI-compatible endpoint that answers at once: one thread, epoll, plain or TLS.
 *
 * usage: gateway_upstream PORT [--tls CERT KEY] [--answer BYTES] [--say TEXT] [--chunks N]
 *                         [--pace US]
 *
 * A body with "stream":true gets N events, PACE microseconds apart; any other body an answer of
 * about BYTES, or TEXT. It reads requests with a Content-Length or in chunks, pipelined ones too.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 20000
#define REQUEST_MAX     (256 * 1024)
#define ANSWER_MAX      (256 * 1024)
#define PIECE_MAX       512

struct connection {
    SSL *ssl;
    char *in; /* REQUEST_MAX bytes, allocated when first used */
    size_t len;
    unsigned generation;
    int pieces_left;
    bool is_open, wants_usage;
};

struct due { /* the next piece of a stream */
    uint64_t at_ns;
    int fd;
    unsigned generation;
};

static struct connection connections[CONNECTIONS_MAX];
static struct due queue[CONNECTIONS_MAX * 2]; /* a ring: all pieces are equally far apart */
static size_t queue_first, queue_count;
static char answer[ANSWER_MAX];
static size_t answer_len;
static int chunk_count = 20;
static uint64_t pace_ns;
static SSL_CTX *tls;
static int epoll_fd;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void close_connection(int fd)
{
    struct connection *c = &connections[fd];
    if (c->ssl != NULL)
        SSL_free(c->ssl);
    c->ssl = NULL;
    c->is_open = false;
    c->generation++;
    c->len = 0;
    close(fd);
}

/* Answers are small: what a socket does not take at once is waited for. */
static bool write_all(int fd, const char *data, size_t len)
{
    struct connection *c = &connections[fd];
    while (len > 0) {
        ssize_t n =
            c->ssl != NULL ? SSL_write(c->ssl, data, (int)len) : send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) {
            if (c->ssl == NULL && errno != EAGAIN)
                return false;
            if (c->ssl != NULL && SSL_get_error(c->ssl, (int)n) != SSL_ERROR_WANT_WRITE)
                return false;
            usleep(100);
            continue;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void prepare_answer(size_t bytes, const char *text)
{
    static char body[ANSWER_MAX];
    const char *begin = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":"
                        "1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role"
                        "\":\"assistant\",\"content\":\"";
    const char *end = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":250,"
                      "\"completion_tokens\":80,\"total_tokens\":330}}";
    size_t len = (size_t)snprintf(body, sizeof body, "%s", begin);
    if (text != NULL)
        len += (size_t)snprintf(body + len, sizeof body - len, "%s", text);
    while (text == NULL && len + strlen(end) < bytes && len < sizeof body / 2)
        len += (size_t)snprintf(body + len, sizeof body - len, "words ");
    len += (size_t)snprintf(body + len, sizeof body - len, "%s", end);
    answer_len = (size_t)snprintf(answer, sizeof answer,
                                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                  "Content-Length: %zu\r\n\r\n%s",
                                  len, body);
}

static bool send_event(int fd, const char *text)
{
    char out[PIECE_MAX];
    int n = snprintf(out, sizeof out, "%zx\r\ndata: %s\n\n\r\n", strlen(text) + 8, text);
    return write_all(fd, out, (size_t)n);
}

static bool send_piece(int fd)
{
    struct connection *c = &connections[fd];
    const char *event = "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                        "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"four "
                        "words or so \"},\"finish_reason\":null}]}";
    if (--c->pieces_left > 0)
        return send_event(fd, event);
    const char *usage = "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                        "\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":250,"
                        "\"completion_tokens\":80,\"total_tokens\":330}}";
    return send_event(fd, event) && (!c->wants_usage || send_event(fd, usage)) &&
           send_event(fd, "[DONE]") && write_all(fd, "0\r\n\r\n", 5);
}

static bool begin_stream(int fd, const char *body, size_t len)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    struct connection *c = &connections[fd];
    c->pieces_left = chunk_count;
    c->wants_usage = memmem(body, len, "include_usage\":true", 19) != NULL ||
                     memmem(body, len, "include_usage\": true", 20) != NULL;
    if (!write_all(fd, head, sizeof head - 1))
        return false;
    size_t at = (queue_first + queue_count++) % (sizeof queue / sizeof queue[0]);
    queue[at] = (struct due){now_ns() + pace_ns, fd, c->generation};
    return true;
}

/* Bytes of the request at the start of the buffer, its body set; 0: not whole yet. */
static size_t request_end(const struct connection *c, const char **body, size_t *body_len)
{
    const char *head_end = memmem(c->in, c->len, "\r\n\r\n", 4);
    if (head_end == NULL)
        return 0;
    size_t head = (size_t)(head_end - c->in) + 4;
    size_t length = 0;
    bool is_chunked = false;
    for (const char *line = c->in; line < head_end;) {
        const char *end = memmem(line, c->in + head - line, "\r\n", 2);
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = strtoul(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            is_chunked = true;
        line = end + 2;
    }
    *body = c->in + head;
    if (!is_chunked) {
        *body_len = length;
        return c->len >= head + length ? head + length : 0;
    }
    const char *last = memmem(*body, c->len - head, "0\r\n\r\n", 5);
    if (last == NULL)
        return 0;
    *body_len = (size_t)(last - *body);
    return (size_t)(last - c->in) + 5;
}

static bool answer_requests(int fd)
{
    struct connection *c = &connections[fd];
    const char *body;
    size_t body_len, end;
    while (c->pieces_left <= 0 && (end = request_end(c, &body, &body_len)) > 0) {
        bool is_stream = memmem(body, body_len, "\"stream\":true", 13) != NULL ||
                         memmem(body, body_len, "\"stream\": true", 14) != NULL;
        bool ok = is_stream ? begin_stream(fd, body, body_len) : write_all(fd, answer, answer_len);
        memmove(c->in, c->in + end, c->len - end);
        c->len -= end;
        if (!ok)
            return false;
    }
    return true;
}

static void read_some(int fd)
{
    struct connection *c = &connections[fd];
    if (c->in == NULL && (c->in = malloc(REQUEST_MAX)) == NULL)
        die("malloc");
    for (;;) {
        if (c->len == REQUEST_MAX) {
            close_connection(fd);
            return;
        }
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, c->in + c->len, (int)(REQUEST_MAX - c->len))
                                   : recv(fd, c->in + c->len, REQUEST_MAX - c->len, 0);
        if (n <= 0) {
            bool waits = c->ssl != NULL ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ
                                        : n < 0 && errno == EAGAIN;
            ERR_clear_error();
            if (!waits)
                close_connection(fd);
            return;
        }
        c->len += (size_t)n;
        if (!answer_requests(fd)) {
            close_connection(fd);
            return;
        }
        if (c->ssl == NULL && c->len == 0)
            return;
    }
}

static void send_due_pieces(void)
{
    uint64_t now = now_ns();
    while (queue_count > 0 && queue[queue_first].at_ns <= now) {
        struct due d = queue[queue_first];
        queue_first = (queue_first + 1) % (sizeof queue / sizeof queue[0]);
        queue_count--;
        struct connection *c = &connections[d.fd];
        if (!c->is_open || c->generation != d.generation)
            continue;
        if (!send_piece(d.fd)) {
            close_connection(d.fd);
            continue;
        }
        if (c->pieces_left > 0) {
            size_t at = (queue_first + queue_count++) % (sizeof queue / sizeof queue[0]);
            queue[at] = (struct due){now + pace_ns, d.fd, d.generation};
        } else if (!answer_requests(d.fd)) {
            close_connection(d.fd);
        }
    }
}

static void take_connections(int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = &connections[fd];
        c->is_open = true;
        c->len = 0;
        c->pieces_left = 0;
        if (tls != NULL) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
            die("epoll_ctl");
    }
}

static int listen_on(const char *port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0)
        die("listen");
    return listener;
}

static void read_options(int argc, char **argv, size_t *bytes, const char **text)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            tls = SSL_CTX_new(TLS_server_method());
            if (SSL_CTX_use_certificate_chain_file(tls, argv[i + 1]) != 1 ||
                SSL_CTX_use_PrivateKey_file(tls, argv[i + 2], SSL_FILETYPE_PEM) != 1)
                die("certificate");
            SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
            i += 2;
        } else if (i + 1 < argc && strcmp(argv[i], "--answer") == 0) {
            *bytes = strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--say") == 0) {
            *text = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--chunks") == 0) {
            chunk_count = (int)strtol(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--pace") == 0) {
            pace_ns = strtoul(argv[++i], NULL, 10) * 1000;
        } else {
            fprintf(stderr, "gateway_upstream: what is %s?\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    size_t bytes = 600;
    const char *text = NULL;
    if (argc < 2)
        return 2;
    read_options(argc, argv, &bytes, &text);
    signal(SIGPIPE, SIG_IGN);
    prepare_answer(bytes, text);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argv[1]);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int wait_ms = -1;
        if (queue_count > 0) {
            uint64_t now = now_ns(), at = queue[queue_first].at_ns;
            wait_ms = at <= now ? 0 : (int)((at - now) / 1000000 + 1);
        }
        int n = epoll_wait(epoll_fd, events, 256, wait_ms);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                take_connections(listener);
            else if (connections[events[i].data.fd].is_open)
                read_some(events[i].data.fd);
        }
        send_due_pieces();
    }
}
