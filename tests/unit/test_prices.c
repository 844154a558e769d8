/* SPDX-License-Identifier: Apache-2.0
 * The table of prices that is compiled in, whose price it is, price files put together and written,
 * LiteLLM's table, and what a configuration makes of all that. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/prices.h"
#include "data/prices.h"
#include "gateway/config.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"
#include "upstream/llms.h"

static void every_figure_of_the_table_has_its_source_and_day(void **state)
{
    static const char *const platforms[] = {"openai/",  "anthropic/", "bedrock/",  "gemini/",
                                            "mistral/", "groq/",      "deepseek/", "together/"};
    size_t counts[8] = {0};
    struct metallm__prices known = {0};
    metallm_error err = {0};
    (void)state;
    assert_int_equal(metallm__prices_known(&known, &err), METALLM_OK);
    for (size_t i = 0; i < known.count; i++) {
        const struct metallm__price *p = &known.items[i];
        for (size_t k = 0; k < 8; k++)
            counts[k] += strncmp(p->model, platforms[k], strlen(platforms[k])) == 0;
        assert_non_null(p->source);
        assert_true(p->checked >= 20261101);
        assert_true(p->input > 0 && p->input <= 1000 && p->output >= 0 && p->output <= 10000);
        assert_false(p->cached_input > p->input);
        assert_false(p->batch_input > p->input);
        assert_true(p->output > 0 || p->embeddings > 0);
        assert_true((p->long_over > 0) == !isnan(p->long_input));
        assert_false(p->long_input < p->input);
    }
    size_t total = 0;
    for (size_t k = 0; k < 8; k++) {
        assert_true(counts[k] > 0);
        total += counts[k];
    }
    assert_int_equal(total, known.count);
    metallm__prices_fini(&known);
}

static void a_url_tells_the_platform(void **state)
{
    static const struct {
        const char *url, *model, *name;
    } rows[] = {
        {"https://api.openai.com/v1", "gpt-4o", "openai/gpt-4o"},
        {"https://API.OpenAI.com:443/v1", "gpt-4o", "openai/gpt-4o"},
        {"https://api.anthropic.com/v1", "claude-x", "anthropic/claude-x"},
        {"https://bedrock-runtime.us-east-1.amazonaws.com", "amazon.nova-lite-v1:0",
         "bedrock/amazon.nova-lite-v1:0"},
        {"https://generativelanguage.googleapis.com/v1beta", "models/gemini-x", "gemini/gemini-x"},
        {"https://api.groq.com/openai/v1", "openai/gpt-oss-20b", "groq/openai/gpt-oss-20b"},
        {"https://api.openai.com.evil.example/v1", "gpt-4o", NULL},
        {"https://xapi.openai.com/v1", "gpt-4o", NULL},
        {"https://bedrock-runtime.amazonaws.com.evil.example", "m", NULL},
        {"https://me.openai.azure.com", "gpt-4o", NULL},
        {"http://127.0.0.1:8000/v1", "gpt-4o", NULL},
        {"", "gpt-4o", NULL},
    };
    char name[METALLM__PRICE_NAME_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(metallm__price_name(name, rows[i].url, rows[i].model),
                         rows[i].name != NULL);
        if (rows[i].name != NULL)
            assert_string_equal(name, rows[i].name);
    }
}

static struct metallm__prices parse(const char *text)
{
    struct metallm__prices prices = {0};
    metallm_error err = {0};
    if (metallm__prices_parse(&prices, "p.yaml", text, strlen(text), &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return prices;
}

static void a_merge_keeps_what_was_paid_before(void **state)
{
    static const char told[] =
        "models:\n"
        "  \"a/x\":\n"
        "    - {input: 1, output: 2, context: 100, source: \"old\", checked: 2026-01-01}\n"
        "    - {from: 2026-11-29, input: 1, output: 3, checked: 2026-11-29}\n"
        "  \"a/y\": {from: 2026-01-01, input: 1, output: 2, cached_input: 0.5, context: 200, "
        "images: false, source: \"new \\\"n\\\"\", checked: 2026-11-29}\n"
        "  \"b\": {usd_per_call: 0.5, checked: 2026-11-29}\n";
    struct metallm__prices kept =
        parse("{\"a/y\": {from: 2026-01-01, input: 1, output: 2, cached_input: 0.5, images: true},"
              " a/x: {input: 1, output: 2, context: 100, source: old, checked: 2026-01-01}}");
    struct metallm__prices more =
        parse("models:\n  a/x: {input: 1, output: 3}\n  a/y: {input: 1, output: 2, cached_input: "
              "0.5, context: 200, images: false, source: 'new \"n\"'}\n  b: {usd_per_call: 0.5}\n");
    struct metallm__price_merge n;
    struct metallm__buf text;
    (void)state;
    for (int round = 0; round < 2; round++) { /* the second changes nothing */
        assert_int_equal(metallm__prices_merge(&kept, &more, 20261129, &n, NULL), METALLM_OK);
        assert_int_equal(n.added, round == 0);
        assert_int_equal(n.changed, round == 0);
        assert_int_equal(n.same, round == 0 ? 1 : 3);
        metallm__buf_init(&text, 1u << 16);
        assert_int_equal(metallm__prices_write(&text, &kept, NULL), METALLM_OK);
        assert_string_equal(text.data, told);
        struct metallm__prices again = parse(text.data);
        assert_int_equal(again.count, kept.count);
        metallm__prices_fini(&again);
        metallm__buf_fini(&text);
    }
    metallm__prices_fini(&kept);
    metallm__prices_fini(&more);
}

