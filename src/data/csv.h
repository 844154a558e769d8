/* SPDX-License-Identifier: Apache-2.0
 * csv.h - RFC 4180 records from bytes in memory, one at a time: quoted fields may hold commas,
 * doubled quotes and line breaks; lines end in LF or CRLF. Plain fields are not copied. */
#ifndef DATA_CSV_H
#define DATA_CSV_H
#include "base/buf.h"
#include "data/text.h"
#include "metallm/base.h"

#define METALLM__CSV_RECORD_BYTES_MAX                                                              \
    ((size_t)64 << 20) /* a longer record is a quote left open                                     \
                        */
#define METALLM__CSV_FIELDS_MAX 4096u

enum metallm__csv_state {
    METALLM__CSV_RECORD, /* fields hold one record */
    METALLM__CSV_END,    /* no more records */
    METALLM__CSV_BAD,    /* this record is broken (why says how); reading can go on behind it */
    METALLM__CSV_LOST,   /* broken to the end of the file: nothing more can be read */
};

struct metallm__csv {
    const char *bytes;
    size_t len, pos;
    size_t line;        /* of pos, from 1 */
    size_t record_line; /* where the last record begins */
    const char *why;    /* static sentence for a broken record */
    /* The record: borrowed until the next call. */
    struct metallm__span *fields;
    size_t field_count, field_cap;
    struct metallm__buf unescaped; /* fields that held doubled quotes, one after the other */
};

void metallm__csv_init(struct metallm__csv *c, const char *bytes, size_t len); /* skips a BOM */
void metallm__csv_fini(struct metallm__csv *c);
/* METALLM_ENOMEM is the only failure; broken input is a state. Empty lines are passed over. */
METALLM_MUSTCHECK int metallm__csv_next(struct metallm__csv *c, enum metallm__csv_state *state,
                                        metallm_error *err);

#endif
