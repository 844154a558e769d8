/* SPDX-License-Identifier: Apache-2.0
 * main.c - finds the verb, parses, runs it, and maps its result to the exit status: 0 done, 1
 * failed, 2 wrong usage. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/progress.h"
#include "cli/streams.h"

/* The one place that knows what a result means to the caller's shell. */
static int finish(int rc, const metallm_error *err)
{
    if (rc == METALLM_OK)
        return 0;
    int asked = cli_progress_stop_signal();
    if (asked != 0 && rc == METALLM_ECANCELED) {
        /* Everything is cleaned up: end as the signal would have ended us, so that a shell's loop
         * ends too. */
        fprintf(stderr, "metallm: stopped\n");
        signal(asked, SIG_DFL);
        raise(asked);
    }
    fprintf(stderr, "metallm: %s\n",
            err->message[0] != '\0' ? err->message : metallm_status_name(rc));
    return rc == CLI_EUSAGE ? 2 : 1;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* argv: what follows the verb. */
static int run_verb(const struct cli_io *io, const struct cli_verb *verb, int argc, char **argv,
                    metallm_error *err)
{
    void *options = metallm__calloc(1, verb->options_size + 1);
    const char **operands = metallm__calloc((size_t)argc + 1, sizeof *operands);
    size_t operand_count = 0;
    int rc;
    if (options == NULL || operands == NULL) {
        rc = metallm__error_nomem(err, "the command line");
    } else if (wants_help(argc, argv)) {
        cli_help_verb(io->out, verb);
        rc = METALLM_OK;
    } else {
        rc = cli_parse(verb, argc, argv, options, operands, &operand_count, err);
        if (rc == METALLM_OK)
            rc = verb->run(io, options, operands, operand_count, err);
    }
    metallm__free(operands);
    metallm__free(options);
    return rc;
}

static int run(const struct cli_io *io, int argc, char **argv, metallm_error *err)
{
    if (argc < 2) {
        cli_help_overview(io->err);
        return metallm__error_set(err, CLI_EUSAGE, "a verb is needed");
    }
    if (strcmp(argv[1], "--version") == 0) {
        fprintf(io->out, "metallm %s\n", metallm_version());
        return METALLM_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_help_overview(io->out);
        return METALLM_OK;
    }
    const struct cli_verb *verb = cli_find_verb(argv[1]);
    if (verb == NULL)
        return cli_unknown_verb(argv[1], err);
    return run_verb(io, verb, argc - 2, argv + 2, err);
}

int main(int argc, char **argv)
{
    metallm_error err = {0};
    struct cli_progress progress;
    cli_streams_init();
    cli_progress_init(&progress, stderr);
    cli_progress_catch_signals();
    struct cli_io io = {stdin, stdout, stderr, {cli_progress_step, &progress}};
    int rc = run(&io, argc, argv, &err);
    cli_progress_end(&progress);
    metallm_error flush_err = {0};
    int flushed = cli_streams_flush(stdout, &flush_err);
    if (rc == METALLM_OK && flushed != METALLM_OK)
        return finish(flushed, &flush_err);
    return finish(rc, &err);
}
