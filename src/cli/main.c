/* SPDX-License-Identifier: Apache-2.0
 * main.c - finds the verb, parses, runs it, and maps its result to the exit status: 0 done, 1
 * failed, 2 wrong usage. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/progress.h"

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0)
            return cli_verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    fprintf(stderr, "metallm: no verb '%s' (see 'metallm help')\n", name);
    return 2;
}

static int help(int argc, char **argv)
{
    if (argc < 3) {
        cli_help_overview(stdout);
        return 0;
    }
    const struct cli_verb *verb = find_verb(argv[2]);
    if (verb == NULL)
        return unknown_verb(argv[2]);
    cli_help_verb(stdout, verb);
    return 0;
}

static int wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
    return 0;
}

static int run_verb(const struct cli_verb *verb, int argc, char **argv)
{
    metallm_error err = {0};
    void *options = metallm__calloc(1, verb->options_size + 1);
    const char **operands = metallm__calloc((size_t)argc, sizeof *operands);
    size_t operand_count = 0;
    struct cli_progress progress;
    cli_progress_init(&progress, stderr);
    cli_progress_catch_signals();
    struct cli_io io = {stdin, stdout, stderr, {cli_progress_step, &progress}};
    int rc = METALLM_ENOMEM;
    if (options != NULL && operands != NULL)
        rc = cli_parse(verb, argc - 2, argv + 2, options, operands, &operand_count, &err);
    if (rc == METALLM_OK)
        rc = verb->run(&io, options, operands, operand_count, &err);
    cli_progress_end(&progress);
    if (rc == METALLM_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        rc = METALLM_EIO;
        snprintf(err.message, sizeof err.message, "cannot write to standard output");
    }
    if (rc != METALLM_OK)
        fprintf(stderr, "metallm: %s\n",
                err.message[0] != '\0' ? err.message : metallm_status_name(rc));
    metallm__free(operands);
    metallm__free(options);
    return rc == METALLM_OK ? 0 : rc == CLI_EUSAGE ? 2 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        cli_help_overview(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("metallm %s\n", metallm_version());
        return 0;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help(argc, argv);
    const struct cli_verb *verb = find_verb(argv[1]);
    if (verb == NULL)
        return unknown_verb(argv[1]);
    if (wants_help(argc, argv)) {
        cli_help_verb(stdout, verb);
        return 0;
    }
    return run_verb(verb, argc, argv);
}
