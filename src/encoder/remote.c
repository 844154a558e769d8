/* SPDX-License-Identifier: Apache-2.0
 * remote.c - the backend "remote": embeddings from an OpenAI-compatible endpoint, over libcurl.
 * Connections are kept for reuse; redirects are not followed (they would carry the key elsewhere).
 * remote_wire.c reads and writes the bytes. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "encoder/backend.h"
#include "encoder/remote.h"

#define IDLE_HANDLES     16u
#define WAIT_MS_MAX      20000u /* between attempts, also where Retry-After asks for more */
#define KEY_BYTES_MAX    4096u
#define BYTES_PER_NUMBER 32u
#define BYTES_BESIDE     65536u

struct remote {
    metallm_remote_options opts; /* every number set, texts below */
    char *url, *model, *key;     /* key: NULL without one */
    struct curl_slist *headers;
    uint32_t dim;
    pthread_mutex_t lock; /* of idle and jitter */
    bool has_lock;
    CURL *idle[IDLE_HANDLES];
    uint32_t idle_count;
    metallm_rng jitter;
};

static pthread_once_t curl_started = PTHREAD_ONCE_INIT;
static CURLcode curl_start_result;

static void start_curl(void)
{
    curl_start_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- one attempt ---- */

static size_t take_bytes(char *bytes, size_t size, size_t count, void *payload)
{
    struct metallm__buf *body = payload;
    metallm__buf_add(body, bytes, size * count);
    return body->failed ? 0 : size * count; /* 0 makes curl stop */
}

static CURL *handle_take(struct remote *r)
{
    CURL *h = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->idle_count > 0)
        h = r->idle[--r->idle_count];
    pthread_mutex_unlock(&r->lock);
    return h != NULL ? h : curl_easy_init();
}

static void handle_give(struct remote *r, CURL *h)
{
    pthread_mutex_lock(&r->lock);
    bool is_kept = r->idle_count < IDLE_HANDLES;
    if (is_kept)
        r->idle[r->idle_count++] = h;
    pthread_mutex_unlock(&r->lock);
    if (!is_kept)
        curl_easy_cleanup(h);
}

struct attempt {
    const struct metallm__buf *request;
    struct metallm__buf body;
    CURLcode code;
    long status;
    uint64_t retry_after_ms; /* 0: not said */
    char why[CURL_ERROR_SIZE];
};

static int set_up(CURL *h, const struct remote *r, struct attempt *a)
{
    curl_easy_reset(h);
    CURLcode c = CURLE_OK;
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_URL, r->url);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)r->opts.timeout_ms);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_HTTPHEADER, r->headers);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_POSTFIELDS, a->request->data);
    c = c != CURLE_OK
            ? c
            : curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->request->len);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_bytes);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_WRITEDATA, &a->body);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_ERRORBUFFER, a->why);
    c = c != CURLE_OK ? c : curl_easy_setopt(h, CURLOPT_USERAGENT, "metallm/" METALLM_VERSION);
    return c == CURLE_OK ? METALLM_OK : METALLM_ENOMEM;
}

static int attempt(struct remote *r, struct attempt *a, metallm_error *err)
{
    metallm__buf_clear(&a->body);
    a->body.failed = false;
    a->why[0] = '\0';
    a->status = 0;
    CURL *h = handle_take(r);
    if (h == NULL || set_up(h, r, a) != METALLM_OK) {
        curl_easy_cleanup(h);
        return metallm__error_nomem(err, "a request for embeddings");
    }
    a->code = curl_easy_perform(h);
    curl_off_t wait_s = 0;
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_getinfo(h, CURLINFO_RETRY_AFTER, &wait_s);
    a->retry_after_ms = wait_s > 0 && wait_s < 1000000 ? (uint64_t)wait_s * 1000 : 0;
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, NULL);
    handle_give(r, h);
    return METALLM_OK;
}

/* ---- what came of it ---- */

static bool is_worth_another(const struct attempt *a)
{
    if (a->code != CURLE_OK)
        return a->code != CURLE_WRITE_ERROR && a->code != CURLE_URL_MALFORMAT &&
               a->code != CURLE_UNSUPPORTED_PROTOCOL && a->code != CURLE_PEER_FAILED_VERIFICATION;
    return a->status == 429 || a->status == 408 || a->status >= 500;
}

