/* SPDX-License-Identifier: Apache-2.0
 * run_inner.h - the inside of a run, shared by run*.c. Nobody else includes it.
 *   run_open.c    options, labels, template, the job met again
 *   run.c         the loop: what is asked next, what has come
 *   run_read.c    texts into items, vectors
 *   run_choose.c  estimates, the decision, whom to ask
 *   run_money.c   what a call may cost, set aside and booked
 *   run_answer.c  an answer or none, and how it is read
 *   run_follow.c  what follows: another call, or the end; what is learned
 *   run_judge.c   what a judge is asked
 *   run_cascade.c when an answer is kept
 *   run_again.c   what earlier runs of the job teach
 *   run_record.c  decisions and feedback for the journal
 *   run_write.c   rows in batches
 *   run_tell.c    the rows, the report, the outcomes */
#ifndef CLASSIFY_RUN_INNER_H
#define CLASSIFY_RUN_INNER_H
#include <pthread.h>

#include "classify/parts.h"
#include "classify/run.h"
#include "classify/template.h"
#include "router/pacer.h"
#include "store/jobs.h"
#include "upstream/drive.h"

#define METALLM__RUN_BATCH 256u /* rows in one transaction */

enum metallm__why { /* metallm__job_call.why; never renumbered */
                    METALLM__WHY_ROUTED = 0,
                    METALLM__WHY_NEXT,   /* the one before gave no label */
                    METALLM__WHY_STAGE,  /* of a cascade */
                    METALLM__WHY_LESSON, /* beside the answer, to learn */
                    METALLM__WHY_JUDGE
};

/* A text on its way. */
struct metallm__item {
    struct metallm__item *next;
    struct metallm__run *run;
    /* The text; its parts lie in bytes. */
    uint64_t number, hash;
    struct metallm__buf bytes; /* text, then choices, one after the other */
    size_t text_bytes, choice_end[METALLM__CHOICES_MAX];
    unsigned choice_count;
    uint32_t gold;              /* METALLM__LABEL_NONE: not known */
    bool is_taught;             /* its gold label is learned from */
    bool is_lesson;             /* every LLM is asked */
    bool is_judged;             /* by the judge, after all else */
    struct metallm__buf routed; /* what the encoder got */
    float *features, *coarse;
    int encoded; /* METALLM_OK: features hold */
    bool has_coarse;
    /* The decision; candidates are numbered as the run's LLMs. */
    const struct metallm__view *view; /* held; NULL: nothing was decided */
    struct metallm__brain_decision decision;
    uint32_t order[METALLM__ASK_CANDIDATES_MAX]; /* LLMs to ask until one answers */
    unsigned order_count;
    /* The call that is wanted or under way. */
    enum metallm__why why;
    uint32_t llm;   /* whom it asks */
    uint32_t world; /* the same, numbered as the config */
    struct metallm__buf body;
    unsigned logprobs;   /* that body asks for */
    double reserved_usd; /* what is paid and lost so far, and the most that the call may cost */
    uint64_t passed;     /* bits of `order` that failed in this round */
    unsigned tries;      /* rounds in which nobody answered */
    uint64_t due_ns;     /* not before */
    bool has_row;        /* it was begun by this run */
    /* What came. */
    struct metallm__job_call calls[METALLM__JOB_CALLS_MAX];
    unsigned call_count;
    uint8_t asked[METALLM__SUMMARY_LLMS_MAX / 8]; /* bits of LLMs: asked, or passed over */
    uint32_t label, model, how;                   /* the answer so far */
    double confidence, usd, lost_usd, latency_ms;
    struct metallm__decision_id id; /* of the call that gave the label */
    char id_text[METALLM__DECISION_ID_LEN + 1];
    struct metallm__decision_id call_ids[METALLM__JOB_CALLS_MAX];
    enum metallm__job_state state;
};

struct metallm__items { /* a queue */
    struct metallm__item *first, **end;
    unsigned count;
};
void metallm__items_init(struct metallm__items *q);
void metallm__items_put(struct metallm__items *q, struct metallm__item *i);
struct metallm__item *metallm__items_take(struct metallm__items *q); /* NULL: empty */

/* Rows on their way to the store, both kinds in one transaction: filled by the run, written by the
 * journal's thread. */
struct metallm__run_batch {
    struct metallm__run_batch *next;
    struct metallm__run *run;
    struct metallm__items begins, ends;
    int rc;
    metallm_error err;
};

struct metallm__run_feedback {
    struct metallm__decision_id id;
    double score;
    bool is_graded;
};
#define METALLM__RUN_FEEDBACK_MAX 16384u

