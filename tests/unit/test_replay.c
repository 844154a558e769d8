/* SPDX-License-Identifier: Apache-2.0
 * test_replay.c - replays of small made-up worlds whose answers are known: references by hand,
 * events, budgets, feedback that is late or missing, determinism, failing memory. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "eval/replay.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

enum { DIM = 3, MODELS = 3, FLOATS = DIM + MODELS * METALLM__REPLAY_CELLS };

static void set_cells(float *row, uint32_t model, float prior, float cost, float score)
{
    float *c = row + DIM + (size_t)model * METALLM__REPLAY_CELLS;
    c[METALLM__CELL_PRIOR_QUALITY] = prior;
    c[METALLM__CELL_PRIOR_SD] = NAN;
    c[METALLM__CELL_PRIOR_COST] = c[METALLM__CELL_COST] = cost;
    c[METALLM__CELL_SCORE] = score;
    c[METALLM__CELL_LATENCY] = NAN;
}

/* Model 0 is cheap and good at easy queries, 1 dear and good at all, 2 of no use. The prior knows
 * the means, not what depends on the query, unless is_informed. */
static struct metallm__spool *world(size_t rows, bool is_informed)
{
    struct metallm__spool *s = NULL;
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    assert_int_equal(metallm__spool_new(&s, FLOATS, NULL), METALLM_OK);
    for (size_t i = 0; i < rows; i++) {
        float row[FLOATS] = {1};
        const float hard = (float)metallm__rng_uniform(&rng);
        row[1] = hard - 0.5f;
        row[2] = (float)metallm__rng_normal(&rng) / 4;
        const float noise = 0.1f * ((float)metallm__rng_uniform(&rng) - 0.5f);
        const float cheap = 0.9f - 0.8f * hard + noise;
        set_cells(row, 0, is_informed ? 0.9f - 0.8f * hard : 0.5f, 0.001f, fmaxf(cheap, 0));
        set_cells(row, 1, 0.9f, 0.01f, 0.9f + noise);
        set_cells(row, 2, 0.2f, 0.005f, 0.2f + noise);
        assert_int_equal(metallm__spool_add(s, row, 1, NULL), METALLM_OK);
    }
    assert_int_equal(metallm__spool_close(s, NULL), METALLM_OK);
    return s;
}

static struct metallm__replay_options options(const char *policy)
{
    struct metallm__replay_options o = {.agent = metallm__agent_defaults(), .runs = 3, .seed = 5};
    assert_int_equal(metallm__policy_parse(&o.agent.policy, policy, NULL), METALLM_OK);
    o.agent.scale = 0.01;
    o.agent.adapt.learner.lambda = 1;
    return o;
}

static struct metallm__replay_result replayed(const struct metallm__spool *s,
                                              const struct metallm__replay_options *o)
{
    const struct metallm__replay_input in = {
        .rows = s, .dim = DIM, .models = MODELS, .has_cost = true};
    struct metallm__replay_result r;
    metallm_error err = {0};
    const int rc = metallm__replay(&in, o, &r, &err);
    if (rc != METALLM_OK)
        print_error("%s\n", err.message);
    assert_int_equal(rc, METALLM_OK);
    return r;
}

