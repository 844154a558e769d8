/* SPDX-License-Identifier: Apache-2.0
 * config_deployments.c - the places where a model can be called: what a protocol implies, wants and
 * has no use for, and one deployment for each key of a place, so that a key that has to rest is
 * passed over like any other deployment. */
#include <string.h>

#include "base/error.h"
#include "gateway/config_address.h"
#include "gateway/config_builder.h"
#include "wire/wire.h"

/* What a protocol implies. Of AWS the host begins so, and the region follows. */
static const struct preset {
    const char *protocol, *url;
    bool is_aws;
} presets[] = {
    {"anthropic", "https://api.anthropic.com/v1", false},
    {"gemini", "https://generativelanguage.googleapis.com/v1beta", false},
    {"bedrock", "https://bedrock-runtime.", true},
    {"bedrock-invoke", "https://bedrock-runtime.", true},
};

static const struct preset *preset_of(const char *protocol)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].protocol, protocol) == 0)
            return &presets[i];
    return NULL;
}

/* Headers that the calls set themselves, or that belong to a connection. */
static int check_headers(const struct metallm__builder *b, const char *option,
                         const struct metallm__config_headers *h)
{
    static const char *const ours[] = {
        "authorization", "connection", "content-length",      "content-type", "expect",
        "host",          "keep-alive", "transfer-encoding",   "te",           "trailer",
        "upgrade",       "x-amz-date", "x-amz-security-token"};
    for (uint32_t i = 0; i < h->count; i++) {
        const char *name = h->items[i].name, *value = h->items[i].value;
        if (name[0] == '\0' ||
            strspn(name, "!#$%&'*+-.^_`|~0123456789"
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != strlen(name))
            return metallm__builder_refuse(b, h->items[i].line, option,
                                           "'%.60s' is no name of a header", name);
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
            if (strcasecmp(name, ours[k]) == 0)
                return metallm__builder_refuse(b, h->items[i].line, option,
                                               "'%.60s' is set by metallm itself", name);
        for (uint32_t k = 0; k < i; k++)
            if (strcasecmp(name, h->items[k].name) == 0)
                return metallm__builder_refuse(b, h->items[i].line, option, "'%.60s' stands twice",
                                               name);
        for (const char *v = value; *v != '\0'; v++)
            if ((unsigned char)*v < ' ' || *v == 127)
                return metallm__builder_refuse(b, h->items[i].line, option,
                                               "the value of '%.60s' holds a control character",
                                               name);
    }
    return METALLM_OK;
}

/* The model's headers, then the deployment's; one of the same name is the deployment's. */
static int join_headers(const struct metallm__builder *b,
                        const struct metallm__config_headers *model,
                        struct metallm__config_headers *own)
{
    struct metallm__config_header *items =
        metallm__config_alloc(b->in, model->count + own->count, sizeof *items);
    uint32_t count = 0;
    if (items == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t i = 0; i < model->count; i++) {
        bool is_own = false;
        for (uint32_t k = 0; k < own->count; k++)
            is_own |= strcasecmp(own->items[k].name, model->items[i].name) == 0;
        if (!is_own)
            items[count++] = model->items[i];
    }
    for (uint32_t i = 0; i < own->count; i++)
        items[count++] = own->items[i];
    *own = (struct metallm__config_headers){items, count};
    return METALLM_OK;
}

/* ---- One place. ---- */

/* A place that is being read: what is said of it, and what its options are called. */
struct place {
    const struct metallm__builder *b;
    const struct metallm__raw_model *model;
    const struct metallm__raw_place *own; /* the deployment's, or the model's itself */
    char option[METALLM__OPTION_BYTES];   /* "models[0].deployments[1]" */
    struct metallm__config_deployment d;
};

static int refuse(const struct place *p, const char *member, const char *what)
{
    char option[METALLM__OPTION_BYTES + 24];
    snprintf(option, sizeof option, "%s.%s", p->option, member);
    return metallm__builder_refuse(p->b, p->d.line, option, "%s", what);
}

static const char *first_of(const char *own, const char *model)
{
    return own[0] != '\0' ? own : model;
}

/* "us-east-1": it becomes a part of a host's name. */
static bool is_region(const char *text)
{
    size_t len = strlen(text);
    return len >= 2 && len <= 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
           text[0] != '-' && text[len - 1] != '-';
}

/* "2024-10-21", "2025-04-01-preview". */
static bool is_version(const char *text)
{
    static const char shape[] = "dddd-dd-dd";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return false;
    return text[10] == '\0' || strcmp(text + 10, "-preview") == 0;
}

static const char *region_here(void)
{
    const char *region = getenv("AWS_REGION");
    if (region == NULL || region[0] == '\0')
        region = getenv("AWS_DEFAULT_REGION");
    return region != NULL ? region : "";
}

static int take_aws(struct place *p, const struct preset *preset)
{
    const struct metallm__raw_place *all = &p->model->place;
    bool is_aws = preset != NULL && preset->is_aws;
    if (!is_aws) {
        p->d.region = p->d.aws_profile = "";
        return p->own->region[0] != '\0'
                   ? refuse(p, "region", "belongs to protocol bedrock or bedrock-invoke")
               : p->own->aws_profile[0] != '\0'
                   ? refuse(p, "aws_profile", "belongs to protocol bedrock or bedrock-invoke")
                   : METALLM_OK;
    }
    const char *region = first_of(first_of(p->own->region, all->region), region_here());
    if (region[0] == '\0')
        return refuse(p, "region", "is missing, and AWS_REGION is not set");
    if (!is_region(region))
        return refuse(p, "region", "is no name of a region as 'us-east-1'");
    p->d.region = metallm__config_text(p->b->in, region, strlen(region));
    p->d.aws_profile = first_of(p->own->aws_profile, all->aws_profile);
    return p->d.region != NULL ? METALLM_OK : metallm__error_nomem(p->b->err, "a configuration");
}

static int take_version(struct place *p)
{
    bool is_openai = strcmp(p->d.protocol, "openai") == 0;
    p->d.azure_version =
        is_openai ? first_of(p->own->azure_version, p->model->place.azure_version) : "";
    if (!is_openai && p->own->azure_version[0] != '\0')
        return refuse(p, "azure_api_version", "belongs to protocol openai");
    if (p->d.azure_version[0] != '\0' && !is_version(p->d.azure_version))
        return refuse(p, "azure_api_version", "is not as 2024-10-21 or 2025-04-01-preview");
    if (p->d.azure_version[0] != '\0' && p->model->able[7] == 1)
        return refuse(p, "azure_api_version",
                      "has no responses: Azure serves them at its /openai/v1 alone");
    return METALLM_OK;
}

/* The end of a path that the protocols put there themselves. */
static const char *superfluous(const char *url)
{
    static const char *const ends[] = {"/chat/completions", "/completions", "/messages",
                                       "/responses",        "/embeddings",  "/models"};
    size_t len = strlen(url);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (len > n && strcmp(url + len - n, ends[i]) == 0)
            return ends[i];
    }
    return NULL;
}

