/* SPDX-License-Identifier: Apache-2.0
 * load.c - sends a request over and over on a number of connections, each as soon as the answer to
 * the one before is whole, and tells the latencies.
 *
 * usage: gateway_load PORT PATH BODY_FILE CONNECTIONS REQUESTS [HEADER...]
 *
 * Every "########" in the body becomes the request's number, so that no two are alike. Prints one
 * JSON object: n, errors (answers other than 200), seconds, p50_us, p99_us, first_us (median until
 * the first byte), bytes. The first tenth of the requests warms up and is not told. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define REQUEST_MAX     (256 * 1024)
#define MARK            "########"

struct connection {
    int fd;
    uint64_t begun_ns, first_ns;
    size_t length, got; /* of the body: stated, and read so far */
    char head[8192];
    size_t head_len;
    bool is_body, is_chunked;
    char tail[5]; /* the last bytes of a chunked body */
};

static struct connection connections[CONNECTIONS_MAX];
static char request[REQUEST_MAX];
static size_t request_len, marks[64], mark_count;
static uint64_t *latencies, *firsts;
static size_t sent, done, told, wanted, warm_up, errors;
static uint64_t bytes_in, measured_ns;

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

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void prepare(const char *path, const char *file, char **headers, int header_count)
{
    static char body[REQUEST_MAX];
    FILE *in = fopen(file, "rb");
    if (in == NULL)
        die(file);
    size_t len = fread(body, 1, sizeof body - 1, in);
    fclose(in);
    int n = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Accept: */*\r\nUser-Agent: load/1\r\nContent-Length: %zu\r\n",
                     path, len);
    for (int i = 0; i < header_count; i++)
        n += snprintf(request + n, sizeof request - (size_t)n, "%s\r\n", headers[i]);
    n += snprintf(request + n, sizeof request - (size_t)n, "\r\n");
    request_len = (size_t)n + len;
    if (request_len > sizeof request)
        die("the request is too large");
    memcpy(request + n, body, len);
    char *at = request;
    while (mark_count < 64 && (at = memmem(at, request + request_len - at, MARK, 8)) != NULL) {
        marks[mark_count++] = (size_t)(at - request);
        at += 8;
    }
}

static void send_request(struct connection *c)
{
    char number[9];
    snprintf(number, sizeof number, "%08zu", sent % 100000000);
    for (size_t i = 0; i < mark_count; i++)
        memcpy(request + marks[i], number, 8);
    sent++;
    c->head_len = c->got = c->length = 0;
    c->is_body = c->is_chunked = false;
    c->first_ns = 0;
    c->begun_ns = now_ns();
    for (size_t at = 0; at < request_len;) {
        ssize_t n = send(c->fd, request + at, request_len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            die("send");
        if (n < 0)
            usleep(50);
        else
            at += (size_t)n;
    }
}

static void connect_to(struct connection *c, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Reads the head's lines; false as long as it is not whole. Body bytes behind it go to *rest. */
static bool read_head(struct connection *c, const char **rest, size_t *rest_len)
{
    char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (end == NULL) {
        if (c->head_len == sizeof c->head)
            die("a head without an end");
        return false;
    }
    *end = '\0';
    for (char *line = c->head; line != NULL; line = strstr(line, "\r\n")) {
        line += line[0] == '\r' ? 2 : 0;
        if (strncasecmp(line, "content-length:", 15) == 0)
            c->length = strtoul(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0)
            c->is_chunked = true;
    }
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 && errors++ < 3)
        fprintf(stderr, "gateway_load: %.200s\n", c->head);
    c->is_body = true;
    *rest = end + 4;
    *rest_len = (size_t)(c->head + c->head_len - *rest);
    return true;
}

static bool read_body(struct connection *c, const char *data, size_t len)
{
    c->got += len;
    if (!c->is_chunked)
        return c->got >= c->length;
    char both[10];
    size_t keep = len < 5 ? len : 5;
    memcpy(both, c->tail, 5);
    memcpy(both + 5, data + len - keep, keep);
    memcpy(c->tail, both + keep, 5);
    return memcmp(c->tail, "0\r\n\r\n", 5) == 0;
}

static void finish(struct connection *c, uint64_t now)
{
    if (done++ >= warm_up) {
        latencies[told] = now - c->begun_ns;
        firsts[told++] = c->first_ns - c->begun_ns;
    } else if (done == warm_up) {
        measured_ns = now;
    }
    if (sent < wanted)
        send_request(c);
}

static void receive(struct connection *c)
{
    static char room[65536];
    for (;;) {
        ssize_t n = recv(c->fd, room, sizeof room, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            fprintf(stderr, "gateway_load: the peer closed a connection\n");
            exit(1);
        }
        bytes_in += (uint64_t)n;
        if (c->first_ns == 0)
            c->first_ns = now_ns();
        const char *body = room;
        size_t len = (size_t)n;
        if (!c->is_body) {
            size_t take = len < sizeof c->head - c->head_len ? len : sizeof c->head - c->head_len;
            size_t before = c->head_len;
            memcpy(c->head + c->head_len, room, take);
            c->head_len += take;
            if (!read_head(c, &body, &len))
                continue;
            size_t head = (size_t)(body - c->head);
            body = room + (head - before);
            len = (size_t)n - (head - before);
            memset(c->tail, 0, sizeof c->tail);
        }
        if ((len > 0 || c->length == 0) && (c->is_chunked ? len > 0 : true) &&
            read_body(c, body, len)) {
            finish(c, now_ns());
            return;
        }
    }
}

static void tell(uint64_t ended_ns)
{
    qsort(latencies, told, sizeof *latencies, by_size);
    qsort(firsts, told, sizeof *firsts, by_size);
    printf("{\"n\": %zu, \"errors\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"first_us\": %.1f, \"bytes\": %llu}\n",
           told, errors, (double)(ended_ns - measured_ns) / 1e9, (double)latencies[told / 2] / 1e3,
           (double)latencies[told * 99 / 100] / 1e3, (double)firsts[told / 2] / 1e3,
           (unsigned long long)bytes_in);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fputs("usage: gateway_load PORT PATH BODY_FILE CONNECTIONS REQUESTS [HEADER...]\n", stderr);
        return 2;
    }
    size_t count = strtoul(argv[4], NULL, 10);
    wanted = strtoul(argv[5], NULL, 10);
    warm_up = wanted / 10 > 0 ? wanted / 10 : 1;
    if (count == 0 || count > CONNECTIONS_MAX || wanted < 2 || wanted < count)
        return 2;
    latencies = calloc(wanted, sizeof *latencies);
    firsts = calloc(wanted, sizeof *firsts);
    if (latencies == NULL || firsts == NULL)
        die("calloc");
    prepare(argv[2], argv[3], argv + 6, argc - 6);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        connect_to(&connections[i], (uint16_t)strtoul(argv[1], NULL, 10));
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &e);
        send_request(&connections[i]);
    }
    struct epoll_event events[256];
    while (done < wanted) {
        int n = epoll_wait(epoll_fd, events, 256, 30000);
        if (n == 0)
            die("no answer for 30 seconds");
        for (int i = 0; i < n; i++)
            receive(&connections[events[i].data.u64]);
    }
    tell(now_ns());
    return errors > 0;
}
