/* SPDX-License-Identifier: Apache-2.0
 * import_llmrouter.c - LLMRouter's (ulab-uiuc) JSON in its three shapes:
 *   routing data, a row a call: {"task_name", "query", "ground_truth", "model_name", "performance",
 *     "input_tokens", "output_tokens", "response_time" (seconds), "response", ...};
 *   lists: {"query", "llm_name_list": [MODEL...], "perf_list": [NUMBER...]};
 *   and {"question", "scores"}, which RouterDC's importer reads. */
#include "data/formats.h"

#include <math.h>

static bool is_call(yyjson_val *record)
{
    return yyjson_is_str(yyjson_obj_get(record, "model_name")) &&
           yyjson_obj_get(record, "performance") != NULL;
}

static bool is_lists(yyjson_val *record)
{
    return yyjson_is_arr(yyjson_obj_get(record, "llm_name_list")) &&
           yyjson_is_arr(yyjson_obj_get(record, "perf_list"));
}

static bool knows(const struct metallm__probe *probe)
{
    return is_call(probe->record) || is_lists(probe->record);
}

static int read_call(struct metallm__import *im, yyjson_val *record, size_t line,
                     metallm_error *err)
{
    static const struct {
        enum metallm__field field;
        const char *key;
    } members[] = {{METALLM__SCORE, "performance"},
                   {METALLM__LATENCY, "response_time"},
                   {METALLM__TOKENS_IN, "input_tokens"},
                   {METALLM__TOKENS_OUT, "output_tokens"}};
    char room[32];
    const struct metallm__row row = {
        .line = line,
        .task = metallm__import_text(record, "task_name"),
        .prompt = metallm__import_text(record, "query"),
        .label = metallm__import_any_text(record, "ground_truth", room),
        .is_long = true,
    };
    struct metallm__cell *cell;
    int rc = metallm__import_named_cell(im, line, metallm__import_text(record, "model_name"), &cell,
                                        err);
    for (size_t i = 0; rc == METALLM_OK && cell != NULL && i < sizeof members / sizeof *members;
         i++)
        rc = metallm__import_member(im, line, members[i].field, record, members[i].key, cell, err);
    if (rc != METALLM_OK)
        return rc;
    if (cell != NULL) {
        cell->outcome.latency_ms *= 1000; /* seconds in the file */
        if (isinf(cell->outcome.latency_ms))
            cell->outcome.latency_ms = NAN;
        cell->response = metallm__import_text(record, "response");
    }
    return metallm__import_row(im, &row, err);
}

static int read_lists(struct metallm__import *im, yyjson_val *record, size_t line,
                      metallm_error *err)
{
    yyjson_val *names = yyjson_obj_get(record, "llm_name_list");
    yyjson_val *scores = yyjson_obj_get(record, "perf_list");
    const struct metallm__row row = {.line = line,
                                     .task = metallm__import_text(record, "task_name"),
                                     .prompt = metallm__import_text(record, "query")};
    if (yyjson_arr_size(names) != yyjson_arr_size(scores)) {
        im->counts.rows++;
        return metallm__import_problem(im, METALLM__COSTS_ROW, line, err,
                                       "%zu names of models and %zu scores", yyjson_arr_size(names),
                                       yyjson_arr_size(scores));
    }
    yyjson_arr_iter score = yyjson_arr_iter_with(scores);
    yyjson_val *name;
    size_t i, n;
    char room[32];
    yyjson_arr_foreach(names, i, n, name)
    {
        struct metallm__cell *cell;
        const struct metallm__span model = {yyjson_get_str(name), yyjson_get_len(name)};
        struct metallm__span text = metallm__json_text(yyjson_arr_iter_next(&score), room);
        int rc = metallm__import_named_cell(im, line, model, &cell, err);
        if (rc == METALLM_OK && cell != NULL)
            rc = metallm__import_value(im, line, METALLM__SCORE, text, cell, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__import_row(im, &row, err);
}

static int read_row(struct metallm__import *im, yyjson_val *record, size_t line, metallm_error *err)
{
    if (is_call(record))
        return read_call(im, record, line, err);
    return is_lists(record) ? read_lists(im, record, line, err)
                            : metallm__routerdc_row(im, record, line, err);
}

static int read_llmrouter(struct metallm__import *im, metallm_error *err)
{
    return metallm__import_json(im, read_row, err);
}

const struct metallm__format metallm__format_llmrouter = {"llmrouter", knows, read_llmrouter};
