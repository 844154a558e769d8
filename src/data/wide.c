/* SPDX-License-Identifier: Apache-2.0
 * wide.c - see wide.h; and the generic wide format: text columns by name (prompt, query or id,
 * task, split, label), a column MODEL of scores for each model, and where they are known
 * MODEL:cost_usd, MODEL:latency_ms, MODEL:input_tokens, MODEL:output_tokens and MODEL:response. */
#include "data/wide.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/formats.h"

struct wide {
    const struct metallm__wide_format *format;
    struct metallm__column *columns;
    uint32_t *models; /* of each slot, index in the table */
    uint32_t slot_count;
    struct metallm__buf prompt; /* decoded */
};

static bool same_model(const struct metallm__column *a, const struct metallm__column *b)
{
    return a->model.len == b->model.len &&
           memcmp(a->model.bytes, b->model.bytes, a->model.len) == 0;
}

static bool same_meaning(const struct metallm__column *a, const struct metallm__column *b)
{
    if (a->role != b->role || a->role == METALLM__ROLE_NONE)
        return false;
    if (a->role != METALLM__ROLE_FIELD && a->role != METALLM__ROLE_RESPONSE)
        return true;
    return same_model(a, b) && (a->role == METALLM__ROLE_RESPONSE || a->field == b->field);
}

/* Gives column i, which belongs to a model, its slot: that of the model's score column. */
static bool find_slot(struct wide *w, size_t count, size_t i)
{
    for (size_t j = 0; j < count; j++)
        if (w->columns[j].role == METALLM__ROLE_FIELD && w->columns[j].field == METALLM__SCORE &&
            same_model(&w->columns[i], &w->columns[j])) {
            w->columns[i].slot = w->columns[j].slot;
            return true;
        }
    return false;
}

static int add_slot(struct metallm__import *im, struct wide *w, struct metallm__column *column,
                    size_t line, metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    if (!metallm__is_model_name(column->model))
        return metallm__import_refuse(im, line, err, "the header names a model '%s'",
                                      metallm__text_show(shown, column->model));
    column->slot = w->slot_count++;
    return metallm__import_model(im, line, column->model, &w->models[column->slot], err);
}

static int check_columns(struct metallm__import *im, const struct wide *w,
                         const struct metallm__csv *c, metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    bool has_prompt = false;
    for (size_t i = 0; i < c->field_count; i++) {
        has_prompt |= w->columns[i].role == METALLM__ROLE_PROMPT;
        for (size_t j = 0; j < i; j++)
            if (same_meaning(&w->columns[i], &w->columns[j]))
                return metallm__import_refuse(im, c->record_line, err,
                                              "the header names column '%s' twice",
                                              metallm__text_show(shown, c->fields[i]));
    }
    if (!has_prompt)
        return metallm__import_refuse(im, c->record_line, err,
                                      "the header has no column 'prompt': '%s'",
                                      metallm__text_show(shown, c->fields[0]));
    return METALLM_OK;
}

static int read_header(struct metallm__import *im, void *payload, const struct metallm__csv *c,
                       metallm_error *err)
{
    struct wide *w = payload;
    char shown[METALLM__SHOWN_BYTES];
    w->columns = metallm__calloc(c->field_count, sizeof *w->columns);
    w->models = metallm__calloc(c->field_count, sizeof *w->models);
    if (w->columns == NULL || w->models == NULL)
        return metallm__error_nomem(err, "columns");
    for (size_t i = 0; i < c->field_count; i++)
        w->columns[i] = w->format->column(metallm__span_trim(c->fields[i]));
    int rc = check_columns(im, w, c, err);
    for (size_t i = 0; rc == METALLM_OK && i < c->field_count; i++)
        if (w->columns[i].role == METALLM__ROLE_FIELD && w->columns[i].field == METALLM__SCORE)
            rc = add_slot(im, w, &w->columns[i], c->record_line, err);
    for (size_t i = 0; rc == METALLM_OK && i < c->field_count; i++)
        if (w->columns[i].model.bytes != NULL && !find_slot(w, c->field_count, i))
            rc = metallm__import_refuse(im, c->record_line, err,
                                        "column '%s' belongs to no model's score column",
                                        metallm__text_show(shown, c->fields[i]));
    return rc;
}

static bool is_true_or_false(struct metallm__span text)
{
    text = metallm__span_trim(text);
    return text.len == 0 || metallm__span_is_nocase(text, "true") ||
           metallm__span_is_nocase(text, "false");
}

static int read_field(struct metallm__import *im, const struct wide *w,
                      const struct metallm__column *column, size_t line, struct metallm__span text,
                      metallm_error *err)
{
    struct metallm__cell *cell = &im->cells[column->slot];
    char shown[METALLM__SHOWN_BYTES];
    if (w->format->is_boolean && !is_true_or_false(text))
        return metallm__import_problem(im, METALLM__COSTS_CELL, line, err,
                                       "score '%s' of model '%.80s' is neither True nor False",
                                       metallm__text_show(shown, text),
                                       metallm_outcomes_model_name(im->o, cell->model));
    return metallm__import_value(im, line, column->field, text, cell, err);
}

