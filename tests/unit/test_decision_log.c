/* SPDX-License-Identifier: Apache-2.0
 * test_decision_log.c - what is written is read back; bad lines are named and leave no trace; other
 * policies on the log. */
#include "eval/decision_log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "eval/whatif.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static char path[] = "/tmp/metallm-log-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct metallm__decision_log *new_log(void)
{
    struct metallm__decision_log *l = NULL;
    assert_int_equal(metallm__decision_log_new(&l, NULL), METALLM_OK);
    return l;
}

static const char *name_of(const void *payload, uint32_t model)
{
    return ((const char *const *)payload)[model];
}

static void same(float a, float b)
{
    assert_true(a == b || (isnan(a) && isnan(b)));
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    const char *const names[] = {"a\"\\\t/x", "modèle", "c"};
    struct metallm__log_estimate e[] = {
        {.1f, NAN, 1.00000012e-5f, NAN, -.5f, .25f, 2},
        {1 / 3.f, .1f, NAN, 12.5f, NAN, NAN, 0},
    };
    const struct metallm__log_decision d = {
        .id = "q-1\n",
        .time = 1763856000.125,
        .policy = "linucb",
        .policy_version = "7",
        .estimates = e,
        .count = 2,
        .chosen = 1,
        .propensity = .02,
        .dial = .3f,
        .max_cost_usd = .5f,
        .cost_scale_usd = .015f,
        .outcome = {NAN, 2e-4f, NAN},
    };
    struct metallm__buf b;
    metallm__buf_init(&b, 1 << 20);
    metallm__log_print(&b, &d, name_of, names);
    metallm__log_print_outcome(&b, "q-1\n", &(struct metallm__log_outcome){.75f, NAN, 31});
    assert_int_equal(metallm__buf_check(&b, NULL), METALLM_OK);
    write_file(b.data, b.len);
    metallm__buf_fini(&b);

    struct metallm__decision_log *l = new_log();
    struct metallm__log_report report = {0};
    assert_int_equal(metallm__decision_log_read(
                         l, path, &(struct metallm__log_options){.is_strict = 1}, &report, NULL),
                     METALLM_OK);
    assert_int_equal(metallm__decision_log_count(l), 1);
    assert_int_equal(report.outcomes, 1);
    assert_int_equal(report.orphans, 0);
    struct metallm__log_decision r = metallm__decision_log_get(l, 0);
    assert_true(r.time == d.time);
    same((float)r.propensity, (float)d.propensity);
    same(r.dial, d.dial);
    same(r.target, 0);
    same(r.max_cost_usd, d.max_cost_usd);
    same(r.cost_scale_usd, d.cost_scale_usd);
    assert_string_equal(r.policy, "linucb");
    assert_int_equal(r.chosen, 1);
    for (int i = 0; i < 2; i++) {
        same(r.estimates[i].quality, e[i].quality);
        same(r.estimates[i].quality_sd, e[i].quality_sd);
        same(r.estimates[i].cost_usd, e[i].cost_usd);
        same(r.estimates[i].latency_ms, e[i].latency_ms);
        same(r.estimates[i].score, e[i].score);
        same(r.estimates[i].price_usd, e[i].price_usd);
        assert_string_equal(metallm__decision_log_model(l, r.estimates[i].model),
                            names[e[i].model]);
    }
    same(r.outcome.score, .75f);
    same(r.outcome.cost_usd, 2e-4f);
    same(r.outcome.latency_ms, 31);
    metallm__decision_log_free(l);
    metallm__decision_log_free(NULL);
}

#define GOOD                                                                                       \
    "{\"id\":\"1\",\"time\":1,\"model\":\"a\",\"propensity\":1,\"estimates\":[{\"model\":\"a\"}]}"

struct told {
    size_t count;
    char last[METALLM_ERROR_BYTES];
};

static void remember(void *payload, const char *message)
{
    struct told *t = payload;
    t->count++;
    snprintf(t->last, sizeof t->last, "%s", message);
}

