/* SPDX-License-Identifier: Apache-2.0
 * import_routellm.c - RouteLLM's answers to MMLU (Ong et al., 2024): one CSV file a task, "prompt"
 * and a column a model that says True or False. The task is the file's name. */
#include "data/formats.h"
#include "data/wide.h"

static bool knows(const struct metallm__probe *probe)
{
    if (probe->columns < 2 || !metallm__span_is(probe->header[0], "prompt") ||
        probe->first_count != probe->columns)
        return false;
    for (size_t i = 1; i < probe->columns; i++) {
        struct metallm__column c = metallm__wide_column(metallm__span_trim(probe->header[i]));
        if (c.role != METALLM__ROLE_FIELD || c.field != METALLM__SCORE ||
            (!metallm__span_is(probe->first[i], "True") &&
             !metallm__span_is(probe->first[i], "False")))
            return false;
    }
    return true;
}

static int read_routellm(struct metallm__import *im, metallm_error *err)
{
    static const struct metallm__wide_format format = {.column = metallm__wide_column,
                                                       .is_boolean = true};
    return metallm__wide_read(im, &format, err);
}

const struct metallm__format metallm__format_routellm = {"routellm", knows, read_routellm};
