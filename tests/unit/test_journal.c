/* SPDX-License-Identifier: Apache-2.0
 * test_journal.c - what is acknowledged is there, once, whatever happens to process and disk; a
 * restart believes to the last bit what was believed before. */
#include "gateway/journal.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cli/decisions.h"
#include "gateway/grade.h"
#include "support/brain_box.h"
#include "support/cmocka_all.h"

static const char online[] = "    mode: online\n    dial: 0.1\n";

static void names_hold_for_one_key_and_no_other(void **state)
{
    (void)state;
    const uint64_t secret[2] = {1, 2}, other[2] = {1, 3};
    const struct metallm__decision_id id = {.row = 123456789, .nonce = 0xfeedfacecafebeef};
    struct metallm__decision_id back = {0};
    char text[METALLM__DECISION_ID_LEN + 1], broken[METALLM__DECISION_ID_LEN + 1];
    metallm__decision_id_print(secret, &id, "mk_one", text);
    assert_int_equal(strlen(text), METALLM__DECISION_ID_LEN);
    assert_true(metallm__decision_id_parse(secret, text, strlen(text), "mk_one", &back));
    assert_int_equal(back.row, id.row);
    assert_int_equal(back.nonce, id.nonce);
    assert_false(metallm__decision_id_parse(secret, text, strlen(text), "mk_two", &back));
    assert_false(metallm__decision_id_parse(secret, text, strlen(text), "", &back));
    assert_false(metallm__decision_id_parse(other, text, strlen(text), "mk_one", &back));
    assert_false(metallm__decision_id_parse(secret, text, strlen(text) - 1, "mk_one", &back));
    for (size_t i = 0; i < METALLM__DECISION_ID_LEN; i++) {
        memcpy(broken, text, sizeof broken);
        broken[i] = text[i] == 'A' ? 'B' : 'A';
        assert_false(metallm__decision_id_parse(secret, broken, strlen(broken), "mk_one", &back));
        broken[i] = '=';
        assert_false(metallm__decision_id_parse(secret, broken, strlen(broken), "mk_one", &back));
    }
}

static void a_record_comes_back_and_damaged_ones_are_refused(void **state)
{
    (void)state;
    struct metallm__candidate candidates[2] = {
        {.quality = 0.5, .sd = 0.25, .cost_usd = NAN, .latency_ms = 8, .score = 0.125, .chance = 1},
        {.quality = 1, .prior_quality = 0.75, .prior_cost_usd = NAN, .score = NAN}};
    struct metallm__record_attempt attempts[1] = {
        {.model = 1, .deployment = 2, .status = 503, .failure = 4, .ms = 12.5f}};
    float z[3] = {1, -2, 3};
    struct metallm__record r = {.row = 5,
                                .nonce = 6,
                                .time_ms = 7,
                                .setup = 8,
                                .version = 9,
                                .key = "mk_abcdefgh",
                                .task = "law",
                                .dial = 0.5,
                                .scale_usd = NAN,
                                .propensity = 0.875,
                                .chosen = 1,
                                .model = 1,
                                .candidate_count = 2,
                                .candidates = candidates,
                                .dim = 3,
                                .z = z,
                                .attempt_count = 1,
                                .attempts = attempts,
                                .usage = {.input = 10, .output = 20, .is_known = true},
                                .cost_usd = 0.0625,
                                .latency_ms = 100,
                                .ttft_ms = NAN,
                                .status = 200,
                                .answer_hash = 77};
    static struct metallm__record_room room;
    struct metallm__record back;
    struct metallm__buf bytes;
    metallm__buf_init(&bytes, METALLM__RECORD_BYTES_MAX);
    assert_int_equal(metallm__record_encode(&r, &bytes, NULL), METALLM_OK);
    assert_int_equal(metallm__record_decode(&back, &room, bytes.data, bytes.len, NULL), METALLM_OK);
    assert_string_equal(back.key, "mk_abcdefgh");
    assert_string_equal(back.task, "law");
    assert_true(back.row == 5 && back.nonce == 6 && back.setup == 8 && back.version == 9);
    assert_true(back.propensity == 0.875 && back.cost_usd == 0.0625 && isnan(back.ttft_ms));
    assert_true(back.candidates[0].chance == 1 && isnan(back.candidates[0].cost_usd));
    assert_true(back.prior.quality == 0.75 && isnan(back.prior.cost_usd));
    assert_true(back.dim == 3 && back.z[2] == 3.0f && back.attempts[0].status == 503);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(metallm__record_decode(&back, &room, bytes.data, n, NULL),
                         METALLM_EFORMAT);
    metallm_rng rng;
    metallm_rng_seed(&rng, 3);
    for (int i = 0; i < 2000; i++) { /* any bytes: an answer, never a fault */
        char *copy = malloc(bytes.len);
        memcpy(copy, bytes.data, bytes.len);
        for (int k = 0; k < 4; k++)
            copy[metallm__rng_below(&rng, (uint32_t)bytes.len)] = (char)metallm__rng_next(&rng);
        int rc = metallm__record_decode(&back, &room, copy, bytes.len, NULL);
        assert_true(rc == METALLM_OK || rc == METALLM_EFORMAT);
        free(copy);
    }
    metallm__buf_fini(&bytes);
}

