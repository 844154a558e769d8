/* SPDX-License-Identifier: Apache-2.0
 * fuzz_sigv4.c - any texts as a request to be signed: lines "METHOD", "PATH", "QUERY", "NAME:VALUE"
 * for each header, an empty one, and the payload. Refused with a sentence, or signed twice alike
 * with three lines that hold neither the secret nor a line end of the request's. */
#include "fuzz/fuzz.h"
#include "metallm/base.h"
#include "wire/bedrock/sigv4.h"

#define MUST(fact) ((fact) ? (void)0 : __builtin_trap())

static struct metallm__span next_line(struct metallm__span *rest)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->p) : rest->n;
    struct metallm__span line = metallm__span(rest->p, n);
    n += end != NULL;
    *rest = metallm__span(n > 0 ? rest->p + n : rest->p, rest->n - n);
    return line;
}

static size_t read_headers(struct metallm__span *rest, struct metallm__sigv4_header *headers)
{
    size_t count = 0;
    for (struct metallm__span line; (line = next_line(rest)).n > 0;) {
        const char *colon = memchr(line.p, ':', line.n);
        size_t name = colon != NULL ? (size_t)(colon - line.p) : line.n;
        if (count > METALLM__SIGV4_HEADERS_MAX)
            continue; /* one too many was seen */
        headers[count++] = (struct metallm__sigv4_header){
            metallm__span(line.p, name),
            metallm__span(line.p + name + (colon != NULL), line.n - name - (colon != NULL))};
    }
    return count;
}

static int sign(const struct metallm__sigv4 *r, struct metallm__buf *lines)
{
    metallm_error err = {0};
    metallm__buf_init(lines, (size_t)1 << 20);
    int rc = metallm__sigv4_sign(r, lines, &err);
    MUST((rc == METALLM_OK) == (err.message[0] == '\0'));
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    struct metallm__sigv4_header headers[METALLM__SIGV4_HEADERS_MAX + 1];
    struct metallm__span rest = metallm__span((const char *)data, size);
    struct metallm__sigv4 r = {.wall_s = 1440938160,
                               .region = METALLM__SPAN("us-east-1"),
                               .service = METALLM__SPAN("bedrock"),
                               .key_id = METALLM__SPAN("AKIDEXAMPLE"),
                               .secret = metallm__span(secret, sizeof secret - 1),
                               .headers = headers};
    struct metallm__buf once, twice;
    r.method = next_line(&rest);
    r.path = next_line(&rest);
    r.query = next_line(&rest);
    r.header_count = read_headers(&rest, headers);
    r.payload = rest;
    if (size > 0 && data[size - 1] % 2 == 1)
        r.token = metallm__span_of("token");
    int rc = sign(&r, &once);
    MUST(sign(&r, &twice) == rc);
    MUST(once.len == twice.len && (once.len == 0 || memcmp(once.data, twice.data, once.len) == 0));
    size_t ends = 0;
    for (size_t i = 0; i < once.len; i++)
        ends += once.data[i] == '\n';
    if (rc == METALLM_OK) {
        MUST(ends == (r.token.n > 0 ? 3 : 2));
        MUST(memmem(once.data, once.len, secret, sizeof secret - 1) == NULL);
    }
    metallm__buf_fini(&once);
    metallm__buf_fini(&twice);
    return 0;
}
