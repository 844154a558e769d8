/* SPDX-License-Identifier: Apache-2.0
 * aws_endpoints.c - keys for AWS out of the endpoints that containers and instances have, over
 * libcurl: few calls, far apart, by a thread that may wait. Redirections are not followed and no
 * proxy is asked, as either would learn the keys. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "upstream/aws_places.h"

#define URL_BYTES_MAX    2048u
#define HEADER_BYTES_MAX 8192u
#define ROLE_BYTES_MAX   256u

static pthread_once_t curl_started = PTHREAD_ONCE_INIT;
static CURLcode curl_start_result;

static void start_curl(void)
{
    curl_start_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- One call. ---- */

static size_t take_bytes(char *bytes, size_t size, size_t count, void *payload)
{
    struct metallm__buf *body = payload;
    metallm__buf_add(body, bytes, size * count);
    return body->failed ? 0 : size * count; /* 0 makes curl stop */
}

static int look_up(void *payload, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct metallm__aws_search *s = payload;
    (void)a, (void)b, (void)c, (void)d;
    return s->is_stopped != NULL && atomic_load(s->is_stopped) ? 1 : 0;
}

static CURLcode set_up(CURL *h, const struct metallm__aws_search *s, struct metallm__aws_call *call,
                       struct curl_slist *headers)
{
    CURLcode c = curl_easy_setopt(h, CURLOPT_URL, call->url);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_PROXY, "");
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)s->timeout_ms);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    c = c != CURLE_OK || !call->is_put ? c : curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, "PUT");
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_bytes);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_WRITEDATA, &call->body);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, look_up);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_XFERINFODATA, (void *)(uintptr_t)s);
    return c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_USERAGENT, "metallm/" METALLM_VERSION);
}

/* One block from the start: what grows leaves copies behind. */
static int make_room(struct metallm__buf *b, metallm_error *err)
{
    metallm__buf_init(b, METALLM__AWS_ANSWER_BYTES_MAX);
    b->data = metallm__alloc(METALLM__AWS_ANSWER_BYTES_MAX + YYJSON_PADDING_SIZE, 1);
    b->cap = b->data != NULL ? METALLM__AWS_ANSWER_BYTES_MAX + YYJSON_PADDING_SIZE : 0;
    return b->data != NULL ? METALLM_OK : metallm__error_nomem(err, "an answer");
}

void metallm__aws_call_wipe(struct metallm__aws_call *call)
{
    if (call->body.data != NULL)
        explicit_bzero(call->body.data, call->body.cap);
    metallm__buf_fini(&call->body);
}

static int tell_failure(CURLcode c, const struct metallm__aws_call *call, metallm_error *err)
{
    if (c == CURLE_OUT_OF_MEMORY)
        return metallm__error_nomem(err, "a call for AWS credentials");
    return metallm__error_set(err, c == CURLE_OPERATION_TIMEDOUT ? METALLM_ETIMEOUT : METALLM_EIO,
                              "cannot read '%.100s': %s", call->url, curl_easy_strerror(c));
}

int metallm__aws_get(const struct metallm__aws_search *s, struct metallm__aws_call *call,
                     metallm_error *err)
{
    struct curl_slist *headers = NULL;
    pthread_once(&curl_started, start_curl);
    int rc = make_room(&call->body, err);
    if (rc != METALLM_OK)
        return rc;
    CURL *h = curl_start_result == CURLE_OK ? curl_easy_init() : NULL;
    if (call->header != NULL)
        headers = curl_slist_append(NULL, call->header);
    CURLcode c = h == NULL || (call->header != NULL && headers == NULL)
                     ? CURLE_OUT_OF_MEMORY
                     : set_up(h, s, call, headers);
    if (c == CURLE_OK)
        c = curl_easy_perform(h);
    if (c == CURLE_OK)
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &call->status);
    if (headers != NULL)
        explicit_bzero(headers->data, strlen(headers->data));
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return c == CURLE_OK ? METALLM_OK : tell_failure(c, call, err);
}

static int check_status(const struct metallm__aws_call *call, metallm_error *err)
{
    return call->status == 200 ? METALLM_OK
                               : metallm__error_set(err, METALLM_EIO, "'%.100s' answered HTTP %ld",
                                                    call->url, call->status);
}

/* ---- What both endpoints answer. ---- */

static struct metallm__span member(yyjson_val *root, const char *name)
{
    yyjson_val *v = yyjson_obj_get(root, name);
    return metallm__span(yyjson_get_str(v), yyjson_is_str(v) ? yyjson_get_len(v) : 0);
}

