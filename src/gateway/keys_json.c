/* SPDX-License-Identifier: Apache-2.0
 * keys_json.c - a client key as JSON, and as one block of memory. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/near.h"
#include "gateway/keys_copy.h"
#include "metallm/outcomes.h"

#define LIST_MAX METALLM__CONFIG_LIST_MAX

static size_t texts_bytes(const struct metallm__strings *s)
{
    size_t bytes = s->count * sizeof *s->items;
    for (uint32_t i = 0; i < s->count; i++)
        bytes += strlen(s->items[i]) + 1;
    return bytes;
}

/* Cuts pieces off one block: pointers first, then texts. */
struct block {
    const char **items;
    char *text;
};

static const char *put_text(struct block *b, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *at = memcpy(b->text, text, bytes);
    b->text += bytes;
    return at;
}

static struct metallm__strings put_texts(struct block *b, const struct metallm__strings *s)
{
    const char **items = b->items;
    for (uint32_t i = 0; i < s->count; i++)
        items[i] = put_text(b, s->items[i]);
    b->items += s->count;
    return (struct metallm__strings){items, s->count};
}

struct metallm__key *metallm__key_copy(const struct metallm__key *k)
{
    struct metallm__key *copy =
        metallm__alloc(1, sizeof *copy + texts_bytes(&k->models) + texts_bytes(&k->routers) +
                              strlen(k->name) + 1 + strlen(k->router) + 1);
    if (copy == NULL)
        return NULL;
    *copy = *k;
    struct block b = {.items = (const char **)(copy + 1)};
    b.text = (char *)(b.items + k->models.count + k->routers.count);
    copy->models = put_texts(&b, &k->models);
    copy->routers = put_texts(&b, &k->routers);
    copy->name = put_text(&b, k->name);
    copy->router = put_text(&b, k->router);
    return copy;
}

static void put_list(struct metallm__jw *j, const char *name, const struct metallm__strings *s)
{
    if (s->count == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < s->count; i++)
        metallm__jw_text(j, s->items[i]);
    metallm__jw_close(j, ']');
}

static void put_count(struct metallm__jw *j, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_count(j, value);
}

static void put_real(struct metallm__jw *j, const char *name, double value)
{
    if (isnan(value))
        return;
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
}

void metallm__key_json(const struct metallm__key *k, struct metallm__buf *out)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "name");
    metallm__jw_text(&j, k->name);
    put_list(&j, "models", &k->models);
    put_list(&j, "routers", &k->routers);
    put_count(&j, "requests_per_minute", k->requests_per_minute);
    put_count(&j, "tokens_per_minute", k->tokens_per_minute);
    if (!isnan(k->budget_usd)) {
        metallm__jw_name(&j, "budget");
        metallm__jw_open(&j, '{');
        put_real(&j, "usd", k->budget_usd);
        metallm__jw_name(&j, "per");
        metallm__jw_text(&j, k->budget_per == METALLM__PERIOD_MONTH ? "month" : "day");
        metallm__jw_close(&j, '}');
    }
    put_real(&j, "dial", k->dial);
    put_real(&j, "target", k->target);
    if (k->max_cost_usd > 0)
        put_real(&j, "max_cost_usd", k->max_cost_usd);
    if (k->router[0] != '\0') {
        metallm__jw_name(&j, "router");
        metallm__jw_text(&j, k->router);
    }
    if (k->is_admin) {
        metallm__jw_name(&j, "admin");
        metallm__jw_flag(&j, true);
    }
    put_count(&j, "created_ms", k->created_ms);
    put_count(&j, "expires_ms", k->expires_ms);
    put_count(&j, "revoked_ms", k->revoked_ms);
    metallm__jw_close(&j, '}');
}

/* A key being read; its texts belong to the JSON document. */
struct reading {
    struct metallm__key key;
    const char *models[LIST_MAX], *routers[LIST_MAX];
    metallm_error *err;
};

static int wrong(const struct reading *r, const char *name, const char *wants)
{
    return metallm__error_set(r->err, METALLM_EINVAL, "%s: wants %s", name, wants);
}

static int get_text(struct reading *r, const char *name, yyjson_val *v, size_t most,
                    const char **out)
{
    const char *text = yyjson_get_str(v);
    if (text == NULL || yyjson_get_len(v) > most || strlen(text) != yyjson_get_len(v))
        return wrong(r, name, "a text that is not too long");
    *out = text;
    return METALLM_OK;
}

static int get_list(struct reading *r, const char *name, yyjson_val *v, const char **items,
                    struct metallm__strings *out)
{
    size_t i, count;
    yyjson_val *item;
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) > LIST_MAX)
        return wrong(r, name, "a list of names");
    yyjson_arr_foreach(v, i, count, item)
    {
        int rc = get_text(r, name, item, METALLM_MODEL_NAME_MAX, &items[i]);
        if (rc != METALLM_OK)
            return rc;
    }
    *out = (struct metallm__strings){items, (uint32_t)yyjson_arr_size(v)};
    return METALLM_OK;
}

static int get_count(struct reading *r, const char *name, yyjson_val *v, uint64_t *out)
{
    if (!yyjson_is_uint(v) || yyjson_get_uint(v) > (uint64_t)1e15)
        return wrong(r, name, "a whole number from 0 on");
    *out = yyjson_get_uint(v);
    return METALLM_OK;
}

