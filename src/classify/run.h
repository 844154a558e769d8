/* SPDX-License-Identifier: Apache-2.0
 * run.h - a job of classification: opened (or met again), run until every text is answered or the
 * money is spent, and told. The job's rows stand in the store (store/jobs.h), so that each of these
 * steps may be another process's.
 *
 * A text's way: read -> encoded -> decided -> begun (committed) -> asked -> mapped -> answered
 * (committed). An answer that is no label, and a refusal, go to the next LLM of the decision, once.
 * An LLM that does not answer at all is asked again after a pause that doubles.
 *
 * Money. A token is at least one byte: a request of n bytes and m output tokens costs at most
 * n input prices and m output prices. What all attempts of a text may cost at most is reserved
 * before its first call; a text for which nothing is left is left out, and counted.
 * Threads: one, apart from those that it owns. */
#ifndef CLASSIFY_RUN_H
#define CLASSIFY_RUN_H
#include "classify/summary.h"
#include "classify/texts.h"

#define METALLM__RUN_CONCURRENT_MAX 1024u
#define METALLM__RUN_TRIES_MAX      32u

/* Texts are borrowed as long as the run lives. */
struct metallm__run;
struct metallm__run_options {
    const char *config; /* file */
    const char *store;  /* URL; NULL: the config's */
    const char *router; /* name of a router, an alias or an LLM; NULL: the first router */
    const char *job;    /* name; NULL: the last part of the input's path */
    bool is_fresh;      /* what is known of this job is dropped first */
    bool is_dry;        /* to predict: the store is only read */
    struct metallm__texts_options texts;
    const char *labels;     /* parted by commas; NULL with choices */
    const char *template;   /* file; NULL: the built-in one */
    const char *few_shot;   /* file of worked examples; NULL: none */
    double dial, target;    /* NaN: the router's */
    double budget_usd;      /* of the job, all its runs; NaN: none */
    unsigned concurrent;    /* calls at a time; 0: 16 */
    unsigned tries;         /* rounds for a text that nobody answers; 0: 5 */
    uint32_t pause_ms;      /* before the second round, doubled up to 30 s; 0: 500 */
    uint32_t patience_ms;   /* without any answer before the run gives up; 0: 120,000 */
    unsigned output_tokens; /* 0: what the labels need */
    unsigned logprobs;      /* alternatives a token to ask for; 0: none */
    bool is_raw;            /* probabilities as they are, not against an LLM's lean */
    bool is_cascade;
    uint32_t lessons;   /* cascade: texts that every LLM is asked for first; 0: 100 */
    double gold_share;  /* of gold labels that are learned from; the rest is for the report */
    double agree_share; /* of texts without a gold label that all LLMs are asked for */
    double judge_share; /* of texts without a gold label that a judge reads */
    const char *judge;  /* name of the LLM; NULL: none */
    uint64_t seed;
    /* Called now and then while it runs. Not 0: finish what is under way and stop. May be NULL. */
    int (*tick)(void *payload, const struct metallm__run *r);
    void *payload;
};

/* How far a job is. */
struct metallm__run_state {
    uint64_t texts, answered, unlabelled, failed; /* answered: with those without a label */
    uint64_t left_for_money;                      /* of this run */
    uint64_t here;                                /* answered by this run */
    uint64_t under_way;
    double seconds; /* of this run */
    double usd, lost_usd, budget_usd;
    bool is_stopped, is_given_up; /* by tick; because nobody answers */
    uint32_t llm_count;
    const char *const *llms; /* names */
    const uint64_t *shares;  /* texts answered by each, by this run */
    const char *silence;     /* what was said last where nobody answered; "" : nothing */
};

/* Checks config, labels, template and every text; makes the job or meets it again. METALLM_EINVAL,
 * METALLM_EFORMAT: with the place. METALLM_EMISMATCH: the job of this name was begun otherwise, and
 * what differs. METALLM_EBUSY: another process works with the store. */
METALLM_MUSTCHECK int metallm__run_open(struct metallm__run **out,
                                        const struct metallm__run_options *options,
                                        metallm_error *err);
/* Asks. METALLM_OK also where texts are left: look at the state. */
METALLM_MUSTCHECK int metallm__run_go(struct metallm__run *r, metallm_error *err);
void metallm__run_state(const struct metallm__run *r, struct metallm__run_state *out);

/* What a run would cost and how often it would be right, by what is believed now. NaN: not known.
 */
struct metallm__run_forecast {
    uint64_t answered, texts; /* before; that a run would ask for */
    uint64_t looked_at;       /* of these: a sample, where there are many */
    uint64_t paid_texts;      /* that the budget pays for */
    double spent_usd, budget_usd;
    double usd, most_usd;       /* expected, and if every request costs its most */
    double accuracy, low, high; /* expected; mean of the single texts' 95 % bounds */
    uint32_t llm_count;
    struct metallm__run_forecast_llm {
        const char *name;
        double share;                       /* of the texts that it would be asked for first */
        double single_usd, single_accuracy; /* all texts by it alone */
    } llms[METALLM__SUMMARY_LLMS_MAX];
};
/* In place of go: asks nobody, learns nothing. */
METALLM_MUSTCHECK int metallm__run_predict(struct metallm__run *r,
                                           struct metallm__run_forecast *out, metallm_error *err);

/* Writes the rows in the order of the input (CSV, or JSON Lines where the name ends in .jsonl;
 * NULL: nowhere) and adds them up. The caller frees *out. The run asks no more after it. */
METALLM_MUSTCHECK int metallm__run_tell(struct metallm__run *r, const char *path,
                                        struct metallm__summary **out, metallm_error *err);
void metallm__run_close(struct metallm__run *r); /* NULL is fine */
#endif