/* One LLM of the run: candidates of the router, then the judge where it is none of them. */
struct metallm__run_llm {
    const char *name;
    uint32_t world;       /* its number in world->config and llms */
    double bound;         /* most that an answer cost, over what was thought its most; >= 1 */
    bool has_no_logprobs; /* it cannot be asked for them, or refused */
    bool has_answered;
    struct metallm__lean lean;
    double *leaning; /* labels; NULL: none yet */
    struct metallm__confidence confidence;
    struct metallm__confidence_seen *seen; /* METALLM__RUN_SEEN_MAX, a ring */
    uint32_t seen_count, fitted_count;
};
#define METALLM__RUN_SEEN_MAX 4096u

/* What one LLM made of a text whose label is known. */
struct metallm__run_cell {
    float raw, usd; /* raw NaN: without a confidence */
    bool is_right, has_label;
};
#define METALLM__RUN_LESSONS_MAX 8192u

struct metallm__run {
    struct metallm__run_options o;
    struct metallm__parts parts;
    struct metallm__labels *labels;
    struct metallm__template *template;
    struct metallm__texts *texts;
    const struct metallm__config_alias *alias;
    const struct metallm__config_router *router; /* NULL: an LLM was named */
    struct metallm__brain_reader *reader;        /* NULL: no router */
    metallm_rng rng;
    struct metallm__run_llm *llms;
    uint32_t llm_count, candidate_count; /* candidates come first */
    uint32_t judge;                      /* METALLM__LABEL_NONE: none */
    struct metallm__graders *graders;    /* of the judge */
    const char **names;                  /* of llms */
    uint64_t *shares;

    /* The job. */
    struct metallm__job job;
    const char *name;
    uint64_t text_count, gold_count;
    struct metallm__run_state state; /* what it counts */
    uint8_t states[4096];            /* of texts from states_from on */
    uint64_t states_from, states_count;
    bool is_met; /* there were rows before */

    /* Items. */
    struct metallm__item *items;
    unsigned item_count;
    struct metallm__items free, encoded, wanted, begin, ready, delayed, end;
    unsigned encoding_count, in_begin, in_end, calling; /* items elsewhere */
    bool is_read;                                       /* no text is left to read */
    pthread_mutex_t lock;                               /* of the two below */
    struct metallm__items posted_encoded;
    struct metallm__run_batch *posted;
    uint64_t end_since_ns, began_ns, ticked_ns, stopped_ns, answered_ns;
    struct metallm__run_feedback *feedback; /* a ring that waits for the journal */
    unsigned feedback_at, feedback_count;

    /* The cascade: lessons are rows of lesson_llms cells. */
    struct metallm__cascade cascade;
    struct metallm__run_cell *cells;
    uint32_t lesson_llms, lesson_rows, lessons_asked, lessons_fitted;
    bool is_cascade_known; /* thresholds were learned */
    double money;          /* accuracy per dollar, where there is no target */

    /* Money. */
    double spent, reserved;
    struct metallm__pacer *pacer;
    double pace;
    int day;
    uint64_t silent; /* texts in a row that nobody answered */
    char silence[METALLM_ERROR_BYTES];
};

uint64_t metallm__run_now(void); /* monotonic ns */
struct metallm__text_part metallm__item_text(const struct metallm__item *i);
void metallm__item_choices(const struct metallm__item *i, struct metallm__span *out);

/* run_read.c */
METALLM_MUSTCHECK int metallm__run_items_new(struct metallm__run *r, metallm_error *err);
void metallm__run_items_free(struct metallm__run *r);
/* Reads texts into free items and sees to their vectors. */
METALLM_MUSTCHECK int metallm__run_read(struct metallm__run *r, unsigned most, metallm_error *err);
void metallm__run_encoder_stop(struct metallm__run *r);
/* Whether the gold label of this text is learned from. */
bool metallm__run_is_taught(const struct metallm__run *r, uint64_t number);

/* run_choose.c */
/* Decides on an item: its order, the first to ask, and the body. METALLM_ENOTFOUND: nobody can. */
METALLM_MUSTCHECK int metallm__run_choose(struct metallm__run *r, struct metallm__item *i,
                                          metallm_error *err);
/* Which LLMs cannot be asked for logprobs. */
METALLM_MUSTCHECK int metallm__run_find_logprobs(struct metallm__run *r, metallm_error *err);
bool metallm__run_is_well(const struct metallm__run *r, uint32_t llm);
/* The body for what the item wants next; fit: anew only if that asks for other probabilities. */
METALLM_MUSTCHECK int metallm__run_fit(const struct metallm__run *r, struct metallm__item *i,
                                       metallm_error *err);
