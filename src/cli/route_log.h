/* SPDX-License-Identifier: Apache-2.0
 * route_log.h - decisions of `metallm route` appended to a decision log (docs/formats.md). */
#ifndef CLI_ROUTE_LOG_H
#define CLI_ROUTE_LOG_H
#include "base/buf.h"
#include "cli/inputs.h"
#include "cli/route_print.h"

struct cli_route_log {
    FILE *file; /* NULL: nothing is logged */
    const char *path;
    struct metallm__buf line;
    uint64_t started_ns, count; /* make an id */
    char version[CLI_VERSION_BYTES];
};

/* router: its file. path NULL: nothing will be logged. The file is added to, never replaced. */
METALLM_MUSTCHECK int cli_route_log_open(struct cli_route_log *l, const char *path,
                                         const char *router, metallm_error *err);
METALLM_MUSTCHECK int cli_route_log_add(struct cli_route_log *l, const struct cli_route_answer *a,
                                        metallm_error *err);
METALLM_MUSTCHECK int cli_route_log_flush(struct cli_route_log *l, metallm_error *err);
void cli_route_log_close(struct cli_route_log *l); /* a cleared record is fine */

#endif
