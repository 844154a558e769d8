/* SPDX-License-Identifier: Apache-2.0
 * test_net_request.c - the request parser: what is refused, with which status, and that the cuts of
 * the bytes make no difference. */
#include <stdio.h>
#include <stdlib.h>

#include "net/http_request.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static struct metallm__http_limits limits_of_tests(void)
{
    struct metallm__http_limits limits = metallm__http_limits_default();
    limits.target_bytes = 64;
    limits.head_bytes = 1024;
    limits.headers = 8;
    limits.body_bytes = 256;
    return limits;
}

/* Feeds bytes in pieces of step (0: whole, from cut on the second piece); returns what was used. */
static size_t feed(struct metallm__request_parser *p, struct metallm__span in, size_t step,
                   size_t cut)
{
    size_t done = 0;
    while (done < in.n && p->phase < METALLM__REQUEST_DONE) {
        size_t n = step != 0 ? step : done < cut ? cut - done : in.n - done;
        if (n > in.n - done)
            n = in.n - done;
        char *piece = malloc(n + 1); /* so that a read behind it is seen */
        assert_non_null(piece);
        memcpy(piece, in.p + done, n);
        size_t used = metallm__request_parser_feed(p, metallm__span(piece, n));
        free(piece);
        done += used;
        if (used < n)
            break;
    }
    return done;
}

/* One text of what came out, to compare. */
static void describe(const struct metallm__request_parser *p, char *out, size_t size)
{
    struct metallm__request q;
    size_t at = 0;
    if (p->phase != METALLM__REQUEST_DONE) {
        (void)snprintf(out, size, "phase %d status %d %s", (int)p->phase,
                       p->phase == METALLM__REQUEST_REFUSED ? p->status : 0,
                       p->phase == METALLM__REQUEST_REFUSED ? p->message : "");
        return;
    }
    metallm__request_parser_show(p, &q);
    at += (size_t)snprintf(out, size, "%s %.*s 1.%d keep %d path %.*s query %.*s body %.*s",
                           metallm__method_name(q.method), (int)q.target.n, q.target.p, q.minor,
                           p->keep_alive, (int)q.path.n, q.path.p, (int)q.query.n,
                           q.query.n ? q.query.p : "", (int)q.body.n, q.body.p);
    for (size_t i = 0; i < q.headers.count && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "|%.*s=%.*s", (int)q.headers.at[i].name.n,
                               q.headers.at[i].name.p, (int)q.headers.at[i].value.n,
                               q.headers.at[i].value.n ? q.headers.at[i].value.p : "");
}

static void same_for_every_cut(struct metallm__span in, char *whole, size_t size)
{
    struct metallm__http_limits limits = limits_of_tests();
    struct metallm__request_parser p = {0};
    char other[4096];
    metallm__request_parser_reset(&p, &limits);
    size_t used = feed(&p, in, 0, in.n);
    describe(&p, whole, size);
    for (size_t cut = 0; cut <= in.n; cut++) { /* cut 0: byte by byte */
        metallm__request_parser_reset(&p, &limits);
        size_t other_used = feed(&p, in, cut == 0, cut);
        describe(&p, other, sizeof other);
        assert_string_equal(whole, other);
        if (p.phase == METALLM__REQUEST_DONE)
            assert_int_equal(used, other_used);
    }
    metallm__request_parser_fini(&p);
}

#define HOST "Host: a.example\r\n"

