/* SPDX-License-Identifier: Apache-2.0
 * loop.c - a libuv loop with a clock that is read once a turn, the timer wheel behind one libuv
 * timer, a lock-free mailbox (a stack that the loop takes whole and turns around), and blocks. */
#include "net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/internal.h"

static uint64_t system_mono_ns(void *payload)
{
    (void)payload;
    return uv_hrtime();
}

static int64_t system_wall_ms(void *payload)
{
    (void)payload;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Time ---- */
uint64_t metallm__loop_now(struct metallm__loop *loop)
{
    if (!loop->now_is_fresh) {
        loop->now_ns = loop->clock.mono_ns(loop->clock.payload);
        loop->now_is_fresh = true;
    }
    return loop->now_ns;
}

int64_t metallm__loop_wall_ms(struct metallm__loop *loop)
{
    if (!loop->wall_is_fresh) {
        loop->wall_ms = loop->clock.wall_ms(loop->clock.payload);
        loop->wall_is_fresh = true;
    }
    return loop->wall_ms;
}

const char *metallm__loop_http_date(struct metallm__loop *loop)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t second = metallm__loop_wall_ms(loop) / 1000;
    if (second == loop->date_second && loop->date[0] != '\0')
        return loop->date;
    time_t when = (time_t)second;
    struct tm t;
    if (gmtime_r(&when, &t) == NULL || t.tm_year > 8099 || t.tm_year < 0)
        memset(&t, 0, sizeof t), t.tm_mday = 1;
    (void)snprintf(loop->date, sizeof loop->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   days + 3 * t.tm_wday, (unsigned)t.tm_mday % 100u, months + 3 * t.tm_mon,
                   (unsigned)(1900 + t.tm_year) % 10000u, (unsigned)t.tm_hour % 100u,
                   (unsigned)t.tm_min % 100u, (unsigned)t.tm_sec % 100u);
    loop->date_second = second;
    return loop->date;
}

/* ---- Timers ---- */
static void on_alarm(uv_timer_t *alarm)
{
    struct metallm__loop *loop = alarm->data;
    loop->alarm_tick = METALLM__WHEEL_NEVER; /* on_check has done the work, on_prepare sets anew */
}

/* Before the loop waits: the clock will have moved when it wakes, and the alarm must be right. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct metallm__loop *loop = prepare->data;
    uint64_t next = metallm__wheel_next(&loop->wheel);
    if (next < loop->alarm_tick) {
        uint64_t now = metallm__loop_now(loop) / METALLM__WHEEL_TICK_NS;
        uint64_t wait = next > now ? next - now : 0;
        uv_update_time(&loop->uv);
        uv_timer_start(&loop->alarm, on_alarm, wait + 1, 0);
        loop->alarm_tick = next;
    }
    loop->now_is_fresh = loop->wall_is_fresh = false;
}

static void on_check(uv_check_t *check)
{
    struct metallm__loop *loop = check->data;
    if (metallm__wheel_next(&loop->wheel) != METALLM__WHEEL_NEVER)
        metallm__wheel_advance(&loop->wheel, metallm__loop_now(loop));
}

void metallm__timer_set(struct metallm__loop *loop, struct metallm__timer *timer, uint64_t due_ns)
{
    metallm__wheel_set(&loop->wheel, timer, due_ns);
}

void metallm__timer_stop(struct metallm__loop *loop, struct metallm__timer *timer)
{
    metallm__wheel_stop(&loop->wheel, timer);
}

/* ---- Mailbox ---- */
static void deliver_all(struct metallm__loop *loop)
{
    struct metallm__mail *taken = atomic_exchange(&loop->inbox, NULL), *mails = NULL;
    while (taken != NULL) {
        struct metallm__mail *next = taken->next;
        taken->next = mails;
        mails = taken;
        taken = next;
    }
    while (mails != NULL) {
        struct metallm__mail *next = mails->next; /* deliver may free it or post it again */
        mails->deliver(mails);
        mails = next;
    }
}

static void on_async(uv_async_t *async)
{
    struct metallm__loop *loop = async->data;
    deliver_all(loop);
    if (atomic_exchange(&loop->stop_wanted, false))
        uv_stop(&loop->uv);
}

void metallm__loop_mail(struct metallm__loop *loop, struct metallm__mail *mail)
{
    struct metallm__mail *head = atomic_load(&loop->inbox);
    do
        mail->next = head;
    while (!atomic_compare_exchange_weak(&loop->inbox, &head, mail));
    if (head == NULL) /* else who filled it has woken the loop */
        uv_async_send(&loop->async);
}

struct post {
    struct metallm__mail mail;
    struct metallm__loop *loop;
    void (*call)(void *payload);
    void *payload;
};

static void deliver_post(struct metallm__mail *mail)
{
    struct post post = *(struct post *)mail;
    metallm__free(mail);
    atomic_fetch_sub(&post.loop->posts, 1);
    post.call(post.payload);
}

int metallm__loop_post(struct metallm__loop *loop, void (*call)(void *payload), void *payload)
{
    if (atomic_fetch_add(&loop->posts, 1) >= loop->posts_max) {
        atomic_fetch_sub(&loop->posts, 1);
        return METALLM_EBUSY;
    }
    struct post *post = metallm__alloc(1, sizeof *post);
    if (post == NULL) {
        atomic_fetch_sub(&loop->posts, 1);
        return METALLM_ENOMEM;
    }
    *post = (struct post){.mail.deliver = deliver_post, .loop = loop, .call = call};
    post->payload = payload;
    metallm__loop_mail(loop, &post->mail);
    return METALLM_OK;
}

