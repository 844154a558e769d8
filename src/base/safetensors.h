/* SPDX-License-Identifier: Apache-2.0
 * safetensors.h - reading and writing .safetensors files: an 8-byte little-endian header length, a
 * JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}, then the bytes.
 * Python's safetensors package opens what we write. Every number of the header is checked against
 * the file's size; the file is mapped read-only. */
#ifndef BASE_SAFETENSORS_H
#define BASE_SAFETENSORS_H
#include <stdbool.h>

#include "base/buf.h"
#include "metallm/base.h"

enum metallm__dtype {
    METALLM__F32,
    METALLM__F64,
    METALLM__I8,
    METALLM__U8,
    METALLM__I32,
    METALLM__U32,
    METALLM__I64,
    METALLM__U64,
    METALLM__F16,
    METALLM__BF16
};

struct metallm__tensor {
    enum metallm__dtype dtype;
    uint32_t rank; /* 0..4 */
    size_t shape[4];
    size_t count;     /* elements */
    const void *data; /* in the mapping; aligned to the element when the file is ours */
};

struct metallm__st_file; /* a mapped file */
METALLM_MUSTCHECK int metallm__st_open(struct metallm__st_file **out, const char *path,
                                       metallm_error *err);
/* The same of bytes in memory, which stay the caller's and stand until close; what: their name in
 * messages. */
METALLM_MUSTCHECK int metallm__st_parse(struct metallm__st_file **out, const void *bytes,
                                        size_t len, const char *what, metallm_error *err);
void metallm__st_close(struct metallm__st_file *f);
/* METALLM_ENOTFOUND without this tensor; METALLM_EFORMAT when dtype or shape differ (rank and
 * sizes; a size of 0 in shape accepts any). The message names file and tensor. */
METALLM_MUSTCHECK int metallm__st_get(const struct metallm__st_file *f, const char *name,
                                      enum metallm__dtype dtype, uint32_t rank, const size_t *shape,
                                      struct metallm__tensor *out, metallm_error *err);
bool metallm__st_has(const struct metallm__st_file *f, const char *name);
const char *metallm__st_meta(const struct metallm__st_file *f, const char *key); /* NULL: none */

/* Several parts of one kind in one file: names and keys asked for or put from now on mean
 * PREFIXname.
 * "" is the file's own. Shorter than METALLM__ST_PREFIX_BYTES. */
#define METALLM__ST_PREFIX_BYTES 32u
void metallm__st_read_part(struct metallm__st_file *f, const char *prefix);
struct metallm__st_writer; /* collects tensors; data is copied */
void metallm__st_write_part(struct metallm__st_writer *w, const char *prefix);
METALLM_MUSTCHECK int metallm__st_writer_new(struct metallm__st_writer **out, metallm_error *err);
void metallm__st_writer_free(struct metallm__st_writer *w);
METALLM_MUSTCHECK int metallm__st_put(struct metallm__st_writer *w, const char *name,
                                      enum metallm__dtype dtype, uint32_t rank, const size_t *shape,
                                      const void *data, metallm_error *err);
METALLM_MUSTCHECK int metallm__st_put_meta(struct metallm__st_writer *w, const char *key,
                                           const char *text, metallm_error *err);
/* Whole or not at all (base/file.h). The same calls give the same bytes. */
METALLM_MUSTCHECK int metallm__st_write(struct metallm__st_writer *w, const char *path,
                                        metallm_error *err);
/* Appends the same bytes to out. */
METALLM_MUSTCHECK int metallm__st_print(struct metallm__st_writer *w, struct metallm__buf *out,
                                        metallm_error *err);
#endif
