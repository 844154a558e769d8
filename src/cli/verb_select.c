/* SPDX-License-Identifier: Apache-2.0
 * verb_select.c - `metallm select`: the model for a new task. The known tasks, each left out in
 * turn: select_tasks.c. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/prompts.h"
#include "cli/select.h"
#include "router/router_state.h"

static const struct cli_option select_table[] = {
    {.name = "labels",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, labels),
     .arg = "N",
     .low = 0,
     .high = 1000000,
     .help = "use the scores of at most N samples of the task, where the file has them"},
    {.name = "dial",
     .kind = CLI_REAL,
     .offset = offsetof(struct select_options, dial),
     .arg = "P",
     .low = 0,
     .high = 1e9,
     .help = "take P times a model's mean cost, as a share of the dearest model's, off its score"},
    {.name = "leave-one-task-out",
     .kind = CLI_FLAG,
     .offset = offsetof(struct select_options, leaves_out),
     .help = "without a router: treat each task of the files as new in turn"},
    {.name = "clusters",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, clusters),
     .arg = "K",
     .low = 0,
     .high = 65536,
     .help = "with --leave-one-task-out: tasks are K clusters of like prompts, not the files' own"},
    {.name = "label-share",
     .kind = CLI_REAL,
     .offset = offsetof(struct select_options, label_share),
     .arg = "A",
     .low = 0,
     .high = 1,
     .help = "with --leave-one-task-out and --labels: label at most this share of each task"},
    {.name = "neighbours",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, neighbours),
     .arg = "K",
     .fallback = "5",
     .low = 1,
     .high = METALLM__TASK_K_MAX,
     .help = "known samples whose scores stand for a prompt's, in the paper's S1, S2 and S3"},
    {.name = "nearest",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, nearest),
     .arg = "KAPPA",
     .fallback = "19",
     .low = 1,
     .high = METALLM__TASK_K_MAX,
     .help = "known samples in a prompt's distance to what is known"},
    {.name = "width",
     .kind = CLI_REAL,
     .offset = offsetof(struct select_options, width),
     .arg = "W",
     .fallback = "0.09",
     .low = 1e-6,
     .high = 1e6,
     .help = "of S3's kernel over distances of tasks"},
    {.name = "sure",
     .kind = CLI_REAL,
     .offset = offsetof(struct select_options, sure),
     .arg = "ETA",
     .fallback = "0.6",
     .low = 1e-6,
     .high = 1,
     .help = "chance of beating the best on average that S3's choice must have"},
    {.name = "library",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, library),
     .arg = "N",
     .fallback = "20000",
     .low = 1,
     .high = METALLM__LIBRARY_ROWS_MAX,
     .help = "with --leave-one-task-out: samples kept of the files, evenly by task"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = offsetof(struct select_options, seed),
     .arg = "N",
     .fallback = "1",
     .low = 0,
     .high = 9007199254740992.0,
     .help = "seed of draws, clusters, and of which samples are labelled"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct select_options, is_json),
     .help = "print one JSON object"},
    {0},
};

struct selecting {
    const struct cli_io *io;
    const struct select_options *o;
    metallm_router *router;
    metallm_outcomes *outcomes;
    struct cli_features features;
    float *x;                            /* heads */
    double estimate[METALLM_MODELS_MAX]; /* mean of the router's own estimates of quality */
    float *label;                        /* queries x models of the router; NaN */
    double penalty[METALLM_MODELS_MAX];
    struct metallm__selection result;
    const metallm_router *judge; /* router, or the coarse one inside it */
    double lead;                 /* of the coarse one's choice over the next */
};

struct order {
    uint64_t key;
    size_t query;
};

static int by_key(const void *a, const void *b)
{
    const struct order *p = a, *q = b;
    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    return (p->query > q->query) - (p->query < q->query);
}

static bool has_score(const struct selecting *s, size_t query)
{
    for (uint32_t m = 0; m < metallm_outcomes_model_count(s->outcomes); m++) {
        const char *name = metallm_outcomes_model_name(s->outcomes, m);
        if (metallm_router_find_model(s->router, name) != UINT32_MAX &&
            !isnan(metallm_outcomes_get(s->outcomes, query, m).score))
            return true;
    }
    return false;
}