static int take_url(struct place *p, const struct preset *preset)
{
    char why[160], text[METALLM_ERROR_BYTES];
    const char *given = p->own->base_url;
    if (given[0] == '\0' && preset == NULL)
        return metallm__builder_refuse(p->b, p->d.line, p->option, "wants a base_url%s",
                                       p->own == &p->model->place ? " (or deployments)" : "");
    if (given[0] == '\0') {
        bool is_china = strncmp(p->d.region, "cn-", 3) == 0;
        snprintf(text, sizeof text, "%s%s%s", preset->url, p->d.region,
                 !preset->is_aws ? ""
                 : is_china      ? ".amazonaws.com.cn"
                                 : ".amazonaws.com");
        given = text;
    }
    char *url = metallm__config_text(p->b->in, given, strlen(given));
    if (url == NULL)
        return metallm__error_nomem(p->b->err, "a configuration");
    bool is_good = metallm__config_url(url, why, sizeof why);
    const char *end = is_good ? superfluous(url) : NULL;
    if (end != NULL)
        snprintf(why, sizeof why, "give what stands before %s, which metallm adds", end);
    if (!is_good || end != NULL) {
        char said[METALLM_ERROR_BYTES + 160];
        snprintf(said, sizeof said, "%s: '%.80s'", why, p->own->base_url);
        return refuse(p, "base_url", said);
    }
    p->d.base_url = url;
    return METALLM_OK;
}

static int take_place(struct place *p)
{
    const struct metallm__raw_model *m = p->model;
    p->d.protocol = first_of(p->own->protocol, m->place.protocol);
    const struct preset *preset = preset_of(p->d.protocol);
    int rc = take_aws(p, preset);
    if (rc == METALLM_OK)
        rc = take_version(p);
    if (rc == METALLM_OK)
        rc = take_url(p, preset);
    if (rc != METALLM_OK)
        return rc;
    p->d.model = first_of(first_of(p->own->model, m->place.model), m->name);
    if (p->d.name[0] == '\0' && (p->d.name = metallm__config_host(p->b->in, p->d.base_url)) == NULL)
        return metallm__error_nomem(p->b->err, "a configuration");
    char headers[METALLM__OPTION_BYTES + 24];
    snprintf(headers, sizeof headers, "%s.headers", p->option);
    rc = check_headers(p->b, headers, &p->d.headers);
    return rc == METALLM_OK ? join_headers(p->b, &m->headers, &p->d.headers) : rc;
}

/* ---- Its keys. ---- */

