/* SPDX-License-Identifier: Apache-2.0
 * AWS's event streams: whole, byte by byte and cut at every position they read the same, and no
 * damaged byte goes unseen. The frames in hex are those that botocore 1.44.8 tests its own decoder
 * with (tests/unit/test_eventstream.py); the others are written by tests/support/aws_frame.c.
 * `test_aws_events read` tells each event of stdin as a line of JSON, `write` writes frames to
 * stdout: tests/gateway/test_aws.py compares both with botocore's decoder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/aws_frame.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/aws_events.h"

/* Events as "type|name|message|payload;". */
struct seen {
    char text[4096];
    size_t len, count;
    int answer; /* of the sink */
};

static int see(void *payload, const struct metallm__aws_event *e)
{
    struct seen *s = payload;
    const struct metallm__span all[] = {e->type, e->name, e->message, e->payload};
    for (int i = 0; i < 4; i++) {
        assert_true(s->len + all[i].n + 2 < sizeof s->text);
        if (all[i].n > 0)
            memcpy(s->text + s->len, all[i].p, all[i].n);
        s->len += all[i].n;
        s->text[s->len++] = i < 3 ? '|' : ';';
    }
    s->text[s->len] = '\0';
    s->count++;
    return s->answer;
}

/* Feeds bytes[from, to) as a copy of exactly that size, so that a byte too many is seen. */
static int feed(struct metallm__aws_events *p, const char *bytes, size_t from, size_t to,
                struct seen *s)
{
    char *exact = malloc(to - from + 1);
    assert_non_null(exact);
    memcpy(exact, bytes + from, to - from);
    metallm_error err;
    int rc = metallm__aws_events_feed(p, metallm__span(exact, to - from), see, s, &err);
    free(exact);
    return rc;
}

/* All of it, cut at `cut`; n + 1: byte by byte. */
static int run(const char *bytes, size_t n, size_t cut, struct seen *s)
{
    struct metallm__aws_events p;
    int rc = METALLM_OK;
    metallm__aws_events_init(&p);
    for (size_t at = 0; cut > n && at < n && rc == METALLM_OK; at++)
        rc = feed(&p, bytes, at, at + 1, s);
    if (cut <= n) {
        rc = feed(&p, bytes, 0, cut, s);
        if (rc == METALLM_OK)
            rc = feed(&p, bytes, cut, n, s);
    }
    if (rc == METALLM_OK)
        rc = metallm__aws_events_end(&p, NULL);
    metallm__aws_events_fini(&p);
    return rc;
}

static void frames_of_botocore_are_read(void **state)
{
#define BYTES(text) (text), sizeof(text) - 1
    static const struct {
        const char *bytes;
        size_t n;
        const char *events;
    } rows[] = {
        {BYTES("\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"), "|||;"},
        {BYTES("\x00\x00\x00\x1d\x00\x00\x00\r\x83\xe3\xf0\xe7\x07integer\x04\xff\xff\xff\xff\x8b"
               "\x8e\x12\xeb"),
         "|||;"},
        {BYTES("\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3"
               "e96"),
         "|||{'foo':'bar'};"},
        {BYTES("\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0c"
               "content-type\x07\x00\x10"
               "application/json{'foo':'bar'}\x8d\x9c\x08\xb1"),
         "|||{'foo':'bar'};"},
        {BYTES("\x00\x00\x00\x62\x00\x00\x00\x52\x03\xb5\xcb\x9c\x01"
               "0\x00\x01"
               "1\x01\x01"
               "2\x02\x02\x01"
               "3\x03\x00\x03\x01"
               "4\x04\x00\x00\x00\x04\x01"
               "5\x05\x00\x00\x00\x00\x00\x00\x00\x05\x01"
               "6\x06\x00\x05"
               "bytes\x01"
               "7\x07\x00\x04utf8\x01"
               "8\x08\x00\x00\x00\x00\x00\x00\x00\x08\x01"
               "9\x09"
               "0123456789abcdef\x63\x35\x36\x71"),
         "|||;"},
        {BYTES("\x00\x00\x00\x52\x00\x00\x00\x42\xbf\x23\x63\x7e\x0d:message-type\x07\x00\x05"
               "error\x0b:error-code\x07\x00\x04"
               "code\x0e:error-message\x07\x00\x07message\x6b\x6c\xea\x3d"),
         "error|code|message|;"},
    };
#undef BYTES
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t cut = 0; cut <= rows[i].n + 1; cut++) {
            struct seen s = {.len = 0};
            assert_int_equal(run(rows[i].bytes, rows[i].n, cut, &s), METALLM_OK);
            assert_string_equal(s.text, rows[i].events);
        }
}

