/* SPDX-License-Identifier: Apache-2.0
 * cli.h - the frame of the command line tool: one table per verb feeds the parser, `metallm help
 * VERB`, the man pages and the shell completion. */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "metallm/base.h"

enum cli_kind {
    CLI_FLAG,   /* bool: no argument */
    CLI_STRING, /* const char * */
    CLI_REAL,   /* double, low..high */
    CLI_COUNT,  /* uint64_t, low..high */
    CLI_LIST,   /* struct cli_list: may be given several times */
};

#define CLI_LIST_MAX 256u
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

struct cli_option {
    const char *name; /* long name without the dashes; NULL closes a table */
    char letter;      /* 0: none */
    enum cli_kind kind;
    size_t offset;        /* of the field in the verb's option struct */
    const char *arg;      /* "FILE", "N", ...; NULL for a flag */
    const char *fallback; /* default as typed; NULL: none (field stays zero) */
    double low, high;     /* CLI_REAL and CLI_COUNT; both 0: unbounded */
    const char *help;     /* one sentence */
};

/* Where a verb reads and writes; the tool's own streams are passed in. */
struct cli_io {
    FILE *in, *out, *err;
    metallm_progress progress; /* draws on a terminal; asks to stop after Ctrl-C */
};

#define CLI_TABLES_MAX 4u
struct cli_verb {
    const char *name, *summary;
    const char *operands;    /* "ROUTER FILES...", for the synopsis */
    const char *description; /* paragraphs parted by a blank line: help and man page */
    const char *examples;    /* lines of commands; may be NULL */
    size_t options_size;     /* of the verb's option struct, zeroed before parsing */
    const struct cli_option *tables[CLI_TABLES_MAX]; /* option tables, shared ones among them */
    size_t operands_min, operands_max;
    /* METALLM_OK, or a status that main maps to the exit code; err is printed by main. */
    int (*run)(const struct cli_io *io, const void *options, const char *const *operands,
               size_t operand_count, metallm_error *err);
};

/* Fills options from argv (after the verb); operands points into argv. */
METALLM_MUSTCHECK int cli_parse(const struct cli_verb *verb, int argc, char **argv, void *options,
                                const char **operands, size_t *operand_count, metallm_error *err);
/* The wrong use of the command line: exit status 2. */
#define CLI_EUSAGE (-100)

extern const struct cli_verb *const cli_verbs[]; /* closed by NULL: the order of `metallm help` */

#endif