METALLM_MUSTCHECK int metallm__run_fill(const struct metallm__run *r, struct metallm__item *i,
                                        metallm_error *err);

/* run_judge.c */
METALLM_MUSTCHECK int metallm__run_judge_open(struct metallm__run *r, metallm_error *err);
METALLM_MUSTCHECK int metallm__run_fill_judge(const struct metallm__run *r, struct metallm__item *i,
                                              metallm_error *err);
/* The score that a judge's answer gives, 0..1; NaN: none. */
double metallm__run_verdict(struct metallm__span body);

/* run_money.c */
/* Most that one answer of this LLM costs; NaN: no price. */
double metallm__run_bound(const struct metallm__run *r, uint32_t llm, size_t body_bytes,
                          unsigned output_tokens);
double metallm__run_item_bound(const struct metallm__run *r, const struct metallm__item *i);
/* Sets aside what the wanted call may cost. METALLM_EBUSY: not before money comes back.
 * METALLM_ELIMIT: there is none for it. */
METALLM_MUSTCHECK int metallm__run_reserve(struct metallm__run *r, struct metallm__item *i);
/* A cheaper LLM of the order that the budget still pays for becomes the wanted one; false: none. */
bool metallm__run_cheapen(const struct metallm__run *r, struct metallm__item *i);
/* The item is over: what it set aside comes back, what it paid is booked. */
void metallm__run_settle(struct metallm__run *r, struct metallm__item *i);

/* run_answer.c */
METALLM_MUSTCHECK int metallm__run_answer(struct metallm__run *r, struct metallm__item *i,
                                          const struct metallm__ask_result *result,
                                          metallm_error *err);

/* run_follow.c */
/* The next call of an item that has an answer (or whose further call was in vain), or its end. */
METALLM_MUSTCHECK int metallm__run_follow(struct metallm__run *r, struct metallm__item *i,
                                          metallm_error *err);
/* There is no money for the wanted call. */
METALLM_MUSTCHECK int metallm__run_unpaid(struct metallm__run *r, struct metallm__item *i,
                                          metallm_error *err);
void metallm__run_finish(struct metallm__run *r, struct metallm__item *i,
                         enum metallm__job_state state);
/* Whether an LLM's confidence means what it will mean later: not while its lean is not known yet.
 */
bool metallm__run_is_steady(const struct metallm__run *r, uint32_t llm);
void metallm__run_note_confidence(struct metallm__run *r, uint32_t llm, double raw, bool is_right);
/* The answer's confidence as a chance, once it is known what it is worth. */
double metallm__run_chance(const struct metallm__run *r, uint32_t llm, double raw);

/* run_cascade.c */
METALLM_MUSTCHECK int metallm__run_cascade_open(struct metallm__run *r, metallm_error *err);
/* Stage of the LLM that is asked first, and whether an answer there is kept. */
uint32_t metallm__run_stage(const struct metallm__run *r, uint32_t stage);
bool metallm__run_keeps(const struct metallm__run *r, uint32_t stage, double chance,
                        bool has_label);
/* What all LLMs said of one text whose label is known: thresholds are learned anew now and then. */
METALLM_MUSTCHECK int metallm__run_cascade_note(struct metallm__run *r,
                                                const struct metallm__job_call *calls,
                                                uint32_t count, int32_t truth, metallm_error *err);

/* run_again.c */
/* What the rows of earlier runs teach: confidence and cascade. */
METALLM_MUSTCHECK int metallm__run_again(struct metallm__run *r, metallm_error *err);

/* run_record.c */
/* The decision of the call that has come; the item's call_ids gets its name. */
METALLM_MUSTCHECK int metallm__run_record(struct metallm__run *r, struct metallm__item *i,
                                          const struct metallm__ask_result *result,
                                          metallm_error *err);
void metallm__run_teach(struct metallm__run *r, const struct metallm__decision_id *id, double score,
                        bool is_graded);
void metallm__run_feed(struct metallm__run *r); /* hands waiting feedback to the journal */

/* run_write.c */
/* Hands what is to begin, and what has ended, to the journal. */
METALLM_MUSTCHECK int metallm__run_flush(struct metallm__run *r, metallm_error *err);
/* Takes back what the journal has written. */
METALLM_MUSTCHECK int metallm__run_collect(struct metallm__run *r, metallm_error *err);

#endif
