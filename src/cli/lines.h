/* SPDX-License-Identifier: Apache-2.0
 * lines.h - lines from a pipe, terminal or file, with the number of each, and the knowledge whether
 * another one is there already: so that work is done in batches, and nobody waits for a batch to
 * fill. */
#ifndef CLI_LINES_H
#define CLI_LINES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

#define CLI_LINE_BYTES_MAX 33554432u /* a longer line is refused */

struct cli_lines {
    int fd;
    char *bytes; /* begin..len: not given yet */
    size_t begin, len, cap, seen;
    bool is_ended;
    uint64_t number; /* of the line given last, from 1 */
};

enum cli_line {
    CLI_LINE_GOT,
    CLI_LINE_LATER, /* no whole line is there yet; only without may_wait */
    CLI_LINE_END,
};

void cli_lines_init(struct cli_lines *l, int fd);
void cli_lines_fini(struct cli_lines *l);
/* The next line without its end ("\n" or "\r\n"; the last may have none; a byte order mark before
 * the first is dropped). *text is valid until the next call. METALLM_ELIMIT, METALLM_EIO, or
 * METALLM_ECANCELED when a signal asked to stop. */
METALLM_MUSTCHECK int cli_lines_next(struct cli_lines *l, bool may_wait, enum cli_line *what,
                                     const char **text, size_t *len, metallm_error *err);
#endif
