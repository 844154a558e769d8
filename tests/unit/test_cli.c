/* SPDX-License-Identifier: Apache-2.0
 * test_cli.c - the command line's frame: parsing by tables, the tables themselves, lines, the bar.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/lines.h"
#include "cli/progress.h"
#include "support/cmocka_all.h"

struct options {
    bool flag;
    const char *text;
    double bounded;
    uint64_t count;
    struct cli_list list;
};

static const struct cli_option table[] = {
    {"flag", 'f', CLI_FLAG, offsetof(struct options, flag), NULL, NULL, 0, 0, "a flag"},
    {"text", 't', CLI_STRING, offsetof(struct options, text), "TEXT", "none", 0, 0, "a text"},
    {"bounded", 0, CLI_REAL, offsetof(struct options, bounded), "X", NULL, -1, 1, "in bounds"},
    {"count", 'c', CLI_COUNT, offsetof(struct options, count), "N", "3", 1, 9, "a count"},
    {"list", 'l', CLI_LIST, offsetof(struct options, list), "ITEM", NULL, 0, 0, "a list"},
    {.name = NULL},
};

static const struct cli_verb verb = {
    .name = "try",
    .summary = "tries",
    .operands = "FILE [FILE]",
    .description = "",
    .options_size = sizeof(struct options),
    .tables = {table},
    .operands_min = 1,
    .operands_max = 2,
};

/* Parses words parted by blanks. */
static int parse(const char *line, struct options *o, const char **operands, size_t *count,
                 metallm_error *err)
{
    static char text[256];
    char *words[32];
    int n = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = text; word != NULL && *word != '\0';) {
        words[n++] = word;
        word = strchr(word, ' ');
        if (word != NULL)
            *word++ = '\0';
    }
    return cli_parse(&verb, n, words, o, operands, count, err);
}

static void options_are_read_in_every_spelling(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "-f --text=x --bounded -0.5 -c 7 -la --list b file",
        "file --flag -t x --bounded=-0.5 --count=7 --list=a -l b",
        "-tx -f -c7 -l a -l b --bounded -.5 -- file",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct options o;
        const char *operands[32];
        size_t count = 0;
        assert_int_equal(parse(lines[i], &o, operands, &count, NULL), METALLM_OK);
        assert_true(o.flag);
        assert_string_equal(o.text, "x");
        assert_true(o.bounded == -0.5);
        assert_int_equal(o.count, 7);
        assert_int_equal(o.list.count, 2);
        assert_string_equal(o.list.items[1], "b");
        assert_int_equal(count, 1);
        assert_string_equal(operands[0], "file");
    }
}

static void defaults_stand_where_nothing_is_typed(void **state)
{
    (void)state;
    struct options o;
    const char *operands[32];
    size_t count = 0;
    assert_int_equal(parse("- --", &o, operands, &count, NULL), METALLM_OK);
    assert_string_equal(o.text, "none");
    assert_int_equal(o.count, 3);
    assert_false(o.flag);
    assert_string_equal(operands[0], "-"); /* an operand, by custom standard input */
}

static void wrong_use_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *line, *told;
    } cases[] = {
        {"--nope file", "no option '--nope' here"},
        {"-x file", "no option '-x' here"},
        {"--flag=1 file", "--flag takes no value"},
        {"file --count", "--count needs N"},
        {"--count 0 file", "--count takes a number from 1 to 9, not '0'"},
        {"--count -1 file", "not '-1'"},
        {"--count 1x file", "not '1x'"},
        {"--count 99999999999999999999 file", "not '99999999999999999999'"},
        {"--bounded 1.5 file", "from -1 to 1, not '1.5'"},
        {"--bounded nan file", "not 'nan'"},
        {"--bounded= file", "not ''"},
        {"", "usage: metallm try"},
        {"a b c", "usage: metallm try"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        const char *operands[32];
        size_t count = 0;
        metallm_error err = {0};
        assert_int_equal(parse(cases[i].line, &o, operands, &count, &err), CLI_EUSAGE);
        if (strstr(err.message, cases[i].told) == NULL)
            fail_msg("'%s' says: %s", cases[i].line, err.message);
    }
}

static void check_option(const struct cli_verb *v, const struct cli_option *o)
{
    if (o->help == NULL || o->help[0] == '\0' || o->help[strlen(o->help) - 1] == '.' ||
        (o->kind == CLI_FLAG) != (o->arg == NULL) || o->offset >= v->options_size ||
        strpbrk(o->name, " =_") != NULL || strcmp(o->name, "help") == 0 || o->letter == 'h')
        fail_msg("metallm %s: the table's line of --%s is not sound", v->name, o->name);
    for (size_t t = 0; t < CLI_TABLES_MAX && v->tables[t] != NULL; t++)
        for (const struct cli_option *p = v->tables[t]; p->name != NULL; p++)
            if (p != o &&
                (strcmp(p->name, o->name) == 0 || (o->letter != 0 && p->letter == o->letter)))
                fail_msg("metallm %s: two options are --%s or -%c", v->name, o->name, o->letter);
}