static int transport_failed(const struct remote *r, const struct attempt *a, metallm_error *err)
{
    if (a->code == CURLE_WRITE_ERROR && a->body.failed) {
        int rc = metallm__buf_check(&a->body, err);
        return rc != METALLM_ELIMIT
                   ? rc
                   : metallm__error_set(err, rc, "'%s' sent more than %zu bytes for one batch",
                                        r->url, a->body.max);
    }
    if (a->code == CURLE_OPERATION_TIMEDOUT)
        return metallm__error_set(err, METALLM_ETIMEOUT, "'%s' did not answer within %u ms", r->url,
                                  r->opts.timeout_ms);
    return metallm__error_set(err, METALLM_EIO, "cannot reach '%s': %s", r->url,
                              a->why[0] != '\0' ? a->why : curl_easy_strerror(a->code));
}

static int status_to_code(long status)
{
    switch (status) {
    case 400:
    case 413:
    case 422:
        return METALLM_EINVAL;
    case 404:
        return METALLM_ENOTFOUND;
    case 429:
        return METALLM_EBUSY;
    default:
        return METALLM_EIO;
    }
}

static int check_status(const struct remote *r, const struct attempt *a, metallm_error *err)
{
    if (a->code != CURLE_OK)
        return transport_failed(r, a, err);
    if (a->status == 200)
        return METALLM_OK;
    if (a->status == 401 || a->status == 403) /* their bodies tend to repeat the key */
        return metallm__error_set(err, METALLM_EIO, "'%s' refused the key (HTTP %ld)", r->url,
                                  a->status);
    char said[120];
    metallm__remote_complaint(a->body.data, a->body.len, r->key, said, sizeof said);
    return metallm__error_set(err, status_to_code(a->status), "'%s' answered HTTP %ld%s%s", r->url,
                              a->status, said[0] != '\0' ? ": " : "", said);
}

/* Exponential back-off with full jitter over its upper half; the endpoint's own word counts more.
 */
static void wait_before(struct remote *r, uint32_t attempts_made, const struct attempt *a)
{
    uint64_t ms = (uint64_t)r->opts.backoff_ms << (attempts_made < 16 ? attempts_made - 1 : 15);
    pthread_mutex_lock(&r->lock);
    ms = ms / 2 + (uint64_t)((double)ms / 2 * metallm__rng_uniform(&r->jitter));
    pthread_mutex_unlock(&r->lock);
    if (a->code == CURLE_OK && a->retry_after_ms > ms)
        ms = a->retry_after_ms;
    ms = ms > WAIT_MS_MAX ? WAIT_MS_MAX : ms;
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0)
        ;
}

static int exchange(struct remote *r, struct attempt *a, metallm_error *err)
{
    for (uint32_t made = 1;; made++) {
        int rc = attempt(r, a, err);
        if (rc != METALLM_OK)
            return rc;
        rc = check_status(r, a, err);
        if (rc == METALLM_OK || made >= r->opts.attempts || !is_worth_another(a))
            return rc != METALLM_OK && made > 1
                       ? metallm__error_prefix(err, rc, "%u attempts", made)
                       : rc;
        wait_before(r, made, a);
    }
}

/* count texts, at most a batch, into rows of out; dim 0: finds the dimension out. */
static int fetch(struct remote *r, const char *const *texts, const size_t *lens, size_t count,
                 uint32_t *dim, float *out, size_t stride, metallm_error *err)
{
    struct metallm__buf request;
    metallm__buf_init(&request, count * ((size_t)r->opts.text_bytes * 6 + 8) + BYTES_BESIDE);
    struct attempt a = {.request = &request};
    size_t numbers = count * (*dim != 0 ? *dim : METALLM__REMOTE_DIM_MAX);
    metallm__buf_init(&a.body, numbers * BYTES_PER_NUMBER + BYTES_BESIDE);
    int rc =
        metallm__remote_request(&request, r->model, texts, lens, count, r->opts.text_bytes, err);
    if (rc == METALLM_OK)
        rc = exchange(r, &a, err);
    if (rc == METALLM_OK)
        rc = metallm__remote_answer(a.body.data, a.body.len, count, dim, out, stride, err);
    metallm__buf_fini(&a.body);
    metallm__buf_fini(&request);
    return rc;
}

