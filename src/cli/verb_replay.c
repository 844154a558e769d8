/* SPDX-License-Identifier: Apache-2.0
 * verb_replay.c - `metallm replay`: recorded outcomes as a stream that an online router learns
 * from. Reading rows, options to settings, and printing; the work is eval/replay.h's. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/replay_read.h"
#include "eval/decision_log.h"
#include "eval/page.h"
#include "eval/replay_json.h"

struct replay_options {
    struct cli_inputs_options inputs;
    const char *policy, *events, *models, *log, *page;
    bool is_online, is_joint, is_in_order, is_json;
    double hybrid, offline, dial, budget, lambda, gamma, explore;
    uint64_t seeds, seed, steps, axes, points, budget_per;
};

#define AT(field) offsetof(struct replay_options, field)
static const struct cli_option replay_table[] = {
    {.name = "online",
     .kind = CLI_FLAG,
     .offset = AT(is_online),
     .help = "start cold: only the encoder and the projection of ROUTER are used"},
    {.name = "hybrid",
     .kind = CLI_REAL,
     .offset = AT(hybrid),
     .arg = "SHARE",
     .low = 0,
     .high = 0.99,
     .help = "start cold, but see this share of the rows whole before the stream begins"},
    {.name = "offline",
     .kind = CLI_REAL,
     .offset = AT(offline),
     .arg = "SHARE",
     .low = 0,
     .high = 0.99,
     .help = "the same, and learn nothing afterwards"},
    {.name = "policy",
     .kind = CLI_STRING,
     .offset = AT(policy),
     .arg = "NAME[:K=V,...]",
     .help =
         "linucb:alpha=A, thompson:scale=S, epsilon:epsilon=E,decay=D, squarecb:rate=R or greedy "
         "(default: greedy, when cold linucb)"},
    {.name = "dial",
     .kind = CLI_REAL,
     .offset = AT(dial),
     .arg = "P",
     .fallback = "0",
     .low = 0,
     .high = 1e6,
     .help = "reward is quality - P * cost / highest mean cost"},
    {.name = "budget",
     .kind = CLI_REAL,
     .offset = AT(budget),
     .arg = "USD",
     .low = 1e-12,
     .high = 1e6,
     .help = "dollars a request to spend in the mean, in place of the dial"},
    {.name = "budget-per",
     .kind = CLI_COUNT,
     .offset = AT(budget_per),
     .arg = "N",
     .fallback = "1",
     .low = 1,
     .high = 1e9,
     .help =
         "the budget is for N requests, a period in which it is neither overrun nor carried on"},
    {.name = "joint",
     .kind = CLI_FLAG,
     .offset = AT(is_joint),
     .help = "learn the reward itself in one regression, as MetaLLM's paper does (when cold)"},
    {.name = "lambda",
     .kind = CLI_REAL,
     .offset = AT(lambda),
     .arg = "L",
     .low = 1e-9,
     .high = 1e12,
     .help = "ridge prior of the online regressions (default: 1000, when cold 1)"},
    {.name = "gamma",
     .kind = CLI_REAL,
     .offset = AT(gamma),
     .arg = "G",
     .fallback = "1",
     .low = 0.5,
     .high = 1,
     .help = "discount of what was learned, at each observation of a model"},
    {.name = "explore",
     .kind = CLI_REAL,
     .offset = AT(explore),
     .arg = "SHARE",
     .fallback = "-1",
     .low = -1,
     .high = 1,
     .help =
         "requests spread over all models to learn, on top of the policy; -1: 0.005, when cold 0"},
    {.name = "events",
     .kind = CLI_STRING,
     .offset = AT(events),
     .arg = "FILE",
     .help = "changes on the way, JSON Lines: prices, quality, arrivals, leavers, feedback"},
    {.name = "models",
     .kind = CLI_STRING,
     .offset = AT(models),
     .arg = "A,B",
     .help = "only these models of the router take part"},
    {.name = "axes",
     .kind = CLI_COUNT,
     .offset = AT(axes),
     .arg = "N",
     .fallback = "25",
     .low = 0,
     .high = 4096,
     .help = "principal axes of the embedding that the online regressions see"},
    {.name = "seeds",
     .kind = CLI_COUNT,
     .offset = AT(seeds),
     .arg = "N",
     .fallback = "1",
     .low = 1,
     .high = 10000,
     .help = "orders of the rows: one run each, then means with intervals"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = AT(seed),
     .arg = "S",
     .fallback = "1",
     .low = 0,
     .high = 1e15,
     .help = "of all chance"},
    {.name = "steps",
     .kind = CLI_COUNT,
     .offset = AT(steps),
     .arg = "N",
     .fallback = "0",
     .low = 0,
     .high = 1e12,
     .help = "requests in a run; 0: each row once"},
    {.name = "in-order",
     .kind = CLI_FLAG,
     .offset = AT(is_in_order),
     .help = "rows as they come, not shuffled"},
    {.name = "points",
     .kind = CLI_COUNT,
     .offset = AT(points),
     .arg = "N",
     .fallback = "200",
     .low = 1,
     .high = 100000,
     .help = "points of the learning curves"},
    {.name = "log",
     .kind = CLI_STRING,
     .offset = AT(log),
     .arg = "FILE",
     .help = "write the first run's decisions as a log for 'metallm report'"},
    {.name = "report",
     .kind = CLI_STRING,
     .offset = AT(page),
     .arg = "OUT.html",
     .help = "write a self-contained page with the plots"},
    {.name = "json", .kind = CLI_FLAG, .offset = AT(is_json), .help = "print one JSON object"},
    {.name = NULL},
};

/* A decision log that is being written. */
struct log_writer {
    struct metallm__outfile file;
    struct metallm__buf line;
    const struct metallm__rows *rows;
    const struct metallm__replay_options *opts;
    const char *policy;
    char version[CLI_VERSION_BYTES]; /* of the router's file */
};

