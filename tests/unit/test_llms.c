/* SPDX-License-Identifier: Apache-2.0
 * Generations of LLMs: what the config may say, what passes on to the next generation, abilities
 * and prices; and that a key is gone when its last owner is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "metallm/base.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "upstream/llms.h"

static struct metallm__deployment_options at(const char *url)
{
    return (struct metallm__deployment_options){.base_url = url, .key = "sk-secret"};
}

static int make(struct metallm__llms **out, const struct metallm__deployment_options *d,
                const struct metallm__llms *before, metallm_error *err)
{
    struct metallm__llm_options o = {.name = "big", .deployments = d, .deployment_count = 1};
    return metallm__llms_new(out, &o, 1, before, err);
}

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
        bool is_tls;
    } rows[] = {
        {"https://api.example.com/v1", "api.example.com", "/v1", 443, true},
        {"http://127.0.0.1:8080", "127.0.0.1", "", 80 + 8000, false},
        {"http://h/", "h", "", 80, false},
        {"https://[::1]:9/a/b//", "::1", "/a/b", 9, true},
        {"http://under_score:65535/%7Ex", "under_score", "/%7Ex", 65535, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__llms *l;
        struct metallm__deployment_options o = at(rows[i].url);
        metallm_error err = {0};
        o.is_tls_unverified = true;
        assert_int_equal(make(&l, &o, NULL, &err), METALLM_OK);
        const struct metallm__deployment *d = &l->items[0].deployments[0];
        assert_string_equal(d->host, rows[i].host);
        assert_string_equal(d->path, rows[i].path);
        assert_int_equal(d->port, rows[i].port);
        assert_int_equal(d->is_tls, rows[i].is_tls);
        assert_true((d->tls != NULL) == rows[i].is_tls);
        metallm__llms_unref(l);
    }
}

static void what_cannot_be_is_refused_without_the_key(void **state)
{
    static const char *const urls[] = {"",
                                       "api.example.com",
                                       "ftp://h",
                                       "http://",
                                       "http://:80",
                                       "http://u:p@h",
                                       "http://h:",
                                       "http://h:0",
                                       "http://h:65536",
                                       "http://h:1x",
                                       "http://h/?q=1",
                                       "http://h/#f",
                                       "http://h/a b",
                                       "http://[::1",
                                       "http://h\r\n"};
    struct metallm__llms *l = NULL;
    metallm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct metallm__deployment_options o = at(urls[i]);
        assert_int_equal(make(&l, &o, NULL, &err), METALLM_EINVAL);
        assert_non_null(strstr(err.message, "'big'"));
    }
    struct metallm__deployment_options o = at("http://h");
    o.key = "sk-secret\r\nx: y";
    assert_int_equal(make(&l, &o, NULL, &err), METALLM_EINVAL);
    assert_null(strstr(err.message, "secret"));
    o = at("http://h");
    o.protocol = "smoke";
    assert_int_equal(make(&l, &o, NULL, &err), METALLM_EINVAL);
    o = at("http://h");
    o.weight = NAN;
    assert_int_equal(make(&l, &o, NULL, &err), METALLM_EINVAL);
    const struct metallm__deployment_options fine = at("http://h");
    struct metallm__llm_options twice[2] = {
        {.name = "a", .deployments = &fine, .deployment_count = 1},
        {.name = "a", .deployments = &fine, .deployment_count = 1}};
    assert_int_equal(metallm__llms_new(&l, twice, 2, NULL, &err), METALLM_EINVAL);
    const struct metallm__price bad = {
        .usd_per_call = NAN, .input = -1, .output = 1, .cached_input = NAN};
    twice[0].prices = &bad;
    twice[0].price_count = 1;
    assert_int_equal(metallm__llms_new(&l, twice, 1, NULL, &err), METALLM_EINVAL);
    twice[0].price_count = 0;
    twice[0].deployment_count = 0;
    assert_int_equal(metallm__llms_new(&l, twice, 1, NULL, &err), METALLM_EINVAL);
}

static void headers_are_written_once_and_the_configs_win(void **state)
{
    static const struct metallm__header_option extra[] = {{"X-Org", "o"},
                                                          {"Authorization", "mine"}};
    struct metallm__deployment_options o = at("http://h");
    struct metallm__llms *l;
    unsigned authorizations = 0;
    (void)state;
    o.headers = extra;
    o.header_count = 2;
    assert_int_equal(make(&l, &o, NULL, NULL), METALLM_OK);
    const struct metallm__deployment *d = &l->items[0].deployments[0];
    for (size_t i = 0; i < d->header_count; i++)
        if (metallm__span_is_nocase(d->headers[i].name, "authorization")) {
            authorizations++;
            assert_true(metallm__span_is(d->headers[i].value, "mine"));
        }
    assert_int_equal(authorizations, 1);
    metallm__llms_unref(l);
    o.header_count = 0;
    assert_int_equal(make(&l, &o, NULL, NULL), METALLM_OK);
    d = &l->items[0].deployments[0];
    assert_true(metallm__span_is(d->headers[d->header_count - 1].value, "Bearer sk-secret"));
    assert_true(metallm__span_is(d->target.model_json, "\"big\""));
    metallm__llms_unref(l);
}

static void health_passes_to_the_same_deployment(void **state)
{
    struct metallm__deployment_options o = at("http://h");
    struct metallm__llms *one, *two, *three;
    (void)state;
    assert_int_equal(make(&one, &o, NULL, NULL), METALLM_OK);
    struct metallm__health *h = one->items[0].deployments[0].health;
    o.weight = 7;
    o.breaker.consecutive_max = 1;
    assert_int_equal(make(&two, &o, one, NULL), METALLM_OK);
    assert_ptr_equal(two->items[0].deployments[0].health, h);
    assert_int_equal(h->breaker.options.consecutive_max, 1);
    o.key = "sk-other"; /* another key is another fate */
    assert_int_equal(make(&three, &o, two, NULL), METALLM_OK);
    assert_ptr_not_equal(three->items[0].deployments[0].health, h);
    metallm__llms_unref(one);
    metallm__health_fault(h, 1, 0.5); /* two still holds it */
    assert_false(metallm__health_would_pass(h, 2));
    assert_int_equal(metallm__health_state(h, 2), METALLM__BREAKER_OPEN);
    assert_int_equal(metallm__health_state(h, UINT64_MAX), METALLM__BREAKER_HALF_OPEN);
    metallm__llms_unref(two);
    metallm__llms_unref(three);
}

