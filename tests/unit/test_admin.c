/* SPDX-License-Identifier: Apache-2.0
 * test_admin.c - the admin API on a real store: what it changes lies over the file and can be taken
 * back, what it refuses leaves no trace, and no secret comes out of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "gateway/admin.h"
#include "gateway/keep.h"
#include "support/cmocka_all.h"

static const char config_text[] =
    "models:\n"
    "- {name: big, base_url: http://b/v1, api_key: '${TEST_CANARY}', price: {input: 2, output: 8},"
    " headers: {x-key: sk-canary}}\n"
    "- {name: org/small, base_url: http://s/v1, price: {input: 0.1, output: 0.2}}\n"
    "routers: [{name: auto, dial: 0.2}]\n"
    "auth: {admin_key: '${TEST_CANARY}'}\n";

static struct {
    char folder[32], path[64];
    struct metallm__store *store;
    const struct metallm__config *config;
    struct metallm__limits *limits;
} here;

static int begin(void **state)
{
    (void)state;
    char url[80];
    setenv("TEST_CANARY", "sk-canary-0123456789", 1);
    snprintf(here.folder, sizeof here.folder, "/tmp/test_admin_XXXXXX");
    assert_non_null(mkdtemp(here.folder));
    snprintf(here.path, sizeof here.path, "%s/metallm.yaml", here.folder);
    snprintf(url, sizeof url, "sqlite:%s/m.db", here.folder);
    FILE *f = fopen(here.path, "w");
    assert_non_null(f);
    fputs(config_text, f);
    fclose(f);
    assert_int_equal(metallm__store_open(&here.store, url, METALLM__STORE_FILL, NULL), METALLM_OK);
    assert_int_equal(metallm__config_load(&here.config, here.path, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__limits_new(&here.limits, NULL), METALLM_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    static const char *const names[] = {"metallm.yaml", "m.db", "m.db-wal", "m.db-shm"};
    metallm__limits_free(here.limits);
    metallm__config_drop(here.config);
    metallm__store_close(here.store);
    for (size_t i = 0; i < 4; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", here.folder, names[i]);
        unlink(path);
    }
    return rmdir(here.folder);
}

/* One request as the gateway makes it, and what it changed put in force. The document is the
 * caller's to free. */
static yyjson_doc *ask(const char *method, const char *path, const char *body, int status)
{
    const struct metallm__admin a = {.store = here.store,
                                     .config = here.config,
                                     .limits = here.limits,
                                     .wall_ms = 1772323199000u};
    const struct metallm__admin_request r = {method, path, body, strlen(body)};
    struct metallm__admin_answer out;
    assert_int_equal(metallm__ledger_begin(here.store, false, NULL), METALLM_OK);
    int rc = metallm__admin_do(&a, &r, &out);
    if (rc == METALLM_OK)
        assert_int_equal(metallm__ledger_commit(here.store, NULL), METALLM_OK);
    metallm__ledger_abort(here.store);
    if (out.status != status)
        fail_msg("%s %s %s gave %d, not %d: %s", method, path, body, out.status, status,
                 out.body.data);
    assert_int_equal(rc == METALLM_OK, status < 400);
    assert_true(status < 400 || out.effects == 0);
    assert_null(strstr(out.body.data, "sk-canary"));
    yyjson_doc *doc = NULL;
    assert_int_equal(metallm__json_read(&doc, out.body.data, out.body.len, NULL), METALLM_OK);
    if ((out.effects & METALLM__ADMIN_CONFIG) != 0) {
        struct metallm__changes *changes = NULL;
        const struct metallm__config *next = NULL;
        assert_int_equal(metallm__keep_changes(here.store, &changes, NULL), METALLM_OK);
        assert_int_equal(
            metallm__config_load(&next, here.path, metallm__changes_list(changes), NULL),
            METALLM_OK);
        metallm__changes_free(changes);
        metallm__config_drop(here.config);
        here.config = next;
    }
    metallm__buf_fini(&out.body);
    return doc;
}

static void does(const char *method, const char *path, const char *body, int status)
{
    yyjson_doc_free(ask(method, path, body, status));
}

static void refuses(const char *method, const char *path, const char *body, int status,
                    const char *told)
{
    yyjson_doc *doc = ask(method, path, body, status);
    yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
    const char *message = yyjson_get_str(yyjson_obj_get(error, "message"));
    if (message == NULL || strstr(message, told) == NULL)
        fail_msg("%s, not %s", message, told);
    yyjson_doc_free(doc);
}

