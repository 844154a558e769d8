/* SPDX-License-Identifier: Apache-2.0
 * keys_prices.c - a client key with a budget needs the price of every model that it may reach. */
#include <math.h>

#include "base/error.h"
#include "gateway/config_table.h"
#include "gateway/keys.h"

static bool may_reach(const struct metallm__config *c, const struct metallm__key *k, uint32_t model)
{
    if (metallm__key_allows_model(k, c->models[model].name))
        return true;
    for (uint32_t r = 0; r < c->router_count; r++)
        for (uint32_t i = 0; i < c->routers[r].model_count; i++)
            if (c->routers[r].models[i] == model &&
                metallm__key_allows_router(k, c->routers[r].name))
                return true;
    return false;
}

int metallm__key_prices(const struct metallm__key *k, const struct metallm__config *c,
                        uint64_t wall_ms, metallm_error *err)
{
    bool is_over = k->revoked_ms != 0 || (k->expires_ms != 0 && k->expires_ms <= wall_ms);
    if (isnan(k->budget_usd) || is_over)
        return METALLM_OK;
    for (uint32_t m = 0; m < c->model_count; m++) {
        const struct metallm__config_model *model = &c->models[m];
        if (model->has_price || model->drained || model->retired || !may_reach(c, k, m))
            continue;
        return metallm__config_refuse(
            c->inner, model->line, err,
            "models[%u].price: of '%.60s' is not known, and the client key %s '%.40s' has a budget",
            m, model->name, k->id, k->name);
    }
    return METALLM_OK;
}

int metallm__keyring_prices(const struct metallm__keyring *r, const struct metallm__config *c,
                            uint64_t wall_ms, metallm_error *err)
{
    int rc = METALLM_OK;
    for (uint32_t i = 0; rc == METALLM_OK && i < metallm__keyring_count(r); i++)
        rc = metallm__key_prices(metallm__keyring_at(r, i), c, wall_ms, err);
    return rc;
}
