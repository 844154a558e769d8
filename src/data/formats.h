/* SPDX-License-Identifier: Apache-2.0
 * formats.h - one function table per benchmark format; docs/formats.md shows them. */
#ifndef DATA_FORMATS_H
#define DATA_FORMATS_H
#include "data/import.h"

/* The beginning of a file, by which a format knows it. */
struct metallm__probe {
    const struct metallm__span *header, *first; /* CSV: names, first row; NULL: not CSV */
    size_t columns, first_count;
    yyjson_val *record; /* JSON: the first record; NULL: not JSON */
};

struct metallm__format {
    const char *name;
    bool (*knows)(const struct metallm__probe *probe);
    int (*read)(struct metallm__import *im, metallm_error *err);
};

extern const struct metallm__format metallm__format_routerbench, metallm__format_routellm,
    metallm__format_routerdc, metallm__format_paretobandit, metallm__format_llmrouter,
    metallm__format_routerarena, metallm__format_long, metallm__format_wide;

/* A record {"question", "scores"}: RouterDC's, and one of LLMRouter's shapes. */
METALLM_MUSTCHECK int metallm__routerdc_row(struct metallm__import *im, yyjson_val *record,
                                            size_t line, metallm_error *err);

/* Column of this name, SIZE_MAX: none. */
size_t metallm__probe_column(const struct metallm__probe *probe, const char *name);

#endif
