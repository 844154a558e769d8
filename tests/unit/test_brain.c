/* SPDX-License-Identifier: Apache-2.0
 * test_brain.c - what a router of the gateway believes and chooses: exact propensities,
 * constraints, the prompt cache's price, budgets, LLMs that come and go, and what feedback does to
 * all that. */
#include "gateway/brain.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "support/brain_box.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

enum { BIG, SMALL };

struct ask { /* one query with room for its answer */
    struct metallm__brain_query q;
    struct metallm__brain_decision d;
    struct metallm__candidate candidates[8];
    uint32_t order[8];
    float features[BOX_HEAD + BOX_TEXT];
};

static void ask_init(struct ask *a, metallm_rng *rng)
{
    *a = (struct ask){.q = {.dial = NAN,
                            .target = NAN,
                            .input_tokens = 100,
                            .session = {.model = METALLM__CONFIG_NONE},
                            .now_s = 1.8e9,
                            .rng = rng}};
    a->q.features = a->features;
    a->d.candidates = a->candidates;
    a->d.order = a->order;
}

static int decide(struct brain_box *box, struct ask *a)
{
    const struct metallm__view *v = metallm__brain_view(box->reader);
    metallm__brain_estimate(v, &a->q, &a->d);
    return metallm__brain_decide(v, &a->q, &a->d, NULL);
}

/* n rounds: each LLM's answers get its score; all is learned and in force at the end. */
static void teach(struct brain_box *box, int n, double big, double small)
{
    for (int i = 0; i < n; i++) {
        struct metallm__record r;
        const struct metallm__decision_id id = box_decide(box, &r);
        const struct metallm__feedback f = {.score = r.chosen == BIG ? big : small};
        while (metallm__journal_feedback(box->journal, &id, &f, NULL, NULL, NULL) == METALLM_EBUSY)
            usleep(100);
        if (i % 20 == 0) {
            box_flush(box);
            metallm__brains_publish(box->brains, true);
        }
    }
    box_flush(box);
    metallm__brains_publish(box->brains, true);
}

static void draws_follow_their_exact_propensities(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    metallm_rng rng;
    metallm_rng_seed(&rng, 2);
    box_open(&box, "    mode: online\n    dial: 0.1\n    explore: {share: 0.1, floor: 0.03}\n");
    teach(&box, 60, 0.8, 0.7);
    ask_init(&a, &rng);
    int drawn[2] = {0};
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(decide(&box, &a), METALLM_OK);
        drawn[a.d.chosen]++;
        assert_near(a.candidates[0].chance + a.candidates[1].chance, 1, 1e-12);
        assert_true(a.d.propensity == a.candidates[a.d.chosen].chance);
        assert_true(a.candidates[0].chance >= 0.03 && a.candidates[1].chance >= 0.03);
        assert_true(a.d.order_count == 2 && a.order[0] == a.d.chosen && a.order[1] != a.order[0]);
    }
    const double p = a.candidates[0].chance;
    assert_near(drawn[0] / 20000.0, p, 4 * sqrt(p * (1 - p) / 20000));
    box_close(&box);
}

static void feedback_teaches_a_router_without_a_file(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    box_open(&box, "    mode: online\n    dial: 0\n");
    ask_init(&a, &box.rng);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_near(a.candidates[BIG].quality, 0.5, 1e-9);
    assert_near(a.candidates[BIG].cost_usd, 1e-6 * (10 * 100 + 20 * 200), 1e-12);
    assert_near(a.candidates[SMALL].cost_usd, 1e-6 * (1 * 100 + 2 * 200), 1e-12);
    teach(&box, 300, 0.9, 0.3);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_near(a.candidates[BIG].quality, 0.9, 0.05);
    assert_near(a.candidates[SMALL].quality, 0.3, 0.1);
    assert_int_equal(a.d.chosen, BIG);
    /* tokens: 100 in, 50..149 out; cost and latency are learned without any feedback */
    assert_near(a.candidates[BIG].cost_usd, 1e-6 * (10 * 100 + 20 * 99.5), 4e-4);
    assert_near(a.candidates[BIG].latency_ms, 250, 30);
    struct metallm__brain_llm llm;
    metallm__view_llm(metallm__brain_view(box.reader), BIG, &llm);
    assert_string_equal(llm.name, "big");
    assert_true(llm.seen > 200 && !llm.is_new && llm.quality_low < 0.9 && llm.quality_high > 0.85);
    box_close(&box);
}

