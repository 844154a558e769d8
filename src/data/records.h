/* SPDX-License-Identifier: Apache-2.0
 * records.h - JSON records one at a time from bytes in memory: JSON Lines, one array of records, or
 * records one after the other. Only the line feed ends a line (U+2028 in a string is text). A
 * broken record is told with its line, and reading goes on behind it. */
#ifndef DATA_RECORDS_H
#define DATA_RECORDS_H
#include <stdbool.h>

#include "base/json.h"
#include "data/text.h"
#include "metallm/base.h"

#define METALLM__RECORD_BYTES_MAX ((size_t)64 << 20)

enum metallm__records_kind {
    METALLM__RECORDS_NONE,  /* does not begin as JSON */
    METALLM__RECORDS_LINES, /* one record a line */
    METALLM__RECORDS_ARRAY, /* [record, record, ...] */
    METALLM__RECORDS_RUN,   /* records over several lines, one after the other */
};

struct metallm__records {
    const char *bytes;
    size_t len, pos;
    size_t line; /* of pos, from 1 */
    enum metallm__records_kind kind;
    bool is_closed; /* array: its ']' was seen */
    /* The last record: */
    struct metallm__span text;
    size_t record_line;
};

enum metallm__records_state {
    METALLM__RECORD,
    METALLM__RECORDS_END,
    METALLM__RECORDS_BAD,  /* err tells what; reading can go on */
    METALLM__RECORDS_LOST, /* err tells what; nothing more can be read */
};

void metallm__records_init(struct metallm__records *r, const char *bytes, size_t len);
/* Parses the next record into *doc, the caller's to free. METALLM_ENOMEM is the only failure; a
 * broken record is a state, and its sentence stands in err. */
METALLM_MUSTCHECK int metallm__records_next(struct metallm__records *r, yyjson_doc **doc,
                                            enum metallm__records_state *state, metallm_error *err);

/* The text of a JSON value: strings, and numbers and booleans as written. Missing and null give a
 * missing span. room: 32 bytes for a number's text. */
struct metallm__span metallm__json_text(yyjson_val *value, char room[32]);

#endif
