/* SPDX-License-Identifier: Apache-2.0
 * grade.h - turns answers into scores, where the configuration says so: equal to a label, a regular
 * expression, valid JSON, or an LLM as judge on a share of the requests. The first grader that is
 * meant for the request's task and gives a verdict counts.
 * Regular expressions are PCRE2's, with limits on steps, depth and memory: one that runs into them
 * gives no verdict, whatever the answer. Threads: any number may use graders at once. */
#ifndef GATEWAY_GRADE_H
#define GATEWAY_GRADE_H
#include "base/buf.h"
#include "base/span.h"
#include "gateway/config.h"

#define METALLM__GRADE_NO_JUDGE     UINT32_MAX
#define METALLM__GRADE_ANSWER_BYTES ((size_t)1 << 20) /* longer answers are not graded */

struct metallm__graders;

/* The graders of a router, which outlives them. METALLM_EINVAL: a pattern is none, with its line.
 */
METALLM_MUSTCHECK int metallm__graders_new(struct metallm__graders **out,
                                           const struct metallm__config_router *router,
                                           metallm_error *err);
void metallm__graders_free(struct metallm__graders *g); /* NULL is fine */

struct metallm__grade_ask {
    struct metallm__span answer; /* text of the answer */
    struct metallm__span label;  /* the right answer; empty: not known */
    struct metallm__span task;
    metallm_rng *rng; /* which requests are graded */
};
struct metallm__grade {
    double score; /* 0..1; NaN: no verdict */
    uint32_t
        judge; /* number of the grader whose judge is to be asked, or METALLM__GRADE_NO_JUDGE */
};
void metallm__graders_run(const struct metallm__graders *g, const struct metallm__grade_ask *ask,
                          struct metallm__grade *out);

/* An answer, normalised: without blanks and punctuation at both ends, inner blanks as one, ASCII
 * letters small. The answer to a question with a label is right when both are the same. */
bool metallm__answer_equals(struct metallm__span answer, struct metallm__span label);
/* A hash of the normalised answer, never 0: kept in records, so that labels that come later can be
 * held against an answer that is not kept. */
uint64_t metallm__answer_hash(struct metallm__span answer);

/* The body of the judge's /v1/chat/completions request. METALLM_ELIMIT: too long. */
METALLM_MUSTCHECK int metallm__judge_request(const struct metallm__graders *g, uint32_t grader,
                                             struct metallm__span question,
                                             struct metallm__span answer, const char *model,
                                             struct metallm__buf *body, metallm_error *err);
/* The score that a judge's text gives: what follows its last "SCORE:", 0..10 (or a share "n/m"), as
 * 0..1. NaN: it gives none. */
double metallm__judge_verdict(struct metallm__span text);
#endif
