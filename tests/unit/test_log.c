/* SPDX-License-Identifier: Apache-2.0
 * test_log.c - every line is one JSON object, whatever is put in; repeated errors are counted in
 * place of written; prompts stay out unless switched on; trace contexts are passed on. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "gateway/log.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static uint64_t wall = 1772323199007u; /* 2026-02-28T23:59:59.007Z */
static uint64_t told_wall(void *payload)
{
    (void)payload;
    return wall;
}

struct sink {
    char path[32];
    struct metallm__log *log;
};

static struct sink sink_open(enum metallm__log_level level)
{
    struct sink s = {.path = "/tmp/test_log_XXXXXX"};
    close(mkstemp(s.path));
    const struct metallm__log_options opts = {.path = s.path, .level = level, .wall_ms = told_wall};
    assert_int_equal(metallm__log_new(&s.log, &opts, NULL), METALLM_OK);
    return s;
}

/* Ends the log; checks that each line is JSON. The text is the caller's to free. */
static char *sink_close(struct sink *s, size_t *lines)
{
    metallm__log_free(s->log);
    FILE *f = fopen(s->path, "r");
    char *text = calloc(1, 1 << 22);
    assert_non_null(f);
    assert_non_null(text);
    text[fread(text, 1, (1 << 22) - 1, f)] = '\0';
    fclose(f);
    unlink(s->path);
    *lines = 0;
    for (char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, ++*lines) {
        yyjson_doc *doc = NULL;
        assert_non_null(strchr(at, '\n'));
        assert_int_equal(metallm__json_read(&doc, at, strcspn(at, "\n"), NULL), METALLM_OK);
        assert_true(yyjson_is_obj(yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
    }
    return text;
}

static void a_line_is_one_object(void **state)
{
    (void)state;
    struct sink s = sink_open(METALLM__LOG_INFO);
    struct metallm__log_line line;
    size_t lines;
    assert_true(metallm__log_begin(s.log, &line, METALLM__LOG_INFO, "http", "request"));
    metallm__log_str(&line, "path", "/a\"\\\n\x01\x7f\xff\xc3\xa9");
    metallm__log_int(&line, "status", -5);
    metallm__log_real(&line, "ms", 1.5);
    metallm__log_real(&line, "none", NAN);
    metallm__log_flag(&line, "ok", true);
    metallm__log_content(&line, "prompt", "secret", 6);
    metallm__log_end(&line);
    assert_false(metallm__log_begin(s.log, &line, METALLM__LOG_DEBUG, "http", "hidden"));
    metallm__log_str(&line, "a", "b");
    metallm__log_end(&line);
    assert_false(metallm__log_begin(NULL, &line, METALLM__LOG_ERROR, "http", "no log"));
    metallm__log_end(&line);
    metallm__log_set(s.log, METALLM__LOG_DEBUG, true);
    assert_true(metallm__log_begin(s.log, &line, METALLM__LOG_DEBUG, "http", "shown"));
    metallm__log_content(&line, "prompt", "open", 4);
    metallm__log_end(&line);
    char *text = sink_close(&s, &lines);
    assert_int_equal(lines, 2);
    assert_int_equal(strncmp(text,
                             "{\"ts\":\"2026-02-28T23:59:59.007Z\",\"level\":\"info\",\"cat\":"
                             "\"http\",\"msg\":\"request\",\"path\":\"/a\\\"\\\\\\n\\u0001\\u007f"
                             "\xef\xbf\xbd\xc3\xa9\",\"status\":-5,\"ms\":1.5,\"none\":null,"
                             "\"ok\":true}\n",
                             strcspn(text, "\n")),
                     0);
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "\"prompt\":\"open\""));
    free(text);
}

static void a_long_line_is_cut_and_still_json(void **state)
{
    (void)state;
    struct sink s = sink_open(METALLM__LOG_INFO);
    char huge[3 * METALLM__LOG_LINE_BYTES];
    size_t lines;
    for (size_t len = METALLM__LOG_LINE_BYTES - 300; len < METALLM__LOG_LINE_BYTES + 50; len++) {
        struct metallm__log_line line;
        memset(huge, len % 3 == 0 ? '\n' : 'a', sizeof huge);
        assert_true(metallm__log_begin(s.log, &line, METALLM__LOG_INFO, "c", "m"));
        metallm__log_text(&line, "text", huge, len);
        metallm__log_int(&line, "n", 1);
        metallm__log_str(&line, "rest", "rest");
        metallm__log_end(&line);
        assert_true(line.len <= METALLM__LOG_LINE_BYTES);
        metallm__log_flush(s.log);
    }
    char *text = sink_close(&s, &lines);
    assert_int_equal(lines, 350);
    assert_non_null(strstr(text, ",\"cut\":true}\n"));
    free(text);
}

