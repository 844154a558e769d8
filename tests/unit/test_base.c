/* SPDX-License-Identifier: Apache-2.0
 * test_base.c - errors, buffers, random numbers and whole-file output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static void prefix_names_the_place_before_the_cause(void **state)
{
    (void)state;
    metallm_error err = {0};
    metallm__error_set(&err, METALLM_EFORMAT, "score '%s' is above 1", "7");
    assert_int_equal(metallm__error_prefix(&err, METALLM_EFORMAT, "%s:%d", "a.csv", 3),
                     METALLM_EFORMAT);
    assert_string_equal(err.message, "a.csv:3: score '7' is above 1");
    assert_int_equal(metallm__error_set(NULL, METALLM_EIO, "x"), METALLM_EIO);
}

static void long_messages_are_cut_not_overrun(void **state)
{
    (void)state;
    metallm_error err;
    char text[1000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    metallm__error_set(&err, METALLM_EIO, "%s", text);
    assert_int_equal(strlen(err.message), METALLM_ERROR_BYTES - 1);
    metallm__error_prefix(&err, METALLM_EIO, "%s", text);
    assert_int_equal(strlen(err.message), METALLM_ERROR_BYTES - 1);
}

static void buffer_stops_at_its_ceiling_and_says_so(void **state)
{
    (void)state;
    struct metallm__buf b;
    metallm__buf_init(&b, 10);
    metallm__buf_puts(&b, "12345");
    metallm__buf_printf(&b, "%s", "67890");
    assert_int_equal(metallm__buf_check(&b, NULL), METALLM_OK);
    assert_string_equal(b.data, "1234567890");
    metallm__buf_puts(&b, "x");
    metallm_error err;
    assert_int_equal(metallm__buf_check(&b, &err), METALLM_ELIMIT);
    assert_string_equal(b.data, "1234567890");
    metallm__buf_fini(&b);
}

static void generator_matches_its_published_stream(void **state)
{
    (void)state;
    /* xoshiro256** from state {1, 2, 3, 4}: first outputs computed by hand from its definition. */
    metallm_rng rng = {.state = {1, 2, 3, 4}};
    assert_int_equal(metallm__rng_next(&rng), 11520u);
    assert_int_equal(metallm__rng_next(&rng), 0u);
    assert_int_equal(metallm__rng_next(&rng), 1509978240u);
}

static void draws_are_even_and_repeatable(void **state)
{
    (void)state;
    metallm_rng a, b;
    metallm_rng_seed(&a, 7);
    metallm_rng_seed(&b, 7);
    unsigned counts[6] = {0};
    double sum = 0, squares = 0;
    for (int i = 0; i < 60000; i++) {
        uint32_t k = metallm__rng_below(&a, 6);
        assert_int_equal(k, metallm__rng_below(&b, 6));
        counts[k]++;
        double z = metallm__rng_normal(&a);
        assert_true(z == metallm__rng_normal(&b));
        sum += z;
        squares += z * z;
    }
    for (int k = 0; k < 6; k++)
        assert_in_range(counts[k], 9600, 10400); /* 10,000 +- 4.4 standard deviations */
    assert_true(sum / 60000 < 0.02 && sum / 60000 > -0.02);
    assert_true(squares / 60000 > 0.97 && squares / 60000 < 1.03);
}

static int write_twice(void *path)
{
    struct metallm__outfile f = {0};
    metallm_error err;
    int rc = metallm__outfile_open(&f, path, &err);
    if (rc != METALLM_OK)
        return rc;
    fputs("new", f.stream);
    return metallm__outfile_commit(&f, &err);
}

static void output_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "old", 3) == 3);
    close(fd);
    struct metallm__outfile f;
    assert_int_equal(metallm__outfile_open(&f, path, NULL), METALLM_OK);
    fputs("half", f.stream);
    metallm__outfile_abort(&f);
    struct metallm__map map;
    assert_int_equal(metallm__map_open(&map, path, NULL), METALLM_OK);
    assert_int_equal(map.len, 3);
    assert_memory_equal(map.bytes, "old", 3);
    metallm__map_close(&map);
    assert_true(fail_alloc_sweep(write_twice, path) >= 2);
    assert_int_equal(metallm__map_open(&map, path, NULL), METALLM_OK);
    assert_memory_equal(map.bytes, "new", 3);
    metallm__map_close(&map);
    unlink(path);
}