/* ---- Memory ---- */
static const size_t block_bytes[METALLM__BLOCK_CLASSES] = {4096, 16384, 65536};
#if defined(__SANITIZE_ADDRESS__)
#define KEEP 0u /* so that the sanitizer sees who uses what he gave back */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP 0u
#endif
#endif
#ifndef KEEP
#define KEEP 1u
#endif
static const uint32_t block_keep[METALLM__BLOCK_CLASSES] = {1024 * KEEP, 128 * KEEP, 32 * KEEP};

void *metallm__loop_block(struct metallm__loop *loop, size_t bytes, size_t *got)
{
    unsigned c = 0;
    while (c < METALLM__BLOCK_CLASSES && block_bytes[c] < bytes)
        c++;
    if (c == METALLM__BLOCK_CLASSES) {
        *got = bytes;
        return metallm__alloc(bytes, 1);
    }
    *got = block_bytes[c];
    struct metallm__block *b = loop->free_blocks[c];
    if (b == NULL)
        return metallm__alloc(block_bytes[c], 1);
    loop->free_blocks[c] = b->next;
    loop->free_count[c]--;
    return b;
}

void metallm__loop_unblock(struct metallm__loop *loop, void *block, size_t got)
{
    if (block == NULL)
        return;
    for (unsigned c = 0; c < METALLM__BLOCK_CLASSES; c++)
        if (block_bytes[c] == got && loop->free_count[c] < block_keep[c]) {
            struct metallm__block *b = block;
            b->next = loop->free_blocks[c];
            loop->free_blocks[c] = b;
            loop->free_count[c]++;
            return;
        }
    metallm__free(block);
}

/* ---- Life ---- */
/* A write to a connection that is gone must be an error code, not the end of the process. */
static void block_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int begin_handles(struct metallm__loop *loop)
{
    int rc = uv_async_init(&loop->uv, &loop->async, on_async);
    if (rc < 0)
        return rc;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_timer_init(&loop->uv, &loop->alarm);
    uv_timer_init(&loop->uv, &loop->turn_limit);
    loop->async.data = loop->prepare.data = loop->check.data = loop->alarm.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->alarm);
    return 0;
}

int metallm__loop_new(struct metallm__loop **out, const struct metallm__loop_options *opts,
                      metallm_error *err)
{
    struct metallm__loop *loop = metallm__calloc(1, sizeof *loop);
    if (loop == NULL)
        return metallm__error_nomem(err, "a loop");
    loop->read_buffer = metallm__alloc(2, METALLM__READ_BYTES);
    if (loop->read_buffer == NULL) {
        metallm__free(loop);
        return metallm__error_nomem(err, "a loop");
    }
    loop->plain_buffer = loop->read_buffer + METALLM__READ_BYTES;
    loop->clock = (struct metallm__clock){system_mono_ns, system_wall_ms, NULL};
    if (opts != NULL && opts->clock != NULL)
        loop->clock = *opts->clock;
    loop->posts_max = opts != NULL && opts->posts_max != 0 ? opts->posts_max : METALLM__POSTS_MAX;
    loop->alarm_tick = METALLM__WHEEL_NEVER;
    metallm__wheel_init(&loop->wheel, metallm__loop_now(loop));
    int rc = uv_loop_init(&loop->uv);
    if (rc == 0 && (rc = begin_handles(loop)) < 0)
        (void)uv_loop_close(&loop->uv);
    if (rc < 0) {
        metallm__free(loop->read_buffer);
        metallm__free(loop);
        return metallm__error_set(err, METALLM_EIO, "cannot make an event loop: %s",
                                  uv_strerror(rc));
    }
    block_sigpipe();
    *out = loop;
    return METALLM_OK;
}

void metallm__loop_run(struct metallm__loop *loop)
{
    block_sigpipe();
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void metallm__loop_stop(struct metallm__loop *loop)
{
    atomic_store(&loop->stop_wanted, true);
    uv_async_send(&loop->async);
}

static void on_turn_limit(uv_timer_t *timer)
{
    (void)timer;
}

void metallm__loop_turn(struct metallm__loop *loop, uint32_t wait_ms)
{
    loop->now_is_fresh = loop->wall_is_fresh = false;
    if (wait_ms > 0) {
        uv_update_time(&loop->uv);
        uv_timer_start(&loop->turn_limit, on_turn_limit, wait_ms, 0);
    }
    uv_run(&loop->uv, wait_ms > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    uv_timer_stop(&loop->turn_limit);
}

static void require_closing(uv_handle_t *handle, void *payload)
{
    (void)payload;
    METALLM_REQUIRE(uv_is_closing(handle));
}

void metallm__loop_free(struct metallm__loop *loop)
{
    if (loop == NULL)
        return;
    deliver_all(loop);
    uv_close((uv_handle_t *)&loop->async, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->turn_limit, NULL);
    uv_walk(&loop->uv, require_closing, NULL);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
        ;
    METALLM_REQUIRE(uv_loop_close(&loop->uv) == 0);
    for (unsigned c = 0; c < METALLM__BLOCK_CLASSES; c++)
        while (loop->free_blocks[c] != NULL) {
            struct metallm__block *b = loop->free_blocks[c];
            loop->free_blocks[c] = b->next;
            metallm__free(b);
        }
    metallm__free(loop->read_buffer);
    metallm__free(loop);
}

struct uv_loop_s *metallm__loop_uv(struct metallm__loop *loop)
{
    return &loop->uv;
}
