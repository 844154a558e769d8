/* SPDX-License-Identifier: Apache-2.0
 * evaluate_json.c - the object of `evaluate --json`; the report page carries the same one. The
 * fields are described in docs/evaluation.md. */
#include <math.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/evaluate.h"

struct writer {
    yyjson_mut_doc *doc;
    const struct metallm__evaluation *e;
    bool failed; /* something could not be added: no memory */
};

static const struct {
    const char *name, *interval;
    enum metallm__figure figure;
} figure_names[] = {
    {"aiq", "aiq_ci", METALLM__FIG_AIQ},
    {"zero_aiq", "zero_aiq_ci", METALLM__FIG_ZERO_AIQ},
    {"aiq_gain", "aiq_gain_ci", METALLM__FIG_AIQ_GAIN},
    {"quality_max", "quality_max_ci", METALLM__FIG_QUALITY_MAX},
    {"quality_gain", "quality_gain_ci", METALLM__FIG_QUALITY_GAIN},
    {"match_best_cost", "match_best_cost_ci", METALLM__FIG_MATCH},
};

/* JSON has neither NaN nor infinity: what is not known or never reached is null. */
static yyjson_mut_val *real(struct writer *w, double v)
{
    return isfinite(v) ? yyjson_mut_real(w->doc, v) : yyjson_mut_null(w->doc);
}

/* A float at the shortest decimal that gives it back (0.1, not 0.10000000149). */
static yyjson_mut_val *shortest(struct writer *w, float v)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    return real(w, strtod(text, NULL));
}

/* key must outlive the document: literals and names of models do. */
static void add(struct writer *w, yyjson_mut_val *object, const char *key, yyjson_mut_val *value)
{
    w->failed |= !yyjson_mut_obj_add(object, yyjson_mut_str(w->doc, key), value);
}

static void append(struct writer *w, yyjson_mut_val *list, yyjson_mut_val *value)
{
    w->failed |= !yyjson_mut_arr_append(list, value);
}

static void add_interval(struct writer *w, yyjson_mut_val *object, const char *key,
                         const struct metallm__interval *ci)
{
    if (w->e->resamples == 0)
        return;
    yyjson_mut_val *pair = yyjson_mut_arr(w->doc);
    append(w, pair, real(w, ci->low));
    append(w, pair, real(w, ci->high));
    add(w, object, key, pair);
}

static void add_policy(struct writer *w, yyjson_mut_val *object, size_t policy)
{
    const struct metallm__policy_result *p = &w->e->policies[policy];
    add(w, object, "quality", real(w, p->mean.quality));
    add(w, object, "cost", real(w, p->mean.cost));
    add_interval(w, object, "quality_ci", &p->quality_ci);
    add_interval(w, object, "cost_ci", &p->cost_ci);
}

static yyjson_mut_val *policy_object(struct writer *w, const char *name, size_t policy)
{
    yyjson_mut_val *object = yyjson_mut_obj(w->doc);
    if (name != NULL)
        add(w, object, "name", yyjson_mut_str(w->doc, name));
    add_policy(w, object, policy);
    return object;
}

static yyjson_mut_val *models(struct writer *w)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (uint32_t k = 0; k < w->e->models; k++)
        append(w, list, policy_object(w, w->e->names[k], k));
    return list;
}

static yyjson_mut_val *curve(struct writer *w)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (size_t d = 0; d < w->e->curve_count; d++) {
        const struct metallm__dial_result *at = &w->e->curve[d];
        yyjson_mut_val *object = yyjson_mut_obj(w->doc), *share = yyjson_mut_obj(w->doc);
        add(w, object, "dial", shortest(w, at->dial));
        add_policy(w, object, at->policy);
        for (uint32_t k = 0; k < w->e->models; k++)
            add(w, share, w->e->names[k], shortest(w, at->share[k]));
        add(w, object, "share", share);
        if (w->e->tier_count > 0)
            add(w, object, "fine_share", shortest(w, at->fine));
        append(w, list, object);
    }
    return list;
}

/* The hull that AIQ is the area of. */
static yyjson_mut_val *hull(struct writer *w)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (size_t i = 0; i < w->e->hull_count; i++) {
        yyjson_mut_val *object = yyjson_mut_obj(w->doc);
        add(w, object, "cost", real(w, w->e->hull[i].cost));
        add(w, object, "quality", real(w, w->e->hull[i].quality));
        append(w, list, object);
    }
    return list;
}

static yyjson_mut_val *rules(struct writer *w, const char *name,
                             const struct metallm__rule_result *rule, size_t count)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (size_t t = 0; t < count; t++) {
        yyjson_mut_val *object = yyjson_mut_obj(w->doc);
        const struct metallm__policy_result *kept = &w->e->policies[rule[t].kept];
        add(w, object, name, shortest(w, rule[t].value));
        add(w, object, "attainable", real(w, rule[t].attainable));
        add(w, object, "kept_quality", real(w, kept->mean.quality));
        add_interval(w, object, "kept_quality_ci", &kept->quality_ci);
        add(w, object, "kept_cost", real(w, kept->mean.cost));
        add_interval(w, object, "kept_cost_ci", &kept->cost_ci);
        add_policy(w, object, rule[t].policy);
        if (w->e->tier_count > 0)
            add(w, object, "fine_share", real(w, rule[t].fine));
        append(w, list, object);
    }
    return list;
}

