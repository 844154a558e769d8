/* SPDX-License-Identifier: Apache-2.0
 * help.c - help texts for a terminal; see help.h. */
#include "cli/help.h"

#include <string.h>

#include "base/error.h"
#include "base/near.h"
#include "cli/config_text.h"
#include "cli/protocols_text.h"

#define OPTION_COLUMN 27u

static const char help_description[] =
    "Without an argument it lists the verbs; with the name of one it tells what that verb does, "
    "its options and examples. 'metallm help config' tells the gateway's configuration, 'metallm "
    "help protocols' what each protocol of an LLM can be told.\n\n"
    "The man pages and the shells' completions are made from the same tables.";

static const char help_examples[] = "  metallm help train\n"
                                    "  metallm help --man train | man -l -\n"
                                    "  . <(metallm help --completion bash)";

struct help_options {
    bool is_man, is_markdown;
    const char *shell;
};

static const struct cli_option help_table[] = {
    {.name = "man",
     .kind = CLI_FLAG,
     .offset = offsetof(struct help_options, is_man),
     .help = "print the man page instead"},
    {.name = "markdown",
     .kind = CLI_FLAG,
     .offset = offsetof(struct help_options, is_markdown),
     .help = "of 'config': print docs/config.md; of 'protocols': the tables of "
             "docs/protocols.md"},
    {.name = "completion",
     .kind = CLI_STRING,
     .offset = offsetof(struct help_options, shell),
     .arg = "SHELL",
     .help = "print the completion for bash, zsh or fish"},
    {.name = NULL},
};

static int run_help(const struct cli_io *io, const void *options, const char *const *operands,
                    size_t operand_count, metallm_error *err);

const struct cli_verb cli_verb_help = {
    .name = "help",
    .summary = "tells what a verb does",
    .operands = "[VERB|config|protocols]",
    .description = help_description,
    .examples = help_examples,
    .options_size = sizeof(struct help_options),
    .tables = {help_table},
    .operands_min = 0,
    .operands_max = 1,
    .run = run_help,
};

const struct cli_verb *cli_find_verb(const char *name)
{
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0)
            return cli_verbs[i];
    return strcmp(name, cli_verb_help.name) == 0 ? &cli_verb_help : NULL;
}

int cli_unknown_verb(const char *name, metallm_error *err)
{
    struct metallm__near near = {.wanted = name};
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        metallm__near_offer(&near, cli_verbs[i]->name);
    if (near.best != NULL)
        return metallm__error_set(err, CLI_EUSAGE, "no verb '%.60s': is '%s' meant?", name,
                                  near.best);
    return metallm__error_set(err, CLI_EUSAGE, "no verb '%.60s' (see 'metallm help')", name);
}

