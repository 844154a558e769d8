/* SPDX-License-Identifier: Apache-2.0
 * admin_keys.c - /admin/keys: client keys made, changed, listed and revoked. The key's text stands
 * in the answer that makes it, and nowhere after. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/admin_inner.h"
#include "gateway/keep.h"

/* {"id": ..., the key's own members, "spent_usd": ...}; text NULL: not shown. */
static void put_key(struct metallm__admin_call *c, const struct metallm__key *k, const char *text)
{
    struct metallm__buf json;
    metallm__buf_init(&json, METALLM__CONFIG_BYTES_MAX);
    metallm__key_json(k, &json);
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "id");
    metallm__jw_text(&c->j, k->id);
    if (text != NULL) {
        metallm__jw_name(&c->j, "key");
        metallm__jw_text(&c->j, text);
    }
    if (c->a->limits != NULL && !isnan(k->budget_usd)) {
        const struct metallm__limit_spend s = metallm__limits_spend(c->a->limits, k, c->a->wall_ms);
        metallm__jw_name(&c->j, "spent_usd");
        metallm__jw_real(&c->j, s.spent_usd);
        metallm__jw_name(&c->j, "reserved_usd");
        metallm__jw_real(&c->j, s.reserved_usd);
    }
    metallm__buf_add(&c->out->body, ",", 1);
    if (json.len > 2 && !json.failed)
        metallm__buf_add(&c->out->body, json.data + 1, json.len - 1); /* its own members and '}' */
    c->out->body.failed |= json.failed;
    c->j.wants_comma = true;
    metallm__buf_fini(&json);
}

static int take_in(struct metallm__admin_call *c, const struct metallm__key *k, const char *text,
                   int status)
{
    int rc = metallm__key_prices(k, c->a->config, c->a->wall_ms, c->err);
    if (rc == METALLM_OK)
        rc = metallm__keep_key(c->a->store, k, c->err);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc);
    c->out->status = status;
    c->out->effects = METALLM__ADMIN_KEYS;
    put_key(c, k, text);
    return METALLM_OK;
}

/* What the client may say of a key: not when it was made or revoked. */
static int check_body(struct metallm__admin_call *c)
{
    yyjson_val *root = yyjson_doc_get_root(c->body);
    if (c->body == NULL)
        return metallm__admin_refuse(c, 400, "invalid_value", "a body is missing");
    if (yyjson_obj_get(root, "created_ms") != NULL || yyjson_obj_get(root, "revoked_ms") != NULL)
        return metallm__admin_refuse(c, 400, "invalid_value",
                                     "created_ms and revoked_ms are set by metallm itself");
    return METALLM_OK;
}

static int create(struct metallm__admin_call *c)
{
    struct metallm__key *k = NULL;
    char text[METALLM__KEY_TEXT_LEN + 1];
    int rc = check_body(c);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__key_parse(&k, c->request->body, c->request->body_len, c->err);
    if (rc == METALLM_OK)
        rc = metallm__key_make(text, k, c->err);
    if (rc != METALLM_OK) {
        metallm__free(k);
        return metallm__admin_failed(c, rc);
    }
    k->created_ms = c->a->wall_ms;
    rc = take_in(c, k, text, 201);
    metallm__free(k);
    return rc;
}

static int list(struct metallm__admin_call *c, const struct metallm__keyring *ring)
{
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "data");
    metallm__jw_open(&c->j, '[');
    for (uint32_t i = 0; i < metallm__keyring_count(ring); i++)
        put_key(c, metallm__keyring_at(ring, i), NULL);
    metallm__jw_close(&c->j, ']');
    metallm__jw_close(&c->j, '}');
    return METALLM_OK;
}

static int revoke(struct metallm__admin_call *c, const struct metallm__key *k)
{
    struct metallm__key changed = *k;
    if (changed.revoked_ms == 0)
        changed.revoked_ms = c->a->wall_ms;
    return take_in(c, &changed, NULL, 200);
}

/* Members that are sent take the place of the key's own; null takes one out (RFC 7396). */
static int patch(struct metallm__admin_call *c, const struct metallm__key *k)
{
    struct metallm__key *changed = NULL;
    struct metallm__buf json;
    yyjson_doc *doc = NULL;
    int rc = check_body(c);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_init(&json, METALLM__CONFIG_BYTES_MAX);
    metallm__key_json(k, &json);
    rc = metallm__buf_check(&json, c->err);
    if (rc == METALLM_OK)
        rc = metallm__json_read(&doc, json.data, json.len, c->err);
    metallm__buf_fini(&json);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc);
    yyjson_mut_doc *merged = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = merged == NULL ? NULL
                                          : yyjson_merge_patch(merged, yyjson_doc_get_root(doc),
                                                               yyjson_doc_get_root(c->body));
    size_t len = 0;
    char *text =
        root == NULL ? NULL : yyjson_mut_val_write_opts(root, 0, &metallm__json_alc, &len, NULL);
    rc = text == NULL ? METALLM_ENOMEM : metallm__key_parse(&changed, text, len, c->err);
    metallm__free(text);
    yyjson_mut_doc_free(merged);
    yyjson_doc_free(doc);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc);
    memcpy(changed->id, k->id, sizeof changed->id);
    memcpy(changed->hash, k->hash, sizeof changed->hash);
    rc = take_in(c, changed, NULL, 200);
    metallm__free(changed);
    return rc;
}

int metallm__admin_keys(struct metallm__admin_call *c)
{
    if (strcmp(c->request->method, "POST") == 0)
        return create(c);
    const struct metallm__keyring *ring = NULL;
    int rc = metallm__keep_keys(c->a->store, &ring, c->err);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc);
    const struct metallm__key *k = c->name[0] != '\0' ? metallm__keyring_find(ring, c->name) : NULL;
    if (c->name[0] == '\0')
        rc = list(c, ring);
    else if (k == NULL)
        rc = metallm__admin_refuse(c, 404, "not_found", "no client key '%.60s'", c->name);
    else if (strcmp(c->request->method, "DELETE") == 0)
        rc = revoke(c, k);
    else if (strcmp(c->request->method, "PATCH") == 0)
        rc = patch(c, k);
    else
        put_key(c, k, NULL);
    metallm__keyring_drop(ring);
    return rc;
}
