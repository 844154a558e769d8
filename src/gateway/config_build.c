/* SPDX-License-Identifier: Apache-2.0
 * config_build.c - what the table of options cannot say: names that must exist, values that exclude
 * each other. Makes the config of the raw records. Addresses and URLs: config_address.c. */
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/near.h"
#include "data/text.h"
#include "gateway/config_address.h"
#include "gateway/config_builder.h"
#include "gateway/pattern.h"
#include "router/policy.h"

/* What stands between quotes came from the environment, and may be what nobody should read. */
static void hide(char *text)
{
    char *first = strchr(text, '\''), *last = strrchr(text, '\'');
    if (first != NULL && last - first > 4) {
        memcpy(first + 1, "...", 3);
        memmove(first + 4, last, strlen(last) + 1);
    }
}

int metallm__builder_refuse(const struct metallm__builder *b, uint32_t line, const char *option,
                            const char *format, ...)
{
    char text[METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (uint32_t i = 0; i < b->in->place_count; i++)
        if (strcmp(b->in->places[i].option, option) == 0) {
            line = b->in->places[i].line;
            if (b->in->places[i].is_hidden)
                hide(text);
        }
    return metallm__config_refuse(b->in, line, b->err, "%s: %s", option, text);
}

const char *metallm__builder_option(char *out, const char *list, size_t i, const char *member)
{
    snprintf(out, METALLM__OPTION_BYTES, "%s[%zu]%s%s", list, i, member[0] != '\0' ? "." : "",
             member);
    return out;
}

static void *room(const struct metallm__builder *b, size_t count, size_t size)
{
    return metallm__config_alloc(b->in, count, size);
}

/* A name as clients type it: visible ASCII or UTF-8, no blanks at the ends, not too long. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > METALLM_MODEL_NAME_MAX || name[0] == ' ' || name[len - 1] == ' ')
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127 || name[i] == '"' || name[i] == '\\')
            return false;
    return metallm__text_is_utf8((struct metallm__span){name, len});
}

/* Index of a model by name, or refused with the name that was probably meant. */
static int find_model(const struct metallm__builder *b, uint32_t line, const char *option,
                      const char *name, uint32_t *out)
{
    struct metallm__near near = {.wanted = name};
    for (uint32_t i = 0; i < b->in->raw.models.count; i++) {
        if (strcmp(b->models[i].name, name) == 0) {
            *out = i;
            return METALLM_OK;
        }
        metallm__near_offer(&near, b->models[i].name);
    }
    if (near.best != NULL)
        return metallm__builder_refuse(b, line, option, "no model '%.60s': is '%.60s' meant?", name,
                                       near.best);
    return metallm__builder_refuse(b, line, option, "no model '%.60s'", name);
}

static int find_models(const struct metallm__builder *b, uint32_t line, const char *option,
                       const struct metallm__strings *names, const uint32_t **out,
                       uint32_t *out_count)
{
    uint8_t is_in[METALLM__CONFIG_MODELS_MAX] = {0};
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t m;
        int rc = find_model(b, line, option, names->items[i], &m);
        if (rc != METALLM_OK)
            return rc;
        if (is_in[m])
            return metallm__builder_refuse(b, line, option, "names '%.60s' twice", names->items[i]);
        is_in[m] = 1;
    }
    uint32_t *list = room(b, names->count, sizeof *list);
    if (list == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    uint32_t count = 0;
    for (uint32_t m = 0; m < METALLM__CONFIG_MODELS_MAX; m++)
        if (is_in[m])
            list[count++] = m;
    *out = list;
    *out_count = count;
    return METALLM_OK;
}

static int check_names(const struct metallm__builder *b)
{
    const struct metallm__raw *raw = &b->in->raw;
    uint32_t total = raw->models.count + raw->routers.count + raw->aliases.count;
    const char **names = room(b, total, sizeof *names);
    const char **lists = room(b, total, sizeof *lists);
    uint32_t count = 0;
    char option[METALLM__OPTION_BYTES];
    if (names == NULL || lists == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t i = 0; i < total; i++) {
        uint32_t line, at;
        const char *name, *list;
        if (i < raw->models.count)
            at = i, list = "models", name = b->models[at].name, line = b->models[at].line;
        else if (i < raw->models.count + raw->routers.count)
            at = i - raw->models.count, list = "routers", name = b->routers[at].name,
            line = b->routers[at].line;
        else
            at = i - raw->models.count - raw->routers.count, list = "aliases",
            name = b->aliases[at].name, line = b->aliases[at].line;
        metallm__builder_option(option, list, at, "name");
        if (!is_name(name))
            return metallm__builder_refuse(b, line, option, "'%.60s' cannot be a name", name);
        for (uint32_t k = 0; k < count; k++)
            if (strcmp(names[k], name) == 0)
                return metallm__builder_refuse(b, line, option, "'%.60s' stands among %s already",
                                               name, lists[k]);
        names[count] = name;
        lists[count++] = list;
    }
    return METALLM_OK;
}

static int build_prices(const struct metallm__builder *b, const struct metallm__raw_model *raw,
                        size_t at, struct metallm__config_model *m)
{
    struct metallm__config_price *p = raw->prices.items;
    char option[METALLM__OPTION_BYTES];
    for (uint32_t i = 0; i < raw->prices.count; i++) {
        metallm__builder_option(option, "models", at, "price");
        if (p[i].table[0] != '\0') {
            if (raw->prices.count > 1 || !isnan(p[i].usd_per_call) || !isnan(p[i].input) ||
                !isnan(p[i].output) || p[i].from != 0)
                return metallm__builder_refuse(b, p[i].line, option,
                                               "'table' stands beside a price");
            continue;
        }
        if (isnan(p[i].usd_per_call) == isnan(p[i].input) ||
            isnan(p[i].input) != isnan(p[i].output))
            return metallm__builder_refuse(
                b, p[i].line, option, "wants input and output, or usd_per_call, of 'models[%zu]'",
                at);
        if ((!isnan(p[i].cached_input) || !isnan(p[i].cached_write)) && isnan(p[i].input))
            return metallm__builder_refuse(b, p[i].line, option, "cached_input without input");
        for (uint32_t k = 0; k < i; k++)
            if (p[k].from == p[i].from)
                return metallm__builder_refuse(b, p[i].line, option,
                                               "a second price from the same day on");
    }
    for (uint32_t i = 1; i < raw->prices.count; i++) /* few: by insertion */
        for (uint32_t k = i; k > 0 && p[k - 1].from > p[k].from; k--) {
            struct metallm__config_price swap = p[k];
            p[k] = p[k - 1];
            p[k - 1] = swap;
        }
    m->prices = p;
    m->price_count = raw->prices.count;
    return METALLM_OK;
}

/* An ability that no model states is not asked for; else those that are silent lack it. Embeddings
 * and responses must be stated, and what states embeddings serves no chat unless it says so. */
static unsigned build_abilities(const struct metallm__builder *b,
                                const struct metallm__raw_model *raw)
{
    enum { CHAT = 4, EMBEDDINGS = 6, RESPONSES = 7 }; /* bits of enum metallm__ability */
    bool embeds = raw->able[EMBEDDINGS] == 1;
    unsigned able = embeds ? METALLM__ABLE_EMBEDDINGS : 0;
    able |= raw->able[RESPONSES] == 1 ? METALLM__ABLE_RESPONSES : 0;
    for (unsigned a = 0; a < EMBEDDINGS; a++) {
        bool is_stated = false;
        for (uint32_t i = 0; i < b->in->raw.models.count; i++)
            is_stated |= a != CHAT && b->models[i].able[a] == 1;
        if (raw->able[a] == 1 || (raw->able[a] < 0 && !is_stated && !embeds))
            able |= 1u << a;
    }
    return able;
}

static int build_model(const struct metallm__builder *b, size_t at, struct metallm__config_model *m)
{
    const struct metallm__raw_model *raw = &b->models[at];
    char option[METALLM__OPTION_BYTES];
    *m = (struct metallm__config_model){.line = raw->line,
                                        .name = raw->name,
                                        .abilities = build_abilities(b, raw),
                                        .context = raw->context,
                                        .max_output = raw->max_output,
                                        .max_tokens = metallm__config_max_tokens(raw),
                                        .usage = raw->usage,
                                        .timeouts = raw->timeouts,
                                        .like = METALLM__CONFIG_NONE,
                                        .prior_quality = raw->prior_quality,
                                        .prior_outcomes = raw->prior_outcomes,
                                        .prior_score = (enum metallm__prior_score)raw->prior_score,
                                        .prior_weight = raw->prior_weight,
                                        .drained = raw->state == 1,
                                        .retired = raw->state == 2,
                                        .by_admin = raw->by_admin};
    int rc = metallm__build_deployments(b, at, m);
    if (rc == METALLM_OK)
        rc = build_prices(b, raw, at, m);
    if (rc != METALLM_OK)
        return rc;
    if ((m->abilities & METALLM__ABLE_EMBEDDINGS) != 0 && !metallm__config_embeds(m))
        return metallm__builder_refuse(
            b, raw->line, metallm__builder_option(option, "models", at, "abilities.embeddings"),
            "protocol '%s' has none", m->deployments[0].protocol);
    if (raw->context > 0 && raw->max_output > raw->context)
        return metallm__builder_refuse(
            b, raw->line, metallm__builder_option(option, "models", at, "abilities.max_output"),
            "is more than context, %llu", (unsigned long long)raw->context);
    const bool has_quality = !isnan(raw->prior_quality),
               has_outcomes = raw->prior_outcomes[0] != '\0';
    if (has_quality && has_outcomes)
        return metallm__builder_refuse(
            b, raw->line, metallm__builder_option(option, "models", at, "prior.outcomes"),
            "stands beside prior.quality: give one of the two");
    if (raw->like[0] == '\0')
        return METALLM_OK;
    metallm__builder_option(option, "models", at, "like");
    if (has_quality || has_outcomes)
        return metallm__builder_refuse(b, raw->line, option,
                                       "stands beside prior.%s: give one of the two",
                                       has_quality ? "quality" : "outcomes");
    rc = find_model(b, raw->line, option, raw->like, &m->like);
    if (rc == METALLM_OK && m->like == at)
        return metallm__builder_refuse(b, raw->line, option, "is the model itself");
    return rc;
}

static int build_graders(const struct metallm__builder *b, const struct metallm__raw_router *raw,
                         size_t at, struct metallm__config_router *r)
{
    const struct metallm__raw_grader *list = raw->graders.items;
    struct metallm__config_grader *out = room(b, raw->graders.count, sizeof *out);
    if (out == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t i = 0; i < raw->graders.count; i++) {
        const struct metallm__raw_grader *g = &list[i];
        char option[METALLM__OPTION_BYTES];
        snprintf(option, sizeof option, "routers[%zu].graders[%u]", at, i);
        out[i] = (struct metallm__config_grader){.line = g->line,
                                                 .kind = (enum metallm__grader_kind)g->kind,
                                                 .pattern = g->pattern,
                                                 .prompt = g->prompt,
                                                 .task = g->task,
                                                 .model = METALLM__CONFIG_NONE,
                                                 .share = g->share};
        bool is_regex = out[i].kind == METALLM__GRADER_REGEX;
        bool is_judge = out[i].kind == METALLM__GRADER_JUDGE;
        if (is_regex != (g->pattern[0] != '\0'))
            return metallm__builder_refuse(b, g->line, option,
                                           is_regex ? "kind regex wants a pattern"
                                                    : "a pattern belongs to kind regex");
        if (is_judge != (g->model[0] != '\0'))
            return metallm__builder_refuse(b, g->line, option,
                                           is_judge ? "kind judge wants a model"
                                                    : "a model belongs to kind judge");
        if (!is_judge && g->prompt[0] != '\0')
            return metallm__builder_refuse(b, g->line, option, "a prompt belongs to kind judge");
        metallm_error why;
        if (is_regex && metallm__pattern_check(g->pattern, &why) != METALLM_OK)
            return metallm__builder_refuse(b, g->line, option, "not a regular expression: %s",
                                           why.message);
        int rc = is_judge ? find_model(b, g->line, option, g->model, &out[i].model) : METALLM_OK;
        if (rc != METALLM_OK)
            return rc;
    }
    r->graders = out;
    r->grader_count = raw->graders.count;
    return METALLM_OK;
}

/* All that serve chat and may be routed to, where a router names none. */
static int all_models(const struct metallm__builder *b, struct metallm__config_router *r)
{
    uint32_t *list = room(b, b->c->model_count, sizeof *list);
    if (list == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t m = 0; m < b->c->model_count; m++)
        if ((b->c->models[m].abilities & (METALLM__ABLE_CHAT | METALLM__ABLE_COMPLETIONS)) != 0)
            list[r->model_count++] = m;
    r->models = list;
    return METALLM_OK;
}

static int check_router(const struct metallm__builder *b, const struct metallm__raw_router *raw,
                        size_t at, const struct metallm__config_router *r)
{
    char option[METALLM__OPTION_BYTES];
    struct metallm__policy_choice policy;
    metallm_error why;
    int stated = !isnan(r->dial) + !isnan(r->target) + !isnan(r->budget_usd);
    if (stated > 1)
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "routers", at, ""),
                                       "has %s: give one of dial, target and budget",
                                       stated == 3            ? "a dial, a target and a budget"
                                       : isnan(r->budget_usd) ? "a dial and a target"
                                       : isnan(r->target)     ? "a dial and a budget"
                                                              : "a target and a budget");
    metallm__builder_option(option, "routers", at, "budget");
    if (isnan(r->budget_usd) && !raw->by_admin && metallm__config_line(b->c, option) != 0)
        return metallm__builder_refuse(b, raw->line, option, "wants usd");
    if (r->model_count == 0)
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "routers", at, "models"),
                                       "there is no model to choose among");
    if (r->policy[0] != '\0' && metallm__policy_parse(&policy, r->policy, &why) != METALLM_OK)
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "routers", at, "policy"),
                                       "%s", why.message);
    if (r->mode == METALLM__MODE_OBSERVE && r->fallback == METALLM__CONFIG_NONE)
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "routers", at, "mode"),
                                       "observe wants a fallback: the model that answers");
    if (r->mode == METALLM__MODE_OFFLINE && r->file[0] == '\0')
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "routers", at, "mode"),
                                       "offline wants a file: there is nothing else to route by");
    if (r->explore.share > r->explore.cap)
        return metallm__builder_refuse(
            b, raw->line, metallm__builder_option(option, "routers", at, "explore.share"),
            "is more than explore.cap, %g", r->explore.cap);
    if (r->explore.floor * r->model_count > r->explore.cap)
        return metallm__builder_refuse(
            b, raw->line, metallm__builder_option(option, "routers", at, "explore.floor"),
            "%u times is more than explore.cap, %g", r->model_count, r->explore.cap);
    return METALLM_OK;
}

