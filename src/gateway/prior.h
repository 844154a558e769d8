/* SPDX-License-Identifier: Apache-2.0
 * prior.h - what is expected of an LLM that a router file does not know, from its outcomes on
 * benchmarks: the task scores S1 to S3 (router/task_scores.h) of the LLM on the queries that the
 * router keeps of its training, which stand for the traffic. The outcomes are the known samples,
 * those queries the new task. Threads: one at a time. */
#ifndef GATEWAY_PRIOR_H
#define GATEWAY_PRIOR_H
#include "gateway/config.h"
#include "metallm/encoder.h"
#include "metallm/router.h"
#include "router/task_library.h"

#define METALLM__PRIOR_FILE_BYTES ((size_t)256 << 20) /* a larger file is refused */
#define METALLM__PRIOR_ROWS       1024u /* outcomes that are encoded, drawn with a fixed seed */
#define METALLM__PRIOR_QUERIES    2048u /* of the router's, evenly over its tasks */
#define METALLM__PRIOR_KEPT       256u  /* answers; beyond, the oldest is forgotten */

/* NaN: not known. */
struct metallm__prior_scores {
    double s1, s2, s3; /* k = 5; S3 with the fitted p; all NaN without a library */
    double bma;        /* mean over the outcomes' tasks: in place of an S3 whose p is not known, as
                        * with outcomes of a single task */
    double mean;       /* over all outcomes: in place of all scores without a library */
    size_t rows;       /* outcomes with a score */
    size_t queries;    /* of the router's that they were held against */
    bool is_partial;   /* the encoder failed: as without a library, and tried again next time */
};
/* Refuses a file that metallm__priors_find would refuse, and encodes nothing. */
METALLM_MUSTCHECK int metallm__prior_check(const char *path, const char *model, metallm_error *err);
/* The score that is asked for, or what stands in its place. */
double metallm__prior_quality(const struct metallm__prior_scores *p,
                              enum metallm__prior_score score);

/* own: outcomes of one model; x: queries x own->dim, unit length. Sets s1 to bma. */
METALLM_MUSTCHECK int metallm__prior_judge(const struct metallm__library *own, const float *x,
                                           size_t queries, struct metallm__prior_scores *out,
                                           metallm_error *err);

struct metallm__prior_request {
    const char *path, *model;     /* a file of outcomes, and the name of the LLM in it */
    metallm_encoder *encoder;     /* NULL: none */
    const metallm_router *router; /* NULL: none */
    uint64_t print;               /* hash of the router file's bytes */
};
struct metallm__priors; /* what was worked out, by the bytes of both files and the LLM's name */
METALLM_MUSTCHECK int metallm__priors_new(struct metallm__priors **out, metallm_error *err);
void metallm__priors_free(struct metallm__priors *p); /* NULL is fine */
/* *is_new: it was worked out now. METALLM_EFORMAT: the file cannot be read as outcomes, or holds no
 * score of this LLM. METALLM_ELIMIT: it is too large. */
METALLM_MUSTCHECK int metallm__priors_find(struct metallm__priors *p,
                                           const struct metallm__prior_request *request,
                                           struct metallm__prior_scores *out, bool *is_new,
                                           metallm_error *err);
#endif
