/* SPDX-License-Identifier: Apache-2.0
 * price_file.c - reads a price file through libyaml's parser (JSON is a part of YAML). Every key is
 * known or refused, so that a slip of the pen is not a price of nothing. */
#include <math.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/prices.h"
#include "data/text.h"

#define SOURCE_BYTES_MAX 200u

struct reader {
    yaml_document_t doc;
    const char *path;
    struct metallm__prices prices;
    metallm_error *err;
};

static struct metallm__span text_of(const yaml_node_t *node)
{
    if (node == NULL || node->type != YAML_SCALAR_NODE)
        return (struct metallm__span){NULL, 0};
    return (struct metallm__span){(const char *)node->data.scalar.value, node->data.scalar.length};
}

static int refuse(const struct reader *r, const yaml_node_t *at, const char *what,
                  struct metallm__span value)
{
    char shown[METALLM__SHOWN_BYTES];
    return metallm__error_set(r->err, METALLM_EFORMAT, "%.100s:%zu: %s '%s'", r->path,
                              at->start_mark.line + 1, what, metallm__text_show(shown, value));
}

/* A price: a number, not negative. */
static int read_amount(const struct reader *r, const yaml_node_t *node, double *out)
{
    double value;
    struct metallm__span text = text_of(node);
    if (text.bytes == NULL || !metallm__text_number(text, &value))
        return refuse(r, node, "a price is not a number:", text);
    if (value < 0 || value > 1e9)
        return refuse(r, node, "a price is out of range:", text);
    *out = value;
    return METALLM_OK;
}

static int read_day(const struct reader *r, const yaml_node_t *node, int *out)
{
    struct metallm__span day = text_of(node);
    *out = day.bytes != NULL ? metallm__day_parse(day.bytes, day.len) : 0;
    return *out != 0 ? METALLM_OK : refuse(r, node, "not a day as YYYY-MM-DD:", day);
}

static int read_tokens(const struct reader *r, const yaml_node_t *node, uint64_t *out)
{
    double value;
    struct metallm__span text = text_of(node);
    if (text.bytes == NULL || !metallm__text_number(text, &value) || value < 1 || value > 1e12 ||
        floor(value) < value)
        return refuse(r, node, "not a count of tokens:", text);
    *out = (uint64_t)value;
    return METALLM_OK;
}

/* What is known beside the price; *is_known false: no such member. */
static int read_fact(const struct reader *r, struct metallm__span name, const yaml_node_t *value,
                     struct metallm__price *p, bool *is_known)
{
    const struct {
        const char *name;
        int8_t *flag;
        uint64_t *tokens;
        int *day;
    } facts[] = {
        {"tools", &p->tools, NULL, NULL},         {"images", &p->images, NULL, NULL},
        {"json", &p->json, NULL, NULL},           {"embeddings", &p->embeddings, NULL, NULL},
        {"context", NULL, &p->context, NULL},     {"max_output", NULL, &p->max_output, NULL},
        {"long_over", NULL, &p->long_over, NULL}, {"checked", NULL, NULL, &p->checked},
        {"from", NULL, NULL, &p->from},
    };
    struct metallm__span text = text_of(value);
    *is_known = true;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        if (!metallm__span_is(name, facts[i].name))
            continue;
        if (facts[i].tokens != NULL)
            return read_tokens(r, value, facts[i].tokens);
        if (facts[i].day != NULL)
            return read_day(r, value, facts[i].day);
        *facts[i].flag = metallm__span_is(text, "true");
        return *facts[i].flag != 0 || metallm__span_is(text, "false")
                   ? METALLM_OK
                   : refuse(r, value, "neither true nor false:", text);
    }
    *is_known = metallm__span_is(name, "source");
    if (!*is_known)
        return METALLM_OK;
    if (text.len == 0 || text.len > SOURCE_BYTES_MAX || p->source != NULL ||
        memchr(text.bytes, '\0', text.len) != NULL || !metallm__text_is_utf8(text))
        return refuse(r, value, "no source:", text);
    p->source = metallm__strndup(text.bytes, text.len);
    return p->source != NULL ? METALLM_OK : metallm__error_nomem(r->err, "prices");
}

static int read_member(const struct reader *r, const yaml_node_t *key, const yaml_node_t *value,
                       struct metallm__price *p)
{
    const struct {
        const char *name;
        double *amount;
    } amounts[] = {
        {"usd_per_call", &p->usd_per_call},
        {"input", &p->input},
        {"output", &p->output},
        {"cached_input", &p->cached_input},
        {"cached_write", &p->cached_write},
        {"batch_input", &p->batch_input},
        {"batch_output", &p->batch_output},
        {"long_input", &p->long_input},
        {"long_output", &p->long_output},
        {"long_cached_input", &p->long_cached_input},
        {"input_token_price_per_million", &p->input}, /* RouterArena's */
        {"output_token_price_per_million", &p->output},
    };
    struct metallm__span name = text_of(key);
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (metallm__span_is(name, amounts[i].name))
            return isnan(*amounts[i].amount) ? read_amount(r, value, amounts[i].amount)
                                             : refuse(r, key, "a price stands twice:", name);
    bool is_known;
    int rc = read_fact(r, name, value, p, &is_known);
    return is_known ? rc : refuse(r, key, "unknown key", name);
}

