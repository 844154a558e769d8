/* SPDX-License-Identifier: Apache-2.0
 * wheel.h - the loop's timers: a hierarchical timing wheel (Varghese and Lauck, 1987, scheme 7) of
 * 6 levels with 64 slots, a tick being 1 ms. It knows no clock: it is told what time it is. */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H
#include "net/loop.h"

#define METALLM__WHEEL_LEVELS  6u
#define METALLM__WHEEL_SLOTS   64u
#define METALLM__WHEEL_NEVER   UINT64_MAX
#define METALLM__WHEEL_TICK_NS UINT64_C(1000000)

struct metallm__wheel {
    uint64_t elapsed; /* ticks that have been dealt with */
    uint64_t used[METALLM__WHEEL_LEVELS];
    struct metallm__timer *slots[METALLM__WHEEL_LEVELS][METALLM__WHEEL_SLOTS];
};

void metallm__wheel_init(struct metallm__wheel *w, uint64_t now_ns);
void metallm__wheel_set(struct metallm__wheel *w, struct metallm__timer *t, uint64_t due_ns);
void metallm__wheel_stop(struct metallm__wheel *w, struct metallm__timer *t);
/* Fires what is due. */
void metallm__wheel_advance(struct metallm__wheel *w, uint64_t now_ns);
/* The tick at which there is something to do, perhaps only inside; METALLM__WHEEL_NEVER. */
uint64_t metallm__wheel_next(const struct metallm__wheel *w);

#endif
