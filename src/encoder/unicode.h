/* SPDX-License-Identifier: Apache-2.0
 * unicode.h - what BERT's basic tokenizer does to one character: drop it, blank it, split at it,
 * take its accents off, make it lower case (Devlin et al., 2018: tokenization.py; ids must equal
 * those of the reference implementation that the model was trained with, so its Unicode tables
 * count). */
#ifndef ENCODER_UNICODE_H
#define ENCODER_UNICODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METALLM__CHAR_OUT_MAX 8u

struct metallm__char {
    int32_t out[METALLM__CHAR_OUT_MAX]; /* what becomes of it, accents included (see is_mark) */
    uint32_t count;                     /* 0: dropped */
    bool is_split; /* a CJK ideograph, a space or punctuation: a word by itself, or none */
};

/* c: a code point. is_uncased: lower case and accents off; else the character itself. */
void metallm__char_normalise(int32_t c, bool is_uncased, struct metallm__char *out);
bool metallm__char_is_space(int32_t c);
bool metallm__char_is_punct(int32_t c);
bool metallm__char_is_mark(int32_t c); /* a nonspacing mark: an accent to be taken off */
bool metallm__char_is_cjk(int32_t c);
/* Canonical combining class: marks of one letter are put in its order. */
unsigned metallm__char_combining(int32_t c);

/* Decodes the character at text[0..len), len >= 1. Returns its bytes; *c is U+FFFD for a byte that
 * is not part of valid UTF-8. */
size_t metallm__utf8_decode(const char *text, size_t len, int32_t *c);
size_t metallm__utf8_encode(int32_t c, char *out); /* at most 4 bytes; returns how many */
#endif