/* "2026-11-29T20:00:00Z"; 0: none. */
static int64_t read_time(struct metallm__span text)
{
    char copy[20];
    struct tm tm = {0};
    if (text.n < sizeof copy)
        return 0;
    memcpy(copy, text.p, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    const char *end = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    return end != NULL && *end == '\0' && text.p[text.n - 1] == 'Z' ? (int64_t)timegm(&tm) : 0;
}

/* Parsed where it lies, so that no copy is left behind. */
static int read_keys(struct metallm__aws_call *call, enum metallm__aws_provider provider,
                     struct metallm__aws_found *out, metallm_error *err)
{
    yyjson_read_err why = {0};
    memset(call->body.data + call->body.len, 0, YYJSON_PADDING_SIZE);
    yyjson_doc *doc = yyjson_read_opts(call->body.data, call->body.len, YYJSON_READ_INSITU,
                                       &metallm__json_alc, &why);
    if (doc == NULL && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return metallm__error_nomem(err, "AWS credentials");
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct metallm__span code = member(root, "Code");
    const struct metallm__wire_aws_keys keys = {.id = member(root, "AccessKeyId"),
                                                .secret = member(root, "SecretAccessKey"),
                                                .token = member(root, "Token")};
    int rc;
    if (!yyjson_is_obj(root) || (code.n > 0 && !metallm__span_is(code, "Success")))
        rc =
            metallm__error_set(err, METALLM_EFORMAT, "'%.100s' gave no AWS credentials", call->url);
    else
        rc = metallm__aws_found_set(out, provider, &keys, err);
    if (rc == METALLM_OK)
        out->expires_s = read_time(member(root, "Expiration"));
    yyjson_doc_free(doc);
    return rc;
}

static int fetch_keys(const struct metallm__aws_search *s, const char *url, const char *header,
                      enum metallm__aws_provider provider, struct metallm__aws_found *out,
                      metallm_error *err)
{
    struct metallm__aws_call call = {.url = url, .header = header};
    int rc = metallm__aws_get(s, &call, err);
    if (rc == METALLM_OK)
        rc = check_status(&call, err);
    if (rc == METALLM_OK)
        rc = read_keys(&call, provider, out, err);
    metallm__aws_call_wipe(&call);
    return rc;
}

/* ---- Containers. ---- */

/* Over plain HTTP the token goes to this machine or to the endpoints of ECS and EKS alone. */
static bool is_host_allowed(const char *host)
{
    static const char *const known[] = {"localhost", "169.254.170.2", "169.254.170.23",
                                        "fd00:ec2::23"};
    struct in_addr v4;
    struct in6_addr v6;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(host, known[i]) == 0)
            return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int check_url(const char *url, metallm_error *err)
{
    char host[256] = "";
    CURLU *parts = curl_url();
    char *scheme = NULL, *text = NULL, *user = NULL;
    bool is_url = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                  curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  curl_url_get(parts, CURLUPART_HOST, &text, 0) == CURLUE_OK &&
                  curl_url_get(parts, CURLUPART_USER, &user, 0) != CURLUE_OK;
    bool is_tls = is_url && strcmp(scheme, "https") == 0;
    if (is_url) { /* an IPv6 address has its brackets */
        bool is_ipv6 = text[0] == '[';
        snprintf(host, sizeof host, "%s", text + is_ipv6);
        host[is_ipv6 ? strcspn(host, "]") : strlen(host)] = '\0';
    }
    is_url = is_url && (is_tls || strcmp(scheme, "http") == 0);
    curl_free(scheme);
    curl_free(text);
    curl_free(user);
    curl_url_cleanup(parts);
    if (!is_url)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "AWS_CONTAINER_CREDENTIALS_FULL_URI is no http(s) URL");
    return is_tls || is_host_allowed(host)
               ? METALLM_OK
               : metallm__error_set(err, METALLM_EINVAL,
                                    "AWS_CONTAINER_CREDENTIALS_FULL_URI names '%.64s', which is "
                                    "neither https nor this machine",
                                    host);
}

/* "authorization: TOKEN" into header, which is of HEADER_BYTES_MAX; "" where none is set. */
static int write_token(const struct metallm__aws_search *s, char *header, metallm_error *err)
{
    const char *token = metallm__aws_variable(s, METALLM__AWS_CONTAINER_TOKEN);
    const char *file = metallm__aws_variable(s, METALLM__AWS_CONTAINER_TOKEN_FILE);
    struct metallm__map map = {0};
    struct metallm__span text = metallm__span_of(token);
    header[0] = '\0';
    if (file[0] != '\0') {
        int rc = metallm__map_open(&map, file, err);
        if (rc != METALLM_OK)
            return rc;
        text = metallm__span(map.bytes, map.len);
        while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
            text.n--;
    }
    bool is_plain = text.n + 32 < HEADER_BYTES_MAX;
    for (size_t i = 0; i < text.n && is_plain; i++)
        is_plain = text.p[i] >= ' ' && text.p[i] <= '~';
    if (is_plain && text.n > 0)
        snprintf(header, HEADER_BYTES_MAX, "authorization: %.*s", (int)text.n, text.p);
    metallm__map_close(&map);
    return is_plain ? METALLM_OK
                    : metallm__error_set(err, METALLM_EINVAL,
                                         "the container's authorization token is too long, or "
                                         "holds control characters");
}

int metallm__aws_from_container(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                                metallm_error *err)
{
    const char *relative = metallm__aws_variable(s, METALLM__AWS_RELATIVE_URI);
    const char *full = metallm__aws_variable(s, METALLM__AWS_FULL_URI);
    char url[URL_BYTES_MAX], header[HEADER_BYTES_MAX];
    bool is_relative = relative[0] != '\0';
    if (!is_relative && full[0] == '\0')
        return METALLM_ENOTFOUND;
    int n = snprintf(url, sizeof url, "%s%s", is_relative ? "http://169.254.170.2" : "",
                     is_relative ? relative : full);
    if (n < 0 || (size_t)n >= sizeof url || (is_relative && relative[0] != '/'))
        return metallm__error_set(err, METALLM_EINVAL, "the container's URI is malformed");
    int rc = is_relative ? METALLM_OK : check_url(url, err);
    if (rc == METALLM_OK)
        rc = write_token(s, header, err);
    if (rc == METALLM_OK)
        rc =
            fetch_keys(s, url, header[0] != '\0' ? header : NULL, METALLM__AWS_CONTAINER, out, err);
    explicit_bzero(header, sizeof header);
    return rc == METALLM_ENOTFOUND ? METALLM_EIO : rc; /* it was named: the search ends here */
}

/* ---- Instances. ---- */

/* The session's token as a header, "x-aws-ec2-metadata-token: TOKEN". */
static int begin_session(const struct metallm__aws_search *s, const char *base, char *header,
                         metallm_error *err)
{
    char url[URL_BYTES_MAX];
    snprintf(url, sizeof url, "%s/latest/api/token", base);
    struct metallm__aws_call call = {
        .url = url, .is_put = true, .header = "x-aws-ec2-metadata-token-ttl-seconds: 21600"};
    int rc = metallm__aws_get(s, &call, err);
    if (rc == METALLM_OK)
        rc = check_status(&call, err);
    bool is_plain = rc == METALLM_OK && call.body.len > 0 && call.body.len + 64 < HEADER_BYTES_MAX;
    for (size_t i = 0; i < call.body.len && is_plain; i++)
        is_plain = call.body.data[i] > ' ' && call.body.data[i] <= '~';
    if (is_plain)
        snprintf(header, HEADER_BYTES_MAX, "x-aws-ec2-metadata-token: %.*s", (int)call.body.len,
                 call.body.data);
    else if (rc == METALLM_OK)
        rc = metallm__error_set(err, METALLM_EFORMAT, "'%.100s' gave no token", url);
    metallm__aws_call_wipe(&call);
    return rc;
}

/* The name of the instance's role, the first line that is told. */
static int find_role(const struct metallm__aws_search *s, const char *url, const char *header,
                     char role[ROLE_BYTES_MAX], metallm_error *err)
{
    struct metallm__aws_call call = {.url = url, .header = header};
    int rc = metallm__aws_get(s, &call, err);
    if (rc == METALLM_OK)
        rc = check_status(&call, err);
    size_t n = 0;
    while (rc == METALLM_OK && n < call.body.len && call.body.data[n] > ' ' &&
           call.body.data[n] <= '~' && strchr("/?#%", call.body.data[n]) == NULL)
        n++;
    if (rc == METALLM_OK && (n == 0 || n >= ROLE_BYTES_MAX))
        rc = metallm__error_set(err, METALLM_EFORMAT, "this instance has no role");
    if (rc == METALLM_OK)
        memcpy(role, call.body.data, n);
    role[rc == METALLM_OK ? n : 0] = '\0';
    metallm__aws_call_wipe(&call);
    return rc;
}

static const char *instance_base(const struct metallm__aws_search *s)
{
    const char *named = metallm__aws_variable(s, METALLM__AWS_METADATA_ENDPOINT);
    if (named[0] != '\0')
        return named;
    return strcasecmp(metallm__aws_variable(s, METALLM__AWS_METADATA_MODE), "ipv6") == 0
               ? "http://[fd00:ec2::254]"
               : "http://169.254.169.254";
}

int metallm__aws_from_instance(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                               metallm_error *err)
{
    static const char place[] = "/latest/meta-data/iam/security-credentials/";
    char base[URL_BYTES_MAX / 2], url[URL_BYTES_MAX], role[ROLE_BYTES_MAX],
        header[HEADER_BYTES_MAX];
    if (strcasecmp(metallm__aws_variable(s, METALLM__AWS_METADATA_DISABLED), "true") == 0)
        return METALLM_ENOTFOUND;
    int n = snprintf(base, sizeof base, "%s", instance_base(s));
    if (n < 0 || (size_t)n >= sizeof base)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
    while (n > 0 && base[n - 1] == '/')
        base[--n] = '\0';
    int rc = begin_session(s, base, header, err);
    if (rc == METALLM_OK) {
        snprintf(url, sizeof url, "%s%s", base, place);
        rc = find_role(s, url, header, role, err);
    }
    if (rc == METALLM_OK) {
        snprintf(url, sizeof url, "%s%s%s", base, place, role);
        rc = fetch_keys(s, url, header, METALLM__AWS_INSTANCE, out, err);
    }
    explicit_bzero(header, sizeof header);
    return rc;
}