static int write_decision(void *payload, const struct metallm__replay_decision *d,
                          metallm_error *err)
{
    struct log_writer *w = payload;
    struct metallm__log_estimate estimates[METALLM_MODELS_MAX];
    struct metallm__log_decision out = {
        .time = (double)d->step,
        .policy = w->policy,
        .estimates = estimates,
        .propensity = d->propensity,
        .dial = (float)(d->price * w->opts->agent.scale),
        .cost_scale_usd = w->opts->agent.scale > 0 ? (float)w->opts->agent.scale : NAN,
        .outcome = {(float)d->seen.quality, (float)d->seen.cost_usd, (float)d->seen.latency_ms}};
    char id[32], version[CLI_VERSION_BYTES + 24];
    snprintf(version, sizeof version, "%s+%llu", w->version, (unsigned long long)d->step);
    out.policy_version = version;
    snprintf(id, sizeof id, "%llu", (unsigned long long)d->step);
    out.id = id;
    for (uint32_t m = 0; m < metallm__rows_models(w->rows); m++) {
        const struct metallm__belief *b = &d->beliefs[m];
        if (isnan(b->quality))
            continue;
        if (m == d->model)
            out.chosen = out.count;
        estimates[out.count++] = (struct metallm__log_estimate){
            .quality = (float)fmin(fmax(b->quality, 0), 1),
            .quality_sd = b->sd > 0 ? (float)b->sd : NAN,
            .cost_usd = (float)b->cost_usd,
            .latency_ms = (float)b->latency_ms,
            .score = (float)d->scores[m],
            .price_usd = (float)(metallm__rows_mean_cost(w->rows, m) * d->cost_factor[m]),
            .model = m};
    }
    metallm__buf_clear(&w->line);
    metallm__log_print(&w->line, &out, metallm__rows_model, w->rows);
    int rc = metallm__buf_check(&w->line, err);
    if (rc == METALLM_OK && fwrite(w->line.data, 1, w->line.len, w->file.stream) != w->line.len)
        rc = metallm__error_set(err, METALLM_EIO, "cannot write the log");
    return rc;
}

