/* SPDX-License-Identifier: Apache-2.0
 * classify_progress.h - how far a job is, on standard error: drawn anew on a terminal, a line every
 * ten seconds elsewhere. Ctrl-C asks the run to finish what is under way. */
#ifndef CLI_CLASSIFY_PROGRESS_H
#define CLI_CLASSIFY_PROGRESS_H
#include "classify/run.h"
#include "cli/cli.h"

struct cli_classify_progress {
    FILE *err;
    bool is_terminal, is_drawn;
    double told; /* seconds into the run */
};
void cli_classify_progress_init(struct cli_classify_progress *p, FILE *err);
int cli_classify_progress_tick(void *payload, const struct metallm__run *r); /* run.h, tick */
void cli_classify_progress_end(struct cli_classify_progress *p); /* leaves a clean line */
/* "1200/5000 texts, 85/s, $0.0123, small 70 % big 30 %, 45 s left", closed by NUL. */
void cli_classify_progress_line(char *text, size_t size, const struct metallm__run_state *s);
#endif
