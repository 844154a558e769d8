/* SPDX-License-Identifier: Apache-2.0
 * test_safetensors.c - what is written is read back; every damaged header is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static char path[] = "/tmp/metallm-st-XXXXXX";

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
static const int8_t codes[3] = {-128, 0, 127};
static const double one = 0.1;

static int write_example(void *to)
{
    struct metallm__st_writer *w = NULL;
    int rc = metallm__st_writer_new(&w, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "codes", METALLM__I8, 1, (const size_t[]){3}, codes, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "w\"\n", METALLM__F32, 2, (const size_t[]){2, 3}, weights, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "one", METALLM__F64, 0, NULL, &one, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "none", METALLM__U32, 2, (const size_t[]){0, 4}, NULL, NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "kind", "example \xc3\xa9", NULL);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, to, NULL);
    metallm__st_writer_free(w);
    return rc;
}

static void what_is_written_is_read_back_aligned(void **state)
{
    (void)state;
    assert_int_equal(write_example(path), METALLM_OK);
    struct metallm__st_file *f = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm__st_open(&f, path, &err), METALLM_OK);
    struct metallm__tensor t;
    assert_int_equal(metallm__st_get(f, "w\"\n", METALLM__F32, 2, (const size_t[]){0, 3}, &t, &err),
                     METALLM_OK);
    assert_int_equal(t.count, 6);
    assert_int_equal(t.shape[0], 2);
    assert_memory_equal(t.data, weights, sizeof weights);
    assert_int_equal((uintptr_t)t.data % sizeof(float), 0);
    assert_int_equal(metallm__st_get(f, "codes", METALLM__I8, 1, (const size_t[]){3}, &t, &err),
                     METALLM_OK);
    assert_memory_equal(t.data, codes, sizeof codes);
    assert_int_equal(metallm__st_get(f, "one", METALLM__F64, 0, NULL, &t, &err), METALLM_OK);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    assert_memory_equal(t.data, &one, sizeof one);
    assert_int_equal(metallm__st_get(f, "none", METALLM__U32, 2, (const size_t[]){0, 4}, &t, &err),
                     METALLM_OK);
    assert_int_equal(t.count, 0);
    assert_string_equal(metallm__st_meta(f, "kind"), "example \xc3\xa9");
    assert_null(metallm__st_meta(f, "other"));
    assert_true(metallm__st_has(f, "one"));
    assert_false(metallm__st_has(f, "two"));
    metallm__st_close(f);
}

static void a_tensor_that_is_not_as_asked_is_named(void **state)
{
    (void)state;
    assert_int_equal(write_example(path), METALLM_OK);
    struct metallm__st_file *f = NULL;
    metallm_error err = {0};
    struct metallm__tensor t;
    assert_int_equal(metallm__st_open(&f, path, &err), METALLM_OK);
    assert_int_equal(metallm__st_get(f, "two", METALLM__F32, 0, NULL, &t, &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "no tensor 'two'"));
    assert_int_equal(metallm__st_get(f, "codes", METALLM__U8, 1, (const size_t[]){3}, &t, &err),
                     METALLM_EFORMAT);
    assert_non_null(strstr(err.message, "is I8, not U8"));
    assert_int_equal(metallm__st_get(f, "codes", METALLM__I8, 1, (const size_t[]){4}, &t, &err),
                     METALLM_EFORMAT);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(metallm__st_get(f, "codes", METALLM__I8, 2, (const size_t[]){3, 1}, &t, &err),
                     METALLM_EFORMAT);
    metallm__st_close(f);
}

static void equal_calls_give_equal_bytes(void **state)
{
    (void)state;
    struct metallm__map a, b;
    char other[sizeof path + 2];
    snprintf(other, sizeof other, "%s.b", path);
    assert_int_equal(write_example(path), METALLM_OK);
    assert_int_equal(write_example(other), METALLM_OK);
    assert_int_equal(metallm__map_open(&a, path, NULL), METALLM_OK);
    assert_int_equal(metallm__map_open(&b, other, NULL), METALLM_OK);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.bytes, b.bytes, a.len);
    metallm__map_close(&a);
    metallm__map_close(&b);
    unlink(other);
}

static void parts_have_names_of_their_own(void **state)
{
    (void)state;
    struct metallm__st_writer *w = NULL;
    assert_int_equal(metallm__st_writer_new(&w, NULL), METALLM_OK);
    for (int part = 0; part < 2; part++) {
        metallm__st_write_part(w, part == 0 ? "" : "inner.");
        assert_int_equal(metallm__st_put(w, "one", METALLM__F64, 0, NULL, &one, NULL), METALLM_OK);
        assert_int_equal(metallm__st_put_meta(w, "part", part == 0 ? "outer" : "inner", NULL),
                         METALLM_OK);
    }
    assert_int_equal(metallm__st_write(w, path, NULL), METALLM_OK);
    metallm__st_writer_free(w);
    struct metallm__st_file *f = NULL;
    assert_int_equal(metallm__st_open(&f, path, NULL), METALLM_OK);
    assert_string_equal(metallm__st_meta(f, "part"), "outer");
    assert_true(metallm__st_has(f, "inner.one"));
    metallm__st_read_part(f, "inner.");
    assert_string_equal(metallm__st_meta(f, "part"), "inner");
    assert_true(metallm__st_has(f, "one"));
    assert_false(metallm__st_has(f, "inner.one"));
    metallm__st_read_part(f, "");
    assert_true(metallm__st_has(f, "inner.one"));
    metallm__st_close(f);
}

static void a_name_cannot_be_taken_twice(void **state)
{
    (void)state;
    struct metallm__st_writer *w = NULL;
    const size_t n = 1;
    assert_int_equal(metallm__st_writer_new(&w, NULL), METALLM_OK);
    assert_int_equal(metallm__st_put(w, "a", METALLM__F32, 1, &n, weights, NULL), METALLM_OK);
    assert_int_equal(metallm__st_put(w, "a", METALLM__F32, 1, &n, weights, NULL), METALLM_EINVAL);
    assert_int_equal(metallm__st_put(w, "__metadata__", METALLM__F32, 1, &n, weights, NULL),
                     METALLM_EINVAL);
    assert_int_equal(metallm__st_put_meta(w, "k", "v", NULL), METALLM_OK);
    assert_int_equal(metallm__st_put_meta(w, "k", "w", NULL), METALLM_EINVAL);
    assert_int_equal(metallm__st_put(w, "\xff", METALLM__F32, 1, &n, weights, NULL), METALLM_OK);
    assert_int_equal(metallm__st_write(w, path, NULL), METALLM_EINVAL);
    metallm__st_writer_free(w);
}

/* Writes length, header and data bytes as given, and opens that. */
static int open_raw(uint64_t length, const char *header, size_t data_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&length, sizeof length, 1, f);
    fputs(header, f);
    for (size_t i = 0; i < data_bytes; i++)
        putc(0, f);
    fclose(f);
    struct metallm__st_file *st = NULL;
    int rc = metallm__st_open(&st, path, NULL);
    metallm__st_close(st);
    return rc;
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void damaged_headers_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *header;
        size_t data_bytes;
        int want;
    } cases[] = {
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 4, METALLM_OK},
        {"{\"a\":" T("F32", "[]", "[0,4]") "}   ", 4, METALLM_OK},
        {"{}", 0, METALLM_OK},
        {"{}", 1, METALLM_EFORMAT}, /* a hole at the end */
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 3, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1]", "[-4,0]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1]", "[0,4,4]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1]", "[0.0,4.0]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[1,1,1,1,1]", "[0,4]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,0]") "}", 0, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "[18446744073709551615]", "[0,0]") "}", 0, METALLM_EFORMAT},
        {"{\"a\":" T("F33", "[1]", "[0,4]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":" T("F32", "\"1\"", "[0,4]") "}", 4, METALLM_EFORMAT},
        {"{\"a\":7}", 0, METALLM_EFORMAT},
        {"{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[4]", "[2,6]") "}", 6,
         METALLM_EFORMAT}, /* overlap */
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[4,6]") "}", 6,
         METALLM_EFORMAT}, /* hole */
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"a\":" T("U8", "[2]", "[2,4]") "}", 4,
         METALLM_EFORMAT}, /* twice */
        {"{\"a\\u0000b\":" T("U8", "[2]", "[0,2]") "}", 2, METALLM_EFORMAT},
        {"{\"__metadata__\":{\"k\":1}}", 0, METALLM_EFORMAT},
        {"{\"__metadata__\":[]}", 0, METALLM_EFORMAT},
        {"[]", 0, METALLM_EFORMAT},
        {"{\"a\":", 0, METALLM_EFORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (open_raw(strlen(cases[i].header), cases[i].header, cases[i].data_bytes) !=
            cases[i].want)
            fail_msg("case %zu: %s", i, cases[i].header);
    assert_int_equal(open_raw(UINT64_MAX, "{}", 0), METALLM_EFORMAT);
    assert_int_equal(open_raw(3, "{}", 0), METALLM_EFORMAT);
    assert_int_equal(open_raw(0, "", 0), METALLM_EFORMAT);
}

