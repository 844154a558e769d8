/* SPDX-License-Identifier: Apache-2.0
 * help.h - texts made from the verbs' tables: help, man pages, shell completion. */
#ifndef CLI_HELP_H
#define CLI_HELP_H
#include <stdio.h>

#include "cli/cli.h"

void cli_help_overview(FILE *out);
void cli_help_verb(FILE *out, const struct cli_verb *verb);

#endif
