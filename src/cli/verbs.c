/* SPDX-License-Identifier: Apache-2.0
 * verbs.c - the list of verbs: a new one is a file and a line here. */
#include "cli/cli.h"

const struct cli_verb *const cli_verbs[] = {
    NULL,
};
