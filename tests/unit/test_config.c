/* SPDX-License-Identifier: Apache-2.0
 * test_config.c - a good configuration arrives whole; every kind of mistake is refused with its
 * line, key and value; what the admin API changed lies over the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/config_table.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

#define MODELS                                                                                     \
    "models:\n"                                                                                    \
    "  - name: big\n"                                                                              \
    "    base_url: https://api.example.com/v1/\n"                                                  \
    "    api_key: ${TEST_KEY}\n"                                                                   \
    "    price: {input: 2.5, output: 10, cached_input: 1.25}\n"                                    \
    "  - {name: small, price: {input: 0.1, output: 0.2},\n"                                        \
    "    base_url: 'http://127.0.0.1:11434/v1'}\n"

static const struct metallm__config *parse(const char *text)
{
    const struct metallm__config *c = NULL;
    metallm_error err = {0};
    int rc = metallm__config_parse(&c, "t.yaml", text, strlen(text), NULL, &err);
    if (rc != METALLM_OK)
        fail_msg("%s", err.message);
    return c;
}

static void refused(const char *text, const char *told)
{
    const struct metallm__config *c = NULL;
    metallm_error err = {0};
    int rc = metallm__config_parse(&c, "t.yaml", text, strlen(text), NULL, &err);
    if (rc == METALLM_OK || strstr(err.message, told) == NULL) {
        print_error("%s\ngave: %s\nnot:  %s\n", text, rc == METALLM_OK ? "accepted" : err.message,
                    told);
        fail();
    }
}

static int with_environment(void **state)
{
    (void)state;
    setenv("TEST_KEY", "sk-very-secret", 1);
    setenv("TEST_OTHER", "k-two", 1);
    setenv("TEST_BLANK", "sk-very-secret x", 1);
    unsetenv("TEST_NONE");
    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    return 0;
}

static void the_smallest_useful_config_works(void **state)
{
    (void)state;
    const struct metallm__config *c =
        parse("listen: 127.0.0.1:8080            # a list is allowed\n"
              "store: sqlite:metallm.db\n"
              "encoder: auto\n"
              "models:\n"
              "  - name: big\n"
              "    base_url: https://api.example.com/v1\n"
              "    api_key: ${TEST_KEY}\n"
              "    model: vendor-big-2026-05\n"
              "    price: {input: 2.50, output: 10.00, cached_input: 1.25}\n"
              "  - name: small\n"
              "    base_url: http://127.0.0.1:11434/v1\n"
              "    price: {input: 0.10, output: 0.20}\n"
              "routers:\n"
              "  - name: auto\n"
              "    file: router.safetensors\n"
              "    mode: hybrid\n"
              "    dial: 0.2\n"
              "    explore: {share: 0.02}\n");
    assert_string_equal(c->listen.items[0], "127.0.0.1:8080");
    assert_string_equal(c->encoder.name, "auto");
    assert_int_equal(c->model_count, 2);
    const struct metallm__config_model *big = &c->models[0];
    assert_string_equal(big->deployments[0].base_url, "https://api.example.com/v1");
    assert_string_equal(big->deployments[0].api_key, "sk-very-secret");
    assert_string_equal(big->deployments[0].model, "vendor-big-2026-05");
    assert_string_equal(big->deployments[0].name, "api.example.com:443");
    assert_string_equal(c->models[1].deployments[0].model, "small");
    assert_near(big->prices[0].cached_input, 1.25, 0);
    assert_true(isnan(c->models[1].prices[0].cached_input));
    assert_true((big->abilities & METALLM__ABLE_TOOLS) != 0);
    assert_false((big->abilities & METALLM__ABLE_EMBEDDINGS) != 0);
    assert_int_equal(c->routers[0].mode, METALLM__MODE_HYBRID);
    assert_int_equal(c->routers[0].model_count, 2);
    assert_near(c->routers[0].dial, 0.2, 0);
    assert_true(isnan(c->routers[0].target) && isnan(c->routers[0].budget_usd));
    assert_int_equal(metallm__config_model_find(c, "small", 5), 1);
    assert_int_equal(metallm__config_model_find(c, "smal", 4), METALLM__CONFIG_NONE);
    assert_int_equal(metallm__config_router_find(c, "auto", 4), 0);
    assert_int_equal(metallm__config_line(c, "routers[0].dial"), 17);
    assert_true(c->threads >= 1);
    metallm__config_drop(c);
}

static void everything_can_be_said(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, " from-file \nsecond\n", 19) == 19);
    close(fd);
    char text[4096];
    snprintf(text, sizeof text,
             "listen: ['127.0.0.1:1', '[::1]:2', 'localhost:3']\n"
             "limits: {body_bytes: 2M, idle_ms: 30s, header_bytes: 8KiB}\n"
             "encoder: {name: hash, timeout_ms: 5}\n"
             "models:\n"
             "- name: a\n"
             "  headers: {x-team: search}\n"
             "  api_key: file:%s\n"
             "  deployments:\n"
             "  - {base_url: 'http://[::1]:8000', weight: 3, headers: {x-tenant: '${TEST_KEY}'}}\n"
             "  - {base_url: http://h, name: two, api_key: '${TEST_OTHER}', model: m2,"
             " headers: {X-Team: own, x-auth-token: 'Bearer ${TEST_KEY}'}}\n"
             "  price:\n"
             "  - {from: 2026-05-01, input: 1, output: 2}\n"
             "  - {input: 3, output: 4}\n"
             "  abilities: {tools: yes, context: 8000}\n"
             "- {name: b, base_url: http://b/v1, like: a, abilities: {responses: true}, price: "
             "{usd_per_call: 1}}\n"
             "- {name: e, base_url: http://e/v1, abilities: {embeddings: true}}\n"
             "routers:\n"
             "- name: auto\n"
             "  budget: {usd: 50, per: month}\n"
             "  policy: 'linucb:alpha=0.5'\n"
             "  graders: [{kind: regex, pattern: '^a|b$'}, {kind: judge, model: a, share: 0.1}]\n"
             "- {name: fast, models: [b], target: '${TEST_NONE:-0.8}'}\n"
             "aliases:\n"
             "- {name: gpt-4o, to: auto, dial: 0.5, models: [b]}\n"
             "- {name: old, to: a}\n",
             path);
    const struct metallm__config *c = parse(text);
    unlink(path);
    assert_int_equal(c->listen.count, 3);
    assert_string_equal(c->listen.items[1], "[::1]:2");
    assert_string_equal(c->listen.items[2], "127.0.0.1:3");
    assert_int_equal(c->limits.body_bytes, 2 << 20);
    assert_int_equal(c->limits.idle_ms, 30000);
    assert_string_equal(c->encoder.name, "hash");
    const struct metallm__config_deployment *d = c->models[0].deployments;
    assert_int_equal(c->models[0].deployment_count, 2);
    assert_string_equal(d[0].api_key, "from-file");
    assert_string_equal(d[0].name, "[::1]:8000");
    assert_int_equal(d[0].headers.count, 2);
    assert_string_equal(d[0].headers.items[1].value, "sk-very-secret");
    assert_int_equal(d[1].headers.count, 2);
    assert_string_equal(d[1].headers.items[0].value, "own");
    assert_string_equal(d[1].headers.items[1].value, "Bearer sk-very-secret");
    assert_string_equal(d[1].api_key, "k-two");
    assert_string_equal(d[1].model, "m2");
    assert_int_equal(c->models[0].prices[0].from, 0);
    assert_int_equal(c->models[0].prices[1].from, 20260501);
    assert_true((c->models[0].abilities & METALLM__ABLE_TOOLS) != 0);
    assert_true((c->models[1].abilities & METALLM__ABLE_TOOLS) == 0);  /* silent beside one able */
    assert_true((c->models[1].abilities & METALLM__ABLE_IMAGES) != 0); /* nobody states it */
    assert_true((c->models[0].abilities & METALLM__ABLE_RESPONSES) == 0);
    assert_true((c->models[1].abilities & METALLM__ABLE_RESPONSES) != 0);
    assert_int_equal(c->models[2].abilities, METALLM__ABLE_EMBEDDINGS);
    assert_int_equal(c->models[1].like, 0);
    assert_int_equal(c->routers[0].model_count, 2); /* e serves no chat */
    assert_int_equal(c->routers[0].budget_per, METALLM__PERIOD_MONTH);
    assert_int_equal(c->routers[0].graders[1].model, 0);
    assert_near(c->routers[1].target, 0.8, 0);
    assert_int_equal(c->aliases[0].router, 0);
    assert_int_equal(c->aliases[0].models[0], 1);
    assert_int_equal(c->aliases[1].model, 0);
    metallm__config_drop(c);
}

