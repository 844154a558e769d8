/* SPDX-License-Identifier: Apache-2.0
 * dns.h - names to addresses without blocking the loop (getaddrinfo in libuv's thread pool), with a
 * cache per loop. Numeric addresses are answered at once, without the pool. */
#ifndef NET_DNS_H
#define NET_DNS_H
#include <sys/socket.h>

#include "net/loop.h"

#define METALLM__ADDRESSES_MAX 8u

struct metallm__addresses {
    struct sockaddr_storage at[METALLM__ADDRESSES_MAX]; /* in the system's order, port set */
    uint32_t count;
};

struct metallm__dns_options { /* 0: the default */
    uint32_t ttl_ms;          /* how long an answer is kept; 30,000 */
    uint32_t fail_ttl_ms;     /* how long a failure is kept; 1,000 */
    uint32_t stale_ms;        /* an answer so old still serves when a new lookup fails; 600,000 */
    uint32_t names_max;       /* the oldest of more leaves; 256 */
    uint32_t running_max;     /* lookups in the thread pool at a time, the rest waits; 2 */
};

struct metallm__dns;
METALLM_MUSTCHECK int metallm__dns_new(struct metallm__dns **out, struct metallm__loop *loop,
                                       const struct metallm__dns_options *opts, metallm_error *err);
/* Lookups still open are dropped without a call. Not from within done. NULL is fine. */
void metallm__dns_free(struct metallm__dns *dns);

/* A lookup lies in its owner's memory. */
struct metallm__lookup {
    /* Called once from the loop, never from within metallm__dns_find: found has at least one
     * address, or is NULL and why a sentence. Both are valid during the call. */
    void (*done)(struct metallm__lookup *lookup, const struct metallm__addresses *found,
                 const char *why);
    struct metallm__lookup *next, **link; /* dns's */
    struct metallm__dns *dns;
    uint16_t port;
};
/* METALLM_OK and *out filled: known at once (numeric, or cached), done is not called.
 * METALLM_EBUSY: done will be called. Else it failed: METALLM_ENOTFOUND (known not to exist),
 * METALLM_EINVAL (not a host name), METALLM_ENOMEM, METALLM_ELIMIT (256 lookups wait already). */
METALLM_MUSTCHECK int metallm__dns_find(struct metallm__dns *dns, const char *host, uint16_t port,
                                        struct metallm__addresses *out,
                                        struct metallm__lookup *lookup, metallm_error *err);
void metallm__dns_cancel(struct metallm__lookup *lookup); /* done will not be called */
/* Forgets a name, because none of its addresses could be reached. */
void metallm__dns_forget(struct metallm__dns *dns, const char *host);

/* "ADDRESS:PORT", "[V6]:PORT" or ":PORT" (every IPv4 address) of numbers alone into an address;
 * "localhost" stands for 127.0.0.1. METALLM_EINVAL. */
METALLM_MUSTCHECK int metallm__address_parse(const char *text, struct sockaddr_storage *out,
                                             metallm_error *err);
/* A numeric host and a port into an address. */
bool metallm__address_numeric(const char *host, uint16_t port, struct sockaddr_storage *out);
/* The address without port as text; out has METALLM__ADDRESS_BYTES. */
#define METALLM__ADDRESS_BYTES 46u
void metallm__address_text(const struct sockaddr_storage *address, char *out);
uint16_t metallm__address_port(const struct sockaddr_storage *address);
void metallm__address_set_port(struct sockaddr_storage *address, uint16_t port);
bool metallm__address_is_loopback(const struct sockaddr_storage *address);

#endif
