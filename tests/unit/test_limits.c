/* SPDX-License-Identifier: Apache-2.0
 * test_limits.c - buckets refuse and refill to the millisecond; reservations of many threads never
 * exceed a budget; pacing spends a day's money over the day. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "gateway/limits.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

#define SECOND_NS 1000000000u
#define DAY_MS    86400000u
static const uint64_t midnight = 1772236800000u; /* 2026-02-28 00:00 UTC */

static struct metallm__key key(const char *id)
{
    struct metallm__key k = {
        .name = "", .router = "", .budget_usd = NAN, .dial = NAN, .target = NAN};
    memcpy(k.id, id, METALLM__KEY_ID_LEN + 1);
    return k;
}

static struct metallm__limits *limits_new(void)
{
    struct metallm__limits *l = NULL;
    assert_int_equal(metallm__limits_new(&l, NULL), METALLM_OK);
    return l;
}

static void requests_beyond_a_minutes_share_wait(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__key k = key("mk_00000001");
    struct metallm__limit_state s;
    struct metallm__limit_refusal no;
    k.requests_per_minute = 6;
    uint64_t now = 5 * SECOND_NS;
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(metallm__limits_admit(l, &k, 10, now, &s, &no), METALLM_OK);
        assert_int_equal(s.requests_left, 5 - i);
    }
    assert_int_equal(s.requests_reset_ms, 60000);
    assert_int_equal(metallm__limits_admit(l, &k, 10, now, &s, &no), METALLM_EBUSY);
    assert_int_equal(no.kind, METALLM__LIMIT_REQUESTS);
    assert_int_equal(no.retry_after_ms, 10000);
    now += 9999 * 1000000ull;
    assert_int_equal(metallm__limits_admit(l, &k, 10, now, &s, &no), METALLM_EBUSY);
    assert_int_equal(no.retry_after_ms, 1);
    now += 1000000;
    assert_int_equal(metallm__limits_admit(l, &k, 10, now, &s, &no), METALLM_OK);
    k.requests_per_minute = 0;
    assert_int_equal(metallm__limits_admit(l, &k, 10, now, &s, &no), METALLM_OK);
    assert_int_equal(s.requests_limit, 0);
    metallm__limits_free(l);
}

static void tokens_are_corrected_afterwards(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__key k = key("mk_00000002");
    struct metallm__limit_state s;
    struct metallm__limit_refusal no;
    k.tokens_per_minute = 600;
    assert_int_equal(metallm__limits_admit(l, &k, 500, 1, &s, &no), METALLM_OK);
    assert_int_equal(s.tokens_left, 100);
    assert_int_equal(metallm__limits_admit(l, &k, 200, 1, &s, &no), METALLM_EBUSY);
    assert_int_equal(no.kind, METALLM__LIMIT_TOKENS);
    assert_int_equal(no.retry_after_ms, 10000);
    metallm__limits_tokens(l, &k, 500, 100, 1); /* fewer were used */
    assert_int_equal(metallm__limits_admit(l, &k, 200, 1, &s, &no), METALLM_OK);
    assert_int_equal(s.tokens_left, 300);
    metallm__limits_tokens(l, &k, 200, 1000, 1); /* many more were */
    assert_int_equal(metallm__limits_admit(l, &k, 1, 1, &s, &no), METALLM_EBUSY);
    /* A request for more than the limit passes once the bucket is full. */
    uint64_t later = 1 + 200ull * SECOND_NS;
    assert_int_equal(metallm__limits_admit(l, &k, 5000, later, &s, &no), METALLM_OK);
    assert_int_equal(s.tokens_left, 0);
    metallm__limits_free(l);
}