static void abilities_decide_who_fits(void **state)
{
    struct metallm__llm llm = {.kinds = 1u << METALLM__WIRE_CHAT,
                               .context_tokens = 1000,
                               .output_tokens_max = 200,
                               .has_tools = true};
    static const struct {
        struct metallm__wire_needs needs;
        bool fits;
    } rows[] = {
        {{.input_tokens = 10}, true},
        {{.tools = true}, true},
        {{.images = true}, false},
        {{.audio = true}, false},
        {{.json = true}, false},
        {{.input_tokens = 900, .output_tokens_max = 100}, true},
        {{.input_tokens = 901, .output_tokens_max = 100}, false},
        {{.output_tokens_max = 201}, false},
        {{.input_tokens = UINT32_MAX, .output_tokens_max = 100}, false},
    };
    const char *why;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r = {.kind = METALLM__WIRE_CHAT, .needs = rows[i].needs};
        assert_int_equal(metallm__llm_fits(&llm, &r, &why), rows[i].fits);
        assert_true((why == NULL) == rows[i].fits);
    }
    struct metallm__wire_request embedding = {.kind = METALLM__WIRE_EMBEDDING};
    assert_false(metallm__llm_fits(&llm, &embedding, NULL));
}

static void who_cannot_be_told_a_request_does_not_fit(void **state)
{
    static const struct {
        enum metallm__wire_kind kind;
        const char *body, *why;
    } rows[] = {
        {METALLM__WIRE_CHAT, "{\"model\":\"m\",\"n\":2,\"messages\":[{\"role\":\"user\"}]}", NULL},
        {METALLM__WIRE_COMPLETION, "{\"model\":\"m\",\"prompt\":\"a\"}", NULL},
        {METALLM__WIRE_COMPLETION, "{\"model\":\"m\",\"prompt\":\"a\",\"n\":2}",
         "cannot be told several choices"},
        {METALLM__WIRE_EMBEDDING, "{\"model\":\"m\",\"input\":\"a\"}",
         "does not answer this kind of request"},
    };
    const struct metallm__deployment_options d = at("http://h");
    const struct metallm__llm_options o = {.name = "m", .deployments = &d, .deployment_count = 1};
    struct metallm__llms *l;
    (void)state;
    assert_int_equal(metallm__llms_new(&l, &o, 1, NULL, NULL), METALLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__wire_request r;
        const char *why = "";
        assert_int_equal(metallm__wire_request_read(&r, rows[i].kind,
                                                    metallm__span_of(rows[i].body), NULL, NULL),
                         METALLM_OK);
        assert_int_equal(metallm__llm_fits(&l->items[0], &r, &why), rows[i].why == NULL);
        if (rows[i].why != NULL)
            assert_string_equal(why, rows[i].why);
        metallm__wire_request_fini(&r);
    }
    metallm__llms_unref(l);
}

