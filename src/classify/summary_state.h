/* SPDX-License-Identifier: Apache-2.0
 * summary_state.h - the sums behind a summary, shared by the files that write it (summary.h). */
#ifndef CLASSIFY_SUMMARY_STATE_H
#define CLASSIFY_SUMMARY_STATE_H
#include "classify/summary.h"

#define METALLM__SUMMARY_BINS 10u

struct metallm__summary_sums { /* of one LLM */
    char *name;
    uint64_t answered, calls, unmapped, latencies;
    double usd, latency_ms;
    uint64_t right, right_of; /* of answers that count */
    /* What it would have cost on the answered texts: known for so many. */
    double single_usd;
    uint64_t single_priced;
    /* What it would have reached: texts that it was asked about, those of them that every LLM was
     * asked about, and the terms of the doubly robust estimate on the others. */
    uint64_t exact_right, exact, full_right, full, terms;
    double term, term2; /* sums of the terms and of their squares */
    double w, w2, w4;   /* of the weights' powers */
};

struct metallm__summary_bin {
    double predicted;
    uint64_t right, count;
};

struct metallm__summary {
    char *job, *router, *input, *lessons;
    enum metallm__summary_mode mode;
    const struct metallm__labels *labels;
    uint32_t label_count, llm_count, candidate_count;
    double budget_usd, dial, target;
    bool is_dry, is_closed;
    struct metallm__summary_sums *llms;
    uint64_t *confusion; /* labels x (labels + 1) */
    uint64_t *answers;   /* labels: texts that got each */
    uint64_t hows[METALLM__LABEL_HOWS];
    struct metallm__summary_bin bins[METALLM__SUMMARY_BINS];
    uint64_t seen, answered, unmapped, gold, right, lessons_count;
    uint64_t pairs, pairs_agree, judged_count;
    double usd, usd_lost, judged;
    struct metallm__summary_end end;
    struct metallm__cascade cascade; /* where end.cascade is set, a copy of it */
};

/* Precision, recall and F1 of a label among the rows with gold; NaN: neither said nor true. */
struct metallm__summary_label {
    uint64_t answers, gold, said, right;
    double precision, recall, f1;
};
void metallm__summary_label_tell(const struct metallm__summary *s, uint32_t label,
                                 struct metallm__summary_label *out);
#endif
