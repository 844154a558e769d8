/* SPDX-License-Identifier: Apache-2.0
 * test_remote.c - the remote encoder against a real HTTP server that is right, slow, dead, busy,
 * wrong or hostile. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "encoder/backend.h"
#include "encoder/remote.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/http_server.h"

#include <yyjson.h>

#define KEY "sk-very-secret-123"

/* What the server does with request number n; the first request of an open asks for the dimension.
 */
struct script {
    struct http_server server;
    int fail_first, fail_status; /* so many requests get this status; 0: connection closed */
    const char *extra;
    const char *body;   /* sent as it is after the probe; NULL: real embeddings */
    size_t body_len;    /* 0: strlen(body) */
    bool body_at_probe; /* also for the first request */
    int delay_ms;
    uint32_t dim;
    size_t texts;            /* seen */
    char last_text[64];      /* of the last request */
    bool has_key, has_model; /* so far, in every request */
};

/* Embedding of a text: {its length, its first byte, 1, 1, ...}, in reverse order of the texts. */
static void answer_well(struct script *s, int fd, yyjson_val *input)
{
    char *out = malloc(4u << 20);
    size_t used = (size_t)sprintf(out, "{\"object\":\"list\",\"data\":["),
           count = yyjson_arr_size(input);
    for (size_t i = count; i-- > 0;) {
        const char *text = yyjson_get_str(yyjson_arr_get(input, i));
        used += (size_t)sprintf(out + used, "%s{\"index\":%zu,\"embedding\":[%zu,%d",
                                i + 1 < count ? "," : "", i, strlen(text), text[0]);
        for (uint32_t d = 2; d < s->dim; d++)
            used += (size_t)sprintf(out + used, ",1.0");
        used += (size_t)sprintf(out + used, "]}");
    }
    used += (size_t)sprintf(out + used, "],\"usage\":{\"prompt_tokens\":3}}");
    http_answer(fd, 200, "", out, used);
    free(out);
}

static const char refusal[] = "{\"error\":{\"message\":\"said\\u0007 no\"}}";

static void handle(void *payload, int fd, const struct http_request *r)
{
    struct script *s = payload;
    s->has_key = s->has_key && strstr(r->head, "Authorization: Bearer " KEY) != NULL;
    if (s->delay_ms > 0 && r->number > 0)
        nanosleep(&(struct timespec){s->delay_ms / 1000, s->delay_ms % 1000 * 1000000L}, NULL);
    if (r->number >= 1 && (int)r->number <= s->fail_first) {
        if (s->fail_status != 0)
            http_answer(fd, s->fail_status, s->extra != NULL ? s->extra : "", refusal,
                        strlen(refusal));
        return;
    }
    if (s->body != NULL && (r->number > 0 || s->body_at_probe)) {
        http_answer(fd, 200, "", s->body, s->body_len != 0 ? s->body_len : strlen(s->body));
        return;
    }
    yyjson_doc *doc = yyjson_read(r->body, r->body_len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *input = yyjson_obj_get(root, "input");
    s->has_model = s->has_model && yyjson_equals_str(yyjson_obj_get(root, "model"), "m/1");
    s->texts += yyjson_arr_size(input);
    const char *last = yyjson_get_str(yyjson_arr_get_last(input));
    snprintf(s->last_text, sizeof s->last_text, "%s", last != NULL ? last : "(none)");
    answer_well(s, fd, input);
    yyjson_doc_free(doc);
}

static metallm_remote_options quick = {
    .key = KEY, .timeout_ms = 2000, .attempts = 3, .backoff_ms = 1, .batch = 4};

static int open_with(struct script *s, void **state, struct metallm__backend_facts *facts,
                     metallm_error *err)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/", s->server.port);
    metallm_encoder_options o = {.name = "remote:m/1", .path = url, .remote = &quick};
    return metallm__backend_remote.open(state, &o, facts, err);
}

static void begin(struct script *s)
{
    s->server.handle = handle;
    s->server.payload = s;
    s->has_key = s->has_model = true;
    s->dim = s->dim == 0 ? 4 : s->dim;
    assert_int_equal(http_server_start(&s->server), 0);
}

/* Opens, embeds two texts of an 4-dimensional endpoint, closes; the embed's status. */
static int embed_two(struct script *s, float *out, metallm_error *err)
{
    void *state = NULL;
    struct metallm__backend_facts facts;
    begin(s);
    assert_int_equal(open_with(s, &state, &facts, err), METALLM_OK);
    struct metallm__embed_job job = {
        (const char *const[]){"ab", "xyz"}, (const size_t[]){2, 3}, 2, out, NULL, 4, NULL};
    int rc = metallm__backend_remote.embed(state, &job, err);
    metallm__backend_remote.free(state);
    http_server_stop(&s->server);
    return rc;
}