static void keys_are_made_changed_and_revoked(void **state)
{
    (void)state;
    char id[METALLM__KEY_ID_LEN + 1], path[64];
    yyjson_doc *doc = ask("POST", "/admin/keys",
                          "{\"name\":\"n\",\"budget\":{\"usd\":5},\"requests_per_minute\":9}", 201);
    const char *key = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "key"));
    assert_int_equal(strlen(key), METALLM__KEY_TEXT_LEN);
    memcpy(id, key, sizeof id - 1);
    id[sizeof id - 1] = '\0';
    yyjson_doc_free(doc);
    snprintf(path, sizeof path, "/admin/keys/%s", id);
    doc = ask("PATCH", path, "{\"requests_per_minute\":null,\"name\":\"m\"}", 200);
    assert_null(yyjson_obj_get(yyjson_doc_get_root(doc), "requests_per_minute"));
    assert_null(yyjson_obj_get(yyjson_doc_get_root(doc), "key"));
    yyjson_doc_free(doc);
    doc = ask("GET", path, "", 200);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "name")), "m");
    assert_true(yyjson_get_num(yyjson_obj_get(yyjson_doc_get_root(doc), "spent_usd")) == 0);
    yyjson_doc_free(doc);
    does("DELETE", path, "", 200);
    doc = ask("GET", "/admin/keys", "", 200);
    yyjson_val *first = yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), "data"), 0);
    assert_true(yyjson_get_uint(yyjson_obj_get(first, "revoked_ms")) == 1772323199000u);
    yyjson_doc_free(doc);
    refuses("POST", "/admin/keys", "{\"nam\":1}", 400, "is 'name' meant?");
    refuses("POST", "/admin/keys", "{\"revoked_ms\":1}", 400, "set by metallm itself");
    refuses("POST", "/admin/keys", "", 400, "a body is missing");
    refuses("GET", "/admin/keys/mk_nobody00", "", 404, "no client key");
}

static void models_come_and_go(void **state)
{
    (void)state;
    does("POST", "/admin/models",
         "{\"name\":\"new\",\"base_url\":\"http://n/v1\",\"api_key\":\"${HOME}\","
         "\"price\":{\"input\":1,\"output\":2},\"like\":\"big\"}",
         201);
    assert_int_equal(here.config->model_count, 3);
    assert_true(here.config->models[2].by_admin);
    does("PATCH", "/admin/models/org/small",
         "{\"price\":{\"input\":7,\"output\":9},\"state\":\"drained\"}", 200);
    assert_true(here.config->models[1].drained);
    assert_true(here.config->models[1].prices[0].input == 7);
    yyjson_doc *doc = ask("GET", "/admin/models/org%2Fsmall", "", 200);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "state")),
                        "drained");
    yyjson_doc_free(doc);
    does("PATCH", "/admin/models/org/small", "{\"price\":null}", 200);
    assert_true(here.config->models[1].prices[0].input == 0.1 && here.config->models[1].drained);
    does("DELETE", "/admin/models/org/small", "", 200);
    assert_false(here.config->models[1].drained);
    does("DELETE", "/admin/models/new", "", 200);
    assert_int_equal(here.config->model_count, 2);
    does("GET", "/admin/models", "", 200);
}

static void a_model_of_another_protocol_with_several_keys_is_added(void **state)
{
    (void)state;
    does("POST", "/admin/models",
         "{\"name\":\"new\",\"protocol\":\"anthropic\",\"api_key\":[\"${HOME}\",\"${PATH}\"],"
         "\"price\":{\"input\":1,\"output\":2}}",
         201);
    assert_int_equal(here.config->models[2].deployment_count, 2);
    assert_string_equal(here.config->models[2].deployments[1].name, "api.anthropic.com:443#2");
    yyjson_doc *doc = ask("GET", "/admin/models/new", "", 200);
    yyjson_val *places = yyjson_obj_get(yyjson_doc_get_root(doc), "deployments");
    assert_int_equal(yyjson_arr_size(places), 2);
    yyjson_val *first = yyjson_arr_get(places, 0);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "protocol")), "anthropic");
    assert_null(yyjson_obj_get(first, "api_key"));
    yyjson_doc_free(doc);
    does("DELETE", "/admin/models/new", "", 200);
}

