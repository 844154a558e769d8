/* SPDX-License-Identifier: Apache-2.0
 * test_status.c - the status page shows what there is, escapes every text, and stays within its
 * bounds when nothing is known. With an argument it prints a page, to be looked at. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gateway/status.h"
#include "support/cmocka_all.h"

static const struct metallm__status_deployment eu[] = {{"eu-1.example.com:443", 0, 3, 900, 1},
                                                       {"us-1.example.com:443", 2, 0, 120, 40}};
static const struct metallm__status_deployment local[] = {{"127.0.0.1:11434", 1, 1, 500, 0}};
static const struct metallm__status_deployment evil[] = {{"<b>&\"'", 7, 0, 0, 0}};
static const struct metallm__status_model models[] = {
    {.name = "gpt-4.1",
     .sums = {1402, 41, 2310221, 418022, 8.0129},
     .input_price = 2,
     .output_price = 8,
     .deployments = eu,
     .deployment_count = 2},
    {.name = "llama3.2",
     .sums = {5210, 0, 8123000, 1201333, 0.0932},
     .input_price = 0.01,
     .output_price = 0.01,
     .deployments = local,
     .deployment_count = 1},
    {.name = "<script>alert(1)</script>",
     .state = 1,
     .by_admin = true,
     .input_price = NAN,
     .output_price = NAN,
     .deployments = evil,
     .deployment_count = 1},
};
static const struct metallm__status_belief beliefs[] = {
    {"gpt-4.1", 0.874, 0.861, 0.887, 0.00571, 1203, false},
    {"llama3.2", 0.712, 0.70, 0.724, 0.000018, 4110, false},
    {"mistral-small-latest", 0.65, 0.31, 0.92, 0.0002, 6, true},
    {"unknown", NAN, NAN, NAN, NAN, 0, true},
};
static const struct metallm__status_router routers[] = {
    {.name = "auto",
     .mode = "hybrid",
     .dial = NAN,
     .target = NAN,
     .budget_usd = 50,
     .spent_usd = 8.106,
     .budget_per = "day",
     .decisions = 6612,
     .feedback = 5319,
     .beliefs = beliefs,
     .belief_count = 4},
    {.name = "fast", .mode = "offline", .dial = NAN, .target = 0.8, .budget_usd = NAN},
};

static void render(struct metallm__buf *out)
{
    const struct metallm__status s = {
        .wall_ms = 1772323199000u,
        .started_ms = 1772203199000u,
        .config_path = "/etc/metallm/metallm.yaml",
        .problem = "the store 'metallm.db' cannot be written: no room left on the disk",
        .encoder = "minilm-l6-v2/int8",
        .sums = {.requests = 6655,
                 .errors = 3,
                 .answered = 6612,
                 .input_tokens = 10433221,
                 .output_tokens = 1619355,
                 .usd = 8.1061,
                 .connections = 42,
                 .in_work = 7,
                 .latency_p50_s = 0.71,
                 .latency_p95_s = 4.2,
                 .first_token_p50_s = 0.18},
        .models = models,
        .model_count = 3,
        .routers = routers,
        .router_count = 2,
        .keys = 12,
        .asks_keys = true};
    metallm__buf_init(out, 1 << 20);
    metallm__status_page(&s, out);
    assert_int_equal(metallm__buf_check(out, NULL), METALLM_OK);
}

static void the_page_tells_and_escapes(void **state)
{
    (void)state;
    static const char *const parts[] = {"up 1 d 9 h",
                                        "<b>6,655</b>",
                                        "no room left on the disk",
                                        "12,052,576",
                                        "&lt;script&gt;alert(",
                                        "&lt;b&gt;&amp;&quot;&#39;",
                                        "out of service",
                                        "0.861 to 0.887",
                                        "newcomer",
                                        "$50.00 a day",
                                        "target 0.8",
                                        "12 client keys",
                                        "2026-02-28 23:59:59",
                                        "drained",
                                        "not known yet"};
    struct metallm__buf out;
    render(&out);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(out.data, parts[i]) == NULL)
            fail_msg("no '%s'", parts[i]);
    assert_null(strstr(out.data, "<script"));
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "http://")); /* nothing is loaded from elsewhere */
    assert_null(strstr(out.data, "src="));
    metallm__buf_fini(&out);
}

static void an_empty_gateway_has_a_page(void **state)
{
    (void)state;
    struct metallm__buf out;
    const struct metallm__status s = {
        .sums = {.latency_p50_s = NAN, .latency_p95_s = NAN, .first_token_p50_s = NAN}};
    metallm__buf_init(&out, 1 << 20);
    metallm__status_page(&s, &out);
    assert_int_equal(metallm__buf_check(&out, NULL), METALLM_OK);
    assert_non_null(strstr(out.data, "</html>"));
    metallm__buf_fini(&out);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        struct metallm__buf out;
        render(&out);
        fputs(out.data, stdout);
        metallm__buf_fini(&out);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_tells_and_escapes),
        cmocka_unit_test(an_empty_gateway_has_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
