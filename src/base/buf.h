/* SPDX-License-Identifier: Apache-2.0
 * buf.h - a growing byte buffer that cannot be made without a ceiling.
 * data is closed by a NUL that len does not count. After a failure the buffer keeps what it had and
 * `failed` stays set, so that a run of appends needs one check. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>

#include "metallm/base.h"

struct metallm__buf {
    char *data; /* NULL while empty */
    size_t len, cap, max;
    bool failed;
};

void metallm__buf_init(struct metallm__buf *b, size_t max_bytes);
void metallm__buf_fini(struct metallm__buf *b);  /* frees; usable again after init */
void metallm__buf_clear(struct metallm__buf *b); /* len = 0, memory kept */
void metallm__buf_add(struct metallm__buf *b, const void *bytes, size_t len);
void metallm__buf_puts(struct metallm__buf *b, const char *text);
void metallm__buf_printf(struct metallm__buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* METALLM_OK, or METALLM_ELIMIT / METALLM_ENOMEM if an append failed. */
METALLM_MUSTCHECK int metallm__buf_check(const struct metallm__buf *b, metallm_error *err);

#endif