static void bad_lines_are_named_and_leave_no_trace(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"{", "not JSON"},
        {"\xff\xfe", "not JSON"},
        {"[1,2]", "not a JSON object"},
        {"{\"time\":1}", "'id'"},
        {"{\"id\":\"a\\u0000b\"}", "'id'"},
        {"{\"id\":\"2\",\"feedback\":{\"score\":7}}", "'score'"},
        {"{\"id\":\"2\",\"feedback\":0.5}", "'feedback'"},
        {"{\"id\":\"2\",\"cost_usd\":-1}", "'cost_usd'"},
        {"{\"id\":\"2\",\"time\":\"now\",\"model\":\"a\",\"propensity\":1,\"estimates\":[]}",
         "'time'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":0,\"estimates\":[]}",
         "'propensity'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1e999,\"estimates\":[]}",
         "not JSON"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,\"estimates\":[]}",
         "'estimates'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,\"estimates\":{}}",
         "'estimates'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,\"estimates\":[3]}",
         "'estimates'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"zz\",\"propensity\":1,"
         "\"estimates\":[{\"model\":\"yy\"}]}",
         "not among"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,"
         "\"estimates\":[{\"model\":\"a\"},{\"model\":\"a\"}]}",
         "twice"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,"
         "\"estimates\":[{\"model\":\"a\",\"quality\":\"good\"}]}",
         "'quality'"},
        {"{\"id\":\"2\",\"time\":1,\"model\":\"a\",\"propensity\":1,\"constraints\":7,"
         "\"estimates\":[{\"model\":\"a\"}]}",
         "'constraints'"},
        {GOOD, "second decision"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[1024], where[64];
        int len = snprintf(text, sizeof text, "%s\r\n\n%s\n%s", GOOD, bad[i].line,
                           "{\"id\":\"1\",\"feedback\":{\"score\":1}}");
        write_file(text, (size_t)len);
        snprintf(where, sizeof where, "%s:3: ", path);
        struct metallm__decision_log *l = new_log();
        struct told told = {0};
        struct metallm__log_options opts = {.problem = remember, .problem_payload = &told};
        struct metallm__log_report report = {0};
        metallm_error err = {0};
        assert_int_equal(metallm__decision_log_read(l, path, &opts, &report, &err), METALLM_OK);
        assert_int_equal(told.count, 1);
        assert_int_equal(report.bad, 1);
        assert_int_equal(report.lines, 3);
        if (strstr(told.last, where) == NULL || strstr(told.last, bad[i].says) == NULL)
            fail_msg("line %zu: '%s'", i, told.last);
        assert_int_equal(metallm__decision_log_count(l), 1);
        assert_int_equal(metallm__decision_log_models(l), 1);
        same(metallm__decision_log_get(l, 0).outcome.score, 1);
        metallm__decision_log_free(l);

        l = new_log();
        opts.is_strict = 1;
        assert_int_equal(metallm__decision_log_read(l, path, &opts, NULL, &err), METALLM_EFORMAT);
        assert_non_null(strstr(err.message, where));
        metallm__decision_log_free(l);
    }
}

static void a_cut_file_gives_all_but_its_last_line_at_every_length(void **state)
{
    (void)state;
    const char text[] = GOOD "\n{\"id\":\"1\",\"feedback\":{\"score\":0.5}}\n";
    for (size_t len = 0; len < sizeof text; len++) {
        write_file(text, len);
        struct metallm__decision_log *l = new_log();
        assert_int_equal(
            metallm__decision_log_read(l, path, &(struct metallm__log_options){0}, NULL, NULL),
            METALLM_OK);
        assert_int_equal(metallm__decision_log_count(l), len >= strlen(GOOD));
        metallm__decision_log_free(l);
    }
}

static void an_endless_line_is_refused(void **state)
{
    (void)state;
    size_t len = METALLM__LOG_LINE_BYTES_MAX + 10;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '[', len);
    write_file(text, len);
    free(text);
    struct metallm__decision_log *l = new_log();
    struct metallm__log_report report = {0};
    assert_int_equal(
        metallm__decision_log_read(l, path, &(struct metallm__log_options){0}, &report, NULL),
        METALLM_OK);
    assert_int_equal(report.bad, 1);
    metallm__decision_log_free(l);
    l = new_log();
    metallm_error err;
    assert_int_equal(metallm__decision_log_read(l, "/nonexistent/log",
                                                &(struct metallm__log_options){0}, NULL, &err),
                     METALLM_ENOTFOUND);
    metallm__decision_log_free(l);
}

/* A log of n decisions among three models; model 1's score is 1 in the odd decisions. */
static void write_log(size_t n, double explore, uint64_t seed)
{
    const char *const names[] = {"small", "middle", "big"};
    struct metallm__buf b;
    metallm__buf_init(&b, 1 << 26);
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        struct metallm__log_estimate e[3];
        for (uint32_t m = 0; m < 3; m++)
            e[m] = (struct metallm__log_estimate){
                .4f + .2f * (float)m, NAN, .001f * (float)(m + 1), NAN, NAN, NAN, m};
        uint32_t chosen = metallm__rng_uniform(&rng) < explore ? metallm__rng_below(&rng, 3) : 0;
        char id[32];
        snprintf(id, sizeof id, "%zu", i);
        double chance = .45 + .2 * chosen;
        const struct metallm__log_decision d = {
            .id = id,
            .time = (double)i,
            .policy = "epsilon",
            .estimates = e,
            .count = 3,
            .chosen = chosen,
            .propensity = explore / 3 + (chosen == 0 ? 1 - explore : 0),
            .cost_scale_usd = .003f,
            .outcome = {(float)(metallm__rng_uniform(&rng) < chance), e[chosen].cost_usd, NAN}};
        metallm__log_print(&b, &d, name_of, names);
    }
    assert_int_equal(metallm__buf_check(&b, NULL), METALLM_OK);
    write_file(b.data, b.len);
    metallm__buf_fini(&b);
}

