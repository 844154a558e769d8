/* SPDX-License-Identifier: Apache-2.0
 * pyliteral.c - see pyliteral.h; the escapes are those of the Python Language Reference, 2.4.1
 * (without \N{...}, which repr never writes). */
#include "data/pyliteral.h"

#include <string.h>

struct cursor {
    const char *p, *end;
};

static void pass_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool put_code(struct metallm__buf *out, unsigned long code)
{
    char utf8[4];
    size_t len = metallm__text_put_utf8(utf8, code);
    metallm__buf_add(out, utf8, len);
    return len > 0;
}

/* Exactly count hex digits. */
static bool hex_escape(struct cursor *c, size_t count, struct metallm__buf *out)
{
    unsigned long code = 0;
    if ((size_t)(c->end - c->p) < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int digit = hex_of(*c->p++);
        if (digit < 0)
            return false;
        code = code * 16 + (unsigned long)digit;
    }
    return put_code(out, code);
}

static bool octal_escape(struct cursor *c, unsigned long code, struct metallm__buf *out)
{
    for (int i = 0; i < 2 && c->p < c->end && *c->p >= '0' && *c->p <= '7'; i++)
        code = code * 8 + (unsigned long)(*c->p++ - '0');
    return put_code(out, code);
}

/* c is behind the backslash. */
static bool escape(struct cursor *c, struct metallm__buf *out)
{
    static const char names[] = "abfnrtv\\'\"", values[] = "\a\b\f\n\r\t\v\\'\"";
    if (c->p == c->end)
        return false;
    char kind = *c->p++;
    const char *simple = memchr(names, kind, sizeof names - 1);
    if (simple != NULL) {
        metallm__buf_add(out, &values[simple - names], 1);
        return true;
    }
    if (kind == '\n')
        return true;
    if (kind == 'x' || kind == 'u' || kind == 'U')
        return hex_escape(c, kind == 'x' ? 2 : kind == 'u' ? 4 : 8, out);
    if (kind >= '0' && kind <= '7')
        return octal_escape(c, (unsigned long)(kind - '0'), out);
    metallm__buf_add(out, "\\", 1); /* an unknown escape stands for itself */
    metallm__buf_add(out, &kind, 1);
    return kind != 'N';
}

/* c is at the opening quote. */
static bool string(struct cursor *c, struct metallm__buf *out)
{
    char quote = *c->p++;
    for (;;) {
        const char *from = c->p;
        while (c->p < c->end && *c->p != quote && *c->p != '\\')
            c->p++;
        metallm__buf_add(out, from, (size_t)(c->p - from));
        if (c->p == c->end)
            return false;
        if (*c->p++ == quote)
            return true;
        if (!escape(c, out))
            return false;
    }
}

bool metallm__pyliteral_strings(struct metallm__span text, struct metallm__buf *out)
{
    text = metallm__span_trim(text);
    if (text.len < 2)
        return false;
    struct cursor c = {text.bytes + 1, text.bytes + text.len - 1};
    char open = text.bytes[0];
    if ((open != '[' && open != '(') || *c.end != (open == '[' ? ']' : ')'))
        return false;
    bool is_first = true;
    for (;;) {
        pass_blanks(&c);
        if (c.p == c.end)
            return !out->failed;
        if (*c.p != '\'' && *c.p != '"')
            return false;
        if (!is_first)
            metallm__buf_add(out, "\n", 1);
        is_first = false;
        if (!string(&c, out))
            return false;
        pass_blanks(&c);
        if (c.p < c.end && *c.p++ != ',')
            return false;
    }
}
