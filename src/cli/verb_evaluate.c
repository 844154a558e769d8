/* SPDX-License-Identifier: Apache-2.0
 * verb_evaluate.c - `metallm evaluate`: a router on outcomes that it was not fitted on. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/inputs.h"
#include "eval/evaluate.h"
#include "eval/page.h"

#define JSON_BYTES_MAX 268435456u
#define STEPS_SHOWN    7u /* settings of the dial in the table */

struct evaluate_options {
    struct cli_inputs_options inputs;
    uint64_t resamples, seed;
    const char *page, *title;
    bool is_json;
};

static const struct cli_option evaluate_table[] = {
    {.name = "report",
     .kind = CLI_STRING,
     .offset = offsetof(struct evaluate_options, page),
     .arg = "OUT.html",
     .help = "write one self-contained page with plots and tables"},
    {.name = "title",
     .kind = CLI_STRING,
     .offset = offsetof(struct evaluate_options, title),
     .arg = "TEXT",
     .help = "title of the page; the files' names without it"},
    {.name = "resamples",
     .kind = CLI_COUNT,
     .offset = offsetof(struct evaluate_options, resamples),
     .arg = "N",
     .fallback = "1000",
     .low = 0,
     .high = 100000,
     .help = "bootstrap resamples of the queries behind the 95 % intervals; 0: no intervals"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = offsetof(struct evaluate_options, seed),
     .arg = "N",
     .fallback = "1",
     .low = 0,
     .high = 9007199254740992.0,
     .help = "seed of the resamples"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct evaluate_options, is_json),
     .help = "print one JSON object"},
    {0},
};

/* --- the table for people --- */

static void print_number(FILE *out, int width, int digits, double v)
{
    if (isfinite(v))
        fprintf(out, " %*.*f", width, digits, v);
    else
        fprintf(out, " %*s", width, "-");
}

/* Dollars of 1,000 queries at four significant digits. */
static void print_cost(FILE *out, double v)
{
    double k = 1000 * v;
    int digits = k > 0 ? 3 - (int)floor(log10(k)) : 2;
    print_number(out, 12, digits < 2 ? 2 : digits > 9 ? 9 : digits, k);
}

static void print_interval(FILE *out, const struct metallm__interval *ci, int digits)
{
    if (isnan(ci->low))
        return;
    fprintf(out, " [%.*f, ", digits, ci->low);
    if (isfinite(ci->high))
        fprintf(out, "%.*f]", digits, ci->high);
    else
        fprintf(out, "never]");
}

static void print_policy(FILE *out, const struct metallm__evaluation *e, const char *name,
                         size_t policy)
{
    const struct metallm__policy_result *p = &e->policies[policy];
    const struct metallm__point *best = &e->policies[e->best].mean;
    fprintf(out, "%-38.38s", name);
    print_number(out, 8, 4, p->mean.quality);
    if (e->resamples > 0)
        fprintf(out, "  [%.3f, %.3f]", p->quality_ci.low, p->quality_ci.high);
    fprintf(out, "  %+8.4f", p->mean.quality - best->quality);
    if (!isnan(best->cost)) {
        print_cost(out, p->mean.cost);
        print_number(out, 6, 0, 100 * p->mean.cost / best->cost);
        fprintf(out, " %%");
    }
    fprintf(out, "\n");
}

static int by_quality(const void *a, const void *b, void *payload)
{
    const struct metallm__evaluation *e = payload;
    double x = e->policies[*(const uint32_t *)a].mean.quality;
    double y = e->policies[*(const uint32_t *)b].mean.quality;
    return x > y ? -1 : x < y;
}

static void print_policies(FILE *out, struct metallm__evaluation *e)
{
    uint32_t order[METALLM_MODELS_MAX];
    char name[64];
    bool has_cost = !isnan(e->policies[e->best].mean.cost);
    fprintf(out, "%-38s  quality%s  to best%s\n", "", e->resamples > 0 ? "            95 %" : "",
            has_cost ? "     $/1,000  of best" : "");
    for (uint32_t k = 0; k < e->models; k++)
        order[k] = k;
    qsort_r(order, e->models, sizeof *order, by_quality, e);
    for (uint32_t k = 0; k < e->models; k++)
        print_policy(out, e, e->names[order[k]], order[k]);
    print_policy(out, e, "random", e->random);
    print_policy(out, e, "oracle", e->oracle);
    size_t steps = e->curve_count < STEPS_SHOWN ? e->curve_count : STEPS_SHOWN;
    for (size_t i = 0; i < steps; i++) {
        size_t last = e->curve_count - 1, at = steps == 1 ? 0 : last - i * last / (steps - 1);
        snprintf(name, sizeof name, "router, dial %.3g", (double)e->curve[at].dial);
        print_policy(out, e, name, e->curve[at].policy);
    }
}

