/* SPDX-License-Identifier: Apache-2.0
 * verb_import.c - `metallm import`: benchmark outcomes into a store, or only looked through, with a
 * report of what was met. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/inputs.h"
#include "data/prices.h"
#include "data/read.h"
#include "store/store.h"

struct import_options {
    struct cli_inputs_options inputs;
    bool is_json;
};

static const struct cli_option import_table[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct import_options, is_json),
     .help = "print the report as one JSON object"},
    {.name = NULL},
};

struct import {
    const struct cli_io *io;
    const struct import_options *opts;
    metallm_read_options read;
    metallm_read_report report;
    struct metallm__store_added added;
    struct metallm__store_summary summary;
};

/* A file met in a folder that is of no known format is told and passed over. */
static int import_file(struct import *im, struct metallm__store *store,
                       const struct metallm__file *file, metallm_error *err)
{
    const char *format = "";
    int rc =
        metallm__store_import(store, file->path, &im->read, &im->added, &im->report, &format, err);
    if (rc == METALLM_OK || format != NULL || file->is_named || im->read.is_strict)
        return rc;
    im->read.problem(im->read.problem_payload, err->message);
    im->report.files_unknown++;
    return METALLM_OK;
}

static int import_files(struct import *im, struct metallm__store *store,
                        const struct metallm__files *files, metallm_error *err)
{
    for (int turn = 0; turn <= 1; turn++) /* outcomes, then what they cost */
        for (size_t i = 0; i < files->count; i++) {
            bool is_cost_file;
            int rc = metallm__is_cost_file(files->items[i].path, &is_cost_file, err);
            if (rc == METALLM_OK && !is_cost_file && turn == 0)
                rc = import_file(im, store, &files->items[i], err);
            if (rc == METALLM_OK && is_cost_file && turn == 1) {
                im->report.files++;
                rc = metallm__store_prices(store, files->items[i].path, &im->read, &im->added, err);
            }
            if (rc != METALLM_OK)
                return rc;
        }
    if (im->read.prices == NULL)
        return METALLM_OK;
    return metallm__store_prices(store, im->read.prices, &im->read, &im->added, err);
}

/* Vectors of all that the store holds, where an encoder was asked for. */
static int import_vectors(const struct import *im, metallm_error *err)
{
    struct cli_inputs_options all = im->opts->inputs;
    struct cli_features features = {0};
    metallm_outcomes *o = NULL;
    all.task = all.split = NULL;
    if (all.encoder == NULL)
        return METALLM_OK;
    int rc = cli_inputs_load(im->io, &all, NULL, 0, &o, err);
    if (rc == METALLM_OK)
        rc = cli_inputs_features(im->io, &all, NULL, o, &features, err);
    cli_features_fini(&features);
    metallm_outcomes_free(o);
    return rc;
}

static int into_store(struct import *im, const char *const *paths, size_t count, metallm_error *err)
{
    struct metallm__files files = {0};
    struct metallm__store *store = NULL;
    size_t repeats = 0;
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < count; i++)
        rc = metallm__files_add(&files, paths[i], &repeats, err);
    if (rc == METALLM_OK)
        rc = metallm__store_open(&store, im->opts->inputs.store, METALLM__STORE_FILL, err);
    if (rc == METALLM_OK)
        rc = import_files(im, store, &files, err);
    if (rc == METALLM_OK)
        rc = metallm__store_summary(store, &im->summary, err);
    metallm__store_close(store);
    metallm__files_fini(&files);
    return rc == METALLM_OK ? import_vectors(im, err) : rc;
}