static void protocols_imply_their_places(void **state)
{
    (void)state;
    static const struct {
        const char *text, *protocol, *base_url, *region;
    } cases[] = {
        {"base_url: 'http://h/v1'", "openai", "http://h/v1", ""},
        {"protocol: openai-responses, base_url: 'http://h/v1'", "openai-responses", "http://h/v1",
         ""},
        {"protocol: anthropic", "anthropic", "https://api.anthropic.com/v1", ""},
        {"protocol: anthropic, base_url: 'http://h/x/'", "anthropic", "http://h/x", ""},
        {"protocol: gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta", ""},
        {"protocol: bedrock, region: us-east-1", "bedrock",
         "https://bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"},
        {"protocol: bedrock-invoke, region: cn-north-1", "bedrock-invoke",
         "https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"},
        {"protocol: bedrock, region: eu-west-1, base_url: 'http://127.0.0.1:1'", "bedrock",
         "http://127.0.0.1:1", "eu-west-1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "models:\n- {name: a, %s}\n", cases[i].text);
        const struct metallm__config *c = parse(text);
        const struct metallm__config_deployment *d = c->models[0].deployments;
        assert_string_equal(d->protocol, cases[i].protocol);
        assert_string_equal(d->base_url, cases[i].base_url);
        assert_string_equal(d->region, cases[i].region);
        assert_int_equal(c->models[0].max_tokens, 4096);
        metallm__config_drop(c);
    }
    setenv("AWS_DEFAULT_REGION", "ap-south-1", 1);
    const struct metallm__config *c = parse("models:\n- {name: a, protocol: bedrock}\n");
    assert_string_equal(c->models[0].deployments[0].region, "ap-south-1");
    metallm__config_drop(c);
    unsetenv("AWS_DEFAULT_REGION");
}

static void a_deployment_takes_from_its_model_what_it_leaves_open(void **state)
{
    (void)state;
    const struct metallm__config *c =
        parse("models:\n"
              "- name: a\n"
              "  protocol: anthropic\n"
              "  region: us-east-1\n"
              "  aws_profile: main\n"
              "  model: vendor-a\n"
              "  abilities: {max_output: 1000}\n"
              "  deployments:\n"
              "  - {weight: 3}\n"
              "  - {protocol: bedrock, model: vendor.a-v1}\n"
              "  - {protocol: bedrock, region: eu-west-1, aws_profile: eu}\n"
              "  - {protocol: openai, base_url: 'https://x.openai.azure.com',\n"
              "     azure_api_version: 2025-04-01-preview}\n");
    const struct metallm__config_deployment *d = c->models[0].deployments;
    assert_int_equal(c->models[0].deployment_count, 4);
    assert_int_equal(c->models[0].max_tokens, 1000);
    assert_string_equal(d[0].protocol, "anthropic");
    assert_string_equal(d[0].region, ""); /* it has no use for one */
    assert_string_equal(d[1].region, "us-east-1");
    assert_string_equal(d[1].aws_profile, "main");
    assert_string_equal(d[1].model, "vendor.a-v1");
    assert_string_equal(d[2].region, "eu-west-1");
    assert_string_equal(d[2].aws_profile, "eu");
    assert_string_equal(d[2].model, "vendor-a");
    assert_string_equal(d[3].azure_version, "2025-04-01-preview");
    metallm__config_drop(c);
}

static void each_key_is_a_deployment_of_its_own(void **state)
{
    (void)state;
    const struct metallm__config *c =
        parse("models:\n"
              "- name: a\n"
              "  api_key: ['${TEST_KEY}', '${TEST_NONE:-}', '${TEST_OTHER}']\n"
              "  deployments:\n"
              "  - {base_url: 'http://h:1', weight: 3, concurrency: 7, headers: {x-a: b}}\n"
              "  - {base_url: 'http://h:2', name: own, api_key: 'k-${TEST_OTHER}'}\n"
              "- {name: b, base_url: 'http://h:3', api_key: '${TEST_NONE:-}'}\n");
    const struct metallm__config_deployment *d = c->models[0].deployments;
    assert_int_equal(c->models[0].deployment_count, 3);
    assert_string_equal(d[0].name, "h:1#1");
    assert_string_equal(d[1].name, "h:1#2");
    assert_string_equal(d[0].api_key, "sk-very-secret");
    assert_string_equal(d[1].api_key, "k-two");
    assert_near(d[1].weight, 1.5, 0);
    assert_int_equal(d[1].concurrency, 7);
    assert_int_equal(d[1].headers.count, 1);
    assert_string_equal(d[2].name, "own");
    assert_string_equal(d[2].api_key, "k-k-two");
    assert_near(d[2].weight, 1, 0);
    assert_string_equal(c->models[1].deployments[0].api_key, "");
    metallm__config_drop(c);
    const struct metallm__config *one = parse("models: [{name: a, base_url: 'http://h', api_key: "
                                              "['x${TEST_KEY}', 'y${TEST_KEY}']}]\n"),
                                 *two = parse("models: [{name: a, base_url: 'http://h', api_key: "
                                              "['x${TEST_KEY}', 'z${TEST_KEY}']}]\n");
    assert_true(metallm__config_equal(one, one));
    assert_false(metallm__config_equal(one, two));
    metallm__config_drop(one);
    metallm__config_drop(two);
}

static void too_many_keys_are_refused(void **state)
{
    (void)state;
    char text[4096];
    int n = snprintf(text, sizeof text, "models:\n- name: a\n  api_key: [");
    for (int i = 0; i < 40; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "'k%d${TEST_KEY}',", i);
    snprintf(text + n, sizeof text - (size_t)n,
             "]\n  deployments: [{base_url: 'http://h'}, {base_url: 'http://i'}]\n");
    refused(text, "makes more than 64 deployments of the model");
}

static const struct {
    const char *text, *told;
} mistakes[] = {
    {"", "t.yaml:1: the file is empty"},
    {"- a\n", "t.yaml:1: wants 'key: value' lines"},
    {"a: [\n", "not YAML"},
    {"listen: 127.0.0.1:80\n", "t.yaml:1: models: is missing"},
    {MODELS "limit: {}\n", "t.yaml:8: unknown key 'limit': is 'limits' meant?"},
    {MODELS "wholly_unknown: 1\n", "unknown key 'wholly_unknown' (see 'metallm help config')"},
    {MODELS "limits:\n  body_byte: 5\n", "t.yaml:9: unknown key 'limits.body_byte'"},
    {MODELS "store: sqlite:a\nstore: sqlite:b\n", "t.yaml:9: store: stands twice, first in line 8"},
    {MODELS "threads: many\n", "t.yaml:8: threads: not a whole number: 'many'"},
    {MODELS "threads: 2.5\n", "threads: not a whole number: '2.5'"},
    {MODELS "threads: -1\n", "threads: not a whole number: '-1'"},
    {MODELS "threads: 1000\n", "t.yaml:8: threads: is not from 0 to 255: '1000'"},
    {MODELS "threads: [1]\n", "threads: wants a whole number, not a list"},
    {MODELS "threads:\n", "threads: wants a whole number, not nothing"},
    {MODELS "limits: {body_bytes: 2T}\n", "limits.body_bytes: not a whole number: '2T'"},
    {MODELS "limits: {idle_ms: 2M}\n", "limits.idle_ms: not a whole number: '2M'"},
    {MODELS "limits: {body_bytes: 99999999999999999999}\n", "not a whole number"},
    {MODELS "limits: 5\n", "limits: wants a mapping, not a single value"},
    {MODELS "routers: {name: a}\n", "routers: wants a list of mappings, not a mapping"},
    {MODELS "auth: {keys: maybe}\n", "auth.keys: neither true nor false: 'maybe'"},
    {MODELS "log: {level: loud}\n", "log.level: is none of debug info warn error: 'loud'"},
    {MODELS "encoder: minilmm\n", "encoder: is none of auto minilm"},
    {MODELS "store: mysql://x\n", "store: wants sqlite:PATH, not 'mysql://x'"},
    {MODELS "prices: ${TEST_NONE}\n",
     "t.yaml:8: prices: the environment variable 'TEST_NONE' is not set"},
    {MODELS "prices: ${TEST_NONE\n", "prices: '${' without '}'"},
    {MODELS "prices: ${A-B}\n", "does not hold the name of a variable"},
    {MODELS "listen: 0.0.0.0:80\n",
     "t.yaml:8: listen: '0.0.0.0:80' is open to other machines: that wants auth: {keys: on}"},
    {MODELS "listen: :80\n", "is open to other machines"},
    {MODELS "listen: 127.0.0.1\n", "listen: an address wants a port: '127.0.0.1'"},
    {MODELS "listen: 127.0.0.1:70000\n", "not a port from 0 to 65535"},
    {MODELS "listen: ::1:80\n", "an IPv6 address wants brackets"},
    {MODELS "listen: example.com:80\n", "not an address in numbers: 'example.com:80'"},
    {MODELS "listen: []\n", "listen: is an empty list"},
    {MODELS "listen: ['127.0.0.1:1','127.0.0.1:1']\n", "stands twice"},
    {MODELS "tls: {cert: a.pem}\n", "t.yaml:8: tls: wants both cert and key"},
    {MODELS "auth: {admin_key: '${TEST_OTHER}'}\n",
     "auth.admin_key: is shorter than 16 characters"},
    {MODELS "encoder: remote\n", "encoder: 'remote' wants a url"},
    {MODELS "upstream: {backoff_ms: 10s}\n", "upstream.backoff_ms: is more than"},
    {"models: []\n", "models: there is none"},
    {"models:\n- base_url: http://a\n", "t.yaml:2: models[0].name: is missing"},
    {"models:\n- name: a\n", "t.yaml:2: models[0]: wants a base_url (or deployments)"},
    {"models:\n- {name: a, base_url: ftp://a}\n", "models[0].base_url: not a URL"},
    {"models:\n- {name: a, base_url: 'http://k@h/'}\n", "holds a user"},
    {"models:\n- {name: a, base_url: 'http://h/?a=b'}\n", "holds a query"},
    {"models:\n- {name: a, base_url: 'http://h:0/'}\n", "port is not from 1"},
    {"models:\n- {name: '', base_url: 'http://h/'}\n", "'' cannot be a name"},
    {"models:\n- {name: a, base_url: 'http://h', deployments: [{base_url: 'http://i'}]}\n",
     "stands beside deployments"},
    {"models:\n- {name: a, base_url: 'http://h', price: {input: 1}}\n",
     "models[0].price: wants input and output"},
    {"models:\n- {name: a, base_url: 'http://h', price: {input: -1, output: 1}}\n",
     "models[0].price[0].input: is not from 0 to 1000000 dollars per million tokens: '-1'"},
    {"models:\n- {name: a, base_url: 'http://h', price: {from: 2026-02-30, input: 1, output: "
     "1}}\n",
     "not a day as YYYY-MM-DD: '2026-02-30'"},
    {"models:\n- {name: a, base_url: 'http://h', headers: {Host: b}}\n",
     "'Host' is set by metallm itself"},
    {"models:\n- {name: a, base_url: 'http://h', headers: {'a b': c}}\n",
     "'a b' is no name of a header"},
    {"models:\n- {name: a, base_url: 'http://h', api_key: 'file:/no/such'}\n",
     "models[0].api_key: cannot read the file '/no/such'"},
    {"models:\n- {name: a, protocol: antropic}\n", "models[0].protocol: is none of openai"},
    {"models:\n- {name: a, base_url: 'http://h/v1/chat/completions/'}\n",
     "models[0].base_url: give what stands before /chat/completions, which metallm adds"},
    {"models:\n- {name: a, protocol: anthropic, base_url: 'https://h/v1/messages'}\n",
     "give what stands before /messages"},
    {"models:\n- {name: a, deployments: [{name: x}]}\n",
     "t.yaml:2: models[0].deployments[0]: wants a base_url"},
    {"models:\n- {name: a, protocol: openai-responses}\n", "wants a base_url (or deployments)"},
    {"models:\n- {name: a, protocol: bedrock}\n",
     "t.yaml:2: models[0].region: is missing, and AWS_REGION is not set"},
    {"models:\n- {name: a, protocol: bedrock, region: us_east.1/x}\n",
     "models[0].region: is no name of a region"},
    {"models:\n- {name: a, base_url: 'http://h', region: us-east-1}\n",
     "models[0].region: belongs to protocol bedrock"},
    {"models:\n- {name: a, protocol: gemini, aws_profile: x}\n",
     "models[0].aws_profile: belongs to protocol bedrock"},
    {"models:\n- {name: a, base_url: 'http://h', azure_api_version: latest}\n",
     "models[0].azure_api_version: is not as 2024-10-21"},
    {"models:\n- {name: a, base_url: 'http://h', azure_api_version: 2024-10-21, abilities: "
     "{responses: true}}\n",
     "models[0].azure_api_version: has no responses"},
    {"models:\n- {name: a, protocol: anthropic, azure_api_version: 2024-10-21}\n",
     "models[0].azure_api_version: belongs to protocol openai"},
    {"models:\n- {name: a, base_url: 'http://h', api_key: ['${TEST_KEY}', '${TEST_OTHER}', "
     "'${TEST_KEY}']}\n",
     "t.yaml:2: models[0].api_key: holds the same key twice"},
    {"models:\n- {name: a, base_url: 'http://h', api_key: ['${TEST_OTHER}', '${TEST_BLANK}']}\n",
     "models[0].api_key: holds a blank or a control character"},
    {"models:\n- {name: a, base_url: 'http://h', headers: {X-Amz-Date: b}}\n",
     "'X-Amz-Date' is set by metallm itself"},
    {"models:\n- {name: a, base_url: 'http://h', abilities: {context: 5, max_output: 6}}\n",
     "is more than context, 5"},
    {MODELS "  - {name: big, base_url: http://h}\n",
     "t.yaml:8: models[2].name: 'big' stands among models already"},
    {MODELS "  - {name: c, base_url: http://h, like: bigg}\n", "no model 'bigg': is 'big' meant?"},
    {MODELS "  - {name: c, base_url: http://h, like: c}\n", "is the model itself"},
    {MODELS "  - {name: c, base_url: http://h, prior: {quality: 0.5, outcomes: c.csv}}\n",
     "t.yaml:8: models[2].prior.outcomes: stands beside prior.quality: give one of the two"},
    {MODELS "  - {name: c, base_url: http://h, like: big, prior: {outcomes: c.csv}}\n",
     "t.yaml:8: models[2].like: stands beside prior.outcomes: give one of the two"},
    {MODELS "  - {name: c, base_url: http://h, prior: {outcomes: c.csv, score: s4}}\n",
     "models[2].prior.score: is none of s1 s2 s3"},
    {MODELS "routers:\n- {name: big}\n", "'big' stands among models already"},
    {MODELS "routers:\n- {name: auto, dial: 1, target: 0.5}\n",
     "t.yaml:9: routers[0]: has a dial and a target: give one of dial, target and budget"},
    {MODELS "routers:\n- {name: auto, dial: 1, target: 0.5, budget: {usd: 1}}\n",
     "has a dial, a target and a budget"},
    {MODELS "routers:\n- {name: auto, budget: {per: day}}\n", "routers[0].budget: wants usd"},
    {MODELS "routers:\n- {name: auto, target: 1.5}\n", "routers[0].target: is not from"},
    {MODELS "routers:\n- {name: auto, dial: nan}\n", "routers[0].dial: not a number: 'nan'"},
    {MODELS "routers:\n- {name: auto, models: [smal]}\n",
     "routers[0].models: no model 'smal': is 'small' meant?"},
    {MODELS "routers:\n- {name: auto, models: [big, big]}\n", "names 'big' twice"},
    {MODELS "routers:\n- {name: auto, mode: observe}\n", "observe wants a fallback"},
    {MODELS "routers:\n- {name: auto, mode: offline}\n", "offline wants a file"},
    {MODELS "routers:\n- {name: auto, mode: offlin}\n", "is none of observe offline"},
    {MODELS "routers:\n- {name: auto, policy: bandit}\n", "routers[0].policy: no policy"},
    {MODELS "routers:\n- {name: auto, explore: {share: 0.4}}\n",
     "routers[0].explore.share: is more than explore.cap, 0.2"},
    {MODELS "routers:\n- {name: a, graders: [{kind: regex, pattern: '('}]}\n",
     "routers[0].graders[0]: not a regular expression: '('"},
    {MODELS "routers:\n- {name: a, graders: [{kind: judge}]}\n", "kind judge wants a model"},
    {MODELS "routers:\n- {name: a, graders: [{kind: json, pattern: a}]}\n",
     "a pattern belongs to kind regex"},
    {MODELS "aliases:\n- {name: big, to: small}\n", "'big' stands among models already"},
    {MODELS "aliases:\n- {name: x, to: bog}\n", "no model or router 'bog': is 'big' meant?"},
    {MODELS "aliases:\n- {name: x, to: big, dial: 1}\n", "nothing is left to choose"},
    {MODELS "routers:\n- {name: r, models: [big]}\naliases:\n- {name: x, to: r, models: "
            "[small]}\n",
     "router 'r' does not choose among 'small'"},
};

static void every_mistake_is_told_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        refused(mistakes[i].text, mistakes[i].told);
}

