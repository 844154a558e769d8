/* SPDX-License-Identifier: Apache-2.0
 * AWS's Signature Version 4: the published vectors (tests/data/sigv4), and what is refused.
 * `test_sigv4 sign` signs requests that come as lines of JSON on stdin, one line of JSON each on
 * stdout: tests/gateway/test_aws.py compares them with botocore's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/json_out.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "wire/bedrock/sigv4.h"

#define WALL_S 1440938160 /* 2015-08-30T12:36:00Z */

static struct metallm__sigv4 example(void)
{
    return (struct metallm__sigv4){
        .method = METALLM__SPAN("GET"),
        .path = METALLM__SPAN("/"),
        .wall_s = WALL_S,
        .region = METALLM__SPAN("us-east-1"),
        .service = METALLM__SPAN("service"),
        .key_id = METALLM__SPAN("AKIDEXAMPLE"),
        .secret = METALLM__SPAN("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    };
}

static struct metallm__span cut_to(struct metallm__span *rest, const char *stop)
{
    const char *at = memmem(rest->p, rest->n, stop, strlen(stop));
    struct metallm__span s = {rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n};
    size_t used = s.n + (at != NULL ? strlen(stop) : 0);
    *rest = metallm__span(rest->p + used, rest->n - used);
    return s;
}

/* The request line's target may hold blanks: it ends at the last one. */
static void read_request_line(struct metallm__span line, struct metallm__sigv4 *r)
{
    r->method = cut_to(&line, " ");
    while (line.n > 0 && line.p[line.n - 1] != ' ')
        line.n--;
    line.n--;
    r->path = cut_to(&line, "?");
    r->query = line;
}

/* A request as the vectors have it. A header line that begins with a blank goes on with the one
 * before it. */
static void read_request(struct metallm__span text, struct metallm__sigv4 *r,
                         struct metallm__sigv4_header *headers)
{
    struct metallm__span head = cut_to(&text, "\n\n");
    r->payload = text;
    r->headers = headers;
    read_request_line(cut_to(&head, "\n"), r);
    while (head.n > 0) {
        struct metallm__span line = cut_to(&head, "\n");
        if (line.p[0] == ' ') {
            struct metallm__sigv4_header *last = &headers[r->header_count - 1];
            last->value.n = (size_t)(line.p + line.n - last->value.p);
            continue;
        }
        struct metallm__span name = cut_to(&line, ":");
        if (!metallm__span_is_nocase(name, "x-amz-date") &&
            !metallm__span_is_nocase(name, "x-amz-security-token"))
            headers[r->header_count++] = (struct metallm__sigv4_header){name, line};
    }
}

static struct metallm__span member(yyjson_val *v, const char *name)
{
    yyjson_val *text = yyjson_obj_get(v, name);
    return metallm__span(yyjson_get_str(text), yyjson_get_len(text));
}

static void the_published_vectors_are_signed(void **state)
{
    (void)state;
    char path[512];
    struct metallm__map map;
    yyjson_doc *doc;
    size_t i, max;
    yyjson_val *v;
    snprintf(path, sizeof path, "%s/sigv4/vectors.json", getenv("METALLM_TEST_DATA"));
    assert_int_equal(metallm__map_open(&map, path, NULL), METALLM_OK);
    assert_int_equal(metallm__json_read(&doc, map.bytes, map.len, NULL), METALLM_OK);
    assert_int_equal(yyjson_arr_size(yyjson_doc_get_root(doc)), 34);
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, v)
    {
        struct metallm__sigv4 r = example();
        struct metallm__sigv4_header headers[16];
        struct metallm__buf out;
        read_request(member(v, "request"), &r, headers);
        r.token = member(v, "token");
        metallm__buf_init(&out, 65536);
        assert_int_equal(metallm__sigv4_canonical(&r, &out, NULL), METALLM_OK);
        struct metallm__span canonical = member(v, "canonical");
        assert_int_equal(out.len, canonical.n);
        assert_memory_equal(out.data, canonical.p, out.len);
        metallm__buf_clear(&out);
        assert_int_equal(metallm__sigv4_sign(&r, &out, NULL), METALLM_OK);
        struct metallm__span rest = metallm__span(out.data, out.len);
        cut_to(&rest, "\r\nauthorization: ");
        struct metallm__span authorization = member(v, "authorization");
        assert_int_equal(rest.n, authorization.n + 2);
        assert_memory_equal(rest.p, authorization.p, authorization.n);
        metallm__buf_fini(&out);
    }
    yyjson_doc_free(doc);
    metallm__map_close(&map);
}

static void lines_are_what_a_request_needs(void **state)
{
    (void)state;
    struct metallm__sigv4 r = example();
    struct metallm__buf out;
    metallm__buf_init(&out, 65536);
    r.token = metallm__span_of("tok+en/==");
    assert_int_equal(metallm__sigv4_sign(&r, &out, NULL), METALLM_OK);
    static const char begin[] =
        "x-amz-date: 20150830T123600Z\r\nx-amz-security-token: tok+en/==\r\n"
        "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
        "aws4_request, SignedHeaders=x-amz-date;x-amz-security-token, Signature=";
    assert_true(out.len == sizeof begin - 1 + 64 + 2);
    assert_memory_equal(out.data, begin, sizeof begin - 1);
    assert_null(strstr(out.data, "wJalr"));
    metallm__buf_fini(&out);
}

static void what_cannot_be_signed_is_refused(void **state)
{
    (void)state;
    static char text[20000];
    static struct metallm__sigv4_header many[METALLM__SIGV4_HEADERS_MAX + 1];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 129; i++)
        text[2 * i] = '&';
    struct metallm__sigv4 rows[11];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = example();
    rows[0].key_id.n = 0;
    rows[1].secret.n = 0;
    rows[2].region.n = 0;
    rows[3].service.n = 0;
    rows[4].wall_s = -1;
    rows[5].wall_s = 253402300800; /* the year 10000 */
    rows[6].secret = metallm__span(text, METALLM__SIGV4_SECRET_BYTES_MAX + 1);
    rows[7].token = metallm__span(text, METALLM__SIGV4_TOKEN_BYTES_MAX + 1);
    rows[8].headers = many;
    rows[8].header_count = METALLM__SIGV4_HEADERS_MAX + 1;
    rows[9].query = metallm__span(text, 2 * METALLM__SIGV4_PAIRS_MAX + 2);
    rows[10].region = metallm__span(text, METALLM__SIGV4_NAME_BYTES_MAX + 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__buf out;
        metallm_error err = {0};
        metallm__buf_init(&out, 65536);
        assert_int_equal(metallm__sigv4_sign(&rows[i], &out, &err), METALLM_EINVAL);
        assert_true(out.len == 0 && err.message[0] != '\0');
        assert_null(strstr(err.message, "wJalr"));
        metallm__buf_fini(&out);
    }
}

