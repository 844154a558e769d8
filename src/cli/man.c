/* SPDX-License-Identifier: Apache-2.0
 * man.c - man pages, in man(7)'s macros, from the verbs' tables; see help.h. */
#include <ctype.h>
#include <string.h>

#include "cli/help.h"

/* Escapes what troff would read as its own: backslash, a dot or quote at the start, hyphens. */
static void roff(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool begins_line = i == 0 || text[i - 1] == '\n';
        if (begins_line && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", out);
        if (text[i] == '\\')
            fputs("\\e", out);
        else if (text[i] == '-')
            fputs("\\-", out);
        else
            fputc(text[i], out);
    }
}

static void roff_text(FILE *out, const char *text)
{
    roff(out, text, strlen(text));
}

static void upper(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc(toupper((unsigned char)*text), out);
}

/* Paragraphs after the first become .PP, lines that begin with a blank an unfilled block. */
static void paragraphs(FILE *out, const char *text)
{
    bool is_kept = false, begins = false, is_first = true;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        bool keep = *text == ' ';
        if (is_kept && !keep && len > 0) {
            fputs(".EE\n", out);
            is_kept = false;
        }
        if (len == 0) {
            begins = true;
        } else {
            if (!is_first && (begins || (keep && !is_kept)))
                fputs(".PP\n", out);
            begins = is_first = false;
            if (keep && !is_kept)
                fputs(".EX\n", out);
            is_kept = keep;
            roff(out, text, len);
            fputc('\n', out);
        }
        text += len + (text[len] == '\n');
    }
    if (is_kept)
        fputs(".EE\n", out);
}

static void head(FILE *out, const char *verb, const char *summary)
{
    fputs(".TH METALLM", out);
    if (verb != NULL) {
        fputc('-', out);
        upper(out, verb);
    }
    fprintf(out, " 1 \"\" \"metallm %s\" \"metallm\"\n.SH NAME\nmetallm%s%s \\- ",
            metallm_version(), verb != NULL ? "\\-" : "", verb != NULL ? verb : "");
    roff_text(out, summary);
    fputc('\n', out);
}

static void option(FILE *out, const struct cli_option *o)
{
    char note[160];
    fputs(".TP\n", out);
    if (o->letter != 0)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    roff_text(out, o->name);
    fputs("\\fR", out);
    if (o->arg != NULL) {
        fputs(" \\fI", out);
        roff_text(out, o->arg);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    roff_text(out, o->help);
    roff_text(out, cli_option_note(o, note, sizeof note));
    fputc('\n', out);
}

static const char exit_status[] = ".SH EXIT STATUS\n"
                                  "0: done. 1: failed, the reason stands on standard error. "
                                  "2: wrong use of the command line.\n"
                                  "Output files appear whole or not at all, also after Ctrl\\-C.\n";

static void verb_page(FILE *out, const struct cli_verb *verb)
{
    head(out, verb->name, verb->summary);
    fprintf(out, ".SH SYNOPSIS\n.B metallm %s\n[\\fIoptions\\fR]", verb->name);
    if (verb->operands[0] != '\0') {
        fputs(" \\fI", out);
        roff_text(out, verb->operands);
        fputs("\\fR", out);
    }
    fputs("\n.SH DESCRIPTION\n", out);
    paragraphs(out, verb->description);
    if (verb->tables[0] != NULL)
        fputs(".SH OPTIONS\n", out);
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++)
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            option(out, o);
    fputs(exit_status, out);
    if (verb->examples != NULL) {
        fputs(".SH EXAMPLES\n", out);
        paragraphs(out, verb->examples);
    }
    fputs(".SH SEE ALSO\n.BR metallm (1)\n", out);
}

static void tool_page(FILE *out)
{
    head(out, NULL, "sends each query to the LLM that serves it best");
    fputs(
        ".SH SYNOPSIS\n.B metallm\n\\fIVERB\\fR [\\fIoptions\\fR] [\\fIfiles\\fR]\n"
        ".SH DESCRIPTION\n"
        "metallm learns from recorded outcomes, and from feedback, what each LLM is good for, and "
        "picks one for each query: the best at a price that is set by a dial, the cheapest that "
        "reaches a target, or the best below a highest cost.\n.SH VERBS\n",
        out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        fprintf(out, ".TP\n.BR metallm\\-%s (1)\n", cli_verbs[i]->name);
        roff_text(out, cli_verbs[i]->summary);
        fputc('\n', out);
    }
    fputs(".TP\n\\fBhelp\\fR [\\fIVERB\\fR]\ntells what a verb does\n"
          ".TP\n\\fB\\-\\-version\\fR\nprints the version\n"
          ".SH ENVIRONMENT\n.TP\nMETALLM_CACHE\n"
          "the folder of the encoder's weights; without it XDG_CACHE_HOME/metallm, else "
          "~/.cache/metallm\n",
          out);
    fputs(exit_status, out);
    if (cli_verbs[0] == NULL)
        return;
    fputs(".SH SEE ALSO\n.BR metallm.yaml (5),\n", out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        fprintf(out, ".BR metallm\\-%s (1)%s\n", cli_verbs[i]->name,
                cli_verbs[i + 1] != NULL ? "," : "");
}

void cli_man_page(FILE *out, const struct cli_verb *verb)
{
    if (verb != NULL)
        verb_page(out, verb);
    else
        tool_page(out);
}
