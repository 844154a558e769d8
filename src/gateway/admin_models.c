/* SPDX-License-Identifier: Apache-2.0
 * admin_models.c - /admin/models and /admin/routers: LLMs added, repriced, drained and retired, and
 * routers' dials set, as changes over the config file. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "data/prices.h"
#include "gateway/admin_inner.h"
#include "gateway/config_table.h"
#include "gateway/keep.h"

static const char *const states[] = {"serving", "drained", "retired"};
static const char *const abilities[] = {"tools", "images",      "json",       "audio",
                                        "chat",  "completions", "embeddings", "responses"};

static int state_of(const struct metallm__config_model *m)
{
    return m->retired ? 2 : m->drained ? 1 : 0;
}

static void put_price(struct metallm__jw *j, const struct metallm__config_price *p)
{
    const struct {
        const char *name;
        double value;
    } members[] = {{"input", p->input},
                   {"output", p->output},
                   {"cached_input", p->cached_input},
                   {"cached_write", p->cached_write},
                   {"usd_per_call", p->usd_per_call}};
    metallm__jw_open(j, '{');
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!isnan(members[i].value)) {
            metallm__jw_name(j, members[i].name);
            metallm__jw_real(j, members[i].value);
        }
    if (p->from != 0) {
        char day[40];
        snprintf(day, sizeof day, "%04d-%02d-%02d", p->from / 10000, p->from / 100 % 100,
                 p->from % 100);
        metallm__jw_name(j, "from");
        metallm__jw_text(j, day);
    }
    metallm__jw_close(j, '}');
}

static void put_deployments(struct metallm__jw *j, const struct metallm__config_model *m,
                            const struct metallm__status_model *s)
{
    static const char *const breakers[] = {"closed", "half_open", "open"};
    metallm__jw_name(j, "deployments");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct metallm__config_deployment *d = &m->deployments[i];
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "name");
        metallm__jw_text(j, d->name);
        metallm__jw_name(j, "protocol");
        metallm__jw_text(j, d->protocol);
        metallm__jw_name(j, "base_url");
        metallm__jw_text(j, d->base_url);
        metallm__jw_name(j, "model");
        metallm__jw_text(j, d->model);
        metallm__jw_name(j, "weight");
        metallm__jw_real(j, d->weight);
        if (s != NULL && i < s->deployment_count && s->deployments[i].breaker <= 2) {
            metallm__jw_name(j, "breaker");
            metallm__jw_text(j, breakers[s->deployments[i].breaker]);
            metallm__jw_name(j, "in_flight");
            metallm__jw_count(j, s->deployments[i].in_flight);
        }
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void put_sums(struct metallm__jw *j, const struct metallm__metrics_llm_sums *s)
{
    metallm__jw_name(j, "answered");
    metallm__jw_count(j, s->answered);
    metallm__jw_name(j, "failed");
    metallm__jw_count(j, s->failed);
    metallm__jw_name(j, "input_tokens");
    metallm__jw_count(j, s->input_tokens);
    metallm__jw_name(j, "output_tokens");
    metallm__jw_count(j, s->output_tokens);
    metallm__jw_name(j, "usd");
    metallm__jw_real(j, s->usd);
}

static const struct metallm__status_model *status_of(const struct metallm__admin *a,
                                                     const char *name)
{
    for (uint32_t i = 0; a->status != NULL && i < a->status->model_count; i++)
        if (strcmp(a->status->models[i].name, name) == 0)
            return &a->status->models[i];
    return NULL;
}

static void put_model(struct metallm__admin_call *c, const struct metallm__config_model *m)
{
    struct metallm__jw *j = &c->j;
    const struct metallm__status_model *s = status_of(c->a, m->name);
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "name");
    metallm__jw_text(j, m->name);
    metallm__jw_name(j, "state");
    metallm__jw_text(j, states[state_of(m)]);
    metallm__jw_name(j, "by_admin");
    metallm__jw_flag(j, m->by_admin);
    metallm__jw_name(j, "price");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < m->price_count; i++)
        put_price(j, &m->prices[i]);
    for (uint32_t i = 0; m->price_count == 0 && i < m->known_count; i++) {
        const struct metallm__price *k = &m->known_prices[i];
        put_price(j, &(struct metallm__config_price){.from = k->from,
                                                     .input = k->input,
                                                     .output = k->output,
                                                     .cached_input = k->cached_input,
                                                     .cached_write = k->cached_write,
                                                     .usd_per_call = k->usd_per_call});
    }
    metallm__jw_close(j, ']');
    metallm__jw_name(j, "abilities");
    metallm__jw_open(j, '[');
    for (unsigned i = 0; i < METALLM__ABILITIES; i++)
        if ((m->abilities >> i & 1) != 0)
            metallm__jw_text(j, abilities[i]);
    metallm__jw_close(j, ']');
    put_deployments(j, m, s);
    if (s != NULL)
        put_sums(j, &s->sums);
    metallm__jw_close(j, '}');
}

static int list_models(struct metallm__admin_call *c)
{
    const struct metallm__config *config = c->a->config;
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "data");
    metallm__jw_open(&c->j, '[');
    for (uint32_t i = 0; i < config->model_count; i++)
        put_model(c, &config->models[i]);
    metallm__jw_close(&c->j, ']');
    metallm__jw_close(&c->j, '}');
    return METALLM_OK;
}

/* A change, checked together with the file; an answer that says so. json NULL takes it back. */
static int change(struct metallm__admin_call *c, const char *kind, const char *name,
                  const char *json)
{
    int rc = metallm__keep_change(c->a->store, kind, name, json, c->err);
    return rc == METALLM_OK ? METALLM_OK : metallm__admin_failed(c, rc);
}