static void secrets_never_stand_in_a_message(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "models:\n- {name: a, base_url: http://h, api_key: {k: sk-very-secret}}\n",
        "models:\n- {name: a, base_url: http://h, api_key: [sk-very-secret, sk-very-secret]}\n",
        "models:\n- {name: a, base_url: http://h, api_key: '${TEST_BLANK}'}\n",
        "models:\n- {name: a, base_url: http://h, api_key: ['${TEST_KEY}', '${TEST_KEY}']}\n",
        "models:\n- {name: a, base_url: http://h, headers: {a: \"sk-very-secret\\r\"}}\n",
        "models:\n- {name: a, base_url: '${TEST_KEY}'}\nthreads: 1\n",
        MODELS "threads: ${TEST_KEY}\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct metallm__config *c;
        metallm_error err = {0};
        assert_int_not_equal(
            metallm__config_parse(&c, "t.yaml", texts[i], strlen(texts[i]), NULL, &err),
            METALLM_OK);
        if (strstr(err.message, "sk-very-secret") != NULL)
            fail_msg("%s", err.message);
    }
}

static void a_secret_in_plain_is_refused(void **state)
{
    (void)state;
#define PLAIN ": a secret in plain: name it as ${NAME} of the environment or file:PATH"
#define ONE   "models:\n- name: a\n  base_url: http://h\n"
    static const struct {
        const char *text, *told;
    } wrong[] = {
        {ONE "  api_key: sk-very-secret\n", "t.yaml:4: models[0].api_key" PLAIN},
        {ONE "  api_key:\n  - ${TEST_KEY}\n  - sk-very-secret\n",
         "t.yaml:6: models[0].api_key" PLAIN},
        {ONE "  api_key: ${TEST_NONE:-sk-very-secret}\n", "t.yaml:4: models[0].api_key" PLAIN},
        {ONE "  api_key: a${TEST_KEY}${TEST_NONE:-sk-very-secret}\n", "models[0].api_key" PLAIN},
        {ONE "  api_key: $${sk-very-secret}\n", "models[0].api_key" PLAIN},
        {ONE "  api_key: $sk-very-secret$\n", "models[0].api_key" PLAIN},
        {ONE "  api_key: 'file:'\n", "models[0].api_key" PLAIN},
        {"models:\n- name: a\n  deployments:\n  - base_url: http://h\n    api_key: "
         "sk-very-secret\n",
         "t.yaml:5: models[0].deployments[0].api_key" PLAIN},
        {ONE "  headers:\n    x-team: a\n    X-Api-Key: sk-very-secret\n",
         "t.yaml:6: models[0].headers.X-Api-Key" PLAIN},
        {ONE "  headers: {x-goog-api-key: sk-very-secret}\n", "headers.x-goog-api-key" PLAIN},
        {ONE "  headers: {api-key: sk-very-secret}\n", "headers.api-key" PLAIN},
        {ONE "  headers: {proxy-authorization: Basic sk-very-secret}\n",
         "headers.proxy-authorization" PLAIN},
        {ONE "auth: {admin_key: sk-very-secret-sk-very-secret}\n",
         "t.yaml:4: auth.admin_key" PLAIN},
        {ONE "encoder: {name: hash, api_key: sk-very-secret}\n", "t.yaml:4: encoder.api_key" PLAIN},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct metallm__config *c = NULL;
        metallm_error err = {0};
        const char *text = wrong[i].text;
        refused(text, wrong[i].told);
        assert_int_equal(metallm__config_parse(&c, "t.yaml", text, strlen(text), NULL, &err),
                         METALLM_EFORMAT);
        if (strstr(err.message, "sk-very-secret") != NULL)
            fail_msg("%s", err.message);
    }
    refused(ONE "  api_key: ${TEST_NONE}\n",
            "t.yaml:4: models[0].api_key: the environment variable 'TEST_NONE' is not set");
    metallm__config_drop(parse(ONE "  api_key: ''\n  headers: {x-api-key: 'k ${TEST_KEY}'}\n"));
#undef PLAIN
#undef ONE
}

