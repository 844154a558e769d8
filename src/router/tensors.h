/* SPDX-License-Identifier: Apache-2.0
 * tensors.h - tensors "PREFIX.NAME" of a router file, for estimators' save and load. */
#ifndef ROUTER_TENSORS_H
#define ROUTER_TENSORS_H
#include "base/safetensors.h"
#include "metallm/base.h"

#define METALLM__TENSOR_NAME_BYTES 96u

METALLM_MUSTCHECK int metallm__put_f32(struct metallm__st_writer *w, const char *prefix,
                                       const char *name, size_t rows, size_t columns,
                                       const float *data, metallm_error *err);
METALLM_MUSTCHECK int metallm__put_i32(struct metallm__st_writer *w, const char *prefix,
                                       const char *name, size_t rows, size_t columns,
                                       const int32_t *data, metallm_error *err);
/* A copy that the caller frees; rows x columns. *rows 0 on entry: any, and what was found on
 * return; the same for *columns. Every float is finite. METALLM_EFORMAT otherwise. */
METALLM_MUSTCHECK int metallm__get_f32(const struct metallm__st_file *f, const char *prefix,
                                       const char *name, size_t *rows, size_t *columns, float **out,
                                       metallm_error *err);
METALLM_MUSTCHECK int metallm__get_i32(const struct metallm__st_file *f, const char *prefix,
                                       const char *name, size_t *rows, size_t *columns,
                                       int32_t **out, metallm_error *err);
#endif
