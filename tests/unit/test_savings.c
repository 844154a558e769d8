/* SPDX-License-Identifier: Apache-2.0
 * test_savings.c - what `metallm report` says of a log that is worked by hand. */
#include "eval/savings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "support/cmocka_all.h"

/* Eight decisions between "a" and "b \"x\"", each drawn with chance 1/2 in turn: a scores 1 and
 * costs 1, b scores 0 and costs 3. The predictions say .5 and 2 for both. */
static struct metallm__decision_log *eight(void)
{
    char path[] = "/tmp/metallm-savings-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    for (int i = 0; i < 8; i++)
        fprintf(f,
                "{\"id\":\"%d\",\"time\":%d,\"model\":\"%s\",\"propensity\":0.5,\"estimates\":["
                "{\"model\":\"a\",\"quality\":0.5,\"cost_usd\":2},"
                "{\"model\":\"b \\\"x\\\"\",\"quality\":0.5,\"cost_usd\":2}],"
                "\"cost_usd\":%d,\"feedback\":{\"score\":%d}}\n",
                i, i, i % 2 == 0 ? "a" : "b \\\"x\\\"", i % 2 == 0 ? 1 : 3, i % 2 == 0);
    assert_int_equal(fclose(f), 0);
    struct metallm__decision_log *l = NULL;
    assert_int_equal(metallm__decision_log_new(&l, NULL), METALLM_OK);
    assert_int_equal(metallm__decision_log_read(
                         l, path, &(struct metallm__log_options){.is_strict = 1}, NULL, NULL),
                     METALLM_OK);
    assert_int_equal(unlink(path), 0);
    return l;
}

static double number_at(yyjson_val *root, const char *pointer)
{
    yyjson_val *v = yyjson_ptr_get(root, pointer);
    if (!yyjson_is_num(v))
        fail_msg("no number at %s", pointer != NULL ? pointer : "?");
    return yyjson_get_num(v);
}

static void the_json_tells_what_each_model_alone_would_have_earned_and_saved(void **state)
{
    (void)state;
    struct metallm__decision_log *l = eight();
    struct metallm__savings s = {.log = l};
    for (uint32_t m = 0; m < 2; m++)
        assert_int_equal(
            metallm__savings_add(
                &s, "always \"\n",
                &(struct metallm__whatif_policy){.kind = METALLM__WHATIF_ALWAYS, .model = m}, NULL),
            METALLM_OK);
    assert_int_equal(metallm__savings_fill(&s, NULL, NULL), METALLM_OK);
    assert_true(metallm__savings_saved(&s, 0) == -8); /* 8 dollars instead of 16 */
    assert_true(metallm__savings_saved(&s, 1) == 8);
    struct metallm__buf b;
    metallm__buf_init(&b, 1 << 20);
    metallm__savings_json(&s, &b);
    assert_int_equal(metallm__buf_check(&b, NULL), METALLM_OK);
    yyjson_doc *doc = NULL;
    assert_int_equal(metallm__json_read(&doc, b.data, b.len, NULL), METALLM_OK);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct {
        const char *pointer;
        double value;
    } known[] = {
        {"/decisions", 8},
        {"/with_feedback", 8},
        {"/quality", .5},
        {"/spent_usd", 16},
        {"/explored", .5},
        {"/share/b \"x\"", .5},
        {"/policies/0/quality/ips/value", 1},
        {"/policies/0/quality/snips/value", 1},
        {"/policies/0/quality/dr/value", 1}, /* .5 + mean of 2 (1 - .5) over half */
        {"/policies/0/quality/gain/value", .5},
        {"/policies/0/quality/ess", 4},
        {"/policies/0/quality/mean_weight", 1},
        {"/policies/1/quality/dr/value", 0},
        {"/policies/1/cost_usd/snips/value", 3},
        {"/policies/1/saved_usd", 8},
        {"/policies/1/share/a", 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_true(fabs(number_at(root, known[i].pointer) - known[i].value) < 1e-12);
    assert_string_equal(yyjson_get_str(yyjson_ptr_get(root, "/policies/0/quality/warnings/0")),
                        "few");
    assert_true(strlen(metallm__savings_warning(METALLM__OPE_FEW)) > 0);
    assert_string_equal(metallm__savings_warning(0), "");
    yyjson_doc_free(doc);
    metallm__buf_fini(&b);
    metallm__savings_fini(&s);
    metallm__decision_log_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_json_tells_what_each_model_alone_would_have_earned_and_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