/* Three messages, 1 of them an exception. */
static size_t three(char *to)
{
    size_t n = aws_frame_event(to, "messageStart", "{\"role\":\"assistant\"}");
    n += aws_frame_event(to + n, "contentBlockDelta", "{\"delta\":{\"text\":\"Hi\"}}");
    return n + aws_frame_exception(to + n, "throttlingException", "{\"message\":\"slow\"}");
}
static const char three_events[] = "event|messageStart||{\"role\":\"assistant\"};"
                                   "event|contentBlockDelta||{\"delta\":{\"text\":\"Hi\"}};"
                                   "exception|throttlingException||{\"message\":\"slow\"};";

static void streams_read_the_same_wherever_they_are_cut(void **state)
{
    char bytes[1024];
    size_t n = three(bytes);
    (void)state;
    for (size_t cut = 0; cut <= n + 1; cut++) {
        struct seen s = {.len = 0};
        assert_int_equal(run(bytes, n, cut, &s), METALLM_OK);
        assert_string_equal(s.text, three_events);
    }
}

static void payloads_of_every_length_match_the_plain_crc(void **state)
{
    char payload[300], bytes[400];
    (void)state;
    for (size_t n = 0; n < sizeof payload; n++) {
        payload[n] = (char)(n * 151 + 7);
        struct seen s = {.len = 0};
        size_t len = aws_frame_raw(bytes, NULL, 0, payload, n);
        assert_int_equal(run(bytes, len, len, &s), METALLM_OK);
        assert_int_equal(s.count, 1);
        assert_int_equal(s.len, n + 4);
        assert_memory_equal(s.text + 3, payload, n);
    }
}

static void every_damaged_byte_is_seen(void **state)
{
    char bytes[1024];
    size_t n = aws_frame_event(bytes, "messageStart", "{\"role\":\"assistant\"}");
    (void)state;
    for (size_t at = 0; at < n; at++)
        for (int bit = 0; bit < 8; bit++)
            for (size_t cut = n; cut <= n + 1; cut++) {
                struct seen s = {.len = 0};
                bytes[at] = (char)(bytes[at] ^ 1 << bit);
                assert_int_equal(run(bytes, n, cut, &s), METALLM_EFORMAT);
                assert_int_equal(s.count, 0);
                bytes[at] = (char)(bytes[at] ^ 1 << bit);
            }
}

/* Lengths and headers that are wrong though their CRCs are right. */
static void lengths_and_headers_that_lie_are_refused(void **state)
{
    static const struct {
        uint32_t total, headers;
        int rc;
    } lengths[] = {{0, 0, METALLM_EFORMAT},
                   {15, 0, METALLM_EFORMAT},
                   {16, 1, METALLM_EFORMAT},
                   {100, 85, METALLM_EFORMAT},
                   {100, 0xffffffff, METALLM_EFORMAT},
                   {0xffffffff, 0, METALLM_ELIMIT},
                   {METALLM__AWS_EVENT_BYTES_MAX + 1, 0, METALLM_ELIMIT}};
    static const struct metallm__span headers[] = {
        METALLM__SPAN("\x01"),                /* no name */
        METALLM__SPAN("\x01x"),               /* no type */
        METALLM__SPAN("\x01x\x0a"),           /* no such type */
        METALLM__SPAN("\x01x\x04\x00"),       /* half a number */
        METALLM__SPAN("\x01x\x07\x00"),       /* half a length */
        METALLM__SPAN("\x01x\x07\x00\x03no"), /* a string too short */
        METALLM__SPAN("\x0b:event-type\x07\x00\x01"
                      "a\x0b:event-type\x07\x00\x01"
                      "b"), /* twice */
    };
    char bytes[128];
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int b = 0; b < 4; b++) {
            bytes[b] = (char)(lengths[i].total >> (24 - 8 * b));
            bytes[4 + b] = (char)(lengths[i].headers >> (24 - 8 * b));
        }
        uint32_t crc = aws_frame_crc(bytes, 8);
        for (int b = 0; b < 4; b++)
            bytes[8 + b] = (char)(crc >> (24 - 8 * b));
        for (size_t cut = 12; cut <= 13; cut++) { /* before a byte more is there */
            struct seen s = {.len = 0};
            assert_int_equal(run(bytes, 12, cut, &s), lengths[i].rc);
        }
    }
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct seen s = {.len = 0};
        size_t n = aws_frame_raw(bytes, headers[i].p, headers[i].n, "{}", 2);
        assert_int_equal(run(bytes, n, n, &s), METALLM_EFORMAT);
        assert_int_equal(s.count, 0);
    }
}