/* Scores of the first N samples with any, in an order drawn from the seed and the prompts. */
static int take_labels(struct selecting *s, metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(s->outcomes), taken = 0;
    uint32_t models = metallm_router_model_count(s->router);
    struct order *order = metallm__alloc(n, sizeof *order);
    s->label = metallm__alloc(n, sizeof *s->label * models);
    if (order == NULL || s->label == NULL) {
        metallm__free(order);
        return metallm__error_nomem(err, "labels");
    }
    for (size_t i = 0; i < n * models; i++)
        s->label[i] = NAN;
    for (size_t i = 0; i < n; i++) {
        const char *prompt = metallm_outcomes_query(s->outcomes, i).prompt;
        order[i] = (struct order){metallm__hash_bytes(prompt, strlen(prompt), s->o->seed), i};
    }
    qsort(order, n, sizeof *order, by_key);
    for (size_t i = 0; i < n && taken < s->o->labels; i++) {
        size_t query = order[i].query;
        if (!has_score(s, query))
            continue;
        taken++;
        for (uint32_t m = 0; m < models; m++) {
            uint32_t from =
                metallm_outcomes_find_model(s->outcomes, metallm_router_model_name(s->router, m));
            if (from != UINT32_MAX)
                s->label[query * models + m] = metallm_outcomes_get(s->outcomes, query, from).score;
        }
    }
    metallm__free(order);
    return METALLM_OK;
}

static int mean_estimates(struct selecting *s, const metallm_router *judge, metallm_error *err)
{
    size_t n = s->features.vectors.rows;
    uint32_t models = metallm_router_model_count(judge);
    metallm_estimate *all = metallm__alloc(n, sizeof *all * models);
    int rc = all == NULL ? metallm__error_nomem(err, "estimates")
                         : metallm_router_estimate(judge, &s->features.vectors, all, err);
    for (uint32_t m = 0; rc == METALLM_OK && m < models; m++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)all[i * models + m].quality;
        s->estimate[m] = sum / (double)n;
    }
    metallm__free(all);
    return rc;
}

/* The choice by one router: s->router, or the coarse one inside it. */
static int judge_by(struct selecting *s, const metallm_router *judge,
                    const struct cli_inputs_options *inputs, metallm_error *err)
{
    struct metallm__library *lib = judge->tasks;
    cli_features_fini(&s->features);
    metallm__free(s->x);
    s->x = NULL;
    int rc = cli_inputs_features(s->io, inputs, metallm_router_encoder(judge), s->outcomes,
                                 &s->features, err);
    if (rc != METALLM_OK)
        return rc;
    if (lib == NULL || lib->dim != s->features.vectors.layout.head)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "the router holds no samples of known tasks: train it again");
    lib->how = cli_select_settings(s->o);
    rc = mean_estimates(s, judge, err);
    if (rc != METALLM_OK)
        return rc;
    size_t n = s->features.vectors.rows;
    s->x = metallm__alloc(n, sizeof *s->x * lib->dim);
    if (s->x == NULL)
        return metallm__error_nomem(err, "vectors");
    metallm__library_heads(&s->features.vectors, s->x);
    struct metallm__select_request q = {lib, s->x, s->label, s->penalty, n, s->o->seed};
    s->judge = judge;
    return metallm__task_select(&q, &s->result, err);
}

/* How far the scores would have to move to overturn the choice; below 0 where it is not the best
 * score's. */
static double lead_of(const struct metallm__selection *r, uint32_t models)
{
    double next = -INFINITY;
    for (uint32_t m = 0; m < models; m++)
        if (m != r->choice)
            next = fmax(next, r->score[m]);
    return r->score[r->choice] - next;
}

/* Cheap first, as for single queries: the coarse router's choice stands if its lead is at least the
 * margin. A task's score is a mean over its prompts, and moves less than a single one's. */
static int choose(struct selecting *s, metallm_error *err)
{
    const metallm_router *coarse = s->router->coarse;
    const uint32_t models = metallm_router_model_count(s->router);
    struct cli_inputs_options inputs = s->o->inputs;
    double cost[METALLM_MODELS_MAX];
    int rc = METALLM_OK;
    for (uint32_t m = 0; m < models; m++)
        cost[m] = metallm_router_mean_cost(s->router, m);
    cli_select_penalty(s->penalty, cost, models, s->o->dial);
    s->lead = -INFINITY;
    if (coarse != NULL) {
        inputs = cli_inputs_of_tier(&s->o->inputs, true);
        rc = judge_by(s, coarse, &inputs, err);
        s->lead = rc == METALLM_OK ? lead_of(&s->result, models) : 0;
        inputs = cli_inputs_of_tier(&s->o->inputs, false);
    }
    if (rc == METALLM_OK && (coarse == NULL || !(s->lead >= s->router->margin)))
        rc = judge_by(s, s->router, &inputs, err);
    return rc;
}

