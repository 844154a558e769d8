/* SPDX-License-Identifier: Apache-2.0
 * config_yaml.c - reads YAML into raw records by the table of options. Every key is known or
 * refused; a value that came from the environment or is secret never stands in a message. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/near.h"
#include "data/prices.h"
#include "data/text.h"
#include "gateway/config_value.h"

#define OPTION_BYTES 160u    /* "routers[63].graders[15].pattern" and the like */
#define VALUES_MAX   200000u /* read in all: aliases of YAML cannot make a small file endless */

struct reader {
    struct metallm__config_inner *in;
    yaml_document_t doc;
    size_t values;
    bool keeps_places;
    metallm_error *err;
};

/* Where a value goes and what it is called in messages. */
struct place {
    const char *option;
    const struct metallm__option *o;
    void *record;
    bool is_key; /* a header that bears a key */
};

static struct metallm__span text_of(const yaml_node_t *node)
{
    return (struct metallm__span){(const char *)node->data.scalar.value, node->data.scalar.length};
}

static uint32_t line_of(const struct reader *r, const yaml_node_t *node)
{
    return r->keeps_places ? (uint32_t)node->start_mark.line + 1 : 0;
}

static const yaml_node_t *node_at(struct reader *r, int index)
{
    return yaml_document_get_node(&r->doc, index);
}

static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    struct metallm__span s = text_of(node);
    return s.len == 0 || metallm__span_is(s, "~") || metallm__span_is(s, "null");
}

static int keep_place(struct reader *r, const char *option, const yaml_node_t *at)
{
    struct metallm__config_inner *in = r->in;
    if (!r->keeps_places)
        return METALLM_OK;
    if (in->place_count == in->place_room) {
        uint32_t room = in->place_room == 0 ? 64 : in->place_room * 2;
        struct metallm__config_place *more = metallm__config_alloc(in, room, sizeof *more);
        if (more == NULL)
            return metallm__error_nomem(r->err, "a configuration");
        if (in->place_count > 0)
            memcpy(more, in->places, in->place_count * sizeof *more);
        in->places = more;
        in->place_room = room;
    }
    char *name = metallm__config_text(in, option, strlen(option));
    if (name == NULL)
        return metallm__error_nomem(r->err, "a configuration");
    in->places[in->place_count++] =
        (struct metallm__config_place){.option = name, .line = line_of(r, at)};
    return METALLM_OK;
}

static int unknown_key(struct reader *r, const struct metallm__option *table, const char *path,
                       const yaml_node_t *key)
{
    char shown[METALLM__SHOWN_BYTES], name[METALLM__NEAR_BYTES + 2];
    struct metallm__span s = text_of(key);
    const char *dot = path[0] != '\0' ? "." : "";
    metallm__text_show(shown, s);
    if (s.len <= METALLM__NEAR_BYTES) {
        memcpy(name, s.bytes, s.len);
        name[s.len] = '\0';
        struct metallm__near near = {.wanted = name};
        for (const struct metallm__option *o = table; o->name != NULL; o++)
            metallm__near_offer(&near, o->name);
        if (near.best != NULL)
            return metallm__config_refuse(r->in, line_of(r, key), r->err,
                                          "unknown key '%s%s%s': is '%s' meant?", path, dot, shown,
                                          near.best);
    }
    return metallm__config_refuse(r->in, line_of(r, key), r->err,
                                  "unknown key '%s%s%s' (see 'metallm help config')", path, dot,
                                  shown);
}

static int wrong_kind(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    static const char *const kinds[] = {
        [METALLM__OPT_TEXT] = "a text",
        [METALLM__OPT_SECRET] = "a text",
        [METALLM__OPT_FLAG] = "true or false",
        [METALLM__OPT_ABLE] = "true or false",
        [METALLM__OPT_COUNT] = "a whole number",
        [METALLM__OPT_REAL] = "a number",
        [METALLM__OPT_CHOICE] = "a word",
        [METALLM__OPT_DAY] = "a day as YYYY-MM-DD",
        [METALLM__OPT_TEXTS] = "a text or a list of texts",
        [METALLM__OPT_SECRETS] = "a text or a list of texts",
        [METALLM__OPT_HEADERS] = "a mapping of names to texts",
        [METALLM__OPT_GROUP] = "a mapping",
        [METALLM__OPT_RECORDS] = "a list of mappings",
    };
    const char *is = node->type == YAML_MAPPING_NODE    ? "a mapping"
                     : node->type == YAML_SEQUENCE_NODE ? "a list"
                     : is_null(node)                    ? "nothing"
                                                        : "a single value";
    return metallm__config_refuse(r->in, line_of(r, node), r->err, "%s: wants %s, not %s",
                                  p->option, kinds[p->o->kind], is);
}