static void routers_are_set(void **state)
{
    (void)state;
    does("PATCH", "/admin/routers/auto", "{\"budget\":{\"usd\":5,\"per\":\"month\"}}", 200);
    assert_true(here.config->routers[0].budget_usd == 5 && isnan(here.config->routers[0].dial));
    yyjson_doc *doc = ask("GET", "/admin/changes", "", 200);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(yyjson_doc_get_root(doc), "data")), 1);
    yyjson_doc_free(doc);
    does("GET", "/admin/routers/auto", "", 200);
    does("GET", "/admin/routers", "", 200);
    does("DELETE", "/admin/routers/auto", "", 200);
    assert_true(here.config->routers[0].dial == 0.2);
    does("POST", "/admin/reload", "", 200);
}

static void what_is_refused_leaves_no_trace(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *told;
    } wrong[] = {
        {"POST", "/admin/models", "{\"name\":\"x\",\"base_url\":\"http://x\",\"api_key\":\"sk-1\"}",
         400, "is not stored"},
        {"POST", "/admin/models",
         "{\"name\":\"x\",\"base_url\":\"http://x\",\"api_key\":[\"${HOME}\",\"sk-1\"]}", 400,
         "is not stored"},
        {"POST", "/admin/models", "{\"name\":\"x\",\"protocol\":\"antropic\"}", 400,
         "is none of openai"},
        {"POST", "/admin/models",
         "{\"name\":\"x\",\"base_url\":\"http://x\",\"headers\":{\"a\":\"b\"}}", 400,
         "is not stored"},
        {"POST", "/admin/models",
         "{\"name\":\"x\",\"deployments\":[{\"base_url\":\"http://x\",\"api_key\":\"sk-1\"}]}", 400,
         "is not stored"},
        {"POST", "/admin/models",
         "{\"name\":\"x\",\"base_url\":\"http://x\",\"api_key\":"
         "\"${NO_SUCH_NAME}\"}",
         400, "'NO_SUCH_NAME' is not set"},
        {"POST", "/admin/models", "{\"name\":\"x\"}", 400, "wants a base_url"},
        {"POST", "/admin/models", "{\"base_url\":\"http://x\"}", 400, "wants a name"},
        {"POST", "/admin/models", "{\"name\":\"big\",\"base_url\":\"http://x\"}", 409, "already"},
        {"POST", "/admin/models", "{", 400, "not JSON"},
        {"POST", "/admin/models", "[]", 400, "no JSON object"},
        {"PATCH", "/admin/models/big", "{}", 400, "wants price or state"},
        {"PATCH", "/admin/models/big", "{\"name\":\"y\"}", 400, "cannot be changed"},
        {"PATCH", "/admin/models/big", "{\"state\":\"off\"}", 400, "is none of serving"},
        {"PATCH", "/admin/models/big", "{\"price\":{\"input\":1}}", 400, "wants input and output"},
        {"PATCH", "/admin/models/nobody", "{\"state\":\"drained\"}", 404, "no model"},
        {"PATCH", "/admin/routers/auto", "{\"dial\":1,\"target\":0.5}", 400, "give one of dial"},
        {"PATCH", "/admin/routers/auto", "", 400, "wants dial"},
        {"PATCH", "/admin/routers/nobody", "{\"dial\":1}", 404, "no router"},
        {"PUT", "/admin/models", "{}", 405, "takes GET POST"},
        {"GET", "/admin/reload", "", 405, "takes POST"},
        {"GET", "/admin/config/x", "", 404, "nothing stands below"},
        {"GET", "/admin/nothing", "", 404, "no such path"},
        {"GET", "/admin/models/%zz", "", 404, "no such path"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuses(wrong[i].method, wrong[i].path, wrong[i].body, wrong[i].status, wrong[i].told);
    yyjson_doc *doc = ask("GET", "/admin/changes", "", 200);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(yyjson_doc_get_root(doc), "data")), 0);
    yyjson_doc_free(doc);
}

static void the_config_is_shown_masked(void **state)
{
    (void)state;
    yyjson_doc *doc = ask("GET", "/admin/config", "", 200);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *big = yyjson_arr_get(yyjson_obj_get(root, "models"), 0);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(big, "api_key")), "***");
    yyjson_val *headers = yyjson_obj_get(big, "headers");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(headers, "x-key")), "***");
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(yyjson_obj_get(root, "limits"), "body_bytes")),
                     20 << 20);
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_made_changed_and_revoked, begin, end),
        cmocka_unit_test_setup_teardown(models_come_and_go, begin, end),
        cmocka_unit_test_setup_teardown(a_model_of_another_protocol_with_several_keys_is_added,
                                        begin, end),
        cmocka_unit_test_setup_teardown(routers_are_set, begin, end),
        cmocka_unit_test_setup_teardown(what_is_refused_leaves_no_trace, begin, end),
        cmocka_unit_test_setup_teardown(the_config_is_shown_masked, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