static int check_options(const struct replay_options *o, metallm_error *err)
{
    if (o->is_online + (o->hybrid > 0) + (o->offline > 0) > 1)
        return metallm__error_set(err, CLI_EUSAGE,
                                  "--online, --hybrid and --offline exclude each other");
    if (o->is_joint && !(o->is_online || o->hybrid > 0 || o->offline > 0))
        return metallm__error_set(err, CLI_EUSAGE, "--joint needs --online, --hybrid or --offline");
    if (o->budget_per > 1 && !(o->budget > 0))
        return metallm__error_set(err, CLI_EUSAGE, "--budget-per says what --budget is for");
    if (o->budget > 0 && (o->dial > 0 || o->is_joint))
        return metallm__error_set(err, CLI_EUSAGE,
                                  "--budget takes the place of --dial, and is not for --joint");
    return METALLM_OK;
}

/* Nothing of the router but its projection is used. */
static bool is_cold(const struct replay_options *o)
{
    return o->is_online || o->hybrid > 0 || o->offline > 0;
}

static int make_settings(const struct replay_options *o, double scale,
                         struct metallm__replay_options *out, metallm_error *err)
{
    const bool starts_cold = is_cold(o);
    *out = (struct metallm__replay_options){
        .agent = metallm__agent_defaults(),
        .start = o->is_online     ? METALLM__START_COLD
                 : o->hybrid > 0  ? METALLM__START_HYBRID
                 : o->offline > 0 ? METALLM__START_OFFLINE
                                  : METALLM__START_PRIOR,
        .is_joint = o->is_joint,
        .share = o->hybrid > 0 ? o->hybrid : o->offline,
        .runs = (uint32_t)o->seeds,
        .seed = o->seed,
        .is_in_order = o->is_in_order,
        .steps = o->steps,
        .points = (uint32_t)o->points,
    };
    struct metallm__agent_options *a = &out->agent;
    a->adapt.learner.lambda = o->lambda > 0 ? o->lambda : starts_cold ? 1 : a->adapt.learner.lambda;
    a->adapt.learner.gamma = o->gamma;
    a->explore = o->explore >= 0 ? o->explore : starts_cold ? 0 : a->explore;
    a->dial = o->dial;
    a->scale = scale;
    if (o->budget > 0)
        a->pacer.usd_per_request = o->budget / (double)o->budget_per;
    if (o->budget > 0 && o->budget_per > 1) { /* a replay's clock counts requests */
        a->pacer.usd_per_period = o->budget;
        a->pacer.period_s = (double)o->budget_per;
    }
    const char *policy = o->policy != NULL ? o->policy : starts_cold ? "linucb" : "greedy";
    return metallm__policy_parse(&a->policy, policy, err);
}

static void print_mean(FILE *out, const char *label, const struct metallm__mean *m, double unit)
{
    fprintf(out, "  %-26s%.4f", label, m->value * unit);
    if (isfinite(m->low))
        fprintf(out, "  [%.4f, %.4f]", m->low * unit, m->high * unit);
    fputs("\n", out);
}