static void without_a_vector_it_decides_on_means(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    box_open(&box, "    mode: online\n    dial: 0\n");
    teach(&box, 200, 0.9, 0.2);
    ask_init(&a, &box.rng);
    a.q.features = NULL;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.dim == 0 && (a.d.flags & METALLM__RECORD_NO_VECTOR) != 0);
    assert_near(a.candidates[BIG].quality, 0.9, 0.06);
    a.q.features = a.features;
    a.features[3] = NAN;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.dim == 0 && (a.d.flags & METALLM__RECORD_NO_VECTOR) != 0);
    box_close(&box);
}

static void constraints_bind_or_are_refused(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    uint8_t allowed[2] = {0, 0};
    box_open(&box, "    mode: online\n    explore: {share: 0, newcomer: 0}\n    dial: 0\n    "
                   "policy: greedy\n");
    ask_init(&a, &box.rng);
    a.q.dial = -1;
    assert_int_equal(decide(&box, &a), METALLM_EINVAL);
    a.q.dial = NAN;
    a.q.target = 1.5;
    assert_int_equal(decide(&box, &a), METALLM_EINVAL);
    a.q.target = 0.4; /* both reach it: the cheaper */
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.chosen == SMALL && a.d.reason == METALLM_REASON_TARGET_MET);
    a.q.target = 0.9;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_int_equal(a.d.reason, METALLM_REASON_TARGET_MISSED);
    a.q.target = NAN;
    a.q.allowed = allowed;
    assert_int_equal(decide(&box, &a), METALLM_ENOTFOUND);
    allowed[BIG] = 1;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.chosen == BIG && a.d.propensity == 1 && a.d.order_count == 1);
    a.q.max_cost_usd = 1e-6;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_int_equal(a.d.reason, METALLM_REASON_OVER_MAX_COST);
    a.q.usd_left = 1e-6;
    assert_int_equal(decide(&box, &a), METALLM_ELIMIT);
    a.q.usd_left = 0;
    a.q.allowed = NULL;
    a.q.max_cost_usd = 0;
    a.q.money = 1; /* a key whose budget runs low */
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_int_equal(a.d.chosen, SMALL);
    box_close(&box);
}

static void a_follow_up_turn_stays_while_the_cache_is_worth_more(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    box_open(&box, "    mode: online\n    explore: {share: 0, newcomer: 0}\n    policy: greedy\n   "
                   " dial: 0.5\n");
    ask_init(&a, &box.rng);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_int_equal(a.d.chosen, SMALL); /* equal quality, a tenth of the price */
    const double lead = a.candidates[SMALL].score - a.candidates[BIG].score;
    /* stays with big when price * 1e-6 * context * (10 - 1) is above the lead */
    const double even = lead / (a.d.money * 1e-6 * 9);
    a.q.session = (struct metallm__brain_session){.model = BIG, .age_s = 10};
    a.q.session.context = (uint64_t)(even * 0.98);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.chosen == SMALL && (a.d.flags & METALLM__RECORD_STICKY) == 0);
    a.q.session.context = (uint64_t)(even * 1.02);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.chosen == BIG && (a.d.flags & METALLM__RECORD_STICKY) != 0);
    a.q.session.age_s = 3600; /* the provider has dropped it */
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_int_equal(a.d.chosen, SMALL);
    box_close(&box);
}

