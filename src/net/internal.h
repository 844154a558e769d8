/* SPDX-License-Identifier: Apache-2.0
 * internal.h - the loop as net's own files see it. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H
#include <stdatomic.h>
#include <uv.h>

#include "net/wheel.h"

#define METALLM__BLOCK_CLASSES 3u
#define METALLM__READ_BYTES    65536u

struct metallm__block {
    struct metallm__block *next;
};

struct metallm__loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t alarm;      /* wakes the poll for the wheel's next tick */
    uv_timer_t turn_limit; /* metallm__loop_turn's */
    struct metallm__wheel wheel;
    uint64_t alarm_tick; /* METALLM__WHEEL_NEVER: not set */

    struct metallm__clock clock;
    bool now_is_fresh, wall_is_fresh;
    uint64_t now_ns;
    int64_t wall_ms;
    int64_t date_second;
    char date[32];

    _Atomic(struct metallm__mail *) inbox; /* newest first */
    atomic_uint posts;
    uint32_t posts_max;
    atomic_bool stop_wanted;

    struct metallm__block *free_blocks[METALLM__BLOCK_CLASSES];
    uint32_t free_count[METALLM__BLOCK_CLASSES];
    char *read_buffer;  /* METALLM__READ_BYTES: all streams read into it, one at a time */
    char *plain_buffer; /* behind it, as large: what TLS made of it */
};

#endif