static void every_cut_of_a_file_is_refused(void **state)
{
    (void)state;
    struct metallm__map whole;
    assert_int_equal(write_example(path), METALLM_OK);
    assert_int_equal(metallm__map_open(&whole, path, NULL), METALLM_OK);
    char cut[sizeof path + 4];
    snprintf(cut, sizeof cut, "%s.cut", path);
    for (size_t n = 0; n < whole.len; n++) {
        FILE *f = fopen(cut, "wb");
        assert_non_null(f);
        fwrite(whole.bytes, 1, n, f);
        fclose(f);
        struct metallm__st_file *st = NULL;
        assert_int_equal(metallm__st_open(&st, cut, NULL), METALLM_EFORMAT);
    }
    unlink(cut);
    metallm__map_close(&whole);
}

static int open_and_close(void *from)
{
    struct metallm__st_file *f = NULL;
    int rc = metallm__st_open(&f, from, NULL);
    metallm__st_close(f);
    return rc;
}

static void no_memory_is_reported_at_every_step(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(write_example, path) > 10);
    assert_true(fail_alloc_sweep(open_and_close, path) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_aligned),
        cmocka_unit_test(a_tensor_that_is_not_as_asked_is_named),
        cmocka_unit_test(equal_calls_give_equal_bytes),
        cmocka_unit_test(parts_have_names_of_their_own),
        cmocka_unit_test(a_name_cannot_be_taken_twice),
        cmocka_unit_test(damaged_headers_are_refused),
        cmocka_unit_test(every_cut_of_a_file_is_refused),
        cmocka_unit_test(no_memory_is_reported_at_every_step),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