static int read_mapping(struct reader *r, const struct metallm__option *table, const char *path,
                        const yaml_node_t *node, void *record);

/* A text with what it refers to put in its place, as a part of the config's memory. */
static int read_text(struct reader *r, const struct place *p, const yaml_node_t *node, char **out)
{
    const enum metallm__option_kind kind = p->o->kind;
    const bool is_key = kind == METALLM__OPT_SECRET || kind == METALLM__OPT_SECRETS;
    const struct metallm__value v = {.option = p->option,
                                     .line = line_of(r, node),
                                     .text = text_of(node),
                                     .is_secret = is_key || kind == METALLM__OPT_HEADERS,
                                     .is_referred = is_key || p->is_key};
    if (r->keeps_places && memmem(v.text.bytes, v.text.len, "${", 2) != NULL)
        r->in->places[r->in->place_count - 1].is_hidden = true;
    return metallm__value_text(r->in, &v, out, r->err);
}

static int read_scalar(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || is_null(node))
        return wrong_kind(r, p, node);
    char *text;
    int rc = read_text(r, p, node, &text);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__value v = {
        .option = p->option, .line = line_of(r, node), .text = text_of(node)};
    return metallm__value_set(r->in, &v, p->o, text, p->record, r->err);
}

static int read_texts(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    bool is_list = node->type == YAML_SEQUENCE_NODE;
    if (node->type == YAML_MAPPING_NODE || is_null(node))
        return wrong_kind(r, p, node);
    size_t count =
        is_list ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start) : 1;
    if (count > p->o->most)
        return metallm__config_refuse(r->in, line_of(r, node), r->err, "%s: at most %u entries",
                                      p->option, p->o->most);
    char **items = metallm__config_alloc(r->in, count, sizeof *items);
    uint32_t taken = 0;
    if (items == NULL)
        return metallm__error_nomem(r->err, "a configuration");
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = is_list ? node_at(r, node->data.sequence.items.start[i]) : node;
        if (item->type != YAML_SCALAR_NODE || is_null(item))
            return wrong_kind(r, p, item);
        int rc = ++r->values > VALUES_MAX
                     ? metallm__config_refuse(r->in, line_of(r, item), r->err, "too many values")
                     : read_text(r, p, item, &items[taken]);
        if (rc != METALLM_OK)
            return rc;
        if (items[taken][0] != '\0')
            taken++;
        else if (p->o->kind != METALLM__OPT_SECRETS)
            return metallm__config_refuse(r->in, line_of(r, item), r->err, "%s: an empty text",
                                          p->option);
    }
    *(struct metallm__strings *)((char *)p->record + p->o->offset) =
        (struct metallm__strings){(const char *const *)items, taken};
    return METALLM_OK;
}

/* Whether a header of this name bears a key. */
static bool bears_key(const char *name)
{
    static const char *const ends[] = {"api-key", "subscription-key", "-token",
                                       "-secret", "-authorization",   "cookie"};
    const size_t len = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t end = strlen(ends[i]);
        if (len >= end && strcasecmp(name + len - end, ends[i]) == 0)
            return true;
    }
    return false;
}

/* The text of one header, which has a place of its own in messages where it bears a key. */
static int read_header(struct reader *r, const struct place *p, const char *name,
                       const yaml_node_t *node, char **out)
{
    char option[OPTION_BYTES + METALLM__SHOWN_BYTES], shown[METALLM__SHOWN_BYTES];
    if (!bears_key(name))
        return read_text(r, p, node, out);
    snprintf(option, sizeof option, "%s.%s", p->option,
             metallm__text_show(shown, metallm__span_of(name)));
    const struct place own = {.option = option, .o = p->o, .is_key = true};
    return read_text(r, &own, node, out);
}

static int read_headers(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    if (node->type != YAML_MAPPING_NODE)
        return wrong_kind(r, p, node);
    const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
    size_t count = (size_t)(node->data.mapping.pairs.top - pairs);
    if (count > p->o->most)
        return metallm__config_refuse(r->in, line_of(r, node), r->err, "%s: at most %u entries",
                                      p->option, p->o->most);
    struct metallm__config_header *items = metallm__config_alloc(r->in, count, sizeof *items);
    if (items == NULL)
        return metallm__error_nomem(r->err, "a configuration");
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *key = node_at(r, pairs[i].key), *value = node_at(r, pairs[i].value);
        char *name, *text;
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE || is_null(value))
            return wrong_kind(r, p, value);
        if (++r->values > VALUES_MAX)
            return metallm__config_refuse(r->in, line_of(r, key), r->err, "too many values");
        name = metallm__config_text(r->in, text_of(key).bytes, text_of(key).len);
        if (name == NULL)
            return metallm__error_nomem(r->err, "a configuration");
        int rc = read_header(r, p, name, value, &text);
        if (rc != METALLM_OK)
            return rc;
        items[i] = (struct metallm__config_header){line_of(r, key), name, text};
    }
    *(struct metallm__config_headers *)((char *)p->record + p->o->offset) =
        (struct metallm__config_headers){items, (uint32_t)count};
    return METALLM_OK;
}

