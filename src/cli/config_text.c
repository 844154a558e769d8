/* SPDX-License-Identifier: Apache-2.0
 * config_text.c - see config_text.h. */
#include "cli/config_text.h"

#include <string.h>

#include "cli/help.h"
#include "gateway/config_table.h"

#define NOTE_BYTES 512u
#define PATH_BYTES 160u

static const char intro[] =
    "The gateway's configuration is one YAML file. Every key is known or refused, with the line "
    "and what was probably meant.";
static const char values_text[] =
    "In every value ${NAME} stands for an environment variable, which must be set, and "
    "${NAME:-text} for one that may be missing; $${ is a literal ${. Keys and the values of "
    "headers may also be file:PATH: the first line of that file. A secret never stands in the "
    "file itself: it is file:PATH, or holds a ${NAME} without :-text (a text may stand around it: "
    "Bearer ${NAME}). Secrets are keys, and the values of headers whose names end in api-key, "
    "subscription-key, -token, -secret, -authorization or cookie. Bytes may end in K, M or G (1024 "
    "each), times in ms, s, m or h. Relative paths begin at the folder that metallm is started "
    "in.";
static const char reload_text[] =
    "SIGHUP, or POST /admin/reload, reads the file again. A file with a mistake is refused with "
    "its line, and what was in force stays. Options marked 'fixed' cannot change while the gateway "
    "runs. What the admin API changed (models added, prices, states, a router's dial, target or "
    "budget) is kept in the store and lies over the file until it is taken back.";

static bool is_leaf(const struct metallm__option *o)
{
    return o->members == NULL;
}

/* "one of auto, minilm": a choice as people read it. */
static size_t put_choices(char *out, size_t size, const char *choices)
{
    char name[METALLM__CHOICE_BYTES];
    size_t len = (size_t)snprintf(out, size, "one of ");
    for (uint32_t i = 0; metallm__option_choice(choices, i, name) != NULL && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? ", " : "", name);
    return len;
}

/* What may be given: "whole number, 1024 to 1048576 bytes". */
static const char *type_text(const struct metallm__option *o, char out[NOTE_BYTES])
{
    static const char *const kinds[] = {[METALLM__OPT_TEXT] = "text",
                                        [METALLM__OPT_SECRET] = "secret",
                                        [METALLM__OPT_FLAG] = "true/false",
                                        [METALLM__OPT_ABLE] = "true/false",
                                        [METALLM__OPT_COUNT] = "whole number",
                                        [METALLM__OPT_REAL] = "number",
                                        [METALLM__OPT_CHOICE] = "",
                                        [METALLM__OPT_DAY] = "day as YYYY-MM-DD",
                                        [METALLM__OPT_TEXTS] = "text or list of texts",
                                        [METALLM__OPT_SECRETS] = "secret or list of secrets",
                                        [METALLM__OPT_HEADERS] = "mapping of names to secrets",
                                        [METALLM__OPT_GROUP] = "mapping",
                                        [METALLM__OPT_RECORDS] = "list of mappings"};
    if (o->choices != NULL) {
        put_choices(out, NOTE_BYTES, o->choices);
        return out;
    }
    size_t len = (size_t)snprintf(out, NOTE_BYTES, "%s", kinds[o->kind]);
    if (o->kind == METALLM__OPT_COUNT || o->kind == METALLM__OPT_REAL)
        len += (size_t)snprintf(out + len, NOTE_BYTES - len, ", %.10g to %.10g", o->low, o->high);
    if (o->unit != NULL)
        snprintf(out + len, NOTE_BYTES - len, " %s", o->unit);
    if ((o->flags & METALLM__OPT_ONE) != 0)
        snprintf(out, NOTE_BYTES, "mapping or list of mappings");
    return out;
}

/* " (type; default; fixed)" after the help. */
static const char *note_text(const struct metallm__option *o, char out[NOTE_BYTES])
{
    char type[NOTE_BYTES];
    size_t len = (size_t)snprintf(out, NOTE_BYTES, " (%.300s", type_text(o, type));
    if (o->fallback != NULL)
        len += (size_t)snprintf(out + len, NOTE_BYTES - len, "; default %s", o->fallback);
    if ((o->flags & METALLM__OPT_NEEDED) != 0)
        len += (size_t)snprintf(out + len, NOTE_BYTES - len, "; needed");
    if ((o->flags & METALLM__OPT_FIXED) != 0)
        len += (size_t)snprintf(out + len, NOTE_BYTES - len, "; fixed");
    snprintf(out + len, NOTE_BYTES - len, ")");
    return out;
}