static int build_router(const struct metallm__builder *b, size_t at,
                        struct metallm__config_router *r)
{
    const struct metallm__raw_router *raw = &b->routers[at];
    char option[METALLM__OPTION_BYTES];
    *r = (struct metallm__config_router){.line = raw->line,
                                         .name = raw->name,
                                         .file = raw->file,
                                         .mode = (enum metallm__mode)raw->mode,
                                         .dial = raw->dial,
                                         .target = raw->target,
                                         .budget_usd = raw->budget_usd,
                                         .budget_per = (enum metallm__period)raw->budget_per,
                                         .max_cost_usd = raw->max_cost_usd,
                                         .policy = raw->policy,
                                         .task = raw->task,
                                         .explore = raw->explore,
                                         .fallback = METALLM__CONFIG_NONE,
                                         .forget = raw->forget,
                                         .seed = raw->seed,
                                         .sticky = raw->sticky,
                                         .by_admin = raw->by_admin};
    int rc =
        raw->models.count == 0
            ? all_models(b, r)
            : find_models(b, raw->line, metallm__builder_option(option, "routers", at, "models"),
                          &raw->models, &r->models, &r->model_count);
    for (uint32_t i = 0; rc == METALLM_OK && i < r->model_count; i++)
        if ((b->c->models[r->models[i]].abilities &
             (METALLM__ABLE_CHAT | METALLM__ABLE_COMPLETIONS)) == 0)
            rc = metallm__builder_refuse(b, raw->line, option, "'%.60s' serves no chat",
                                         b->c->models[r->models[i]].name);
    if (rc == METALLM_OK && raw->fallback[0] != '\0')
        rc = find_model(b, raw->line, metallm__builder_option(option, "routers", at, "fallback"),
                        raw->fallback, &r->fallback);
    if (rc == METALLM_OK)
        rc = build_graders(b, raw, at, r);
    return rc == METALLM_OK ? check_router(b, raw, at, r) : rc;
}