static int done(struct metallm__admin_call *c, int status, const char *kind, const char *name)
{
    int rc = metallm__admin_check(c);
    if (rc != METALLM_OK)
        return rc;
    c->out->status = status;
    c->out->effects = METALLM__ADMIN_CONFIG;
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, kind);
    metallm__jw_text(&c->j, name);
    metallm__jw_name(&c->j, "changed");
    metallm__jw_flag(&c->j, true);
    metallm__jw_close(&c->j, '}');
    return METALLM_OK;
}

/* A key in plain would stand in the store; what it refers to does not. */
static bool is_reference(yyjson_val *key)
{
    size_t i, count;
    yyjson_val *one;
    bool are_all = true;
    if (yyjson_is_arr(key)) {
        yyjson_arr_foreach(key, i, count, one) are_all &= yyjson_is_str(one) && is_reference(one);
        return are_all;
    }
    const char *text = yyjson_get_str(key);
    return text != NULL && (text[0] == '\0' || strncmp(text, "file:", 5) == 0 ||
                            (strncmp(text, "${", 2) == 0 && text[strlen(text) - 1] == '}' &&
                             strstr(text, ":-") == NULL));
}

static bool holds_secret(yyjson_val *v)
{
    size_t i, count;
    yyjson_val *key, *value;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, count, value) if (holds_secret(value)) return true;
        return false;
    }
    yyjson_obj_foreach(v, i, count, key, value)
    {
        const char *name = yyjson_get_str(key);
        if (strcmp(name, "api_key") == 0 && !is_reference(value))
            return true;
        if (strcmp(name, "headers") == 0) {
            size_t h, headers;
            yyjson_val *header, *text;
            yyjson_obj_foreach(value, h, headers, header,
                               text) if (!is_reference(text)) return true;
        }
        if (strcmp(name, "deployments") == 0 && holds_secret(value))
            return true;
    }
    return false;
}