/* The same summary of a table in memory. */
static void summarise(const metallm_outcomes *o, struct metallm__store_summary *out)
{
    out->queries = metallm_outcomes_query_count(o);
    out->model_count = metallm_outcomes_model_count(o);
    for (uint32_t m = 0; m < out->model_count; m++) {
        struct metallm__store_model *model = &out->models[m];
        double score = 0, cost = 0;
        snprintf(model->name, sizeof model->name, "%s", metallm_outcomes_model_name(o, m));
        for (size_t q = 0; q < out->queries; q++) {
            const metallm_outcome cell = metallm_outcomes_get(o, q, m);
            if (!isnan(cell.score)) {
                score += (double)cell.score;
                model->scores++;
            }
            if (!isnan(cell.cost_usd)) {
                cost += (double)cell.cost_usd;
                model->costs++;
            }
        }
        model->score = model->scores > 0 ? score / (double)model->scores : NAN;
        model->cost_usd = model->costs > 0 ? cost / (double)model->costs : NAN;
    }
}

static int only_look(struct import *im, const char *const *paths, size_t count, metallm_error *err)
{
    metallm_outcomes *o = NULL;
    int rc = cli_inputs_load_report(im->io, &im->opts->inputs, paths, count, &o, &im->report, err);
    if (rc == METALLM_OK)
        summarise(o, &im->summary);
    metallm_outcomes_free(o);
    return rc;
}

/* Models of the price file that no outcome speaks of: mostly harmless, sometimes a misspelt name.
 */
static int tell_unused_prices(const struct import *im, metallm_error *err)
{
    const char *path = im->opts->inputs.prices;
    struct metallm__prices prices = {0};
    if (path == NULL)
        return METALLM_OK;
    int rc = metallm__prices_read(&prices, path, err);
    for (size_t i = 0; rc == METALLM_OK && i < prices.count; i++) {
        const struct metallm__price *p = &prices.items[i];
        uint32_t m = 0;
        while (m < im->summary.model_count && strcmp(im->summary.models[m].name, p->model) != 0)
            m++;
        if (m == im->summary.model_count)
            fprintf(im->io->err, "metallm: %s:%zu: model '%s' is in no outcome\n", path, p->line,
                    p->model);
    }
    metallm__prices_fini(&prices);
    return rc;
}

