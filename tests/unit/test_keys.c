/* SPDX-License-Identifier: Apache-2.0
 * test_keys.c - a key opens until it is revoked or expires, another text never; snapshots change
 * under readers of several threads; the store gives back what was put; limits and the change
 * number follow. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/keep.h"
#include "gateway/limits.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/near.h"

static struct metallm__key *parse(const char *json)
{
    struct metallm__key *k = NULL;
    metallm_error err = {0};
    if (metallm__key_parse(&k, json, strlen(json), &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return k;
}

static const struct metallm__keyring *ring_of(struct metallm__key *const *keys, uint32_t count)
{
    const struct metallm__keyring *ring = NULL;
    assert_int_equal(
        metallm__keyring_new(&ring, (const struct metallm__key *const *)keys, count, NULL),
        METALLM_OK);
    return ring;
}

static void a_key_survives_json(void **state)
{
    (void)state;
    static const char json[] =
        "{\"name\":\"team \\\"a\\\"\",\"models\":[\"big\",\"small\"],\"routers\":[\"auto\"],"
        "\"requests_per_minute\":60,\"tokens_per_minute\":90000,"
        "\"budget\":{\"usd\":12.5,\"per\":\"month\"},\"target\":0.9,\"router\":\"auto\","
        "\"admin\":true,\"created_ms\":5,\"expires_ms\":9}";
    struct metallm__key *k = parse(json);
    assert_string_equal(k->name, "team \"a\"");
    assert_string_equal(k->models.items[1], "small");
    assert_true(isnan(k->dial) && k->is_admin && k->budget_per == METALLM__PERIOD_MONTH);
    assert_near(k->budget_usd, 12.5, 0);
    assert_true(metallm__key_allows_model(k, "big") && !metallm__key_allows_model(k, "huge"));
    struct metallm__buf out;
    metallm__buf_init(&out, 4096);
    metallm__key_json(k, &out);
    assert_string_equal(out.data, json);
    metallm__buf_fini(&out);
    metallm__free(k);
    k = parse("{}");
    assert_true(isnan(k->budget_usd) && metallm__key_allows_router(k, "any"));
    metallm__free(k);
}

static void wrong_keys_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "[]",
        "{\"name\":1}",
        "{\"models\":\"a\"}",
        "{\"models\":[1]}",
        "{\"requests_per_minute\":-1}",
        "{\"requests_per_minute\":1.5}",
        "{\"budget\":5}",
        "{\"budget\":{\"usd\":-1}}",
        "{\"budget\":{\"usd\":1,\"per\":\"hour\"}}",
        "{\"budget\":{\"usd\":1,\"for\":\"day\"}}",
        "{\"dial\":0.1,\"target\":0.1}",
        "{\"target\":1.1}",
        "{\"admin\":1}",
        "{\"name\":\"a\\u0000b\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct metallm__key *k;
        metallm_error err = {0};
        assert_int_not_equal(metallm__key_parse(&k, wrong[i], strlen(wrong[i]), &err), METALLM_OK);
        assert_true(err.message[0] != '\0');
    }
    struct metallm__key *k;
    metallm_error err = {0};
    assert_int_equal(metallm__key_parse(&k, "{\"modles\":[]}", 13, &err), METALLM_EINVAL);
    assert_non_null(strstr(err.message, "is 'models' meant?"));
}

static void a_key_opens_until_it_is_revoked(void **state)
{
    (void)state;
    struct metallm__keys *keys = NULL;
    struct metallm__key_reader *reader = NULL;
    const struct metallm__keyring *held = NULL;
    struct metallm__key *all[300];
    char texts[300][METALLM__KEY_TEXT_LEN + 1];
    assert_int_equal(metallm__keys_new(&keys, NULL), METALLM_OK);
    assert_int_equal(metallm__key_reader_new(&reader, keys, NULL), METALLM_OK);
    for (int i = 0; i < 300; i++) {
        all[i] = parse(i == 7 ? "{\"expires_ms\":1000}" : "{}");
        assert_int_equal(metallm__key_make(texts[i], all[i], NULL), METALLM_OK);
    }
    assert_null(metallm__key_check(reader, texts[0], METALLM__KEY_TEXT_LEN, 1, &held));
    metallm__keys_publish(keys, ring_of(all, 300));
    for (int i = 0; i < 300; i++) {
        const struct metallm__key *k =
            metallm__key_check(reader, texts[i], METALLM__KEY_TEXT_LEN, 999, &held);
        assert_non_null(k);
        assert_string_equal(k->id, all[i]->id);
        metallm__keyring_drop(held);
    }
    assert_null(metallm__key_check(reader, texts[7], METALLM__KEY_TEXT_LEN, 1000, &held));
    assert_null(metallm__key_check(reader, texts[1], METALLM__KEY_TEXT_LEN - 1, 1, &held));
    assert_null(metallm__key_check(reader, "", 0, 1, &held));
    char changed[METALLM__KEY_TEXT_LEN + 1];
    for (size_t i = 0; i < METALLM__KEY_TEXT_LEN; i++) { /* every character counts */
        memcpy(changed, texts[1], sizeof changed);
        changed[i] = changed[i] == 'a' ? 'b' : 'a';
        assert_null(metallm__key_check(reader, changed, METALLM__KEY_TEXT_LEN, 1, &held));
    }
    const struct metallm__key *before =
        metallm__key_check(reader, texts[1], METALLM__KEY_TEXT_LEN, 1, &held);
    all[1]->revoked_ms = 1;
    metallm__keys_publish(keys, ring_of(all, 300));
    const struct metallm__keyring *none = NULL;
    assert_null(metallm__key_check(reader, texts[1], METALLM__KEY_TEXT_LEN, 1, &none));
    assert_string_equal(before->id, all[1]->id); /* what is held stays */
    metallm__keyring_drop(held);
    for (int i = 0; i < 300; i++)
        metallm__free(all[i]);
    metallm__key_reader_free(reader);
    metallm__keys_free(keys);
}