static int add_model(struct metallm__admin_call *c)
{
    yyjson_val *root = yyjson_doc_get_root(c->body);
    const char *name = yyjson_get_str(yyjson_obj_get(root, "name"));
    if (name == NULL || name[0] == '\0')
        return metallm__admin_refuse(c, 400, "invalid_value", "a model wants a name");
    if (metallm__config_model_find(c->a->config, name, strlen(name)) != METALLM__CONFIG_NONE)
        return metallm__admin_refuse(c, 409, "already_exists", "model '%.60s' is there already",
                                     name);
    if (holds_secret(root))
        return metallm__admin_refuse(c, 400, "secret_in_plain",
                                     "api_key and the values of headers: give ${NAME} or "
                                     "file:PATH, so that the secret itself is not stored");
    char *json = metallm__strndup(c->request->body, c->request->body_len);
    if (json == NULL)
        return metallm__admin_failed(c, METALLM_ENOMEM);
    int rc = change(c, "model", name, json);
    metallm__free(json);
    return rc == METALLM_OK ? done(c, 201, "model", name) : rc;
}

/* One member of the body as a change of its own; null takes it back. */
static int patch_member(struct metallm__admin_call *c, const char *name, yyjson_val *value)
{
    if (yyjson_is_null(value))
        return change(c, name, c->name, NULL);
    size_t len;
    char *text = yyjson_val_write_opts(value, 0, &metallm__json_alc, &len, NULL);
    struct metallm__buf json;
    metallm__buf_init(&json, METALLM__ADMIN_BODY_MAX * 2);
    if (text != NULL)
        metallm__buf_printf(&json, "{\"%s\":%s}", name, text);
    int rc = text == NULL || json.failed ? metallm__admin_failed(c, METALLM_ENOMEM)
                                         : change(c, name, c->name, json.data);
    metallm__free(text);
    metallm__buf_fini(&json);
    return rc;
}

static int patch_model(struct metallm__admin_call *c)
{
    yyjson_val *root = yyjson_doc_get_root(c->body), *name, *value;
    size_t i, count;
    if (root == NULL || yyjson_obj_size(root) == 0)
        return metallm__admin_refuse(c, 400, "invalid_value", "wants price or state");
    yyjson_obj_foreach(root, i, count, name, value)
    {
        const char *member = yyjson_get_str(name);
        if (strcmp(member, "price") != 0 && strcmp(member, "state") != 0)
            return metallm__admin_refuse(c, 400, "invalid_value",
                                         "'%.40s' cannot be changed: price and state can", member);
        int rc = patch_member(c, member, value);
        if (rc != METALLM_OK)
            return rc;
    }
    return done(c, 200, "model", c->name);
}

/* Takes back all that the admin API said of it; one that only it knows goes away. */
static int reset_model(struct metallm__admin_call *c)
{
    static const char *const kinds[] = {"model", "price", "state"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int rc = change(c, kinds[i], c->name, NULL);
        if (rc != METALLM_OK)
            return rc;
    }
    return done(c, 200, "model", c->name);
}

int metallm__admin_models(struct metallm__admin_call *c)
{
    const char *method = c->request->method;
    if (c->name[0] == '\0')
        return strcmp(method, "POST") == 0 ? add_model(c) : list_models(c);
    uint32_t m = metallm__config_model_find(c->a->config, c->name, strlen(c->name));
    if (m == METALLM__CONFIG_NONE)
        return metallm__admin_refuse(c, 404, "not_found", "no model '%.60s'", c->name);
    if (strcmp(method, "PATCH") == 0)
        return patch_model(c);
    if (strcmp(method, "DELETE") == 0)
        return reset_model(c);
    put_model(c, &c->a->config->models[m]);
    return METALLM_OK;
}

static void put_belief(struct metallm__jw *j, const struct metallm__status_belief *b)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "model");
    metallm__jw_text(j, b->model);
    metallm__jw_name(j, "quality");
    metallm__jw_real(j, b->quality);
    metallm__jw_name(j, "quality_low");
    metallm__jw_real(j, b->low);
    metallm__jw_name(j, "quality_high");
    metallm__jw_real(j, b->high);
    metallm__jw_name(j, "cost_usd");
    metallm__jw_real(j, b->cost_usd);
    metallm__jw_name(j, "seen");
    metallm__jw_count(j, b->seen);
    metallm__jw_close(j, '}');
}