static void full_disk_is_an_error_not_a_short_file(void **state)
{
    (void)state;
    struct metallm__outfile f;
    metallm_error err;
    assert_int_equal(metallm__outfile_open(&f, "/tmp/metallm-full", &err), METALLM_OK);
    FILE *kept = f.stream;
    f.stream = fopen("/dev/full", "wb");
    assert_non_null(f.stream);
    fputs("does not fit", f.stream);
    assert_int_equal(metallm__outfile_commit(&f, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "No space left"));
    fclose(kept);
    assert_int_not_equal(access("/tmp/metallm-full", F_OK), 0);
}

static void missing_file_is_named(void **state)
{
    (void)state;
    struct metallm__map map;
    metallm_error err;
    assert_int_equal(metallm__map_open(&map, "/nonexistent/a", &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "'/nonexistent/a'"));
    assert_int_equal(metallm__map_open(&map, "/tmp", &err), METALLM_EIO);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_null(metallm__alloc(SIZE_MAX / 2, 4));
    assert_null(metallm__alloc_aligned(SIZE_MAX - 8, 1));
}

static int cache_path_once(void *payload)
{
    char *path = NULL;
    int rc = metallm__cache_path(&path, "a/b", NULL);
    if (rc == METALLM_OK)
        assert_string_equal(path, payload);
    metallm__free(path);
    return rc;
}

static void the_cache_folder_is_the_one_the_scripts_use(void **state)
{
    (void)state;
    const char *names[3] = {"METALLM_CACHE", "XDG_CACHE_HOME", "HOME"};
    char *before[3];
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        before[i] = value != NULL ? metallm__strdup(value) : NULL;
        unsetenv(names[i]);
    }
    assert_int_equal(cache_path_once(NULL), METALLM_ENOTFOUND);
    setenv("HOME", "/h", 1);
    assert_int_equal(cache_path_once((void *)(uintptr_t) "/h/.cache/metallm/a/b"), METALLM_OK);
    setenv("XDG_CACHE_HOME", "/var/caches", 1);
    assert_int_equal(cache_path_once((void *)(uintptr_t) "/var/caches/metallm/a/b"), METALLM_OK);
    setenv("METALLM_CACHE", "/mine", 1);
    assert_true(fail_alloc_sweep(cache_path_once, (void *)(uintptr_t) "/mine/a/b") == 1);
    for (int i = 0; i < 3; i++) {
        unsetenv(names[i]);
        if (before[i] != NULL)
            setenv(names[i], before[i], 1);
        metallm__free(before[i]);
    }
}

/* The examples of FIPS 180-4 and of NIST's test vectors. */
static void sha256_equals_the_published_examples(void **state)
{
    (void)state;
    static char million[1000000];
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    memset(million, 'a', sizeof million);
    const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t sum[METALLM__SHA256_BYTES];
        char text[2 * METALLM__SHA256_BYTES + 1];
        metallm__sha256(cases[i].text, cases[i].len, sum);
        for (size_t b = 0; b < sizeof sum; b++)
            snprintf(text + 2 * b, 3, "%02x", sum[b]);
        assert_string_equal(text, cases[i].want);
    }
}

/* Where the CPU has instructions for it, they give what the plain way gives. */
static void sha256_is_the_same_by_any_way(void **state)
{
    (void)state;
    static char text[1000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 151 + i / 7);
    for (size_t len = 0; len <= sizeof text; len++) {
        uint8_t one[METALLM__SHA256_BYTES], two[METALLM__SHA256_BYTES];
        metallm__sha256(text + sizeof text - len, len, one);
        metallm__sha256_plain(text + sizeof text - len, len, two);
        assert_memory_equal(one, two, sizeof one);
    }
}

