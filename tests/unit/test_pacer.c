/* SPDX-License-Identifier: Apache-2.0
 * test_pacer.c - the budget is met where it binds, at the quality of the best single price; saved
 * money is capped; periods and changes are followed. */
#include <math.h>

#include "base/rng.h"
#include "router/pacer.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

enum { MODELS = 3, REQUESTS = 4000 };

struct market {
    metallm_rng rng;
    double quality[MODELS], cost[MODELS], factor; /* of the dearest model's price */
};

static void next_query(struct market *m)
{
    const double hard = metallm__rng_uniform(&m->rng);
    m->quality[0] = 0.9 - 0.6 * hard;
    m->quality[1] = 0.92 - 0.2 * hard;
    m->quality[2] = 0.94;
    m->cost[0] = 3e-5;
    m->cost[1] = 5e-4 * (0.5 + metallm__rng_uniform(&m->rng));
    m->cost[2] = 1.5e-2 * m->factor;
}

/* One request: the best at the price that is drawn; real cost is noisy around the expected. */
static double request(struct metallm__pacer *p, struct market *m, double now_s)
{
    next_query(m);
    const struct metallm__pacer_price price =
        metallm__pacer_next(p, m->quality, m->cost, MODELS, now_s);
    const double paid = metallm__rng_uniform(&m->rng) < price.share_low ? price.low : price.high;
    int best = 0;
    for (int i = 1; i < MODELS; i++)
        if (m->quality[i] - paid * m->cost[i] > m->quality[best] - paid * m->cost[best])
            best = i;
    const double noise = 0.5 + metallm__rng_uniform(&m->rng);
    metallm__pacer_spent(p, m->cost[best] * noise);
    return m->quality[best];
}

static struct metallm__pacer *pacer(struct metallm__pacer_options o)
{
    struct metallm__pacer *p = NULL;
    o.models = MODELS;
    assert_int_equal(metallm__pacer_new(&p, &o, NULL), METALLM_OK);
    return p;
}

static void a_binding_budget_is_met_within_two_percent(void **state)
{
    (void)state;
    static const double budgets[] = {6e-5, 2e-4, 4e-4, 1e-3, 5e-3};
    for (int k = 0; k < 5; k++) {
        struct market m = {.factor = 1};
        metallm_rng_seed(&m.rng, 21 + (uint64_t)k);
        struct metallm__pacer *p =
            pacer((struct metallm__pacer_options){.usd_per_request = budgets[k]});
        double quality = 0;
        for (int t = 0; t < REQUESTS; t++)
            quality += request(p, &m, 0) / REQUESTS;
        assert_near(metallm__pacer_total(p) / REQUESTS / budgets[k], 1, 0.02);
        assert_true(quality > 0.6 && quality < 0.94);
        metallm__pacer_free(p);
    }
}

enum { RECORD = 150 };

struct record {
    uint32_t held; /* the last RECORD queries */
    double quality[RECORD][MODELS], cost[RECORD][MODELS], shift[MODELS], factor[MODELS];
};

/* Mean dollars of the best choices at a price, query by query. */
static double searched_cost(const struct record *r, double price)
{
    const uint32_t n = r->held < RECORD ? r->held : RECORD;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double top = -HUGE_VAL, paid = 0;
        for (int m = 0; m < MODELS; m++) {
            const double c = r->cost[i][m] * r->factor[m];
            const double s = r->quality[i][m] + r->shift[m] - price * c;
            if (s > top || (s == top && c < paid)) {
                top = s;
                paid = c;
            }
        }
        sum += paid / n;
    }
    return sum;
}

/* Queries leave the window, a model's price falls and another's quality drops: at any time the mix
 * of the two prices costs the rate on the queries on record, and the prices are close. */
static void prices_are_those_of_a_search_over_the_record(void **state)
{
    (void)state;
    struct market m = {.factor = 1};
    struct record r = {.factor = {1, 1, 1}};
    metallm_rng_seed(&m.rng, 61);
    const double budget = 4e-4;
    struct metallm__pacer *p = pacer(
        (struct metallm__pacer_options){.usd_per_request = budget, .window = RECORD, .every = 1});
    for (uint32_t t = 0; t < 4 * RECORD; t++) {
        if (t == RECORD + 20) {
            r.factor[2] = 0.05;
            metallm__pacer_rescale(p, 2, 0.05);
        } else if (t == 2 * RECORD + 30) {
            r.shift[1] = -0.1;
            metallm__pacer_shift(p, 1, -0.1, 1);
        }
        next_query(&m);
        double cost[MODELS], quality[MODELS];
        for (int i = 0; i < MODELS; i++) {
            r.quality[t % RECORD][i] = m.quality[i];
            r.cost[t % RECORD][i] = m.cost[i];
            cost[i] = m.cost[i] * r.factor[i];
            quality[i] = m.quality[i] + r.shift[i];
        }
        r.held++;
        const struct metallm__pacer_price price = metallm__pacer_next(p, quality, cost, MODELS, 0);
        const double low = searched_cost(&r, price.low), high = searched_cost(&r, price.high);
        assert_near(price.share_low * low + (1 - price.share_low) * high, budget, 1e-9 * budget);
        assert_true(price.low <= price.high && price.high <= price.low * 1.01 + 1e-6 / budget);
    }
    metallm__pacer_free(p);
}

