/* SPDX-License-Identifier: Apache-2.0
 * test_cache.c - the keyed hash against its reference, and a bounded cache that forgets the least
 * recently used first. */
#include <pthread.h>
#include <string.h>

#include "encoder/cache.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static const uint64_t key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};

/* Key 00..0f, message 00..n-1, from OpenSSL 3.0: openssl mac -macopt hexkey:... -macopt size:16
 * SIPHASH; the first is also the reference code's. */
static void siphash_gives_the_reference_values(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint64_t lo, hi;
    } cases[] = {
        {0, 0xe6a825ba047f81a3ull, 0x930255c71472f66dull},
        {1, 0x44af996bd8c187daull, 0x45fc229b11597634ull},
        {9, 0xabbad90a06994426ull, 0xed716dbb028b7fc4ull},
        {15, 0x11a8b03399e99354ull, 0xd9c3cf970fec087eull},
    };
    unsigned char message[16];
    for (unsigned char i = 0; i < 16; i++)
        message[i] = i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__hash128 h = metallm__siphash(key, message, cases[i].len);
        assert_true(h.lo == cases[i].lo);
        assert_true(h.hi == cases[i].hi);
    }
}

static struct metallm__cache *make(uint32_t capacity, uint32_t dim, const char *scope)
{
    struct metallm__cache *c = NULL;
    struct metallm__cache_options o = {capacity, dim, scope, key};
    assert_int_equal(metallm__cache_new(&c, &o, NULL), METALLM_OK);
    return c;
}

static void what_is_put_is_got_until_it_is_the_oldest(void **state)
{
    (void)state;
    struct metallm__cache *c = make(1, 2, "a"); /* an entry a shard */
    float got[2] = {0};
    struct metallm__cache_key one = metallm__cache_key_of(c, "one", 3);
    assert_false(metallm__cache_get(c, &one, got));
    metallm__cache_put(c, &one, (const float[]){1, 2});
    assert_true(metallm__cache_get(c, &one, got));
    assert_true(got[0] == 1 && got[1] == 2);
    metallm__cache_put(c, &one, (const float[]){3, 4});
    assert_true(metallm__cache_get(c, &one, got));
    assert_true(got[0] == 3 && got[1] == 4);
    struct metallm__cache_key other = one;
    other.len = 4; /* the same hash, another length */
    assert_false(metallm__cache_get(c, &other, got));
    metallm__cache_put(c, &other, (const float[]){5, 6}); /* the same shard, which is full */
    assert_false(metallm__cache_get(c, &one, got));
    assert_true(metallm__cache_get(c, &other, got));
    struct metallm__cache_counts n = metallm__cache_read(c);
    assert_int_equal(n.hits, 3);
    assert_int_equal(n.misses, 3);
    assert_int_equal(n.evictions, 1);
    assert_int_equal(n.entries, 1);
    assert_int_equal(n.capacity, METALLM__CACHE_SHARDS);
    metallm__cache_free(c);
}

/* Against a plain model: a list in order of use for each shard. */
static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    enum { PER_SHARD = 4, TEXTS = 300, STEPS = 20000 };
    struct metallm__cache *c = make(PER_SHARD * METALLM__CACHE_SHARDS, 1, "a");
    int order[METALLM__CACHE_SHARDS][PER_SHARD]; /* youngest first; -1: free */
    memset(order, 0xff, sizeof order);
    uint64_t chance = 7;
    for (int step = 0; step < STEPS; step++) {
        chance = chance * 6364136223846793005ull + 1442695040888963407ull;
        int text = (int)((chance >> 33) % TEXTS);
        struct metallm__cache_key k = metallm__cache_key_of(c, (const char *)&text, sizeof text);
        int *mine = order[k.hash.hi % METALLM__CACHE_SHARDS], at = 0;
        while (at < PER_SHARD - 1 && mine[at] != text)
            at++;
        bool known = mine[at] == text;
        float got = -1;
        assert_true(metallm__cache_get(c, &k, &got) == known);
        if (known)
            assert_true(got == (float)text);
        else
            metallm__cache_put(c, &k, &(float){(float)text});
        memmove(mine + 1, mine, (size_t)at * sizeof *mine);
        mine[0] = text;
    }
    metallm__cache_free(c);
}

static void another_encoder_has_other_keys(void **state)
{
    (void)state;
    struct metallm__cache *a = make(8, 1, "minilm/fp32"), *b = make(8, 1, "minilm/int8");
    struct metallm__cache_key ka = metallm__cache_key_of(a, "x", 1);
    struct metallm__cache_key kb = metallm__cache_key_of(b, "x", 1);
    assert_true(ka.hash.lo != kb.hash.lo && ka.hash.hi != kb.hash.hi);
    metallm__cache_free(a);
    metallm__cache_free(b);
}

static void *hammer(void *payload)
{
    struct metallm__cache *c = payload;
    for (int i = 0; i < 20000; i++) {
        int text = i * 7919 % 97;
        struct metallm__cache_key k = metallm__cache_key_of(c, (const char *)&text, sizeof text);
        float got[2];
        if (!metallm__cache_get(c, &k, got))
            metallm__cache_put(c, &k, (const float[]){(float)text, (float)-text});
        else if (got[0] != (float)text || got[1] != (float)-text)
            return c;
    }
    return NULL;
}

static void threads_never_see_half_a_vector(void **state)
{
    (void)state;
    struct metallm__cache *c = make(64, 2, "a");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, c), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    struct metallm__cache_counts n = metallm__cache_read(c);
    assert_int_equal(n.hits + n.misses, 80000);
    metallm__cache_free(c);
}

static int open_and_free(void *payload)
{
    struct metallm__cache *c = NULL;
    struct metallm__cache_options o = {100, 3, "a", payload};
    int rc = metallm__cache_new(&c, &o, NULL);
    if (rc == METALLM_OK)
        metallm__cache_free(c);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(open_and_free, (void *)(uintptr_t)key) > 3);
}

static void a_size_out_of_range_is_refused(void **state)
{
    (void)state;
    struct metallm__cache *c = NULL;
    metallm_error err = {0};
    struct metallm__cache_options o = {0, 3, "a", key};
    assert_int_equal(metallm__cache_new(&c, &o, &err), METALLM_EINVAL);
    o.capacity = METALLM__CACHE_ENTRIES_MAX + 1;
    assert_int_equal(metallm__cache_new(&c, &o, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "1 to"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_gives_the_reference_values),
        cmocka_unit_test(what_is_put_is_got_until_it_is_the_oldest),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(another_encoder_has_other_keys),
        cmocka_unit_test(threads_never_see_half_a_vector),
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test(a_size_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