static void a_check_costs_little(void **state)
{
    (void)state;
    enum { CHECKS = 20000 };
    struct metallm__keys *keys = NULL;
    struct metallm__key_reader *reader = NULL;
    const struct metallm__keyring *held = NULL;
    struct metallm__key *k = parse("{}");
    char text[METALLM__KEY_TEXT_LEN + 1];
    struct timespec from, to;
    assert_int_equal(metallm__key_make(text, k, NULL), METALLM_OK);
    assert_int_equal(metallm__keys_new(&keys, NULL), METALLM_OK);
    assert_int_equal(metallm__key_reader_new(&reader, keys, NULL), METALLM_OK);
    metallm__keys_publish(keys, ring_of(&k, 1));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < CHECKS; i++) {
        assert_non_null(metallm__key_check(reader, text, METALLM__KEY_TEXT_LEN, 1, &held));
        metallm__keyring_drop(held);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    print_message("%.0f ns a check\n",
                  ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                      CHECKS);
    metallm__key_reader_free(reader);
    metallm__keys_free(keys);
    metallm__free(k);
}

struct checker {
    struct metallm__keys *keys;
    const char *text;
    size_t opened;
};

static void *check_many(void *payload)
{
    struct checker *c = payload;
    struct metallm__key_reader *reader = NULL;
    assert_int_equal(metallm__key_reader_new(&reader, c->keys, NULL), METALLM_OK);
    for (int i = 0; i < 5000; i++) {
        const struct metallm__keyring *held = NULL;
        const struct metallm__key *k =
            metallm__key_check(reader, c->text, METALLM__KEY_TEXT_LEN, 1, &held);
        c->opened += k != NULL && k->name[0] == 'n';
        metallm__keyring_drop(held);
    }
    metallm__key_reader_free(reader);
    return NULL;
}

static void snapshots_change_under_readers(void **state)
{
    (void)state;
    struct metallm__key *k = parse("{\"name\":\"n\"}");
    char text[METALLM__KEY_TEXT_LEN + 1];
    struct metallm__keys *keys = NULL;
    pthread_t threads[3];
    struct checker checkers[3];
    assert_int_equal(metallm__key_make(text, k, NULL), METALLM_OK);
    assert_int_equal(metallm__keys_new(&keys, NULL), METALLM_OK);
    metallm__keys_publish(keys, ring_of(&k, 1));
    for (int i = 0; i < 3; i++) {
        checkers[i] = (struct checker){keys, text, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, check_many, &checkers[i]), 0);
    }
    for (int i = 0; i < 200; i++)
        metallm__keys_publish(keys, ring_of(&k, 1));
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(checkers[i].opened, 5000);
    }
    metallm__keys_free(keys);
    metallm__free(k);
}

