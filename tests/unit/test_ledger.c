/* SPDX-License-Identifier: Apache-2.0
 * test_ledger.c - the gateway's tables: what is committed is there, what is aborted is not, older
 * stores are brought up to date, what is pruned is what nobody needs. */
#include "store/ledger.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

struct place {
    char folder[64], url[128], db[112];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/metallm-ledger-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        return -1;
    snprintf(p->db, sizeof p->db, "%s/test.db", p->folder);
    snprintf(p->url, sizeof p->url, "sqlite:%s", p->db);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-claim"};
    struct place *p = *state;
    char path[160];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", p->db, suffixes[i]);
        unlink(path);
    }
    rmdir(p->folder);
    free(p);
    return 0;
}

static struct metallm__store *open_store(const struct place *p, enum metallm__store_mode mode)
{
    struct metallm__store *s = NULL;
    metallm_error err = {0};
    if (metallm__store_open(&s, p->url, mode, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return s;
}

static void run_sql(const struct place *p, const char *sql)
{
    sqlite3 *db = NULL;
    char *said = NULL;
    assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &said) != SQLITE_OK)
        fail_msg("%s", said);
    sqlite3_close(db);
}

static void an_older_store_is_brought_up_to_date(void **state)
{
    const struct place *p = *state;
    struct metallm__ledger_tops tops;
    metallm__store_close(open_store(p, METALLM__STORE_FILL));
    run_sql(p, "DROP TABLE gateway; DROP TABLE setups; DROP TABLE decisions; DROP TABLE feedback;"
               "DROP TABLE events; DROP TABLE snapshots; DROP TABLE client_keys; DROP TABLE spend;"
               "DROP TABLE changes; DROP TABLE job_calls; DROP TABLE job_texts; DROP TABLE jobs;"
               "INSERT INTO models(name) VALUES('kept');"
               "PRAGMA user_version=1;");
    struct metallm__store *s = open_store(p, METALLM__STORE_USE);
    assert_int_equal(metallm__ledger_tops(s, &tops, NULL), METALLM_OK);
    assert_true(tops.row == 0 && tops.seq == 0);
    metallm__store_close(s);
    s = open_store(p, METALLM__STORE_FILL);
    assert_int_equal(metallm__ledger_put_value(s, "x", "abc", 3, NULL), METALLM_OK);
    metallm__store_close(s);
    run_sql(p, "DELETE FROM models WHERE name = 'kept'");
}

struct seen {
    int count;
    char text[256];
};

static int see_key(void *payload, const struct metallm__ledger_key *k, metallm_error *err)
{
    struct seen *s = payload;
    (void)err;
    s->count++;
    snprintf(s->text + strlen(s->text), sizeof s->text - strlen(s->text), "%s=%s/%zu;", k->id,
             k->json, k->hash_bytes);
    return METALLM_OK;
}

static int see_spend(void *payload, const struct metallm__ledger_spend *a, metallm_error *err)
{
    struct seen *s = payload;
    (void)err;
    s->count++;
    snprintf(s->text + strlen(s->text), sizeof s->text - strlen(s->text), "%s@%d=%g/%d/%d;",
             a->scope, (int)a->period_ms, a->usd, (int)a->requests, (int)a->tokens);
    return METALLM_OK;
}

static int see_change(void *payload, const char *kind, const char *name, const char *json,
                      metallm_error *err)
{
    struct seen *s = payload;
    (void)err;
    s->count++;
    snprintf(s->text + strlen(s->text), sizeof s->text - strlen(s->text), "%s %s %s;", kind, name,
             json);
    return METALLM_OK;
}