static void vectors_come_back_in_order_and_of_unit_length(void **state)
{
    (void)state;
    struct script s = {.dim = 5};
    begin(&s);
    void *r = NULL;
    struct metallm__backend_facts facts;
    assert_int_equal(open_with(&s, &r, &facts, NULL), METALLM_OK);
    assert_string_equal(facts.id, "remote:m/1/fp32");
    assert_int_equal(facts.dim, 5);
    const char *texts[10] = {"a", "bb", "ccc", "", "e\xff", "f\0g", "h", "i", "j", "k"};
    size_t lens[10] = {1, 2, 3, 0, 2, 3, 1, 1, 1, 1};
    float out[10 * 7];
    uint32_t tokens[10];
    struct metallm__embed_job job = {texts, lens, 10, out, NULL, 7, tokens};
    assert_int_equal(metallm__backend_remote.embed(r, &job, NULL), METALLM_OK);
    static const int sizes[10] = {1, 2, 3, 1, 4, 1, 1, 1, 1, 1}; /* "" is sent as " " */
    for (int i = 0; i < 10; i++) {
        const float *v = out + i * 7;
        float first = texts[i][0] != '\0' ? (float)texts[i][0] : ' ';
        float norm = sqrtf((float)(sizes[i] * sizes[i]) + first * first + 3);
        assert_true(fabsf(v[0] - (float)sizes[i] / norm) < 1e-6f);
        assert_true(fabsf(v[1] - first / norm) < 1e-6f);
        assert_true(fabsf(v[4] - 1 / norm) < 1e-6f);
    }
    assert_int_equal(s.texts, 11);
    assert_int_equal(s.server.served, 4); /* the probe, then 4 + 4 + 2 texts */
    assert_true(s.has_key && s.has_model);
    metallm__backend_remote.free(r);
    http_server_stop(&s.server);
}

static void a_busy_or_broken_endpoint_is_asked_again(void **state)
{
    (void)state;
    static const int statuses[] = {429, 500, 503, 0};
    for (size_t i = 0; i < 4; i++) {
        struct script s = {.fail_first = 2, .fail_status = statuses[i]};
        float out[8];
        metallm_error err = {0};
        assert_int_equal(embed_two(&s, out, &err), METALLM_OK);
        assert_int_equal(s.server.served, 4);
    }
}

static void it_gives_up_with_a_clear_word(void **state)
{
    (void)state;
    static const struct {
        int status, code;
        size_t served;
        const char *said;
    } cases[] = {
        {429, METALLM_EBUSY, 4, "3 attempts: 'http://127.0.0.1:"},
        {500, METALLM_EIO, 4, "answered HTTP 500: said? no"},
        {400, METALLM_EINVAL, 2, "answered HTTP 400: said? no"},
        {404, METALLM_ENOTFOUND, 2, "answered HTTP 404"},
        {401, METALLM_EIO, 2, "refused the key (HTTP 401)"},
        {302, METALLM_EIO, 2, "answered HTTP 302"},
        {0, METALLM_EIO, 4, "cannot reach 'http://127.0.0.1:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s = {.fail_first = 99,
                           .fail_status = cases[i].status,
                           .extra = "Location: http://127.0.0.1:1/\r\n"};
        float out[8];
        metallm_error err = {0};
        assert_int_equal(embed_two(&s, out, &err), cases[i].code);
        assert_int_equal(s.server.served, cases[i].served);
        assert_non_null(strstr(err.message, cases[i].said));
        assert_null(strstr(err.message, KEY));
    }
}

static void retry_after_is_honoured(void **state)
{
    (void)state;
    struct script s = {.fail_first = 1, .fail_status = 429, .extra = "Retry-After: 1\r\n"};
    float out[8];
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(embed_two(&s, out, NULL), METALLM_OK);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9 >= 1);
}

