/* SPDX-License-Identifier: Apache-2.0
 * test_service.c - the batching service over a scripted encoder that can be held: batches, equal
 * texts, a full queue, deadlines, cancellation, failures, both ways to stop, and many threads. */
#include "encoder/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

enum { DIM = 2, BATCHES_MAX = 64 };

/* vector of a text: {its length, its first byte}. While held, compute waits. */
struct encoder {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_held;
    int status; /* what compute returns; a text that begins with '!' gives METALLM_EINVAL */
    size_t batches[BATCHES_MAX], batch_count, entered, texts;
    uint64_t now_ns;
};

/* Each test has a fresh one as its state. */
static int make_encoder(void **state)
{
    static struct encoder e;
    e = (struct encoder){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    *state = &e;
    return 0;
}

static int compute(void *payload, const char *const *texts, const size_t *lens, size_t count,
                   float *out, metallm_error *err)
{
    struct encoder *e = payload;
    pthread_mutex_lock(&e->lock);
    if (e->batch_count < BATCHES_MAX)
        e->batches[e->batch_count++] = count;
    e->entered++;
    e->texts += count;
    pthread_cond_broadcast(&e->changed);
    while (e->is_held)
        pthread_cond_wait(&e->changed, &e->lock);
    int rc = e->status;
    pthread_mutex_unlock(&e->lock);
    if (rc != METALLM_OK)
        snprintf(err->message, sizeof err->message, "scripted");
    for (size_t i = 0; i < count && rc == METALLM_OK; i++) {
        if (lens[i] > 0 && texts[i][0] == '!')
            rc = METALLM_EINVAL;
        out[i * DIM] = (float)lens[i];
        out[i * DIM + 1] = lens[i] > 0 ? (float)texts[i][0] : 0;
    }
    return rc;
}

static void hold(struct encoder *e, bool is_held)
{
    pthread_mutex_lock(&e->lock);
    e->is_held = is_held;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void wait_entered(struct encoder *e, size_t count)
{
    pthread_mutex_lock(&e->lock);
    while (e->entered < count)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

static uint64_t clock_of(void *payload)
{
    struct encoder *e = payload;
    pthread_mutex_lock(&e->lock);
    uint64_t now = e->now_ns;
    pthread_mutex_unlock(&e->lock);
    return now;
}

static void set_clock(struct encoder *e, uint64_t now_ns)
{
    pthread_mutex_lock(&e->lock);
    e->now_ns = now_ns;
    pthread_mutex_unlock(&e->lock);
}

static metallm_service *make(struct encoder *e, metallm_service_options o)
{
    struct metallm__service_work work = {compute, e, DIM, "scripted"};
    metallm_service *s = NULL;
    metallm_error err = {0};
    if (o.clock_ns == NULL) {
        o.clock_ns = clock_of;
        o.clock_payload = e;
    }
    assert_int_equal(metallm__service_new(&s, &work, &o, &err), METALLM_OK);
    return s;
}

/* What a request came to. */
struct answer {
    atomic_int calls, status;
    float out[DIM];
    uint64_t ticket;
    char message[METALLM_ERROR_BYTES];
};

static void note(void *payload, int status, const metallm_error *err)
{
    struct answer *a = payload;
    snprintf(a->message, sizeof a->message, "%s", err->message);
    atomic_store(&a->status, status);
    atomic_fetch_add(&a->calls, 1);
}

static int submit(metallm_service *s, const char *text, uint64_t deadline_ns, struct answer *a)
{
    memset(a, 0, sizeof *a);
    bool ready = false;
    metallm_service_request r = {text, strlen(text), a->out, deadline_ns, note, a};
    int rc = metallm_service_submit(s, &r, &ready, &a->ticket, NULL);
    if (rc == METALLM_OK && ready)
        note(a, METALLM_OK, &(metallm_error){0});
    return rc;
}

static void assert_answered(const struct answer *a, int status, const char *text)
{
    assert_int_equal(atomic_load(&a->calls), 1);
    assert_int_equal(atomic_load(&a->status), status);
    if (status == METALLM_OK) {
        assert_true(a->out[0] == (float)strlen(text));
        assert_true(a->out[1] == (float)text[0]);
    }
}

static void a_lone_request_starts_at_once_and_what_waits_becomes_a_batch(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    metallm_service *s = make(e, (metallm_service_options){.batch = 4});
    static const char *const texts[] = {"a", "bb", "ccc", "dddd", "e", "ff"};
    struct answer a[6];
    assert_int_equal(submit(s, texts[0], 0, &a[0]), METALLM_OK);
    wait_entered(e, 1); /* alone, although nothing else came */
    for (int i = 1; i < 6; i++)
        assert_int_equal(submit(s, texts[i], 0, &a[i]), METALLM_OK);
    metallm_service_counts n = metallm_service_read(s);
    assert_int_equal(n.waiting, 5);
    assert_int_equal(n.running, 1);
    assert_int_equal(n.unanswered, 6);
    hold(e, false);
    metallm_service_stop(s, true);
    for (int i = 0; i < 6; i++)
        assert_answered(&a[i], METALLM_OK, texts[i]);
    assert_int_equal(e->batch_count, 3);
    assert_int_equal(e->batches[0], 1);
    assert_int_equal(e->batches[1], 4);
    assert_int_equal(e->batches[2], 1);
    n = metallm_service_read(s);
    assert_int_equal(n.texts, 6);
    assert_int_equal(n.batches, 3);
    assert_int_equal(n.unanswered, 0);
    metallm_service_free(s);
}

static void equal_texts_in_flight_are_computed_once(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    metallm_service *s = make(e, (metallm_service_options){0});
    struct answer a[5];
    assert_int_equal(submit(s, "running", 0, &a[0]), METALLM_OK);
    wait_entered(e, 1);
    assert_int_equal(submit(s, "running", 0, &a[1]), METALLM_OK);
    assert_int_equal(submit(s, "waiting", 0, &a[2]), METALLM_OK);
    assert_int_equal(submit(s, "waiting", 0, &a[3]), METALLM_OK);
    assert_int_equal(submit(s, "", 0, &a[4]), METALLM_OK);
    hold(e, false);
    metallm_service_stop(s, true);
    assert_answered(&a[0], METALLM_OK, "running");
    assert_answered(&a[1], METALLM_OK, "running");
    assert_answered(&a[2], METALLM_OK, "waiting");
    assert_answered(&a[3], METALLM_OK, "waiting");
    assert_answered(&a[4], METALLM_OK, "");
    assert_int_equal(e->texts, 3);
    assert_int_equal(metallm_service_read(s).joined, 2);
    metallm_service_free(s);
}

static void a_full_queue_says_so_and_takes_requests_again_later(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    metallm_service *s = make(e, (metallm_service_options){.queue = 2, .queue_bytes = 6});
    struct answer a[4];
    metallm_error err = {0};
    bool ready = false;
    assert_int_equal(submit(s, "four", 0, &a[0]), METALLM_OK);
    assert_int_equal(submit(s, "abc", 0, &a[1]), METALLM_EBUSY); /* 7 bytes */
    assert_int_equal(submit(s, "four", 0, &a[1]), METALLM_OK);   /* joins: no bytes */
    metallm_service_request r = {"x", 1, a[2].out, 0, note, &a[2]};
    assert_int_equal(metallm_service_submit(s, &r, &ready, NULL, &err), METALLM_EBUSY);
    assert_non_null(strstr(err.message, "queue is full (2 requests"));
    assert_int_equal(submit(s, "longer than all", 0, &a[2]), METALLM_ELIMIT);
    assert_int_equal(metallm_service_read(s).busy, 2);
    hold(e, false);
    while (metallm_service_read(s).unanswered > 0)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    assert_int_equal(submit(s, "abc", 0, &a[3]), METALLM_OK);
    metallm_service_stop(s, true);
    assert_answered(&a[0], METALLM_OK, "four");
    assert_answered(&a[1], METALLM_OK, "four");
    assert_answered(&a[3], METALLM_OK, "abc");
    assert_int_equal(atomic_load(&a[2].calls), 0);
    metallm_service_free(s);
}

static void a_passed_deadline_is_a_timeout_and_costs_no_work(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    set_clock(e, 100);
    metallm_service *s = make(e, (metallm_service_options){.batch = 1});
    struct answer a[5];
    assert_int_equal(submit(s, "late already", 100, &a[0]), METALLM_ETIMEOUT);
    assert_int_equal(submit(s, "late result", 150, &a[0]), METALLM_OK);
    wait_entered(e, 1);
    assert_int_equal(submit(s, "never starts", 150, &a[1]), METALLM_OK);
    assert_int_equal(submit(s, "one of two", 150, &a[2]), METALLM_OK);
    assert_int_equal(submit(s, "one of two", 0, &a[3]), METALLM_OK);
    assert_int_equal(submit(s, "in time", 300, &a[4]), METALLM_OK);
    set_clock(e, 200);
    hold(e, false);
    metallm_service_stop(s, true);
    assert_answered(&a[0], METALLM_ETIMEOUT, "");
    assert_answered(&a[1], METALLM_ETIMEOUT, "");
    assert_answered(&a[2], METALLM_ETIMEOUT, "");
    assert_answered(&a[3], METALLM_OK, "one of two");
    assert_answered(&a[4], METALLM_OK, "in time");
    assert_non_null(strstr(a[1].message, "deadline"));
    assert_int_equal(e->texts, 3);
    assert_int_equal(metallm_service_read(s).timeouts, 3);
    metallm_service_free(s);
}

static void a_cancelled_request_is_forgotten(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    metallm_service *s = make(e, (metallm_service_options){0});
    struct answer a[4];
    assert_int_equal(submit(s, "running", 0, &a[0]), METALLM_OK);
    wait_entered(e, 1);
    assert_int_equal(submit(s, "waiting", 0, &a[1]), METALLM_OK);
    assert_int_equal(submit(s, "shared", 0, &a[2]), METALLM_OK);
    assert_int_equal(submit(s, "shared", 0, &a[3]), METALLM_OK);
    assert_true(metallm_service_cancel(s, a[0].ticket));
    assert_true(metallm_service_cancel(s, a[1].ticket));
    assert_true(metallm_service_cancel(s, a[2].ticket));
    assert_false(metallm_service_cancel(s, a[2].ticket));
    assert_false(metallm_service_cancel(s, 0));
    hold(e, false);
    metallm_service_stop(s, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(atomic_load(&a[i].calls), 0);
        assert_true(a[i].out[0] == 0);
    }
    assert_answered(&a[3], METALLM_OK, "shared");
    assert_false(metallm_service_cancel(s, a[3].ticket));
    assert_int_equal(e->texts, 2); /* "waiting" was never computed */
    assert_int_equal(metallm_service_read(s).cancelled, 3);
    metallm_service_free(s);
}

static void one_refused_text_does_not_fail_its_batch(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    metallm_service *s = make(e, (metallm_service_options){0});
    struct answer a[4];
    assert_int_equal(submit(s, "first", 0, &a[0]), METALLM_OK);
    wait_entered(e, 1);
    assert_int_equal(submit(s, "good", 0, &a[1]), METALLM_OK);
    assert_int_equal(submit(s, "!bad", 0, &a[2]), METALLM_OK);
    assert_int_equal(submit(s, "fine", 0, &a[3]), METALLM_OK);
    hold(e, false);
    metallm_service_stop(s, true);
    assert_answered(&a[1], METALLM_OK, "good");
    assert_answered(&a[2], METALLM_EINVAL, "");
    assert_answered(&a[3], METALLM_OK, "fine");
    assert_int_equal(metallm_service_read(s).failed, 1);
    metallm_service_free(s);
}

static void a_failing_encoder_is_every_requests_answer_and_is_not_kept(void **state)
{
    struct encoder *e = *state;
    e->status = METALLM_EIO;
    metallm_service *s = make(e, (metallm_service_options){.cache = 10});
    float out[DIM];
    metallm_error err = {0};
    assert_int_equal(metallm_service_encode(s, "ab", 2, 0, out, &err), METALLM_EIO);
    assert_string_equal(err.message, "scripted");
    e->status = METALLM_OK;
    assert_int_equal(metallm_service_encode(s, "ab", 2, 0, out, &err), METALLM_OK);
    assert_true(out[0] == 2 && out[1] == 'a');
    metallm_service_free(s);
}

static void the_cache_answers_without_the_encoder(void **state)
{
    struct encoder *e = *state;
    metallm_service *s = make(e, (metallm_service_options){.cache = 100});
    float out[DIM] = {0};
    for (int i = 0; i < 5; i++) {
        out[0] = 0;
        assert_int_equal(metallm_service_encode(s, "again", 5, 0, out, NULL), METALLM_OK);
        assert_true(out[0] == 5 && out[1] == 'a');
    }
    assert_int_equal(e->texts, 1);
    metallm_service_counts n = metallm_service_read(s);
    assert_int_equal(n.requests, 5);
    assert_int_equal(n.cache_hits, 4);
    assert_int_equal(n.cache_misses, 1);
    assert_int_equal(n.cache_entries, 1);
    metallm_service_free(s);
}

static void waiting_ends_with_the_deadline(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    struct metallm__service_work work = {compute, e, DIM, "scripted"};
    metallm_service *s = NULL; /* on the system's clock */
    assert_int_equal(metallm__service_new(&s, &work, &(metallm_service_options){0}, NULL),
                     METALLM_OK);
    float out[DIM] = {0};
    metallm_error err = {0};
    assert_int_equal(metallm_service_encode(s, "slow", 4, 20, out, &err), METALLM_ETIMEOUT);
    assert_non_null(strstr(err.message, "deadline"));
    hold(e, false);
    metallm_service_stop(s, true);
    assert_true(out[0] == 0);
    metallm_service_free(s);
}

static void stopping_without_draining_cancels_what_waits(void **state)
{
    struct encoder *e = *state;
    metallm_service *s = make(e, (metallm_service_options){.threads = 2});
    metallm_service_stop(s, true);
    metallm_service_stop(s, false);
    struct answer a;
    assert_int_equal(submit(s, "after", 0, &a), METALLM_ECANCELED);
    metallm_service_free(s);
    metallm_service_free(NULL);
}

struct stopper {
    metallm_service *s;
    atomic_bool is_done;
};

static void *stop_now(void *payload)
{
    struct stopper *st = payload;
    metallm_service_stop(st->s, false);
    atomic_store(&st->is_done, true);
    return NULL;
}

static void stopping_finishes_the_batch_that_runs(void **state)
{
    struct encoder *e = *state;
    hold(e, true);
    struct stopper st = {.s = make(e, (metallm_service_options){0})};
    struct answer a[2];
    assert_int_equal(submit(st.s, "running", 0, &a[0]), METALLM_OK);
    wait_entered(e, 1);
    assert_int_equal(submit(st.s, "waiting", 0, &a[1]), METALLM_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_now, &st), 0);
    while (atomic_load(&a[1].calls) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    assert_false(atomic_load(&st.is_done));
    hold(e, false);
    pthread_join(thread, NULL);
    assert_answered(&a[0], METALLM_OK, "running");
    assert_answered(&a[1], METALLM_ECANCELED, "");
    metallm_service_free(st.s);
}

enum { CLIENTS = 6, ROUNDS = 400 };
struct client {
    metallm_service *s;
    uint64_t chance;
    int wrong, busy, cancelled;
};

static void *ask(void *payload)
{
    struct client *c = payload;
    for (int i = 0; i < ROUNDS; i++) {
        c->chance = c->chance * 6364136223846793005ull + 1442695040888963407ull;
        char text[16];
        snprintf(text, sizeof text, "%c%d", (char)('a' + i % 3), (int)(c->chance >> 33) % 40);
        struct answer a;
        int rc = submit(c->s, text, 0, &a);
        if (rc == METALLM_EBUSY) {
            c->busy++;
            continue;
        }
        if ((c->chance >> 20) % 4 == 0 && metallm_service_cancel(c->s, a.ticket)) {
            c->cancelled++;
            c->wrong += atomic_load(&a.calls) != 0;
            continue;
        }
        while (atomic_load(&a.calls) == 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
        c->wrong += rc != METALLM_OK || a.out[0] != (float)strlen(text) || a.out[1] != text[0];
    }
    return NULL;
}

static void many_threads_get_each_their_own_answer(void **state)
{
    struct encoder *e = *state;
    metallm_service *s =
        make(e, (metallm_service_options){.threads = 3, .queue = 4, .batch = 2, .cache = 16});
    pthread_t threads[CLIENTS];
    struct client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.s = s, .chance = (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &clients[i]), 0);
    }
    uint64_t busy = 0, cancelled = 0;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].wrong, 0);
        busy += (uint64_t)clients[i].busy;
        cancelled += (uint64_t)clients[i].cancelled;
    }
    metallm_service_stop(s, true);
    metallm_service_counts n = metallm_service_read(s);
    assert_int_equal(n.requests, CLIENTS * ROUNDS);
    assert_int_equal(n.busy, busy);
    assert_int_equal(n.cancelled, cancelled);
    assert_int_equal(n.unanswered + n.waiting + n.running, 0);
    assert_int_equal(n.texts, e->texts);
    metallm_service_free(s);
}