static void print_figures(FILE *out, const struct metallm__evaluation *e)
{
    const double *f = e->figures;
    const struct metallm__interval *ci = e->intervals;
    fprintf(out, "\nat dial 0 the router stands %+.4f", f[METALLM__FIG_QUALITY_GAIN]);
    print_interval(out, &ci[METALLM__FIG_QUALITY_GAIN], 4);
    fprintf(out, " to the best single model, %s\n", e->names[e->best]);
    if (!isnan(f[METALLM__FIG_AIQ])) {
        fprintf(out, "AIQ %.4f", f[METALLM__FIG_AIQ]);
        print_interval(out, &ci[METALLM__FIG_AIQ], 4);
        fprintf(out, "; mixing single models %.4f; gain %+.4f", f[METALLM__FIG_ZERO_AIQ],
                f[METALLM__FIG_AIQ_GAIN]);
        print_interval(out, &ci[METALLM__FIG_AIQ_GAIN], 4);
        fprintf(out, "\nthe best model's quality is ");
        if (isfinite(f[METALLM__FIG_MATCH]))
            fprintf(out, "reached at %.2f of its cost", f[METALLM__FIG_MATCH]);
        else
            fprintf(out, "not reached");
        print_interval(out, &ci[METALLM__FIG_MATCH], 2);
        fprintf(out, "\nquality at");
        for (size_t s = 0; s < METALLM__EVAL_COST_SHARES; s++) {
            fprintf(out, "%s %.0f %% of its cost:", s > 0 ? ";" : "",
                    100 * metallm__eval_cost_share(s));
            print_number(out, 1, 4, f[METALLM__FIG_QUALITY_AT + s]);
        }
        fprintf(out, "\n");
    }
    const struct metallm__calibration *c = &e->calibration;
    fprintf(out, "Brier %.4f, ECE %.4f (a perfect router on as many cells: %.4f)\n", c->brier,
            c->ece, c->noise);
}

/* Cheap first: the fewer of the queries that need the fine encoder, the less a decision takes. */
static void print_tiers(FILE *out, const struct metallm__evaluation *e)
{
    const char *what = isnan(e->scale) ? "quality" : "AIQ";
    fprintf(out, "\ncheap first        margin  need the fine encoder   %s lost to it\n", what);
    for (size_t t = 0; t < e->tier_count; t++) {
        const struct metallm__tier_result *tier = &e->tiers[t];
        fprintf(out, "%-16s", t == 0 ? "this router" : t + 1 == e->tier_count ? "always" : "");
        print_number(out, 8, 4, tier->margin);
        fprintf(out, " %20.1f %%  %+.4f", 100 * tier->share, tier->lost);
        print_interval(out, &tier->lost_ci, 4);
        fprintf(out, "\n");
    }
}

static void print_rules(FILE *out, const struct metallm__evaluation *e)
{
    bool has_cost = e->cap_count > 0;
    fprintf(out, "\n%-14s attainable     kept  quality%s\n", "target",
            has_cost ? "     $/1,000" : "");
    for (size_t t = 0; t < METALLM__EVAL_TARGETS; t++) {
        const struct metallm__rule_result *r = &e->targets[t];
        double kept = e->policies[r->kept].mean.quality;
        fprintf(out, "%-14.2f %8.1f %%", (double)r->value, 100 * r->attainable);
        print_number(out, 8, 4, kept);
        fprintf(out, "%s", isnan(kept) ? " " : kept >= (double)r->value ? "+" : "-");
        print_number(out, 7, 4, e->policies[r->policy].mean.quality);
        if (has_cost)
            print_cost(out, e->policies[r->policy].mean.cost);
        fprintf(out, "\n");
    }
    for (size_t t = 0; t < e->cap_count; t++) {
        const struct metallm__rule_result *r = &e->caps[t];
        if (t == 0)
            fprintf(out, "\n%-14s attainable  quality     $/1,000\n", "cap, $/1,000");
        fprintf(out, "%-14.4g %8.1f %%", 1000 * (double)r->value, 100 * r->attainable);
        print_number(out, 8, 4, e->policies[r->policy].mean.quality);
        print_cost(out, e->policies[r->policy].mean.cost);
        fprintf(out, "\n");
    }
}

static void print_table(FILE *out, struct metallm__evaluation *e)
{
    fprintf(out, "%zu queries, %u models", e->n, e->models);
    if (e->resamples > 0)
        fprintf(out, "; 95 %% intervals by %u bootstrap resamples of the queries, seed %llu",
                e->resamples, (unsigned long long)e->seed);
    fprintf(out, "\n\n");
    print_policies(out, e);
    print_figures(out, e);
    print_rules(out, e);
    if (e->tier_count > 0)
        print_tiers(out, e);
}

/* --- running --- */