static void print_text(const struct import *im)
{
    FILE *out = im->io->out;
    const metallm_read_report *r = &im->report;
    const struct metallm__store_added *a = &im->added;
    fprintf(out, "%zu files, %zu rows", r->files, r->rows);
    if (im->opts->inputs.store != NULL)
        fprintf(out, ": %zu queries and %zu outcomes added", a->queries, a->outcomes);
    fprintf(out, "\n");
    const struct {
        size_t count;
        const char *what;
    } lines[] = {
        {a->files_known, "files were there already: nothing was added from them"},
        {a->files_replaced, "files had changed: their former rows were replaced"},
        {a->copies, "outcomes left out that another file gave already"},
        {a->costs, "costs filled in from prices"},
        {r->files_unknown, "files of no known format passed over"},
        {r->rows_skipped, "rows skipped"},
        {r->duplicates, "rows skipped that were there already"},
        {r->cells_bad, "bad values left unknown"},
        {r->cells_missing, "scores missing in the files"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (lines[i].count > 0)
            fprintf(out, "%8zu %s\n", lines[i].count, lines[i].what);
    fprintf(out, "\n%zu queries%s\n", im->summary.queries,
            im->opts->inputs.store != NULL ? " in the store" : " (nothing is kept: no --store)");
    if (im->summary.model_count > 0)
        fprintf(out, "%-44s %9s %9s %14s\n", "model", "scores", "quality", "dollars a call");
    for (uint32_t m = 0; m < im->summary.model_count; m++) {
        const struct metallm__store_model *model = &im->summary.models[m];
        char quality[32] = "-", cost[32] = "-";
        if (model->scores > 0)
            snprintf(quality, sizeof quality, "%.4f", model->score);
        if (model->costs > 0)
            snprintf(cost, sizeof cost, "%.4g", model->cost_usd);
        fprintf(out, "%-44s %9zu %9s %14s\n", model->name, model->scores, quality, cost);
    }
}

static void add_mean(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, double value)
{
    if (isnan(value))
        yyjson_mut_obj_add_null(doc, object, key);
    else
        yyjson_mut_obj_add_real(doc, object, key, value);
}

static bool build_json(const struct import *im, yyjson_mut_doc *doc)
{
    const metallm_read_report *r = &im->report;
    const struct metallm__store_added *a = &im->added;
    yyjson_mut_val *root = yyjson_mut_obj(doc), *models = yyjson_mut_arr(doc);
    const struct {
        const char *key;
        size_t count;
    } counts[] = {
        {"files", r->files},
        {"files_known", a->files_known},
        {"files_replaced", a->files_replaced},
        {"files_unknown", r->files_unknown},
        {"rows", r->rows},
        {"rows_skipped", r->rows_skipped},
        {"duplicates", r->duplicates},
        {"cells_bad", r->cells_bad},
        {"cells_missing", r->cells_missing},
        {"copies", a->copies},
        {"queries_added", a->queries},
        {"outcomes_added", a->outcomes},
        {"costs_filled", a->costs},
        {"queries", im->summary.queries},
    };
    yyjson_mut_doc_set_root(doc, root);
    bool is_made = true;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        is_made &= yyjson_mut_obj_add_uint(doc, root, counts[i].key, counts[i].count);
    for (uint32_t m = 0; m < im->summary.model_count; m++) {
        const struct metallm__store_model *model = &im->summary.models[m];
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, models);
        is_made &= yyjson_mut_obj_add_str(doc, item, "name", model->name);
        is_made &= yyjson_mut_obj_add_uint(doc, item, "scores", model->scores);
        is_made &= yyjson_mut_obj_add_uint(doc, item, "costs", model->costs);
        add_mean(doc, item, "quality", model->score);
        add_mean(doc, item, "cost", model->cost_usd);
    }
    return yyjson_mut_obj_add_val(doc, root, "models", models) && is_made;
}

static int print_json(const struct import *im, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    char *text = NULL;
    if (doc != NULL && build_json(im, doc))
        text = yyjson_mut_write_opts(doc, YYJSON_WRITE_NOFLAG, &metallm__json_alc, NULL, NULL);
    if (text != NULL)
        fprintf(im->io->out, "%s\n", text);
    int rc = text != NULL ? METALLM_OK : metallm__error_nomem(err, "a report");
    metallm__free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t count, metallm_error *err)
{
    struct cli_problems problems;
    struct import *im = metallm__calloc(1, sizeof *im);
    if (im == NULL)
        return metallm__error_nomem(err, "a report");
    im->io = io;
    im->opts = options;
    im->read = cli_inputs_read_options(io, &im->opts->inputs, &problems);
    int rc = im->opts->inputs.store != NULL ? into_store(im, operands, count, err)
                                            : only_look(im, operands, count, err);
    cli_problems_end(&problems);
    if (rc == METALLM_OK)
        rc = tell_unused_prices(im, err);
    if (rc == METALLM_OK && im->opts->is_json)
        rc = print_json(im, err);
    else if (rc == METALLM_OK)
        print_text(im);
    metallm__free(im);
    return rc;
}

const struct cli_verb cli_verb_import = {
    .name = "import",
    .summary = "reads benchmark outcomes into a store",
    .operands = "FILES...",
    .description =
        "Reads files of benchmark outcomes (who answered which prompt how well, at what cost) and "
        "folders of them into the store of --store, which the other verbs read in place of files. "
        "Without --store the files are only looked through.\n\n"
        "The format is told from a file's bytes. What cannot be used is told with file, line and "
        "value, counted and left out; with --strict the first of these ends the import. An empty "
        "score stays unknown.\n\n"
        "Each file enters the store whole or not at all. A file that is there already adds "
        "nothing; "
        "one that has changed since replaces what it gave before. With --encoder the vectors of "
        "all "
        "prompts are made at once and kept in the store.",
    .examples = "  metallm import routerbench/ --store sqlite:metallm.db\n"
                "  metallm import mmlu/*.csv --prices prices.yaml --store sqlite:metallm.db\n"
                "  metallm import outcomes.jsonl --strict",
    .options_size = sizeof(struct import_options),
    .tables = {cli_inputs_table, import_table},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