static void repeated_errors_are_counted(void **state)
{
    (void)state;
    struct sink s = sink_open(METALLM__LOG_INFO);
    const metallm_error err = {.message = "why"};
    size_t lines;
    for (int i = 0; i < 100; i++)
        metallm__log_error(s.log, METALLM__LOG_WARN, "store", "cannot write", &err);
    metallm__log_error(s.log, METALLM__LOG_WARN, "store", "another", &err);
    wall += METALLM__LOG_WINDOW_S * 1000;
    metallm__log_error(s.log, METALLM__LOG_WARN, "store", "cannot write", &err);
    char *text = sink_close(&s, &lines);
    assert_int_equal(lines, METALLM__LOG_BURST + 2);
    assert_non_null(strstr(text, "\"msg\":\"cannot write\",\"suppressed\":80,\"error\":\"why\"}"));
    free(text);
}

static void *write_many(void *payload)
{
    for (int i = 0; i < 1000; i++) {
        struct metallm__log_line line;
        metallm__log_begin(payload, &line, METALLM__LOG_INFO, "t", "m");
        metallm__log_int(&line, "i", i);
        metallm__log_end(&line);
    }
    return NULL;
}

static void many_threads_write_whole_lines(void **state)
{
    (void)state;
    struct sink s = sink_open(METALLM__LOG_INFO);
    pthread_t threads[3];
    size_t lines;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, s.log), 0);
    assert_int_equal(metallm__log_reopen(s.log, NULL), METALLM_OK);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    metallm__log_flush(s.log);
    const uint64_t dropped = metallm__log_dropped(s.log);
    free(sink_close(&s, &lines));
    assert_int_equal(lines + dropped, 3000);
}

static void trace_contexts_are_passed_on(void **state)
{
    (void)state;
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const wrong[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    struct metallm__trace t, child;
    char text[METALLM__TRACEPARENT_LEN + 1];
    metallm_rng rng;
    metallm_rng_seed(&rng, 5);
    assert_true(metallm__trace_parse(&t, good, strlen(good)));
    metallm__trace_text(&t, text);
    assert_string_equal(text, good);
    metallm__trace_child(&child, &t, &rng);
    metallm__trace_text(&child, text);
    assert_int_equal(strncmp(text, good, 36), 0);
    assert_int_not_equal(strncmp(text + 36, good + 36, 16), 0);
    assert_string_equal(text + 52, "-01");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(metallm__trace_parse(&t, wrong[i], strlen(wrong[i])));
    static const char later[] = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    assert_true(metallm__trace_parse(&t, later, strlen(later)));
    metallm__trace_begin(&t, &rng);
    metallm__trace_text(&t, text);
    assert_true(metallm__trace_parse(&child, text, strlen(text)));
    char id[METALLM__REQUEST_ID_LEN + 1];
    metallm__request_id(&rng, id);
    assert_int_equal(strspn(id + 4, "0123456789abcdef"), 24);
}

static int make_once(void *payload)
{
    struct metallm__log *l = NULL;
    (void)payload;
    int rc = metallm__log_new(&l, &(struct metallm__log_options){.path = "/dev/null"}, NULL);
    metallm__log_free(l);
    return rc;
}

static void a_failing_allocation_is_told(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(make_once, NULL), 3);
    struct metallm__log *l = NULL;
    metallm_error err;
    const struct metallm__log_options opts = {.path = "/no/such/folder/log"};
    assert_int_equal(metallm__log_new(&l, &opts, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "/no/such/folder/log"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_object),
        cmocka_unit_test(a_long_line_is_cut_and_still_json),
        cmocka_unit_test(repeated_errors_are_counted),
        cmocka_unit_test(many_threads_write_whole_lines),
        cmocka_unit_test(trace_contexts_are_passed_on),
        cmocka_unit_test(a_failing_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
