/* SPDX-License-Identifier: Apache-2.0
 * verb_train.c - `metallm train`: from outcomes to a router file. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "metallm/router.h"

struct train_options {
    struct cli_inputs_options inputs;
    const char *output, *estimator;
    uint64_t seed, folds;
    double tier_loss;
    bool is_json;
};

static const struct cli_option train_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_STRING,
     .offset = offsetof(struct train_options, output),
     .arg = "ROUTER",
     .help = "the router file to write (needed)"},
    {.name = "estimator",
     .letter = 'e',
     .kind = CLI_STRING,
     .offset = offsetof(struct train_options, estimator),
     .arg = "NAME[:KEY=VALUE,...]",
     .fallback = "auto",
     .help = "auto, linear, knn, logistic, kernel, mlp, forest or mean; values that are not given "
             "are chosen by cross-validation"},
    {.name = "folds",
     .kind = CLI_COUNT,
     .offset = offsetof(struct train_options, folds),
     .arg = "N",
     .fallback = "5",
     .low = 2,
     .high = 50,
     .help = "parts of the cross-validation; equal prompts stay together"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = offsetof(struct train_options, seed),
     .arg = "N",
     .fallback = "1",
     .high = 9e15,
     .help = "of all randomness: the same seed and input give the same file"},
    {.name = "tier-loss",
     .kind = CLI_REAL,
     .offset = offsetof(struct train_options, tier_loss),
     .arg = "R",
     .fallback = "0.001",
     .low = 0,
     .high = 1,
     .help = "with --encoder tiered: the mean reward that deciding by static vectors may lose"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct train_options, is_json),
     .help = "print one JSON object"},
    {.name = NULL},
};

static void print_for_people(FILE *out, const metallm_train_report *r,
                             const metallm_tier_report *tiers, const char *path)
{
    fprintf(out, "%zu queries, %u models, cross-validated over %u folds by prompt\n", r->queries,
            (unsigned)r->models, (unsigned)r->folds);
    fprintf(out, "estimator  %s\n", r->chosen);
    fprintf(out, "quality    %.4f at dial 0 (best single model %.4f)\n", r->quality,
            r->quality_best);
    if (!isnan(r->cost_usd))
        fprintf(out, "cost       %.6g dollars a query at dial 0\n", r->cost_usd);
    fprintf(out, "calibrated Brier %.4f, ECE %.4f\n", r->brier, r->ece);
    if (tiers != NULL)
        fprintf(out,
                "tiers      %.1f %% of decisions need the fine encoder; the others lose %.4f of "
                "reward (margin "
                "%.4f)\n",
                100 * tiers->share, tiers->lost, tiers->margin);
    fprintf(out, "written to %s\n", path);
}

static int print_json(FILE *out, const metallm_train_report *r, const metallm_tier_report *tiers,
                      const char *path, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = doc != NULL ? yyjson_mut_obj(doc) : NULL;
    if (root == NULL) {
        yyjson_mut_doc_free(doc);
        return metallm__error_nomem(err, "the report");
    }
    yyjson_mut_doc_set_root(doc, root);
    bool ok = yyjson_mut_obj_add_uint(doc, root, "n", r->queries) &&
              yyjson_mut_obj_add_uint(doc, root, "models", r->models) &&
              yyjson_mut_obj_add_uint(doc, root, "folds", r->folds) &&
              yyjson_mut_obj_add_str(doc, root, "estimator", r->chosen) &&
              yyjson_mut_obj_add_real(doc, root, "quality", r->quality) &&
              yyjson_mut_obj_add_real(doc, root, "quality_best", r->quality_best) &&
              yyjson_mut_obj_add_real(doc, root, "cost_usd", r->cost_usd) &&
              yyjson_mut_obj_add_real(doc, root, "brier", r->brier) &&
              yyjson_mut_obj_add_real(doc, root, "ece", r->ece) &&
              yyjson_mut_obj_add_str(doc, root, "router", path);
    if (ok && tiers != NULL)
        ok = yyjson_mut_obj_add_real(doc, root, "tier_margin", tiers->margin) &&
             yyjson_mut_obj_add_real(doc, root, "tier_share", tiers->share) &&
             yyjson_mut_obj_add_real(doc, root, "tier_lost", tiers->lost);
    char *text = ok ? yyjson_mut_write_opts(doc, YYJSON_WRITE_INF_AND_NAN_AS_NULL,
                                            &metallm__json_alc, NULL, NULL)
                    : NULL;
    if (text != NULL)
        fprintf(out, "%s\n", text);
    int rc = text != NULL ? METALLM_OK : metallm__error_nomem(err, "the report");
    metallm__free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

/* What --encoder asks for: a plain router, or a tiered one: static vectors (their table is
 * --weights) before MiniLM's. */