static void paragraph(FILE *out, const char *text)
{
    cli_wrap(out, text, strlen(text), 0, 0);
    fputc('\n', out);
}

static void help_table(FILE *out, const struct metallm__option *table, unsigned indent)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        char note[NOTE_BYTES], text[2 * NOTE_BYTES];
        const unsigned column = 26;
        unsigned at = (unsigned)fprintf(out, "%*s%s%s", (int)indent, "", o->name,
                                        is_leaf(o)                        ? ""
                                        : o->kind == METALLM__OPT_RECORDS ? ": -"
                                                                          : ":");
        if (at + 2 > column) {
            fputc('\n', out);
            at = 0;
        }
        for (; at < column; at++)
            fputc(' ', out);
        snprintf(text, sizeof text, "%s%s", o->help, note_text(o, note));
        cli_wrap(out, text, strlen(text), column, column);
        if (!is_leaf(o))
            help_table(out, o->members, indent + 2);
    }
}

void cli_config_help(FILE *out)
{
    fputs("metallm.yaml: the configuration of 'metallm serve'\n\n", out);
    paragraph(out, intro);
    paragraph(out, values_text);
    paragraph(out, reload_text);
    fputs("options:\n", out);
    help_table(out, metallm__config_options, 2);
    fputs("\n'metallm init' writes an example with all of them.\n", out);
}

/* Escapes what troff would read as its own. */
static void roff(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (c == text && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else
            fputc(*c, out);
    }
}

static void join(char out[PATH_BYTES], const char *path, const struct metallm__option *o)
{
    snprintf(out, PATH_BYTES, "%.100s%s%.40s%s", path, path[0] != '\0' ? "." : "", o->name,
             o->kind == METALLM__OPT_RECORDS ? "[]" : "");
}

static void man_table(FILE *out, const struct metallm__option *table, const char *path)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        char note[NOTE_BYTES], name[PATH_BYTES];
        join(name, path, o);
        fputs(".TP\n.B ", out);
        roff(out, name);
        fputc('\n', out);
        roff(out, o->help);
        roff(out, note_text(o, note));
        fputc('\n', out);
        if (!is_leaf(o))
            man_table(out, o->members, name);
    }
}

void cli_config_man(FILE *out)
{
    fprintf(out,
            ".TH METALLM.YAML 5 \"\" \"metallm %s\" \"metallm\"\n.SH NAME\nmetallm.yaml \\- "
            "configuration of the gateway\n.SH DESCRIPTION\n",
            metallm_version());
    roff(out, intro);
    fputs("\n.PP\n", out);
    roff(out, values_text);
    fputs("\n.PP\n", out);
    roff(out, reload_text);
    fputs("\n.SH OPTIONS\n", out);
    man_table(out, metallm__config_options, "");
    fputs(".SH SEE ALSO\n.BR metallm (1),\n.BR metallm\\-init (1),\n.BR metallm\\-doctor (1)\n",
          out);
}

/* A cell of a Markdown table: bars are its own. */
static void cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void markdown_rows(FILE *out, const struct metallm__option *table, const char *path)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        char type[NOTE_BYTES], name[PATH_BYTES];
        join(name, path, o);
        fprintf(out, "| `%s` | ", name);
        cell(out, type_text(o, type));
        fputs(" | ", out);
        if (o->fallback != NULL)
            fprintf(out, "`%s`", o->fallback);
        else if ((o->flags & METALLM__OPT_NEEDED) != 0)
            fputs("needed", out);
        fputs(" | ", out);
        cell(out, o->help);
        if ((o->flags & METALLM__OPT_FIXED) != 0)
            fputs(" (fixed)", out);
        if (o->example != NULL && is_leaf(o))
            fprintf(out, ". Example: `%s`", o->example);
        fputs(" |\n", out);
        if (!is_leaf(o))
            markdown_rows(out, o->members, name);
    }
}

static const char table_head[] = "| option | value | default | meaning |\n|---|---|---|---|\n";