static int build_alias(const struct metallm__builder *b, size_t at, struct metallm__config_alias *a)
{
    const struct metallm__raw_alias *raw = &b->aliases[at];
    char option[METALLM__OPTION_BYTES];
    struct metallm__near near = {.wanted = raw->to};
    *a = (struct metallm__config_alias){.line = raw->line,
                                        .name = raw->name,
                                        .model = METALLM__CONFIG_NONE,
                                        .router = METALLM__CONFIG_NONE,
                                        .dial = raw->dial,
                                        .target = raw->target,
                                        .max_cost_usd = raw->max_cost_usd,
                                        .task = raw->task};
    a->model = metallm__config_model_find(b->c, raw->to, strlen(raw->to));
    a->router = metallm__config_router_find(b->c, raw->to, strlen(raw->to));
    metallm__builder_option(option, "aliases", at, "to");
    if (a->model == METALLM__CONFIG_NONE && a->router == METALLM__CONFIG_NONE) {
        for (uint32_t i = 0; i < b->c->model_count; i++)
            metallm__near_offer(&near, b->c->models[i].name);
        for (uint32_t i = 0; i < b->c->router_count; i++)
            metallm__near_offer(&near, b->c->routers[i].name);
        return metallm__builder_refuse(b, raw->line, option, "no model or router '%.60s'%s%.60s%s",
                                       raw->to, near.best != NULL ? ": is '" : "",
                                       near.best != NULL ? near.best : "",
                                       near.best != NULL ? "' meant?" : "");
    }
    bool routes =
        !isnan(a->dial) || !isnan(a->target) || a->max_cost_usd > 0 || raw->models.count > 0;
    metallm__builder_option(option, "aliases", at, "");
    if (a->router == METALLM__CONFIG_NONE && routes)
        return metallm__builder_refuse(b, raw->line, option,
                                       "'%.60s' is a model: nothing is left to choose", raw->to);
    if (!isnan(a->dial) && !isnan(a->target))
        return metallm__builder_refuse(b, raw->line, option,
                                       "has a dial and a target: give one of the two");
    int rc = find_models(b, raw->line, metallm__builder_option(option, "aliases", at, "models"),
                         &raw->models, &a->models, &a->model_count);
    const struct metallm__config_router *r = &b->c->routers[a->router];
    for (uint32_t i = 0; rc == METALLM_OK && i < a->model_count; i++) {
        bool is_known = false;
        for (uint32_t k = 0; k < r->model_count; k++)
            is_known |= r->models[k] == a->models[i];
        if (!is_known)
            rc = metallm__builder_refuse(b, raw->line, option,
                                         "router '%.60s' does not choose among '%.60s'", r->name,
                                         b->c->models[a->models[i]].name);
    }
    return rc;
}

