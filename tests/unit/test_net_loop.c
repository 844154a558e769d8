/* SPDX-License-Identifier: Apache-2.0
 * test_net_loop.c - timers beside a plain list, mail from many threads, bounds, and names. */
#include <pthread.h>
#include <string.h>

#include "net/dns.h"
#include "net/loop.h"
#include "net/wheel.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

#define MS UINT64_C(1000000)

/* ---- The wheel ---- */
#define TIMERS 400

struct probe {
    struct metallm__timer timer;
    uint64_t wanted_ns; /* 0: none */
    bool has_fired;
    uint64_t *now_ns;
    struct probe *stops; /* stops this one when it fires */
    struct metallm__wheel *wheel;
};

static void on_probe(struct metallm__timer *timer)
{
    struct probe *p = (struct probe *)timer;
    assert_true(p->wanted_ns != 0 && !p->has_fired);
    assert_true(*p->now_ns >= p->wanted_ns); /* never early */
    p->has_fired = true;
    if (p->stops != NULL && !p->stops->has_fired) {
        metallm__wheel_stop(p->wheel, &p->stops->timer);
        p->stops->wanted_ns = 0;
    }
}

static uint64_t some_wait(metallm_rng *rng)
{
    uint64_t state = rng->state[0] ^ rng->state[1];
    metallm_rng_seed(rng, state + 1);
    static const uint64_t scales[] = {1, 50, 5000, 600000, 100000000};
    return (state % (1000 * MS)) / 1000 * scales[state / 7 % 5] / 10;
}

static void timers_fire_in_time_and_only_then(void **state)
{
    (void)state;
    static struct probe probes[TIMERS];
    static struct metallm__wheel wheel;
    metallm_rng rng;
    uint64_t now = 12345678901;
    metallm_rng_seed(&rng, 3);
    metallm__wheel_init(&wheel, now);
    memset(probes, 0, sizeof probes);
    for (unsigned round = 0; round < 20000; round++) {
        struct probe *p = &probes[rng.state[2] % TIMERS];
        p->timer.fired = on_probe;
        p->now_ns = &now;
        p->wheel = &wheel;
        p->stops = round % 3 == 0 ? &probes[rng.state[3] % TIMERS] : NULL;
        if (round % 5 == 4) {
            metallm__wheel_stop(&wheel, &p->timer);
            p->wanted_ns = 0;
        } else {
            p->wanted_ns = now + some_wait(&rng);
            p->has_fired = false;
            metallm__wheel_set(&wheel, &p->timer, p->wanted_ns);
        }
        if (round % 2 == 0)
            now += some_wait(&rng) / 16;
        metallm__wheel_advance(&wheel, now);
        uint64_t next = metallm__wheel_next(&wheel);
        for (unsigned i = 0; i < TIMERS; i++) {
            struct probe *q = &probes[i];
            if (q->wanted_ns == 0 || q->has_fired)
                continue;
            assert_true(q->wanted_ns + 2 * MS > now); /* not late by more than a tick or two */
            assert_true(next * MS <= q->wanted_ns + 2 * MS);
        }
    }
    for (unsigned i = 0; i < TIMERS; i++)
        metallm__wheel_stop(&wheel, &probes[i].timer);
    assert_true(metallm__wheel_next(&wheel) == METALLM__WHEEL_NEVER);
}

/* ---- The loop's clock ---- */
static uint64_t mono_now;
static int64_t wall_now;

static uint64_t mono(void *payload)
{
    (void)payload;
    return mono_now;
}

static int64_t wall(void *payload)
{
    (void)payload;
    return wall_now;
}

static const struct metallm__clock test_clock = {mono, wall, NULL};

static void on_fired(struct metallm__timer *timer)
{
    timer->tick = UINT64_MAX;
}

