/* SPDX-License-Identifier: Apache-2.0
 * test_nearest.c - the blocked search against a plain one over all pairs. */
#include <math.h>
#include <stdbool.h>

#include "base/rng.h"
#include "math/nearest.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define BASE    2500u /* more than two blocks */
#define QUERIES 150u
#define DIM     6u
#define K       7u

static float base[BASE * DIM], queries[QUERIES * DIM];
static uint32_t base_group[BASE], query_group[QUERIES];
static uint32_t found[QUERIES * K];
static float similarity[QUERIES * K];

static int fill(void **state)
{
    (void)state;
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    /* Small whole numbers: products are exact and many are equal. */
    for (size_t i = 0; i < BASE * DIM; i++)
        base[i] = (float)metallm__rng_below(&rng, 7) - 3;
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)metallm__rng_below(&rng, 7) - 3;
    for (size_t i = 0; i < BASE; i++)
        base_group[i] = (uint32_t)i % 5;
    for (size_t i = 0; i < QUERIES; i++)
        query_group[i] = (uint32_t)i % 6; /* 5: a group that the base lacks */
    return 0;
}

static float product(size_t q, size_t b)
{
    float sum = 0;
    for (size_t d = 0; d < DIM; d++)
        sum += queries[q * DIM + d] * base[b * DIM + d];
    return sum;
}

/* How many rows go before row b for query q: higher, or equal and earlier. */
static size_t rank_of(size_t q, size_t b, bool grouped)
{
    size_t rank = 0;
    float own = product(q, b);
    for (size_t j = 0; j < BASE; j++) {
        float p = product(q, j);
        if (!grouped || base_group[j] != query_group[q])
            rank += p > own || (p == own && j < b);
    }
    return rank;
}

static void check(bool grouped)
{
    struct metallm__nearest n = {base, queries, BASE, QUERIES, DIM, K, NULL, NULL};
    if (grouped) {
        n.base_group = base_group;
        n.query_group = query_group;
    }
    assert_int_equal(metallm__nearest_find(&n, found, similarity, NULL), METALLM_OK);
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < K; i++) {
            uint32_t row = found[q * K + i];
            assert_true(row < BASE && (!grouped || base_group[row] != query_group[q]));
            assert_true(similarity[q * K + i] == product(q, row));
            assert_int_equal(rank_of(q, row, grouped), i);
        }
}

static void finds_what_a_plain_search_finds(void **state)
{
    (void)state;
    check(false);
}

static void skips_the_own_group(void **state)
{
    (void)state;
    check(true);
}

static void a_short_base_leaves_the_rest_empty(void **state)
{
    (void)state;
    struct metallm__nearest n = {base, queries, 3, 2, DIM, K, NULL, NULL};
    assert_int_equal(metallm__nearest_find(&n, found, similarity, NULL), METALLM_OK);
    for (size_t q = 0; q < 2; q++)
        for (size_t i = 3; i < K; i++) {
            assert_int_equal(found[q * K + i], METALLM__NEAREST_NONE);
            assert_true(isinf(similarity[q * K + i]));
        }
    n.base_rows = 0;
    assert_int_equal(metallm__nearest_find(&n, found, similarity, NULL), METALLM_OK);
    assert_int_equal(found[0], METALLM__NEAREST_NONE);
}

static int find_once(void *payload)
{
    (void)payload;
    struct metallm__nearest n = {base, queries, 3, 2, DIM, K, NULL, NULL};
    return metallm__nearest_find(&n, found, similarity, NULL);
}

static void a_failing_allocation_is_reported(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(find_once, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_plain_search_finds),
        cmocka_unit_test(skips_the_own_group),
        cmocka_unit_test(a_short_base_leaves_the_rest_empty),
        cmocka_unit_test(a_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
