/* SPDX-License-Identifier: Apache-2.0
 * texts.h - the texts of a job, one after the other: CSV, JSON Lines or a text a line. The file is
 * mapped and passed over, so that memory does not grow with it.
 *
 * A column is named by the header of a CSV file, by a member of a JSON line, or, in a CSV file
 * without a header, by its number from 1. What is wrong is told as "FILE:LINE: what is wrong with
 * 'VALUE'" and ends the reading. Threads: a reader belongs to one thread. */
#ifndef CLASSIFY_TEXTS_H
#define CLASSIFY_TEXTS_H
#include <stdbool.h>

#include "metallm/base.h"

#define METALLM__TEXTS_CHOICES_MAX 26u
#define METALLM__TEXT_BYTES_MAX    ((size_t)1 << 20) /* of a text */
#define METALLM__TEXT_ID_BYTES_MAX 256u
#define METALLM__TEXT_PART_BYTES   4096u              /* of a gold label or a choice */
#define METALLM__TEXTS_LINE_BYTES  ((size_t)16 << 20) /* of a JSON line */

enum metallm__texts_format {
    METALLM__TEXTS_AUTO, /* by the name: .csv, .jsonl or .ndjson, else lines */
    METALLM__TEXTS_CSV,
    METALLM__TEXTS_JSONL,
    METALLM__TEXTS_LINES,
};
/* METALLM_ENOTFOUND: no such format. */
METALLM_MUSTCHECK int metallm__texts_format_of(const char *name, enum metallm__texts_format *out,
                                               metallm_error *err);

/* Borrowed until close. */
struct metallm__texts_options {
    const char *path;
    enum metallm__texts_format format;
    bool has_no_header;  /* CSV: the first record is a text */
    const char *text;    /* column; NULL: "text", "prompt", "question", "sentence" or "headline",
                            else, of a CSV file, the first */
    const char *id;      /* column; NULL: "id" where there is one, else the number from 1 */
    const char *gold;    /* column; NULL: none */
    const char *choices; /* columns parted by commas, or one that holds an array; NULL: none */
};

/* Bytes of a text: UTF-8, without NUL bytes; not closed by one. */
struct metallm__text_part {
    const char *p;
    size_t n;
};

/* Parts are valid until the next call. */
struct metallm__text {
    uint64_t number; /* from 0 */
    size_t line;     /* where it begins, from 1 */
    struct metallm__text_part id, text;
    struct metallm__text_part gold; /* n 0: not known. Among choices: the letter of one, "A".. */
    struct metallm__text_part choices[METALLM__TEXTS_CHOICES_MAX];
    unsigned choice_count; /* 0, or 2..METALLM__TEXTS_CHOICES_MAX */
};

struct metallm__texts;

METALLM_MUSTCHECK int metallm__texts_open(struct metallm__texts **out,
                                          const struct metallm__texts_options *options,
                                          metallm_error *err);
void metallm__texts_close(struct metallm__texts *t); /* NULL is fine */
/* METALLM_ENOTFOUND: there is none left (err is not set). METALLM_EFORMAT, METALLM_ELIMIT: with
 * file, line and value. */
METALLM_MUSTCHECK int metallm__texts_next(struct metallm__texts *t, struct metallm__text *out,
                                          metallm_error *err);
/* To the first text again. */
METALLM_MUSTCHECK int metallm__texts_rewind(struct metallm__texts *t, metallm_error *err);
/* 128 bits of the file's bytes. */
void metallm__texts_hash(const struct metallm__texts *t, uint8_t out[16]);
#endif
