/* SPDX-License-Identifier: Apache-2.0
 * spool.h - rows of floats that are written once and read in any order, in a file without a name:
 * a million rows take the disk's room and the page cache; at most about 64 MB of them are mapped in
 * at a time.
 * Folder: TMPDIR, else /tmp. Owner: the caller of new frees. Threads: any number may read once
 * it is closed for writing. */
#ifndef EVAL_SPOOL_H
#define EVAL_SPOOL_H
#include <stddef.h>

#include "metallm/base.h"

struct metallm__spool;

METALLM_MUSTCHECK int metallm__spool_new(struct metallm__spool **out, uint32_t floats,
                                         metallm_error *err);
void metallm__spool_free(struct metallm__spool *s);
METALLM_MUSTCHECK int metallm__spool_add(struct metallm__spool *s, const float *rows, size_t count,
                                         metallm_error *err);
/* Closes it for writing: rows can be read from now on. */
METALLM_MUSTCHECK int metallm__spool_close(struct metallm__spool *s, metallm_error *err);
size_t metallm__spool_count(const struct metallm__spool *s);
const float *metallm__spool_row(const struct metallm__spool *s, size_t i); /* after close */

#endif