static void ample_money_is_not_a_price(void **state)
{
    (void)state;
    struct market m = {.factor = 1};
    metallm_rng_seed(&m.rng, 31);
    struct metallm__pacer *p = pacer((struct metallm__pacer_options){.usd_per_request = 1});
    for (int t = 0; t < 200; t++)
        assert_near(request(p, &m, 0), 0.94, 0);
    assert_true(metallm__pacer_credit(p) <= 50.0 + 1e-9); /* the cap, in allowances */
    metallm__pacer_free(p);
}

/* The dearest model costs a hundredth for a while; when its price is back, no more than the cap is
 * blown, and the budget holds again soon. */
static void what_was_banked_is_not_blown_after_a_change(void **state)
{
    (void)state;
    struct market m = {.factor = 1};
    metallm_rng_seed(&m.rng, 41);
    const double budget = 5e-4;
    struct metallm__pacer *p = pacer((struct metallm__pacer_options){.usd_per_request = budget});
    for (int t = 0; t < 1000; t++)
        request(p, &m, 0);
    m.factor = 0.01;
    metallm__pacer_rescale(p, 2, 0.01);
    for (int t = 0; t < 1000; t++)
        assert_true(request(p, &m, 0) > 0 && metallm__pacer_credit(p) <= 50 * budget + 1e-12);
    m.factor = 1;
    metallm__pacer_rescale(p, 2, 100);
    const double before = metallm__pacer_total(p);
    for (int t = 0; t < 1000; t++)
        request(p, &m, 0);
    assert_true((metallm__pacer_total(p) - before) / 1000 <= budget * 1.07); /* cap: 5 % */
    metallm__pacer_free(p);
}

/* A day's money is spent over the day's requests, whose number nobody told. */
static void a_period_is_spent_evenly_and_not_overrun(void **state)
{
    (void)state;
    struct market m = {.factor = 1};
    metallm_rng_seed(&m.rng, 51);
    const double day = 86400, money = 1.0;
    struct metallm__pacer *p = pacer((struct metallm__pacer_options){
        .usd_per_request = 5e-4, .usd_per_period = money, .period_s = day});
    double now = 0, half = 0;
    for (int d = 0; d < 2; d++) {
        const double before = metallm__pacer_total(p);
        const int requests = d == 0 ? 3000 : 1500;
        for (int t = 0; t < requests; t++) {
            request(p, &m, now);
            now += day / requests;
            if (t == requests / 2)
                half = metallm__pacer_total(p) - before;
        }
        assert_near(metallm__pacer_total(p) - before, money, 0.02 * money);
        assert_near(half, money / 2, 0.1 * money);
    }
    metallm__pacer_free(p);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    static const double bad[] = {0, -1, NAN, INFINITY};
    struct metallm__pacer *p = NULL;
    for (int k = 0; k < 4; k++)
        assert_int_equal(
            metallm__pacer_new(
                &p, &(struct metallm__pacer_options){.usd_per_request = bad[k], .models = MODELS},
                NULL),
            METALLM_EINVAL);
    assert_null(p);
}

static int make_and_free(void *payload)
{
    (void)payload;
    struct metallm__pacer *p = NULL;
    int rc = metallm__pacer_new(
        &p, &(struct metallm__pacer_options){.usd_per_request = 1, .models = MODELS}, NULL);
    metallm__pacer_free(p);
    return rc;
}

static void failing_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(make_and_free, NULL), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_binding_budget_is_met_within_two_percent),
        cmocka_unit_test(prices_are_those_of_a_search_over_the_record),
        cmocka_unit_test(ample_money_is_not_a_price),
        cmocka_unit_test(what_was_banked_is_not_blown_after_a_change),
        cmocka_unit_test(a_period_is_spent_evenly_and_not_overrun),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(failing_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