static void sound_requests_are_read_the_same_however_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"GET /v1/models?limit=3&x=%20 HTTP/1.1\r\n" HOST "\r\n",
         "GET /v1/models?limit=3&x=%20 1.1 keep 1 path /v1/models query limit=3&x=%20 body "
         "|host=a.example"},
        {"POST / HTTP/1.1\r\nHost:a\r\nContent-Length: 5\r\nX-Two:  b c \t\r\n\r\nhello",
         "POST / 1.1 keep 1 path / query  body hello|host=a|content-length=5|x-two=b c"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
         "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n",
         "POST / 1.1 keep 1 path / query  body hello world|host=a.example|transfer-encoding="
         "Chunked"},
        {"\r\n\r\nHEAD /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
         "HEAD /a 1.1 keep 0 path /a query  body |host=a.example|connection=close"},
        {"GET /a HTTP/1.0\r\n\r\n", "GET /a 1.0 keep 0 path /a query  body "},
        {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "GET /a 1.0 keep 1 path /a query  body |connection=keep-alive"},
        {"GET http://a.example/p?q HTTP/1.1\r\n" HOST "\r\n",
         "GET /p?q 1.1 keep 1 path /p query q body |host=a.example"},
        {"GET http://a.example HTTP/1.1\r\n" HOST "\r\n",
         "GET / 1.1 keep 1 path / query  body |host=a.example"},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
         "OPTIONS * 1.1 keep 1 path * query  body |host=a.example"},
        {"POST /empty HTTP/1.1\r\n" HOST "\r\n",
         "POST /empty 1.1 keep 1 path /empty query  body |host=a.example"},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
         "GET / 1.1 keep 1 path / query  body |host=a.example|connection=Upgrade, HTTP2-Settings|"
         "upgrade=h2c"},
        {"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nX-Empty:\r\nX-High: \xc3\xa9\r\n\r\n",
         "GET / 1.1 keep 1 path / query  body |host=[::1]:8080|x-empty=|x-high=\xc3\xa9"},
    };
    char whole[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        same_for_every_cut(metallm__span_of(cases[i].text), whole, sizeof whole);
        assert_string_equal(whole, cases[i].expected);
    }
}

struct refused {
    const char *name;
    struct metallm__span text;
    int status;
};
#define T(literal) METALLM__SPAN(literal)
#define POST       "POST / HTTP/1.1\r\n" HOST