static int embed(void *state, const struct metallm__embed_job *job, metallm_error *err)
{
    struct remote *r = state;
    uint32_t dim = r->dim;
    for (size_t at = 0; at < job->count; at += r->opts.batch) {
        size_t count = job->count - at < r->opts.batch ? job->count - at : r->opts.batch;
        int rc = fetch(r, job->texts + at, job->lens + at, count, &dim,
                       job->head + at * job->stride, job->stride, err);
        if (rc != METALLM_OK)
            return rc;
    }
    if (job->tokens != NULL)
        memset(job->tokens, 0, job->count * sizeof *job->tokens); /* endpoints count batches */
    return METALLM_OK;
}

/* ---- open ---- */

static const char *first_of(const char *a, const char *b, const char *variable)
{
    if (a != NULL && a[0] != '\0')
        return a;
    if (b != NULL && b[0] != '\0')
        return b;
    const char *from = getenv(variable);
    return from != NULL && from[0] != '\0' ? from : NULL;
}

static int make_url(struct remote *r, const char *base, metallm_error *err)
{
    if (base == NULL)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the remote encoder needs an endpoint: --weights URL or "
                                  "METALLM_EMBEDDINGS_URL");
    if (strncasecmp(base, "http://", 7) != 0 && strncasecmp(base, "https://", 8) != 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the remote encoder's endpoint '%s' is not an http(s) URL", base);
    const char *host = strstr(base, "//") + 2;
    if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the remote encoder's endpoint may not hold a user or password: "
                                  "the key goes into METALLM_EMBEDDINGS_KEY");
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    struct metallm__buf url;
    metallm__buf_init(&url, 8192);
    metallm__buf_add(&url, base, len);
    if (len < 11 || memcmp(base + len - 11, "/embeddings", 11) != 0)
        metallm__buf_puts(&url, "/embeddings");
    int rc = metallm__buf_check(&url, err);
    if (rc == METALLM_OK && (r->url = metallm__strdup(url.data)) == NULL)
        rc = metallm__error_nomem(err, "a URL");
    metallm__buf_fini(&url);
    return rc;
}

/* The key, from the options, the environment or a file; its text appears in no message. */
static int make_key(struct remote *r, const metallm_remote_options *o, metallm_error *err)
{
    const char *key = first_of(o->key, NULL, "METALLM_EMBEDDINGS_KEY");
    const char *file = first_of(o->key_file, NULL, "METALLM_EMBEDDINGS_KEY_FILE");
    size_t len = key != NULL ? strlen(key) : 0;
    struct metallm__map map = {0};
    if (key == NULL && file != NULL) {
        int rc = metallm__map_open(&map, file, err);
        if (rc != METALLM_OK)
            return rc;
        key = map.bytes;
        while (len < map.len && key[len] != '\n' && key[len] != '\r')
            len++;
    }
    int rc = METALLM_OK;
    bool is_plain = len <= KEY_BYTES_MAX;
    for (size_t i = 0; i < len && is_plain; i++)
        is_plain = key[i] > ' ' && key[i] <= '~';
    if (!is_plain || (key != NULL && len == 0))
        rc = metallm__error_set(err, METALLM_EINVAL,
                                "the embeddings key is empty, too long, or holds blanks or control "
                                "characters");
    else if (key != NULL && (r->key = metallm__strndup(key, len)) == NULL)
        rc = metallm__error_nomem(err, "a key");
    metallm__map_close(&map);
    return rc;
}

static int make_headers(struct remote *r, metallm_error *err)
{
    r->headers = curl_slist_append(NULL, "Content-Type: application/json");
    int rc = r->headers != NULL ? METALLM_OK : METALLM_ENOMEM;
    if (rc == METALLM_OK && r->key != NULL) {
        struct metallm__buf line;
        metallm__buf_init(&line, KEY_BYTES_MAX + 64);
        metallm__buf_printf(&line, "Authorization: Bearer %s", r->key);
        struct curl_slist *longer = line.failed ? NULL : curl_slist_append(r->headers, line.data);
        if (line.data != NULL)
            explicit_bzero(line.data, line.len);
        metallm__buf_fini(&line);
        rc = longer != NULL ? METALLM_OK : METALLM_ENOMEM;
    }
    return rc == METALLM_OK ? rc : metallm__error_nomem(err, "request headers");
}

