/* SPDX-License-Identifier: Apache-2.0
 * parse.c - fills a verb's option struct from the command line by its tables. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

static const struct cli_option *find(const struct cli_verb *verb, const char *name, size_t len,
                                     char letter)
{
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++)
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            if (letter != 0 ? o->letter == letter
                            : strlen(o->name) == len && memcmp(o->name, name, len) == 0)
                return o;
    return NULL;
}

static int out_of_range(const struct cli_option *o, double v)
{
    return !isfinite(v) || ((o->low != 0 || o->high != 0) && !(v >= o->low && v <= o->high));
}

static int bad_number(const struct cli_option *o, const char *text, metallm_error *err)
{
    if (o->low != 0 || o->high != 0)
        return metallm__error_set(err, CLI_EUSAGE, "--%s takes a number from %g to %g, not '%s'",
                                  o->name, o->low, o->high, text);
    return metallm__error_set(err, CLI_EUSAGE, "--%s takes a number, not '%s'", o->name, text);
}

static int store(const struct cli_option *o, char *base, const char *text, metallm_error *err)
{
    void *field = base + o->offset;
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return METALLM_OK;
    case CLI_STRING:
        *(const char **)field = text;
        return METALLM_OK;
    case CLI_REAL: {
        double v = strtod(text, &end);
        if (end == text || *end != '\0' || errno != 0 || out_of_range(o, v))
            return bad_number(o, text, err);
        *(double *)field = v;
        return METALLM_OK;
    }
    case CLI_COUNT: {
        unsigned long long v = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
            out_of_range(o, (double)v))
            return bad_number(o, text, err);
        *(uint64_t *)field = v;
        return METALLM_OK;
    }
    case CLI_LIST: {
        struct cli_list *list = field;
        if (list->count == CLI_LIST_MAX)
            return metallm__error_set(err, CLI_EUSAGE, "--%s is given more than %u times", o->name,
                                      CLI_LIST_MAX);
        list->items[list->count++] = text;
        return METALLM_OK;
    }
    }
    return CLI_EUSAGE;
}

static int defaults(const struct cli_verb *verb, char *base, metallm_error *err)
{
    for (size_t t = 0; t < CLI_TABLES_MAX && verb->tables[t] != NULL; t++)
        for (const struct cli_option *o = verb->tables[t]; o->name != NULL; o++)
            if (o->fallback != NULL) {
                int rc = store(o, base, o->fallback, err);
                if (rc != METALLM_OK)
                    return rc;
            }
    return METALLM_OK;
}

/* argv[*i] is an option; moves *i past the argument that it takes. */
static int option(const struct cli_verb *verb, int argc, char **argv, int *i, char *base,
                  metallm_error *err)
{
    const char *word = argv[*i], *value = NULL;
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    const struct cli_option *o =
        is_long ? find(verb, word + 2, len, 0) : find(verb, NULL, 0, word[1]);
    if (o == NULL)
        return metallm__error_set(err, CLI_EUSAGE, "no option '%s' here (see 'metallm help %s')",
                                  word, verb->name);
    if (is_long && word[2 + len] == '=')
        value = word + 3 + len;
    else if (!is_long && word[2] != '\0')
        value = word + 2;
    if (o->kind == CLI_FLAG) {
        if (value != NULL)
            return metallm__error_set(err, CLI_EUSAGE, "--%s takes no value", o->name);
    } else if (value == NULL) {
        if (*i + 1 >= argc)
            return metallm__error_set(err, CLI_EUSAGE, "--%s needs %s", o->name, o->arg);
        value = argv[++*i];
    }
    return store(o, base, value, err);
}

int cli_parse(const struct cli_verb *verb, int argc, char **argv, void *options,
              const char **operands, size_t *operand_count, metallm_error *err)
{
    memset(options, 0, verb->options_size);
    int rc = defaults(verb, options, err);
    size_t count = 0;
    bool only_operands = false;
    for (int i = 0; rc == METALLM_OK && i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1] != '\0')
            rc = option(verb, argc, argv, &i, options, err);
        else
            operands[count++] = argv[i];
    }
    if (rc != METALLM_OK)
        return rc;
    if (count < verb->operands_min || count > verb->operands_max)
        return metallm__error_set(err, CLI_EUSAGE, "usage: metallm %s [options] %s", verb->name,
                                  verb->operands);
    *operand_count = count;
    return METALLM_OK;
}
