/* SPDX-License-Identifier: Apache-2.0
 * prompts.h - the prompts of a task: from outcomes in any known format, or from a file that holds
 * nothing but prompts. */
#ifndef CLI_PROMPTS_H
#define CLI_PROMPTS_H
#include "cli/inputs.h"

/* A table with a query for each prompt of the file. "-" (standard input) and a name that ends in
 * .txt: a prompt a line. Objects with a text "prompt" and no outcomes, one a line: these prompts.
 * Any other file is read as outcomes (cli_inputs_load), so that scores come along. Blank lines are
 * skipped. path NULL: from --store. The caller frees *out. */
METALLM_MUSTCHECK int cli_prompts_load(const struct cli_io *io,
                                       const struct cli_inputs_options *opts, const char *path,
                                       metallm_outcomes **out, metallm_error *err);
#endif