static const struct refused refused[] = {
    {"two equal lengths", T(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), 400},
    {"two lengths", T(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), 400},
    {"a list of lengths", T(POST "Content-Length: 1, 1\r\n\r\nx"), 400},
    {"length and coding", T(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {"coding and length", T(POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 400},
    {"a signed length", T(POST "Content-Length: +1\r\n\r\nx"), 400},
    {"a negative length", T(POST "Content-Length: -1\r\n\r\nx"), 400},
    {"a hexadecimal length", T(POST "Content-Length: 0x1\r\n\r\nx"), 400},
    {"an empty length", T(POST "Content-Length:\r\n\r\n"), 400},
    {"a length over 64 bits", T(POST "Content-Length: 18446744073709551617\r\n\r\nx"), 400},
    {"two codings", T(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     400},
    {"another coding", T(POST "Transfer-Encoding: gzip\r\n\r\n"), 501},
    {"two codings in one", T(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
    {"chunked twice", T(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), 501},
    {"chunked not last", T(POST "Transfer-Encoding: chunked, identity\r\n\r\n"), 501},
    {"a disguised coding", T(POST "Transfer-Encoding: xchunked\r\n\r\n"), 501},
    {"a coding with a control character",
     T(POST "Transfer-Encoding: \x0b"
            "chunked\r\n\r\n"),
     400},
    {"a coding in HTTP/1.0", T("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {"bare LF after the request line", T("GET / HTTP/1.1\n" HOST "\r\n"), 400},
    {"bare LF after a header", T("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400},
    {"bare LF at the head's end", T("GET / HTTP/1.1\r\n" HOST "\n"), 400},
    {"bare CR in a header", T("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"), 400},
    {"bare CR at the head's end", T("GET / HTTP/1.1\r\n" HOST "\rX"), 400},
    {"a folded header", T("GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"), 400},
    {"a folded first header", T("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400},
    {"a blank before the colon", T("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400},
    {"a tab before the colon", T("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"), 400},
    {"a blank in a name", T("GET / HTTP/1.1\r\n" HOST "X Y: a\r\n\r\n"), 400},
    {"no name", T("GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"), 400},
    {"no colon", T("GET / HTTP/1.1\r\n" HOST "Xyz\r\n\r\n"), 400},
    {"NUL in a value", T("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), 400},
    {"NUL in a name", T("GET / HTTP/1.1\r\n" HOST "X\0Y: a\r\n\r\n"), 400},
    {"a control character in a value", T("GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n"), 400},
    {"DEL in a value", T("GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n"), 400},
    {"bytes over 127 in a name", T("GET / HTTP/1.1\r\n" HOST "X\xc3\xa9: a\r\n\r\n"), 400},
    {"no host", T("GET / HTTP/1.1\r\n\r\n"), 400},
    {"two hosts", T("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400},
    {"a host with a path", T("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400},
    {"a host with a user", T("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400},
    {"HTTP/0.9", T("GET /\r\n"), 505},
    {"the preface of HTTP/2", T("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
    {"HTTP/2.0", T("GET / HTTP/2.0\r\n" HOST "\r\n"), 505},
    {"HTTP/1.2", T("GET / HTTP/1.2\r\n" HOST "\r\n"), 505},
    {"HTTP/1.", T("GET / HTTP/1.\r\n" HOST "\r\n"), 505},
    {"http/1.1", T("GET / http/1.1\r\n" HOST "\r\n"), 400},
    {"ICE/1.0", T("GET / ICE/1.0\r\n" HOST "\r\n"), 400},
    {"a version too long", T("GET / HTTP/1.10\r\n" HOST "\r\n"), 400},
    {"two blanks before the target", T("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"two blanks before the version", T("GET /  HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a blank at the line's end", T("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400},
    {"a blank in the target", T("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a tab for a blank", T("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a blank before the method", T(" GET / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a control character in the target", T("GET /\x01 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"bytes over 127 in the target", T("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"NUL in the target", T("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a fragment", T("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"no path", T("GET a HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"a star without OPTIONS", T("GET * HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"another scheme", T("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"TLS", T("\x16\x03\x01\x02\x00\x01\x00"), 400},
    {"a bare LF first", T("\nGET / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"many empty lines", T("\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"CONNECT", T("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"), 405},
    {"TRACE", T("TRACE / HTTP/1.1\r\n" HOST "\r\n"), 405},
    {"an unknown method", T("BREW / HTTP/1.1\r\n" HOST "\r\n"), 501},
    {"a method in lower case", T("get / HTTP/1.1\r\n" HOST "\r\n"), 501},
    {"a method without end", T("AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 501},
    {"HTTP/1.0 without a length", T("POST / HTTP/1.0\r\n\r\n"), 411},
    {"a length over the limit", T(POST "Content-Length: 257\r\n\r\n"), 413},
    {"chunks over the limit", T(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nfe\r\n"), 413},
    {"another expectation", T("GET / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n"), 417},
    {"a chunk size that is none", T(POST "Transfer-Encoding: chunked\r\n\r\ng\r\n"), 400},
    {"an empty chunk size", T(POST "Transfer-Encoding: chunked\r\n\r\n\r\n"), 400},
    {"a chunk size with 0x", T(POST "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n"),
     400},
    {"a signed chunk size", T(POST "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n"), 400},
    {"a blank before a chunk size", T(POST "Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n"), 400},
    {"a blank after a chunk size", T(POST "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n"), 400},
    {"a chunk size over 64 bits",
     T(POST "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n"), 400},
    {"a chunk longer than it says",
     T(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n"), 400},
    {"bare LF after a chunk size", T(POST "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n"), 400},
    {"bare LF after a chunk", T(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n"), 400},
    {"bare LF after the last chunk", T(POST "Transfer-Encoding: chunked\r\n\r\n0\n\n"), 400},
    {"bare LF after a trailer", T(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n"), 400},
    {"a control character in an extension",
     T(POST "Transfer-Encoding: chunked\r\n\r\n1;a\x01=b\r\nx\r\n0\r\n\r\n"), 400},
};

static void unsound_requests_are_refused_by_name(void **state)
{
    (void)state;
    char whole[4096], expected[32];
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        same_for_every_cut(refused[i].text, whole, sizeof whole);
        (void)snprintf(expected, sizeof expected, "phase %d status %d ",
                       (int)METALLM__REQUEST_REFUSED, refused[i].status);
        if (strncmp(whole, expected, strlen(expected)) != 0) {
            print_error("%s: %s\n", refused[i].name, whole);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* ---- Limits ---- */
static int status_of(const char *text, size_t n)
{
    char whole[4096];
    int phase, status;
    same_for_every_cut(metallm__span(text, n), whole, sizeof whole);
    if (sscanf(whole, "phase %d status %d", &phase, &status) != 2)
        return 200;
    return status;
}

static size_t repeat(char *out, const char *before, char c, size_t count, const char *after)
{
    size_t n = strlen(before);
    memcpy(out, before, n);
    memset(out + n, c, count);
    memcpy(out + n + count, after, strlen(after));
    return n + count + strlen(after);
}

static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    char text[8192];
    const char *end = " HTTP/1.1\r\n" HOST "\r\n";
    assert_int_equal(status_of(text, repeat(text, "GET /", 'a', 63, end)), 200);
    assert_int_equal(status_of(text, repeat(text, "GET /", 'a', 64, end)), 414);
    assert_int_equal(status_of(text, repeat(text, "GET /", 'a', 5000, "")), 414);
    const char *head = "GET / HTTP/1.1\r\n" HOST "X: ";
    assert_int_equal(status_of(text, repeat(text, head, 'a', 900, "\r\n\r\n")), 200);
    assert_int_equal(status_of(text, repeat(text, head, 'a', 1024, "\r\n\r\n")), 431);
    assert_int_equal(status_of(text, repeat(text, head, ' ', 3000, "\r\n\r\n")), 431);
    assert_int_equal(status_of(text, repeat(text, "GET / HTTP/1.1\r\n", 'a', 3000, "")), 431);
    size_t n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 7; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "X%d: y\r\n", i);
    memcpy(text + n, "\r\n", 2);
    assert_int_equal(status_of(text, n + 2), 200);
    memcpy(text + n, "Y: z\r\n\r\n", 8);
    assert_int_equal(status_of(text, n + 8), 431);
    const char *post = POST "Content-Length: 256\r\n\r\n";
    assert_int_equal(status_of(text, repeat(text, post, 'b', 256, "")), 200);
    const char *chunked = POST "Transfer-Encoding: chunked\r\n\r\n100\r\n";
    assert_int_equal(status_of(text, repeat(text, chunked, 'b', 256, "\r\n0\r\n\r\n")), 200);
    const char *extension = POST "Transfer-Encoding: chunked\r\n\r\n1;";
    assert_int_equal(status_of(text, repeat(text, extension, 'e', 5000, "\r\nx\r\n")), 431);
    const char *trailer = POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ";
    assert_int_equal(status_of(text, repeat(text, trailer, 'e', 5000, "\r\n\r\n")), 431);
}

static void what_stands_behind_a_request_is_left_for_the_next(void **state)
{
    (void)state;
    struct metallm__http_limits limits = limits_of_tests();
    struct metallm__request_parser p = {0};
    const char *two = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
                      "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "1\r\nx\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\nrest";
    struct metallm__span in = metallm__span_of(two);
    const char *bodies[] = {"ab", "x", ""};
    for (int i = 0; i < 3; i++) {
        metallm__request_parser_reset(&p, &limits);
        size_t used = metallm__request_parser_feed(&p, in);
        struct metallm__request q;
        assert_int_equal(p.phase, METALLM__REQUEST_DONE);
        metallm__request_parser_show(&p, &q);
        assert_int_equal(q.target.p[1], '1' + i);
        assert_true(metallm__span_is(q.body, bodies[i]));
        in.p += used;
        in.n -= used;
    }
    assert_true(metallm__span_is(in, "rest"));
    metallm__request_parser_fini(&p);
}

/* A promised length costs nothing until it comes. */
static void the_body_grows_with_what_came(void **state)
{
    (void)state;
    struct metallm__http_limits limits = metallm__http_limits_default();
    struct metallm__request_parser p = {0};
    limits.body_bytes = UINT64_C(1) << 40;
    metallm__request_parser_reset(&p, &limits);
    const char *text = POST "Content-Length: 1000000000000\r\n\r\nabc";
    assert_int_equal(metallm__request_parser_feed(&p, metallm__span_of(text)), strlen(text));
    assert_int_equal(p.phase, METALLM__REQUEST_BODY);
    assert_in_range(p.body_cap, 3, 8192);
    metallm__request_parser_fini(&p);
}

static int read_one(void *payload)
{
    struct metallm__http_limits limits = metallm__http_limits_default();
    struct metallm__request_parser p = {0};
    metallm__request_parser_reset(&p, &limits);
    (void)metallm__request_parser_feed(&p, *(struct metallm__span *)payload);
    int rc = p.phase == METALLM__REQUEST_DONE ? METALLM_OK
             : p.status == 503                ? METALLM_ENOMEM
                                              : METALLM_EFORMAT;
    metallm__request_parser_fini(&p);
    return rc;
}

static void without_memory_a_request_is_refused(void **state)
{
    (void)state;
    static char text[20000];
    struct metallm__span in = {text, 0};
    in.n = repeat(text, POST "Content-Length: 9000\r\nX: ", 'a', 3000, "\r\n\r\n");
    in.n += repeat(text + in.n, "", 'b', 9000, "");
    assert_true(fail_alloc_sweep(read_one, &in) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_requests_are_read_the_same_however_cut),
        cmocka_unit_test(unsound_requests_are_refused_by_name),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(what_stands_behind_a_request_is_left_for_the_next),
        cmocka_unit_test(the_body_grows_with_what_came),
        cmocka_unit_test(without_memory_a_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
