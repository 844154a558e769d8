/* SPDX-License-Identifier: Apache-2.0
 * keys.c - see keys.h: keyrings, readers, and making keys. Their JSON form: keys_json.c. */
#include "gateway/keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gateway/keys_copy.h"

struct metallm__keyring {
    uint32_t holders; /* atomic */
    uint32_t count, mask;
    struct metallm__key **keys; /* owned; in the order given */
    uint32_t *slots;            /* mask + 1 numbers: index + 1, by the hash of the id; 0: free */
};

struct metallm__keys {
    pthread_mutex_t lock;
    const struct metallm__keyring *ring; /* under lock */
    uint64_t generation;                 /* atomic; raised under lock */
};

struct metallm__key_reader {
    struct metallm__keys *keys;
    const struct metallm__keyring *ring;
    uint64_t generation;
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
};

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

int metallm__key_make(char text[METALLM__KEY_TEXT_LEN + 1], struct metallm__key *k,
                      metallm_error *err)
{
    size_t len = (size_t)snprintf(text, METALLM__KEY_TEXT_LEN + 1, "mk_");
    while (len < METALLM__KEY_TEXT_LEN) {
        uint8_t bytes[64];
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return metallm__error_set(err, METALLM_EIO, "no random bytes from the system: %s",
                                      strerror(errno));
        for (size_t i = 0; i < sizeof bytes && len < METALLM__KEY_TEXT_LEN; i++)
            if (bytes[i] < 248) /* 4 * 62: each letter is as likely */
                text[len++] = letters[bytes[i] % 62];
    }
    text[len] = '\0';
    memcpy(k->id, text, METALLM__KEY_ID_LEN);
    k->id[METALLM__KEY_ID_LEN] = '\0';
    if (EVP_Digest(text, METALLM__KEY_TEXT_LEN, k->hash, NULL, EVP_sha256(), NULL) != 1)
        return metallm__error_set(err, METALLM_EIO, "SHA-256 is not to be had");
    return METALLM_OK;
}

static uint32_t slot_of(const struct metallm__keyring *r, const char *id)
{
    return (uint32_t)metallm__hash_bytes(id, METALLM__KEY_ID_LEN, 0) & r->mask;
}

static void keyring_free(struct metallm__keyring *r)
{
    for (uint32_t i = 0; r->keys != NULL && i < r->count; i++)
        metallm__free(r->keys[i]);
    metallm__free(r->keys);
    metallm__free(r->slots);
    metallm__free(r);
}

int metallm__keyring_new(const struct metallm__keyring **out,
                         const struct metallm__key *const *keys, uint32_t count, metallm_error *err)
{
    if (count > METALLM__KEYS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "%u keys, at most %u", count,
                                  METALLM__KEYS_MAX);
    struct metallm__keyring *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "keys");
    uint32_t room = 16;
    while (room < 2 * count)
        room *= 2;
    r->holders = 1;
    r->mask = room - 1;
    r->keys = metallm__calloc(count, sizeof *r->keys);
    r->slots = metallm__calloc(room, sizeof *r->slots);
    bool is_made = r->keys != NULL && r->slots != NULL;
    for (; is_made && r->count < count; r->count++) {
        r->keys[r->count] = metallm__key_copy(keys[r->count]);
        is_made = r->keys[r->count] != NULL;
        if (!is_made)
            break;
        uint32_t at = slot_of(r, r->keys[r->count]->id);
        while (r->slots[at] != 0)
            at = (at + 1) & r->mask;
        r->slots[at] = r->count + 1;
    }
    if (!is_made) {
        keyring_free(r);
        return metallm__error_nomem(err, "keys");
    }
    *out = r;
    return METALLM_OK;
}

const struct metallm__keyring *metallm__keyring_take(const struct metallm__keyring *r)
{
    __atomic_fetch_add(&((struct metallm__keyring *)r)->holders, 1, __ATOMIC_RELAXED);
    return r;
}

void metallm__keyring_drop(const struct metallm__keyring *r)
{
    struct metallm__keyring *own = (struct metallm__keyring *)r;
    if (own != NULL && __atomic_sub_fetch(&own->holders, 1, __ATOMIC_ACQ_REL) == 0)
        keyring_free(own);
}

uint32_t metallm__keyring_count(const struct metallm__keyring *r)
{
    return r->count;
}

const struct metallm__key *metallm__keyring_at(const struct metallm__keyring *r, uint32_t i)
{
    METALLM_REQUIRE(i < r->count);
    return r->keys[i];
}

