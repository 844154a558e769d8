/* SPDX-License-Identifier: Apache-2.0
 * label_form.h - the normal form in which labels and answers are compared (label.h), shared by the
 * files that read them. */
#ifndef CLASSIFY_LABEL_FORM_H
#define CLASSIFY_LABEL_FORM_H
#include "base/json.h"
#include "classify/label.h"

struct metallm__label_name {
    char *name;                /* as given */
    struct metallm__span form; /* normal; its bytes are owned by the set */
};
struct metallm__labels {
    struct metallm__label_name *items;
    uint32_t count;
    size_t longest;
    uint64_t hash;
};

/* Blanks, "_" and "-", which separate words within a label. */
static inline bool metallm__is_gap(char c)
{
    return c == ' ' || c == '_' || c == '-' || (c >= '\t' && c <= '\r');
}

/* Length of the mark (punctuation, blank, quote) that text begins or ends with; 0: of a word. */
size_t metallm__mark_first(struct metallm__span text);
size_t metallm__mark_last(struct metallm__span text);
/* Text without marks at both ends. */
struct metallm__span metallm__label_core(struct metallm__span text);
/* Writes the normal form of text to out, which has room for text.n bytes; returns its length. A
 * text of marks alone is its own form, so that "+" and "-" can be labels. */
size_t metallm__label_form(struct metallm__span text, char *out);
/* Bytes at the front of text that are this form in some writing; 0: it does not stand there. */
size_t metallm__label_at(struct metallm__span text, struct metallm__span form);

/* Labels that may be answers: fewer than there are where the question has fewer choices. */
static inline uint32_t metallm__label_open(const struct metallm__label_ask *ask)
{
    const uint32_t all = ask->labels->count;
    return ask->choice_count > 0 && ask->choice_count < all ? ask->choice_count : all;
}

/* The labels' probabilities out of choices[0].logprobs, raw and with the lean (label_probs.c). Sets
 * has_probs, mass, probs and, in order of chance, *likeliest with its *confidence. */
void metallm__label_probs(const struct metallm__label_ask *ask, yyjson_val *choice,
                          struct metallm__label_read *out, uint32_t *likeliest, double *confidence);
#endif