static int check_keys(const struct place *p, const struct metallm__strings *keys)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        for (const char *k = keys->items[i]; *k != '\0'; k++)
            if ((unsigned char)*k <= ' ' || (unsigned char)*k >= 127)
                return refuse(p, "api_key", "holds a blank or a control character");
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(keys->items[k], keys->items[i]) == 0)
                return refuse(p, "api_key", "holds the same key twice");
    }
    return METALLM_OK;
}

/* The place once for each key, in equal shares of its weight. */
static int spread(struct place *p, struct metallm__config_deployment *out, uint32_t *count)
{
    const struct metallm__strings *keys =
        p->own->api_keys.count > 0 ? &p->own->api_keys : &p->model->place.api_keys;
    const uint32_t copies = keys->count > 0 ? keys->count : 1;
    int rc = check_keys(p, keys);
    if (rc != METALLM_OK)
        return rc;
    if (*count + copies > METALLM__CONFIG_DEPLOYMENTS_MAX)
        return refuse(p, "api_key", "makes more than 64 deployments of the model, one a key");
    for (uint32_t i = 0; i < copies; i++) {
        struct metallm__config_deployment *d = &out[(*count)++];
        *d = p->d;
        d->api_key = keys->count > 0 ? keys->items[i] : "";
        d->weight = p->d.weight / copies;
        if (copies == 1)
            continue;
        char name[METALLM_ERROR_BYTES];
        int n = snprintf(name, sizeof name, "%.200s#%u", p->d.name, i + 1);
        d->name = metallm__config_text(p->b->in, name, (size_t)n);
        if (d->name == NULL)
            return metallm__error_nomem(p->b->err, "a configuration");
    }
    return METALLM_OK;
}

/* ---- All places of a model. ---- */

static int check_model(const struct metallm__builder *b, const struct metallm__raw_model *raw,
                       size_t at)
{
    char option[METALLM__OPTION_BYTES];
    if (raw->deployments.count == 0)
        return METALLM_OK;
    if (raw->place.base_url[0] != '\0')
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "models", at, "base_url"),
                                       "stands beside deployments: give one of the two");
    if (raw->concurrency > 0)
        return metallm__builder_refuse(b, raw->line,
                                       metallm__builder_option(option, "models", at, "concurrency"),
                                       "belongs to each of the deployments");
    return METALLM_OK;
}

static void begin_place(struct place *p, size_t at, uint32_t i)
{
    const struct metallm__raw_model *raw = p->model;
    if (raw->deployments.count == 0) {
        metallm__builder_option(p->option, "models", at, "");
        p->own = &raw->place;
        p->d = (struct metallm__config_deployment){
            .line = raw->line, .name = "", .weight = 1, .concurrency = raw->concurrency};
        return;
    }
    const struct metallm__raw_deployment *list = raw->deployments.items;
    snprintf(p->option, sizeof p->option, "models[%zu].deployments[%u]", at, i);
    p->own = &list[i].place;
    p->d = (struct metallm__config_deployment){.line = list[i].line,
                                               .name = list[i].name,
                                               .weight = list[i].weight,
                                               .concurrency = list[i].concurrency,
                                               .headers = list[i].headers};
}

int metallm__build_deployments(const struct metallm__builder *b, size_t at,
                               struct metallm__config_model *m)
{
    const struct metallm__raw_model *raw = &b->models[at];
    const uint32_t places = raw->deployments.count > 0 ? raw->deployments.count : 1;
    char headers[METALLM__OPTION_BYTES];
    uint32_t count = 0;
    int rc = check_model(b, raw, at);
    if (rc == METALLM_OK)
        rc = check_headers(b, metallm__builder_option(headers, "models", at, "headers"),
                           &raw->headers);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__config_deployment *d =
        metallm__config_alloc(b->in, METALLM__CONFIG_DEPLOYMENTS_MAX, sizeof *d);
    if (d == NULL)
        return metallm__error_nomem(b->err, "a configuration");
    for (uint32_t i = 0; rc == METALLM_OK && i < places; i++) {
        struct place p = {.b = b, .model = raw};
        begin_place(&p, at, i);
        rc = take_place(&p);
        if (rc == METALLM_OK)
            rc = spread(&p, d, &count);
    }
    m->deployments = d;
    m->deployment_count = count;
    return rc;
}

bool metallm__config_embeds(const struct metallm__config_model *m)
{
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct metallm__wire *w = metallm__wire_find(m->deployments[i].protocol);
        if (w != NULL && ((w->native >> METALLM__WIRE_EMBEDDING & 1u) != 0 || w->embed_out != NULL))
            return true;
    }
    return false;
}

uint64_t metallm__config_max_tokens(const struct metallm__raw_model *raw)
{
    if (raw->max_tokens > 0)
        return raw->max_tokens;
    return raw->max_output > 0 && raw->max_output < METALLM__WIRE_MAX_TOKENS
               ? raw->max_output
               : METALLM__WIRE_MAX_TOKENS;
}
