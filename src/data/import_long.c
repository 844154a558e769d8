/* SPDX-License-Identifier: Apache-2.0
 * import_long.c - the generic long format: a row a call, as CSV or JSON Lines, with the columns or
 * members query (the query's id), task, split, prompt, model, score, cost_usd, input_tokens,
 * output_tokens, latency_ms, response, label. Rows of one query need its prompt once; JSON records
 * without a model are queries without outcomes. */
#include "data/formats.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum member {
    QUERY,
    TASK,
    SPLIT,
    PROMPT,
    MODEL,
    RESPONSE,
    LABEL,
    FIRST_FIELD, /* then the fields, in the order of enum metallm__field */
    MEMBER_COUNT = FIRST_FIELD + 5
};

static const char *const names[MEMBER_COUNT] = {
    "query", "task",  "split",    "prompt",     "model",        "response",
    "label", "score", "cost_usd", "latency_ms", "input_tokens", "output_tokens",
};

/* A call as texts, whichever file it stands in; missing ones have bytes == NULL. */
static int enter(struct metallm__import *im, size_t line, const struct metallm__span *texts,
                 metallm_error *err)
{
    const struct metallm__row row = {.line = line,
                                     .id = metallm__span_trim(texts[QUERY]),
                                     .task = metallm__span_trim(texts[TASK]),
                                     .split = metallm__span_trim(texts[SPLIT]),
                                     .prompt = texts[PROMPT],
                                     .label = texts[LABEL],
                                     .is_long = texts[MODEL].bytes != NULL};
    struct metallm__cell *cell = NULL;
    int rc = METALLM_OK;
    if (row.is_long)
        rc = metallm__import_named_cell(im, line, texts[MODEL], &cell, err);
    if (row.is_long && cell == NULL) { /* told already: the row has nothing else to say */
        im->counts.rows++;
        return rc;
    }
    for (size_t f = 0; rc == METALLM_OK && cell != NULL && f < MEMBER_COUNT - FIRST_FIELD; f++)
        rc = metallm__import_value(im, line, (enum metallm__field)f, texts[FIRST_FIELD + f], cell,
                                   err);
    if (cell != NULL && texts[RESPONSE].len > 0)
        cell->response = texts[RESPONSE];
    return rc == METALLM_OK ? metallm__import_row(im, &row, err) : rc;
}

struct columns {
    size_t at[MEMBER_COUNT]; /* SIZE_MAX: the file has no such column */
};

static int read_header(struct metallm__import *im, void *payload, const struct metallm__csv *c,
                       metallm_error *err)
{
    struct columns *columns = payload;
    char shown[METALLM__SHOWN_BYTES];
    for (size_t m = 0; m < MEMBER_COUNT; m++)
        columns->at[m] = SIZE_MAX;
    for (size_t i = 0; i < c->field_count; i++) {
        struct metallm__span name = metallm__span_trim(c->fields[i]);
        size_t m = 0;
        while (m < MEMBER_COUNT && !metallm__span_is(name, names[m]))
            m++;
        if (m < MEMBER_COUNT && columns->at[m] != SIZE_MAX)
            return metallm__import_refuse(im, c->record_line, err,
                                          "the header names column '%s' twice", names[m]);
        if (m < MEMBER_COUNT)
            columns->at[m] = i;
        else if (name.len > 0) {
            int rc = metallm__import_problem(im, METALLM__COSTS_CELL, c->record_line, err,
                                             "column '%s' is not known and not read",
                                             metallm__text_show(shown, name));
            if (rc != METALLM_OK)
                return rc;
        }
    }
    static const enum member needed[] = {MODEL, FIRST_FIELD};
    for (size_t i = 0; i < 2; i++)
        if (columns->at[needed[i]] == SIZE_MAX)
            return metallm__import_refuse(im, c->record_line, err, "the header has no column '%s'",
                                          names[needed[i]]);
    if (columns->at[PROMPT] == SIZE_MAX)
        return metallm__import_refuse(im, c->record_line, err, "the header has no column 'prompt'");
    return METALLM_OK;
}

static int read_csv_row(struct metallm__import *im, void *payload, const struct metallm__csv *c,
                        metallm_error *err)
{
    const struct columns *columns = payload;
    struct metallm__span texts[MEMBER_COUNT] = {{NULL, 0}};
    for (size_t m = 0; m < MEMBER_COUNT; m++)
        if (columns->at[m] != SIZE_MAX)
            texts[m] = c->fields[columns->at[m]];
    return enter(im, c->record_line, texts, err);
}

static int read_record(struct metallm__import *im, yyjson_val *record, size_t line,
                       metallm_error *err)
{
    struct metallm__span texts[MEMBER_COUNT];
    char rooms[MEMBER_COUNT][32];
    for (size_t m = 0; m < MEMBER_COUNT; m++)
        texts[m] = m < FIRST_FIELD ? metallm__import_any_text(record, names[m], rooms[m])
                                   : metallm__json_text(yyjson_obj_get(record, names[m]), rooms[m]);
    return enter(im, line, texts, err);
}

static bool knows(const struct metallm__probe *probe)
{
    if (probe->record != NULL)
        return yyjson_is_str(yyjson_obj_get(probe->record, "prompt")) ||
               (yyjson_obj_get(probe->record, "query") != NULL &&
                yyjson_obj_get(probe->record, "model") != NULL);
    return metallm__probe_column(probe, "model") != SIZE_MAX &&
           metallm__probe_column(probe, "score") != SIZE_MAX &&
           (metallm__probe_column(probe, "prompt") != SIZE_MAX ||
            metallm__probe_column(probe, "query") != SIZE_MAX);
}

static int read_long(struct metallm__import *im, metallm_error *err)
{
    struct metallm__records records;
    struct columns columns;
    metallm__records_init(&records, im->map.bytes, im->map.len);
    const struct metallm__csv_reader reader = {read_header, read_csv_row, &columns};
    return records.kind != METALLM__RECORDS_NONE ? metallm__import_json(im, read_record, err)
                                                 : metallm__import_csv(im, &reader, err);
}

const struct metallm__format metallm__format_long = {"long", knows, read_long};