static void the_longest_of_everything_is_signed(void **state)
{
    (void)state;
    static char text[METALLM__SIGV4_TOKEN_BYTES_MAX];
    memset(text, 'x', sizeof text);
    struct metallm__sigv4 r = example();
    struct metallm__buf out;
    metallm__buf_init(&out, 65536);
    r.secret = metallm__span(text, METALLM__SIGV4_SECRET_BYTES_MAX);
    r.token = metallm__span(text, METALLM__SIGV4_TOKEN_BYTES_MAX);
    r.region = r.service = r.method = metallm__span(text, METALLM__SIGV4_NAME_BYTES_MAX);
    r.key_id = metallm__span(text, METALLM__SIGV4_ID_BYTES_MAX);
    r.wall_s = 253402300799;
    memset(text, '\xff', 4000);
    r.path = metallm__span(text, 4000); /* each byte becomes three */
    assert_int_equal(metallm__sigv4_sign(&r, &out, NULL), METALLM_OK);
    assert_non_null(strstr(out.data, "x-amz-date: 99991231T235959Z"));
    metallm__buf_fini(&out);
}

static int sign_all(void *payload)
{
    struct metallm__sigv4 r = example();
    struct metallm__buf out;
    (void)payload;
    r.query = metallm__span_of("b=2&a=1");
    metallm__buf_init(&out, 65536);
    int rc = metallm__sigv4_sign(&r, &out, NULL);
    metallm__buf_fini(&out);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(sign_all, NULL) >= 3);
}

/* ---- For botocore to judge. ---- */

static void sign_line(const char *line, size_t len)
{
    struct metallm__sigv4_header headers[METALLM__SIGV4_HEADERS_MAX];
    struct metallm__buf canonical, lines, out;
    yyjson_doc *doc;
    size_t i, max;
    yyjson_val *v;
    if (metallm__json_read(&doc, line, len, NULL) != METALLM_OK)
        exit(2);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct metallm__sigv4 r = {.method = member(root, "method"),
                               .path = member(root, "path"),
                               .query = member(root, "query"),
                               .headers = headers,
                               .payload = member(root, "payload"),
                               .wall_s = yyjson_get_sint(yyjson_obj_get(root, "wall_s")),
                               .region = member(root, "region"),
                               .service = member(root, "service"),
                               .key_id = member(root, "key_id"),
                               .secret = member(root, "secret"),
                               .token = member(root, "token")};
    yyjson_arr_foreach(yyjson_obj_get(root, "headers"), i, max, v)
    {
        yyjson_val *name = yyjson_arr_get(v, 0), *value = yyjson_arr_get(v, 1);
        headers[r.header_count++] =
            (struct metallm__sigv4_header){{yyjson_get_str(name), yyjson_get_len(name)},
                                           {yyjson_get_str(value), yyjson_get_len(value)}};
    }
    metallm__buf_init(&canonical, 1 << 20);
    metallm__buf_init(&lines, 1 << 20);
    metallm__buf_init(&out, 1 << 20);
    if (metallm__sigv4_canonical(&r, &canonical, NULL) != METALLM_OK ||
        metallm__sigv4_sign(&r, &lines, NULL) != METALLM_OK)
        exit(3);
    struct metallm__jw j = {.out = &out};
    metallm__jw_open(&j, '[');
    metallm__jw_bytes(&j, canonical.data, canonical.len);
    metallm__jw_bytes(&j, lines.data, lines.len);
    metallm__jw_close(&j, ']');
    puts(out.data);
    metallm__buf_fini(&canonical);
    metallm__buf_fini(&lines);
    metallm__buf_fini(&out);
    yyjson_doc_free(doc);
}

static int sign_lines(void)
{
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;)
        sign_line(line, (size_t)n);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "sign") == 0)
        return sign_lines();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_are_signed),
        cmocka_unit_test(lines_are_what_a_request_needs),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
        cmocka_unit_test(the_longest_of_everything_is_signed),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
