/* SPDX-License-Identifier: Apache-2.0
 * models.c - /v1/models: routers and aliases first, then LLMs; what this key may use. In OpenAI's
 * shape, or in Anthropic's where the client names an anthropic-version. */
#include <stdio.h>
#include <time.h>

#include "base/json_out.h"
#include "gateway/chat.h"

/* A name of the list, and what it stands for. */
struct listed {
    const char *name;
    uint32_t router, model; /* index; the other is METALLM__CONFIG_NONE */
};

static bool is_anthropic(const struct metallm__visit *v)
{
    return v->surface == metallm__surface_of(METALLM__WIRE_MESSAGES);
}

/* RFC 3339, in UTC. */
static void put_time(struct metallm__buf *b, int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    char text[32] = "1970-01-01T00:00:00Z";
    if (gmtime_r(&when, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    metallm__buf_printf(b, "\"%s\"", text);
}

static void put_anthropic(struct metallm__buf *b, const struct metallm__visit *v,
                          const struct listed *l)
{
    const struct metallm__config *c = v->world->config;
    metallm__buf_puts(b, "{\"type\":\"model\",\"id\":");
    metallm__json_string(b, l->name, strlen(l->name));
    metallm__buf_puts(b, ",\"display_name\":");
    metallm__json_string(b, l->name, strlen(l->name));
    metallm__buf_puts(b, ",\"created_at\":");
    put_time(b, v->world->models_since_s);
    metallm__buf_puts(b, ",\"lifecycle\":\"active\"");
    const struct metallm__config_model *m =
        l->model == METALLM__CONFIG_NONE ? NULL : &c->models[l->model];
    if (m != NULL && m->context > 0)
        metallm__buf_printf(b, ",\"max_input_tokens\":%llu", (unsigned long long)m->context);
    if (m != NULL && m->max_output > 0)
        metallm__buf_printf(b, ",\"max_tokens\":%llu", (unsigned long long)m->max_output);
    metallm__buf_puts(b, "}");
}

static void put_openai(struct metallm__buf *b, const struct metallm__visit *v,
                       const struct listed *l)
{
    metallm__buf_puts(b, "{\"id\":");
    metallm__json_string(b, l->name, strlen(l->name));
    metallm__buf_printf(b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"%s\"}",
                        (long long)v->world->models_since_s,
                        l->router == METALLM__CONFIG_NONE ? "upstream" : "metallm");
}

static void put_model(struct metallm__buf *b, const struct metallm__visit *v,
                      const struct listed *l)
{
    (is_anthropic(v) ? put_anthropic : put_openai)(b, v, l);
}

static bool may_use(const struct metallm__visit *v, uint32_t router, uint32_t model)
{
    const struct metallm__config *c = v->world->config;
    if (router != METALLM__CONFIG_NONE)
        return v->key == NULL || metallm__key_allows_router(v->key, c->routers[router].name);
    return !c->models[model].retired &&
           (v->key == NULL || metallm__key_allows_model(v->key, c->models[model].name));
}

/* The n-th name of all; false: there are no more. */
static bool list_at(const struct metallm__config *c, uint32_t n, struct listed *out)
{
    if (n < c->router_count) {
        *out = (struct listed){c->routers[n].name, n, METALLM__CONFIG_NONE};
        return true;
    }
    n -= c->router_count;
    if (n < c->alias_count) {
        *out = (struct listed){c->aliases[n].name, c->aliases[n].router, c->aliases[n].model};
        return true;
    }
    n -= c->alias_count;
    if (n < c->model_count)
        *out = (struct listed){c->models[n].name, METALLM__CONFIG_NONE, n};
    return n < c->model_count;
}

void metallm__models_begin(struct metallm__visit *v)
{
    struct metallm__buf b;
    struct listed l;
    const char *first = NULL, *last = NULL;
    metallm__buf_init(&b, (size_t)1 << 20);
    metallm__buf_puts(&b, is_anthropic(v) ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (uint32_t n = 0; list_at(v->world->config, n, &l); n++) {
        if (!may_use(v, l.router, l.model))
            continue;
        if (first != NULL)
            metallm__buf_puts(&b, ",");
        put_model(&b, v, &l);
        first = first != NULL ? first : l.name;
        last = l.name;
    }
    metallm__buf_puts(&b, "]");
    if (is_anthropic(v)) {
        metallm__buf_puts(&b, ",\"has_more\":false,\"first_id\":");
        if (first != NULL)
            metallm__json_string(&b, first, strlen(first));
        metallm__buf_puts(&b, first != NULL ? ",\"last_id\":" : "null,\"last_id\":null");
        if (last != NULL)
            metallm__json_string(&b, last, strlen(last));
    }
    metallm__buf_puts(&b, "}");
    metallm__visit_buffer(v, NULL, &b);
}

void metallm__model_begin(struct metallm__visit *v)
{
    char name[METALLM__WIRE_NAME_BYTES_MAX + 1];
    struct metallm__name found;
    if (!metallm__visit_path_rest(v, "/v1/models/", name, sizeof name) ||
        metallm__world_find(v->world, name, strlen(name), &found) != METALLM_OK ||
        !may_use(v, found.router, found.model)) {
        struct metallm__refusal no = {.status = 404,
                                      .type = "invalid_request_error",
                                      .code = "model_not_found",
                                      .param = "model"};
        metallm__visit_refuse(v, &no, "there is no such model here");
        metallm__visit_free(v);
        return;
    }
    const struct listed l = {name, found.router, found.model};
    struct metallm__buf b;
    metallm__buf_init(&b, 65536);
    put_model(&b, v, &l);
    metallm__visit_buffer(v, NULL, &b);
}
