/* SPDX-License-Identifier: Apache-2.0
 * texts_inner.h - the inside of a reader of texts, shared by texts*.c. Nobody else includes it. */
#ifndef CLASSIFY_TEXTS_INNER_H
#define CLASSIFY_TEXTS_INNER_H
#include "base/file.h"
#include "base/json.h"
#include "classify/texts.h"
#include "data/csv.h"

#define METALLM__TEXTS_NUMBER 24u /* bytes of a number as text */

struct metallm__texts {
    struct metallm__texts_options o;
    enum metallm__texts_format format;
    struct metallm__map map;
    struct metallm__csv csv;
    size_t pos, line; /* JSON Lines and lines: not read yet */
    uint64_t count;   /* texts given so far */
    size_t passed;    /* bytes given back to the system */
    /* Columns of a CSV file; -1: none. */
    int text, id, gold, choices[METALLM__TEXTS_CHOICES_MAX];
    unsigned choice_count;
    size_t column_count;   /* of its first record */
    bool is_first_pending; /* the first record is a text, and waits */
    yyjson_doc *doc;       /* of the last JSON line */
    char number[METALLM__TEXTS_NUMBER], gold_number[METALLM__TEXTS_NUMBER], letter; /* parts made */
    int gold_place; /* of the gold choice as a JSON number; -1: none */
};

int metallm__texts_wrong(const struct metallm__texts *t, size_t line, int code, const char *what,
                         struct metallm__span value, metallm_error *err);
METALLM_MUSTCHECK int metallm__texts_read_header(struct metallm__texts *t, metallm_error *err);
METALLM_MUSTCHECK int metallm__texts_read_csv(struct metallm__texts *t, struct metallm__text *x,
                                              metallm_error *err);
METALLM_MUSTCHECK int metallm__texts_read_json(struct metallm__texts *t, struct metallm__text *x,
                                               metallm_error *err);
METALLM_MUSTCHECK int metallm__texts_read_line(struct metallm__texts *t, struct metallm__text *x,
                                               metallm_error *err);
#endif
