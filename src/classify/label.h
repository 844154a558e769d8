/* SPDX-License-Identifier: Apache-2.0
 * label.h - a set of labels, and what an LLM's answer says of it: which label, how it was read, how
 * sure the LLM was. Pure: bytes in, records out.
 *
 * Texts are compared in a normal form: ASCII letters small, blanks and marks at both ends left out,
 * each run of inner blanks, "_" and "-" one blank. A label is read by the first of these that
 * holds:
 *   exact     the answer is the label, byte for byte, but for blanks at the ends
 *   normal    its normal form is the label's
 *   led       it begins with the label ("Up, because demand rose"), no other in its first line
 *   marked    a mark points to it: a quoted or bold label, "label: up", "answer is up",
 * {"label":"up"} sentence  exactly one label stands in it as whole words cut       it is the
 * beginning of exactly one label (the answer ended at its token limit) choice    (choices alone) it
 * is the text of exactly one choice logprobs  no label could be read, but the token probabilities
 * favour one "not up" is no "up": a label right behind "not", "no", "isn't" or "neither" does not
 * count.
 *
 * Probabilities. Where the answer has choices[0].logprobs.content, the labels' probabilities are
 * summed over the alternatives of the tokens that begin the label: a token that fits one label
 * alone counts for it; one that fits several is followed to the next token where it is the one that
 * was written, and is shared evenly where it is not. They are then divided by `lean` and made to
 * sum to 1. The label is the most probable one when the labels hold METALLM__LABEL_MASS_LEAST of
 * all probability, and the text decides else.
 * Threads: a set is constant after _new; any number may read. */
#ifndef CLASSIFY_LABEL_H
#define CLASSIFY_LABEL_H
#include "base/buf.h"
#include "base/span.h"

#define METALLM__LABELS_MIN         2u
#define METALLM__LABELS_MAX         256u
#define METALLM__LABEL_BYTES_MAX    128u
#define METALLM__CHOICES_MIN        2u
#define METALLM__CHOICES_MAX        26u /* answered by a letter, A..Z */
#define METALLM__LABEL_NONE         UINT32_MAX
#define METALLM__LABEL_ANSWER_BYTES ((size_t)16 << 20)  /* longer bodies are not read */
#define METALLM__LABEL_TEXT_BYTES   ((size_t)256 << 10) /* of an answer's text that are read */
#define METALLM__LABEL_TOKENS_MAX   64u /* tokens with probabilities that are looked at */
#define METALLM__LABEL_MASS_LEAST   0.5

struct metallm__labels;

/* count names, copied in this order. METALLM_EINVAL: too few or many, one is empty, too long, not
 * UTF-8, or the same as another in normal form; the sentence names it. */
METALLM_MUSTCHECK int metallm__labels_new(struct metallm__labels **out,
                                          const struct metallm__span *names, uint32_t count,
                                          metallm_error *err);
/* From "up,down,neutral,none": blanks around commas do not count. */
METALLM_MUSTCHECK int metallm__labels_parse(struct metallm__labels **out, const char *list,
                                            metallm_error *err);
/* The letters A, B, C... of multiple choice. */
METALLM_MUSTCHECK int metallm__labels_letters(struct metallm__labels **out, uint32_t count,
                                              metallm_error *err);
void metallm__labels_free(struct metallm__labels *l); /* NULL is fine */

uint32_t metallm__labels_count(const struct metallm__labels *l);
const char *metallm__labels_name(const struct metallm__labels *l, uint32_t label);
size_t metallm__labels_longest(const struct metallm__labels *l); /* bytes */
uint64_t metallm__labels_hash(const struct metallm__labels *l);  /* of names in their order */
/* A gold label as it stands in a file: equal in normal form, or METALLM__LABEL_NONE. */
uint32_t metallm__labels_find(const struct metallm__labels *l, struct metallm__span name);

enum metallm__label_how {
    METALLM__LABEL_UNMAPPED = 0, /* it has a text, and no label was found in it */
    METALLM__LABEL_EMPTY,        /* no text */
    METALLM__LABEL_DAMAGED,      /* the body is no answer of /v1/chat/completions */
    METALLM__LABEL_EXACT,
    METALLM__LABEL_NORMAL,
    METALLM__LABEL_LED,
    METALLM__LABEL_MARKED,
    METALLM__LABEL_SENTENCE,
    METALLM__LABEL_CUT,
    METALLM__LABEL_CHOICE,
    METALLM__LABEL_LOGPROBS,
    METALLM__LABEL_HOWS
};
const char *metallm__label_how_name(enum metallm__label_how how); /* "exact"...; static */

struct metallm__label_ask {
    const struct metallm__labels *labels;
    struct metallm__span body; /* of the answer, whole */
    /* Multiple choice: the texts of this question's choices; count 0: labels are plain. Labels
     * beyond the count are not answers. */
    const struct metallm__span *choices;
    uint32_t choice_count;
    /* The LLM's lean to each label, labels_count of them, > 0: metallm__lean_get. NULL: none. */
    const double *lean;
};

struct metallm__label_read {
    uint32_t label; /* METALLM__LABEL_NONE: it can't be said */
    enum metallm__label_how how;
    bool has_probs;
    bool is_probs_label;              /* the probabilities chose, and the text said otherwise */
    double confidence;                /* the label's probability, 0..1; NaN: not known */
    double mass;                      /* probability of all labels together; NaN: not known */
    float probs[METALLM__LABELS_MAX]; /* where has_probs: of labels, before `lean`; sum to 1 */
};

/* METALLM_ENOMEM is the only failure: what is wrong with an answer stands in out->how. */
METALLM_MUSTCHECK int metallm__label_read(const struct metallm__label_ask *ask,
                                          struct metallm__label_read *out, metallm_error *err);
/* The same of a bare text, without JSON and probabilities. */
void metallm__label_read_text(const struct metallm__label_ask *ask, struct metallm__span text,
                              struct metallm__label_read *out);

/* What an LLM favours whatever the text is: the mean of its label probabilities over the texts it
 * has read (batch calibration: Zhou et al. 2023, arXiv 2309.17249, eq. 3). Small LLMs lean by far;
 * dividing by it costs no call. It supposes that the texts are not nearly all of one label. */
struct metallm__lean {
    uint64_t count;
    double sum[METALLM__LABELS_MAX];
};
/* Adds an answer's probabilities; one without them is left out. A cleared record is empty. */
void metallm__lean_add(struct metallm__lean *l, const struct metallm__label_read *read,
                       uint32_t labels);
/* labels values for metallm__label_ask.lean; all 1 below METALLM__LEAN_LEAST answers. */
#define METALLM__LEAN_LEAST  12u
#define METALLM__LEAN_STEADY 40u /* answers after which it hardly moves any more */
void metallm__lean_get(const struct metallm__lean *l, uint32_t labels, double *out);

#endif