void cli_wrap(FILE *out, const char *text, size_t len, unsigned indent, unsigned column)
{
    size_t i = 0;
    while (i < len) {
        while (i < len && (text[i] == ' ' || text[i] == '\n'))
            i++;
        size_t start = i;
        while (i < len && text[i] != ' ' && text[i] != '\n')
            i++;
        if (i == start)
            break;
        size_t word = i - start;
        if (column > indent && column + 1 + word > CLI_HELP_COLUMNS) {
            fputc('\n', out);
            column = 0;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        for (; column < indent; column++)
            fputc(' ', out);
        fprintf(out, "%.*s", (int)word, text + start);
        column += (unsigned)word;
    }
    fputc('\n', out);
}

/* Paragraphs are filled, lines that begin with a blank stay. */
static void print_text(FILE *out, const char *text)
{
    while (*text != '\0') {
        const char *end = text;
        if (*text == ' ' || *text == '\n') {
            end += strcspn(text, "\n");
            fprintf(out, "%.*s\n", (int)(end - text), text);
            text = *end == '\n' ? end + 1 : end;
            continue;
        }
        do {
            end += strcspn(end, "\n");
            end += *end == '\n';
        } while (*end != '\0' && *end != '\n' && *end != ' ');
        cli_wrap(out, text, (size_t)(end - text), 0, 0);
        text = end;
    }
}

const char *cli_option_note(const struct cli_option *o, char *text, size_t size)
{
    bool is_ranged = (o->kind == CLI_REAL || o->kind == CLI_COUNT) && (o->low != 0 || o->high != 0);
    text[0] = '\0';
    if (is_ranged && o->fallback != NULL)
        snprintf(text, size, " (%g to %g; default %s)", o->low, o->high, o->fallback);
    else if (is_ranged)
        snprintf(text, size, " (%g to %g)", o->low, o->high);
    else if (o->fallback != NULL)
        snprintf(text, size, " (default %s)", o->fallback);
    else if (o->kind == CLI_LIST)
        snprintf(text, size, " (may be given several times)");
    return text;
}

static void print_option(FILE *out, const struct cli_option *o)
{
    char note[160], help[1024];
    unsigned column;
    if (o->letter != 0)
        column = (unsigned)fprintf(out, "  -%c, --%s", o->letter, o->name);
    else
        column = (unsigned)fprintf(out, "      --%s", o->name);
    if (o->arg != NULL)
        column += (unsigned)fprintf(out, " %s", o->arg);
    if (column + 2 > OPTION_COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    for (; column < OPTION_COLUMN; column++)
        fputc(' ', out);
    snprintf(help, sizeof help, "%s%s", o->help, cli_option_note(o, note, sizeof note));
    cli_wrap(out, help, strlen(help), OPTION_COLUMN, OPTION_COLUMN);
}

static void print_summary(FILE *out, const struct cli_verb *verb)
{
    fprintf(out, "  %-10s ", verb->name);
    cli_wrap(out, verb->summary, strlen(verb->summary), 13, 13);
}

void cli_help_overview(FILE *out)
{
    fprintf(out,
            "metallm sends each query to the LLM that serves it best at the price you will pay.\n\n"
            "usage: metallm VERB [options] [files]\n\n");
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        print_summary(out, cli_verbs[i]);
    print_summary(out, &cli_verb_help);
    fprintf(out, "\n'metallm help VERB' tells more of one, 'metallm --version' the version.\n");
}

void cli_help_verb(FILE *out, const struct cli_verb *verb)
{
    fprintf(out, "metallm %s: %s\n\nusage: metallm %s [options]%s%s\n\n", verb->name, verb->summary,
            verb->name, verb->operands[0] != '\0' ? " " : "", verb->operands);
    print_text(out, verb->description);
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++) {
        if (t == 0)
            fprintf(out, "\noptions:\n");
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            print_option(out, o);
    }
    if (verb->examples != NULL)
        fprintf(out, "\nexamples:\n%s\n", verb->examples);
}

static int run_help(const struct cli_io *io, const void *options, const char *const *operands,
                    size_t operand_count, metallm_error *err)
{
    const struct help_options *o = options;
    if (o->shell != NULL)
        return cli_completion(io->out, o->shell, err);
    if (operand_count > 0 && strcmp(operands[0], "config") == 0) {
        (o->is_man        ? cli_config_man
         : o->is_markdown ? cli_config_markdown
                          : cli_config_help)(io->out);
        return METALLM_OK;
    }
    if (operand_count > 0 && strcmp(operands[0], "protocols") == 0) {
        (o->is_markdown ? cli_protocols_markdown : cli_protocols_help)(io->out);
        return METALLM_OK;
    }
    const struct cli_verb *verb = operand_count > 0 ? cli_find_verb(operands[0]) : NULL;
    if (operand_count > 0 && verb == NULL)
        return cli_unknown_verb(operands[0], err);
    if (o->is_man)
        cli_man_page(io->out, verb);
    else if (verb != NULL)
        cli_help_verb(io->out, verb);
    else
        cli_help_overview(io->out);
    return METALLM_OK;
}
