/* SPDX-License-Identifier: Apache-2.0
 * test_tokenizer.c - ids equal to the reference's, ends of long texts, and time that stays linear.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "encoder/tokenizer.h"
#include "support/cmocka_all.h"
#include "support/encoder_data.h"
#include "support/fail_alloc.h"

static struct metallm__tokenizer tokenizer;
static bool has_tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    char path[4096];
    if (weights_folder() == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/vocab.txt", weights_folder());
    has_tokenizer = metallm__tokenizer_init(&tokenizer, path, true, NULL) == METALLM_OK;
    return has_tokenizer ? 0 : -1;
}

static int close_tokenizer(void **state)
{
    (void)state;
    metallm__tokenizer_fini(&tokenizer);
    return 0;
}

static void ids_equal_the_reference(void **state)
{
    (void)state;
    if (!has_tokenizer)
        skip();
    size_t count;
    struct reference *rows = references_load(&count);
    for (size_t i = 0; i < count; i++) {
        const struct reference *r = &rows[i];
        uint32_t ids[254];
        bool is_cut;
        size_t n = metallm__tokenize_head(&tokenizer, r->text, r->len, ids, 254, &is_cut);
        if (n + 2 != r->id_count || memcmp(ids, r->ids + 1, n * sizeof *ids) != 0 ||
            is_cut != (r->count > 256))
            fail_msg("row %zu: '%.60s'", i, r->text);
        if (r->tail == NULL)
            continue;
        n = metallm__tokenize_tail(&tokenizer, r->text, r->len, ids, 254);
        if (n + 2 != r->tail_count || memcmp(ids, r->tail + 1, n * sizeof *ids) != 0)
            fail_msg("end of row %zu: '%.60s'", i, r->text);
    }
    references_free(rows, count);
}

static void bytes_that_are_not_utf8_are_dropped(void **state)
{
    (void)state;
    if (!has_tokenizer)
        skip();
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{"a\xff"
                  "b c",
                  5},
                 {"a\xc3"
                  "b c",
                  5},
                 {"ab\xe4\xb8 c", 6},
                 {"ab\xed\xa0\x80 c", 7},
                 {"ab \0c", 5},
                 {"ab c\xf0\x9f\x99", 7}};
    uint32_t want[8], got[8];
    bool is_cut;
    size_t n = metallm__tokenize_head(&tokenizer, "ab c", 4, want, 8, &is_cut);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            metallm__tokenize_head(&tokenizer, cases[i].bytes, cases[i].len, got, 8, &is_cut), n);
        assert_memory_equal(got, want, n * sizeof *got);
    }
}

/* The last ids of the whole text, by keeping all of them. */
static void check_tail(const char *text, size_t len, size_t ids_max)
{
    static uint32_t all[200000], tail[512];
    bool is_cut;
    size_t n = metallm__tokenize_head(&tokenizer, text, len, all, 200000, &is_cut);
    size_t want = n < ids_max ? n : ids_max;
    assert_false(is_cut);
    assert_int_equal(metallm__tokenize_tail(&tokenizer, text, len, tail, ids_max), want);
    assert_memory_equal(tail, all + n - want, want * sizeof *tail);
}

static void the_end_alone_gives_the_ids_of_the_whole(void **state)
{
    (void)state;
    if (!has_tokenizer)
        skip();
    static const char *const parts[] = {"unbelievable ", "[SEP]", "[",     "CLS]", "]", "é",
                                        "\xcc\x81",      "字",    " ",     ".",    "x", "\xe4",
                                        "zzzzzzzz",      "\n",    "A-b_c", "कि"};
    static char text[40000];
    unsigned seed = 7;
    for (int round = 0; round < 40; round++) {
        size_t len = 0;
        while (len + 16 < sizeof text) {
            seed = seed * 1664525u + 1013904223u;
            unsigned pick = (seed >> 16) % (round < 20 ? 16 : 4);
            len += (size_t)snprintf(text + len, 17, "%s", parts[(pick + (unsigned)round) % 16]);
        }
        for (size_t ids_max = 1; ids_max < 400; ids_max += 37)
            check_tail(text, len, ids_max);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void hostile_texts_take_linear_time(void **state)
{
    (void)state;
    if (!has_tokenizer)
        skip();
    static const char *const units[] = {"a", "\xcc\x81", "##", "é", "[CLS", "\xe3\x80\xae", "zqxj"};
    const size_t size = 4000000;
    char *text = malloc(size);
    uint32_t ids[254];
    bool is_cut;
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t unit = strlen(units[u]);
        for (size_t i = 0; i < size; i++)
            text[i] = units[u][i % unit];
        double began = seconds();
        (void)metallm__tokenize_head(&tokenizer, text, size, ids, 254, &is_cut);
        (void)metallm__tokenize_tail(&tokenizer, text, size, ids, 254);
        /* Quadratic work on 4 MB would take hours; a sanitizer costs a factor of ten. */
        assert_true(seconds() - began < 20);
    }
    free(text);
}

static char vocab_path[] = "/tmp/metallm-vocab-XXXXXX";

static int init_small(void *content)
{
    FILE *f = fopen(vocab_path, "wb");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
    struct metallm__tokenizer t;
    int rc = metallm__tokenizer_init(&t, vocab_path, true, NULL);
    if (rc == METALLM_OK)
        metallm__tokenizer_fini(&t);
    return rc;
}

static void broken_vocabularies_are_refused(void **state)
{
    (void)state;
    int fd = mkstemp(vocab_path);
    assert_true(fd >= 0);
    close(fd);
    char good[] = "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\na\n##b\nhello",
         twice[] = "[UNK]\n[CLS]\n[SEP]\na\na", gap[] = "[UNK]\n[CLS]\n\n[SEP]\n",
         none[] = "[UNK]\n[CLS]\na\n", empty[] = "";
    assert_int_equal(init_small(good), METALLM_OK);
    assert_int_equal(init_small(twice), METALLM_EFORMAT);
    assert_int_equal(init_small(gap), METALLM_EFORMAT);
    assert_int_equal(init_small(none), METALLM_EFORMAT);
    assert_int_equal(init_small(empty), METALLM_EFORMAT);
    assert_true(fail_alloc_sweep(init_small, good) >= 5);
    unlink(vocab_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_reference),
        cmocka_unit_test(bytes_that_are_not_utf8_are_dropped),
        cmocka_unit_test(the_end_alone_gives_the_ids_of_the_whole),
        cmocka_unit_test(hostile_texts_take_linear_time),
        cmocka_unit_test(broken_vocabularies_are_refused),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