static void the_clock_is_the_one_given(void **state)
{
    (void)state;
    struct metallm__loop *loop = NULL;
    struct metallm__loop_options opts = {.clock = &test_clock};
    struct metallm__timer timer = {.fired = on_fired};
    mono_now = 1000 * MS;
    wall_now = INT64_C(784111777000); /* the example of RFC 9110, 5.6.7 */
    assert_int_equal(metallm__loop_new(&loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__loop_now(loop), 1000 * MS);
    assert_string_equal(metallm__loop_http_date(loop), "Sun, 06 Nov 1994 08:49:37 GMT");
    metallm__timer_set(loop, &timer, mono_now + 3600 * 1000 * MS);
    metallm__loop_turn(loop, 0);
    assert_true(metallm__timer_armed(&timer));
    mono_now += 3601 * 1000 * MS;
    wall_now += 1000;
    metallm__loop_turn(loop, 0);
    assert_false(metallm__timer_armed(&timer));
    assert_string_equal(metallm__loop_http_date(loop), "Sun, 06 Nov 1994 08:49:38 GMT");
    metallm__loop_free(loop);
}

static void stop_loop(struct metallm__timer *timer);

struct stopper {
    struct metallm__timer timer;
    struct metallm__loop *loop;
};

static void stop_loop(struct metallm__timer *timer)
{
    metallm__loop_stop(((struct stopper *)timer)->loop);
}

static void a_running_loop_wakes_for_its_timers(void **state)
{
    (void)state;
    struct stopper s = {.timer.fired = stop_loop};
    assert_int_equal(metallm__loop_new(&s.loop, NULL, NULL), METALLM_OK);
    uint64_t before = metallm__loop_now(s.loop);
    metallm__timer_set(s.loop, &s.timer, before + 30 * MS);
    metallm__loop_run(s.loop);
    uint64_t took = metallm__loop_now(s.loop) - before;
    assert_in_range(took, 30 * MS, 3000 * MS);
    metallm__loop_free(s.loop);
}

/* ---- The mailbox ---- */
#define SENDERS 4
#define MAILS   5000

struct letter {
    struct metallm__mail mail;
    unsigned sender, number;
};

static struct {
    struct metallm__loop *loop;
    struct letter letters[SENDERS][MAILS];
    unsigned next[SENDERS], delivered; /* of the loop's thread */
} post_office;

static void deliver(struct metallm__mail *mail)
{
    struct letter *l = (struct letter *)mail;
    assert_int_equal(l->number, post_office.next[l->sender]++); /* in the sender's order */
    if (++post_office.delivered == SENDERS * MAILS)
        metallm__loop_stop(post_office.loop);
}

static void *send_all(void *payload)
{
    struct letter *letters = payload;
    for (unsigned i = 0; i < MAILS; i++)
        metallm__loop_mail(post_office.loop, &letters[i].mail);
    return NULL;
}

static void mail_of_many_threads_arrives_once_and_in_order(void **state)
{
    (void)state;
    pthread_t threads[SENDERS];
    memset(&post_office, 0, sizeof post_office);
    assert_int_equal(metallm__loop_new(&post_office.loop, NULL, NULL), METALLM_OK);
    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < MAILS; i++)
            post_office.letters[s][i] =
                (struct letter){.mail.deliver = deliver, .sender = s, .number = i};
        assert_int_equal(pthread_create(&threads[s], NULL, send_all, post_office.letters[s]), 0);
    }
    metallm__loop_run(post_office.loop);
    for (unsigned s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    assert_int_equal(post_office.delivered, SENDERS * MAILS);
    metallm__loop_free(post_office.loop);
}

static void add_one(void *payload)
{
    ++*(int *)payload;
}

static void posts_are_bounded(void **state)
{
    (void)state;
    struct metallm__loop *loop = NULL;
    struct metallm__loop_options opts = {.posts_max = 2};
    int count = 0;
    assert_int_equal(metallm__loop_new(&loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__loop_post(loop, add_one, &count), METALLM_OK);
    assert_int_equal(metallm__loop_post(loop, add_one, &count), METALLM_OK);
    assert_int_equal(metallm__loop_post(loop, add_one, &count), METALLM_EBUSY);
    metallm__loop_turn(loop, 0);
    assert_int_equal(count, 2);
    assert_int_equal(metallm__loop_post(loop, add_one, &count), METALLM_OK);
    metallm__loop_free(loop); /* delivers what is left */
    assert_int_equal(count, 3);
}

static void blocks_are_used_again(void **state)
{
    (void)state;
    struct metallm__loop *loop = NULL;
    size_t got = 0;
    assert_int_equal(metallm__loop_new(&loop, NULL, NULL), METALLM_OK);
    static const size_t sizes[] = {1, 4096, 4097, 16384, 65536, 65537, 1000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *block = metallm__loop_block(loop, sizes[i], &got);
        assert_non_null(block);
        assert_true(got >= sizes[i]);
        memset(block, 1, got);
        metallm__loop_unblock(loop, block, got);
    }
    metallm__loop_unblock(loop, NULL, 0);
    metallm__loop_free(loop);
}

static int make_loop(void *payload)
{
    (void)payload;
    struct metallm__loop *loop = NULL;
    int rc = metallm__loop_new(&loop, NULL, NULL);
    if (rc == METALLM_OK)
        metallm__loop_free(loop);
    return rc;
}

static void a_loop_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_sweep(make_loop, NULL), 2);
}

