/* SPDX-License-Identifier: Apache-2.0
 * decision_log.h - the decision log: JSON Lines, a decision or a late outcome a line. It is
 * specified in docs/formats.md, section "Decision log"; the prompt never stands in it.
 * Writing keeps no state; reading gives a table in memory. */
#ifndef EVAL_DECISION_LOG_H
#define EVAL_DECISION_LOG_H
#include <stdio.h>

#include "base/buf.h"
#include "metallm/router.h"

#define METALLM__LOG_LINE_BYTES_MAX 1048576u /* a longer line is a bad one */
#define METALLM__LOG_DECISIONS_MAX  100000000u

/* What was known of one candidate when the decision was made. NaN: not known. */
struct metallm__log_estimate {
    float quality;    /* 0..1 */
    float quality_sd; /* >= 0 */
    float cost_usd;   /* >= 0, expected for this query */
    float latency_ms; /* >= 0 */
    float score;      /* what the policy compared */
    float price_usd;  /* >= 0: the model's price then, as dollars for a mean request */
    uint32_t model;   /* index into the names */
};

/* What came back. NaN: not known (yet). */
struct metallm__log_outcome {
    float score; /* 0..1 */
    float cost_usd, latency_ms;
};

struct metallm__log_decision {
    const char *id; /* unique within its log; read: NULL */
    double time;    /* seconds since 1970-01-01 UTC; a simulation counts its steps */
    const char *policy, *policy_version;     /* NULL: not stated; read: policy_version is NULL */
    struct metallm__log_estimate *estimates; /* the candidates */
    uint32_t count;                          /* of them, 1..METALLM_MODELS_MAX */
    uint32_t chosen;                         /* index into estimates */
    double propensity;                       /* chance of the chosen one, in (0, 1] */
    float dial, target, max_cost_usd;        /* the constraints in force; 0: off */
    float cost_scale_usd;                    /* dollars that the dial is per; NaN: no costs known */
    struct metallm__log_outcome outcome;
};

/* A text as a JSON string. */
void metallm__log_print_string(struct metallm__buf *out, const char *text);
/* Appends the line of d, its newline with it. name(payload, model) gives a model's name. */
void metallm__log_print(struct metallm__buf *out, const struct metallm__log_decision *d,
                        const char *(*name)(const void *payload, uint32_t model),
                        const void *payload);
/* The line of an outcome that came after its decision was written. */
void metallm__log_print_outcome(struct metallm__buf *out, const char *id,
                                const struct metallm__log_outcome *o);

struct metallm__decision_log; /* decisions, in the order of the files */

struct metallm__log_options {
    int is_strict; /* 1: the first bad line fails the call; 0: counted, named, skipped */
    void (*problem)(void *payload, const char *message); /* "FILE:LINE: ..."; may be NULL */
    void *problem_payload;
    metallm_progress progress;
};
struct metallm__log_report {
    size_t lines, bad, outcomes, orphans; /* orphans: outcomes of no decision that was read */
};

METALLM_MUSTCHECK int metallm__decision_log_new(struct metallm__decision_log **out,
                                                metallm_error *err);
void metallm__decision_log_free(struct metallm__decision_log *l);
/* Appends one file; an outcome may name a decision of an earlier file, and replaces what was known.
 * report may be NULL; its counts are added to. On failure l may hold part of the file. */
METALLM_MUSTCHECK int metallm__decision_log_read(struct metallm__decision_log *l, const char *path,
                                                 const struct metallm__log_options *opts,
                                                 struct metallm__log_report *report,
                                                 metallm_error *err);
/* The same of lines in memory; what: their name in messages. */
METALLM_MUSTCHECK int metallm__decision_log_text(struct metallm__decision_log *l, const char *what,
                                                 const char *text, size_t len,
                                                 const struct metallm__log_options *opts,
                                                 struct metallm__log_report *report,
                                                 metallm_error *err);
size_t metallm__decision_log_count(const struct metallm__decision_log *l);
uint32_t metallm__decision_log_models(const struct metallm__decision_log *l);
const char *metallm__decision_log_model(const struct metallm__decision_log *l, uint32_t model);
/* estimates belong to the log and stand until the next read. */
struct metallm__log_decision metallm__decision_log_get(const struct metallm__decision_log *l,
                                                       size_t i);
#endif
