/* SPDX-License-Identifier: Apache-2.0
 * import_routerarena.c - RouterArena's results. Cached results, JSON Lines, a file a model:
 * {"global_index", "question", "llm_selected", "generated_answer", "token_usage": {"input_tokens",
 * "output_tokens"}, "evaluation_result": {"score", "inference_cost", "ground_truth"}}; predictions
 * of a router, an array: {"global index", "prompt", "prediction", "generated_result", "accuracy",
 * "cost"}. The task is what stands before the last "_" of the index.
 * The benchmark writes a cost of 0 for models that its cost file lacked: where tokens were used,
 * such a cost is not known, and a cost file or price file fills it. */
#include "data/formats.h"

#include <math.h>
#include <string.h>

static yyjson_val *index_of(yyjson_val *record)
{
    yyjson_val *index = yyjson_obj_get(record, "global_index");
    return index != NULL ? index : yyjson_obj_get(record, "global index");
}

static bool knows(const struct metallm__probe *probe)
{
    return yyjson_is_str(index_of(probe->record)) &&
           (yyjson_obj_get(probe->record, "llm_selected") != NULL ||
            yyjson_obj_get(probe->record, "prediction") != NULL);
}

static struct metallm__span task_of(struct metallm__span index)
{
    for (size_t len = index.len; len > 0; len--)
        if (index.bytes[len - 1] == '_')
            return (struct metallm__span){index.bytes, len - 1};
    return (struct metallm__span){NULL, 0};
}

/* The parts of a record that the two kinds name differently. */
struct parts {
    yyjson_val *scored, *usage, *answered; /* objects */
    const char *score, *cost;              /* members of scored */
};

static int read_cell(struct metallm__import *im, size_t line, const struct parts *p,
                     struct metallm__cell *cell, metallm_error *err)
{
    int rc = metallm__import_member(im, line, METALLM__SCORE, p->scored, p->score, cell, err);
    if (rc == METALLM_OK)
        rc = metallm__import_member(im, line, METALLM__COST, p->scored, p->cost, cell, err);
    if (rc == METALLM_OK)
        rc = metallm__import_member(im, line, METALLM__TOKENS_IN, p->usage, "input_tokens", cell,
                                    err);
    if (rc == METALLM_OK)
        rc = metallm__import_member(im, line, METALLM__TOKENS_OUT, p->usage, "output_tokens", cell,
                                    err);
    if (rc != METALLM_OK)
        return rc;
    metallm_outcome *o = &cell->outcome;
    if (o->cost_usd == 0 && (o->input_tokens > 0 || o->output_tokens > 0))
        o->cost_usd = NAN;
    cell->response = metallm__import_text(p->answered, "generated_answer");
    return METALLM_OK;
}

static int read_row(struct metallm__import *im, yyjson_val *record, size_t line, metallm_error *err)
{
    bool is_cached = yyjson_obj_get(record, "llm_selected") != NULL;
    yyjson_val *index = index_of(record);
    yyjson_val *evaluation = yyjson_obj_get(record, "evaluation_result");
    yyjson_val *result = is_cached ? record : yyjson_obj_get(record, "generated_result");
    const struct parts p = {
        .scored = is_cached ? evaluation : record,
        .usage = yyjson_obj_get(result, "token_usage"),
        .answered = result,
        .score = is_cached ? "score" : "accuracy",
        .cost = is_cached ? "inference_cost" : "cost",
    };
    char room[32];
    const struct metallm__span id = {yyjson_get_str(index), yyjson_get_len(index)};
    const struct metallm__row row = {
        .line = line,
        .id = id,
        .task = task_of(id),
        .prompt = metallm__import_text(record, is_cached ? "question" : "prompt"),
        .label = metallm__import_any_text(evaluation, "ground_truth", room),
        .is_long = true,
    };
    struct metallm__cell *cell;
    int rc = metallm__import_named_cell(
        im, line, metallm__import_text(record, is_cached ? "llm_selected" : "prediction"), &cell,
        err);
    if (rc == METALLM_OK && cell != NULL)
        rc = read_cell(im, line, &p, cell, err);
    return rc == METALLM_OK ? metallm__import_row(im, &row, err) : rc;
}

static int read_routerarena(struct metallm__import *im, metallm_error *err)
{
    return metallm__import_json(im, read_row, err);
}

const struct metallm__format metallm__format_routerarena = {"routerarena", knows, read_routerarena};
