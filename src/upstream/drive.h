/* SPDX-License-Identifier: Apache-2.0
 * drive.h - many calls from a thread that has nothing else to do: the command line's way to src/
 * upstream. Runs a loop of its own, keeps up to `concurrent` calls under way, returns when all are
 * done. */
#ifndef UPSTREAM_DRIVE_H
#define UPSTREAM_DRIVE_H
#include "upstream/ask.h"

#define METALLM__DRIVE_CONCURRENT_MAX 1024u

/* A call that is wanted. The driver reads the body; body and candidates are borrowed until done. */
struct metallm__drive_job {
    enum metallm__wire_kind kind;
    struct metallm__span body; /* a request as a client would send it; not streamed */
    const uint32_t *candidates;
    unsigned candidate_count;
    void *tag; /* given back */
};

struct metallm__drive_options {
    const struct metallm__llms *llms;
    struct metallm__upstream_options upstream;
    unsigned concurrent;    /* 1..METALLM__DRIVE_CONCURRENT_MAX */
    uint32_t call_total_ms; /* 0: the deployments' own limits alone */
    int day;                /* YYYYMMDD */
    /* The next job. METALLM_OK: *job is filled; METALLM_ENOTFOUND: there is none left;
     * METALLM_EBUSY: none until a call is done; anything else stops the run and is returned. */
    int (*next)(void *payload, struct metallm__drive_job *job, metallm_error *err);
    /* Not METALLM_OK: stop the run (calls under way are cancelled) and return it. */
    int (*done)(void *payload, void *tag, const struct metallm__ask_result *result,
                metallm_error *err);
    void *payload;
};

METALLM_MUSTCHECK int metallm__drive(const struct metallm__drive_options *options,
                                     metallm_error *err);

#endif