static void a_budget_makes_the_choice_cheaper_and_is_kept(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    double spent = 0;
    int cheap = 0;
    box_open(&box, "    mode: online\n    explore: {share: 0, newcomer: 0}\n    policy: greedy\n   "
                   " budget: {usd: 5, per: day}\n");
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    ask_init(&a, &rng);
    const double begin = 1799971200; /* 00:00 UTC */
    /* 2,000 requests over the day; big costs .005, all of them 10 dollars */
    for (int i = 0; i < 2000; i++) {
        a.q.now_s = begin + i * 43.2;
        assert_int_equal(decide(&box, &a), METALLM_OK);
        for (uint32_t m = 0; m < 2; m++) /* big is a little better */
            assert_true(a.candidates[m].quality == 0.5);
        const struct metallm__view *v = metallm__brain_view(box.reader);
        metallm__brain_estimate(v, &a.q, &a.d);
        a.candidates[BIG].quality = 0.5 + 0.2 * metallm__rng_uniform(&rng);
        assert_int_equal(metallm__brain_decide(v, &a.q, &a.d, NULL), METALLM_OK);
        spent += a.candidates[a.d.chosen].cost_usd;
        cheap += a.d.chosen == SMALL;
        metallm__brain_spent(v, a.candidates[a.d.chosen].cost_usd);
    }
    assert_true(spent <= 5 * 1.02 && spent > 5 * 0.85);
    assert_true(cheap > 500 && cheap < 1500);
    assert_near(metallm__view_spent(metallm__brain_view(box.reader)), spent, 1e-9);
    a.q.now_s = begin + 86400 + 1; /* the next day begins with nothing spent */
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_near(metallm__view_spent(metallm__brain_view(box.reader)), 0, 1e-12);
    box_close(&box);
}

static const char three[] = "  - name: big\n    base_url: http://127.0.0.1:1/v1\n"
                            "    price: {input: 10, output: 20, cached_input: 1}\n"
                            "  - name: small\n    base_url: http://127.0.0.1:2/v1\n"
                            "    price: {input: 1, output: 2, cached_input: 0.1}\n"
                            "  - name: new\n    base_url: http://127.0.0.1:3/v1\n"
                            "    price: {input: 2, output: 4}\n";

static void a_newcomer_is_explored_within_its_share_and_others_stay_as_they_were(void **state)
{
    (void)state;
    static const char router[] = "    mode: online\n    policy: greedy\n    dial: 0\n"
                                 "    explore: {share: 0.02, newcomer: 0.05, cap: 0.2}\n";
    struct brain_box box;
    struct ask before, after;
    box_open(&box, router);
    teach(&box, 1500, 0.9, 0.4);
    ask_init(&before, &box.rng);
    assert_int_equal(decide(&box, &before), METALLM_OK);
    box_configure(&box, three, router);
    ask_init(&after, &box.rng);
    assert_int_equal(decide(&box, &after), METALLM_OK);
    for (int m = 0; m < 2; m++) {
        assert_near(after.candidates[m].quality, before.candidates[m].quality, 1e-9);
        assert_near(after.candidates[m].cost_usd, before.candidates[m].cost_usd, 1e-12);
    }
    assert_near(after.candidates[2].quality, 0.5, 1e-9);
    assert_near(after.candidates[2].chance, 0.05 + 0.02 / 3, 1e-9);
    assert_true(after.candidates[2].sd >= 0.29);
    struct metallm__buf was, is; /* and it is so after a restart */
    box_flush(&box);
    box_state(&box, &was);
    box_stop(&box);
    box_configure(&box, three, router);
    box_start(&box);
    box_state(&box, &is);
    assert_int_equal(was.len, is.len);
    assert_memory_equal(was.data, is.data, was.len);
    metallm__buf_fini(&was);
    metallm__buf_fini(&is);
    box_configure(&box, box_models, router); /* it goes again, and what it was is kept */
    box_configure(&box, three, router);
    box_close(&box);
}