static void an_encoder_behind_it_gives_what_it_gives_alone(void **state)
{
    (void)state;
    metallm_encoder *e = NULL;
    assert_int_equal(metallm_encoder_open(&e, &(metallm_encoder_options){.name = "hash"}, NULL),
                     METALLM_OK);
    for (int form = 0; form < 2; form++) {
        metallm_service *s = NULL;
        metallm_service_options o = {.encoder = e, .features = form == 1, .threads = 2, .cache = 9};
        assert_int_equal(metallm_service_new(&s, &o, NULL), METALLM_OK);
        metallm_layout layout = metallm_encoder_layout(e);
        uint32_t dim = form == 1 ? metallm_layout_dim(&layout) : metallm_encoder_dim(e);
        assert_int_equal(metallm_service_dim(s), dim);
        float alone[2048], served[2048];
        const char *text = "how many roads";
        size_t len = strlen(text);
        int rc = form == 1 ? metallm_encoder_features(e, &text, &len, 1, alone, NULL, NULL)
                           : metallm_encoder_embed(e, &text, &len, 1, alone, NULL, NULL);
        assert_int_equal(rc, METALLM_OK);
        for (int again = 0; again < 2; again++) {
            memset(served, 0, sizeof served);
            assert_int_equal(metallm_service_encode(s, text, len, 0, served, NULL), METALLM_OK);
            assert_memory_equal(alone, served, dim * sizeof(float));
        }
        metallm_service_free(s);
    }
    metallm_encoder_free(e);
}

