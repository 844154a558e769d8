/* SPDX-License-Identifier: Apache-2.0
 * verb_report.c - `metallm report`: savings and quality so far, and what other policies would have
 * made of the logged decisions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/decisions.h"
#include "eval/page.h"
#include "eval/savings.h"

struct report_options {
    struct cli_list dials, targets, policies;
    const char *models, *router;
    double max_cost_usd, clip;
    const char *page, *store;
    bool is_json, is_strict;
};

static const struct cli_option report_table[] = {
    {.name = "dial",
     .kind = CLI_LIST,
     .offset = offsetof(struct report_options, dials),
     .arg = "P",
     .help = "what this dial would have earned (default: 0, 0.1, 0.3 and 1)"},
    {.name = "target",
     .kind = CLI_LIST,
     .offset = offsetof(struct report_options, targets),
     .arg = "T",
     .help = "what the cheapest model with quality >= T would have earned"},
    {.name = "policy",
     .kind = CLI_LIST,
     .offset = offsetof(struct report_options, policies),
     .arg = "NAME[:K=V,...]",
     .help = "another policy: linucb, thompson, epsilon, squarecb or greedy with parameters as "
             "'metallm replay' takes them (at every --dial, else at 0), random, or the name of a "
             "model that would have answered always"},
    {.name = "models",
     .kind = CLI_STRING,
     .offset = offsetof(struct report_options, models),
     .arg = "A,B",
     .help = "dials, targets and policies choose among these models alone"},
    {.name = "max-cost",
     .kind = CLI_REAL,
     .offset = offsetof(struct report_options, max_cost_usd),
     .arg = "USD",
     .low = 1e-12,
     .high = 1e6,
     .help = "dials and targets leave out models dearer than this for the query"},
    {.name = "clip",
     .kind = CLI_REAL,
     .offset = offsetof(struct report_options, clip),
     .arg = "W",
     .low = 1,
     .high = 1e12,
     .help = "cut importance weights at W: less spread, but biased"},
    {.name = "store",
     .kind = CLI_STRING,
     .offset = offsetof(struct report_options, store),
     .arg = "URL",
     .help = "read what a gateway recorded in this store, with the last feedback of each decision"},
    {.name = "router",
     .kind = CLI_STRING,
     .offset = offsetof(struct report_options, router),
     .arg = "NAME",
     .help = "of the store: this router's decisions alone"},
    {.name = "strict",
     .kind = CLI_FLAG,
     .offset = offsetof(struct report_options, is_strict),
     .help = "refuse a log with a bad line, instead of counting and skipping it"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct report_options, is_json),
     .help = "print one JSON object"},
    {.name = "report",
     .kind = CLI_STRING,
     .offset = offsetof(struct report_options, page),
     .arg = "OUT.html",
     .help = "write a self-contained page with a plot"},
    {.name = NULL},
};

static int bad_value(metallm_error *err, const char *option, const char *text, const char *wants)
{
    return metallm__error_set(err, CLI_EUSAGE, "--%s takes %s, not '%s'", option, wants, text);
}

/* A flag per model of the log, from a list parted by commas. *out is the caller's to free. */
static int read_models(const struct metallm__decision_log *l, const char *list, uint8_t **out,
                       metallm_error *err)
{
    uint32_t count = metallm__decision_log_models(l);
    uint8_t *allowed = metallm__calloc(count + 1u, 1);
    if (allowed == NULL)
        return metallm__error_nomem(err, "a set of models");
    for (const char *at = list; *at != '\0';) {
        size_t len = strcspn(at, ",");
        uint32_t m = 0;
        while (m < count && (strlen(metallm__decision_log_model(l, m)) != len ||
                             memcmp(metallm__decision_log_model(l, m), at, len) != 0))
            m++;
        if (m == count) {
            metallm__free(allowed);
            return metallm__error_set(err, METALLM_ENOTFOUND,
                                      "no model '%.*s' among the logged candidates", (int)len, at);
        }
        allowed[m] = 1;
        at += len + (at[len] == ',');
    }
    *out = allowed;
    return METALLM_OK;
}