static void a_new_price_counts_at_once_and_a_drained_llm_gets_nothing(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a, b;
    box_open(&box, "    mode: online\n    policy: greedy\n    dial: 0\n");
    teach(&box, 200, 0.9, 0.8);
    ask_init(&a, &box.rng);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    const struct metallm__config_change change[] = {
        {.kind = "state", .name = "small", .json = "{\"state\": \"drained\"}"},
        {.kind = "price",
         .name = "big",
         .json = "{\"price\": {\"input\": 100, \"output\": 200, \"cached_input\": 1}}"}};
    const struct metallm__config_changes changes = {change, 2};
    box.changes = &changes;
    box_configure(&box, box_models, "    mode: online\n    policy: greedy\n    dial: 0\n");
    ask_init(&b, &box.rng);
    assert_int_equal(decide(&box, &b), METALLM_OK);
    assert_near(b.candidates[BIG].cost_usd / a.candidates[BIG].cost_usd, 10, 1e-6);
    assert_true(b.d.chosen == BIG && b.d.propensity == 1 && isnan(b.candidates[SMALL].score));
    assert_near(b.candidates[SMALL].quality, a.candidates[SMALL].quality, 1e-9);
    box_close(&box);
}

static void observe_records_what_it_would_have_done(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    box_open(&box, "    mode: observe\n    policy: greedy\n    dial: 0.5\n    fallback: big\n");
    ask_init(&a, &box.rng);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_true(a.d.model == BIG && a.d.chosen == SMALL && a.d.propensity == 1);
    assert_true((a.d.flags & METALLM__RECORD_SHADOW) != 0);
    box_close(&box);
}

static void absurd_outcomes_poison_nothing(void **state)
{
    (void)state;
    struct brain_box box;
    struct ask a;
    char name[METALLM__DECISION_ID_LEN + 1];
    box_open(&box, "    mode: online\n    policy: greedy\n    dial: 0.1\n");
    teach(&box, 300, 0.9, 0.5);
    const double absurd[] = {NAN, INFINITY, -5, 1e300, 1e9};
    float z[METALLM__RECORD_DIM_MAX];
    for (int i = 0; i < 20; i++) {
        struct metallm__record r = {
            .setup = metallm__brain_view(box.reader)->setup,
            .propensity = 1,
            .status = 200,
            .usage = {.input = UINT64_MAX, .output = UINT64_MAX, .is_known = true}};
        struct metallm__decision_id id;
        assert_int_equal(metallm__journal_name(box.journal, "", &id, name, NULL), METALLM_OK);
        struct metallm__candidate c[2] = {{.prior_quality = absurd[i % 5]}, {.prior_quality = 0.5}};
        r.row = id.row;
        r.nonce = id.nonce;
        r.cost_usd = absurd[i % 5];
        r.latency_ms = absurd[(i + 1) % 5];
        r.candidates = c;
        r.candidate_count = 2;
        r.model = (uint32_t)i % 2;
        r.dim = metallm__brain_view(box.reader)->dim;
        r.z = z;
        for (uint32_t k = 0; k < r.dim; k++)
            z[k] = i % 2 ? (float)absurd[(i + k) % 5] : 1e30f;
        metallm__journal_decision(box.journal, &r, NULL, 0, NULL, 0);
        assert_int_equal(box_feedback(&box, &id, 0), METALLM_OK);
    }
    box_flush(&box);
    metallm__brains_publish(box.brains, true);
    ask_init(&a, &box.rng);
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_near(a.candidates[BIG].quality, 0.9, 0.05);
    assert_true(a.candidates[BIG].cost_usd > 1e-4 && a.candidates[BIG].cost_usd < 1e-1);
    assert_true(isfinite(a.candidates[BIG].latency_ms) && a.d.chosen == BIG);
    box_close(&box);
}

