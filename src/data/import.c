/* SPDX-License-Identifier: Apache-2.0
 * import.c - see import.h: problems, values, and the two drivers. Rows: import_row.c. */
#include "data/import.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define SHOWN_PATH_BYTES 100u

/* The end of a long path: its last part tells most. */
static void put_place(char *out, size_t size, const struct metallm__import *im, size_t line)
{
    size_t len = strlen(im->path);
    const char *shown = len > SHOWN_PATH_BYTES ? im->path + len - SHOWN_PATH_BYTES : im->path;
    snprintf(out, size, "%s%s:%zu", shown == im->path ? "" : "...", shown, line);
}

static size_t *count_of(struct metallm__import *im, enum metallm__cost cost)
{
    if (cost == METALLM__COSTS_ROW)
        return &im->counts.rows_skipped;
    return cost == METALLM__COSTS_CELL ? &im->counts.cells_bad : &im->counts.duplicates;
}

int metallm__import_problem(struct metallm__import *im, enum metallm__cost cost, size_t line,
                            metallm_error *err, const char *format, ...)
{
    char place[SHOWN_PATH_BYTES + 32], sentence[METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    put_place(place, sizeof place, im, line);
    if (im->opts->is_strict)
        return metallm__error_set(err, METALLM_EFORMAT, "%s: %s", place, sentence);
    *count_of(im, cost) += 1;
    if (im->opts->problem != NULL) {
        char message[sizeof place + sizeof sentence + 4];
        snprintf(message, sizeof message, "%s: %s", place, sentence);
        im->opts->problem(im->opts->problem_payload, message);
    }
    return METALLM_OK;
}

int metallm__import_refuse(const struct metallm__import *im, size_t line, metallm_error *err,
                           const char *format, ...)
{
    char place[SHOWN_PATH_BYTES + 32], sentence[METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    put_place(place, sizeof place, im, line);
    return metallm__error_set(err, METALLM_EFORMAT, "%s: %s", place, sentence);
}

bool metallm__is_model_name(struct metallm__span name)
{
    name = metallm__span_trim(name);
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.bytes[i] < 0x20)
            return false;
    return name.len > 0 && name.len <= METALLM_MODEL_NAME_MAX && metallm__text_is_utf8(name);
}

int metallm__import_model(struct metallm__import *im, size_t line, struct metallm__span name,
                          uint32_t *model, metallm_error *err)
{
    char text[METALLM_MODEL_NAME_MAX + 1];
    name = metallm__span_trim(name);
    METALLM_REQUIRE(name.len < sizeof text);
    memcpy(text, name.bytes, name.len);
    text[name.len] = '\0';
    int rc = metallm_outcomes_add_model(im->o, text, model, err);
    if (rc == METALLM_ELIMIT) {
        char place[SHOWN_PATH_BYTES + 32];
        put_place(place, sizeof place, im, line);
        return metallm__error_prefix(err, rc, "%s", place);
    }
    return rc;
}

struct metallm__cell *metallm__import_cell(struct metallm__import *im, uint32_t model)
{
    void *cells = im->cells;
    if (metallm__grow(&cells, &im->cell_cap, im->cell_count + 1, sizeof *im->cells) != 0)
        return NULL;
    im->cells = cells;
    struct metallm__cell *cell = &im->cells[im->cell_count++];
    *cell = (struct metallm__cell){.model = model, .outcome = metallm_outcome_unknown()};
    return cell;
}

int metallm__import_named_cell(struct metallm__import *im, size_t line, struct metallm__span name,
                               struct metallm__cell **cell, metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    uint32_t model;
    *cell = NULL;
    if (!metallm__is_model_name(name))
        return metallm__import_problem(im, METALLM__COSTS_CELL, line, err,
                                       "a model cannot be named '%s'",
                                       metallm__text_show(shown, name));
    int rc = metallm__import_model(im, line, name, &model, err);
    if (rc != METALLM_OK)
        return rc;
    for (size_t i = 0; i < im->cell_count; i++)
        if (im->cells[i].model == model)
            return metallm__import_problem(im, METALLM__COSTS_CELL, line, err,
                                           "model '%s' stands twice in the record",
                                           metallm__text_show(shown, name));
    *cell = metallm__import_cell(im, model);
    return *cell != NULL ? METALLM_OK : metallm__error_nomem(err, "a row");
}

static float *field_of(struct metallm__cell *cell, enum metallm__field field)
{
    switch (field) {
    case METALLM__SCORE:
        return &cell->outcome.score;
    case METALLM__COST:
        return &cell->outcome.cost_usd;
    case METALLM__LATENCY:
        return &cell->outcome.latency_ms;
    case METALLM__TOKENS_IN:
        return &cell->outcome.input_tokens;
    case METALLM__TOKENS_OUT:
        return &cell->outcome.output_tokens;
    }
    return &cell->outcome.score;
}

int metallm__import_value(struct metallm__import *im, size_t line, enum metallm__field field,
                          struct metallm__span text, struct metallm__cell *cell, metallm_error *err)
{
    static const char *const names[] = {"score", "cost", "latency", "input tokens",
                                        "output tokens"};
    char shown[METALLM__SHOWN_BYTES];
    double value = NAN;
    const char *wrong = NULL;
    text = metallm__span_trim(text);
    if (text.len == 0) {
        im->counts.cells_missing += field == METALLM__SCORE;
        return METALLM_OK;
    }
    if (field == METALLM__SCORE && metallm__span_is_nocase(text, "true"))
        value = 1;
    else if (field == METALLM__SCORE && metallm__span_is_nocase(text, "false"))
        value = 0;
    else if (!metallm__text_number(text, &value))
        wrong = "is not a number";
    else if (value < 0)
        wrong = "is negative";
    else if (field == METALLM__SCORE && value > 1)
        wrong = "is above 1";
    else if (!isfinite((float)value))
        wrong = "is too large";
    if (wrong != NULL)
        return metallm__import_problem(im, METALLM__COSTS_CELL, line, err,
                                       "%s '%s' of model '%.80s' %s", names[field],
                                       metallm__text_show(shown, text),
                                       metallm_outcomes_model_name(im->o, cell->model), wrong);
    *field_of(cell, field) = (float)value;
    return METALLM_OK;
}

static int tell_progress(struct metallm__import *im, size_t row, size_t pos, metallm_error *err)
{
    const metallm_progress *p = &im->opts->progress;
    im->pos = pos;
    if (row % 256 != 0 || p->step == NULL || p->step(p->payload, "reading", pos, im->map.len) == 0)
        return METALLM_OK;
    return metallm__error_set(err, METALLM_ECANCELED, "reading '%s' was cancelled", im->path);
}

int metallm__import_json(struct metallm__import *im,
                         int (*row)(struct metallm__import *im, yyjson_val *record, size_t line,
                                    metallm_error *err),
                         metallm_error *err)
{
    struct metallm__records records;
    metallm__records_init(&records, im->map.bytes, im->map.len);
    for (size_t i = 0;; i++) {
        yyjson_doc *doc = NULL;
        enum metallm__records_state state;
        metallm_error why = {0};
        int rc = metallm__records_next(&records, &doc, &state, &why);
        if (rc != METALLM_OK)
            return metallm__error_set(err, rc, "%s", why.message);
        if (state == METALLM__RECORDS_END)
            return METALLM_OK;
        yyjson_val *record = yyjson_doc_get_root(doc);
        if (state == METALLM__RECORD && yyjson_is_obj(record)) {
            rc = row(im, record, records.record_line, err);
        } else {
            im->counts.rows++;
            rc = metallm__import_problem(im, METALLM__COSTS_ROW, records.record_line, err, "%s",
                                         doc == NULL ? why.message : "a record is not an object");
        }
        yyjson_doc_free(doc);
        if (rc == METALLM_OK)
            rc = tell_progress(im, i, records.pos, err);
        if (rc != METALLM_OK)
            return rc;
    }
}

static int csv_row(struct metallm__import *im, const struct metallm__csv_reader *reader,
                   const struct metallm__csv *c, size_t columns, metallm_error *err)
{
    if (c->field_count == columns)
        return reader->row(im, reader->payload, c, err);
    im->counts.rows++;
    return metallm__import_problem(im, METALLM__COSTS_ROW, c->record_line, err,
                                   "%zu fields, the header has %zu", c->field_count, columns);
}

int metallm__import_csv(struct metallm__import *im, const struct metallm__csv_reader *reader,
                        metallm_error *err)
{
    struct metallm__csv csv;
    metallm__csv_init(&csv, im->map.bytes, im->map.len);
    enum metallm__csv_state state;
    int rc = metallm__csv_next(&csv, &state, err);
    if (rc == METALLM_OK && state != METALLM__CSV_RECORD)
        rc = metallm__import_refuse(im, csv.record_line, err, "the header is broken: %s",
                                    csv.why != NULL ? csv.why : "the file is empty");
    size_t columns = csv.field_count;
    if (rc == METALLM_OK)
        rc = reader->header(im, reader->payload, &csv, err);
    for (size_t i = 0; rc == METALLM_OK; i++) {
        rc = metallm__csv_next(&csv, &state, err);
        if (rc != METALLM_OK || state == METALLM__CSV_END)
            break;
        if (state == METALLM__CSV_RECORD) {
            rc = csv_row(im, reader, &csv, columns, err);
        } else {
            im->counts.rows++;
            rc = metallm__import_problem(
                im, METALLM__COSTS_ROW, csv.record_line, err, "%s%s", csv.why,
                state == METALLM__CSV_LOST ? ": the file is cut off, or broken from here on" : "");
        }
        if (rc == METALLM_OK)
            rc = tell_progress(im, i, csv.pos, err);
    }
    metallm__csv_fini(&csv);
    return rc;
}

struct metallm__span metallm__import_text(yyjson_val *record, const char *key)
{
    yyjson_val *value = yyjson_obj_get(record, key);
    return (struct metallm__span){yyjson_get_str(value), yyjson_get_len(value)};
}

struct metallm__span metallm__import_any_text(yyjson_val *record, const char *key, char room[32])
{
    yyjson_val *value = yyjson_obj_get(record, key);
    return yyjson_is_ctn(value) ? (struct metallm__span){NULL, 0} : metallm__json_text(value, room);
}

int metallm__import_member(struct metallm__import *im, size_t line, enum metallm__field field,
                           yyjson_val *record, const char *key, struct metallm__cell *cell,
                           metallm_error *err)
{
    char room[32];
    return metallm__import_value(im, line, field,
                                 metallm__json_text(yyjson_obj_get(record, key), room), cell, err);
}
