/* SPDX-License-Identifier: Apache-2.0
 * test_replay_events.c - event files: what is read, and that every slip is told with its line. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "eval/replay_events.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

static const char *const models[] = {"small", "big \"one\""};

static const char *name_of(const void *payload, uint32_t model)
{
    (void)payload;
    return models[model];
}
static const struct metallm__event_names names = {2, name_of, NULL};

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "test_replay_events_%ld.jsonl", (long)getpid());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void events_are_read_and_sorted_by_step(void **state)
{
    (void)state;
    write_file(
        "{\"step\": 900, \"what\": \"restore\", \"model\": \"small\"}\n"
        "  \r\n"
        "{\"step\": 5, \"what\": \"price\", \"model\": \"big \\\"one\\\"\", \"factor\": 0.1}\n"
        "{\"step\": 5, \"what\": \"quality\", \"model\": \"small\", \"score\": 0.75}\n"
        "{\"step\": 0, \"what\": \"arrive\", \"model\": \"small\", \"prior\": \"like\", "
        "\"like\": \"big \\\"one\\\"\"}\n"
        "{\"step\": 7, \"what\": \"delay\", \"requests\": 50}");
    struct metallm__event *e = NULL;
    size_t n = 0;
    assert_int_equal(metallm__events_read(path, &names, &e, &n, NULL), METALLM_OK);
    assert_int_equal(n, 5);
    assert_int_equal(e[0].kind, METALLM__EVENT_ARRIVE);
    assert_int_equal(e[0].prior, METALLM__PRIOR_LIKE);
    assert_int_equal(e[0].like, 1);
    assert_int_equal(e[1].kind,
                     METALLM__EVENT_PRICE); /* before the other of its step, as written */
    assert_near(e[1].factor, 0.1, 0);
    assert_string_equal(e[1].what, "price big \"one\" x0.1");
    assert_near(e[2].score, 0.75, 0);
    assert_near(e[3].amount, 50, 0);
    assert_int_equal(e[4].step, 900);
    metallm__free(e);
}

static void every_slip_is_told_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
        int code;
    } cases[] = {
        {"{\"step\": 1, \"what\": \"prise\", \"model\": \"small\"}", "'prise'", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"leave\", \"model\": \"huge\"}", "'huge'", METALLM_ENOTFOUND},
        {"{\"step\": 1, \"what\": \"leave\"}", "'model'", METALLM_EFORMAT},
        {"{\"what\": \"leave\", \"model\": \"small\"}", "'step'", METALLM_EFORMAT},
        {"{\"step\": -1, \"what\": \"leave\", \"model\": \"small\"}", "'step'", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"price\", \"model\": \"small\"}", "'factor'", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"price\", \"model\": \"small\", \"factor\": 0}", "'factor'",
         METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"quality\", \"model\": \"small\"}", "score", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"missing\", \"share\": 1.5}", "'share'", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"missing\", \"part\": 0.5}", "'part'", METALLM_EFORMAT},
        {"{\"step\": 1, \"what\": \"arrive\", \"model\": \"small\", \"prior\": \"like\"}",
         "another", METALLM_EFORMAT},
        {"[1]", "'what'", METALLM_EFORMAT},
        {"{\"step\": 1,", ":2", METALLM_EFORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"step\": 0, \"what\": \"noise\", \"sd\": 0.1}\n%s\n",
                 cases[i].line);
        write_file(text);
        struct metallm__event *e = NULL;
        size_t n = 0;
        metallm_error err = {0};
        assert_int_equal(metallm__events_read(path, &names, &e, &n, &err), cases[i].code);
        assert_null(e);
        assert_non_null(strstr(err.message, ".jsonl:2"));
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

static int read_it(void *payload)
{
    struct metallm__event *e = NULL;
    size_t n = 0;
    int rc = metallm__events_read(payload, &names, &e, &n, NULL);
    metallm__free(e);
    return rc;
}

static void failing_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    write_file("{\"step\": 1, \"what\": \"noise\", \"sd\": 0.1}\n");
    assert_true(fail_alloc_sweep(read_it, path) >= 2);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_read_and_sorted_by_step),
        cmocka_unit_test(every_slip_is_told_with_its_line),
        cmocka_unit_test(failing_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
