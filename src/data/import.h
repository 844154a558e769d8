/* SPDX-License-Identifier: Apache-2.0
 * import.h - what the importers share: the file being read, problems told with file and line, and
 * rows that enter the table. A format is one function table (data/formats.h) and one small file.
 *
 * Rules that hold for every format: a score lies in [0,1], "true" and "false" are 1 and 0, an empty
 * cell is missing and stays so; a bad value is told and left missing; a row whose texts cannot be
 * used is told and skipped; with is_strict the first of either fails the call. */
#ifndef DATA_IMPORT_H
#define DATA_IMPORT_H
#include <stdbool.h>

#include "base/buf.h"
#include "base/file.h"
#include "data/csv.h"
#include "data/records.h"
#include "data/text.h"
#include "metallm/outcomes.h"

/* Takes the answers of models, where a file has them. */
struct metallm__response_sink {
    int (*put)(void *payload, size_t query, uint32_t model, struct metallm__span text,
               metallm_error *err);
    void *payload;
};

/* Takes the rows of a long file block by block. */
struct metallm__block_sink {
    size_t queries; /* in a block, at most */
    int (*take)(void *payload, const metallm_outcomes *o, metallm_error *err);
    void *payload;
};

enum metallm__field {
    METALLM__SCORE,
    METALLM__COST,
    METALLM__LATENCY, /* milliseconds */
    METALLM__TOKENS_IN,
    METALLM__TOKENS_OUT,
};

struct metallm__cell {
    uint32_t model;
    metallm_outcome outcome;
    struct metallm__span response; /* missing: none */
};

/* Turns a text as the file writes it into what is meant, made in scratch. false: it cannot be read
 * (or scratch has failed); text is then as it was. */
typedef bool metallm__decode(struct metallm__span *text, struct metallm__buf *scratch);

struct metallm__import {
    metallm_outcomes *o;
    const metallm_read_options *opts;
    const struct metallm__response_sink *responses; /* may be NULL */
    const struct metallm__block_sink *blocks;       /* may be NULL */
    size_t pos;                                     /* bytes of map that have been read */
    const char *path, *file;                        /* as given; its last part */
    char *task;                                     /* of rows that name none; owned */
    struct metallm__map map;
    metallm_read_report counts;
    /* Cells of the row being built, cleared by metallm__import_row. */
    struct metallm__cell *cells;
    size_t cell_count, cell_cap;
    metallm__decode *decode_response; /* NULL: as they stand; one that cannot be read stays as is */
    struct metallm__buf texts, response; /* scratch */
};

struct metallm__row {
    size_t line;
    struct metallm__span id, task, split, prompt, label; /* missing where the file has none */
    bool is_long; /* one model's row of a query: rows of equal id (else prompt) are one query */
};

/* What a problem costs; decides which count goes up. */
enum metallm__cost {
    METALLM__COSTS_ROW,
    METALLM__COSTS_CELL,
    METALLM__COSTS_COPY, /* a row that is there already */
};

/* METALLM_OK: told, counted, go on. METALLM_EFORMAT when strict, with the sentence in err. */
METALLM_MUSTCHECK int metallm__import_problem(struct metallm__import *im, enum metallm__cost cost,
                                              size_t line, metallm_error *err, const char *format,
                                              ...) __attribute__((format(printf, 5, 6)));
/* "FILE:LINE: ..." that ends the file: a wrong header, the end missing. Returns METALLM_EFORMAT. */
int metallm__import_refuse(const struct metallm__import *im, size_t line, metallm_error *err,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Index of the model of this name, added when new. name is one (metallm__is_model_name). */
METALLM_MUSTCHECK int metallm__import_model(struct metallm__import *im, size_t line,
                                            struct metallm__span name, uint32_t *model,
                                            metallm_error *err);
bool metallm__is_model_name(struct metallm__span name);
/* An empty cell of this model in the row being built; NULL: no memory. */
struct metallm__cell *metallm__import_cell(struct metallm__import *im, uint32_t model);
/* The same by name. *cell is NULL when the name cannot be used or stands in the row already, which
 * is told. Valid until the next cell. */
METALLM_MUSTCHECK int metallm__import_named_cell(struct metallm__import *im, size_t line,
                                                 struct metallm__span name,
                                                 struct metallm__cell **cell, metallm_error *err);
/* Reads text as this field of cell; a bad value is a problem of the cell. */
METALLM_MUSTCHECK int metallm__import_value(struct metallm__import *im, size_t line,
                                            enum metallm__field field, struct metallm__span text,
                                            struct metallm__cell *cell, metallm_error *err);
/* Enters the row and its cells. */
METALLM_MUSTCHECK int metallm__import_row(struct metallm__import *im,
                                          const struct metallm__row *row, metallm_error *err);

/* Drivers: each record of the file is handed to row; broken ones are problems. row returns
 * METALLM_OK or what ends the reading. */
METALLM_MUSTCHECK int metallm__import_json(struct metallm__import *im,
                                           int (*row)(struct metallm__import *im,
                                                      yyjson_val *record, size_t line,
                                                      metallm_error *err),
                                           metallm_error *err);
/* header sees the first record; rows of another field count are problems. */
struct metallm__csv_reader {
    int (*header)(struct metallm__import *im, void *payload, const struct metallm__csv *c,
                  metallm_error *err);
    int (*row)(struct metallm__import *im, void *payload, const struct metallm__csv *c,
               metallm_error *err);
    void *payload;
};
METALLM_MUSTCHECK int metallm__import_csv(struct metallm__import *im,
                                          const struct metallm__csv_reader *reader,
                                          metallm_error *err);

/* Members of a JSON record; missing, null or of another type: a missing span. */
struct metallm__span metallm__import_text(yyjson_val *record, const char *key);
/* As above; numbers and booleans as they would be written, in room. */
struct metallm__span metallm__import_any_text(yyjson_val *record, const char *key, char room[32]);
/* Reads the member key (missing and null: unknown) as this field. */
METALLM_MUSTCHECK int metallm__import_member(struct metallm__import *im, size_t line,
                                             enum metallm__field field, yyjson_val *record,
                                             const char *key, struct metallm__cell *cell,
                                             metallm_error *err);
#endif
