/* SPDX-License-Identifier: Apache-2.0
 * select_tasks.c - `metallm select --leave-one-task-out`: how well its choices would have done on
 * the tasks that are known. */
#include "cli/select.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/trials.h"
#include "router/task_library.h"

struct leaving {
    const struct cli_io *io;
    const struct select_options *o;
    metallm_outcomes *outcomes;
    struct metallm__library *lib;
    double penalty[METALLM_MODELS_MAX];
    struct cli_trials trials;
    struct metallm__experiment result;
};

/* The models that trials name by their index, and the trials. */
static void add_trials(struct cli_json *j, yyjson_mut_val *root, struct leaving *l)
{
    yyjson_mut_val *models = yyjson_mut_arr(j->doc), *penalty = yyjson_mut_arr(j->doc);
    for (uint32_t m = 0; m < l->lib->models; m++) {
        const char *name = metallm_outcomes_model_name(l->outcomes, m);
        j->failed |= !yyjson_mut_arr_append(models, yyjson_mut_str(j->doc, name));
        j->failed |= !yyjson_mut_arr_append(penalty, yyjson_mut_real(j->doc, l->penalty[m]));
    }
    cli_json_add(j, root, "models", models);
    cli_json_add(j, root, "penalty", penalty);
    cli_json_add(j, root, "trials", yyjson_mut_raw(j->doc, cli_trials_end(&l->trials)));
}

static int print_experiment_json(struct leaving *l, metallm_error *err)
{
    const struct metallm__experiment *e = &l->result;
    struct cli_json j = {yyjson_mut_doc_new(&metallm__json_alc), false};
    yyjson_mut_val *root = cli_json_object(&j), *rules = yyjson_mut_arr(j.doc);
    yyjson_mut_val *used = cli_json_object(&j), *times = cli_json_object(&j);
    for (uint32_t k = 0; k < METALLM__RULES; k++) {
        yyjson_mut_val *item = cli_json_object(&j);
        cli_json_text(&j, item, "rule", metallm__task_rule_name((enum metallm__task_rule)k));
        cli_json_real(&j, item, "quality", e->quality[k]);
        cli_json_real(&j, item, "gain_error", e->quality_error[k]);
        cli_json_real(&j, item, "correlation", e->correlation[k]);
        cli_json_real(&j, item, "p_error", e->p_error[k]);
        if (l->o->labels > 0)
            cli_json_real(&j, item, "moved", e->moved[k]);
        j.failed |= !yyjson_mut_arr_append(rules, item);
        if (k < METALLM__RULES_OFFERED)
            cli_json_uint(&j, times, metallm__task_rule_name((enum metallm__task_rule)k),
                          e->times_used[k]);
    }
    cli_json_uint(&j, root, "n", l->lib->rows);
    cli_json_uint(&j, root, "tasks", e->judged);
    cli_json_add(&j, root, "rules", rules);
    cli_json_real(&j, used, "quality", e->used);
    cli_json_real(&j, used, "gain_error", e->used_error);
    cli_json_add(&j, used, "times", times);
    cli_json_add(&j, root, "used", used);
    cli_json_real(&j, root, "best_possible", e->possible);
    cli_json_uint(&j, root, "labels", l->o->labels);
    cli_json_real(&j, root, "labelled", e->labelled);
    cli_json_real(&j, root, "labelled_bma", e->labelled_bma);
    add_trials(&j, root, l);
    int rc = metallm__buf_check(&l->trials.text, err);
    if (rc == METALLM_OK)
        rc = cli_json_print(&j, root, l->io->out, err);
    yyjson_mut_doc_free(j.doc);
    return rc;
}