static void money_is_reserved_then_settled(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__key k = key("mk_00000003");
    struct metallm__reservation a, b, c;
    struct metallm__limit_refusal no;
    k.budget_usd = 1;
    uint64_t now = midnight + 3600000;
    assert_int_equal(metallm__limits_reserve(l, &k, 0.6, now, &a, &no), METALLM_OK);
    assert_int_equal(metallm__limits_reserve(l, &k, 0.6, now, &b, &no), METALLM_EBUSY);
    assert_int_equal(no.kind, METALLM__LIMIT_BUDGET);
    assert_int_equal(no.retry_after_ms, DAY_MS - 3600000);
    assert_near(metallm__limits_left(l, &k, now), 0.4, 1e-12);
    metallm__limits_settle(l, &a, 0.1, now);
    metallm__limits_settle(l, &a, 0.1, now); /* closed: once only */
    assert_near(metallm__limits_spend(l, &k, now).spent_usd, 0.1, 1e-12);
    assert_near(metallm__limits_spend(l, &k, now).reserved_usd, 0, 1e-12);
    assert_int_equal(metallm__limits_reserve(l, &k, 0.9, now, &b, &no), METALLM_OK);
    /* The next day has its own money; what is settled late belongs to the day before. */
    assert_int_equal(metallm__limits_reserve(l, &k, 1, now + DAY_MS, &c, &no), METALLM_OK);
    metallm__limits_settle(l, &b, 0.9, now + DAY_MS);
    assert_near(metallm__limits_spend(l, &k, now + DAY_MS).spent_usd, 0, 0);
    metallm__limits_settle(l, &c, NAN, now + DAY_MS); /* nobody knows the price */
    assert_near(metallm__limits_left(l, &k, now + DAY_MS), 1, 1e-12);
    k.budget_usd = NAN;
    assert_int_equal(metallm__limits_reserve(l, &k, 1e9, now, &a, &no), METALLM_OK);
    assert_false(a.is_open);
    assert_true(isinf(metallm__limits_left(l, &k, now)));
    metallm__limits_free(l);
}

struct spender {
    struct metallm__limits *l;
    struct metallm__key *k;
    uint64_t seed;
    double spent;
    size_t refused;
};

/* Settles at most what was reserved, so that the budget must hold at every moment. */
static void *spend(void *payload)
{
    struct spender *s = payload;
    metallm_rng rng;
    metallm_rng_seed(&rng, s->seed);
    struct metallm__reservation open[8] = {{0}};
    for (int i = 0; i < 4000; i++) {
        struct metallm__reservation *r = &open[metallm__rng_below(&rng, 8)];
        struct metallm__limit_refusal no;
        if (r->is_open) {
            double usd = r->usd * metallm__rng_uniform(&rng);
            s->spent += usd;
            metallm__limits_settle(s->l, r, usd, midnight);
        } else if (metallm__limits_reserve(s->l, s->k, 0.01 * metallm__rng_uniform(&rng), midnight,
                                           r, &no) != METALLM_OK) {
            s->refused++;
        }
        struct metallm__limit_spend now = metallm__limits_spend(s->l, s->k, midnight);
        if (now.spent_usd + now.reserved_usd > s->k->budget_usd * (1 + 1e-12))
            s->refused = SIZE_MAX / 2;
    }
    for (int i = 0; i < 8; i++)
        metallm__limits_settle(s->l, &open[i], 0, midnight);
    return NULL;
}

