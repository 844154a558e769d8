/* SPDX-License-Identifier: Apache-2.0
 * test_page.c - what goes into a page cannot break out of its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/page.h"
#include "support/cmocka_all.h"

static char *written(const struct metallm__page *page)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(metallm__page_write(out, page, NULL), METALLM_OK);
    fclose(out);
    assert_int_equal(strlen(text), len);
    return text;
}

static void marks_are_filled_and_escaped(void **state)
{
    (void)state;
    const char *shape_text = "a@b <t>@TITLE@</t>@ROUTER@|@DATA@@";
    const struct metallm__asset shape = {shape_text, strlen(shape_text)};
    const char *json = "{\"m\":\"</script><!--@TITLE@\"}";
    struct metallm__page page = {&shape, "\"x\" <&>", "r", json, strlen(json)};
    char *text = written(&page);
    assert_string_equal(text, "a@b <t>&quot;x&quot; &lt;&amp;&gt;</t>r|"
                              "{\"m\":\"\\u003c/script>\\u003c!--@TITLE@\"}@");
    free(text);
}

static void the_pages_need_nothing_from_elsewhere(void **state)
{
    (void)state;
    const struct metallm__asset *const shapes[] = {&metallm__asset_evaluation,
                                                   &metallm__asset_savings, &metallm__asset_replay,
                                                   &metallm__asset_classify};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct metallm__page page = {shapes[i], "t", "r", "{}", 2};
        char *text = written(&page);
        assert_non_null(strstr(text, "Chart.js v"));
        assert_non_null(strstr(text, "<script type=\"application/json\" id=\"data\">{}</script>"));
        assert_null(strstr(text, "@DATA@"));
        assert_null(strstr(text, "@BODY@"));
        assert_null(strstr(text, " src="));
        assert_null(strstr(text, "<link"));
        assert_null(strstr(text, "@import"));
        free(text);
    }
}

static void a_full_device_is_reported(void **state)
{
    (void)state;
    FILE *out = fopen("/dev/full", "w");
    if (out == NULL)
        skip();
    setvbuf(out, NULL, _IONBF, 0);
    struct metallm__page page = {&metallm__asset_evaluation, "t", "r", "{}", 2};
    metallm_error err = {0};
    assert_int_equal(metallm__page_write(out, &page, &err), METALLM_EIO);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_filled_and_escaped),
        cmocka_unit_test(the_pages_need_nothing_from_elsewhere),
        cmocka_unit_test(a_full_device_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