static void what_is_no_figure_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"models:\n  a: {input: 1, output: 2, context: 1.5}", "p.yaml:2: not a count of tokens"},
        {"a: {input: 1, output: 2, context: -1}", "not a count of tokens: '-1'"},
        {"a: {input: 1, output: 2, tools: maybe}", "neither true nor false: 'maybe'"},
        {"a: {input: 1, output: 2, checked: today}", "not a day as YYYY-MM-DD: 'today'"},
        {"a: {input: 1, output: 2, source: ''}", "no source"},
        {"a: {input: 1, output: 2, source: x, source: y}", "no source: 'y'"},
        {"a: {input: 1, output: 2, long_output: -3}", "out of range: '-3'"},
        {"a: {context: 5}", "neither usd_per_call nor input and output"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__prices prices = {0};
        metallm_error err = {0};
        assert_int_equal(
            metallm__prices_parse(&prices, "p.yaml", rows[i].text, strlen(rows[i].text), &err),
            METALLM_EFORMAT);
        assert_non_null(strstr(err.message, rows[i].told));
    }
}

#define LITELLM                                                                                    \
    "{\"sample_spec\":{\"litellm_provider\":\"one of\"},"                                          \
    "\"gpt-x\":{\"litellm_provider\":\"openai\",\"mode\":\"chat\",\"input_cost_per_token\":1e-06," \
    "\"output_cost_per_token\":2.5e-6,\"cache_read_input_token_cost\":1e-7,"                       \
    "\"max_input_tokens\":1000,\"supports_vision\":true},"                                         \
    "\"gemini/e\":{\"litellm_provider\":\"gemini\",\"mode\":\"embedding\","                        \
    "\"input_cost_per_token\":1.5e-07},"                                                           \
    "\"together_ai/o/m\":{\"litellm_provider\":\"together_ai\",\"input_cost_per_token\":0.000001," \
    "\"output_cost_per_token\":0.000002},"                                                         \
    "\"bedrock/eu-west-1/m\":{\"litellm_provider\":\"bedrock\",\"input_cost_per_token\":1,"        \
    "\"output_cost_per_token\":1},"                                                                \
    "\"half\":{\"litellm_provider\":\"openai\",\"input_cost_per_token\":1e-6},"                    \
    "\"other\":{\"litellm_provider\":\"x\",\"input_cost_per_token\":1,\"output_cost_per_token\":"  \
    "1}}"

static void litellms_table_becomes_prices(void **state)
{
    struct metallm__prices prices = {0};
    struct metallm__buf text;
    metallm_error err = {0};
    (void)state;
    assert_int_equal(metallm__prices_litellm(&prices, "t.json", LITELLM, strlen(LITELLM), &err),
                     METALLM_OK);
    metallm__buf_init(&text, 1u << 16);
    assert_int_equal(metallm__prices_write(&text, &prices, NULL), METALLM_OK);
    assert_string_equal(text.data,
                        "models:\n"
                        "  \"gemini/e\": {input: 0.15, output: 0, embeddings: true}\n"
                        "  \"openai/gpt-x\": {input: 1, output: 2.5, cached_input: 0.1, context: "
                        "1000, images: true}\n"
                        "  \"together/o/m\": {input: 1, output: 2}\n");
    metallm__buf_fini(&text);
    metallm__prices_fini(&prices);
    assert_int_equal(metallm__prices_litellm(&prices, "t.json", "{\"a\":{}}", 8, &err),
                     METALLM_EFORMAT);
    assert_int_equal(metallm__prices_litellm(&prices, "t.json", "[", 1, &err), METALLM_EFORMAT);
}