static int open_and_free(void *payload)
{
    struct encoder *e = payload;
    struct metallm__service_work work = {compute, e, DIM, "scripted"};
    metallm_service *s = NULL;
    int rc = metallm__service_new(
        &s, &work, &(metallm_service_options){.threads = 2, .queue = 4, .cache = 4}, NULL);
    if (rc == METALLM_OK)
        metallm_service_free(s);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    struct encoder *e = *state;
    assert_true(fail_alloc_sweep(open_and_free, e) > 10);
    metallm_service *s = make(e, (metallm_service_options){0});
    struct answer a;
    fail_alloc_at(0);
    assert_int_equal(submit(s, "x", 0, &a), METALLM_ENOMEM);
    fail_alloc_at(-1);
    metallm_service_free(s);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    struct metallm__service_work work = {compute, NULL, DIM, "scripted"};
    metallm_service *s = NULL;
    const metallm_service_options bad[] = {{.threads = METALLM_SERVICE_THREADS_MAX + 1},
                                           {.queue = METALLM_SERVICE_QUEUE_MAX + 1},
                                           {.batch = METALLM_SERVICE_BATCH_MAX + 1},
                                           {.cache = UINT32_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(metallm__service_new(&s, &work, &bad[i], NULL), METALLM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_lone_request_starts_at_once_and_what_waits_becomes_a_batch,
                               make_encoder),
        cmocka_unit_test_setup(equal_texts_in_flight_are_computed_once, make_encoder),
        cmocka_unit_test_setup(a_full_queue_says_so_and_takes_requests_again_later, make_encoder),
        cmocka_unit_test_setup(a_passed_deadline_is_a_timeout_and_costs_no_work, make_encoder),
        cmocka_unit_test_setup(a_cancelled_request_is_forgotten, make_encoder),
        cmocka_unit_test_setup(one_refused_text_does_not_fail_its_batch, make_encoder),
        cmocka_unit_test_setup(a_failing_encoder_is_every_requests_answer_and_is_not_kept,
                               make_encoder),
        cmocka_unit_test_setup(the_cache_answers_without_the_encoder, make_encoder),
        cmocka_unit_test_setup(waiting_ends_with_the_deadline, make_encoder),
        cmocka_unit_test_setup(stopping_without_draining_cancels_what_waits, make_encoder),
        cmocka_unit_test_setup(stopping_finishes_the_batch_that_runs, make_encoder),
        cmocka_unit_test_setup(many_threads_get_each_their_own_answer, make_encoder),
        cmocka_unit_test(an_encoder_behind_it_gives_what_it_gives_alone),
        cmocka_unit_test_setup(every_failing_allocation_is_reported, make_encoder),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
