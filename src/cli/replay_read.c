/* SPDX-License-Identifier: Apache-2.0
 * replay_read.c - see replay_read.h. */
#include "cli/replay_read.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/read.h"

enum { BLOCK = 8192 };

/* Queries [first, first + count) of o as a table of their own. */
static int copy_block(const metallm_outcomes *o, size_t first, size_t count, metallm_outcomes **out,
                      metallm_error *err)
{
    metallm_outcomes *part = NULL;
    int rc = metallm_outcomes_new(&part, err);
    const uint32_t models = metallm_outcomes_model_count(o);
    uint32_t model;
    size_t query;
    for (uint32_t m = 0; m < models && rc == METALLM_OK; m++)
        rc = metallm_outcomes_add_model(part, metallm_outcomes_model_name(o, m), &model, err);
    for (size_t i = first; i < first + count && rc == METALLM_OK; i++) {
        const metallm_query q = metallm_outcomes_query(o, i);
        rc = metallm_outcomes_add_query(part, &q, &query, err);
        for (uint32_t m = 0; m < models && rc == METALLM_OK; m++) {
            const metallm_outcome cell = metallm_outcomes_get(o, i, m);
            rc = metallm_outcomes_set(part, query, m, &cell, err);
        }
    }
    if (rc != METALLM_OK) {
        metallm_outcomes_free(part);
        return rc;
    }
    *out = part;
    return METALLM_OK;
}

static int add_table(const struct cli_io *io, const struct cli_inputs_options *opts,
                     const metallm_router *router, const metallm_outcomes *o,
                     struct metallm__rows *rows, metallm_error *err)
{
    struct cli_tiers tiers = {0};
    int rc = cli_inputs_tiers(io, opts, router, o, &tiers, err);
    if (rc == METALLM_OK)
        rc = metallm__rows_add(rows, o, &tiers.fine.vectors, tiers.cheap, err);
    cli_tiers_fini(&tiers);
    return rc;
}

static int add_files(const struct cli_io *io, const struct cli_inputs_options *opts,
                     const metallm_router *router, const char *const *files, size_t count,
                     struct metallm__rows *rows, metallm_error *err)
{
    metallm_outcomes *o = NULL, *part = NULL;
    int rc = cli_inputs_load(io, opts, files, count, &o, err);
    const size_t n = rc == METALLM_OK ? metallm_outcomes_query_count(o) : 0;
    if (rc == METALLM_OK && n <= BLOCK)
        rc = add_table(io, opts, router, o, rows, err);
    for (size_t first = 0; n > BLOCK && first < n && rc == METALLM_OK; first += BLOCK) {
        rc = copy_block(o, first, n - first < BLOCK ? n - first : BLOCK, &part, err);
        if (rc == METALLM_OK)
            rc = add_table(io, opts, router, part, rows, err);
        metallm_outcomes_free(part);
        part = NULL;
    }
    metallm_outcomes_free(o);
    return rc;
}

int cli_replay_read(const struct cli_io *io, const struct cli_inputs_options *opts,
                    const metallm_router *router, const char *const *files, size_t count,
                    struct metallm__rows *rows, metallm_error *err)
{
    bool is_whole = count == 0;
    for (size_t i = 0; i < count && !is_whole; i++) {
        int rc = metallm__is_cost_file(files[i], &is_whole, err);
        if (rc != METALLM_OK)
            return rc;
    }
    if (is_whole)
        return add_files(io, opts, router, files, count, rows, err);
    for (size_t i = 0; i < count; i++) {
        int rc = add_files(io, opts, router, files + i, 1, rows, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

int cli_replay_models(const metallm_router *r, const char *list, uint8_t **out, metallm_error *err)
{
    const uint32_t count = metallm_router_model_count(r);
    uint8_t *flags = metallm__calloc(count, 1);
    if (flags == NULL)
        return metallm__error_nomem(err, "a set of models");
    for (const char *at = list; *at != '\0';) {
        const size_t len = strcspn(at, ",");
        uint32_t m = 0;
        while (m < count && (strlen(metallm_router_model_name(r, m)) != len ||
                             memcmp(metallm_router_model_name(r, m), at, len) != 0))
            m++;
        if (m == count) {
            metallm__free(flags);
            return metallm__error_set(err, METALLM_ENOTFOUND, "the router has no model '%.*s'",
                                      (int)len, at);
        }
        flags[m] = 1;
        at += len + (at[len] == ',');
    }
    *out = flags;
    return METALLM_OK;
}