static void a_stream_that_ends_within_a_message_is_broken(void **state)
{
    char bytes[1024];
    size_t n = aws_frame_event(bytes, "messageStart", "{}");
    (void)state;
    for (size_t end = 1; end < n; end++) {
        struct seen s = {.len = 0};
        assert_int_equal(run(bytes, end, end, &s), METALLM_EFORMAT);
    }
}

static void the_sink_stops_the_feed(void **state)
{
    char bytes[1024];
    size_t n = three(bytes);
    (void)state;
    for (size_t cut = 5; cut <= n + 1; cut += n - 4) {
        struct seen s = {.answer = METALLM_ECANCELED};
        assert_int_equal(run(bytes, n, cut, &s), METALLM_ECANCELED);
        assert_int_equal(s.count, 1);
    }
}

static int feed_in_two(void *payload)
{
    char bytes[1024];
    struct seen s = {.len = 0};
    (void)payload;
    size_t n = three(bytes);
    int rc = run(bytes, n, n / 2, &s);
    assert_true(rc != METALLM_OK || s.count == 3);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(feed_in_two, NULL) >= 1);
}

/* ---- For botocore to judge. ---- */

static int tell(void *payload, const struct metallm__aws_event *e)
{
    (void)payload;
    const struct metallm__span all[] = {e->type, e->name, e->message};
    for (int i = 0; i < 3; i++)
        printf("%s\"%.*s\"", i == 0 ? "[" : ",", (int)all[i].n, all[i].n > 0 ? all[i].p : "");
    printf(",\"");
    for (size_t i = 0; i < e->payload.n; i++)
        printf("%02x", (unsigned char)e->payload.p[i]);
    puts("\"]");
    return METALLM_OK;
}

static int tell_events(void)
{
    struct metallm__aws_events p;
    char piece[1000];
    int rc = METALLM_OK;
    metallm__aws_events_init(&p);
    for (size_t n; rc == METALLM_OK && (n = fread(piece, 1, sizeof piece, stdin)) > 0;)
        rc = metallm__aws_events_feed(&p, metallm__span(piece, n), tell, NULL, NULL);
    if (rc == METALLM_OK)
        rc = metallm__aws_events_end(&p, NULL);
    metallm__aws_events_fini(&p);
    return rc == METALLM_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    char bytes[1024];
    if (argc == 2 && strcmp(argv[1], "read") == 0)
        return tell_events();
    if (argc == 2 && strcmp(argv[1], "write") == 0)
        return fwrite(bytes, 1, three(bytes), stdout) > 0 ? 0 : 1;

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_botocore_are_read),
        cmocka_unit_test(streams_read_the_same_wherever_they_are_cut),
        cmocka_unit_test(payloads_of_every_length_match_the_plain_crc),
        cmocka_unit_test(every_damaged_byte_is_seen),
        cmocka_unit_test(lengths_and_headers_that_lie_are_refused),
        cmocka_unit_test(a_stream_that_ends_within_a_message_is_broken),
        cmocka_unit_test(the_sink_stops_the_feed),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
