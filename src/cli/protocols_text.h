/* SPDX-License-Identifier: Apache-2.0
 * protocols_text.h - what each protocol makes of each feature of a request, from the tables in
 * src/wire: `metallm help protocols`, and the tables of docs/protocols.md. */
#ifndef CLI_PROTOCOLS_TEXT_H
#define CLI_PROTOCOLS_TEXT_H
#include <stdio.h>

void cli_protocols_help(FILE *out);
void cli_protocols_markdown(FILE *out);

#endif
