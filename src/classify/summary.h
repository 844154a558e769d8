/* SPDX-License-Identifier: Apache-2.0
 * summary.h - adds up a job's rows and tells what was reached: accuracy with its interval, the
 * confusion matrix, dollars, each LLM's part, and what each single LLM would have cost and reached.
 * Rows come one at a time; memory depends on labels and LLMs alone. Pure: numbers in, bytes out.
 *
 * Intervals: accuracy by Wilson's (1927) at 95 %. What "always LLM m" would have reached is the
 * doubly robust estimate of eval/ope.h over the rows with gold and a propensity; its dollars are
 * the sum of what it did cost where it was asked and of the prediction else. A lesson that was put
 * to every LLM tells what each would have made of it; where all texts were, it is counted. Where
 * the weights do not average 1 (an LLM had no chance at some texts, as in a cascade), those texts
 * alone tell; without any, nothing is told. Threads: one thread at a time. */
#ifndef CLASSIFY_SUMMARY_H
#define CLASSIFY_SUMMARY_H
#include "base/buf.h"
#include "classify/cascade.h"
#include "classify/label.h"

#define METALLM__SUMMARY_LLMS_MAX 256u

enum metallm__summary_mode {
    METALLM__SUMMARY_ROUTE, /* one LLM a text, by the router */
    METALLM__SUMMARY_CASCADE
};

struct metallm__summary_setup {
    const char *job, *router, *input; /* names for people; "" where there is none */
    enum metallm__summary_mode mode;
    const struct metallm__labels *labels;
    const char *const *llms; /* llm_count names, copied */
    uint32_t llm_count;
    uint32_t candidate_count; /* the first so many may answer, the others only judge; 0: all may */
    double budget_usd, dial, target; /* NaN: not stated */
    bool is_dry;                     /* a dry run: what is told is predicted */
    const char *lessons; /* what was learned from: "gold", "sample", "agreement", "judge", "none" */
};

/* One LLM asked for one text. */
struct metallm__summary_call {
    uint32_t llm;
    uint32_t label;         /* METALLM__LABEL_NONE: none could be read */
    double usd, latency_ms; /* NaN: not known */
    uint64_t input_tokens, output_tokens;
    bool is_judge; /* it scored an answer: its dollars count, it has no label */
};

struct metallm__summary_row {
    uint32_t label; /* the answer that counts; METALLM__LABEL_NONE: none */
    uint32_t llm;   /* that gave it; METALLM__LABEL_NONE: not answered at all */
    uint32_t gold;  /* METALLM__LABEL_NONE: not known */
    enum metallm__label_how how;
    double confidence; /* calibrated where it is, else raw; NaN: not known */
    double propensity; /* chance with which `llm` was asked first; NaN: not known */
    const struct metallm__summary_call *calls; /* all that was asked for this text */
    uint32_t call_count;
    /* As believed before asking, llm_count of each; NULL: not known. NaN in one: not known. */
    const float *usd_of, *quality_of;
    double
        usd_lost;   /* perhaps paid without an answer: calls cut by a crash, attempts that failed */
    double judged;  /* a judge's score, 0..1; NaN: none */
    bool is_lesson; /* picked beforehand to be put to several LLMs, or to learn from its gold */
};

struct metallm__summary;

METALLM_MUSTCHECK int metallm__summary_new(struct metallm__summary **out,
                                           const struct metallm__summary_setup *setup,
                                           metallm_error *err);
void metallm__summary_free(struct metallm__summary *s); /* NULL is fine */
void metallm__summary_add(struct metallm__summary *s, const struct metallm__summary_row *row);
/* What stands for the job as a whole, told at its end. */
struct metallm__summary_end {
    uint64_t texts;                         /* of the input */
    double seconds;                         /* of this run; NaN: not known */
    bool is_budget_spent;                   /* texts were left for want of money */
    const struct metallm__cascade *cascade; /* in force at the end; NULL: none */
    /* What the router would have reached on texts that every LLM was asked for, in the cascade's
     * place; texts 0: not known. */
    struct {
        uint64_t texts, right;
        double usd;
    } routed;
};
void metallm__summary_close(struct metallm__summary *s, const struct metallm__summary_end *end);

/* ---- What it tells. Numbers are NaN where nothing is known. ---- */

struct metallm__share {
    uint64_t hits, of;
    double value, low, high;
};
void metallm__wilson(uint64_t hits, uint64_t of, struct metallm__share *out); /* 95 % */

struct metallm__summary_llm {
    const char *name;
    uint64_t answered;           /* texts whose label is its */
    uint64_t calls, unmapped;    /* calls, and those without a label */
    double usd;                  /* of its calls */
    double latency_ms;           /* mean of its calls */
    struct metallm__share right; /* of its answers that count, with gold */
    double single_usd;           /* all texts by it alone */
    bool is_single_exact;        /* every answered text was put to it: the next is counted */
    double single, single_low, single_high; /* accuracy of it alone */
    uint64_t single_rows;                   /* rows that this is known from */
};
struct metallm__summary_told {
    uint64_t texts, answered, unmapped, unanswered;
    struct metallm__share accuracy; /* rows with gold; a row without a label is wrong */
    double macro_f1;
    double usd, usd_lost;
    double usd_a_text;
    double ece;                      /* of confidence, 10 bins (docs/classify.md) */
    struct metallm__share agreement; /* pairs of LLMs on one lesson that say the same label */
    double judged;                   /* mean */
    uint64_t judged_count;
    uint32_t best; /* LLM of the highest single accuracy; METALLM__LABEL_NONE: not known */
};
void metallm__summary_tell(const struct metallm__summary *s, struct metallm__summary_told *out);
void metallm__summary_llm_tell(const struct metallm__summary *s, uint32_t llm,
                               struct metallm__summary_llm *out);
/* Rows of gold label and answer; answer labels_count: no label. */
uint64_t metallm__summary_confusion(const struct metallm__summary *s, uint32_t gold,
                                    uint32_t answer);

/* One line of JSON without its newline (docs/classify.md has the members). */
void metallm__summary_json(const struct metallm__summary *s, struct metallm__buf *out);
/* For people: lines of at most 100 columns. */
void metallm__summary_text(const struct metallm__summary *s, struct metallm__buf *out);
/* The page takes the JSON: eval/page.h with metallm__asset_classify as its shape. */

#endif
