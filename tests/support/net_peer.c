/* SPDX-License-Identifier: Apache-2.0
 * net_peer.c - plain non-blocking sockets beside a loop. */
#include "support/net_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/cmocka_all.h"

#define PATIENCE 2000 /* turns of 5 ms */

static uint64_t mono(void *payload)
{
    return ((struct net_time *)payload)->mono_ns;
}

static int64_t wall(void *payload)
{
    return ((struct net_time *)payload)->wall_ms;
}

struct metallm__clock net_clock(struct net_time *time)
{
    return (struct metallm__clock){mono, wall, time};
}

void net_turn(struct metallm__loop *loop, int turns)
{
    for (int i = 0; i < turns; i++)
        metallm__loop_turn(loop, 1);
}

void net_pass(struct metallm__loop *loop, struct net_time *time, uint64_t ms)
{
    net_turn(loop, 3);
    for (uint64_t done = 0; done < ms;) {
        uint64_t step = ms - done < 100 ? ms - done : 100;
        time->mono_ns += step * 1000000;
        time->wall_ms += (int64_t)step;
        done += step;
        metallm__loop_turn(loop, 0);
    }
    net_turn(loop, 3);
}

bool net_wait(struct metallm__loop *loop, const bool *flag)
{
    for (int i = 0; i < PATIENCE && !*flag; i++)
        metallm__loop_turn(loop, 5);
    return *flag;
}

static void set_up(int fd)
{
    int on = 1;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int net_listen(uint16_t *port)
{
    struct sockaddr_in a = local(0);
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

void net_accept(struct metallm__loop *loop, int listener, struct net_peer *p)
{
    *p = (struct net_peer){.fd = -1};
    for (int i = 0; i < PATIENCE && p->fd < 0; i++) {
        metallm__loop_turn(loop, 1);
        p->fd = accept(listener, NULL, NULL);
    }
    assert_true(p->fd >= 0);
    set_up(p->fd);
}

void net_connect(struct net_peer *p, uint16_t port)
{
    struct sockaddr_in a = local(port);
    *p = (struct net_peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(p->fd >= 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&a, sizeof a), 0);
    set_up(p->fd);
}

void net_close(struct net_peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

void net_reset(struct net_peer *p)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    net_close(p);
}

void net_free(struct net_peer *p)
{
    net_close(p);
    free(p->got);
    *p = (struct net_peer){.fd = -1};
}

void net_forget(struct net_peer *p)
{
    p->got_n = 0;
    if (p->got != NULL)
        p->got[0] = '\0';
}

void net_send(struct metallm__loop *loop, struct net_peer *p, const char *bytes, size_t n)
{
    for (int i = 0; i < PATIENCE && n > 0 && p->fd >= 0; i++) {
        ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
            i = 0;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return; /* what comes of it is seen by reading */
        } else {
            metallm__loop_turn(loop, 1);
        }
    }
    metallm__loop_turn(loop, 0);
}

void net_say(struct metallm__loop *loop, struct net_peer *p, const char *text)
{
    net_send(loop, p, text, strlen(text));
}

bool net_read(struct net_peer *p)
{
    char piece[65536];
    while (p->fd >= 0) {
        ssize_t n = recv(p->fd, piece, sizeof piece, 0);
        if (n > 0) {
            if (p->got_cap < p->got_n + (size_t)n + 1) {
                p->got_cap = (p->got_n + (size_t)n) * 2 + 1024;
                p->got = realloc(p->got, p->got_cap);
                assert_non_null(p->got);
            }
            memcpy(p->got + p->got_n, piece, (size_t)n);
            p->got_n += (size_t)n;
            p->got[p->got_n] = '\0';
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        } else {
            p->was_reset = n < 0;
            net_close(p);
        }
    }
    return false;
}

bool net_hear(struct metallm__loop *loop, struct net_peer *p, const char *needle)
{
    for (int i = 0; i < PATIENCE; i++) {
        bool is_open = net_read(p);
        if (p->got != NULL && strstr(p->got, needle) != NULL)
            return true;
        if (!is_open)
            return false;
        metallm__loop_turn(loop, 1);
    }
    return false;
}

bool net_hear_bytes(struct metallm__loop *loop, struct net_peer *p, size_t n)
{
    for (int i = 0; i < PATIENCE && p->got_n < n; i++) {
        size_t before = p->got_n;
        if (!net_read(p))
            break;
        metallm__loop_turn(loop, 1);
        if (p->got_n > before)
            i = 0;
    }
    return p->got_n >= n;
}

bool net_ends(struct metallm__loop *loop, struct net_peer *p)
{
    for (int i = 0; i < PATIENCE; i++) {
        if (!net_read(p))
            return true;
        metallm__loop_turn(loop, 1);
    }
    return false;
}

size_t net_count(const struct net_peer *p, const char *needle)
{
    size_t count = 0;
    for (const char *at = p->got; at != NULL && (at = strstr(at, needle)) != NULL; at++)
        count++;
    return count;
}