static void expect_text(struct brain_box *box, const struct metallm__decision_id *id,
                        const char *part)
{
    char *json = box_show(box, id);
    assert_non_null(json);
    if (strstr(json, part) == NULL)
        fail_msg("no %s in %s", part, json);
    free(json);
}

static void the_last_feedback_counts_and_a_repeated_one_changes_nothing(void **state)
{
    (void)state;
    struct brain_box box;
    struct metallm__journal_stats stats;
    box_open(&box, online);
    const struct metallm__decision_id id = box_decide(&box, NULL), unknown = {id.row, ~id.nonce};
    box_flush(&box);
    expect_text(&box, &id, "\"feedback\":null");
    assert_int_equal(box_feedback(&box, &id, 0.25), METALLM_OK);
    expect_text(&box, &id, "\"score\":0.25");
    struct metallm__buf once, twice;
    box_flush(&box);
    box_state(&box, &once);
    assert_int_equal(box_feedback(&box, &id, 0.25), METALLM_OK);
    box_flush(&box);
    box_state(&box, &twice);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.data, twice.data, once.len);
    metallm__buf_fini(&once);
    metallm__buf_fini(&twice);
    assert_int_equal(box_feedback(&box, &id, 1), METALLM_OK);
    expect_text(&box, &id, "\"feedback\":{\"score\":1,");
    assert_int_equal(box_feedback(&box, &unknown, 1), METALLM_ENOTFOUND);
    assert_null(box_show(&box, &unknown));
    assert_int_equal(box_feedback(&box, &id, 1.5), METALLM_EINVAL);
    assert_int_equal(box_feedback(&box, &id, -0.1), METALLM_EINVAL);
    assert_int_equal(box_feedback(&box, &id, INFINITY), METALLM_EINVAL);
    assert_int_equal(box_feedback(&box, &id, NAN), METALLM_EINVAL);
    metallm__journal_stats(box.journal, &stats);
    assert_int_equal(stats.decisions, 1);
    assert_int_equal(stats.feedback, 3);
    box_close(&box);
}

static void feedback_may_come_before_its_decision(void **state)
{
    (void)state;
    struct brain_box box;
    char name[METALLM__DECISION_ID_LEN + 1];
    struct metallm__decision_id id;
    struct metallm__buf before, after;
    box_open(&box, online);
    assert_int_equal(metallm__journal_name(box.journal, "", &id, name, NULL), METALLM_OK);
    assert_int_equal(box_feedback(&box, &id, 0.75), METALLM_OK);
    assert_int_equal(box_feedback(&box, &id, 0.5), METALLM_OK);
    assert_null(box_show(&box, &id));
    box_state(&box, &before);
    const struct metallm__record r = {.row = id.row,
                                      .nonce = id.nonce,
                                      .setup = metallm__brain_view(box.reader)->setup,
                                      .propensity = 1,
                                      .model = 0,
                                      .status = 200};
    metallm__journal_decision(box.journal, &r, NULL, 0, NULL, 0);
    box_flush(&box);
    expect_text(&box, &id, "\"feedback\":{\"score\":0.5,");
    box_state(&box, &after);
    assert_true(before.len == after.len && memcmp(before.data, after.data, before.len) != 0);
    metallm__buf_fini(&before);
    metallm__buf_fini(&after);
    box_close(&box);
}

