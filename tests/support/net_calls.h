/* SPDX-License-Identifier: Apache-2.0
 * net_calls.h - HTTP calls on a loop whose time the test moves, and what came of each. The server
 * is the test: it accepts from listener and says what it likes. */
#ifndef SUPPORT_NET_CALLS_H
#define SUPPORT_NET_CALLS_H
#include "net/http_client.h"
#include "support/net_peer.h"

#define SECOND UINT64_C(1000000000)

struct net_calls {
    struct net_time time;
    struct metallm__loop *loop;
    struct metallm__dns *dns;
    struct metallm__http_pool *pool;
    struct metallm__origin *origin;
    int listener;
    uint16_t port;
};

struct net_call {
    struct metallm__http_call *call;
    int status;
    uint64_t length;
    char body[8192], type[64], message[128];
    size_t body_n;
    bool has_ended, has_failed, was_kept, is_over;
    struct metallm__http_call_fault fault;
    enum { KEEP_ON, PAUSE_AT_BODY, CANCEL_AT_HEAD, CANCEL_AT_BODY, CANCEL_AT_CONNECTED } mood;
};

extern const struct metallm__http_call_events net_call_events; /* owner: struct net_call */

void net_calls_start(struct net_calls *w);
struct metallm__http_call_counts net_calls_stop(struct net_calls *w); /* and what was counted */
/* A POST of {"a":1} in two spans, with timeouts of 5, 20, 10 and 60 seconds. */
struct metallm__http_call_options net_calls_usual(struct net_calls *w);
/* Starts it; opts NULL: the usual one. mood is kept, all else is cleared. */
void net_call_make(struct net_calls *w, struct net_call *c,
                   const struct metallm__http_call_options *opts);
/* A usual one on a new connection, whose request has arrived at p. */
void net_call_begin(struct net_calls *w, struct net_call *c, struct net_peer *p);
void net_call_cancel(struct net_call *c);

#endif
