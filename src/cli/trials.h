/* SPDX-License-Identifier: Apache-2.0
 * trials.h - the tasks of `metallm select --leave-one-task-out`, one by one, as a JSON list: what
 * each rule thought of every model, what it picked, and what was true. */
#ifndef CLI_TRIALS_H
#define CLI_TRIALS_H
#include "base/buf.h"
#include "router/task_select.h"

struct cli_trials {
    struct metallm__buf text;
};

void cli_trials_init(struct cli_trials *t);
void cli_trials_fini(struct cli_trials *t);
/* The list, with its brackets; it stays the struct's. To be called once, after the last one. */
const char *cli_trials_end(struct cli_trials *t);
/* Of metallm__experiment_request; payload: a struct cli_trials. */
void cli_trials_add(void *trials, const struct metallm__task_trial *trial);

#endif
