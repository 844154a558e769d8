/* SPDX-License-Identifier: Apache-2.0
 * fake_upstream.h - an LLM's server on a thread of its own, that misbehaves as it is asked: the
 * first part of a request's path names what it does ("/garbage/chat/completions"). Built on net's
 * server. ok       answers; a stream if the body asks for one, with usage if it asks for that slow
 * the same after 300 ms status   /500, /429, /400, ...: this status with an error object;
 * /429-after, /503-after: with retry-after-ms: 60; /429-long: retry-after: 30 flaky    500 for the
 * first request, then ok garbage  200 with HTML; half: a JSON answer cut in its middle; empty: 200
 * and nothing hang     never answers die      a stream that is cut after two events; die-early:
 * before the first one error    a stream whose first event is an error; late-error: whose third one
 * is whole    a streamed request is answered by a whole body flood    a stream of 4,000 events of 1
 * KiB nodone   a stream without [DONE] */
#ifndef SUPPORT_FAKE_UPSTREAM_H
#define SUPPORT_FAKE_UPSTREAM_H
#include <stdint.h>

struct fake_upstream;
struct fake_upstream *fake_upstream_start(void);
void fake_upstream_stop(struct fake_upstream *f);

uint16_t fake_upstream_port(const struct fake_upstream *f);
unsigned fake_upstream_seen(struct fake_upstream *f); /* requests so far */
unsigned fake_upstream_gone(struct fake_upstream *f); /* clients that hung up before the end */
unsigned fake_upstream_most(struct fake_upstream *f); /* most requests under way at a time */
uint64_t fake_upstream_sent(struct fake_upstream *f); /* bytes of flood given to the server */
/* The last request's body and "authorization", each cut to 1,023 bytes. */
void fake_upstream_last(struct fake_upstream *f, char body[1024], char authorization[1024]);

#endif