static const struct metallm__key *find(const struct metallm__keyring *r, const char *id)
{
    for (uint32_t at = slot_of(r, id); r->slots[at] != 0; at = (at + 1) & r->mask)
        if (memcmp(r->keys[r->slots[at] - 1]->id, id, METALLM__KEY_ID_LEN) == 0)
            return r->keys[r->slots[at] - 1];
    return NULL;
}

const struct metallm__key *metallm__keyring_find(const struct metallm__keyring *r, const char *id)
{
    return strlen(id) == METALLM__KEY_ID_LEN ? find(r, id) : NULL;
}

int metallm__keys_new(struct metallm__keys **out, metallm_error *err)
{
    struct metallm__keys *k = metallm__calloc(1, sizeof *k);
    if (k == NULL)
        return metallm__error_nomem(err, "keys");
    int rc = metallm__keyring_new(&k->ring, NULL, 0, err);
    if (rc != METALLM_OK || pthread_mutex_init(&k->lock, NULL) != 0) {
        metallm__keyring_drop(k->ring);
        metallm__free(k);
        return rc != METALLM_OK ? rc : metallm__error_nomem(err, "a lock");
    }
    k->generation = 1;
    *out = k;
    return METALLM_OK;
}

void metallm__keys_free(struct metallm__keys *k)
{
    if (k == NULL)
        return;
    metallm__keyring_drop(k->ring);
    pthread_mutex_destroy(&k->lock);
    metallm__free(k);
}

void metallm__keys_publish(struct metallm__keys *k, const struct metallm__keyring *r)
{
    pthread_mutex_lock(&k->lock);
    const struct metallm__keyring *before = k->ring;
    k->ring = r;
    __atomic_add_fetch(&k->generation, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&k->lock);
    metallm__keyring_drop(before);
}

static const struct metallm__keyring *take_newest(struct metallm__keys *k, uint64_t *generation)
{
    pthread_mutex_lock(&k->lock);
    const struct metallm__keyring *r = metallm__keyring_take(k->ring);
    *generation = k->generation;
    pthread_mutex_unlock(&k->lock);
    return r;
}

const struct metallm__keyring *metallm__keys_take(struct metallm__keys *k)
{
    uint64_t generation;
    return take_newest(k, &generation);
}

int metallm__key_reader_new(struct metallm__key_reader **out, struct metallm__keys *k,
                            metallm_error *err)
{
    struct metallm__key_reader *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "keys");
    r->keys = k;
    r->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); /* fetched once: that is most of its price */
    r->digest = EVP_MD_CTX_new();
    r->ring = take_newest(k, &r->generation);
    if (r->sha256 == NULL || r->digest == NULL) {
        metallm__key_reader_free(r);
        return metallm__error_nomem(err, "keys");
    }
    *out = r;
    return METALLM_OK;
}

void metallm__key_reader_free(struct metallm__key_reader *r)
{
    if (r == NULL)
        return;
    metallm__keyring_drop(r->ring);
    EVP_MD_CTX_free(r->digest);
    EVP_MD_free(r->sha256);
    metallm__free(r);
}

const struct metallm__key *metallm__key_check(struct metallm__key_reader *r, const char *text,
                                              size_t len, uint64_t wall_ms,
                                              const struct metallm__keyring **ring)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    if (__atomic_load_n(&r->keys->generation, __ATOMIC_ACQUIRE) != r->generation) {
        metallm__keyring_drop(r->ring);
        r->ring = take_newest(r->keys, &r->generation);
    }
    if (len != METALLM__KEY_TEXT_LEN || memcmp(text, "mk_", 3) != 0)
        return NULL;
    const struct metallm__key *k = find(r->ring, text);
    if (k == NULL || k->revoked_ms != 0 || (k->expires_ms != 0 && wall_ms >= k->expires_ms))
        return NULL;
    if (EVP_DigestInit_ex2(r->digest, r->sha256, NULL) != 1 ||
        EVP_DigestUpdate(r->digest, text, len) != 1 ||
        EVP_DigestFinal_ex(r->digest, hash, NULL) != 1 ||
        CRYPTO_memcmp(hash, k->hash, METALLM__KEY_HASH_BYTES) != 0)
        return NULL;
    *ring = metallm__keyring_take(r->ring);
    return k;
}

static bool is_listed(const struct metallm__strings *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return list->count == 0;
}

bool metallm__key_allows_model(const struct metallm__key *k, const char *name)
{
    return is_listed(&k->models, name);
}

bool metallm__key_allows_router(const struct metallm__key *k, const char *name)
{
    return is_listed(&k->routers, name);
}

bool metallm__secret_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}