static void put_rule(struct metallm__jw *j, const struct metallm__config_router *r)
{
    static const char *const periods[] = {"day", "month", "hour", "request"};
    if (!isnan(r->budget_usd)) {
        metallm__jw_name(j, "budget");
        metallm__jw_open(j, '{');
        metallm__jw_name(j, "usd");
        metallm__jw_real(j, r->budget_usd);
        metallm__jw_name(j, "per");
        metallm__jw_text(j, periods[r->budget_per]);
        metallm__jw_close(j, '}');
    } else if (!isnan(r->target)) {
        metallm__jw_name(j, "target");
        metallm__jw_real(j, r->target);
    } else {
        metallm__jw_name(j, "dial");
        metallm__jw_real(j, isnan(r->dial) ? 0 : r->dial);
    }
}

static void put_router(struct metallm__admin_call *c, const struct metallm__config_router *r)
{
    static const char *const modes[] = {"observe", "offline", "online", "hybrid"};
    struct metallm__jw *j = &c->j;
    const struct metallm__status_router *s = NULL;
    for (uint32_t i = 0; c->a->status != NULL && i < c->a->status->router_count; i++)
        if (strcmp(c->a->status->routers[i].name, r->name) == 0)
            s = &c->a->status->routers[i];
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "name");
    metallm__jw_text(j, r->name);
    metallm__jw_name(j, "mode");
    metallm__jw_text(j, modes[r->mode]);
    metallm__jw_name(j, "file");
    metallm__jw_text(j, r->file[0] != '\0' ? r->file : NULL);
    put_rule(j, r);
    metallm__jw_name(j, "by_admin");
    metallm__jw_flag(j, r->by_admin);
    metallm__jw_name(j, "models");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < r->model_count; i++)
        metallm__jw_text(j, c->a->config->models[r->models[i]].name);
    metallm__jw_close(j, ']');
    if (s != NULL) {
        metallm__jw_name(j, "decisions");
        metallm__jw_count(j, s->decisions);
        metallm__jw_name(j, "feedback");
        metallm__jw_count(j, s->feedback);
        metallm__jw_name(j, "spent_usd");
        metallm__jw_real(j, s->spent_usd);
        metallm__jw_name(j, "beliefs");
        metallm__jw_open(j, '[');
        for (uint32_t i = 0; i < s->belief_count; i++)
            put_belief(j, &s->beliefs[i]);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
}

static int list_routers(struct metallm__admin_call *c)
{
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "data");
    metallm__jw_open(&c->j, '[');
    for (uint32_t i = 0; i < c->a->config->router_count; i++)
        put_router(c, &c->a->config->routers[i]);
    metallm__jw_close(&c->j, ']');
    metallm__jw_close(&c->j, '}');
    return METALLM_OK;
}

static int patch_router(struct metallm__admin_call *c)
{
    if (c->body == NULL)
        return metallm__admin_refuse(c, 400, "invalid_value", "wants dial, target or budget");
    char *json = metallm__strndup(c->request->body, c->request->body_len);
    if (json == NULL)
        return metallm__admin_failed(c, METALLM_ENOMEM);
    int rc = change(c, "router", c->name, json);
    metallm__free(json);
    return rc == METALLM_OK ? done(c, 200, "router", c->name) : rc;
}

int metallm__admin_routers(struct metallm__admin_call *c)
{
    const char *method = c->request->method;
    if (c->name[0] == '\0')
        return list_routers(c);
    uint32_t r = metallm__config_router_find(c->a->config, c->name, strlen(c->name));
    if (r == METALLM__CONFIG_NONE)
        return metallm__admin_refuse(c, 404, "not_found", "no router '%.60s'", c->name);
    if (strcmp(method, "PATCH") == 0)
        return patch_router(c);
    if (strcmp(method, "DELETE") == 0) {
        int rc = change(c, "router", c->name, NULL);
        return rc == METALLM_OK ? done(c, 200, "router", c->name) : rc;
    }
    put_router(c, &c->a->config->routers[r]);
    return METALLM_OK;
}
