/* SPDX-License-Identifier: Apache-2.0
 * config_changes.c - the admin API's changes, applied over the file's records before they are
 * checked. What each kind holds (docs/operations.md):
 *   model   a model as in the file; left out where the file names that model itself
 *   price   {"price": ...} as in the file; in place of the file's
 *   state   {"state": "serving" | "drained" | "retired"}
 *   router  {"dial": ...}, {"target": ...} or {"budget": {...}}; in place of the file's three
 * A change of what is no longer there is left out; it holds again when that is back. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "gateway/config_table.h"

struct state_change {
    int state;
};
static const struct metallm__option state_options[] = {
    {.name = "state",
     .kind = METALLM__OPT_CHOICE,
     .flags = METALLM__OPT_NEEDED,
     .offset = offsetof(struct state_change, state),
     .choices = "serving|drained|retired"},
    {.name = NULL},
};

static struct metallm__raw_model *find_model(struct metallm__config_inner *in, const char *name)
{
    struct metallm__raw_model *list = in->raw.models.items;
    for (uint32_t i = 0; i < in->raw.models.count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static int apply_model(struct metallm__config_inner *in, const struct metallm__config_change *c,
                       metallm_error *err)
{
    struct metallm__raw_list *models = &in->raw.models;
    if (find_model(in, c->name) != NULL)
        return METALLM_OK;
    if (models->count == METALLM__CONFIG_MODELS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u models",
                                  METALLM__CONFIG_MODELS_MAX);
    struct metallm__raw_model *more =
        metallm__config_alloc(in, (size_t)models->count + 1, sizeof *more);
    if (more == NULL)
        return metallm__error_nomem(err, "a configuration");
    memcpy(more, models->items, models->count * sizeof *more);
    struct metallm__raw_model *m = &more[models->count];
    int rc = metallm__config_defaults(in, metallm__model_options, m, err);
    if (rc == METALLM_OK)
        rc = metallm__config_read_record(in, metallm__model_options, "", c->json, strlen(c->json),
                                         m, err);
    if (rc == METALLM_OK && strcmp(m->name, c->name) != 0)
        rc = metallm__error_set(err, METALLM_EFORMAT, "name is '%.60s'", m->name);
    m->by_admin = true;
    *models = (struct metallm__raw_list){more, models->count + 1};
    return rc;
}

static int apply_price(struct metallm__config_inner *in, const struct metallm__config_change *c,
                       metallm_error *err)
{
    struct metallm__raw_model *m = find_model(in, c->name), fresh = {0};
    if (m == NULL)
        return METALLM_OK;
    const struct metallm__option table[] = {*metallm__option_find(metallm__model_options, "price"),
                                            {.name = NULL}};
    int rc = metallm__config_read_record(in, table, "", c->json, strlen(c->json), &fresh, err);
    if (rc == METALLM_OK)
        m->prices = fresh.prices;
    return rc;
}

static int apply_state(struct metallm__config_inner *in, const struct metallm__config_change *c,
                       metallm_error *err)
{
    struct metallm__raw_model *m = find_model(in, c->name);
    struct state_change change = {0};
    if (m == NULL)
        return METALLM_OK;
    int rc =
        metallm__config_read_record(in, state_options, "", c->json, strlen(c->json), &change, err);
    if (rc == METALLM_OK)
        m->state = change.state;
    return rc;
}

static int apply_router(struct metallm__config_inner *in, const struct metallm__config_change *c,
                        metallm_error *err)
{
    struct metallm__raw_router *r = in->raw.routers.items, fresh = {0};
    uint32_t i = 0;
    while (i < in->raw.routers.count && strcmp(r[i].name, c->name) != 0)
        i++;
    if (i == in->raw.routers.count)
        return METALLM_OK;
    const struct metallm__option table[] = {
        *metallm__option_find(metallm__router_options, "dial"),
        *metallm__option_find(metallm__router_options, "target"),
        *metallm__option_find(metallm__router_options, "budget"),
        {.name = NULL}};
    int rc = metallm__config_defaults(in, table, &fresh, err);
    if (rc == METALLM_OK)
        rc = metallm__config_read_record(in, table, "", c->json, strlen(c->json), &fresh, err);
    if (rc != METALLM_OK)
        return rc;
    if (!isnan(fresh.dial) + !isnan(fresh.target) + !isnan(fresh.budget_usd) != 1)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "give one of dial, target and budget (with usd)");
    r[i].dial = fresh.dial;
    r[i].target = fresh.target;
    r[i].budget_usd = fresh.budget_usd;
    r[i].budget_per = fresh.budget_per;
    r[i].by_admin = true;
    return METALLM_OK;
}

int metallm__config_apply(struct metallm__config_inner *in,
                          const struct metallm__config_changes *changes, metallm_error *err)
{
    static const struct {
        const char *kind;
        int (*apply)(struct metallm__config_inner *in, const struct metallm__config_change *c,
                     metallm_error *err);
    } kinds[] = {/* in this order: a model is there before its price and state change */
                 {"model", apply_model},
                 {"price", apply_price},
                 {"state", apply_state},
                 {"router", apply_router}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (uint32_t i = 0; i < changes->count; i++) {
            const struct metallm__config_change *c = &changes->items[i];
            if (strcmp(c->kind, kinds[k].kind) != 0)
                continue;
            int rc = kinds[k].apply(in, c, err);
            if (rc != METALLM_OK)
                return metallm__error_prefix(err, rc, "admin change of %s '%.60s'", c->kind,
                                             c->name);
        }
    return METALLM_OK;
}
