/* SPDX-License-Identifier: Apache-2.0
 * progress.h - a bar with rate and time left on a terminal, nothing in a pipe; and Ctrl-C. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H
#include "cli/cli.h"

struct cli_progress {
    FILE *err;
    bool is_shown;         /* err is a terminal */
    char what[64];         /* the step being drawn; "": none yet */
    double started, drawn; /* seconds, monotonic */
};

void cli_progress_init(struct cli_progress *p, FILE *err);
void cli_progress_end(struct cli_progress *p); /* leaves a clean line */
void cli_progress_catch_signals(void);         /* SIGINT and SIGTERM ask the next step to stop */
int cli_progress_stop_signal(void);            /* the one that came; 0: none */
int cli_progress_step(void *p, const char *what, uint64_t done, uint64_t total);

/* The line for `columns` columns, closed by NUL: "what [###---] 40 % 400/1000, 200/s, 3 s left". */
void cli_progress_line(char *text, size_t size, unsigned columns, const char *what, uint64_t done,
                       uint64_t total, double elapsed_s);

#endif