static void loading_twice_gives_equal_configs(void **state)
{
    (void)state;
    static const char text[] = MODELS "routers:\n- {name: auto, target: 0.5}\n";
    static const char other[] = MODELS "routers:\n- {name: auto, target: 0.6}\n";
    const struct metallm__config *a = parse(text), *b = parse(text), *d = parse(other);
    assert_true(metallm__config_equal(a, b));
    assert_false(metallm__config_equal(a, d));
    metallm__config_drop(metallm__config_take(a));
    metallm__config_drop(a);
    metallm__config_drop(b);
    metallm__config_drop(d);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void a_reload_keeps_what_cannot_change(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config_XXXXXX";
    close(mkstemp(path));
    write_file(path, MODELS "listen: 127.0.0.1:80\n");
    const struct metallm__config *old = NULL, *c = NULL;
    metallm_error err = {0};
    assert_int_equal(metallm__config_load(&old, path, NULL, &err), METALLM_OK);
    write_file(path, MODELS "listen: 127.0.0.1:80\nlimits: {idle_ms: 5s}\n");
    assert_int_equal(metallm__config_reload(&c, old, NULL, &err), METALLM_OK);
    assert_int_equal(c->limits.idle_ms, 5000);
    metallm__config_drop(c);
    write_file(path, MODELS "\n\nlisten: 127.0.0.1:81\n");
    assert_int_not_equal(metallm__config_reload(&c, old, NULL, &err), METALLM_OK);
    assert_non_null(strstr(err.message, ":10: listen: cannot change while the gateway runs"));
    write_file(path, MODELS "encoder: hash\nlisten: 127.0.0.1:80\n");
    assert_int_not_equal(metallm__config_reload(&c, old, NULL, &err), METALLM_OK);
    assert_non_null(strstr(err.message, ":8: encoder.name: cannot change"));
    assert_string_equal(old->listen.items[0], "127.0.0.1:80");
    metallm__config_drop(old);
    unlink(path);
}

static int parse_changed(const struct metallm__config_change *items, uint32_t count,
                         const struct metallm__config **out, metallm_error *err)
{
    static const char text[] = MODELS "routers:\n- {name: auto, budget: {usd: 5}}\n";
    const struct metallm__config_changes changes = {items, count};
    return metallm__config_parse(out, "t.yaml", text, strlen(text), &changes, err);
}

static void changes_lie_over_the_file(void **state)
{
    (void)state;
    static const struct metallm__config_change items[] = {
        {"state", "new", "{\"state\":\"drained\"}"},
        {"router", "auto", "{\"dial\": 0.7}"},
        {"price", "small", "{\"price\":{\"input\":7,\"output\":8}}"},
        {"model", "new", "{\"name\":\"new\",\"base_url\":\"http://n/v1\",\"like\":\"big\"}"},
        {"model", "big", "{\"name\":\"big\",\"base_url\":\"http://other/v1\"}"},
        {"price", "gone", "{\"price\":{\"input\":7,\"output\":8}}"},
        {"router", "gone", "{\"dial\": 0.7}"},
    };
    const struct metallm__config *c = NULL;
    metallm_error err = {0};
    assert_int_equal(parse_changed(items, 7, &c, &err), METALLM_OK);
    assert_int_equal(c->model_count, 3);
    assert_true(c->models[2].by_admin && c->models[2].drained);
    assert_int_equal(c->models[2].like, 0);
    assert_string_equal(c->models[0].deployments[0].base_url, "https://api.example.com/v1");
    assert_near(c->models[1].prices[0].input, 7, 0);
    assert_near(c->routers[0].dial, 0.7, 0);
    assert_true(isnan(c->routers[0].budget_usd) && c->routers[0].by_admin);
    assert_int_equal(c->routers[0].model_count, 3);
    metallm__config_drop(c);

    static const struct {
        struct metallm__config_change change;
        const char *told;
    } wrong[] = {
        {{"model", "n", "{\"name\":\"n\"}"}, "wants a base_url"},
        {{"model", "n", "{\"name\":\"n\",\"base\":1}"}, "admin change of model 'n': unknown key"},
        {{"model", "n", "{\"name\":\"m\",\"base_url\":\"http://h\"}"}, "name is 'm'"},
        {{"price", "big", "{}"},
         "routers[0].budget: needs the price of every model, and that of 'big'"},
        {{"state", "big", "{\"state\":\"off\"}"}, "is none of serving drained retired"},
        {{"router", "auto", "{\"dial\":1,\"target\":0.5}"}, "give one of dial"},
        {{"router", "auto", "not json"}, "wants 'key: value'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int rc = parse_changed(&wrong[i].change, 1, &c, &err);
        if (rc == METALLM_OK)
            metallm__config_drop(c);
        else if (strstr(err.message, wrong[i].told) == NULL)
            fail_msg("%s", err.message);
        assert_int_equal(rc == METALLM_OK, wrong[i].told[0] == '\0');
    }
}

static int parse_once(void *payload)
{
    (void)payload;
    static const struct metallm__config_change items[] = {
        {"model", "new",
         "{\"name\":\"new\",\"protocol\":\"bedrock\",\"region\":\"us-east-1\",\"api_key\":["
         "\"${TEST_KEY}\",\"${TEST_OTHER}\"],\"price\":{\"usd_per_call\":1}}"}};
    const struct metallm__config *c = NULL;
    int rc = parse_changed(items, 1, &c, NULL);
    if (rc == METALLM_OK)
        metallm__config_drop(c);
    return rc;
}

static void a_failing_allocation_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(parse_once, NULL) > 50);
}

