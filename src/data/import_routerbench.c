/* SPDX-License-Identifier: Apache-2.0
 * import_routerbench.c - RouterBench's tables saved as CSV (Hu et al., 2024): sample_id, prompt (a
 * Python list of the turns' texts), eval_name, then for each model MODEL (score),
 * MODEL|model_response and MODEL|total_cost (dollars for the call). */
#include "data/formats.h"
#include "data/pyliteral.h"
#include "data/wide.h"

static struct metallm__column column_of(struct metallm__span name)
{
    static const struct {
        const char *name;
        enum metallm__role role;
    } texts[] = {
        {"sample_id", METALLM__ROLE_ID},   {"prompt", METALLM__ROLE_PROMPT},
        {"eval_name", METALLM__ROLE_TASK}, {"oracle_model_to_route_to", METALLM__ROLE_NONE},
        {"", METALLM__ROLE_NONE},          {"Unnamed: 0", METALLM__ROLE_NONE},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (metallm__span_is(name, texts[i].name))
            return (struct metallm__column){.role = texts[i].role};
    struct metallm__column c = {
        .role = METALLM__ROLE_FIELD, .field = METALLM__SCORE, .model = name};
    if (metallm__span_cut_end(&c.model, "|total_cost"))
        c.field = METALLM__COST;
    else if (metallm__span_cut_end(&c.model, "|model_response"))
        c.role = METALLM__ROLE_RESPONSE;
    return c;
}

/* A list of strings is what it holds; any other text is itself. */
static bool decode(struct metallm__span *text, struct metallm__buf *scratch)
{
    struct metallm__span trimmed = metallm__span_trim(*text);
    if (trimmed.len == 0 || trimmed.bytes[0] != '[')
        return true;
    if (!metallm__pyliteral_strings(trimmed, scratch))
        return false;
    *text = (struct metallm__span){scratch->data != NULL ? scratch->data : "", scratch->len};
    return true;
}

static bool knows(const struct metallm__probe *probe)
{
    for (size_t i = 0; i < probe->columns; i++) {
        struct metallm__span name = probe->header[i];
        if (metallm__span_cut_end(&name, "|total_cost") ||
            metallm__span_cut_end(&name, "|model_response"))
            return true;
    }
    return false;
}

static int read_routerbench(struct metallm__import *im, metallm_error *err)
{
    static const struct metallm__wide_format format = {.column = column_of, .decode = decode};
    return metallm__wide_read(im, &format, err);
}

const struct metallm__format metallm__format_routerbench = {"routerbench", knows, read_routerbench};