/* ---- A router file. ---- */

static metallm_router *train(const char *path)
{
    enum { N = 200, WIDTH = BOX_HEAD + BOX_TEXT };
    static float values[N * WIDTH];
    metallm_rng rng;
    metallm_rng_seed(&rng, 4);
    metallm_outcomes *o = NULL;
    uint32_t model;
    size_t query;
    assert_int_equal(metallm_outcomes_new(&o, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "small", &model, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "gone", &model, NULL), METALLM_OK);
    assert_int_equal(metallm_outcomes_add_model(o, "big", &model, NULL), METALLM_OK);
    for (size_t i = 0; i < N; i++) {
        char prompt[32];
        for (int j = 0; j < WIDTH; j++)
            values[i * WIDTH + j] = (float)metallm__rng_normal(&rng) / 3;
        (void)snprintf(prompt, sizeof prompt, "prompt %zu", i);
        const metallm_query q = {.prompt = prompt};
        assert_int_equal(metallm_outcomes_add_query(o, &q, &query, NULL), METALLM_OK);
        for (uint32_t m = 0; m < 3; m++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = 0.2f + 0.3f * (float)m + (values[i * WIDTH] > 0 ? 0.1f : 0);
            cell.cost_usd = 0.001f * (float)(m + 1);
            assert_int_equal(metallm_outcomes_set(o, query, m, &cell, NULL), METALLM_OK);
        }
    }
    const metallm_vectors x = {.values = values,
                               .rows = N,
                               .layout = {.head = BOX_HEAD, .text = BOX_TEXT},
                               .encoder = "custom"};
    const metallm_train_options opts = {.estimator = "linear", .seed = 1};
    metallm_router *r = NULL;
    assert_int_equal(metallm_router_train(&r, o, &x, &opts, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm_router_save(r, path, NULL), METALLM_OK);
    metallm_outcomes_free(o);
    return r;
}

static void a_file_is_the_prior_and_feedback_corrects_it(void **state)
{
    (void)state;
    static const char file[] = "/tmp/metallm-brain-test.safetensors";
    char router[160];
    struct brain_box box;
    struct ask a;
    metallm_router *r = train(file);
    (void)snprintf(router, sizeof router, "    mode: hybrid\n    dial: 0\n    file: %s\n", file);
    box_open(&box, router);
    ask_init(&a, &box.rng);
    a.features[0] = 0.5f;
    assert_int_equal(decide(&box, &a), METALLM_OK);
    metallm_estimate e[3];
    const metallm_vectors x = {.values = a.features,
                               .rows = 1,
                               .layout = {.head = BOX_HEAD, .text = BOX_TEXT},
                               .encoder = "custom"};
    assert_int_equal(metallm_router_estimate(r, &x, e, NULL), METALLM_OK);
    assert_near(a.candidates[BIG].quality, (double)e[2].quality, 1e-6);
    assert_near(a.candidates[SMALL].quality, (double)e[0].quality, 1e-6);
    assert_near(a.candidates[BIG].cost_usd, (double)e[2].cost_usd, 1e-9);
    assert_int_equal(a.d.chosen, BIG);
    a.q.features = NULL; /* best on average */
    assert_int_equal(decide(&box, &a), METALLM_OK);
    assert_near(a.candidates[BIG].quality, metallm_router_mean_quality(r, 2), 1e-6);
    a.q.features = a.features;
    teach(&box, 400, 0.1, 0.5); /* the file was wrong */
    int small = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(decide(&box, &a), METALLM_OK);
        small += a.d.chosen == SMALL;
    }
    assert_true(small > 80);
    box_close(&box);
    (void)snprintf(router, sizeof router, "    mode: offline\n    dial: 0\n    file: %s\n", file);
    struct metallm__buf was, is;
    box_open(&box, router);
    box_state(&box, &was);
    teach(&box, 50, 0.1, 0.5); /* in vain */
    box_state(&box, &is);
    assert_true(was.len == is.len && memcmp(was.data, is.data, was.len) == 0);
    metallm__buf_fini(&was);
    metallm__buf_fini(&is);
    box_close(&box);
    metallm_router_free(r);
    unlink(file);
}