static void print_experiment(const struct leaving *l)
{
    const struct metallm__library *lib = l->lib;
    const struct metallm__experiment *e = &l->result;
    FILE *out = l->io->out;
    fprintf(out, "%zu samples of %u tasks, each task left out in turn\n\n", lib->rows, e->judged);
    fprintf(out, "%-22s quality  to BMA  (error)%s  |p - accuracy|\n", "rule",
            lib->models == 2 ? "       r" : "");
    for (uint32_t k = 0; k < METALLM__RULES; k++) {
        fprintf(out, "%-22s", metallm__task_rule_name((enum metallm__task_rule)k));
        cli_select_number(out, 7, e->quality[k]);
        fprintf(out, " %+.4f", e->quality[k] - e->quality[METALLM__RULE_BMA]);
        fprintf(out, " (%.4f)", e->quality_error[k]);
        if (lib->models == 2)
            cli_select_number(out, 7, e->correlation[k]);
        if (!isnan(e->p_error[k]))
            cli_select_number(out, 11, e->p_error[k]);
        fprintf(out, "\n");
    }
    fprintf(out, "%-22s", "used");
    cli_select_number(out, 7, e->used);
    fprintf(out, " %+.4f (%.4f)  ", e->used - e->quality[METALLM__RULE_BMA], e->used_error);
    for (uint32_t k = 0; k < METALLM__RULES_OFFERED; k++)
        if (e->times_used[k] > 0)
            fprintf(out, " %s x %u", metallm__task_rule_name((enum metallm__task_rule)k),
                    e->times_used[k]);
    fprintf(out, "\n%-22s", "best possible");
    cli_select_number(out, 7, e->possible);
    fprintf(out, "\n");
    if (l->o->labels > 0 && !isnan(e->labelled))
        fprintf(
            out,
            "%llu labels beside s1-k20: %.4f on the rest of each task (BMA %.4f); among the known "
            "samples, the paper's way: s1-k5 %.4f, s3 %.4f\n",
            (unsigned long long)l->o->labels, e->labelled, e->labelled_bma,
            e->moved[METALLM__RULE_S1_PAPER], e->moved[METALLM__RULE_S3]);
}

static void mean_costs(const metallm_outcomes *o, double *cost)
{
    for (uint32_t m = 0; m < metallm_outcomes_model_count(o); m++) {
        double sum = 0, known = 0;
        for (size_t i = 0; i < metallm_outcomes_query_count(o); i++) {
            float c = metallm_outcomes_get(o, i, m).cost_usd;
            if (!isnan(c)) {
                sum += (double)c;
                known++;
            }
        }
        cost[m] = known > 0 ? sum / known : NAN;
    }
}

static int experiment(struct leaving *l, metallm_error *err)
{
    double cost[METALLM_MODELS_MAX];
    mean_costs(l->outcomes, cost);
    cli_select_penalty(l->penalty, cost, l->lib->models, l->o->dial);
    l->lib->how = cli_select_settings(l->o);
    struct metallm__experiment_request q = {.lib = l->lib,
                                            .penalty = l->penalty,
                                            .labels = l->o->labels,
                                            .label_share = l->o->label_share,
                                            .seed = l->o->seed,
                                            .progress = &l->io->progress,
                                            .tried = l->o->is_json ? cli_trials_add : NULL,
                                            .payload = &l->trials};
    return metallm__task_experiment(&q, &l->result, err);
}

int cli_select_leave_out(const struct cli_io *io, const struct select_options *o,
                         const char *const *operands, size_t count, metallm_error *err)
{
    struct leaving l = {.io = io, .o = o};
    struct cli_features features = {0};
    cli_trials_init(&l.trials);
    int rc = cli_inputs_load(io, &o->inputs, operands, count, &l.outcomes, err);
    if (rc == METALLM_OK)
        rc = cli_inputs_features(io, &o->inputs, NULL, l.outcomes, &features, err);
    if (rc == METALLM_OK)
        rc =
            metallm__library_build(&l.lib, l.outcomes, &features.vectors, o->library, o->seed, err);
    if (rc == METALLM_OK && o->clusters > 0)
        rc = metallm__library_cluster(l.lib, (uint32_t)o->clusters, o->seed, err);
    if (rc == METALLM_OK)
        rc = experiment(&l, err);
    if (rc == METALLM_OK && o->is_json)
        rc = print_experiment_json(&l, err);
    else if (rc == METALLM_OK)
        print_experiment(&l);
    cli_trials_fini(&l.trials);
    metallm__library_free(l.lib);
    cli_features_fini(&features);
    metallm_outcomes_free(l.outcomes);
    return rc;
}
