/* SPDX-License-Identifier: Apache-2.0
 * help.c - see help.h. */
#include "cli/help.h"

void cli_help_overview(FILE *out)
{
    fprintf(out,
            "metallm sends each query to the LLM that serves it best at the price you will pay.\n\n"
            "usage: metallm VERB [options] [files]\n\n");
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        fprintf(out, "  %-12s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fprintf(out, "\n'metallm help VERB' tells more of one.\n");
}

static void print_option(FILE *out, const struct cli_option *o)
{
    char left[64];
    snprintf(left, sizeof left, "%c%c%c --%s%s%s", o->letter != 0 ? '-' : ' ',
             o->letter != 0 ? o->letter : ' ', o->letter != 0 ? ',' : ' ', o->name,
             o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    fprintf(out, "  %-28s %s", left, o->help);
    if (o->fallback != NULL)
        fprintf(out, " [default: %s]", o->fallback);
    fprintf(out, "\n");
}

void cli_help_verb(FILE *out, const struct cli_verb *verb)
{
    fprintf(out, "metallm %s: %s\n\nusage: metallm %s [options] %s\n\n%s\n", verb->name,
            verb->summary, verb->name, verb->operands, verb->description);
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++) {
        fprintf(out, t == 0 ? "\noptions:\n" : "");
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            print_option(out, o);
    }
    if (verb->examples != NULL)
        fprintf(out, "\nexamples:\n%s\n", verb->examples);
}
