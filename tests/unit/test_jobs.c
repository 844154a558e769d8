/* SPDX-License-Identifier: Apache-2.0
 * test_jobs.c - jobs in the store: a begun text that was cut keeps its money, an answer replaces
 * it, rows come back as they went in, and outcomes that no file gave are added once. */
#include "store/jobs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/table.h"
#include "support/cmocka_all.h"

struct place {
    char folder[64], url[128], db[112];
    struct metallm__store *s;
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/metallm-jobs-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        return -1;
    snprintf(p->db, sizeof p->db, "%s/test.db", p->folder);
    snprintf(p->url, sizeof p->url, "sqlite:%s", p->db);
    *state = p;
    return metallm__store_open(&p->s, p->url, METALLM__STORE_FILL, NULL);
}

static int drop_place(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct place *p = *state;
    char path[160];
    metallm__store_close(p->s);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", p->db, suffixes[i]);
        unlink(path);
    }
    rmdir(p->folder);
    free(p);
    return 0;
}

static void ok(int rc)
{
    assert_int_equal(rc, METALLM_OK);
}

static struct metallm__job make_job(struct place *p, const char *name)
{
    struct metallm__job job = {0};
    ok(metallm__ledger_begin(p->s, false, NULL));
    ok(metallm__job_new(p->s, name, "{\"a\":1}", &job, NULL));
    ok(metallm__ledger_commit(p->s, NULL));
    return job;
}

static struct metallm__job_totals totals_of(struct place *p, const struct metallm__job *job)
{
    struct metallm__job_totals t;
    ok(metallm__job_totals(p->s, job->id, &t, NULL));
    return t;
}

static const struct metallm__job_call two_calls[] = {
    {.model = 3,
     .why = 0,
     .label = METALLM__JOB_NO_LABEL,
     .how = 1,
     .confidence = NAN,
     .score = NAN,
     .usd = 0.25,
     .latency_ms = 12,
     .input_tokens = 40,
     .output_tokens = 2},
    {.model = 1, .why = 1, .label = 2, .how = 4, .confidence = 0.75, .score = 1, .usd = 0.5},
};

static struct metallm__job_row answer(uint64_t number)
{
    struct metallm__job_row row = {.number = number,
                                   .state = METALLM__JOB_ANSWERED,
                                   .label = 2,
                                   .model = 1,
                                   .how = 4,
                                   .confidence = 0.75,
                                   .propensity = NAN,
                                   .usd = 0.75,
                                   .lost_usd = 0.125,
                                   .latency_ms = 20,
                                   .is_lesson = true,
                                   .decision_row = 77,
                                   .calls = two_calls,
                                   .call_count = 2};
    snprintf(row.decision, sizeof row.decision, "dec_x");
    return row;
}

static void a_job_is_met_again_by_its_name(void **state)
{
    struct place *p = *state;
    struct metallm__job job = make_job(p, "a"), found;
    struct metallm__buf json;
    bool is_there = true;
    metallm__buf_init(&json, 1024);
    ok(metallm__job_find(p->s, "b", &found, &json, &is_there, NULL));
    assert_false(is_there);
    ok(metallm__job_find(p->s, "a", &found, &json, &is_there, NULL));
    assert_true(is_there && found.id == job.id && found.created_ms == job.created_ms);
    assert_string_equal(json.data, "{\"a\":1}");
    ok(metallm__ledger_begin(p->s, false, NULL));
    ok(metallm__job_begin(p->s, job.id, 0, 1, 1, NULL));
    ok(metallm__job_drop(p->s, job.id, NULL));
    ok(metallm__ledger_commit(p->s, NULL));
    const struct metallm__job next = make_job(p, "a"); /* never the number of one that went */
    assert_int_not_equal(next.id, job.id);
    assert_int_equal(totals_of(p, &next).begun, 0);
    metallm__buf_fini(&json);
}