void cli_config_markdown(FILE *out)
{
    fprintf(out,
            "# The configuration\n\n<!-- Made by 'metallm help --markdown config'; a test compares "
            "them. -->\n\n%s\n\n%s\n\n%s\n\n`metallm init` writes a commented file from the "
            "provider keys found in the environment, and `metallm doctor` checks one.\n\n"
            "## Top level\n%s",
            intro, values_text, reload_text, table_head);
    for (const struct metallm__option *o = metallm__config_options; o->name != NULL; o++) {
        struct metallm__option one[2] = {*o, {.name = NULL}};
        if (is_leaf(o))
            markdown_rows(out, one, "");
        else
            fprintf(out, "| [`%s`](#%s) | %s | %s | %s |\n", o->name, o->name,
                    o->kind == METALLM__OPT_RECORDS ? "list of mappings" : "mapping",
                    (o->flags & METALLM__OPT_NEEDED) != 0 ? "needed" : "", o->help);
    }
    for (const struct metallm__option *o = metallm__config_options; o->name != NULL; o++) {
        if (is_leaf(o))
            continue;
        char name[PATH_BYTES];
        join(name, "", o);
        fprintf(out, "\n## %s\n%c%s.\n\n%s", o->name, o->help[0] & ~0x20, o->help + 1, table_head);
        markdown_rows(out, o->members, name);
    }
}

/* "# " and words, in lines of at most CLI_HELP_COLUMNS. */
static void comment(FILE *out, const char *text)
{
    unsigned column = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > CLI_HELP_COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        column += (unsigned)fprintf(out, "%s%.*s", column == 0 ? "# " : " ", (int)len, text);
        text += len + (text[len] == ' ');
    }
    fputc('\n', out);
}

/* Each option as a line "#name: value" that holds when its '#' is taken away. */
static void example_table(FILE *out, const struct metallm__option *table, unsigned indent)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        const char *value = o->fallback != NULL ? o->fallback : o->example;
        if (o->kind == METALLM__OPT_GROUP) {
            fprintf(out, "#%*s%s:  # %s\n", (int)indent, "", o->name, o->help);
            example_table(out, o->members, indent + 2);
            continue;
        }
        /* Without a default it stays a comment of prose: its value would mean something. */
        int width = fprintf(out, o->fallback != NULL ? "#%*s%s: %s" : "# %*s%s: %s", (int)indent,
                            "", o->name, value != NULL ? value : "...");
        fprintf(out, "%*s  # %s\n", width < 34 ? 34 - width : 0, "", o->help);
    }
}

static void example_members(FILE *out, const struct metallm__option *table)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        const char *value = o->fallback != NULL ? o->fallback : o->example;
        int width = fprintf(out, "    # %s: %s", o->name,
                            o->kind == METALLM__OPT_GROUP     ? "{...}"
                            : o->kind == METALLM__OPT_RECORDS ? "[...]"
                            : value != NULL                   ? value
                                                              : "...");
        fprintf(out, "%*s  # %s\n", width < 38 ? 38 - width : 0, "", o->help);
    }
}

static void example_option(FILE *out, const struct metallm__option *o, const char *block)
{
    struct metallm__option one[2] = {*o, {.name = NULL}};
    if (o->kind == METALLM__OPT_RECORDS) {
        comment(out, o->help);
        if (block != NULL)
            fputs(block, out);
        else
            fprintf(out, "# %s:\n#   - name: %s\n", o->name, o->members[0].example);
        fputs("    # Further options of each:\n", out);
        example_members(out, o->members);
    } else if (block != NULL) {
        comment(out, o->help);
        fprintf(out, "%s: %s\n", o->name, o->fallback);
    } else {
        example_table(out, one, 0);
    }
    fputc('\n', out);
}

void cli_config_example(FILE *out, const char *models, const char *routers)
{
    const struct {
        const char *name, *block;
    } first[] = {{"listen", ""}, {"store", ""}, {"models", models}, {"routers", routers}};
    const size_t count = sizeof first / sizeof *first;
    fputs("# The configuration of 'metallm serve'. Lines that begin with '#name:' show an option\n"
          "# with its default; 'metallm help config' tells more, 'metallm doctor' checks this "
          "file.\n\n",
          out);
    for (size_t i = 0; i < count; i++)
        example_option(out, metallm__option_find(metallm__config_options, first[i].name),
                       first[i].block);
    for (const struct metallm__option *o = metallm__config_options; o->name != NULL; o++) {
        size_t i = 0;
        while (i < count && strcmp(o->name, first[i].name) != 0)
            i++;
        if (i == count)
            example_option(out, o, NULL);
    }
}
