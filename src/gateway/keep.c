/* SPDX-License-Identifier: Apache-2.0
 * keep.c - see keep.h. */
#include "gateway/keep.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/limits.h"

#define VERSION_NAME "keep.version"

int metallm__keep_version(struct metallm__store *s, uint64_t *out, metallm_error *err)
{
    uint64_t version = 0;
    size_t len;
    int rc = metallm__ledger_get_value(s, VERSION_NAME, &version, sizeof version, &len, err);
    if (rc == METALLM_OK)
        *out = len == sizeof version ? version : 0;
    return rc;
}

static int raise_version(struct metallm__store *s, metallm_error *err)
{
    uint64_t version;
    int rc = metallm__keep_version(s, &version, err);
    if (rc != METALLM_OK)
        return rc;
    version++;
    return metallm__ledger_put_value(s, VERSION_NAME, &version, sizeof version, err);
}

struct reading {
    struct metallm__key **keys; /* owned, each */
    size_t count, room;
};

static int take_key(void *payload, const struct metallm__ledger_key *row, metallm_error *err)
{
    struct reading *r = payload;
    struct metallm__key *k;
    if (strlen(row->id) != METALLM__KEY_ID_LEN || row->hash_bytes != METALLM__KEY_HASH_BYTES)
        return metallm__error_set(err, METALLM_EFORMAT, "a client key in the store is damaged");
    void *keys = r->keys;
    if (metallm__grow(&keys, &r->room, r->count + 1, sizeof *r->keys) != 0)
        return metallm__error_nomem(err, "keys");
    r->keys = keys;
    int rc = metallm__key_parse(&k, row->json, strlen(row->json), err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "client key '%s' in the store", row->id);
    memcpy(k->id, row->id, METALLM__KEY_ID_LEN + 1);
    memcpy(k->hash, row->hash, METALLM__KEY_HASH_BYTES);
    r->keys[r->count++] = k;
    return METALLM_OK;
}

int metallm__keep_keys(struct metallm__store *s, const struct metallm__keyring **out,
                       metallm_error *err)
{
    struct reading r = {0};
    int rc = metallm__ledger_keys(s, take_key, &r, err);
    if (rc == METALLM_OK && r.count > METALLM__KEYS_MAX)
        rc = metallm__error_set(err, METALLM_ELIMIT, "the store holds %zu client keys, at most %u",
                                r.count, METALLM__KEYS_MAX);
    if (rc == METALLM_OK)
        rc = metallm__keyring_new(out, (const struct metallm__key *const *)r.keys,
                                  (uint32_t)r.count, err);
    for (size_t i = 0; i < r.count; i++)
        metallm__free(r.keys[i]);
    metallm__free(r.keys);
    return rc;
}

int metallm__keep_key(struct metallm__store *s, const struct metallm__key *k, metallm_error *err)
{
    struct metallm__buf json;
    metallm__buf_init(&json, METALLM__CONFIG_BYTES_MAX);
    metallm__key_json(k, &json);
    int rc = metallm__buf_check(&json, err);
    if (rc == METALLM_OK) {
        const struct metallm__ledger_key row = {
            .id = k->id, .json = json.data, .hash = k->hash, .hash_bytes = METALLM__KEY_HASH_BYTES};
        rc = metallm__ledger_put_key(s, &row, err);
    }
    metallm__buf_fini(&json);
    return rc == METALLM_OK ? raise_version(s, err) : rc;
}

struct spend {
    const struct metallm__keyring *ring;
    struct metallm__limits *limits;
    uint64_t wall_ms;
};

static int take_spend(void *payload, const struct metallm__ledger_spend *a, metallm_error *err)
{
    const struct spend *s = payload;
    if (strncmp(a->scope, "key:", 4) != 0)
        return METALLM_OK;
    const struct metallm__key *k = metallm__keyring_find(s->ring, a->scope + 4);
    if (k == NULL || isnan(k->budget_usd) ||
        metallm__period_begin(k->budget_per, s->wall_ms) != (uint64_t)a->period_ms)
        return METALLM_OK;
    return metallm__limits_restore(s->limits, k, (uint64_t)a->period_ms, a->usd, err);
}

int metallm__keep_spend(struct metallm__store *s, const struct metallm__keyring *ring,
                        struct metallm__limits *l, uint64_t wall_ms, metallm_error *err)
{
    struct spend spend = {ring, l, wall_ms};
    return metallm__ledger_spend(s, (int64_t)metallm__period_begin(METALLM__PERIOD_MONTH, wall_ms),
                                 take_spend, &spend, err);
}

struct metallm__changes {
    struct metallm__config_changes list;
    struct metallm__config_change *items; /* owned, and their texts: one block each, at kind */
    size_t count, room;
};

static int take_change(void *payload, const char *kind, const char *name, const char *json,
                       metallm_error *err)
{
    struct metallm__changes *c = payload;
    size_t kind_len = strlen(kind) + 1, name_len = strlen(name) + 1, json_len = strlen(json) + 1;
    void *items = c->items;
    if (metallm__grow(&items, &c->room, c->count + 1, sizeof *c->items) != 0)
        return metallm__error_nomem(err, "changes");
    c->items = items;
    char *block = metallm__alloc(1, kind_len + name_len + json_len);
    if (block == NULL)
        return metallm__error_nomem(err, "changes");
    memcpy(block, kind, kind_len);
    memcpy(block + kind_len, name, name_len);
    memcpy(block + kind_len + name_len, json, json_len);
    c->items[c->count++] =
        (struct metallm__config_change){block, block + kind_len, block + kind_len + name_len};
    return METALLM_OK;
}

int metallm__keep_changes(struct metallm__store *s, struct metallm__changes **out,
                          metallm_error *err)
{
    struct metallm__changes *c = metallm__calloc(1, sizeof *c);
    if (c == NULL)
        return metallm__error_nomem(err, "changes");
    int rc = metallm__ledger_changes(s, take_change, c, err);
    if (rc != METALLM_OK) {
        metallm__changes_free(c);
        return rc;
    }
    c->list = (struct metallm__config_changes){c->items, (uint32_t)c->count};
    *out = c;
    return METALLM_OK;
}

const struct metallm__config_changes *metallm__changes_list(const struct metallm__changes *c)
{
    return &c->list;
}

void metallm__changes_free(struct metallm__changes *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        metallm__free((char *)c->items[i].kind);
    metallm__free(c->items);
    metallm__free(c);
}

int metallm__keep_change(struct metallm__store *s, const char *kind, const char *name,
                         const char *json, metallm_error *err)
{
    int rc = metallm__ledger_put_change(s, kind, name, json, err);
    return rc == METALLM_OK ? raise_version(s, err) : rc;
}
