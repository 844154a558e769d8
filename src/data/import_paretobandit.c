/* SPDX-License-Identifier: Apache-2.0
 * import_paretobandit.c - ParetoBandit's JSON Lines: {"prompt": TEXT, "source": TASK, "arms":
 * {MODEL:
 * {"reward": NUMBER, "cost": DOLLARS}, ...}, ...}. */
#include "data/formats.h"

static bool knows(const struct metallm__probe *probe)
{
    return yyjson_is_str(yyjson_obj_get(probe->record, "prompt")) &&
           yyjson_is_obj(yyjson_obj_get(probe->record, "arms"));
}

static int read_arm(struct metallm__import *im, size_t line, yyjson_val *name, yyjson_val *arm,
                    metallm_error *err)
{
    struct metallm__cell *cell;
    const struct metallm__span model = {yyjson_get_str(name), yyjson_get_len(name)};
    char shown[METALLM__SHOWN_BYTES];
    int rc = metallm__import_named_cell(im, line, model, &cell, err);
    if (rc != METALLM_OK || cell == NULL)
        return rc;
    if (!yyjson_is_obj(arm))
        return metallm__import_problem(im, METALLM__COSTS_CELL, line, err,
                                       "arm '%s' is not an object with reward and cost",
                                       metallm__text_show(shown, model));
    rc = metallm__import_member(im, line, METALLM__SCORE, arm, "reward", cell, err);
    if (rc == METALLM_OK)
        rc = metallm__import_member(im, line, METALLM__COST, arm, "cost", cell, err);
    return rc;
}

static int read_row(struct metallm__import *im, yyjson_val *record, size_t line, metallm_error *err)
{
    const struct metallm__row row = {.line = line,
                                     .task = metallm__import_text(record, "source"),
                                     .prompt = metallm__import_text(record, "prompt")};
    yyjson_val *arms = yyjson_obj_get(record, "arms"), *key, *value;
    size_t i, n;
    yyjson_obj_foreach(arms, i, n, key, value)
    {
        int rc = read_arm(im, line, key, value, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__import_row(im, &row, err);
}

static int read_paretobandit(struct metallm__import *im, metallm_error *err)
{
    return metallm__import_json(im, read_row, err);
}

const struct metallm__format metallm__format_paretobandit = {"paretobandit", knows,
                                                             read_paretobandit};