static void a_label_is_held_against_the_answer_that_was_given(void **state)
{
    (void)state;
    struct brain_box box;
    char name[METALLM__DECISION_ID_LEN + 1];
    struct metallm__decision_id id;
    const struct metallm__span answer = METALLM__SPAN("  **Paris**. ");
    box_open(&box, online);
    assert_int_equal(metallm__journal_name(box.journal, "", &id, name, NULL), METALLM_OK);
    struct metallm__record r = {.row = id.row,
                                .nonce = id.nonce,
                                .setup = metallm__brain_view(box.reader)->setup,
                                .propensity = 1,
                                .status = 200,
                                .answer_hash = metallm__answer_hash(answer)};
    metallm__journal_decision(box.journal, &r, NULL, 0, NULL, 0);
    assert_int_equal(box_label(&box, &id, "paris"), METALLM_OK);
    expect_text(&box, &id, "\"feedback\":{\"score\":1,");
    assert_int_equal(box_label(&box, &id, "London"), METALLM_OK);
    expect_text(&box, &id, "\"feedback\":{\"score\":0,");
    const struct metallm__decision_id other = box_decide(&box, NULL);
    assert_int_equal(box_label(&box, &other, "paris"), METALLM_EINVAL);
    box_close(&box);
}

static void what_was_recorded_reads_as_a_decision_log(void **state)
{
    (void)state;
    struct brain_box box;
    struct metallm__decision_log *log = NULL;
    struct metallm__log_report report = {0};
    const struct metallm__log_options opts = {.is_strict = 1};
    metallm_error err = {0};
    double propensity[60];
    box_open(&box, online);
    for (int i = 0; i < 60; i++) {
        struct metallm__record r;
        const struct metallm__decision_id id = box_decide(&box, &r);
        propensity[i] = r.propensity;
        if (i % 2 == 0) {
            assert_int_equal(box_feedback(&box, &id, 0.25), METALLM_OK);
            assert_int_equal(box_feedback(&box, &id, i / 60.0), METALLM_OK);
        }
    }
    box_flush(&box);
    assert_int_equal(metallm__decision_log_new(&log, NULL), METALLM_OK);
    assert_int_equal(cli_decisions_read(log, box.url, "other", &opts, &report, &err), METALLM_OK);
    assert_int_equal(metallm__decision_log_count(log), 0);
    if (cli_decisions_read(log, box.url, "auto", &opts, &report, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(metallm__decision_log_count(log), 60);
    assert_int_equal(metallm__decision_log_models(log), 2);
    for (int i = 0; i < 60; i++) {
        const struct metallm__log_decision d = metallm__decision_log_get(log, (size_t)i);
        assert_true(fabs(d.propensity - propensity[i]) < 1e-6 && d.count == 2);
        assert_true(d.outcome.cost_usd > 0 && d.cost_scale_usd > 0);
        if (i % 2 == 0)
            assert_true(fabs((double)d.outcome.score - i / 60.0) < 1e-6);
        else
            assert_true(isnan(d.outcome.score));
    }
    metallm__decision_log_free(log);
    box_close(&box);
}

/* ---- Restarts. ---- */

#define EVENTS 6000

static void a_restart_believes_the_same_to_the_last_bit(void **state)
{
    (void)state;
    struct brain_box box;
    static struct metallm__decision_id ids[EVENTS];
    metallm_rng rng;
    metallm_rng_seed(&rng, 11);
    box_open(&box, online);
    size_t count = 0, restarts = 0;
    while (count < EVENTS) {
        const size_t until = count + 1 + metallm__rng_below(&rng, 900);
        while (count < EVENTS && count < until) {
            ids[count++] = box_decide(&box, NULL);
            const uint32_t what = metallm__rng_below(&rng, 10);
            size_t at = count - 1;
            if (what >= 8) /* late, or a contradiction: near or far */
                at = metallm__rng_below(&rng, (uint32_t)count);
            if (what >= 2)
                assert_true(
                    metallm__journal_feedback(
                        box.journal, &ids[at],
                        &(struct metallm__feedback){.score = metallm__rng_below(&rng, 5) / 4.0},
                        NULL, NULL, NULL) != METALLM_EINVAL);
            if (count % 300 == 0)
                box_flush(&box);
        }
        struct metallm__buf before, after;
        box_flush(&box);
        box_state(&box, &before);
        box_stop(&box);
        box_configure(&box, box_models, online);
        box_start(&box);
        box_state(&box, &after);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        metallm__buf_fini(&before);
        metallm__buf_fini(&after);
        restarts++;
    }
    assert_true(restarts > 6);
    const struct metallm__view *v = metallm__brain_view(box.reader);
    assert_true(v->version > EVENTS);
    box_close(&box);
}

static void a_replaced_score_leaves_no_trace(void **state)
{
    (void)state;
    struct brain_box a, b;
    struct metallm__buf of_a, of_b;
    struct metallm__decision_id first_a = {0}, first_b = {0};
    box_open(&a, online);
    box_open(&b, online);
    for (int i = 0; i < 400; i++) { /* both see the same; a is told wrong at first */
        a.rng = b.rng;
        metallm__brain_view(a.reader);
        const struct metallm__decision_id id_b = box_decide(&b, NULL);
        const struct metallm__decision_id id_a = box_decide(&a, NULL);
        if (i == 0) {
            first_a = id_a;
            first_b = id_b;
            assert_int_equal(box_feedback(&a, &first_a, 0), METALLM_OK);
            assert_int_equal(box_feedback(&b, &first_b, 1), METALLM_OK);
            assert_int_equal(box_feedback(&a, &first_a, 1), METALLM_OK);
        } else {
            assert_int_equal(box_feedback(&b, &id_b, i % 3 / 2.0), METALLM_OK);
            assert_int_equal(box_feedback(&a, &id_a, i % 3 / 2.0), METALLM_OK);
        }
        box_flush(&a);
        box_flush(&b);
        metallm__brains_publish(a.brains, true);
        metallm__brains_publish(b.brains, true);
    }
    assert_int_equal(box_feedback(&a, &first_a, 0.5), METALLM_OK);
    assert_int_equal(box_feedback(&a, &first_a, 1), METALLM_OK);
    box_flush(&a);
    box_state(&a, &of_a);
    box_state(&b, &of_b);
    assert_int_equal(of_a.len, of_b.len);
    assert_memory_equal(of_a.data, of_b.data, of_a.len);
    metallm__buf_fini(&of_a);
    metallm__buf_fini(&of_b);
    box_close(&a);
    box_close(&b);
}

/* ---- kill -9. ---- */

#define IN_FLIGHT 1000

struct acknowledged {
    int64_t row;
    uint64_t nonce;
    double score;
};

struct pending {
    int pipe;
    struct acknowledged what;
};

static atomic_int in_flight;

static void on_acknowledged(void *payload, int rc, const metallm_error *err)
{
    struct pending *p = payload;
    (void)err;
    atomic_fetch_sub(&in_flight, 1);
    if (rc == METALLM_OK && write(p->pipe, &p->what, sizeof p->what) != sizeof p->what)
        _exit(1);
    free(p);
}

/* Decides and gives feedback until it is killed. */
static _Noreturn void hammer(const struct brain_box *from, int out)
{
    struct brain_box box = *from;
    box.brains = NULL;
    box.config = NULL;
    box_configure(&box, box_models, online);
    box.options.waiting = IN_FLIGHT;
    box_start(&box);
    for (;;) {
        const struct metallm__decision_id id = box_decide(&box, NULL);
        struct pending *p = malloc(sizeof *p);
        *p = (struct pending){.pipe = out,
                              .what = {id.row, id.nonce, metallm__rng_uniform(&box.rng)}};
        const struct metallm__feedback f = {.score = p->what.score};
        atomic_fetch_add(&in_flight, 1);
        while (metallm__journal_feedback(box.journal, &id, &f, on_acknowledged, p, NULL) !=
               METALLM_OK)
            usleep(50);
    }
}

static int64_t query(const char *db, const char *sql)
{
    sqlite3 *s = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open_v2(db, &s, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(s, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(s);
    return n;
}

static void check_acknowledged(const struct brain_box *box, FILE *told, size_t *count)
{
    struct metallm__store *s = NULL;
    struct acknowledged a;
    assert_int_equal(metallm__store_open(&s, box->url, METALLM__STORE_USE, NULL), METALLM_OK);
    while (fread(&a, sizeof a, 1, told) == 1) {
        struct metallm__ledger_feedback f;
        struct metallm__buf texts;
        bool found = false;
        metallm__buf_init(&texts, 1000);
        assert_int_equal(metallm__ledger_get_feedback(s, a.row, &f, &texts, &found, NULL),
                         METALLM_OK);
        assert_true(found);
        assert_true(f.nonce == a.nonce && f.score == a.score);
        metallm__buf_fini(&texts);
        (*count)++;
    }
    metallm__store_close(s);
    /* none twice: one event of each score, and each score one event */
    assert_int_equal(query(box->db, "SELECT count(*) FROM (SELECT decision FROM events WHERE"
                                    " first IS NOT NULL GROUP BY decision HAVING count(*) > 1)"),
                     0);
    assert_int_equal(query(box->db, "SELECT (SELECT count(*) FROM events) - ifnull((SELECT max(seq)"
                                    " FROM events), 0)"),
                     0);
    assert_int_equal(query(box->db, "SELECT count(*) FROM feedback WHERE seq > 0 AND seq NOT IN"
                                    " (SELECT seq FROM events)"),
                     0);
}

static void a_killed_process_keeps_every_acknowledged_feedback(void **state)
{
    (void)state;
    struct brain_box box;
    metallm_rng rng;
    metallm_rng_seed(&rng, 5);
    size_t count = 0;
    box_open(&box, online);
    box_stop(&box);
    for (int round = 0; round < 8 || (count <= IN_FLIGHT && round < 100); round++) {
        FILE *told = tmpfile();
        assert_non_null(told);
        const pid_t child = fork();
        if (child == 0)
            hammer(&box, fileno(told));
        struct stat so_far = {0};
        for (int i = 0; round % 4 != 0 && i < 5000 && so_far.st_size == 0; i++) {
            usleep(2000); /* most are killed at work, some before it begins */
            assert_int_equal(fstat(fileno(told), &so_far), 0);
        }
        usleep(1000 * metallm__rng_below(&rng, 150));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        rewind(told);
        check_acknowledged(&box, told, &count);
        fclose(told);
    }
    assert_true(count > IN_FLIGHT);
    box_configure(&box, box_models, online); /* and all of it teaches */
    box_start(&box);
    assert_true(metallm__brain_view(box.reader)->version >= 2 * count);
    box_close(&box);
}

/* ---- A disk that is full, and queues that are. ---- */

/* In a child, whose files may not grow: 0, or the number of the step that failed. */
static int full_disk(const struct brain_box *from)
{
    struct brain_box box = *from;
    struct metallm__journal_stats stats;
    box.brains = NULL;
    box.config = NULL;
    box.options.retry_ms = 1;
    signal(SIGXFSZ, SIG_IGN);
    box_configure(&box, box_models, online);
    box_start(&box);
    const struct metallm__decision_id id = box_decide(&box, NULL);
    box_flush(&box);
    if (box_feedback(&box, &id, 0.5) != METALLM_OK)
        return 1;
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t all = limit.rlim_cur;
    limit.rlim_cur = 1024;
    setrlimit(RLIMIT_FSIZE, &limit);
    const struct metallm__decision_id next = box_decide(&box, NULL); /* routing goes on */
    if (box_feedback(&box, &next, 1) != METALLM_EIO)
        return 2;
    metallm__journal_stats(box.journal, &stats);
    if (!stats.is_failing || stats.failures == 0 || stats.failure[0] == '\0')
        return 3;
    limit.rlim_cur = all;
    setrlimit(RLIMIT_FSIZE, &limit);
    usleep(20000);
    if (box_feedback(&box, &next, 1) != METALLM_OK) /* by itself */
        return 4;
    char *json = box_show(&box, &next);
    if (json == NULL || strstr(json, "\"score\":1,") == NULL)
        return 5;
    free(json);
    metallm__journal_stats(box.journal, &stats);
    if (stats.is_failing || stats.dropped != 0 || stats.decisions != 2)
        return 6;
    box_stop(&box);
    metallm__config_drop(box.config);
    return 0;
}

static void a_full_disk_refuses_feedback_until_there_is_room(void **state)
{
    (void)state;
    struct brain_box box;
    box_open(&box, online);
    box_stop(&box);
    const pid_t child = fork();
    if (child == 0)
        _exit(full_disk(&box));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    box_close(&box);
}

static int block(void *payload, struct metallm__store *s, metallm_error *err)
{
    (void)s, (void)err;
    pthread_mutex_lock(payload); /* until the test lets go */
    pthread_mutex_unlock(payload);
    return METALLM_OK;
}

static void full_queues_drop_decisions_and_refuse_feedback(void **state)
{
    (void)state;
    struct brain_box box;
    struct metallm__journal_stats stats;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    box_open(&box, online);
    box_stop(&box);
    box.options.queue_bytes = 10000;
    box.options.waiting = 4;
    box_configure(&box, box_models, online);
    box_start(&box);
    box_flush(&box);
    pthread_mutex_lock(&gate);
    assert_int_equal(metallm__journal_call(box.journal, block, NULL, &gate, NULL), METALLM_OK);
    do {
        metallm__journal_stats(box.journal, &stats);
    } while (stats.queued_feedback > 0);
    struct metallm__decision_id id = {0};
    for (int i = 0; i < 100; i++)
        id = box_decide(&box, NULL);
    metallm__journal_stats(box.journal, &stats);
    assert_true(stats.dropped > 50 && stats.queued_decisions > 5 && stats.queued_bytes <= 10000);
    const struct metallm__feedback f = {.score = 1};
    for (int i = 0; i < 4; i++)
        assert_int_equal(metallm__journal_feedback(box.journal, &id, &f, NULL, NULL, NULL),
                         METALLM_OK);
    assert_int_equal(metallm__journal_feedback(box.journal, &id, &f, NULL, NULL, NULL),
                     METALLM_EBUSY);
    pthread_mutex_unlock(&gate);
    do {
        metallm__journal_stats(box.journal, &stats);
    } while (stats.queued_feedback > 0);
    box_flush(&box);
    metallm__journal_stats(box.journal, &stats);
    assert_int_equal(stats.decisions + stats.dropped, 100);
    box_close(&box);
}

static void old_decisions_are_pruned_and_their_feedback_refused(void **state)
{
    (void)state;
    struct brain_box box;
    box_open(&box, online);
    struct metallm__decision_id first = box_decide(&box, NULL);
    for (int i = 0; i < 200; i++)
        box_decide(&box, NULL);
    box_flush(&box);
    box_stop(&box);
    box.options.decisions = 50;
    box_configure(&box,
                  "  - name: big\n    base_url: http://127.0.0.1:1/v1\n"
                  "    price: {input: 30, output: 60}\n"
                  "  - name: small\n    base_url: http://127.0.0.1:2/v1\n"
                  "    price: {input: 1, output: 2, cached_input: 0.1}\n",
                  online); /* a new base, so that the old events are not needed any more */
    box_start(&box);
    struct metallm__journal_stats stats;
    do {
        usleep(1000);
        metallm__journal_stats(box.journal, &stats);
    } while (stats.pruned == 0);
    assert_int_equal(query(box.db, "SELECT count(*) FROM decisions"), 50);
    assert_int_equal(box_feedback(&box, &first, 1), METALLM_ENOTFOUND);
    box_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_hold_for_one_key_and_no_other),
        cmocka_unit_test(a_record_comes_back_and_damaged_ones_are_refused),
        cmocka_unit_test(the_last_feedback_counts_and_a_repeated_one_changes_nothing),
        cmocka_unit_test(feedback_may_come_before_its_decision),
        cmocka_unit_test(a_label_is_held_against_the_answer_that_was_given),
        cmocka_unit_test(what_was_recorded_reads_as_a_decision_log),
        cmocka_unit_test(a_replaced_score_leaves_no_trace),
        cmocka_unit_test(a_restart_believes_the_same_to_the_last_bit),
        cmocka_unit_test(a_killed_process_keeps_every_acknowledged_feedback),
        cmocka_unit_test(a_full_disk_refuses_feedback_until_there_is_room),
        cmocka_unit_test(full_queues_drop_decisions_and_refuse_feedback),
        cmocka_unit_test(old_decisions_are_pruned_and_their_feedback_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
