/* SPDX-License-Identifier: Apache-2.0
 * config_text.h - texts made from the table of the gateway's options: `metallm help config`, the
 * man page metallm.yaml(5), docs/config.md, and the commented example of `metallm init`. */
#ifndef CLI_CONFIG_TEXT_H
#define CLI_CONFIG_TEXT_H
#include <stdio.h>

void cli_config_help(FILE *out);
void cli_config_man(FILE *out);
void cli_config_markdown(FILE *out);
/* A whole config: lines that hold, then every other option as a comment with its default. models
 * and routers: their blocks, with their first line ("models:\n"). */
void cli_config_example(FILE *out, const char *models, const char *routers);

#endif
