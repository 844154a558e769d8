/* SPDX-License-Identifier: Apache-2.0
 * streams.h - the tool's standard streams: what is written must arrive, or the tool fails. */
#ifndef CLI_STREAMS_H
#define CLI_STREAMS_H
#include <stdio.h>

#include "metallm/base.h"

/* Before anything is opened: a closed 0, 1 or 2 is filled, so that no file of ours takes its place
 * and is printed into; writing into a pipe that nobody reads becomes an error, not a signal. */
void cli_streams_init(void);
/* Hands all that was written to the system. METALLM_EIO: it was not taken (disk full, pipe closed).
 */
METALLM_MUSTCHECK int cli_streams_flush(FILE *out, metallm_error *err);

#endif