/* A scalar in place of a list: one record, of which it is one member. */
static int read_brief(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    void *record = metallm__config_alloc(r->in, 1, p->o->record_bytes);
    if (record == NULL)
        return metallm__error_nomem(r->err, "a configuration");
    *(uint32_t *)record = line_of(r, node);
    int rc = metallm__config_defaults(r->in, p->o->members, record, r->err);
    const struct place one = {.option = p->option,
                              .o = metallm__option_find(p->o->members, p->o->brief),
                              .record = record};
    if (rc == METALLM_OK)
        rc = read_scalar(r, &one, node);
    *(struct metallm__raw_list *)((char *)p->record + p->o->offset) =
        (struct metallm__raw_list){record, 1};
    return rc;
}

static int read_records(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    bool is_one = node->type == YAML_MAPPING_NODE && (p->o->flags & METALLM__OPT_ONE) != 0;
    if (is_null(node) && (p->o->flags & METALLM__OPT_NEEDED) == 0)
        return METALLM_OK;
    if (node->type == YAML_SCALAR_NODE && p->o->brief != NULL)
        return read_brief(r, p, node);
    if (node->type != YAML_SEQUENCE_NODE && !is_one)
        return wrong_kind(r, p, node);
    const yaml_node_item_t *list = node->data.sequence.items.start;
    size_t count = is_one ? 1 : (size_t)(node->data.sequence.items.top - list);
    if (count > p->o->most)
        return metallm__config_refuse(r->in, line_of(r, node), r->err, "%s: at most %u entries",
                                      p->option, p->o->most);
    char *items = metallm__config_alloc(r->in, count, p->o->record_bytes);
    if (items == NULL)
        return metallm__error_nomem(r->err, "a configuration");
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = is_one ? node : node_at(r, list[i]);
        char path[OPTION_BYTES];
        void *record = items + i * p->o->record_bytes;
        snprintf(path, sizeof path, "%.100s[%u]", p->option, (unsigned)i);
        if (item->type != YAML_MAPPING_NODE)
            return wrong_kind(r, p, item);
        *(uint32_t *)record = line_of(r, item);
        int rc = metallm__config_defaults(r->in, p->o->members, record, r->err);
        if (rc == METALLM_OK)
            rc = keep_place(r, path, item);
        if (rc == METALLM_OK)
            rc = read_mapping(r, p->o->members, path, item, record);
        if (rc != METALLM_OK)
            return rc;
    }
    *(struct metallm__raw_list *)((char *)p->record + p->o->offset) =
        (struct metallm__raw_list){items, (uint32_t)count};
    return METALLM_OK;
}

static int read_group(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    if (is_null(node))
        return METALLM_OK;
    if (node->type == YAML_MAPPING_NODE)
        return read_mapping(r, p->o->members, p->option, node, p->record);
    if (p->o->brief == NULL || node->type != YAML_SCALAR_NODE)
        return wrong_kind(r, p, node);
    const struct place one = {.option = p->option,
                              .o = metallm__option_find(p->o->members, p->o->brief),
                              .record = p->record};
    return read_scalar(r, &one, node);
}

static int read_value(struct reader *r, const struct place *p, const yaml_node_t *node)
{
    if (++r->values > VALUES_MAX)
        return metallm__config_refuse(r->in, line_of(r, node), r->err, "too many values");
    switch (p->o->kind) {
    case METALLM__OPT_GROUP:
        return read_group(r, p, node);
    case METALLM__OPT_RECORDS:
        return read_records(r, p, node);
    case METALLM__OPT_TEXTS:
    case METALLM__OPT_SECRETS:
        return read_texts(r, p, node);
    case METALLM__OPT_HEADERS:
        return read_headers(r, p, node);
    default:
        return read_scalar(r, p, node);
    }
}

