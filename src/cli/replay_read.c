/* SPDX-License-Identifier: Apache-2.0
 * replay_read.c - see replay_read.h. */
#include "cli/replay_read.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/read.h"
#include "data/table.h"

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

struct reading {
    const struct cli_io *io;
    const struct cli_inputs_options *opts;
    const metallm_read_options *read;
    const metallm_router *router;
    struct metallm__rows *rows;
    metallm_outcomes *o;
    bool has_found; /* a usable row */
};

/* A block that is read whole: its prices, vectors and estimates. */
static int take_block(void *payload, const metallm_outcomes *block, metallm_error *err)
{
    struct reading *r = payload;
    METALLM_REQUIRE(block == r->o);
    r->has_found = true;
    int rc = metallm__read_prices(r->o, r->read, NULL, err);
    return rc == METALLM_OK ? add_table(r->io, r->opts, r->router, block, r->rows, err) : rc;
}

/* One file, block by block. A file met in a folder may be anything: one of no known format is told
 * and passed over. */
static int add_file(struct reading *r, const struct metallm__file *f, metallm_error *err)
{
    const struct metallm__block_sink blocks = {BLOCK, take_block, r};
    const char *format = "";
    metallm_error why = {0};
    int rc = metallm__read_blocks(r->o, f->path, r->read, &blocks, NULL, &format, &why);
    if (rc != METALLM_OK && format == NULL && !f->is_named && !r->read->is_strict) {
        r->read->problem(r->read->problem_payload, why.message);
        rc = METALLM_OK;
    } else if (rc != METALLM_OK) {
        metallm__error_set(err, rc, "%s", why.message);
    }
    if (rc == METALLM_OK && metallm_outcomes_query_count(r->o) > 0)
        rc = take_block(r, r->o, err);
    metallm__outcomes_clear(r->o);
    return rc;
}

static int add_files(const struct reading *what, const char *const *paths, size_t count,
                     metallm_error *err)
{
    struct reading r = *what;
    struct cli_problems problems;
    const metallm_read_options read = cli_inputs_read_options(r.io, r.opts, &problems);
    struct metallm__files files = {0};
    size_t repeats = 0;
    r.read = &read;
    int rc = metallm_outcomes_new(&r.o, err);
    for (size_t i = 0; i < count && rc == METALLM_OK; i++)
        rc = metallm__files_add(&files, paths[i], &repeats, err);
    if (rc == METALLM_OK && repeats > 0)
        fprintf(r.io->err, "metallm: %zu files were given twice and are read once\n", repeats);
    for (size_t i = 0; i < files.count && rc == METALLM_OK; i++)
        rc = add_file(&r, &files.items[i], err);
    if (rc == METALLM_OK && !r.has_found)
        rc = metallm__error_set(err, METALLM_EFORMAT, "no usable row in '%s'%s", paths[0],
                                count > 1 ? " and the other files" : "");
    cli_problems_end(&problems);
    metallm__files_fini(&files);
    metallm_outcomes_free(r.o);
    return rc;
}

/* A store, or files that belong together (RouterArena's costs come in one of their own). */
static int add_whole(const struct reading *r, const char *const *paths, size_t count,
                     metallm_error *err)
{
    metallm_outcomes *o = NULL, *part = NULL;
    int rc = cli_inputs_load(r->io, r->opts, paths, count, &o, err);
    const size_t n = rc == METALLM_OK ? metallm_outcomes_query_count(o) : 0;
    if (rc == METALLM_OK && n <= BLOCK)
        rc = add_table(r->io, r->opts, r->router, o, r->rows, err);
    for (size_t first = 0; n > BLOCK && first < n && rc == METALLM_OK; first += BLOCK) {
        rc = copy_block(o, first, n - first < BLOCK ? n - first : BLOCK, &part, err);
        if (rc == METALLM_OK)
            rc = add_table(r->io, r->opts, r->router, part, r->rows, err);
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
    const struct reading r = {.io = io, .opts = opts, .router = router, .rows = rows};
    bool is_whole = count == 0;
    for (size_t i = 0; i < count && !is_whole; i++) {
        int rc = metallm__is_cost_file(files[i], &is_whole, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return is_whole ? add_whole(&r, files, count, err) : add_files(&r, files, count, err);
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
