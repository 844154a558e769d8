/* SPDX-License-Identifier: Apache-2.0
 * inputs.c - see inputs.h: options and reading. Vectors: features.c. */
#include "cli/inputs.h"

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/read.h"
#include "store/store.h"

#define OFFSET(field) offsetof(struct cli_inputs_options, field)

const struct cli_option cli_inputs_table[] = {
    {.name = "format",
     .kind = CLI_STRING,
     .offset = OFFSET(format),
     .arg = "NAME",
     .help = "format of the files: routerbench, routellm, routerdc, paretobandit, llmrouter, "
             "routerarena, long or wide; told from the bytes without it"},
    {.name = "task",
     .kind = CLI_STRING,
     .offset = OFFSET(task),
     .arg = "NAME",
     .help = "task of every row read from files; from a store, only this task"},
    {.name = "split",
     .kind = CLI_STRING,
     .offset = OFFSET(split),
     .arg = "NAME",
     .help = "split of every row read from files; from a store, only this split"},
    {.name = "prices",
     .kind = CLI_STRING,
     .offset = OFFSET(prices),
     .arg = "FILE",
     .help = "price file (YAML) that fills in costs the outcomes do not carry"},
    {.name = "prices-on",
     .kind = CLI_STRING,
     .offset = OFFSET(prices_on),
     .arg = "DAY",
     .help = "day, as YYYY-MM-DD, whose prices hold; today without it"},
    {.name = "strict",
     .kind = CLI_FLAG,
     .offset = OFFSET(is_strict),
     .help = "refuse a file at its first bad row or cell instead of telling and skipping it"},
    {.name = "store",
     .kind = CLI_STRING,
     .offset = OFFSET(store),
     .arg = "URL",
     .help = "store of outcomes and vectors: sqlite:PATH"},
    {.name = "encoder",
     .kind = CLI_STRING,
     .offset = OFFSET(encoder),
     .arg = "NAME",
     .help = "what makes vectors of prompts: minilm, hash, ...; the router's own where there is "
             "one, else minilm"},
    {.name = "precision",
     .kind = CLI_STRING,
     .offset = OFFSET(precision),
     .arg = "NAME",
     .help = "fp32, bf16, int8 or auto: the encoder's arithmetic"},
    {.name = "weights",
     .kind = CLI_STRING,
     .offset = OFFSET(weights),
     .arg = "FOLDER",
     .help = "folder of the encoder's weights; the cache folder's without it"},
    {.name = "threads",
     .kind = CLI_COUNT,
     .offset = OFFSET(threads),
     .arg = "N",
     .low = 0,
     .high = 1024,
     .help = "threads of the encoder; 0: one a processor"},
    {0},
};

void cli_problems_tell(void *payload, const char *message)
{
    struct cli_problems *p = payload;
    if (p->told < CLI_PROBLEMS_TOLD) {
        p->told++;
        fprintf(p->err, "metallm: %s\n", message);
    } else {
        p->kept_back++;
    }
}

void cli_problems_end(const struct cli_problems *p)
{
    if (p->kept_back > 0)
        fprintf(p->err, "metallm: and %zu problems more\n", p->kept_back);
}

metallm_read_options cli_inputs_read_options(const struct cli_io *io,
                                             const struct cli_inputs_options *opts,
                                             struct cli_problems *problems)
{
    *problems = (struct cli_problems){.err = io->err};
    return (metallm_read_options){
        .format = opts->format,
        .task = opts->task,
        .split = opts->split,
        .prices = opts->prices,
        .prices_on = opts->prices_on,
        .is_strict = opts->is_strict,
        .problem = cli_problems_tell,
        .problem_payload = problems,
        .progress = io->progress,
    };
}

static int read_files(const struct cli_io *io, const struct cli_inputs_options *opts,
                      const char *const *paths, size_t count, metallm_outcomes *o,
                      metallm_read_report *report, metallm_error *err)
{
    struct cli_problems problems;
    const metallm_read_options read = cli_inputs_read_options(io, opts, &problems);
    struct metallm__files files = {0};
    size_t repeats = 0;
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < count; i++)
        rc = metallm__files_add(&files, paths[i], &repeats, err);
    if (rc == METALLM_OK && repeats > 0)
        fprintf(io->err, "metallm: %zu files were given twice and are read once\n", repeats);
    if (rc == METALLM_OK)
        rc = metallm__read_files(o, &files, &read, report, err);
    cli_problems_end(&problems);
    metallm__files_fini(&files);
    return rc;
}

static int read_store(const struct cli_io *io, const struct cli_inputs_options *opts,
                      metallm_outcomes *o, metallm_read_report *report, metallm_error *err)
{
    struct cli_problems problems;
    const metallm_read_options read = cli_inputs_read_options(io, opts, &problems);
    struct metallm__store *store = NULL;
    int rc = metallm__store_open(&store, opts->store, METALLM__STORE_USE, err);
    if (rc == METALLM_OK)
        rc = metallm__store_read(store, opts->task, opts->split, o, &io->progress, err);
    if (rc == METALLM_OK)
        rc = metallm__read_prices(o, &read, report, err);
    cli_problems_end(&problems);
    metallm__store_close(store);
    return rc;
}

static int nothing_found(const struct cli_inputs_options *opts, const char *const *files,
                         size_t count, metallm_error *err)
{
    if (count > 0)
        return metallm__error_set(err, METALLM_EFORMAT, "no usable row in '%s'%s", files[0],
                                  count > 1 ? " and the other files" : "");
    const char *task = opts->task, *split = opts->split;
    return metallm__error_set(err, METALLM_ENOTFOUND, "no queries%s%s%s%s in the store '%s'",
                              task != NULL ? " of task " : "", task != NULL ? task : "",
                              split != NULL ? " of split " : "", split != NULL ? split : "",
                              opts->store);
}

int cli_inputs_load_report(const struct cli_io *io, const struct cli_inputs_options *opts,
                           const char *const *files, size_t count, metallm_outcomes **out,
                           metallm_read_report *report, metallm_error *err)
{
    if (count == 0 && opts->store == NULL)
        return metallm__error_set(err, CLI_EUSAGE,
                                  "no outcomes: give benchmark files, or --store URL");
    metallm_outcomes *o = NULL;
    int rc = metallm_outcomes_new(&o, err);
    if (rc == METALLM_OK)
        rc = count > 0 ? read_files(io, opts, files, count, o, report, err)
                       : read_store(io, opts, o, report, err);
    if (rc == METALLM_OK && metallm_outcomes_query_count(o) == 0)
        rc = nothing_found(opts, files, count, err);
    if (rc != METALLM_OK) {
        metallm_outcomes_free(o);
        return rc;
    }
    *out = o;
    return METALLM_OK;
}

int cli_inputs_load(const struct cli_io *io, const struct cli_inputs_options *opts,
                    const char *const *files, size_t count, metallm_outcomes **out,
                    metallm_error *err)
{
    return cli_inputs_load_report(io, opts, files, count, out, NULL, err);
}

int cli_router_version(const char *path, char out[CLI_VERSION_BYTES], metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    snprintf(out, CLI_VERSION_BYTES, "%016llx",
             (unsigned long long)metallm__hash_bytes(map.bytes, map.len, 0));
    metallm__map_close(&map);
    return METALLM_OK;
}