static void the_price_of_the_day_holds(void **state)
{
    const struct metallm__price prices[] = {
        {.from = 20260601, .usd_per_call = NAN, .input = 2, .output = 8, .cached_input = 0.5},
        {.from = 0, .usd_per_call = NAN, .input = 1, .output = 4, .cached_input = NAN},
        {.from = 20270101, .usd_per_call = 0.25, .input = NAN, .output = NAN, .cached_input = NAN}};
    const struct metallm__deployment_options d = at("http://h");
    const struct metallm__llm_options o = {
        .name = "m", .prices = prices, .price_count = 3, .deployments = &d, .deployment_count = 1};
    struct metallm__llms *l;
    (void)state;
    assert_int_equal(metallm__llms_new(&l, &o, 1, NULL, NULL), METALLM_OK);
    const struct metallm__wire_usage u = {1000, 400, 100, -1, -1, false};
    const struct metallm__llm *m = &l->items[0];
    /* 600 fresh and 400 cached input, 100 output. */
    assert_true(fabs(metallm__price_usage(metallm__llm_price(m, 20260531), &u) - 1400e-6) < 1e-12);
    assert_true(fabs(metallm__price_usage(metallm__llm_price(m, 20260601), &u) -
                     (600 * 2 + 400 * 0.5 + 100 * 8) * 1e-6) < 1e-12);
    assert_true(metallm__price_usage(metallm__llm_price(m, 20270101), &u) == 0.25);
    const struct metallm__wire_usage unknown = {-1, -1, 100, -1, -1, false};
    assert_true(isnan(metallm__price_usage(metallm__llm_price(m, 20260601), &unknown)));
    assert_true(isnan(metallm__price_usage(NULL, &u)));
    metallm__llms_unref(l);
}

static int make_all(void *payload)
{
    static const struct metallm__header_option extra = {"x", "y"};
    const struct metallm__price price = {
        .usd_per_call = 1, .input = NAN, .output = NAN, .cached_input = NAN};
    struct metallm__deployment_options d = at("http://h/v1");
    struct metallm__llm_options o = {
        .name = "m", .prices = &price, .price_count = 1, .deployments = &d, .deployment_count = 1};
    struct metallm__llms *l;
    metallm_error err;
    (void)payload;
    d.headers = &extra;
    d.header_count = 1;
    int rc = metallm__llms_new(&l, &o, 1, NULL, &err);
    if (rc == METALLM_OK)
        metallm__llms_unref(l);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(make_all, NULL) >= 10);
}

/* AWS's credentials are looked for once for each profile, and not where an API key is given. */
static void deployments_of_one_profile_share_their_credentials(void **state)
{
    (void)state;
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    const struct metallm__deployment_options d[] = {
        {.base_url = "http://h", .protocol = "bedrock", .region = "eu-west-1"},
        {.base_url = "http://h", .protocol = "bedrock-invoke", .region = "us-east-1"},
        {.base_url = "http://h", .protocol = "bedrock", .region = "r", .aws_profile = "work"},
        {.base_url = "http://h", .protocol = "bedrock", .region = "r", .key = "api-key"},
        {.base_url = "http://h", .key = "sk"},
    };
    const struct metallm__llm_options o = {.name = "l", .deployments = d, .deployment_count = 5};
    struct metallm__llms *one = NULL, *two = NULL;
    assert_int_equal(metallm__llms_new(&one, &o, 1, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__llms_new(&two, &o, 1, one, NULL), METALLM_OK);
    const struct metallm__deployment *a = one->items[0].deployments, *b = two->items[0].deployments;
    assert_true(a[0].aws != NULL && a[0].aws == a[1].aws && a[0].aws == b[1].aws);
    assert_true(a[2].aws != NULL && a[2].aws != a[0].aws && a[2].aws == b[2].aws);
    assert_true(a[3].aws == NULL && a[4].aws == NULL);
    metallm__llms_unref(one);
    struct metallm__aws_copy copy;
    assert_int_equal(metallm__aws_credentials_copy(b[0].aws, 0, &copy, NULL), METALLM_ENOTFOUND);
    metallm__llms_unref(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(what_cannot_be_is_refused_without_the_key),
        cmocka_unit_test(headers_are_written_once_and_the_configs_win),
        cmocka_unit_test(health_passes_to_the_same_deployment),
        cmocka_unit_test(abilities_decide_who_fits),
        cmocka_unit_test(who_cannot_be_told_a_request_does_not_fit),
        cmocka_unit_test(the_price_of_the_day_holds),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(deployments_of_one_profile_share_their_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