static yyjson_mut_val *quality_at(struct writer *w)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (size_t s = 0; s < METALLM__EVAL_COST_SHARES; s++) {
        size_t figure = METALLM__FIG_QUALITY_AT + s;
        yyjson_mut_val *object = yyjson_mut_obj(w->doc);
        add(w, object, "share_of_best_cost", real(w, metallm__eval_cost_share(s)));
        add(w, object, "quality", real(w, w->e->figures[figure]));
        add_interval(w, object, "quality_ci", &w->e->intervals[figure]);
        append(w, list, object);
    }
    return list;
}

static yyjson_mut_val *tier_object(struct writer *w, const struct metallm__tier_result *tier)
{
    yyjson_mut_val *object = yyjson_mut_obj(w->doc);
    add(w, object, "margin", real(w, tier->margin));
    add(w, object, "fine_share", real(w, tier->share));
    add(w, object, "quality", real(w, tier->quality));
    add(w, object, "aiq", real(w, tier->aiq));
    add(w, object, "lost", real(w, tier->lost));
    add_interval(w, object, "lost_ci", &tier->lost_ci);
    return object;
}

/* Cheap first: the router's own margin, and other margins beside it. */
static yyjson_mut_val *tiers(struct writer *w)
{
    const struct metallm__evaluation *e = w->e;
    yyjson_mut_val *object = tier_object(w, &e->tiers[0]), *list = yyjson_mut_arr(w->doc);
    for (size_t t = 1; t < e->tier_count; t++)
        append(w, list, tier_object(w, &e->tiers[t]));
    add(w, object, "margins", list);
    return object;
}

static yyjson_mut_val *bins(struct writer *w)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (size_t b = 0; b < w->e->calibration.bin_count; b++) {
        const struct metallm__bin *bin = &w->e->calibration.bins[b];
        yyjson_mut_val *object = yyjson_mut_obj(w->doc);
        add(w, object, "predicted", real(w, bin->predicted));
        add(w, object, "observed", real(w, bin->observed));
        add(w, object, "count", yyjson_mut_uint(w->doc, bin->count));
        append(w, list, object);
    }
    return list;
}

static void fill(struct writer *w, yyjson_mut_val *root)
{
    const struct metallm__evaluation *e = w->e;
    add(w, root, "n", yyjson_mut_uint(w->doc, e->n));
    add(w, root, "models", models(w));
    add(w, root, "oracle", policy_object(w, NULL, e->oracle));
    add(w, root, "random", policy_object(w, NULL, e->random));
    add(w, root, "bma", policy_object(w, e->names[e->bma], e->bma));
    add(w, root, "best", policy_object(w, e->names[e->best], e->best));
    add(w, root, "curve", curve(w));
    add(w, root, "hull", hull(w));
    for (size_t f = 0; f < sizeof figure_names / sizeof *figure_names; f++) {
        add(w, root, figure_names[f].name, real(w, e->figures[figure_names[f].figure]));
        add_interval(w, root, figure_names[f].interval, &e->intervals[figure_names[f].figure]);
    }
    add(w, root, "quality_at", quality_at(w));
    add(w, root, "targets", rules(w, "target", e->targets, METALLM__EVAL_TARGETS));
    add(w, root, "max_costs", rules(w, "max_cost_usd", e->caps, e->cap_count));
    if (e->tier_count > 0)
        add(w, root, "tiers", tiers(w));
    add(w, root, "brier", real(w, e->calibration.brier));
    add(w, root, "ece", real(w, e->calibration.ece));
    add(w, root, "ece_noise", real(w, e->calibration.noise));
    add(w, root, "calibration", bins(w));
    add(w, root, "scores_missing", yyjson_mut_uint(w->doc, e->scores_missing));
    add(w, root, "models_not_in_files", yyjson_mut_uint(w->doc, e->not_in_files));
    add(w, root, "models_not_in_router", yyjson_mut_uint(w->doc, e->not_in_router));
    add(w, root, "seed", yyjson_mut_uint(w->doc, e->seed));
    add(w, root, "resamples", yyjson_mut_uint(w->doc, e->resamples));
}

int metallm__evaluation_json(const struct metallm__evaluation *e, struct metallm__buf *out,
                             metallm_error *err)
{
    struct writer w = {yyjson_mut_doc_new(&metallm__json_alc), e, false};
    char *text = NULL;
    size_t len = 0;
    if (w.doc != NULL) {
        yyjson_mut_val *root = yyjson_mut_obj(w.doc);
        yyjson_mut_doc_set_root(w.doc, root);
        fill(&w, root);
        if (!w.failed)
            text =
                yyjson_mut_write_opts(w.doc, YYJSON_WRITE_NOFLAG, &metallm__json_alc, &len, NULL);
    }
    yyjson_mut_doc_free(w.doc);
    if (text == NULL)
        return metallm__error_nomem(err, "the result as JSON");
    metallm__buf_add(out, text, len);
    metallm__free(text);
    return metallm__buf_check(out, err);
}