static int merge_once(void *payload)
{
    struct metallm__prices kept = {0};
    struct metallm__price_merge n;
    struct metallm__buf text;
    (void)payload;
    int rc = metallm__prices_litellm(&kept, "t.json", LITELLM, strlen(LITELLM), NULL);
    metallm__buf_init(&text, 1u << 16);
    struct metallm__prices more = {0};
    if (rc == METALLM_OK)
        rc = metallm__prices_litellm(&more, "t.json", LITELLM, strlen(LITELLM), NULL);
    if (rc == METALLM_OK)
        more.items[0].input = 9;
    if (rc == METALLM_OK)
        rc = metallm__prices_merge(&kept, &more, 20261129, &n, NULL);
    if (rc == METALLM_OK)
        rc = metallm__prices_write(&text, &kept, NULL);
    metallm__buf_fini(&text);
    metallm__prices_fini(&kept);
    metallm__prices_fini(&more);
    return rc;
}

static void no_memory_for_prices_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(merge_once, NULL) > 10);
}

/* ---- Configurations. ---- */

#define OPENAI "{name: a, base_url: 'https://api.openai.com/v1', model: gpt-4o-mini"
#define LOCAL  "{name: b, base_url: 'http://127.0.0.1:1/v1'"
#define DIAL   "routers:\n- {name: r, dial: 0.5}\n"

static const struct {
    const char *text, *told; /* told: of the first model; or what is refused, behind "!" */
} configs[] = {
    {"models:\n- " OPENAI "}\n" DIAL, "table openai/gpt-4o-mini 0.15 0.6"},
    {"models:\n- " OPENAI ", price: table}\n" DIAL, "table openai/gpt-4o-mini 0.15 0.6"},
    {"models:\n- " LOCAL ", price: openai/gpt-4o-mini}\n" DIAL,
     "table openai/gpt-4o-mini 0.15 0.6"},
    {"models:\n- " LOCAL ", price: {table: openai/gpt-4o-mini}}\n" DIAL,
     "table openai/gpt-4o-mini 0.15 0.6"},
    {"models:\n- " OPENAI ", price: {input: 0, output: 0}}\n" DIAL, "config  0 0"},
    {"models:\n- " LOCAL "}\n", "unknown  nan nan"},
    {"models:\n- " LOCAL "}\nrouters:\n- {name: r, dial: 0}\n", "unknown  nan nan"},
    {"models:\n- " LOCAL "}\nrouters:\n- {name: r}\n", "unknown  nan nan"},
    {"prices: FILE\nmodels:\n- " LOCAL "}\n" DIAL, "file b 7 8"},
    {"prices: FILE\nmodels:\n- " OPENAI "}\n" DIAL, "file openai/gpt-4o-mini 0.1 0.2"},
    {"prices: FILE\nmodels:\n- " LOCAL ", price: openai/gpt-4o}\n" DIAL,
     "table openai/gpt-4o 2.5 10"},
    {"models:\n- name: m\n  deployments:\n"
     "  - {base_url: 'https://api.openai.com/v1', model: gpt-4o}\n"
     "  - {base_url: 'https://api.openai.com/v1', model: gpt-4o}\n" DIAL,
     "table openai/gpt-4o 2.5 10"},
    {"models:\n- name: m\n  deployments:\n"
     "  - {base_url: 'https://api.openai.com/v1', model: gpt-4o}\n"
     "  - {base_url: 'https://api.openai.com/v1', model: gpt-4o-mini}\n",
     "unknown  nan nan"},
    /* Refused. */
    {"models:\n- " OPENAI "}\n- " LOCAL "}\n" DIAL,
     "!t.yaml:5: routers[0].dial: needs the price of every model, and that of 'b' is not known"},
    {"models:\n- " LOCAL "}\nrouters:\n- {name: r, target: 0.9}\n", "!t.yaml:4: routers[0].target"},
    {"models:\n- " LOCAL "}\nrouters:\n- name: r\n  budget: {usd: 1}\n",
     "!t.yaml:5: routers[0].budget"},
    {"models:\n- " LOCAL "}\nrouters:\n- {name: r}\naliases:\n- {name: x, to: r, dial: 1}\n",
     "!t.yaml:6: aliases[0].dial"},
    {"models:\n- " LOCAL ", price: {from: 2999-01-01, input: 1, output: 2}}\n" DIAL,
     "!needs the price of every model"},
    {"models:\n- " LOCAL ", price: table}\n",
     "!t.yaml:2: models[0].price: the table does not know the host"},
    {"models:\n- " LOCAL ", price: openai/gpt-0}\n",
     "!models[0].price: the table knows no 'openai/gpt-0'"},
    {"models:\n- " OPENAI ", price: {table: table, input: 1, output: 2}}\n",
     "!'table' stands beside a price"},
    {"prices: /no/such/file.yaml\nmodels:\n- " OPENAI "}\n", "!/no/such/file.yaml"},
};