static int check_numbers(metallm_remote_options *o, metallm_error *err)
{
    o->timeout_ms = o->timeout_ms == 0 ? 30000 : o->timeout_ms;
    o->attempts = o->attempts == 0 ? 4 : o->attempts;
    o->backoff_ms = o->backoff_ms == 0 ? 250 : o->backoff_ms;
    o->batch = o->batch == 0 ? 64 : o->batch;
    o->text_bytes = o->text_bytes == 0 ? 16384 : o->text_bytes;
    if (o->batch > METALLM__REMOTE_BATCH_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u texts in one request: the limit is %u",
                                  o->batch, METALLM__REMOTE_BATCH_MAX);
    if (o->text_bytes < 4 || o->text_bytes > (1u << 24) || o->attempts > 20)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the remote encoder takes 4 to 16777216 bytes of a text and at "
                                  "most 20 attempts");
    return METALLM_OK;
}

static int set_options(struct remote *r, const metallm_encoder_options *opts,
                       struct metallm__backend_facts *facts, metallm_error *err)
{
    if (opts->precision != NULL && strcmp(opts->precision, "auto") != 0 &&
        strcmp(opts->precision, "fp32") != 0)
        return metallm__error_set(err, METALLM_EINVAL, "a remote encoder has no precision '%s'",
                                  opts->precision);
    r->opts = opts->remote != NULL ? *opts->remote : (metallm_remote_options){0};
    const char *colon = opts->name != NULL ? strchr(opts->name, ':') : NULL;
    const char *model =
        first_of(r->opts.model, colon != NULL ? colon + 1 : NULL, "METALLM_EMBEDDINGS_MODEL");
    if (model == NULL)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the remote encoder needs a model: --encoder remote:MODEL or "
                                  "METALLM_EMBEDDINGS_MODEL");
    int n = snprintf(facts->id, sizeof facts->id, "remote:%s/fp32", model);
    if (n < 0 || (size_t)n >= sizeof facts->id)
        return metallm__error_set(err, METALLM_EINVAL, "the model's name '%.60s...' is too long",
                                  model);
    if ((r->model = metallm__strdup(model)) == NULL)
        return metallm__error_nomem(err, "a model's name");
    int rc = check_numbers(&r->opts, err);
    if (rc == METALLM_OK)
        rc = make_url(r, first_of(r->opts.url, opts->path, "METALLM_EMBEDDINGS_URL"), err);
    if (rc == METALLM_OK)
        rc = make_key(r, &r->opts, err);
    return rc == METALLM_OK ? make_headers(r, err) : rc;
}

static void remote_free(void *state)
{
    struct remote *r = state;
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->idle_count; i++)
        curl_easy_cleanup(r->idle[i]);
    if (r->key != NULL)
        explicit_bzero(r->key, strlen(r->key));
    for (struct curl_slist *h = r->headers; h != NULL; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(r->headers);
    metallm__free(r->key);
    metallm__free(r->model);
    metallm__free(r->url);
    if (r->has_lock)
        pthread_mutex_destroy(&r->lock);
    metallm__free(r);
}

/* Asks for one embedding: the endpoint, the key and the model are right, and the dimension is
 * known.
 */
static int remote_open(void **state, const metallm_encoder_options *opts,
                       struct metallm__backend_facts *facts, metallm_error *err)
{
    pthread_once(&curl_started, start_curl);
    if (curl_start_result != CURLE_OK)
        return metallm__error_set(err, METALLM_EIO, "libcurl cannot start: %s",
                                  curl_easy_strerror(curl_start_result));
    struct remote *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "a remote encoder");
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0)
        seed = (uint64_t)(uintptr_t)r; /* of the waiting times alone */
    metallm_rng_seed(&r->jitter, seed);
    r->has_lock = pthread_mutex_init(&r->lock, NULL) == 0;
    int rc = r->has_lock ? set_options(r, opts, facts, err) : METALLM_ENOMEM;
    if (rc == METALLM_OK)
        rc = fetch(r, (const char *const[]){"dimension"}, (const size_t[]){9}, 1, &r->dim, NULL, 0,
                   err);
    if (rc != METALLM_OK) {
        remote_free(r);
        return rc;
    }
    facts->dim = r->dim;
    facts->has_tail = false;
    *state = r;
    return METALLM_OK;
}

const struct metallm__backend metallm__backend_remote = {
    .name = "remote",
    .help = "an OpenAI-compatible embeddings endpoint: remote:MODEL, its URL as --weights",
    .open = remote_open,
    .free = remote_free,
    .embed = embed,
};