struct fitted {
    metallm_router *router;
    metallm_train_report report;
    metallm_tier_report tiers;
    bool is_tiered;
};

static int fit(const struct cli_io *io, const struct train_options *o,
               const metallm_outcomes *outcomes, const metallm_train_options *opts,
               struct fitted *out, metallm_error *err)
{
    struct cli_features coarse = {0}, fine = {0};
    struct cli_inputs_options inputs = o->inputs;
    out->is_tiered = inputs.encoder != NULL && strcmp(inputs.encoder, "tiered") == 0;
    int rc = METALLM_OK;
    if (out->is_tiered) {
        inputs.encoder = "static";
        inputs.precision = NULL;
        rc = cli_inputs_features(io, &inputs, NULL, outcomes, &coarse, err);
        inputs = o->inputs;
        inputs.encoder = "minilm";
        inputs.weights = NULL;
    }
    if (rc == METALLM_OK)
        rc = cli_inputs_features(io, &inputs, NULL, outcomes, &fine, err);
    if (rc == METALLM_OK && out->is_tiered)
        rc = metallm_router_train_tiered(&out->router, outcomes, &coarse.vectors, &fine.vectors,
                                         opts, o->tier_loss, &out->report, &out->tiers, err);
    else if (rc == METALLM_OK)
        rc = metallm_router_train(&out->router, outcomes, &fine.vectors, opts, &out->report, err);
    cli_features_fini(&coarse);
    cli_features_fini(&fine);
    return rc;
}

static int train(const struct cli_io *io, const struct train_options *o,
                 const metallm_outcomes *outcomes, metallm_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    metallm_train_options opts = {.estimator = o->estimator,
                                  .seed = o->seed,
                                  .folds = (uint32_t)o->folds,
                                  .threads = o->inputs.threads > 0 ? (uint32_t)o->inputs.threads
                                             : cores > 0           ? (uint32_t)cores
                                                                   : 1,
                                  .progress = io->progress};
    struct fitted f = {0};
    int rc = fit(io, o, outcomes, &opts, &f, err);
    if (rc == METALLM_OK)
        rc = metallm_router_save(f.router, o->output, err);
    metallm_router_free(f.router);
    if (rc != METALLM_OK)
        return rc;
    const metallm_tier_report *tiers = f.is_tiered ? &f.tiers : NULL;
    if (o->is_json)
        return print_json(io->out, &f.report, tiers, o->output, err);
    print_for_people(io->out, &f.report, tiers, o->output);
    return METALLM_OK;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t operand_count, metallm_error *err)
{
    const struct train_options *o = options;
    if (o->output == NULL)
        return metallm__error_set(err, CLI_EUSAGE, "train needs --output ROUTER");
    metallm_outcomes *outcomes = NULL;
    int rc = cli_inputs_load(io, &o->inputs, operands, operand_count, &outcomes, err);
    if (rc == METALLM_OK)
        rc = train(io, o, outcomes, err);
    metallm_outcomes_free(outcomes);
    return rc;
}

const struct cli_verb cli_verb_train = {
    .name = "train",
    .summary = "fits a router on benchmark outcomes",
    .operands = "[FILES...]",
    .description =
        "Reads outcomes from benchmark files or folders, or from --store, fits a router and writes "
        "it to one file. What it prints is cross-validated on the same rows: each figure comes "
        "from predictions for queries that the fit did not see.\n\n"
        "auto fits several estimators, weighs them by cross-validation and calibrates the result. "
        "Prices for sets whose files carry no cost come from --prices.\n\n"
        "--encoder tiered fits two routers and keeps both in the file: one on static vectors "
        "(metallm distill; --weights names the table) and one on MiniLM's. A decision by the "
        "first stands where its lead over the runner-up is at least a margin chosen by "
        "cross-validation; only the other queries are given to MiniLM.",
    .examples =
        "metallm train outcomes.csv -o router.safetensors\n"
        "metallm train mmlu/ --prices prices.yaml --estimator knn:k=100 -o router.safetensors",
    .options_size = sizeof(struct train_options),
    .tables = {cli_inputs_table, train_table},
    .operands_min = 0,
    .operands_max = SIZE_MAX,
    .run = run,
};