static int read_members(struct reader *r, struct metallm__span model, const yaml_node_t *node,
                        struct metallm__price *p)
{
    if (node->type != YAML_MAPPING_NODE)
        return refuse(r, node, "a price must be {input: , output: } or {usd_per_call: }, not",
                      text_of(node));
    for (const yaml_node_pair_t *i = node->data.mapping.pairs.start;
         i < node->data.mapping.pairs.top; i++) {
        int rc = read_member(r, yaml_document_get_node(&r->doc, i->key),
                             yaml_document_get_node(&r->doc, i->value), p);
        if (rc != METALLM_OK)
            return rc;
    }
    if (isnan(p->usd_per_call) && (isnan(p->input) || isnan(p->output)))
        return refuse(r, node, "neither usd_per_call nor input and output for", model);
    for (size_t i = 0; i < r->prices.count; i++)
        if (r->prices.items[i].from == p->from && metallm__span_is(model, r->prices.items[i].model))
            return refuse(r, node, "a second price from the same day on for", model);
    p->model = metallm__strndup(model.bytes, model.len);
    return p->model != NULL ? METALLM_OK : metallm__error_nomem(r->err, "prices");
}

static int read_price(struct reader *r, struct metallm__span model, const yaml_node_t *node)
{
    struct metallm__price p = METALLM__PRICE_UNKNOWN;
    p.line = node->start_mark.line + 1;
    int rc = read_members(r, model, node, &p);
    if (rc != METALLM_OK) {
        metallm__price_fini(&p);
        return rc;
    }
    return metallm__prices_add(&r->prices, &p, r->err);
}

static int read_model(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    struct metallm__span model = text_of(key);
    if (model.len == 0 || model.len > METALLM_MODEL_NAME_MAX ||
        memchr(model.bytes, '\0', model.len) != NULL)
        return refuse(r, key, "a model cannot be named", model);
    if (value->type != YAML_SEQUENCE_NODE)
        return read_price(r, model, value);
    for (const yaml_node_item_t *i = value->data.sequence.items.start;
         i < value->data.sequence.items.top; i++) {
        int rc = read_price(r, model, yaml_document_get_node(&r->doc, *i));
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* The mapping from models to prices: under "models", or the whole file where it has no such key. */
static const yaml_node_t *models_node(struct reader *r, int *rc)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    *rc = METALLM_OK;
    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        *rc = metallm__error_set(r->err, METALLM_EFORMAT, "%.100s:1: no mapping 'models'", r->path);
        return NULL;
    }
    const yaml_node_t *models = NULL;
    const yaml_node_pair_t *i = root->data.mapping.pairs.start;
    for (; i < root->data.mapping.pairs.top; i++)
        if (metallm__span_is(text_of(yaml_document_get_node(&r->doc, i->key)), "models"))
            models = yaml_document_get_node(&r->doc, i->value);
    if (models == NULL)
        return root;
    if (models->type != YAML_MAPPING_NODE)
        *rc = refuse(r, models, "'models' must map names to prices, not", text_of(models));
    return models;
}

static int load(struct reader *r, const char *bytes, size_t len)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return metallm__error_nomem(r->err, "a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, len);
    int rc = METALLM_OK;
    if (yaml_parser_load(&parser, &r->doc) == 0)
        rc = parser.error == YAML_MEMORY_ERROR
                 ? metallm__error_nomem(r->err, "a price file")
                 : metallm__error_set(r->err, METALLM_EFORMAT, "%.100s:%zu: not YAML: %s", r->path,
                                      parser.problem_mark.line + 1,
                                      parser.problem != NULL ? parser.problem : "unreadable");
    yaml_parser_delete(&parser);
    return rc;
}

int metallm__prices_parse(struct metallm__prices *out, const char *path, const char *bytes,
                          size_t len, metallm_error *err)
{
    struct reader r = {.path = path, .err = err};
    if (len > METALLM__PRICE_FILE_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "'%.100s' is no price file: %zu bytes", path,
                                  len);
    int rc = load(&r, bytes, len);
    if (rc != METALLM_OK)
        return rc;
    const yaml_node_t *models = models_node(&r, &rc);
    const yaml_node_pair_t *i = rc == METALLM_OK ? models->data.mapping.pairs.start : NULL;
    for (; rc == METALLM_OK && i < models->data.mapping.pairs.top; i++)
        rc = read_model(&r, yaml_document_get_node(&r.doc, i->key),
                        yaml_document_get_node(&r.doc, i->value));
    yaml_document_delete(&r.doc);
    if (rc != METALLM_OK) {
        metallm__prices_fini(&r.prices);
        return rc;
    }
    *out = r.prices;
    return METALLM_OK;
}

int metallm__prices_read(struct metallm__prices *out, const char *path, metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__prices_parse(out, path, map.bytes, map.len, err);
    metallm__map_close(&map);
    return rc;
}