/* Addresses in numbers, each once, and open to this machine alone unless keys are asked for. */
static int build_listen(const struct metallm__builder *b)
{
    struct metallm__config *c = b->c;
    const char **items = room(b, c->listen.count, sizeof *items);
    char why[160];
    if (items == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t i = 0; i < c->listen.count; i++) {
        struct metallm__config_address address;
        if (!metallm__config_address_parse(&address, c->listen.items[i], why, sizeof why))
            return metallm__builder_refuse(b, 0, "listen", "%s: '%.80s'", why, c->listen.items[i]);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(items[k], address.text) == 0)
                return metallm__builder_refuse(b, 0, "listen", "'%.80s' stands twice",
                                               c->listen.items[i]);
        if (!address.is_loopback && !c->auth.keys)
            return metallm__builder_refuse(
                b, 0, "listen", "'%.60s' is open to other machines: that wants auth: {keys: on}",
                c->listen.items[i]);
        items[i] = metallm__config_text(b->in, address.text, strlen(address.text));
        if (items[i] == NULL)
            return metallm__error_nomem(b->err, "a configuration");
    }
    if (c->listen.count == 0)
        return metallm__builder_refuse(b, 0, "listen", "is an empty list");
    c->listen.items = items;
    return METALLM_OK;
}