static void print_table(FILE *out, const struct metallm__replay_result *r,
                        const struct metallm__rows *rows)
{
    fprintf(out, "%llu requests, %u order%s%s\n", (unsigned long long)r->n, (unsigned)r->runs,
            r->runs == 1 ? "" : "s", r->runs == 1 ? "" : "; 95 % intervals over orders");
    print_mean(out, "quality", &r->quality, 1);
    fprintf(out, "  %-26s%.4f .. %.4f\n", "  95 % over queries", r->over_rows.quality.low,
            r->over_rows.quality.high);
    print_mean(out, "dollars a 10,000 requests", &r->cost, 1e4);
    if (r->budget > 0)
        print_mean(out, "share of the budget", &r->budget_used, 1);
    if (isfinite(r->period_most))
        fprintf(out, "  %-26s%.4f\n", "  of the fullest period", r->period_most);
    print_mean(out, "reward", &r->reward, 1);
    fprintf(out, "  %-26s%.4f\n  %-26s%.4f\n  %-26s%.4f\n", "  oracle", r->reward_oracle,
            "  best fixed policy", r->reward_best_policy,
            r->budget > 0 ? "  best mix of two models" : "  best model alone",
            r->reward_best_model);
    print_mean(out, "regret to the oracle", &r->regret, 1);
    print_mean(out, "  to the best policy", &r->regret_best_policy, 1);
    print_mean(out, r->budget > 0 ? "  to the best mix" : "  to the best model",
               &r->regret_best_model, 1);
    fprintf(out, "  %-26s%.4f\n  %-26s%.2f\n", "explored", r->explored, "alarms a run", r->changes);
    if (r->is_tiered)
        fprintf(out, "  %-26s%.3f\n", "needed the fine encoder", r->fine_share);
    fprintf(out, "\n  %-40s %s\n", "model", "share");
    for (uint32_t m = 0; m < r->models; m++)
        fprintf(out, "  %-40s %.3f\n", metallm__rows_model(rows, m), r->share[m]);
    for (size_t i = 0; i < r->event_count; i++) {
        const struct metallm__replay_event *e = &r->events[i];
        fprintf(out, "%s  step %-9llu %-48s ", i == 0 ? "\n" : "", (unsigned long long)e->step,
                e->what);
        if (isfinite(e->settled_after))
            fprintf(out, "settled after %.0f\n", e->settled_after);
        else
            fputs("not settled\n", out);
    }
}