static void what_was_cut_is_lost_money_and_asked_again(void **state)
{
    struct place *p = *state;
    const struct metallm__job job = make_job(p, "a");
    struct metallm__job_row row = answer(5);
    uint8_t states[4];
    ok(metallm__ledger_begin(p->s, true, NULL));
    ok(metallm__job_begin(p->s, job.id, 5, 99, 2.0, NULL));
    ok(metallm__job_begin(p->s, job.id, 7, 98, 1.0, NULL));
    ok(metallm__ledger_commit(p->s, NULL));
    struct metallm__job_totals t = totals_of(p, &job);
    assert_true(t.begun == 2 && t.reserved_usd == 3.0 && t.usd == 0 && t.lost_usd == 0);
    ok(metallm__job_states(p->s, job.id, 4, 4, states, NULL));
    assert_true(states[0] == METALLM__JOB_NEW && states[1] == METALLM__JOB_BEGUN &&
                states[2] == METALLM__JOB_NEW && states[3] == METALLM__JOB_BEGUN);
    ok(metallm__ledger_begin(p->s, true, NULL));
    ok(metallm__job_recover(p->s, job.id, NULL));
    ok(metallm__job_recover(p->s, job.id, NULL)); /* once is enough */
    ok(metallm__ledger_commit(p->s, NULL));
    t = totals_of(p, &job);
    assert_true(t.begun == 0 && t.cut == 2 && t.reserved_usd == 0 && t.lost_usd == 3.0);
    ok(metallm__ledger_begin(p->s, true, NULL));
    ok(metallm__job_begin(p->s, job.id, 5, 99, 4.0, NULL)); /* what was lost stays */
    ok(metallm__ledger_commit(p->s, NULL));
    t = totals_of(p, &job);
    assert_true(t.begun == 1 && t.cut == 1 && t.reserved_usd == 4.0 && t.lost_usd == 3.0);
    ok(metallm__ledger_begin(p->s, true, NULL));
    ok(metallm__job_end(p->s, job.id, &row, NULL));
    ok(metallm__ledger_commit(p->s, NULL));
    t = totals_of(p, &job);
    assert_true(t.answered == 1 && t.unlabelled == 0 && t.cut == 1 && t.reserved_usd == 0);
    assert_true(t.usd == 0.75 && t.lost_usd == 3.125);
    ok(metallm__job_states(p->s, job.id, 5, 1, states, NULL));
    assert_int_equal(states[0], METALLM__JOB_ANSWERED);
}

struct seen {
    uint64_t numbers[8];
    uint32_t count;
};

static int look(void *payload, const struct metallm__job_row *row, metallm_error *err)
{
    struct seen *seen = payload;
    (void)err;
    seen->numbers[seen->count++] = row->number;
    if (row->state != METALLM__JOB_ANSWERED) {
        assert_true(row->call_count == 0 && row->label == METALLM__JOB_NO_LABEL);
        return METALLM_OK;
    }
    const struct metallm__job_row want = answer(row->number);
    assert_true(row->label == want.label && row->model == want.model && row->how == want.how);
    assert_true(row->confidence == want.confidence && isnan(row->propensity));
    assert_true(row->usd == want.usd && row->lost_usd == want.lost_usd);
    assert_true(row->latency_ms == want.latency_ms && row->is_lesson && row->hash == 40);
    assert_true(row->decision_row == 77 && isnan(row->reserved_usd));
    assert_string_equal(row->decision, "dec_x");
    assert_int_equal(row->call_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct metallm__job_call *a = &row->calls[i], *b = &two_calls[i];
        assert_true(a->model == b->model && a->why == b->why && a->label == b->label);
        assert_true(a->how == b->how && a->usd == b->usd && a->latency_ms == b->latency_ms);
        assert_true(a->input_tokens == b->input_tokens && a->output_tokens == b->output_tokens);
        assert_true(isnan(b->score) ? isnan(a->score) : a->score == b->score);
    }
    return row->number == 9 ? METALLM_ECANCELED : METALLM_OK;
}