/* ---- Memory and threads. ---- */

static int configure_anew(void *payload)
{
    const struct brain_box *box = payload;
    struct metallm__brains *b = NULL;
    const struct metallm__brain_price prices[2] = {{1, 2, NAN, NAN}, {1, 2, NAN, NAN}};
    const struct metallm__brains_setup setup = {.config = box->config,
                                                .prices = prices,
                                                .encoder = "custom",
                                                .layout = {.head = BOX_HEAD, .text = BOX_TEXT}};
    int rc = metallm__brains_new(&b, NULL);
    if (rc == METALLM_OK)
        rc = metallm__brains_configure(b, &setup, NULL);
    if (rc == METALLM_OK) {
        struct metallm__brain_reader *r = NULL;
        rc = metallm__brain_reader_new(&r, metallm__brains_find(b, "auto"), NULL);
        if (rc == METALLM_OK)
            assert_int_equal(metallm__brain_view(r)->count, 2);
        metallm__brain_reader_free(r);
    }
    metallm__brains_free(b);
    return rc;
}

static void failing_memory_is_told_at_every_step(void **state)
{
    (void)state;
    struct brain_box box;
    box_open(&box, "    mode: online\n    budget: {usd: 1, per: hour}\n");
    box_stop(&box);
    assert_true(fail_alloc_sweep(configure_anew, &box) > 10);
    box_close(&box);
}

static void *ask_often(void *payload)
{
    struct brain_box mine = {0};
    struct ask a;
    metallm_rng rng;
    metallm_rng_seed(&rng, 9);
    assert_int_equal(metallm__brain_reader_new(&mine.reader, payload, NULL), METALLM_OK);
    ask_init(&a, &rng);
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(decide(&mine, &a), METALLM_OK);
        metallm__brain_spent(metallm__brain_view(mine.reader), 1e-6);
        const struct metallm__view *kept = metallm__view_take(metallm__brain_view(mine.reader));
        metallm__view_drop(kept);
    }
    metallm__brain_reader_free(mine.reader);
    return NULL;
}

static void loops_decide_while_it_learns_and_is_configured(void **state)
{
    (void)state;
    static const char router[] = "    mode: online\n    budget: {usd: 1, per: hour}\n";
    struct brain_box box;
    pthread_t threads[2];
    box_open(&box, router);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, ask_often, metallm__brains_find(box.brains, "auto")),
            0);
    for (int i = 0; i < 10; i++) {
        teach(&box, 30, 0.9, 0.5);
        box_configure(&box, i % 2 ? box_models : three, router);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    box_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_their_exact_propensities),
        cmocka_unit_test(feedback_teaches_a_router_without_a_file),
        cmocka_unit_test(without_a_vector_it_decides_on_means),
        cmocka_unit_test(constraints_bind_or_are_refused),
        cmocka_unit_test(a_follow_up_turn_stays_while_the_cache_is_worth_more),
        cmocka_unit_test(a_budget_makes_the_choice_cheaper_and_is_kept),
        cmocka_unit_test(a_newcomer_is_explored_within_its_share_and_others_stay_as_they_were),
        cmocka_unit_test(a_new_price_counts_at_once_and_a_drained_llm_gets_nothing),
        cmocka_unit_test(observe_records_what_it_would_have_done),
        cmocka_unit_test(absurd_outcomes_poison_nothing),
        cmocka_unit_test(a_file_is_the_prior_and_feedback_corrects_it),
        cmocka_unit_test(failing_memory_is_told_at_every_step),
        cmocka_unit_test(loops_decide_while_it_learns_and_is_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
