/* SPDX-License-Identifier: Apache-2.0
 * buf.c - see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

void metallm__buf_init(struct metallm__buf *b, size_t max_bytes)
{
    *b = (struct metallm__buf){.max = max_bytes};
}

void metallm__buf_fini(struct metallm__buf *b)
{
    metallm__free(b->data);
    metallm__buf_init(b, b->max);
}

void metallm__buf_clear(struct metallm__buf *b)
{
    b->len = 0;
    b->failed = false;
}

/* Room for extra bytes and the closing NUL. */
static bool reserve(struct metallm__buf *b, size_t extra)
{
    if (b->failed || extra > b->max - b->len) {
        b->failed = true;
        return false;
    }
    void *data = b->data;
    if (metallm__grow(&data, &b->cap, b->len + extra + 1, 1) != 0) {
        b->failed = true;
        return false;
    }
    b->data = data;
    return true;
}

void metallm__buf_add(struct metallm__buf *b, const void *bytes, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void metallm__buf_puts(struct metallm__buf *b, const char *text)
{
    metallm__buf_add(b, text, strlen(text));
}

void metallm__buf_printf(struct metallm__buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need >= 0 && reserve(b, (size_t)need)) {
        vsnprintf(b->data + b->len, (size_t)need + 1, format, again);
        b->len += (size_t)need;
    }
    va_end(again);
}

int metallm__buf_check(const struct metallm__buf *b, metallm_error *err)
{
    if (!b->failed)
        return METALLM_OK;
    if (b->len == b->max || b->cap > b->max / 2)
        return metallm__error_set(err, METALLM_ELIMIT, "text grew past its limit of %zu bytes",
                                  b->max);
    return metallm__error_nomem(err, "text");
}