static int write_page(const char *path, const char *router, const struct metallm__buf *json,
                      metallm_error *err)
{
    struct metallm__outfile file;
    int rc = metallm__outfile_open(&file, path, err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__page page = {.shape = &metallm__asset_replay,
                                       .title = "Learning on a stream of requests",
                                       .router = router,
                                       .json = json->data,
                                       .json_len = json->len};
    rc = metallm__page_write(file.stream, &page, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_commit(&file, err);
    metallm__outfile_abort(&file);
    return rc;
}

static int print_result(const struct cli_io *io, const struct replay_options *o, const char *router,
                        const struct metallm__rows *rows, const struct metallm__replay_result *r,
                        metallm_error *err)
{
    const struct metallm__event_names names = {metallm__rows_models(rows), metallm__rows_model,
                                               rows};
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 30);
    metallm__replay_json(&json, r, &names);
    int rc = metallm__buf_check(&json, err);
    if (rc == METALLM_OK && o->is_json)
        fprintf(io->out, "%s\n", json.data);
    else if (rc == METALLM_OK)
        print_table(io->out, r, rows);
    if (rc == METALLM_OK && o->page != NULL)
        rc = write_page(o->page, router, &json, err);
    metallm__buf_fini(&json);
    return rc;
}

static int run_logged(const struct replay_options *o, const char *router,
                      const struct metallm__rows *rows, const struct metallm__replay_input *in,
                      struct metallm__replay_options *opts, struct metallm__replay_result *result,
                      metallm_error *err)
{
    struct log_writer w = {.rows = rows,
                           .opts = opts,
                           .policy =
                               o->policy != NULL ? o->policy : opts->agent.policy.policy->name};
    int rc = METALLM_OK;
    metallm__buf_init(&w.line, METALLM__LOG_LINE_BYTES_MAX);
    if (o->log != NULL) {
        rc = cli_router_version(router, w.version, err);
        if (rc == METALLM_OK)
            rc = metallm__outfile_open(&w.file, o->log, err);
        opts->decided = write_decision;
        opts->payload = &w;
    }
    if (rc == METALLM_OK)
        rc = metallm__replay(in, opts, result, err);
    if (rc == METALLM_OK && o->log != NULL) {
        rc = metallm__outfile_commit(&w.file, err);
        if (rc != METALLM_OK)
            metallm__replay_fini(result);
    }
    metallm__outfile_abort(&w.file);
    metallm__buf_fini(&w.line);
    return rc;
}

static int replay_rows(const struct cli_io *io, const struct replay_options *o, const char *router,
                       struct metallm__rows *rows, metallm_error *err)
{
    struct metallm__replay_input in;
    struct metallm__replay_options opts;
    struct metallm__event *events = NULL;
    struct metallm__replay_result result;
    struct metallm__replay_task task;
    int rc = metallm__rows_close(rows, &in, err);
    if (rc != METALLM_OK)
        return rc;
    if (metallm__rows_skipped(rows) > 0)
        fprintf(io->err, "metallm: %zu queries left out: not every model's outcome is known\n",
                metallm__rows_skipped(rows));
    const struct metallm__event_names names = {in.models, metallm__rows_model, rows};
    rc = make_settings(o, metallm__rows_scale(rows), &opts, err);
    opts.progress = io->progress;
    if (rc == METALLM_OK && o->events != NULL)
        rc = metallm__events_read(o->events, &names, &events, &opts.event_count, err);
    opts.events = events;
    if (rc == METALLM_OK && metallm__replay_needs_task(&opts)) {
        metallm_error none = {0}; /* without a library the router's estimates have to do */
        if (metallm__rows_task(rows, &task, &none) == METALLM_OK)
            opts.task = &task;
    }
    if (rc == METALLM_OK)
        rc = run_logged(o, router, rows, &in, &opts, &result, err);
    if (rc == METALLM_OK) {
        result.is_tiered = metallm__rows_is_cheap_first(rows);
        result.fine_share = metallm__rows_fine_share(rows);
        rc = print_result(io, o, router, rows, &result, err);
        metallm__replay_fini(&result);
    }
    metallm__free(events);
    return rc;
}

static int run_replay(const struct cli_io *io, const void *options, const char *const *operands,
                      size_t operand_count, metallm_error *err)
{
    const struct replay_options *o = options;
    metallm_router *router = NULL;
    struct metallm__rows *rows = NULL;
    uint8_t *models = NULL;
    int rc = check_options(o, err);
    if (rc == METALLM_OK)
        rc = metallm_router_open(&router, operands[0], err);
    if (rc == METALLM_OK && o->models != NULL)
        rc = cli_replay_models(router, o->models, &models, err);
    if (rc == METALLM_OK)
        rc = metallm__rows_new(&rows, router, (uint32_t)o->axes, models, err);
    if (rc == METALLM_OK && !is_cold(o))
        metallm__rows_cheap_first(rows, o->budget > 0 ? NAN : o->dial);
    if (rc == METALLM_OK)
        rc = cli_replay_read(io, &o->inputs, router, operands + 1, operand_count - 1, rows, err);
    if (rc == METALLM_OK)
        rc = replay_rows(io, o, operands[0], rows, err);
    metallm__rows_free(rows);
    metallm__free(models);
    metallm_router_free(router);
    return rc;
}

const struct cli_verb cli_verb_replay = {
    .name = "replay",
    .summary = "lets a router learn online from recorded outcomes: curves, budgets, changes",
    .operands = "ROUTER [FILES...]",
    .description =
        "Feeds recorded outcomes as a stream of requests: a model is chosen for each, only that "
        "model's outcome is seen, and the router learns from it. Rows are shuffled by --seed; with "
        "several --seeds every figure has its interval.\n\n"
        "Without --online, --hybrid or --offline the router's own estimates are the start, and "
        "what "
        "is learned corrects them; a sudden change of one model is noticed and followed. With them "
        "nothing but its projection is used: that is MetaLLM's linear bandit.\n\n"
        "Rewards are compared with three references that know all outcomes: the best model alone "
        "(under a budget the best mix of two), the best fixed policy on the router's estimates, "
        "and "
        "the oracle. Events change prices or quality on the way, let models come and go, or make "
        "feedback late, rare or noisy; 'settled after' counts the requests until the mix of models "
        "is near where it ends.",
    .examples =
        "  metallm replay router.safetensors holdout.jsonl --budget 0.0003 --seeds 20\n"
        "  metallm replay router.safetensors holdout.jsonl --online --policy linucb:alpha=1\n"
        "  metallm replay router.safetensors holdout.jsonl --events drift.jsonl --report "
        "drift.html",
    .options_size = sizeof(struct replay_options),
    .tables = {cli_inputs_table, replay_table},
    .operands_min = 1,
    .operands_max = 65536,
    .run = run_replay,
};