static int check_top(const struct metallm__builder *b)
{
    const struct metallm__config *c = b->c;
    bool has_cert = c->tls_cert[0] != '\0', has_key = c->tls_key[0] != '\0';
    if (has_cert != has_key)
        return metallm__builder_refuse(b, 0, "tls", "wants both cert and key");
    int rc = build_listen(b);
    if (rc != METALLM_OK)
        return rc;
    if (strncmp(c->store, "sqlite:", 7) != 0 || c->store[7] == '\0')
        return metallm__builder_refuse(b, 0, "store", "wants sqlite:PATH, not '%.60s'", c->store);
    size_t admin = strlen(c->auth.admin_key);
    if (admin > 0 && admin < 16)
        return metallm__builder_refuse(b, 0, "auth.admin_key", "is shorter than 16 characters");
    if ((strcmp(c->encoder.name, "remote") == 0) != (c->encoder.url[0] != '\0'))
        return metallm__builder_refuse(b, 0, "encoder", "%s",
                                       c->encoder.url[0] != '\0'
                                           ? "a url belongs to the encoder 'remote'"
                                           : "'remote' wants a url");
    if (c->upstream.backoff_ms > c->upstream.backoff_max_ms)
        return metallm__builder_refuse(b, 0, "upstream.backoff_ms",
                                       "is more than upstream.backoff_max_ms, %llu",
                                       (unsigned long long)c->upstream.backoff_max_ms);
    return METALLM_OK;
}