static void every_verb_is_described_and_its_defaults_parse(void **state)
{
    (void)state;
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        const struct cli_verb *v = cli_verbs[i];
        if (strlen(v->summary) > 100 || v->description[0] == '\0' || v->run == NULL)
            fail_msg("metallm %s: its summary or description is not sound", v->name);
        for (size_t t = 0; t < CLI_TABLES_MAX && v->tables[t] != NULL; t++)
            for (const struct cli_option *o = v->tables[t]; o->name != NULL; o++)
                check_option(v, o);
        char *words[] = {(char *)(uintptr_t) "x"};
        const char *operands[1];
        size_t count = 0;
        void *options = calloc(1, v->options_size + 1);
        metallm_error err = {0};
        int rc = cli_parse(v, v->operands_min == 0 ? 0 : 1, words, options, operands, &count, &err);
        if (rc != METALLM_OK && strncmp(err.message, "usage:", 6) != 0)
            fail_msg("metallm %s: %s", v->name, err.message);
        free(options);
    }
}

/* No line of a help text passes 80 columns, whatever the table says. */
static void help_fits_into_80_columns(void **state)
{
    (void)state;
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        cli_help_verb(out, cli_verbs[i]);
        fclose(out);
        const char *examples = strstr(text, "\nexamples:\n");
        for (const char *line = text; *line != '\0' && (examples == NULL || line < examples);) {
            size_t len = strcspn(line, "\n");
            if (len > CLI_HELP_COLUMNS && line[0] == ' ')
                fail_msg("metallm help %s: %.*s", cli_verbs[i]->name, (int)len, line);
            line += len + (line[len] == '\n');
        }
        free(text);
    }
}

static void long_text_is_wrapped_at_words(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    const char *words = "one two three four five six seven eight nine ten eleven twelve thirteen "
                        "fourteen";
    cli_wrap(out, words, strlen(words), 60, 60);
    fclose(out);
    assert_memory_equal(text, "one two three four\n", 19);
    for (const char *line = text + 19; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_memory_equal(line, "                                                            ",
                            60);
    free(text);
}

static void bar_tells_share_rate_and_time_left(void **state)
{
    (void)state;
    char line[256];
    cli_progress_line(line, sizeof line, 200, "encoding", 250, 1000, 5);
    assert_string_equal(line, "encoding [######------------------] 25 % 250/1000, 50/s, 15 s left");
    cli_progress_line(line, sizeof line, 200, "encoding", 1000, 1000, 5);
    assert_string_equal(line, "encoding [########################] 100 % 1000/1000, 200/s");
    cli_progress_line(line, sizeof line, 200, "reading", 12, 0, 4);
    assert_string_equal(line, "reading: 12, 3.0/s");
    cli_progress_line(line, sizeof line, 20, "encoding", 250, 1000, 5);
    assert_int_equal(strlen(line), 19);
}

static void lines_come_whole_and_numbered(void **state)
{
    (void)state;
    int ends[2];
    struct cli_lines l;
    enum cli_line what;
    const char *text;
    size_t len;
    assert_int_equal(pipe(ends), 0);
    cli_lines_init(&l, ends[0]);
    assert_int_equal(write(ends[1], "\xef\xbb\xbfone\r\ntw", 10), 10);
    assert_int_equal(cli_lines_next(&l, false, &what, &text, &len, NULL), METALLM_OK);
    assert_int_equal(what, CLI_LINE_GOT);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "one", 3);
    assert_int_equal(cli_lines_next(&l, false, &what, &text, &len, NULL), METALLM_OK);
    assert_int_equal(what, CLI_LINE_LATER);
    assert_int_equal(write(ends[1], "o\n\nlast", 7), 7);
    close(ends[1]);
    static const char *const rest[] = {"two", "", "last"};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(cli_lines_next(&l, true, &what, &text, &len, NULL), METALLM_OK);
        assert_int_equal(what, CLI_LINE_GOT);
        assert_int_equal(l.number, i + 2);
        assert_int_equal(len, strlen(rest[i]));
        assert_memory_equal(text, rest[i], len);
    }
    assert_int_equal(cli_lines_next(&l, true, &what, &text, &len, NULL), METALLM_OK);
    assert_int_equal(what, CLI_LINE_END);
    cli_lines_fini(&l);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_in_every_spelling),
        cmocka_unit_test(defaults_stand_where_nothing_is_typed),
        cmocka_unit_test(wrong_use_is_refused_in_words),
        cmocka_unit_test(every_verb_is_described_and_its_defaults_parse),
        cmocka_unit_test(help_fits_into_80_columns),
        cmocka_unit_test(long_text_is_wrapped_at_words),
        cmocka_unit_test(bar_tells_share_rate_and_time_left),
        cmocka_unit_test(lines_come_whole_and_numbered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