static void a_pool_gives_cleared_pieces_and_keeps_them_apart(void **state)
{
    struct metallm__pool p;
    unsigned char *pieces[300];
    metallm_rng rng;
    (void)state;
    metallm_rng_seed(&rng, 5);
    metallm__pool_init(&p, (size_t)8 << 20);
    for (int round = 0; round < 3; round++) {
        size_t sizes[300];
        for (int i = 0; i < 300; i++) {
            sizes[i] = metallm__rng_below(&rng, i % 20 == 0 ? 9000 : 60);
            pieces[i] = metallm__pool_take(&p, sizes[i], 1);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], 0);
            memset(pieces[i], i, sizes[i]);
        }
        for (int i = 0; i < 300; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], (unsigned char)i);
        assert_int_equal(metallm__pool_check(&p, NULL), METALLM_OK);
        metallm__pool_clear(&p);
    }
    struct metallm__span copy = metallm__pool_copy(&p, metallm__span_of("text"));
    assert_true(metallm__span_is(copy, "text"));
    assert_int_equal(metallm__pool_copy(&p, metallm__span("", 0)).n, 0);
    metallm__pool_fini(&p);
}

static void a_pool_stops_at_its_ceiling_and_says_so(void **state)
{
    struct metallm__pool p;
    metallm_error err = {0};
    (void)state;
    metallm__pool_init(&p, 10000);
    size_t taken = 0;
    while (metallm__pool_take(&p, 100, 1) != NULL)
        taken += 100;
    assert_in_range(taken, 8000, 10000);
    assert_null(metallm__pool_take(&p, 1, 1)); /* failed stays */
    assert_int_equal(metallm__pool_check(&p, &err), METALLM_ELIMIT);
    metallm__pool_clear(&p);
    assert_non_null(metallm__pool_take(&p, 1, 1));
    assert_null(metallm__pool_take(&p, SIZE_MAX / 2, 4)); /* overflows */
    assert_int_equal(metallm__pool_check(&p, &err), METALLM_ELIMIT);
    metallm__pool_fini(&p);
    fail_alloc_at(0); /* the first chunk */
    assert_null(metallm__pool_take(&p, 0, 1));
    assert_true(p.failed);
    assert_int_equal(metallm__pool_check(&p, &err), METALLM_ENOMEM);
    fail_alloc_at(-1);
    metallm__pool_fini(&p);
}

static void json_strings_are_escaped_wherever_they_are_cut(void **state)
{
    static const char text[] =
        "plain text of some length, then \"quotes\" \\ \n\t\x01\x7f and "
        "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80, \xff\xc3( \xed\xa0\x80 end";
    (void)state;
    for (size_t from = 0; from < sizeof text; from++) {
        struct metallm__buf b;
        char slow[1024];
        size_t used, len = sizeof text - 1 - from;
        metallm__buf_init(&b, 4096);
        metallm__json_string(&b, text + from, len);
        size_t n = metallm__jw_escape(slow, sizeof slow, text + from, len, &used);
        assert_int_equal(used, len);
        assert_int_equal(b.len, n + 2);
        assert_memory_equal(b.data + 1, slow, n);
        assert_true(b.data[0] == '"' && b.data[n + 1] == '"');
        metallm__buf_fini(&b);
    }
    struct metallm__buf b;
    metallm__buf_init(&b, 100);
    struct metallm__jw j = {.out = &b};
    metallm__jw_open(&j, '[');
    metallm__jw_count(&j, 0);
    metallm__jw_count(&j, 907);
    metallm__jw_count(&j, UINT64_MAX);
    metallm__jw_close(&j, ']');
    assert_string_equal(b.data, "[0,907,18446744073709551615]");
    metallm__buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefix_names_the_place_before_the_cause),
        cmocka_unit_test(long_messages_are_cut_not_overrun),
        cmocka_unit_test(buffer_stops_at_its_ceiling_and_says_so),
        cmocka_unit_test(generator_matches_its_published_stream),
        cmocka_unit_test(draws_are_even_and_repeatable),
        cmocka_unit_test(output_appears_whole_or_not_at_all),
        cmocka_unit_test(full_disk_is_an_error_not_a_short_file),
        cmocka_unit_test(sha256_equals_the_published_examples),
        cmocka_unit_test(sha256_is_the_same_by_any_way),
        cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(a_pool_gives_cleared_pieces_and_keeps_them_apart),
        cmocka_unit_test(a_pool_stops_at_its_ceiling_and_says_so),
        cmocka_unit_test(json_strings_are_escaped_wherever_they_are_cut),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(the_cache_folder_is_the_one_the_scripts_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
