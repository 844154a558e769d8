/* SPDX-License-Identifier: Apache-2.0
 * loop.h - one event loop for one thread: its clock, its timers, its memory, and a mailbox through
 * which other threads reach it. Everything else in net lives on one loop and is touched by that
 * loop's thread alone, unless its header says otherwise. */
#ifndef NET_LOOP_H
#define NET_LOOP_H
#include <stdbool.h>
#include <stdint.h>

#include "metallm/base.h"

struct metallm__loop;

/* Where time comes from; a test puts its own here. */
struct metallm__clock {
    uint64_t (*mono_ns)(void *payload); /* monotonic, nanoseconds from any beginning */
    int64_t (*wall_ms)(void *payload);  /* milliseconds since 1970 UTC */
    void *payload;
};

struct metallm__loop_options {
    const struct metallm__clock *clock; /* copied; NULL: the system's */
    uint32_t posts_max; /* metallm__loop_post at most so many at a time; 0: METALLM__POSTS_MAX */
};
#define METALLM__POSTS_MAX 65536u

/* opts may be NULL. METALLM_EIO: the system refused (descriptors). */
METALLM_MUSTCHECK int metallm__loop_new(struct metallm__loop **out,
                                        const struct metallm__loop_options *opts,
                                        metallm_error *err);
/* Not while it runs. All that was made on the loop has been freed or closed by its owner before;
 * what is still closing is waited for, and mail that is still there is delivered. NULL is fine. */
void metallm__loop_free(struct metallm__loop *loop);

/* Runs until metallm__loop_stop, on the thread that will own all that lives here. */
void metallm__loop_run(struct metallm__loop *loop);
void metallm__loop_stop(struct metallm__loop *loop); /* any thread; run returns soon after */
/* One turn: waits at most wait_ms (real time) for something to happen, does it, and fires the
 * timers that are due by the loop's clock. For tests, and for programs with a loop of their own. */
void metallm__loop_turn(struct metallm__loop *loop, uint32_t wait_ms);

/* Time as of this turn of the loop: read once a turn, when first asked for. */
uint64_t metallm__loop_now(struct metallm__loop *loop);    /* monotonic, ns */
int64_t metallm__loop_wall_ms(struct metallm__loop *loop); /* since 1970 UTC */
/* The Date header's 29 characters for this second, closed by NUL; valid until the next call. */
const char *metallm__loop_http_date(struct metallm__loop *loop);

/* ---- Mailbox: the one way in from other threads. ---- */

/* Mail lies in the sender's memory (a member of its own record), so that posting cannot fail and
 * needs no lock. It belongs to the loop until deliver is called, on the loop's thread. Mails of one
 * sender are delivered in their order. */
struct metallm__mail {
    struct metallm__mail *next; /* the mailbox's */
    void (*deliver)(struct metallm__mail *mail);
};
void metallm__loop_mail(struct metallm__loop *loop, struct metallm__mail *mail); /* any thread */

/* The same for a plain function. METALLM_EBUSY: posts_max are waiting; METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__loop_post(struct metallm__loop *loop, void (*call)(void *payload),
                                         void *payload); /* any thread */

/* ---- Timers: a member of its owner's record; arming, moving and stopping cost a few ns, never
 * fail and allocate nothing (a hierarchical wheel of 1 ms ticks, one libuv timer for all). ---- */
struct metallm__timer {
    void (*fired)(struct metallm__timer *timer); /* set by the owner, once */
    uint64_t due_ns;                             /* when it is wanted; 0: stopped */
    struct metallm__timer *next, **link;         /* the wheel's */
    uint64_t tick;                               /* where it hangs; never later than due_ns */
    uint8_t level, slot;
};
/* Fires once, not before due_ns (metallm__loop_now() + ...) and within about 2 ms of it; moves a
 * timer that is armed. The record is all zero but for fired before its first use. */
void metallm__timer_set(struct metallm__loop *loop, struct metallm__timer *timer, uint64_t due_ns);
void metallm__timer_stop(struct metallm__loop *loop,
                         struct metallm__timer *timer); /* always fine */
static inline bool metallm__timer_armed(const struct metallm__timer *timer)
{
    return timer->due_ns != 0;
}

/* ---- Memory of this loop: blocks of 4 KiB, 16 KiB and 64 KiB on free lists. ---- */
void *metallm__loop_block(struct metallm__loop *loop, size_t bytes,
                          size_t *got);                                          /* NULL: no memory;
                           over 64 KiB: straight from base/mem.h. *got >= bytes is the size. */
void metallm__loop_unblock(struct metallm__loop *loop, void *block, size_t got); /* NULL is fine */

struct uv_loop_s;
struct uv_loop_s *metallm__loop_uv(struct metallm__loop *loop); /* for net alone */

#endif