static void references_are_those_of_a_hand_count(void **state)
{
    (void)state;
    /* Two rows. Dial 0.5, scale 0.01: a model's reward is score - 50 cost. */
    struct metallm__spool *s = NULL;
    assert_int_equal(metallm__spool_new(&s, FLOATS, NULL), METALLM_OK);
    float rows[2][FLOATS] = {{1, 0, 0}, {1, 1, 0}};
    for (int i = 0; i < 2; i++) {
        set_cells(rows[i], 0, i == 0 ? 0.7f : 0.6f, 0.001f, i == 0 ? 0.8f : 0.1f);
        set_cells(rows[i], 1, 0.9f, 0.01f, 0.9f);
        set_cells(rows[i], 2, 0.1f, 0.005f, i == 0 ? 0.0f : 1.0f);
    }
    assert_int_equal(metallm__spool_add(s, rows[0], 2, NULL), METALLM_OK);
    assert_int_equal(metallm__spool_close(s, NULL), METALLM_OK);
    struct metallm__replay_options o = options("greedy");
    o.agent.dial = 0.5;
    o.agent.explore = 0;
    struct metallm__replay_result r = replayed(s, &o);
    /* rewards: row 0: .75 .4 -.25; row 1: .05 .4 .75. Oracle (.75 + .75) / 2; alone .4 .4 .25. */
    assert_near(r.reward_oracle, 0.75, 1e-6);
    assert_near(r.reward_best_model, 0.4, 1e-6);
    /* The prior at a fair price takes model 0 twice (.4), at a low one model 1 twice (.4); between
     * them (score gaps .2 and .3 over .009 dollars: 22 to 33) model 0, then 1: (.75 + .4) / 2. */
    assert_near(r.reward_best_policy, 0.575, 1e-6);
    assert_near(r.regret.value + r.reward.value, 0.75, 1e-6);
    assert_near(r.regret_best_model.value + r.reward.value, 0.4, 1e-6);
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

static void cold_start_learns_what_the_prior_would_have_known(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    static const char *const policies[] = {"linucb:alpha=0.3", "thompson:scale=0.3",
                                           "epsilon:epsilon=1,decay=10", "squarecb:rate=30"};
    for (int k = 0; k < 4; k++) {
        struct metallm__replay_options o = options(policies[k]);
        o.start = METALLM__START_COLD;
        o.agent.dial = 0.3;
        o.is_joint = k == 0;
        struct metallm__replay_result r = replayed(s, &o);
        assert_true(r.regret_best_model.value < 0); /* better than any model alone */
        const struct metallm__replay_point *end = &r.points[r.point_count - 1];
        assert_true(end->reward.value > r.reward_best_policy - 0.03);
        assert_true(r.points[0].reward.value < end->reward.value);
        metallm__replay_fini(&r);
    }
    metallm__spool_free(s);
}

static void offline_share_replaces_exploration(void **state)
{
    (void)state;
    struct metallm__spool *s = world(2000, true);
    struct metallm__replay_options o = options("greedy");
    o.agent.explore = 0;
    o.agent.dial = 0.3;
    o.start = METALLM__START_OFFLINE;
    o.share = 0.25;
    struct metallm__replay_result r = replayed(s, &o);
    assert_int_equal(r.n, 1500);
    assert_near(r.reward.value, r.reward_best_policy, 0.01);
    metallm__replay_fini(&r);
    o.start = METALLM__START_HYBRID;
    r = replayed(s, &o);
    assert_near(r.reward.value, r.reward_best_policy, 0.01);
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

/* MetaLLM regresses a - p c; ridge regression is linear in its target, so that quality and cost
 * learned apart choose the same, at any dial, without learning anew. */
static void one_regression_of_the_reward_chooses_as_two_apart(void **state)
{
    (void)state;
    struct metallm__spool *s = world(2000, true);
    static const double dials[] = {0, 0.2, 0.5};
    for (int k = 0; k < 3; k++) {
        struct metallm__replay_options o = options("linucb:alpha=0.3");
        o.agent.explore = 0;
        o.agent.dial = dials[k];
        o.start = METALLM__START_COLD;
        struct metallm__replay_result apart = replayed(s, &o);
        o.is_joint = true;
        struct metallm__replay_result joint = replayed(s, &o);
        assert_near(joint.reward.value, apart.reward.value, 1e-9);
        for (int m = 0; m < MODELS; m++)
            assert_near(joint.share[m], apart.share[m], 1e-12);
        metallm__replay_fini(&apart);
        metallm__replay_fini(&joint);
    }
    metallm__spool_free(s);
}

static void a_prior_that_is_wrong_is_corrected(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, false);
    struct metallm__replay_options o = options("linucb:alpha=1");
    o.agent.dial = 0.3;
    struct metallm__replay_result r = replayed(s, &o);
    assert_true(r.reward.value > r.reward_best_model + 0.02);
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

static void a_budget_is_kept_within_two_percent(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    struct metallm__replay_options o = options("greedy");
    static const double budgets[] = {0.002, 0.004, 0.008};
    for (int k = 0; k < 3; k++) {
        o.agent.pacer.usd_per_request = budgets[k];
        struct metallm__replay_result r = replayed(s, &o);
        assert_near(r.budget_used.value, 1, 0.02);
        assert_true(r.quality.value > r.reward_best_model); /* the best mix of two */
        assert_near(r.quality.value, r.reward_best_policy, 0.02);
        metallm__replay_fini(&r);
    }
    metallm__spool_free(s);
}

static void a_periods_money_is_spent_and_not_overrun(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    struct metallm__replay_options o = options("greedy");
    o.agent.pacer = (struct metallm__pacer_options){
        .usd_per_request = 0.004, .usd_per_period = 0.004 * 600, .period_s = 600};
    struct metallm__replay_result r = replayed(s, &o);
    assert_near(r.budget_used.value, 1, 0.02);
    assert_true(r.period_most <= 1.02);
    assert_near(r.quality.value, r.reward_best_policy, 0.02);
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

static struct metallm__event event(uint64_t step, enum metallm__event_kind kind, uint32_t model)
{
    return (struct metallm__event){
        .step = step, .kind = kind, .model = model, .factor = 1, .score = NAN, .like = UINT32_MAX};
}

static void collapse_price_and_return_are_followed_soon(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    struct metallm__event events[] = {
        event(600, METALLM__EVENT_QUALITY, 1), event(1200, METALLM__EVENT_RESTORE, 1),
        event(1800, METALLM__EVENT_PRICE, 1), event(2400, METALLM__EVENT_RESTORE, 1)};
    events[0].score = 0.3;
    events[2].factor = 0.1;
    struct metallm__replay_options o = options("greedy");
    o.agent.dial = 0.2;
    o.runs = 5;
    o.events = events;
    o.event_count = 4;
    struct metallm__replay_result r = replayed(s, &o);
    assert_int_equal(r.event_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(r.events[i].settled_after <= 100); /* NaN fails */
    assert_true(r.events[2].settled_after <= 10);      /* prices at once */
    assert_true(r.changes >= 1 && r.changes <= 3);
    assert_true(r.regret_best_policy.value < 0.02); /* the best policy of each phase */
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

/* Quality falls, a price rises tenfold, another falls to a tenth, and all are restored: under a
 * dial and within a budget the mix settles within 100 requests each time, and what was saved before
 * a price fell back is not blown after it. */
static void every_change_and_its_return_settle_within_a_hundred_requests(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    struct metallm__event events[] = {
        event(400, METALLM__EVENT_QUALITY, 1), event(800, METALLM__EVENT_RESTORE, 1),
        event(1200, METALLM__EVENT_PRICE, 1),  event(1600, METALLM__EVENT_RESTORE, 1),
        event(2000, METALLM__EVENT_PRICE, 1),  event(2400, METALLM__EVENT_RESTORE, 1)};
    events[0].score = 0.6;
    events[2].factor = 10;
    events[4].factor = 0.1;
    for (int k = 0; k < 2; k++) {
        struct metallm__replay_options o = options("greedy");
        o.agent.dial = k == 0 ? 0.2 : 0;
        o.agent.pacer.usd_per_request = k == 0 ? 0 : 0.004;
        o.runs = 5;
        o.points = 300; /* of 10 requests */
        o.events = events;
        o.event_count = 6;
        struct metallm__replay_result r = replayed(s, &o);
        for (size_t i = 0; i < r.event_count; i++)
            assert_true(r.events[i].settled_after <= 100); /* NaN fails */
        double spent = 0;
        for (size_t i = 240; k == 1 && i < 300; i++)
            spent += r.points[i].cost.value / 60;
        assert_true(spent <= 1.1 * 0.004); /* 50 requests' allowances at most in the last 600 */
        metallm__replay_fini(&r);
    }
    metallm__spool_free(s);
}

static void newcomers_are_adopted_and_leavers_forgotten(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, true);
    static const enum metallm__event_prior priors[] = {METALLM__PRIOR_ROUTER, METALLM__PRIOR_S1,
                                                       METALLM__PRIOR_S2,     METALLM__PRIOR_S3,
                                                       METALLM__PRIOR_LIKE,   METALLM__PRIOR_NONE};
    for (int k = 0; k < 6; k++) {
        struct metallm__event events[] = {event(500, METALLM__EVENT_ARRIVE, 1),
                                          event(2000, METALLM__EVENT_LEAVE, 0)};
        events[0].prior = priors[k];
        events[0].like = 0;
        events[0].amount = 0.9;
        struct metallm__replay_options o = options("greedy");
        o.agent.dial = 0.2;
        o.events = events;
        o.event_count = 2;
        struct metallm__replay_result r = replayed(s, &o);
        assert_true(r.share[1] > 0.3);
        assert_true(r.events[0].settled_after < 142);
        assert_true(r.events[1].settled_after < 100);
        metallm__replay_fini(&r);
    }
    metallm__spool_free(s);
}

static void late_missing_and_noisy_feedback_still_teaches(void **state)
{
    (void)state;
    struct metallm__spool *s = world(3000, false);
    struct metallm__event events[] = {
        event(0, METALLM__EVENT_DELAY, 0), event(0, METALLM__EVENT_MISSING, 0),
        event(0, METALLM__EVENT_NOISE, 0), event(1500, METALLM__EVENT_DELAY, 0),
        event(2000, METALLM__EVENT_LEAVE, 2)};
    events[0].amount = 200;
    events[1].amount = 0.3;
    events[2].amount = 0.1;
    events[3].amount = 20;
    struct metallm__replay_options o = options("linucb:alpha=1");
    o.agent.dial = 0.3;
    o.events = events;
    o.event_count = 5;
    struct metallm__replay_result r = replayed(s, &o);
    assert_true(r.reward.value > r.reward_best_model);
    metallm__replay_fini(&r);
    metallm__spool_free(s);
}

static void one_seed_is_one_result(void **state)
{
    (void)state;
    struct metallm__spool *s = world(800, true);
    struct metallm__replay_options o = options("thompson");
    o.agent.dial = 0.2;
    struct metallm__replay_result a = replayed(s, &o), b = replayed(s, &o);
    assert_true(a.quality.value == b.quality.value && a.cost.value == b.cost.value);
    for (size_t i = 0; i < a.point_count; i++)
        assert_memory_equal(&a.points[i], &b.points[i], sizeof a.points[i]);
    o.seed++;
    struct metallm__replay_result c = replayed(s, &o);
    assert_true(a.quality.value != c.quality.value);
    metallm__replay_fini(&a);
    metallm__replay_fini(&b);
    metallm__replay_fini(&c);
    metallm__spool_free(s);
}

static int replay_small(void *payload)
{
    const struct metallm__replay_input in = {
        .rows = payload, .dim = DIM, .models = MODELS, .has_cost = true};
    struct metallm__event events[] = {event(5, METALLM__EVENT_ARRIVE, 2),
                                      event(6, METALLM__EVENT_DELAY, 0)};
    events[1].amount = 3;
    struct metallm__replay_options o = options("greedy");
    o.agent.pacer.usd_per_request = 0.004;
    o.events = events;
    o.event_count = 2;
    struct metallm__replay_result r;
    int rc = metallm__replay(&in, &o, &r, NULL);
    if (rc == METALLM_OK)
        metallm__replay_fini(&r);
    return rc;
}

static void failing_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    struct metallm__spool *s = world(40, true);
    assert_true(fail_alloc_sweep(replay_small, s) > 10);
    metallm__spool_free(s);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    struct metallm__spool *s = world(40, true);
    const struct metallm__replay_input in = {
        .rows = s, .dim = DIM, .models = MODELS, .has_cost = true};
    struct metallm__replay_result r;
    struct metallm__replay_options o = options("greedy");
    o.runs = 0;
    assert_int_equal(metallm__replay(&in, &o, &r, NULL), METALLM_EINVAL);
    o = options("greedy");
    o.is_joint = true;
    o.agent.pacer.usd_per_request = 0.01;
    assert_int_equal(metallm__replay(&in, &o, &r, NULL), METALLM_EINVAL);
    struct metallm__event gone[] = {event(1, METALLM__EVENT_LEAVE, 0),
                                    event(1, METALLM__EVENT_LEAVE, 1),
                                    event(1, METALLM__EVENT_LEAVE, 2)};
    o = options("greedy");
    o.events = gone;
    o.event_count = 3;
    metallm_error err;
    assert_int_equal(metallm__replay(&in, &o, &r, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "no model"));
    metallm__spool_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_those_of_a_hand_count),
        cmocka_unit_test(cold_start_learns_what_the_prior_would_have_known),
        cmocka_unit_test(offline_share_replaces_exploration),
        cmocka_unit_test(one_regression_of_the_reward_chooses_as_two_apart),
        cmocka_unit_test(a_prior_that_is_wrong_is_corrected),
        cmocka_unit_test(a_budget_is_kept_within_two_percent),
        cmocka_unit_test(collapse_price_and_return_are_followed_soon),
        cmocka_unit_test(a_periods_money_is_spent_and_not_overrun),
        cmocka_unit_test(every_change_and_its_return_settle_within_a_hundred_requests),
        cmocka_unit_test(newcomers_are_adopted_and_leavers_forgotten),
        cmocka_unit_test(late_missing_and_noisy_feedback_still_teaches),
        cmocka_unit_test(one_seed_is_one_result),
        cmocka_unit_test(failing_memory_leaves_nothing_behind),
        cmocka_unit_test(contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