/* A key is a text that this table knows and that was not there before. */
static int find_option(struct reader *r, const struct metallm__option *table, const char *path,
                       const yaml_node_t *node, const yaml_node_pair_t *pair,
                       const struct metallm__option **out)
{
    const yaml_node_t *key = node_at(r, pair->key);
    if (key->type != YAML_SCALAR_NODE)
        return metallm__config_refuse(r->in, line_of(r, key), r->err, "%s: a key is no text",
                                      path[0] != '\0' ? path : "configuration");
    const struct metallm__option *o = table;
    while (o->name != NULL && !metallm__span_is(text_of(key), o->name))
        o++;
    if (o->name == NULL)
        return unknown_key(r, table, path, key);
    for (const yaml_node_pair_t *i = node->data.mapping.pairs.start; i < pair; i++) {
        const yaml_node_t *before = node_at(r, i->key);
        if (before->type == YAML_SCALAR_NODE && metallm__span_is(text_of(before), o->name))
            return metallm__config_refuse(r->in, line_of(r, key), r->err,
                                          "%s%s%s: stands twice, first in line %u", path,
                                          path[0] != '\0' ? "." : "", o->name, line_of(r, before));
    }
    *out = o;
    return METALLM_OK;
}

static int read_mapping(struct reader *r, const struct metallm__option *table, const char *path,
                        const yaml_node_t *node, void *record)
{
    uint64_t seen = 0; /* tables are shorter than 64 */
    for (const yaml_node_pair_t *i = node->data.mapping.pairs.start;
         i < node->data.mapping.pairs.top; i++) {
        const struct metallm__option *o = NULL;
        char option[OPTION_BYTES];
        int rc = find_option(r, table, path, node, i, &o);
        if (rc != METALLM_OK)
            return rc;
        snprintf(option, sizeof option, "%.110s%s%.40s", path, path[0] != '\0' ? "." : "", o->name);
        const struct place p = {.option = option, .o = o, .record = record};
        rc = keep_place(r, option, node_at(r, i->key));
        if (rc == METALLM_OK)
            rc = read_value(r, &p, node_at(r, i->value));
        if (rc != METALLM_OK)
            return rc;
        seen |= (uint64_t)1 << (o - table);
    }
    for (const struct metallm__option *o = table; o->name != NULL; o++)
        if ((o->flags & METALLM__OPT_NEEDED) != 0 && (seen >> (o - table) & 1) == 0)
            return metallm__config_refuse(r->in, line_of(r, node), r->err, "%s%s%s: is missing",
                                          path, path[0] != '\0' ? "." : "", o->name);
    return METALLM_OK;
}

static int load(struct reader *r, const char *bytes, size_t len)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return metallm__error_nomem(r->err, "a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, len);
    int rc = METALLM_OK;
    if (yaml_parser_load(&parser, &r->doc) == 0) {
        uint32_t line = (uint32_t)parser.problem_mark.line + 1;
        rc = parser.error == YAML_MEMORY_ERROR
                 ? metallm__error_nomem(r->err, "a configuration")
                 : metallm__config_refuse(r->in, r->keeps_places ? line : 0, r->err, "not YAML: %s",
                                          parser.problem != NULL ? parser.problem : "unreadable");
    }
    yaml_parser_delete(&parser);
    return rc;
}

static int read_document(struct reader *r, const struct metallm__option *table, const char *path,
                         const char *bytes, size_t len, void *record)
{
    if (len > METALLM__CONFIG_BYTES_MAX)
        return metallm__error_set(r->err, METALLM_ELIMIT, "'%.100s' is no configuration: %zu bytes",
                                  r->in->raw.c.path, len);
    if (memchr(bytes, '\0', len) != NULL)
        return metallm__config_refuse(r->in, r->keeps_places, r->err, "not YAML: holds a NUL byte");
    int rc = load(r, bytes, len);
    if (rc != METALLM_OK)
        return rc;
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    if (root == NULL || root->type != YAML_MAPPING_NODE)
        rc =
            metallm__config_refuse(r->in, r->keeps_places, r->err,
                                   root == NULL ? "the file is empty" : "wants 'key: value' lines");
    else
        rc = read_mapping(r, table, path, root, record);
    yaml_document_delete(&r->doc);
    return rc;
}

int metallm__config_read(struct metallm__config_inner *in, const char *bytes, size_t len,
                         metallm_error *err)
{
    struct reader r = {.in = in, .keeps_places = true, .err = err};
    int rc = metallm__config_defaults(in, metallm__config_options, &in->raw, err);
    return rc == METALLM_OK ? read_document(&r, metallm__config_options, "", bytes, len, &in->raw)
                            : rc;
}

int metallm__config_read_record(struct metallm__config_inner *in,
                                const struct metallm__option *table, const char *path,
                                const char *text, size_t len, void *record, metallm_error *err)
{
    struct reader r = {.in = in, .err = err};
    return read_document(&r, table, path, text, len, record);
}
