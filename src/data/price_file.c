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
        {"input_token_price_per_million", &p->input}, /* RouterArena's */
        {"output_token_price_per_million", &p->output},
    };
    struct metallm__span name = text_of(key);
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (metallm__span_is(name, amounts[i].name))
            return isnan(*amounts[i].amount) ? read_amount(r, value, amounts[i].amount)
                                             : refuse(r, key, "a price stands twice:", name);
    if (!metallm__span_is(name, "from"))
        return refuse(r, key, "unknown key", name);
    struct metallm__span day = text_of(value);
    p->from = day.bytes != NULL ? metallm__day_parse(day.bytes, day.len) : 0;
    return p->from != 0 ? METALLM_OK : refuse(r, value, "not a day as YYYY-MM-DD:", day);
}

static int read_price(struct reader *r, struct metallm__span model, const yaml_node_t *node)
{
    struct metallm__price p = {.line = node->start_mark.line + 1,
                               .usd_per_call = NAN,
                               .input = NAN,
                               .output = NAN,
                               .cached_input = NAN};
    if (node->type != YAML_MAPPING_NODE)
        return refuse(r, node, "a price must be {input: , output: } or {usd_per_call: }, not",
                      text_of(node));
    for (const yaml_node_pair_t *i = node->data.mapping.pairs.start;
         i < node->data.mapping.pairs.top; i++) {
        int rc = read_member(r, yaml_document_get_node(&r->doc, i->key),
                             yaml_document_get_node(&r->doc, i->value), &p);
        if (rc != METALLM_OK)
            return rc;
    }
    if (isnan(p.usd_per_call) && (isnan(p.input) || isnan(p.output)))
        return refuse(r, node, "neither usd_per_call nor input and output for", model);
    for (size_t i = 0; i < r->prices.count; i++)
        if (r->prices.items[i].from == p.from && metallm__span_is(model, r->prices.items[i].model))
            return refuse(r, node, "a second price from the same day on for", model);
    void *items = r->prices.items;
    if (metallm__grow(&items, &r->prices.cap, r->prices.count + 1, sizeof *r->prices.items) != 0)
        return metallm__error_nomem(r->err, "prices");
    r->prices.items = items;
    p.model = metallm__strndup(model.bytes, model.len);
    if (p.model == NULL)
        return metallm__error_nomem(r->err, "prices");
    r->prices.items[r->prices.count++] = p;
    return METALLM_OK;
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