static void hostile_answers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int code;
        const char *said;
    } cases[] = {
        {"", METALLM_EFORMAT, "not JSON"},
        {"<html>down for maintenance</html>", METALLM_EFORMAT, "not JSON"},
        {"{\"data\":[{\"embedding\":[1,2,3,4]", METALLM_EFORMAT, "not JSON"},
        {"[]", METALLM_EFORMAT, "no array 'data'"},
        {"{\"data\":[]}", METALLM_EFORMAT, "0 embeddings for 2 texts"},
        {"{\"data\":[{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT, "1 embeddings for 2 texts"},
        {"{\"data\":[1,2]}", METALLM_EFORMAT, "no array 'embedding'"},
        {"{\"data\":[{\"embedding\":\"AAAA\"},{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT,
         "no array 'embedding'"},
        {"{\"data\":[{\"embedding\":[1,2,3]},{\"embedding\":[1,2,3]}]}", METALLM_EMISMATCH,
         "of 3 numbers, earlier ones had 4"},
        {"{\"data\":[{\"embedding\":[1,2,3,null]},{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT,
         "number 3 is not a finite"},
        {"{\"data\":[{\"embedding\":[1,2,3,NaN]},{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT,
         "not JSON"},
        {"{\"data\":[{\"embedding\":[1,2,3,1e300]},{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT,
         "finite"},
        {"{\"data\":[{\"embedding\":[0,0,0,0]},{\"embedding\":[1,2,3,4]}]}", METALLM_EFORMAT,
         "zero throughout"},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,2,3,4]},{\"index\":0,\"embedding\":[1,2,3,4]}]}",
         METALLM_EFORMAT, "embedding 0 twice"},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,2,3,4]},{\"index\":7,\"embedding\":[1,2,3,4]}]}",
         METALLM_EFORMAT, "index is not below 2"},
        {"{\"data\":[{\"index\":-1,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]}]"
         "}",
         METALLM_EFORMAT, "index is not below 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s = {.body = cases[i].body};
        float out[8];
        metallm_error err = {0};
        assert_int_equal(embed_two(&s, out, &err), cases[i].code);
        assert_non_null(strstr(err.message, cases[i].said));
        assert_int_equal(s.server.served, 2); /* a wrong answer is not asked for again */
    }
}

static void a_huge_answer_is_cut_off(void **state)
{
    (void)state;
    size_t len = 2u << 20;
    char *body = malloc(len);
    memset(body, ' ', len);
    struct script s = {.body = body, .body_len = len};
    float out[8];
    metallm_error err = {0};
    assert_int_equal(embed_two(&s, out, &err), METALLM_ELIMIT);
    assert_non_null(strstr(err.message, "sent more than 65792 bytes"));
    free(body);
}

static void a_slow_endpoint_is_a_timeout(void **state)
{
    (void)state;
    struct script s = {.delay_ms = 300};
    float out[8];
    metallm_error err = {0};
    metallm_remote_options before = quick;
    quick.timeout_ms = 100;
    quick.attempts = 1;
    assert_int_equal(embed_two(&s, out, &err), METALLM_ETIMEOUT);
    assert_non_null(strstr(err.message, "did not answer within 100 ms"));
    quick = before;
}

static void a_dead_endpoint_is_named(void **state)
{
    (void)state;
    struct script s = {0};
    begin(&s);
    http_server_stop(&s.server); /* the port is free again: nobody listens */
    void *r = NULL;
    struct metallm__backend_facts facts;
    metallm_error err = {0};
    assert_int_equal(open_with(&s, &r, &facts, &err), METALLM_EIO);
    assert_non_null(strstr(err.message, "cannot reach 'http://127.0.0.1:"));
    assert_null(r);
}

static void a_probe_of_an_impossible_dimension_is_refused(void **state)
{
    (void)state;
    struct script s = {.body = "{\"data\":[{\"embedding\":[]}]}", .body_at_probe = true};
    begin(&s);
    void *r = NULL;
    struct metallm__backend_facts facts;
    metallm_error err = {0};
    assert_int_equal(open_with(&s, &r, &facts, &err), METALLM_EFORMAT);
    assert_non_null(strstr(err.message, "of 0 numbers"));
    http_server_stop(&s.server);
}

static int open_options(const char *name, const char *url, const metallm_remote_options *remote,
                        metallm_error *err)
{
    void *r = NULL;
    struct metallm__backend_facts facts;
    metallm_encoder_options o = {.name = name, .path = url, .remote = remote};
    int rc = metallm__backend_remote.open(&r, &o, &facts, err);
    assert_null(r);
    return rc;
}