static int build_lists(const struct metallm__builder *b)
{
    const struct metallm__raw *raw = &b->in->raw;
    struct metallm__config_model *models = room(b, raw->models.count, sizeof *models);
    struct metallm__config_router *routers = room(b, raw->routers.count, sizeof *routers);
    struct metallm__config_alias *aliases = room(b, raw->aliases.count, sizeof *aliases);
    if (models == NULL || routers == NULL || aliases == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    int rc = METALLM_OK;
    for (uint32_t i = 0; rc == METALLM_OK && i < raw->models.count; i++)
        rc = build_model(b, i, &models[i]);
    b->c->models = models;
    b->c->model_count = raw->models.count;
    for (uint32_t i = 0; rc == METALLM_OK && i < raw->routers.count; i++)
        rc = build_router(b, i, &routers[i]);
    b->c->routers = routers;
    b->c->router_count = raw->routers.count;
    for (uint32_t i = 0; rc == METALLM_OK && i < raw->aliases.count; i++)
        rc = build_alias(b, i, &aliases[i]);
    b->c->aliases = aliases;
    b->c->alias_count = raw->aliases.count;
    return rc == METALLM_OK ? metallm__build_prices(b, models) : rc;
}

int metallm__config_build(struct metallm__config_inner *in, metallm_error *err)
{
    struct metallm__config *c = metallm__config_alloc(in, 1, sizeof *c);
    if (c == NULL)
        return metallm__error_nomem(err, "a configuration");
    *c = in->raw.c;
    c->inner = in;
    in->config = c;
    c->log.requests = (enum metallm__log_requests)in->raw.log_requests;
    const struct metallm__builder b = {.in = in,
                                       .c = c,
                                       .models = in->raw.models.items,
                                       .routers = in->raw.routers.items,
                                       .aliases = in->raw.aliases.items,
                                       .err = err};
    if (in->raw.models.count == 0)
        return metallm__builder_refuse(&b, 0, "models", "there is none");
    int rc = check_top(&b);
    if (rc == METALLM_OK)
        rc = check_names(&b);
    if (rc == METALLM_OK)
        rc = build_lists(&b);
    if (rc == METALLM_OK && c->threads == 0) {
        long count = sysconf(_SC_NPROCESSORS_ONLN);
        c->threads = count < 1 ? 1 : count > 255 ? 255 : (uint64_t)count;
    }
    return rc;
}