static struct metallm__store *open_store(const char *url)
{
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    if (metallm__store_open(&s, url, METALLM__STORE_FILL, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return s;
}

static void the_store_gives_back_keys_and_changes(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_keys_XXXXXX", url[64];
    assert_non_null(mkdtemp(folder));
    snprintf(url, sizeof url, "sqlite:%s/a.db", folder);
    struct metallm__store *s = open_store(url), *other = open_store(url);
    struct metallm__key *k = parse("{\"name\":\"n\",\"budget\":{\"usd\":5,\"per\":\"month\"}}");
    char text[METALLM__KEY_TEXT_LEN + 1];
    uint64_t before, after;
    assert_int_equal(metallm__key_make(text, k, NULL), METALLM_OK);
    assert_int_equal(metallm__keep_version(other, &before, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_begin(s, true, NULL), METALLM_OK);
    assert_int_equal(metallm__keep_key(s, k, NULL), METALLM_OK);
    assert_int_equal(metallm__keep_change(s, "router", "auto", "{\"dial\":1}", NULL), METALLM_OK);
    const uint64_t now_ms = 1772323199000u; /* 2026-02-28 */
    char scope[32];
    snprintf(scope, sizeof scope, "key:%s", k->id);
    const struct metallm__ledger_spend spend = {
        .scope = scope,
        .period_ms = (int64_t)metallm__period_begin(METALLM__PERIOD_MONTH, now_ms),
        .usd = 1.25};
    assert_int_equal(metallm__ledger_add_spend(s, &spend, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_add_spend(s, &spend, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_commit(s, NULL), METALLM_OK);
    assert_int_equal(metallm__keep_version(other, &after, NULL), METALLM_OK);
    assert_true(after > before);

    const struct metallm__keyring *ring = NULL;
    struct metallm__changes *changes = NULL;
    struct metallm__limits *limits = NULL;
    assert_int_equal(metallm__keep_keys(other, &ring, NULL), METALLM_OK);
    assert_int_equal(metallm__keyring_count(ring), 1);
    assert_memory_equal(metallm__keyring_find(ring, k->id)->hash, k->hash, sizeof k->hash);
    assert_int_equal(metallm__keep_changes(other, &changes, NULL), METALLM_OK);
    assert_int_equal(metallm__changes_list(changes)->count, 1);
    assert_string_equal(metallm__changes_list(changes)->items[0].json, "{\"dial\":1}");
    assert_int_equal(metallm__limits_new(&limits, NULL), METALLM_OK);
    assert_int_equal(metallm__keep_spend(other, ring, limits, now_ms, NULL), METALLM_OK);
    assert_near(metallm__limits_spend(limits, metallm__keyring_at(ring, 0), now_ms).spent_usd, 2.5,
                1e-12);
    assert_near(metallm__limits_left(limits, k, now_ms), 2.5, 1e-12);
    metallm__limits_free(limits);
    metallm__changes_free(changes);
    metallm__keyring_drop(ring);
    metallm__free(k);
    metallm__store_close(other);
    metallm__store_close(s);
    for (int i = 0; i < 3; i++) {
        static const char *const ends[] = {"a.db", "a.db-wal", "a.db-shm"};
        char path[96];
        snprintf(path, sizeof path, "%s/%s", folder, ends[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static int make_all(void *payload)
{
    (void)payload;
    struct metallm__keys *keys = NULL;
    struct metallm__key *k = NULL;
    const struct metallm__keyring *ring = NULL;
    static const char json[] = "{\"name\":\"a\",\"models\":[\"b\"]}";
    int rc = metallm__keys_new(&keys, NULL);
    if (rc == METALLM_OK)
        rc = metallm__key_parse(&k, json, strlen(json), NULL);
    if (rc == METALLM_OK)
        rc = metallm__keyring_new(&ring, (const struct metallm__key *const *)&k, 1, NULL);
    metallm__keyring_drop(ring);
    metallm__free(k);
    metallm__keys_free(keys);
    return rc;
}

static void a_failing_allocation_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(make_all, NULL) >= 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_survives_json),
        cmocka_unit_test(wrong_keys_are_refused),
        cmocka_unit_test(a_key_opens_until_it_is_revoked),
        cmocka_unit_test(a_check_costs_little),
        cmocka_unit_test(snapshots_change_under_readers),
        cmocka_unit_test(the_store_gives_back_keys_and_changes),
        cmocka_unit_test(a_failing_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