static void wrong_settings_are_refused_before_any_request(void **state)
{
    (void)state;
    metallm_error err = {0};
    unsetenv("METALLM_EMBEDDINGS_URL");
    unsetenv("METALLM_EMBEDDINGS_MODEL");
    assert_int_equal(open_options("remote", "http://127.0.0.1:1", NULL, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "needs a model"));
    assert_int_equal(open_options("remote:m", NULL, NULL, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "needs an endpoint"));
    assert_int_equal(open_options("remote:m", "file:///etc/passwd", NULL, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "not an http(s) URL"));
    metallm_remote_options bad = {.key = "with\r\nHost: evil"};
    assert_int_equal(open_options("remote:m", "http://127.0.0.1:1", &bad, &err), METALLM_EINVAL);
    assert_null(strstr(err.message, "evil"));
    bad = (metallm_remote_options){.batch = 4000};
    assert_int_equal(open_options("remote:m", "http://127.0.0.1:1", &bad, &err), METALLM_EINVAL);
    bad = (metallm_remote_options){.key_file = "/nonexistent/key"};
    assert_int_equal(open_options("remote:m", "http://127.0.0.1:1", &bad, &err), METALLM_ENOTFOUND);
    assert_non_null(strstr(err.message, "/nonexistent/key"));
    assert_int_equal(open_options("remote:m", "https://me:secret@host/v1", NULL, &err),
                     METALLM_EINVAL);
    assert_null(strstr(err.message, "secret"));
}

static void the_key_may_come_from_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/metallm-key-XXXXXX";
    int fd = mkstemp(path);
    assert_true(write(fd, KEY "\nsecond line\n", strlen(KEY) + 13) > 0);
    close(fd);
    metallm_remote_options before = quick;
    quick.key = NULL;
    quick.key_file = path;
    struct script s = {0};
    float out[8];
    assert_int_equal(embed_two(&s, out, NULL), METALLM_OK);
    assert_true(s.has_key);
    quick = before;
    unlink(path);
}

static void the_key_is_cut_out_of_complaints(void **state)
{
    (void)state;
    char said[64];
    static const char with[] = "{\"error\":{\"message\":\"bad key " KEY "\"}}";
    static const char plain[] = "{\"error\":\"no such model\"}";
    metallm__remote_complaint(with, sizeof with - 1, KEY, said, sizeof said);
    assert_string_equal(said, "");
    metallm__remote_complaint(plain, sizeof plain - 1, KEY, said, sizeof said);
    assert_string_equal(said, "no such model");
    metallm__remote_complaint("{}", 2, KEY, said, sizeof said);
    assert_string_equal(said, "");
}

static void long_texts_are_cut_at_a_character(void **state)
{
    (void)state;
    struct metallm__buf b;
    metallm__buf_init(&b, 4096);
    assert_int_equal(metallm__remote_request(&b, "m", (const char *const[]){"abc\xc3\xa9\xc3\xa9"},
                                             (const size_t[]){7}, 1, 6, NULL),
                     METALLM_OK);
    assert_string_equal(
        b.data, "{\"model\":\"m\",\"input\":[\"abc\xc3\xa9\"],\"encoding_format\":\"float\"}");
    metallm__buf_fini(&b);
}

static int open_and_embed(void *payload)
{
    struct script *s = payload;
    void *r = NULL;
    struct metallm__backend_facts facts;
    int rc = open_with(s, &r, &facts, NULL);
    float out[4];
    struct metallm__embed_job job = {
        (const char *const[]){"ab"}, (const size_t[]){2}, 1, out, NULL, 4, NULL};
    if (rc == METALLM_OK)
        rc = metallm__backend_remote.embed(r, &job, NULL);
    metallm__backend_remote.free(r);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    struct script s = {0};
    begin(&s);
    assert_true(fail_alloc_sweep(open_and_embed, &s) > 10);
    http_server_stop(&s.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_back_in_order_and_of_unit_length),
        cmocka_unit_test(a_busy_or_broken_endpoint_is_asked_again),
        cmocka_unit_test(it_gives_up_with_a_clear_word),
        cmocka_unit_test(retry_after_is_honoured),
        cmocka_unit_test(hostile_answers_are_refused),
        cmocka_unit_test(a_huge_answer_is_cut_off),
        cmocka_unit_test(a_slow_endpoint_is_a_timeout),
        cmocka_unit_test(a_dead_endpoint_is_named),
        cmocka_unit_test(a_probe_of_an_impossible_dimension_is_refused),
        cmocka_unit_test(wrong_settings_are_refused_before_any_request),
        cmocka_unit_test(the_key_may_come_from_a_file),
        cmocka_unit_test(the_key_is_cut_out_of_complaints),
        cmocka_unit_test(long_texts_are_cut_at_a_character),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    for (int i = 0; i < 4; i++) /* the tests' own server is to be reached directly */
        unsetenv(((const char *const[]){"http_proxy", "all_proxy", "ALL_PROXY",
                                        "METALLM_EMBEDDINGS_KEY"})[i]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
