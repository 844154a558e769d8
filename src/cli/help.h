/* SPDX-License-Identifier: Apache-2.0
 * help.h - texts made from the verbs' tables: help, man pages, shell completion.
 * Texts are paragraphs parted by a blank line; a line that begins with a blank is kept as it is. */
#ifndef CLI_HELP_H
#define CLI_HELP_H
#include <stdio.h>

#include "cli/cli.h"

#define CLI_HELP_COLUMNS 80u

/* The verb help: not in cli_verbs, since it is there without a line in the list. */
extern const struct cli_verb cli_verb_help;

void cli_help_overview(FILE *out);
void cli_help_verb(FILE *out, const struct cli_verb *verb);
/* verb NULL: metallm(1) itself. */
void cli_man_page(FILE *out, const struct cli_verb *verb);
/* shell: "bash", "zsh" or "fish". CLI_EUSAGE: another. */
METALLM_MUSTCHECK int cli_completion(FILE *out, const char *shell, metallm_error *err);

const struct cli_verb *cli_find_verb(const char *name); /* NULL: none */
/* Says that there is no such verb, and which one was probably meant. Returns CLI_EUSAGE. */
int cli_unknown_verb(const char *name, metallm_error *err);

/* Words of [text, text + len) in lines of at most CLI_HELP_COLUMNS, each after `indent` blanks; the
 * first line begins at column `column`. */
void cli_wrap(FILE *out, const char *text, size_t len, unsigned indent, unsigned column);
/* " (0 to 1; default 0.5)", or nothing where there is neither; returns text. */
const char *cli_option_note(const struct cli_option *o, char *text, size_t size);

#endif
