/* SPDX-License-Identifier: Apache-2.0
 * out.h - the rows of a job as a file: CSV with a header, or JSON Lines. It appears whole or not at
 * all. docs/classify.md, "Output", tells the columns. */
#ifndef CLASSIFY_OUT_H
#define CLASSIFY_OUT_H
#include <stdbool.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/span.h"

struct metallm__out_row {
    struct metallm__span id;
    const char *label, *llm;            /* "" : none */
    double confidence, usd, latency_ms; /* NaN: not known */
    const char *decision;               /* "" : none */
    const char *state;                  /* "answered", "unmapped", "failed", "left" */
    const char *how;                    /* how the label was read; "" : there was no answer */
};

struct metallm__out {
    struct metallm__outfile file;
    struct metallm__buf line; /* scratch */
    bool is_json;
};
/* JSON Lines where path ends in .jsonl or .ndjson. */
METALLM_MUSTCHECK int metallm__out_open(struct metallm__out *o, const char *path,
                                        metallm_error *err);
METALLM_MUSTCHECK int metallm__out_row(struct metallm__out *o, const struct metallm__out_row *row,
                                       metallm_error *err);
METALLM_MUSTCHECK int metallm__out_commit(struct metallm__out *o, metallm_error *err);
void metallm__out_abort(struct metallm__out *o); /* after commit or on a cleared record: fine */
#endif
