/* SPDX-License-Identifier: Apache-2.0
 * span.h - bytes that lie in somebody else's memory, with their count. Never closed by a NUL, and
 * may hold one. A span of 0 bytes may have a NULL pointer. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct metallm__span {
    const char *p;
    size_t n;
};

/* METALLM__SPAN("text"): of a literal, without its NUL; also in initialisers. */
#define METALLM__SPAN(literal)                                                                     \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static inline struct metallm__span metallm__span(const char *p, size_t n)
{
    return (struct metallm__span){p, n};
}

/* Of a text closed by NUL; NULL gives an empty span. */
static inline struct metallm__span metallm__span_of(const char *text)
{
    return (struct metallm__span){text, text == NULL ? 0 : strlen(text)};
}

static inline bool metallm__span_eq(struct metallm__span a, struct metallm__span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool metallm__span_is(struct metallm__span a, const char *text)
{
    return metallm__span_eq(a, metallm__span_of(text));
}

static inline char metallm__lower(char c) /* ASCII alone */
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for ASCII case. */
static inline bool metallm__span_is_nocase(struct metallm__span a, const char *text)
{
    size_t i = 0;
    for (; i < a.n && text[i] != '\0'; i++)
        if (metallm__lower(a.p[i]) != metallm__lower(text[i]))
            return false;
    return i == a.n && text[i] == '\0';
}

/* Without blanks and tabs at both ends. */
static inline struct metallm__span metallm__span_trim(struct metallm__span a)
{
    while (a.n > 0 && (a.p[0] == ' ' || a.p[0] == '\t'))
        a.p++, a.n--;
    while (a.n > 0 && (a.p[a.n - 1] == ' ' || a.p[a.n - 1] == '\t'))
        a.n--;
    return a;
}

/* Digits alone, all of the span, no overflow. */
static inline bool metallm__span_u64(struct metallm__span a, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] < '0' || a.p[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(a.p[i] - '0'), &value))
            return false;
    if (a.n > 0)
        *out = value;
    return a.n > 0;
}

#endif
