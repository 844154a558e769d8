/* SPDX-License-Identifier: Apache-2.0
 * seal.c - see seal.h. A seal is text without characters that JSON escapes: base64, or as it came.
 */
#include "wire/seal.h"

static const struct metallm__span prefix = METALLM__SPAN("metallm:");

void metallm__seal_write(struct metallm__jw *j, struct metallm__span seal,
                         struct metallm__span seal_of, const char *own)
{
    if (metallm__span_is(seal_of, own)) {
        metallm__jw_bytes(j, seal.p, seal.n);
        return;
    }
    struct metallm__buf text;
    metallm__buf_init(&text, j->out->max);
    metallm__buf_add(&text, prefix.p, prefix.n);
    metallm__buf_add(&text, seal_of.p, seal_of.n);
    metallm__buf_add(&text, ":", 1);
    metallm__buf_add(&text, seal.p, seal.n);
    j->out->failed |= text.failed;
    metallm__jw_bytes(j, text.data, text.len);
    metallm__buf_fini(&text);
}

void metallm__seal_read(struct metallm__span text, const char *own, struct metallm__span *seal,
                        struct metallm__span *seal_of)
{
    *seal = text;
    *seal_of = text.n > 0 ? metallm__span_of(own) : metallm__span(NULL, 0);
    if (text.n < prefix.n || memcmp(text.p, prefix.p, prefix.n) != 0)
        return;
    const char *name = text.p + prefix.n, *end = text.p + text.n;
    const char *colon = memchr(name, ':', (size_t)(end - name));
    if (colon == NULL)
        return;
    *seal_of = metallm__span(name, (size_t)(colon - name));
    *seal = metallm__span(colon + 1, (size_t)(end - colon - 1));
}
