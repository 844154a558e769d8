/* SPDX-License-Identifier: Apache-2.0
 * route_print.c - see route_print.h. */
#include "cli/route_print.h"

#include <math.h>

#include "base/error.h"
#include "base/json.h"

const char *cli_route_reason(enum metallm_reason reason)
{
    switch (reason) {
    case METALLM_REASON_BEST_SCORE:
        return "best_score";
    case METALLM_REASON_TARGET_MET:
        return "target_met";
    case METALLM_REASON_TARGET_MISSED:
        return "target_missed";
    case METALLM_REASON_OVER_MAX_COST:
        return "over_max_cost";
    case METALLM_REASON_EXPLORED:
        return "explored";
    }
    return "unknown";
}

static void print_reason(FILE *out, const struct cli_route_answer *a)
{
    const metallm_constraints *c = a->constraints;
    switch (a->decision.reason) {
    case METALLM_REASON_BEST_SCORE:
        fprintf(out, c->dial > 0 ? "highest score at dial %g" : "highest quality", (double)c->dial);
        break;
    case METALLM_REASON_TARGET_MET:
        fprintf(out, "cheapest that reaches %g", (double)c->target);
        break;
    case METALLM_REASON_TARGET_MISSED:
        fprintf(out, "none reaches %g: highest quality", (double)c->target);
        break;
    case METALLM_REASON_OVER_MAX_COST:
        fprintf(out, "all cost more than $%g: the cheapest", (double)c->max_cost_usd);
        break;
    case METALLM_REASON_EXPLORED:
        fprintf(out, "drawn to learn, with chance %.3g", (double)a->decision.propensity);
        break;
    }
}

static void print_model(FILE *out, const struct cli_route_answer *a, uint32_t m)
{
    const metallm_estimate *e = &a->estimates[m];
    fprintf(out, "; %s %.3f", metallm_router_model_name(a->router, m), (double)e->quality);
    if (!isnan(e->cost_usd))
        fprintf(out, " $%.2g", (double)e->cost_usd);
    if (isnan(a->scores[m]))
        fputs(" (left out)", out);
    else if (a->constraints->dial > 0)
        fprintf(out, " (score %.3f)", (double)a->scores[m]);
}

void cli_route_print_line(FILE *out, const struct cli_route_answer *a)
{
    uint32_t count = metallm_router_model_count(a->router), chosen = a->decision.model;
    fprintf(out, "%s\t", metallm_router_model_name(a->router, chosen));
    print_reason(out, a);
    print_model(out, a, chosen);
    for (uint32_t m = 0; m < count; m++)
        if (m != chosen)
            print_model(out, a, m);
    fputc('\n', out);
}

/* Floats are written with the digits that they have, not with those of their double. */
static bool add_float(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name, float value)
{
    char text[32];
    if (!isfinite(value))
        return yyjson_mut_obj_add_null(doc, object, name);
    snprintf(text, sizeof text, "%.7g", (double)value);
    yyjson_mut_val *number = yyjson_mut_rawcpy(doc, text);
    return number != NULL && yyjson_mut_obj_add_val(doc, object, name, number);
}

static bool add_estimate(yyjson_mut_doc *doc, yyjson_mut_val *list,
                         const struct cli_route_answer *a, uint32_t m)
{
    const metallm_estimate *e = &a->estimates[m];
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    return o != NULL &&
           yyjson_mut_obj_add_str(doc, o, "model", metallm_router_model_name(a->router, m)) &&
           add_float(doc, o, "quality", e->quality) &&
           add_float(doc, o, "quality_sd", e->quality_sd) &&
           add_float(doc, o, "cost_usd", e->cost_usd) &&
           add_float(doc, o, "latency_ms", e->latency_ms) &&
           add_float(doc, o, "score", a->scores[m]);
}

static bool build(yyjson_mut_doc *doc, const struct cli_route_answer *a)
{
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    if (root == NULL)
        return false;
    yyjson_mut_doc_set_root(doc, root);
    const char *name = metallm_router_model_name(a->router, a->decision.model);
    if (!yyjson_mut_obj_add_str(doc, root, "model", name) ||
        !add_float(doc, root, "propensity", a->decision.propensity) ||
        !yyjson_mut_obj_add_str(doc, root, "reason", cli_route_reason(a->decision.reason)))
        return false;
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "estimates");
    bool ok = list != NULL;
    for (uint32_t m = 0; ok && m < metallm_router_model_count(a->router); m++)
        ok = add_estimate(doc, list, a, m);
    return ok;
}

int cli_route_print_json(FILE *out, const struct cli_route_answer *a, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    size_t len = 0;
    char *text = NULL;
    if (doc != NULL && build(doc, a))
        text = yyjson_mut_write_opts(doc, YYJSON_WRITE_NOFLAG, &metallm__json_alc, &len, NULL);
    yyjson_mut_doc_free(doc);
    if (text == NULL)
        return metallm__error_nomem(err, "a decision");
    fwrite(text, 1, len, out);
    fputc('\n', out);
    metallm__json_alc.free(metallm__json_alc.ctx, text);
    return METALLM_OK;
}
