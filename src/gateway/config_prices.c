/* SPDX-License-Identifier: Apache-2.0
 * config_prices.c - what each model of a config costs: as it says itself, else as the price file
 * says of its name, else as the price file or the table that is compiled in says of its upstream
 * model. And where a price is needed, but none is known. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "data/prices.h"
#include "gateway/config_builder.h"

struct pricer {
    const struct metallm__builder *b;
    struct metallm__prices file, table;
    bool has_table; /* read when it is first asked for */
    int today;
};

/* Copies the prices of this name, sorted by day, into the config's memory. */
static int take(struct pricer *p, const struct metallm__prices *from, const char *name,
                enum metallm__price_from source, struct metallm__config_model *m)
{
    uint32_t count = 0;
    for (size_t i = 0; i < from->count; i++)
        count += strcmp(from->items[i].model, name) == 0;
    if (count == 0)
        return METALLM_OK;
    struct metallm__price *items = metallm__config_alloc(p->b->in, count, sizeof *items);
    char *text = metallm__config_text(p->b->in, name, strlen(name));
    if (items == NULL || text == NULL)
        return metallm__error_nomem(p->b->err, "a configuration");
    count = 0;
    for (size_t i = 0; i < from->count; i++) {
        if (strcmp(from->items[i].model, name) != 0)
            continue;
        struct metallm__price one = from->items[i];
        uint32_t at = count++;
        one.model = one.source = NULL; /* stay the list's */
        for (; at > 0 && items[at - 1].from > one.from; at--)
            items[at] = items[at - 1];
        items[at] = one;
    }
    m->known_prices = items;
    m->known_count = count;
    m->priced_by = source;
    m->price_name = text;
    return METALLM_OK;
}

/* By the price file, else by the table. */
static int look_up(struct pricer *p, const char *name, struct metallm__config_model *m)
{
    int rc = take(p, &p->file, name, METALLM__PRICE_FROM_FILE, m);
    if (rc != METALLM_OK || m->known_count > 0)
        return rc;
    if (!p->has_table)
        rc = metallm__prices_known(&p->table, p->b->err);
    p->has_table |= rc == METALLM_OK;
    return rc == METALLM_OK ? take(p, &p->table, name, METALLM__PRICE_FROM_TABLE, m) : rc;
}

bool metallm__config_price_name(const struct metallm__config_model *m, char *out)
{
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        char name[METALLM__PRICE_NAME_BYTES];
        if (!metallm__price_name(name, m->deployments[i].base_url, m->deployments[i].model) ||
            (i > 0 && strcmp(name, out) != 0))
            return false;
        memcpy(out, name, sizeof name);
    }
    return true;
}

/* "price: table", or "price: {table: NAME}": what the table must know. */
static int price_as_stated(struct pricer *p, size_t at, const char *wanted,
                           struct metallm__config_model *m)
{
    char option[METALLM__OPTION_BYTES], name[METALLM__PRICE_NAME_BYTES];
    metallm__builder_option(option, "models", at, "price");
    m->prices = NULL;
    m->price_count = 0;
    if (strcmp(wanted, "table") == 0) {
        if (!metallm__config_price_name(m, name))
            return metallm__builder_refuse(
                p->b, m->line, option,
                "the table does not know the host of '%.80s': name the model as "
                "{table: PLATFORM/NAME}",
                m->deployments[0].base_url);
        wanted = name;
    }
    int rc = look_up(p, wanted, m);
    if (rc == METALLM_OK && m->known_count == 0)
        rc = metallm__builder_refuse(
            p->b, m->line, option,
            "the table knows no '%.100s' (metallm prices lists what it knows)", wanted);
    return rc;
}

static bool holds_today(const struct metallm__config_model *m, int today)
{
    for (uint32_t i = 0; i < m->price_count; i++)
        if (m->prices[i].from <= today)
            return true;
    return m->known_count > 0 && m->known_prices[0].from <= today;
}

static int price_model(struct pricer *p, size_t at, struct metallm__config_model *m)
{
    char name[METALLM__PRICE_NAME_BYTES];
    int rc = METALLM_OK;
    m->price_name = "";
    if (m->price_count > 0 && m->prices[0].table[0] != '\0')
        rc = price_as_stated(p, at, m->prices[0].table, m);
    else if (m->price_count > 0)
        m->priced_by = METALLM__PRICE_FROM_CONFIG;
    else
        rc = take(p, &p->file, m->name, METALLM__PRICE_FROM_FILE, m);
    if (rc == METALLM_OK && m->priced_by == METALLM__PRICE_FROM_NOWHERE &&
        metallm__config_price_name(m, name))
        rc = look_up(p, name, m);
    m->has_price = holds_today(m, p->today);
    return rc;
}

/* ---- Where a price is needed. ---- */

static int need_price(const struct pricer *p, uint32_t line, const char *option, uint32_t model)
{
    const struct metallm__config_model *m = &p->b->c->models[model];
    if (m->has_price || m->drained || m->retired)
        return METALLM_OK;
    return metallm__builder_refuse(
        p->b, line, option,
        "needs the price of every model, and that of '%.60s' is not known: "
        "models[%u].price",
        m->name, model);
}

static const char *why_router(const struct metallm__config_router *r)
{
    return r->dial > 0             ? "dial"
           : !isnan(r->target)     ? "target"
           : !isnan(r->budget_usd) ? "budget"
                                   : NULL;
}

static int check_router(const struct pricer *p, size_t at, const struct metallm__config_router *r)
{
    char option[METALLM__OPTION_BYTES];
    const char *why = why_router(r);
    int rc = METALLM_OK;
    if (why == NULL)
        return METALLM_OK;
    metallm__builder_option(option, "routers", at, why);
    for (uint32_t i = 0; rc == METALLM_OK && i < r->model_count; i++)
        rc = need_price(p, r->line, option, r->models[i]);
    return rc;
}

static int check_alias(const struct pricer *p, size_t at, const struct metallm__config_alias *a)
{
    char option[METALLM__OPTION_BYTES];
    const char *why = a->dial > 0 ? "dial" : !isnan(a->target) ? "target" : NULL;
    if (why == NULL || a->router == METALLM__CONFIG_NONE)
        return METALLM_OK;
    const struct metallm__config_router *r = &p->b->c->routers[a->router];
    const uint32_t *models = a->model_count > 0 ? a->models : r->models;
    uint32_t count = a->model_count > 0 ? a->model_count : r->model_count;
    int rc = METALLM_OK;
    metallm__builder_option(option, "aliases", at, why);
    for (uint32_t i = 0; rc == METALLM_OK && i < count; i++)
        rc = need_price(p, a->line, option, models[i]);
    return rc;
}

int metallm__build_prices(const struct metallm__builder *b, struct metallm__config_model *models)
{
    const struct metallm__config *c = b->c;
    struct pricer p = {.b = b, .today = metallm__day_today()};
    int rc = METALLM_OK;
    if (c->prices[0] != '\0')
        rc = metallm__prices_read(&p.file, c->prices, b->err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(b->err, rc, "%s: prices", c->path);
    for (uint32_t i = 0; rc == METALLM_OK && i < c->model_count; i++)
        rc = price_model(&p, i, &models[i]);
    for (uint32_t i = 0; rc == METALLM_OK && i < c->router_count; i++)
        rc = check_router(&p, i, &c->routers[i]);
    for (uint32_t i = 0; rc == METALLM_OK && i < c->alias_count; i++)
        rc = check_alias(&p, i, &c->aliases[i]);
    metallm__prices_fini(&p.file);
    metallm__prices_fini(&p.table);
    return rc;
}
