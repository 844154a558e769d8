/* SPDX-License-Identifier: Apache-2.0
 * wide.h - CSV files with a row a query and columns a model: what RouterBench, RouteLLM and the
 * generic wide format share. A format gives each column its meaning; the rest is done here. */
#ifndef DATA_WIDE_H
#define DATA_WIDE_H
#include "data/import.h"

enum metallm__role {
    METALLM__ROLE_NONE,
    METALLM__ROLE_ID,
    METALLM__ROLE_TASK,
    METALLM__ROLE_SPLIT,
    METALLM__ROLE_PROMPT,
    METALLM__ROLE_LABEL,
    METALLM__ROLE_FIELD, /* a number of a model */
    METALLM__ROLE_RESPONSE,
};

struct metallm__column {
    enum metallm__role role;
    enum metallm__field field;
    struct metallm__span model; /* in the file's bytes */
    uint32_t slot;              /* which of the row's cells */
};

struct metallm__wide_format {
    /* Role (and field and model) of a column by its name. */
    struct metallm__column (*column)(struct metallm__span name);
    /* How prompts and responses are written; NULL: as they stand. */
    metallm__decode *decode;
    bool is_boolean; /* scores are True or False and nothing else */
};

METALLM_MUSTCHECK int metallm__wide_read(struct metallm__import *im,
                                         const struct metallm__wide_format *format,
                                         metallm_error *err);
/* "MODEL:cost_usd", "MODEL:score" ... or a plain model's name: the generic format's columns. */
struct metallm__column metallm__wide_column(struct metallm__span name);

#endif