static int read_cell(struct metallm__import *im, struct wide *w, size_t i,
                     const struct metallm__csv *c, struct metallm__row *row, metallm_error *err)
{
    const struct metallm__column *column = &w->columns[i];
    struct metallm__span text = c->fields[i];
    switch (column->role) {
    case METALLM__ROLE_NONE:
        break;
    case METALLM__ROLE_ID:
        row->id = metallm__span_trim(text);
        break;
    case METALLM__ROLE_TASK:
        row->task = metallm__span_trim(text);
        break;
    case METALLM__ROLE_SPLIT:
        row->split = metallm__span_trim(text);
        break;
    case METALLM__ROLE_PROMPT:
        row->prompt = text;
        break;
    case METALLM__ROLE_LABEL:
        row->label = text;
        break;
    case METALLM__ROLE_FIELD:
        return read_field(im, w, column, c->record_line, text, err);
    case METALLM__ROLE_RESPONSE:
        if (im->responses != NULL && text.len > 0)
            im->cells[column->slot].response = text;
        break;
    }
    return METALLM_OK;
}

static int read_row(struct metallm__import *im, void *payload, const struct metallm__csv *c,
                    metallm_error *err)
{
    struct wide *w = payload;
    struct metallm__row row = {.line = c->record_line};
    for (uint32_t s = 0; s < w->slot_count; s++)
        if (metallm__import_cell(im, w->models[s]) == NULL)
            return metallm__error_nomem(err, "a row");
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < c->field_count; i++)
        rc = read_cell(im, w, i, c, &row, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_clear(&w->prompt);
    if (w->format->decode == NULL || w->format->decode(&row.prompt, &w->prompt))
        return metallm__import_row(im, &row, err);
    if (w->prompt.failed)
        return metallm__error_nomem(err, "a prompt");
    char shown[METALLM__SHOWN_BYTES];
    im->counts.rows++;
    im->cell_count = 0;
    return metallm__import_problem(im, METALLM__COSTS_ROW, row.line, err,
                                   "the prompt is no list of strings: '%s'",
                                   metallm__text_show(shown, row.prompt));
}

int metallm__wide_read(struct metallm__import *im, const struct metallm__wide_format *format,
                       metallm_error *err)
{
    struct wide w = {.format = format};
    metallm__buf_init(&w.prompt, METALLM__CSV_RECORD_BYTES_MAX);
    im->decode_response = format->decode;
    const struct metallm__csv_reader reader = {read_header, read_row, &w};
    int rc = metallm__import_csv(im, &reader, err);
    metallm__buf_fini(&w.prompt);
    metallm__free(w.columns);
    metallm__free(w.models);
    return rc;
}

struct metallm__column metallm__wide_column(struct metallm__span name)
{
    static const struct {
        const char *name;
        enum metallm__role role;
    } texts[] = {
        {"prompt", METALLM__ROLE_PROMPT}, {"query", METALLM__ROLE_ID},
        {"id", METALLM__ROLE_ID},         {"task", METALLM__ROLE_TASK},
        {"split", METALLM__ROLE_SPLIT},   {"label", METALLM__ROLE_LABEL},
        {"", METALLM__ROLE_NONE}, /* a data frame's index */
    };
    static const struct {
        const char *suffix;
        enum metallm__role role;
        enum metallm__field field;
    } suffixes[] = {
        {":score", METALLM__ROLE_FIELD, METALLM__SCORE},
        {":cost_usd", METALLM__ROLE_FIELD, METALLM__COST},
        {":latency_ms", METALLM__ROLE_FIELD, METALLM__LATENCY},
        {":input_tokens", METALLM__ROLE_FIELD, METALLM__TOKENS_IN},
        {":output_tokens", METALLM__ROLE_FIELD, METALLM__TOKENS_OUT},
        {":response", METALLM__ROLE_RESPONSE, METALLM__SCORE},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (metallm__span_is(name, texts[i].name))
            return (struct metallm__column){.role = texts[i].role};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        struct metallm__span model = name;
        if (metallm__span_cut_end(&model, suffixes[i].suffix))
            return (struct metallm__column){
                .role = suffixes[i].role, .field = suffixes[i].field, .model = model};
    }
    return (struct metallm__column){
        .role = METALLM__ROLE_FIELD, .field = METALLM__SCORE, .model = name};
}

static bool knows(const struct metallm__probe *probe)
{
    return metallm__probe_column(probe, "prompt") != SIZE_MAX;
}

static int read_wide(struct metallm__import *im, metallm_error *err)
{
    static const struct metallm__wide_format format = {.column = metallm__wide_column};
    return metallm__wide_read(im, &format, err);
}

const struct metallm__format metallm__format_wide = {"wide", knows, read_wide};
