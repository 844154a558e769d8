/* SPDX-License-Identifier: Apache-2.0
 * sigv4.h - signs a request to an AWS service with Signature Version 4: its Authorization header.
 * Pure: no clock, no environment. Source: AWS, "IAM User Guide: Create a signed AWS API request".
 * The path is encoded once more than it is sent, as all services but S3 want it. */
#ifndef WIRE_BEDROCK_SIGV4_H
#define WIRE_BEDROCK_SIGV4_H
#include "base/buf.h"
#include "base/span.h"

#define METALLM__SIGV4_HEADERS_MAX      32u
#define METALLM__SIGV4_PAIRS_MAX        64u /* of a query */
#define METALLM__SIGV4_NAME_BYTES_MAX   64u /* region, service */
#define METALLM__SIGV4_ID_BYTES_MAX     128u
#define METALLM__SIGV4_SECRET_BYTES_MAX 256u
#define METALLM__SIGV4_TOKEN_BYTES_MAX  16384u

struct metallm__sigv4_header {
    struct metallm__span name, value;
};

struct metallm__sigv4 {
    struct metallm__span method;
    struct metallm__span path, query; /* as they are sent; query without '?' */
    /* All that is signed, in any case and order, "host" among them; but x-amz-date and
     * x-amz-security-token are added here. */
    const struct metallm__sigv4_header *headers;
    size_t header_count;
    struct metallm__span payload;
    int64_t wall_s; /* since 1970 */
    struct metallm__span region, service;
    struct metallm__span key_id, secret, token; /* secret but for key_id; token empty: none */
};

/* Appends "x-amz-date", "x-amz-security-token" where there is a token, and "authorization", each a
 * line "name: value\r\n". METALLM_EINVAL: a field is empty or past its limit; METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__sigv4_sign(const struct metallm__sigv4 *r,
                                          struct metallm__buf *lines, metallm_error *err);
/* Appends the canonical request, which is what the signature stands for. The caller wipes it: it
 * holds the token. */
METALLM_MUSTCHECK int metallm__sigv4_canonical(const struct metallm__sigv4 *r,
                                               struct metallm__buf *out, metallm_error *err);

#endif
