/* SPDX-License-Identifier: Apache-2.0
 * page.h - fills an HTML template that was embedded at build into one self-contained page.
 * Marks in a template: @TITLE@ and @ROUTER@ (text), @DATA@ (JSON inside a script element),
 * @CHART_JS@ (the plotting library). */
#ifndef EVAL_PAGE_H
#define EVAL_PAGE_H
#include <stdio.h>

#include "metallm/base.h"

struct metallm__asset { /* a file embedded by scripts/embed.py */
    const char *bytes;
    size_t len;
};
extern const struct metallm__asset metallm__asset_evaluation, metallm__asset_savings,
    metallm__asset_replay, metallm__asset_classify, metallm__asset_chart_js;

struct metallm__page {
    const struct metallm__asset *shape; /* the template */
    const char *title, *router;         /* plain text */
    const char *json;                   /* json_len bytes */
    size_t json_len;
};
/* METALLM_EIO: the stream failed. */
METALLM_MUSTCHECK int metallm__page_write(FILE *out, const struct metallm__page *page,
                                          metallm_error *err);
#endif