static const char *model_name(const struct selecting *s, uint32_t model)
{
    return model == UINT32_MAX ? NULL : metallm_router_model_name(s->router, model);
}

static int print_selection_json(const struct selecting *s, metallm_error *err)
{
    const struct metallm__selection *r = &s->result;
    struct cli_json j = {yyjson_mut_doc_new(&metallm__json_alc), false};
    yyjson_mut_val *root = cli_json_object(&j), *scores = yyjson_mut_arr(j.doc);
    yyjson_mut_val *rules = yyjson_mut_arr(j.doc);
    for (uint32_t m = 0; m < metallm_router_model_count(s->router); m++) {
        yyjson_mut_val *item = cli_json_object(&j);
        cli_json_text(&j, item, "model", model_name(s, m));
        cli_json_real(&j, item, "s1", r->s1[m]);
        cli_json_real(&j, item, "s2", r->s2[m]);
        cli_json_real(&j, item, "s3", r->s3[m]);
        cli_json_real(&j, item, "bma", r->mean[m]);
        cli_json_real(&j, item, "estimate", s->estimate[m]);
        cli_json_real(&j, item, "score", r->score[m]);
        cli_json_real(&j, item, "p_best", r->p_best[m]);
        j.failed |= !yyjson_mut_arr_append(scores, item);
    }
    for (uint32_t k = 0; k < METALLM__RULES_OFFERED; k++) {
        yyjson_mut_val *item = cli_json_object(&j);
        cli_json_text(&j, item, "rule", metallm__task_rule_name((enum metallm__task_rule)k));
        cli_json_real(&j, item, "quality", r->loto.quality[k]);
        cli_json_real(&j, item, "gain", r->loto.gain[k]);
        cli_json_real(&j, item, "gain_error", r->loto.gain_error[k]);
        j.failed |= !yyjson_mut_arr_append(rules, item);
    }
    cli_json_add(&j, root, "scores", scores);
    cli_json_text(&j, root, "choice", model_name(s, r->choice));
    cli_json_text(&j, root, "bma", model_name(s, r->bma));
    cli_json_text(&j, root, "paper_choice", model_name(s, r->paper_choice));
    cli_json_real(&j, root, "distance", r->distance);
    cli_json_text(&j, root, "rule", metallm__task_rule_name(r->loto.best));
    cli_json_add(&j, root, "rules", rules);
    cli_json_uint(&j, root, "n", s->features.vectors.rows);
    cli_json_uint(&j, root, "labels", r->labels);
    cli_json_uint(&j, root, "known_tasks", s->judge->tasks->tasks);
    cli_json_text(&j, root, "encoder", metallm_router_encoder(s->judge));
    if (s->router->coarse != NULL) {
        cli_json_real(&j, root, "tier_lead", s->lead);
        cli_json_real(&j, root, "tier_margin", s->router->margin);
        cli_json_real(&j, root, "fine_share", s->judge == s->router ? 1 : 0);
    }
    int rc = cli_json_print(&j, root, s->io->out, err);
    yyjson_mut_doc_free(j.doc);
    return rc;
}

