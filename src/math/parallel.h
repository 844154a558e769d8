/* SPDX-License-Identifier: Apache-2.0
 * parallel.h - a counted loop over threads. Tasks take their randomness from their own number
 * (metallm__rng_stream), so that the result does not depend on how many threads there are. */
#ifndef MATH_PARALLEL_H
#define MATH_PARALLEL_H
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__THREADS_MAX 256u

struct metallm__tasks {
    size_t count;
    /* Task i of count; may run on any thread, each i once. err is the task's own. */
    int (*run)(void *payload, size_t i, metallm_error *err);
    void *payload;
    uint32_t threads;                 /* 0: 1; the calling thread is one of them */
    const char *what;                 /* for progress */
    const metallm_progress *progress; /* called on the calling thread alone; may be NULL */
};

/* The error of the lowest task that failed; later tasks may not have run then.
 * METALLM_ECANCELED: progress asked to stop. */
METALLM_MUSTCHECK int metallm__tasks_run(const struct metallm__tasks *tasks, metallm_error *err);
#endif
