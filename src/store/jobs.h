/* SPDX-License-Identifier: Apache-2.0
 * jobs.h - jobs of classification in a store: what a job is, and a row for each of its texts, so
 * that a job that was stopped in any way goes on where it was.
 *
 * A text has no row until its first call is about to be made. It then is `begun`, with the dollars
 * that its calls may cost at most, and that is committed before the call. Its answer replaces them
 * by what was paid. A begun text that is met when a job is opened again was cut: what it may have
 * cost is booked as lost (job_recover), and it is asked anew.
 * Writes stand between metallm__ledger_begin and _commit. Threads and errors: as of the store. */
#ifndef STORE_JOBS_H
#define STORE_JOBS_H
#include "store/ledger.h"

#define METALLM__JOB_NAME_MAX     255u
#define METALLM__JOB_CALLS_MAX    16u /* of one text */
#define METALLM__JOB_DECISION_MAX 40u /* bytes of a decision's name */
#define METALLM__JOB_NO_LABEL     (-1)

enum metallm__job_state {
    METALLM__JOB_NEW = 0, /* no row */
    METALLM__JOB_BEGUN,
    METALLM__JOB_ANSWERED, /* also where no label could be read */
    METALLM__JOB_FAILED,   /* no LLM answered: a later run asks again */
    METALLM__JOB_CUT,      /* begun by a run that was cut: a later run asks again */
};

struct metallm__job {
    int64_t id, created_ms; /* wall clock, since 1970 */
};
/* By name; *found tells whether there is one. json: what the job is, appended to out. */
METALLM_MUSTCHECK int metallm__job_find(struct metallm__store *s, const char *name,
                                        struct metallm__job *job, struct metallm__buf *out,
                                        bool *found, metallm_error *err);
METALLM_MUSTCHECK int metallm__job_new(struct metallm__store *s, const char *name, const char *json,
                                       struct metallm__job *job, metallm_error *err);
/* The job with all its rows. */
METALLM_MUSTCHECK int metallm__job_drop(struct metallm__store *s, int64_t job, metallm_error *err);
/* Texts that are begun become cut, and what they may have cost is lost. */
METALLM_MUSTCHECK int metallm__job_recover(struct metallm__store *s, int64_t job,
                                           metallm_error *err);

/* Before the first call of a text. Of a text that has a row already, what it lost stays. */
METALLM_MUSTCHECK int metallm__job_begin(struct metallm__store *s, int64_t job, uint64_t number,
                                         uint64_t hash, double reserved_usd, metallm_error *err);

/* One LLM that was asked for a text. Models and labels are numbers in the job's own lists. */
struct metallm__job_call {
    uint32_t model, why;    /* why: the engine's number of what it was asked for */
    int32_t label;          /* METALLM__JOB_NO_LABEL: none */
    uint32_t how;           /* how the label was read */
    double confidence;      /* as the LLM gave it; NaN: not known */
    double score;           /* of a judge, or by the gold label; NaN: none */
    double usd, latency_ms; /* NaN: not known */
    uint64_t input_tokens, output_tokens;
};
/* What became of a text. */
struct metallm__job_row {
    uint64_t number;
    enum metallm__job_state state;
    uint64_t hash;
    int32_t label;        /* METALLM__JOB_NO_LABEL: none */
    uint32_t model, how;  /* that gave the label, or was asked last */
    double confidence;    /* calibrated where it is, else raw; NaN: not known */
    double propensity;    /* NaN: nothing was drawn */
    double usd, lost_usd; /* paid for answers; perhaps paid without one */
    double reserved_usd;  /* get: begun */
    double latency_ms;
    bool is_lesson;
    int64_t decision_row;                     /* 0: none */
    char decision[METALLM__JOB_DECISION_MAX]; /* its name; "" : none */
    const struct metallm__job_call *calls;
    uint32_t call_count;
};
/* lost_usd is added to what the text lost before; usd counts as it is. */
METALLM_MUSTCHECK int metallm__job_end(struct metallm__store *s, int64_t job,
                                       const struct metallm__job_row *row, metallm_error *err);

/* The states of the texts from .. from + count - 1. */
METALLM_MUSTCHECK int metallm__job_states(struct metallm__store *s, int64_t job, uint64_t from,
                                          uint32_t count, uint8_t *states, metallm_error *err);
/* The rows of the texts from .. from + count - 1, by number. A result other than METALLM_OK ends it
 * and is returned. */
typedef int metallm__job_visit_row(void *payload, const struct metallm__job_row *row,
                                   metallm_error *err);
METALLM_MUSTCHECK int metallm__job_visit(struct metallm__store *s, int64_t job, uint64_t from,
                                         uint64_t count, metallm__job_visit_row *visit,
                                         void *payload, metallm_error *err);

struct metallm__job_totals {
    uint64_t answered, unlabelled, failed, cut, begun; /* unlabelled: a part of answered */
    double usd, lost_usd, reserved_usd;
};
METALLM_MUSTCHECK int metallm__job_totals(struct metallm__store *s, int64_t job,
                                          struct metallm__job_totals *out, metallm_error *err);
#endif