static void tell(const struct metallm__config *c, char *out, size_t room)
{
    static const char *const from[] = {"unknown", "config", "file", "table"};
    const struct metallm__config_model *m = &c->models[0];
    double input = m->price_count > 0   ? m->prices[0].input
                   : m->known_count > 0 ? m->known_prices[0].input
                                        : NAN;
    double output = m->price_count > 0   ? m->prices[0].output
                    : m->known_count > 0 ? m->known_prices[0].output
                                         : NAN;
    assert_int_equal(m->has_price, m->priced_by != METALLM__PRICE_FROM_NOWHERE);
    snprintf(out, room, "%s %s %g %g", from[m->priced_by], m->price_name, input, output);
}

static void a_configuration_knows_what_its_models_cost(void **state)
{
    char path[] = "/tmp/test_prices_XXXXXX";
    static const char file[] = "b: {input: 7, output: 8}\nopenai/gpt-4o-mini: {input: 0.1, "
                               "output: 0.2, checked: 2026-12-01}\n";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0 && write(fd, file, sizeof file - 1) == sizeof file - 1);
    close(fd);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char text[1024], told[256];
        const char *mark = strstr(configs[i].text, "FILE");
        int before = mark != NULL ? (int)(mark - configs[i].text) : (int)strlen(configs[i].text);
        const struct metallm__config *c = NULL;
        metallm_error err = {0};
        snprintf(text, sizeof text, "%.*s%s%s", before, configs[i].text, mark != NULL ? path : "",
                 mark != NULL ? mark + 4 : "");
        int rc = metallm__config_parse(&c, "t.yaml", text, strlen(text), NULL, &err);
        if (configs[i].told[0] == '!') {
            assert_int_not_equal(rc, METALLM_OK);
            if (strstr(err.message, configs[i].told + 1) == NULL)
                fail_msg("'%s' does not tell '%s'", err.message, configs[i].told + 1);
            continue;
        }
        if (rc != METALLM_OK)
            fail_msg("%s", err.message);
        tell(c, told, sizeof told);
        assert_string_equal(told, configs[i].told);
        metallm__config_drop(c);
    }
    unlink(path);
}

static void caches_and_long_prompts_cost_their_own_price(void **state)
{
    struct metallm__price p = METALLM__PRICE_UNKNOWN;
    struct metallm__wire_usage u = {.input_tokens = 1000,
                                    .cached_tokens = 100,
                                    .written_tokens = 200,
                                    .output_tokens = 10,
                                    .reasoning_tokens = -1};
    (void)state;
    p.input = 2;
    p.output = 10;
    assert_near(metallm__price_usage(&p, &u), 1e-6 * (2 * 1000 + 100), 1e-15);
    p.cached_input = 0.5;
    p.cached_write = 2.5;
    assert_near(metallm__price_usage(&p, &u), 1e-6 * (2 * 700 + 0.5 * 100 + 2.5 * 200 + 100),
                1e-15);
    p.long_over = 999;
    p.long_input = 4;
    p.long_output = 20;
    assert_near(metallm__price_usage(&p, &u), 1e-6 * (4 * 800 + 2.5 * 200 + 200), 1e-15);
    p.long_cached_input = 1;
    assert_near(metallm__price_usage(&p, &u), 1e-6 * (4 * 700 + 100 + 2.5 * 200 + 200), 1e-15);
    p.long_over = 1000;
    assert_near(metallm__price_usage(&p, &u), 1e-6 * (2 * 700 + 0.5 * 100 + 2.5 * 200 + 100),
                1e-15);
}

static void days_are_counted_over_months_and_leap_years(void **state)
{
    (void)state;
    assert_int_equal(cli_days_between(20261129, 20261129), 0);
    assert_int_equal(cli_days_between(20261129, 20261201), 2);
    assert_int_equal(cli_days_between(20240228, 20240301), 2);
    assert_int_equal(cli_days_between(20250101, 20260101), 365);
    assert_int_equal(cli_days_between(20260101, 20250101), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_figure_of_the_table_has_its_source_and_day),
        cmocka_unit_test(a_url_tells_the_platform),
        cmocka_unit_test(a_merge_keeps_what_was_paid_before),
        cmocka_unit_test(what_is_no_figure_is_refused_with_its_line),
        cmocka_unit_test(litellms_table_becomes_prices),
        cmocka_unit_test(no_memory_for_prices_is_told),
        cmocka_unit_test(a_configuration_knows_what_its_models_cost),
        cmocka_unit_test(caches_and_long_prompts_cost_their_own_price),
        cmocka_unit_test(days_are_counted_over_months_and_leap_years),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