static int read_all(void *payload)
{
    (void)payload;
    struct metallm__decision_log *l = NULL;
    int rc = metallm__decision_log_new(&l, NULL);
    if (rc == METALLM_OK)
        rc = metallm__decision_log_read(l, path, &(struct metallm__log_options){0}, NULL, NULL);
    struct metallm__whatif w;
    if (rc == METALLM_OK)
        rc = metallm__whatif(l, &(struct metallm__whatif_policy){0}, 0, &w, NULL);
    metallm__decision_log_free(l);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    write_log(3, .5, 1);
    assert_true(fail_alloc_sweep(read_all, NULL) > 5);
}

static void rules_choose_by_dial_target_and_cap(void **state)
{
    (void)state;
    struct metallm__log_estimate e[] = {{.5f, NAN, .001f, NAN, NAN, NAN, 0},
                                        {.7f, NAN, .002f, NAN, NAN, NAN, 1},
                                        {.8f, NAN, .010f, NAN, NAN, NAN, 2}};
    struct metallm__log_decision d = {.estimates = e, .count = 3, .cost_scale_usd = .010f};
    const uint8_t not_big[] = {1, 1, 0}, none[] = {0, 0, 0};
    const struct {
        struct metallm__whatif_policy p;
        int choice; /* -1: unusable */
    } cases[] = {
        {{.constraints = {.dial = 0}}, 2},
        {{.constraints = {.dial = .2f}}, 1}, /* .48, .66, .6 */
        {{.constraints = {.dial = 3}}, 0},   /* .2, .1, -2.2 */
        {{.constraints = {.target = .6f}}, 1},
        {{.constraints = {.target = .4f}}, 0},
        {{.constraints = {.target = .9f}}, 2},
        {{.constraints = {.max_cost_usd = .002f}}, 1},
        {{.constraints = {.max_cost_usd = .0001f}}, 0}, /* none is cheap enough: the cheapest */
        {{.constraints = {.allowed = not_big}}, 1},
        {{.constraints = {.allowed = none}}, -1},
        {{.kind = METALLM__WHATIF_ALWAYS, .model = 1}, 1},
        {{.kind = METALLM__WHATIF_ALWAYS, .model = 9}, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double chance[3];
        bool is_usable = metallm__whatif_choose(&cases[i].p, &d, chance);
        assert_int_equal(is_usable, cases[i].choice >= 0);
        for (int m = 0; m < 3 && is_usable; m++)
            assert_true(chance[m] == (m == cases[i].choice));
    }
    double chance[3];
    const struct metallm__whatif_policy random = {.kind = METALLM__WHATIF_RANDOM,
                                                  .constraints = {.allowed = not_big}};
    assert_true(metallm__whatif_choose(&random, &d, chance));
    assert_true(chance[0] == .5 && chance[1] == .5 && chance[2] == 0);
    e[1].cost_usd = NAN; /* counts as the scale */
    assert_true(metallm__whatif_choose(
        &(struct metallm__whatif_policy){.constraints = {.dial = .2f}}, &d, chance));
    assert_true(chance[2] == 1);
}

static void a_log_tells_what_each_model_alone_would_have_earned(void **state)
{
    (void)state;
    write_log(20000, .3, 5);
    struct metallm__decision_log *l = new_log();
    assert_int_equal(
        metallm__decision_log_read(l, path, &(struct metallm__log_options){0}, NULL, NULL),
        METALLM_OK);
    for (uint32_t m = 0; m < 3; m++) {
        struct metallm__whatif w;
        const struct metallm__whatif_policy p = {.kind = METALLM__WHATIF_ALWAYS, .model = m};
        assert_int_equal(metallm__whatif(l, &p, 0, &w, NULL), METALLM_OK);
        double truth = .45 + .2 * m;
        assert_true(w.quality.dr.low < truth && truth < w.quality.dr.high);
        assert_true(w.quality.snips.low < truth && truth < w.quality.snips.high);
        assert_true(w.quality.dr.high - w.quality.dr.low < .06);
        assert_true(fabs(w.cost.dr.value - .001 * (m + 1)) < 1e-8); /* the cost model is exact */
        assert_true(w.share[m] == 1);
        assert_int_equal(w.quality.warnings, 0);
    }
    struct metallm__log_summary s;
    metallm__log_summarise(l, &s);
    assert_int_equal(s.scored, 20000);
    assert_true(fabs(s.quality - (.8 * .45 + .1 * .65 + .1 * .85)) < .02);
    assert_true(s.quality_low < s.quality && s.quality < s.quality_high);
    assert_true(s.from == 0 && s.to == 19999);
    metallm__decision_log_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(bad_lines_are_named_and_leave_no_trace),
        cmocka_unit_test(a_cut_file_gives_all_but_its_last_line_at_every_length),
        cmocka_unit_test(an_endless_line_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test(rules_choose_by_dial_target_and_cap),
        cmocka_unit_test(a_log_tells_what_each_model_alone_would_have_earned),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
