/* SPDX-License-Identifier: Apache-2.0
 * net_peer.h - the other side of a connection in tests of net: a plain socket that is served while
 * the loop under test is turned, all in one thread. */
#ifndef SUPPORT_NET_PEER_H
#define SUPPORT_NET_PEER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"

/* Time as a test wants it. */
struct net_time {
    uint64_t mono_ns;
    int64_t wall_ms;
};
struct metallm__clock net_clock(struct net_time *time);
/* Lets ms pass, in steps, turning the loop. */
void net_pass(struct metallm__loop *loop, struct net_time *time, uint64_t ms);
/* Turns the loop until *flag or a second or ten of real time have passed; returns *flag. */
bool net_wait(struct metallm__loop *loop, const bool *flag);
void net_turn(struct metallm__loop *loop, int turns); /* so many short turns */

struct net_peer {
    int fd; /* -1: closed by the other side, or by us */
    bool was_reset;
    char *got; /* all that came, closed by NUL */
    size_t got_n, got_cap;
};
int net_listen(uint16_t *port); /* a listening socket on 127.0.0.1 */
void net_accept(struct metallm__loop *loop, int listener, struct net_peer *p);
void net_connect(struct net_peer *p, uint16_t port);
void net_free(struct net_peer *p); /* closes and frees */
void net_close(struct net_peer *p);
void net_reset(struct net_peer *p); /* the loop's side sees a reset */
/* Sends all of it, turning the loop while the socket is full. */
void net_send(struct metallm__loop *loop, struct net_peer *p, const char *bytes, size_t n);
void net_say(struct metallm__loop *loop, struct net_peer *p, const char *text);
/* Takes what there is. True while the connection is open. */
bool net_read(struct net_peer *p);
/* Turns the loop and reads until needle has come (true) or the connection has ended (false). */
bool net_hear(struct metallm__loop *loop, struct net_peer *p, const char *needle);
/* The same until so many bytes are there. */
bool net_hear_bytes(struct metallm__loop *loop, struct net_peer *p, size_t n);
/* Until the other side has closed: true. */
bool net_ends(struct metallm__loop *loop, struct net_peer *p);
size_t net_count(const struct net_peer *p, const char *needle);
void net_forget(struct net_peer *p); /* drops what came */

#endif