static void print_selection(const struct selecting *s)
{
    const struct metallm__selection *r = &s->result;
    FILE *out = s->io->out;
    fprintf(out, "%zu prompts, %u known tasks, distance %.3f%s\n\n", s->features.vectors.rows,
            s->judge->tasks->tasks, r->distance, r->labels > 0 ? ", labels used" : "");
    if (s->router->coarse != NULL)
        fprintf(out, "cheap first: the lead is %.4f, the margin %.4f: judged by %s\n\n", s->lead,
                s->router->margin, metallm_router_encoder(s->judge));
    fprintf(out, "%-44s      S1      S2      S3     BMA  router   score  P(best)\n", "model");
    for (uint32_t m = 0; m < metallm_router_model_count(s->router); m++) {
        fprintf(out, "%-42.42s %c", model_name(s, m), m == r->choice ? '*' : ' ');
        const double columns[] = {r->s1[m],       r->s2[m],    r->s3[m],    r->mean[m],
                                  s->estimate[m], r->score[m], r->p_best[m]};
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            cli_select_number(out, 7, columns[c]);
        fprintf(out, "\n");
    }
    fprintf(out, "\nchoice: %s, by rule '%s'", model_name(s, r->choice),
            metallm__task_rule_name(r->loto.best));
    if (r->loto.judged >= METALLM__TASKS_MIN)
        fprintf(out, " (%.4f on %u known tasks, each left out in turn; BMA %.4f)",
                r->loto.quality[r->loto.best], r->loto.judged, r->loto.quality[METALLM__RULE_BMA]);
    fprintf(out, "\nthe paper's choice (S3, back to BMA): %s; best on average: %s\n",
            model_name(s, r->paper_choice), model_name(s, r->bma));
    if (r->labels > 0)
        fprintf(out, "%zu labels beside the rule's score, which counts as %.0f\n", r->labels,
                METALLM__LABEL_PRIOR);
}

static int select_model(const struct cli_io *io, const struct select_options *o,
                        const char *const *operands, size_t count, metallm_error *err)
{
    struct selecting s = {.io = io, .o = o};
    if (count > 2)
        return metallm__error_set(err, CLI_EUSAGE, "usage: metallm select ROUTER TASKFILE");
    int rc = metallm_router_open(&s.router, operands[0], err);
    if (rc == METALLM_OK)
        rc = cli_prompts_load(io, &o->inputs, count > 1 ? operands[1] : NULL, &s.outcomes, err);
    if (rc == METALLM_OK)
        rc = o->labels > 0 ? take_labels(&s, err) : METALLM_OK;
    if (rc == METALLM_OK)
        rc = choose(&s, err);
    if (rc == METALLM_OK && o->labels > 0 && s.result.labels == 0)
        fprintf(io->err, "metallm: the file has no scores of the router's models: no labels\n");
    if (rc == METALLM_OK && o->is_json)
        rc = print_selection_json(&s, err);
    else if (rc == METALLM_OK)
        print_selection(&s);
    metallm__free(s.label);
    metallm__free(s.x);
    cli_features_fini(&s.features);
    metallm_outcomes_free(s.outcomes);
    metallm_router_free(s.router);
    return rc;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t count, metallm_error *err)
{
    const struct select_options *o = options;
    if (o->leaves_out)
        return cli_select_leave_out(io, o, operands, count, err);
    if (o->clusters > 0)
        return metallm__error_set(err, CLI_EUSAGE, "--clusters needs --leave-one-task-out");
    if (count == 0)
        return metallm__error_set(err, CLI_EUSAGE, "usage: metallm select ROUTER TASKFILE");
    return select_model(io, o, operands, count, err);
}

const struct cli_verb cli_verb_select = {
    .name = "select",
    .summary = "the best model for a new task, from prompts without answers",
    .operands = "ROUTER TASKFILE",
    .description =
        "Estimates how well each model would do on a whole task that the router has never seen, "
        "from its prompts alone: the scores S1, S2 and S3 of arXiv 2309.15789, the mean over the "
        "known tasks (BMA), and the chance that each model is the best. The choice is made by the "
        "rule that did best when each known task was left out in turn, if it beat BMA by more "
        "than one standard error; else it is the best model on average. The paper's own choice "
        "and the mean of the router's estimates, prompt by prompt, stand beside it.\n\n"
        "TASKFILE: a prompt a line (.txt, or - for standard input), objects with a text "
        "\"prompt\" one a line, or any file of outcomes, whose scores --labels may use.\n\n"
        "With --leave-one-task-out the operands are files of outcomes (or --store is given) "
        "instead of a router: every task is taken as new in turn, and the mean true score of each "
        "rule's choices is printed; with --json also what each rule said of each task.",
    .examples = "  metallm select router.safetensors tickets.txt\n"
                "  metallm select router.safetensors task.csv --labels 50 --json\n"
                "  metallm select --leave-one-task-out mmlu/ --labels 50",
    .options_size = sizeof(struct select_options),
    .tables = {cli_inputs_table, select_table},
    .operands_min = 0,
    .operands_max = SIZE_MAX,
    .run = run,
};