static void keys_spend_and_changes_come_back(void **state)
{
    struct metallm__store *s = open_store(*state, METALLM__STORE_FILL);
    struct seen seen = {0};
    const uint8_t hash[32] = {1, 2, 3};
    struct metallm__ledger_key key = {"mk_1", "{}", hash, 32};
    bool found;
    assert_int_equal(metallm__ledger_begin(s, true, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_put_key(s, &key, NULL), METALLM_OK);
    key.json = "{\"name\":1}";
    assert_int_equal(metallm__ledger_put_key(s, &key, NULL), METALLM_OK);
    key.id = "mk_2";
    assert_int_equal(metallm__ledger_put_key(s, &key, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_drop_key(s, "mk_2", &found, NULL), METALLM_OK);
    assert_true(found);
    assert_int_equal(metallm__ledger_drop_key(s, "mk_2", &found, NULL), METALLM_OK);
    assert_false(found);
    struct metallm__ledger_spend a = {"key:1", 1000, 0.25, 1, 10};
    assert_int_equal(metallm__ledger_add_spend(s, &a, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_add_spend(s, &a, NULL), METALLM_OK);
    a.period_ms = 500;
    assert_int_equal(metallm__ledger_add_spend(s, &a, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_put_change(s, "price", "b", "1", NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_put_change(s, "price", "a", "2", NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_put_change(s, "price", "b", "3", NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_put_change(s, "price", "a", NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_commit(s, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_begin(s, false, NULL), METALLM_OK); /* undone */
    key.id = "mk_3";
    assert_int_equal(metallm__ledger_put_key(s, &key, NULL), METALLM_OK);
    metallm__ledger_abort(s);
    metallm__ledger_abort(s);
    assert_int_equal(metallm__ledger_keys(s, see_key, &seen, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_spend(s, 600, see_spend, &seen, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_changes(s, see_change, &seen, NULL), METALLM_OK);
    assert_string_equal(seen.text, "mk_1={\"name\":1}/32;key:1@1000=0.5/2/20;price b 3;");
    metallm__store_close(s);
}

static void put_decisions(struct metallm__store *s, int64_t from, int64_t count)
{
    for (int64_t row = from; row < from + count; row++) {
        const struct metallm__ledger_decision d = {
            .row = row, .nonce = 7, .time_ms = row * 1000, .record = "record", .record_bytes = 6};
        const struct metallm__ledger_event e = {.seq = row, .row = row};
        assert_int_equal(metallm__ledger_put_decision(s, &d, NULL), METALLM_OK);
        assert_int_equal(metallm__ledger_put_event(s, &e, NULL), METALLM_OK);
    }
}

static int note_first(void *payload, const struct metallm__ledger_decision *d,
                      const struct metallm__ledger_feedback *f, metallm_error *err)
{
    int64_t *at = payload;
    (void)f, (void)err;
    if (at[0]++ == 0)
        at[1] = d->row;
    return METALLM_OK;
}

static int64_t count_of(struct metallm__store *s, int64_t *first)
{
    int64_t at[2] = {0, 0};
    assert_int_equal(metallm__ledger_visit(s, 0, note_first, at, NULL), METALLM_OK);
    *first = at[1];
    return at[0];
}

static void pruning_keeps_what_learning_needs(void **state)
{
    struct metallm__store *s = open_store(*state, METALLM__STORE_FILL);
    struct metallm__ledger_pruned done;
    int64_t first;
    assert_int_equal(metallm__ledger_begin(s, false, NULL), METALLM_OK);
    put_decisions(s, 1, 100);
    const struct metallm__ledger_event late = {
        .seq = 101, .row = 40, .is_feedback = true, .score = 1, .before = NAN, .first = 101};
    assert_int_equal(metallm__ledger_put_event(s, &late, NULL), METALLM_OK);
    struct metallm__ledger_prune p = {.before_ms = 30 * 1000, .seq = 100, .most = 10};
    assert_int_equal(metallm__ledger_prune(s, &p, &done, NULL), METALLM_OK);
    assert_true(done.decisions == 10 && done.row == 10);
    p.most = 1000;
    assert_int_equal(metallm__ledger_prune(s, &p, &done, NULL), METALLM_OK);
    assert_int_equal(count_of(s, &first), 71);
    assert_int_equal(first, 30);
    p.keep = 20; /* the late score's decision stays, and so do those after it */
    p.before_ms = INT64_MIN;
    assert_int_equal(metallm__ledger_prune(s, &p, &done, NULL), METALLM_OK);
    assert_int_equal(count_of(s, &first), 61);
    assert_int_equal(first, 40);
    p.seq = 101;
    assert_int_equal(metallm__ledger_prune(s, &p, &done, NULL), METALLM_OK);
    assert_int_equal(count_of(s, &first), 20);
    assert_int_equal(metallm__ledger_commit(s, NULL), METALLM_OK);
    metallm__store_close(s);
}

static void the_newest_two_snapshots_are_kept(void **state)
{
    const struct place *p = *state;
    struct metallm__store *s = open_store(p, METALLM__STORE_FILL);
    struct metallm__buf out;
    int64_t seq;
    bool found;
    metallm__buf_init(&out, 100);
    for (int64_t i = 1; i <= 5; i++)
        assert_int_equal(metallm__ledger_put_snapshot(s, "auto", i, "state", (size_t)i, NULL),
                         METALLM_OK);
    assert_int_equal(metallm__ledger_put_snapshot(s, "other", 1, "x", 1, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_get_snapshot(s, "auto", &seq, &out, &found, NULL), METALLM_OK);
    assert_true(found && seq == 5 && out.len == 5);
    assert_int_equal(metallm__ledger_get_snapshot(s, "none", &seq, &out, &found, NULL), METALLM_OK);
    assert_false(found);
    metallm__buf_fini(&out);
    metallm__store_close(s);
    run_sql(p, "INSERT INTO snapshots SELECT 'bad', count(*), CASE count(*) WHEN 3 THEN 'x' END"
               " FROM snapshots"); /* NULL, and with it refused, unless there are three */
}

static void one_alone_appends_until_its_store_is_closed(void **state)
{
    const struct place *p = *state;
    metallm_error err = {0};
    struct metallm__store *a = open_store(p, METALLM__STORE_FILL);
    struct metallm__store *b = open_store(p, METALLM__STORE_FILL);
    assert_int_equal(metallm__ledger_claim(a, 0, NULL), METALLM_OK);
    assert_int_equal(metallm__ledger_claim(a, 0, NULL), METALLM_OK); /* it has it */
    assert_int_equal(metallm__ledger_claim(b, 30, &err), METALLM_EBUSY);
    assert_non_null(strstr(err.message, "in use by another metallm"));
    assert_int_equal(metallm__ledger_put_value(b, "x", "abc", 3, NULL), METALLM_OK);
    metallm__store_close(a);
    assert_int_equal(metallm__ledger_claim(b, 0, NULL), METALLM_OK);
    metallm__store_close(b);
}

/* SQLite's locks are the process's, on the file: whoever closes any descriptor of it drops them,
 * and then the next process that closes the store takes the log away from those who still write. */
static void another_process_that_leaves_takes_nothing_along(void **state)
{
    const struct place *p = *state;
    char wal[160], go = 0;
    int ends[2], status = -1;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork(); /* before SQLite knows of anything that could be inherited */
    if (child == 0) {
        struct metallm__store *c = NULL;
        char bytes[8];
        size_t len = 0;
        bool is_well = read(ends[0], &go, 1) == 1 &&
                       metallm__store_open(&c, p->url, METALLM__STORE_USE, NULL) == METALLM_OK &&
                       metallm__ledger_get_value(c, "x", bytes, 8, &len, NULL) == METALLM_OK;
        metallm__store_close(c);
        _exit(is_well && len == 3 ? 0 : 1);
    }
    struct metallm__store *a = open_store(p, METALLM__STORE_FILL);
    assert_int_equal(metallm__ledger_put_value(a, "x", "abc", 3, NULL), METALLM_OK);
    struct metallm__store *b = open_store(p, METALLM__STORE_FILL);
    assert_int_equal(write(ends[1], "g", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    snprintf(wal, sizeof wal, "%s-wal", p->db);
    assert_int_equal(access(wal, F_OK), 0);
    assert_int_equal(metallm__ledger_put_value(b, "y", "abc", 3, NULL), METALLM_OK);
    metallm__store_close(b);
    metallm__store_close(a);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_process_that_leaves_takes_nothing_along, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(one_alone_appends_until_its_store_is_closed, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(an_older_store_is_brought_up_to_date, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(keys_spend_and_changes_come_back, make_place, drop_place),
        cmocka_unit_test_setup_teardown(pruning_keeps_what_learning_needs, make_place, drop_place),
        cmocka_unit_test_setup_teardown(the_newest_two_snapshots_are_kept, make_place, drop_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
