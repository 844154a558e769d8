/* SPDX-License-Identifier: Apache-2.0
 * label_form.h - the normal form in which labels and answers are compared (label.h), shared by the
 * files that read them. */
#ifndef CLASSIFY_LABEL_FORM_H
#define CLASSIFY_LABEL_FORM_H
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

/* Writes the normal form of text to out, which has room for text.n bytes; returns its length. A
 * text of marks alone is its own form, so that "+" and "-" can be labels. */
size_t metallm__label_form(struct metallm__span text, char *out);
/* Whether a byte belongs to a word: a letter, a digit, or a byte of a character beyond ASCII. */
static inline bool metallm__is_word_byte(char c)
{
    const unsigned char u = (unsigned char)c;
    return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u >= 0x80;
}

#endif
