/* SPDX-License-Identifier: Apache-2.0
 * completion.c - completion for bash, zsh and fish from the verbs' tables; see help.h. */
#include <string.h>

#include "base/error.h"
#include "cli/help.h"

static void each_option(FILE *out, const struct cli_verb *verb,
                        void (*print)(FILE *, const struct cli_verb *, const struct cli_option *))
{
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++)
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            print(out, verb, o);
}

static void bash_option(FILE *out, const struct cli_verb *verb, const struct cli_option *o)
{
    (void)verb;
    fprintf(out, " --%s", o->name);
}

static void bash(FILE *out)
{
    fputs("# bash completion for metallm, made by 'metallm help --completion bash'.\n"
          "_metallm()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} options=--help\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] &&\n"
          "        [ \"${COMP_WORDS[1]}\" = help ]; }; then\n"
          "        COMPREPLY=($(compgen -W \"",
          out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        fprintf(out, "%s ", cli_verbs[i]->name);
    fputs("help --version\" -- \"$word\"))\n        return\n    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        fprintf(out, "    %s) options='--help", cli_verbs[i]->name);
        each_option(out, cli_verbs[i], bash_option);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n"
          "    case $word in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
          "    *) compopt -o filenames\n"
          "       COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
          "    esac\n}\n"
          "complete -F _metallm metallm\n",
          out);
}

/* Text inside single quotes of zsh and fish: the quote itself and, for zsh, brackets and colons. */
static void quoted(FILE *out, const char *text, const char *special)
{
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr(special, *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
}

static void zsh_option(FILE *out, const struct cli_verb *verb, const struct cli_option *o)
{
    (void)verb;
    fprintf(out, " \\\n            '%s--%s%s[", o->kind == CLI_LIST ? "*" : "", o->name,
            o->arg != NULL ? "=" : "");
    quoted(out, o->help, "[]:\\");
    fputc(']', out);
    if (o->arg != NULL) {
        fputc(':', out);
        quoted(out, o->arg, "[]:\\");
        fputs(":_files", out);
    }
    fputc('\'', out);
}

static void zsh(FILE *out)
{
    fputs("#compdef metallm\n# zsh completion, made by 'metallm help --completion zsh'.\n"
          "_metallm() {\n"
          "    local -a verbs=(",
          out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        fprintf(out, "\n        '%s:", cli_verbs[i]->name);
        quoted(out, cli_verbs[i]->summary, ":\\");
        fputc('\'', out);
    }
    fprintf(out,
            "\n        'help:%s')\n"
            "    if ((CURRENT == 2)) || { ((CURRENT == 3)) && [[ $words[2] == help ]]; }; then\n"
            "        _describe verb verbs\n        return\n    fi\n"
            "    local verb=$words[2]\n    shift words\n    ((CURRENT--))\n    case $verb in\n",
            cli_verb_help.summary);
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        fprintf(out, "    %s)\n        _arguments '--help[help]'", cli_verbs[i]->name);
        each_option(out, cli_verbs[i], zsh_option);
        fputs(" \\\n            '*:file:_files' ;;\n", out);
    }
    fputs("    esac\n}\n_metallm \"$@\"\n", out);
}

static void fish_option(FILE *out, const struct cli_verb *verb, const struct cli_option *o)
{
    fprintf(out, "complete -c metallm -n '__fish_seen_subcommand_from %s' -l %s", verb->name,
            o->name);
    if (o->letter != 0)
        fprintf(out, " -s %c", o->letter);
    if (o->arg != NULL)
        fputs(" -r", out);
    fputs(" -d '", out);
    for (const char *c = o->help; *c != '\0'; c++)
        fprintf(out, *c == '\'' || *c == '\\' ? "\\%c" : "%c", *c);
    fputs("'\n", out);
}

static void fish(FILE *out)
{
    fputs("# fish completion for metallm, made by 'metallm help --completion fish'.\n", out);
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        fprintf(out, "complete -c metallm -n __fish_use_subcommand -f -a %s -d '%s'\n",
                cli_verbs[i]->name, cli_verbs[i]->summary);
        each_option(out, cli_verbs[i], fish_option);
    }
    fprintf(out, "complete -c metallm -n __fish_use_subcommand -f -a help -d '%s'\n",
            cli_verb_help.summary);
}

int cli_completion(FILE *out, const char *shell, metallm_error *err)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shell, shells[i].name) == 0) {
            shells[i].print(out);
            return METALLM_OK;
        }
    return metallm__error_set(err, CLI_EUSAGE, "no completion for '%.60s': bash, zsh and fish",
                              shell);
}
