/* SPDX-License-Identifier: Apache-2.0
 * run_job.h - the job behind a run: what it is, told as JSON, and whether the one in the store is
 * the same. */
#ifndef CLASSIFY_RUN_JOB_H
#define CLASSIFY_RUN_JOB_H
#include "classify/run_inner.h"

/* Makes the job, or meets it again: texts that were cut are booked, and what is answered and spent
 * is counted. METALLM_EMISMATCH: it was begun otherwise. */
METALLM_MUSTCHECK int metallm__run_meet(struct metallm__run *r, metallm_error *err);
#endif
