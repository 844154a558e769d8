/* SPDX-License-Identifier: Apache-2.0
 * wheel.c - timers hang in the slot of their tick: level L has slots of 64^L ticks, and a timer's
 * level is the highest group of 6 bits in which its tick differs from the present one. When a
 * higher slot's time comes its timers move down. A timer that is only put off stays where it hangs
 * and is moved when that slot's time comes, so that a deadline moved by each request costs nothing.
 */
#include "net/wheel.h"

#include <string.h>

#define OFF_WHEEL 255u /* level of a timer that is on the list of those being fired */

void metallm__wheel_init(struct metallm__wheel *w, uint64_t now_ns)
{
    memset(w, 0, sizeof *w);
    w->elapsed = now_ns / METALLM__WHEEL_TICK_NS;
}

static void hang(struct metallm__timer **list, struct metallm__timer *t)
{
    t->next = *list;
    t->link = list;
    if (t->next != NULL)
        t->next->link = &t->next;
    *list = t;
}

static void unhang(struct metallm__wheel *w, struct metallm__timer *t)
{
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    t->link = NULL;
    t->next = NULL;
    if (t->level != OFF_WHEEL && w->slots[t->level][t->slot] == NULL)
        w->used[t->level] &= ~(UINT64_C(1) << t->slot);
}

static void insert(struct metallm__wheel *w, struct metallm__timer *t)
{
    const unsigned bits = 6 * METALLM__WHEEL_LEVELS;
    uint64_t tick = t->due_ns / METALLM__WHEEL_TICK_NS + (t->due_ns % METALLM__WHEEL_TICK_NS != 0);
    if (tick <= w->elapsed)
        tick = w->elapsed + 1;
    if (tick - w->elapsed >= UINT64_C(1) << (bits - 1)) /* a year: looked at again then */
        tick = w->elapsed + (UINT64_C(1) << (bits - 1));
    uint64_t differs = (w->elapsed ^ tick) | (METALLM__WHEEL_SLOTS - 1);
    unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / 6;
    if (level >= METALLM__WHEEL_LEVELS)
        level = METALLM__WHEEL_LEVELS - 1;
    t->tick = tick;
    t->level = (uint8_t)level;
    t->slot = (uint8_t)(tick >> (6 * level) & (METALLM__WHEEL_SLOTS - 1));
    hang(&w->slots[level][t->slot], t);
    w->used[level] |= UINT64_C(1) << t->slot;
}

void metallm__wheel_set(struct metallm__wheel *w, struct metallm__timer *t, uint64_t due_ns)
{
    t->due_ns = due_ns == 0 ? 1 : due_ns;
    if (t->link != NULL) {
        if (t->level != OFF_WHEEL && t->due_ns > (t->tick - 1) * METALLM__WHEEL_TICK_NS)
            return; /* put off: it is moved when its slot's time comes */
        unhang(w, t);
    }
    insert(w, t);
}

void metallm__wheel_stop(struct metallm__wheel *w, struct metallm__timer *t)
{
    t->due_ns = 0;
    if (t->link != NULL)
        unhang(w, t);
}

/* The first slot in time that has timers, and its tick. */
static uint64_t next_slot(const struct metallm__wheel *w, unsigned *level, unsigned *slot)
{
    for (unsigned l = 0; l < METALLM__WHEEL_LEVELS; l++) {
        if (w->used[l] == 0)
            continue;
        unsigned now_slot = (unsigned)(w->elapsed >> (6 * l)) & 63u;
        uint64_t turned =
            w->used[l] >> now_slot | (now_slot == 0 ? 0 : w->used[l] << (64 - now_slot));
        *level = l;
        *slot = ((unsigned)__builtin_ctzll(turned) + now_slot) & 63u;
        uint64_t range = UINT64_C(1) << (6 * (l + 1));
        uint64_t tick = (w->elapsed & ~(range - 1)) + ((uint64_t)*slot << (6 * l));
        return *slot < now_slot ? tick + range : tick; /* around the corner: the top level alone */
    }
    return METALLM__WHEEL_NEVER;
}

uint64_t metallm__wheel_next(const struct metallm__wheel *w)
{
    unsigned level, slot;
    return next_slot(w, &level, &slot);
}

static void fire_slot(struct metallm__wheel *w, unsigned level, unsigned slot)
{
    struct metallm__timer *due = w->slots[level][slot];
    w->slots[level][slot] = NULL;
    w->used[level] &= ~(UINT64_C(1) << slot);
    if (due != NULL)
        due->link = &due;
    for (struct metallm__timer *t = due; t != NULL; t = t->next)
        t->level = OFF_WHEEL;
    while (due != NULL) { /* a call may stop or move others of the list */
        struct metallm__timer *t = due;
        unhang(w, t);
        if (t->due_ns > w->elapsed * METALLM__WHEEL_TICK_NS) {
            insert(w, t);
            continue;
        }
        t->due_ns = 0;
        t->fired(t);
    }
}

void metallm__wheel_advance(struct metallm__wheel *w, uint64_t now_ns)
{
    uint64_t now = now_ns / METALLM__WHEEL_TICK_NS;
    unsigned level, slot;
    for (;;) {
        uint64_t tick = next_slot(w, &level, &slot);
        if (tick > now)
            break;
        if (tick > w->elapsed)
            w->elapsed = tick;
        fire_slot(w, level, slot);
    }
    if (now > w->elapsed)
        w->elapsed = now;
}