static int add_numbers(struct metallm__savings *s, const struct cli_list *list, const char *option,
                       const metallm_constraints *base, metallm_error *err)
{
    bool is_target = strcmp(option, "target") == 0;
    for (size_t i = 0; i < list->count; i++) {
        char *end = NULL, name[METALLM__SAVINGS_NAME_BYTES];
        double v = strtod(list->items[i], &end);
        if (end == list->items[i] || *end != '\0' || !(v >= 0 && v <= (is_target ? 1 : 1e6)))
            return bad_value(err, option, list->items[i],
                             is_target ? "a chance from 0 to 1" : "a number >= 0");
        struct metallm__whatif_policy p = {.kind = METALLM__WHATIF_RULE, .constraints = *base};
        if (is_target)
            p.constraints.target = (float)v;
        else
            p.constraints.dial = (float)v;
        snprintf(name, sizeof name, "%s %g", option, v);
        int rc = metallm__savings_add(s, name, &p, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static int add_always(struct metallm__savings *s, uint32_t model, metallm_error *err)
{
    char name[METALLM__SAVINGS_NAME_BYTES];
    snprintf(name, sizeof name, "always %s", metallm__decision_log_model(s->log, model));
    const struct metallm__whatif_policy p = {.kind = METALLM__WHATIF_ALWAYS, .model = model};
    return metallm__savings_add(s, name, &p, err);
}

/* A policy of the router's at each dial. */
static int add_policy(struct metallm__savings *s, const char *spec, const struct cli_list *dials,
                      const metallm_constraints *base, metallm_error *err)
{
    static const struct cli_list dial_0 = {{"0"}, 1};
    const struct cli_list *at = dials->count > 0 ? dials : &dial_0;
    struct metallm__whatif_policy p = {.kind = METALLM__WHATIF_POLICY, .constraints = *base};
    int rc = metallm__policy_parse(&p.policy, spec, err);
    if (rc == METALLM_ENOTFOUND)
        return metallm__error_set(err, rc, "no policy or model '%.100s'", spec);
    for (size_t i = 0; i < at->count && rc == METALLM_OK; i++) {
        char name[METALLM__SAVINGS_NAME_BYTES];
        p.constraints.dial = (float)strtod(at->items[i], NULL); /* add_numbers has checked it */
        snprintf(name, sizeof name, "%.200s, dial %.20s", spec, at->items[i]);
        rc = metallm__savings_add(s, name, &p, err);
    }
    return rc;
}

static int add_named(struct metallm__savings *s, const struct cli_list *list,
                     const struct cli_list *dials, const metallm_constraints *base,
                     metallm_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->items[i];
        uint32_t count = metallm__decision_log_models(s->log), m = 0;
        int rc;
        while (m < count && strcmp(metallm__decision_log_model(s->log, m), name) != 0)
            m++;
        if (m < count) /* the models alone stand in the report anyhow */
            continue;
        if (strcmp(name, "random") != 0) {
            rc = add_policy(s, name, dials, base, err);
            if (rc != METALLM_OK)
                return rc;
            continue;
        }
        rc = metallm__savings_add(
            s, name,
            &(struct metallm__whatif_policy){.kind = METALLM__WHATIF_RANDOM, .constraints = *base},
            err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static int add_policies(struct metallm__savings *s, const struct report_options *o,
                        const uint8_t *allowed, metallm_error *err)
{
    static const struct cli_list some_dials = {{"0", "0.1", "0.3", "1"}, 4};
    bool is_asked = o->dials.count + o->targets.count + o->policies.count > 0;
    const metallm_constraints base = {.allowed = allowed, .max_cost_usd = (float)o->max_cost_usd};
    int rc = METALLM_OK;
    for (uint32_t m = 0; m < metallm__decision_log_models(s->log) && rc == METALLM_OK; m++)
        rc = add_always(s, m, err);
    if (rc == METALLM_OK)
        rc = add_numbers(s, is_asked ? &o->dials : &some_dials, "dial", &base, err);
    if (rc == METALLM_OK)
        rc = add_numbers(s, &o->targets, "target", &base, err);
    return rc != METALLM_OK ? rc : add_named(s, &o->policies, &o->dials, &base, err);
}

static const char *interval_text(char *text, size_t size, const struct metallm__ope_estimate *e,
                                 double scale)
{
    if (isnan(e->value))
        snprintf(text, size, "-");
    else if (isnan(e->low))
        snprintf(text, size, "%.4f", e->value * scale);
    else
        snprintf(text, size, "%.4f [%.4f,%.4f]", e->value * scale, e->low * scale, e->high * scale);
    return text;
}

/* Dollars for so many requests that the figures are easy to read. */
#define REQUESTS 10000.0

static void print_done(FILE *out, const struct metallm__savings *s)
{
    const struct metallm__log_summary *d = &s->done;
    fprintf(out, "%zu decisions, feedback for %zu, cost for %zu; explored %.2f %%\n", d->decisions,
            d->scored, d->priced, 100 * d->explored);
    if (d->priced > 0)
        fprintf(out, "spent: %.6g dollars (%.4f for 10,000 requests)\n", d->spent_usd,
                d->cost_usd * REQUESTS);
    if (d->scored > 0)
        fprintf(out, "earned: mean score %.4f [%.4f,%.4f]\n", d->quality, d->quality_low,
                d->quality_high);
    for (uint32_t m = 0; m < metallm__decision_log_models(s->log); m++)
        fprintf(out, "  %5.1f %%  %s\n", 100 * (double)d->share[m],
                metallm__decision_log_model(s->log, m));
}

static void print_table(FILE *out, const struct metallm__savings *s)
{
    print_done(out, s);
    fprintf(out,
            "\nwhat others would have earned (doubly robust, 95 %% intervals; cost in dollars for "
            "10,000 requests;\nsaved: dollars less spent than the other would have)\n\n"
            "%-36s %8s %-24s %-24s %-26s %12s\n",
            "policy", "ess", "quality", "less than now by", "cost", "saved");
    for (size_t i = 0; i < s->count; i++) {
        const struct metallm__savings_row *r = &s->rows[i];
        const struct metallm__ope_estimate *g = &r->got.quality.gain;
        const struct metallm__ope_estimate less = {-g->value, -g->high, -g->low};
        char quality[64], gain[64], cost[64], saved[32] = "-";
        double usd = metallm__savings_saved(s, i);
        if (isfinite(usd))
            snprintf(saved, sizeof saved, "%.6g", usd);
        fprintf(out, "%-36.36s %8.0f %-24s %-24s %-26s %12s\n", r->name, r->got.quality.ess,
                interval_text(quality, sizeof quality, &r->got.quality.dr, 1),
                interval_text(gain, sizeof gain, &less, 1),
                interval_text(cost, sizeof cost, &r->got.cost.dr, REQUESTS), saved);
        const char *warning = metallm__savings_warning(r->got.quality.warnings);
        if (warning[0] != '\0')
            fprintf(out, "%38s%s\n", "! ", warning);
        if (r->got.unusable > 0)
            fprintf(out, "%38sleft out: %zu decisions without a candidate or estimate for it\n",
                    "! ", r->got.unusable);
    }
}

static int write_page(const struct report_options *o, const char *log, const char *json, size_t len,
                      metallm_error *err)
{
    struct metallm__outfile file;
    int rc = metallm__outfile_open(&file, o->page, err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__page page = {.shape = &metallm__asset_savings,
                                       .title = "Savings and quality so far",
                                       .router = log,
                                       .json = json,
                                       .json_len = len};
    rc = metallm__page_write(file.stream, &page, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_commit(&file, err);
    metallm__outfile_abort(&file);
    return rc;
}

static int print_report(const struct cli_io *io, const struct report_options *o,
                        const struct metallm__savings *s, const char *log, metallm_error *err)
{
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 30);
    metallm__savings_json(s, &json);
    int rc = metallm__buf_check(&json, err);
    if (rc == METALLM_OK && o->is_json)
        fprintf(io->out, "%s\n", json.data);
    else if (rc == METALLM_OK)
        print_table(io->out, s);
    if (rc == METALLM_OK && o->page != NULL)
        rc = write_page(o, log, json.data, json.len, err);
    metallm__buf_fini(&json);
    return rc;
}

static void say_problem(void *payload, const char *message)
{
    fprintf((FILE *)payload, "metallm: %s (skipped)\n", message);
}

static int read_logs(const struct cli_io *io, const struct report_options *o,
                     const char *const *files, size_t count, struct metallm__decision_log *l,
                     metallm_error *err)
{
    struct metallm__log_report report = {0};
    const struct metallm__log_options opts = {.is_strict = o->is_strict,
                                              .problem = say_problem,
                                              .problem_payload = io->err,
                                              .progress = io->progress};
    for (size_t i = 0; i < count; i++) {
        int rc = metallm__decision_log_read(l, files[i], &opts, &report, err);
        if (rc != METALLM_OK)
            return rc;
    }
    if (o->store != NULL) {
        int rc = cli_decisions_read(l, o->store, o->router, &opts, &report, err);
        if (rc != METALLM_OK)
            return rc;
    }
    if (report.bad + report.orphans > 0)
        fprintf(io->err, "metallm: %zu of %zu lines skipped, %zu outcomes of unknown decisions\n",
                report.bad, report.lines, report.orphans);
    if (metallm__decision_log_count(l) == 0)
        return metallm__error_set(err, METALLM_EFORMAT, "no decision in '%s'",
                                  o->store != NULL ? o->store : files[0]);
    return METALLM_OK;
}

static int run_report(const struct cli_io *io, const void *options, const char *const *operands,
                      size_t operand_count, metallm_error *err)
{
    const struct report_options *o = options;
    if (operand_count == 0 && o->store == NULL)
        return metallm__error_set(err, CLI_EUSAGE, "give decision logs or --store");
    struct metallm__decision_log *log = NULL;
    struct metallm__savings savings = {.clip = o->clip};
    uint8_t *allowed = NULL;
    int rc = metallm__decision_log_new(&log, err);
    if (rc == METALLM_OK)
        rc = read_logs(io, o, operands, operand_count, log, err);
    savings.log = log;
    if (rc == METALLM_OK && o->models != NULL)
        rc = read_models(log, o->models, &allowed, err);
    if (rc == METALLM_OK)
        rc = add_policies(&savings, o, allowed, err);
    if (rc == METALLM_OK)
        rc = metallm__savings_fill(&savings, &io->progress, err);
    if (rc == METALLM_OK)
        rc = print_report(io, o, &savings, o->store != NULL ? o->store : operands[0], err);
    metallm__savings_fini(&savings);
    metallm__free(allowed);
    metallm__decision_log_free(log);
    return rc;
}

const struct cli_verb cli_verb_report = {
    .name = "report",
    .summary = "tells savings and quality so far, and what another policy would have earned",
    .operands = "[LOG...]",
    .description =
        "Reads decision logs (written by 'metallm replay --log' or 'metallm route --log') or, with "
        "--store, what a gateway recorded, and prints what was spent and earned. Then, for each "
        "model alone and for other "
        "dials, targets, policies or sets of models, it estimates what they would have earned and "
        "spent on the same queries, without asking any model again.\n\n"
        "The estimates are inverse propensity scores (IPS), their self-normalised form (SNIPS) and "
        "the doubly robust one (DR, shown in the table), each with a 95 % interval; 'ess' is the "
        "effective number of decisions behind it. A policy that the log hardly ever followed "
        "cannot be judged from it: a line marked '!' says so.",
    .examples = "  metallm report decisions.jsonl\n"
                "  metallm report --dial 0.2 --dial 0.5 --models small,big decisions.jsonl\n"
                "  metallm report --target 0.9 --json decisions.jsonl\n"
                "  metallm report --store sqlite:metallm.db --router auto",
    .options_size = sizeof(struct report_options),
    .tables = {report_table},
    .operands_min = 0,
    .operands_max = 4096,
    .run = run_report,
};