static void tell_differences(FILE *err, const struct metallm__evaluation *e)
{
    if (e->not_in_files > 0)
        fprintf(err,
                "metallm: %u models of the router have no outcomes in the files: they are no "
                "candidates here\n",
                e->not_in_files);
    if (e->not_in_router > 0)
        fprintf(err, "metallm: %u models of the files are unknown to the router: left out\n",
                e->not_in_router);
    if (e->scores_missing > 0)
        fprintf(err,
                "metallm: %zu cells have no score: left out of the means of those who chose "
                "them\n",
                e->scores_missing);
}

/* "metallm: ROUTER on FILE, FILE ..." */
static void make_title(char *title, size_t size, const char *const *operands, size_t count)
{
    size_t len = (size_t)snprintf(title, size, "metallm: %s", operands[0]);
    for (size_t i = 1; i < count && len < size; i++)
        len += (size_t)snprintf(title + len, size - len, "%s%s", i == 1 ? " on " : ", ",
                                i <= 3 ? operands[i] : "...");
}

static int write_page(const struct evaluate_options *o, const struct metallm__buf *json,
                      const char *const *operands, size_t count, metallm_error *err)
{
    char title[512];
    struct metallm__outfile file;
    int rc = metallm__outfile_open(&file, o->page, err);
    if (rc != METALLM_OK)
        return rc;
    make_title(title, sizeof title, operands, count > 5 ? 5 : count);
    struct metallm__page page = {&metallm__asset_evaluation, o->title != NULL ? o->title : title,
                                 operands[0], json->data, json->len};
    rc = metallm__page_write(file.stream, &page, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_commit(&file, err);
    metallm__outfile_abort(&file);
    return rc;
}

static int output(const struct cli_io *io, const struct evaluate_options *o,
                  struct metallm__evaluation *e, const char *const *operands, size_t count,
                  metallm_error *err)
{
    struct metallm__buf json;
    metallm__buf_init(&json, JSON_BYTES_MAX);
    int rc = metallm__evaluation_json(e, &json, err);
    if (rc == METALLM_OK && o->page != NULL)
        rc = write_page(o, &json, operands, count, err);
    if (rc == METALLM_OK) {
        tell_differences(io->err, e);
        if (o->is_json)
            fprintf(io->out, "%s\n", json.data);
        else
            print_table(io->out, e);
    }
    metallm__buf_fini(&json);
    return rc;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t count, metallm_error *err)
{
    const struct evaluate_options *o = options;
    metallm_router *router = NULL;
    metallm_outcomes *outcomes = NULL;
    struct cli_tiers tiers = {0};
    struct metallm__evaluation *e = NULL;
    int rc = metallm_router_open(&router, operands[0], err);
    if (rc == METALLM_OK)
        rc = cli_inputs_load(io, &o->inputs, operands + 1, count - 1, &outcomes, err);
    if (rc == METALLM_OK)
        rc = cli_inputs_tiers(io, &o->inputs, router, outcomes, &tiers, err);
    if (rc == METALLM_OK) {
        const struct metallm__evaluate_options how = {o->seed, (uint32_t)o->resamples, io->progress,
                                                      tiers.cheap};
        rc = metallm__evaluate(router, outcomes, &tiers.fine.vectors, &how, &e, err);
    }
    if (rc == METALLM_OK)
        rc = output(io, o, e, operands, count, err);
    metallm__evaluation_free(e);
    cli_tiers_fini(&tiers);
    metallm_outcomes_free(outcomes);
    metallm_router_free(router);
    return rc;
}

const struct cli_verb cli_verb_evaluate = {
    .name = "evaluate",
    .summary = "replays a router on outcomes that it was not trained on",
    .operands = "ROUTER FILES...",
    .description =
        "Prints what each model alone, a fair draw, the oracle and the router would have scored "
        "and cost: the router along its dial, under targets and under caps on cost, each with a "
        "95 % bootstrap interval over the queries. AIQ is the area under the non-decreasing hull "
        "of the quality-cost curve over the models' cost range; the figure to beat is that of "
        "mixing single models.\n\n"
        "Models that only the router or only the files know are left out and told. A missing "
        "score leaves its query out of the mean of whoever chose that model. Without any costs "
        "the curve is dial 0 alone.\n\n"
        "A tiered router decides cheap first, as with route; how many queries needed the fine "
        "encoder, and what is lost against giving it all of them, stands beside the rest.\n\n"
        "Every figure is defined in docs/evaluation.md.",
    .examples = "  metallm evaluate router.safetensors test.jsonl\n"
                "  metallm evaluate router.safetensors test/ --prices prices.yaml --json\n"
                "  metallm evaluate router.safetensors test/ --report report.html",
    .options_size = sizeof(struct evaluate_options),
    .tables = {cli_inputs_table, evaluate_table},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
