/* SPDX-License-Identifier: Apache-2.0
 * test_texts.c - texts out of CSV, JSON Lines and lines: which columns are meant, and what is
 * refused with its place. */
#include "classify/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

struct place {
    char folder[64], path[96];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/metallm-texts-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        return -1;
    snprintf(p->path, sizeof p->path, "%s/t", p->folder);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    rmdir(p->folder);
    free(p);
    return 0;
}

static void write_file(const struct place *p, const char *bytes, size_t len)
{
    FILE *f = fopen(p->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static size_t put(char *out, size_t size, size_t used, struct metallm__text_part p)
{
    return used + (size_t)snprintf(out + used, size - used, "|%.*s", (int)p.n, p.n > 0 ? p.p : "");
}

/* All texts as "LINE|id|text|gold|choice...;", or the error behind what was read. */
static int read_all(const struct metallm__texts_options *o, char *out, size_t size)
{
    struct metallm__texts *t = NULL;
    struct metallm__text x;
    metallm_error err = {0};
    size_t used = 0;
    out[0] = '\0';
    int rc = metallm__texts_open(&t, o, &err);
    for (uint64_t n = 0; rc == METALLM_OK && (rc = metallm__texts_next(t, &x, &err)) == METALLM_OK;
         n++) {
        assert_int_equal(x.number, n);
        used += (size_t)snprintf(out + used, size - used, "%zu", x.line);
        used = put(out, size, used, x.id);
        used = put(out, size, used, x.text);
        used = put(out, size, used, x.gold);
        for (unsigned i = 0; i < x.choice_count; i++)
            used = put(out, size, used, x.choices[i]);
        used += (size_t)snprintf(out + used, size - used, ";");
    }
    if (rc == METALLM_OK || (rc == METALLM_ENOTFOUND && err.message[0] == '\0')) {
        metallm__texts_close(t);
        return METALLM_OK;
    }
    snprintf(out + used, size - used, "%s", err.message);
    metallm__texts_close(t);
    return rc;
}

static const struct {
    enum metallm__texts_format format;
    struct metallm__texts_options o;
    const char *bytes;
    const char *told; /* texts, or how the error ends */
    int rc;
} cases[] = {
    /* CSV: the usual columns, named ones, quotes, line breaks, byte order mark, CRLF. */
    {METALLM__TEXTS_CSV, {0}, "text,x\na,1\n\"b,\nc\",2\n", "2|1|a|;3|2|b,\nc|;", 0},
    {METALLM__TEXTS_CSV, {0}, "\xef\xbb\xbfid,text\r\n7,a\r\n8,b", "2|7|a|;3|8|b|;", 0},
    {METALLM__TEXTS_CSV, {0}, "headline,id\nup it goes,z\n", "2|z|up it goes|;", 0},
    {METALLM__TEXTS_CSV, {0}, "what,ever\nfirst,2\n", "2|1|first|;", 0},
    {METALLM__TEXTS_CSV, {.gold = "y", .text = "t"}, "y,t\n up ,a\n,b\n", "2|1|a|up;3|2|b|;", 0},
    {METALLM__TEXTS_CSV,
     {.has_no_header = true, .text = "2", .gold = "1"},
     "up,a\ndown,\"b\"\"\"\n",
     "1|1|a|up;2|2|b\"|down;",
     0},
    {METALLM__TEXTS_CSV, {0}, "", "", 0},
    {METALLM__TEXTS_CSV, {0}, "text\n", "", 0},
    {METALLM__TEXTS_CSV,
     {.gold = "z"},
     "text,y\na,b\n",
     "t:1: the header names no such column: 'z'",
     METALLM_ENOTFOUND},
    {METALLM__TEXTS_CSV,
     {.has_no_header = true, .text = "3"},
     "a,b\n",
     "a column is a number up to that of the fields: '3'",
     METALLM_ENOTFOUND},
    {METALLM__TEXTS_CSV, {0}, "text,b\na,1\nb\n", "t:3: 1 fields, not 2", METALLM_EFORMAT},
    {METALLM__TEXTS_CSV,
     {0},
     "text\n\"a\n",
     "t:2: a quote is opened and never closed",
     METALLM_EFORMAT},
    {METALLM__TEXTS_CSV, {0}, "text,b\n  ,1\n", "t:2: an empty text", METALLM_EFORMAT},
    {METALLM__TEXTS_CSV, {0}, "text\n\xff\n", "not UTF-8, or a NUL: '\\xff'", METALLM_EFORMAT},
    /* Choices in CSV: letters or texts as gold; columns that are empty at the end. */
    {METALLM__TEXTS_CSV,
     {.choices = "A,B,C", .gold = "g"},
     "question,A,B,C,g\nq,x,y,z,C\nr,x,y,,y\n",
     "2|1|q|C|x|y|z;3|2|r|B|x|y;",
     0},
    {METALLM__TEXTS_CSV,
     {.choices = "A,B", .gold = "g"},
     "question,A,B,g\nq,x,y,C\n",
     "t:2: gold is none of the choices: 'C'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_CSV,
     {.choices = "A,B"},
     "question,A,B\nq,x,\n",
     "t:2: fewer than 2 choices",
     METALLM_EFORMAT},
    {METALLM__TEXTS_CSV,
     {.choices = "A,B,C"},
     "question,A,B,C\nq,x,,z\n",
     "t:2: an empty choice between others",
     METALLM_EFORMAT},
    {METALLM__TEXTS_CSV,
     {.choices = "A"},
     "question,A\nq,x\n",
     "2 columns or more, parted by commas",
     METALLM_EINVAL},
    /* JSON Lines. */
    {METALLM__TEXTS_JSONL,
     {0},
     "{\"text\":\"a\\nb\",\"id\":7}\n\n{\"prompt\":\"c\"}\n",
     "1|7|a\nb|;3|2|c|;",
     0},
    {METALLM__TEXTS_JSONL,
     {.gold = "label", .id = "k"},
     "{\"text\":\"a\",\"label\":1,\"k\":-5}\n{\"text\":\"b\",\"label\":null,\"k\":\"x\"}",
     "1|-5|a|1;2|x|b|;",
     0},
    {METALLM__TEXTS_JSONL,
     {.choices = "choices", .gold = "answer"},
     "{\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"answer\":1}\n"
     "{\"question\":\"r\",\"choices\":[\"x\",\"y\",\"z\"],\"answer\":\"A\"}\n",
     "1|1|q|B|x|y;2|2|r|A|x|y|z;",
     0},
    {METALLM__TEXTS_JSONL,
     {.choices = "choices", .gold = "answer"},
     "{\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"answer\":2}\n",
     "t:1: gold is none of the choices: '(number)'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {.choices = "choices"},
     "{\"text\":\"q\",\"choices\":[\"x\",1]}\n",
     "t:1: no text as a choice in: 'choices'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {0},
     "{\"text\":\"a\"}\n[1]\n",
     "t:2: not a JSON object: '[1]'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL, {0}, "{\"text\":\"a\"}\n{\n", "t:2: ", METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {0},
     "{\"text\":1}\n",
     "t:1: no text in the member: 'text'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {.id = "k"},
     "{\"text\":\"a\"}\n",
     "t:1: no such member: 'k'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {.gold = "g"},
     "{\"text\":\"a\",\"g\":[]}\n",
     "t:1: neither a text nor a whole number: 'g'",
     METALLM_EFORMAT},
    {METALLM__TEXTS_JSONL,
     {0},
     "{\"text\":\"a\\u0000b\"}\n",
     "not UTF-8, or a NUL",
     METALLM_EFORMAT},
    /* Lines. */
    {METALLM__TEXTS_LINES, {0}, "\xef\xbb\xbfone\r\n\n  \n two \n", "1|1|one|;4|2| two |;", 0},
    {METALLM__TEXTS_LINES, {.gold = "x"}, "a\n", "give --format csv or jsonl", METALLM_EINVAL},
};

static void texts_are_read_or_refused_with_their_place(void **state)
{
    const struct place *p = *state;
    static char out[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__texts_options o = cases[i].o;
        o.path = p->path;
        o.format = cases[i].format;
        write_file(p, cases[i].bytes, strlen(cases[i].bytes));
        const int rc = read_all(&o, out, sizeof out);
        const bool is_same =
            cases[i].rc == 0 ? strcmp(out, cases[i].told) == 0 : strstr(out, cases[i].told) != NULL;
        if (rc != cases[i].rc || !is_same)
            fail_msg("case %zu: %d, '%s' in place of '%s'", i, rc, out, cases[i].told);
    }
}

/* A file that breaks off anywhere gives texts or an error, and never bytes beyond its end. */
static void a_file_may_be_cut_anywhere(void **state)
{
    const struct place *p = *state;
    static char out[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__texts_options o = cases[i].o;
        o.path = p->path;
        o.format = cases[i].format;
        for (size_t n = 0; n < strlen(cases[i].bytes); n++) {
            write_file(p, cases[i].bytes, n);
            (void)read_all(&o, out, sizeof out);
        }
    }
}

static void too_long_is_refused(void **state)
{
    const struct place *p = *state;
    const size_t room = METALLM__TEXT_BYTES_MAX + 64;
    char *bytes = malloc(room);
    static char out[METALLM__TEXT_BYTES_MAX + 4096];
    struct metallm__texts_options o = {.path = p->path, .format = METALLM__TEXTS_LINES};
    memset(bytes, 'a', room);
    write_file(p, bytes, METALLM__TEXT_BYTES_MAX);
    assert_int_equal(read_all(&o, out, sizeof out), METALLM_OK);
    write_file(p, bytes, METALLM__TEXT_BYTES_MAX + 1);
    assert_int_equal(read_all(&o, out, sizeof out), METALLM_ELIMIT);
    assert_non_null(strstr(out, "t:1: a text of more than 1 MiB"));
    o.format = METALLM__TEXTS_CSV;
    memcpy(bytes, "id,text\n", 8);
    memcpy(bytes + 8 + METALLM__TEXT_ID_BYTES_MAX + 1, ",x\n", 3);
    write_file(p, bytes, 8 + METALLM__TEXT_ID_BYTES_MAX + 4);
    assert_int_equal(read_all(&o, out, sizeof out), METALLM_ELIMIT);
    assert_non_null(strstr(out, "an id of more than 256 bytes"));
    free(bytes);
}

static void rewinding_reads_the_same_again(void **state)
{
    const struct place *p = *state;
    struct metallm__texts_options o = {.path = p->path, .has_no_header = true, .text = "1"};
    struct metallm__texts *t = NULL;
    struct metallm__text x;
    uint8_t first[16], second[16];
    o.format = METALLM__TEXTS_CSV;
    write_file(p, "a,1\nb,2\n", 8);
    assert_int_equal(metallm__texts_open(&t, &o, NULL), METALLM_OK);
    metallm__texts_hash(t, first);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(metallm__texts_next(t, &x, NULL), METALLM_OK);
        assert_true(x.number == 0 && x.text.n == 1 && x.text.p[0] == 'a');
        assert_int_equal(metallm__texts_next(t, &x, NULL), METALLM_OK);
        assert_int_equal(metallm__texts_next(t, &x, NULL), METALLM_ENOTFOUND);
        assert_int_equal(metallm__texts_rewind(t, NULL), METALLM_OK);
    }
    metallm__texts_close(t);
    write_file(p, "a,1\nb,3\n", 8);
    assert_int_equal(metallm__texts_open(&t, &o, NULL), METALLM_OK);
    metallm__texts_hash(t, second);
    assert_memory_not_equal(first, second, 16);
    metallm__texts_close(t);
}

static int open_and_read(void *payload)
{
    struct metallm__texts *t = NULL;
    struct metallm__text x;
    int rc = metallm__texts_open(&t, payload, NULL);
    while (rc == METALLM_OK && (rc = metallm__texts_next(t, &x, NULL)) == METALLM_OK)
        continue;
    metallm__texts_close(t);
    return rc == METALLM_ENOTFOUND ? METALLM_OK : rc;
}

static void every_failed_allocation_is_told(void **state)
{
    const struct place *p = *state;
    struct metallm__texts_options o = {.path = p->path, .format = METALLM__TEXTS_CSV};
    write_file(p, "text,x\n\"a\"\"b\",1\nc,2\n", 20);
    assert_true(fail_alloc_sweep(open_and_read, &o) >= 3);
    o.format = METALLM__TEXTS_JSONL;
    write_file(p, "{\"text\":\"a\",\"l\":[1,2,3]}\n", 25);
    assert_true(fail_alloc_sweep(open_and_read, &o) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_are_read_or_refused_with_their_place, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(a_file_may_be_cut_anywhere, make_place, drop_place),
        cmocka_unit_test_setup_teardown(too_long_is_refused, make_place, drop_place),
        cmocka_unit_test_setup_teardown(rewinding_reads_the_same_again, make_place, drop_place),
        cmocka_unit_test_setup_teardown(every_failed_allocation_is_told, make_place, drop_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