static void rows_come_back_by_number_with_their_calls(void **state)
{
    struct place *p = *state;
    const struct metallm__job other = make_job(p, "b"), job = make_job(p, "a");
    static const uint64_t numbers[] = {9, 2, 4, 11};
    struct seen seen = {.count = 0};
    ok(metallm__ledger_begin(p->s, false, NULL));
    for (size_t i = 0; i < 4; i++) {
        struct metallm__job_row row = answer(numbers[i]);
        ok(metallm__job_begin(p->s, job.id, numbers[i], 40, 1, NULL));
        ok(metallm__job_begin(p->s, other.id, numbers[i] + 1, 40, 1, NULL));
        if (numbers[i] != 4)
            ok(metallm__job_end(p->s, job.id, &row, NULL));
    }
    ok(metallm__ledger_commit(p->s, NULL));
    assert_int_equal(metallm__job_visit(p->s, job.id, 0, 100, look, &seen, NULL),
                     METALLM_ECANCELED);
    assert_int_equal(seen.count, 3);
    assert_true(seen.numbers[0] == 2 && seen.numbers[1] == 4 && seen.numbers[2] == 9);
    seen.count = 0;
    ok(metallm__job_visit(p->s, job.id, 3, 6, look, &seen, NULL)); /* 3 .. 8 */
    assert_true(seen.count == 1 && seen.numbers[0] == 4);
}

/* A table with one query and one outcome. */
static metallm_outcomes *one_outcome(const char *id, float score)
{
    metallm_outcomes *o = NULL;
    const metallm_query q = {.id = id, .task = "t", .split = "", .prompt = "p", .label = "up"};
    const struct metallm__query_key key = {.task = "t", .split = "", .id = id, .prompt = "p"};
    metallm_outcome cell = metallm_outcome_unknown();
    uint32_t model;
    size_t query;
    ok(metallm_outcomes_new(&o, NULL));
    ok(metallm_outcomes_add_model(o, "m", &model, NULL));
    ok(metallm_outcomes_add_query(o, &q, &query, NULL));
    ok(metallm__outcomes_index_query(o, &key, query, NULL));
    cell.score = score;
    ok(metallm_outcomes_set(o, query, model, &cell, NULL));
    return o;
}

static void outcomes_without_a_file_are_added_once(void **state)
{
    struct place *p = *state;
    static const struct {
        const char *id;
        size_t queries, outcomes;
    } steps[] = {{"1", 1, 1}, {"1", 1, 1}, {"2", 2, 2}};
    struct metallm__store_added added = {0};
    for (size_t i = 0; i < 3; i++) {
        metallm_outcomes *o = one_outcome(steps[i].id, 1);
        ok(metallm__store_add(p->s, "classify:a", o, &added, NULL));
        metallm_outcomes_free(o);
        assert_true(added.queries == steps[i].queries && added.outcomes == steps[i].outcomes);
    }
    metallm_outcomes *all = NULL;
    ok(metallm_outcomes_new(&all, NULL));
    ok(metallm__store_read(p->s, "t", NULL, all, NULL, NULL));
    assert_int_equal(metallm_outcomes_query_count(all), 2);
    assert_string_equal(metallm_outcomes_query(all, 1).label, "up");
    metallm_outcomes_free(all);
    ok(metallm__ledger_begin(p->s, false, NULL));
    ok(metallm__store_drop(p->s, "classify:b", NULL));
    ok(metallm__store_drop(p->s, "classify:a", NULL));
    ok(metallm__ledger_commit(p->s, NULL));
    struct metallm__store_summary left;
    ok(metallm__store_summary(p->s, &left, NULL));
    assert_true(left.queries == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_is_met_again_by_its_name, make_place, drop_place),
        cmocka_unit_test_setup_teardown(what_was_cut_is_lost_money_and_asked_again, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(rows_come_back_by_number_with_their_calls, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(outcomes_without_a_file_are_added_once, make_place,
                                        drop_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