static int get_real(struct reading *r, const char *name, yyjson_val *v, double most, double *out)
{
    double value = yyjson_get_num(v);
    if (!yyjson_is_num(v) || !(value >= 0 && value <= most))
        return wrong(r, name, most == 1 ? "a number from 0 to 1" : "a number from 0 on");
    *out = value;
    return METALLM_OK;
}

static int get_budget(struct reading *r, yyjson_val *v)
{
    yyjson_val *usd = yyjson_obj_get(v, "usd"), *per = yyjson_obj_get(v, "per");
    if (!yyjson_is_obj(v) || usd == NULL || yyjson_obj_size(v) != (per != NULL ? 2u : 1u))
        return wrong(r, "budget", "{\"usd\": DOLLARS, \"per\": \"day\" or \"month\"}");
    if (per != NULL && !yyjson_equals_str(per, "day") && !yyjson_equals_str(per, "month"))
        return wrong(r, "budget.per", "\"day\" or \"month\"");
    r->key.budget_per =
        yyjson_equals_str(per, "month") ? METALLM__PERIOD_MONTH : METALLM__PERIOD_DAY;
    return get_real(r, "budget.usd", usd, 1e12, &r->key.budget_usd);
}

static int unknown(const struct reading *r, const char *name)
{
    static const char *const names[] = {
        "name",   "models",     "routers",    "requests_per_minute", "tokens_per_minute",
        "budget", "dial",       "target",     "max_cost_usd",        "router",
        "admin",  "created_ms", "expires_ms", "revoked_ms"};
    struct metallm__near near = {.wanted = name};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        metallm__near_offer(&near, names[i]);
    if (near.best != NULL)
        return metallm__error_set(r->err, METALLM_EINVAL, "unknown key '%.40s': is '%s' meant?",
                                  name, near.best);
    return metallm__error_set(r->err, METALLM_EINVAL, "unknown key '%.40s'", name);
}

static int get_member(struct reading *r, const char *name, yyjson_val *v)
{
    struct metallm__key *k = &r->key;
    const struct {
        const char *name;
        uint64_t *out;
    } counts[] = {{"requests_per_minute", &k->requests_per_minute},
                  {"tokens_per_minute", &k->tokens_per_minute},
                  {"created_ms", &k->created_ms},
                  {"expires_ms", &k->expires_ms},
                  {"revoked_ms", &k->revoked_ms}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (strcmp(name, counts[i].name) == 0)
            return get_count(r, name, v, counts[i].out);
    if (strcmp(name, "name") == 0)
        return get_text(r, name, v, METALLM__KEY_NAME_MAX, &k->name);
    if (strcmp(name, "router") == 0)
        return get_text(r, name, v, METALLM_MODEL_NAME_MAX, &k->router);
    if (strcmp(name, "models") == 0)
        return get_list(r, name, v, r->models, &k->models);
    if (strcmp(name, "routers") == 0)
        return get_list(r, name, v, r->routers, &k->routers);
    if (strcmp(name, "budget") == 0)
        return get_budget(r, v);
    if (strcmp(name, "dial") == 0)
        return get_real(r, name, v, 1e6, &k->dial);
    if (strcmp(name, "target") == 0)
        return get_real(r, name, v, 1, &k->target);
    if (strcmp(name, "max_cost_usd") == 0)
        return get_real(r, name, v, 1e6, &k->max_cost_usd);
    if (strcmp(name, "admin") == 0) {
        k->is_admin = yyjson_get_bool(v);
        return yyjson_is_bool(v) ? METALLM_OK : wrong(r, name, "true or false");
    }
    return unknown(r, name);
}

static int get_key(struct reading *r, yyjson_val *root)
{
    size_t i, count;
    yyjson_val *name, *value;
    r->key = (struct metallm__key){
        .name = "", .router = "", .budget_usd = NAN, .dial = NAN, .target = NAN};
    if (!yyjson_is_obj(root))
        return metallm__error_set(r->err, METALLM_EINVAL, "a key is a JSON object");
    yyjson_obj_foreach(root, i, count, name, value)
    {
        int rc = get_member(r, yyjson_get_str(name), value);
        if (rc != METALLM_OK)
            return rc;
    }
    if (!isnan(r->key.dial) && !isnan(r->key.target))
        return metallm__error_set(r->err, METALLM_EINVAL,
                                  "has a dial and a target: give one of the two");
    return METALLM_OK;
}

int metallm__key_parse(struct metallm__key **out, const char *json, size_t len, metallm_error *err)
{
    yyjson_doc *doc;
    int rc = metallm__json_read(&doc, json, len, err);
    if (rc != METALLM_OK)
        return rc;
    struct reading *r = metallm__alloc(1, sizeof *r);
    rc = r != NULL ? METALLM_OK : metallm__error_nomem(err, "a key");
    if (rc == METALLM_OK) {
        r->err = err;
        rc = get_key(r, yyjson_doc_get_root(doc));
    }
    if (rc == METALLM_OK) {
        *out = metallm__key_copy(&r->key);
        rc = *out != NULL ? METALLM_OK : metallm__error_nomem(err, "a key");
    }
    metallm__free(r);
    yyjson_doc_free(doc);
    return rc;
}
