/* SPDX-License-Identifier: Apache-2.0
 * net_world.h - a server on a loop whose time the test moves, and a handler that answers by path:
 * /later waits for the test, /pieces, /known, /short and /none answer in their forms, and all
 * others with the body that came, or the path. */
#ifndef SUPPORT_NET_WORLD_H
#define SUPPORT_NET_WORLD_H
#include "net/http_server.h"
#include "support/net_peer.h"

struct net_world {
    struct net_time time;
    struct metallm__loop *loop;
    struct metallm__http_server *server;
    uint16_t port;
    struct metallm__exchange *open[8]; /* those of /later, in their order */
    unsigned open_count, handled, gone, drained_pieces;
    bool was_drained, was_cut;
    char last[128]; /* target and body of the last request */
};

struct metallm__http_limits net_world_limits(void);
/* limits NULL: those of net_world_limits. */
void net_world_start(struct net_world *w, const struct metallm__http_limits *limits);
struct metallm__http_counts net_world_stop(struct net_world *w);          /* and what was counted */
void net_world_answer(struct net_world *w, unsigned i, const char *text); /* the i-th /later */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

#endif