static void reservations_never_exceed_the_budget(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__key k = key("mk_00000004");
    struct spender spenders[4];
    pthread_t threads[4];
    double spent = 0;
    size_t refused = 0;
    k.budget_usd = 3;
    for (uint64_t i = 0; i < 4; i++) {
        spenders[i] = (struct spender){.l = l, .k = &k, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, spend, &spenders[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        spent += spenders[i].spent;
        refused += spenders[i].refused;
    }
    assert_true(refused > 0 && refused < 16000);
    assert_true(spent <= 3);
    assert_near(metallm__limits_spend(l, &k, midnight).spent_usd, spent, 1e-9);
    assert_near(metallm__limits_spend(l, &k, midnight).reserved_usd, 0, 1e-9);
    metallm__limits_free(l);
}

/* A day of queries at a steady rate; three LLMs, the dearest of which costs 15 times the budget. */
struct day {
    double spent, noon, quality;
    unsigned refused;
};
static struct day run_day(struct metallm__limits *l, const struct metallm__key *k, uint64_t seed,
                          unsigned requests, uint64_t from)
{
    metallm_rng rng;
    struct day d = {0};
    metallm_rng_seed(&rng, seed);
    for (unsigned i = 0; i < requests; i++) {
        uint64_t now = from + (uint64_t)((double)i / requests * DAY_MS);
        const double hard = metallm__rng_uniform(&rng);
        const double quality[3] = {0.9 - 0.6 * hard, 0.92 - 0.2 * hard, 0.94};
        const double cost[3] = {3e-5, 5e-4, 1.5e-2};
        const double left = metallm__limits_left(l, k, now);
        const double money = metallm__limits_money(l, k, quality, cost, 3, now);
        int best = -1;
        for (int m = 0; m < 3; m++)
            if (cost[m] <= left &&
                (best < 0 || quality[m] - money * cost[m] > quality[best] - money * cost[best]))
                best = m;
        struct metallm__reservation r;
        struct metallm__limit_refusal no;
        if (best < 0 || metallm__limits_reserve(l, k, cost[best], now, &r, &no) != METALLM_OK) {
            d.refused++;
            continue;
        }
        d.quality += quality[best] / requests;
        d.spent += cost[best];
        metallm__limits_settle(l, &r, cost[best], now);
        if (2 * i < requests)
            d.noon = d.spent;
    }
    return d;
}

static void a_days_money_lasts_the_day(void **state)
{
    (void)state;
    static const double budgets[] = {0.5, 1.5, 6};
    for (int b = 0; b < 3; b++) {
        struct metallm__limits *l = limits_new();
        struct metallm__key k = key("mk_00000005");
        k.budget_usd = budgets[b];
        for (uint64_t day = 0; day < 2; day++) {
            const struct day d = run_day(l, &k, 31 + day, 6000, midnight + day * DAY_MS);
            print_message("budget %g, day %d: spent %.4f, %.4f by noon, quality %.4f\n", budgets[b],
                          (int)day, d.spent, d.noon, d.quality);
            assert_int_equal(d.refused, 0);
            assert_true(d.spent <= budgets[b]);
            assert_true(d.spent >= 0.97 * budgets[b]);
            if (day == 1) /* by then its rate is known */
                assert_near(d.noon / budgets[b], 0.5, 0.1);
        }
        metallm__limits_free(l);
    }
}

static void money_costs_nothing_where_the_budget_does_not_bind(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__key k = key("mk_00000006");
    const double quality[2] = {0.5, 0.9}, cost[2] = {1e-5, 1e-3};
    k.budget_usd = 1000;
    for (uint64_t i = 0; i < 500; i++)
        assert_near(metallm__limits_money(l, &k, quality, cost, 2, midnight + i * 60000), 0, 0);
    k.budget_usd = NAN;
    assert_near(metallm__limits_money(l, &k, quality, cost, 2, midnight), 0, 0);
    metallm__limits_free(l);
}

static void many_keys_have_their_own(void **state)
{
    (void)state;
    struct metallm__limits *l = limits_new();
    struct metallm__limit_refusal no;
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < 1000; i++) {
            char id[METALLM__KEY_ID_LEN + 1];
            snprintf(id, sizeof id, "mk_%08u", i);
            struct metallm__key k = key(id);
            k.requests_per_minute = 1;
            assert_int_equal(metallm__limits_admit(l, &k, 1, 1, NULL, &no),
                             round == 0 ? METALLM_OK : METALLM_EBUSY);
        }
    metallm__limits_free(l);
}

static int use_once(void *payload)
{
    (void)payload;
    struct metallm__limits *l = NULL;
    struct metallm__key k = key("mk_00000007");
    struct metallm__reservation r;
    struct metallm__limit_refusal no;
    k.budget_usd = 1;
    int rc = metallm__limits_new(&l, NULL);
    if (rc == METALLM_OK)
        rc = metallm__limits_reserve(l, &k, 0.1, midnight, &r, &no);
    metallm__limits_free(l);
    return rc;
}

static void a_failing_allocation_is_told(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(use_once, NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_beyond_a_minutes_share_wait),
        cmocka_unit_test(tokens_are_corrected_afterwards),
        cmocka_unit_test(money_is_reserved_then_settled),
        cmocka_unit_test(reservations_never_exceed_the_budget),
        cmocka_unit_test(a_days_money_lasts_the_day),
        cmocka_unit_test(money_costs_nothing_where_the_budget_does_not_bind),
        cmocka_unit_test(many_keys_have_their_own),
        cmocka_unit_test(a_failing_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
