/* SPDX-License-Identifier: Apache-2.0
 * keys.h - client keys: "mk_" + 8 characters by which a key is found + 32 secret ones (62 letters
 * and digits: 190 random bits). What is kept is SHA-256 of the whole; the text is shown once.
 *
 * A keyring is an immutable, counted snapshot of all keys. Each loop has a reader, which
 * notices a new snapshot by one relaxed load and checks a key without a lock or an allocation.
 * Threads: take, drop, find: any; a reader belongs to one loop; publish: any, one at a time. */
#ifndef GATEWAY_KEYS_H
#define GATEWAY_KEYS_H
#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"

#define METALLM__KEY_ID_LEN     11u /* "mk_" and 8 characters: shown in lists, logs and records */
#define METALLM__KEY_TEXT_LEN   43u
#define METALLM__KEY_NAME_MAX   64u
#define METALLM__KEY_HASH_BYTES 32u
#define METALLM__KEYS_MAX       65536u

/* What a key may do. Lists hold names, so that they outlive a reload; an empty list allows all. */
struct metallm__key {
    char id[METALLM__KEY_ID_LEN + 1];
    uint8_t hash[METALLM__KEY_HASH_BYTES];
    const char *name;
    struct metallm__strings models, routers;         /* allowed */
    uint64_t requests_per_minute, tokens_per_minute; /* 0: no limit */
    double budget_usd;                               /* NaN: none */
    enum metallm__period budget_per;                 /* day or month */
    double dial, target;             /* defaults of its requests; NaN: the router's */
    double max_cost_usd;             /* 0: none */
    const char *router;              /* what "auto" means for it; "" : the router of that name */
    uint64_t created_ms, revoked_ms; /* wall clock, since 1970; 0: not revoked */
    uint64_t expires_ms;             /* 0: never */
    bool is_admin;                   /* may use the admin API */
};

/* The JSON form: what the store keeps beside id and hash, what the admin API and `metallm keys`
 * take and print. Unknown members and wrong types are refused. */
struct metallm__buf;
void metallm__key_json(const struct metallm__key *k, struct metallm__buf *out);
/* *out and what it points at is one allocation, freed by metallm__free. */
METALLM_MUSTCHECK int metallm__key_parse(struct metallm__key **out, const char *json, size_t len,
                                         metallm_error *err);

/* A new key's text (closed by NUL), id and hash, from the system's random source. METALLM_EIO:
 * there is none. */
METALLM_MUSTCHECK int metallm__key_make(char text[METALLM__KEY_TEXT_LEN + 1],
                                        struct metallm__key *k, metallm_error *err);

struct metallm__keyring;
/* Copies the keys. */
METALLM_MUSTCHECK int metallm__keyring_new(const struct metallm__keyring **out,
                                           const struct metallm__key *const *keys, uint32_t count,
                                           metallm_error *err);
const struct metallm__keyring *metallm__keyring_take(const struct metallm__keyring *r);
void metallm__keyring_drop(const struct metallm__keyring *r); /* NULL is fine */
uint32_t metallm__keyring_count(const struct metallm__keyring *r);
const struct metallm__key *metallm__keyring_at(const struct metallm__keyring *r, uint32_t i);
const struct metallm__key *metallm__keyring_find(const struct metallm__keyring *r, const char *id);

/* Where the newest keyring is. */
struct metallm__keys;
METALLM_MUSTCHECK int metallm__keys_new(struct metallm__keys **out, metallm_error *err);
void metallm__keys_free(struct metallm__keys *k); /* after its readers */
void metallm__keys_publish(struct metallm__keys *k, const struct metallm__keyring *r); /* takes r */
const struct metallm__keyring *metallm__keys_take(struct metallm__keys *k); /* never NULL */

struct metallm__key_reader;
METALLM_MUSTCHECK int metallm__key_reader_new(struct metallm__key_reader **out,
                                              struct metallm__keys *k, metallm_error *err);
void metallm__key_reader_free(struct metallm__key_reader *r);
/* The key that this text ("mk_...", without "Bearer ") is, or NULL: unknown, revoked or expired.
 * *ring is what it belongs to: the caller drops it when it is done with the key. */
const struct metallm__key *metallm__key_check(struct metallm__key_reader *r, const char *text,
                                              size_t len, uint64_t wall_ms,
                                              const struct metallm__keyring **ring);
bool metallm__key_allows_model(const struct metallm__key *k, const char *name);
bool metallm__key_allows_router(const struct metallm__key *k, const char *name);

/* A budget needs the price of every model that its key may reach, by itself or by a router.
 * METALLM_EFORMAT: one has none, with the line of the model in c. */
METALLM_MUSTCHECK int metallm__key_prices(const struct metallm__key *k,
                                          const struct metallm__config *c, uint64_t wall_ms,
                                          metallm_error *err);
METALLM_MUSTCHECK int metallm__keyring_prices(const struct metallm__keyring *r,
                                              const struct metallm__config *c, uint64_t wall_ms,
                                              metallm_error *err);

/* Equal, in time that depends on the lengths alone: for the admin key. */
bool metallm__secret_equal(const char *a, size_t a_len, const char *b, size_t b_len);
#endif