/* ---- Names ---- */
struct seeker {
    struct metallm__lookup lookup;
    int calls;
    bool found;
    char address[METALLM__ADDRESS_BYTES];
    uint16_t port;
};

static void on_lookup(struct metallm__lookup *lookup, const struct metallm__addresses *found,
                      const char *why)
{
    struct seeker *s = (struct seeker *)lookup;
    s->calls++;
    s->found = found != NULL;
    if (found != NULL) {
        metallm__address_text(&found->at[0], s->address);
        s->port = metallm__address_port(&found->at[0]);
    } else {
        assert_true(strlen(why) > 0);
    }
}

static void seek(struct metallm__loop *loop, struct seeker *s)
{
    for (int i = 0; i < 500 && s->calls == 0; i++)
        metallm__loop_turn(loop, 20);
}

static void names_are_found_and_kept(void **state)
{
    (void)state;
    struct metallm__loop *loop = NULL;
    struct metallm__dns *dns = NULL;
    struct metallm__addresses at_once;
    struct metallm__loop_options opts = {.clock = &test_clock};
    struct seeker one = {.lookup.done = on_lookup}, two = one, three = one, four = one;
    assert_int_equal(metallm__loop_new(&loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__dns_new(&dns, loop, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__dns_find(dns, "::1", 80, &at_once, &one.lookup, NULL), METALLM_OK);
    assert_int_equal(at_once.count, 1);
    assert_int_equal(metallm__dns_find(dns, "a b", 80, &at_once, &one.lookup, NULL),
                     METALLM_EINVAL);
    assert_int_equal(metallm__dns_find(dns, "localhost", 81, &at_once, &one.lookup, NULL),
                     METALLM_EBUSY);
    assert_int_equal(metallm__dns_find(dns, "localhost", 82, &at_once, &two.lookup, NULL),
                     METALLM_EBUSY);
    assert_int_equal(metallm__dns_find(dns, "localhost", 83, &at_once, &three.lookup, NULL),
                     METALLM_EBUSY);
    metallm__dns_cancel(&three.lookup);
    seek(loop, &one);
    assert_true(one.found && two.found && three.calls == 0);
    assert_int_equal(one.port, 81);
    assert_int_equal(two.port, 82);
    assert_int_equal(metallm__dns_find(dns, "localhost", 84, &at_once, &four.lookup, NULL),
                     METALLM_OK); /* kept */
    assert_int_equal(metallm__address_port(&at_once.at[0]), 84);
    mono_now += 31000 * MS;
    metallm__loop_turn(loop, 0);
    assert_int_equal(metallm__dns_find(dns, "localhost", 84, &at_once, &four.lookup, NULL),
                     METALLM_EBUSY); /* too old */
    metallm__dns_free(dns);          /* while it runs */
    metallm__loop_free(loop);
    assert_int_equal(four.calls, 0);
}

static void addresses_are_read_and_written(void **state)
{
    (void)state;
    struct sockaddr_storage a;
    char text[METALLM__ADDRESS_BYTES];
    static const struct {
        const char *in, *out;
        unsigned port;
        bool is_loopback;
    } cases[] = {{"127.0.0.1:8080", "127.0.0.1", 8080, true},
                 {"[::1]:1", "::1", 1, true},
                 {":80", "0.0.0.0", 80, false},
                 {"localhost:0", "127.0.0.1", 0, true},
                 {"10.1.2.3:65535", "10.1.2.3", 65535, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(metallm__address_parse(cases[i].in, &a, NULL), METALLM_OK);
        metallm__address_text(&a, text);
        assert_string_equal(text, cases[i].out);
        assert_int_equal(metallm__address_port(&a), cases[i].port);
        assert_int_equal(metallm__address_is_loopback(&a), cases[i].is_loopback);
    }
    static const char *const bad[] = {"",          "127.0.0.1", "127.0.0.1:",      "1.2.3:80",
                                      "[::1:80",   "a.b:80",    "127.0.0.1:65536", "::1:x",
                                      "1.2.3.4:-1"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(metallm__address_parse(bad[i], &a, NULL), METALLM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_time_and_only_then),
        cmocka_unit_test(the_clock_is_the_one_given),
        cmocka_unit_test(a_running_loop_wakes_for_its_timers),
        cmocka_unit_test(mail_of_many_threads_arrives_once_and_in_order),
        cmocka_unit_test(posts_are_bounded),
        cmocka_unit_test(blocks_are_used_again),
        cmocka_unit_test(a_loop_is_made_whole_or_not_at_all),
        cmocka_unit_test(names_are_found_and_kept),
        cmocka_unit_test(addresses_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
