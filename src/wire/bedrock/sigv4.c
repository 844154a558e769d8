/* SPDX-License-Identifier: Apache-2.0
 * sigv4.c - see sigv4.h. Names of the steps are AWS's: canonical request, string to sign, signing
 * key. What holds a secret lies on the stack or in one block of known size, and is wiped. */
#include "wire/bedrock/sigv4.h"

#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/sha256.h"

#define HASH        METALLM__SHA256_BYTES
#define BLOCK       64u
#define DATE_CHARS  16u            /* 20150830T123600Z */
#define LAST_SECOND 253402300799LL /* of the year 9999 */
#define HEADERS     (METALLM__SIGV4_HEADERS_MAX + 2)
#define SCOPE_CHARS (8 + 1 + METALLM__SIGV4_NAME_BYTES_MAX + 1 + METALLM__SIGV4_NAME_BYTES_MAX + 13)

static void put(struct metallm__buf *out, struct metallm__span s)
{
    metallm__buf_add(out, s.p, s.n);
}

static void put_hash(struct metallm__buf *out, const uint8_t hash[HASH])
{
    char text[2 * HASH];
    for (size_t i = 0; i < HASH; i++) {
        text[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    metallm__buf_add(out, text, sizeof text);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* Percent-encodes what is neither unreserved nor in `kept`. */
static void put_encoded(struct metallm__buf *out, struct metallm__span s, const char *kept)
{
    for (size_t at = 0; at < s.n;) {
        size_t begin = at;
        while (at < s.n && (is_unreserved(s.p[at]) || (s.p[at] != '\0' && strchr(kept, s.p[at]))))
            at++;
        metallm__buf_add(out, s.p + begin, at - begin);
        if (at == s.n)
            break;
        unsigned char c = (unsigned char)s.p[at++];
        char code[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
        metallm__buf_add(out, code, 3);
    }
}

/* ---- The canonical request. ---- */

/* Takes the last segment back, down to the slash at `root`. */
static void drop_segment(struct metallm__buf *out, size_t root)
{
    while (out->len > root && out->data[--out->len] != '/')
        ;
}

/* Without empty and dot segments (RFC 3986, 5.2.4), each segment encoded once more. */
static void put_path(struct metallm__buf *out, struct metallm__span path)
{
    size_t root = out->len;
    for (size_t at = 0; at < path.n;) {
        while (at < path.n && path.p[at] == '/')
            at++;
        size_t begin = at;
        while (at < path.n && path.p[at] != '/')
            at++;
        struct metallm__span segment = {path.p + begin, at - begin};
        if (metallm__span_is(segment, "..")) {
            drop_segment(out, root);
        } else if (segment.n > 0 && !metallm__span_is(segment, ".")) {
            metallm__buf_add(out, "/", 1);
            put_encoded(out, segment, "");
        }
    }
    if (out->len == root || path.p[path.n - 1] == '/')
        metallm__buf_add(out, "/", 1);
}

struct pair {
    struct metallm__span name, value;
};

static int compare(struct metallm__span a, struct metallm__span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* The pairs of an encoded query, sorted; -1: too many. */
static int split_query(struct metallm__span query, struct pair *pairs)
{
    int count = 0;
    if (query.n == 0)
        return 0;
    for (const char *at = query.p, *end = query.p + query.n; at <= end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *name_end = equals != NULL ? equals : stop;
        const char *value = equals != NULL ? equals + 1 : stop;
        struct pair p = {{at, (size_t)(name_end - at)}, {value, (size_t)(stop - value)}};
        if (count == (int)METALLM__SIGV4_PAIRS_MAX)
            return -1;
        int i = count++;
        for (; i > 0; i--) {
            int order = compare(p.name, pairs[i - 1].name);
            if (order > 0 || (order == 0 && compare(p.value, pairs[i - 1].value) >= 0))
                break;
            pairs[i] = pairs[i - 1];
        }
        pairs[i] = p;
        at = stop + 1;
    }
    return count;
}

static int put_query(struct metallm__buf *out, struct metallm__span query, metallm_error *err)
{
    struct pair pairs[METALLM__SIGV4_PAIRS_MAX];
    struct metallm__buf encoded;
    metallm__buf_init(&encoded, out->max);
    put_encoded(&encoded, query, "%&=");
    int rc = metallm__buf_check(&encoded, err);
    int count = rc == METALLM_OK ? split_query(metallm__span(encoded.data, encoded.len), pairs) : 0;
    if (count < 0)
        rc = metallm__error_set(err, METALLM_EINVAL, "a query of more than %u parts to sign",
                                METALLM__SIGV4_PAIRS_MAX);
    for (int i = 0; i < count; i++) {
        metallm__buf_add(out, "&", i > 0);
        put(out, pairs[i].name);
        metallm__buf_add(out, "=", 1);
        put(out, pairs[i].value);
    }
    metallm__buf_fini(&encoded);
    return rc;
}

/* Headers in the order of their names; equal names stay as they came. */
struct sorted {
    struct metallm__sigv4_header at[HEADERS];
    size_t count;
    char date[DATE_CHARS];
};

static int compare_names(struct metallm__span a, struct metallm__span b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        int order = (unsigned char)metallm__lower(a.p[i]) - (unsigned char)metallm__lower(b.p[i]);
        if (order != 0)
            return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

static void insert(struct sorted *s, struct metallm__span name, struct metallm__span value)
{
    size_t i = s->count++;
    for (; i > 0 && compare_names(name, s->at[i - 1].name) < 0; i--)
        s->at[i] = s->at[i - 1];
    s->at[i] = (struct metallm__sigv4_header){name, value};
}

static void write_date(char out[DATE_CHARS], int64_t wall_s)
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    const int fields[] = {(tm.tm_year + 1900) / 100,
                          (tm.tm_year + 1900) % 100,
                          tm.tm_mon + 1,
                          tm.tm_mday,
                          tm.tm_hour,
                          tm.tm_min,
                          tm.tm_sec};
    size_t n = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (i == 4)
            out[n++] = 'T';
        out[n++] = (char)('0' + fields[i] / 10);
        out[n++] = (char)('0' + fields[i] % 10);
    }
    out[n] = 'Z';
}

static void sort_headers(struct sorted *s, const struct metallm__sigv4 *r)
{
    static const struct metallm__span date = METALLM__SPAN("x-amz-date");
    static const struct metallm__span token = METALLM__SPAN("x-amz-security-token");
    s->count = 0;
    write_date(s->date, r->wall_s);
    for (size_t i = 0; i < r->header_count; i++)
        insert(s, r->headers[i].name, r->headers[i].value);
    insert(s, date, metallm__span(s->date, sizeof s->date));
    if (r->token.n > 0)
        insert(s, token, r->token);
}

static void put_lower(struct metallm__buf *out, struct metallm__span s)
{
    char piece[64];
    for (size_t at = 0, n = 0; at < s.n; at += n) {
        for (n = 0; n < sizeof piece && at + n < s.n; n++)
            piece[n] = metallm__lower(s.p[at + n]);
        metallm__buf_add(out, piece, n);
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blanks at the ends go, and runs of them become one. */
static void put_trimmed(struct metallm__buf *out, struct metallm__span value)
{
    size_t before = out->len;
    for (size_t at = 0; at < value.n;) {
        size_t begin = at;
        while (at < value.n && !is_blank(value.p[at]))
            at++;
        metallm__buf_add(out, " ", at > begin && out->len > before);
        metallm__buf_add(out, value.p + begin, at - begin);
        while (at < value.n && is_blank(value.p[at]))
            at++;
    }
}

static void put_headers(struct metallm__buf *out, const struct sorted *s)
{
    for (size_t i = 0; i < s->count; i++) {
        bool goes_on = i > 0 && compare_names(s->at[i].name, s->at[i - 1].name) == 0;
        if (!goes_on)
            put_lower(out, s->at[i].name);
        metallm__buf_add(out, goes_on ? "," : ":", 1);
        put_trimmed(out, s->at[i].value);
        if (i + 1 == s->count || compare_names(s->at[i].name, s->at[i + 1].name) != 0)
            metallm__buf_add(out, "\n", 1);
    }
}

static void put_signed_names(struct metallm__buf *out, const struct sorted *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (i > 0 && compare_names(s->at[i].name, s->at[i - 1].name) == 0)
            continue;
        metallm__buf_add(out, ";", i > 0);
        put_lower(out, s->at[i].name);
    }
}

static int put_canonical(struct metallm__buf *out, const struct metallm__sigv4 *r,
                         const struct sorted *s, metallm_error *err)
{
    uint8_t hash[HASH];
    metallm__sha256(r->payload.p, r->payload.n, hash);
    put(out, r->method);
    metallm__buf_add(out, "\n", 1);
    put_path(out, r->path);
    metallm__buf_add(out, "\n", 1);
    int rc = put_query(out, r->query, err);
    metallm__buf_add(out, "\n", 1);
    put_headers(out, s);
    metallm__buf_add(out, "\n", 1);
    put_signed_names(out, s);
    metallm__buf_add(out, "\n", 1);
    put_hash(out, hash);
    return rc == METALLM_OK ? metallm__buf_check(out, err) : rc;
}

static bool is_within(struct metallm__span s, size_t most)
{
    return s.n > 0 && s.n <= most;
}

static int check(const struct metallm__sigv4 *r, metallm_error *err)
{
    const char *wrong = !is_within(r->key_id, METALLM__SIGV4_ID_BYTES_MAX)       ? "key's id"
                        : !is_within(r->secret, METALLM__SIGV4_SECRET_BYTES_MAX) ? "secret key"
                        : r->token.n > METALLM__SIGV4_TOKEN_BYTES_MAX            ? "session token"
                        : !is_within(r->region, METALLM__SIGV4_NAME_BYTES_MAX)   ? "region"
                        : !is_within(r->service, METALLM__SIGV4_NAME_BYTES_MAX)  ? "service"
                        : !is_within(r->method, METALLM__SIGV4_NAME_BYTES_MAX)   ? "method"
                        : r->header_count > METALLM__SIGV4_HEADERS_MAX           ? "list of headers"
                        : r->wall_s < 0 || r->wall_s > LAST_SECOND               ? "time"
                                                                                 : NULL;
    return wrong == NULL ? METALLM_OK
                         : metallm__error_set(err, METALLM_EINVAL,
                                              "the %s to sign with is missing or too long", wrong);
}

int metallm__sigv4_canonical(const struct metallm__sigv4 *r, struct metallm__buf *out,
                             metallm_error *err)
{
    struct sorted s;
    int rc = check(r, err);
    if (rc != METALLM_OK)
        return rc;
    sort_headers(&s, r);
    return put_canonical(out, r, &s, err);
}

/* ---- The signature. ---- */

/* HMAC-SHA-256 (RFC 2104) of a short message: all keys here are shorter than a block but one. */
static void hmac(uint8_t out[HASH], struct metallm__span key, struct metallm__span message)
{
    uint8_t inner[BLOCK + 512], outer[BLOCK + HASH], short_key[HASH];
    METALLM_REQUIRE(message.n <= sizeof inner - BLOCK);
    if (key.n > BLOCK) {
        metallm__sha256(key.p, key.n, short_key);
        key = metallm__span((const char *)short_key, HASH);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        uint8_t k = i < key.n ? (uint8_t)key.p[i] : 0;
        inner[i] = k ^ 0x36;
        outer[i] = k ^ 0x5c;
    }
    memcpy(inner + BLOCK, message.p, message.n);
    metallm__sha256(inner, BLOCK + message.n, outer + BLOCK);
    metallm__sha256(outer, sizeof outer, out);
    explicit_bzero(inner, sizeof inner);
    explicit_bzero(outer, sizeof outer);
    explicit_bzero(short_key, sizeof short_key);
}

static struct metallm__span of_hash(const uint8_t hash[HASH])
{
    return metallm__span((const char *)hash, HASH);
}

static void signing_key(uint8_t out[HASH], const struct metallm__sigv4 *r, const char *date)
{
    static const struct metallm__span last = METALLM__SPAN("aws4_request");
    char first[4 + METALLM__SIGV4_SECRET_BYTES_MAX] = "AWS4";
    uint8_t by_date[HASH], by_region[HASH], by_service[HASH];
    memcpy(first + 4, r->secret.p, r->secret.n);
    hmac(by_date, metallm__span(first, 4 + r->secret.n), metallm__span(date, 8));
    hmac(by_region, of_hash(by_date), r->region);
    hmac(by_service, of_hash(by_region), r->service);
    hmac(out, of_hash(by_service), last);
    explicit_bzero(first, sizeof first);
    explicit_bzero(by_date, sizeof by_date);
    explicit_bzero(by_region, sizeof by_region);
    explicit_bzero(by_service, sizeof by_service);
}

/* "20150830/us-east-1/service/aws4_request" */
static void put_scope(struct metallm__buf *out, const struct metallm__sigv4 *r, const char *date)
{
    metallm__buf_add(out, date, 8);
    metallm__buf_add(out, "/", 1);
    put(out, r->region);
    metallm__buf_add(out, "/", 1);
    put(out, r->service);
    metallm__buf_puts(out, "/aws4_request");
}

/* Of a canonical request. */
static int signature(uint8_t out[HASH], const struct metallm__sigv4 *r, const char *date,
                     struct metallm__span canonical, metallm_error *err)
{
    uint8_t hash[HASH], key[HASH];
    struct metallm__buf text; /* the string to sign */
    metallm__buf_init(&text, 18 + DATE_CHARS + 1 + SCOPE_CHARS + 1 + 2 * HASH);
    metallm__sha256(canonical.p, canonical.n, hash);
    metallm__buf_puts(&text, "AWS4-HMAC-SHA256\n");
    metallm__buf_add(&text, date, DATE_CHARS);
    metallm__buf_add(&text, "\n", 1);
    put_scope(&text, r, date);
    metallm__buf_add(&text, "\n", 1);
    put_hash(&text, hash);
    int rc = metallm__buf_check(&text, err);
    if (rc == METALLM_OK) {
        signing_key(key, r, date);
        hmac(out, of_hash(key), metallm__span(text.data, text.len));
        explicit_bzero(key, sizeof key);
    }
    metallm__buf_fini(&text);
    return rc;
}

/* A buffer that never moves, so that no copy of what it holds is left behind. */
static int make_block(struct metallm__buf *b, const struct metallm__sigv4 *r, metallm_error *err)
{
    size_t room = 1024 + 3 * r->path.n + 4 * r->query.n + r->token.n;
    for (size_t i = 0; i < r->header_count; i++)
        room += 2 * r->headers[i].name.n + r->headers[i].value.n + 4;
    metallm__buf_init(b, room);
    b->data = metallm__alloc(room + 1, 1);
    b->cap = b->data != NULL ? room + 1 : 0;
    return b->data != NULL ? METALLM_OK : metallm__error_nomem(err, "a signature");
}

int metallm__sigv4_sign(const struct metallm__sigv4 *r, struct metallm__buf *lines,
                        metallm_error *err)
{
    struct metallm__buf canonical;
    struct sorted s;
    uint8_t signed_by[HASH];
    int rc = check(r, err);
    if (rc == METALLM_OK)
        rc = make_block(&canonical, r, err);
    if (rc != METALLM_OK)
        return rc;
    sort_headers(&s, r);
    rc = put_canonical(&canonical, r, &s, err);
    if (rc == METALLM_OK)
        rc = signature(signed_by, r, s.date, metallm__span(canonical.data, canonical.len), err);
    explicit_bzero(canonical.data, canonical.cap);
    metallm__buf_fini(&canonical);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_puts(lines, "x-amz-date: ");
    metallm__buf_add(lines, s.date, sizeof s.date);
    if (r->token.n > 0) {
        metallm__buf_puts(lines, "\r\nx-amz-security-token: ");
        put(lines, r->token);
    }
    metallm__buf_puts(lines, "\r\nauthorization: AWS4-HMAC-SHA256 Credential=");
    put(lines, r->key_id);
    metallm__buf_add(lines, "/", 1);
    put_scope(lines, r, s.date);
    metallm__buf_puts(lines, ", SignedHeaders=");
    put_signed_names(lines, &s);
    metallm__buf_puts(lines, ", Signature=");
    put_hash(lines, signed_by);
    metallm__buf_puts(lines, "\r\n");
    return metallm__buf_check(lines, err);
}