static void periods_follow_the_calendar(void **state)
{
    (void)state;
    const uint64_t wall = 1772323199000u; /* 2026-02-28 23:59:59 UTC */
    assert_int_equal(metallm__period_begin(METALLM__PERIOD_DAY, wall), 1772236800000u);
    assert_int_equal(metallm__period_end(METALLM__PERIOD_DAY, wall), 1772323200000u);
    assert_int_equal(metallm__period_begin(METALLM__PERIOD_MONTH, wall), 1769904000000u);
    assert_int_equal(metallm__period_end(METALLM__PERIOD_MONTH, wall), 1772323200000u);
    assert_int_equal(metallm__period_end(METALLM__PERIOD_MONTH, 1796083200000u), 1798761600000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_useful_config_works),
        cmocka_unit_test(everything_can_be_said),
        cmocka_unit_test(protocols_imply_their_places),
        cmocka_unit_test(a_deployment_takes_from_its_model_what_it_leaves_open),
        cmocka_unit_test(each_key_is_a_deployment_of_its_own),
        cmocka_unit_test(too_many_keys_are_refused),
        cmocka_unit_test(every_mistake_is_told_with_its_line),
        cmocka_unit_test(secrets_never_stand_in_a_message),
        cmocka_unit_test(a_secret_in_plain_is_refused),
        cmocka_unit_test(loading_twice_gives_equal_configs),
        cmocka_unit_test(a_reload_keeps_what_cannot_change),
        cmocka_unit_test(changes_lie_over_the_file),
        cmocka_unit_test(a_failing_allocation_is_told),
        cmocka_unit_test(periods_follow_the_calendar),
    };
    return cmocka_run_group_tests(tests, with_environment, NULL);
}
