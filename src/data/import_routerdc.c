/* SPDX-License-Identifier: Apache-2.0
 * import_routerdc.c - RouterDC's JSON (Chen et al., 2024), and LLMRouter's sets in that shape: an
 * array of {"question": TEXT, "scores": {MODEL: NUMBER, ...}, "cluster_id": ...}. The task is the
 * file's name. */
#include "data/formats.h"

static bool knows(const struct metallm__probe *probe)
{
    return yyjson_is_str(yyjson_obj_get(probe->record, "question")) &&
           yyjson_is_obj(yyjson_obj_get(probe->record, "scores"));
}

int metallm__routerdc_row(struct metallm__import *im, yyjson_val *record, size_t line,
                          metallm_error *err)
{
    const struct metallm__row row = {.line = line,
                                     .prompt = metallm__import_text(record, "question")};
    yyjson_val *scores = yyjson_obj_get(record, "scores"), *key, *value;
    size_t i, n;
    char room[32];
    yyjson_obj_foreach(scores, i, n, key, value)
    {
        struct metallm__cell *cell;
        const struct metallm__span name = {yyjson_get_str(key), yyjson_get_len(key)};
        int rc = metallm__import_named_cell(im, line, name, &cell, err);
        if (rc == METALLM_OK && cell != NULL)
            rc = metallm__import_value(im, line, METALLM__SCORE, metallm__json_text(value, room),
                                       cell, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__import_row(im, &row, err);
}

static int read_routerdc(struct metallm__import *im, metallm_error *err)
{
    return metallm__import_json(im, metallm__routerdc_row, err);
}

const struct metallm__format metallm__format_routerdc = {"routerdc", knows, read_routerdc};
