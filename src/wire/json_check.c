/* SPDX-License-Identifier: Apache-2.0
 * json_check.c - is a text, whose characters are known to be UTF-8, one JSON object? (RFC 8259) It
 * allocates nothing, so that there is no third answer. */
#include "wire/talk_read.h"

#define DEPTH_MAX 128u

struct check {
    const char *p, *end;
    unsigned depth;
    uint8_t objects[DEPTH_MAX / 8]; /* bits: what is open at a depth is an object, not an array */
};

static void skip_blank(struct check *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
        c->p++;
}

static bool take(struct check *c, char wanted)
{
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool is_digit(const struct check *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool take_digits(struct check *c)
{
    const char *from = c->p;
    while (is_digit(c))
        c->p++;
    return c->p > from;
}

static bool take_number(struct check *c)
{
    (void)take(c, '-');
    if (!take(c, '0') && !take_digits(c))
        return false;
    if (take(c, '.') && !take_digits(c))
        return false;
    if (!take(c, 'e') && !take(c, 'E'))
        return true;
    if (!take(c, '+'))
        (void)take(c, '-');
    return take_digits(c);
}

/* The four hexadecimal digits of \u. */
static bool take_unit(struct check *c, unsigned *out)
{
    static const char digits[] = "0123456789abcdef";
    *out = 0;
    for (int i = 0; i < 4; i++, c->p++) {
        const char *digit = c->p < c->end && *c->p != '\0' ? strchr(digits, *c->p | 0x20) : NULL;
        if (digit == NULL || *c->p < '0') /* a control character that the bit made a digit */
            return false;
        *out = *out << 4 | (unsigned)(digit - digits);
    }
    return true;
}

static bool take_escape(struct check *c)
{
    unsigned unit = 0, low = 0;
    if (c->p == c->end)
        return false;
    char kind = *c->p++;
    if (kind != 'u')
        return kind != '\0' && strchr("\"\\/bfnrt", kind) != NULL;
    if (!take_unit(c, &unit) || unit >> 10 == 0x37) /* a pair's second half */
        return false;
    if (unit >> 10 != 0x36)
        return true;
    return take(c, '\\') && take(c, 'u') && take_unit(c, &low) && low >> 10 == 0x37;
}

static bool take_string(struct check *c)
{
    if (!take(c, '"'))
        return false;
    while (c->p < c->end) {
        unsigned char one = (unsigned char)*c->p++;
        if (one == '"')
            return true;
        if (one < 0x20 || (one == '\\' && !take_escape(c)))
            return false;
    }
    return false;
}

static bool take_word(struct check *c, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

static bool is_object(const struct check *c)
{
    return (c->objects[(c->depth - 1) / 8] >> (c->depth - 1) % 8 & 1) != 0;
}

static bool open(struct check *c, bool is_object_opened)
{
    if (c->depth == DEPTH_MAX)
        return false;
    uint8_t bit = (uint8_t)(1u << c->depth % 8), *at = &c->objects[c->depth / 8];
    *at = (uint8_t)(is_object_opened ? *at | bit : *at & ~bit);
    c->depth++;
    return true;
}

/* A key with its colon. */
static bool take_key(struct check *c)
{
    skip_blank(c);
    if (!take_string(c))
        return false;
    skip_blank(c);
    return take(c, ':');
}

/* Behind a value: what is open ends, or goes on with the next. *is_over: nothing is open. */
static bool take_after(struct check *c, bool *is_over)
{
    for (;;) {
        skip_blank(c);
        *is_over = c->depth == 0;
        if (*is_over)
            return true;
        if (take(c, ','))
            return !is_object(c) || take_key(c);
        if (!take(c, is_object(c) ? '}' : ']'))
            return false;
        c->depth--;
    }
}

/* One value, or what opens one. *is_whole: it is over; else its first element follows. */
static bool take_value(struct check *c, bool *is_whole)
{
    skip_blank(c);
    *is_whole = true;
    char first = c->p < c->end ? *c->p : '\0';
    if (first == '"')
        return take_string(c);
    if (first == 't' || first == 'f' || first == 'n')
        return take_word(c, "true") || take_word(c, "false") || take_word(c, "null");
    if (first != '{' && first != '[')
        return take_number(c);
    c->p++;
    skip_blank(c);
    if (take(c, first == '{' ? '}' : ']'))
        return true;
    *is_whole = false;
    return open(c, first == '{') && (first == '[' || take_key(c));
}

bool metallm__json_is_object(struct metallm__span text)
{
    struct check c = {.p = text.n > 0 ? text.p : "", .end = (text.n > 0 ? text.p : "") + text.n};
    bool is_over = false, is_whole = false;
    skip_blank(&c);
    if (c.p == c.end || *c.p != '{')
        return false;
    while (!is_over)
        if (!take_value(&c, &is_whole) || (is_whole && !take_after(&c, &is_over)))
            return false;
    return c.p == c.end;
}
